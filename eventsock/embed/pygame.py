"""A guest of a frame loop: pygame's, or any other that calls us once per frame. Knows a clock's `tick`, and imports no pygame."""

from __future__ import annotations

from typing import Protocol

from ..errors import LoopStateError
from ..loop.event_loop import EventLoop
from .guest import Guest

__all__ = ["FrameGuest", "attach"]


class Clock(Protocol):
    """`pygame.time.Clock`, as far as it is needed."""

    def tick(self, framerate: float = 0, /) -> int: ...


class FrameGuest(Guest):
    """A loop that is stepped once per frame, by `tick()` or `frame()`. A task's `await_yield()` waits for the next frame."""

    name = "a frame loop"
    watches = False

    def __init__(self, clock: Clock | None, loop: EventLoop | None, budget: float | None) -> None:
        super().__init__(loop, budget=budget)
        self._clock = clock

    def frame(self) -> None:
        """One turn of the loop, for at most `budget` seconds of callbacks. It does not wait."""
        self.serve()

    def tick(self, framerate: float = 0) -> int:
        """In place of the clock's own `tick`: one turn, then what is left of the frame. Milliseconds since the last tick."""
        if self._clock is None:
            raise LoopStateError("this guest has no clock: attach(clock, loop), or call frame()")
        self.serve()
        return self._clock.tick(framerate)

    def watch(self, fd: int) -> None:
        """The next frame looks."""

    def unwatch(self, fd: int) -> None:
        """No frame looks any more."""

    def alarm(self, seconds: float | None) -> None:
        """The frame after that time will see."""


def attach(clock: Clock | None = None, loop: EventLoop | None = None, *, budget: float | None = 0.002) -> FrameGuest:
    """Let a frame loop step `loop` (None: the default one): call `tick(framerate)` in place of `clock.tick`, or `frame()` per frame.

    See `Guest.attach`. The budget is a part of the frame: at 60 frames a second that has 16 ms.
    """
    return FrameGuest(clock, loop, budget).attach()
