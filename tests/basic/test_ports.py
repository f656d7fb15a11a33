"""Ports: the buffering rules of the egg's document, what closing does, and that a failed read or write loses nothing."""

from __future__ import annotations

import gc
import io
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsock.basic import SocketError, abandon_port, io_ports, port_socket, ports, receive, timeouts
from eventsock.basic.ports import PortReader, PortWriter

_Pair = tuple[socket.socket, socket.socket]
_Ports = tuple[PortReader, PortWriter]


@pytest.fixture
def both(socket_pair: _Pair) -> Iterator[tuple[_Ports, socket.socket]]:
    """The ports of one socket, and the other socket."""
    reader, writer = io_ports(socket_pair[0])
    with reader, writer:
        yield (reader, writer), socket_pair[1]


@pytest.fixture
def datagrams() -> Iterator[_Pair]:
    """Two connected sockets that keep the borders of messages."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        right.settimeout(5)
        yield left, right


def _sent(sock: socket.socket) -> list[bytes]:
    """The messages that have come."""
    found = []
    sock.setblocking(False)
    try:
        while True:
            found.append(sock.recv(1 << 20))
    except BlockingIOError:
        return found


def test_they_are_standard_io_objects(both: tuple[_Ports, socket.socket]) -> None:
    (reader, writer), _ = both
    assert isinstance(reader, io.BufferedIOBase)
    assert isinstance(writer, io.BufferedIOBase)
    assert (reader.readable(), reader.writable(), reader.seekable()) == (True, False, False)
    assert (writer.readable(), writer.writable(), writer.seekable()) == (False, True, False)
    assert reader.fileno() == writer.fileno() == reader.name == writer.name == port_socket(reader).fileno()
    assert (reader.mode, writer.mode) == ("rb", "wb")


# Reading


def test_reads(both: tuple[_Ports, socket.socket]) -> None:
    (reader, _), peer = both
    peer.send(b"one\ntwo\nthree")
    assert reader.readline() == b"one\n"
    assert reader.peek()[:3] == b"two"
    assert reader.peek(1) == b"two\nthree"
    assert reader.read(2) == b"tw"
    assert reader.read1(100) == b"o\nthree"
    peer.send(b"four")
    assert reader.read1() == b"four"
    assert reader.read1(0) == reader.read(0) == b""
    buffer = bytearray(3)
    peer.send(b"five!")
    assert reader.readinto(buffer) == 3
    assert reader.readinto1(buffer) == 2
    assert buffer == b"e!v"
    peer.send(b"six\nseven\nend")
    peer.shutdown(socket.SHUT_WR)
    assert reader.readline(2) == b"si"
    assert reader.readline(100) == b"x\n"
    assert list(reader) == [b"seven\n", b"end"]
    assert reader.read() == reader.readline() == reader.peek() == b""


def test_read_waits_for_all_it_was_asked_for(both: tuple[_Ports, socket.socket]) -> None:
    (reader, _), peer = both
    peer.send(b"abc")
    later = threading.Timer(0.03, peer.send, [b"defgh"])
    later.start()
    assert reader.read(6) == b"abcdef"
    later.join()
    peer.shutdown(socket.SHUT_WR)
    assert reader.read(6) == b"gh"
    assert reader.read(None) == b""


def test_line_over_several_pieces(socket_pair: _Pair) -> None:
    reader, writer = io_ports(socket_pair[0], receive_buffer_size=3)
    with reader, writer:
        socket_pair[1].send(b"a long line\nx\n\n")
        assert [reader.readline() for _ in range(3)] == [b"a long line\n", b"x\n", b"\n"]
        socket_pair[1].send(b"a long line\n")
        assert reader.readline(5) == b"a lon"
        assert reader.readline(0) == b""
        assert reader.readline() == b"g line\n"


def test_one_receive_of_the_buffer_size_when_the_buffer_is_empty(datagrams: _Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(sock: Any, n: int, **rest: Any) -> bytes:
        asked.append(n)
        return receive(sock, n, **rest)

    monkeypatch.setattr(ports, "receive", counted)
    reader, writer = io_ports(datagrams[0], receive_buffer_size=8)
    with reader, writer:
        for message in (b"12345", b"abcdefghijk", b"x"):
            datagrams[1].send(message)
        assert reader.read1(2) == b"12"
        assert reader.read1(100) == b"345"
        assert asked == [8]
        assert reader.read1() == b"abcdefgh"  # what exceeds the buffer is cut off
        assert reader.read1() == b"x"
        assert asked == [8, 8, 8]


def test_after_the_end_a_later_read_tries_again(datagrams: _Pair) -> None:
    reader, writer = io_ports(datagrams[0])
    with reader, writer:
        datagrams[1].send(b"")
        datagrams[1].send(b"x")
        assert reader.read() == b""
        assert reader.read1() == b"x"


def test_failed_read_loses_nothing(socket_pair: _Pair) -> None:
    with timeouts(receive=0.01):
        reader, writer = io_ports(socket_pair[0])
    with reader, writer:
        socket_pair[1].send(b"abc")
        for read in (reader.read, reader.readline):
            for size in (5, -1):
                with pytest.raises(TimeoutError):
                    read(size)
        socket_pair[1].send(b"d\nx")
        assert reader.readline() == b"abcd\n"


@given(data=st.binary(max_size=60), size=st.integers(1, 9), steps=st.lists(st.integers(1, 20), max_size=30))
def test_any_reads_give_the_bytes_in_order(data: bytes, size: int, steps: list[int]) -> None:
    left, right = socket.socketpair()
    reader, writer = io_ports(left, receive_buffer_size=size)
    with right, reader, writer:
        right.sendall(data)
        right.shutdown(socket.SHUT_WR)
        got = b"".join((reader.read, reader.read1, reader.readline)[step % 3](step) for step in steps)
        assert got + reader.read() == data


# Writing


def test_unbuffered_write_goes_out_at_once(both: tuple[_Ports, socket.socket]) -> None:
    (_, writer), peer = both
    for data in (b"abc", bytearray(b"def"), memoryview(b"ghi")):
        assert writer.write(data) == 3
        assert peer.recv(100) == bytes(data)
    assert writer.write(b"") == 0
    writer.flush()


def test_example_of_the_document(datagrams: _Pair) -> None:
    # "If the buffer can hold 512 bytes and contains 500, writing 526 more sends 1024 bytes in one call and retains 2."
    reader, writer = io_ports(datagrams[0], send_buffer_size=512)
    with reader, writer:
        assert writer.write(b"x" * 500) == 500
        assert _sent(datagrams[1]) == []
        assert writer.write(b"y" * 526) == 526
        assert _sent(datagrams[1]) == [b"x" * 500 + b"y" * 524]
        writer.flush()
        assert _sent(datagrams[1]) == [b"yy"]


def test_full_buffer_goes_out(datagrams: _Pair) -> None:
    reader, writer = io_ports(datagrams[0], send_buffer_size=4)
    with reader, writer:
        for data in (b"ab", b"c", b"d", b"efgh", b"i"):
            writer.write(data)
        assert _sent(datagrams[1]) == [b"abcd", b"efgh"]
    assert _sent(datagrams[1])[0] == b"i"


def test_send_size_makes_the_datagrams(datagrams: _Pair) -> None:
    # The document's recommendation: buffer 128 bytes, send datagrams of 128 to 512.
    reader, writer = io_ports(datagrams[0], receive_buffer_size=4096, send_buffer_size=128, send_size=512)
    with reader, writer:
        writer.write(bytes(1300))
        assert [len(each) for each in _sent(datagrams[1])] == [512, 512, 256]
        writer.write(bytes(108))
        assert [len(each) for each in _sent(datagrams[1])] == [128]


def test_send_size_without_a_buffer(datagrams: _Pair) -> None:
    for size, expected in ((3, [3, 3, 1]), (None, [7])):
        reader, writer = io_ports(datagrams[0].dup(), send_size=size)
        with reader, writer:
            abandon_port(reader)
            abandon_port(writer)
            writer.write(bytes(7))
            assert [len(each) for each in _sent(datagrams[1])] == expected


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(1, 10))
def test_any_writes_send_whole_buffers_in_order(writes: list[bytes], size: int) -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    reader, writer = io_ports(left, send_buffer_size=size)
    with right, reader, writer:
        for data in writes:
            writer.write(data)
        sent = _sent(right)
        assert all(len(each) % size == 0 for each in sent)
        assert b"".join(sent) == b"".join(writes)[: len(b"".join(writes)) // size * size]
        writer.flush()
        assert b"".join(sent + _sent(right)) == b"".join(writes)


def test_failed_write_keeps_what_did_not_go_out(socket_pair: _Pair) -> None:
    left, right = socket_pair
    data = os.urandom(3_000_000)
    with timeouts(send=0.02):
        reader, writer = io_ports(left, send_buffer_size=1024)
    with reader, writer:
        with pytest.raises(SocketError) as caught:
            writer.write(data)
        assert 0 < caught.value.sent < len(data)
        got: list[bytes] = []
        draining = threading.Thread(target=lambda: got.append(b"".join(iter(lambda: right.recv(1 << 20), b""))))
        draining.start()
        writer.flush()
        writer.close()
        draining.join()
    assert got == [data]


@pytest.mark.parametrize("data", ["text", None, 5])
def test_only_bytes_are_written(both: tuple[_Ports, socket.socket], data: Any) -> None:
    with pytest.raises(TypeError, match="data must be"):
        both[0][1].write(data)


# Time


def test_limits_are_those_of_their_making(socket_pair: _Pair) -> None:
    with timeouts(receive=0.01, send=0.01):
        reader, writer = io_ports(socket_pair[0])
    with reader, writer:
        with pytest.raises(TimeoutError):
            reader.read1()
        with pytest.raises(TimeoutError):
            writer.write(bytes(10_000_000))


def test_later_limits_are_no_matter(both: tuple[_Ports, socket.socket]) -> None:
    (reader, _), peer = both
    later = threading.Timer(0.05, peer.send, [b"x"])
    later.start()
    with timeouts(receive=0.001):
        assert reader.read1() == b"x"
    later.join()


# Closing


def test_each_port_ends_its_direction_and_the_second_closes_the_socket(socket_pair: _Pair) -> None:
    left, right = socket_pair
    reader, writer = io_ports(left)
    writer.close()
    assert writer.closed
    assert right.recv(1) == b""
    right.send(b"x")
    assert reader.read1() == b"x"
    reader.close()
    assert left.fileno() == -1
    reader.close()
    writer.close()


def test_closed_reader_ends_reading(socket_pair: _Pair) -> None:
    reader, writer = io_ports(socket_pair[0])
    reader.close()
    with pytest.raises(BrokenPipeError):
        socket_pair[1].send(b"x")
    writer.write(b"y")
    assert socket_pair[1].recv(1) == b"y"
    writer.close()
    assert socket_pair[0].fileno() == -1


def test_abandoned_ports_leave_the_connection_open(socket_pair: _Pair) -> None:
    left, right = socket_pair
    copy = left.dup()
    reader, writer = io_ports(left)
    abandon_port(reader)
    abandon_port(writer)
    writer.close()
    reader.close()
    assert left.fileno() == -1
    with copy:
        copy.send(b"x")
        assert right.recv(1) == b"x"
        right.send(b"y")
        assert copy.recv(1) == b"y"


def test_close_sends_what_is_buffered(socket_pair: _Pair) -> None:
    reader, writer = io_ports(socket_pair[0], send_buffer_size=1024)
    with reader, writer:
        writer.write(b"abc")
    assert socket_pair[1].recv(10) == b"abc"


def test_socket_is_closed_even_if_the_last_bytes_cannot_be_sent(socket_pair: _Pair) -> None:
    left, right = socket_pair
    reader, writer = io_ports(left, send_buffer_size=1024)
    writer.write(b"abc")
    reader.close()
    right.close()
    with pytest.raises(BrokenPipeError):
        writer.close()
    assert writer.closed
    assert left.fileno() == -1


def test_peer_that_is_gone_is_no_error_at_close(tcp_pair: _Pair) -> None:
    client, server = tcp_pair
    reader, writer = io_ports(client)
    server.close()
    writer.close()
    reader.close()
    assert client.fileno() == -1


def test_socket_that_was_closed_before_its_ports(socket_pair: _Pair) -> None:
    reader, writer = io_ports(socket_pair[0])
    socket_pair[0].close()
    reader.close()
    writer.close()


def test_forgotten_ports_close_the_socket(socket_pair: _Pair) -> None:
    left, right = socket_pair
    io_ports(left)
    gc.collect()
    assert left.fileno() == -1
    assert right.recv(1) == b""


def test_closed_ports_refuse(socket_pair: _Pair) -> None:
    reader, writer = io_ports(socket_pair[0])
    reader.close()
    writer.close()
    for call in (reader.read, reader.read1, reader.readline, reader.peek, reader.fileno, writer.flush, writer.fileno):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"x")


# Text


def test_text_ports(socket_pair: _Pair) -> None:
    reader, writer = io_ports(socket_pair[0])
    with (
        io.TextIOWrapper(reader, encoding="utf-8") as lines,
        io.TextIOWrapper(writer, encoding="utf-8", newline="\r\n", write_through=True) as text,
    ):
        print("grüße", file=text)
        assert socket_pair[1].recv(100) == "grüße\r\n".encode()
        socket_pair[1].send("süß\r\nsauer\n".encode())
        assert lines.readline() == "süß\n"
        assert lines.readline() == "sauer\n"
        assert port_socket(lines) is port_socket(text) is socket_pair[0]
        abandon_port(text)
        assert writer.abandoned
    assert socket_pair[0].fileno() == -1


# What is refused


@pytest.mark.parametrize("name", ["receive_buffer_size", "send_buffer_size", "send_size"])
@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), ("8", TypeError)])
def test_sizes(socket_pair: _Pair, name: str, size: Any, error: type[Exception]) -> None:
    arguments: dict[str, Any] = {name: size}
    with pytest.raises(error, match=name):
        io_ports(socket_pair[0], **arguments)


def test_receive_buffer_cannot_be_disabled(socket_pair: _Pair) -> None:
    with pytest.raises(TypeError, match="receive_buffer_size"):
        io_ports(socket_pair[0], receive_buffer_size=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("sock", [3, None, "x"])
def test_only_sockets_have_ports(sock: Any) -> None:
    with pytest.raises(TypeError, match=r"sock must be a socket\.socket"):
        io_ports(sock)


def test_tls_socket_has_its_own(socket_pair: _Pair) -> None:
    context = ssl.create_default_context()
    with (
        context.wrap_socket(socket_pair[0], server_hostname="x", do_handshake_on_connect=False) as tls,
        pytest.raises(TypeError, match="TLS socket"),
    ):
        io_ports(tls)


@pytest.mark.parametrize("verb", [port_socket, abandon_port])
def test_only_our_ports_have_sockets(socket_pair: _Pair, verb: Any) -> None:
    with io.BytesIO() as other, socket_pair[0].makefile("r") as text:
        for port in (other, text, None, socket_pair[0]):
            with pytest.raises(TypeError, match=r"port must be one that io_ports\(\) made"):
                verb(port)
