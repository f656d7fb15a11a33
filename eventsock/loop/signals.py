"""Signals as callbacks of the loop, and Ctrl-C between callbacks.

Knows the `signal` module and a pair of sockets. It must not know the loop's queues: what is to happen is handed in as functions.
"""

from __future__ import annotations

import _thread
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar

from ..errors import LoopStateError
from .checks import checked_callable

__all__ = ["InterruptGuard", "SignalWatches", "WakeupDescriptor", "signal_name"]

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def signal_name(signum: int) -> str:
    """`SIGTERM` for 15."""
    try:
        return signal.Signals(signum).name
    except ValueError:  # a real-time signal
        return f"signal {signum}"


class WakeupDescriptor:
    """Our claim on `signal.set_wakeup_fd`: the C handler writes a byte, so the poll ends whichever thread the signal hit.

    It has a socket pair of its own, from the first claim on; `adopt(fd, drain)` is asked to wait for it.
    """

    __slots__ = ("_adopt", "_claims", "_closed", "_former", "_pair", "_shared")

    # Those that have a claim. The system knows only the last one, and each the one before it.
    _claimed: ClassVar[list[WakeupDescriptor]] = []

    def __init__(self, adopt: Callable[[int, Callable[[], object]], object]) -> None:
        self._adopt = adopt
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self._former = -1
        self._claims = 0
        self._closed = False
        # Whether others know that the descriptor is one for all, and leave ours in its place.
        self._shared = True

    def claim(self) -> None:
        """Main thread only. Whoever had the descriptor before gets our bytes passed on."""
        if self._claims == 0:
            # A full pipe wakes as well as one more byte would.
            self._former = signal.set_wakeup_fd(self.prepare(), warn_on_full_buffer=False)
            self._claimed.append(self)
        self._claims += 1

    def prepare(self) -> int:
        """Make the pair, if need be: after that a claim cannot fail. Gives the number that the system is to write to."""
        if self._pair is None:
            reader, writer = socket.socketpair()
            try:
                reader.setblocking(False)
                writer.setblocking(False)
                self._adopt(reader.fileno(), self._drain)
            except BaseException:
                reader.close()
                writer.close()
                raise
            self._pair = reader, writer
        return self._pair[1].fileno()

    def _drain(self) -> None:
        assert self._pair is not None
        try:
            numbers = self._pair[0].recv(4096)
        except BlockingIOError:
            return
        if self._former != -1:
            try:
                os.write(self._former, numbers)
            except OSError:
                pass  # its owner is full or gone; it asked for a hint, and a hint may be lost

    def release(self) -> None:
        """Main thread only. The former descriptor comes back, unless somebody has replaced ours meanwhile."""
        self._claims -= 1
        if self._claims:
            return
        ours, former = self.prepare(), self._former
        self._former = -1
        self._claimed.remove(self)
        replaced = False
        found = signal.set_wakeup_fd(former)
        if found != ours:
            signal.set_wakeup_fd(found)
            # Whoever claimed it after us must not give it back to us, whose number is a stranger's by then.
            later = [each for each in self._claimed if each._former == ours]
            for each in later:
                each._former = former
            replaced = not later
        if self._closed:
            self.close()
        if replaced and self._shared:
            text = f"signal.set_wakeup_fd({found}) has replaced the event loop's descriptor while the loop used it; it is left as it is"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def abandon(self) -> None:
        """In a forked child, before the claims are released: there it is no news that the descriptor is not ours any more."""
        # From Python 3.12 on asyncio, once imported, takes it from whoever has it in each child.
        self._shared = False

    def close(self) -> None:
        """Release the pair, or when the last claim goes: until then the system writes to it. Idempotent."""
        self._closed = True
        if self._pair is not None and self._claims == 0:
            for end in self._pair:
                end.close()


