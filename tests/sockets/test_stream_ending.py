"""How a stream ends: at once, gracefully, with a reset; who is told; and what it may be made of."""

from __future__ import annotations

import gc
import os
import pty
import socket
import ssl
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventsock import (
    BusyError,
    EventLoop,
    SocketError,
    Stream,
    StreamClosed,
    TaskCancelled,
    a_sync,
    await_choice,
    await_sleep,
    await_writable,
    await_yield,
    readable,
    run,
    running_event_loop,
)
from stream_kit import Steps, Wait, both_ways, narrow, reset, stream_and_peer, streams, tcp_streams, told

Said = Callable[[Wait], Callable[[], Any]]


def test_close_wakes_whoever_waits_with_a_clear_error() -> None:
    with stream_and_peer() as (stream, _):

        def body() -> Steps:
            tasks = [
                a_sync(told(stream.await_getline, StreamClosed)),
                a_sync(told(lambda: stream.await_put_bytes(b"x" * 10_000_000), StreamClosed)),
                a_sync(told(lambda: stream.await_put_bytes(b"y"), StreamClosed)),
                a_sync(told(stream.await_flush, StreamClosed)),
            ]
            yield from await_yield()
            stream.close()
            stream.close()
            errors = []
            for task in tasks:
                errors.append((yield from task.await_result()))
            assert [type(error) for error in errors] == [StreamClosed] * 4
            assert errors[1].sent > 0
            assert errors[2].sent == 0
            assert (stream.closed, stream.fileno(), repr(stream)) == (True, -1, "<Stream closed>")
            verbs = (
                stream.await_getline,
                stream.await_getall,
                stream.await_flush,
                stream.await_put_eof,
                lambda: stream.await_put_string(""),
            )
            for verb in verbs:
                with pytest.raises(StreamClosed, match="was closed"):
                    yield from verb()

        run(body)


def test_fault_1_who_waits_by_other_means_is_told_too() -> None:
    with stream_and_peer() as (stream, _):

        def body() -> Steps:
            waiting = a_sync(told(lambda: await_choice(readable(stream)), StreamClosed, SocketError))
            yield from await_yield()
            stream.close()
            return (yield from waiting.await_result())

        assert isinstance(run(body), StreamClosed)


def test_fault_1_a_writer_that_is_forgotten_and_then_closed_is_told_once() -> None:
    with stream_and_peer() as (stream, _):

        def body() -> Steps:
            writing = a_sync(told(lambda: stream.await_put_bytes(b"x" * 1_000_000), StreamClosed, SocketError))
            loop = running_event_loop()
            assert loop is not None
            loop.forget(stream)
            stream.close()
            yield from await_yield()
            return (yield from writing.await_result())

        assert isinstance(run(body), StreamClosed)


def test_fault_1_writers_whose_descriptor_is_forgotten_are_all_told() -> None:
    with stream_and_peer() as (stream, peer):

        def body() -> Steps:
            first = a_sync(told(lambda: stream.await_put_bytes(b"x" * 1_000_000), SocketError))
            second = a_sync(told(lambda: stream.await_put_bytes(b"y"), StreamClosed))
            peer.close()
            loop = running_event_loop()
            assert loop is not None
            loop.forget(stream)
            return (yield from first.await_result()), (yield from second.await_result())

        first, second = run(body)
        assert first.errno == 9
        assert type(second) is StreamClosed


def test_fault_2_a_descriptor_closed_behind_our_back() -> None:
    with stream_and_peer() as (stream, _):

        def body() -> Steps:
            waiting = a_sync(told(stream.await_getline, SocketError))
            yield from await_yield()
            assert stream.socket is not None
            stream.socket.close()
            error = yield from waiting.await_result()
            assert error.errno == 9
            with pytest.raises(SocketError):
                yield from stream.await_put_bytes(b"x")

        run(body)


def test_fault_5_a_stream_that_is_closed_while_a_duplicate_lives_on_is_no_ghost() -> None:
    with stream_and_peer() as (stream, peer):
        assert stream.socket is not None
        with stream.socket.dup():

            def body() -> Steps:
                peer.sendall(b"a\n")
                assert (yield from stream.await_getline()) == b"a"
                waiting = a_sync(told(stream.await_getline, StreamClosed))
                yield from await_yield()
                stream.close()
                yield from waiting.await_result()
                peer.sendall(b"to the duplicate")
                loop = running_event_loop()
                assert loop is not None
                turns = loop.statistics().turns
                yield from await_sleep(0.03)
                return loop.statistics().turns - turns, loop.statistics().selector_rebuilds

            turns, rebuilds = run(body)
    assert turns < 5
    assert rebuilds == 0


