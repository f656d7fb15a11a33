"""Time limits: nested, due together, beaten by an answer, struck beside a cancellation."""

from __future__ import annotations

import math
from collections.abc import Generator
from decimal import Decimal
from typing import Any

import pytest

from eventsock import (
    Cancelled,
    EventLoop,
    LoopStateError,
    Task,
    TaskCancelled,
    a_sync,
    await_callback,
    await_sleep,
    await_yield,
    run,
    timeout,
)

Steps = Generator[Any, Any, Any]


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def drive(body: Any, *args: Any) -> Any:
    """Run a task by a clock that jumps to each deadline: exact, and without sleeping."""
    clock = Clock()
    with EventLoop(clock=clock) as loop:
        task: Task[Any] = a_sync(body, clock, *args, loop=loop)
        while not task.done and loop.step():
            deadline = loop.next_deadline()
            clock.now += deadline or 0.0
        assert len(loop.timers) == 0
        return task.result()


def test_over_is_a_timeout_error_that_shows_where_the_block_stood() -> None:
    def body(clock: Clock) -> Steps:
        begun = clock.now
        with pytest.raises(TimeoutError, match=r"not done within 2 s") as caught, timeout(2) as limit:
            yield from await_sleep(60)
        assert (clock.now - begun, limit.expired) == (2.0, True)
        cause = caught.value.__cause__
        assert isinstance(cause, Cancelled)
        assert str(cause) == "cancelled by timeout(2): its time is over"
        assert cause.__traceback__ is not None
        return "done"

    assert drive(body) == "done"


def test_in_time_costs_nothing_more() -> None:
    def body(clock: Clock) -> Steps:
        with timeout(2) as limit:
            yield from await_sleep(1)
        yield from await_sleep(5)
        return limit.expired

    assert drive(body) is False


def test_no_limit() -> None:
    def body(clock: Clock) -> Steps:
        with timeout(None), timeout(math.inf):
            yield from await_sleep(1e6)
        return clock.now

    assert drive(body) == 1001000.0


@pytest.mark.parametrize("seconds", [0, -1, -0.0])
def test_no_time_at_all_strikes_at_the_first_suspension(seconds: float) -> None:
    said: list[str] = []

    def body(clock: Clock) -> Steps:
        with timeout(seconds):
            said.append("no suspension")
        with pytest.raises(TimeoutError), timeout(seconds):
            yield from await_sleep(0)
        with pytest.raises(TimeoutError), timeout(seconds):  # noqa: PT012
            while True:
                yield from await_yield()

    drive(body)
    assert said == ["no suspension"]


@pytest.mark.parametrize(("outer", "inner", "which"), [(1, 5, "1"), (5, 1, "1"), (3, 3, "3")])
def test_nested_limits_each_count_from_their_own_beginning(outer: float, inner: float, which: str) -> None:
    def body(clock: Clock) -> Steps:
        begun = clock.now
        with pytest.raises(TimeoutError, match=f"within {which} s"), timeout(outer) as outside, timeout(inner) as inside:
            yield from await_sleep(60)
        return clock.now - begun, outside.expired, inside.expired

    assert drive(body) == (min(outer, inner), outer <= inner, inner <= outer)


def test_an_inner_limit_that_is_caught_leaves_the_outer_its_rest() -> None:
    def body(clock: Clock) -> Steps:
        begun = clock.now
        times: list[float] = []
        with pytest.raises(TimeoutError, match="within 5 s"), timeout(5):  # noqa: PT012
            while True:
                try:
                    with timeout(2):
                        yield from await_sleep(60)
                except TimeoutError:
                    times.append(clock.now - begun)
        return times, clock.now - begun

    assert drive(body) == ([2.0, 4.0], 5.0)


@pytest.mark.parametrize("awaits_in_finally", [False, True])
@pytest.mark.parametrize("catches_inner", [False, True])
def test_both_due_in_one_turn_give_one_outcome_each(catches_inner: bool, awaits_in_finally: bool) -> None:
    """The clock jumps past both: whichever comes out, it is one `TimeoutError` for each block that it leaves."""

    def body(clock: Clock) -> Steps:
        seen: list[str] = []
        try:
            with timeout(2):
                try:
                    with timeout(1):
                        try:
                            clock.now += 10
                            yield from await_sleep(60)
                        finally:
                            if awaits_in_finally:
                                yield from await_yield()
                except TimeoutError as error:
                    seen.append(str(error)[-10:])
                    if not catches_inner:
                        raise
                yield from await_sleep(60)
        except TimeoutError as error:
            seen.append(str(error)[-10:])
        yield from await_yield()
        return seen

    inner, outer = "within 1 s", "within 2 s"
    if awaits_in_finally:
        assert drive(body) == [outer]
    elif catches_inner:
        assert drive(body) == [inner, outer]
    else:
        assert drive(body) == [inner, inner]


