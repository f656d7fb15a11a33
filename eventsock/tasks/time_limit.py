"""Time limits: a block that must be done within some seconds.

Knows a task's strikes and the loop's timeouts. It must not know what the block waits for.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from ..errors import Cancelled, LoopStateError
from ..loop.timers import Timeout
from .task import Task, current_task

__all__ = ["TimeLimit", "timeout"]


class _Expired(Cancelled):
    """The cancellation that a time limit strikes with: known by its identity to the block that it belongs to."""


def timeout(seconds: float | None) -> TimeLimit:
    """`with timeout(seconds): …` in a task raises `TimeoutError` if the block still waits when `seconds` are over (None: no limit).

    The wait is withdrawn as by a cancellation, so nothing received is lost. Limits nest, each counts from its own beginning, and
    several that are over at once give one `TimeoutError`, raised by the one that struck first. The block is what is limited: if its
    last await was answered in time, it ends well, however late it is by then. A `seconds` of 0 or less strikes at the first
    suspension. `TypeError`, `ValueError`: NaN; `LoopStateError`: outside a task, or used twice at a time.
    """
    return TimeLimit(seconds)


class TimeLimit:
    """What `timeout(seconds)` makes: a context manager for one block at a time."""

    __slots__ = ("_expired", "_seconds", "_strike", "_task", "_timeout")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._task: Task[Any] | None = None
        self._timeout: Timeout | None = None
        # While the block lasts only: it names this limit, so to keep it would be a cycle.
        self._strike: _Expired | None = None
        self._expired = False

    @property
    def expired(self) -> bool:
        """Whether time was up before the block ended."""
        return self._expired

    def __enter__(self) -> TimeLimit:
        if self._task is not None:
            raise LoopStateError(f"{self} is in use in {self._task}; make one for each block")
        task = current_task("timeout()")
        self._expired = False
        if self._seconds is not None:
            self._timeout = task.loop.timeout_post(self._seconds, self._expire, repeat=False)
        self._task = task
        return self

    def _expire(self) -> None:
        assert self._task is not None
        self._expired = True
        self._strike = _Expired("its time is over", self)
        self._task.strike(self._strike)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        task, self._task = self._task, None
        assert task is not None
        if self._timeout is not None:
            task.loop.timeout_remove(self._timeout)
        strike, self._strike = self._strike, None
        if strike is None:
            return
        if error is strike:
            raise TimeoutError(f"the block was not done within {self._seconds} s") from error
        task.unstrike(strike)

    def __repr__(self) -> str:
        return f"timeout({self._seconds})"