class SignalWatches:
    """The signal callbacks of one loop. They do not keep it alive."""

    __slots__ = ("_deliver", "_former", "_leaving", "_procs", "_wakeup")

    def __init__(self, wakeup: WakeupDescriptor, deliver: Callable[[int], object]) -> None:
        self._wakeup = wakeup
        self._deliver = deliver
        self._procs: dict[int, Callable[[int], object]] = {}
        self._former: dict[int, Handler] = {}
        # Dropped in another thread, which may not set handlers: the main thread was asked to.
        self._leaving: set[int] = set()

    def add(self, signum: int, proc: Callable[[int], object]) -> None:
        """Call `proc(signum)` in the loop for each such signal; replaces an earlier watch of the same signal."""
        _check(signum)
        checked_callable("proc", proc)
        _check_thread()
        if signum not in self._former:
            self._wakeup.prepare()
            try:
                self._former[signum] = signal.signal(signum, self._handle)
            except OSError:
                raise ValueError(f"{signal_name(signum)} cannot be caught") from None
            self._wakeup.claim()
        self._procs[signum] = proc

    def remove(self, signum: int) -> bool:
        """Give the signal back to its former handler; False when it is not watched."""
        _check(signum)
        _check_thread()
        if self._procs.pop(signum, None) is None:
            return False
        self._restore(signum)
        return True

    def proc(self, signum: int) -> Callable[[int], object] | None:
        """The callback for `signum`, if it is still watched."""
        return self._procs.get(signum)

    def drop(self, signum: int) -> None:
        """Remove a watch. Any thread; from another than the main one the handler changes as soon as that runs."""
        self._procs.pop(signum, None)
        if _in_main_thread():
            self._restore(signum)
        elif signal.getsignal(signum) == self._handle:
            self._leaving.add(signum)
            _thread.interrupt_main(signal.Signals(signum))

    def clear(self) -> None:
        """Remove all watches. Any thread, as `drop`."""
        for signum in list(self._former):
            self.drop(signum)

    def _restore(self, signum: int) -> None:
        former = self._former.pop(signum)
        _give_back(signum, self._handle, former)
        self._wakeup.release()
        below = _owner(former)
        if below is not None and signum not in below._procs:
            below._restore(signum)  # dropped in another thread, while it was not its turn

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if signum in self._leaving:
            self._leaving.discard(signum)
            if signum not in self._procs and signum in self._former:
                self._restore(signum)
        elif signum in self._procs:
            self._deliver(signum)

    def abandon(self) -> None:
        """In a forked child: its signals are not the parent's loop's any more."""
        self._procs.clear()
        for signum in list(self._former):
            self._restore(signum)

    def __len__(self) -> int:
        return len(self._procs)


def _owner(handler: Handler) -> SignalWatches | None:
    owner = getattr(handler, "__self__", None)
    return owner if isinstance(owner, SignalWatches) else None


def _give_back(signum: int, ours: Handler, former: Handler) -> None:
    """Put `former` in the place of our handler: where it is set, or where a loop that came later would set it again."""
    handler = signal.getsignal(signum)
    if handler == ours:
        # None: a handler that was not set from Python, so Python cannot set it again either.
        signal.signal(signum, signal.SIG_DFL if former is None else former)
        return
    while (later := _owner(handler)) is not None:
        handler = later._former.get(signum)
        if handler == ours:
            later._former[signum] = former
            return


def _check(signum: int) -> None:
    if not isinstance(signum, int) or isinstance(signum, bool):
        raise TypeError(f"signum must be a signal number, not {signum!r}")
    if signum not in signal.valid_signals():
        raise ValueError(f"signum {signum} is no signal of this system")


def _check_thread() -> None:
    if not _in_main_thread():
        raise LoopStateError("signal watches are added and removed in the main thread: Python runs signal handlers there")


class InterruptGuard:
    """Ctrl-C while a loop runs in the main thread: the first is raised between two callbacks, the second at once."""

    __slots__ = ("_installed", "_interrupt", "_wakeup", "leaving", "seen")

    def __init__(self, wakeup: WakeupDescriptor, interrupt: Callable[[], object]) -> None:
        self._wakeup = wakeup
        self._interrupt = interrupt
        self._installed = False
        self.seen = False
        # The loop puts its own affairs in order, which nothing must cut short any more.
        self.leaving = False

    def install(self) -> bool:
        """Take SIGINT over, if this is the main thread and the application left it to Python; says whether it did."""
        if not _in_main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return False
        self._wakeup.prepare()
        self.seen = self.leaving = False
        self._installed = True
        signal.signal(signal.SIGINT, self._handle)
        self._wakeup.claim()
        return True

    def remove(self) -> None:
        """Give SIGINT back, if nobody else took it meanwhile. Last of all: from then on Ctrl-C is raised anywhere. Idempotent."""
        if not self._installed:
            return
        try:
            self._wakeup.release()
        finally:
            _give_back(signal.SIGINT, self._handle, signal.default_int_handler)
            self._installed = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        # Not installed: somebody had another handler meanwhile, and has put back what was there before.
        if not self._installed or (self.seen and not self.leaving):
            raise KeyboardInterrupt
        self.seen = True
        self._interrupt()
