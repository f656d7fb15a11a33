"""The real hosts, each brought to one shape: make it, attach a loop, let it run for a while, end it.

Knows the hosts, and imports each only when it is asked for. It must not know what is tested.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable, Generator
from functools import cache
from importlib import import_module
from typing import Any

from eventsock import EventLoop, embed

Wish = float | Callable[[], object]
"""What a case yields: for how many seconds its host is to run, or until when (at most 5 seconds)."""

Case = Callable[["Host"], Generator[Wish, Any, None]]

_SLICE = 0.005
_PATIENCE = 5.0


class NotInstalledError(Exception):
    """The host is not here; says how to get it."""


def _load(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise NotInstalledError(str(error)) from error


class Host:
    """A host; this one has nothing but what most others have in common."""

    nests = True
    several = True
    counts = True
    """Whether an idle host leaves the guest alone; a frame loop never does."""

    def __init__(self) -> None:
        self.reported: list[BaseException] = []

    def attach(self, loop: EventLoop, **options: Any) -> embed.Guest:
        raise NotImplementedError

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """The host's own timer, once."""
        raise NotImplementedError

    def when_idle(self, action: Callable[[], object]) -> None:
        """What the host does when nothing else is to be done, such as drawing."""
        self.after(0, action)

    def go_on(self, seconds: float) -> None:
        """Run the host's loop for `seconds`; for a host that nests, also within its own callbacks."""
        raise NotImplementedError

    def end(self) -> None:
        """Destroy the host; also done after each case."""

    def drive(self, case: Case) -> None:
        sys.excepthook = lambda kind, error, trace: self.reported.append(error)
        try:
            for wish in case(self):
                if callable(wish):
                    self._until(wish)
                else:
                    self.go_on(wish)
        finally:
            sys.excepthook = sys.__excepthook__
            self.end()

    def _until(self, wish: Callable[[], object]) -> None:
        limit = time.monotonic() + _PATIENCE
        while not wish():
            assert time.monotonic() < limit, "what the case waits for did not happen"
            self.go_on(_SLICE)


class TkHost(Host):
    def __init__(self) -> None:
        super().__init__()
        tkinter = _load("tkinter")
        try:
            self.root = tkinter.Tk()
        except tkinter.TclError as error:
            raise NotInstalledError(str(error)) from error
        self.root.report_callback_exception = lambda kind, error, trace: self.reported.append(error)
        self._alive = True

    def attach(self, loop: EventLoop, **options: Any) -> embed.Guest:
        return embed.tk.attach(self.root, loop, **options)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.root.after(int(seconds * 1000), action)

    def when_idle(self, action: Callable[[], object]) -> None:
        self.root.after_idle(self._defer, action)

    def _defer(self, action: Callable[[], object]) -> None:
        # Tk counts an idle callback made by an idle callback to the same round; a redraw is not made so.
        self.root.after(1, action)

    def go_on(self, seconds: float) -> None:
        flag = _load("tkinter").BooleanVar(self.root)
        self.root.after(int(seconds * 1000), flag.set, True)
        self.root.wait_variable(flag)

    def end(self) -> None:
        if self._alive:
            self._alive = False
            self.root.destroy()


class GLibHost(Host):
    def __init__(self) -> None:
        super().__init__()
        self.glib: Any = _load("gi.repository.GLib")

    def attach(self, loop: EventLoop, **options: Any) -> embed.Guest:
        return embed.glib.attach(None, loop, **options)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.glib.timeout_add(int(seconds * 1000), lambda: action() and False)

    def when_idle(self, action: Callable[[], object]) -> None:
        self.glib.idle_add(lambda: action() and False)

    def go_on(self, seconds: float) -> None:
        main_loop = self.glib.MainLoop()
        self.after(seconds, main_loop.quit)
        main_loop.run()


class QtHost(Host):
    binding = ""

    def __init__(self) -> None:
        super().__init__()
        self.core = _load(f"{self.binding}.QtCore")
        widgets = _load(f"{self.binding}.QtWidgets")
        self.app = widgets.QApplication.instance() or widgets.QApplication([])

    def attach(self, loop: EventLoop, **options: Any) -> embed.Guest:
        return embed.qt.attach(self.app, loop, **options)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.core.QTimer.singleShot(int(seconds * 1000), action)

    def go_on(self, seconds: float) -> None:
        inner = self.core.QEventLoop()
        self.core.QTimer.singleShot(int(seconds * 1000), inner.quit)
        inner.exec()


class PySideHost(QtHost):
    binding = "PySide6"


class PyQtHost(QtHost):
    binding = "PyQt6"


