"""Blocking connects against real listeners: who is tried, for how long, and what is left behind when it fails."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from eventsock.basic import (
    AddressInfo,
    ConnectError,
    ResolveError,
    SocketAddress,
    address_information,
    attempts,
    connect,
    connect_to_addresses,
    connect_to_host,
    connect_to_ipv4_host,
    connect_to_ipv6_host,
    connect_to_unix_host,
    deadlines,
    handles,
    inet_address,
    timeouts,
    unix_address,
)
from eventsock.basic.racing import Race

Passed = Callable[[], float]


def _info(address: str, port: int, socktype: int = socket.SOCK_STREAM) -> AddressInfo:
    made = inet_address(address, port)
    return AddressInfo(made.family, socktype, 0, made)


def _port(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Passed:
    """Makes time pass only where a wait ends in vain, and then as much as it was to last; gives how many seconds have passed."""
    poll, now = handles.poll, [100.0]

    def wait(fds: Iterable[int], writing: bool, seconds: float | None) -> set[int]:
        # What answers on the loopback interface at all has answered by then.
        ready = poll(fds, writing, None if seconds is None else 0.01)
        if not ready and seconds is not None:
            now[0] += seconds
        return ready

    for module in (handles, connect):
        monkeypatch.setattr(module, "poll", wait)
    for module in (deadlines, connect):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return lambda: now[0] - 100.0


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that neither accepts nor refuses: the queue of its listener is full."""
    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            clients.append(client)
        yield _port(listener)
        for client in clients:
            client.close()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses that every host has; to be filled in."""
    natives: list[tuple[str, int]] = []

    def answer(*_: object) -> list[tuple[Any, ...]]:
        return [(inet_address(*each).family, socket.SOCK_STREAM, 6, "", inet_address(*each).native) for each in natives]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return natives


@pytest.fixture
def quick_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts begin 20 ms after each other."""
    monkeypatch.setattr(connect, "Race", functools.partial(Race, delay=0.02))


# One family


def test_ipv4(tcp_listener: socket.socket) -> None:
    with connect_to_ipv4_host("127.0.0.1", None, _port(tcp_listener)) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()
        assert type(sock) is socket.socket
        assert sock.getblocking()
        assert sock.gettimeout() is None
        assert not sock.get_inheritable()


def test_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener, connect_to_ipv6_host("::1", _port(listener)) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.getblocking()


def test_name(tcp_listener: socket.socket) -> None:
    with connect_to_ipv4_host("localhost", _port(tcp_listener)) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()


def test_port_wins_over_service_which_is_not_looked_up(tcp_listener: socket.socket) -> None:
    port = _port(tcp_listener)
    for service in ("nosuchservice", "http", 1, str(port)):
        with connect_to_ipv4_host("127.0.0.1", service, port) as sock:
            assert sock.getpeername()[1] == port


def test_service_may_be_the_port_itself(tcp_listener: socket.socket) -> None:
    for service in (_port(tcp_listener), str(_port(tcp_listener))):
        with connect_to_ipv4_host("127.0.0.1", service) as sock:
            assert sock.getpeername() == tcp_listener.getsockname()


def test_service_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(*arguments: object) -> Any:
        asked.extend(arguments)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(ConnectError):
        connect_to_ipv4_host("example", "http")
    assert asked[:3] == ["example", "http", socket.AF_INET]


def test_default_timeout_of_the_standard_library_is_no_matter(tcp_listener: socket.socket) -> None:
    socket.setdefaulttimeout(0.001)
    try:
        with connect_to_ipv4_host("127.0.0.1", _port(tcp_listener)) as sock:
            assert sock.gettimeout() is None
    finally:
        socket.setdefaulttimeout(None)


@pytest.mark.parametrize("verb", [connect_to_ipv4_host, connect_to_ipv6_host, connect_to_host])
@pytest.mark.parametrize(
    "arguments",
    [
        ("localhost",),
        ("localhost", None, 0),
        ("localhost", 0),
        ("localhost", "0"),
        ("localhost", -1),
        ("localhost", 99999),
        ("localhost", "99999"),
        ("localhost", None, -1),
        ("localhost", None, 65536),
        ("localhost", ""),
        ("localhost", "ht\0tp"),
        ("", 80),
        ("localhost\0.evil", 80),
    ],
)
def test_bad_values(verb: Any, arguments: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(ValueError):
        verb(*arguments)


@pytest.mark.parametrize(
    "arguments", [(b"localhost", 80), (None, 80), ("localhost", True), ("localhost", None, "80x"), ("localhost", 80.0)]
)
def test_bad_types(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        connect_to_ipv4_host(*arguments)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True])
def test_bad_timeouts(timeout: Any, tcp_listener: socket.socket) -> None:
    with pytest.raises((ValueError, TypeError), match="timeout must be"):
        connect_to_ipv4_host("127.0.0.1", _port(tcp_listener), timeout=timeout)