def test_a_result_in_the_same_turn_is_not_lost() -> None:
    def body(clock: Clock) -> Steps:
        seen: list[object] = []
        loop = running()
        with timeout(1) as limit:
            # Posted before the limit is due, so the wait is decided when it strikes.
            loop.timeout_post(1, lambda: held[0]("answer") and None, repeat=False)
            clock_before = clock.now
            seen.append((yield from await_callback(held.append)))
            assert clock.now - clock_before == 1.0
        return seen, limit.expired

    held: list[Any] = []
    # First come, first served: the limit was set first, and strikes before the answer comes.
    with pytest.raises(TimeoutError):
        drive(body)

    def answered_first(clock: Clock) -> Steps:
        loop = running()
        loop.timeout_post(1, lambda: late[0]("answer") and None, repeat=False)
        with timeout(1) as limit:
            value = yield from await_callback(late.append)
        # The block is done, and nothing strikes later.
        yield from await_sleep(1)
        return value, limit.expired

    late: list[Any] = []
    assert drive(answered_first) == ("answer", True)


def test_a_limit_that_expired_after_the_last_await_is_not_raised_late() -> None:
    def body(clock: Clock) -> Steps:
        with timeout(1) as limit:
            yield from await_yield()
            clock.now += 10  # a long computation
        yield from await_sleep(1)
        return limit.expired

    assert drive(body) is False


def test_a_cancellation_beside_a_limit_is_not_lost() -> None:
    def victim(clock: Clock) -> Steps:
        try:
            with timeout(1):
                clock.now += 5
                yield from await_sleep(60)
        except TimeoutError:
            said.append("limit")
        yield from await_sleep(60)

    def body(clock: Clock) -> Steps:
        task = a_sync(victim, clock)
        # The limit strikes in the turn in which this is posted.
        task.loop.post(lambda: task.cancel("really") and None)
        with pytest.raises(TaskCancelled, match="really"):
            yield from task.await_result()

    said: list[str] = []
    drive(body)
    assert said == ["limit"]


def test_a_cancellation_before_a_limit_goes_through_it() -> None:
    def victim(clock: Clock) -> Steps:
        with timeout(1):
            yield from await_sleep(60)

    def body(clock: Clock) -> Steps:
        task = a_sync(victim, clock)
        task.cancel("really")
        clock.now += 5
        with pytest.raises(TaskCancelled, match="really"):
            yield from task.await_result()
        yield from await_sleep(5)

    drive(body)


def test_swallowing_the_strike_ends_the_block_well() -> None:
    def body(clock: Clock) -> Steps:
        with timeout(1) as limit:
            try:
                yield from await_sleep(60)
            except Cancelled:
                pass
        yield from await_sleep(1)
        return limit.expired

    assert drive(body) is True


def test_another_error_in_the_block_goes_through() -> None:
    def body(clock: Clock) -> Steps:
        with timeout(1):
            try:
                yield from await_sleep(60)
            finally:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        drive(body)


def test_use_again_but_not_twice_at_a_time() -> None:
    def body(clock: Clock) -> Steps:
        limit = timeout(1)
        with limit:
            yield from await_yield()
            with pytest.raises(LoopStateError, match=r"timeout\(1\) is in use in task"), limit:
                pass
        with pytest.raises(TimeoutError), limit:
            yield from await_sleep(5)
        with limit:
            yield from await_yield()
        return limit.expired

    assert drive(body) is False


def test_outside_a_task() -> None:
    with pytest.raises(LoopStateError, match=r"timeout\(\) was called outside a task"), timeout(1):
        pass


@pytest.mark.parametrize(("seconds", "error"), [(math.nan, ValueError), ("5", TypeError), (True, TypeError), (Decimal(1), TypeError)])
def test_bad_seconds(seconds: Any, error: type[Exception]) -> None:
    def body() -> Steps:
        with pytest.raises(error, match="seconds"), timeout(seconds):
            pass
        yield from await_yield()

    run(body)


def test_a_closed_loop_ends_the_block() -> None:
    ended: list[str] = []

    def body() -> Steps:
        try:
            with timeout(60):
                yield from await_sleep(60)
        finally:
            ended.append("finally")

    loop = EventLoop()
    a_sync(body, loop=loop)
    loop.close()
    assert ended == ["finally"]


def running() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop
