"""A task's wait at one meeting, the plain one.

Knows whom to wake, and the lines of the meeting that it leaves. It must not know how a task comes to wait, nor what choice is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..loop.verbs import Verbs
from .driver import Driver
from .meeting_operations import sought

if TYPE_CHECKING:
    from .meetings import Meeting

__all__ = ["Alone"]


class Alone:
    """A task that waits at one meeting and nowhere else; `datum` is what it has received."""

    # `_task` goes when no datum will come: the error that is raised in the waiting frame then makes no cycle through it.
    __slots__ = ("_meeting", "_task", "datum")

    datum: Any

    def __init__(self, task: Driver, meeting: Meeting[Any]) -> None:
        self._task: Driver | None = task
        self._meeting: Meeting[Any] | None = meeting

    def wake(self, datum: Any = None) -> None:
        self._meeting = None
        self.datum = datum
        task = self._task
        assert task is not None
        loop: Verbs = task.loop
        loop.hand_over(task.wake)

    def fail(self, error: BaseException) -> None:
        self._meeting = None
        task, self._task = self._task, None
        assert task is not None
        task.loop.soon(partial(task.fail, error))

    def withdraw(self) -> bool:
        meeting = self._meeting
        if meeting is None:
            return False
        self._meeting = None
        meeting._senders.pop(self, None)
        meeting._receivers.pop(self, None)
        self._task = None
        return True

    def __str__(self) -> str:
        meeting = self._meeting
        return "its turn" if meeting is None else sought(meeting, self in meeting._senders)