# What is raised


def test_refused(refused_port: int) -> None:
    with pytest.raises(ConnectError, match=rf"cannot connect to 127\.0\.0\.1:{refused_port}: Connection refused") as caught:
        connect_to_ipv4_host("127.0.0.1", refused_port)
    error = caught.value
    assert isinstance(error, ConnectionRefusedError)
    assert error.errno == errno.ECONNREFUSED
    assert error.transient
    assert error.address == inet_address("127.0.0.1", refused_port)
    assert [each.address for each in error.attempts] == [error.address]


def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for verb in (connect_to_ipv4_host, connect_to_ipv6_host, connect_to_host):
        with pytest.raises(ConnectError, match=r"cannot connect to nosuch\.example:80: Name or service not known") as caught:
            verb("nosuch.example", 80)
        assert isinstance(caught.value, socket.gaierror)
        assert caught.value.errno == socket.EAI_NONAME
        assert isinstance(caught.value.__cause__, ResolveError)


def test_unknown_service() -> None:
    with pytest.raises(socket.gaierror, match="80x") as caught:
        connect_to_ipv4_host("127.0.0.1", "80x")
    assert isinstance(caught.value, ConnectError)


def test_address_of_the_other_family() -> None:
    with pytest.raises(ConnectError):
        connect_to_ipv4_host("::1", 80)
    with pytest.raises(ConnectError):
        connect_to_ipv6_host("127.0.0.1", 80)


def test_every_address_is_tried_in_order(resolver: list[tuple[str, int]], tcp_listener: socket.socket, refused_port: int) -> None:
    resolver += [("127.0.0.1", refused_port), ("127.0.0.1", _port(tcp_listener))]
    with connect_to_ipv4_host("example", 80) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()


def test_all_addresses_fail(resolver: list[tuple[str, int]], refused_port: int) -> None:
    resolver += [("127.0.0.1", refused_port), ("127.0.0.2", refused_port)]
    with pytest.raises(ConnectionRefusedError) as caught:
        connect_to_ipv4_host("example", 80)
    assert isinstance(caught.value, ConnectError)
    assert [str(each.address) for each in caught.value.attempts] == [f"127.0.0.1:{refused_port}", f"127.0.0.2:{refused_port}"]
    assert caught.value.address == caught.value.attempts[-1].address


def test_without_descriptors_no_further_address_is_tried(
    resolver: list[tuple[str, int]], tcp_listener: socket.socket, no_descriptors: Any
) -> None:
    resolver += [("127.0.0.1", _port(tcp_listener)), ("127.0.0.1", _port(tcp_listener))]
    for verb in (connect_to_ipv4_host, connect_to_host):
        with no_descriptors(), pytest.raises(ConnectError) as caught:
            verb("example", 80)
        assert caught.value.errno == errno.EMFILE
        assert len(caught.value.attempts) == 1


# Time


def test_whole_call_has_one_time_limit(silent_port: int) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectError, match=f"cannot connect to 127.0.0.1:{silent_port}: no answer within") as caught:
        connect_to_ipv4_host("127.0.0.1", silent_port, timeout=0.1)
    assert isinstance(caught.value, TimeoutError)
    assert 0.1 <= time.monotonic() - began < 5


def test_addresses_share_the_time_of_the_call(
    resolver: list[tuple[str, int]], tcp_listener: socket.socket, silent_port: int, passed: Passed
) -> None:
    resolver += [("127.0.0.1", silent_port), ("127.0.0.1", _port(tcp_listener))]
    with connect_to_ipv4_host("example", 80, timeout=0.2) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()
    assert passed() == pytest.approx(0.1)


def test_surrounding_limit_is_for_each_address(resolver: list[tuple[str, int]], silent_port: int, passed: Passed) -> None:
    resolver += [("127.0.0.1", silent_port)] * 2
    with timeouts(connect=0.05), pytest.raises(TimeoutError) as caught:
        connect_to_ipv4_host("example", 80)
    assert passed() == pytest.approx(0.1)
    assert len(caught.value.attempts) == 2  # type: ignore[attr-defined]


def test_look_up_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: release.wait(30) and [])
    try:
        for verb in (connect_to_ipv4_host, connect_to_host):
            with pytest.raises(ConnectError, match=r"cannot connect to slow.example:80: the look-up took longer than 0.05 s") as caught:
                verb("slow.example", 80, timeout=0.05)
            assert isinstance(caught.value, TimeoutError)
            assert isinstance(caught.value.__cause__, ResolveError)
    finally:
        release.set()


def test_interrupt_leaves_nothing_behind(silent_port: int) -> None:
    class InterruptError(Exception):
        pass

    def handler(*_: object) -> None:
        raise InterruptError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for verb in (connect_to_ipv4_host, connect_to_host):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(InterruptError):
                verb("127.0.0.1", silent_port)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_failures_leave_nothing_for_the_collector(refused_port: int, unix_path: str) -> None:
    gc.collect()
    gc.disable()
    try:
        for verb in (connect_to_ipv4_host, connect_to_host):
            with contextlib.suppress(ConnectError):
                verb("127.0.0.1", refused_port)
            with contextlib.suppress(ConnectError):
                verb("localhost", "nosuchservice", timeout=30)
        with contextlib.suppress(ConnectError):
            connect_to_unix_host(unix_path)
        assert gc.collect() == 0
    finally:
        gc.enable()


# Unix paths


def test_unix(unix_path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(unix_path)
        listener.listen()
        for path in (unix_path, os.fsencode(unix_path)):
            with connect_to_unix_host(path) as sock:
                assert sock.getpeername() == unix_path
                assert sock.getblocking()
                assert not sock.get_inheritable()


def test_unix_abstract_name() -> None:
    name = f"\0eventsock-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        with connect_to_unix_host(name) as sock:
            assert sock.getpeername() == name.encode()


def test_unix_errors(unix_path: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"cannot connect to {unix_path}: No such file") as missing:
        connect_to_unix_host(unix_path)
    assert isinstance(missing.value, ConnectError)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(unix_path)
    with pytest.raises(ConnectionRefusedError):
        connect_to_unix_host(unix_path)
    with pytest.raises(ConnectError) as long:
        connect_to_unix_host("x" * 108)
    assert long.value.errno == errno.ENAMETOOLONG
    assert isinstance(long.value, ValueError)
    for path in ("", "a\0b"):
        with pytest.raises(ValueError, match="pathname"):
            connect_to_unix_host(path)
    with pytest.raises(TypeError, match="pathname"):
        connect_to_unix_host(7)  # type: ignore[arg-type]


@pytest.fixture
def full_unix_listener(unix_path: str) -> Iterator[socket.socket]:
    """A Unix listener whose queue is full."""
    clients: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(unix_path)
        listener.listen(0)
        while not clients or not clients[-1].connect_ex(unix_path):
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].setblocking(False)
        yield listener
        for client in clients:
            client.close()


def test_full_unix_listener_is_waited_for(full_unix_listener: socket.socket) -> None:
    path = full_unix_listener.getsockname()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer within"):
        connect_to_unix_host(path, timeout=0.03)
    assert time.monotonic() - began >= 0.03
    accept = threading.Timer(0.03, lambda: full_unix_listener.accept()[0].close())
    accept.start()
    with connect_to_unix_host(path) as sock:
        assert sock.getpeername() == path
    accept.join()


# A list of addresses


def test_addresses_in_order(tcp_listener: socket.socket, refused_port: int) -> None:
    infos = [_info("127.0.0.1", refused_port), _info("127.0.0.1", _port(tcp_listener))]
    with connect_to_addresses(iter(infos)) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()


def test_addresses_as_they_are_looked_up(tcp_listener: socket.socket) -> None:
    with connect_to_addresses(address_information("localhost", _port(tcp_listener), family=socket.AF_INET)) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()


def test_timeout_goes_on_to_the_next_address(tcp_listener: socket.socket, silent_port: int, passed: Passed) -> None:
    infos = [_info("127.0.0.1", silent_port), _info("127.0.0.1", _port(tcp_listener))]
    with connect_to_addresses(infos, timeout=0.2) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()
    assert passed() == pytest.approx(0.1)
    with timeouts(connect=0.05), connect_to_addresses(infos) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()
    assert passed() == pytest.approx(0.15)


def test_last_error_is_raised_with_all_attempts(refused_port: int, silent_port: int, passed: Passed) -> None:
    infos = [_info("127.0.0.1", silent_port), _info("127.0.0.1", refused_port)]
    with pytest.raises(ConnectionRefusedError) as caught:
        connect_to_addresses(infos, timeout=0.1)
    assert passed() == pytest.approx(0.05)
    assert isinstance(caught.value, ConnectError)
    assert [each.errno for each in caught.value.attempts] == [errno.ETIMEDOUT, errno.ECONNREFUSED]


def test_fatal_error_stops(tcp_listener: socket.socket) -> None:
    nowhere = unix_address("/nonexistent/socket")
    infos = [AddressInfo(socket.AF_UNIX, socket.SOCK_STREAM, 0, nowhere), _info("127.0.0.1", _port(tcp_listener))]
    with pytest.raises(FileNotFoundError) as caught:
        connect_to_addresses(infos)
    assert len(caught.value.attempts) == 1  # type: ignore[attr-defined]


def test_no_address() -> None:
    with pytest.raises(ConnectError, match="no address to connect to"):
        connect_to_addresses([])


def test_what_is_no_address() -> None:
    with pytest.raises(TypeError, match="addrinfos must hold AddressInfo"):
        connect_to_addresses([("127.0.0.1", 80)])  # type: ignore[list-item]


def test_type_and_protocol_are_those_of_the_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        infos = address_information("127.0.0.1", _port(receiver), type=socket.SOCK_DGRAM)
        with connect_to_addresses(infos) as sock:
            assert (sock.type, sock.proto) == (socket.SOCK_DGRAM, socket.IPPROTO_UDP)
            assert sock.getpeername() == receiver.getsockname()


# Any family


def test_host_of_any_family(resolver: list[tuple[str, int]], tcp_listener: socket.socket) -> None:
    resolver += [("127.0.0.1", _port(tcp_listener))]
    with connect_to_host("example", 80) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()
        assert sock.gettimeout() is None


def test_refusal_goes_on_at_once(resolver: list[tuple[str, int]], tcp_listener: socket.socket, refused_port: int, passed: Passed) -> None:
    resolver += [("::1", refused_port), ("127.0.0.1", refused_port), ("127.0.0.1", _port(tcp_listener))]
    with connect_to_host("example", 80) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()
    assert passed() == 0


def test_silence_is_overtaken(resolver: list[tuple[str, int]], tcp_listener: socket.socket, silent_port: int, passed: Passed) -> None:
    resolver += [("127.0.0.1", silent_port), ("127.0.0.1", _port(tcp_listener))]
    with connect_to_host("example", 80) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()
    assert passed() == pytest.approx(0.25)


