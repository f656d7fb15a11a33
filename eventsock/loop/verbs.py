"""What any thread may ask of a loop: posts, timeouts, watches, staying alive.

Knows the loop's queues, its sleep, and when it refuses. It must not know how the loop is run or ended, and calls nothing that was
handed in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from threading import get_ident

from ..compiling import Given, mypyc_attr
from ..errors import LoopStateError, SocketError
from .checks import checked_callable, checked_seconds, name_of
from .descriptors import FileLike, number_of
from .engine import Engine
from .late import LateWatch, late_watches
from .pollers import Poller
from .selectors import IN, OUT
from .signals import SignalWatches, WakeupDescriptor, signal_name
from .throttle import Throttle
from .timers import Timeout

__all__ = ["Verbs"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Verbs(Engine):
    """The verbs that are safe from any thread and from signal handlers, and those that go with them."""

    __slots__ = (
        "_driven_by",
        "_dropped",
        "_late",
        "_lock",
        "_on_wake",
        "_signals",
        "_throttle",
        "_wakeup",
        "enqueue",
        "in_turn",
        "running",
    )

    def __init__(self, poller: Poller, clock: Callable[[], float] | None, debug: bool, throttle: Throttle | None) -> None:
        super().__init__(poller, time.monotonic if clock is None else clock, debug)
        self._lock = threading.RLock()
        self._throttle = throttle
        self._unguarded = throttle is None
        # As `soon`, for whoever knows that a turn is under way.
        self.enqueue: Callable[[Callable[[], object]], object] = self._posts.append
        # What was still queued when the loop was closed; see `_take_back`.
        self._dropped: list[Callable[[], object]] = []
        # Whether there may be a `LateWatch` among the posts.
        self._late = False
        # The thread that drives the loop; in_turn: inside a run or a step; running: inside a run.
        self._driven_by: int | None = None
        self.in_turn = False
        self.running = False
        self._on_wake: Callable[[], object] | None = None
        self._wakeup = WakeupDescriptor(self._adopt)
        self._signals = SignalWatches(self._wakeup, self._signalled)

    # Posts

    def post(self, action: Callable[[], object]) -> None:
        """Run `action()` in the loop's thread, after what was posted before. Any thread, any signal handler.

        A post that returns is run, unless a `quit` or an error drops it; a closed loop refuses it: `LoopClosedError`. A foreign
        thread may be made to sleep (see the class). Origin: chez-a-sync `event-post!`.
        """
        if not callable(action):
            raise TypeError(f"action must be callable, not {type(action).__name__}")
        self._posts.append(action)
        if not self._alert:
            self._posted_unseen(action)

    def _posted_unseen(self, action: Callable[[], object]) -> None:
        if self._refusal is not None:
            self._take_back(action)
        elif not self._awake:
            self.rouse()
        if self._throttle is not None and self._driven_by is not None and self._driven_by != get_ident():
            self._throttle.slow_down(len(self._posts))

    def _take_back(self, action: Callable[[], object]) -> None:
        # Appended first and refused second, so that a close in between cannot lose it: it is still in the queue, or the closing loop
        # has run it, or has dropped it.
        with self._lock:
            for queue in (self._posts, self._dropped):
                try:
                    queue.remove(action)
                except ValueError:
                    continue
                raise self._refused()

    def rouse(self) -> None:
        """There is work the sleeping loop does not know of: wake it, or tell its host. Any thread."""
        if not self._waker.claim():
            return
        # Awake from here on for whoever posts next, and before the byte is sent: the loop, once woken, decides anew.
        self._awake = True
        self._alert = self._unguarded
        if self._refusal is not None:
            self._awake = self._alert = False
        between_steps = not self.in_turn
        self._waker.ring()
        if self._on_wake is not None and between_steps:
            self._on_wake()

    @property
    def pending_posts(self) -> int:
        """How many posts have not been started. Any thread. Origin: chez-a-sync `event-loop-tasks`."""
        return len(self._posts)

    # Timeouts

    def timeout_post(self, seconds: Given[float], action: Callable[[], object], *, repeat: Given[bool] = True) -> Timeout:
        """Call `action()` in `seconds` (negative counts as 0; `inf`: never), and again and again until it returns False.

        A repeating timeout keeps its schedule; periods that were missed are skipped. `repeat=False`: once. Any thread.
        `ValueError`: NaN; `TypeError`; `LoopClosedError`. Origin: chez-a-sync `timeout-post!`.
        """
        if seconds.__class__ is not float or not seconds >= 0.0:
            seconds = max(checked_seconds(seconds), 0.0)
        if not callable(action):
            raise TypeError(f"action must be callable, not {type(action).__name__}")
        timers = self.timers
        timeout = Timeout()
        timeout.when = self.time() + seconds
        timeout.action = action
        timeout.interval = seconds if repeat else None
        timeout.heap = timers
        timers.incoming.append(timeout)
        if not self._awake:
            self._timeout_unseen(timeout)
        return timeout

    def _timeout_unseen(self, timeout: Timeout) -> None:
        if self._refusal is not None:
            self.timers.remove(timeout)
            raise self._refused()
        if timeout.when < self._until:
            self.rouse()

    def timeout_remove(self, timeout: Given[Timeout]) -> bool:
        """Take a timeout back; False when it has fired for the last time or was removed before. Any thread.

        `LoopStateError`: it is another loop's. Origin: chez-a-sync `timeout-remove!`.
        """
        if timeout.__class__ is not Timeout:
            raise TypeError(f"timeout must be what timeout_post returned, not {type(timeout).__name__}")
        timers = self.timers
        if timeout.heap is not timers:
            raise LoopStateError(f"{timeout!r} was set in another loop than {self!r}")
        removed = timers.remove(timeout)
        if not self._awake:
            self._look_again(removed)
        return removed

    def _look_again(self, removed: bool) -> bool:
        """Something is gone: a sleeping run may have nothing left to wait for."""
        if removed and self.running and not self._awake:
            self.rouse()
        return removed

    # Watches

    def add_read_watch(self, file: FileLike, proc: Callable[[str], object]) -> None:
        """Call `proc("in")` whenever `file` is readable, `proc("excpt")` on exceptional conditions, until it returns False.

        `file`: a descriptor number or an object with `fileno()`; it belongs to the loop until the watch is removed. A second
        watch on the same descriptor and direction replaces the first. Any thread. `SocketError`: closed (EBADF), or a regular
        file or directory (EPERM, also a `PermissionError`); `BusyError`: a task waits; `LoopClosedError`.
        Origin: chez-a-sync `event-loop-add-read-watch!`.
        """
        self._add_watch(file, IN, proc)

    def add_write_watch(self, file: FileLike, proc: Callable[[str], object]) -> None:
        """Call `proc("out")` whenever `file` is writable, until it returns False. Otherwise as `add_read_watch`."""
        self._add_watch(file, OUT, proc)

    def _add_watch(self, file: FileLike, bit: int, proc: Callable[[str], object]) -> None:
        checked_callable("proc", proc)
        with self._lock:  # so that no other thread closes the selector meanwhile
            if self._refusal is not None:
                raise self._refused()
            if self._late:
                self._call_off(file, bit)
            if self.book.lock.held_here():
                # A signal handler that has interrupted such a verb half-way: the loop does it.
                self.soon(LateWatch(self._put_late, file, bit, proc))
                self._late = True
                return
            self.book.add_watch(file, bit, proc)
        if not self._awake:
            self.rouse()

    def remove_read_watch(self, file: FileLike) -> bool:
        """Remove the read watch of `file`; False when there is none. Any thread. Origin: `event-loop-remove-read-watch!`."""
        return self._remove_watch(file, IN)

    def remove_write_watch(self, file: FileLike) -> bool:
        """Remove the write watch of `file`; False when there is none. Any thread. Origin: `event-loop-remove-write-watch!`."""
        return self._remove_watch(file, OUT)

    def _remove_watch(self, file: FileLike, bit: int) -> bool:
        called_off = self._late and self._call_off(file, bit)
        side = self.book.side(file, bit)
        if side is None or side.watch is None:
            return called_off
        if self.book.lock.held_here():  # as in `_add_watch`
            self.soon(partial(self.book.end_watch, side, side.watch))
            return True
        return self._look_again(self.book.end_watch(side, side.watch)) or called_off

    def _put_late(self, late: LateWatch) -> None:
        with self._lock:
            if late.overtaken:
                return
            late.overtaken = True
            if self._refusal is not None:
                raise self._refused()
            self.book.add_watch(late.file, late.bit, late.proc)

    def _call_off(self, file: FileLike, bit: int) -> bool:
        """What a signal handler has asked for and the loop has not done yet is overtaken; whether there was such."""
        with self._lock:
            self._late = False
            late = late_watches(self._posts)
            if late:
                self._late = True
            try:
                fd = number_of(file)
            except SocketError:  # closed by now; who removes its watch is told by the book
                return False
            found = [watch for watch in late if watch.bit == bit and watch.fd == fd]
            for watch in found:
                watch.overtaken = True
            return bool(found)

    def forget(self, file: FileLike) -> None:
        """Call it before closing a descriptor by hand: drops its watches and wakes who waits for it with a `SocketError`."""
        self._check_ours()
        descriptor = self.book.lookup(file)
        if descriptor is not None:
            self.book.discard(descriptor)

    def add_signal_watch(self, signum: Given[int], proc: Callable[[int], object]) -> None:
        """Call `proc(signum)` in the loop at each such signal, until it returns False. It does not keep the loop alive.

        Main thread only (`LoopStateError`). `ValueError`: no such signal, or one that cannot be caught. The former handler comes
        back when the watch goes; `signal.set_wakeup_fd` is shared with whoever had it.
        """
        if self._refusal is not None:
            raise self._refused()
        self._signals.add(signum, proc)

    def remove_signal_watch(self, signum: Given[int]) -> bool:
        """Give a signal back to its former handler; False when it is not watched. Main thread."""
        return self._signals.remove(signum)

    def _adopt(self, fd: int, drain: Callable[[], object]) -> None:
        with self._lock:
            if self._refusal is not None:
                raise self._refused()
            self.book.adopt(fd, drain)
        if not self._awake:
            self.rouse()

    def _signalled(self, signum: int) -> None:
        self.soon(lambda: self._fire_signal(signum))

    def _fire_signal(self, signum: int) -> None:
        proc = self._signals.proc(signum)
        if proc is None:
            return
        try:
            goes_on = proc(signum)
        except BaseException as error:
            self.fail(error, f"a watch on {signal_name(signum)}, {name_of(proc)}")
            return
        if goes_on is False and self._signals.proc(signum) is proc:
            self._signals.drop(signum)

    # Staying alive

    def block(self, flag: Given[bool] = True) -> None:
        """`True`: `run` waits for work even when nothing is left. `False`: it returns then. Any thread. Origin: `event-loop-block!`."""
        if self._refusal is not None:
            raise self._refused()
        self._blocked = bool(flag)
        if not self._awake:
            self.rouse()

    def keep_alive(self, job: object) -> None:
        """Keep `run` from returning until `let_go(job)`: a worker's answer is on its way. Loop thread."""
        self._jobs.add(job)

    def let_go(self, job: object) -> None:
        """The answer has come, or is not waited for any more. Loop thread."""
        self._jobs.discard(job)

    # Refusing

    def _refused(self) -> LoopStateError:
        refusal = self._refusal
        assert refusal is not None
        return type(refusal)(*refusal.args)

    @property
    def thread(self) -> int | None:
        """The identifier of the thread that drives the loop, or None while nobody does."""
        return self._driven_by

    def check_thread(self) -> None:
        """`LoopStateError`: the loop refuses work, or it is driven by another thread."""
        if self._refusal is not None:
            raise self._refused()
        self._check_ours()

    def _check_ours(self) -> None:
        if self._driven_by is not None and self._driven_by != get_ident():
            raise LoopStateError(f"{self!r} belongs to thread {self._driven_by}; thread {get_ident()} must use loop.post()")
