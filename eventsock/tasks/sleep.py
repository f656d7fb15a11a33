"""Waiting for time.

Knows the loop's timeouts and whom to wake. It must not know who sleeps, nor how that is awaited.
"""

from __future__ import annotations

from ..compiling import Given
from ..loop.checks import checked_seconds
from ..loop.timers import Timeout
from ..loop.verbs import Verbs
from .driver import Driver

__all__ = ["Sleep", "sleep"]


class Sleep(Timeout):
    """Waiting for time: a timeout and a wait in one. Its `action` is the task itself, which saves a method object for each."""

    __slots__ = ("seconds",)

    seconds: Given[float]

    def fire(self, action: Driver) -> None:
        action.wake()

    def withdraw(self) -> bool:
        task: Driver | None = self.action
        return task is not None and task.loop.timers.remove(self)

    @property
    def since(self) -> float:
        return self.when - max(0.0, self.seconds)

    def __str__(self) -> str:
        return f"time ({self.seconds} s)"


def sleep(task: Driver, seconds: Given[float]) -> Sleep:
    """Have `task` woken in `seconds`; gives the wait."""
    if seconds.__class__ is not float or seconds != seconds:
        seconds = checked_seconds(seconds)
    loop: Verbs = task.loop
    sleep = Sleep()
    sleep.when = loop.time() + (seconds if seconds > 0.0 else 0.0)
    sleep.action = task
    sleep.interval = None
    sleep.seconds = seconds
    loop.timers.incoming.append(sleep)
    if not loop.in_turn:
        loop.rouse()
    return sleep
