"""Connecting in tasks: who is tried, what the errors tell, and that nothing is left behind whenever it ends."""

from __future__ import annotations

import errno
import functools
import os
import random
import socket
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from eventsock import (
    BusyError,
    ConnectError,
    ResolveError,
    Resolver,
    Task,
    TaskCancelled,
    a_sync,
    await_connect,
    await_connect_to_host,
    await_connect_to_ipv4_host,
    await_connect_to_ipv6_host,
    await_connect_to_unix_host,
    await_sleep,
    run,
    set_resolver,
    timeout,
)
from eventsock.basic import AddressInfo, inet_address, listen_on_ipv4_socket, listen_on_ipv6_socket, listen_on_unix_socket
from eventsock.basic.racing import Race
from eventsock.sockets import connect
from eventsock.testing.sweep import cancel_sweep

Steps = Generator[Any, Any, Any]


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _info(address: str, port: int) -> AddressInfo:
    made = inet_address(address, port)
    return AddressInfo(made.family, socket.SOCK_STREAM, 0, made)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listen_on_ipv4_socket(True, 0, 1024) as made:
        yield made


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port that is taken and not listened on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield _port(sock)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that neither accepts nor refuses: the queue of its listener is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        yield _port(full)
        for client in clients:
            client.close()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[AddressInfo]]:
    """The addresses of every name; and attempts begin 20 ms after each other."""
    infos: list[AddressInfo] = []
    monkeypatch.setattr(connect, "Race", functools.partial(Race, delay=0.02))
    former = set_resolver(lambda host, service, family: infos)
    yield infos
    set_resolver(former)


def test_a_connection(listener: socket.socket) -> None:
    for verb in (await_connect_to_ipv4_host, await_connect_to_host):
        with run(verb, "127.0.0.1", None, _port(listener)) as sock:
            assert sock.getpeername() == listener.getsockname()
            assert (type(sock), sock.gettimeout(), sock.get_inheritable()) == (socket.socket, 0.0, False)


def test_ipv6_and_unix(tmp_path: Any) -> None:
    with listen_on_ipv6_socket(True, 0) as six, run(await_connect_to_ipv6_host, "::1", _port(six)) as sock:
        assert sock.family == socket.AF_INET6
    with listen_on_unix_socket(tmp_path / "u"), run(await_connect_to_unix_host, tmp_path / "u") as sock:
        assert sock.family == socket.AF_UNIX


@pytest.mark.parametrize("verb", [await_connect_to_ipv4_host, await_connect_to_host])
def test_faults_45_and_55_refused(verb: Any, refusing: int) -> None:
    with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1:{refusing}") as caught:
        run(verb, "127.0.0.1", refusing)
    assert isinstance(caught.value, ConnectError)
    assert [each.errno for each in caught.value.attempts] == [errno.ECONNREFUSED]


def test_fault_46_unreachable_is_told_with_its_address() -> None:
    with pytest.raises(ConnectError) as caught:
        run(await_connect_to_ipv4_host, "255.255.255.255", 9)
    assert caught.value.errno in (errno.EACCES, errno.ENETUNREACH)
    assert "255.255.255.255:9" in str(caught.value)


@pytest.mark.parametrize("verb", [await_connect_to_ipv4_host, await_connect_to_host])
def test_fault_47_no_answer_is_left_by_a_time_limit(verb: Any, silent: int) -> None:
    def main() -> Steps:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(TimeoutError), timeout(0.02):
            yield from verb("127.0.0.1", silent)
        assert len(os.listdir("/proc/self/fd")) == before

    run(main)


def test_fault_49_a_socket_connected_to_itself_counts_as_refused() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError, match="itself"):
            run(await_connect, sock, sock.getsockname())


def test_fault_50_the_first_refuses(known: list[AddressInfo], refusing: int, listener: socket.socket) -> None:
    known += [_info("127.0.0.1", refusing), _info("127.0.0.1", _port(listener))]
    for verb in (await_connect_to_ipv4_host, await_connect_to_host):
        with run(verb, "name", 1) as sock:
            assert sock.getpeername() == listener.getsockname()


def test_fault_50_the_first_hangs(known: list[AddressInfo], silent: int, listener: socket.socket) -> None:
    known += [_info("127.0.0.1", silent), _info("127.0.0.1", _port(listener))]
    with run(await_connect_to_host, "name", 1) as sock:
        assert sock.getpeername() == listener.getsockname()


@pytest.mark.parametrize("verb", [await_connect_to_ipv4_host, await_connect_to_host])
def test_fault_50_all_fail_and_all_are_told(verb: Any, known: list[AddressInfo], refusing: int) -> None:
    known += [_info(f"127.0.0.{number}", refusing) for number in (1, 2, 3)]
    with pytest.raises(ConnectError) as caught:
        run(verb, "name", 1)
    assert [str(each.address) for each in caught.value.attempts] == [f"127.0.0.{number}:{refusing}" for number in (1, 2, 3)]
    assert f"127.0.0.2:{refusing}" in str(caught.value)


