"""Connecting in tasks: one socket, the addresses of a host in turn, or a race of them (RFC 8305).

Knows the steps of one attempt (`basic.attempts`) and the order of a race (`basic.racing`), and waits for writability in between.
It must not know listeners or streams. Whatever ends a connect, every socket it made and does not return is closed.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from ..basic.addresses import SocketAddress, unix_address_or
from ..basic.attempts import OUT_OF_RESOURCES, all_failed, begin, finish, new_socket
from ..basic.connect import host_query
from ..basic.handles import Borrowed
from ..basic.racing import Race
from ..basic.resolve import AddressInfo, Query
from ..errors import ConnectError, ResolveError
from ..tasks.task import SUSPENDED, Task, current_task
from ..tasks.waitable import Await, waitable
from ..tasks.waits import OneShotResume, await_callback, await_sleep
from .resolver import await_addresses

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike, StrOrBytesPath

    from ..basic.addresses import NativeAddress
    from ..loop.descriptors import Side

__all__ = [
    "await_connect",
    "await_connect_to_host",
    "await_connect_to_ipv4_host",
    "await_connect_to_ipv6_host",
    "await_connect_to_unix_host",
]

# Seconds between two tries while the queue of a Unix listener is full: no event tells when it has room again.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


@waitable
def await_connect(sock: FileDescriptorLike, address: SocketAddress | NativeAddress) -> Generator[Any, Any, None]:
    """Connect `sock` to `address`, a `SocketAddress` or what the `socket` module takes for the socket's family (no names).

    Makes `sock` non-blocking. Waits while the queue of a Unix listener is full. `ConnectError`, and the socket stays the caller's: it
    is of no use any more, as it is after a cancellation. `BusyError`: another task writes to it, or connects it. `ValueError`: an
    address of another family. Origin: guile-a-sync2 `await-connect!`; connect(2).
    """
    task = current_task("await_connect()")
    with Borrowed(sock) as plain:
        if not isinstance(address, SocketAddress):
            address = SocketAddress.from_native(plain.family, address)
        if address.family != plain.family:
            raise ValueError(f"address {address} is of {address.family.name}, but sock is of {plain.family!r}")
        side = _side_of(plain, sock, address, task)
        side.hold(task)
        try:
            pause = _FIRST_PAUSE
            while (begun := begin(plain, address)) == "busy":
                yield from await_sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            if begun == "pending":
                side.arm(task)
                task.waits_for = side
                del task  # a frame that holds it would make a cycle of it and a cancellation that is raised here
                yield SUSPENDED
                finish(plain, address)
        finally:
            side.holder = None


def _side_of(sock: socket.socket, file: Any, address: SocketAddress, task: Task[Any]) -> Side:
    try:
        sock.setblocking(False)
        return task.loop.book.find(file).write
    except OSError as error:
        raise ConnectError.of(error, address=address) from None


def await_connect_to_ipv4_host(address: str, service: str | int | None = None, port: int = 0) -> Await[socket.socket]:
    """A non-blocking TCP connection to an IPv4 host, a name or a numeric address; its addresses are tried in order.

    A `port` above 0 is the port, else the `service` is, a name such as "http" or itself a port. Look-ups do not block the loop.
    `ConnectError` (with `.attempts`; for a failed look-up also a `socket.gaierror`); `ValueError`, `TypeError`.
    Origin: chez-simple-sockets `await-connect-to-ipv4-host!`.
    """
    return _await_connect_in_turn(host_query(socket.AF_INET, address, service, port))


def await_connect_to_ipv6_host(address: str, service: str | int | None = None, port: int = 0) -> Await[socket.socket]:
    """A non-blocking TCP connection to an IPv6 host; otherwise as `await_connect_to_ipv4_host`."""
    return _await_connect_in_turn(host_query(socket.AF_INET6, address, service, port))


def await_connect_to_unix_host(pathname: StrOrBytesPath) -> Await[socket.socket]:
    """A non-blocking stream connection to the Unix socket at `pathname`; a leading NUL makes it one of Linux's abstract names.

    Waits while the listener's queue is full. `ConnectError`. Origin: chez-simple-sockets `await-connect-to-unix-host!`.
    """
    address = unix_address_or(ConnectError, pathname)
    return _await_in_turn([AddressInfo(address.family, socket.SOCK_STREAM, 0, address)])


def await_connect_to_host(host: str, service: str | int | None = None, port: int = 0) -> Await[socket.socket]:
    """A non-blocking TCP connection to a host of any family, the quickest to answer (RFC 8305).

    IPv6 and IPv4 addresses take turns; an attempt begins when the one before has failed or has not answered for 0.25 s; the first
    connection is kept, the others are closed. Arguments and errors as in `await_connect_to_ipv4_host`.
    """
    return _await_race(host_query(socket.AF_UNSPEC, host, service, port, "host"))


def _await_look_up(query: Query) -> Generator[Any, Any, Sequence[AddressInfo]]:
    try:
        return (yield from await_addresses(query))
    except ResolveError as error:
        raise ConnectError.unresolved(error) from error


@waitable
def _await_connect_in_turn(query: Query) -> Generator[Any, Any, socket.socket]:
    return (yield from _await_in_turn((yield from _await_look_up(query))))


@waitable
def _await_in_turn(infos: Sequence[AddressInfo]) -> Generator[Any, Any, socket.socket]:
    attempts: list[ConnectError] = []
    for info in infos:
        try:
            return (yield from _await_connection(info))
        except ConnectError as error:
            attempts.append(error)
            if error.errno in OUT_OF_RESOURCES:
                break
    try:
        raise all_failed(attempts)
    finally:
        attempts.clear()  # their traces hold this frame, and it would hold them


def _await_connection(info: AddressInfo) -> Generator[Any, Any, socket.socket]:
    loop = current_task("a connect").loop
    sock = new_socket(info.family, info.socktype, info.protocol, info.address)
    try:
        yield from await_connect(sock, info.address)
    except BaseException:
        loop.forget(sock)
        sock.close()
        raise
    return sock


@waitable
def _await_race(query: Query) -> Generator[Any, Any, socket.socket]:
    infos = yield from _await_look_up(query)
    runners = _Runners(infos, current_task())
    try:
        return (yield from runners.run())
    except BaseException:
        runners.close_winner()
        raise
    finally:
        runners.close_losers()


class _Runners:
    """The attempts of one race that are under way, and the errors of those that failed."""

    def __init__(self, infos: Sequence[AddressInfo], task: Task[Any]) -> None:
        self._race = Race(infos)
        self._task = task
        self._under_way: list[_Attempt] = []
        self._errors: list[ConnectError] = []
        self._changed: OneShotResume | None = None
        self.winner: socket.socket | None = None

    def run(self) -> Generator[Any, Any, socket.socket]:
        """Start attempts as they fall due until one is home. `ConnectError`: all failed."""
        while True:
            self._start_those_due()
            if self.winner is not None:
                return self.winner
            if not self._under_way and self._race.wake() is None:
                raise all_failed(self._errors)
            yield from self._await_change()

    def _start_those_due(self) -> None:
        while self.winner is None and (info := self._race.due(self._task.loop.time())) is not None:
            try:
                self._start(info)
            except ConnectError as error:
                self.failed(error)

    def _start(self, info: AddressInfo) -> None:
        sock = new_socket(info.family, info.socktype, info.protocol, info.address)
        try:
            if begin(sock, info.address) == "connected":
                self.winner = sock
            else:
                self._under_way.append(_Attempt(self, sock, info.address, self._task.loop.book.find(sock).write))
        except BaseException:
            sock.close()
            raise

    def _await_change(self) -> Generator[Any, Any, None]:
        """Until an attempt has ended or the next one is due."""
        loop = self._task.loop
        due = self._race.wake()
        timeout = None if due is None else loop.timeout_post(due - loop.time(), self.changed, repeat=False)
        try:
            yield from await_callback(self._note)
        finally:
            self._changed = None
            if timeout is not None:
                loop.timeout_remove(timeout)

    def _note(self, resume: OneShotResume) -> None:
        self._changed = resume

    def changed(self) -> None:
        if self._changed is not None:
            self._changed()

    def failed(self, error: ConnectError) -> None:
        self._errors.append(error)
        self._race.failed()

    def ended(self, attempt: _Attempt, error: ConnectError | None) -> None:
        """An attempt has its answer; the first good one wins, a second is closed with the losers."""
        if error is not None:
            self._under_way.remove(attempt)
            attempt.close()
            self.failed(error)
        elif self.winner is None:
            self._under_way.remove(attempt)
            self.winner = attempt.sock
        self.changed()

    def close_losers(self) -> None:
        """Close all but the winner."""
        for attempt in self._under_way:
            attempt.close()
        self._under_way.clear()

    def close_winner(self) -> None:
        """The race is being left without it."""
        if self.winner is not None:
            self._task.loop.forget(self.winner)
            self.winner.close()


class _Attempt:
    """One connect under way in a race; the loop wakes it when it has ended."""

    def __init__(self, runners: _Runners, sock: socket.socket, address: SocketAddress, side: Side) -> None:
        self._runners = runners
        self.sock = sock
        self._address = address
        self._side = side
        side.hold(self)
        side.arm(self)

    def wake(self) -> None:
        """Writable: the attempt has succeeded or failed."""
        self._side.holder = None
        try:
            finish(self.sock, self._address)
        except ConnectError as error:
            self._runners.ended(self, error)
        else:
            self._runners.ended(self, None)

    def fail(self, error: BaseException) -> None:
        """The descriptor was closed behind our back."""
        self._runners.ended(self, ConnectError(getattr(error, "errno", 9), address=self._address))

    def close(self) -> None:
        """Give it up."""
        self._side.withdraw()
        self._side.holder = None
        self._runners._task.loop.forget(self.sock)
        self.sock.close()

    def __str__(self) -> str:
        return f"a connect to {self._address}"
