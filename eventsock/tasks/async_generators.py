"""Closing async generators that nobody iterates any more: as a task of the loop that iterated them first.

Knows Python's hooks for it, and that a loop sets what it was given while it steps. It must not know what generators do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from ..errors import LoopStateError
from ..loop.current import here
from ..loop.event_loop import EventLoop
from .task import LoopEnded, Task

__all__ = ["hooks_of"]

# How often one that is closed without a loop may try to wait before it is given up.
_PATIENCE = 100


def hooks_of(loop: EventLoop) -> tuple[None, partial[None]]:
    """What `sys.set_asyncgen_hooks` is to be given for code that runs in `loop`. Each generator keeps the hook it began with."""
    return None, partial(_finalize, loop)


def _finalize(loop: EventLoop, generator: AsyncGenerator[Any, Any]) -> None:
    # By a post: garbage is collected in any thread, and in the midst of anything.
    closing = _Closing(loop, generator)
    try:
        loop.post(closing)
    except LoopStateError:
        closing.close_now()


class _Closing:
    """The post that closes one generator."""

    __slots__ = ("_generator", "_loop")

    def __init__(self, loop: EventLoop, generator: AsyncGenerator[Any, Any]) -> None:
        self._loop = loop
        self._generator = generator

    def __call__(self) -> None:
        task: Task[None] = Task(self._loop, f"closing {self._generator!r}", None)
        task.start(self._generator.aclose, ())

    def dropped(self) -> None:
        """The loop ends before the generator had its turn."""
        try:
            self.close_now()
        except BaseException as error:
            self._loop.fail(error, f"closing {self._generator!r}")

    def close_now(self) -> None:
        """Without a loop: an await in a `finally` raises instead of suspending."""
        steps = self._generator.aclose()
        # Garbage is collected in the midst of anything: an await here must not be taken for one of the task that runs just now.
        former, here.loop = here.loop, None
        try:
            steps.send(None)
            for _ in range(_PATIENCE):
                steps.throw(LoopEnded(f"{self._generator!r} cannot wait any more: its loop has quit or was closed"))
        except StopIteration:
            return
        finally:
            here.loop = former
        raise RuntimeError(f"{self._generator!r} goes on waiting although its loop has ended")


EventLoop.asyncgen_hooks = property(hooks_of)  # type: ignore[assignment]
