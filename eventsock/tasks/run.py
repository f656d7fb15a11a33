"""The blocking form of any task code: a loop of its own for one task.

Knows how a task is started and when its loop may end. It must not know what tasks do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from traceback import format_exception
from typing import Any, TypeVar, overload

from ..errors import Deadlock, LoopStateError
from ..loop.current import here
from ..loop.event_loop import EventLoop
from .a_sync import start_task
from .task import Task

__all__ = ["run"]

T = TypeVar("T")

# Seconds that the other tasks have for their `finally` blocks when the main task has ended.
_GRACE = 5.0


@overload
def run(waitable: Callable[..., Generator[Any, Any, T]], *args: Any) -> T: ...
@overload
def run(waitable: Callable[..., Awaitable[T]], *args: Any) -> T: ...
@overload
def run(waitable: Callable[..., T], *args: Any) -> T: ...
def run(waitable: Callable[..., Any], *args: Any) -> Any:
    """Run `waitable(*args)` as a task in a loop of its own until it ends, and return its result, or raise its error.

    The blocking form of any task code. Other tasks are then cancelled, given 5 seconds for their `finally` blocks, and closed;
    jobs that still run in threads are left to themselves. `Deadlock`: nothing is left that could wake the task; it names who waits
    for what. `TaskCancelled`: the task was cancelled, or closed by a `quit`. `LoopStateError`: a loop is running in this thread.
    Raises as well what another task failed with while nobody awaited it.
    """
    running = here.loop
    if running is not None and running.in_turn:
        raise LoopStateError(f"run() was called inside {running!r}: use `yield from await_call(f)` there, or a_sync(f)")
    loop = EventLoop()
    loop.names_sleepers = False  # `Deadlock` does
    started: list[Task[Any]] = []
    try:
        # By a post, so that all of the task's code runs in a running loop.
        loop.post(lambda: started.append(start_task(waitable, args, _Farewell(loop), None)))
        loop.run()
        (main,) = started
        if not main.done:
            raise Deadlock(f"nothing is left to do, but these tasks still wait: {_waiting(loop)}")
        return main.result()
    except BaseException as error:
        _close_beside(loop, error)
        raise
    finally:
        loop.close()


def _close_beside(loop: EventLoop, error: BaseException) -> None:
    """What goes wrong in closing must not hide why the loop is closed."""
    try:
        loop.close()
    except BaseException as other:
        error.add_note("beside it: " + "".join(format_exception(other)).rstrip())


def _waiting(loop: EventLoop) -> str:
    return "; ".join(f"{task} waits for {task.waits_for}" for task in _tasks(loop))


def _tasks(loop: EventLoop) -> list[Task[Any]]:
    return [resident for resident in loop.residents if isinstance(resident, Task)]


class _Farewell:
    """What happens when the main task ends: the others are cancelled, and when they have ended or time is up, the loop quits."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._left = 0

    def __call__(self, main: Task[Any]) -> None:
        if self._loop.closed:
            return  # which closes the others too
        self._dismiss()
        if self._left:
            self._loop.timeout_post(_GRACE, self._loop.quit, repeat=False)

    def _dismiss(self) -> None:
        tasks = _tasks(self._loop)
        self._left = len(tasks)
        for task in tasks:
            task.watch(self._one_ended, answers=False)
            task.cancel("the main task has ended")
        if not tasks:
            self._loop.quit()

    def _one_ended(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._dismiss()  # those that were started meanwhile
