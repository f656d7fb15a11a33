"""A guest of Qt. Knows what PySide6 and PyQt6 have in common; which of them is there it asks when a guest is made, not before."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..errors import LoopStateError
from ..loop.event_loop import EventLoop
from .guest import Guest, milliseconds

__all__ = ["QtGuest", "attach"]

_BINDINGS = ("PySide6", "PyQt6")


def _qt_core(app: object) -> Any:
    """The QtCore of the binding that `app` comes from; else of one that the program has loaded, else of one that is installed."""
    of_app = type(app).__module__.partition(".")[0]
    for found in (of_app.__eq__, sys.modules.get, find_spec):
        for name in _BINDINGS:
            if found(name):
                return import_module(f"{name}.QtCore")
    raise ImportError(f"no Qt is installed: pip install {' or '.join(_BINDINGS)}")


class QtGuest(Guest):
    """A loop that the event loop of a Qt application steps: one QSocketNotifier and one QTimer, whatever lives in the loop."""

    name = "qt"

    def __init__(self, app: object, loop: EventLoop | None, budget: float | None) -> None:
        super().__init__(loop, budget=budget)
        core = self._core = _qt_core(app)
        if app is None and core.QCoreApplication.instance() is None:
            raise LoopStateError("there is no Qt application yet: make the QApplication first, then attach")
        self._alarm = core.QTimer()
        self._alarm.setSingleShot(True)
        self._alarm.setTimerType(core.Qt.TimerType.PreciseTimer)
        self._alarm.timeout.connect(self.serve)
        self._notifier: Any = None

    def watch(self, fd: int) -> None:
        self._notifier = self._core.QSocketNotifier(fd, self._core.QSocketNotifier.Type.Read)
        self._notifier.activated.connect(self._notified)

    def _notified(self, *what: object) -> None:
        self.serve()

    def unwatch(self, fd: int) -> None:
        self._notifier.setEnabled(False)
        # Not at once: this may be its own callback.
        self._notifier.deleteLater()
        self._notifier = None

    def alarm(self, seconds: float | None) -> None:
        if seconds is None:
            self._alarm.stop()
        else:
            self._alarm.start(milliseconds(seconds))


def attach(app: Any = None, loop: EventLoop | None = None, *, budget: float | None = 0.005) -> QtGuest:
    """Let the event loop of the Qt application `app` (None: the one there is) step `loop` (None: the default one).

    See `Guest.attach`. `ImportError`: neither PySide6 nor PyQt6 is installed.
    """
    return QtGuest(app, loop, budget).attach()
