"""Accepting connections in tasks. Several may wait on one listener; they are served first come, first served.

Knows listeners and accept(2), and which of its errors concern only the connection that is gone. It must not know who serves what.
"""

from __future__ import annotations

import errno
import socket
from collections import OrderedDict
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..basic.accept import GONE, check_family
from ..basic.addresses import SocketAddress
from ..basic.handles import Borrowed
from ..basic.names import known_name
from ..errors import AcceptError
from ..loop.descriptors import Side
from ..tasks.task import BUDGET, SUSPENDED, TURN, Task, current_task
from ..tasks.waitable import Await, waitable

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["await_accept", "await_accept_ipv4_connection", "await_accept_ipv6_connection", "await_accept_unix_connection"]

Accepted = tuple[socket.socket, SocketAddress]

# The next accept may succeed: the connection was gone, or a signal came.
_PASSED_OVER = GONE | {errno.EINTR}


class AcceptLine:
    """The tasks that wait on one listener. It holds and arms the side for all of them, and wakes one at a time."""

    __slots__ = ("_side", "_tasks")

    def __init__(self, side: Side) -> None:
        self._side = side
        # In the order in which they came, and quick to leave from anywhere.
        self._tasks: OrderedDict[Task[Any], None] = OrderedDict()

    def join(self, task: Task[Any], *, first: bool) -> None:
        """Stand in line: at the end, or first again after waking up for nothing. `SocketError`: the listener is gone."""
        if self._side.waiter is None:
            self._side.arm(self)
        self._side.holder = self
        self._tasks[task] = None
        if first:
            self._tasks.move_to_end(task, last=False)
        task.waits_for = _Place(self, task)

    def leave(self, task: Task[Any]) -> bool:
        """Step out; False when it is being woken already."""
        if task not in self._tasks:
            return False
        del self._tasks[task]
        if not self._tasks:
            self._side.withdraw()
            self._side.holder = None
        return True

    def wake(self) -> None:
        """A connection is there: it is the first task's."""
        task, _ = self._tasks.popitem(last=False)
        if self._tasks:
            self._side.arm(self)
        else:
            self._side.holder = None
        task.wake()

    def fail(self, error: BaseException) -> None:
        """The listener is gone: tell all, each with an error of its own."""
        self._side.holder = None
        while self._tasks:
            task, _ = self._tasks.popitem(last=False)
            task.fail(AcceptError.of(error) if isinstance(error, OSError) else error)

    def __str__(self) -> str:
        return ", ".join(map(str, self._tasks))


class _Place:
    """A place in the line before a listener."""

    __slots__ = ("_line", "_task")

    def __init__(self, line: AcceptLine, task: Task[Any]) -> None:
        self._line = line
        self._task = task

    def withdraw(self) -> bool:
        return self._line.leave(self._task)

    def __str__(self) -> str:
        return f"a connection on {self._line._side}"


def await_accept(sock: FileDescriptorLike) -> Await[Accepted]:
    """The next connection on the listener `sock`: a non-blocking socket, and the address of the client.

    Makes `sock` non-blocking. Does not suspend if a connection is waiting and nobody stands in line. A connection that was gone
    before it could be accepted is passed over. `AcceptError`: out of descriptors (EMFILE, …), no listening socket, or one that was
    closed meanwhile; `BusyError`: a watch or a reader uses it. Origin: guile-a-sync2 `await-accept!`; accept(2).
    """
    return _await_accept(None, sock)


@waitable
def _await_accept(family: int | None, sock: FileDescriptorLike) -> Generator[Any, Any, Accepted]:
    task = current_task("an accept")
    if type(sock) is socket.socket:
        return (yield from _await_accept_on(sock, sock, family, task))
    with Borrowed(sock) as listener:
        listener.setblocking(False)
        connection, address = yield from _await_accept_on(listener, sock, family, task)
    if listener is not sock:
        # A socket made for a bare descriptor does not know its type, and has handed on a guess.
        connection = socket.socket(fileno=connection.detach())
        connection.setblocking(False)
    return connection, address


def _await_accept_on(
    listener: socket.socket, file: FileDescriptorLike, family: int | None, task: Task[Any]
) -> Generator[Any, Any, Accepted]:
    if family is not None:
        check_family(family, listener)
    connection, native = yield from await_native_accept(listener, task, file)
    connection.setblocking(False)
    return connection, SocketAddress.from_kernel(listener.family, native)


def await_native_accept(
    listener: socket.socket, task: Task[Any], file: FileDescriptorLike | None = None
) -> Generator[Any, Any, tuple[socket.socket, Any]]:
    """As `await_accept`, with the address as the `socket` module writes it, and a socket that is still blocking.

    `file`: what the loop knows the listener by, where that is another object.
    """
    if task.eager >= BUDGET:
        yield TURN
    side = _side_of(listener, task, listener if file is None else file)
    woken = False
    while True:
        line: Any = side.holder
        if line is None or woken:
            accepted = _try_accept(listener)
            if accepted is not None:
                task.eager += 1
                return accepted
            if woken:
                side.woken_in_vain()
        try:
            (line or AcceptLine(side)).join(task, first=woken)
        except OSError as error:
            raise AcceptError.of(error) from None
        yield SUSPENDED
        woken = True


def _side_of(listener: socket.socket, task: Task[Any], file: Any) -> Side:
    try:
        if listener.gettimeout() != 0.0:
            listener.setblocking(False)
        side = task.loop.book.find(file).read
    except OSError as error:
        raise AcceptError.of(error) from None
    if side.watch is not None or not (side.holder is None or isinstance(side.holder, AcceptLine)):
        raise side.busy(task)
    return side


def _try_accept(listener: socket.socket) -> tuple[socket.socket, Any] | None:
    # Not for ever: a network that is down may say so each time, and a listener is ready again in the next turn.
    for _ in range(BUDGET):
        try:
            return _accept(listener)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _PASSED_OVER:
                raise AcceptError.of(error, address=known_name(listener)) from None
    return None


def _accept(listener: socket.socket) -> tuple[socket.socket, Any]:
    """As `listener.accept()`, without its two conversions to enumerations, which cost more than the system call."""
    if listener.__class__ is not socket.socket or not _IS_QUICK:
        return listener.accept()
    fd, native = listener._accept()  # type: ignore[attr-defined]
    return socket.socket(_family_of(listener), _kind_of(listener), listener.proto, fd), native


# What `socket.socket.accept` itself is made of, where it is made so.
_IS_QUICK = hasattr(socket.SocketType, "_accept")
# The plain numbers, which `socket.socket` dresses up.
_family_of = socket.SocketType.family.__get__
_kind_of = socket.SocketType.type.__get__


def await_accept_ipv4_connection(sock: FileDescriptorLike) -> Await[Accepted]:
    """As `await_accept`, on an IPv4 listener. `ValueError`: another family. Origin: `await-accept-ipv4-connection!`."""
    return _await_accept(socket.AF_INET, sock)


def await_accept_ipv6_connection(sock: FileDescriptorLike) -> Await[Accepted]:
    """As `await_accept`, on an IPv6 listener. `ValueError`: another family. Origin: `await-accept-ipv6-connection!`."""
    return _await_accept(socket.AF_INET6, sock)


def await_accept_unix_connection(sock: FileDescriptorLike) -> Await[Accepted]:
    """As `await_accept`, on a Unix listener; a client without a name has an empty path. Origin: `await-accept-unix-connection!`."""
    return _await_accept(socket.AF_UNIX, sock)
