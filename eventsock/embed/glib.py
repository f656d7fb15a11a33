"""A guest of GLib's main loop, and so of GTK. Knows PyGObject's GLib: one source with a descriptor and a ready time."""

from __future__ import annotations

from typing import Any

from gi.repository import GLib

from ..loop.event_loop import EventLoop
from .guest import Guest

__all__ = ["GLibGuest", "attach"]


class _Source(GLib.Source):
    """Ready when GLib finds its descriptor readable, or its time come: it need not be asked."""

    guest: GLibGuest

    def prepare(self) -> tuple[bool, int]:
        return False, -1

    def check(self) -> bool:
        return False

    def dispatch(self, callback: object, arguments: object) -> bool:
        self.guest.serve()
        return True


class GLibGuest(Guest):
    """A loop that the main loop of a `GLib.MainContext` steps."""

    name = "glib"

    def __init__(self, context: Any, loop: EventLoop | None, budget: float | None) -> None:
        super().__init__(loop, budget=budget)
        self._context = context
        self._source: _Source | None = None

    def watch(self, fd: int) -> None:
        source = self._source = _Source()
        source.guest = self
        # The host comes first: at the default priority a busy guest would leave GTK no time to draw.
        source.set_priority(GLib.PRIORITY_DEFAULT_IDLE)
        # Or a dialog that runs within a callback of ours would never ask us.
        source.set_can_recurse(True)
        source.add_unix_fd(fd, GLib.IOCondition.IN)
        source.attach(self._context)

    def unwatch(self, fd: int) -> None:
        if self._source is not None:
            self._source.destroy()
            self._source = None

    def alarm(self, seconds: float | None) -> None:
        if self._source is not None:
            # -1 means never; in microseconds, rounded up.
            self._source.set_ready_time(-1 if seconds is None else GLib.get_monotonic_time() - int(-seconds * 1e6 // 1))


def attach(context: Any = None, loop: EventLoop | None = None, *, budget: float | None = 0.005) -> GLibGuest:
    """Let the main loop of the `GLib.MainContext` `context` (None: the default one) step `loop` (None: the default one)."""
    return GLibGuest(context, loop, budget).attach()
