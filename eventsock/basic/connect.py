"""Blocking connects: to a host of one family, to a Unix path, to a list of addresses, to a host of any family.

Knows in which order addresses are tried and when to stop. The steps of one attempt are in `attempts`, the order of a race in
`racing`; must not know listeners.
"""

from __future__ import annotations

import errno
import socket
from time import monotonic, sleep

from ..errors import ConnectError, ResolveError
from .addresses import SocketAddress, unix_address_or
from .arguments import checked_host, checked_port, checked_service
from .attempts import OUT_OF_RESOURCES, all_failed, begin, finish, new_socket, timed_out
from .deadlines import SURROUNDING, Deadline, deadline_of
from .handles import poll, wait_writable
from .racing import Race
from .resolve import AddressInfo, Query, answered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import StrOrBytesPath

    from .deadlines import TimeLimit

_LONGEST_PAUSE = 0.05


def connect_to_ipv4_host(
    address: str, service: str | int | None = None, port: int = 0, *, timeout: TimeLimit = SURROUNDING
) -> socket.socket:
    """A blocking TCP connection to an IPv4 host, a name or a numeric address; its addresses are tried in order.

    A `port` above 0 is the port, else the `service` is, a name such as "http" or itself a port. `timeout`: seconds for the whole
    call, the look-up included; None for no limit. Blocks the calling thread; any thread. Raises `ConnectError` (with `.attempts`;
    for a failed look-up also a `socket.gaierror`), `ValueError` or `TypeError` for a bad argument. After `connect-to-ipv4-host` of
    chez-simple-sockets.
    """
    return _connect_to_family(socket.AF_INET, address, service, port, timeout)


def connect_to_ipv6_host(
    address: str, service: str | int | None = None, port: int = 0, *, timeout: TimeLimit = SURROUNDING
) -> socket.socket:
    """A blocking TCP connection to an IPv6 host; otherwise as `connect_to_ipv4_host`."""
    return _connect_to_family(socket.AF_INET6, address, service, port, timeout)


def connect_to_unix_host(pathname: StrOrBytesPath, *, timeout: TimeLimit = SURROUNDING) -> socket.socket:
    """A blocking stream connection to the Unix socket at `pathname`; a leading NUL makes it one of Linux's abstract names.

    Waits while the listener's queue is full. `timeout` and errors as in `connect_to_ipv4_host`; a path too long for the kernel is
    a `ConnectError` that is also a `ValueError`. After `connect-to-unix-host` of chez-simple-sockets.
    """
    deadline = deadline_of("connect", timeout)
    address = unix_address_or(ConnectError, pathname)
    return _connect_in_turn([AddressInfo(address.family, socket.SOCK_STREAM, 0, address)], deadline, lambda error: True)


def connect_to_addresses(addrinfos: Iterable[AddressInfo], *, timeout: TimeLimit = SURROUNDING) -> socket.socket:
    """A blocking socket connected to the first of `addrinfos` that answers, of its family, type and protocol.

    Tried in order: an error that is transient (refused, unreachable, timed out) goes on to the next address, any other stops. With
    `timeout`, seconds for the whole call, each address gets an equal share of what is left. Blocks the calling thread; any thread.
    Raises the last error as a `ConnectError`, with all of them in `.attempts`. After `socket-connect/ai` of the CHICKEN egg.
    """
    deadline = deadline_of("connect", timeout)
    return _connect_in_turn(_checked_infos(addrinfos), deadline, lambda error: not error.transient)


def connect_to_host(host: str, service: str | int | None = None, port: int = 0, *, timeout: TimeLimit = SURROUNDING) -> socket.socket:
    """A blocking TCP connection to a host of any family, the quickest to answer (RFC 8305).

    IPv6 and IPv4 addresses take turns; an attempt begins when the one before has failed or has not answered for 0.25 s; the first
    connection is kept, the others are closed. Arguments and errors as in `connect_to_ipv4_host`.
    """
    deadline = deadline_of("connect", timeout)
    infos = _look_up(host_query(socket.AF_UNSPEC, host, service, port, "host"), deadline)
    return _BlockingRace(infos, deadline).run()


def host_query(family: int, address: str, service: str | int | None, port: int, name: str = "address") -> Query:
    """The look-up that a connect to a host begins with. The service is not looked up where the port decides."""
    host = checked_host(address, name)
    wanted: str | int | None = checked_port(port)
    if service is not None:
        wanted = wanted or checked_service(service)
    if not wanted:
        raise ValueError(f"a service, or a port from 1 to 65535, is needed to connect to {host!r}")
    return Query(host, wanted, family, socket.SOCK_STREAM, 0, 0)