def test_first_address_keeps_its_head_start(resolver: list[tuple[str, int]], tcp_listener: socket.socket, passed: Passed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as second:
        resolver += [("127.0.0.1", _port(tcp_listener)), ("127.0.0.1", _port(second))]
        with connect_to_host("example", 80) as sock:
            assert sock.getpeername() == tcp_listener.getsockname()
        assert passed() == 0
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.accept()


@pytest.mark.usefixtures("quick_race")
def test_of_two_that_are_home_one_is_kept_and_the_other_closed(
    resolver: list[tuple[str, int]], tcp_listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_only_when_both_are_under_way(fds: dict[int, object], writing: bool, seconds: float | None) -> set[int]:
        if len(fds) < 2:
            time.sleep(seconds or 0)
            return set()
        return handles.poll(fds, writing, seconds)

    monkeypatch.setattr(connect, "poll", look_only_when_both_are_under_way)
    with socket.create_server(("127.0.0.1", 0)) as second:
        resolver += [("127.0.0.1", _port(tcp_listener)), ("127.0.0.1", _port(second))]
        with connect_to_host("example", 80) as sock, tcp_listener.accept()[0] as one, second.accept()[0] as other:
            winner, loser = (one, other) if sock.getpeername() == one.getsockname() else (other, one)
            loser.settimeout(5)
            assert loser.recv(1) == b""
            winner.send(b"x")
            assert sock.recv(1) == b"x"


@pytest.mark.usefixtures("quick_race")
def test_all_attempts_are_in_the_error(resolver: list[tuple[str, int]], refused_port: int, silent_port: int) -> None:
    resolver += [("::1", refused_port), ("127.0.0.1", silent_port), ("127.0.0.1", refused_port)]
    with pytest.raises(ConnectError) as caught:
        connect_to_host("example", 80, timeout=0.2)
    failures = {str(each.address): each.errno for each in caught.value.attempts}
    assert failures == {
        f"[::1]:{refused_port}": errno.ECONNREFUSED,
        f"127.0.0.1:{silent_port}": errno.ETIMEDOUT,
        f"127.0.0.1:{refused_port}": errno.ECONNREFUSED,
    }
    assert isinstance(caught.value, TimeoutError)
    assert "tried" in str(caught.value)


def test_all_refuse(resolver: list[tuple[str, int]], refused_port: int) -> None:
    resolver += [("::1", refused_port), ("127.0.0.1", refused_port)]
    with pytest.raises(ConnectionRefusedError) as caught:
        connect_to_host("example", 80)
    assert len(caught.value.attempts) == 2  # type: ignore[attr-defined]


def test_attempts_that_fail_at_once_go_on_at_once(
    resolver: list[tuple[str, int]], tcp_listener: socket.socket, monkeypatch: pytest.MonkeyPatch, passed: Passed
) -> None:
    # Without its scope a link-local address cannot be begun with, and without its family no socket be made.
    resolver += [("fe80::1", 80), ("127.0.0.2", 80), ("127.0.0.1", _port(tcp_listener))]
    make = attempts.new_socket

    def without_one(family: int, kind: int, protocol: int, address: SocketAddress) -> socket.socket:
        if address.address == "127.0.0.2":
            raise ConnectError(errno.EAFNOSUPPORT, address=address)
        return make(family, kind, protocol, address)

    monkeypatch.setattr(connect, "new_socket", without_one)
    with connect_to_host("example", 80) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()
    assert passed() == 0
    resolver.pop()
    with pytest.raises(ConnectError) as caught:
        connect_to_host("example", 80)
    assert [each.errno for each in caught.value.attempts] == [errno.EINVAL, errno.EAFNOSUPPORT]


def test_connection_that_is_made_at_once(
    resolver: list[tuple[str, int]], tcp_listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def patient(sock: socket.socket, address: SocketAddress) -> str:
        sock.setblocking(True)
        return attempts.begin(sock, address)

    monkeypatch.setattr(connect, "begin", patient)
    resolver += [("127.0.0.1", _port(tcp_listener)), ("127.0.0.2", 80)]
    with connect_to_host("example", 80) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()


def test_race_has_one_time_limit(resolver: list[tuple[str, int]], silent_port: int, passed: Passed) -> None:
    resolver += [("127.0.0.1", silent_port)] * 3
    with pytest.raises(TimeoutError) as caught:
        connect_to_host("example", 80, timeout=0.1)
    assert passed() == pytest.approx(0.1)
    assert len(caught.value.attempts) == 1  # type: ignore[attr-defined]


def test_time_limit_of_a_race_is_not_renewed_by_a_further_attempt(
    resolver: list[tuple[str, int]], silent_port: int, monkeypatch: pytest.MonkeyPatch, passed: Passed
) -> None:
    monkeypatch.setattr(connect, "Race", functools.partial(Race, delay=0.06))
    resolver += [("127.0.0.1", silent_port)] * 3
    with pytest.raises(TimeoutError) as caught:
        connect_to_host("example", 80, timeout=0.1)
    assert passed() == pytest.approx(0.1)
    assert len(caught.value.attempts) == 2  # type: ignore[attr-defined]


def test_surrounding_limit_in_a_race_is_for_each_attempt(
    resolver: list[tuple[str, int]],
    silent_port: int,
    tcp_listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    passed: Passed,
) -> None:
    resolver += [("127.0.0.1", silent_port), ("127.0.0.2", _port(tcp_listener)), ("127.0.0.1", silent_port)]
    monkeypatch.setattr(connect, "Race", functools.partial(Race, delay=30))
    with timeouts(connect=0.05), pytest.raises(TimeoutError) as caught:
        connect_to_host("example", 80)
    assert passed() == pytest.approx(0.1)
    assert [each.errno for each in caught.value.attempts] == [errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ETIMEDOUT]  # type: ignore[attr-defined]
    resolver[1] = ("127.0.0.1", _port(tcp_listener))
    with timeouts(connect=0.05), connect_to_host("example", 80) as sock:
        assert sock.getpeername() == tcp_listener.getsockname()


def test_host_arguments_name_the_host() -> None:
    with pytest.raises(ValueError, match="host must be"):
        connect_to_host("", 80)
