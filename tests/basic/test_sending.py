"""Blocking sends: whole, in pieces, as datagrams; and that a failure says how much went out."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventsock.basic import SocketError, inet_address, patience, send, send_all, send_to, timeouts, unix_address, write_bytes, write_string

_Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A datagram socket of 127.0.0.1."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture
def sender(receiver: socket.socket) -> Iterator[socket.socket]:
    """A datagram socket that is connected to the receiver."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(receiver.getsockname())
        yield sock


def _fill(sock: socket.socket) -> None:
    """Sends until the kernel takes no more."""
    mode = sock.gettimeout()
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))
    sock.settimeout(mode)


@pytest.mark.parametrize("of", [lambda sock: sock, lambda sock: sock.fileno()])
@pytest.mark.parametrize("limit", [None, 0.0, 7.0])
def test_whatever_the_mode_of_the_socket_it_waits_and_the_mode_stays(
    socket_pair: _Pair, of: Callable[[socket.socket], Any], limit: float | None
) -> None:
    left, right = socket_pair
    left.settimeout(limit)
    blocking = os.get_blocking(left.fileno())
    assert send(of(left), b"abc") == 3
    assert right.recv(10) == b"abc"
    _fill(left)
    with pytest.raises(TimeoutError, match=r"the peer took nothing within 0\.01 s"):
        send(of(left), b"x", timeout=0.01)
    reader = threading.Timer(0.02, lambda: right.recv(10_000_000))
    reader.start()
    assert send(of(left), b"x") == 1
    reader.join()
    assert left.gettimeout() == limit
    assert os.get_blocking(left.fileno()) is blocking


def test_offsets_and_kinds_of_data(socket_pair: _Pair) -> None:
    left, right = socket_pair
    assert send(left, b"abcdef", 2, 4) == 2
    assert send(left, bytearray(b"abcdef"), 5) == 1
    assert send(left, memoryview(b"xyz")) == 3
    assert send(left, array("i", [1, 7]), 4) == 4
    assert right.recv(100) == b"cdfxyz" + array("i", [7]).tobytes()


def test_nothing_to_send(socket_pair: _Pair) -> None:
    assert send(socket_pair[0], b"") == 0
    send_all(socket_pair[0], b"")
    send_all(socket_pair[0], b"abc", 3)
    _fill(socket_pair[0])
    assert send(socket_pair[0], b"", timeout=0) == 0


@pytest.mark.parametrize("verb", [send, send_all, write_bytes])
@pytest.mark.parametrize("data", ["text", None, 7, memoryview(b"abcdef")[::2]])
def test_data_that_is_none(socket_pair: _Pair, verb: Any, data: Any) -> None:
    with pytest.raises(TypeError, match="data must be"):
        verb(socket_pair[0], data)


@pytest.mark.parametrize(("start", "end"), [(-1, None), (0, 4), (2, 1)])
def test_offsets_outside(socket_pair: _Pair, start: int, end: int | None) -> None:
    for verb in (send, send_all):
        with pytest.raises(ValueError, match=r"start|end"):
            verb(socket_pair[0], b"abc", start, end)


def test_closed_socket(socket_pair: _Pair) -> None:
    socket_pair[0].close()
    for verb in (send, send_all, write_bytes):
        with pytest.raises(SocketError) as caught:
            verb(socket_pair[0], b"x")
        assert caught.value.errno == errno.EBADF


def test_what_is_no_socket() -> None:
    with open(os.devnull, "wb") as file, pytest.raises(SocketError) as caught:
        write_bytes(file, b"x")
    assert caught.value.errno == errno.ENOTSOCK


# All of it


@pytest.mark.parametrize("send_size", [None, 1000, 10**9])
def test_all_of_much_to_a_slow_peer(tcp_pair: _Pair, send_size: int | None) -> None:
    client, server = tcp_pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    data = os.urandom(2_000_000)
    digest = hashlib.sha256()

    def drain() -> None:
        while block := server.recv(5000):
            digest.update(block)

    draining = threading.Thread(target=drain)
    draining.start()
    send_all(client, data, send_size=send_size)
    client.shutdown(socket.SHUT_WR)
    draining.join()
    assert digest.digest() == hashlib.sha256(data).digest()


