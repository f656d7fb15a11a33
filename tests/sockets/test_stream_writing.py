"""What a stream takes: whole call by whole call, at once if there is room, with room waited for, gathered, and from files."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eventsock import (
    BusyError,
    Cancelled,
    EventLoop,
    FileSent,
    SocketError,
    Stream,
    StreamClosed,
    Task,
    TaskCancelled,
    a_sync,
    await_connect_to_ipv4_host,
    await_send_all,
    await_serve,
    await_sleep,
    await_yield,
    run,
    running_event_loop,
    timeout,
)
from eventsock.basic import SocketAddress, listen_on_ipv4_socket
from programs import ROOT
from stream_kit import Steps, Wait, both_ways, digest, most_in_a_turn, narrow, pattern, reset, stream_and_peer, streams, tcp_streams, told

Said = Callable[[Wait], Callable[[], Any]]


def all_of(peer: socket.socket) -> bytes:
    found = []
    while data := peer.recv(65536):
        found.append(data)
    return b"".join(found)


@both_ways
@pytest.mark.parametrize(
    ("put", "expected"),
    [
        (lambda s: s.await_put_bytes(b"bytes"), b"bytes"),
        (lambda s: s.await_put_bytes(bytearray(b"bytearray")), b"bytearray"),
        (lambda s: s.await_put_bytes(memoryview(b"xxmemoryxx")[2:-2]), b"memory"),
        (lambda s: s.await_put_bytes(b""), b""),
        (lambda s: s.await_put_string("grün\n"), "grün\n".encode()),
        (lambda s: s.await_flush(), b""),
        (lambda s: s.await_put_eof(), b""),
        (lambda s: s.await_put_file(io.BytesIO(b"file")), b"file"),
    ],
)
def test_each_verb(said: Said, put: Callable[[Stream], Any], expected: bytes) -> None:
    with stream_and_peer() as (stream, peer):
        run(said(lambda: put(stream)))
        stream.close()
        assert all_of(peer) == expected


@pytest.mark.parametrize("data", ["text", 7, None, [b"x"]])
def test_only_bytes_are_bytes(data: Any) -> None:
    with stream_and_peer() as (stream, _), pytest.raises(TypeError, match="data"):
        run(lambda: stream.await_put_bytes(data))


@pytest.mark.parametrize("text", [b"bytes", 7, None, ["x"]])
def test_only_text_is_text(text: Any) -> None:
    with stream_and_peer() as (stream, _), pytest.raises(TypeError, match="text must be a str"):
        run(lambda: stream.await_put_string(text))


def test_fault_61_nothing_is_nothing_and_what_changes_while_it_is_written_is_the_callers() -> None:
    with streams() as (stream, other):

        def body() -> Steps:
            for nothing in (b"", bytearray(), memoryview(b"")):
                yield from stream.await_put_bytes(nothing)
            assert (yield from other.await_getblock(0)) == b""
            buffer = bytearray(b"a" * 1_000_000)
            writing = a_sync(stream.await_put_bytes, buffer)
            assert not writing.done
            buffer[-1:] = b"z"  # it is not copied: whoever puts it leaves it alone until it is written
            data = yield from other.await_getblock(1_000_000)
            yield from writing.await_result()
            return data

        assert run(body) == b"a" * 999_999 + b"z"


def test_fault_61_items_that_are_no_bytes_count_as_their_bytes() -> None:
    with stream_and_peer() as (stream, peer):
        run(lambda: stream.await_put_bytes(memoryview(struct.pack("<2I", 1, 2)).cast("I")))
        assert peer.recv(100) == struct.pack("<2I", 1, 2)


def test_non_contiguous_bytes_are_refused() -> None:
    with stream_and_peer() as (stream, _), pytest.raises(TypeError, match="contiguous"):
        run(lambda: stream.await_put_bytes(memoryview(b"abcdef")[::2]))


def test_what_fits_needs_no_suspension_and_is_with_the_kernel_on_return() -> None:
    with stream_and_peer() as (stream, peer):

        def body() -> bytes:
            assert a_sync(stream.await_put_bytes, b"at once").done
            return peer.recv(100)

        assert run(body) == b"at once"


@pytest.mark.parametrize("writers", [1, 2, 5])
def test_fault_60_partial_writes_keep_every_byte_and_the_order(writers: int) -> None:
    with streams() as (stream, other):
        for each in (stream, other):
            assert each.socket is not None
            narrow(each.socket)
        messages = [pattern(400_000 + i) for i in range(writers)]

        def body() -> Steps:
            tasks = [a_sync(stream.await_put_bytes, message) for message in messages]
            received = yield from other.await_getblock(sum(map(len, messages)))
            for task in tasks:
                yield from task.await_result()
            return received

        assert digest(run(body)) == digest(b"".join(messages))


def test_several_that_wait_go_out_with_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Counting(socket.socket):
        def sendmsg(self, buffers: Any, *rest: Any) -> int:
            buffers = list(buffers)
            calls.append(len(buffers))
            return super().sendmsg(buffers, *rest)

    left, right = socket.socketpair()
    with Stream(Counting(fileno=left.detach())) as stream, Stream(right) as other:

        def body() -> Steps:
            fill = a_sync(stream.await_put_bytes, b"x" * 1_000_000)
            small = [a_sync(stream.await_put_bytes, b"%d|" % i) for i in range(40)]
            data = (yield from other.await_getblock(1_000_000 + 110)) or b""
            for task in (fill, *small):
                yield from task.await_result()
            return data[1_000_000:]

        assert run(body) == b"".join(b"%d|" % i for i in range(40))
    assert max(calls) > 10


def test_two_writers_take_turns_in_the_order_of_their_calls() -> None:
    with streams() as (stream, other):
        ended: list[str] = []

        def write(name: str, data: bytes) -> Steps:
            yield from stream.await_put_bytes(data)
            ended.append(name)

        def body() -> Steps:
            for name in "abc":
                a_sync(write, name, name.encode() * 500_000)
            data = yield from other.await_getblock(1_500_000)
            yield from await_yield()
            return data

        assert run(body) == b"a" * 500_000 + b"b" * 500_000 + b"c" * 500_000
        assert ended == ["a", "b", "c"]


def test_fault_60_who_comes_when_there_is_room_again_does_not_jump_the_line() -> None:
    with streams() as (stream, other):

        def body() -> Steps:
            first = a_sync(stream.await_put_bytes, b"a" * 1_000_000)
            assert other.socket is not None
            head = other.socket.recv(65536) + other.socket.recv(65536)
            second = a_sync(stream.await_put_bytes, b"b")  # there is room, and the first one has not been told yet
            data = (yield from other.await_getblock(1_000_001 - len(head))) or b""
            for task in (first, second):
                yield from task.await_result()
            return head + data

        assert run(body) == b"a" * 1_000_000 + b"b"


def test_fault_25_a_writer_that_always_finds_room_starves_nobody() -> None:
    with Stream(os.open("/dev/null", os.O_RDWR)) as stream:

        def spin(count: Callable[[], None]) -> Steps:
            while True:
                yield from stream.await_put_bytes(b"x")
                count()

        assert 0 < most_in_a_turn(spin) <= 101


def test_a_cancelled_writer_says_what_went_out_and_lets_the_next_one_write() -> None:
    with streams() as (stream, other):
        sent = []

        def write() -> Steps:
            try:
                yield from stream.await_put_bytes(b"a" * 1_000_000)
            except BaseException as error:
                sent.append(error.sent)  # type: ignore[attr-defined]
                raise

        def body() -> Steps:
            first = a_sync(write)
            waiting = a_sync(stream.await_put_bytes, b"never")
            second = a_sync(stream.await_put_bytes, b"b" * 10)
            yield from await_yield()
            first.cancel()
            waiting.cancel()
            for task in (first, waiting):
                with pytest.raises(TaskCancelled):
                    yield from task.await_result()
            got = yield from other.await_getblock(sent[0] + 10)
            yield from second.await_result()
            return got

        assert run(body) == b"a" * sent[0] + b"b" * 10
        assert 0 < sent[0] < 1_000_000


def test_a_writer_that_is_cancelled_while_it_gives_its_turn_away_has_sent_nothing() -> None:
    with stream_and_peer() as (stream, _):

        def write() -> Steps:
            try:
                for _ in range(1000):
                    yield from stream.await_put_bytes(b"")
            except Cancelled as error:
                return error.sent

        def body() -> Steps:
            task = a_sync(write)
            task.cancel()
            return (yield from task.await_result())

        assert run(body) == 0


def test_a_time_limit_on_a_write() -> None:
    with stream_and_peer() as (stream, _):

        def body() -> Steps:
            with pytest.raises(TimeoutError), timeout(0.02):
                yield from stream.await_put_bytes(b"x" * 10_000_000)
            return "late"

        assert run(body) == "late"


def test_who_writes_past_the_stream_is_found_out() -> None:
    with stream_and_peer() as (stream, _):

        def body() -> Steps:
            assert stream.socket is not None
            past = a_sync(await_send_all, stream.socket, b"x" * 1_000_000, name="past")
            with pytest.raises(BusyError, match="task 'past'"):
                yield from stream.await_put_bytes(b"y")
            with pytest.raises(BusyError, match="task 'past'"):
                yield from stream.await_put_file(Path(__file__))
            past.cancel()
            with pytest.raises(TaskCancelled):
                yield from past.await_result()
            writing = a_sync(stream.await_put_bytes, b"x" * 1_000_000)
            with pytest.raises(BusyError, match=r"task '.*await_put_bytes'"):
                yield from await_send_all(stream.socket, b"y")
            writing.cancel()
            return True

        assert run(body)


# Broken


def test_fault_56_a_broken_write_is_told_once_with_what_was_sent() -> None:
    with streams() as (stream, other):

        def body() -> Steps:
            writing = a_sync(told(lambda: stream.await_put_bytes(b"x" * 1_000_000), SocketError))
            behind = a_sync(told(lambda: stream.await_put_bytes(b"y"), StreamClosed))
            yield from other.await_getblock(1000)
            other.close()
            error = yield from writing.await_result()
            assert isinstance(error, SocketError)
            assert isinstance(error, (BrokenPipeError, ConnectionResetError))
            assert 1000 <= error.sent < 1_000_000
            assert f"{error.sent} bytes were sent" in str(error)
            assert isinstance((yield from behind.await_result()), StreamClosed)
            with pytest.raises(StreamClosed, match="cannot be written to any more"):
                yield from stream.await_put_bytes(b"z")
            return True

        assert run(body)


def test_fault_56_a_thousand_writes_after_a_reset_are_not_silent(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    stream, client = tcp_streams(tcp_pair)

    def body() -> Steps:
        reset(client)
        errors = []
        for _ in range(1000):
            try:
                yield from stream.await_put_bytes(b"x")
            except (SocketError, StreamClosed) as error:
                errors.append(type(error).__name__)
        return errors

    with stream:
        errors = run(body)
    assert errors.count("SocketError") == 1
    assert errors.count("StreamClosed") >= 997


def test_fault_18_a_reset_wakes_a_waiting_writer(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    stream, client = tcp_streams(tcp_pair)
    narrow(client)

    def body() -> Steps:
        writing = a_sync(told(lambda: stream.await_put_bytes(b"x" * 30_000_000), ConnectionError))
        yield from await_sleep(0.02)
        assert not writing.done
        reset(client)
        return (yield from writing.await_result())

    with stream:
        assert isinstance(run(body), SocketError)


@pytest.mark.parametrize("put", ["await_put_bytes(b'x')", "await_put_file(sys.executable)"])
def test_fault_57_a_broken_pipe_is_an_error_and_no_signal(put: str) -> None:
    program = f"""
