"""The plain waits: a turn, time, a callback's answer, a descriptor; and what of them keeps a loop alive."""

from __future__ import annotations

import errno
import math
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Generator
from decimal import Decimal
from typing import Any

import pytest

from eventsock import (
    BusyError,
    EventLoop,
    LoopStateError,
    SocketError,
    Task,
    a_sync,
    await_callback,
    await_readable,
    await_sleep,
    await_task_in_thread,
    await_writable,
    await_yield,
    run,
)

Steps = Generator[Any, Any, Any]
Pair = tuple[socket.socket, socket.socket]


def running() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop


# A turn


def test_yielding_tasks_take_turns_and_starve_nothing() -> None:
    said: list[str] = []

    def yields(name: str) -> Steps:
        for number in range(3):
            said.append(f"{name}{number}")
            yield from await_yield()

    with EventLoop() as loop:
        a_sync(yields, "a", loop=loop)
        a_sync(yields, "b", loop=loop)
        loop.timeout_post(0, lambda: said.append("timeout"), repeat=False)
        loop.run()
    assert said == ["a0", "b0", "timeout", "a1", "b1", "a2", "b2"]


# Time


@pytest.mark.parametrize("seconds", [0, -1, -0.0, 1e-9, -math.inf])
def test_no_time_is_a_turn(seconds: float) -> None:
    def main() -> Steps:
        yield from await_sleep(seconds)
        return "slept"

    assert run(main) == "slept"


def test_sleepers_wake_by_deadline_and_first_come_among_equals() -> None:
    woken: list[str] = []

    def sleeper(name: str, seconds: float) -> Steps:
        yield from await_sleep(seconds)
        woken.append(name)

    now = [0.0]
    with EventLoop(clock=lambda: now[0]) as loop:
        for name, seconds in (("late", 2.0), ("a", 1.0), ("b", 1.0), ("c", 1)):
            a_sync(sleeper, name, seconds, loop=loop)
        while loop.step():
            now[0] += loop.next_deadline() or 0.0
    assert woken == ["a", "b", "c", "late"]


def test_for_ever_does_not_keep_the_loop_alive() -> None:
    with EventLoop(debug=False) as loop:
        task = a_sync(await_sleep, math.inf, loop=loop)
        loop.run()
        assert str(task.waits_for) == "time (inf s)"
        assert task.cancel()
        loop.run()
        assert task.cancelled


@pytest.mark.parametrize(
    ("seconds", "error"), [(math.nan, ValueError), ("5", TypeError), (None, TypeError), (True, TypeError), (Decimal(1), TypeError)]
)
def test_bad_seconds_are_refused(seconds: Any, error: type[Exception]) -> None:
    def main() -> Steps:
        with pytest.raises(error, match="seconds"):
            yield from await_sleep(seconds)
        assert len(running().timers) == 0
        yield from await_yield()

    run(main)


def test_cancelled_sleepers_leave_no_places_behind() -> None:
    def main() -> Steps:
        loop = running()
        for _ in range(20):
            tasks = [a_sync(await_sleep, 3600) for _ in range(100)]
            for task in tasks:
                task.cancel()
            yield from await_yield()
        return len(loop.timers), len(loop.timers.heap) + len(loop.timers.incoming) < 600

    assert run(main) == (0, True)


# A callback


def test_the_answer_before_the_wait_is_kept() -> None:
    def main() -> Steps:
        assert (yield from await_callback(lambda resume: resume("early"))) == "early"
        with pytest.raises(KeyError):
            yield from await_callback(lambda resume: resume.throw(KeyError()))

    run(main)


@pytest.mark.parametrize("value", [None, 0, False, "answer"])
def test_the_answer_comes_by_the_queue_and_once(value: object) -> None:
    said: list[object] = []

    def main() -> Steps:
        loop = running()

        def answer(resume: Any) -> None:
            said.extend([resume(value), resume("again"), resume.throw(ValueError()), "the callback runs to its end"])

        said.append((yield from await_callback(lambda resume: loop.post(lambda: answer(resume)))))
        return said

    assert run(main) == [True, False, False, "the callback runs to its end", value]


def test_a_spent_answer_never_reaches_the_next_await() -> None:
    def main() -> Steps:
        kept: list[Any] = []

        def start(resume: Any) -> None:
            kept.append(resume)
            resume()

        yield from await_callback(start)
        running().post(lambda: kept[0]("misdelivered") and None)
        yield from await_sleep(0.001)
        return (yield from await_callback(lambda resume: resume("mine")))

    assert run(main) == "mine"


