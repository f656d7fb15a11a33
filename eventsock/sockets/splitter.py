"""Bytes in; lines, delimited records or blocks out. One engine for every reader.

Pure: it knows bytes and nothing of sockets, tasks, waiting or text. When what is there does not suffice, a verb answers `MORE`, and
`want` says how many bytes to feed at the most. Feeding byte by byte gives what feeding all at once gives.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, final

from ..errors import IncompleteRead, LineTooLong
from .linebreaks import LF, Breaks, Mark

__all__ = ["CHUNK", "MORE", "More", "Splitter"]


@final
class More:
    """The answer that nothing can be given yet."""

    def __repr__(self) -> str:
        return "MORE"


MORE: Final = More()

# What one receive asks for: large enough that a fast peer costs few calls, small enough that the allocator has it at hand.
CHUNK = 65536
# A small limit asks for less, but not for so little that the calls would cost more than the bytes.
_SMALLEST = 4096

# Up to this length a record that has begun is copied together with what comes. Of a longer one the beginning is laid aside, so that
# it costs time in proportion to its length, and no more memory than that.
_COPIED = 16384

_BLOCK = object()
_ALL = object()


class _Begun:
    """A record whose end has not come yet: what it is sought by, how far that was looked for, its beginning once it is long."""

    __slots__ = ("key", "laid_aside", "scanned", "skipped")

    def __init__(self, key: object, skipped: bool = False) -> None:
        self.key = key
        self.scanned = 0  # no break begins before
        self.skipped = skipped  # it is what is left of a line that was too long
        # A BytesIO takes its first bytes over, and hands all of them out, without a copy.
        self.laid_aside: BytesIO | None = None

    @property
    def size(self) -> int:
        return 0 if self.laid_aside is None else self.laid_aside.tell()

    def lay_aside(self, data: bytes) -> None:
        if self.laid_aside is None:
            self.laid_aside = BytesIO(data)
            self.laid_aside.seek(len(data))
        else:
            self.laid_aside.write(data)


class Splitter:
    """Holds what was received and not yet taken; `data` is not empty while anything is. `limit` (bytes) bounds a line or a record."""

    __slots__ = ("_position", "begun", "data", "ended", "follower", "limit", "want")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.ended = False
        self.data = b""
        self.want = CHUNK if limit >= CHUNK else self._chunk
        self._position = 0  # what comes before was taken
        # The record that has begun and not ended.
        self.begun: _Begun | None = None
        # After the break of a line that was taken: what belongs to it if it comes next, and how much of that has come.
        self.follower: tuple[bytes, bytes] | None = None

    @property
    def _chunk(self) -> int:
        return min(CHUNK, max(self.limit, _SMALLEST))

    # In

    def feed(self, data: bytes) -> None:
        """Take in what was received, at least a byte."""
        held = self.data
        if not held:  # what is taken to its end is let go, so there is no position either
            self.data = data if self.follower is None else self._without_follower(data)
            return
        position, begun = self._position, self.begun
        if begun is not None:
            if begun.scanned - position > _COPIED:
                begun.lay_aside(held[position : begun.scanned])
                position = begun.scanned
            begun.scanned -= position
        self._position = 0
        self.data = held[position:] + data

    def _without_follower(self, data: bytes) -> bytes:
        assert self.follower is not None
        sought, came = self.follower
        came += data
        if len(came) < len(sought) and sought.startswith(came):
            self.follower = sought, came
            return b""
        self.follower = None
        return came.removeprefix(sought)

    def end(self) -> None:
        """Nothing will come any more."""
        self.ended = True
        if self.follower is not None:
            self.data, self.follower = self.follower[1], None

    def drop(self) -> None:
        """Forget all that is held, and the end as well."""
        self.data = b""
        self.ended = False
        self._position = 0
        self.begun = self.follower = None
        self.want = self._chunk

    def give_back(self, data: bytes) -> None:
        """Put `data`, the last that was taken, back in front."""
        self.data = data + self.data[self._position :]
        self._position = 0

    # Looking

    @property
    def held(self) -> int:
        """How many bytes are held."""
        return len(self.data) - self._position + (0 if self.begun is None else self.begun.size)

    def peek(self) -> bytes:
        """All that is held; it stays."""
        self._join()
        return self.data[self._position :]

    # Out

    def line(self, convert: Callable[[bytes], Any] | None = None) -> Any:
        """The next line without its line feed; the text before the end is a line; None after it. `LineTooLong`: see `_too_long`.

        `convert` makes of its bytes what is given; if that raises, the line stays.
        """
        if self.begun is None:
            data = self.data
            position = self._position
            end = data.find(b"\n", position)
            if end >= 0 and end - position <= self.limit:
                line = data[position:end] if convert is None else convert(data[position:end])
                if end + 1 == len(data):
                    self.data = b""
                    self._position = 0
                else:
                    self._position = end + 1
                return line
        return self.line_by(LF, convert or bytes)

    def line_by(self, breaks: Breaks, convert: Callable[[bytes], Any] = bytes) -> Any:
        """As `line`, ended by `breaks`."""
        begun = self.begun
        if begun is not None and begun.skipped and not self._skip_line(breaks):
            return None if self.ended else MORE
        begin, end = self._find(breaks)
        if begin >= 0:
            follower = breaks.follower(self.data[begin:end])
            line = self._give(begin, end, convert)
            if follower:
                self._expect(follower)
            return line
        if not self.ended:
            return self._more(breaks, breaks.width, breaks.longest - 1, self.limit + breaks.longest)
        return self._give(len(self.data), len(self.data), convert) if self.data else None

    def until(self, delimiter: bytes) -> bytes | More:
        """What comes up to the first `delimiter`, with it. `LineTooLong`; `IncompleteRead`: the end came first."""
        begun = self.begun
        if begun is None:
            data = self.data
            position = self._position
            end = data.find(delimiter, position)
            if 0 <= end - position <= self.limit:
                end += len(delimiter)
                self._take_to(end)
                return data[position:end]
        elif isinstance(begun.key, Mark) and begun.key.mark == delimiter:
            return self.until_by(begun.key)  # type: ignore[no-any-return]
        return self.until_by(Mark(delimiter))  # type: ignore[no-any-return]

    def until_by(self, mark: Mark, convert: Callable[[bytes], Any] = bytes) -> Any:
        """As `until`, with a `mark` that may be aligned; `convert` as in `line`."""
        self._resume(mark)
        begin, end = self._find(mark)
        if begin >= 0:
            return self._give(end, end, convert)
        if self.ended:
            raise IncompleteRead(self._give(len(self.data), len(self.data), bytes))
        return self._more(mark, mark.width, mark.longest - 1, self.limit + mark.longest)

    def block(self, size: int) -> bytes | More | None:
        """`size` bytes; fewer only before the end; None after it."""
        begun = self.begun
        if begun is not None and (begun.key is not _BLOCK or begun.size > size):
            self._join()
        held = self.held
        if held >= size:
            end = len(self.data) - held + size
            return self._give(end, end, bytes)  # type: ignore[no-any-return]
        if not self.ended:
            return self._more(_BLOCK, 1, 0, CHUNK + held)
        return self._give(len(self.data), len(self.data), bytes) if held else None

    def some(self, most: int = CHUNK) -> bytes | More:
        """What is there, at most `most` bytes; nothing after the end."""
        if self.begun is not None:
            self._join()
        data = self.data
        if not data:
            return data if self.ended else MORE
        position = self._position
        if not position and len(data) <= most:
            self.data = b""
            return data
        self._take_to(min(position + most, len(data)))
        return data[position : position + most]

    def everything(self, convert: Callable[[bytes], Any] = bytes) -> Any:
        """All up to the end; `convert` as in `line`."""
        self._resume(_ALL)
        if not self.ended:
            return self._more(_ALL, 1, 0, CHUNK + self.held)
        return self._give(len(self.data), len(self.data), convert)

    def skip(self, size: int) -> None:
        """Take `size` bytes that `peek` has shown."""
        self._take_to(self._position + size)

    # Records that have begun

    def _resume(self, key: object) -> None:
        """Only who goes on in the record that was begun finds it as it was left."""
        begun = self.begun
        if begun is not None and (begun.key is not key or begun.skipped):
            self._join()

    def _join(self) -> None:
        begun = self.begun
        if begun is not None:
            self.begun = None
            self.want = self._chunk
            if begun.laid_aside is not None:
                self.data = begun.laid_aside.getvalue() + self.data[self._position :]
                self._position = 0

    def _find(self, breaks: Breaks) -> tuple[int, int]:
        """Where the record ends and the next one begins; (-1, -1): not yet. `LineTooLong`."""
        self._resume(breaks)
        begun, position = self.begun, self._position
        start, size = (position, 0) if begun is None else (max(begun.scanned, position), begun.size)
        begin, end = breaks.find(self.data, start, position)
        # A break that has only begun to come is no part of the record yet.
        beyond = 0 if begin >= 0 or self.ended else breaks.longest - 1
        if size + (begin if begin >= 0 else len(self.data)) - position > self.limit + beyond:
            raise self._too_long(breaks)
        return begin, end

    def _more(self, key: object, width: int, keep: int, most: int) -> More:
        """Wait for more of a record that may have `most` bytes; the last `keep` of those held may be the beginning of its end."""
        begun = self.begun
        if begun is None:
            begun = self.begun = _Begun(key)
        position = self._position
        begun.scanned = max(position, position + (len(self.data) - position - keep) // width * width)
        self.want = max(1, min(CHUNK, most - self.held))
        return MORE

    def _give(self, begin: int, end: int, convert: Callable[[bytes], Any]) -> Any:
        """Take the record that ends at `begin`, and its break, which ends at `end`."""
        data, position, begun = self.data, self._position, self.begun
        if begun is None or begun.laid_aside is None:
            unit = convert(data[position:begin])
        else:
            begun.laid_aside.write(data[position:begin])
            record = begun.laid_aside.getvalue()
            try:
                unit = convert(record)
            except BaseException:
                self.begun = None
                self.want = self._chunk
                self.data = record + data[begin:]
                self._position = 0
                raise
        if begun is not None:
            self.begun = None
            self.want = self._chunk
        self._take_to(end)
        return unit

    def _take_to(self, position: int) -> None:
        if position == len(self.data):
            self.data = b""
            self._position = 0
        else:
            self._position = position

    def _expect(self, follower: bytes) -> None:
        came = self.data[self._position :] if len(self.data) - self._position < len(follower) else b""
        if not self.ended and (came or not self.data) and follower.startswith(came):
            self.follower = follower, came
            self._take_to(len(self.data))

    # Lines that are too long

    def _too_long(self, breaks: Breaks) -> LineTooLong:
        """Gives the first `limit` bytes up. A line verb then skips the rest of the line; any other verb goes on in it."""
        size = self.limit - self.limit % breaks.width
        begun = self.begun
        if begun is not None and begun.laid_aside is not None:
            missing = max(0, size - begun.size)
            begun.lay_aside(self.data[self._position : self._position + missing])
            self._take_to(self._position + missing)
            record = begun.laid_aside.getvalue()
            partial = record[:size]
            if len(record) > size:
                self.give_back(record[size:])
        else:
            partial = self.data[self._position : self._position + size]
            self._take_to(self._position + size)
        self.begun = _Begun(breaks, skipped=True)
        self.want = self._chunk
        return LineTooLong(self.limit, partial)

    def _skip_line(self, breaks: Breaks) -> bool:
        """Drop what is left of a line that was too long, as far as it has come; False: its end has not."""
        data, position = self.data, self._position
        begin, end = breaks.find(data, position, position)
        if begin >= 0:
            self.begun = None
            self._take_to(end)
            follower = breaks.follower(data[begin:end])
            if follower:
                self._expect(follower)
            return True
        keep = 0 if self.ended else breaks.longest - 1
        self._take_to(max(position, position + (len(data) - position - keep) // breaks.width * breaks.width))
        return False
