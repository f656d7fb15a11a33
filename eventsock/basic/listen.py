"""Listening sockets: TCP on IPv4 and IPv6, streams on Unix paths.

Knows bind(2) and listen(2) and what may be listened on. What becomes of the path of a Unix socket is known in `unix_listener`; must
not know how connections are accepted.
"""

from __future__ import annotations

import errno
import os
import socket

from ..errors import ListenError
from .addresses import SocketAddress, unix_address_or
from .arguments import checked_int, checked_port
from .unix_listener import UnixListener, check_owner, clear_stale

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from .unix_listener import Owner


def listen_on_ipv4_socket(address: str | bool, port: int, backlog: int = socket.SOMAXCONN) -> socket.socket:
    """A blocking TCP socket that listens on an IPv4 address and a port (0: one that the system chooses).

    `address`: a numeric str, True for localhost (127.0.0.1), False for any interface. `backlog`: how many connections may queue;
    the system limits it. A port whose old connections linger in TIME_WAIT can be listened on; one that somebody listens on cannot.
    Does not block; any thread. Raises `ListenError` (for a text that is no numeric address it is also a `ValueError`), `ValueError`
    or `TypeError`. After `listen-on-ipv4-socket` of chez-simple-sockets.
    """
    return _listen_on_tcp(socket.AF_INET, address, port, backlog, "127.0.0.1", "0.0.0.0")


def listen_on_ipv6_socket(address: str | bool, port: int, backlog: int = socket.SOMAXCONN) -> socket.socket:
    """A blocking TCP socket that listens on an IPv6 address and a port; True is `::1`, False any interface.

    For IPv6 alone: an IPv4 socket may listen on the same port (the original left that to the system's settings). Otherwise as
    `listen_on_ipv4_socket`.
    """
    return _listen_on_tcp(socket.AF_INET6, address, port, backlog, "::1", "::")


def _listen_on_tcp(family: int, address: str | bool, port: int, backlog: int, localhost: str, anywhere: str) -> socket.socket:
    if not isinstance(address, str | bool):
        raise TypeError(f"address must be a numeric str, True (localhost) or False (any), not {type(address).__name__}: {address!r}")
    text = address if isinstance(address, str) else localhost if address else anywhere
    local = _local_address(family, text, checked_port(port))
    checked_int(backlog, "backlog")
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError.of(error, address=local) from None
    return _listening(sock, local, backlog)


def _local_address(family: int, text: str, port: int) -> SocketAddress:
    try:
        return SocketAddress(family, text, port)
    except ValueError as error:
        reason = f"{error}; True is localhost, False any interface, and names are looked up with address_information()"
        raise ListenError.refused(errno.EINVAL, reason, address=text) from None


def _listening(sock: socket.socket, local: SocketAddress, backlog: int) -> socket.socket:
    try:
        sock.setblocking(True)
        if os.name == "posix":
            # Elsewhere it would let two servers share the port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(local.native)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ListenError.of(error, address=local) from None
    except BaseException:
        sock.close()
        raise
    return sock


def listen_on_unix_socket(
    pathname: StrOrBytesPath,
    backlog: int = socket.SOMAXCONN,
    error_on_existing: bool = False,
    *,
    mode: int | None = None,
    owner: Owner | None = None,
) -> socket.socket:
    """A blocking stream socket that listens on a Unix path; closing it removes the path, if it is still its own.

    A leading NUL makes the path one of Linux's abstract names. A stale socket at the path, one that refuses connections, is
    replaced unless `error_on_existing`; a live server's path, or anything that is not a socket, is never deleted. `mode` (as
    0o660) and `owner` (a user, or a user and a group, as names or numbers) are set before the first client can connect. Does not
    block; any thread. Raises `ListenError` (EADDRINUSE for a path that is taken; a path too long is also a `ValueError`),
    `ValueError` or `TypeError`. After `listen-on-unix-socket` of chez-simple-sockets, which deletes any file.
    """
    local = unix_address_or(ListenError, pathname)
    checked_int(backlog, "backlog")
    if mode is not None and not 0 <= checked_int(mode, "mode") <= 0o7777:
        raise ValueError(f"mode must be from 0 to 0o7777, not {mode:#o}")
    owner_ids = None if owner is None else check_owner(owner)
    if _is_abstract(local):
        if mode is not None or owner is not None:
            raise ValueError(f"an abstract name has no mode and no owner: {local}")
    elif not error_on_existing:
        clear_stale(local)
    return _listening_on_path(local, backlog, mode, owner_ids)


def _is_abstract(local: SocketAddress) -> bool:
    return local.path.startswith("\0")


def _listening_on_path(local: SocketAddress, backlog: int, mode: int | None, owner_ids: tuple[int, int] | None) -> UnixListener:
    try:
        sock = UnixListener(local.family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError.of(error, address=local) from None
    try:
        sock.setblocking(True)
        sock.bind(local.native)
        if not _is_abstract(local):
            sock.own(local.path)
        # Nobody can connect before listen(): there is no moment at which the wrong mode lets somebody in.
        if owner_ids is not None:
            os.chown(local.path, *owner_ids, follow_symlinks=False)
        if mode is not None:
            os.chmod(local.path, mode)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ListenError.of(error, address=local) from None
    except BaseException:
        sock.close()
        raise
    return sock
