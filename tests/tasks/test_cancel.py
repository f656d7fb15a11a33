"""Cancelling: where it strikes, what it leaves alone, who is told by whom; and at every suspension of a busy task."""

from __future__ import annotations

import socket
import threading
import traceback
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
    await_callback,
    await_generator,
    await_readable,
    await_sleep,
    await_task,
    await_task_in_thread,
    await_timeout,
    await_writable,
    await_yield,
    run,
    timeout,
)
from eventsock.testing.sweep import cancel_sweep

Steps = Generator[Any, Any, Any]


def test_provenance_is_in_the_error_and_in_the_trace() -> None:
    def victim() -> Steps:
        yield from await_sleep(60)

    def main() -> Steps:
        task = a_sync(victim, name="victim")
        assert task.cancel("too slow")
        with pytest.raises(TaskCancelled) as caught:
            yield from task.await_result()
        assert (caught.value.reason, caught.value.by) == ("too slow", Task.current())
        assert (task.done, task.cancelled, isinstance(task.error, Cancelled)) == (True, True, True)
        return "".join(traceback.format_exception(caught.value))

    shown = run(main)
    assert "in victim\n" in shown
    assert "in await_sleep\n" in shown
    assert "cancelled by task 'test_provenance_is_in_the_error_and_in_the_trace.<locals>.main': too slow" in shown


def test_outside_of_tasks_nobody_did_it() -> None:
    with EventLoop() as loop:
        task = a_sync(await_sleep, 60, loop=loop)
        loop.post(lambda: task.cancel() and None)
        loop.run()
        with pytest.raises(TaskCancelled) as caught:
            task.result()
        assert (caught.value.reason, caught.value.by, str(caught.value)) == (None, None, "the task was cancelled")


def test_it_strikes_on_the_next_turn_and_not_within_the_call() -> None:
    said: list[str] = []

    def victim() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            said.append("struck")

    def main() -> Steps:
        task = a_sync(victim)
        task.cancel()
        said.append("cancelled")
        assert not task.done
        yield from await_yield()

    run(main)
    assert said == ["cancelled", "struck"]


def test_a_cancelled_task_that_nobody_awaits_is_no_error() -> None:
    with EventLoop() as loop:
        task = a_sync(await_sleep, 60, loop=loop)
        task.cancel()
        loop.run()
        assert task.cancelled


def test_finally_may_await_and_the_waiter_waits_for_it() -> None:
    said: list[str] = []

    def victim() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            yield from await_sleep(0.001)
            said.append("cleaned up")

    def main() -> Steps:
        task = a_sync(victim)
        task.cancel()
        with pytest.raises(TaskCancelled):
            yield from task.await_result()
        said.append("awaited")

    run(main)
    assert said == ["cleaned up", "awaited"]


def test_twice_before_it_struck_is_once_and_afterwards_it_strikes_again() -> None:
    reasons: list[object] = []

    def victim() -> Steps:
        for _ in range(3):
            try:
                yield from await_sleep(0.005)
            except Cancelled as cancelled:
                reasons.append(cancelled.reason)

    def main() -> Steps:
        task = a_sync(victim)
        assert (task.cancel("first"), task.cancel("second")) == (True, True)
        yield from await_yield()
        assert reasons == ["first"]
        task.cancel("third")
        yield from task.await_result()
        assert reasons == ["first", "third"]
        assert task.cancel("too late") is False

    run(main)


@pytest.mark.parametrize("suspends", [True, False])
def test_self(suspends: bool) -> None:
    def main() -> Steps:
        me = Task.current()
        assert me is not None
        assert me.cancel("enough")
        if suspends:
            yield from await_sleep(0)
        return "ended before it could strike"

    if suspends:
        with pytest.raises(TaskCancelled, match=r"cancelled by task .*: enough"):
            run(main)
    else:
        assert run(main) == "ended before it could strike"


def test_within_the_first_steps() -> None:
    started: list[Task[Any]] = []

    def body() -> Steps:
        current = Task.current()
        assert current is not None
        current.cancel()
        with pytest.raises(Cancelled):
            yield from await_yield()
        current.cancel()
        with pytest.raises(Cancelled):
            yield
        current.cancel()
        yield from await_yield()

    with EventLoop() as loop:
        started.append(a_sync(body, loop=loop))
        loop.run()
        assert started[0].cancelled


def _bare() -> Steps:
    yield


@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize("wait", [await_yield, lambda: await_sleep(60), _bare])
def test_it_strikes_at_whatever_wait_comes_next(wait: Any, later: bool) -> None:
    def body() -> Steps:
        if later:
            yield from await_sleep(0)
        me = Task.current()
        assert me is not None
        me.cancel("enough")
        yield from wait()

    with EventLoop() as loop:
        task = a_sync(body, loop=loop)
        loop.run()
        assert task.cancelled


