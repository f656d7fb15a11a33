"""Blocking receives: what they give at the end, when the time is over and when the peer is gone; and that nothing received is lost."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import threading
import time
import tracemalloc
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventsock.basic import (
    IncompleteRead,
    SocketAddress,
    SocketError,
    accept_ready,
    handles,
    inet_address,
    patience,
    receive,
    receive_exactly,
    receive_from,
    receive_from_into,
    receive_into,
    receive_ready,
    timeouts,
    unix_address,
)
from eventsock.basic.deadlines import SURROUNDING

_Pair = tuple[socket.socket, socket.socket]


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.fixture
def udp() -> Iterator[_Pair]:
    """Two datagram sockets of 127.0.0.1; the first is connected to the second."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        one.connect(two.getsockname())
        yield one, two


class _Thing:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()


_FORMS: list[Callable[[socket.socket], Any]] = [lambda sock: sock, lambda sock: sock.fileno(), _Thing]


# Streams


@pytest.mark.parametrize("of", _FORMS)
@pytest.mark.parametrize("limit", [None, 0.0, 7.0])
def test_whatever_the_mode_of_the_socket_it_waits_and_the_mode_stays(
    socket_pair: _Pair, of: Callable[[socket.socket], Any], limit: float | None
) -> None:
    left, right = socket_pair
    left.settimeout(limit)
    blocking = os.get_blocking(left.fileno())
    with pytest.raises(TimeoutError):
        receive(of(left), 10, timeout=0.01)
    feeder = threading.Timer(0.02, right.send, [b"abc"])
    feeder.start()
    assert receive(of(left), 2) == b"ab"
    buffer = bytearray(3)
    assert receive_into(of(left), buffer) == 1
    assert buffer == b"c\0\0"
    feeder.join()
    assert left.gettimeout() == limit
    assert os.get_blocking(left.fileno()) is blocking


def test_end_of_the_stream_stays(socket_pair: _Pair) -> None:
    socket_pair[1].send(b"x")
    socket_pair[1].shutdown(socket.SHUT_WR)
    assert [receive(socket_pair[0], 10) for _ in range(3)] == [b"x", b"", b""]
    assert receive_into(socket_pair[0], bytearray(3)) == 0


def test_nothing_asked_for_is_there_at_once(socket_pair: _Pair) -> None:
    assert receive(socket_pair[0], 0) == b""
    assert receive_into(socket_pair[0], bytearray()) == 0
    assert receive_into(socket_pair[0], bytearray(4), 2, 2) == 0
    assert receive_exactly(socket_pair[0], 0) == b""


def test_offsets(socket_pair: _Pair) -> None:
    left, right = socket_pair
    buffer = bytearray(b"........")
    right.send(b"abcdef")
    assert receive_into(left, buffer, 2, 5) == 3
    assert buffer == b"..abc..."
    assert receive_into(left, buffer, 6) == 2
    assert buffer == b"..abc.de"


def test_buffer_of_larger_items(socket_pair: _Pair) -> None:
    numbers = array("i", [0, 0, 0])
    socket_pair[1].send(array("i", [7]).tobytes())
    assert receive_into(socket_pair[0], numbers, 4) == 4
    assert numbers.tolist() == [0, 7, 0]


def test_flags_are_passed_on(tcp_pair: _Pair) -> None:
    client, server = tcp_pair
    client.send(b"abc")
    assert receive(server, 2, socket.MSG_PEEK) == b"ab"
    buffer = bytearray(2)
    assert receive_into(server, buffer, 0, None, socket.MSG_PEEK) == 2
    assert receive(server, 10) == b"abc"
    client.send(b"!", socket.MSG_OOB)
    assert receive(server, 1, socket.MSG_OOB, timeout=5) == b"!"


def test_truncation_flag_neither_discards_nor_invents(tcp_pair: _Pair, udp: _Pair) -> None:
    client, server = tcp_pair
    client.send(b"abc")
    assert receive(server, 3, socket.MSG_TRUNC) == b"abc"
    udp[0].send(b"x" * 100)
    assert receive(udp[1], 3, socket.MSG_TRUNC) == b"xxx"


@pytest.mark.parametrize("n", [1 << 31, 1 << 40, 1 << 70])
def test_huge_sizes_take_no_memory(socket_pair: _Pair, n: int) -> None:
    socket_pair[1].send(b"abc")
    assert receive(socket_pair[0], n) == b"abc"


