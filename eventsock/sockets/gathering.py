"""Small writes that are held to go out together, and the end of the turn, when they go.

Knows the loop's queue. It must not know how a stream writes.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from ..errors import SocketError
from ..loop.event_loop import EventLoop

__all__ = ["Gathered"]

# Bytes that one stream holds at the most.
_MOST = 65536


class Gathered:
    """What one stream holds."""

    __slots__ = ("_loop", "_size", "_turn_end", "failure", "let_out", "pieces")

    def __init__(self, loop: EventLoop) -> None:
        self.pieces: list[bytes] = []
        # Why something that was held did not go out; to be raised by the next procedure.
        self.failure: SocketError | None = None
        # What the end of the turn calls; known from `begin` on, until it has been called.
        self.let_out: Callable[[], object] | None = None
        self._size = 0
        self._loop = loop
        turn_end = _turn_ends.get(loop)
        if turn_end is None:
            turn_end = _turn_ends[loop] = _TurnEnd()
        self._turn_end = turn_end

    def begin(self, let_out: Callable[[], object]) -> None:
        """At the end of the turn, `let_out()` is to write what is then held."""
        self.let_out = let_out
        waiting = self._turn_end.waiting
        if not waiting:
            self._loop.soon(self._turn_end)
        waiting.append(self)

    def hold(self, data: bytes | memoryview) -> bool:
        """Keep `data`; False: it would be too much."""
        size = self._size + len(data)
        if size > _MOST:
            return False
        self._size = size
        self.pieces.append(data if data.__class__ is bytes else bytes(data))
        return True

    def take(self) -> bytes:
        """All that is held, which is held no longer."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        return data

    def take_failure(self) -> SocketError:
        """The failure, which is then told."""
        failure, self.failure = self.failure, None
        assert failure is not None
        return failure


class _TurnEnd:
    """The end of a loop's turn, for its streams: one post serves them all."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Gathered] = []

    def __call__(self) -> None:
        waiting, self.waiting = self.waiting, []
        for gathered in waiting:
            let_out, gathered.let_out = gathered.let_out, None
            if gathered.pieces and let_out is not None:
                let_out()

    # The loop has quit: what was put before still goes out.
    dropped = __call__


_turn_ends: WeakKeyDictionary[EventLoop, _TurnEnd] = WeakKeyDictionary()
