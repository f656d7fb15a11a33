"""Small writes that were held to go out together: which streams of a loop hold some, and the end of the turn, when they go.

Knows the loop's queue. It must not know how a stream writes.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from ..loop.event_loop import EventLoop

__all__ = ["MOST_HELD", "TurnEnd", "turn_end_of"]

# Bytes that one stream holds at the most.
MOST_HELD = 65536


class TurnEnd:
    """The end of a loop's turn, for its streams: one post serves them all."""

    __slots__ = ("_streams",)

    def __init__(self) -> None:
        self._streams: list[Callable[[], object]] = []

    def note(self, let_out: Callable[[], object], loop: EventLoop) -> None:
        """A stream begins to hold something; `let_out()` writes what it then still holds."""
        if not self._streams:
            loop.soon(self)
        self._streams.append(let_out)

    def __call__(self) -> None:
        streams, self._streams = self._streams, []
        for let_out in streams:
            let_out()

    # The loop has quit: what was put before still goes out.
    dropped = __call__


_turn_ends: WeakKeyDictionary[EventLoop, TurnEnd] = WeakKeyDictionary()


def turn_end_of(loop: EventLoop) -> TurnEnd:
    """The one of `loop`."""
    found = _turn_ends.get(loop)
    if found is None:
        found = _turn_ends[loop] = TurnEnd()
    return found
