"""The names of a socket's two ends."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest

from eventsock.basic import SocketAddress, SocketError, inet_address, peer_name, socket_name, unix_address
from eventsock.basic.names import known_name, known_peer

_Pair = tuple[socket.socket, socket.socket]


def test_names_of_a_connection(tcp_pair: _Pair) -> None:
    client, server = tcp_pair
    for sock in (client, client.fileno()):
        assert socket_name(sock) == inet_address(*client.getsockname())
        assert peer_name(sock) == inet_address(*client.getpeername())
    assert peer_name(server) == socket_name(client)


def test_socket_that_is_not_bound_has_no_name() -> None:
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        with socket.socket(family) as sock:
            assert socket_name(sock) is None
            assert peer_name(sock) is None


def test_listener_has_a_name_and_no_peer(tcp_listener: socket.socket) -> None:
    assert socket_name(tcp_listener) == inet_address(*tcp_listener.getsockname())
    assert peer_name(tcp_listener) is None


def test_ipv6_names() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        assert socket_name(listener) == SocketAddress.from_native(socket.AF_INET6, listener.getsockname())


def test_unix_names(unix_path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(unix_path)
        listener.listen()
        assert socket_name(listener) == unix_address(unix_path)
        client.connect(unix_path)
        assert peer_name(client) == unix_address(unix_path)
        assert socket_name(client) is None
        with listener.accept()[0] as server:
            assert peer_name(server) == SocketAddress(socket.AF_UNIX, "")


def test_abstract_name() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0eventsock-{os.getpid()}")
        assert socket_name(sock) == unix_address(f"\0eventsock-{os.getpid()}")


def test_connected_datagram_socket_has_a_peer() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", 9))
        assert peer_name(sock) == inet_address("127.0.0.1", 9)


@pytest.mark.parametrize("verb", [socket_name, peer_name])
def test_what_has_no_names(verb: Any, socket_pair: _Pair) -> None:
    socket_pair[0].close()
    for sock in (socket_pair[0], 999_999, -1):
        with pytest.raises(SocketError) as caught:
            verb(sock)
        assert caught.value.errno == errno.EBADF
    with open(os.devnull) as file, pytest.raises(SocketError) as other:
        verb(file)
    assert other.value.errno == errno.ENOTSOCK
    with pytest.raises(TypeError, match="sock must be"):
        verb("x")


def test_names_in_errors_are_known_or_left_out(tcp_pair: _Pair, socket_pair: _Pair) -> None:
    assert known_name(tcp_pair[0]) == socket_name(tcp_pair[0])
    assert known_peer(tcp_pair[0]) == peer_name(tcp_pair[0])
    assert known_peer(socket_pair[0]) is None
    assert known_name(999_999) is None
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as odd:
        odd.bind((0, 0))
        assert known_name(odd) is None
