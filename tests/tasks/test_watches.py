"""Watches that resume a task each time a descriptor is ready."""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

import pytest

from eventsock import (
    BusyError,
    EventLoop,
    LoopStateError,
    Task,
    a_sync,
    a_sync_read_watch,
    a_sync_write_watch,
    await_callback,
    await_readable,
    await_sleep,
    await_yield,
    get_resume,
    run,
)

Steps = Generator[Any, Any, Any]
Pair = tuple[socket.socket, socket.socket]


def running() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop


def test_each_readiness_resumes_the_task_with_what_proc_gives(socket_pair: Pair) -> None:
    left, right = socket_pair

    def talker() -> Steps:
        for word in (b"one", b"two", b"end"):
            left.send(word)
            yield from await_sleep(0.001)

    def main() -> Steps:
        a_sync(talker)
        words: list[object] = []
        a_sync_read_watch(get_resume(), right, lambda status: (status, right.recv(100)))
        while not words or words[-1] != ("in", b"end"):
            words.append((yield))
        assert running().remove_read_watch(right)
        yield from await_yield()
        return words

    assert run(main) == [("in", b"one"), ("in", b"two"), ("in", b"end")]


def test_writing(socket_pair: Pair) -> None:
    left, right = socket_pair

    def main() -> Steps:
        a_sync_write_watch(get_resume(), left, lambda status: (status, left.send(b"x")))
        seen = [(yield), (yield)]
        running().remove_write_watch(left)
        return seen

    assert run(main) == [("out", 1), ("out", 1)]
    assert right.recv(10) == b"xx"


def test_urgent_data(tcp_pair: Pair) -> None:
    client, server = tcp_pair

    def main() -> Steps:
        if not running().book.poller.has_priority:
            pytest.skip("this selector reports no exceptional conditions")
        a_sync_read_watch(get_resume(), server, lambda status: status)
        client.send(b"!", socket.MSG_OOB)
        status = yield
        running().remove_read_watch(server)
        return status

    assert run(main) == "excpt"


def test_an_error_of_proc_is_raised_at_the_yield(socket_pair: Pair) -> None:
    left, right = socket_pair
    left.send(b"x")

    def main() -> Steps:
        a_sync_read_watch(get_resume(), right, lambda status: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            yield
        running().remove_read_watch(right)

    run(main)


def test_a_task_that_stands_elsewhere_is_named(socket_pair: Pair) -> None:
    left, right = socket_pair
    left.send(b"x")

    def main() -> Steps:
        a_sync_read_watch(get_resume(), right, lambda status: status)
        yield from await_sleep(60)

    with pytest.raises(LoopStateError, match=r"stands in await_sleep\(\)"):
        run(main)


def test_a_watch_that_was_left_behind_is_removed_and_named(socket_pair: Pair) -> None:
    left, right = socket_pair
    left.send(b"x")

    def careless() -> Steps:
        a_sync_read_watch(get_resume(), right, lambda status: status)
        yield

    seen: list[str] = []
    with EventLoop(on_error=lambda error, where: seen.append(str(error))) as loop:
        a_sync(careless, loop=loop, name="careless")
        loop.run()  # ends, because the watch is removed
    assert seen == ["task 'careless' has ended without removing its read watch, which is removed now"]


def test_bad_arguments(socket_pair: Pair) -> None:
    def main() -> Steps:
        with pytest.raises(TypeError, match="what get_resume"):
            a_sync_read_watch(print, 0, print)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="proc must be callable"):
            a_sync_write_watch(get_resume(), 0, 5)  # type: ignore[arg-type]

        def start(resume: Any) -> None:
            with pytest.raises(TypeError, match="what get_resume"):
                a_sync_read_watch(resume, 0, print)
            resume()

        yield from await_callback(start)
        task = a_sync(await_readable, socket_pair[0])
        with pytest.raises(BusyError):
            a_sync_read_watch(get_resume(), socket_pair[0], print)
        task.cancel()

    run(main)
