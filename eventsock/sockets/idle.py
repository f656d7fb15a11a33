"""Idle limits: a stream that waits while nothing moves on it, in either direction, for longer than its limit.

Knows a loop's timeouts and which streams wait; one timeout serves all streams of a loop, so that a wait sets none. It must not
know what a stream does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from ..loop.event_loop import EventLoop
from ..loop.timers import Timeout
from ..tasks.task import SUSPENDED

__all__ = ["IdleLimit"]


class IdleLimit:
    """The limit of one stream, in seconds. Its waits are counted; each that begins, anew too, is a sign that something moved."""

    __slots__ = ("_keeper", "_waits", "loop", "moved", "seconds")

    loop: EventLoop

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.moved = 0.0
        self._waits = 0
        self._keeper: _Keeper | None = None

    def begin(self, loop: EventLoop, expire: Callable[[], object], waits: int = 1) -> None:
        """A wait begins; `waits=0`: one that has begun goes on after progress. `expire()` is called if then nothing moves."""
        keeper = self._keeper
        if keeper is None:
            self.loop = loop
            keeper = self._keeper = _keeper_of(loop)
        self._waits += waits
        keeper.note(self, expire)

    def end(self) -> None:
        """A wait is over."""
        if self._keeper is not None and self._waits:
            self._waits -= 1
            if not self._waits:
                self._keeper.leave(self)

    def await_(self, loop: EventLoop, expire: Callable[[], object]) -> Generator[Any, Any, None]:
        """Suspend in a wait that was armed."""
        self.begin(loop, expire)
        try:
            yield SUSPENDED
        finally:
            self.end()


class _Keeper:
    """The streams of one loop that wait within a limit, and the timeout for the first of them that may expire."""

    __slots__ = ("_timeout", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[IdleLimit, Callable[[], object]] = {}
        self._timeout: Timeout | None = None

    def note(self, limit: IdleLimit, expire: Callable[[], object]) -> None:
        limit.moved = now = limit.loop.time()
        self._waiting[limit] = expire
        timeout = self._timeout
        # What moves only expires later: the timeout finds that out when it fires, which is cheaper than to set it anew each time.
        if timeout is None or not timeout.live or timeout.when > now + limit.seconds:
            self._set(limit.loop, limit.seconds)

    def leave(self, limit: IdleLimit) -> None:
        self._waiting.pop(limit, None)
        # It must not keep a loop alive that has nothing else to do.
        if not self._waiting and self._timeout is not None:
            limit.loop.timeout_remove(self._timeout)
            self._timeout = None

    def _set(self, loop: EventLoop, seconds: float) -> None:
        if self._timeout is not None:
            loop.timeout_remove(self._timeout)
        self._timeout = loop.timeout_post(seconds, partial(self._look, loop), repeat=False)

    def _look(self, loop: EventLoop) -> None:
        self._timeout = None
        now = loop.time()
        for limit in [each for each in self._waiting if each.moved + each.seconds <= now]:
            self._waiting.pop(limit)()
        if self._waiting:
            self._set(loop, min(each.moved + each.seconds for each in self._waiting) - now)


# No keeper holds its loop but by the streams that wait in it.
_keepers: WeakKeyDictionary[EventLoop, _Keeper] = WeakKeyDictionary()


def _keeper_of(loop: EventLoop) -> _Keeper:
    keeper = _keepers.get(loop)
    if keeper is None:
        keeper = _keepers[loop] = _Keeper()
    return keeper
