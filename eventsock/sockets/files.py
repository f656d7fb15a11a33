"""What a stream reads from and writes to: a socket, or any other descriptor dressed with the same few verbs.

Knows sockets and descriptors and nothing of tasks. Whoever makes one owns the descriptor and closes it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol

from ..basic.arguments import checked_descriptor
from ..basic.handles import refuse_tls
from ..errors import SocketError

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["Channel", "PlainFile", "Refusal", "channel_of"]

_STANDARD = 2  # standard input, output and error


class Channel(Protocol):
    """The verbs of a socket that a stream needs."""

    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int: ...
    def sendmsg(self, buffers: Sequence[bytes | memoryview], ancillary: tuple[()] = (), flags: int = 0, /) -> int: ...
    def close(self) -> None: ...


class PlainFile:
    """A pipe, FIFO, tty or other descriptor with the verbs of a socket."""

    __slots__ = ("__weakref__", "_fd", "_owner")

    def __init__(self, fd: int, owner: object = None) -> None:
        self._fd = fd
        # A Python file object that owns the descriptor, if there is one: it must do the closing, and live until then.
        self._owner = owner

    def fileno(self) -> int:
        """The number, -1 after `close`."""
        return self._fd

    def recv(self, size: int, /) -> bytes:
        """As `os.read`."""
        try:
            return os.read(self._fd, size)
        except OSError as error:
            # The master side of a pseudo-terminal says EIO where a socket would say "the end" (pty(7)).
            if error.errno == errno.EIO and os.isatty(self._fd):
                return b""
            raise

    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int:
        """As `os.write`; the flags of send(2) mean nothing here."""
        return os.write(self._fd, data)

    def sendmsg(self, buffers: Sequence[bytes | memoryview], ancillary: object = (), flags: int = 0, /) -> int:
        """As `os.writev`."""
        return os.writev(self._fd, buffers)

    def close(self) -> None:
        """Close the descriptor; idempotent."""
        fd, self._fd = self._fd, -1
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.close()  # type: ignore[attr-defined]
        elif fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if self._fd >= 0 and self._owner is None:
            warnings.warn(f"descriptor {self._fd} of a stream was not closed", ResourceWarning, source=self, stacklevel=2)
            self.close()


class Refusal:
    """Stands in for a channel that was closed, or whose direction is broken: every transfer raises what `error()` makes."""

    __slots__ = ("error",)

    def __init__(self, error: Callable[[], BaseException]) -> None:
        self.error = error

    def _refuse(self, *_: object) -> NoReturn:
        raise self.error()

    recv = send = sendmsg = fileno = _refuse

    def close(self) -> None:
        """There is nothing to close."""


def channel_of(file: FileDescriptorLike) -> Channel:
    """`file` (a socket, a number, or an object with `fileno()`) as a non-blocking channel that owns it.

    `ValueError`: 0 to 2, which belong to the process; `SocketError`: closed (EBADF), or a regular file or directory, which cannot be
    polled (EPERM); `TypeError`: a TLS socket, or nothing that has a descriptor.
    """
    if isinstance(file, socket.socket):
        refuse_tls(file)
        if file.fileno() < 0:
            raise SocketError(errno.EBADF, "the socket is closed")
        file.setblocking(False)
        return file
    if isinstance(file, PlainFile):
        return file
    fd = checked_descriptor(file, "sock_or_fd")
    if 0 <= fd <= _STANDARD:
        raise ValueError(f"descriptor {fd} belongs to the whole process and must not be closed by a stream: use open_stdin(), or os.dup()")
    try:
        kind = os.fstat(fd).st_mode
        if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
            text = "a regular file or a directory cannot be polled: read it in a thread, or send it with await_put_file()"
            raise SocketError(errno.EPERM, text)
        if stat.S_ISSOCK(kind) and isinstance(file, int):
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            return sock
        os.set_blocking(fd, False)
    except OSError as error:
        raise SocketError.of(error, address=f"descriptor {fd}") from None
    return PlainFile(fd, None if isinstance(file, int) else file)