def test_all_in_chunks(sender: socket.socket, receiver: socket.socket) -> None:
    send_all(sender, b"abcdefgh", 1, send_size=3)
    assert [receiver.recv(100) for _ in range(3)] == [b"bcd", b"efg", b"h"]


def test_empty_datagram(sender: socket.socket, receiver: socket.socket) -> None:
    receiver.settimeout(5)
    send_all(sender, b"")
    assert receiver.recv(10) == b""
    assert send(sender, b"") == 0
    assert receiver.recv(10) == b""


@pytest.mark.parametrize(("send_size", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("5", TypeError)])
def test_chunks_that_are_none(socket_pair: _Pair, send_size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="send_size must"):
        send_all(socket_pair[0], b"abc", send_size=send_size)


def test_failure_says_how_much_went_out(socket_pair: _Pair) -> None:
    left, right = socket_pair
    with pytest.raises(TimeoutError) as caught:
        send_all(left, bytes(10_000_000), timeout=0.05)
    assert isinstance(caught.value, SocketError)
    sent = caught.value.sent
    assert 0 < sent < 10_000_000
    assert f"({sent} bytes were sent)" in str(caught.value)
    left.shutdown(socket.SHUT_WR)
    assert len(b"".join(iter(lambda: right.recv(1 << 20), b""))) == sent


def test_whole_call_has_one_deadline(socket_pair: _Pair) -> None:
    left, right = socket_pair
    done = threading.Event()

    def sip() -> None:
        while not done.wait(0.005):
            with contextlib.suppress(BlockingIOError):
                right.recv(50_000, socket.MSG_DONTWAIT)

    _fill(left)
    sipping = threading.Thread(target=sip)
    sipping.start()
    began = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            send_all(left, bytes(100_000_000), timeout=0.1)
        took = time.monotonic() - began
        # A limit of the surrounding block is for waits without progress, and this is progress.
        with timeouts(send=0.25):
            send_all(left, bytes(4_000_000))
    finally:
        done.set()
        sipping.join()
    assert 0.1 <= took < 5


def test_data_can_be_resized_while_the_error_is_handled(socket_pair: _Pair) -> None:
    data = bytearray(4)
    _fill(socket_pair[0])
    for verb in (send, send_all, write_bytes):
        with pytest.raises(TimeoutError) as caught:
            verb(socket_pair[0], data, timeout=0)
        data += b"x"
        assert caught.value.__traceback__ is not None


def test_surrounding_limit(socket_pair: _Pair) -> None:
    _fill(socket_pair[0])
    with timeouts(send=0.01), pytest.raises(TimeoutError):
        send_all(socket_pair[0], b"x")


def _send_for_ever(sock: socket.socket) -> None:
    while True:
        send_all(sock, b"x", timeout=5)


def test_peer_that_has_reset(tcp_pair: _Pair) -> None:
    client, server = tcp_pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    errors: list[OSError] = []
    for _ in range(2):
        with pytest.raises(SocketError) as caught:
            _send_for_ever(client)
        errors.append(caught.value)
    assert isinstance(errors[0], ConnectionResetError | BrokenPipeError)
    assert isinstance(errors[1], BrokenPipeError)


def test_half_closed_connection_can_be_written_to(tcp_pair: _Pair) -> None:
    client, server = tcp_pair
    client.shutdown(socket.SHUT_WR)
    got: list[int] = []
    reader = threading.Thread(target=lambda: got.append(len(b"".join(iter(lambda: client.recv(65536), b"")))))
    reader.start()
    assert server.recv(1) == b""
    send_all(server, bytes(1_000_000))
    server.shutdown(socket.SHUT_WR)
    reader.join()
    assert got == [1_000_000]


