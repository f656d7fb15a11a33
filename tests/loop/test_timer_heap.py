"""The heap of timeouts against a plain sorted list: no clock, no loop."""

from __future__ import annotations

import gc
import math
import random
import sys
import time
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from eventsock.loop.timers import Timeout, TimerHeap
from loop_kit import timeout_of


def _nothing() -> None:
    pass


def _set(heap: TimerHeap, when: float, action: Callable[[], object] = _nothing, interval: float | None = None) -> Timeout:
    timeout = timeout_of(heap, when, action, interval)
    heap.incoming.append(timeout)
    return timeout


def _fire(heap: TimerHeap, now: float) -> list[Timeout]:
    heap.absorb()
    fired = []
    while (timeout := heap.pop_due(now)) is not None:
        timeout.action = None
        fired.append(timeout)
    return fired


class HeapAgainstList(RuleBasedStateMachine):
    """Sets, removes and fires at random; the model is a list in the order of setting."""

    timeouts = Bundle("timeouts")

    def __init__(self) -> None:
        super().__init__()
        self.heap = TimerHeap()
        self.model: list[Timeout] = []
        self.now = 0.0

    @rule(target=timeouts, delay=st.integers(-2, 20))
    def set(self, delay: int) -> Timeout:
        timeout = _set(self.heap, self.now + delay)
        self.model.append(timeout)
        return timeout

    @rule(timeout=timeouts)
    def remove(self, timeout: Timeout) -> None:
        assert self.heap.remove(timeout) is (timeout in self.model)
        if timeout in self.model:
            self.model.remove(timeout)

    @rule(timeout=consumes(timeouts))
    def remove_twice(self, timeout: Timeout) -> None:
        self.remove(timeout)
        assert self.heap.remove(timeout) is False

    @rule(seconds=st.integers(0, 10))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        due = [each for each in sorted(self.model, key=lambda each: each.when) if each.when <= self.now]
        assert _fire(self.heap, self.now) == due
        self.model = [each for each in self.model if each not in due]

    @rule(count=st.integers(60, 200))
    def flood(self, count: int) -> None:
        for each in [_set(self.heap, self.now + 5) for _ in range(count)]:
            assert self.heap.remove(each)

    @rule()
    def absorb(self) -> None:
        self.heap.absorb()

    @invariant()
    def counts_and_deadline(self) -> None:
        assert len(self.heap) == len(self.model)
        assert self.heap.earliest == min((each.when for each in self.model), default=None)

    @rule()
    def deadline(self) -> None:
        assert self.heap.next_deadline() == min((each.when for each in self.model), default=None)

    @rule()
    def dead_entries_do_not_pile_up(self) -> None:
        self.heap.absorb()
        assert len(self.heap.heap) <= max(2 * len(self.model) + 1, len(self.model) + 65)


TestHeapAgainstList = HeapAgainstList.TestCase


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0])))
def test_fire_order_is_deadline_order_and_first_come_among_equals(deadlines: list[float]) -> None:
    heap = TimerHeap()
    timeouts = [_set(heap, when) for when in deadlines]
    assert _fire(heap, 2.0) == sorted(timeouts, key=lambda each: each.when)


def test_all_dead_heap_has_no_deadline() -> None:
    heap = TimerHeap()
    for timeout in [_set(heap, 1.0) for _ in range(5)]:
        heap.remove(timeout)
    assert heap.next_deadline() is None
    assert heap.pop_due(10.0) is None
    assert len(heap) == len(heap.heap) == 0


def test_infinite_deadline_is_kept_and_never_told() -> None:
    heap = TimerHeap()
    timeout = _set(heap, math.inf)
    assert heap.next_deadline() is None
    assert heap.pop_due(1e300) is None
    assert len(heap) == 1
    assert heap.remove(timeout)
    assert len(heap) == 0


@given(
    when=st.floats(0, 1e6), interval=st.floats(0, 1e6, allow_subnormal=True), late=st.floats(0, 1e7)
)  # a schedule is kept, and what was missed is skipped
def test_schedule(when: float, interval: float, late: float) -> None:
    heap = TimerHeap()
    timeout = _set(heap, when, interval=interval)
    heap.absorb()
    now = when + late
    assert heap.pop_due(now) is timeout
    heap.settle(timeout, True, now)
    assert timeout.live
    assert timeout.when >= now
    assert math.isfinite(timeout.when)
    # Never more than a period away, but for the clock's resolution.
    assert timeout.when <= now + interval + 4 * math.ulp(now)