import signal, socket, sys
from eventsock import SocketError, Stream, run
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
left, right = socket.socketpair()
right.close()
def body():
    with Stream(left) as stream:
        try:
            yield from stream.{put}
        except SocketError as error:
            print(error.errno)
run(body)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "32\n", "")


def test_fault_65_a_peer_that_never_reads_holds_the_writer() -> None:
    with stream_and_peer() as (stream, _):
        done = []

        def flood() -> Steps:
            for _ in range(1000):
                yield from stream.await_put_bytes(b"x" * 100_000)
                done.append(1)

        def body() -> Steps:
            task = a_sync(flood)
            yield from await_sleep(0.05)
            task.cancel()

        run(body)
        assert len(done) < 50


def test_fault_58_half_closed_the_other_direction_lives(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    stream, client = tcp_streams(tcp_pair)

    def talk() -> None:
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        received.append(all_of(client))

    received: list[bytes] = []
    peer = threading.Thread(target=talk)
    peer.start()

    def body() -> Steps:
        assert (yield from stream.await_getall()) == b"request"
        yield from stream.await_put_bytes(b"x" * 1_000_000)
        yield from stream.await_put_eof()
        with pytest.raises(StreamClosed, match="await_put_eof"):
            yield from stream.await_put_bytes(b"late")

    with stream:
        run(body)
        peer.join()
    assert received == [b"x" * 1_000_000]


def test_fault_58_the_end_goes_out_behind_what_waits_and_reading_goes_on() -> None:
    with streams() as (stream, other):

        def body() -> Steps:
            writing = a_sync(stream.await_put_bytes, b"x" * 1_000_000)
            ending = a_sync(stream.await_put_eof)
            assert (yield from other.await_getall()) == b"x" * 1_000_000
            yield from writing.await_result()
            yield from ending.await_result()
            yield from other.await_put_bytes(b"answer\n")
            return (yield from stream.await_getline())

        assert run(body) == b"answer"


@pytest.mark.parametrize("how", ["ended", "broken"])
@pytest.mark.parametrize("file", [Path(__file__), io.BytesIO(b"memory")])
def test_a_file_comes_too_late_for_an_output_that_is_over(how: str, file: Any) -> None:
    with stream_and_peer() as (stream, peer):

        def body() -> Steps:
            if how == "ended":
                yield from stream.await_put_eof()
            else:
                peer.close()
                with pytest.raises(BrokenPipeError):
                    yield from stream.await_put_bytes(b"x")
            for _ in range(2):
                with pytest.raises(StreamClosed):
                    yield from stream.await_put_file(file)
            yield from await_sleep(0)
            return "the loop goes on"

        assert run(body) == "the loop goes on"


@pytest.mark.parametrize("how", ["ended", "broken"])
def test_who_waits_when_the_output_is_over_is_told(how: str) -> None:
    with streams() as (stream, other):

        def end() -> Steps:
            yield from stream.await_put_eof()
            assert not stream.unwritten

        def body() -> Steps:
            filling = a_sync(told(lambda: stream.await_put_bytes(b"x" * 1_000_000), BrokenPipeError))
            ending = a_sync(told(lambda: a_sync(end).await_result(), StreamClosed))
            late = [
                a_sync(told(lambda: stream.await_put_file(io.BytesIO(b"late")), StreamClosed)),
                a_sync(told(lambda: stream.await_put_bytes(b"late"), StreamClosed)),
            ]
            if how == "ended":
                assert (yield from other.await_getall()) == b"x" * 1_000_000
                yield from filling.await_result()
                yield from ending.await_result()
            else:
                other.close()
                assert isinstance((yield from filling.await_result()), BrokenPipeError)
                assert isinstance((yield from ending.await_result()), StreamClosed)
            for task in late:
                assert isinstance((yield from task.await_result()), StreamClosed)
            return True

        assert run(body)


def test_a_pipe_cannot_be_half_closed() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with Stream(writer) as stream, pytest.raises(SocketError, match="close the stream"):
        run(stream.await_put_eof)


# Gathering


def counted(stream: Stream) -> list[int]:
    """The sizes of what the stream sends from now on."""
    sizes: list[int] = []
    channel = stream._channel

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(channel, name)

        def send(self, data: Any, flags: int = 0) -> int:
            sizes.append(len(data))
            return channel.send(data, flags)

        def sendmsg(self, buffers: Any, ancillary: Any = (), flags: int = 0) -> int:
            sizes.append(sum(map(len, buffers)))
            return channel.sendmsg(buffers, ancillary, flags)

    stream._sink = Counting()
    return sizes


def test_sixteen_answers_go_out_together_before_the_next_wait() -> None:
    with stream_and_peer(gather=True) as (stream, peer):
        sizes = counted(stream)
        peer.sendall(b"ping\n" * 16)

        def body() -> Steps:
            for _ in range(16):
                yield from stream.await_getline()
                yield from stream.await_put_bytes(b"pong\n")
            assert sizes == []
            waiting = a_sync(stream.await_getline)
            assert sizes == [80]
            waiting.cancel()

        run(body)
        assert peer.recv(1000) == b"pong\n" * 16


def test_what_is_held_goes_out_at_the_end_of_the_turn() -> None:
    with stream_and_peer(gather=True) as (stream, peer):
        sizes = counted(stream)

        def body() -> Steps:
            yield from stream.await_put_bytes(b"a")
            yield from stream.await_put_bytes(b"b")
            assert sizes == []
            yield from await_sleep(0.01)
            assert sizes == [2]
            yield from stream.await_put_bytes(b"c")
            yield from stream.await_flush()
            assert sizes == [2, 1]
            yield from stream.await_put_bytes(b"d")

        run(body)
        assert sizes == [2, 1, 1]
        assert peer.recv(1000) == b"abcd"


def test_held_bytes_and_a_quit_amid_a_wait_for_room() -> None:
    with streams(gather=True) as (stream, other), EventLoop() as loop:
        assert stream.socket is not None
        narrow(stream.socket)

        def first() -> Steps:
            yield from stream.await_put_bytes(pattern(60_000))
            yield from await_sleep(0.01)
            a_sync(stream.await_put_bytes, b"is dropped with its task")
            loop.quit()
            yield from await_yield()

        def second() -> Steps:
            behind = a_sync(stream.await_put_bytes, b"|behind|")
            data = yield from other.await_getblock(60_008)
            yield from behind.await_result()
            return data

        a_sync(first, loop=loop)
        loop.run()
        task = a_sync(second, loop=loop)
        loop.run()
        assert task.result() == pattern(60_000) + b"|behind|"


def test_no_more_than_64_kib_is_held_and_a_large_write_takes_it_along() -> None:
    with stream_and_peer(gather=True) as (stream, peer):
        sizes = counted(stream)

        def body() -> Steps:
            yield from stream.await_put_bytes(b"a" * 65536)
            assert sizes == []
            yield from stream.await_put_bytes(b"b")
            assert sizes == [65537]
            yield from stream.await_put_bytes(b"c")
            assert sizes == [65537]

        run(body)
        stream.close()
        assert all_of(peer) == b"a" * 65536 + b"bc"


def test_gathered_bytes_are_a_copy() -> None:
    with stream_and_peer(gather=True) as (stream, peer):
        buffer = bytearray(b"before")

        def body() -> Steps:
            yield from stream.await_put_bytes(buffer)
            buffer[:] = b"after!"

        run(body)
        assert peer.recv(100) == b"before"


def test_close_writes_what_is_held() -> None:
    with stream_and_peer(gather=True) as (stream, peer):

        def body() -> Steps:
            yield from stream.await_put_bytes(b"held")
            stream.close()

        run(body)
        assert all_of(peer) == b"held"


def test_gathering_can_be_switched_and_keeps_the_order() -> None:
    with stream_and_peer() as (stream, peer):

        def body() -> Steps:
            stream.gather = True
            yield from stream.await_put_bytes(b"1")
            stream.gather = False
            yield from stream.await_put_bytes(b"2")
            assert peer.recv(10) == b"12"

        run(body)


def _get_two_lines(stream: Stream) -> Steps:
    yield from stream.await_getline()
    yield from stream.await_getline()


@pytest.mark.parametrize("turns", [0, 2])
@pytest.mark.parametrize(
    "act",
    [
        lambda stream: stream.await_put_bytes(b"more"),
        lambda stream: stream.await_flush(),
        lambda stream: stream.await_close(),
        lambda stream: stream.close() or (),
        _get_two_lines,
    ],
)
def test_a_failure_of_what_was_held_is_raised_by_the_next_procedure(act: Callable[[Stream], Any], turns: int) -> None:
    with contextlib.ExitStack() as stack:
        stream, right = stack.enter_context(stream_and_peer(gather=True))

        def body() -> Steps:
            right.sendall(b"line\n")
            yield from stream.await_put_bytes(b"held")
            if turns == 0 and act is not _get_two_lines:
                yield from stream.await_put_bytes(b"x" * 65532)  # as much as may be held
            right.close()
            for _ in range(turns):
                yield from await_yield()
            with pytest.raises(BrokenPipeError) as caught:
                yield from act(stream)
            assert isinstance(caught.value, SocketError)
            assert caught.value.sent == 0
            return True

        assert run(body)


def test_held_bytes_that_find_no_room_wait_for_it_in_order() -> None:
    with streams(gather=True) as (stream, other):
        assert stream.socket is not None
        narrow(stream.socket)
        message = pattern(60_000)

        def body() -> Steps:
            yield from stream.await_put_bytes(message)
            yield from await_sleep(0.01)
            behind = a_sync(stream.await_put_bytes, b"|behind|")
            flushing = a_sync(stream.await_flush)
            yield from await_sleep(0.01)
            assert not behind.done
            assert not flushing.done
            data = yield from other.await_getblock(60_008)
            yield from behind.await_result()
            yield from flushing.await_result()
            return data

        assert run(body) == message + b"|behind|"


def test_a_task_that_waits_for_input_first_waits_for_room_for_what_it_held() -> None:
    with streams(gather=True) as (stream, other):
        assert stream.socket is not None
        narrow(stream.socket)

        def ask() -> Steps:
            yield from stream.await_put_bytes(pattern(60_000))
            return (yield from stream.await_getline())

        def body() -> Steps:
            asking = a_sync(ask)
            data = yield from other.await_getblock(60_000)
            yield from other.await_put_bytes(b"answer\n")
            return data, (yield from asking.await_result())

        assert run(body) == (pattern(60_000), b"answer")


def test_close_says_how_much_of_what_was_held_found_no_room() -> None:
    with stream_and_peer(gather=True) as (stream, _):
        assert stream.socket is not None
        narrow(stream.socket)

        def body() -> Steps:
            yield from stream.await_put_bytes(b"x" * 60_000)
            with pytest.raises(SocketError) as caught:
                stream.close()
            assert 0 < caught.value.sent < 60_000
            assert stream.closed

        run(body)


def test_an_error_in_a_with_block_is_not_replaced() -> None:
    def body() -> Steps:
        def fail() -> Steps:
            with stream_and_peer(gather=True) as (stream, _):
                assert stream.socket is not None
                narrow(stream.socket)
                yield from stream.await_put_bytes(b"x" * 60_000)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError) as caught:
            yield from fail()
        assert any("beside it" in note for note in caught.value.__notes__)

    run(body)


