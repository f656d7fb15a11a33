"""Descriptors sent to another process over a Unix socket, and received without ever leaking one.

Knows SCM_RIGHTS (unix(7)). Must not know what the descriptors are.
"""

from __future__ import annotations

import errno
import os
import socket
from array import array

from ..errors import SocketError
from .arguments import checked_descriptor, checked_size, readable_bytes
from .deadlines import SURROUNDING, deadline_of
from .handles import Borrowed
from .names import known_peer
from .patience import receive_flags, receiving, send_flags, sending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import FileDescriptorLike, ReadableBuffer

    from .deadlines import TimeLimit

    Ancillary = list[tuple[int, int, bytes]]

# SCM_MAX_FD of Linux; no system takes more in one message.
_MOST_DESCRIPTORS = 253

# Where it is missing, a child started in the very moment could inherit what is received.
_CLOSE_ON_EXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def send_descriptors(
    sock: FileDescriptorLike,
    data: ReadableBuffer,
    descriptors: Iterable[FileDescriptorLike],
    *,
    timeout: TimeLimit = SURROUNDING,
) -> None:
    """Sends all of `data`, with copies of `descriptors` (ints, or objects with `fileno()`), over the Unix socket `sock`.

    The descriptors travel with the first byte, so there must be one. Yours stay open, and you may close them when this returns.
    `timeout`: seconds for the whole call; None for no limit. Blocks the calling thread; any thread. Raises `SocketError` (with what
    went out in `.sent`: if that is 0, the descriptors did not go either), `ValueError` or `TypeError`. unix(7), SCM_RIGHTS.
    """
    numbers = array("i", (checked_descriptor(each, "descriptors") for each in descriptors))
    if len(numbers) > _MOST_DESCRIPTORS:
        raise ValueError(f"descriptors must be at most {_MOST_DESCRIPTORS} in one message, not {len(numbers)}")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers.tobytes())] if numbers else []
    deadline = deadline_of("send", timeout)
    sent = 0
    with readable_bytes(data) as view, Borrowed(sock) as s:
        _check_family(s)
        if not view:
            raise ValueError("data must not be empty: descriptors travel with a byte")
        try:
            sent = sending(s, deadline, s.sendmsg, [view], ancillary, send_flags(0))
            while sent < len(view):
                deadline.progressed()
                with view[sent:] as rest:
                    sent += sending(s, deadline, s.send, rest, send_flags(0))
        except SocketError as error:
            error.sent = sent
            raise


def receive_descriptors(sock: FileDescriptorLike, n: int, limit: int, *, timeout: TimeLimit = SURROUNDING) -> tuple[bytes, list[int]]:
    """Waits for bytes with descriptors on the Unix socket `sock`: at most `n` bytes and `limit` descriptors, closed on exec.

    The descriptors are yours to close. `(b"", [])` at the end of the stream. If more descriptors come than `limit`, or a datagram
    has more than `n` bytes, all that came are closed and the error is EMSGSIZE, with the bytes in `.partial`; likewise EMFILE if
    this process may not have so many. `timeout`: seconds for the whole call; None for no limit. Blocks the calling thread; any
    thread. Raises `SocketError`, `ValueError` or `TypeError`.
    """
    size = checked_size(n)
    if not size:
        raise ValueError("n must be at least 1: descriptors travel with a byte")
    if checked_size(limit, "limit") > _MOST_DESCRIPTORS:
        raise ValueError(f"limit must be at most {_MOST_DESCRIPTORS}, not {limit}")
    # With room for the credentials of a socket that has SO_PASSCRED: they would push the descriptors out.
    room = socket.CMSG_SPACE(limit * array("i").itemsize) + socket.CMSG_SPACE(3 * array("i").itemsize)
    deadline = deadline_of("receive", timeout)
    call_flags = receive_flags(0) | _CLOSE_ON_EXEC
    with Borrowed(sock) as s:
        _check_family(s)
        data, ancillary, message_flags, _ = receiving(s, deadline, s.recvmsg, size, room, call_flags)
        descriptors = _descriptors(ancillary)
        if message_flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC) or len(descriptors) > limit:
            for fd in descriptors:
                os.close(fd)
            # There was room for so many, but the kernel could not open them here.
            is_full = message_flags & socket.MSG_CTRUNC and len(descriptors) < limit
            raise _out_of_descriptors(s, data) if is_full else _too_much(s, data, size, limit)
    return data, descriptors


def _check_family(sock: socket.socket) -> None:
    # Over TCP the kernel would drop the descriptors without a word.
    if sock.family != socket.AF_UNIX:
        raise ValueError(f"sock must be a Unix socket to carry descriptors, not one of {sock.family!r}")


def _descriptors(ancillary: Ancillary) -> list[int]:
    found = array("i")
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
    if not _CLOSE_ON_EXEC:
        for fd in found:
            os.set_inheritable(fd, False)
    return found.tolist()


def _too_much(sock: socket.socket, data: bytes, n: int, limit: int) -> SocketError:
    text = f"more came than {n} bytes with {limit} descriptors; all that came were closed"
    return _lost(sock, data, errno.EMSGSIZE, text)


def _out_of_descriptors(sock: socket.socket, data: bytes) -> SocketError:
    return _lost(sock, data, errno.EMFILE, "too many open files to take the descriptors that came; all of them were closed")


def _lost(sock: socket.socket, data: bytes, code: int, text: str) -> SocketError:
    error = SocketError(code, text, address=known_peer(sock))
    error.partial = data
    return error
