"""Accepting connections in tasks. Several may wait on one listener; they are served first come, first served.

Knows listeners and accept(2), and which of its errors concern only the connection that is gone. It must not know who serves what.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Generator
from typing import Any

from ..basic.accept import GONE, check_family
from ..basic.addresses import SocketAddress
from ..basic.names import known_name
from ..errors import AcceptError
from ..loop.descriptors import Side
from ..tasks.task import BUDGET, SUSPENDED, TURN, Task, current_task
from ..tasks.waitable import Await, waitable

__all__ = ["await_accept", "await_accept_ipv4_connection", "await_accept_ipv6_connection", "await_accept_unix_connection"]

Accepted = tuple[socket.socket, SocketAddress]


class AcceptLine:
    """The tasks that wait on one listener. It holds and arms the side for all of them, and wakes one at a time."""

    __slots__ = ("_side", "_tasks")

    def __init__(self, side: Side) -> None:
        self._side = side
        self._tasks: deque[Task[Any]] = deque()

    def join(self, task: Task[Any], *, first: bool) -> None:
        """Stand in line: at the end, or first again after waking up for nothing."""
        if first:
            self._tasks.appendleft(task)
        else:
            self._tasks.append(task)
        if self._side.waiter is None:
            self._side.arm(self)
        task.waits_for = _Place(self, task)

    def leave(self, task: Task[Any]) -> bool:
        """Step out; False when it is being woken already."""
        if task not in self._tasks:
            return False
        self._tasks.remove(task)
        if not self._tasks:
            self._side.withdraw()
            self._side.holder = None
        return True

    def wake(self) -> None:
        """A connection is there: it is the first task's."""
        task = self._tasks.popleft()
        if self._tasks:
            self._side.arm(self)
        else:
            self._side.holder = None
        task.wake()

    def fail(self, error: BaseException) -> None:
        """The listener is gone: tell all."""
        self._side.holder = None
        while self._tasks:
            self._tasks.popleft().fail(error)

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


@waitable
def await_accept(sock: socket.socket) -> Generator[Any, Any, Accepted]:
    """The next connection on the listener `sock`: a non-blocking socket, and the address of the client.

    Makes `sock` non-blocking. Does not suspend if a connection is waiting and nobody stands in line. A connection that was gone
    before it could be accepted is passed over. `AcceptError`: out of descriptors (EMFILE, …), or no listening socket.
    Origin: guile-a-sync2 `await-accept!`; accept(2).
    """
    task = current_task("await_accept()")
    connection, native = yield from await_native_accept(sock, task)
    return connection, SocketAddress.from_native(sock.family, native)


def await_native_accept(sock: socket.socket, task: Task[Any]) -> Generator[Any, Any, tuple[socket.socket, Any]]:
    """As `await_accept`, with the address as the `socket` module writes it."""
    if sock.gettimeout() != 0.0:
        sock.setblocking(False)
    side = task.loop.book.find(sock).read
    line = side.holder
    if side.watch is not None or not (line is None or isinstance(line, AcceptLine)):
        raise side.busy(task)
    if task.eager >= BUDGET:
        yield TURN
    woken = False
    while True:
        if line is None or woken:
            accepted = _try_accept(sock)
            if accepted is not None:
                task.eager += 1
                return accepted
            if woken:
                side.woken_in_vain()
            line = side.holder
        if line is None:
            line = side.holder = AcceptLine(side)
        assert isinstance(line, AcceptLine)
        line.join(task, first=woken)
        yield SUSPENDED
        woken = True


def _try_accept(sock: socket.socket) -> tuple[socket.socket, Any] | None:
    while True:
        try:
            connection, native = sock.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in GONE and error.errno != errno.EINTR:
                raise AcceptError.of(error, address=known_name(sock)) from None
        else:
            connection.setblocking(False)
            return connection, native


def await_accept_ipv4_connection(sock: socket.socket) -> Await[Accepted]:
    """As `await_accept`, on an IPv4 listener. `ValueError`: another family. Origin: `await-accept-ipv4-connection!`."""
    return _await_accept_of(socket.AF_INET, sock)


def await_accept_ipv6_connection(sock: socket.socket) -> Await[Accepted]:
    """As `await_accept`, on an IPv6 listener. `ValueError`: another family. Origin: `await-accept-ipv6-connection!`."""
    return _await_accept_of(socket.AF_INET6, sock)


def await_accept_unix_connection(sock: socket.socket) -> Await[Accepted]:
    """As `await_accept`, on a Unix listener; a client without a name has an empty path. Origin: `await-accept-unix-connection!`."""
    return _await_accept_of(socket.AF_UNIX, sock)


def _await_accept_of(family: int, sock: socket.socket) -> Await[Accepted]:
    check_family(family, sock)
    return await_accept(sock)