def test_async_with_waits_until_what_is_held_is_written() -> None:
    left, right = socket.socketpair()
    narrow(left)
    with Stream(right) as other:

        async def write() -> None:
            async with Stream(left, gather=True) as stream:
                await stream.await_put_bytes(pattern(60_000))

        async def body() -> bytes:
            writing = a_sync(write)
            data = await other.await_getall()
            await writing.await_result()
            return data

        assert run(body) == pattern(60_000)


def test_after_a_quit_what_was_held_can_still_go_out() -> None:
    with stream_and_peer(gather=True) as (stream, peer), EventLoop() as loop:

        def first() -> Steps:
            yield from stream.await_put_bytes(b"held ")
            loop.quit()
            yield from await_yield()

        def second() -> Steps:
            yield from stream.await_put_bytes(b"more")
            yield from stream.await_flush()

        a_sync(first, loop=loop)
        loop.run()
        a_sync(second, loop=loop)
        loop.run()
        assert peer.recv(100) == b"held more"


# Files


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(pattern(5_000_000))
    return path


def sent_and_received(put: Callable[[Stream], Any]) -> tuple[Any, bytes]:
    with streams() as (stream, other):

        def write() -> Steps:
            answer = yield from put(stream)
            yield from stream.await_put_eof()
            return answer

        def body() -> Steps:
            writing = a_sync(write)
            data = yield from other.await_getall()
            return (yield from writing.await_result()), data

        return run(body)  # type: ignore[no-any-return]


