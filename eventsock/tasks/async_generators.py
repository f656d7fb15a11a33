"""Closing async generators that nobody iterates any more: as a task of the loop that iterated them first.

Knows Python's hooks for it, and that a loop sets what it was given while it steps. It must not know what generators do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any
from weakref import ref

from ..errors import LoopStateError
from ..loop.current import here
from ..loop.event_loop import EventLoop
from .task import LoopEnded, Task

__all__ = ["hooks_of"]

# How often one that is closed without a loop may try to wait before it is given up.
_PATIENCE = 100


def hooks_of(loop: EventLoop) -> tuple[None, Callable[[AsyncGenerator[Any, Any]], None]]:
    """What `sys.set_asyncgen_hooks` is to be given for code that runs in `loop`. Each generator keeps the hook it began with."""
    finalizer = loop.finalizer
    if finalizer is None:
        # By a weak reference: the loop keeps this, and would be a cycle.
        finalizer = loop.finalizer = partial(_finalize, ref(loop))
    return None, finalizer


def _finalize(reference: ref[EventLoop], generator: AsyncGenerator[Any, Any]) -> None:
    loop = reference()
    if loop is None:
        _close_now(generator)
        return
    # By a post: garbage is collected in any thread, and in the midst of anything.
    try:
        loop.post(_Closing(loop, generator))
    except LoopStateError:
        _close_now(generator)


class _Closing:
    """The post that closes one generator."""

    __slots__ = ("_generator", "_loop")

    def __init__(self, loop: EventLoop, generator: AsyncGenerator[Any, Any]) -> None:
        self._loop = loop
        self._generator = generator

    def __call__(self) -> None:
        task: Task[None] = Task()
        task.start(self._loop, f"closing {self._generator!r}", None, self._generator.aclose, ())

    def dropped(self) -> None:
        """The loop ends before the generator had its turn."""
        try:
            _close_now(self._generator)
        except BaseException as error:
            self._loop.fail(error, f"closing {self._generator!r}")


def _close_now(generator: AsyncGenerator[Any, Any]) -> None:
    """Without a loop: an await in a `finally` raises instead of suspending."""
    steps = generator.aclose()
    # Garbage is collected in the midst of anything: an await here must not be taken for one of the task that runs just now.
    former, here.loop = here.loop, None
    try:
        steps.send(None)
        for _ in range(_PATIENCE):
            steps.throw(LoopEnded(f"{generator!r} cannot wait any more: its loop has quit or was closed"))
    except StopIteration:
        return
    finally:
        here.loop = former
    raise RuntimeError(f"{generator!r} goes on waiting although its loop has ended")


EventLoop.asyncgen_hooks = property(hooks_of)  # type: ignore[assignment]
