"""Timeouts in deadline order.

Pure: every verb is given `now`; there is no clock, no thread and no callback run in here, so a test drives it with numbers.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

__all__ = ["Timeout", "TimerHeap"]

# So many dead entries are never worth a sweep.
_FEW = 64


class Timeout:
    """A callback in time, as `EventLoop.timeout_post` returns it; its only use is to be given to `timeout_remove`."""

    __slots__ = ("action", "heap", "interval", "when")

    # Made empty and filled by whoever puts it into a heap: an `__init__` would cost as much as all else.
    when: float
    # What is called; None once it will not fire any more: removed, or fired for the last time.
    action: Any
    # None: once.
    interval: float | None
    heap: TimerHeap

    def fire(self, action: Any) -> object:
        """Call what was taken out of `action`."""
        return action()

    @property
    def live(self) -> bool:
        """Whether it may still fire."""
        return self.action is not None

    def __repr__(self) -> str:
        if self.action is None:
            return "<Timeout: spent>"
        again = "" if self.interval is None else f", every {self.interval} s"
        return f"<Timeout at {self.when:.6f}{again}: {self.action!r}>"


class TimerHeap:
    """The timeouts of one loop. They fire in the order of their deadlines, and first come among equals.

    `incoming` takes new timeouts until the next turn: appending to a deque is atomic, so any thread may add without a lock, and
    a timeout that is removed in the turn that made it never costs a place in the heap.
    """

    __slots__ = ("_sequence", "dead", "heap", "incoming")

    def __init__(self) -> None:
        self.incoming: deque[Timeout] = deque()
        self.heap: list[tuple[float, int, Timeout]] = []
        # How many entries of both are of removed timeouts.
        self.dead = 0
        self._sequence = 0

    def remove(self, timeout: Timeout) -> bool:
        """Take `timeout` back; False when it has fired for the last time or was removed before. Any thread."""
        if timeout.action is None:
            return False
        # The entry stays in its place and is passed over later: a search would cost O(n). Only the callback is let go at once.
        timeout.action = None
        self.dead += 1
        return True

    def absorb(self) -> None:
        """Move what has come in since the last turn into the heap, and sweep the heap if most of it is dead."""
        incoming, heap = self.incoming, self.heap
        while incoming:
            timeout = incoming.popleft()
            if timeout.action is None:
                self.dead -= 1
                continue
            self._sequence += 1
            heappush(heap, (timeout.when, self._sequence, timeout))
        # So the heap stays below twice the live ones, at O(1) a removal.
        if self.dead > _FEW and self.dead * 2 > len(heap):
            entries = len(heap)
            heap[:] = [entry for entry in heap if entry[2].action is not None]
            heapify(heap)
            swept = entries - len(heap)  # counted first, for a signal handler may remove a timeout meanwhile
            self.dead -= swept

    def next_deadline(self) -> float | None:
        """The earliest deadline of a live timeout; None when none will ever fire."""
        if self.incoming or self.dead > _FEW:
            self.absorb()
        heap = self.heap
        while heap and heap[0][2].action is None:
            heappop(heap)
            self.dead -= 1
        return heap[0][0] if heap and heap[0][0] != inf else None

    def pop_due(self, now: float) -> Timeout | None:
        """The next live timeout whose deadline is not after `now`, taken out; None when there is none."""
        heap = self.heap
        while heap and heap[0][0] <= now:
            timeout = heappop(heap)[2]
            if timeout.action is not None:
                return timeout
            self.dead -= 1
        return None

    def settle(self, timeout: Timeout, goes_on: bool, now: float) -> None:
        """A repeating timeout has fired: put it back on its schedule, at the first multiple of its interval after `now`.

        Periods that were missed are skipped. Not if it is to stop, or was removed while it fired.
        """
        if timeout.action is None:
            if self.dead:
                self.dead -= 1  # `remove` counted an entry, but it had none then
        elif goes_on:
            timeout.when = _next_period(timeout.when, timeout.interval or 0.0, now)
            self.incoming.append(timeout)
        else:
            timeout.action = None

    def clear(self) -> None:
        """Forget every timeout; a later `remove` of one answers False."""
        self.absorb()
        for entry in self.heap:
            entry[2].action = None
        self.heap.clear()
        self.dead = 0

    @property
    def earliest(self) -> float | None:
        """The earliest deadline of all, found by looking at each: for reports. Any thread."""
        entries = [entry[2] for entry in self.heap] + list(self.incoming)
        return min((timeout.when for timeout in entries if timeout.action is not None), default=None)

    def __len__(self) -> int:
        """How many are live. Any thread: exact between turns, and as of some moment meanwhile."""
        return max(0, len(self.heap) + len(self.incoming) - self.dead)


def _next_period(when: float, interval: float, now: float) -> float:
    following = when + interval
    if following <= now and interval > 0.0:
        following = when + ((now - when) // interval + 1.0) * interval
    # An interval too short for the clock's resolution, or none at all: as soon as possible.
    return following if now < following < inf or interval == inf else now
