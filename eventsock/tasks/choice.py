"""Choice: waiting for exactly one of several things; and those of them that are no meetings: descriptors, time, tasks.

Knows the loop's verbs and tasks. How one operation wins and the others are undone is the business of the module `operations`.
"""

from __future__ import annotations

import select
from collections.abc import Generator
from functools import partial
from typing import Any, TypeVar, overload

from ..errors import LoopStateError
from ..loop.checks import checked_seconds
from ..loop.descriptors import FileLike, Side, number_of
from ..loop.selectors import IN, OUT
from .operations import NOT_YET, Arm, Choosing, NotYet, Operation
from .states import BUDGET, SUSPENDED, TURN
from .task import Task, current_task, get_current
from .waitable import Await, waitable

__all__ = ["after", "await_choice", "finished", "readable", "writable"]

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@overload
def await_choice(a: Operation[A], /) -> Await[A]: ...
@overload
def await_choice(a: Operation[A], b: Operation[B], /) -> Await[A | B]: ...
@overload
def await_choice(a: Operation[A], b: Operation[B], c: Operation[C], /) -> Await[A | B | C]: ...
@overload
def await_choice(a: Operation[A], b: Operation[B], c: Operation[C], d: Operation[D], /) -> Await[A | B | C | D]: ...
@overload
def await_choice(*operations: Operation[T]) -> Await[T]: ...
@waitable
def await_choice(*operations: Operation[Any]) -> Generator[Any, Any, Any]:
    """Do exactly one of `operations` and give its result; the others have not happened and leave no trace.

    Of those that need no wait the first is done, without suspending; else the first that happens. Each is checked before any is
    tried, so a busy descriptor or a meeting of another loop is an error wherever it stands. The operation's own error is raised.
    `ValueError`: no operations. Origin: Concurrent ML `choose` and `sync`.
    """
    if not operations:
        raise ValueError("await_choice() was given no operations: nothing could ever happen")
    task = get_current()
    if task is None or task.waits_for is not None:
        task = current_task("await_choice()")
    operation: Any = None
    try:
        if task.eager >= BUDGET:
            yield TURN
        for operation in operations:
            if not isinstance(operation, Operation):
                raise _no_operation(operation)
            operation.check(task)
        for operation in operations:
            if (result := operation.attempt(task)) is not NOT_YET:
                task.eager += 1
                return result
        wait = Choosing(operations, task)
        del task  # see `Choosing`
        yield SUSPENDED
        return wait.result()
    finally:
        del operation, operations  # see `Operation`


def _no_operation(thing: object) -> TypeError:
    return TypeError(f"await_choice() takes operations, such as meeting.receiving() or after(seconds), not {type(thing).__name__}")


def readable(file: FileLike) -> Operation[None]:
    """The operation of waiting until `file` is readable; gives None, and reads nothing. Errors as `await_readable`."""
    return _Readiness(file, IN)


def writable(file: FileLike) -> Operation[None]:
    """The operation of waiting until `file` is writable; gives None, and writes nothing. Errors as `await_writable`."""
    return _Readiness(file, OUT)


class _Readiness(Operation[None]):
    """Waiting for one direction of a descriptor; the task holds it meanwhile."""

    __slots__ = ("_bit", "_file")

    def __init__(self, file: FileLike, bit: int) -> None:
        self._file = file
        self._bit = bit

    def _side(self, task: Task[Any]) -> Side:
        descriptor = task.loop.book.find(self._file)
        return descriptor.read if self._bit == IN else descriptor.write

    def check(self, task: Task[Any]) -> None:
        side = self._side(task)
        if side.holder is not None or side.watch is not None:
            raise side.busy(task)
        # What the system refuses to watch is refused here, before anything is done.
        if not side.descriptor.mask & self._bit or side.descriptor.file is None:
            side.descriptor.want(self._bit)

    def attempt(self, task: Task[Any]) -> NotYet | None:
        return None if _is_ready(number_of(self._file), self._bit) else NOT_YET

    def block(self, arm: Arm) -> None:
        side = self._side(arm.task)
        arm.held = None
        if side.holder is arm.task:
            return  # the choice names it twice: the first of them speaks for both
        side.arm(arm)
        side.holder = arm.task
        arm.held = side

    def undo(self, arm: Arm) -> None:
        side = arm.held
        if side is not None:
            side.withdraw()
            side.holder = None

    def __str__(self) -> str:
        return f"{self._file!r} {'readable' if self._bit == IN else 'writable'}"


def _is_ready(fd: int, bit: int) -> bool:
    """Asked of the system now: the loop hears of readiness in its turns only."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(fd, bit)
        return bool(poll.poll(0))
    return any(select.select([fd] if bit == IN else (), [fd] if bit == OUT else (), (), 0))


def after(seconds: float) -> Operation[None]:
    """The operation of waiting for `seconds`, counted from the await; gives None. Negative counts as 0, `inf` never happens.

    Time comes last: what else can be had at the call, or in the turn in which the time is over, is taken before it. So
    `after(0)` means "if nothing else is to be had now". `ValueError`: NaN; `TypeError`.
    """
    return _After(checked_seconds(seconds))


class _After(Operation[None]):
    """Waiting for time."""

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def block(self, arm: Arm) -> None:
        loop = arm.task.loop
        # By way of the queue, which is served after the descriptors that are ready in the same turn.
        arm.held = loop.timeout_post(self._seconds, partial(loop.soon, arm.wake), repeat=False)

    def undo(self, arm: Arm) -> None:
        arm.task.loop.timers.remove(arm.held)

    def __str__(self) -> str:
        return f"time ({self._seconds} s)"


def finished(task: Task[T]) -> Operation[T]:
    """The operation of waiting for `task` to end; gives its result, or raises its error or `TaskCancelled`.

    Losing leaves the task alone; an error it ends with later is then nobody's, and leaves `run()`. `LoopStateError`: awaited by a
    task of another loop, or by `task` itself.
    """
    if not isinstance(task, Task):
        raise TypeError(f"task must be a Task, as a_sync() returns it, not {type(task).__name__}")
    return _Finished(task)


class _Finished(Operation[T]):
    """Waiting for a task's end."""

    __slots__ = ("_task",)

    def __init__(self, task: Task[T]) -> None:
        self._task = task

    def check(self, task: Task[Any]) -> None:
        awaited = self._task
        if awaited is task or awaited.loop is not task.loop:
            whose = "its own end" if awaited is task else f"the end of {awaited}, which belongs to another loop"
            raise LoopStateError(f"{task} cannot wait for {whose}")

    def attempt(self, task: Task[Any]) -> T | NotYet:
        try:
            return self._task.result() if self._task.done else NOT_YET
        finally:
            del self

    def block(self, arm: Arm) -> None:
        self._task.watch(arm.wake)

    def undo(self, arm: Arm) -> None:
        self._task.unwatch(arm.wake)

    def wrap(self, raw: Any) -> T:
        try:
            return self._task.result()
        finally:
            del self

    def __str__(self) -> str:
        return f"the result of {self._task}"
