"""What a task can stand in, and the few words it says to its driver.

Knows the shape of a wait, and the waits that need no object of their own. It must not know tasks.
"""

from __future__ import annotations

from typing import Final, Protocol

__all__ = ["BUDGET", "ENDED", "RAW", "STRUCK", "SUSPENDED", "TURN", "Wait"]

# A task that did this many operations in a row without waiting gives a turn away (yields `TURN`) before the next one is tried,
# so that a socket which is always ready starves neither timeouts nor the other sockets.
BUDGET = 100


class Wait(Protocol):
    """What a suspended task waits for; `str()` says it. Some also know since when: `since`, in the loop's seconds."""

    def withdraw(self) -> bool:
        """Undo the wait; False when the answer is on its way."""


class _Suspended:
    """What an `await_…` procedure yields once it has armed its wait."""

    def __repr__(self) -> str:
        return "SUSPENDED"


class _Standing:
    """A wait without an object of its own."""

    def __init__(self, text: str, withdraws: bool) -> None:
        self._text = text
        self._withdraws = withdraws

    def withdraw(self) -> bool:
        return self._withdraws

    def __str__(self) -> str:
        return self._text


SUSPENDED: Final = _Suspended()
RAW: Final = _Standing("a raw resume", True)
STRUCK: Final = _Standing("its cancellation", False)
# Also what `await_yield` yields: the driver queues the task itself, so a turn given away costs no generator and no look-up.
TURN: Final = _Standing("its next turn", False)
ENDED: Final = _Standing("nothing: it has ended", False)
