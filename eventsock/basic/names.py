"""The names of a socket's two ends, as the kernel knows them.

Knows getsockname(2) and getpeername(2). Must not know the names of hosts: that is `resolve`.
"""

from __future__ import annotations

import errno

from ..errors import SocketError
from .addresses import SocketAddress
from .handles import Borrowed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import FileDescriptorLike


def socket_name(sock: FileDescriptorLike) -> SocketAddress | None:
    """The local address of `sock`; None if it is not bound.

    Does not block; any thread. Raises `SocketError` for a closed socket or what is none. After `socket-name` of the CHICKEN egg,
    which has no names of Unix sockets.
    """
    with Borrowed(sock) as s:
        try:
            native = s.getsockname()
        except OSError as error:
            raise SocketError.of(error) from None
        is_bound = native[1] if isinstance(native, tuple) else native
        return SocketAddress.from_native(s.family, native) if is_bound else None


def peer_name(sock: FileDescriptorLike) -> SocketAddress | None:
    """The remote address of `sock`, also of a connected datagram socket; None if it is not connected.

    A Unix peer without a name has an empty path. Does not block; any thread. Raises as `socket_name`. After `socket-peer-name` of
    the CHICKEN egg.
    """
    with Borrowed(sock) as s:
        try:
            native = s.getpeername()
        except OSError as error:
            if error.errno in (errno.ENOTCONN, errno.EINVAL):  # EINVAL: shut down by the peer (BSD)
                return None
            raise SocketError.of(error) from None
        return SocketAddress.from_native(s.family, native)


def known_name(sock: FileDescriptorLike) -> SocketAddress | None:
    """The local address for the text of an error, or None: telling of one error must not raise another."""
    return _known(socket_name, sock)


def known_peer(sock: FileDescriptorLike) -> SocketAddress | None:
    """The remote address for the text of an error, or None."""
    return _known(peer_name, sock)


def _known(name_of: Callable[[FileDescriptorLike], SocketAddress | None], sock: FileDescriptorLike) -> SocketAddress | None:
    try:
        found = name_of(sock)
    except (OSError, ValueError):
        return None
    return found if found is not None and str(found) else None
