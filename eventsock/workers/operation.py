"""A thread's answer as an operation, which can be one of several to choose among.

Knows threads and operations. It must not know how a choice is made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

from ..tasks.operations import Arm, Operation
from ..tasks.outcome import Outcome, attempt
from ..tasks.thunks import checked_callable
from .jobs import Job, name_of
from .threads import start_thread

__all__ = ["in_thread"]

T = TypeVar("T")


def in_thread(thunk: Callable[[], T]) -> Operation[T]:
    """The operation of calling `thunk()` in a new thread; gives its result, or raises its error.

    The thread starts when the choice has to wait, and runs to its end: losing drops its value, and its error goes to
    `threading.excepthook`. Keeps the loop alive while it is waited for. `TypeError`. See `await_task_in_thread`.
    """
    checked_callable(thunk, "thunk")
    return _InThread(thunk)


class _InThread(Operation[T]):
    """Waiting for a thread."""

    __slots__ = ("_thunk",)

    def __init__(self, thunk: Callable[[], T]) -> None:
        self._thunk = thunk

    def block(self, arm: Arm) -> None:
        def deliver(outcome: Outcome) -> None:
            good, value = outcome
            arm.wake(value) if good else arm.fail(value)

        thunk, run = self._thunk, copy_context().run
        job = arm.held = Job(arm.task, deliver, str(self))
        try:
            start_thread(lambda: job.answer(attempt(run, thunk)), name_of(thunk))
        except BaseException:
            job.leave()
            raise

    def undo(self, arm: Arm) -> None:
        job: Any = arm.held
        job.leave()

    def __str__(self) -> str:
        return f"a thread, {name_of(self._thunk)}"
