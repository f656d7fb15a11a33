"""Slowing down threads that post faster than the loop works.

Knows a length and a clock's sleep, and one lock that is held while the loop runs. It must not know what is posted.
"""

from __future__ import annotations

from threading import Lock

from .checks import checked_seconds

__all__ = ["Throttle", "throttle_for"]

# The longest that one post is slowed down, in seconds.
_LONGEST = 1.0


class Throttle:
    """With `x = pending / threshold`, a poster sleeps `x**3 * delay` seconds once `x >= 1`, but not after the loop has ended."""

    __slots__ = ("_delay", "_gate", "_threshold")

    def __init__(self, threshold: float, delay: float) -> None:
        self._threshold = threshold
        self._delay = delay
        # Locked while the loop runs, a new one each time; None: it does not run. A bare lock, and no `Event`, because a signal
        # handler that interrupts a sleeping poster may post itself, and an event's inner lock would stop it for ever.
        self._gate: Lock | None = None

    def begin(self) -> None:
        """The loop runs."""
        if self._gate is None:
            gate = Lock()
            gate.acquire()
            self._gate = gate

    def end(self) -> None:
        """The loop has ended: whoever sleeps goes on."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.release()

    def slow_down(self, pending: int) -> None:
        """Sleep as long as `pending` posts are worth, or until the loop ends."""
        gate = self._gate
        load = pending / self._threshold
        if gate is None or load < 1:
            return
        if gate.acquire(timeout=min(_LONGEST, load**3 * self._delay)):
            gate.release()  # for the next who waits for it


def throttle_for(threshold: float | None, delay: float | None) -> Throttle | None:
    """None where neither is given. `ValueError`: only one is, or a value that makes no sense."""
    if threshold is None and delay is None:
        return None
    if threshold is None or delay is None:
        raise ValueError("throttle_threshold and throttle_delay are given together or not at all")
    posts, seconds = checked_seconds(threshold, "throttle_threshold"), checked_seconds(delay, "throttle_delay")
    if posts < 1 or seconds < 0:
        raise ValueError(f"throttle_threshold must be at least 1 post and throttle_delay at least 0 seconds, not {posts} and {seconds}")
    return Throttle(posts, seconds)
