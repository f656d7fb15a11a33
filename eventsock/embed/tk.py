"""A guest of Tk. Knows Tcl's file and timer handlers, which are Tk's on Unix, and nothing of windows but their root."""

from __future__ import annotations

import tkinter
from typing import Any

from ..errors import LoopStateError
from ..loop.event_loop import EventLoop
from .guest import Guest, milliseconds

__all__ = ["TkGuest", "attach"]


class TkGuest(Guest):
    """A loop that Tk's main loop steps. It detaches when it finds the root window destroyed."""

    name = "tk"

    def __init__(self, root: tkinter.Misc, loop: EventLoop | None, budget: float | None) -> None:
        super().__init__(loop, budget=budget)
        self._root: Any = root.nametowidget(".")
        self._tk: Any = root.tk  # Tcl's handlers outlive the window, its commands do not
        self._alarm: Any = None

    def watch(self, fd: int) -> None:
        """By Tcl's `createfilehandler`. `LoopStateError`: there is none, on Windows."""
        if not hasattr(self._tk, "createfilehandler"):
            raise LoopStateError("this Tk cannot watch descriptors: run the loop in a LoopThread, and let it post to the window")
        self._tk.createfilehandler(fd, tkinter.READABLE, lambda file, mask: self.serve())

    def unwatch(self, fd: int) -> None:
        self._tk.deletefilehandler(fd)

    def alarm(self, seconds: float | None) -> None:
        if self._alarm is not None:
            self._alarm.deletetimerhandler()
            self._alarm = None
        if seconds is not None:
            self._alarm = self._tk.createtimerhandler(milliseconds(seconds), self.serve)

    def report(self, error: BaseException, where: str) -> None:
        """To the root's `report_callback_exception`, as Tk's own."""
        self._root.report_callback_exception(type(error), error, error.__traceback__)

    def serve(self) -> None:
        """One turn. Tk redraws when nothing else is ready, which under a busy guest would be never; so it is told to."""
        super().serve()
        try:
            self._root.update_idletasks()
        except tkinter.TclError:
            self.detach()


def attach(root: tkinter.Misc, loop: EventLoop | None = None, *, budget: float | None = 0.005) -> TkGuest:
    """Let the main loop of `root` step `loop` (None: the default one). See `Guest.attach`."""
    return TkGuest(root, loop, budget).attach()
