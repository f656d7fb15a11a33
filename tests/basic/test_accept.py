"""Blocking accepts: what they give, how long they wait, and which errors concern only a connection that is gone."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from eventsock.basic import (
    AcceptError,
    SocketAddress,
    accept_ipv4_connection,
    accept_ipv6_connection,
    accept_unix_connection,
    connect_to_ipv4_host,
    inet_address,
    timeouts,
)
from eventsock.basic.accept import GONE


class _Thing:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()


def _connect(listener: socket.socket) -> socket.socket:
    client = socket.socket(listener.family)
    client.connect(listener.getsockname())
    return client


def test_ipv4(tcp_listener: socket.socket) -> None:
    with _connect(tcp_listener) as client:
        sock, address = accept_ipv4_connection(tcp_listener)
        with sock:
            assert address == inet_address(*client.getsockname())
            assert address.packed == b"\x7f\0\0\1"
            assert type(sock) is socket.socket
            assert sock.gettimeout() is None
            assert not sock.get_inheritable()
            client.send(b"x")
            assert sock.recv(1) == b"x"


def test_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener, _connect(listener) as client:
        sock, address = accept_ipv6_connection(listener)
        with sock:
            assert address == SocketAddress.from_native(socket.AF_INET6, client.getsockname())
            assert address.packed == bytes(15) + b"\1"


def test_unix(unix_path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as named:
        listener.bind(unix_path)
        listener.listen()
        named.bind(unix_path + ".client")
        named.connect(unix_path)
        with _connect(listener):
            for path in (unix_path + ".client", ""):
                sock, address = accept_unix_connection(listener)
                with sock:
                    assert (address.family, address.path) == (socket.AF_UNIX, path)


@pytest.mark.parametrize("of", [lambda sock: sock, lambda sock: sock.fileno(), _Thing])
def test_listener_in_each_form_becomes_blocking(tcp_listener: socket.socket, of: Callable[[socket.socket], Any]) -> None:
    tcp_listener.setblocking(False)
    with _connect(tcp_listener):
        sock, _ = accept_ipv4_connection(of(tcp_listener))
        with sock:
            assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)
            assert sock.gettimeout() is None
            assert os.get_blocking(tcp_listener.fileno())


def test_type_of_a_connection_through_a_descriptor(unix_path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        listener.bind(unix_path)
        listener.listen()
        client.connect(unix_path)
        sock, _ = accept_unix_connection(listener.fileno())
        with sock:
            assert sock.type == socket.SOCK_SEQPACKET


def test_listener_with_a_time_limit_of_its_own(tcp_listener: socket.socket) -> None:
    tcp_listener.settimeout(0.01)
    client = threading.Timer(0.05, lambda: _connect(tcp_listener).close())
    client.start()
    sock, _ = accept_ipv4_connection(tcp_listener)
    sock.close()
    client.join()
    assert tcp_listener.gettimeout() is None


def test_default_timeout_of_the_standard_library_is_no_matter(tcp_listener: socket.socket) -> None:
    with _connect(tcp_listener):
        socket.setdefaulttimeout(0.001)
        try:
            sock, _ = accept_ipv4_connection(tcp_listener)
        finally:
            socket.setdefaulttimeout(None)
        with sock:
            assert sock.gettimeout() is None


# Time


@pytest.mark.parametrize("of", [lambda sock: sock, lambda sock: sock.fileno()])
def test_time_limit(tcp_listener: socket.socket, of: Callable[[socket.socket], Any]) -> None:
    began = time.monotonic()
    with pytest.raises(AcceptError, match=r"cannot accept a connection on 127\.0\.0\.1:\d+: no connection came within 0.05 s") as caught:
        accept_ipv4_connection(of(tcp_listener), timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert 0.05 <= time.monotonic() - began < 5
    assert os.get_blocking(tcp_listener.fileno())


def test_surrounding_time_limit(tcp_listener: socket.socket) -> None:
    with timeouts(accept=0.01), pytest.raises(TimeoutError):
        accept_ipv4_connection(tcp_listener)


def test_no_time_takes_what_is_there(tcp_listener: socket.socket) -> None:
    with pytest.raises(TimeoutError):
        accept_ipv4_connection(tcp_listener, timeout=0)
    with _connect(tcp_listener):
        accept_ipv4_connection(tcp_listener, timeout=0)[0].close()


class _Flaky(socket.socket):
    """A listener whose accept first fails with each of `codes`."""

    codes: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.codes:
            code = self.codes.pop(0)
            raise OSError(code, os.strerror(code))
        return super().accept()


@pytest.fixture
def flaky(tcp_listener: socket.socket) -> Any:
    made = _Flaky(tcp_listener.family, tcp_listener.type, fileno=os.dup(tcp_listener.fileno()))
    with made:
        yield made


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH])
def test_connection_that_is_gone_is_passed_over(flaky: _Flaky, code: int) -> None:
    flaky.codes = [code] * 3
    with connect_to_ipv4_host("127.0.0.1", flaky.getsockname()[1]):
        accept_ipv4_connection(flaky, timeout=10)[0].close()
    assert flaky.codes == []


def test_wait_for_a_stolen_connection_has_one_deadline(flaky: _Flaky) -> None:
    flaky.codes = [errno.EAGAIN] * 10**6
    with connect_to_ipv4_host("127.0.0.1", flaky.getsockname()[1]), pytest.raises(TimeoutError):
        accept_ipv4_connection(flaky, timeout=0.02)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL])
def test_other_errors_are_raised(flaky: _Flaky, code: int) -> None:
    flaky.codes = [code]
    with pytest.raises(AcceptError) as caught:
        accept_ipv4_connection(flaky, timeout=10)
    assert caught.value.errno == code
    assert caught.value.address == inet_address(*flaky.getsockname())
    assert code not in GONE


def test_no_descriptor_left(tcp_listener: socket.socket, no_descriptors: Any) -> None:
    with _connect(tcp_listener):
        with no_descriptors(), pytest.raises(AcceptError) as caught:
            accept_ipv4_connection(tcp_listener)
        assert caught.value.errno == errno.EMFILE
        accept_ipv4_connection(tcp_listener)[0].close()


def test_client_that_has_reset_before(tcp_listener: socket.socket) -> None:
    client = _connect(tcp_listener)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    name = client.getsockname()
    client.close()
    sock, address = accept_ipv4_connection(tcp_listener, timeout=10)
    with sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    assert address == inet_address(*name)


# What is refused


def test_listener_of_another_family(tcp_listener: socket.socket) -> None:
    with _connect(tcp_listener):
        for verb in (accept_ipv6_connection, accept_unix_connection):
            with pytest.raises(ValueError, match="sock must be a socket of AF_"):
                verb(tcp_listener)
        accept_ipv4_connection(tcp_listener)[0].close()


def test_socket_that_does_not_listen() -> None:
    with socket.socket() as sock, pytest.raises(AcceptError) as caught:
        accept_ipv4_connection(sock)
    assert caught.value.errno == errno.EINVAL


def test_closed_listener() -> None:
    sock = socket.socket()
    sock.close()
    for closed in (sock, 999_999, -1):
        with pytest.raises(AcceptError) as caught:
            accept_ipv4_connection(closed)
        assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("sock", ["7", None, True, 7.0])
def test_what_is_no_listener(sock: Any) -> None:
    with pytest.raises(TypeError, match="sock must be a descriptor"):
        accept_ipv4_connection(sock)


def test_two_threads_share_a_listener(tcp_listener: socket.socket) -> None:
    got: list[SocketAddress] = []

    def accept() -> None:
        sock, address = accept_ipv4_connection(tcp_listener, timeout=10)
        sock.close()
        got.append(address)

    threads = [threading.Thread(target=accept) for _ in range(4)]
    for thread in threads:
        thread.start()
    clients = [_connect(tcp_listener) for _ in threads]
    for thread in threads:
        thread.join()
    assert set(got) == {inet_address(*client.getsockname()) for client in clients}
    for client in clients:
        client.close()