def test_schedule_does_not_drift() -> None:
    heap = TimerHeap()
    timeout = _set(heap, 10.0, interval=0.5)
    for beat in range(100):
        heap.absorb()
        assert heap.pop_due(timeout.when + 0.2) is timeout
        heap.settle(timeout, True, timeout.when + 0.2)
        assert timeout.when == 10.5 + beat * 0.5


def test_timeout_removed_while_it_fires_does_not_come_back() -> None:
    heap = TimerHeap()
    timeout = _set(heap, 1.0, interval=1.0)
    heap.absorb()
    assert heap.pop_due(1.0) is timeout
    assert heap.remove(timeout) is True
    heap.settle(timeout, True, 1.0)
    assert len(heap) == 0
    assert heap.next_deadline() is None


def test_fault_79_cancelled_timers_give_their_memory_back() -> None:
    heap = TimerHeap()
    _set(heap, 1.0)  # earlier than all of them, so that they do not just come up one after the other
    heap.absorb()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(2):
        timeouts = [_set(heap, 1000.0 + random.random()) for _ in range(50_000)]
        heap.absorb()
        for timeout in timeouts:
            heap.remove(timeout)
        del timeouts, timeout
        heap.next_deadline()
    assert sys.getallocatedblocks() - before < 10_000  # free lists hold some
    assert sys.getsizeof(heap.heap) < 10_000
    assert len(heap) == 1


def test_fault_80_set_and_cancelled_timers_do_not_pile_up() -> None:
    heap = TimerHeap()
    live = [_set(heap, 1e6 + number) for number in range(10)]
    # In batches, as turns make them, so that the heap and not only the queue before it is put to the test.
    for _ in range(1000):
        timeouts = [_set(heap, 1000.0) for _ in range(20)]
        heap.absorb()
        for timeout in timeouts:
            heap.remove(timeout)
        assert len(heap.heap) <= 2 * len(live) + 65 + 20
    assert len(heap) == 10


def test_fault_80_no_sweep_before_most_are_dead() -> None:
    """A sweep looks at every entry, so each must be paid for by as many removals."""
    heap = TimerHeap()
    live = [_set(heap, 1.0 + number) for number in range(5000)]
    dying = [_set(heap, 1e6) for _ in range(4000)]
    heap.absorb()
    for timeout in dying:
        heap.remove(timeout)
        heap.absorb()
    assert len(heap.heap) == 9000
    for timeout in live[:502]:
        heap.remove(timeout)
        heap.absorb()
    assert len(heap.heap) < 4600


def test_fault_81_many_live_timers_in_random_order_half_cancelled() -> None:
    heap = TimerHeap()
    chance = random.Random(1)
    timeouts = [timeout_of(heap, chance.random()) for _ in range(100_000)]
    started = time.perf_counter()
    heap.incoming.extend(timeouts)
    heap.absorb()
    # Generous, for a busy machine: what matters is that it is nothing like the number of live timers.
    assert (time.perf_counter() - started) / len(timeouts) < 20e-6
    # A little more than half, so that the heap is swept, and must be a heap again.
    chance.shuffle(timeouts)
    dying, living = timeouts[:51_000], timeouts[51_000:]
    for timeout in dying:
        heap.remove(timeout)
    order = {timeout: number for number, timeout in enumerate(sorted(living, key=lambda each: each.when))}
    assert [order[timeout] for timeout in _fire(heap, 1.0)] == list(range(len(living)))
    assert len(heap.heap) == 0


def test_clear_spends_every_timeout() -> None:
    heap = TimerHeap()
    early, late = _set(heap, 1.0), _set(heap, 2.0)
    heap.absorb()
    waiting = _set(heap, 3.0)
    heap.clear()
    assert [early.live, late.live, waiting.live] == [False] * 3
    assert heap.remove(late) is False
    assert len(heap) == 0
    assert heap.next_deadline() is None


@pytest.mark.parametrize(
    ("interval", "text"), [(None, "<Timeout at 1.500000: <function _nothing"), (2.0, "<Timeout at 1.500000, every 2.0 s: <function")]
)
def test_repr_of_a_timeout(interval: float | None, text: str) -> None:
    heap = TimerHeap()
    timeout = _set(heap, 1.5, interval=interval)
    assert repr(timeout).startswith(text)
    heap.remove(timeout)
    assert repr(timeout) == "<Timeout: spent>"