@pytest.mark.parametrize("verb", [receive, receive_from, receive_exactly])
@pytest.mark.parametrize(("n", "error"), [(-1, ValueError), (-(2**40), ValueError), (True, TypeError), ("3", TypeError), (3.0, TypeError)])
def test_size_that_is_none(socket_pair: _Pair, verb: Any, n: Any, error: type[Exception]) -> None:
    socket_pair[1].send(b"abc")
    with pytest.raises(error, match="n must"):
        verb(socket_pair[0], n)
    assert socket_pair[0].recv(3) == b"abc"


@pytest.mark.parametrize("verb", [receive_into, receive_from_into])
def test_buffers_that_are_refused_leave_the_data(socket_pair: _Pair, verb: Any) -> None:
    socket_pair[1].send(b"abc")
    for buffer, start, end, error in [
        (b"1234", 0, None, TypeError),
        ("1234", 0, None, TypeError),
        (memoryview(bytearray(8))[::2], 0, None, TypeError),
        (bytearray(4), 0, 5, ValueError),
        (bytearray(4), 3, 2, ValueError),
        (bytearray(4), -1, None, ValueError),
    ]:
        with pytest.raises(error):
            verb(socket_pair[0], buffer, start, end)
    assert socket_pair[0].recv(3) == b"abc"


def test_buffer_can_be_resized_while_the_error_is_handled(socket_pair: _Pair) -> None:
    buffer = bytearray(4)
    for verb in (receive_into, receive_from_into):
        with pytest.raises(TimeoutError) as caught:
            verb(socket_pair[0], buffer, timeout=0)
        buffer += b"x"
        assert caught.value.__traceback__ is not None


@pytest.mark.parametrize("flags", ["1", None, True, 2**40])
def test_flags_that_are_none(socket_pair: _Pair, flags: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="flags"):
        receive(socket_pair[0], 1, flags)


def test_closed_socket(socket_pair: _Pair) -> None:
    socket_pair[0].close()
    for verb in (receive, receive_from, receive_exactly):
        with pytest.raises(SocketError) as caught:
            verb(socket_pair[0], 1)
        assert caught.value.errno == errno.EBADF


def test_reset_by_the_peer_is_told_once(tcp_pair: _Pair) -> None:
    client, server = tcp_pair
    _reset(client)
    with pytest.raises(ConnectionResetError) as caught:
        receive(server, 1, timeout=5)
    assert isinstance(caught.value, SocketError)
    assert receive(server, 1) == b""


def test_error_names_the_peer(tcp_pair: _Pair) -> None:
    client, server = tcp_pair
    with pytest.raises(SocketError, match=r"127\.0\.0\.1:\d+: nothing came within 0.01 s") as caught:
        receive(server, 1, timeout=0.01)
    assert caught.value.address == inet_address(*client.getsockname())


# Time


def test_surrounding_limit(socket_pair: _Pair) -> None:
    began = time.monotonic()
    with timeouts(receive=0.05), pytest.raises(TimeoutError):
        receive(socket_pair[0], 1)
    assert 0.05 <= time.monotonic() - began < 5


def test_no_time_takes_what_is_there(socket_pair: _Pair) -> None:
    socket_pair[1].send(b"x")
    assert receive(socket_pair[0], 1, timeout=0) == b"x"
    with pytest.raises(TimeoutError):
        receive(socket_pair[0], 1, timeout=0)


class _Spurious(socket.socket):
    """A socket that finds nothing although there was something: another reader was quicker, a checksum was wrong."""

    misses: int
    tried: int = 0

    def recv(self, *arguments: Any) -> bytes:
        self.tried += 1
        if self.tried <= self.misses:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return super().recv(*arguments)


@pytest.fixture
def spurious(socket_pair: _Pair) -> Iterator[_Spurious]:
    with _Spurious(socket.AF_UNIX, socket.SOCK_STREAM, fileno=os.dup(socket_pair[0].fileno())) as made:
        yield made


def test_spurious_readiness_waits_again(socket_pair: _Pair, spurious: _Spurious) -> None:
    spurious.misses = 3
    socket_pair[1].send(b"x")
    assert receive(spurious, 1) == b"x"
    assert spurious.tried == 4


def test_spurious_readiness_does_not_prolong_the_deadline(socket_pair: _Pair, spurious: _Spurious) -> None:
    spurious.misses = 10**9
    socket_pair[1].send(b"x")
    for limit in (0.02, SURROUNDING):
        began = time.monotonic()
        with timeouts(receive=0.02), pytest.raises(TimeoutError):
            receive(spurious, 1, timeout=limit)
        assert 0.02 <= time.monotonic() - began < 5


def test_signals_are_invisible(socket_pair: _Pair) -> None:
    left, right = socket_pair
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    feeder = threading.Timer(0.06, right.sendall, [b"x" * 10])
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        feeder.start()
        assert receive_exactly(left, 10, timeout=30) == b"x" * 10
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        feeder.join()


