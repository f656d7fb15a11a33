"""A guest of trio: one trio task that waits for the loop's descriptor and deadline, and steps it. Knows trio's public API."""

from __future__ import annotations

from math import inf

import trio

from ..loop.event_loop import EventLoop
from .guest import Guest

__all__ = ["TrioGuest", "attach"]


class TrioGuest(Guest):
    """A loop that a task in a trio nursery steps, until it is detached or the nursery is cancelled."""

    name = "trio"

    def __init__(self, nursery: trio.Nursery, loop: EventLoop | None, budget: float | None) -> None:
        super().__init__(loop, budget=budget)
        self._nursery = nursery

    def watch(self, fd: int) -> None:
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._attend, fd)

    def unwatch(self, fd: int) -> None:
        self._scope.cancel()

    def alarm(self, seconds: float | None) -> None:
        """`_attend` asks for the deadline each time it sleeps; what changes it meanwhile makes the descriptor readable."""

    async def _attend(self, fd: int) -> None:
        try:
            with self._scope:
                while self.attached:
                    seconds = self.loop.next_deadline()
                    with trio.move_on_after(inf if seconds is None else seconds):
                        await trio.lowlevel.wait_readable(fd)
                    self.serve()
        finally:
            self.detach()


def attach(nursery: trio.Nursery, loop: EventLoop | None = None, *, budget: float | None = 0.005) -> TrioGuest:
    """Let a task in `nursery` step `loop` (None: the default one). The nursery does not end before the guest is detached.

    See `Guest.attach`. An error that no task of ours catches goes to `sys.excepthook`; it does not cancel the nursery.
    """
    return TrioGuest(nursery, loop, budget).attach()
