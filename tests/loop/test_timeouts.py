"""Timeouts in a loop: when they fire, how often, and what is refused."""

from __future__ import annotations

import decimal
import gc
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from eventsock import EventLoop, LoopStateError, Timeout
from loop_kit import Clock, MakeLoop, Noted, after, in_thread, until
from programs import StartProgram


def test_timeout_repeats_until_it_returns_false(loop: EventLoop) -> None:
    results: list[object] = [None, True, 0, "", False, True]
    seen: list[object] = []

    def fire() -> object:
        seen.append(results[len(seen)])
        return seen[-1]

    loop.timeout_post(0.001, fire)
    loop.run()
    assert seen == [None, True, 0, "", False]


def test_timeout_that_does_not_repeat_fires_once(loop: EventLoop) -> None:
    noted = Noted()
    timeout = loop.timeout_post(0.001, noted.note("once", True), repeat=False)
    loop.run()
    assert noted == ["once"]
    assert loop.timeout_remove(timeout) is False


def test_equal_deadlines_fire_first_come(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(clock=Clock()), Noted()
    for number in range(5):
        loop.timeout_post(0, noted.note(number, False))
    loop.run()
    assert noted == [0, 1, 2, 3, 4]


def test_fault_74_zero_negative_and_tiny_delays_fire_next_turn_in_order(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(clock=Clock()), Noted()
    for delay in (0, -1, -0.0, -1e300, 0.0, -math.inf):
        loop.timeout_post(delay, noted.note(delay, False))
    loop.run()
    assert noted == [0, -1, -0.0, -1e300, 0.0, -math.inf]


def test_fault_74_timeout_made_by_a_timeout_waits_for_the_next_turn(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(clock=Clock()), Noted()

    def again() -> None:
        noted.append("again")
        if noted.count("again") < 3:
            loop.timeout_post(0, again, repeat=False)

    loop.timeout_post(0, again, repeat=False)
    for _ in range(3):
        loop.post(noted.note("post"))
        loop.step()
    assert noted == ["again", "post"] * 3


def test_fault_74_repeating_zero_timeout_starves_nobody(loop: EventLoop, pair: Any) -> None:
    left, right = pair
    left.send(b"x")
    loop.timeout_post(0, lambda: True)
    seen: list[str] = []
    loop.add_read_watch(right, seen.append)
    for count in range(1, 4):
        loop.step()
        assert len(seen) == count
    loop.quit()
    loop.step()


def test_fault_74_repeating_zero_timeout_fires_once_a_turn(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(clock=Clock()), Noted()
    loop.timeout_post(0, noted.note("beat"))
    for count in range(1, 4):
        loop.step()
        assert len(noted) == count


@pytest.mark.parametrize("bad", [math.nan, float("-nan")])
def test_fault_75_nan_is_refused(loop: EventLoop, bad: float) -> None:
    with pytest.raises(ValueError, match="seconds must be a number, not NaN"):
        loop.timeout_post(bad, print)
    assert loop.statistics().timeouts == 0


@pytest.mark.parametrize("bad", ["5", None, True, decimal.Decimal(1), b"1", [1], 1j])
def test_fault_75_wrong_types_are_refused(loop: EventLoop, bad: Any) -> None:
    with pytest.raises(TypeError, match=r"seconds must be an int or a float, not \w+"):
        loop.timeout_post(bad, print)


def test_fault_75_what_is_not_callable_is_refused(loop: EventLoop) -> None:
    with pytest.raises(TypeError, match="action must be callable, not int"):
        loop.timeout_post(1, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("far", [math.inf, 10**400])
def test_infinite_timeout_never_fires_and_does_not_keep_run_alive(loop: EventLoop, far: float) -> None:
    timeout = loop.timeout_post(far, pytest.fail)
    loop.run()
    assert loop.statistics().timeouts == 1
    assert loop.timeout_remove(timeout) is True
    assert loop.statistics().timeouts == 0


@pytest.mark.parametrize("far", [1e9, 1e18, 1.7e308])
def test_fault_27_far_timeout_overflows_nothing(loop: EventLoop, far: float) -> None:
    loop.timeout_post(far, pytest.fail)
    with in_thread(after(0.05, loop.quit)):
        loop.run()


def test_fault_27_no_sleep_is_longer_than_the_system_can_be_told(make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make_loop()
    waits: list[float] = []

    def poll(seconds: float) -> list[tuple[int, int]]:
        waits.append(seconds)
        if len(waits) == 40:
            loop.quit()
        return []

    loop.timeout_post(1e18, pytest.fail)
    with monkeypatch.context() as patch:
        patch.setattr(loop.book.poller, "poll", poll)
        loop.run()
    assert len(waits) == 40
    assert max(waits) == 86400
    assert waits == sorted(waits)


def test_fault_27_near_timeout_is_not_early_and_does_not_spin(make_loop: MakeLoop) -> None:
    turns = []
    for delay in (0.0001, 0.0015, 0.02):
        loop = make_loop()
        due = loop.time() + delay
        fired: list[float] = []
        loop.timeout_post(delay, lambda fired=fired, loop=loop: fired.append(loop.time()), repeat=False)  # type: ignore[misc]
        loop.run()
        assert fired[0] >= due
        turns.append(loop.statistics().turns)
    # The poll is told whole milliseconds, rounded up; rounded down it would be asked again and again before the deadline.
    assert max(turns) <= 3


def test_timeout_never_fires_early(make_loop: MakeLoop) -> None:
    clock = Clock()
    loop, noted = make_loop(clock=clock), Noted()
    loop.timeout_post(1.0, noted.note("fired"))
    for _ in range(3):
        clock.advance(0.25)
        loop.step()
    clock.now = math.nextafter(1001.0, 0.0)
    loop.step()
    assert noted == []
    clock.now = 1001.0
    loop.step()
    assert noted == ["fired"]


def test_all_due_timeouts_fire_in_one_turn(make_loop: MakeLoop) -> None:
    clock = Clock()
    loop, noted = make_loop(clock=clock), Noted()
    for delay in (3, 1, 2):
        loop.timeout_post(delay, noted.note(delay), repeat=False)
    clock.advance(10)
    loop.step()
    assert noted == [1, 2, 3]


def test_fault_76_cancel_in_own_callback(loop: EventLoop) -> None:
    noted = Noted()
    loop.timeout_post(math.inf, print)  # so that a count that is too low shows

    def fire() -> bool:
        noted.append(loop.timeout_remove(timeout))
        noted.append(loop.timeout_remove(timeout))
        return True

    timeout = loop.timeout_post(0, fire)
    loop.run()
    assert noted == [True, False]
    assert loop.statistics().timeouts == 1


def test_fault_76_cancel_in_own_callback_and_return_false(loop: EventLoop) -> None:
    loop.timeout_post(math.inf, print)
    timeout: Timeout = loop.timeout_post(0, lambda: not loop.timeout_remove(timeout))
    loop.run()
    assert loop.statistics().timeouts == 1


def test_fault_76_cancel_another_one_due_in_the_same_turn(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(clock=Clock()), Noted()
    second: Timeout

    def removes() -> None:
        noted.append(loop.timeout_remove(second))

    loop.timeout_post(0, removes, repeat=False)
    second = loop.timeout_post(0, noted.note("second"))
    loop.timeout_post(math.inf, print)
    loop.run()
    assert noted == [True]
    assert loop.statistics().timeouts == 1


def test_fault_76_cancel_twice_and_after_it_fired(loop: EventLoop) -> None:
    never = loop.timeout_post(60, pytest.fail)
    assert [loop.timeout_remove(never), loop.timeout_remove(never)] == [True, False]
    fired = loop.timeout_post(0, print, repeat=False)
    loop.run()
    assert loop.timeout_remove(fired) is False


def test_timeout_of_another_loop_is_refused(make_loop: MakeLoop) -> None:
    ours, other = make_loop(), make_loop()
    timeout = ours.timeout_post(1, print)
    with pytest.raises(LoopStateError, match="was set in another loop"):
        other.timeout_remove(timeout)
    assert ours.timeout_remove(timeout) is True


@pytest.mark.parametrize("bad", [None, 5, print])
def test_what_is_no_timeout_is_refused(loop: EventLoop, bad: Any) -> None:
    with pytest.raises(TypeError, match="timeout must be what timeout_post returned"):
        loop.timeout_remove(bad)


def test_fault_77_repeating_timeouts_keep_their_schedule(make_loop: MakeLoop) -> None:
    clock = Clock(0.0)
    loop = make_loop(clock=clock)
    beats: list[float] = []
    loop.timeout_post(0.25, lambda: beats.append(clock.now))
    for _ in range(4000):
        clock.advance(0.0625)
        loop.step()
    assert beats == [0.25 * number for number in range(1, 1001)]


def test_fault_77_missed_periods_are_skipped(make_loop: MakeLoop) -> None:
    clock = Clock(0.0)
    loop = make_loop(clock=clock)
    beats: list[float] = []

    def beat() -> None:
        beats.append(clock.now)
        if len(beats) == 2:
            clock.advance(5.25)  # a callback slower than five periods

    loop.timeout_post(1.0, beat)
    for _ in range(40):
        clock.advance(0.25)
        loop.step()
    assert beats == [1.0, 2.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]


def test_fault_77_re_arming_inside_the_callback(make_loop: MakeLoop) -> None:
    clock = Clock(0.0)
    loop = make_loop(clock=clock)
    beats: list[float] = []

    def beat() -> bool:
        beats.append(clock.now)
        loop.timeout_post(2.0, beat)
        return False

    loop.timeout_post(1.0, beat)
    for _ in range(10):
        clock.advance(1.0)
        loop.step()
    assert beats == [1.0, 3.0, 5.0, 7.0, 9.0]


def test_fault_78_the_wall_clock_has_no_say(make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    loop = make_loop()
    before = time.monotonic()
    loop.timeout_post(0.02, loop.quit)
    loop.run()
    assert 0.02 <= time.monotonic() - before < 5


def test_fault_78_clock_that_jumps_an_hour_fires_due_timers_once(make_loop: MakeLoop) -> None:
    clock = Clock()
    loop, noted = make_loop(clock=clock), Noted()
    loop.timeout_post(60, noted.note("minute"))
    loop.timeout_post(4000, noted.note("later"))
    clock.advance(3600)
    loop.step()
    loop.step()
    assert noted == ["minute"]


def test_fault_78_clock_that_goes_back_only_delays(make_loop: MakeLoop) -> None:
    clock = Clock()
    loop, noted = make_loop(clock=clock), Noted()
    loop.timeout_post(10, noted.note("ten"), repeat=False)
    clock.advance(-3600)
    loop.step()
    assert noted == []
    assert loop.next_deadline() == pytest.approx(3610)
    clock.advance(3610)
    loop.step()
    assert noted == ["ten"]


def test_clock_is_what_time_tells(make_loop: MakeLoop) -> None:
    loop = make_loop(clock=Clock(5.0))
    assert loop.time() == 5.0


def test_fault_79_two_hundred_thousand_cancelled_timers_give_their_memory_back() -> None:
    with EventLoop(debug=False) as loop:
        gc.collect()
        before = sys.getallocatedblocks()
        # One that is alive and earlier than all of them, so that they do not just come up one after the other.
        alive = loop.timeout_post(30, print)
        timeouts = [loop.timeout_post(60 + random.random(), print) for _ in range(200_000)]
        loop.step()
        for timeout in timeouts:
            loop.timeout_remove(timeout)
        del timeouts, timeout
        loop.step()
        loop.next_deadline()
        assert sys.getallocatedblocks() - before < 10_000  # free lists hold some
        assert sys.getsizeof(loop.timers.heap) < 10_000
        assert loop.statistics().timeouts == 1
        loop.timeout_remove(alive)


def test_fault_80_a_busy_loop_sweeps_as_well(make_loop: MakeLoop) -> None:
    loop = make_loop()
    pending: list[Timeout] = []

    def request() -> None:
        # A time limit per request, which is met a few turns later; there is always another post, so the loop never sleeps.
        pending.append(loop.timeout_post(60, pytest.fail))
        if len(pending) > 10:
            loop.timeout_remove(pending.pop(0))
        loop.post(request)

    loop.post(request)
    for _ in range(3000):
        loop.step()
    assert len(loop.timers.heap) + len(loop.timers.incoming) < 100
    loop.post(loop.quit)
    loop.run()


def test_fault_82_other_due_timers_of_the_turn_still_fire(make_loop: MakeLoop) -> None:
    noted = Noted()
    loop = make_loop(clock=Clock(), on_error=lambda error, where: noted.append(str(error)))

    def fails() -> None:
        raise ValueError("one")

    loop.timeout_post(0, fails, repeat=False)
    loop.timeout_post(0, noted.note("two"), repeat=False)
    loop.step()
    assert noted == ["one", "two"]


def test_repeating_timeout_that_raises_goes_on(make_loop: MakeLoop) -> None:
    noted = Noted()
    clock = Clock()
    loop = make_loop(clock=clock, on_error=lambda error, where: noted.append(where))

    def fails() -> None:
        raise ValueError

    loop.timeout_post(1, fails)
    for _ in range(2):
        clock.advance(1)
        loop.step()
    assert len(noted) == 2
    assert "a timeout, test_repeating_timeout_that_raises_goes_on.<locals>.fails" in noted[0]


_SLEEPER = """
import sys, time
from eventsock import EventLoop
with EventLoop() as loop:
    start = loop.time()
    beats = []
    loop.timeout_post(0.2, lambda: beats.append(loop.time() - start))
    loop.timeout_post(0.5, lambda: beats.append("half"), repeat=False)
    loop.timeout_post(0.3, lambda: beats.append("third"), repeat=False)
    loop.post(lambda: print("ready", flush=True))
    loop.timeout_post(1.55, loop.quit)
    loop.run()
print([beat for beat in beats if isinstance(beat, str)], sum(isinstance(beat, float) for beat in beats))
"""


def test_fault_83_overdue_timers_after_a_long_suspension_fire_once_and_in_order(start_program: StartProgram) -> None:
    program = start_program("-c", _SLEEPER)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    os.kill(program.pid, signal.SIGSTOP)
    time.sleep(1.1)
    os.kill(program.pid, signal.SIGCONT)
    out, err = program.communicate(timeout=20)
    assert err == ""
    # The periods that were missed are skipped: two or three beats, and not seven.
    order, beats = out.strip().rsplit(" ", 1)
    assert order == "['third', 'half']"
    assert 2 <= int(beats) <= 4


def test_timeout_set_by_another_thread_wakes_the_loop(loop: EventLoop) -> None:
    noted = Noted()
    loop.timeout_post(30, pytest.fail)

    def work() -> None:
        time.sleep(0.05)
        loop.timeout_post(0.01, loop.quit)

    loop.timeout_post(0, noted.note("begun"), repeat=False)
    started = time.monotonic()
    with in_thread(work):
        loop.run()
    assert time.monotonic() - started < 10


def test_later_timeout_of_another_thread_does_not_wake_the_loop(loop: EventLoop) -> None:
    loop.timeout_post(0.2, loop.quit)

    def work() -> None:
        time.sleep(0.05)
        for _ in range(100):
            loop.timeout_post(30, pytest.fail)

    with in_thread(work):
        loop.run()
    assert loop.statistics().wake_ups <= 2


def test_run_ends_when_another_thread_removes_the_last_timeout(loop: EventLoop) -> None:
    timeout = loop.timeout_post(30, pytest.fail)

    def work() -> None:
        time.sleep(0.05)
        assert loop.timeout_remove(timeout)

    started = time.monotonic()
    with in_thread(work):
        loop.run()
    assert time.monotonic() - started < 10


def test_timeouts_of_many_threads_all_fire(loop: EventLoop) -> None:
    fired: list[int] = []
    loop.block()

    def work(number: int) -> Callable[[], None]:
        def sets() -> None:
            for index in range(500):
                loop.timeout_post(0.0001 * (index % 7), lambda: fired.append(number), repeat=False)

        return sets

    with in_thread(work(0)), in_thread(work(1)), in_thread(work(2)):
        until(loop, lambda: len(fired) == 1500, 20.0)
    assert loop.statistics().timeouts == 0
