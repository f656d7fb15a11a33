"""Operations: something that may happen, as a value; and the wait in which several of them stand and exactly one happens.

Knows the triple try, block with its undo, wrap, and the one flag that the arms of a wait share. It must not know what an operation
is about: meetings, time, descriptors, tasks and threads are told apart by their `check`, `attempt`, `block` and `undo` only.
Origin: the events of Concurrent ML; one thread makes its flag a plain slot.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeVar, final

from .task import BUDGET, SUSPENDED, TURN, Task, current_task
from .waitable import waitable

__all__ = ["Operation"]

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


@final
class NotYet:
    """What `attempt` gives where the operation would have to wait: no datum can be mistaken for it."""

    def __repr__(self) -> str:
        return "NOT_YET"


NOT_YET: Final = NotYet()


class Operation(Generic[T_co]):
    """Something that may happen once: nothing does before it is awaited, alone or as one of several. May be awaited again.

    Made by `meeting.sending(x)`, `meeting.receiving()`, `readable(file)`, `writable(file)`, `after(seconds)`, `finished(task)` and
    `in_thread(thunk)`; a `T` is what it gives.
    """

    # An error that an operation gives may belong to what the operation names: a task keeps its own. So the frames that its trace
    # leads through let go of the operation, or it would be a cycle.

    __slots__ = ()

    def check(self, task: Task[Any]) -> None:
        """Raise if `task` can never wait for this here (another loop's, in use by somebody). Changes nothing."""

    def attempt(self, task: Task[Any]) -> T_co | NotYet:
        """Do it now if that needs no wait; its error is raised. Changes nothing where it gives `NOT_YET`."""
        return NOT_YET

    def block(self, arm: Arm) -> None:
        """Arrange that `arm.wake(raw)` or `arm.fail(error)` is called when it happens. What it raises leaves nothing arranged."""
        raise NotImplementedError

    def undo(self, arm: Arm) -> None:
        """Take back what is left of what `block` arranged. Called once for each blocked arm when the wait ends, whoever won."""
        raise NotImplementedError

    def wrap(self, raw: Any) -> T_co:
        """The result, from what `wake` was given. Runs in the waiting task, after the choice."""
        return raw  # type: ignore[no-any-return]

    def map(self, f: Callable[[T_co], U]) -> Operation[U]:
        """The same operation with the result `f(result)`. `f` runs in the waiting task once this has happened, and only then."""
        if not callable(f):
            raise TypeError(f"f must be callable, not {type(f).__name__}")
        return _Mapped(self, f)

    @waitable
    def await_(self) -> Generator[Any, Any, T_co]:
        """Wait until it happens; its result. A choice of one."""
        task = current_task("operation.await_()")
        try:
            if task.eager >= BUDGET:
                yield TURN
            self.check(task)
            if (result := self.attempt(task)) is not NOT_YET:
                task.eager += 1
                return result  # type: ignore[return-value]
            wait = Choosing((self,), task)
            del task  # see `Choosing`
            yield SUSPENDED
            return wait.result()  # type: ignore[no-any-return]
        finally:
            del self  # see `Operation`


class _Mapped(Operation[U]):
    """An operation whose result goes through a function; everything else is the operation's own."""

    __slots__ = ("_f", "_inner")

    def __init__(self, inner: Operation[Any], f: Callable[[Any], U]) -> None:
        self._inner = inner
        self._f = f

    def check(self, task: Task[Any]) -> None:
        self._inner.check(task)

    def attempt(self, task: Task[Any]) -> U | NotYet:
        try:
            value = self._inner.attempt(task)
            return value if isinstance(value, NotYet) else self._f(value)
        finally:
            del self  # see `Operation`

    def block(self, arm: Arm) -> None:
        self._inner.block(arm)

    def undo(self, arm: Arm) -> None:
        self._inner.undo(arm)

    def wrap(self, raw: Any) -> U:
        try:
            return self._f(self._inner.wrap(raw))
        finally:
            del self

    def __str__(self) -> str:
        return str(self._inner)


class Arm:
    """One operation's place in one wait. Whoever makes the operation happen calls `wake` or `fail`, in the loop's thread."""

    __slots__ = ("_wait", "held", "operation")

    held: Any
    """What the operation keeps here from `block` to `undo`, if anything."""

    def __init__(self, wait: Choosing, operation: Operation[Any]) -> None:
        self._wait = wait
        self.operation = operation

    @property
    def task(self) -> Task[Any]:
        """Who waits, while it waits."""
        return self._wait.task

    def wake(self, raw: object = None) -> None:
        """It has happened; too late if the wait is over."""
        wait = self._wait
        if not wait.done:
            wait.leave()
            wait._winner = self.operation
            wait._raw = raw
            task = wait.task
            task.loop.hand_over(task.wake)

    def fail(self, error: BaseException) -> None:
        """It has happened, and went wrong; too late if the wait is over."""
        wait = self._wait
        if not wait.done:
            wait.leave()
            wait.task.loop.soon(partial(wait.task.fail, error))
            del wait.task

    def __str__(self) -> str:
        return str(self._wait)


class Choosing:
    """A task's wait for the first of several operations. `done` is the one flag of all arms: one has won, or all were left."""

    # `task` goes when the wait is over: an error that is raised in the waiting frame then makes no cycle through it.
    __slots__ = ("_arms", "_operations", "_raw", "_winner", "done", "task")

    _winner: Operation[Any]
    _raw: object

    def __init__(self, operations: Sequence[Operation[Any]], task: Task[Any]) -> None:
        """Make `task` wait: it yields `SUSPENDED` next, and asks for the `result` then. If one arm refuses, none stays blocked."""
        self.done = False
        self.task = task
        self._operations = operations
        arms: list[Arm] = []
        self._arms = arms
        try:
            for operation in operations:
                arm = Arm(self, operation)
                operation.block(arm)
                arms.append(arm)
        except BaseException:
            self.withdraw()
            raise
        task.waits_for = self

    def leave(self) -> None:
        """Undo every arm: the wait is over."""
        self.done = True
        arms = self._arms
        for arm in arms:
            arm.operation.undo(arm)
        arms.clear()  # they hold the wait, and it them

    def withdraw(self) -> bool:
        """As what a task waits for."""
        if self.done:
            return False
        self.leave()
        del self.task
        return True

    def result(self) -> Any:
        """What the winner gives. Runs in the task, once."""
        del self.task
        self._operations = ()
        try:
            return self._winner.wrap(self._raw)
        finally:
            del self._winner

    def __str__(self) -> str:
        return " or ".join(map(str, self._operations))
