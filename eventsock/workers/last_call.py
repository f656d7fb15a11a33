"""What still runs in daemon threads when the interpreter exits: it has some seconds more, then it is named and left.

Knows that there are crews, and nothing of what they do. Their threads are daemons, so that a stuck job cannot keep the program from
ending; but what was begun gets its chance.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from typing import Protocol

__all__ = ["LAST_CALL", "Crew", "crews"]

# Seconds, for all crews together.
LAST_CALL = 5.0


class Crew(Protocol):
    """Threads that work for somebody."""

    def last_call(self, seconds: float) -> list[str]:
        """Take no more work, wait up to `seconds` for what was accepted, and name what is not done then."""

    def forked(self) -> None:
        """In a child process, which has none of the threads."""


crews: weakref.WeakSet[Crew] = weakref.WeakSet()


@atexit.register
def _last_call() -> None:
    deadline = time.monotonic() + LAST_CALL
    for crew in list(crews):
        for job in crew.last_call(max(0.0, deadline - time.monotonic())):
            print(f"eventsock: {job} did not end within {LAST_CALL} s of the program's end and is left", file=sys.stderr)


def _forked() -> None:
    for crew in list(crews):
        crew.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
