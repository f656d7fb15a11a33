"""Text to bytes and back, piece by piece.

Pure: knows Python's codecs and nothing of streams. What it is given to decode begins on the border of a character.
"""

from __future__ import annotations

import codecs
import sys
from functools import partial

from .linebreaks import LF, Breaks, Mark, Universal

__all__ = ["Coding"]

# In these a line means the same wherever it stands, so that each can be decoded by itself, and at once.
_STATELESS = {"utf-8", "ascii", "iso8859-1"}

# The byte order mark decides; without one it is the machine's own order.
_ORDERED = {
    "utf-16": ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
    "utf-32": ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
}

# With these, no byte becomes more than one character.
_COUNTABLE = {"strict", "ignore", "replace", "surrogateescape", "surrogatepass"}


class Coding:
    """An encoding and what is done about errors. `LookupError`: there is no such encoding or way."""

    def __init__(self, encoding: str, errors: str) -> None:
        info = codecs.lookup(encoding)
        codecs.lookup_error(errors)
        if not info._is_text_encoding or info.incrementaldecoder is None or info.incrementalencoder is None:
            raise LookupError(f"{encoding!r} is no encoding of text that comes in pieces")
        self.name = info.name
        self.errors = errors
        self.unsettled = info.name in _ORDERED
        self._order = f"{info.name}-{'le' if sys.byteorder == 'little' else 'be'}" if self.unsettled else info.name
        self._stateless = info.name in _STATELESS
        self._decoder = info.incrementaldecoder(errors)
        self._encoder = info.incrementalencoder(errors)
        self.whole = partial(str, encoding=info.name, errors=errors) if self._stateless else self._decode_whole

    @property
    def countable(self) -> bool:
        """Whether a number of bytes is never fewer than that of their characters."""
        return self.errors in _COUNTABLE

    def settle(self, first: bytes) -> None:
        """The first bytes have come, at least four of them or all there are: the byte order is known."""
        self.unsettled = False
        for mark, order in _ORDERED[self.name]:
            if first.startswith(mark):
                self._order = order

    # Out

    def encode(self, text: str) -> bytes:
        """`text`, after what was encoded before."""
        return text.encode(self.name, self.errors) if self._stateless else self._encoder.encode(text)

    def _bare(self, text: str) -> bytes:
        """`text` as it stands in the midst of other text, without a mark in front."""
        return text.encode("utf-8" if self.name == "utf-8-sig" else self._order)

    def mark(self, text: str) -> Mark:
        """`text` as something to be looked for."""
        return Mark(self._bare(text), self._width)

    def breaks(self, newline: str | None) -> Breaks:
        """What ends a line: `newline`, or any with None."""
        lf = self._bare("\n")
        if newline is None:
            return Universal(lf, self._bare("\r"))
        return LF if newline == "\n" and lf == b"\n" else self.mark(newline)

    @property
    def _width(self) -> int:
        return 4 if self._order.startswith("utf-32") else 2 if self._order.startswith("utf-16") else 1

    # In

    def _decode_whole(self, data: bytes) -> str:
        state = self._decoder.getstate()
        try:
            return self._decoder.decode(data, True)
        except UnicodeError:
            self._decoder.setstate(state)
            raise

    def some(self, data: bytes, final: bool, most: int | None = None) -> tuple[str, bytes]:
        """What can be told of `data` now, at most `most` characters, and what is left. `UnicodeError`: not even the first can."""
        decoder = self._decoder
        state = decoder.getstate()
        try:
            text = decoder.decode(data, final)
        except UnicodeDecodeError as error:
            decoder.setstate(state)
            if not error.start:
                raise
            return self._shorter(data, error.start, most)
        left, flag = decoder.getstate()
        if left:
            decoder.setstate((b"", flag))
        if most is None or len(text) <= most or len(data) == 1:
            return text, left
        # More than one: the first bytes were no character after all, and stand for themselves each.
        decoder.setstate(state)
        return self._shorter(data, len(data) - 1, most)

    def _shorter(self, data: bytes, size: int, most: int | None) -> tuple[str, bytes]:
        text, left = self.some(data[:size], True, most)
        return text, left + data[size:]
