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


class _Port(io.BufferedIOBase):
    """What both ports have."""

    mode: str
    _direction: str

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._held = bytearray()
        self.abandoned = False

    @property
    def name(self) -> int:
        """The descriptor of the socket, as for the files of `socket.makefile`; -1 when it is closed."""
        return self._line.sock.fileno()

    def fileno(self) -> int:
        """The descriptor of the socket."""
        self._check_open()
        return self._line.sock.fileno()

    def close(self) -> None:
        """Ends the direction of the port unless it was abandoned, after sending what is buffered; with the other port closed too,
        closes the socket. If the last bytes cannot be sent, all this happens all the same, and the error is raised."""
        if not self.closed:
            try:
                super().close()
            finally:
                self._line.end(self._direction, self.abandoned)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the port is closed")


class PortReader(_Port):
    """The reading port of a socket. A read that fails loses nothing: what had come is there for the next one.

    Waits for as long as the receive limit was when the port was made. One thread at a time. At the end of the stream `b""`; a later
    read tries again. Raises `SocketError`, and `ValueError` when closed.
    """

    mode = "rb"
    _direction = "rd"

    def __init__(self, line: _Line, size: int) -> None:
        super().__init__(line)
        self._size = size

    def readable(self) -> bool:
        """True."""
        return True

    def peek(self, size: int = 0) -> bytes:
        """What is buffered, after one receive if that is nothing; it stays buffered. `size` has no meaning, as in the standard."""
        self._hold_some()
        return bytes(self._held)

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer only at the end of the stream; without a size, all up to the end."""
        wanted = _wanted(size)
        self._check_open()
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
        self._check_open()
        searched = 0
        while not (end := self._held.find(b"\n", searched) + 1):
            searched = len(self._held)
            if (limit is not None and searched >= limit) or not self._fill():
                end = searched
                break
        return self._take(end if limit is None else min(end, limit))

    def _hold_some(self) -> None:
        self._check_open()
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


class PortWriter(_Port):
    """The writing port of a socket. Unbuffered, a write has gone out whole when it returns; buffered, whole buffers go out.

    Waits for as long as the send limit was when the port was made. One thread at a time. Raises `SocketError`, with what went out
    in `.sent`; what was buffered and did not go out stays so. Raises `ValueError` when closed.
    """

    mode = "wb"
    _direction = "wr"

    def __init__(self, line: _Line, size: int | None, send_size: int | None) -> None:
        super().__init__(line)
        self._size = size
        self._send_size = send_size

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Takes all of `data`, and gives its length in bytes. With a buffer, the largest multiple of its size is sent, in one go."""
        self._check_open()
        with readable_bytes(data) as view:
            length = len(view)
            if self._size is not None:
                self._held += view
            elif view:
                self._send(view)
        if self._size is not None:
            self._send_held(len(self._held) - len(self._held) % self._size)
        return length

    def flush(self) -> None:
        """Sends what is buffered."""
        self._check_open()
        self._send_held(len(self._held))

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


def _port(port: io.IOBase) -> _Port:
    inner = port.buffer if isinstance(port, io.TextIOWrapper) else port
    if not isinstance(inner, _Port):
        raise TypeError(f"port must be one that io_ports() made, not {type(port).__name__}")
    return inner
