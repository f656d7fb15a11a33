"""Listeners: what they listen on, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest

from eventsock.basic import (
    ListenError,
    connect_to_ipv4_host,
    connect_to_ipv6_host,
    inet_address,
    listen_on_ipv4_socket,
    listen_on_ipv6_socket,
    listen_on_unix_socket,
)
from programs import StartProgram

_VERBS = [listen_on_ipv4_socket, listen_on_ipv6_socket]


def _port(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("address", "bound"), [(True, "127.0.0.1"), (False, "0.0.0.0"), ("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")]
)
def test_ipv4(address: str | bool, bound: str) -> None:
    with listen_on_ipv4_socket(address, 0) as listener:
        assert listener.getsockname()[0] == bound
        assert type(listener) is socket.socket
        assert listener.getblocking()
        assert not listener.get_inheritable()
        with connect_to_ipv4_host("127.0.0.1" if bound == "0.0.0.0" else bound, _port(listener)) as client:
            assert client.getpeername()[1] == _port(listener)


@pytest.mark.parametrize(("address", "bound"), [(True, "::1"), (False, "::"), ("::1", "::1"), ("0:0:0:0:0:0:0:1", "::1")])
def test_ipv6(address: str | bool, bound: str) -> None:
    with listen_on_ipv6_socket(address, 0) as listener:
        assert listener.getsockname()[0] == bound
        with connect_to_ipv6_host("::1", _port(listener)) as client:
            assert client.getpeername()[1] == _port(listener)


def test_both_families_on_one_port() -> None:
    with listen_on_ipv6_socket(False, 0) as six, listen_on_ipv4_socket(False, _port(six)) as four:
        assert _port(six) == _port(four)


def test_port_in_use_is_named() -> None:
    with listen_on_ipv4_socket(True, 0) as listener:
        port = _port(listener)
        with pytest.raises(ListenError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use") as caught:
            listen_on_ipv4_socket(True, port)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.address == inet_address("127.0.0.1", port)


def test_port_is_free_again_at_once_though_a_connection_lingers() -> None:
    with listen_on_ipv4_socket(True, 0) as listener:
        port = _port(listener)
        client = connect_to_ipv4_host("127.0.0.1", port)
        server, _ = listener.accept()
        server.close()  # the side that closes first is the one that lingers
        assert client.recv(1) == b""
        client.close()
    listen_on_ipv4_socket(True, port).close()


def test_address_that_is_not_local() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:8000") as caught:
        listen_on_ipv4_socket("192.0.2.1", 8000)
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.skipif(os.geteuid() != 0, reason="takes the right to become somebody who has none")
def test_port_that_only_root_may_have(start_program: StartProgram) -> None:
    program = start_program(
        "-c",
        """
import os
from eventsock.basic import ListenError, listen_on_ipv4_socket
with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
    first = int(file.read())
os.setuid(65534)
try:
    listen_on_ipv4_socket(True, 1).close()
    print(first <= 1)
except ListenError as error:
    print(first > 1, error)
""",
    )
    told, complaints = program.communicate(timeout=20)
    assert complaints == ""
    assert told in ("True\n", "True [Errno 13] cannot listen on 127.0.0.1:1: Permission denied\n")


@pytest.mark.parametrize("verb", _VERBS)
@pytest.mark.parametrize("address", ["localhost", "", "1.2.3", "[::1]", "127.0.0.1\0", "*"])
def test_address_that_is_not_numeric(verb: Any, address: str) -> None:
    with pytest.raises(ListenError, match=r"not a numeric IPv[46] address") as caught:
        verb(address, 8000)
    assert isinstance(caught.value, ValueError)
    assert caught.value.address == address


@pytest.mark.parametrize("verb", _VERBS)
@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_port_out_of_range(verb: Any, port: int) -> None:
    with pytest.raises(ValueError, match="port must be from 0 to 65535"):
        verb(True, port)


@pytest.mark.parametrize("verb", _VERBS)
@pytest.mark.parametrize(
    "arguments",
    [(None, 0), (1, 0), (b"127.0.0.1", 0), (True, "80"), (True, True), (True, None), (True, 0, 1.5), (True, 0, "5"), (True, 0, True)],
)
def test_arguments_of_another_type(verb: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"address must be|port must be|backlog must be"):
        verb(*arguments)


@pytest.mark.parametrize("backlog", [0, -1, 1, 10**9])
def test_backlog_is_as_the_kernel_takes_it(backlog: int) -> None:
    with listen_on_ipv4_socket(True, 0, backlog) as listener, connect_to_ipv4_host("127.0.0.1", _port(listener)):
        pass


def test_backlog_that_c_would_cut() -> None:
    with pytest.raises(ValueError, match="backlog does not fit"):
        listen_on_ipv4_socket(True, 0, 2**32 + 5)


def test_default_timeout_of_the_standard_library_is_no_matter() -> None:
    socket.setdefaulttimeout(0.001)
    try:
        with listen_on_ipv4_socket(True, 0) as listener:
            assert listener.gettimeout() is None
    finally:
        socket.setdefaulttimeout(None)


def test_no_descriptor_left_to_listen_with(no_descriptors: Any) -> None:
    with no_descriptors(), pytest.raises(ListenError) as caught:
        listen_on_ipv4_socket(True, 0)
    assert caught.value.errno == errno.EMFILE


def test_family_that_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(ListenError, match=r"cannot listen on \[::1\]:8000: Address family not supported"):
        listen_on_ipv6_socket(True, 8000)


def test_interrupt_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch, unix_path: str) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(socket.socket, "listen", interrupt)
    with pytest.raises(KeyboardInterrupt):
        listen_on_ipv4_socket(True, 0)
    with pytest.raises(KeyboardInterrupt):
        listen_on_unix_socket(unix_path)
    assert not os.path.lexists(unix_path)
