"""Work for another loop: in a thread of its own, in the same thread, closed, throttled, quitting in the midst of it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from eventsock import (
    EventLoop,
    LoopClosedError,
    Task,
    a_sync,
    await_generator_in_event_loop,
    await_sleep,
    await_task_in_event_loop,
    await_yield,
    run,
    running_event_loop,
    timeout,
)

Steps = Generator[Any, Any, Any]


class Other:
    """A loop that runs in a thread of its own."""

    def __init__(self, **options: Any) -> None:
        self.loop = EventLoop(**options)
        self.loop.block()
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def end(self) -> None:
        self.loop.close()
        self.thread.join(10)


@pytest.fixture
def other() -> Iterator[Other]:
    made = Other()
    yield made
    made.end()


def test_it_runs_there_and_answers_here(other: Other) -> None:
    def work() -> object:
        return threading.current_thread() is other.thread, running_event_loop() is other.loop, Task.current()

    def main() -> Steps:
        assert (yield from await_task_in_event_loop(other.loop, work)) == (True, True, None)
        with pytest.raises(ZeroDivisionError):
            yield from await_task_in_event_loop(other.loop, lambda: 1 / 0)
        return other.thread.is_alive()

    assert run(main) is True


def test_the_waiters_loop_is_kept_alive(other: Other) -> None:
    with EventLoop() as loop:
        task = a_sync(await_task_in_event_loop, other.loop, lambda: 7, loop=loop)
        loop.run()
        assert task.result() == 7


def test_the_waiters_own_loop_will_do() -> None:
    def main() -> Steps:
        loop = running_event_loop()
        assert loop is not None
        seen: list[int] = []
        yield from await_generator_in_event_loop(loop, range(100), seen.append)
        assert seen == list(range(100))
        return (yield from await_task_in_event_loop(loop, lambda: 7))

    assert run(main) == 7


def test_a_thunk_there_may_start_tasks_there(other: Other) -> None:
    def child() -> Steps:
        yield from await_sleep(0.001)
        return 7

    def main() -> Steps:
        task = yield from await_task_in_event_loop(other.loop, lambda: a_sync(child))
        while not task.done:
            yield from await_sleep(0.001)
        return task.result(), task.loop is other.loop

    assert run(main) == (7, True)


def test_a_closed_loop_refuses_at_once() -> None:
    with EventLoop() as closed:
        pass

    def main() -> Steps:
        for refused in (await_task_in_event_loop(closed, int), await_generator_in_event_loop(closed, [1], print)):
            with pytest.raises(LoopClosedError):
                yield from refused

    with EventLoop() as loop:
        assert a_sync(main, loop=loop).done


def test_no_loop() -> None:
    def main() -> Steps:
        for refused in (await_task_in_event_loop(5, int), await_generator_in_event_loop(5, [1], print)):  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="worker must be an EventLoop, not int"):
                yield from refused
        with pytest.raises(TypeError, match="thunk must be callable"):
            yield from await_task_in_event_loop(running_event_loop(), 5)  # type: ignore[arg-type]
        yield from await_yield()

    run(main)


@pytest.mark.parametrize("end", ["quit", "close"])
def test_work_that_the_other_loop_drops_is_the_waiters_error(end: str) -> None:
    with EventLoop() as worker:

        def main() -> Steps:
            answers = []
            tasks = [
                a_sync(catches, work) for work in (await_task_in_event_loop(worker, int), await_generator_in_event_loop(worker, [1], print))
            ]
            yield from await_yield()
            # The other loop ends with both in its queue.
            thread = threading.Thread(target=drop)
            thread.start()
            for task in tasks:
                answers.append((yield from task.await_result()))
            thread.join(10)
            return answers

        def drop() -> None:
            if end == "quit":
                worker.timeout_post(0, worker.quit, repeat=False)
                worker.run()
            else:
                with pytest.warns(ResourceWarning, match="2 posts not run"):
                    worker.close()

        def catches(work: Any) -> Steps:
            try:
                yield from work
            except LoopClosedError as error:
                return str(error)[-30:]

        assert [answer.split("before ")[1] for answer in run(main)] == ["int() was done", "list() was done"]


def test_work_of_a_cancelled_waiter_is_not_done() -> None:
    ran: list[str] = []
    with EventLoop() as worker:

        def main() -> Steps:
            tasks = [
                a_sync(await_task_in_event_loop, worker, lambda: ran.append("task")),
                a_sync(await_generator_in_event_loop, worker, lambda: ran.append("row"), print),
            ]
            for task in tasks:
                task.cancel()
            yield from await_yield()

        run(main)
        worker.run()
    assert ran == []


# A row of values


def test_values_come_in_order_with_other_work_in_between(other: Other) -> None:
    made: list[object] = []

    def row() -> Iterator[int]:
        for number in range(200):
            assert threading.current_thread() is other.thread
            made.append(number)
            yield number

    def main() -> Steps:
        seen: list[int] = []
        other.loop.timeout_post(0, lambda: made.append("other") or len(made) < 200)  # type: ignore[func-returns-value]
        yield from await_generator_in_event_loop(other.loop, row, seen.append)
        return seen

    assert run(main) == list(range(200))
    assert made.count("other") > 10


def test_the_generator_rests_when_the_waiter_falls_behind_and_its_loop_does_not(other: Other) -> None:
    made: list[int] = []
    full, ticked = threading.Event(), threading.Event()

    def row() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 32:
                other.loop.timeout_post(0.01, full.set, repeat=False)
            yield number

    def use(number: int) -> None:
        if number == 0:
            assert full.wait(10)
            other.loop.post(ticked.set)
            assert ticked.wait(10)
            ahead.append(len(made))

    ahead: list[int] = []
    run(lambda: await_generator_in_event_loop(other.loop, row, use))
    assert (ahead, len(made)) == ([33], 100)


def test_errors_of_either_close_the_generator(other: Other) -> None:
    closed = threading.Semaphore(0)

    def row(fails: bool) -> Iterator[int]:
        try:
            yield from range(40)
            if fails:
                raise ValueError("row")
            while True:
                yield 40
        finally:
            closed.release()

    def main() -> Steps:
        seen: list[int] = []
        with pytest.raises(ValueError, match="row"):
            yield from await_generator_in_event_loop(other.loop, row(True), seen.append)
        assert seen == list(range(40))
        with pytest.raises(ZeroDivisionError):
            yield from await_generator_in_event_loop(other.loop, row(False), lambda number: 1 // (3 - number))
        with pytest.raises(TimeoutError), timeout(0.01):
            yield from await_generator_in_event_loop(other.loop, row(False), lambda number: None)
        with pytest.raises(TypeError, match="generator must be"):
            yield from await_generator_in_event_loop(other.loop, int, print)  # type: ignore[arg-type]

    run(main)
    for _ in range(3):
        assert closed.acquire(timeout=10)
    assert other.thread.is_alive()


@pytest.mark.parametrize("end", ["quit", "close"])
@pytest.mark.parametrize("resting", [True, False])
def test_a_loop_that_ends_in_the_midst_of_a_row(end: str, resting: bool) -> None:
    other = Other()
    closed = threading.Event()

    def row() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
                if number == (32 if resting else 10):
                    other.loop.timeout_post(0, other.loop.quit if end == "quit" else other.loop.close, repeat=False)
        finally:
            closed.set()

    def use(number: int) -> None:
        if resting and number == 0:
            other.thread.join(10)

    def main() -> Steps:
        with pytest.raises(LoopClosedError, match=r"has quit or was closed before .*row\(\) was done"):
            yield from await_generator_in_event_loop(other.loop, row, use)

    run(main)
    assert closed.is_set()
    other.end()


def test_a_row_keeps_the_other_loop_alive_once_begun() -> None:
    worker = EventLoop()
    seen: list[int] = []
    thread = threading.Thread(target=worker.run)

    def use(number: int) -> None:
        seen.append(number)

    def main() -> Steps:
        task = a_sync(await_generator_in_event_loop, worker, range(100), use)
        thread.start()
        yield from task.await_result()

    run(main)
    thread.join(10)
    worker.close()
    assert seen == list(range(100))


def test_a_throttled_loop_slows_the_one_who_posts_and_loses_nothing() -> None:
    other = Other(throttle_threshold=1, throttle_delay=0.0001)

    def main() -> Steps:
        answers = []
        for task in [a_sync(await_task_in_event_loop, other.loop, lambda number=number: number) for number in range(20)]:
            answers.append((yield from task.await_result()))
        return answers

    assert run(main) == list(range(20))
    other.end()
