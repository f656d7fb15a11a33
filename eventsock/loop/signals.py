"""Signals as callbacks of the loop, and Ctrl-C between callbacks.

Knows the `signal` module and the waker. It must not know the loop's queues: what is to happen is handed in as a function.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..errors import LoopStateError
from .waker import Waker

__all__ = ["InterruptGuard", "SignalWatches", "WakeupDescriptor"]

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


class WakeupDescriptor:
    """Our claim on `signal.set_wakeup_fd`: the C handler writes a byte, so the poll ends whichever thread the signal hit."""

    __slots__ = ("_claims", "_waker")

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._claims = 0

    def claim(self) -> None:
        """Main thread only. Whoever had the descriptor before gets our bytes passed on."""
        self._claims += 1
        if self._claims == 1:
            self._waker.forward_to = signal.set_wakeup_fd(self._waker.writer_fileno(), warn_on_full_buffer=False)

    def release(self) -> None:
        """Main thread only. The former descriptor comes back, unless somebody has replaced ours meanwhile."""
        if self._claims == 0:
            return
        self._claims -= 1
        if self._claims == 0:
            current = signal.set_wakeup_fd(self._waker.forward_to)
            if current != self._waker.writer_fileno():
                signal.set_wakeup_fd(current)
            self._waker.forward_to = -1

    def give_back(self) -> None:
        """The waker is about to be closed: whatever was claimed and not released comes back now."""
        if self._claims and threading.current_thread() is threading.main_thread():
            self._claims = 1
            self.release()


class SignalWatches:
    """The signal callbacks of one loop. They do not keep it alive."""

    __slots__ = ("_deliver", "_former", "_procs", "_wakeup")

    def __init__(self, wakeup: WakeupDescriptor, deliver: Callable[[int], object]) -> None:
        self._wakeup = wakeup
        self._deliver = deliver
        self._procs: dict[int, Callable[[int], object]] = {}
        self._former: dict[int, Handler] = {}

    def add(self, signum: int, proc: Callable[[int], object]) -> None:
        """Call `proc(signum)` in the loop for each such signal; replaces an earlier watch of the same signal."""
        _check(signum)
        if not callable(proc):
            raise TypeError(f"proc must be callable, not {type(proc).__name__}")
        if threading.current_thread() is not threading.main_thread():
            raise LoopStateError("signal watches are added and removed in the main thread: Python runs signal handlers there")
        if signum not in self._former:
            try:
                self._former[signum] = signal.signal(signum, self._handle)
            except OSError:
                raise ValueError(f"signal {signum} cannot be caught") from None
            self._wakeup.claim()
        self._procs[signum] = proc

    def remove(self, signum: int) -> bool:
        """Give the signal back to its former handler; False when it is not watched."""
        if self._procs.pop(signum, None) is None:
            return False
        self._restore(signum)
        return True

    def proc(self, signum: int) -> Callable[[int], object] | None:
        """The callback for `signum`, if it is still watched."""
        return self._procs.get(signum)

    def clear(self) -> None:
        """Remove all watches."""
        self._procs.clear()
        for signum in list(self._former):
            self._restore(signum)

    def _restore(self, signum: int) -> None:
        # Only the main thread may set handlers. Elsewhere ours stays and puts the former one back at its next signal, below.
        if threading.current_thread() is not threading.main_thread():
            return
        former = self._former.pop(signum)
        if signal.getsignal(signum) == self._handle:
            signal.signal(signum, signal.SIG_DFL if former is None else former)
        self._wakeup.release()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if signum in self._procs:
            self._deliver(signum)
        elif signum in self._former:
            self._restore(signum)
            signal.raise_signal(signum)

    def __len__(self) -> int:
        return len(self._procs)


def _check(signum: int) -> None:
    if not isinstance(signum, int) or isinstance(signum, bool):
        raise TypeError(f"signum must be a signal number, not {signum!r}")
    if signum not in signal.valid_signals():
        raise ValueError(f"signum {signum} is no signal of this system")


class InterruptGuard:
    """Ctrl-C while a loop runs in the main thread: the first is raised between two callbacks, the second at once."""

    __slots__ = ("_interrupt", "_seen", "_wakeup")

    def __init__(self, wakeup: WakeupDescriptor, interrupt: Callable[[], object]) -> None:
        self._wakeup = wakeup
        self._interrupt = interrupt
        self._seen = False

    def install(self) -> bool:
        """Take SIGINT over, if this is the main thread and the application left it to Python; says whether it did."""
        if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return False
        self._seen = False
        signal.signal(signal.SIGINT, self._handle)
        self._wakeup.claim()
        return True

    def remove(self) -> None:
        """Give SIGINT back, if nobody else took it meanwhile."""
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._wakeup.release()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._seen:
            raise KeyboardInterrupt
        self._seen = True
        self._interrupt()
