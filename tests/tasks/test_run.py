"""`run`: the result, the farewell to the other tasks, deadlocks named, interrupts."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest

from eventsock import (
    Cancelled,
    Deadlock,
    EventLoop,
    LoopStateError,
    Meeting,
    TaskCancelled,
    a_sync,
    await_sleep,
    await_task_in_thread,
    await_yield,
    run,
    running_event_loop,
)

Steps = Generator[Any, Any, Any]


def test_a_plain_function() -> None:
    assert run(lambda: running_event_loop() is not None) is True
    assert running_event_loop() is None


def test_arguments_and_errors() -> None:
    def divide(a: int, b: int) -> Steps:
        yield from await_yield()
        return a / b

    assert run(divide, 6, 3) == 2
    with pytest.raises(ZeroDivisionError):
        run(divide, 1, 0)


def test_others_are_cancelled_and_have_time_for_their_finally_blocks() -> None:
    said: list[str] = []

    def other() -> Steps:
        try:
            yield from await_sleep(60)
        except Cancelled as cancelled:
            said.append(str(cancelled))
            a_sync(another)
            yield from await_sleep(0.001)
            said.append("cleaned up")
            raise

    def another() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            yield from await_sleep(0.001)
            said.append("another, too")

    def main(fails: bool) -> Steps:
        a_sync(other)
        yield from await_yield()
        if fails:
            raise ValueError("main")
        return "result"

    expected = ["cancelled: the main task has ended", "cleaned up", "another, too"]
    assert run(main, False) == "result"
    assert said == expected
    del said[:]
    with pytest.raises(ValueError, match="main"):
        run(main, True)
    assert said == expected


def test_others_that_will_not_go_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventsock.tasks.run._GRACE", 0.02)
    said: list[str] = []

    def stays() -> Steps:
        while True:
            try:
                yield from await_sleep(60)
            except Cancelled:
                said.append("stays")
            except BaseException:
                said.append("closed")
                raise

    def main() -> Steps:
        a_sync(stays)
        yield from await_yield()
        return "result"

    assert run(main) == "result"
    assert said == ["stays", "closed"]


def test_it_does_not_wait_for_callbacks_of_the_loop() -> None:
    fired: list[int] = []

    def main() -> Steps:
        loop = running_event_loop()
        assert loop is not None
        loop.block()
        loop.timeout_post(60, lambda: fired.append(1))
        yield from await_yield()
        loop.post(lambda: fired.append(2))
        return "result"

    assert run(main) == "result"
    assert fired == []


def test_an_error_of_another_task_leaves_and_closes_the_main_task() -> None:
    said: list[str] = []

    def other() -> Steps:
        yield from await_yield()
        raise ValueError("other")

    def main() -> Steps:
        try:
            a_sync(other)
            yield from await_sleep(60)
        finally:
            said.append("closed")

    with pytest.raises(ValueError, match="other"):
        run(main)
    assert said == ["closed"]


def test_an_error_in_the_farewell_leaves() -> None:
    def other() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            raise KeyError("farewell")

    def main() -> Steps:
        a_sync(other)
        yield from await_yield()

    with pytest.raises(KeyError, match="farewell"):
        run(main)


def test_running_dry_names_who_waits_for_what() -> None:
    def other(meeting: Meeting[int]) -> Steps:
        yield from meeting.await_send(1)

    def main() -> Steps:
        task = a_sync(other, Meeting[int](), name="sender")
        yield from task.await_result()

    with pytest.raises(Deadlock) as caught:
        run(main)
    assert "waits for the result of task 'sender'" in str(caught.value)
    assert "task 'sender' waits for a receiver at" in str(caught.value)
    assert not hasattr(caught.value, "__notes__"), "nothing else has gone wrong"


def test_a_deadlock_is_not_hidden_by_what_fails_in_closing() -> None:
    def main() -> Steps:
        try:
            yield
        finally:
            yield from await_sleep(1)

    with pytest.raises(Deadlock, match="waits for a raw resume") as caught:
        run(main)
    assert "cannot wait any more" in "".join(caught.value.__notes__)


def test_a_quit_ends_it_as_a_cancellation() -> None:
    def main() -> Steps:
        loop = running_event_loop()
        assert loop is not None
        loop.quit()
        yield from await_yield()

    with pytest.raises(TaskCancelled, match="the loop ended"):
        run(main)


def test_not_inside_a_running_loop() -> None:
    def main() -> Steps:
        with pytest.raises(LoopStateError, match=r"use `yield from await_call\(f\)`"):
            run(main)
        yield from await_yield()

    run(main)


def test_within_an_idle_loops_thread() -> None:
    with EventLoop() as loop:
        task = a_sync(await_sleep, 0, loop=loop)
        assert run(lambda: 7) == 7
        loop.run()
        assert task.done


def test_ctrl_c_leaves_and_closes_the_tasks() -> None:
    said: list[str] = []

    def main() -> Steps:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            yield from await_sleep(60)
        finally:
            said.append("closed")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert said == ["closed"]
    assert run(lambda: 7) == 7


def test_a_job_in_a_thread_is_left_to_itself() -> None:
    release = threading.Event()
    begun = threading.Event()

    def job() -> None:
        begun.set()
        release.wait(10)

    def main() -> Steps:
        a_sync(await_task_in_thread, job)
        while not begun.is_set():
            yield from await_sleep(0.001)

    before = time.monotonic()
    run(main)
    assert time.monotonic() - before < 4
    release.set()


def test_many_others_end_in_linear_time() -> None:
    def main() -> Steps:
        for _ in range(20_000):
            a_sync(await_sleep, 60)
        yield from await_yield()

    before = time.monotonic()
    run(main)
    assert time.monotonic() - before < 10