class AsyncioHost(Host):
    nests = False

    def __init__(self) -> None:
        super().__init__()
        self.asyncio = _load("asyncio")
        self.loop = self.new_loop()
        self.loop.set_exception_handler(lambda loop, context: self.reported.append(context["exception"]))

    def new_loop(self) -> Any:
        return self.asyncio.new_event_loop()

    def attach(self, loop: EventLoop, **options: Any) -> embed.Guest:
        return embed.asyncio.attach(self.loop, loop, **options)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.loop.call_later(seconds, action)

    def go_on(self, seconds: float) -> None:
        self.loop.run_until_complete(self.asyncio.sleep(seconds))

    def end(self) -> None:
        self.loop.close()


class UvloopHost(AsyncioHost):
    def new_loop(self) -> Any:
        return _load("uvloop").new_event_loop()


class TrioHost(Host):
    nests = False

    def __init__(self) -> None:
        super().__init__()
        self.trio = _load("trio")
        self.nursery: Any = None

    def attach(self, loop: EventLoop, **options: Any) -> embed.Guest:
        return embed.trio.attach(self.nursery, loop, **options)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        async def wait() -> None:
            await self.trio.sleep(seconds)
            action()

        self.nursery.start_soon(wait)

    def end(self) -> None:
        self.nursery.cancel_scope.cancel()

    def drive(self, case: Case) -> None:
        sys.excepthook = lambda kind, error, trace: self.reported.append(error)
        try:
            self.trio.run(self._run, case)
        finally:
            sys.excepthook = sys.__excepthook__

    async def _run(self, case: Case) -> None:
        # Two, so that a case can see what is left when its host has ended.
        async with self.trio.open_nursery() as outer, self.trio.open_nursery() as self.nursery:
            outer.start_soon(self._follow, case, outer)
            await self.trio.sleep_forever()

    async def _follow(self, case: Case, outer: Any) -> None:
        try:
            for wish in case(self):
                limit = time.monotonic() + (_PATIENCE if callable(wish) else wish)
                while not (callable(wish) and wish()) and time.monotonic() < limit:
                    await self.trio.sleep(_SLICE if callable(wish) else wish)
                assert not callable(wish) or wish(), "what the case waits for did not happen"
        finally:
            outer.cancel_scope.cancel()


class PygameHost(Host):
    counts = False
    frames_per_second = 200

    def __init__(self) -> None:
        super().__init__()
        self.pygame = _load("pygame")
        self.pygame.display.init()
        self.pygame.display.set_mode((64, 48))
        self.clock = self.pygame.time.Clock()
        self.guests: list[Any] = []
        self._timers: list[tuple[float, Callable[[], object]]] = []

    def attach(self, loop: EventLoop, **options: Any) -> embed.Guest:
        guest = embed.pygame.attach(self.clock, loop, **options)
        self.guests.append(guest)
        return guest

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self._timers.append((time.monotonic() + seconds, action))

    def go_on(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pygame.event.pump()
            now = time.monotonic()
            due = [timer for timer in self._timers if timer[0] <= now]
            for timer in due:
                self._timers.remove(timer)
                timer[1]()
            for guest in self.guests[:-1]:
                guest.frame()
            if self.guests:
                self.guests[-1].tick(self.frames_per_second)
            else:
                self.clock.tick(self.frames_per_second)

    def end(self) -> None:
        self.guests.clear()


class IPythonHost(AsyncioHost):
    """Terminal IPython waiting at its prompt: its own input hook, in prompt_toolkit's own event loop."""

    several = False

    def __init__(self) -> None:
        self.shell = _only_shell()
        super().__init__()
        self.shell.showtraceback = lambda error: self.reported.append(error[1])

    def new_loop(self) -> Any:
        hooks = _load("prompt_toolkit.eventloop.inputhook")
        selectors = _load("selectors")
        return self.asyncio.SelectorEventLoop(hooks.InputHookSelector(selectors.DefaultSelector(), self._hook))

    def _hook(self, context: Any) -> None:
        if self.shell._inputhook is not None:
            self.shell._inputhook(context)

    def attach(self, loop: EventLoop, **options: Any) -> embed.Guest:
        return embed.ipython.attach(self.shell, loop, **options)


@cache
def _only_shell() -> Any:
    # As in life; and one for each case would take longer than all of the cases do.
    terminal = _load("IPython.terminal.interactiveshell")
    shell = terminal.TerminalInteractiveShell(simple_prompt=False)
    atexit.register(shell.history_manager.end_session)
    return shell


HOSTS: dict[str, type[Host]] = {
    "asyncio": AsyncioHost,
    "glib": GLibHost,
    "ipython": IPythonHost,
    "pygame": PygameHost,
    "pyqt": PyQtHost,
    "pyside": PySideHost,
    "tk": TkHost,
    "trio": TrioHost,
    "uvloop": UvloopHost,
}