@pytest.mark.parametrize("wait", [await_readable, await_writable])
def test_a_waiter_that_was_cancelled_has_freed_its_descriptor(wait: Any) -> None:
    left, right = socket.socketpair()

    def main() -> Steps:
        for _ in range(2):
            task = a_sync(wait, right)
            task.cancel()
            with pytest.raises(TaskCancelled):
                yield from task.await_result()

    with left, right:
        run(main)


def test_a_decided_wait_delivers_and_the_cancel_strikes_at_the_next() -> None:
    seen: list[object] = []

    def body() -> Steps:
        seen.append((yield from await_callback(held.append)))
        try:
            yield from await_yield()
        except Cancelled:
            seen.append("struck")

    held: list[Any] = []
    with EventLoop() as loop:
        task = a_sync(body, loop=loop)

        def both() -> None:
            assert held[0]("answer")
            task.cancel()

        loop.post(both)
        loop.run()
    assert seen == ["answer", "struck"]


def test_after_a_cancel_the_answer_comes_too_late() -> None:
    held: list[Any] = []

    def body() -> Steps:
        yield from await_callback(held.append)

    with EventLoop() as loop:
        task = a_sync(body, loop=loop)

        def both() -> None:
            task.cancel()
            assert held[0]("answer") is False

        loop.post(both)
        loop.run()
        assert task.cancelled


def test_swallowed() -> None:
    def stubborn() -> Steps:
        try:
            yield from await_sleep(60)
        except Cancelled:
            yield from await_sleep(0.001)
            return "went on"

    def main() -> Steps:
        task = a_sync(stubborn)
        task.cancel()
        return (yield from task.await_result())

    assert run(main) == "went on"


def test_an_error_in_finally_shows_the_cancellation_as_its_context() -> None:
    def victim() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            raise KeyError("clean-up")

    def main() -> Steps:
        task = a_sync(victim)
        task.cancel("why")
        with pytest.raises(KeyError) as caught:
            yield from task.await_result()
        assert isinstance(caught.value.__context__, Cancelled)
        assert caught.value.__context__.reason == "why"

    run(main)


def test_cancelling_the_waiter_leaves_the_awaited_task_alone() -> None:
    def main() -> Steps:
        awaited = a_sync(await_sleep, 0.005)
        waiter = a_sync(awaited.await_result)
        waiter.cancel()
        yield from awaited.await_result()
        assert (waiter.cancelled, awaited.cancelled) == (True, False)

    run(main)


def test_many_waiters_of_one_task_leave_at_once() -> None:
    def main() -> Steps:
        awaited = a_sync(await_sleep, 60)
        waiters = [a_sync(awaited.await_result) for _ in range(5000)]
        for waiter in reversed(waiters):
            waiter.cancel()
        yield from await_yield()
        assert all(waiter.cancelled for waiter in waiters)
        awaited.cancel()

    run(main)


def test_from_another_thread_is_refused() -> None:
    def main() -> Steps:
        task = a_sync(await_sleep, 60)

        def elsewhere() -> None:
            with pytest.raises(LoopStateError, match=f"was cancelled in thread {threading.get_ident()}.*post"):
                task.cancel()
            task.loop.post(lambda: task.cancel("posted") and None)

        yield from await_task_in_thread(elsewhere)
        with pytest.raises(TaskCancelled, match="posted"):
            yield from task.await_result()

    run(main)


def test_an_async_def_is_cancelled_like_any_other() -> None:
    async def victim() -> None:
        try:
            await await_sleep(60)
        finally:
            await await_yield()

    async def main() -> None:
        task = a_sync(victim)
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task.await_result()

    run(main)


# At every suspension


def _busy() -> Steps:
    """Each kind of wait there is, with something to give back in between."""

    def child() -> Steps:
        try:
            yield from await_sleep(0)
        finally:
            yield from await_yield()

    left, right = socket.socketpair()
    with left, right:
        loop = running()
        yield from await_yield()
        yield from await_sleep(0)
        yield from await_task(lambda: left.send(b"1"))
        yield from await_readable(right)
        yield from await_writable(left)
        yield from await_timeout(0, lambda: None)
        yield from await_callback(loop.post)
        yield from await_generator(range(2), lambda number: None)
        yield from await_task_in_thread(lambda: None)
        yield from a_sync(child).await_result()
        with timeout(60), timeout(50):
            yield from await_sleep(0)
        group = TaskGroup()
        for _ in range(2):
            group.a_sync(child)
        yield from group.await_all()
        assert loop.book.armed == 0
        assert len(loop.timers) == 0


def running() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop


def test_cancel_at_every_suspension() -> None:
    assert cancel_sweep(_busy) >= 12


def _turns(count: int) -> Steps:
    for _ in range(count):
        yield from await_yield()


async def _busy_coroutine() -> None:
    async with TaskGroup() as group:
        group.a_sync(_turns, 9)
        async with TaskGroup() as inner:
            inner.a_sync(_turns, 4)
            with timeout(60):
                await await_yield()
        await await_yield()


def test_cancel_at_every_suspension_of_nested_groups() -> None:
    assert cancel_sweep(_busy_coroutine) == 4
