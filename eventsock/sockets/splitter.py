"""Bytes in; lines, delimited records or blocks out. One engine for every reader.

Pure: it knows bytes and nothing of sockets, tasks or waiting. When what is there does not suffice, a verb answers `MORE`; feeding
byte by byte gives what feeding all at once gives.
"""

from __future__ import annotations

from typing import Final

from ..errors import IncompleteRead, LineTooLong

__all__ = ["MORE", "More", "Splitter"]


class More:
    """The answer that nothing can be given yet."""

    def __repr__(self) -> str:
        return "MORE"


MORE: Final = More()

# Up to here an unfinished rest is copied together with what comes; a longer one grows in place, so that a record of any length
# costs time in proportion to its length.
_COPIED = 65536


class Splitter:
    """Holds what was received and not yet taken. `limit` (bytes) bounds a line or a delimited record."""

    __slots__ = ("_overlong", "_position", "_scanned", "data", "ended", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.ended = False
        self.data: bytes | bytearray = b""
        self._position = 0  # what comes before was taken
        self._scanned = 0  # up to here no delimiter begins
        self._overlong = False  # in the middle of a line whose beginning was given up

    def feed(self, data: bytes) -> None:
        """Take in what was received."""
        held = self.data
        if not held:  # what is taken to its end is let go, so there is no position either
            self.data = data
            return
        position = self._position
        rest = len(held) - position
        if position:
            self._scanned -= position
            self._position = 0
        if isinstance(held, bytearray):
            del held[:position]
            held += data
        elif rest + len(data) <= _COPIED:
            self.data = (held[position:] if position else held) + data
        else:
            self.data = bytearray(memoryview(held)[position:])
            self.data += data

    def end(self) -> None:
        """Nothing will come any more."""
        self.ended = True

    @property
    def held(self) -> int:
        """How many bytes are held."""
        return len(self.data) - self._position

    def wanted(self, size: int) -> int:
        """How many bytes to receive at the most, `size` at best: an unfinished line must not take more than its limit.

        Whoever holds more than that is gathering a block, which has no limit.
        """
        left = self.limit + 1 - self.held
        return min(size, left) if left > 0 else size

    def line(self) -> bytes | More | None:
        """The next line without its newline; the text before the end is a line; None after it. `LineTooLong`: see `_too_long`."""
        data = self.data
        position = self._position
        end = data.find(b"\n", self._scanned)
        if end < 0:
            return self._unfinished_line()
        if self._overlong:
            self._take_to(end + 1)
            self._overlong = False
            return self.line()
        if end - position > self.limit:
            raise self._too_long()
        if end + 1 == len(data):
            self.data = b""
            self._position = self._scanned = 0
        else:
            self._position = self._scanned = end + 1
        return data[position:end] if data.__class__ is bytes else bytes(memoryview(data)[position:end])

    def _unfinished_line(self) -> bytes | More | None:
        if self._overlong:
            self._take_to(len(self.data))
            return None if self.ended else MORE
        self._scanned = len(self.data)
        if self.held > self.limit:
            raise self._too_long()
        if not self.ended:
            return MORE
        return self._cut(self.held) if self.held else None

    def until(self, delimiter: bytes) -> bytes | More:
        """What comes up to the first `delimiter`, with it. `LineTooLong`; `IncompleteRead`: the end came first."""
        self._overlong = False
        # Another delimiter may have been looked for before, so the search begins at the beginning when it is a new record.
        end = self.data.find(delimiter, self._position)
        length = end - self._position
        if end >= 0 and length <= self.limit:
            return self._cut(length + len(delimiter))
        if length > self.limit or (end < 0 and self.held > self.limit + len(delimiter) - 1):
            raise self._too_long()
        if self.ended:
            raise IncompleteRead(self._cut(self.held))
        return MORE

    def block(self, size: int) -> bytes | More | None:
        """`size` bytes; fewer only before the end; None after it."""
        self._overlong = False
        if self.held >= size:
            return self._cut(size)
        if not self.ended:
            return MORE
        return self._cut(self.held) if self.held else None

    def some(self, most: int = 65536) -> bytes | More:
        """What is there, at most `most` bytes; nothing after the end."""
        data = self.data
        self._overlong = False
        if not self._position and 0 < len(data) <= most and data.__class__ is bytes:
            self.data = b""
            self._scanned = 0
            return data
        if not self.held and not self.ended:
            return MORE
        return self._cut(min(most, self.held))

    def everything(self) -> bytes | More:
        """All up to the end."""
        self._overlong = False
        return self._cut(self.held) if self.ended else MORE

    def _cut(self, size: int) -> bytes:
        data = self.data
        begin = self._position
        self._take_to(begin + size)
        if data.__class__ is bytes:
            return data[begin : begin + size] if begin or size != len(data) else data
        return bytes(memoryview(data)[begin : begin + size])

    def _take_to(self, position: int) -> None:
        if position == len(self.data):
            self.data = b""
            self._position = self._scanned = 0
        else:
            self._position = self._scanned = position

    def _too_long(self) -> LineTooLong:
        """Gives the first `limit` bytes up. `line` then skips the rest of the line; any other verb goes on in it."""
        partial = self._cut(self.limit)
        self._overlong = True
        return LineTooLong(self.limit, partial)