def test_fault_51_two_succeed_at_once_and_the_loser_is_closed(
    known: list[AddressInfo], monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    monkeypatch.setattr(connect, "Race", functools.partial(Race, delay=0.0))
    known += [_info("127.0.0.1", _port(listener))] * 3
    with run(await_connect_to_host, "name", 1) as sock:
        ours = sock.getsockname()
        listener.setblocking(False)
        peers = []
        while True:
            try:
                connection, peer = listener.accept()
            except BlockingIOError:
                break
            with connection:
                connection.settimeout(1)
                peers.append(peer)
                assert peer == ours or connection.recv(1) == b""
    assert peers.count(ours) == 1


@pytest.mark.parametrize("verb", [await_connect_to_ipv4_host, await_connect_to_host])
def test_fault_52_cancelled_at_random_moments_it_leaks_nothing(verb: Any, known: list[AddressInfo], refusing: int) -> None:
    def connecting() -> Steps:
        with (yield from verb("name", 1)):
            yield from await_sleep(0)

    def main() -> Steps:
        with listen_on_ipv4_socket(True, 0, 1024) as listener:
            known[:] = [_info("127.0.0.1", refusing), _info("127.0.0.1", _port(listener))]
            for _ in range(200):
                task: Task[Any] = a_sync(connecting)
                yield from await_sleep(random.random() * 0.0005)
                task.cancel()
                try:
                    yield from task.await_result()
                except TaskCancelled:
                    pass

    run(main)  # each test is held to its descriptors


@pytest.mark.parametrize("verb", [await_connect_to_ipv4_host, await_connect_to_host])
def test_fault_52_cancelled_at_every_suspension(verb: Any, known: list[AddressInfo], silent: int, listener: socket.socket) -> None:
    known += [_info("127.0.0.1", silent)] * (verb is await_connect_to_host) + [_info("127.0.0.1", _port(listener))]

    def main() -> Steps:
        (yield from verb("name", 1)).close()

    assert cancel_sweep(main) >= (verb is await_connect_to_host)


def test_fault_53_connecting_twice(listener: socket.socket, silent: int) -> None:
    def main() -> Steps:
        with socket.socket() as sock:
            sock.connect(listener.getsockname())
            with pytest.raises(ConnectError) as caught:
                yield from await_connect(sock, listener.getsockname())
            assert caught.value.errno == errno.EISCONN
        with socket.socket() as sock:
            first = a_sync(await_connect, sock, ("127.0.0.1", silent))
            with pytest.raises(BusyError):
                yield from await_connect(sock, ("127.0.0.1", silent))
            first.cancel()
            yield from await_sleep(0)

    run(main)


def test_fault_54_an_address_of_another_family_or_a_name_is_refused() -> None:
    with socket.socket() as sock:
        for address in (inet_address("::1", 9), ("localhost", 9)):
            with pytest.raises(ValueError):
                run(await_connect, sock, address)
    with pytest.raises(ConnectError) as caught:
        run(await_connect, sock, ("127.0.0.1", 9))
    assert caught.value.errno == errno.EBADF


def test_a_full_unix_queue_is_waited_for(tmp_path: Any) -> None:
    def main() -> Steps:
        with listen_on_unix_socket(tmp_path / "u", 0) as listener:
            clients = [(yield from await_connect_to_unix_host(tmp_path / "u"))]
            task = a_sync(await_connect_to_unix_host, tmp_path / "u")
            yield from await_sleep(0.02)
            assert not task.done
            listener.accept()[0].close()
            clients.append((yield from task.await_result()))
            for client in clients:
                client.close()

    run(main)


@pytest.mark.parametrize(("kind", "code"), [("missing", errno.ENOENT), ("file", errno.ECONNREFUSED), ("stale", errno.ECONNREFUSED)])
def test_fault_128_unix_paths(tmp_path: Any, kind: str, code: int) -> None:
    path = tmp_path / kind
    if kind == "file":
        path.write_text("kept")
    elif kind == "stale":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    with pytest.raises(ConnectError) as caught:
        run(await_connect_to_unix_host, path)
    assert (caught.value.errno, str(caught.value.address)) == (code, str(path))
    assert kind != "file" or path.read_text() == "kept"


def test_fault_128_a_path_too_long_or_with_a_nul() -> None:
    with pytest.raises(ConnectError, match="107"):
        await_connect_to_unix_host("x" * 108)
    with pytest.raises(ValueError):
        await_connect_to_unix_host("a\0b")


@pytest.mark.parametrize("make", [lambda: await_connect_to_host("a\0b", 1), lambda: await_connect_to_host("a", 99999)])
def test_fault_127_bad_names_and_ports_are_refused_at_once(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("name", ["x" * 64 + ".example", "a..b"])
def test_fault_127_a_name_that_cannot_be_is_a_connect_error(name: str) -> None:
    with Resolver(1) as resolver:
        former = set_resolver(resolver)
        try:
            with pytest.raises(ConnectError, match=name) as caught:
                run(await_connect_to_host, name, 1)
        finally:
            set_resolver(former)
    assert isinstance(caught.value, socket.gaierror)
    assert isinstance(caught.value.__cause__, ResolveError)