def test_a_whole_file_goes_out_without_a_copy(big_file: Path) -> None:
    answer, data = sent_and_received(lambda stream: stream.await_put_file(big_file))
    assert answer == FileSent(5_000_000, "sendfile")
    assert (answer.bytes, answer.way) == (5_000_000, "sendfile")
    assert digest(data) == digest(big_file.read_bytes())


@pytest.mark.parametrize("how", ["path", "number", "object", "memory"])
def test_a_part_of_a_file(big_file: Path, how: str) -> None:
    whole = big_file.read_bytes()
    with contextlib.ExitStack() as stack:
        file: Any = big_file
        if how != "path":
            file = stack.enter_context(big_file.open("rb")) if how != "memory" else io.BytesIO(whole)
        place = file.fileno() if how == "number" else file
        answer, data = sent_and_received(lambda stream: stream.await_put_file(place, 1000, 70_000))
        assert (answer.bytes, data) == (70_000, whole[1000:71_000])
        assert answer.way == ("copy" if how == "memory" else "sendfile")
        if how != "path":
            position = os.lseek(place, 0, os.SEEK_CUR) if how == "number" else file.tell()
            assert position == 71_000
            answer, data = sent_and_received(lambda stream: stream.await_put_file(place, count=10))
            assert data == whole[71_000:71_010]


