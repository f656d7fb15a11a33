"""What a stream gives: lines, blocks, records, the end, and what is left after a limit, a reset or a cancellation."""

from __future__ import annotations

import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from eventsock import (
    BusyError,
    EventLoop,
    IncompleteRead,
    LineTooLong,
    LoopStateError,
    SocketError,
    Stream,
    StreamClosed,
    TaskCancelled,
    a_sync,
    await_sleep,
    await_yield,
    run,
    timeout,
)
from eventsock.sockets.files import PlainFile
from eventsock.sockets.splitter import MORE, Splitter
from stream_kit import Steps, Wait, both_ways, most_in_a_turn, reset, stream_and_peer, streams, tcp_streams, told

Said = Callable[[Wait], Callable[[], Any]]

TEXT = b"one\r\n\ntwo\nlast"


def feed(peer: socket.socket, data: bytes) -> None:
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)


@both_ways
def test_getline(said: Said) -> None:
    with stream_and_peer() as (stream, peer):
        feed(peer, TEXT)

        async def lines() -> list[Any]:
            return [await a_sync(said(stream.await_getline)).await_result() for _ in range(6)]

        assert run(lines) == [b"one\r", b"", b"two", b"last", None, None]


@both_ways
@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (lambda s: s.await_getblock(5), b"one\r\n"),
        (lambda s: s.await_getblock(100), TEXT),
        (lambda s: s.await_getblock(0), b""),
        (lambda s: s.await_getsome(), TEXT),
        (lambda s: s.await_getsome(3), b"one"),
        (lambda s: s.await_getuntil(b"two"), b"one\r\n\ntwo"),
        (lambda s: s.await_getall(), TEXT),
        (lambda s: s.await_geteveryline(lambda line: None), None),
        (lambda s: s.await_getsomelines(lambda line, stop: line == b"two" and stop("here")), "here"),
        (lambda s: s.await_getsomelines(lambda line, stop: None), None),
        (lambda s: s.await_geteveryblock(4, lambda block: None), None),
        (lambda s: s.await_getsomeblocks(4, lambda block, stop: stop(block)), b"one\r"),
    ],
)
def test_each_verb(said: Said, verb: Callable[[Stream], Any], expected: object) -> None:
    with stream_and_peer() as (stream, peer):
        feed(peer, TEXT)
        assert run(said(lambda: verb(stream))) == expected


def test_each_verb_says_the_end_in_its_way() -> None:
    with stream_and_peer() as (stream, peer):
        peer.shutdown(socket.SHUT_WR)

        def ends() -> Steps:
            found = []
            for make in (stream.await_getline, lambda: stream.await_getblock(3), stream.await_getsome, stream.await_getall):
                found.append((yield from make()))
            return found

        assert run(ends) == [None, None, b"", b""]


def test_every_line_and_every_block_go_to_the_procedure() -> None:
    with stream_and_peer() as (stream, peer):
        feed(peer, TEXT + b"\n0123456789")
        seen: list[bytes] = []

        def body() -> Steps:
            def note(line: bytes, stop: Callable[[], object]) -> None:
                seen.append(line)
                if line == b"last":
                    stop()

            yield from stream.await_getsomelines(note)
            yield from stream.await_geteveryblock(4, seen.append)

        run(body)
        assert seen == [b"one\r", b"", b"two", b"last", b"0123", b"4567", b"89"]


@pytest.mark.parametrize("kind", ["generator", "async def"])
def test_a_procedure_may_wait(kind: str) -> None:
    with streams() as (stream, other):

        def answer(line: bytes) -> Steps:
            yield from stream.await_put_bytes(line.upper() + b"\n")

        async def answer_too(line: bytes, stop: Callable[[object], object]) -> None:
            await stream.await_put_bytes(line.upper() + b"\n")
            if line == b"b":
                stop("enough")

        def body() -> Steps:
            yield from other.await_put_bytes(b"a\nb\nc\n")
            if kind == "generator":
                yield from other.await_put_eof()
                yield from stream.await_geteveryline(answer)
                stream.close()
            else:
                assert (yield from stream.await_getsomelines(answer_too)) == "enough"
                assert (yield from stream.await_getline()) == b"c"
                stream.close()
            return (yield from other.await_getall())

        assert run(body) == (b"A\nB\nC\n" if kind == "generator" else b"A\nB\n")