def test_no_death_by_sigpipe(start_program: Callable[..., subprocess.Popen[str]]) -> None:
    program = start_program(
        "-c",
        "import signal\n"
        "from eventsock.basic import *\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "a, b = socketpair()\n"
        "b.close()\n"
        "for verb, *arguments in [(send, b'x'), (send_all, b'x'), (write_string, 'x'), (send_descriptors, b'x', [0])]:\n"
        "    try: verb(a, *arguments)\n"
        "    except BrokenPipeError as error: print(error.errno)\n"
        "a.close()\n",
    )
    out, err = program.communicate()
    assert (out.split(), err, program.returncode) == ([str(errno.EPIPE)] * 4, "", 0)


def test_signals_are_invisible(socket_pair: _Pair) -> None:
    left, right = socket_pair
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    got: list[int] = []
    reader = threading.Thread(target=lambda: got.append(len(b"".join(iter(lambda: right.recv(65536), b"")))))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        reader.start()
        send_all(left, bytes(26_000_000))
        left.shutdown(socket.SHUT_WR)
        reader.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert got == [26_000_000]


def test_platform_that_cannot_try_first(socket_pair: _Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "DONT_WAIT", 0)
    assert send(socket_pair[0], b"x") == 1
    _fill(socket_pair[0])
    with pytest.raises(TimeoutError):
        send(socket_pair[0], b"x", timeout=0.01)


# Datagrams


def test_datagram_to_an_address(receiver: socket.socket) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        assert send_to(sock, b"abcdef", inet_address(*receiver.getsockname()), 1, 4) == 3
        assert receiver.recvfrom(10) == (b"bcd", ("127.0.0.1", sock.getsockname()[1]))
        assert send_to(sock.fileno(), b"", inet_address(*receiver.getsockname())) == 0
        assert receiver.recv(10) == b""


def test_datagram_to_a_path(unix_path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as two:
        one.bind(unix_path)
        assert send_to(two, b"x", unix_address(unix_path)) == 1
        assert one.recv(10) == b"x"


def test_datagram_that_is_too_long_leaves_the_socket_usable(receiver: socket.socket) -> None:
    address = inet_address(*receiver.getsockname())
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(SocketError) as caught:
            send_to(sock, bytes(70_000), address)
        assert caught.value.errno == errno.EMSGSIZE
        assert caught.value.address == address
        assert send_to(sock, b"x", address) == 1
        assert receiver.recv(10) == b"x"


def test_refusal_of_an_earlier_datagram_is_told_and_passes(refused_port: int) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", refused_port))
        assert send(sock, b"x") == 1
        with pytest.raises(ConnectionRefusedError) as caught:
            send(sock, b"x")
        assert isinstance(caught.value, SocketError)
        assert caught.value.address == inet_address("127.0.0.1", refused_port)
        assert send(sock, b"x") == 1


@pytest.mark.parametrize("address", [("127.0.0.1", 80), "127.0.0.1:80", None])
def test_only_addresses_are_addresses(receiver: socket.socket, address: Any) -> None:
    with pytest.raises(TypeError, match="address must be a SocketAddress"):
        send_to(receiver, b"x", address)


# Bytes and text


def test_write_bytes(socket_pair: _Pair) -> None:
    write_bytes(socket_pair[0], b"abc")
    assert socket_pair[1].recv(10) == b"abc"
    _fill(socket_pair[0])
    with pytest.raises(TimeoutError):
        write_bytes(socket_pair[0], b"x", timeout=0.01)


def test_write_string(socket_pair: _Pair) -> None:
    left, right = socket_pair
    write_string(left, "grüße\n")
    assert right.recv(100) == "grüße\n".encode()
    write_string(left, "grüße", "latin-1")
    assert right.recv(100) == b"gr\xfc\xdfe"
    with pytest.raises(UnicodeEncodeError):
        write_string(left, "grüße", "ascii")
    with pytest.raises(TypeError, match="text must be a str, not bytes"):
        write_string(left, b"abc")  # type: ignore[arg-type]
    with pytest.raises(BlockingIOError):
        right.recv(1, socket.MSG_DONTWAIT)
