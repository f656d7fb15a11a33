"""What ends a line, in bytes: LF, CR LF, or whichever of LF, CR and CR LF comes; in encodings of one, two or four bytes a character.

Pure: knows how to find the next break in bytes that begin on the border of a character. It must not know what becomes of a line.
"""

from __future__ import annotations

import re
from typing import Protocol

__all__ = ["LF", "Breaks", "Mark", "Universal"]


class Breaks(Protocol):
    """What may end a line or a record. Positions are searched at multiples of `width` bytes from where the line begins."""

    @property
    def width(self) -> int: ...

    @property
    def longest(self) -> int:
        """How many bytes must be there for a break to be seen."""

    def find(self, data: bytes, start: int, begin: int) -> tuple[int, int]:
        """Where the first break from `start` on begins and ends, in a line that begins at `begin`; (-1, -1): there is none yet."""

    def follower(self, found: bytes) -> bytes:
        """What belongs to the break `found` if it comes right after it."""


class Mark:
    """One sequence of bytes, such as LF or CR LF."""

    __slots__ = ("longest", "mark", "width")

    def __init__(self, mark: bytes, width: int = 1) -> None:
        self.mark = mark
        self.width = width
        self.longest = len(mark)

    def find(self, data: bytes, start: int, begin: int) -> tuple[int, int]:
        found = data.find(self.mark, start)
        while found >= 0 and (found - begin) % self.width:
            found = data.find(self.mark, found + 1)
        return (found, found + self.longest) if found >= 0 else (-1, -1)

    def follower(self, found: bytes) -> bytes:
        return b""


class Universal:
    """LF, CR or CR LF, whichever comes. A CR ends its line at once; an LF right after it belongs to it, even if it comes later."""

    __slots__ = ("_cr", "_lf", "_pattern", "longest", "width")

    def __init__(self, lf: bytes, cr: bytes) -> None:
        self._lf = lf
        self._cr = cr
        self._pattern = re.compile(b"%b(?:%b)?|%b" % (re.escape(cr), re.escape(lf), re.escape(lf)))
        self.width = self.longest = len(lf)

    def find(self, data: bytes, start: int, begin: int) -> tuple[int, int]:
        found = self._pattern.search(data, start)
        while found is not None and (found.start() - begin) % self.width:
            found = self._pattern.search(data, found.start() + 1)
        return (-1, -1) if found is None else found.span()

    def follower(self, found: bytes) -> bytes:
        return self._lf if found == self._cr else b""


LF = Mark(b"\n")
