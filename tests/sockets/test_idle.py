"""Idle limits: waits that see no progress end, and progress in either direction begins them anew."""

from __future__ import annotations

import resource
import socket
import time
import tracemalloc

import pytest

from eventsock import EventLoop, SocketError, Stream, TextStream, a_sync, await_sleep, run, timeout
from loop_kit import Clock, until
from stream_kit import Steps, narrow, stream_and_peer, streams, told


def test_a_wait_in_which_nothing_comes_ends() -> None:
    with stream_and_peer(idle=0.03) as (stream, peer):

        def body() -> Steps:
            peer.sendall(b"half")
            begin = time.monotonic()
            with pytest.raises(TimeoutError, match=r"0\.03 s") as caught:
                yield from stream.await_getline()
            assert isinstance(caught.value, SocketError)
            assert 0.025 < time.monotonic() - begin < 1
            peer.sendall(b" a line\n")
            return (yield from stream.await_getline())

        assert run(body) == b"half a line"


def test_progress_begins_it_anew() -> None:
    with stream_and_peer(idle=0.06) as (stream, peer):

        def drip() -> Steps:
            for _ in range(8):
                yield from await_sleep(0.02)
                peer.sendall(b"x")
            yield from await_sleep(0.02)
            peer.sendall(b"\n")

        def body() -> Steps:
            a_sync(drip)
            return (yield from stream.await_getline())

        assert run(body) == b"x" * 8


def test_progress_in_the_other_direction_counts() -> None:
    with streams() as (stream, other):
        stream.idle = 0.06

        def write() -> Steps:
            for _ in range(10):
                yield from await_sleep(0.02)
                putting = a_sync(stream.await_put_bytes, b"x" * 400_000)
                yield from other.await_getblock(400_000)
                yield from putting.await_result()
            yield from other.await_put_bytes(b"end\n")

        def body() -> Steps:
            writing = a_sync(write)
            line = yield from stream.await_getline()
            yield from writing.await_result()
            return line

        assert run(body) == b"end"


def test_writers_that_find_no_room_are_told_what_went_out() -> None:
    with stream_and_peer(idle=0.03) as (stream, _):

        def body() -> Steps:
            first = a_sync(told(lambda: stream.await_put_bytes(b"x" * 1_000_000), TimeoutError))
            second = a_sync(told(lambda: stream.await_put_bytes(b"y"), TimeoutError))
            return (yield from first.await_result()).sent, (yield from second.await_result()).sent

        first, second = run(body)
        assert first > 0
        assert second == 0


def test_one_timeout_serves_all_streams_and_the_shortest_limit_is_kept() -> None:
    clock = Clock()
    pairs = [socket.socketpair() for _ in range(20)]
    with EventLoop(clock=clock) as loop:
        limited = [Stream(left, idle=10 + i % 3) for i, (left, _) in enumerate(pairs)]
        tasks = [a_sync(told(stream.await_getline, TimeoutError), loop=loop) for stream in limited]
        assert loop.statistics().timeouts == 1
        for now, expired in ((9.9, 0), (10.1, 7), (10.9, 7), (11.1, 14), (12.1, 20)):
            clock.now = 1000 + now
            loop.step()
            loop.step()
            assert sum(task.done for task in tasks) == expired
        assert loop.statistics().timeouts == 0
        for stream, (_, right) in zip(limited, pairs, strict=True):
            stream.close()
            right.close()


def test_it_keeps_no_loop_alive_that_has_nothing_to_wait_for() -> None:
    with stream_and_peer(idle=1000) as (stream, peer), EventLoop() as loop:
        peer.sendall(b"line\n")
        peer.sendall(b"x")
        for verb in (stream.await_getline, stream.await_getsome):
            a_sync(verb, loop=loop)
            loop.run()
        assert loop.statistics().timeouts == 0


def test_it_can_be_set_and_taken_away() -> None:
    with stream_and_peer(idle=0.01) as (stream, peer):

        def body() -> Steps:
            assert stream.idle == 0.01
            stream.idle = None
            assert stream.idle is None
            waiting = a_sync(stream.await_getline)
            yield from await_sleep(0.05)
            assert not waiting.done
            peer.sendall(b"x\n")
            yield from waiting.await_result()
            stream.idle = 0.01
            with pytest.raises(TimeoutError):
                yield from stream.await_getline()
            stream.idle = float("inf")
            assert stream.idle is None

        run(body)


def test_fault_66_a_slow_client_is_ended_by_the_limit_of_the_whole_request() -> None:
    with stream_and_peer(idle=0.05) as (stream, peer):

        def drip() -> Steps:
            while not stream.closed:
                peer.sendall(b"x")
                yield from await_sleep(0.01)

        def body() -> Steps:
            dripping = a_sync(drip)
            begin = time.monotonic()
            with pytest.raises(TimeoutError), timeout(0.15):
                yield from stream.await_getline()
            assert 0.1 < time.monotonic() - begin < 1
            stream.close()
            yield from dripping.await_result()

        run(body)


def test_progress_of_a_writer_begins_it_anew() -> None:
    clock = Clock()
    with stream_and_peer(idle=10) as (stream, peer), EventLoop(clock=clock) as loop:
        writing = a_sync(told(lambda: stream.await_put_bytes(b"x" * 2_000_000), TimeoutError), loop=loop)
        left = 2_000_000
        while left:
            clock.advance(9)
            left -= len(peer.recv(200_000))
            loop.step()
            loop.step()
        until(loop, lambda: writing.done)
        assert clock.now > 1050
        assert writing.result() is None


def test_fault_66_five_hundred_that_drip_are_all_ended_by_the_limit_of_the_whole_request() -> None:
    clock = Clock()
    ended: list[float] = []

    def serve(stream: Stream) -> Steps:
        with stream:
            try:
                with timeout(10):
                    yield from stream.await_getuntil(b"\r\n\r\n")
            except TimeoutError:
                ended.append(clock.now)

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[0] < 2000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    pairs = [socket.socketpair() for _ in range(500)]
    try:
        with EventLoop(clock=clock) as loop:
            for left, _ in pairs:
                a_sync(serve, Stream(left, idle=3), loop=loop)
            tracemalloc.start()
            for second in range(1, 10):
                clock.advance(1)
                for _, right in pairs:
                    right.send(b"x")
                for _ in range(3):
                    loop.step()
                if second == 2:
                    early = tracemalloc.get_traced_memory()[0]
            grown = tracemalloc.get_traced_memory()[0] - early
            tracemalloc.stop()
            assert ended == []  # each byte came within the idle limit
            assert grown < 500 * 500
            clock.advance(1)
            until(loop, lambda: len(ended) == 500)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for _, right in pairs:
            right.close()


def test_with_text_and_with_gathering() -> None:
    left, right = socket.socketpair()
    with right, TextStream(left, idle=0.03, gather=True) as stream:
        assert stream.socket is not None
        narrow(stream.socket)

        def body() -> Steps:
            yield from stream.await_put_string("x" * 60_000)
            with pytest.raises(TimeoutError) as caught:
                yield from stream.await_getline()
            return caught.value

        assert isinstance(run(body), SocketError)


def test_after_a_quit_it_works_anew() -> None:
    with stream_and_peer(idle=0.02) as (stream, _), EventLoop() as loop:
        a_sync(stream.await_getline, loop=loop)
        loop.post(loop.quit)
        loop.run()
        task = a_sync(told(stream.await_getline, TimeoutError), loop=loop)
        loop.run()
        assert isinstance(task.result(), TimeoutError)