def test_fault_70_short_truncated_and_missing(big_file: Path, tmp_path: Path) -> None:
    assert sent_and_received(lambda stream: stream.await_put_file(big_file, 6_000_000)) == ((0, "sendfile"), b"")
    answer, data = sent_and_received(lambda stream: stream.await_put_file(big_file, 4_999_990, 100))
    assert (answer.bytes, len(data)) == (10, 10)
    with stream_and_peer() as (stream, _):
        for file, error in ((tmp_path / "none", FileNotFoundError), (tmp_path, (ValueError, IsADirectoryError)), ("/dev/null", ValueError)):
            with pytest.raises(error):
                run_in_turn(stream, file)


def run_in_turn(stream: Stream, file: Any) -> Any:
    loop = running_event_loop()
    assert loop is None
    with Stream(os.dup(stream.fileno())) as again:
        return run(lambda: again.await_put_file(file))


def test_fault_70_truncated_while_it_is_sent(big_file: Path) -> None:
    with streams() as (stream, other):
        assert stream.socket is not None
        narrow(stream.socket)

        def body() -> Steps:
            writing = a_sync(stream.await_put_file, big_file)
            data = (yield from other.await_getblock(10_000)) or b""
            os.truncate(big_file, 20_000)
            answer = yield from writing.await_result()
            yield from stream.await_put_eof()
            rest = yield from other.await_getall()
            assert answer.bytes == len(data) + len(rest) < 5_000_000

        run(body)


