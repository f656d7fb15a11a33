"""Blocking sends, of bytes and of text, over streams and datagrams.

Knows send(2) and its kin, and how much of something went out. Must not know how to receive. Each call is tried first and waits only
if it must, whatever the blocking mode of the socket, which stays as it is.
"""

from __future__ import annotations

from ..errors import SocketError
from .addresses import SocketAddress
from .arguments import checked_size, readable_bytes
from .deadlines import SURROUNDING, deadline_of
from .handles import Borrowed
from .patience import send_flags, sending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike, ReadableBuffer

    from .deadlines import TimeLimit


def send(
    sock: FileDescriptorLike,
    data: ReadableBuffer,
    start: int = 0,
    end: int | None = None,
    flags: int = 0,
    *,
    timeout: TimeLimit = SURROUNDING,
) -> int:
    """Sends the bytes of `data` from `start` to `end`, or the first of them; the number that the kernel took.

    Waits only until some can be taken. Offsets count bytes and must lie in `data` (`ValueError`). Never raises SIGPIPE. `timeout`:
    seconds for the whole call; None for no limit. Blocks the calling thread; any thread. Raises `SocketError` (also a
    `TimeoutError` when the time is over), `ValueError` or `TypeError`. After `socket-send` of the CHICKEN egg; send(2).
    """
    deadline = deadline_of("send", timeout)
    call_flags = send_flags(flags)
    with readable_bytes(data, start, end) as view, Borrowed(sock) as s:
        return sending(s, deadline, s.send, view, call_flags)


def send_all(
    sock: FileDescriptorLike,
    data: ReadableBuffer,
    start: int = 0,
    end: int | None = None,
    flags: int = 0,
    *,
    send_size: int | None = None,
    timeout: TimeLimit = SURROUNDING,
) -> None:
    """Sends all bytes of `data` from `start` to `end`.

    `send_size=None` offers the kernel all that is left at each call, a number only so many bytes: on a connected datagram socket
    these are the datagrams. An empty `data` is one empty send, there an empty datagram. A failure, a timeout too, says in `.sent`
    how many bytes went out. `timeout`: seconds for the whole call; else the surrounding limit holds anew after each piece.
    Otherwise as `send`. After `socket-send-all` of the CHICKEN egg.
    """
    if send_size is not None and not checked_size(send_size, "send_size"):
        raise ValueError("send_size must be at least 1, or None for all that is left")
    deadline = deadline_of("send", timeout)
    call_flags = send_flags(flags)
    sent = 0
    with readable_bytes(data, start, end) as view, Borrowed(sock) as s:
        step = send_size or len(view)
        try:
            while True:
                with view[sent : sent + step] as piece:
                    sent += sending(s, deadline, s.send, piece, call_flags)
                if sent >= len(view):
                    return
                deadline.progressed()
        except SocketError as error:
            error.sent = sent
            raise


def send_to(
    sock: FileDescriptorLike,
    data: ReadableBuffer,
    address: SocketAddress,
    start: int = 0,
    end: int | None = None,
    flags: int = 0,
    *,
    timeout: TimeLimit = SURROUNDING,
) -> int:
    """Sends the bytes of `data` from `start` to `end` as one datagram to `address`; their number.

    `address` is a `SocketAddress`: no name is looked up here. Too long for a datagram: EMSGSIZE; the socket stays usable. Otherwise
    as `send`. After `socket-send-to` of the CHICKEN egg; sendto(2).
    """
    if not isinstance(address, SocketAddress):
        kind = type(address).__name__
        raise TypeError(f"address must be a SocketAddress, not {kind}: use inet_address(), unix_address() or address_information()")
    deadline = deadline_of("send", timeout)
    call_flags = send_flags(flags)
    with readable_bytes(data, start, end) as view, Borrowed(sock) as s:
        try:
            return sending(s, deadline, s.sendto, view, call_flags, address.native)
        except SocketError as error:
            error.address = address
            raise


def write_bytes(sock: FileDescriptorLike, data: ReadableBuffer, *, timeout: TimeLimit = SURROUNDING) -> None:
    """Sends all of `data`, past the buffer of a port (`io_ports`) on the socket: flush that first.

    Works on non-blocking sockets too. Where the original answers `#f`, this raises `SocketError`, with what went out in `.sent`. As
    `send_all` otherwise. After `write-bytevector` of chez-simple-sockets.
    """
    send_all(sock, data, timeout=timeout)


def write_string(sock: FileDescriptorLike, text: str, encoding: str = "utf-8", *, timeout: TimeLimit = SURROUNDING) -> None:
    """Sends `text` in `encoding`; a newline stays what it is. What cannot be encoded is a `UnicodeError`, before anything is sent.

    As `write_bytes` otherwise. After `write-string` of chez-simple-sockets.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}: use write_bytes()")
    send_all(sock, text.encode(encoding), timeout=timeout)