def test_stop_leaves_only_its_own_call() -> None:
    with stream_and_peer() as (stream, peer):
        feed(peer, b"a\nb\nc\nd\n")
        late: list[Any] = []

        def body() -> Steps:
            def outer(line: bytes, stop: Any) -> Steps:
                late.append(stop)
                inner = yield from stream.await_getsomelines(lambda inner_line, inner_stop: stop((line, inner_line)))
                raise AssertionError(inner)

            found = yield from stream.await_getsomelines(outer)
            with pytest.raises(LoopStateError, match="over"):
                late[0](1)
            return found, (yield from stream.await_getline())

        assert run(body) == ((b"a", b"b"), b"c")


def test_an_exception_of_the_procedure_leaves_the_rest_in_the_stream() -> None:
    with stream_and_peer() as (stream, peer):
        feed(peer, b"1\nx\n3\n")

        def body() -> Steps:
            with pytest.raises(ValueError, match="x"):
                yield from stream.await_geteveryline(lambda line: int(line) and None)
            return (yield from stream.await_getall())

        assert run(body) == b"3\n"


def test_async_for() -> None:
    with stream_and_peer() as (stream, peer):
        feed(peer, TEXT)

        async def body() -> list[bytes]:
            return [line async for line in stream]

        assert run(body) == TEXT.split(b"\n")


def test_a_line_that_is_there_needs_no_suspension() -> None:
    with stream_and_peer() as (stream, peer):
        peer.sendall(b"a\nb\nc\n")

        def body() -> Steps:
            yield from stream.await_getline()
            order = []
            a_sync(lambda: order.append("turn"))
            task = a_sync(said_twice, stream, order)
            assert task.done
            return order

        def said_twice(stream: Stream, order: list[Any]) -> Steps:
            order.append((yield from stream.await_getline()))
            order.append((yield from stream.await_getline()))

        assert run(body) == ["turn", b"b", b"c"]


@pytest.mark.parametrize("size", [-1, 1.5, "3", None, True])
def test_sizes_are_checked(size: Any) -> None:
    with stream_and_peer() as (stream, _):
        for call in (stream.await_getblock, stream.await_getsome, lambda n: stream.await_geteveryblock(n, print)):
            with pytest.raises((TypeError, ValueError), match=r"size|max"):
                call(size)
        with pytest.raises((TypeError, ValueError), match="limit"):
            Stream(stream.fileno(), limit=size)


def test_other_arguments_are_checked() -> None:
    with stream_and_peer() as (stream, _):
        for delimiter in (b"", "x", bytearray(b"x")):
            with pytest.raises((TypeError, ValueError), match="delimiter"):
                stream.await_getuntil(delimiter)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="at least 1"):
            stream.await_getsome(0)
        with pytest.raises(ValueError, match="at least 1"):
            stream.await_getsomeblocks(0, print)
        with pytest.raises(ValueError, match="limit"):
            stream.limit = 0
        for idle in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="idle"):
                stream.idle = idle


# One user


def test_two_readers_are_refused_at_once_and_by_name() -> None:
    with stream_and_peer() as (stream, peer):

        def body() -> Steps:
            first = a_sync(stream.await_getline, name="first")
            with pytest.raises(BusyError, match=r"task '.*body' is reading.*task 'first'"):
                yield from stream.await_getsome()
            with pytest.raises(BusyError, match="'first'"):
                running().add_read_watch(stream, print)
            peer.sendall(b"for the first\n")
            return (yield from first.await_result())

        assert run(body) == b"for the first"


def running() -> EventLoop:
    from eventsock import running_event_loop

    loop = running_event_loop()
    assert loop is not None
    return loop


def test_a_stream_belongs_to_the_loop_of_its_first_use() -> None:
    with stream_and_peer() as (stream, peer):
        peer.sendall(b"a\nb\n")
        run(stream.await_getline)
        with pytest.raises(LoopStateError, match="belongs to"):
            run(stream.await_getline)


def test_outside_a_task_is_an_error() -> None:
    with stream_and_peer() as (stream, _), pytest.raises(LoopStateError, match="outside a task"):
        stream.await_getline().send(None)


# Faults of the contract's area E, by their numbers


