"""One transfer, tried until it need not wait or the time is over.

Knows how a call says that it would block, and turns what else goes wrong into a `SocketError` with the peer's address. Must not know
what is transferred.
"""

from __future__ import annotations

import errno
import socket

from ..errors import SocketError
from .arguments import checked_int
from .handles import DONT_WAIT, wait_readable, wait_writable
from .names import known_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    from .deadlines import Deadline

    P = ParamSpec("P")
    T = TypeVar("T")

# No signal for a write to a closed connection, also in a process that does not ignore SIGPIPE.
_NO_SIGNAL: int = getattr(socket, "MSG_NOSIGNAL", 0)

# Python would return more bytes than came for it, and TCP would throw them away.
_MSG_TRUNC: int = getattr(socket, "MSG_TRUNC", 0)


def receive_flags(flags: int) -> int:
    """The flags of a receive that does not wait. Raises `TypeError` or `ValueError`."""
    return (checked_int(flags, "flags") | DONT_WAIT) & ~_MSG_TRUNC


def send_flags(flags: int) -> int:
    """The flags of a send that neither waits nor raises SIGPIPE. Raises `TypeError` or `ValueError`."""
    return checked_int(flags, "flags") | DONT_WAIT | _NO_SIGNAL


def receiving(sock: socket.socket, deadline: Deadline, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `call`, a receive on `sock`, as soon as it need not wait. Raises `SocketError`."""
    while True:
        if DONT_WAIT or wait_readable(sock, deadline):
            try:
                return call(*args, **kwargs)
            except BlockingIOError:
                pass
            except OSError as error:
                raise SocketError.of(error, address=known_peer(sock)) from None
        if not wait_readable(sock, deadline):
            raise _too_late(sock, "nothing came", deadline)


def sending(sock: socket.socket, deadline: Deadline, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `call`, a send on `sock`, as soon as it need not wait. Raises `SocketError`."""
    while True:
        if DONT_WAIT or wait_writable(sock, deadline):
            try:
                return call(*args, **kwargs)
            except BlockingIOError:
                pass
            except OSError as error:
                raise SocketError.of(error, address=known_peer(sock)) from None
        if not wait_writable(sock, deadline):
            raise _too_late(sock, "the peer took nothing", deadline)


def _too_late(sock: socket.socket, what: str, deadline: Deadline) -> SocketError:
    return SocketError(errno.ETIMEDOUT, f"{what} within {deadline.seconds or 0:g} s", address=known_peer(sock))
