"""One transfer on a bare socket: tried at once, and again whenever the loop says it may go on.

Knows sockets, tasks and the sides of a descriptor. It keeps nothing between two calls; what buffers is a stream.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from ..basic.addresses import SocketAddress
from ..basic.arguments import checked_size, readable_bytes, writable_bytes
from ..errors import SocketError
from ..loop.descriptors import Side
from ..tasks.task import BUDGET, SUSPENDED, TURN, Task, current_task
from ..tasks.waitable import waitable
from .writing import NO_SIGNAL, await_rest

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "await_receive",
    "await_receive_from",
    "await_receive_into",
    "await_send",
    "await_send_all",
    "await_send_to",
]

T = TypeVar("T")


def claimed(sock: socket.socket, task: Task[Any], *, writing: bool) -> Side:
    """The side of `sock` that a transfer of `task` uses. `BusyError`: it has a user; found out before any system call."""
    if sock.gettimeout() != 0.0:
        sock.setblocking(False)
    descriptor = task.loop.book.find(sock)
    side = descriptor.write if writing else descriptor.read
    if side.holder is not None or side.watch is not None:
        raise side.busy(task)
    return side


def await_transfer(side: Side, task: Task[Any], attempt: Callable[[], T]) -> Generator[Any, Any, T]:
    """Call `attempt` until it does not raise `BlockingIOError`, waiting for the side in between. Other errors as `SocketError`."""
    if task.eager >= BUDGET:
        yield TURN
    try:
        result = attempt()
        task.eager += 1
        return result
    except BlockingIOError:
        pass
    except OSError as error:
        raise SocketError.of(error) from None
    side.holder = task
    try:
        while True:
            side.arm(task)
            task.waits_for = side
            yield SUSPENDED
            try:
                return attempt()
            except BlockingIOError:
                side.woken_in_vain()
            except OSError as error:
                raise error if isinstance(error, SocketError) else SocketError.of(error) from None
    finally:
        side.holder = None


@waitable
def await_receive(sock: socket.socket, n: int, flags: int = 0) -> Generator[Any, Any, bytes]:
    """At most `n` bytes from `sock`, as soon as there is any; `b""` at the end of input. `SocketError`; `BusyError`: another reads."""
    checked_size(n)
    task = current_task("await_receive()")
    side = claimed(sock, task, writing=False)
    return (yield from await_transfer(side, task, lambda: sock.recv(n, flags)))


@waitable
def await_receive_into(
    sock: socket.socket, buffer: WriteableBuffer, start: int = 0, end: int | None = None, flags: int = 0
) -> Generator[Any, Any, int]:
    """As `await_receive`, into `buffer` from `start` to `end`; gives the number of bytes, 0 at the end of input."""
    room = writable_bytes(buffer, start, end)
    task = current_task("await_receive_into()")
    side = claimed(sock, task, writing=False)
    return (yield from await_transfer(side, task, lambda: sock.recv_into(room, 0, flags)))


@waitable
def await_receive_from(sock: socket.socket, n: int, flags: int = 0) -> Generator[Any, Any, tuple[bytes, SocketAddress]]:
    """One datagram of at most `n` bytes and its sender; an empty one is data. What does not fit is lost (recv(2))."""
    checked_size(n)
    task = current_task("await_receive_from()")
    side = claimed(sock, task, writing=False)
    data, native = yield from await_transfer(side, task, lambda: sock.recvfrom(n, flags))
    return data, SocketAddress.from_native(sock.family, native or "")


@waitable
def await_send(
    sock: socket.socket, data: ReadableBuffer, start: int = 0, end: int | None = None, flags: int = 0
) -> Generator[Any, Any, int]:
    """Send what the kernel takes of `data`, as soon as it takes any; gives the number of bytes. Errors as `await_receive`."""
    view = readable_bytes(data, start, end)
    task = current_task("await_send()")
    side = claimed(sock, task, writing=True)
    return (yield from await_transfer(side, task, lambda: sock.send(view, flags | NO_SIGNAL)))


@waitable
def await_send_all(
    sock: socket.socket, data: ReadableBuffer, start: int = 0, end: int | None = None, flags: int = 0
) -> Generator[Any, Any, None]:
    """Send all of `data`; on return the kernel has it. A `SocketError` or a cancellation says in `.sent` how many bytes went out."""
    view = readable_bytes(data, start, end)
    task = current_task("await_send_all()")
    side = claimed(sock, task, writing=True)
    sent = yield from await_transfer(side, task, lambda: sock.send(view, flags | NO_SIGNAL))
    if sent < len(view):
        side.holder = task
        try:
            yield from await_rest(lambda rest, _: sock.send(rest, flags | NO_SIGNAL), view, sent, side, task)
        finally:
            side.holder = None


@waitable
def await_send_to(
    sock: socket.socket, data: ReadableBuffer, address: SocketAddress, start: int = 0, end: int | None = None, flags: int = 0
) -> Generator[Any, Any, int]:
    """Send one datagram to `address`; gives the number of bytes. Errors as `await_receive`."""
    view = readable_bytes(data, start, end)
    task = current_task("await_send_to()")
    side = claimed(sock, task, writing=True)
    return (yield from await_transfer(side, task, lambda: sock.sendto(view, flags | NO_SIGNAL, address.native)))
