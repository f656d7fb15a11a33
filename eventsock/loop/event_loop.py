"""The event loop: prepare, poll, dispatch.

Knows callbacks, descriptors, time and threads. It must not know generators, tasks or protocols: whoever waits is woken through
the `Waiter` verbs, and whoever lives in the loop is closed through `Resident`. One turn is `_turn`; `run` and `step` drive it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from math import inf
from selectors import BaseSelector
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TextIO

from ..errors import LoopClosedError, LoopStateError, SocketError
from .current import claim_thread, here
from .descriptors import Book, FileLike, ForkedPoller, Side, Waiter
from .selectors import ERR, HUP, IN, NVAL, OUT, PRI, poller_for
from .signals import InterruptGuard, SignalWatches, WakeupDescriptor
from .timers import Timeout, TimerHeap
from .waker import Waker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

__all__ = ["EventLoop", "Resident", "Statistics"]

_READABLE = IN | ERR | HUP | NVAL
_WRITABLE = OUT | ERR | HUP | NVAL

# How long the loop sleeps before it looks whether a descriptor was closed behind its back: epoll drops such without a word.
# A busy loop never looks, an idle one once a sleep.
_LOOK = 1.0
# How many times within a turn a task may be woken by the one that met it.
_GOES = 100
# Longer than poll(2) can be told to wait is waited for in pieces.
_LONGEST_POLL = 86400.0


class Statistics(NamedTuple):
    """What a loop has done and holds, at one moment; `longest_callback` in seconds, measured by a loop in debug mode only."""

    watches: int
    waiting: int
    timeouts: int
    posts: int
    tasks: int
    turns: int
    longest_callback: float | None
    wake_ups: int
    selector_rebuilds: int


class Resident(Protocol):
    """Who lives in a loop and must be closed with it."""

    def shut(self) -> bool | None:
        """End now; False: cannot, it is on the stack below the call."""

    def report(self) -> str: ...


def _debug_by_default() -> bool:
    return sys.flags.dev_mode or os.environ.get("EVENTSOCK_DEBUG", "") not in ("", "0")


class _Nest(NamedTuple):
    """An open `nested()` block; compared by identity."""

    depth: int
    outer: _Nest | None


class EventLoop:
    """A callback loop on the standard `selectors` module. A context manager that closes.

    `throttle_threshold` (posts) and `throttle_delay` (seconds), both or neither: a foreign thread that posts while `x >= 1`, with
    `x = pending posts / threshold`, sleeps `x**3 * throttle_delay` seconds, at most one. `selector`: any
    `selectors.BaseSelector`; the loop owns it. `clock`: a callable giving monotonic seconds. `on_error(error, where)` gets what
    escapes a callback, and the loop goes on. `debug`: None means on under `python -X dev` or `EVENTSOCK_DEBUG=1`.

    Safe from any thread and from signal handlers: `post`, the watch and timeout verbs, `block`, `quit`, `close`. All else belongs
    to the thread that runs the loop. Origin: chez-a-sync `make-event-loop`.
    """

    # What the tasks' room wants set while a loop steps (see `sys.set_asyncgen_hooks`); the loop only sets what it was given.
    asyncgen_hooks: ClassVar[tuple[Callable[[Any], None] | None, Callable[[Any], None] | None] | None] = None

    def __init__(
        self,
        *,
        throttle_threshold: float | None = None,
        throttle_delay: float | None = None,
        selector: BaseSelector | None = None,
        clock: Callable[[], float] | None = None,
        on_error: Callable[[BaseException, str], object] | None = None,
        debug: bool | None = None,
    ) -> None:
        self._closed = True  # until all is made: a half-built loop has nothing to release
        self._throttle = _checked_throttle(throttle_threshold, throttle_delay)
        for name, value in (("clock", clock), ("on_error", on_error)):
            if value is not None and not callable(value):
                raise TypeError(f"{name} must be callable, not {type(value).__name__}")
        self.time: Callable[[], float] = time.monotonic if clock is None else clock
        self.debug = _debug_by_default() if debug is None else bool(debug)
        # Who says in another way that `run` left tasks asleep (`Deadlock`) turns it off.
        self.names_sleepers = self.debug
        self.timers = TimerHeap()
        self.residents: dict[Resident, None] = {}
        self._on_error = on_error
        self._on_wake: Callable[[], object] | None = None
        self._posts: deque[Callable[[], object]] = deque()
        # As `soon`, for whoever knows that a turn is under way.
        self.enqueue: Callable[[Callable[[], object]], object] = self._posts.append
        self._jobs: set[object] = set()
        self._blocked = False
        self._lock = threading.RLock()
        self._thread: int | None = None
        self._depth = 0
        # The innermost open `nested()` block: the depth it was opened at, and the block around it.
        self._nest: _Nest | None = None
        self._doomed = False
        # Who steps the loop in its place; None: nobody, so it may run.
        self.host: object | None = None
        self._unserved: tuple[list[tuple[int, int]], int] | None = None
        self._fired: list[tuple[int, int]] = []
        self._error: BaseException | None = None
        self._refusal: LoopStateError | None = None
        self._unguarded = self._throttle is None  # a post needs no second look while callbacks are served
        self._longest: float | None = 0.0 if self.debug else None
        self._ended = threading.Event()
        # in_turn: inside a turn; running: inside `run`; awake: callbacks are being served, so that new work is seen unasked;
        # alert: awake, and a post needs no second look; stopping: serve nothing more.
        self.in_turn = False
        self.running = False
        # Whose code runs right now: a note of the tasks' room, which the loop never reads.
        self.current: Any = None
        self._awake = False
        self._alert = False
        self._stopping = False
        # Whether the first of the queued posts was handed over when nothing else was queued.
        self._handed = False
        poller = poller_for(selector)
        try:
            self._waker = Waker()
        except BaseException:
            poller.close()
            raise
        self.book = Book(poller, self._dismissed)
        self._attach_waker()
        self._wakeup = WakeupDescriptor(self._waker)
        self._signals = SignalWatches(self._wakeup, self._signalled)
        self._guard = InterruptGuard(self._wakeup, self._interrupted)
        self._closed = False
        _alive.add(self)

    def _attach_waker(self) -> None:
        try:
            self.book.add_watch(self._waker.reader, IN, self._drain_waker)
        except BaseException:
            self._waker.close()
            self.book.poller.close()
            raise
        self.book.watches = 0  # this watch is ours and keeps no loop alive
        self._bell = self.book.find(self._waker.reader)

    def _drain_waker(self, status: str) -> None:
        self._waker.drain()

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
            # Appended first and asked second, so that a close in between cannot lose it: it is either still there to be taken
            # back, or the closing loop has run it.
            try:
                self._posts.remove(action)
            except ValueError:
                return
            raise self._refused()
        if not self._awake:
            self.rouse()
        if self._throttle is not None:
            self._slow_down(*self._throttle)

    def _slow_down(self, threshold: float, delay: float) -> None:
        if not self.running or get_ident() == self._thread:
            return
        load = len(self._posts) / threshold
        if load >= 1:
            self._ended.wait(min(1.0, load**3 * delay))

    def soon(self, action: Callable[[], object]) -> None:
        """As `post`, for the loop's own thread: no checks and no throttle."""
        self._posts.append(action)
        if not self._awake:
            self.rouse()

    def hand_over(self, action: Callable[[], object]) -> None:
        """As `soon`, for a task that another one has met: where nothing else is queued, it may run in the same turn."""
        if not self._posts:
            self._handed = True
        self._posts.append(action)
        if not self._awake:
            self.rouse()

    def rouse(self) -> None:
        """There is work the sleeping loop does not know of: wake it, or tell its host. Any thread."""
        if self._waker.ring() and self._on_wake is not None and not self.in_turn:
            self._on_wake()

    @property
    def pending_posts(self) -> int:
        """How many posts have not been started. Origin: chez-a-sync `event-loop-tasks`."""
        return len(self._posts)

    # Timeouts

    def timeout_post(self, seconds: float, action: Callable[[], object], *, repeat: bool = True) -> Timeout:
        """Call `action()` in `seconds` (negative counts as 0; `inf`: never), and again and again until it returns False.

        A repeating timeout keeps its schedule; periods that were missed are skipped. `repeat=False`: once. Any thread.
        `ValueError`: NaN; `TypeError`; `LoopClosedError`. Origin: chez-a-sync `timeout-post!`.
        """
        if seconds.__class__ is not float:
            seconds = _checked_seconds(seconds)
        if seconds != seconds:
            raise ValueError("seconds must be a number, not NaN")
        if not callable(action):
            raise TypeError(f"action must be callable, not {type(action).__name__}")
        if seconds < 0.0:
            seconds = 0.0
        timeout = Timeout(self.time() + seconds, action, seconds if repeat else None)
        self.timers.incoming.append(timeout)
        if not self._awake:
            self._timeout_unseen(timeout)
        return timeout

    def _timeout_unseen(self, timeout: Timeout) -> None:
        if self._refusal is not None:
            self.timers.remove(timeout)
            raise self._refused()
        self.rouse()

    def timeout_remove(self, timeout: Timeout) -> bool:
        """Take a timeout back; False when it has fired for the last time or was removed before. Any thread.

        Origin: chez-a-sync `timeout-remove!`.
        """
        if not isinstance(timeout, Timeout):
            raise TypeError(f"timeout must be what timeout_post returned, not {type(timeout).__name__}")
        return self.timers.remove(timeout)

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
        if not callable(proc):
            raise TypeError(f"proc must be callable, not {type(proc).__name__}")
        if self._refusal is not None:
            raise self._refused()
        self.book.add_watch(file, bit, proc)
        if not self._awake:
            self.rouse()

    def remove_read_watch(self, file: FileLike) -> bool:
        """Remove the read watch of `file`; False when there is none. Any thread. Origin: `event-loop-remove-read-watch!`."""
        return self.book.remove_watch(file, IN)

    def remove_write_watch(self, file: FileLike) -> bool:
        """Remove the write watch of `file`; False when there is none. Any thread. Origin: `event-loop-remove-write-watch!`."""
        return self.book.remove_watch(file, OUT)

    def forget(self, file: FileLike) -> None:
        """Call it before closing a descriptor by hand: drops its watches and wakes who waits for it with a `SocketError`."""
        descriptor = self.book.lookup(file)
        if descriptor is not None and descriptor is not self._bell:
            self.book.discard(descriptor)

    def _dismissed(self, waiter: Waiter, error: SocketError) -> None:
        self.soon(lambda: waiter.fail(error))

    def add_signal_watch(self, signum: int, proc: Callable[[int], object]) -> None:
        """Call `proc(signum)` in the loop at each such signal, until it returns False. It does not keep the loop alive.

        Main thread only (`LoopStateError`). `ValueError`: no such signal, or one that cannot be caught. The former handler comes
        back when the watch goes; `signal.set_wakeup_fd` is shared with whoever had it.
        """
        if self._refusal is not None:
            raise self._refused()
        self._signals.add(signum, proc)

    def remove_signal_watch(self, signum: int) -> bool:
        """Give a signal back to its former handler; False when it is not watched. Main thread."""
        return self._signals.remove(signum)

    def _signalled(self, signum: int) -> None:
        self._posts.append(lambda: self._fire_signal(signum))
        if not self._awake:
            self.rouse()

    def _fire_signal(self, signum: int) -> None:
        proc = self._signals.proc(signum)
        if proc is not None and proc(signum) is False and self._signals.proc(signum) is proc:
            self._signals.remove(signum)

    def _interrupted(self) -> None:
        self._error = KeyboardInterrupt()
        self._stopping = True
        self.rouse()

    # Life

    def run(self) -> None:
        """Serve until nothing is left to do, or until `quit` or `close`. May be called again afterwards.

        In debug mode it writes to stderr which tasks it leaves asleep, because nothing is left that could wake them.
        Raises what escapes a callback, or a task nobody waits for. `LoopStateError`: it runs already, a host steps it, or another
        loop runs in this thread; `LoopClosedError`. Origin: chez-a-sync `event-loop-run!`.
        """
        if self.host is not None:
            raise LoopStateError(
                f"{self!r} is stepped by {self.host}, so its tasks go on by themselves and run() would stop the host: start a task "
                "with a_sync and await its result, or detach() the loop before you run it"
            )
        former = self._enter(may_nest=False)
        guarded = self._guard.install()
        hooks = self._set_hooks()
        self.running = True
        self._ended.clear()
        try:
            while self._turn(None, None):
                pass
            if self.names_sleepers and self.residents and not self._stopping:
                self._name_sleepers()
        except BaseException as error:
            self._leave_with(error)
        finally:
            self.running = False
            self._ended.set()
            self._leave()
            self._thread = None
            here.loop = former
            sys.set_asyncgen_hooks(*hooks)
            if guarded:
                self._guard.remove()
        self._raise_error()

    def step(self, timeout: float = 0.0, *, budget: float | None = None) -> bool:
        """One turn: poll (waiting at most `timeout` seconds; None: as long as it takes), timeouts, watches, posts.

        True while anything remains to be done. `budget` limits the seconds spent in callbacks; what is not served stays for the
        next step. The first step makes this the current loop of the thread. Raises as `run`.
        """
        former = self._enter()
        self._thread = get_ident()
        hooks = self._set_hooks()
        more = False
        try:
            patience = _checked_seconds(timeout) if timeout is not None else inf
            limit = None if budget is None else self.time() + _checked_seconds(budget)
            self._turn(max(patience, 0.0), limit)
            more = not self._stopping and self._remains()
        except BaseException as error:
            self._leave_with(error)
        finally:
            self._leave()
            sys.set_asyncgen_hooks(*hooks)
            if self._closed and not self._depth:
                here.loop = None if former is self else former
        self._raise_error()
        return more

    def _enter(self, *, may_nest: bool = True) -> EventLoop | None:
        with self._lock:
            if self._refusal is not None:
                raise self._refused()
            if self._thread is not None and self._thread != get_ident():
                raise LoopStateError(f"{self!r} is driven by thread {self._thread}; thread {get_ident()} must post to it instead")
            if self.in_turn or (self._depth and not may_nest):
                raise LoopStateError(
                    f"{self!r} is already running: inside it, start a task with a_sync and await its result, or call a dialog's "
                    "own loop within `with loop.nested():`"
                )
            former = claim_thread(self)
            self._depth += 1
            self._thread = get_ident()
            self.in_turn = True
        return former

    def _name_sleepers(self) -> None:
        print("nothing is left to do, but these tasks still wait:", file=sys.stderr)
        self.dump()

    def _set_hooks(self) -> tuple[Any, Any]:
        old = sys.get_asyncgen_hooks()
        if self.asyncgen_hooks is not None:
            sys.set_asyncgen_hooks(*self.asyncgen_hooks)
        return tuple(old)  # type: ignore[return-value]

    def _leave(self) -> None:
        """The end of `run` or of a step: put down what a quit, an error or a close must put down."""
        outermost = self._depth == 1
        if self._stopping and not isinstance(self.book.poller, ForkedPoller):
            if self._closed:
                self._alert = False
                self._run_accepted()
            self._abandon()
        with self._lock:
            self._depth -= 1
            while self._nest is not None and self._nest.depth > self._depth:
                self._nest = self._nest.outer  # its task suspended inside the block
            self._awake = self._alert = self.in_turn = False
            # The turns below end too, as soon as what holds them up returns.
            self._doomed = not outermost and (self._doomed or self._stopping)
            self._stopping = False
            self._waker.reset()
            if outermost and self._closed:
                self._release()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error

    def _run_accepted(self) -> None:
        posts = self._posts
        while posts:
            action = posts.popleft()
            try:
                action()
            except BaseException as error:
                self.fail(error, f"a post, {_name(action)}")

    def _abandon(self) -> None:
        """Drop all work and close all residents; what goes wrong is attached to the error that leaves."""
        self._awake = True
        self._drop_work()
        on_stack: dict[Resident, None] = {}
        while self.residents:
            resident = next(iter(self.residents))
            self.residents.pop(resident)
            try:
                if resident.shut() is False:
                    on_stack[resident] = None
            except BaseException as error:
                self._leave_with(error)
        self.residents.update(on_stack)
        self._drop_work()

    def _drop_work(self) -> None:
        self._unserved = None
        self._jobs.clear()
        self.timers.clear()
        self._signals.clear()
        self.book.clear(keep=self._bell)
        posts = self._posts
        while posts:
            dropped = getattr(posts.popleft(), "dropped", None)
            if dropped is not None:
                dropped()

    def quit(self) -> None:
        """Make `run` return after the callback that is running; all watches, timeouts and posts are dropped, tasks are closed.

        On a loop that is not running it does nothing. Any thread, any signal handler. Origin: chez-a-sync `event-loop-quit!`.
        """
        if self._depth and self._refusal is None:
            self._stopping = True
            self.rouse()

    def close(self) -> None:
        """As `quit`, but posts that were accepted are still run; then the selector is released, for ever. Idempotent. Any thread.

        On an idle loop accepted posts are dropped with a `ResourceWarning`. Origin: chez-a-sync `event-loop-close!`.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._refusal = LoopClosedError("the loop is closed")
            self._alert = self._unguarded = False
            in_turn, pending = self._depth > 0, len(self._posts)
            if in_turn:
                self._stopping = True
                self._waker.ring()
            else:
                self._abandon()
                self._release()
                if here.loop is self:
                    here.loop = None
        if self._on_wake is not None and not self.in_turn:
            self._on_wake()
        if in_turn:
            return
        if pending:
            warnings.warn(f"{self!r} was closed with {pending} posts not run", ResourceWarning, stacklevel=2)
        self._raise_error()

    def _release(self) -> None:
        self._signals.clear()
        self._wakeup.give_back()
        self.book.table.clear()
        self.book.poller.close()
        self._waker.close()
        _alive.discard(self)

    def block(self, flag: bool = True) -> None:
        """`True`: `run` waits for work even when nothing is left. `False`: it returns then. Any thread. Origin: `event-loop-block!`."""
        if self._refusal is not None:
            raise self._refused()
        self._blocked = bool(flag)
        if not self._awake:
            self.rouse()

    def keep_alive(self, job: object) -> None:
        """Keep `run` from returning until `let_go(job)`: a worker's answer is on its way."""
        self._jobs.add(job)

    def let_go(self, job: object) -> None:
        """The answer has come, or is not waited for any more."""
        self._jobs.discard(job)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Inside a callback or task: allow `step` on top of it, as a modal dialog's own loop does through the host's adapter.

        All else goes on; the task on the stack does not, and resuming it is a `LoopStateError`. The block must not contain an
        await. What `quit`, `close` or an error ends inside it also ends the turn outside, once the block is left.
        `LoopStateError`: outside a callback or task, or a task suspended inside the block.
        """
        if get_ident() != self._thread or not self.in_turn:
            raise LoopStateError("nested() is for a callback or task of a loop that is being stepped")
        block = self._nest = _Nest(self._depth, self._nest)
        # What runs on top of the task is not the task.
        task, self.current = self.current, None
        self._awake = self._alert = self.in_turn = False
        self._waker.reset()
        self.rouse()
        try:
            yield
        except BaseException:
            self._end_nested(block, task)
            raise
        if not self._end_nested(block, task):
            raise LoopStateError("a task was suspended inside `with loop.nested():`; the block is for calls that block, not for awaits")

    def _end_nested(self, block: _Nest, task: Any) -> bool:
        if self._nest is not block:
            return False
        self._nest = block.outer
        self.current = task
        self._awake = self.in_turn = True
        self._alert = self._unguarded
        self._stopping = self._stopping or self._doomed
        # What the turn below had polled was polled again meanwhile, and served.
        del self._fired[:]
        return True

    # One turn

    def _turn(self, patience: float | None, limit: float | None) -> bool:
        """Poll, timeouts, ready descriptors, posts. False: nothing was left to do, so nothing was done."""
        book = self.book
        while self._nest is not None and self._nest.depth >= self._depth:
            self._nest = self._nest.outer  # its task suspended inside the block, and is told when it leaves it
            self.in_turn = True
        # Announced before the queues are looked at: a post that comes later finds the loop asleep and rings.
        self._awake = self._alert = False
        self._waker.reset()
        wait = 0.0 if self._posts else self._wait()
        if wait < 0.0 and patience is None:
            return False
        if self._unserved is not None:
            fired, turn = self._unserved
            self._unserved = None
        else:
            fired = book.poller.poll(0.0) if wait == 0.0 else self._poll(wait, patience)
            turn = book.new_turn()
        self._awake = True
        self._alert = self._unguarded
        timers = self.timers
        if timers.heap or timers.incoming:
            self._fire_timeouts(limit)
        if fired:
            self._fired = fired
            self._fire_ready(fired, turn, limit)
        if self._posts:
            self._run_posts(limit)
        return not self._stopping

    def _wait(self) -> float:
        """How long the poll may wait, in seconds; `inf`: without limit; negative: nothing is left to do."""
        if self._posts or self._stopping or self._unserved is not None:
            return 0.0
        timers = self.timers
        deadline = timers.next_deadline() if timers.heap or timers.incoming else None
        if deadline is not None:
            wait = deadline - self.time()
            return wait if wait > 0.0 else 0.0
        return inf if self._waits() else -1.0

    def _waits(self) -> bool:
        book = self.book
        return bool(book.armed or book.watches or self._jobs or self._blocked)

    def _remains(self) -> bool:
        return self._wait() >= 0.0

    def _poll(self, wait: float, patience: float | None) -> list[tuple[int, int]]:
        poll = self.book.poller.poll
        if patience is not None and (wait < 0.0 or wait > patience):
            wait = patience
        if wait <= _LOOK:
            return poll(wait)
        fired = poll(_LOOK)
        if fired or self._posts or self._stopping:
            return fired
        self.book.reap_closed()
        if self._posts:
            return []
        wait = min(wait - _LOOK, _LONGEST_POLL) if wait != inf else inf
        return poll(None if wait == inf else wait)

    def _fire_timeouts(self, limit: float | None) -> None:
        timers = self.timers
        timers.absorb()
        now = self.time()
        # Timeouts made by these callbacks come in for the next turn, so one that posts itself starves nothing.
        while not self._stopping:
            timeout = timers.pop_due(now)
            if timeout is None:
                return
            action = timeout.action
            assert action is not None
            if timeout.interval is None:
                timeout.action = None
            try:
                if (action() if self._longest is None else self._timed(action)) is False:
                    timeout.action = None
            except BaseException as error:
                self.fail(error, f"a timeout, {_name(action)}")
            if timeout.interval is not None:
                timers.reschedule(timeout, self.time())
            if limit is not None and self.time() >= limit:
                return

    def _fire_ready(self, fired: list[tuple[int, int]], turn: int, limit: float | None) -> None:
        book = self.book
        get = book.table.get
        plain = self._longest is None
        for index, (fd, mask) in enumerate(fired):
            if self._stopping:
                return
            if limit is not None and index and self.time() >= limit:
                self._unserved = fired[index:], turn
                return
            descriptor = get(fd)
            if descriptor is None:
                book.stray(fd)
                continue
            if descriptor.born >= turn:
                continue  # registered after the poll: the event was for the number's former owner
            if mask & PRI:
                self._call_watch(descriptor.read, "excpt", turn)
            if mask & _READABLE:
                side = descriptor.read
                waiter = side.waiter
                if waiter is None:
                    self._nobody_waits(side, "in", turn)
                else:
                    # The registration stays, only the slot is cleared; see `Side.arm`.
                    side.waiter = None
                    book.armed -= 1
                    try:
                        if plain:
                            waiter.wake()
                        else:
                            self._timed(waiter.wake)
                    except BaseException as error:
                        self.fail(error, f"what waited for {side}")
            if mask & _WRITABLE and not self._stopping:
                self._fire_writable(descriptor.write, turn)

    def _fire_writable(self, side: Side, turn: int) -> None:
        waiter = side.waiter
        if waiter is None:
            self._nobody_waits(side, "out", turn)
            return
        side.withdraw()
        try:
            self._timed(waiter.wake)
        except BaseException as error:
            self.fail(error, f"what waited for {side}")

    def _nobody_waits(self, side: Side, status: str, turn: int) -> None:
        """A ready side without a waiter: call its watch, or drop an interest that outlived its wait."""
        if side.watch is not None:
            self._call_watch(side, status, turn)
        elif side.descriptor.mask & side.bit:
            side.descriptor.unwant(side.bit)
        elif not side.descriptor.in_use:
            self.book.stray(side.descriptor.fd)

    def _call_watch(self, side: Side, status: str, turn: int) -> None:
        watch = side.watch
        if watch is None or watch.born >= turn:
            return  # removed, or replaced after the poll
        descriptor = side.descriptor
        if not isinstance(watch.file, int) and not descriptor.open:
            self.book.discard(descriptor)  # closed behind our back; nobody is called for a stranger's event
            self.book.rebuild()
            return
        try:
            proc = watch.proc
            goes_on = proc(status) if self._longest is None else self._timed(lambda: proc(status))
        except BaseException as error:
            self.fail(error, f"a watch on descriptor {descriptor.fd}, {_name(watch.proc)}")
            goes_on = True
        if side.watch is not watch:
            return
        if goes_on is False:
            self.book.drop_watch(side)
            descriptor.unwant(side.bit | (PRI if side.bit == IN else 0))
        elif status == "excpt":
            # It would be reported again until the urgent byte is read; it rests until the next ordinary input.
            descriptor.unwant(PRI)
        elif status == "in" and self.book.poller.has_priority and not descriptor.mask & PRI:
            descriptor.want(PRI)

    def _run_posts(self, limit: float | None) -> None:
        posts = self._posts
        popleft = posts.popleft
        plain = self._longest is None and limit is None
        # Only what is queued now: a post made by a post runs in the next turn, after sockets and timeouts had theirs. But two tasks
        # that meet again and again would then pay for a poll each time, so these have a number of goes in one turn.
        left = len(posts)
        goes = _GOES
        self._handed = False
        while left:
            if self._stopping or not posts:
                return
            left -= 1
            action = popleft()
            try:
                if plain:
                    action()
                else:
                    self._timed(action)
            except BaseException as error:
                self.fail(error, f"a post, {_name(action)}")
            if not plain and limit is not None and self.time() >= limit:
                return
            if self._handed:
                self._handed = False
                if not left and goes:
                    left = 1
                    goes -= 1

    def _timed(self, action: Callable[[], object]) -> object:
        if self._longest is None:
            return action()
        start = time.perf_counter()
        try:
            return action()
        finally:
            self._longest = max(self._longest, time.perf_counter() - start)

    # Errors

    @property
    def thread(self) -> int | None:
        """The identifier of the thread that drives the loop, or None while nobody does."""
        return self._thread

    def check_thread(self) -> None:
        """`LoopStateError`: the loop refuses work, or it is driven by another thread."""
        if self._refusal is not None:
            raise self._refused()
        if self._thread is not None and self._thread != get_ident():
            raise LoopStateError(f"{self!r} belongs to thread {self._thread}; thread {get_ident()} must use loop.post()")

    def fail(self, error: BaseException, where: str) -> None:
        """An error nobody catches: to `on_error`, else it ends the turn and leaves `run` or `step`. Loop thread."""
        if self._on_error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
            try:
                self._on_error(error, where)
            except BaseException as worse:
                self._leave_with(worse)
            return
        if not isinstance(error, (KeyboardInterrupt, SystemExit)):
            error.add_note(f"escaped from {where}")
        self._leave_with(error)

    def _leave_with(self, error: BaseException) -> None:
        self._stopping = True
        if self._error is None:
            self._error = error
        elif self._error is not error:
            _attach(self._error, error)

    def _refused(self) -> LoopStateError:
        refusal = self._refusal
        assert refusal is not None
        return type(refusal)(*refusal.args)

    # Embedding

    @property
    def closed(self) -> bool:
        """Whether `close` was called; also True in a forked child, where the loop is its parent's. Any thread."""
        return self._closed

    def fileno(self) -> int | None:
        """A descriptor that is readable when the loop wants a `step`; None where the selector has none. For a host's own loop."""
        return None if self._closed else self.book.poller.fileno()

    def next_deadline(self) -> float | None:
        """In how many seconds the loop wants a `step` whatever its descriptor says; 0.0 when work is queued; None: not at all."""
        if self._closed:
            return None
        wait = self._wait()
        return wait if 0.0 <= wait < inf else None

    def on_wake(self, callback: Callable[[], object] | None) -> None:
        """Between steps, call `callback()` once when a change makes work earlier, in the thread that made the change.

        Ask `next_deadline()` after each step; None takes the callback back.
        """
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable, not {type(callback).__name__}")
        self._on_wake = callback

    @property
    def on_error(self) -> Callable[[BaseException, str], object] | None:
        """What gets an error that nobody catches, as `on_error(error, where)`; None: it leaves `run` or `step`. Settable."""
        return self._on_error

    @on_error.setter
    def on_error(self, handler: Callable[[BaseException, str], object] | None) -> None:
        if handler is not None and not callable(handler):
            raise TypeError(f"on_error must be callable, not {type(handler).__name__}")
        self._on_error = handler

    # Reports

    def statistics(self) -> Statistics:
        """Numbers for a monitor, as one frozen value. Any thread."""
        book = self.book
        return Statistics(
            watches=book.watches,
            waiting=book.armed,
            timeouts=len(self.timers),
            posts=len(self._posts),
            tasks=len(self.residents),
            turns=book.turn,
            longest_callback=self._longest,
            wake_ups=self._waker.rings,
            selector_rebuilds=book.rebuilds,
        )

    def dump(self, file: TextIO | None = None) -> None:
        """Write what lives in the loop to `file` (None: stderr): its state, and each task with what it waits for."""
        out = sys.stderr if file is None else file
        print(self, file=out)
        for resident in list(self.residents):
            print(resident.report(), file=out)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self.in_turn else "idle"
        book = self.book
        return (
            f"<EventLoop {state}: {book.watches} watches, {book.armed} waiting, {len(self.timers)} timeouts, "
            f"{len(self._posts)} posts, {len(self.residents)} tasks>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(
                f"unclosed event loop {self!r}; use `with EventLoop() as loop:` or loop.close()", ResourceWarning, stacklevel=2, source=self
            )
            self.close()

    # Fork

    def _forked(self) -> None:
        """In the child: the selector is shared with the parent, so let go of our copies and refuse everything from here on."""
        poller = self.book.poller
        self.book.poller = ForkedPoller()
        self.book.lock = threading.RLock()
        self._lock = threading.RLock()
        self._refusal = LoopStateError("this loop belongs to the parent process; make a new EventLoop in the child")
        self._closed = self._stopping = True
        self._alert = self._unguarded = False
        if here.loop is self:
            here.loop = None
        poller.close()
        self._waker.close()
        if self.in_turn:
            self._error = self._refused()


