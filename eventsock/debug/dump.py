"""Looking into a hung process: a signal that writes where every task and every thread stands.

Knows what loops and tasks report of themselves. It changes nothing in them but that tasks keep since when they wait.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from types import FrameType
from typing import Any, TextIO

from ..loop.event_loop import EventLoop
from ..loop.fork import known
from ..tasks.timed import TimedTask, kinds

__all__ = ["dump", "dump_on"]


def dump_on(signum: int, file: TextIO | None = None) -> Any:
    """Write a dump to `file` (None: stderr) whenever the signal `signum` comes; gives the handler that was there before.

    It holds for each loop of the process what `EventLoop.dump` writes, and the stack of each thread: also a task that never comes back
    to its loop is found. Tasks started from now on keep since when they wait, whatever they wait for (about 30 ns a switch; in debug mode
    all do). The handler runs in the main thread: one that is stuck inside C code answers when it comes out. Main thread.
    `ValueError`: no such signal, or one that cannot be caught; `TypeError`. To undo: `signal.signal(signum, former)`.
    """
    if not isinstance(signum, int) or isinstance(signum, bool):
        raise TypeError(f"signum must be a signal number, not {signum!r}")
    if signum not in signal.valid_signals():
        raise ValueError(f"signum {signum} is no signal of this system")

    def handle(number: int, frame: FrameType | None) -> None:
        dump(file)

    try:
        former = signal.signal(signum, handle)
    except OSError:
        raise ValueError(f"signal {signum} cannot be caught") from None
    kinds.usual = TimedTask
    return former


def dump(file: TextIO | None = None) -> None:
    """Write where every task of every loop, and every thread, stands, to `file` (None: stderr). Any thread, any signal handler."""
    out = sys.stderr if file is None else file
    for loop in known():
        if isinstance(loop, EventLoop) and not loop.closed:
            loop.dump(out)
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        print(f"thread {names.get(ident, '?')!r} ({ident}):", file=out)
        out.write("".join(traceback.format_stack(frame)))
    out.flush()
