"""A file as something to be written: by sendfile(2) where that goes, else in blocks.

Knows files, and a channel's descriptor and `send`. It must not know tasks, or whose turn it is.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

from ..basic.arguments import checked_descriptor, checked_size
from .outbox import NO_SIGNAL, FileFailed, Outbox, Piece

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from _typeshed import StrPath

    from ..tasks.task import Task
    from .files import Channel

    File = StrPath | int | IO[bytes]

__all__ = ["FilePiece", "FileSent", "Source"]

# Bytes for one block that is copied, and for one call of sendfile(2): a fast peer must not keep a turn to itself.
_BLOCK = 65536
_MOST = 1 << 22

# What sendfile(2) says where it does not go between these two, though reading and writing may.
_UNFIT = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EOVERFLOW, errno.ESPIPE}


_IS_AT_HAND = hasattr(os, "sendfile")


def _would_be_killed() -> bool:
    # sendfile(2) has no flag against SIGPIPE, which Python ignores, but for who has told it not to.
    return signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL


class FileSent(NamedTuple):
    """What `await_put_file` did: how many `bytes` went out, and by which `way`: "sendfile" (none was copied to us) or "copy"."""

    bytes: int
    way: Literal["sendfile", "copy"]


class Source:
    """A path, the number of an open file, or a file object, as something that is read from a position; a context manager.

    A path is opened and closed; of an open file, the position is moved behind what was taken, as `socket.sendfile` does.
    `ValueError`: no regular file (another descriptor may block: read that with a `Stream`); `OSError`: it cannot be opened.
    """

    def __init__(self, file: File, offset: int | None) -> None:
        if offset is not None:
            checked_size(offset, "offset")
        self._file: Any = file
        self._opened = isinstance(file, (str, os.PathLike))
        self.fd: int | None = os.open(file, os.O_RDONLY | os.O_CLOEXEC) if self._opened else _descriptor(file)  # type: ignore[arg-type]
        try:
            self._check_kind()
            self.position = self._begin() if offset is None else self._move(offset)
        except BaseException:
            self.close()
            raise

    def _check_kind(self) -> None:
        if self.fd is None:
            if not hasattr(self._file, "read") or isinstance(self._file, io.TextIOBase):
                raise TypeError(f"file must be a path, an open binary file or its number, not {type(self._file).__name__}")
        elif not stat.S_ISREG(os.fstat(self.fd).st_mode) and not stat.S_ISBLK(os.fstat(self.fd).st_mode):
            raise ValueError(f"file must be a regular file, which never makes wait: read {self._file!r} with a Stream")

    def _begin(self) -> int:
        if self._opened or self.fd is None:
            return 0
        return os.lseek(self.fd, 0, os.SEEK_CUR) if self._file is self.fd else int(self._file.tell())

    def _move(self, position: int) -> int:
        if self.fd is None or (not self._opened and self._file is not self.fd):
            self._file.seek(position)
        elif not self._opened:
            os.lseek(self.fd, position, os.SEEK_SET)
        return position

    def read(self, size: int, position: int) -> bytes:
        """At most `size` bytes from `position` on; nothing at the end. Without a descriptor, from where the last read ended."""
        data = self._file.read(size) if self.fd is None else os.pread(self.fd, size, position)
        if not isinstance(data, bytes):
            raise TypeError(f"file must be open in binary mode, but its read() gave {type(data).__name__}")
        return data

    def leave(self, taken: int) -> None:
        """`taken` bytes were sent: whoever reads on in an open file begins behind them."""
        if self.fd is not None:
            self._move(self.position + taken)

    def close(self) -> None:
        """Close what was opened here."""
        if self._opened and self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _descriptor(file: Any) -> int | None:
    if isinstance(file, int):
        return checked_descriptor(file, "file")
    with suppress(io.UnsupportedOperation, AttributeError):
        return int(file.fileno())
    return None


class FilePiece(Piece):
    """`count` bytes of `source` (None: all up to its end)."""

    __slots__ = ("_block", "_left", "_source", "way")

    def __init__(self, task: Task[Any], outbox: Outbox, source: Source, count: int | None) -> None:
        super().__init__(task, outbox)
        self._source = source
        self._left = -1 if count is None else checked_size(count, "count")
        self._block = memoryview(b"")
        self.way: Literal["sendfile", "copy"] = "copy" if source.fd is None or not _IS_AT_HAND or _would_be_killed() else "sendfile"

    @property
    def done(self) -> bool:
        return self._left == 0

    def send(self, channel: Channel) -> None:
        if self.way == "sendfile":
            try:
                self._send_file(channel)
                return
            except OSError as error:
                if error.errno not in _UNFIT:
                    raise
                self.way = "copy"
        self._copy(channel)

    def _send_file(self, channel: Channel) -> None:
        assert self._source.fd is not None
        size = _MOST if self._left < 0 else min(self._left, _MOST)
        try:
            count = os.sendfile(channel.fileno(), self._source.fd, self._source.position + self.sent, size)
        except OSError as error:
            if error.errno == errno.EIO:  # reading failed, not writing (sendfile(2))
                raise FileFailed from error
            raise
        self._went_out(count)

    def _copy(self, channel: Channel) -> None:
        if not self._block:
            size = _BLOCK if self._left < 0 else min(self._left, _BLOCK)
            try:
                self._block = memoryview(self._source.read(size, self._source.position + self.sent))
            except Exception as error:
                raise FileFailed from error
        count = channel.send(self._block, NO_SIGNAL) if self._block else 0
        self._block = self._block[count:]
        self._went_out(count)

    def _went_out(self, count: int) -> None:
        self.sent += count
        if not count:
            self._left = 0  # the end of the file, perhaps sooner than `count` had it
        elif self._left > 0:
            self._left -= count