def _connect_to_family(family: int, address: str, service: str | int | None, port: int, timeout: TimeLimit) -> socket.socket:
    deadline = deadline_of("connect", timeout)
    infos = _look_up(host_query(family, address, service, port), deadline)
    return _connect_in_turn(infos, deadline, lambda error: error.errno in OUT_OF_RESOURCES)


def _look_up(query: Query, deadline: Deadline) -> list[AddressInfo]:
    try:
        return answered(query, deadline)
    except ResolveError as error:
        raise ConnectError.unresolved(error) from error


def _checked_infos(addrinfos: Iterable[AddressInfo]) -> list[AddressInfo]:
    infos = list(addrinfos)
    for info in infos:
        if not isinstance(info, AddressInfo):
            raise TypeError(f"addrinfos must hold AddressInfo, as address_information() gives them, not {type(info).__name__}")
    if not infos:
        raise ConnectError(errno.EDESTADDRREQ, "there is no address to connect to")
    return infos


def _connect_in_turn(infos: list[AddressInfo], deadline: Deadline, stops: Callable[[ConnectError], bool]) -> socket.socket:
    attempts: list[ConnectError] = []
    for tried, info in enumerate(infos):
        try:
            return _connect_to(info, deadline.share(len(infos) - tried))
        except ConnectError as error:
            attempts.append(_kept(error))
            if stops(error):
                break
    raise all_failed(attempts)


def _kept(error: ConnectError) -> ConnectError:
    # With its traceback it would keep the frames alive that keep it: garbage for the collector.
    return error.with_traceback(None)


def _connect_to(info: AddressInfo, deadline: Deadline) -> socket.socket:
    sock = new_socket(info.family, info.socktype, info.protocol, info.address)
    try:
        _complete(sock, info.address, deadline)
        sock.setblocking(True)
    except BaseException:
        sock.close()
        raise
    return sock


def _complete(sock: socket.socket, address: SocketAddress, deadline: Deadline) -> None:
    pause = 0.001
    while (begun := begin(sock, address)) == "busy":
        left = deadline.left()
        if left == 0:
            raise timed_out(deadline.seconds, address)
        sleep(pause if left is None else min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
    if begun == "pending":
        if not wait_writable(sock, deadline):
            raise timed_out(deadline.seconds, address)
        finish(sock, address)


class _BlockingRace:
    """Runs a race in the calling thread: polls what is under way until one attempt is home or all have failed."""

    def __init__(self, infos: list[AddressInfo], deadline: Deadline) -> None:
        self._race = Race(infos)
        self._deadline = deadline
        self._running: dict[int, tuple[socket.socket, SocketAddress]] = {}
        self._attempts: list[ConnectError] = []

    def run(self) -> socket.socket:
        """The socket of the first attempt that is home; the others are closed. Raises `ConnectError`."""
        try:
            while (home := self._start_those_due() or self._first_home()) is None:
                pass
            home.setblocking(True)
            del self._running[home.fileno()]
            return home
        finally:
            for sock, _ in self._running.values():
                sock.close()

    def _start_those_due(self) -> socket.socket | None:
        while (info := self._race.due(monotonic())) is not None:
            self._deadline.progressed()
            home = self._start(info)
            if home is not None:
                return home
        return None

    def _start(self, info: AddressInfo) -> socket.socket | None:
        try:
            sock = new_socket(info.family, info.socktype, info.protocol, info.address)
        except ConnectError as error:
            self._note(error)
            if error.errno in OUT_OF_RESOURCES:
                raise all_failed(self._attempts) from None
            return None
        self._running[sock.fileno()] = sock, info.address
        try:
            return sock if begin(sock, info.address) == "connected" else None
        except ConnectError as error:
            self._drop(sock, error)
            return None

    def _first_home(self) -> socket.socket | None:
        if not self._running:
            raise all_failed(self._attempts)
        ready = poll(self._running, True, self._patience())
        for sock, address in [self._running[fd] for fd in ready]:
            try:
                finish(sock, address)
            except ConnectError as error:
                self._drop(sock, error)
            else:
                return sock
        if not ready and self._deadline.left() == 0:
            self._give_up_all()
        return None

    def _patience(self) -> float | None:
        """The seconds until the next attempt is due or the time is over."""
        wake = self._race.wake()
        waits = [self._deadline.left(), None if wake is None else max(0.0, wake - monotonic())]
        return min((each for each in waits if each is not None), default=None)

    def _give_up_all(self) -> None:
        for sock, address in list(self._running.values()):
            self._drop(sock, timed_out(self._deadline.seconds, address))
        if not self._deadline.renews:
            raise all_failed(self._attempts)

    def _drop(self, sock: socket.socket, error: ConnectError) -> None:
        del self._running[sock.fileno()]
        sock.close()
        self._note(error)

    def _note(self, error: ConnectError) -> None:
        self._attempts.append(_kept(error))
        self._race.failed()
