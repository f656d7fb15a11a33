"""Blocking accepts: `accept_ipv4_connection`, `accept_ipv6_connection`, `accept_unix_connection`.

Knows accept(2) and which of its errors concern one connection that is gone. Must not know how listeners are made.
"""

from __future__ import annotations

import errno
import socket

from ..errors import AcceptError, SocketError
from .addresses import SocketAddress
from .deadlines import SURROUNDING, Deadline, deadline_of
from .descriptors import set_fd_blocking
from .handles import Borrowed, wait_readable
from .names import known_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

    from .addresses import NativeAddress
    from .deadlines import TimeLimit

_NAMES = "ECONNABORTED EPROTO EPERM ENETDOWN ENETUNREACH EHOSTDOWN EHOSTUNREACH ENONET ENOPROTOOPT"
# accept(2): these tell of the one connection that would have been accepted, or of the network; the next accept may succeed.
GONE = frozenset(getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name))

_AGAIN = GONE | {errno.EAGAIN, errno.EWOULDBLOCK}


def accept_ipv4_connection(sock: FileDescriptorLike, *, timeout: TimeLimit = SURROUNDING) -> tuple[socket.socket, SocketAddress]:
    """Waits for a connection on the IPv4 listener `sock`: a blocking socket, and the address of the client.

    Makes `sock` blocking if it is not. A connection that was gone before it could be accepted is passed over. `timeout`: seconds
    for the whole call; None for no limit. Blocks the calling thread; any thread, several may accept on one listener. Raises
    `AcceptError`, `ValueError` for a socket of another family. After `accept-ipv4-connection` of chez-simple-sockets; accept(2).
    """
    return _accept(socket.AF_INET, sock, timeout)


def accept_ipv6_connection(sock: FileDescriptorLike, *, timeout: TimeLimit = SURROUNDING) -> tuple[socket.socket, SocketAddress]:
    """Waits for a connection on the IPv6 listener `sock`; otherwise as `accept_ipv4_connection`."""
    return _accept(socket.AF_INET6, sock, timeout)


def accept_unix_connection(sock: FileDescriptorLike, *, timeout: TimeLimit = SURROUNDING) -> tuple[socket.socket, SocketAddress]:
    """Waits for a connection on the Unix listener `sock`; a client without a name of its own has an empty path.

    Otherwise as `accept_ipv4_connection`.
    """
    return _accept(socket.AF_UNIX, sock, timeout)


def check_family(family: int, sock: socket.socket) -> None:
    """Refuses a listener of another family, whose addresses would be misread."""
    if sock.family != family:
        raise ValueError(f"sock must be a socket of {socket.AddressFamily(family).name}, not of {sock.family!r}")


def _accept(family: int, sock: FileDescriptorLike, timeout: TimeLimit) -> tuple[socket.socket, SocketAddress]:
    deadline = deadline_of("accept", timeout)
    with _borrowed(sock) as listener:
        check_family(family, listener)
        try:
            connection, native = _next_connection(listener, deadline)
        finally:
            set_fd_blocking(sock)
        if listener is not sock:
            # A socket made for a bare descriptor does not know its type, and has handed on a guess.
            connection = socket.socket(fileno=connection.detach())
    connection.setblocking(True)
    return connection, SocketAddress.from_native(family, native)


def _borrowed(sock: FileDescriptorLike) -> Borrowed:
    try:
        return Borrowed(sock)
    except SocketError as error:
        raise AcceptError.of(error) from None


def _next_connection(listener: socket.socket, deadline: Deadline) -> tuple[socket.socket, NativeAddress]:
    while True:
        try:
            # Each time: another thread that accepts here may have made it blocking, and then we would wait beyond the deadline.
            listener.setblocking(False)
            return listener.accept()
        except OSError as error:
            if error.errno not in _AGAIN:
                raise AcceptError.of(error, address=known_name(listener)) from None
        if not wait_readable(listener, deadline):
            text = f"no connection came within {deadline.seconds or 0:g} s"
            raise AcceptError(errno.ETIMEDOUT, text, address=known_name(listener))
