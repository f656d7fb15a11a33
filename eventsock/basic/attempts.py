"""One try to connect to one address, in three steps: make the socket, begin, finish. None of them waits.

Knows the calls of connect(2) and what they mean. Must not know names, deadlines or who waits: the blocking verbs and a loop take
the same steps.
"""

from __future__ import annotations

import errno
import socket

from ..errors import ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from ..errors import SocketError
    from .addresses import SocketAddress

    Begun = Literal["connected", "pending", "busy"]

_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR)

# No fault of the address: the next one would fare no better.
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def new_socket(family: int, type: int, protocol: int, address: SocketAddress) -> socket.socket:
    """A non-blocking socket, closed on exec, that is to be connected to `address`. Raises `ConnectError`."""
    try:
        sock = socket.socket(family, type, protocol)
    except OSError as error:
        raise ConnectError.of(error, address=address) from None
    sock.setblocking(False)
    return sock


def begin(sock: socket.socket, address: SocketAddress) -> Begun:
    """Begins to connect. "pending": `finish` it when the socket is writable. "busy": the queue of a Unix listener is full and cannot
    be waited for; begin again a little later. Raises `ConnectError`."""
    code = sock.connect_ex(address.native)
    # Linux refuses a Unix connect this way; for TCP the number means that it is under way.
    if code == errno.EAGAIN and sock.family == getattr(socket, "AF_UNIX", None):
        return "busy"
    if code in _UNDER_WAY:
        return "pending"
    if code:
        raise ConnectError(code, address=address)
    finish(sock, address)
    return "connected"


def finish(sock: socket.socket, address: SocketAddress) -> None:
    """Looks how a connect that was begun has ended, once the socket is writable. Raises `ConnectError`.

    SO_ERROR can be read only once. A socket that got its own address as its peer (TCP allows it, by a port chosen at random) is as
    good as refused.
    """
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise ConnectError(code, address=address)
    if sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6) and _talks_to_itself(sock):
        raise ConnectError(errno.ECONNREFUSED, "nobody listens there: the socket was connected to itself", address=address)


def _talks_to_itself(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:  # already reset by the peer: the first transfer will tell
        return False


def all_failed(attempts: Sequence[SocketError]) -> ConnectError:
    """The error for a connect all of whose `attempts` failed: the last one's, with all of them in `.attempts`."""
    last = attempts[-1]
    error = ConnectError(last.errno, last.strerror, address=last.address)
    error.attempts = tuple(attempts)
    return error


def timed_out(seconds: float | None, address: object) -> ConnectError:
    """The error of an attempt that had no more than `seconds`."""
    return ConnectError(errno.ETIMEDOUT, f"no answer within {seconds or 0:.3g} s", address=address)
