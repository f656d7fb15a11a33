"""Async generators that nobody iterates any more are closed by the loop that iterated them first."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from eventsock import EventLoop, LoopStateError, Task, a_sync, await_sleep, await_task_in_thread, await_yield, run


class Numbers:
    """Makes generators, and keeps what became of them."""

    def __init__(self) -> None:
        self.said: list[object] = []

    async def count(self) -> AsyncIterator[int]:
        try:
            for number in range(1000):
                yield number
                await await_yield()
        finally:
            self.said.append("closing")
            await await_sleep(0.001)
            self.said.append("closed")


def test_iterated_to_the_end() -> None:
    async def few() -> AsyncIterator[int]:
        for number in range(3):
            await await_yield()
            yield number

    async def main() -> list[int]:
        return [number async for number in few()]

    assert run(main) == [0, 1, 2]


@pytest.mark.parametrize("before_the_loop_runs", [False, True])
def test_left_early_it_is_closed_and_its_finally_may_await(before_the_loop_runs: bool) -> None:
    numbers = Numbers()

    async def main() -> None:
        async for _ in numbers.count():
            break
        gc.collect()
        await await_sleep(0.01)
        numbers.said.append("main goes on")

    with EventLoop() as loop:
        if before_the_loop_runs:
            a_sync(main, loop=loop)
        else:
            loop.post(lambda: a_sync(main) and None)
        loop.run()
    assert numbers.said == ["closing", "closed", "main goes on"]


def test_collected_in_another_thread_it_is_closed_in_its_loop() -> None:
    async def main() -> list[object]:
        where: list[object] = []

        async def count() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                where.append(threading.current_thread() is threading.main_thread())
                await await_yield()
                where.append(Task.current() is not None)

        held = [count()]
        async for _ in held[0]:
            break
        await await_task_in_thread(held.clear)
        await await_sleep(0.001)
        return where

    assert run(main) == [True, True]


def test_an_error_while_it_is_closed_is_nobodys_and_leaves_run() -> None:
    async def count() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("in finally")

    async def main() -> None:
        async for _ in count():
            break
        gc.collect()
        await await_sleep(60)

    with pytest.raises(ValueError, match="in finally") as caught:
        run(main)
    assert "in task 'closing <async_generator object" in caught.value.__notes__[0]


@pytest.mark.parametrize("end", ["quit", "close"])
def test_when_the_loop_ends_it_is_closed_without_waiting(end: str) -> None:
    said: list[str] = []

    async def count() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            try:
                await await_sleep(1)
            except LoopStateError:
                said.append("may not wait")

    async def main() -> None:
        async for _ in count():
            await await_sleep(60)

    with EventLoop() as loop:
        a_sync(main, loop=loop)
        loop.post(loop.quit if end == "quit" else loop.close)
        loop.run()
        gc.collect()
    assert said == ["may not wait"]


def test_an_error_while_the_loop_ends_leaves_run() -> None:
    async def count() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("in finally")

    async def main() -> None:
        async for _ in count():
            await await_sleep(60)

    with EventLoop() as loop:
        a_sync(main, loop=loop)
        loop.post(loop.quit)
        with pytest.raises(ValueError, match="in finally"):
            loop.run()


def test_one_that_will_not_end_is_given_up() -> None:
    async def stubborn() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            while True:
                try:
                    await raw()
                except BaseException:
                    pass

    async def main() -> None:
        async for _ in stubborn():
            await await_sleep(60)

    with EventLoop() as loop:
        a_sync(main, loop=loop)
        loop.post(loop.quit)
        with pytest.raises(RuntimeError, match="goes on waiting although its loop has ended"):
            loop.run()


class raw:  # noqa: N801
    """Something to await that yields and yields."""

    def __await__(self) -> Any:
        yield None


def test_one_that_outlives_its_loop_is_closed_where_it_is_collected() -> None:
    numbers = Numbers()
    kept: list[Any] = []

    async def main() -> None:
        kept.append(numbers.count())
        await anext(kept[0])

    run(main)
    seen: list[type[BaseException] | None] = []
    sys.unraisablehook, former = lambda told: seen.append(told.exc_type), sys.unraisablehook
    try:
        kept.clear()
        gc.collect()
    finally:
        sys.unraisablehook = former
    # Its `finally` waits, which it cannot any more, and says so.
    assert numbers.said == ["closing"]
    assert seen == [LoopStateError]


def test_one_that_is_collected_in_the_midst_of_another_loops_task_is_none_of_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Numbers()
    kept: list[Any] = []
    seen: list[type[BaseException] | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: seen.append(told.exc_type))

    async def iterates() -> None:
        kept.append(numbers.count())
        await anext(kept[0])

    async def innocent() -> None:
        me = Task.current()
        assert me is not None
        kept.clear()
        gc.collect()
        assert numbers.said == ["closing"]
        assert Task.current() is me
        assert len(me.loop.timers) == 0
        await await_yield()

    run(iterates)
    run(innocent)
    assert seen == [LoopStateError]


def test_hooks_are_set_only_while_the_loop_steps() -> None:
    before = sys.get_asyncgen_hooks()
    seen: list[Any] = []
    with EventLoop() as loop:
        a_sync(lambda: seen.append(sys.get_asyncgen_hooks()), loop=loop)
        assert sys.get_asyncgen_hooks() == before
        loop.post(lambda: seen.append(sys.get_asyncgen_hooks()))
        loop.step()
        assert sys.get_asyncgen_hooks() == before
    assert [hooks.finalizer is not None for hooks in seen] == [True, True]


def test_a_task_that_is_closed_within_a_generator_it_iterates_closes_that_too() -> None:
    said: list[str] = []

    async def count() -> AsyncIterator[int]:
        try:
            await await_sleep(60)
            yield 1
        finally:
            said.append("generator")

    async def main() -> None:
        try:
            async for _ in count():
                pass
        finally:
            said.append("main")

    with EventLoop() as loop:
        task = a_sync(main, loop=loop)
        loop.post(loop.quit)
        loop.run()
        assert task.cancelled
    assert said == ["generator", "main"]
