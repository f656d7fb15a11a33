"""A socket as two ports, a reader and a writer: standard `io` objects with the buffering rules of the CHICKEN egg.

Knows buffers, and when a direction is shut down and the socket closed. Text is made with `io.TextIOWrapper`. Must not know how bytes
are sent and received.
"""

from __future__ import annotations

import io
import socket

from ..errors import SocketError
from .arguments import checked_size, readable_bytes
from .deadlines import surrounding_limit, timeouts
from .descriptors import shutdown
from .handles import refuse_tls
from .receiving import receive
from .sending import send_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    Port = io.IOBase


class _Line:
    """The socket that a reader and a writer share, closed with the second of them; and the time limits they were made with."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.receive_limit = surrounding_limit("receive")
        self.send_limit = surrounding_limit("send")
        self._open = {"rd", "wr"}

    def end(self, direction: str, abandoned: bool) -> None:
        if not abandoned:
            shutdown(self.sock, direction)
        self._open.discard(direction)
        if not self._open:
            self.sock.close()


class PortReader(io.BufferedIOBase):
    """The reading port of a socket. A read that fails loses nothing: what had come is there for the next one.

    Waits for as long as the receive limit was when the port was made. One thread at a time. At the end of the stream `b""`; a later
    read tries again. Raises `SocketError`, and `ValueError` when closed.
    """

    def __init__(self, line: _Line, size: int) -> None:
        self._line = line
        self._size = size
        self._held = bytearray()
        self.abandoned = False

    def readable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The descriptor of the socket."""
        _check_open(self)
        return self._line.sock.fileno()

    def peek(self, size: int = 0) -> bytes:
        """What is buffered, after one receive if that is nothing; it stays buffered. `size` has no meaning, as in the standard."""
        self._hold_some()
        return bytes(self._held)

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer only at the end of the stream; without a size, all up to the end."""
        wanted = _wanted(size)
        _check_open(self)
        while (wanted is None or len(self._held) < wanted) and self._fill():
            pass
        return self._take(wanted)

    def read1(self, size: int | None = -1) -> bytes:
        """At most `size` bytes of what is buffered, after one receive if that is nothing."""
        wanted = _wanted(size)
        if wanted != 0:
            self._hold_some()
        return self._take(wanted)

    def readline(self, size: int | None = -1) -> bytes:
        """A line with its newline, at most `size` bytes of it; without one only at the end of the stream."""
        limit = _wanted(size)
        _check_open(self)
        searched = 0
        while not (end := self._held.find(b"\n", searched) + 1):
            searched = len(self._held)
            if (limit is not None and searched >= limit) or not self._fill():
                end = searched
                break
        return self._take(end if limit is None else min(end, limit))

    def close(self) -> None:
        """Ends the reading direction unless the port was abandoned; with the writer closed too, closes the socket."""
        if not self.closed:
            super().close()
            self._line.end("rd", self.abandoned)

    def _hold_some(self) -> None:
        _check_open(self)
        if not self._held:
            self._fill()

    def _fill(self) -> bool:
        came = receive(self._line.sock, self._size, timeout=self._line.receive_limit)
        self._held += came
        return bool(came)

    def _take(self, size: int | None) -> bytes:
        taken = bytes(self._held if size is None else self._held[:size])
        del self._held[: len(taken)]
        return taken


class PortWriter(io.BufferedIOBase):
    """The writing port of a socket. Unbuffered, a write has gone out whole when it returns; buffered, whole buffers go out.

    Waits for as long as the send limit was when the port was made. One thread at a time. Raises `SocketError`, with what went out
    in `.sent`; what was buffered and did not go out stays so. Raises `ValueError` when closed.
    """

    def __init__(self, line: _Line, size: int | None, send_size: int | None) -> None:
        self._line = line
        self._size = size
        self._send_size = send_size
        self._held = bytearray()
        self.abandoned = False

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The descriptor of the socket."""
        _check_open(self)
        return self._line.sock.fileno()

    def write(self, data: ReadableBuffer) -> int:
        """Takes all of `data`, and gives its length in bytes. With a buffer, the largest multiple of its size is sent, in one go."""
        _check_open(self)
        view = readable_bytes(data)
        if self._size is None:
            if view:
                self._send(view)
        else:
            self._held += view
            self._send_held(len(self._held) - len(self._held) % self._size)
        return len(view)

    def flush(self) -> None:
        """Sends what is buffered."""
        _check_open(self)
        self._send_held(len(self._held))

    def close(self) -> None:
        """Sends what is buffered and ends the writing direction unless the port was abandoned; with the reader closed too, closes
        the socket. If the last bytes cannot be sent, it is closed all the same, and the error raised."""
        if not self.closed:
            try:
                super().close()
            finally:
                self._line.end("wr", self.abandoned)

    def _send_held(self, count: int) -> None:
        if count:
            with memoryview(self._held) as held:
                data = bytes(held[:count])
            try:
                self._send(data)
            except SocketError as error:
                del self._held[: error.sent]
                raise
            del self._held[:count]

    def _send(self, data: ReadableBuffer) -> None:
        with timeouts(send=self._line.send_limit):
            send_all(self._line.sock, data, send_size=self._send_size)


