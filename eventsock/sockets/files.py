"""What a stream reads from and writes to: a socket, or any other descriptor dressed with the same five verbs.

Knows sockets and descriptors and nothing of tasks. Whoever makes one owns the descriptor and closes it.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import Any, Protocol

from ..basic.arguments import checked_descriptor
from ..errors import SocketError

__all__ = ["Channel", "PlainFile", "channel_of"]


class Channel(Protocol):
    """The verbs of a socket that a stream needs."""

    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int: ...
    def close(self) -> None: ...


class PlainFile:
    """A pipe, FIFO, tty or other descriptor with the verbs of a socket."""

    __slots__ = ("__weakref__", "_fd", "_owner")

    def __init__(self, fd: int, owner: Any = None) -> None:
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
            if error.errno == 5 and os.isatty(self._fd):
                return b""
            raise

    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int:
        """As `os.write`; the flags of send(2) mean nothing here."""
        return os.write(self._fd, data)

    def close(self) -> None:
        """Close the descriptor; idempotent."""
        fd, self._fd = self._fd, -1
        if self._owner is not None:
            self._owner.close()
        elif fd >= 0:
            os.close(fd)


def channel_of(file: Any) -> Channel:
    """`file` (a socket, a number, or an object with `fileno()`) as a non-blocking channel that owns it.

    `ValueError`: 0 to 2, which belong to the process; `SocketError`: closed.
    """
    if isinstance(file, socket.socket):
        if file.fileno() < 0:
            raise SocketError(9, "the socket is closed")
        file.setblocking(False)
        return file
    fd = checked_descriptor(file, "sock_or_fd")
    if isinstance(file, int) and fd <= 2:
        raise ValueError(f"descriptor {fd} belongs to the whole process and must not be closed by a stream: use open_stdin()")
    try:
        kind = os.fstat(fd).st_mode
        os.set_blocking(fd, False)
    except OSError as error:
        raise SocketError.of(error, address=f"descriptor {fd}") from None
    if stat.S_ISSOCK(kind) and isinstance(file, int):
        return socket.socket(fileno=fd)
    return PlainFile(fd, None if isinstance(file, int) else file)