_alive: weakref.WeakSet[EventLoop] = weakref.WeakSet()


def _forked_loops() -> None:
    for loop in list(_alive):
        loop._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked_loops)


def _checked_seconds(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"seconds must be an int or a float, not {type(seconds).__name__}")
    value = float(seconds)
    if value != value:
        raise ValueError("seconds must be a number, not NaN")
    return value


def _checked_throttle(threshold: float | None, delay: float | None) -> tuple[float, float] | None:
    if threshold is None and delay is None:
        return None
    if threshold is None or delay is None:
        raise ValueError("throttle_threshold and throttle_delay are given together or not at all")
    pair = _checked_seconds(threshold), _checked_seconds(delay)
    if pair[0] < 1 or pair[1] < 0:
        raise ValueError(f"throttle_threshold must be at least 1 post and throttle_delay at least 0 seconds, not {pair[0]} and {pair[1]}")
    return pair


def _name(action: object) -> str:
    try:
        return str(getattr(action, "__qualname__", None) or repr(action))
    except Exception:
        return type(action).__name__  # its repr fails too


def _attach(error: BaseException, other: BaseException) -> None:
    """Let `error` carry `other`, which happened beside it."""
    from traceback import format_exception

    error.add_note("beside it: " + "".join(format_exception(other)).rstrip())