def test_platform_that_cannot_try_first(socket_pair: _Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (handles, patience):
        monkeypatch.setattr(room, "DONT_WAIT", 0)
    with pytest.raises(TimeoutError):
        receive(socket_pair[0], 1, timeout=0.01)
    socket_pair[1].send(b"x")
    assert receive(socket_pair[0], 1, timeout=5) == b"x"


# Exactly so many


def test_exactly_over_many_pieces(socket_pair: _Pair) -> None:
    left, right = socket_pair
    data = os.urandom(300_000)
    feeder = threading.Thread(target=right.sendall, args=[data])
    feeder.start()
    got = receive_exactly(left, len(data))
    feeder.join()
    assert got == data
    assert type(got) is bytes


def test_exactly_takes_no_more(socket_pair: _Pair) -> None:
    socket_pair[1].send(b"abcdef")
    assert receive_exactly(socket_pair[0], 4) == b"abcd"
    assert socket_pair[0].recv(10) == b"ef"


@pytest.mark.parametrize("n", [1, 5])
def test_exactly_at_the_end(socket_pair: _Pair, n: int) -> None:
    socket_pair[1].send(b"abc"[: n - 1])
    socket_pair[1].close()
    with pytest.raises(IncompleteRead) as caught:
        receive_exactly(socket_pair[0], n)
    assert caught.value.partial == b"abc"[: n - 1]


def test_exactly_has_one_deadline_for_the_whole_call(socket_pair: _Pair) -> None:
    left, right = socket_pair
    done = threading.Event()

    def drip() -> None:
        while not done.wait(0.01):
            right.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    began = time.monotonic()
    try:
        with pytest.raises(SocketError) as caught:
            receive_exactly(left, 10_000, timeout=0.1)
        took = time.monotonic() - began
        # A limit of the surrounding block is for waits without progress, and this is progress.
        with timeouts(receive=0.25):
            assert receive_exactly(left, 50) == b"x" * 50
    finally:
        done.set()
        dripping.join()
    assert isinstance(caught.value, TimeoutError)
    assert 0.1 <= took < 5
    assert set(caught.value.partial) == {ord("x")}


def test_exactly_keeps_what_came_before_a_failure(tcp_pair: _Pair) -> None:
    client, server = tcp_pair
    client.send(b"abc")
    with pytest.raises(SocketError) as caught:
        receive_exactly(server, 10, timeout=0.05)
    assert caught.value.partial == b"abc"
    client.send(b"def")
    resetting = threading.Timer(0.05, _reset, [client])
    resetting.start()
    with pytest.raises(ConnectionResetError) as reset:
        receive_exactly(server, 10)
    resetting.join()
    assert isinstance(reset.value, SocketError)
    assert reset.value.partial == b"def"


def test_exactly_allocates_one_buffer(socket_pair: _Pair) -> None:
    size = 100_000_000
    left, right = socket_pair
    block = bytes(1_000_000)

    def feed() -> None:
        for _ in range(size // len(block)):
            right.sendall(block)

    feeder = threading.Thread(target=feed)
    tracemalloc.start()
    try:
        feeder.start()
        data = receive_exactly(left, size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        feeder.join()
    assert len(data) == size
    assert peak < size * 1.01


@pytest.mark.parametrize("n", [1 << 60, 1 << 70])
def test_exactly_more_than_memory(socket_pair: _Pair, n: int) -> None:
    with pytest.raises(ValueError, match="n is more than fits in memory"):
        receive_exactly(socket_pair[0], n)


# Datagrams


def test_datagram_and_its_sender(udp: _Pair) -> None:
    one, two = udp
    one.send(b"abc")
    assert receive_from(two, 10) == (b"abc", inet_address(*one.getsockname()))
    one.send(b"def")
    buffer = bytearray(5)
    assert receive_from_into(two, buffer, 1) == (3, inet_address(*one.getsockname()))
    assert buffer == b"\0def\0"


def test_empty_datagram_is_no_end(udp: _Pair) -> None:
    one, two = udp
    for data in (b"", b"x"):
        one.send(data)
    assert receive_from(two, 10)[0] == b""
    assert receive_from(two, 10)[0] == b"x"


def test_datagram_that_is_cut_is_reported(udp: _Pair) -> None:
    one, two = udp
    for data in (b"abcdef", b"ghijkl", b"last"):
        one.send(data)
    with pytest.raises(SocketError, match="a datagram was longer than the 4 bytes asked for") as caught:
        receive_from(two, 4)
    assert caught.value.errno == errno.EMSGSIZE
    assert caught.value.partial == b"abcd"
    assert caught.value.address == inet_address(*one.getsockname())
    buffer = bytearray(4)
    with pytest.raises(SocketError) as caught:
        receive_from_into(two, buffer)
    assert (caught.value.errno, caught.value.partial) == (errno.EMSGSIZE, b"ghij")
    assert buffer == b"ghij"
    assert receive_from(two, 4)[0] == b"last"


def test_datagram_may_be_cut_if_asked(udp: _Pair) -> None:
    one, two = udp
    one.send(b"abcdef")
    assert receive_from(two, 2, socket.MSG_PEEK)[0] == b"ab"
    assert receive_from(two, 4, socket.MSG_TRUNC)[0] == b"abcd"
    one.send(b"ghijkl")
    assert receive_from_into(two, bytearray(4), flags=socket.MSG_TRUNC)[0] == 4
    one.send(b"mnopqr")
    assert receive(two, 3) == b"mno"
    assert not receive_ready(two)


def test_datagram_that_fits_exactly(udp: _Pair) -> None:
    udp[0].send(b"abcd")
    assert receive_from(udp[1], 4)[0] == b"abcd"


def test_refusal_of_an_earlier_datagram_leaves_the_socket_usable(udp: _Pair) -> None:
    one, two = udp
    name = two.getsockname()
    two.close()
    one.send(b"x")
    with pytest.raises(ConnectionRefusedError) as caught:
        receive_from(one, 10, timeout=5)
    assert isinstance(caught.value, SocketError)
    assert caught.value.address == inet_address(*name)
    with socket.socket(type=socket.SOCK_DGRAM) as again:
        again.bind(name)
        again.sendto(b"y", one.getsockname())
        assert receive_from(one, 10, timeout=5)[0] == b"y"


def test_sender_on_a_connection_is_the_peer(tcp_pair: _Pair) -> None:
    client, server = tcp_pair
    client.send(b"abc")
    assert receive_from(server, 2) == (b"ab", inet_address(*client.getsockname()))
    assert receive_from_into(server, bytearray(2)) == (1, inet_address(*client.getsockname()))
    _reset(client)
    with pytest.raises(ConnectionResetError):
        receive_from(server, 1, timeout=5)
    assert receive_from(server, 1) == (b"", inet_address("0.0.0.0", 0))


class _Old(socket.socket):
    """A socket of a platform that has no recvmsg."""

    @property
    def recvmsg(self) -> Any:
        raise AttributeError

    recvmsg_into = recvmsg


def test_datagram_on_a_platform_without_recvmsg(udp: _Pair) -> None:
    one, two = udp
    with _Old(two.family, two.type, fileno=os.dup(two.fileno())) as old:
        for data in (b"abc", b"def"):
            one.send(data)
        assert receive_from(old, 10) == (b"abc", inet_address(*one.getsockname()))
        assert receive_from_into(old, bytearray(10)) == (3, inet_address(*one.getsockname()))


def test_unix_senders_with_and_without_a_name(unix_path: str) -> None:
    kind = socket.SOCK_DGRAM
    with socket.socket(socket.AF_UNIX, kind) as receiver, socket.socket(socket.AF_UNIX, kind) as sender:
        receiver.bind(unix_path)
        sender.sendto(b"x", unix_path)
        assert receive_from(receiver, 1) == (b"x", SocketAddress(socket.AF_UNIX, ""))
        sender.bind(unix_path + ".sender")
        sender.sendto(b"y", unix_path)
        assert receive_from_into(receiver, bytearray(1)) == (1, unix_address(unix_path + ".sender"))


def test_ipv6_sender() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.sendto(b"x", sock.getsockname())
        assert receive_from(sock.fileno(), 1) == (b"x", SocketAddress.from_native(socket.AF_INET6, sock.getsockname()))


# Readiness


def test_receive_ready(socket_pair: _Pair) -> None:
    left, right = socket_pair
    assert not receive_ready(left)
    right.send(b"x")
    assert receive_ready(left)
    assert receive_ready(left.fileno())
    left.recv(1)
    right.close()
    assert receive_ready(left)


def test_accept_ready(tcp_listener: socket.socket) -> None:
    assert not accept_ready(tcp_listener)
    with socket.create_connection(tcp_listener.getsockname()):
        assert accept_ready(tcp_listener)


def test_readiness_of_a_closed_socket(socket_pair: _Pair) -> None:
    socket_pair[0].close()
    for sock in (socket_pair[0], 999):
        with pytest.raises(SocketError) as caught:
            receive_ready(sock)
        assert caught.value.errno == errno.EBADF
