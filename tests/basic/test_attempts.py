"""One try to connect: how it begins, how it ends, and what the kernel's answers mean."""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from eventsock.basic import ConnectError, SocketAddress, inet_address, unix_address
from eventsock.basic.attempts import OUT_OF_RESOURCES, all_failed, begin, finish, new_socket, timed_out


@pytest.fixture
def fresh() -> Iterator[socket.socket]:
    """A socket for an attempt over IPv4."""
    with new_socket(socket.AF_INET, socket.SOCK_STREAM, 0, inet_address("127.0.0.1", 1)) as sock:
        yield sock


def _address(sock: socket.socket) -> SocketAddress:
    return SocketAddress.from_native(sock.family, sock.getsockname())


def _wait(sock: socket.socket) -> None:
    assert select.select([], [sock], [], 5)[1]


def _connect(sock: socket.socket, address: SocketAddress) -> None:
    if begin(sock, address) == "pending":
        _wait(sock)
        finish(sock, address)


def test_new_socket_does_not_block_and_is_not_inherited(fresh: socket.socket) -> None:
    assert fresh.getblocking() is False
    assert fresh.get_inheritable() is False


def test_new_socket_without_descriptors_left(no_descriptors: Any) -> None:
    address = inet_address("127.0.0.1", 1)
    with no_descriptors(), pytest.raises(ConnectError) as caught:
        new_socket(socket.AF_INET, socket.SOCK_STREAM, 0, address)
    assert caught.value.errno == errno.EMFILE
    assert caught.value.errno in OUT_OF_RESOURCES
    assert caught.value.address == address


def test_connection(fresh: socket.socket, tcp_listener: socket.socket) -> None:
    _connect(fresh, _address(tcp_listener))
    assert fresh.getpeername() == tcp_listener.getsockname()


def test_refusal_is_read_although_the_socket_is_writable(fresh: socket.socket, refused_port: int) -> None:
    address = inet_address("127.0.0.1", refused_port)
    with pytest.raises(ConnectionRefusedError) as caught:
        _connect(fresh, address)
    assert isinstance(caught.value, ConnectError)
    assert caught.value.address == address
    assert caught.value.transient


def test_connect_twice(fresh: socket.socket, tcp_listener: socket.socket) -> None:
    address = _address(tcp_listener)
    _connect(fresh, address)
    fresh.connect_ex(address.native)  # the first one afterwards may only say that it is done
    with pytest.raises(ConnectError) as caught:
        begin(fresh, address)
    assert caught.value.errno == errno.EISCONN


def test_socket_connected_to_itself_is_refused(fresh: socket.socket) -> None:
    fresh.bind(("127.0.0.1", 0))
    address = _address(fresh)
    with pytest.raises(ConnectionRefusedError, match="connected to itself") as caught:
        _connect(fresh, address)
    assert caught.value.address == address  # type: ignore[attr-defined]


def test_socket_connected_to_itself_by_the_unspecified_address_is_refused(fresh: socket.socket) -> None:
    fresh.bind(("127.0.0.1", 0))
    address = inet_address("0.0.0.0", fresh.getsockname()[1])
    with pytest.raises(ConnectionRefusedError, match="connected to itself"):
        _connect(fresh, address)


def test_datagram_socket_may_be_connected_to_itself() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        assert begin(sock, _address(sock)) == "connected"


def test_peer_that_has_already_reset_is_found_by_the_first_transfer(fresh: socket.socket, tcp_listener: socket.socket) -> None:
    begin(fresh, _address(tcp_listener))
    _wait(fresh)
    peer, _ = tcp_listener.accept()
    fresh.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    select.select([fresh], [], [], 5)
    fresh.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    finish(fresh, _address(tcp_listener))
    with pytest.raises(OSError, match="not connected"):
        fresh.getpeername()


def test_full_queue_of_a_unix_listener_is_busy(unix_path: str) -> None:
    address = unix_address(unix_path)
    waiting: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(unix_path)
        listener.listen(0)
        begun = "connected"
        while begun == "connected":
            waiting.append(new_socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, address))
            begun = begin(waiting[-1], address)
        assert begun == "busy"
        listener.accept()[0].close()
        assert begin(waiting[-1], address) == "connected"
        for sock in waiting:
            sock.close()


def test_all_failed_tells_the_last_and_keeps_all() -> None:
    one = ConnectError(errno.ECONNREFUSED, address=inet_address("127.0.0.1", 1))
    two = ConnectError(errno.ENETUNREACH, address=inet_address("::1", 1))
    error = all_failed([one, two])
    assert (error.errno, error.address, error.attempts) == (errno.ENETUNREACH, two.address, (one, two))
    assert str(error).endswith("; tried 127.0.0.1:1: Connection refused; [::1]:1: Network is unreachable")


def test_time_over() -> None:
    error = timed_out(0.25, inet_address("127.0.0.1", 1))
    assert isinstance(error, TimeoutError)
    assert str(error) == f"[Errno {errno.ETIMEDOUT}] cannot connect to 127.0.0.1:1: no answer within 0.25 s"