@pytest.mark.parametrize("error", [None, ValueError])
def test_with_closes_whatever_happens(error: type[Exception] | None) -> None:
    left, right = socket.socketpair()
    with right:
        try:
            with Stream(left) as stream:
                if error is not None:
                    raise error
        except ValueError:
            pass
        assert stream.closed
        assert left.fileno() == -1
    left, right = socket.socketpair()
    with right:

        async def body() -> None:
            async with Stream(left) as stream:
                await stream.await_put_bytes(b"x")
                if error is not None:
                    raise error

        if error is None:
            run(body)
        else:
            with pytest.raises(error):
                run(body)
        assert left.fileno() == -1


# Gracefully


@both_ways
def test_await_close_waits_for_the_peers_end(said: Said, tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    stream, client = tcp_streams(tcp_pair)
    heard: list[bytes] = []

    def peer() -> None:
        client.sendall(b"input that nobody reads " * 1000)
        while data := client.recv(65536):
            heard.append(data)
        client.sendall(b"more of it")
        client.close()

    thread = threading.Thread(target=peer)
    thread.start()

    async def body() -> Any:
        await stream.await_put_bytes(b"x" * 300_000)
        return await a_sync(said(stream.await_close)).await_result()

    assert run(body) is True
    thread.join()
    assert b"".join(heard) == b"x" * 300_000
    assert stream.closed


def test_fault_69_unread_input_makes_a_reset_of_a_plain_close_and_none_of_a_graceful_one(tcp_listener: socket.socket) -> None:
    def outcome(graceful: bool) -> bytes | type[OSError]:
        with socket.create_connection(tcp_listener.getsockname()) as client:
            stream = Stream(tcp_listener.accept()[0])

            def body() -> Steps:
                client.sendall(b"unread")
                yield from stream.await_put_bytes(b"answer")
                yield from await_sleep(0.02)
                if graceful:
                    closing = a_sync(stream.await_close)
                    yield from await_sleep(0.02)
                    client.shutdown(socket.SHUT_WR)
                    assert (yield from closing.await_result()) is True
                else:
                    stream.close()
                    yield from await_sleep(0.02)

            run(body)
            try:
                return client.recv(100) + client.recv(100)
            except OSError as error:
                return type(error)

    assert outcome(graceful=True) == b"answer"
    assert outcome(graceful=False) is ConnectionResetError


def test_await_close_has_a_limit() -> None:
    with stream_and_peer() as (stream, peer):
        begin = time.monotonic()
        assert run(lambda: stream.await_close(0.05)) is False
        assert 0.04 < time.monotonic() - begin < 1
        assert stream.closed
        assert peer.recv(10) == b""
        assert run(stream.await_close) is True
        with pytest.raises(ValueError, match="linger"):
            run(lambda: stream.await_close(-1))


def test_the_limit_holds_also_for_a_peer_that_never_stops() -> None:
    with streams() as (stream, other):

        def flood() -> Steps:
            while True:
                yield from other.await_put_bytes(b"x" * 50_000)

        def body() -> Steps:
            flooding = a_sync(told(flood, SocketError))  # type: ignore[arg-type]
            begin = time.monotonic()
            assert (yield from stream.await_close(0.05)) is False
            assert time.monotonic() - begin < 1
            assert isinstance((yield from flooding.await_result()), SocketError)

        run(body)


def test_await_close_of_a_connection_that_was_reset(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    stream, client = tcp_streams(tcp_pair)

    def body() -> Steps:
        yield from stream.await_put_bytes(b"x")
        closing = a_sync(stream.await_close)
        yield from await_sleep(0.01)
        reset(client)
        return (yield from closing.await_result())

    assert run(body) is False


def test_await_close_finishes_writes_and_ends_reads() -> None:
    with streams() as (stream, other):

        def body() -> Steps:
            reading = a_sync(told(stream.await_getline, StreamClosed))
            writing = a_sync(stream.await_put_bytes, b"x" * 1_000_000)
            closing = a_sync(stream.await_close)
            yield from await_yield()
            with pytest.raises(StreamClosed):
                yield from stream.await_getsome()
            data = yield from other.await_getall()
            assert data == b"x" * 1_000_000
            other.close()
            yield from writing.await_result()
            assert isinstance((yield from reading.await_result()), StreamClosed)
            return (yield from closing.await_result())

        assert run(body) is True


def test_await_close_is_one_tasks_business() -> None:
    with stream_and_peer() as (stream, peer):

        def body() -> Steps:
            closing = a_sync(stream.await_close, name="first")
            for _ in range(3):
                with pytest.raises(BusyError, match=r"task '.*body' is closing .*, which task 'first' closes already"):
                    yield from stream.await_close()
                assert not stream.closed
                yield from await_yield()
            peer.close()
            return (yield from closing.await_result()), (yield from stream.await_close())

        assert run(body) == (True, True)


@pytest.mark.parametrize("gather", [False, True])
def test_who_writes_while_another_task_closes_is_refused_and_nothing_stays_held(gather: bool) -> None:
    with stream_and_peer(gather=gather) as (stream, peer):

        def body() -> Steps:
            yield from stream.await_put_bytes(b"before")
            closing = a_sync(stream.await_close)
            for _ in range(2):
                yield from await_yield()
            assert peer.recv(100) + peer.recv(100) == b"before"
            with pytest.raises(StreamClosed):
                yield from stream.await_put_bytes(b"after")
            peer.close()
            assert (yield from closing.await_result())
            assert not stream.unwritten

        run(body)


def test_what_is_put_while_another_task_closes_has_arrived_or_is_told() -> None:
    with streams(gather=True) as (stream, other):

        def body() -> Steps:
            filling = a_sync(stream.await_put_bytes, b"x" * 1_000_000)
            closing = a_sync(stream.await_close)
            yield from await_yield()
            late = a_sync(told(lambda: stream.await_put_bytes(b"late"), StreamClosed))
            data = yield from other.await_getall()
            other.close()
            for task in (filling, closing):
                yield from task.await_result()
            error = yield from late.await_result()
            assert data == b"x" * 1_000_000 + (b"" if error else b"late")

        run(body)


def test_await_close_that_is_cancelled_has_closed() -> None:
    with stream_and_peer() as (stream, _):

        def body() -> Steps:
            closing = a_sync(stream.await_close, None)
            yield from await_sleep(0.01)
            closing.cancel()
            with pytest.raises(TaskCancelled):
                yield from closing.await_result()
            assert stream.closed

        run(body)


def test_await_close_says_that_a_write_failed() -> None:
    with streams() as (stream, other):

        def body() -> Steps:
            writing = a_sync(told(lambda: stream.await_put_bytes(b"x" * 1_000_000), SocketError))
            closing = a_sync(told(stream.await_close, SocketError, StreamClosed))
            yield from await_yield()
            other.close()
            assert isinstance((yield from writing.await_result()), SocketError)
            assert (yield from closing.await_result()) is not None
            assert stream.closed

        run(body)


# With a reset


def test_abort_resets_and_drops() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        stream = Stream(listener.accept()[0], gather=True)
        narrow(client)

        def body() -> Steps:
            writing = a_sync(told(lambda: stream.await_put_bytes(b"x" * 10_000_000), StreamClosed))
            yield from await_sleep(0.01)
            stream.abort()
            stream.abort()
            return (yield from writing.await_result())

        assert isinstance(run(body), StreamClosed)
        client.settimeout(5)
        with pytest.raises(ConnectionResetError):
            all_of(client)


def all_of(sock: socket.socket) -> bytes:
    found = b""
    while data := sock.recv(65536):
        found += data
    return found


def test_fault_68_abort_drops_what_is_held_without_an_error() -> None:
    with stream_and_peer(gather=True) as (stream, peer):

        def body() -> Steps:
            yield from stream.await_put_bytes(b"held")
            stream.abort()

        run(body)
        assert peer.recv(100) == b""


# What a stream may be made of


def test_fault_11_pipes() -> None:
    reader, writer = os.pipe()
    with Stream(reader) as source, Stream(writer) as sink:

        def body() -> Steps:
            writing = a_sync(sink.await_put_bytes, b"line\n" * 100_000)
            for _ in range(100_000):
                assert (yield from source.await_getline()) == b"line"
            yield from writing.await_result()
            several = [a_sync(sink.await_put_bytes, bytes([65 + i]) * 50_000) for i in range(3)]
            data = yield from source.await_getblock(150_000)
            for task in several:
                yield from task.await_result()
            assert data == b"A" * 50_000 + b"B" * 50_000 + b"C" * 50_000
            assert source.socket is None
            sink.close()
            assert (yield from source.await_getline()) is None
            assert (yield from source.await_close()) is True

        run(body)


def test_fault_11_fifos(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with Stream(reader) as source, open(path, "wb", buffering=0) as file:
        sink = Stream(file)

        def body() -> Steps:
            yield from sink.await_put_bytes(b"through\n")
            line = yield from source.await_getline()
            sink.close()
            return line, (yield from source.await_getline())

        assert run(body) == (b"through", None)
        assert file.closed


def test_fault_11_terminals() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    with Stream(master) as near, Stream(slave) as far:

        def body() -> Steps:
            yield from near.await_put_bytes(b"typed\n")
            assert (yield from far.await_getline()) == b"typed"
            yield from far.await_put_bytes(b"shown\n")
            far.close()
            assert (yield from near.await_getline()) == b"shown"
            return (yield from near.await_getline())

        assert run(body) is None


def test_sockets_by_number_and_by_object() -> None:
    left, right = socket.socketpair()
    with Stream(left.detach()) as one, Stream(right) as other:
        assert isinstance(one.socket, socket.socket)
        assert other.socket is right

        def body() -> Steps:
            yield from one.await_put_bytes(b"x" * 1_000)
            return (yield from other.await_getsome())

        assert run(body) == b"x" * 1_000


def test_what_it_is_given_is_made_non_blocking() -> None:
    reader, writer = os.pipe()
    left, right = socket.socketpair()
    with right, Stream(reader), Stream(writer), Stream(left) as stream:
        assert not os.get_blocking(reader)
        assert not os.get_blocking(writer)
        assert stream.socket is not None
        assert stream.socket.gettimeout() == 0


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_descriptors_of_the_process_are_refused(fd: int) -> None:
    with pytest.raises(ValueError, match="open_stdin"):
        Stream(fd)


def test_what_cannot_be_a_stream_is_refused(tmp_path: Path) -> None:
    closed = socket.socket()
    closed.close()
    (tmp_path / "file").write_bytes(b"")
    with (
        socket.socket() as plain,
        ssl.create_default_context().wrap_socket(plain, do_handshake_on_connect=False, server_hostname="x") as tls,
    ):
        wrong: list[tuple[Any, type[Exception], str]] = [
            (closed, SocketError, "closed"),
            (-1, SocketError, "descriptor"),
            (9999, SocketError, "descriptor 9999"),
            (True, TypeError, "sock_or_fd"),
            ("x", TypeError, "sock_or_fd"),
            (None, TypeError, "sock_or_fd"),
            (tls, TypeError, "TLS"),
        ]
        for file, error, text in wrong:
            with pytest.raises(error, match=text):
                Stream(file)
    with open(tmp_path / "file", "rb") as regular:
        for file in (regular, regular.fileno()):
            with pytest.raises(PermissionError, match="thread"):
                Stream(file)
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(SocketError, match="directory"):
        Stream(fd)
    os.close(fd)


def test_a_device_that_cannot_be_polled_says_so_when_it_would_have_to_wait() -> None:
    with Stream(os.open("/dev/null", os.O_RDWR)) as stream:

        def body() -> Steps:
            yield from stream.await_put_bytes(b"gone")
            assert (yield from stream.await_getall()) == b""
            with pytest.raises(PermissionError, match="not pollable"):
                yield from await_writable(stream)

        run(body)


def test_a_pipe_that_is_forgotten_is_closed_with_a_warning() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    streams = [Stream(reader)]
    with pytest.warns(ResourceWarning, match=f"descriptor {reader}"):
        streams.clear()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(reader)


def test_fault_109_operations_make_no_cycles() -> None:
    with stream_and_peer(gather=True, idle=5) as (stream, peer), EventLoop() as loop:
        assert stream.socket is not None
        narrow(stream.socket)

        def body() -> Steps:
            peer.sendall(b"line\n")
            yield from stream.await_getline()
            yield from stream.await_put_bytes(b"x" * 3000)
            yield from stream.await_flush()
            peer.recv(10_000)

        def congested() -> Steps:
            writing = a_sync(stream.await_put_bytes, b"x" * 100_000)
            with_stream = b""
            while len(with_stream) < 100_000:
                yield from await_yield()
                with_stream += peer.recv(1000)
            yield from writing.await_result()

        for each in (body, congested):
            a_sync(each, loop=loop)
            loop.run()
        gc.collect()
        gc.disable()
        try:
            for each in (body, congested):
                a_sync(each, loop=loop)
                loop.run()
            assert gc.collect() == 0
        finally:
            gc.enable()
