"""A guest of GLib's main loop, and so of GTK. Knows PyGObject's GLib: one watch on a descriptor, one timeout.

Functions as callbacks, and no source of our own: a Python subclass of `GLib.Source` that is destroyed in its own dispatch takes the
process with it (PyGObject 3.42).
"""

from __future__ import annotations

from typing import Any

from gi.repository import GLib

from ..errors import LoopStateError
from ..loop.event_loop import EventLoop
from .guest import Guest, milliseconds

__all__ = ["GLibGuest", "attach"]

# The host comes first: at the default priority a busy guest would leave GTK no time to draw.
_PRIORITY = GLib.PRIORITY_DEFAULT_IDLE


class GLibGuest(Guest):
    """A loop that GLib's default main context steps."""

    name = "glib"

    def __init__(self, host: object, loop: EventLoop | None, budget: float | None) -> None:
        super().__init__(loop, budget=budget)
        context = host.get_context() if isinstance(host, GLib.MainLoop) else host
        self._context: Any = GLib.MainContext.default()
        if isinstance(context, GLib.MainContext) and context != self._context:
            raise LoopStateError("PyGObject watches descriptors in GLib's default main context only: attach the loop to that one")
        self._watch = 0
        self._alarm = 0

    def watch(self, fd: int) -> None:
        self._watch = GLib.io_add_watch(fd, _PRIORITY, GLib.IOCondition.IN, self._readable)
        # A dialog that runs within a callback of ours must be able to call us.
        self._context.find_source_by_id(self._watch).set_can_recurse(True)

    def _readable(self, fd: int, condition: object) -> bool:
        self.serve()
        return True

    def unwatch(self, fd: int) -> None:
        GLib.source_remove(self._watch)

    def alarm(self, seconds: float | None) -> None:
        if self._alarm:
            GLib.source_remove(self._alarm)
            self._alarm = 0
        if seconds is not None:
            self._alarm = GLib.timeout_add(milliseconds(seconds), self._ring, priority=_PRIORITY)

    def _ring(self) -> bool:
        self._alarm = 0
        self.serve()
        return False


def attach(host: object = None, loop: EventLoop | None = None, *, budget: float | None = 0.005) -> GLibGuest:
    """Let GLib's main loop step `loop` (None: the default one). See `Guest.attach`.

    `host`: a `GLib.MainLoop`, a `GLib.MainContext`, an application, or None; all mean the default main context, and one that has
    another is refused: `LoopStateError`.
    """
    return GLibGuest(host, loop, budget).attach()
