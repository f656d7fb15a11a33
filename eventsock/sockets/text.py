"""Text: a stream seen through an encoding.

Knows what of a buffer is whole lines, records and characters. The bytes stay in the stream's own buffer until a whole unit of text
is taken out of them, so whoever reads on in bytes finds the very next one. It must not know descriptors or waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ..basic.arguments import checked_size
from ..errors import IncompleteRead, LineTooLong
from ..tasks.waitable import Await, waitable
from .coding import Coding
from .linebreaks import LF
from .reading import Reading
from .splitter import CHUNK, MORE, More, Splitter
from .stream import Stream

if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Self

    from _typeshed import FileDescriptorLike, ReadableBuffer

    from .sendfile import File, FileSent

__all__ = ["TextStream"]

T = TypeVar("T")

_NEWLINES = ("\n", "\r\n", None)


class TextStream(Reading[str]):
    """A `Stream` that gives and takes `str`. `buffer` is the stream of its bytes, as in `io.TextIOWrapper`: either may be used next.

    `sock_or_fd`: what a `Stream` takes (then `limit`, `gather` and `idle` are the stream's), or a `Stream`. `encoding` and `errors` as
    in `open`; `limit` counts bytes. `newline`: "\\n" or "\\r\\n", which alone end a line, and which each "\\n" is written as; None
    reads CR, LF and CR LF alike, as "\\n", and writes "\\n". Text that cannot be decoded is a `UnicodeDecodeError`, and stays: read
    it in bytes. `LookupError`: no such encoding; `ValueError`.
    """

    __slots__ = ("_breaks", "_coding", "_input", "_newline", "buffer")

    def __init__(
        self,
        sock_or_fd: FileDescriptorLike | Stream,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        newline: str | None = "\n",
        limit: int = 65536,
        gather: bool = False,
        idle: float | None = None,
    ) -> None:
        if newline not in _NEWLINES:
            raise ValueError(f"newline must be '\\n', '\\r\\n' or None (any), not {newline!r}")
        self._coding = Coding(encoding, errors)
        self._newline = newline
        self._breaks = self._coding.breaks(newline)
        self.buffer = sock_or_fd if isinstance(sock_or_fd, Stream) else Stream(sock_or_fd, limit=limit, gather=gather, idle=idle)
        self._input = self.buffer._input

    # Reading

    def _await_text(self, take: Callable[[Splitter], T | More]) -> Await[T]:
        return self.buffer._await_unit(partial(self._settled, take) if self._coding.unsettled else take)

    def _settled(self, take: Callable[[Splitter], T | More], held: Splitter) -> T | More:
        """As `take`, once the first bytes have told their order."""
        if self._coding.unsettled:
            if held.held < 4 and not held.ended:
                return MORE
            self._coding.settle(held.peek())
            self._breaks = self._coding.breaks(self._newline)
        return take(held)

    def await_getline(self) -> Await[str | None]:
        """The next line without its end; the text before the end of input is a line; then None.

        `UnicodeDecodeError`: the line stays, to be read in bytes. Otherwise as `Stream.await_getline`, with text in `.partial`.
        """
        return self._await_text(self._line)

    def _line(self, held: Splitter) -> Any:
        try:
            if self._breaks is LF:
                return held.line(self._coding.whole)
            return held.line_by(self._breaks, self._coding.whole)
        except LineTooLong as error:
            self._raise_in_text(error)

    def __anext__(self) -> Await[str]:
        return self._await_text(self._next_line)

    def _next_line(self, held: Splitter) -> str | More:
        line: str | More | None = self._line(held)
        if line is None:
            raise StopAsyncIteration
        return line

    def await_getuntil(self, delimiter: str) -> Await[str]:
        """Everything up to the next `delimiter`, with it, as it came. Errors as `Stream.await_getuntil`, with text in `.partial`."""
        if not isinstance(delimiter, str):
            raise TypeError(f"delimiter must be a str, not {type(delimiter).__name__}")
        if not delimiter:
            raise ValueError("delimiter must not be empty")
        mark = None

        def until(held: Splitter) -> Any:
            nonlocal mark
            if mark is None:
                mark = self._coding.mark(delimiter)
            try:
                return held.until_by(mark, self._coding.whole)
            except (LineTooLong, IncompleteRead) as error:
                self._raise_in_text(error)

        return self._await_text(until)

    def await_getsome(self, max: int = CHUNK) -> Await[str]:
        """What is there, at least one character and at most `max`, as it came; `""` at the end of input. Errors as `await_getline`.

        What comes before something that cannot be decoded is given first.
        """
        if checked_size(max, "max") < 1:
            raise ValueError("max must be at least 1 character")
        return self._await_text(partial(self._some, max))

    def _some(self, most: int, held: Splitter) -> str | More:
        piece = self._piece(most, held)
        if isinstance(piece, More):
            return piece
        text, raw = piece
        return text if text or not raw else MORE

    def _piece(self, most: int, held: Splitter, size: int = 0) -> tuple[str, bytes] | More:
        """Some characters, at most `most` (of `size` bytes, if that is more), and the bytes they were; two times nothing at the end."""
        raw = held.some(max(most, size))
        if not isinstance(raw, bytes):
            return raw
        try:
            text, rest = self._coding.some(raw, held.ended and not held.data, most)
        except UnicodeError:
            held.give_back(raw)
            raise
        if rest:
            held.give_back(rest)
            if len(rest) == len(raw):  # a part of one character
                return MORE if held.held == len(rest) else self._piece(most, held, len(rest) + 1)
        return text, raw[: len(raw) - len(rest)]

    def await_getall(self) -> Await[str]:
        """Everything up to the end of input, as it came. Errors as `await_getline`."""
        return self._await_text(lambda held: held.everything(self._coding.whole))

    @waitable
    def await_getblock(self, size: int) -> Generator[Any, Any, str | None]:
        """`size` characters, as they came; fewer only before the end of input, then None. Errors as `await_getline`.

        `ValueError`: with this way of `errors` a character of the answer is not one of the input.
        """
        checked_size(size, "size")
        if not self._coding.countable:
            raise ValueError(f"characters cannot be counted with errors={self._coding.errors!r}: use await_getsome()")
        parts: list[str] = []
        raws: list[bytes] = []
        missing = size
        try:
            while missing:
                # A character has at least a byte, so these are never too many.
                text, raw = yield from self._await_text(partial(self._piece, missing))
                if not raw:
                    break
                parts.append(text)
                raws.append(raw)
                missing -= len(text)
        except BaseException:
            self._input.give_back(b"".join(raws))
            raise
        return "".join(parts) if raws or not size else None

    def _raise_in_text(self, error: LineTooLong | IncompleteRead) -> NoReturn:
        """The same error with what text there is in `.partial`; what cannot be decoded stays bytes."""
        assert isinstance(error.partial, bytes)
        try:
            text, rest = self._coding.some(error.partial, isinstance(error, IncompleteRead))
        except UnicodeError:
            raise error from None
        if rest:
            self._input.give_back(rest)
        if isinstance(error, LineTooLong):
            raise LineTooLong(error.limit, text) from None
        raise IncompleteRead(text) from None

    # Writing

    def await_put_string(self, text: str) -> Await[None]:
        """Write `text`, encoded. `UnicodeEncodeError`: before anything is written. Otherwise as `Stream.await_put_bytes`.

        Origin: chez-a-sync `await-put-string!`.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, not {type(text).__name__}: use await_put_bytes()")
        if self._newline == "\r\n":
            text = text.replace("\n", "\r\n")
        return self.buffer.await_put_bytes(self._coding.encode(text))

    def await_put_bytes(self, data: ReadableBuffer) -> Await[None]:
        """Write bytes as they are, as `Stream.await_put_bytes` does."""
        return self.buffer.await_put_bytes(data)

    def await_put_file(self, file: File, offset: int | None = None, count: int | None = None) -> Await[FileSent]:
        """Write a file as it is, as `Stream.await_put_file` does."""
        return self.buffer.await_put_file(file, offset, count)

    def await_flush(self) -> Await[None]:
        """As `Stream.await_flush`."""
        return self.buffer.await_flush()

    def await_put_eof(self) -> Await[None]:
        """As `Stream.await_put_eof`."""
        return self.buffer.await_put_eof()

    # The end

    @property
    def socket(self) -> socket.socket | None:
        """As `Stream.socket`."""
        return self.buffer.socket

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self.buffer.closed

    def fileno(self) -> int:
        """The descriptor's number, -1 after the end."""
        return self.buffer.fileno()

    def close(self) -> None:
        """As `Stream.close`."""
        self.buffer.close()

    def abort(self) -> None:
        """As `Stream.abort`."""
        self.buffer.abort()

    def await_close(self, linger: float | None = 2.0) -> Await[bool]:
        """As `Stream.await_close`."""
        return self.buffer.await_close(linger)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.buffer.__exit__(kind, error, trace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.buffer.__aexit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<TextStream {self._coding.name} of {self.buffer!r}>"
