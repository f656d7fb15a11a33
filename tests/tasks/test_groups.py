"""Task groups: who is cancelled when one fails, whose error it is, what happens to a group that nobody awaits."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

from eventsock import (
    Cancelled,
    EventLoop,
    LoopStateError,
    Task,
    TaskCancelled,
    TaskGroup,
    a_sync,
    await_sleep,
    await_task_in_thread,
    await_yield,
    run,
    timeout,
)

Steps = Generator[Any, Any, Any]


def sleeps(log: list[str], name: str = "child") -> Steps:
    try:
        yield from await_sleep(60)
    except Cancelled as cancelled:
        log.append(f"{name} {cancelled}")
        raise


def fails(error: Exception, turns: int = 1) -> Steps:
    for _ in range(turns):
        yield from await_yield()
    raise error


def test_all_are_awaited() -> None:
    said: list[int] = []

    def child(number: int) -> Steps:
        yield from await_sleep(0.001)
        said.append(number)
        return number

    def main() -> Steps:
        group = TaskGroup()
        tasks = [group.a_sync(child, number) for number in range(3)]
        group.a_sync(lambda: said.append(-1))
        yield from group.await_all()
        return [task.result() for task in tasks]

    assert run(main) == [0, 1, 2]
    assert sorted(said) == [-1, 0, 1, 2]


def test_an_empty_group_does_not_suspend() -> None:
    def main() -> Steps:
        before = running().statistics().turns
        yield from TaskGroup().await_all()
        return running().statistics().turns - before

    assert run(main) == 0


def test_a_failing_child_cancels_the_others_and_its_error_comes_plain() -> None:
    log: list[str] = []

    def main() -> Steps:
        group = TaskGroup()
        group.a_sync(sleeps, log)
        group.a_sync(fails, ValueError("first"), name="failing")
        group.a_sync(sleeps, log)
        with pytest.raises(ValueError, match="first") as caught:
            yield from group.await_all()
        assert caught.value.__context__ is None
        assert len(log) == 2

    run(main)
    assert log == ["child cancelled by task 'failing': ValueError in the same group"] * 2


@pytest.mark.parametrize("turns", [0, 1])
def test_in_a_block_the_body_is_cancelled_too(turns: int) -> None:
    log: list[str] = []

    async def main() -> None:
        with pytest.raises(ValueError, match="first") as caught:  # noqa: PT012
            async with TaskGroup() as group:
                group.a_sync(fails, ValueError("first"), turns, name="failing")
                group.a_sync(sleeps, log)
                try:
                    await await_sleep(60)
                except Cancelled as cancelled:
                    log.append(f"body {cancelled}")
                    raise
        assert caught.value.__context__ is None
        await await_yield()

    run(main)
    assert sorted(log) == [f"{who} cancelled by task 'failing': ValueError in the same group" for who in ("body", "child")]


def test_other_errors_are_attached() -> None:
    def fails_in_finally() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            raise KeyError("second")

    def main() -> Steps:
        group = TaskGroup()
        group.a_sync(fails_in_finally)
        group.a_sync(fails, ValueError("first"))
        yield from group.await_all()

    with pytest.raises(ValueError, match="first") as caught:
        run(main)
    assert any(note.startswith("beside it: Traceback") and "KeyError: 'second'" in note for note in caught.value.__notes__)


def test_an_error_of_the_body_cancels_and_awaits_the_children() -> None:
    log: list[str] = []

    async def main() -> None:
        async with TaskGroup() as group:
            group.a_sync(sleeps, log)
            group.a_sync(fails_slowly)
            await await_yield()
            raise ValueError("body")

    def fails_slowly() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            yield from await_sleep(0.001)
            raise KeyError("child")

    with pytest.raises(ValueError, match="body") as caught:
        run(main)
    assert "KeyError: 'child'" in "".join(caught.value.__notes__)
    assert log[0].endswith("<locals>.main': the body of the group has left with ValueError")


def test_a_body_that_ends_before_it_is_struck_gets_the_error_all_the_same() -> None:
    async def main() -> str:
        with pytest.raises(ValueError, match="first"):
            async with TaskGroup() as group:
                group.a_sync(fails, ValueError("first"), 0)
        await await_sleep(0)  # nothing strikes here
        return "done"

    assert run(main) == "done"


def test_a_body_that_swallows_the_strike_gets_the_error_all_the_same() -> None:
    async def main() -> str:
        with pytest.raises(ValueError, match="first"):  # noqa: PT012
            async with TaskGroup() as group:
                group.a_sync(fails, ValueError("first"))
                try:
                    await await_sleep(60)
                except Cancelled:
                    pass
        return "done"

    assert run(main) == "done"


def test_await_all_within_the_block() -> None:
    async def main() -> str:
        async with TaskGroup() as group:
            group.a_sync(fails, ValueError("first"))
            with pytest.raises(ValueError, match="first"):
                await group.await_all()
            await await_sleep(0)
            group.a_sync(await_yield)
        return "done"

    assert run(main) == "done"


def test_a_cancelled_waiter_cancels_the_children_and_waits_for_them() -> None:
    log: list[str] = []

    def slowly() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            yield from await_sleep(0.001)
            log.append("cleaned up")

    def waiter() -> Steps:
        group = TaskGroup()
        group.a_sync(slowly)
        group.a_sync(sleeps, log)
        yield from group.await_all()

    def main() -> Steps:
        task = a_sync(waiter)
        task.cancel("enough")
        with pytest.raises(TaskCancelled, match="enough"):
            yield from task.await_result()
        log.append("awaited")

    run(main)
    assert log[0].endswith("main': enough")
    assert log[1:] == ["cleaned up", "awaited"]


def test_cancelling_the_waiter_again_cancels_the_children_again() -> None:
    def stubborn() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            yield from await_sleep(60)

    def waiter() -> Steps:
        group = TaskGroup()
        group.a_sync(stubborn)
        yield from group.await_all()

    def main() -> Steps:
        task = a_sync(waiter)
        for reason in ("first", "second"):
            task.cancel(reason)
            yield from await_yield()
            yield from await_yield()
        with pytest.raises(TaskCancelled, match="first"):
            yield from task.await_result()

    run(main)


def test_an_error_of_a_child_is_not_lost_on_the_way_of_a_cancellation_nor_that() -> None:
    def fails_in_finally() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            raise KeyError("child")

    def waiter() -> Steps:
        group = TaskGroup()
        group.a_sync(fails_in_finally)
        with pytest.raises(KeyError, match="child"):
            yield from group.await_all()
        yield from await_sleep(60)

    def main() -> Steps:
        task = a_sync(waiter)
        task.cancel("enough")
        with pytest.raises(TaskCancelled, match="enough"):
            yield from task.await_result()

    run(main)


def test_a_time_limit_around_a_group() -> None:
    log: list[str] = []

    async def main() -> None:
        with pytest.raises(TimeoutError), timeout(0.002):
            async with TaskGroup() as group:
                group.a_sync(sleeps, log)
        with pytest.raises(TimeoutError), timeout(0.002):  # noqa: PT012
            async with TaskGroup() as group:
                group.a_sync(sleeps, log)
                await await_sleep(60)

    run(main)
    assert log == [
        "child cancelled by timeout(0.002): its time is over",
        "child cancelled by task 'test_a_time_limit_around_a_group.<locals>.main': the body of the group has left with _Expired",
    ]


def test_a_time_limit_within_a_child_is_its_own() -> None:
    def limited() -> Steps:
        with pytest.raises(TimeoutError), timeout(0):
            yield from await_sleep(60)

    def main() -> Steps:
        group = TaskGroup()
        group.a_sync(limited)
        yield from group.await_all()

    run(main)


def test_nested_groups_pass_the_strike_on() -> None:
    log: list[str] = []

    async def main() -> None:
        async with TaskGroup() as outer:
            outer.a_sync(fails, ValueError("first"), 2)
            async with TaskGroup() as inner:
                inner.a_sync(sleeps, log, "inner")
                await await_sleep(60)

    with pytest.raises(ValueError, match="first"):
        run(main)
    assert len(log) == 1


def test_an_inner_groups_error_does_not_hide_the_outer_strike() -> None:
    def fails_in_finally() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            raise KeyError("inner")

    async def main() -> None:
        async with TaskGroup() as outer:
            outer.a_sync(fails, ValueError("outer"), 2)
            with pytest.raises(KeyError, match="inner"):  # noqa: PT012
                async with TaskGroup() as inner:
                    inner.a_sync(fails_in_finally)
                    await await_sleep(60)
            await await_sleep(60)

    with pytest.raises(ValueError, match="outer"):
        run(main)


def test_one_child_cancelled_alone_is_no_failure() -> None:
    def main() -> Steps:
        group = TaskGroup()
        one, other = group.a_sync(await_sleep, 60), group.a_sync(await_sleep, 0.001)
        one.cancel()
        yield from group.await_all()
        return one.cancelled, other.cancelled

    assert run(main) == (True, False)


def test_cancel_ends_all_quietly_also_those_that_start_meanwhile() -> None:
    def starts_another(group: TaskGroup) -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            late.append(group.a_sync(await_sleep, 60))

    def main() -> Steps:
        group = TaskGroup()
        group.a_sync(starts_another, group)
        group.cancel("closing time")
        yield from group.await_all()
        assert late[0].cancelled
        # As new.
        task = group.a_sync(await_sleep, 0)
        yield from group.await_all()
        assert not task.cancelled

    late: list[Task[Any]] = []
    run(main)


def test_a_child_may_be_awaited_by_itself_too() -> None:
    def main() -> Steps:
        group = TaskGroup()
        task = group.a_sync(fails, ValueError("first"))
        with pytest.raises(ValueError, match="first"):
            yield from task.await_result()
        with pytest.raises(ValueError, match="first"):
            yield from group.await_all()

    run(main)


# Whose it is


def test_a_group_that_is_not_awaited_ends_with_its_task() -> None:
    log: list[str] = []

    def careless() -> Steps:
        TaskGroup().a_sync(sleeps, log)
        yield from await_yield()

    def main() -> Steps:
        yield from a_sync(careless, name="careless").await_result()
        yield from await_yield()
        assert log == ["child cancelled by task 'careless': task 'careless' has ended without awaiting its group"]

    run(main)


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_an_error_in_a_group_that_is_not_awaited_leaves_run(turns: int) -> None:
    def careless() -> Steps:
        TaskGroup().a_sync(fails_in_finally, turns)
        yield from await_yield()
        yield from await_yield()

    def fails_in_finally(turns: int) -> Steps:
        try:
            for _ in range(turns):
                yield from await_yield()
        finally:
            raise ValueError("unheard")

    def main() -> Steps:
        yield from a_sync(careless).await_result()
        yield from await_sleep(60)

    with pytest.raises(ValueError, match="unheard"):
        run(main)


def test_another_task_may_await_but_only_one() -> None:
    def waiter(group: TaskGroup) -> Steps:
        yield from group.await_all()

    def main() -> Steps:
        group = TaskGroup()
        group.a_sync(await_sleep, 0.001)
        task = a_sync(waiter, group)
        with pytest.raises(LoopStateError, match=f"{task} awaits the group already"):
            yield from group.await_all()
        yield from task.await_result()

    run(main)


def test_a_task_of_the_group_cannot_await_it() -> None:
    def main() -> Steps:
        group = TaskGroup()
        group.a_sync(group.await_all, name="inner")
        with pytest.raises(LoopStateError, match="task 'inner' cannot wait for its own group"):
            yield from group.await_all()

    run(main)


def test_callbacks_start_tasks_in_a_group_that_is_in_use() -> None:
    def main() -> Steps:
        group = TaskGroup()
        group.a_sync(await_sleep, 0.001)
        running().post(lambda: started.append(group.a_sync(await_sleep, 0)))
        yield from group.await_all()
        assert started[0].done

    started: list[Task[Any]] = []
    run(main)


@pytest.mark.parametrize("seconds", [0, 0.001])
def test_a_group_that_was_not_awaited_may_be_used_again_when_its_tasks_have_ended(seconds: float) -> None:
    def careless() -> Steps:
        group.a_sync(await_sleep, 0)
        yield from await_sleep(seconds)

    def main() -> Steps:
        yield from a_sync(careless).await_result()
        yield from await_sleep(0.001)
        task = group.a_sync(await_sleep, 0)
        yield from group.await_all()
        task.result()

    group = TaskGroup()
    run(main)


def test_outside_a_task_another_thread_or_another_loop() -> None:
    with pytest.raises(LoopStateError, match="outside a task"):
        TaskGroup().a_sync(await_yield)

    def main() -> Steps:
        group = TaskGroup()
        group.a_sync(await_sleep, 0)

        def elsewhere() -> None:
            with pytest.raises(LoopStateError, match=f"thread {threading.get_ident()}"):
                group.a_sync(await_yield)

        yield from await_task_in_thread(elsewhere)
        yield from group.await_all()

    run(main)


def test_a_block_is_one_tasks() -> None:
    async def main() -> None:
        group = TaskGroup()
        async with group:
            with pytest.raises(LoopStateError, match="is in use in"):
                async with group:
                    pass

    run(main)


@pytest.mark.parametrize("inside", [True, False])
def test_quit_closes_a_group_without_a_word(inside: bool) -> None:
    log: list[str] = []

    def child() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            log.append("child")

    async def main() -> None:
        try:
            async with TaskGroup() as group:
                group.a_sync(child)
                if inside:
                    await await_sleep(60)
        finally:
            log.append("main")

    with EventLoop() as loop:
        a_sync(main, loop=loop)
        loop.post(loop.quit)
        loop.run()
    assert sorted(log) == ["child", "main"]


def running() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop
