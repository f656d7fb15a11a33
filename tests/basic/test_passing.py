"""Descriptors that cross a Unix socket: all of them arrive, or none is left open."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from eventsock.basic import SocketError, passing, receive_descriptors, send_descriptors

_Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe, the reading one first."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def _count() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_arrive_and_work(socket_pair: _Pair, pipe: tuple[int, int]) -> None:
    left, right = socket_pair
    with open(os.devnull) as file:
        send_descriptors(left, b"hello", [pipe[1], file])
        data, (writer, null) = receive_descriptors(right, 100, 2)
        assert os.path.sameopenfile(null, file.fileno())
    assert data == b"hello"
    os.write(writer, b"x")
    assert os.read(pipe[0], 1) == b"x"
    for fd in (writer, null):
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_descriptors_are_not_inherited_where_the_kernel_cannot_say_so(
    socket_pair: _Pair, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "_CLOSE_ON_EXEC", 0)
    send_descriptors(socket_pair[0], b"x", [pipe[0]])
    _, (fd,) = receive_descriptors(socket_pair[1], 1, 1)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_descriptors_travel_with_the_first_byte(socket_pair: _Pair, pipe: tuple[int, int]) -> None:
    left, right = socket_pair
    data = os.urandom(1_000_000)
    sender = threading.Thread(target=send_descriptors, args=[left, data, [pipe[0]]])
    sender.start()
    first, (fd,) = receive_descriptors(right, 10, 5)
    os.close(fd)
    rest = b""
    while len(first) + len(rest) < len(data):
        more, none = receive_descriptors(right, 1 << 20, 5)
        assert none == []
        rest += more
    sender.join()
    assert first + rest == data


def test_no_descriptors_are_bytes(socket_pair: _Pair) -> None:
    send_descriptors(socket_pair[0], b"abc", [])
    assert receive_descriptors(socket_pair[1], 10, 0) == (b"abc", [])


@pytest.mark.skipif(not hasattr(socket, "SO_PASSCRED"), reason="a feature of Linux")
@pytest.mark.parametrize("count", [0, 1, 5])
def test_credentials_do_not_push_descriptors_out(socket_pair: _Pair, pipe: tuple[int, int], count: int) -> None:
    left, right = socket_pair
    right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    send_descriptors(left, b"x", [pipe[0]] * count)
    data, received = receive_descriptors(right, 10, count)
    assert (data, len(received)) == (b"x", count)
    for fd in received:
        os.close(fd)


@pytest.mark.skipif(not hasattr(socket, "SO_PASSCRED"), reason="a feature of Linux")
def test_one_more_than_there_is_room_for_is_reported(socket_pair: _Pair, pipe: tuple[int, int]) -> None:
    left, right = socket_pair
    right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    send_descriptors(left, b"x", [pipe[0]] * 3)
    before = _count()
    with pytest.raises(SocketError, match="more came than 10 bytes with 2 descriptors"):
        receive_descriptors(right, 10, 2)
    assert _count() == before


def test_process_that_may_not_have_so_many(
    socket_pair: _Pair, pipe: tuple[int, int], no_descriptors: Callable[[], AbstractContextManager[None]]
) -> None:
    left, right = socket_pair
    send_descriptors(left, b"hello", [pipe[0]] * 3)
    with no_descriptors(), pytest.raises(SocketError, match="too many open files") as caught:
        receive_descriptors(right, 10, 3)
    assert (caught.value.errno, caught.value.partial) == (errno.EMFILE, b"hello")
    send_descriptors(left, b"again", [])
    assert receive_descriptors(right, 10, 3) == (b"again", [])


def test_end_of_the_stream(socket_pair: _Pair) -> None:
    socket_pair[0].close()
    assert receive_descriptors(socket_pair[1], 10, 3) == (b"", [])


@pytest.mark.parametrize("count", [3, 9, 100])
@pytest.mark.parametrize("limit", [0, 1, 2])
def test_more_than_expected_are_closed_and_reported(socket_pair: _Pair, pipe: tuple[int, int], limit: int, count: int) -> None:
    left, right = socket_pair
    send_descriptors(left, b"hello", [pipe[0]] * count)
    before = _count()
    with pytest.raises(SocketError, match=f"more came than 10 bytes with {limit} descriptors; all that came were closed") as caught:
        receive_descriptors(right, 10, limit)
    assert caught.value.errno == errno.EMSGSIZE
    assert caught.value.partial == b"hello"
    assert _count() == before
    send_descriptors(left, b"again", [])
    assert receive_descriptors(right, 10, limit) == (b"again", [])


def test_datagram_that_is_cut_leaves_no_descriptor(pipe: tuple[int, int]) -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        send_descriptors(left, b"hello", [pipe[0]])
        before = _count()
        with pytest.raises(SocketError) as caught:
            receive_descriptors(right, 3, 1)
        assert (caught.value.errno, caught.value.partial) == (errno.EMSGSIZE, b"hel")
        assert _count() == before


def test_peer_that_dies_with_descriptors_under_way(socket_pair: _Pair, pipe: tuple[int, int]) -> None:
    send_descriptors(socket_pair[0], b"x", [pipe[0]])
    socket_pair[0].close()
    _, (fd,) = receive_descriptors(socket_pair[1], 10, 1)
    os.close(fd)
    assert receive_descriptors(socket_pair[1], 10, 1) == (b"", [])


def test_most_descriptors(socket_pair: _Pair, pipe: tuple[int, int]) -> None:
    send_descriptors(socket_pair[0], b"x", [pipe[0]] * 253)
    _, received = receive_descriptors(socket_pair[1], 1, 253)
    assert len(received) == 253
    for fd in received:
        os.close(fd)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((b"", [0]), ValueError, "data must not be empty"),
        (("x", [0]), TypeError, "data must be bytes"),
        ((b"x", [True]), TypeError, "descriptors must be"),
        ((b"x", ["0"]), TypeError, "descriptors must be"),
        ((b"x", [0] * 254), ValueError, "at most 253"),
    ],
)
def test_what_cannot_be_sent(socket_pair: _Pair, arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        send_descriptors(socket_pair[0], *arguments)
    with pytest.raises(BlockingIOError):
        socket_pair[1].recv(1, socket.MSG_DONTWAIT)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((0, 1), ValueError), ((-1, 1), ValueError), ((1, -1), ValueError), ((1, 254), ValueError), ((1, "1"), TypeError)],
)
def test_what_cannot_be_received(socket_pair: _Pair, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"n must|limit must"):
        receive_descriptors(socket_pair[0], *arguments)


def test_descriptor_that_is_not_open(socket_pair: _Pair) -> None:
    with pytest.raises(SocketError) as caught:
        send_descriptors(socket_pair[0], b"x", [999])
    assert (caught.value.errno, caught.value.sent) == (errno.EBADF, 0)


def test_time_limits(socket_pair: _Pair, pipe: tuple[int, int]) -> None:
    left, right = socket_pair
    with pytest.raises(TimeoutError, match="nothing came"):
        receive_descriptors(right, 1, 1, timeout=0.01)
    with pytest.raises(SocketError, match="the peer took nothing") as caught:
        send_descriptors(left, bytes(10_000_000), [pipe[0]], timeout=0.02)
    assert 0 < caught.value.sent < 10_000_000


def test_socket_that_carries_no_descriptors(tcp_pair: _Pair, pipe: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="sock must be a Unix socket"):
        send_descriptors(tcp_pair[0], b"x", [pipe[0]])
    with pytest.raises(ValueError, match="sock must be a Unix socket"):
        receive_descriptors(tcp_pair[0], 1, 1)
