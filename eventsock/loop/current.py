"""Which loop is meant when none is named: the one running in this thread, else the default.

Knows that loops exist, and nothing of what they do.
"""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING

from ..errors import LoopStateError, NoEventLoopError
from .engine import Engine

if TYPE_CHECKING:
    from .event_loop import EventLoop

__all__ = ["get_default_event_loop", "here", "resolve_loop", "running_event_loop", "set_default_event_loop"]


class _Here(threading.local):
    loop: EventLoop | None = None


here = _Here()
_default: EventLoop | None = None
_closes_at_exit = False


def running_event_loop() -> EventLoop | None:
    """The loop that runs in this thread, or that a host in this thread steps; None where there is none. Any thread."""
    return here.loop


def set_default_event_loop(loop: EventLoop | None = None) -> EventLoop:
    """Make `loop` the default of the whole process (None: a new, unthrottled one) and return it.

    The default loop serves where no loop is named and none runs in the thread. It is not thread safe, so set it before starting
    threads; an idle default loop is closed when the interpreter exits. Origin: chez-a-sync `set-default-event-loop!`.
    """
    global _default, _closes_at_exit
    if loop is None:
        from .event_loop import EventLoop

        loop = EventLoop()
    _default = _checked(loop)
    if not _closes_at_exit:
        _closes_at_exit = True
        atexit.register(_close_default)
    return loop


def get_default_event_loop() -> EventLoop | None:
    """The default loop, or None if none was set. Any thread. Origin: chez-a-sync `get-default-event-loop`."""
    return _default


def resolve_loop(loop: EventLoop | None = None) -> EventLoop:
    """`loop` itself, else the loop running in this thread, else the default. `NoEventLoopError`: there is none of these."""
    if loop is not None:
        return _checked(loop)
    found = here.loop or _default
    if found is None:
        raise NoEventLoopError(
            "no event loop: none runs in this thread and no default is set; call set_default_event_loop(), name one with loop=, "
            "or start with run(f)"
        )
    return found


def _checked(loop: EventLoop) -> EventLoop:
    if not isinstance(loop, Engine):
        raise TypeError(f"loop must be an EventLoop, not {loop!r}")
    return loop


def claim_thread(loop: EventLoop) -> EventLoop | None:
    """Make `loop` the current one of this thread; gives the former one. `LoopStateError`: another one is in the middle of a turn."""
    former = here.loop
    if former is not None and former is not loop and former.in_turn:
        raise LoopStateError(
            f"{former!r} is running in this thread, so {loop!r} cannot run inside it: start a task with a_sync and await its result, "
            "or run the second loop in a thread of its own"
        )
    here.loop = loop
    return former


def _close_default() -> None:
    if _default is not None and not _default.in_turn:
        _default.close()