def test_fault_59_what_came_before_the_end_is_not_lost() -> None:
    with stream_and_peer() as (stream, peer):
        feed(peer, b"abc")

        def body() -> Steps:
            with pytest.raises(IncompleteRead, match="3 bytes") as caught:
                yield from stream.await_getuntil(b"|")
            return caught.value.partial, (yield from stream.await_getline())

        assert run(body) == (b"abc", None)


def test_fault_56_a_reset_is_told_once_and_takes_nothing_that_had_come(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    stream, client = tcp_streams(tcp_pair)

    def body() -> Steps:
        client.sendall(b"whole\nhalf")
        assert (yield from stream.await_getline()) == b"whole"
        waiting = a_sync(told(stream.await_getline, ConnectionResetError))
        yield from await_yield()
        reset(client)
        assert isinstance((yield from waiting.await_result()), SocketError)
        assert (yield from stream.await_getsome()) == b"half"
        for verb in (stream.await_getline, stream.await_getsome, stream.await_getall):
            with pytest.raises(StreamClosed, match="reset by peer"):
                yield from verb()

    with stream:
        run(body)


def test_fault_19_a_reset_while_nobody_reads_is_told_at_the_next_read(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    stream, client = tcp_streams(tcp_pair)

    def body() -> Steps:
        client.sendall(b"a\n")
        yield from stream.await_getline()
        reset(client)
        turns = running().statistics().turns
        yield from await_sleep(0.05)
        assert running().statistics().turns - turns < 10
        with pytest.raises(ConnectionResetError):
            yield from stream.await_getline()

    with stream:
        run(body)


@pytest.mark.parametrize("limit", [1000, 65536, 1 << 20])
def test_fault_62_twenty_megabytes_without_a_newline(limit: int) -> None:
    block = b"x" * 65536
    with stream_and_peer(limit=limit) as (stream, peer):

        def flood() -> None:
            for _ in range(320):
                peer.sendall(block)
            peer.sendall(b"\nnext\n")

        writer = threading.Thread(target=flood)

        def body() -> Steps:
            with pytest.raises(LineTooLong, match=f"{limit} bytes.*larger limit") as caught:
                yield from stream.await_getline()
            assert (caught.value.limit, caught.value.partial) == (limit, b"x" * limit)
            del caught
            return (yield from stream.await_getline())

        tracemalloc.start()
        writer.start()
        try:
            assert run(body) == b"next"
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            writer.join()
    assert peak < 2 * max(limit, 65536) + 65536  # the test's own expected value is as long as the limit


def test_fault_62_after_a_line_that_is_too_long_the_other_verbs_go_on_in_it() -> None:
    with stream_and_peer(limit=4) as (stream, peer):
        peer.sendall(b"123456789\nok\n")

        def body() -> Steps:
            with pytest.raises(LineTooLong) as caught:
                yield from stream.await_getline()
            assert caught.value.partial == b"1234"
            assert (yield from stream.await_getsome(3)) == b"567"
            assert (yield from stream.await_getline()) == b"89"
            assert (yield from stream.await_getline()) == b"ok"
            peer.sendall(b"123456|89\nok|")
            with pytest.raises(LineTooLong):
                yield from stream.await_getline()
            assert (yield from stream.await_getuntil(b"|")) == b"56|"
            assert (yield from stream.await_getline()) == b"89"
            assert (yield from stream.await_getuntil(b"|")) == b"ok|"

        run(body)


def test_fault_67_a_huge_size_costs_nothing_before_it_comes() -> None:
    with stream_and_peer() as (stream, peer):
        feed(peer, b"few")
        assert run(lambda: stream.await_getblock(1 << 40)) == b"few"
    with stream_and_peer(limit=1 << 40) as (stream, peer):

        def body() -> Steps:
            waiting = a_sync(stream.await_getline)
            for part in (b"half ", b"a line\n"):
                yield from await_yield()
                peer.sendall(part)
            return (yield from waiting.await_result())

        assert run(body) == b"half a line"


def test_a_large_block_comes_in_few_pieces() -> None:
    with streams() as (stream, other):
        data = os.urandom(3_000_000)

        def body() -> Steps:
            a_sync(other.await_put_bytes, data)
            return (yield from stream.await_getblock(len(data)))

        assert run(body) == data


def test_fault_135_single_bytes_cost_the_same_however_much_of_the_record_has_come() -> None:
    def seconds(begun: int) -> float:
        splitter = Splitter(1 << 22)
        splitter.feed(b"x" * begun)
        assert splitter.line() is MORE
        begin = time.process_time()
        for _ in range(10_000):
            splitter.feed(b"x")
            assert splitter.line() is MORE
        return time.process_time() - begin

    assert min(seconds(1 << 20) for _ in range(3)) < 4 * min(seconds(1) for _ in range(3))


# Cancelling loses nothing


def test_a_cancelled_read_leaves_what_had_come() -> None:
    with stream_and_peer() as (stream, peer):

        def body() -> Steps:
            waiting = a_sync(stream.await_getline)
            peer.sendall(b"half a ")
            yield from await_sleep(0.02)
            waiting.cancel("changed my mind")
            with pytest.raises(TaskCancelled):
                yield from waiting.await_result()
            peer.sendall(b"line\nmore")
            line = yield from stream.await_getline()
            with pytest.raises(TimeoutError), timeout(0.02):
                yield from stream.await_getblock(100)
            return line, (yield from stream.await_getsome())

        assert run(body) == (b"half a line", b"more")


def test_fault_100_cancelled_at_every_suspension_nothing_is_lost() -> None:
    data = b"".join(b"line %d\n" % i for i in range(20))

    def attempt(strike: int) -> Any:
        got = []
        with streams() as (stream, other):

            def read() -> Steps:
                while (line := (yield from stream.await_getline())) is not None:
                    got.append(line + b"\n")

            def write() -> Steps:
                for i in range(0, len(data), 5):
                    yield from other.await_put_bytes(data[i : i + 5])
                    yield from await_yield()
                yield from other.await_put_eof()

            def body() -> Steps:
                reader, writer = a_sync(read), a_sync(write)
                for _ in range(strike):
                    yield from await_yield()
                reader.cancel()
                yield from writer.await_result()
                with pytest.raises(TaskCancelled):
                    yield from reader.await_result()
                return b"".join(got) + (yield from stream.await_getall())

            return run(body)

    assert {attempt(strike) for strike in range(1, 25)} == {data}


# Fairness


def test_fault_25_a_socket_that_is_always_ready_starves_nobody() -> None:
    with streams() as (stream, other):

        def spin(count: Callable[[], None]) -> Steps:
            yield from stream.await_put_bytes(b"\n" * 65536)
            while True:
                yield from other.await_getline()
                count()
                yield from other.await_put_bytes(b"")
                if not other._input.data:
                    yield from stream.await_put_bytes(b"\n" * 65536)

        assert 0 < most_in_a_turn(spin) <= 100


def test_fault_25_one_call_that_never_has_to_wait_starves_nobody() -> None:
    received: Callable[[], None] = print

    class Zeros(PlainFile):
        def recv(self, size: int, /) -> bytes:
            received()
            return super().recv(size)

    with Stream(Zeros(os.open("/dev/zero", os.O_RDONLY))) as stream:

        def skip_for_ever(count: Callable[[], None]) -> Steps:
            nonlocal received
            received = count
            with pytest.raises(LineTooLong):
                yield from stream.await_getline()
            yield from stream.await_getline()

        assert 0 < most_in_a_turn(skip_for_ever) <= 200  # one call ends, and another begins


def test_errors_that_need_no_waiting_starve_nobody_either() -> None:
    with stream_and_peer() as (stream, peer):
        feed(peer, b"rest")
        ended: list[bool] = []

        def stubborn() -> Steps:
            while not ended:
                with pytest.raises(IncompleteRead):
                    yield from stream.await_getuntil(b"|")
            return True

        def body() -> Steps:
            task = a_sync(stubborn)
            yield from await_sleep(0.01)
            ended.append(True)
            return (yield from task.await_result())

        assert run(body) is True


def test_closed_while_giving_a_turn_away() -> None:
    with stream_and_peer() as (stream, peer):
        peer.sendall(b"\n" * 1000)

        def read_on() -> Steps:
            while True:
                yield from stream.await_getline()

        def read() -> Steps:
            with pytest.raises(StreamClosed):
                yield from read_on()
            return "told"

        def body() -> Steps:
            task = a_sync(read)
            assert not task.done
            stream.close()
            return (yield from task.await_result())

        assert run(body) == "told"
