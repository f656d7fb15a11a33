"""Thunks and generators that the task's own loop runs: results, errors at the await, cancelled ones that are not run."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

import pytest

from eventsock import (
    Cancelled,
    EventLoop,
    LoopStateError,
    Task,
    TaskCancelled,
    a_sync,
    await_generator,
    await_sleep,
    await_task,
    await_timeout,
    await_yield,
    run,
    timeout,
)

Steps = Generator[Any, Any, Any]


def running() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop


@pytest.mark.parametrize("value", [None, 0, False, "value"])
def test_the_result_of_a_posted_thunk(value: object) -> None:
    said: list[str] = []

    def main() -> Steps:
        running().post(lambda: said.append("posted before"))

        def thunk() -> object:
            said.append("thunk")
            return value

        return (yield from await_task(thunk))

    assert run(main) is value
    assert said == ["posted before", "thunk"]


def test_a_thunk_runs_in_no_task() -> None:
    def main() -> Steps:
        return (yield from await_task(Task.current)), (yield from await_timeout(0, Task.current))

    assert run(main) == (None, None)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt, Cancelled])
def test_an_error_is_raised_at_the_await(error: type[BaseException]) -> None:
    def thunk() -> None:
        raise error("thunk")

    def main() -> Steps:
        for procedure in (partial(await_task, thunk), partial(await_timeout, 0, thunk)):
            with pytest.raises(error) as caught:
                yield from procedure()
            assert caught.traceback[-1].name == "thunk"
        return "went on"

    assert run(main) == "went on"


def test_an_error_handled_in_the_thunk_is_nobodys_context() -> None:
    def main() -> Steps:
        try:
            yield from await_task(lambda: [][1])
        except IndexError:
            pass
        with pytest.raises(KeyError) as caught:
            dict[str, int]()["x"]
        assert caught.value.__context__ is None

    run(main)


def test_cancelled_thunks_are_not_run() -> None:
    ran: list[str] = []

    def main() -> Steps:
        tasks = [a_sync(await_task, lambda: ran.append("post")), a_sync(await_timeout, 0.001, lambda: ran.append("timeout"))]
        for task in tasks:
            task.cancel()
        yield from await_sleep(0.005)
        assert all(task.cancelled for task in tasks)
        assert len(running().timers) == 0

    run(main)
    assert ran == []


def test_a_thunk_that_cancels_its_own_waiter_still_answers() -> None:
    def main() -> Steps:
        me = Task.current()
        assert me is not None
        answer = yield from await_task(lambda: me.cancel("by the thunk"))
        said.append(answer)
        yield from await_yield()

    said: list[bool] = []
    with pytest.raises(TaskCancelled, match="by the thunk"):
        run(main)
    assert said == [True]


def test_a_timeout_fires_when_it_is_due() -> None:
    now = [0.0]

    def main() -> Steps:
        return (yield from await_timeout(2, lambda: now[0]))

    with EventLoop(clock=lambda: now[0]) as loop:
        task = a_sync(main, loop=loop)
        assert task.where().startswith(f"{task} waits for a timeout of 2 s, ")
        while loop.step():
            now[0] += loop.next_deadline() or 0.0
        assert task.result() == 2.0


@pytest.mark.parametrize(
    ("procedure", "arguments", "error", "told"),
    [
        (await_task, (5,), TypeError, "thunk must be callable, not int"),
        (await_timeout, (1, 5), TypeError, "thunk must be callable, not int"),
        (await_timeout, (math.nan, int), ValueError, "NaN"),
        (await_generator, (5, print), TypeError, "gave int"),
        (await_generator, (lambda: None, print), TypeError, "gave NoneType"),
        (await_generator, ([], 5), TypeError, "proc must be callable, not int"),
    ],
)
def test_bad_arguments(procedure: Any, arguments: tuple[Any, ...], error: type[Exception], told: str) -> None:
    def main() -> Steps:
        with pytest.raises(error, match=told):
            yield from procedure(*arguments)
        assert len(running().timers) == 0
        yield from await_yield()

    run(main)


@pytest.mark.parametrize("procedure", [partial(await_task, int), partial(await_timeout, 0, int), partial(await_generator, [], int)])
def test_outside_a_task(procedure: Any) -> None:
    with pytest.raises(LoopStateError, match="outside a task"):
        list(procedure())


# Generators


def numbers() -> Iterator[int]:
    yield from range(3)


@pytest.mark.parametrize("source", [numbers, numbers(), range(3), [0, 1, 2], lambda: iter([0, 1, 2]), lambda: [0, 1, 2]])
def test_each_value_has_a_turn_of_its_own(source: Any) -> None:
    said: list[object] = []

    def other() -> Steps:
        while 2 not in said:
            said.append("other")
            yield from await_yield()

    def main() -> Steps:
        a_sync(other)
        yield from await_generator(source, said.append)

    run(main)
    assert said == ["other", "other", 0, "other", 1, "other", 2]


def test_a_class_is_called_and_not_iterated() -> None:
    said: list[object] = []
    run(lambda: await_generator(list, said.append))
    assert said == []


def test_the_generator_is_closed_whatever_happens() -> None:
    closed: list[str] = []

    def endless(name: str) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(name)

    def fails() -> Iterator[int]:
        yield 1
        raise ValueError("generator")

    def main() -> Steps:
        said: list[int] = []
        with pytest.raises(ValueError, match="generator"):
            yield from await_generator(fails, said.append)
        assert said == [1]
        with pytest.raises(ZeroDivisionError):
            yield from await_generator(endless("error"), lambda number: number / 0)
        with pytest.raises(TimeoutError), timeout(0.002):
            yield from await_generator(lambda: endless("cancelled"), said.append)

    run(main)
    assert closed == ["error", "cancelled"]
