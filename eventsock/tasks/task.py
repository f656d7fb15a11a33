"""A running task as its users have it: cancelling it, asking for its result, seeing where it stands.

Knows the driver, which runs it. It must not know what is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from ..errors import Cancelled, LoopStateError, TaskCancelled
from .current import current_task, get_current
from .driver import Driver, Failure
from .ends import LoopEnded, LoopEnds
from .states import BUDGET, ENDED, SUSPENDED, TURN, Wait
from .waitable import waitable
from .where import caller_of

__all__ = ["BUDGET", "SUSPENDED", "TURN", "LoopEnded", "LoopEnds", "Task", "Wait", "caller_of", "current_task", "get_current"]

T = TypeVar("T")


class Task(Driver, Generic[T]):
    """A running waitable, as `a_sync` returns it. Its loop holds it until it ends, so nobody else needs to."""

    __slots__ = ("__weakref__",)

    def cancel(self, reason: object = None) -> bool:
        """Raise `Cancelled` inside the task at its await, on the loop's next turn; False if it has ended.

        A wait that is already decided delivers its value first, and the cancel strikes at the next await. Calling it again before
        it struck changes nothing; afterwards it strikes again. A task may cancel itself. Loop thread: elsewhere `LoopStateError`.
        """
        return self.cancel_by(reason, Task.current())

    def cancel_by(self, reason: object, by: object) -> bool:
        """As `cancel`, with another `by` than the current task."""
        self.check_thread("cancelled")
        if self.done:
            return False
        if not any(type(strike) is Cancelled for strike in self.strikes or ()):
            self.strike(Cancelled(reason, by))
        return True

    def result(self) -> T:
        """The result of a task that has ended; raises its error, or `TaskCancelled`. `LoopStateError`: it has not ended."""
        if self.waits_for is not ENDED:
            raise LoopStateError(f"{self} has not ended; use `yield from task.await_result()`")
        outcome = self._made
        if not isinstance(outcome, Failure):
            return outcome  # type: ignore[no-any-return]
        outcome.unheard = False
        error = outcome.error
        try:
            if isinstance(error, Cancelled):
                raise TaskCancelled(error.reason, error.by) from error
            # Each who asks gets the trace of the failure, not that of those who asked before as well.
            raise error.with_traceback(outcome.trace)
        finally:
            del error, outcome, self  # the trace of the error, which the task holds, goes through here

    def watch(self, watcher: Callable[[], object], *, answers: bool = True) -> None:
        """Call `watcher()` when the task ends; with `answers`, somebody answers for its error from now on."""
        if self._watchers is None:
            self._watchers = {}
        self._watchers[watcher] = answers

    def unwatch(self, watcher: Callable[[], object]) -> None:
        """Undo `watch`."""
        if self._watchers is not None:
            self._watchers.pop(watcher, None)

    @waitable
    def await_result(self) -> Generator[Any, Any, T]:
        """Wait for the task to end; its result. Raises its error, or `TaskCancelled`.

        Does not suspend if it has ended. Cancelling the waiter leaves the awaited task alone. Does not keep the loop alive.
        `LoopStateError`: from a task of another loop, or from itself.
        """
        if self.waits_for is not ENDED:
            me = current_task("await_result()")
            if me is self:
                raise LoopStateError(f"{me} cannot wait for its own result")
            if me.loop is not self.loop:
                raise LoopStateError(f"{me} of {me.loop!r} cannot wait for the result of {self}, which belongs to {self.loop!r}")
            wait = me.waits_for = _Result(self, me)
            self.watch(wait)
            del me, wait
            yield SUSPENDED
        # As `result`, without the call: most tasks end well, and it is a twenty-fifth of what such a task costs.
        outcome = self._made
        if not isinstance(outcome, Failure):
            return outcome  # type: ignore[no-any-return]
        try:
            return self.result()
        finally:
            del outcome, self

    # Who it is

    @staticmethod
    def current() -> Task[Any] | None:
        """The task whose code is running, or None."""
        task = get_current()
        return None if task is None or task.waits_for is not None else task

    def where(self) -> str:
        """Where it stands, in several lines: what it waits for and how long, where it was started, and the chain of `yield from`.

        Each link of the chain is a function with its file and line, the outermost first. How long a wait has lasted is known for
        time, threads, other loops and callbacks; for all waits in debug mode, or after `eventsock.debug.dump_on`. Any thread.
        """
        return self.report()

    def __repr__(self) -> str:
        state = "ended" if self.done else "running" if self.waits_for is None else f"waiting for {self.waits_for}"
        return f"<Task {self.name!r} {state}>"


class _Result:
    """Waiting for another task's end; called when it comes."""

    __slots__ = ("_awaited", "_waiter")

    def __init__(self, awaited: Task[Any], waiter: Task[Any]) -> None:
        self._awaited = awaited
        self._waiter: Task[Any] | None = waiter

    def __call__(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.loop.soon(waiter.wake)

    def withdraw(self) -> bool:
        if self._waiter is None:
            return False
        self._waiter = None
        self._awaited.unwatch(self)
        return True

    def __str__(self) -> str:
        return f"the result of {self._awaited}"
