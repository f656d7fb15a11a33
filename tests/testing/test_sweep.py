"""The sweep itself: it counts, it strikes everywhere and in both ways, it finds what is not given back."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

from eventsock import Cancelled, LoopStateError, Task, a_sync, await_callback, await_sleep, await_yield, run
from eventsock.testing.sweep import cancel_sweep

Steps = Generator[Any, Any, Any]


def test_each_suspension_is_struck_at_once_and_by_a_post() -> None:
    struck: list[str] = []

    def body() -> Steps:
        place = "first"
        try:
            yield from await_yield()
            place = "second"
            yield from await_sleep(0)
            place = "third"
            yield from await_callback(lambda resume: running().post(resume))
            place = "end"
        except Cancelled:
            struck.append(place)
            raise

    checks: list[int] = []
    assert cancel_sweep(body, check=lambda: checks.append(1)) == 3
    assert len(checks) == 1 + 2 * 3
    # By a post it comes after the timeout of the second, which is due in the same turn.
    assert struck[:4] == ["first", "first", "second", "third"]


def test_values_and_errors_pass_through() -> None:
    seen: list[object] = []

    async def body(argument: int) -> int:
        seen.append(await await_callback(lambda resume: running().post(lambda: resume(argument) and None)))
        with pytest.raises(KeyError):
            await await_callback(lambda resume: running().post(lambda: resume.throw(KeyError()) and None))
        return 7

    assert cancel_sweep(body, 5) == 2
    assert seen[0] == 5


def test_a_task_without_suspensions() -> None:
    assert cancel_sweep(lambda: 7) == 0


def test_an_error_says_where_the_task_was_cancelled() -> None:
    def body() -> Steps:
        yield from await_yield()
        try:
            yield from await_sleep(0)
        finally:
            if sentinel.pop(0) == "fail":
                raise KeyError("clean-up")

    sentinel = ["ok", "fail"]
    with pytest.raises(KeyError, match="clean-up") as caught:
        cancel_sweep(body)
    assert caught.value.__notes__[-1] == "cancelled at suspension 2 of 2"
    sentinel = ["ok", "ok", "fail"]
    with pytest.raises(KeyError, match="clean-up") as caught:
        cancel_sweep(body)
    assert caught.value.__notes__[-1] == "cancelled at suspension 2 of 2, by a post"


def test_a_descriptor_left_open_is_found() -> None:
    opened: list[int] = []

    def body() -> Steps:
        fd = os.open(os.devnull, os.O_RDONLY)
        opened.append(fd)
        yield from await_yield()
        os.close(opened.pop())

    with pytest.raises(AssertionError, match=r"left open: .*null"):
        cancel_sweep(body)
    for fd in opened:
        os.close(fd)


def test_an_undisturbed_run_that_is_cancelled_is_an_error() -> None:
    from eventsock import TaskCancelled

    def body() -> Steps:
        me = Task.current()
        assert me is not None
        me.cancel()
        yield from await_yield()

    with pytest.raises(TaskCancelled):
        cancel_sweep(body)


def test_not_within_a_task() -> None:
    def main() -> Steps:
        with pytest.raises(LoopStateError):
            cancel_sweep(a_sync)
        yield from await_yield()

    run(main)


def running() -> Any:
    task = Task.current()
    assert task is not None
    return task.loop