@pytest.mark.parametrize("file", [7.5, None, io.StringIO("text"), object()])
def test_what_is_no_file_is_refused(file: Any) -> None:
    with stream_and_peer() as (stream, _), pytest.raises(TypeError, match="file must"):
        run(lambda: stream.await_put_file(file))


def test_a_pipe_or_socket_is_no_regular_file() -> None:
    with stream_and_peer() as (stream, peer), pytest.raises(ValueError, match="Stream"):
        run(lambda: stream.await_put_file(peer.fileno()))


def test_where_sendfile_does_not_go_blocks_are_copied(big_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unfit(*_: Any) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", unfit)
    answer, data = sent_and_received(lambda stream: stream.await_put_file(big_file))
    assert answer == (5_000_000, "copy")
    assert digest(data) == digest(big_file.read_bytes())


def test_a_file_that_cannot_be_read_is_the_callers_error_and_not_the_streams(big_file: Path) -> None:
    class Bad(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "bad sector")

    with stream_and_peer() as (stream, peer):

        def body() -> Steps:
            with pytest.raises(OSError, match="bad sector"):
                yield from stream.await_put_file(Bad())  # type: ignore[arg-type]
            yield from stream.await_put_bytes(b"still here")

        run(body)
        assert peer.recv(100) == b"still here"


def test_fault_70_a_disk_that_fails_is_the_callers_error_and_not_the_streams(big_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "sendfile", fail)
    with stream_and_peer() as (stream, peer):

        def body() -> Steps:
            with pytest.raises(OSError, match="Input/output") as caught:
                yield from stream.await_put_file(big_file)
            assert not isinstance(caught.value, SocketError)
            yield from stream.await_put_bytes(b"still here")

        run(body)
        assert peer.recv(100) == b"still here"


def test_files_and_bytes_keep_their_order(big_file: Path) -> None:
    with streams(gather=True) as (stream, other):

        def body() -> Steps:
            yield from stream.await_put_bytes(b"<")
            tasks: list[Task[Any]] = [
                a_sync(stream.await_put_file, big_file),
                a_sync(stream.await_put_bytes, b"-"),
                a_sync(stream.await_put_file, big_file),
            ]
            tasks.append(a_sync(stream.await_put_bytes, b">"))
            data = yield from other.await_getblock(10_000_003)
            for task in tasks:
                yield from task.await_result()
            return data

        whole = big_file.read_bytes()
        assert digest(run(body)) == digest(b"<" + whole + b"-" + whole + b">")


def test_random_sizes_from_random_writers_arrive_whole() -> None:
    random.seed(7)
    with streams() as (stream, other):
        expected = []

        def write(name: bytes) -> Steps:
            for _ in range(20):
                message = name * random.choice([1, 10, 5000, 200_000])
                expected.append(message)
                yield from stream.await_put_bytes(message)

        def body() -> Steps:
            tasks = [a_sync(write, name) for name in (b"a", b"b", b"c")]
            reading = a_sync(other.await_getall)
            for task in tasks:
                yield from task.await_result()
            yield from stream.await_put_eof()
            return (yield from reading.await_result())

        data = run(body)
        assert len(data) == sum(map(len, expected))
        assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN


def test_a_server_writes_what_its_handlers_still_hold() -> None:
    message = pattern(60_000)
    reported: list[object] = []

    def handler(stream: Stream, address: SocketAddress) -> Steps:
        assert (stream.peer, stream.unwritten) == (address, False)
        assert stream.socket is not None
        narrow(stream.socket)
        stream.gather = True
        yield from stream.await_put_bytes(message)
        assert stream.unwritten

    def body() -> Steps:
        with listen_on_ipv4_socket(True, 0) as listener:
            serving = a_sync(partial(await_serve, on_error=lambda error, where: reported.append(error)), handler, listener)
            client = Stream((yield from await_connect_to_ipv4_host("127.0.0.1", listener.getsockname()[1])))
            assert client.socket is not None
            narrow(client.socket)
            yield from await_sleep(0.02)
            data = yield from client.await_getall()
            client.close()
            serving.cancel()
            return data

    assert run(body) == message
    assert reported == []