def _wanted(size: int | None) -> int | None:
    return None if size is None or size < 0 else size


def _check_open(port: PortReader | PortWriter) -> None:
    if port.closed:
        raise ValueError("the port is closed")


def io_ports(
    sock: socket.socket, *, receive_buffer_size: int = 4096, send_buffer_size: int | None = None, send_size: int | None = 16384
) -> tuple[PortReader, PortWriter]:
    """A reader and a writer for a connected socket, of streams or of datagrams: standard buffered `io` objects.

    The reader receives up to `receive_buffer_size` bytes at once, whenever it has none. The writer sends at once or, with a
    `send_buffer_size`, whole multiples of that; in calls of at most `send_size` bytes (None: of any size), which on a datagram
    socket are the datagrams. Closing a port shuts its direction down, unless `abandon_port` was called; the socket is closed after
    both. The surrounding `timeouts(…)` are taken over for good. For text wrap a port in `io.TextIOWrapper`. Does not block; any
    thread. Raises `TypeError` or `ValueError`. After `socket-i/o-ports` of the CHICKEN egg.
    """
    if not isinstance(sock, socket.socket):
        raise TypeError(f"sock must be a socket.socket, which the ports will close, not {type(sock).__name__}")
    refuse_tls(sock)
    _check_buffer_size(receive_buffer_size, "receive_buffer_size")
    for size, name in ((send_buffer_size, "send_buffer_size"), (send_size, "send_size")):
        if size is not None:
            _check_buffer_size(size, name)
    line = _Line(sock)
    return PortReader(line, receive_buffer_size), PortWriter(line, send_buffer_size, send_size)


def _check_buffer_size(size: int, name: str) -> None:
    if checked_size(size, name) == 0:
        raise ValueError(f"{name} must be at least 1")


def abandon_port(port: io.IOBase) -> None:
    """Marks a port of `io_ports` (or the `TextIOWrapper` around it): closing it will not shut its direction down.

    The socket is still closed after both ports. Raises `TypeError` for another object. After `socket-abandon-port` of the CHICKEN
    egg.
    """
    _port(port).abandoned = True


def port_socket(port: io.IOBase) -> socket.socket:
    """The socket of a port of `io_ports`, or of the `TextIOWrapper` around it. Raises `TypeError` for another object.

    After `socket-i/o-port->socket` of the CHICKEN egg.
    """
    return _port(port)._line.sock


def _port(port: io.IOBase) -> PortReader | PortWriter:
    inner = port.buffer if isinstance(port, io.TextIOWrapper) else port
    if not isinstance(inner, PortReader | PortWriter):
        raise TypeError(f"port must be one that io_ports() made, not {type(port).__name__}")
    return inner
