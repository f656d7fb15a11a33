"""The plain waits: a turn, time, a callback's answer, a descriptor.

Knows tasks and the loop's verbs. Each procedure arms one wait and suspends; it must not know sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, TypeVar

from ..loop.descriptors import FileLike, Side
from .sleep import sleep
from .states import SUSPENDED, TURN
from .task import Task, current_task
from .waitable import DEBUG, Await, waitable

__all__ = ["OneShotResume", "await_callback", "await_readable", "await_sleep", "await_writable", "await_yield"]

T = TypeVar("T")


class _Turn(tuple[Any]):
    """The next turn, for whoever yields it. One object serves all tasks, because the driver does the rest; iterating it is C."""

    __slots__ = ()
    __await__ = tuple.__iter__


_NEXT_TURN: Any = _Turn((TURN,))


def await_yield() -> Await[None]:
    """Let everything else that is ready run, and go on in the next turn. Origin: chez-a-sync `await-yield!`."""
    return _NEXT_TURN  # type: ignore[no-any-return]


if DEBUG:  # something to see forgotten

    @waitable
    @wraps(await_yield)
    def _await_yield() -> Generator[Any, Any, None]:
        yield TURN

    await_yield = _await_yield


@waitable
def await_sleep(seconds: float) -> Generator[Any, Any, None]:
    """Suspend for `seconds` (negative counts as 0; `inf`: until cancelled). `ValueError`: NaN. Origin: chez-a-sync `await-sleep!`."""
    task = current_task("await_sleep()")
    task.waits_for = sleep(task, seconds)
    # A frame that holds the task would make a cycle of it and a cancellation that is raised here.
    del task
    yield SUSPENDED


class OneShotResume:
    """What `await_callback` hands to its `start`: answers one await, once. Loop thread.

    The call says whether it was taken: an early answer is kept for the await, a second or a late one gives False.
    """

    __slots__ = ("_answer", "_task", "_text", "_waiting", "since")

    def __init__(self, task: Task[Any], text: str) -> None:
        self._task: Task[Any] | None = task
        self._text = text
        self._waiting = False
        self._answer: tuple[bool, Any] | None = None
        self.since = task.loop.time()

    def __call__(self, value: object = None) -> bool:
        """The await gives `value`. True if this was the answer, False if it came too late."""
        return self._give((True, value))

    def throw(self, error: BaseException) -> bool:
        """The await raises `error`. True if this was the answer, False if it came too late."""
        if not isinstance(error, BaseException):
            raise TypeError(f"error must be an exception, not {type(error).__name__}")
        return self._give((False, error))

    def _give(self, answer: tuple[bool, Any]) -> bool:
        task = self._task
        if task is None:
            return False
        task.check_thread("answered")
        self._task = None
        self._answer = answer
        if self._waiting:
            # By the queue and not at once: the callback that answers runs to its end first, whatever the task does next.
            task.loop.soon(task.wake)
        return True

    def suspend(self) -> bool:
        """Whether the task has to wait; says so to the task."""
        if self._task is None:
            return False
        self._waiting = True
        self._task.waits_for = self
        return True

    def take(self) -> Any:
        """The answer: returned, or raised."""
        assert self._answer is not None
        good, value = self._answer
        self._answer = None
        if good:
            return value
        try:
            raise value
        finally:
            del value

    def withdraw(self) -> bool:
        """Undo the wait: every later answer is too late."""
        if self._task is None:
            return False
        self._task = None
        return True

    def __str__(self) -> str:
        return self._text


@waitable
def await_callback(start: Callable[[OneShotResume], object]) -> Generator[Any, Any, Any]:
    """Call `start(resume)`, suspend until `resume(value)` or `resume.throw(error)` is called, and give the value.

    `resume` works once, in the loop's thread, also before this suspends. It is never lost and never reaches another await.
    Does not keep the loop alive.
    """
    resume = OneShotResume(current_task("await_callback()"), f"a callback from {getattr(start, '__qualname__', start)}")
    start(resume)
    if resume.suspend():
        yield SUSPENDED
    return resume.take()


@waitable
def await_readable(file: FileLike) -> Generator[Any, Any, None]:
    """Wait until `file` (a number, or an object with `fileno()`) can be read without blocking, or has an end or an error to tell.

    `SocketError`: closed, or a regular file (EPERM); `BusyError`: another task reads, or a watch is on it.
    """
    yield from _await_side(current_task("await_readable()").loop.book.find(file).read)


@waitable
def await_writable(file: FileLike) -> Generator[Any, Any, None]:
    """Wait until `file` can be written without blocking, or has an error to tell. Errors as `await_readable`."""
    yield from _await_side(current_task("await_writable()").loop.book.find(file).write)


def _await_side(side: Side) -> Generator[Any, Any, None]:
    """Wait for one direction of a descriptor, holding it meanwhile."""
    task = current_task()
    side.hold(task)
    try:
        side.arm(task)
        task.waits_for = side
        del task  # see `await_sleep`
        yield SUSPENDED
    finally:
        side.holder = None
