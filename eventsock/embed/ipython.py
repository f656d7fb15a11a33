"""A guest of IPython: tasks go on while the prompt waits. Knows terminal IPython's input hook; a kernel's host is asyncio.

Loaded by `%load_ext eventsock`, which makes and attaches the default loop. Imports IPython no sooner than it is used: the package's
own face names the two procedures that IPython calls.
"""

from __future__ import annotations

import select
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from ..errors import LoopStateError
from ..loop.current import get_default_event_loop, set_default_event_loop
from ..loop.event_loop import EventLoop
from .guest import Guest, milliseconds

__all__ = ["IPythonGuest", "attach", "load_ipython_extension", "unload_ipython_extension"]

_GUI = "eventsock"


class _Prompt(Protocol):
    """What prompt_toolkit hands to an input hook: `fileno()` is readable when the hook must return."""

    def fileno(self) -> int: ...


def _return_at_once(prompt: _Prompt) -> None:
    pass


class IPythonGuest(Guest):
    """A loop that terminal IPython steps while it waits for input. During a cell it stands still."""

    name = "ipython"

    def __init__(self, shell: Any, loop: EventLoop | None, budget: float | None) -> None:
        super().__init__(loop, budget=budget)
        self._shell = shell
        self._descriptor = -1

    def watch(self, fd: int) -> None:
        """By an input hook. `LoopStateError`: there is one already (`%gui`), or the prompt has no hooks (`--simple-prompt`)."""
        from IPython.terminal import pt_inputhooks

        if getattr(self._shell, "active_eventloop", None) is not None:
            raise LoopStateError(f"IPython serves %gui {self._shell.active_eventloop} already, and only one: attach the loop there instead")
        self._descriptor = fd
        pt_inputhooks.register(_GUI, self._wait_for_input)
        self._shell.enable_gui(_GUI)
        if getattr(self._shell, "active_eventloop", None) != _GUI:
            self.unwatch(fd)
            raise LoopStateError("this IPython has no input hooks (--simple-prompt?): run the loop in a LoopThread")

    def unwatch(self, fd: int) -> None:
        from IPython.terminal import pt_inputhooks

        if getattr(self._shell, "active_eventloop", None) == _GUI:
            self._shell.enable_gui(None)
        # IPython takes no hook back, and would hold the loop with ours for ever.
        pt_inputhooks.register(_GUI, _return_at_once)

    def alarm(self, seconds: float | None) -> None:
        """The hook asks for the deadline each time it waits."""

    def report(self, error: BaseException, where: str) -> None:
        """As a traceback of a cell."""
        self._shell.showtraceback((type(error), error, error.__traceback__))

    def _wait_for_input(self, prompt: _Prompt) -> None:
        poll = select.poll()
        poll.register(prompt.fileno(), select.POLLIN)
        poll.register(self._descriptor, select.POLLIN)
        while self.attached:
            seconds = self.loop.next_deadline()
            ready = poll.poll(None if seconds is None else milliseconds(seconds))
            if any(fd == prompt.fileno() for fd, _ in ready):
                return
            self.serve()


def attach(shell: Any = None, loop: EventLoop | None = None, *, budget: float | None = 0.005) -> Guest:
    """Let the IPython `shell` (None: the one we are in) step `loop` (None: the default one). See `Guest.attach`.

    In a kernel (Jupyter) this attaches to the kernel's asyncio loop; call it in a cell.
    """
    if shell is None:
        from IPython.core.getipython import get_ipython

        shell = get_ipython()
    if shell is None:
        raise LoopStateError("attach() was called outside IPython; name the shell")
    if getattr(shell, "kernel", None) is None:
        return IPythonGuest(shell, loop, budget).attach()
    from .asyncio import attach

    return attach(None, loop, budget=budget)


_loaded: WeakKeyDictionary[Any, Guest] = WeakKeyDictionary()


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext eventsock`: attach the default loop, which is made if there is none."""
    _loaded[shell] = attach(shell, get_default_event_loop() or set_default_event_loop())


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext eventsock`: detach it. It keeps its tasks."""
    guest = _loaded.pop(shell, None)
    if guest is not None:
        guest.detach()
