"""One transfer on a bare socket, of a stream or of datagrams: tried at once, and again whenever the loop says it may go on.

Knows sockets, tasks and the sides of a descriptor. It keeps nothing between two calls, no hidden buffer either: what has a buffer is
a stream.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, final

from ..basic.addresses import SocketAddress
from ..basic.arguments import checked_size, readable_bytes, writable_bytes
from ..basic.handles import Borrowed, refuse_tls
from ..basic.names import known_peer
from ..basic.patience import receive_flags, send_flags
from ..errors import SocketError
from ..loop.current import here
from ..tasks.task import BUDGET, SUSPENDED, TURN, current_task
from ..tasks.waitable import Await, waitable

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike, ReadableBuffer, WriteableBuffer

__all__ = [
    "await_receive",
    "await_receive_from",
    "await_receive_from_into",
    "await_receive_into",
    "await_send",
    "await_send_all",
    "await_send_to",
]

# No more than this is ever at hand at once, and a buffer of the size costs no memory before something is in it.
_LARGEST_READ = 1 << 24

# The flags of nearly every call. Plain numbers: to combine those of the enumeration costs as much as a system call.
_RECEIVE = int(receive_flags(0))
_SEND = int(send_flags(0))

_MSG_TRUNC = int(getattr(socket, "MSG_TRUNC", 0))
_PEEK_OR_TRUNC = int(socket.MSG_PEEK) | _MSG_TRUNC


def _receive_flags(flags: int) -> int:
    return receive_flags(flags) if flags else _RECEIVE


def _send_flags(flags: int) -> int:
    return send_flags(flags) if flags else _SEND


_SOCKET = socket.socket
_AF_INET, _AF_INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_from_kernel = SocketAddress.from_kernel

# Makes what is given of what a call returned; the call's socket and arguments help.
Finish = Callable[[socket.socket, Any, tuple[Any, ...]], Any]


@final
class _Again:
    """The result of a call that is one step of several."""


_AGAIN: Final = _Again()


@waitable
def _await_transfer(
    sock: FileDescriptorLike, writing: bool, verb: str | _Sending, args: tuple[Any, ...], finish: Finish | None
) -> Generator[Any, Any, Any]:
    """Call the socket's method `verb` until it need not wait; `finish` makes of its result what is given.

    The side is looked at before the first call, and held until the last one.
    """
    loop = here.loop
    if loop is None or (task := loop.current) is None or task.waits_for is not None:
        task = current_task("a transfer")
        loop = task.loop
    descriptor = loop.book.find(sock)
    side = descriptor.write_side or descriptor.write if writing else descriptor.read
    if side.holder is not None or side.watch is not None:
        raise side.busy(task)
    s: Any = sock
    if sock.__class__ is not _SOCKET or s.gettimeout() != 0.0:
        s = usable(sock)
    waited = False
    side.holder = task
    try:
        call: Callable[..., Any] = getattr(s, verb) if verb.__class__ is str else verb.on(s)  # type: ignore[union-attr]
        while True:
            if task.eager >= BUDGET:
                yield TURN
            task.eager += 1
            try:
                result = call(*args)
            except BlockingIOError:
                if waited:
                    side.woken_in_vain()
                waited = True
                side.arm(task)
                task.waits_for = side
                yield SUSPENDED
            except OSError as error:
                raise SocketError.of(error, address=known_peer(sock)) from None
            else:
                if result is not _AGAIN:
                    return result if finish is None else finish(s, result, args)
    finally:
        side.holder = None
        if s is not sock:
            s.detach()


def usable(sock: FileDescriptorLike) -> socket.socket:
    """A non-blocking socket for `sock`, which is itself, or an object with `fileno()`: then one to be detached after use.

    `TypeError`: a TLS socket, or nothing that has a descriptor; `SocketError`: no socket.
    """
    if isinstance(sock, socket.socket):
        refuse_tls(sock)
        if sock.gettimeout() != 0.0:
            sock.setblocking(False)
        return sock
    alias = Borrowed(sock).__enter__()
    try:
        alias.setblocking(False)
    except OSError as error:
        alias.detach()
        raise SocketError.of(error) from None
    return alias


@waitable
def _await_nothing(value: Any) -> Generator[Any, Any, Any]:
    current_task()
    return value
    yield


# Receiving


def await_receive(sock: FileDescriptorLike, n: int, flags: int = 0) -> Await[bytes]:
    """At most `n` bytes from `sock`, as soon as there is any; `b""` at the end of input (and at once if `n` is 0).

    Does not suspend if something is there. Makes `sock` (a socket, or an object that has one's `fileno()`) non-blocking, as all
    procedures here do. `SocketError`; `BusyError`: another task or a watch uses this direction; `ValueError`, `TypeError`.
    Loop thread; the twin of `basic.receive`.
    """
    size = min(checked_size(n), _LARGEST_READ)
    return _await_transfer(sock, False, "recv", (size, _receive_flags(flags)), None) if size else _await_nothing(b"")


def await_receive_into(
    sock: FileDescriptorLike, buffer: WriteableBuffer, start: int = 0, end: int | None = None, flags: int = 0
) -> Await[int]:
    """As `await_receive`, into `buffer` from `start` to `end`; gives the number of bytes, 0 at the end of input.

    Offsets count bytes and must lie in the buffer (`ValueError`); a buffer that cannot be written is a `TypeError`.
    """
    room = writable_bytes(buffer, start, end)
    return _await_transfer(sock, False, "recv_into", (room, 0, _receive_flags(flags)), None) if room else _await_nothing(0)


def await_receive_from(sock: FileDescriptorLike, n: int, flags: int = 0) -> Await[tuple[bytes, SocketAddress]]:
    """One datagram, of at most `n` bytes, and its sender; an empty one is data and no end. Otherwise as `await_receive`.

    A datagram longer than `n` is a `SocketError` with EMSGSIZE and its first bytes in `.partial`, unless `flags` have MSG_TRUNC (take
    it so) or MSG_PEEK (it stays). On a connection the address is the peer's. recvfrom(2).
    """
    size = n if n.__class__ is int and 0 <= n < _LARGEST_READ else min(checked_size(n), _LARGEST_READ)
    if flags & _PEEK_OR_TRUNC:
        return _await_transfer(sock, False, "recvfrom", (size, _receive_flags(flags)), _with_sender)
    # One byte more than wanted tells a datagram that is too long from one that just fits.
    return _await_transfer(sock, False, "recvfrom", (size + 1, _receive_flags(flags) if flags else _RECEIVE), _whole_with_sender)


def await_receive_from_into(
    sock: FileDescriptorLike, buffer: WriteableBuffer, start: int = 0, end: int | None = None, flags: int = 0
) -> Await[tuple[int, SocketAddress]]:
    """As `await_receive_from`, into `buffer` from `start` to `end`: the length of the datagram, and its sender. recvmsg(2)."""
    room = writable_bytes(buffer, start, end)
    finish = _count_with_sender if flags & _PEEK_OR_TRUNC else _whole_count_with_sender
    return _await_transfer(sock, False, "recvmsg_into", ([room], 0, _receive_flags(flags)), finish)


def _with_sender(sock: socket.socket, result: Any, args: tuple[Any, ...]) -> tuple[bytes, SocketAddress]:
    return result[0], sender(sock, result[1])


def _whole_with_sender(sock: socket.socket, result: Any, args: tuple[Any, ...]) -> tuple[bytes, SocketAddress]:
    data, native = result
    if len(data) == args[0]:
        raise _too_long(data[:-1], sender(sock, native))
    return data, sender(sock, native)


def _count_with_sender(sock: socket.socket, result: Any, args: tuple[Any, ...]) -> tuple[int, SocketAddress]:
    return result[0], sender(sock, result[3])


def _whole_count_with_sender(sock: socket.socket, result: Any, args: tuple[Any, ...]) -> tuple[int, SocketAddress]:
    count, _, message_flags, native = result
    if message_flags & _MSG_TRUNC:
        raise _too_long(bytes(args[0][0][:count]), sender(sock, native))
    return count, sender(sock, native)


def _too_long(partial: bytes, source: SocketAddress) -> SocketError:
    text = f"the datagram has more than the {len(partial)} bytes that were asked for: ask for more, or take it cut with MSG_TRUNC"
    error = SocketError(errno.EMSGSIZE, text, address=source)
    error.partial = partial
    return error


def sender(sock: socket.socket, native: Any) -> SocketAddress:
    """Who sent a datagram, from what the kernel said."""
    if native.__class__ is tuple and native[0].__class__ is str:
        return _from_kernel(_AF_INET if len(native) == 2 else _AF_INET6, native)
    if native is None and sock.family != getattr(socket, "AF_UNIX", None):
        # The kernel names no sender on a connection: it is the peer, as long as there is one.
        return known_peer(sock) or SocketAddress(sock.family, "0.0.0.0" if sock.family == socket.AF_INET else "::")
    return SocketAddress.from_native(sock.family, native or "")


# Sending


def await_send(sock: FileDescriptorLike, data: ReadableBuffer, start: int = 0, end: int | None = None, flags: int = 0) -> Await[int]:
    """Send what the kernel takes of `data` from `start` to `end`, as soon as it takes any; gives the number of bytes.

    Otherwise as `await_receive`. The twin of `basic.send`; never raises SIGPIPE.
    """
    return _await_transfer(sock, True, "send", (readable_bytes(data, start, end), _send_flags(flags)), None)


def await_send_to(
    sock: FileDescriptorLike, data: ReadableBuffer, address: SocketAddress, start: int = 0, end: int | None = None, flags: int = 0
) -> Await[int]:
    """Send one datagram to `address`, a `SocketAddress`: no name is looked up here; gives the number of bytes.

    Too long for a datagram: EMSGSIZE; the socket stays usable. Otherwise as `await_send`. The twin of `basic.send_to`; sendto(2).
    """
    if not isinstance(address, SocketAddress):
        kind = type(address).__name__
        raise TypeError(f"address must be a SocketAddress, not {kind}: use inet_address(), unix_address() or address_information()")
    # Most of what is sent is bytes, and whole: then there is nothing to look at.
    view = data if data.__class__ is bytes and not start and end is None else readable_bytes(data, start, end)
    return _await_transfer(sock, True, "sendto", (view, _send_flags(flags) if flags else _SEND, address.native), None)


@waitable
def await_send_all(
    sock: FileDescriptorLike,
    data: ReadableBuffer,
    start: int = 0,
    end: int | None = None,
    flags: int = 0,
    *,
    send_size: int | None = None,
) -> Generator[Any, Any, None]:
    """Send all of `data` from `start` to `end`; on return the kernel has it.

    `send_size=None` offers the kernel all that is left at each call, a number only so many bytes: on a connected datagram socket
    these are the datagrams. An empty `data` is one empty send. A `SocketError`, a cancellation too, says in `.sent` how many bytes
    went out. The direction is held for the whole call. Otherwise as `await_send`. The twin of `basic.send_all`.
    """
    sending = _Sending(readable_bytes(data, start, end), send_size, _send_flags(flags))
    try:
        yield from _await_transfer(sock, True, sending, (), None)
    except BaseException as error:
        error.sent = sending.sent  # type: ignore[attr-defined]
        raise


class _Sending:
    """Sends step by step, and counts."""

    __slots__ = ("_data", "_flags", "_send", "_step", "sent")

    _send: Callable[[memoryview, int], int]

    def __init__(self, data: memoryview | bytes, step: int | None, flags: int) -> None:
        self._data = memoryview(data)
        self._step = len(data) if step is None else checked_size(step, "send_size")
        if step == 0:
            raise ValueError("send_size must be at least 1, or None for all that is left")
        self._flags = flags
        self.sent = 0

    def on(self, sock: socket.socket) -> Callable[[], _Again | None]:
        self._send = sock.send
        return self._send_some

    def _send_some(self) -> _Again | None:
        self.sent += self._send(self._data[self.sent : self.sent + self._step], self._flags)
        return _AGAIN if self.sent < len(self._data) else None
