"""Sending and receiving at a meeting as operations, which can be some of several to choose among.

The other half of the module `meetings`, whose lines they join and leave. Knows nothing else that a choice may hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .operations import NOT_YET, Arm, NotYet, Operation
from .task import Task

if TYPE_CHECKING:
    from .meetings import Meeting

__all__: list[str] = []

T = TypeVar("T")


def sought(meeting: Meeting[Any], sends: bool) -> str:
    """What a report says of who waits at a meeting."""
    return f"a receiver at {meeting}" if sends else f"a datum from {meeting}"


class _AtMeeting(Operation[T]):
    """What sending and receiving have in common."""

    __slots__ = ("_meeting",)

    def __init__(self, meeting: Meeting[Any]) -> None:
        self._meeting = meeting

    def check(self, task: Task[Any]) -> None:
        if task.loop is not self._meeting._loop:
            self._meeting._check(task)


class Sending(_AtMeeting[None]):
    """Handing a datum over at a meeting."""

    __slots__ = ("_datum",)

    def __init__(self, meeting: Meeting[Any], datum: Any) -> None:
        self._meeting = meeting
        self._datum = datum

    def attempt(self, task: Task[Any]) -> NotYet | None:
        meeting = self._meeting
        if not (meeting._receivers or meeting._closed):
            return NOT_YET
        meeting._offer(self._datum)
        return None

    def block(self, arm: Arm) -> None:
        self._meeting._senders[arm] = self._datum

    def undo(self, arm: Arm) -> None:
        self._meeting._senders.pop(arm, None)

    def __str__(self) -> str:
        return sought(self._meeting, True)


class Receiving(_AtMeeting[T]):
    """Receiving a datum at a meeting."""

    __slots__ = ()

    def attempt(self, task: Task[Any]) -> T | NotYet:
        meeting = self._meeting
        return meeting._take() if meeting._senders or meeting._closed else NOT_YET

    def block(self, arm: Arm) -> None:
        self._meeting._receivers[arm] = None

    def undo(self, arm: Arm) -> None:
        self._meeting._receivers.pop(arm, None)

    def __str__(self) -> str:
        return sought(self._meeting, False)
