"""Small writes that are held to go out together, and the end of the turn, when they go.

Knows the loop's queue. It must not know how a stream writes.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from ..loop.event_loop import EventLoop

__all__ = ["Gathered"]

# Bytes that one stream holds at the most.
_MOST = 65536


class Gathered:
    """What one stream holds."""

    __slots__ = ("_loop", "_size", "_turn_end", "pieces")

    def __init__(self, loop: EventLoop) -> None:
        self.pieces: list[bytes] = []
        self._size = 0
        self._loop = loop
        turn_end = _turn_ends.get(loop)
        if turn_end is None:
            turn_end = _turn_ends[loop] = _TurnEnd()
        self._turn_end = turn_end

    def hold(self, data: bytes | memoryview, let_out: Callable[[], object]) -> bool:
        """Keep `data`; at the end of the turn `let_out()` writes what is then still held. False: it would be too much."""
        size = self._size + len(data)
        if size > _MOST:
            return False
        pieces = self.pieces
        if not pieces:
            self._turn_end.note(let_out, self._loop)
        pieces.append(data if isinstance(data, bytes) else bytes(data))
        self._size = size
        return True

    def take(self) -> bytes:
        """All that is held, which is held no longer."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        return data


class _TurnEnd:
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


_turn_ends: WeakKeyDictionary[EventLoop, _TurnEnd] = WeakKeyDictionary()
