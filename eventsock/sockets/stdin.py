"""Standard input as a stream, whatever it is: a terminal, a pipe, a socket, a file, /dev/null.

Knows which kinds of descriptor can be polled, and feeds the stream by a thread where one cannot. It changes no flag and no mode of
the descriptor: those are shared with the shell, and with whoever prints to the same terminal.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import sys
import threading

from ..errors import SocketError
from .files import PlainFile
from .outbox import NO_SIGNAL
from .splitter import CHUNK
from .stream import Stream

__all__ = ["open_stdin"]


def open_stdin(*, limit: int = 65536, idle: float | None = None) -> Stream:
    """A stream that reads standard input; `limit` and `idle` as in `Stream`. `TextStream(open_stdin())` gives text.

    A terminal, a pipe or a socket is read when the loop says that it is ready; a file or /dev/null by a thread, which ends with the
    stream. The descriptor keeps its modes, and stays open when the stream is closed. What `sys.stdin` has read ahead is not seen.
    `SocketError`: standard input is closed (EBADF).
    """
    if sys.stdin is None:  # the interpreter was started without, and number 0 may be anything by now
        raise SocketError(errno.EBADF, address="standard input")
    try:
        kind = os.fstat(0).st_mode
        # A number of our own: it can be watched, and closed, beside whatever else is done with number 0.
        fd = os.dup(0)
    except OSError as error:
        raise SocketError.of(error, address="standard input") from None
    if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or os.isatty(fd):
        return Stream(_Polled(fd), limit=limit, idle=idle)
    return Stream(_Pumped(fd), limit=limit, idle=idle)


class _ReadOnly(PlainFile):
    """Not to be written to: a terminal's own description could be, and would stop the loop."""

    __slots__ = ()

    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int:
        """Refuses."""
        raise OSError(errno.EBADF, "standard input is only read")


class _Polled(_ReadOnly):
    """Reads only what is there: the descriptor is a blocking one, and stays so."""

    __slots__ = ()

    def recv(self, size: int, /) -> bytes:
        """As `os.read`; `BlockingIOError`: nothing is there."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        if not poll.poll(0):
            raise BlockingIOError(errno.EAGAIN, "nothing to read")
        return super().recv(size)


class _Pumped(_ReadOnly):
    """The near end of a socket pair that a thread fills from a descriptor which cannot be polled."""

    __slots__ = ("_error",)

    def __init__(self, source: int) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        super().__init__(near.detach())
        self._error: OSError | None = None
        threading.Thread(target=self._pump, args=(source, far), name="eventsock stdin", daemon=True).start()

    def _pump(self, source: int, far: socket.socket) -> None:
        with far:
            try:
                while data := os.read(source, CHUNK):
                    far.sendall(data, NO_SIGNAL)
            except OSError as error:
                # Told when the near end has read all; after its close (EPIPE) there is nobody to tell.
                self._error = error
            finally:
                os.close(source)

    def recv(self, size: int, /) -> bytes:
        """As `os.read`; the thread's error where that has ended."""
        data = super().recv(size)
        if not data and self._error is not None:
            raise self._error
        return data
