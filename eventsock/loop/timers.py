"""Timeouts in deadline order.

Pure: every verb is given `now`; there is no clock, no thread and no callback run in here, so a test drives it with numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf

__all__ = ["Timeout", "TimerHeap"]


class Timeout:
    """A callback in time, as `EventLoop.timeout_post` returns it; its only use is to be given to `timeout_remove`."""

    __slots__ = ("action", "interval", "when")

    def __init__(self, when: float, action: Callable[[], object], interval: float | None) -> None:
        self.when = when
        self.action: Callable[[], object] | None = action
        self.interval = interval

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
    """The live timeouts of one loop: fire order is deadline order, and first-come among equals.

    `incoming` takes new timeouts until the next turn: appending to a deque is atomic, so any thread may add without a lock, and
    a timeout that is removed in the turn that made it never costs a place in the heap.
    """

    __slots__ = ("_dead", "_sequence", "heap", "incoming")

    def __init__(self) -> None:
        self.incoming: deque[Timeout] = deque()
        self.heap: list[tuple[float, int, Timeout]] = []
        self._sequence = 0
        self._dead = 0

    def remove(self, timeout: Timeout) -> bool:
        """Take `timeout` back; False when it has fired or was removed before. Any thread."""
        if timeout.action is None:
            return False
        # The entry stays in the heap and is passed over later: a search would cost O(n). Only the callback is let go at once.
        timeout.action = None
        self._dead += 1
        return True

    def absorb(self) -> None:
        """Move what has come in since the last turn into the heap."""
        incoming = self.incoming
        while incoming:
            timeout = incoming.popleft()
            # One that never fires needs no place: it neither fires nor keeps the loop alive.
            if timeout.action is not None and timeout.when != inf:
                self._sequence += 1
                heappush(self.heap, (timeout.when, self._sequence, timeout))

    def next_deadline(self) -> float | None:
        """The earliest deadline of a live timeout, or None."""
        if self.incoming:
            self.absorb()
        heap = self.heap
        # `_dead` is only a hint (removals in other threads, or before `absorb`, make it inexact); it decides when to sweep, and
        # a sweep when more than half may be dead keeps the heap below twice the live ones at O(1) a removal.
        if self._dead > 64 and self._dead * 2 > len(heap):
            heap[:] = [entry for entry in heap if entry[2].action is not None]
            heapify(heap)
            self._dead = 0
        while heap and heap[0][2].action is None:
            heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> Timeout | None:
        """The next live timeout whose deadline is not after `now`, taken out; None when there is none."""
        heap = self.heap
        while heap and heap[0][0] <= now:
            timeout = heappop(heap)[2]
            if timeout.action is not None:
                return timeout
        return None

    def reschedule(self, timeout: Timeout, now: float) -> None:
        """Put a repeating timeout back on its schedule: the first multiple of its interval after `now`; missed ones are skipped."""
        interval = timeout.interval
        if interval is None or timeout.action is None:
            return
        if interval > 0.0:
            periods = max(1.0, (now - timeout.when) // interval + 1.0)
            timeout.when += periods * interval
            if timeout.when <= now:  # by rounding, with a tiny interval
                timeout.when = now
        else:
            timeout.when = now
        self.incoming.append(timeout)

    def clear(self) -> None:
        """Forget every timeout; a later `remove` of one answers False."""
        self.absorb()
        for entry in self.heap:
            entry[2].action = None
        self.heap.clear()
        self._dead = 0

    def __len__(self) -> int:
        """How many are live; counts them, so it is for reports and not for the loop's turn."""
        waiting = sum(entry[2].action is not None for entry in self.heap)
        return waiting + sum(timeout.action is not None for timeout in self.incoming)

    @property
    def entries(self) -> int:
        """How many places are taken, dead ones included."""
        return len(self.heap) + len(self.incoming)
