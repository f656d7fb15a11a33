"""What may be given as a socket, and how to wait for it: the only room that waits for a descriptor.

Any object with `fileno()`, or a plain descriptor, is used through a socket object that never waits by itself, whatever the
blocking mode of the original, which is not touched. Knows no protocol and no address.
"""

from __future__ import annotations

import errno
import select
import socket
import sys

from ..errors import SocketError
from .arguments import checked_descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import FileDescriptorLike

    from .deadlines import Deadline

# With this flag a call on a blocking socket returns at once. Where it is missing (Windows) a call waits for readiness first.
DONT_WAIT: int = getattr(socket, "MSG_DONTWAIT", 0)

_SOCK_NONBLOCK: int = getattr(socket, "SOCK_NONBLOCK", 0)

_LONGEST_WAIT = 86_400.0  # poll takes a C int of milliseconds; who waits, waits in a loop


class Borrowed:
    """`with Borrowed(sock) as s`: a socket object on the descriptor of `sock`, with no time limit of its own.

    Leaves the descriptor open and its flags as they are. Raises `TypeError` for what has no descriptor and for a TLS socket (plain
    bytes would go out on it), `SocketError` for what is no socket.
    """

    __slots__ = ("_is_alias", "_socket")

    def __init__(self, sock: FileDescriptorLike) -> None:
        refuse_tls(sock)
        if isinstance(sock, socket.socket) and not sock.gettimeout():
            self._socket, self._is_alias = sock, False
        else:
            self._socket, self._is_alias = _alias(checked_descriptor(sock, "sock")), True

    def __enter__(self) -> socket.socket:
        return self._socket

    def __exit__(self, *_: object) -> None:
        if self._is_alias:
            self._socket.detach()


def _alias(fd: int) -> socket.socket:
    try:
        # SOCK_NONBLOCK keeps Python from applying `setdefaulttimeout`, which would change the flags of the descriptor.
        return socket.socket(-1, socket.SOCK_STREAM | _SOCK_NONBLOCK, 0, fd)
    except OSError as error:
        raise SocketError.of(error) from None
    except ValueError:  # negative
        raise SocketError(errno.EBADF) from None


def refuse_tls(sock: object) -> None:
    """Raises `TypeError` for a TLS socket: on its descriptor plain bytes would go out."""
    # Without an import of ssl, whose load would cost more than all else here, there is no TLS socket.
    if isinstance(sock, getattr(sys.modules.get("ssl"), "SSLSocket", ())):
        raise TypeError("sock is a TLS socket: use its own methods and settimeout(), or its makefile()")


def wait_readable(sock: FileDescriptorLike, deadline: Deadline) -> bool:
    """Waits until reading from `sock` would not block; False when the deadline is over."""
    return _wait(checked_descriptor(sock), False, deadline)


def wait_writable(sock: FileDescriptorLike, deadline: Deadline) -> bool:
    """Waits until writing to `sock` would not block; False when the deadline is over."""
    return _wait(checked_descriptor(sock), True, deadline)


def _wait(fd: int, writing: bool, deadline: Deadline) -> bool:
    while (left := deadline.left()) != 0:
        if poll([fd], writing, left):
            return True
    return False


def poll(fds: Iterable[int], writing: bool, seconds: float | None) -> set[int]:
    """Those of `fds` that become readable (or writable) first, within `seconds`; a very long wait may end early, with none.

    An error or a hang-up counts: the next call on the descriptor tells it. Raises `SocketError` for what is not open.
    """
    limit = _LONGEST_WAIT if seconds is None else min(seconds, _LONGEST_WAIT)
    if not hasattr(select, "poll"):
        wanted = list(fds)
        return {fd for ready in select.select([] if writing else wanted, wanted if writing else [], wanted, limit) for fd in ready}
    poller = select.poll()
    for fd in fds:
        if fd < 0:
            raise SocketError(errno.EBADF)
        poller.register(fd, select.POLLOUT if writing else select.POLLIN)
    ready = poller.poll(limit * 1000)
    if any(events & select.POLLNVAL for _, events in ready):
        raise SocketError(errno.EBADF)
    return {fd for fd, _ in ready}