def test_an_error_of_start_is_raised_and_the_answer_too_late() -> None:
    kept: list[Any] = []

    def start(resume: Any) -> None:
        kept.append(resume)
        raise KeyError("start")

    def main() -> Steps:
        with pytest.raises(KeyError, match="start"):
            yield from await_callback(start)
        yield from await_yield()
        kept[0]("nobody takes it")
        yield from await_yield()

    run(main)


def test_an_answer_from_another_thread_is_refused() -> None:
    def main() -> Steps:
        kept: list[Any] = []
        task = a_sync(await_callback, kept.append)

        def elsewhere() -> None:
            with pytest.raises(LoopStateError, match=rf"was answered in thread {threading.get_ident()}, .*: use loop.post\(\) there"):
                kept[0]("from a thread")

        yield from await_task_in_thread(elsewhere)
        assert not task.done
        kept[0]("from the loop")
        return (yield from task.await_result())

    assert run(main) == "from the loop"


def test_throw_wants_an_exception() -> None:
    def main() -> Steps:
        with pytest.raises(TypeError, match="must be an exception, not str"):
            yield from await_callback(lambda resume: resume.throw("no"))  # type: ignore[arg-type]

    run(main)


def test_waiting_for_a_callback_does_not_keep_the_loop_alive() -> None:
    with EventLoop(debug=False) as loop:
        task = a_sync(await_callback, print, loop=loop)
        loop.run()
        assert not task.done


# A descriptor


def test_readable_and_writable_suspend_and_keep_the_loop_alive(socket_pair: Pair) -> None:
    left, right = socket_pair

    def reader() -> Steps:
        yield from await_readable(right)
        return right.recv(10)

    def writer() -> Steps:
        yield from await_writable(left.fileno())
        left.send(b"x")

    with EventLoop() as loop:
        reading = a_sync(reader, loop=loop)
        a_sync(writer, loop=loop)
        loop.run()
        assert reading.result() == b"x"


def test_the_end_of_the_peer_is_readable(socket_pair: Pair) -> None:
    left, right = socket_pair
    left.close()
    run(await_readable, right)
    assert right.recv(1) == b""


@pytest.mark.parametrize("wait", [await_readable, await_writable])
def test_a_second_user_of_one_direction_is_busy(socket_pair: Pair, wait: Callable[[Any], Any]) -> None:
    left, _ = socket_pair
    left.setblocking(False)
    while True:
        try:
            left.send(bytes(1 << 16))
        except BlockingIOError:
            break

    def main() -> Steps:
        task = a_sync(wait, left, name="first")
        with pytest.raises(BusyError, match="task 'first' uses"):
            yield from wait(left)
        task.cancel()
        yield from await_yield()
        again = a_sync(wait, left)
        yield from await_yield()
        again.cancel()

    run(main)


@pytest.mark.parametrize("wait", [await_readable, await_writable])
def test_a_watch_there_is_busy_and_a_watch_against_a_wait(socket_pair: Pair, wait: Callable[[Any], Any]) -> None:
    left, _ = socket_pair

    def main() -> Steps:
        loop = running()
        add = loop.add_read_watch if wait is await_readable else loop.add_write_watch
        remove = loop.remove_read_watch if wait is await_readable else loop.remove_write_watch
        add(left, lambda status: None)
        with pytest.raises(BusyError, match="a watch"):
            yield from wait(left)
        assert remove(left)
        task = a_sync(wait, left)
        with pytest.raises(BusyError):
            add(left, lambda status: None)
        task.cancel()

    run(main)


def test_what_cannot_be_waited_for() -> None:
    def main() -> Steps:
        with pytest.raises(TypeError, match="fileno"):
            yield from await_readable("text")  # type: ignore[arg-type]
        with pytest.raises(SocketError) as caught:
            yield from await_readable(-1)
        assert caught.value.errno == errno.EBADF
        with tempfile.TemporaryFile() as file, pytest.raises(PermissionError, match="regular file"):
            yield from await_readable(file)
        yield from await_yield()

    run(main)


def test_a_forgotten_descriptor_tells_its_waiter(socket_pair: Pair) -> None:
    left, _ = socket_pair

    def main() -> Steps:
        task = a_sync(await_readable, left)
        running().forget(left)
        with pytest.raises(SocketError, match="was closed while a task waited"):
            yield from task.await_result()

    run(main)


def test_pipes_and_bare_numbers() -> None:
    source, sink = os.pipe()
    try:

        def main() -> Steps:
            task = a_sync(await_readable, source)
            yield from await_writable(sink)
            os.write(sink, b"x")
            yield from task.await_result()
            return os.read(source, 10)

        assert run(main) == b"x"
    finally:
        os.close(source)
        os.close(sink)
