"""The event loop: its life, from the first run or step to the close.

Knows who drives it, how a run ends and what becomes of an error; what may be asked of it is in `verbs`, what one turn does in `engine`.
It must not know generators, tasks or protocols: whoever lives in the loop is closed through `Resident`.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from math import inf
from selectors import BaseSelector
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TextIO

from ..errors import LoopClosedError, LoopStateError
from .checks import attach, checked_callable, checked_seconds, name_of
from .current import claim_thread, here
from .engine import Resident
from .fork import remember
from .pollers import FORKED, ForkedPoller, poller_for
from .reports import Statistics, describe, lines
from .signals import InterruptGuard
from .throttle import throttle_for
from .verbs import Verbs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

__all__ = ["EventLoop"]


class _Nest(NamedTuple):
    """An open `nested()` block; compared by identity."""

    depth: int
    outer: _Nest | None


def _debug_by_default() -> bool:
    return sys.flags.dev_mode or os.environ.get("EVENTSOCK_DEBUG", "") not in ("", "0")


class EventLoop(Verbs):
    """A callback loop on the standard `selectors` module. A context manager that closes.

    `throttle_threshold` (posts) and `throttle_delay` (seconds), both or neither: a foreign thread that posts while `x >= 1`, with
    `x = pending posts / threshold`, sleeps `x**3 * throttle_delay` seconds, at most one. `selector`: any
    `selectors.BaseSelector`; the loop owns it. `clock`: a callable giving monotonic seconds. `on_error(error, where)` gets what
    escapes a callback, and the loop goes on. `debug`: None means on under `python -X dev` or `EVENTSOCK_DEBUG=1`.

    Safe from any thread and from signal handlers: `post`, the watch and timeout verbs, `block`, `quit`, `close`. All else belongs
    to the thread that runs the loop. `time()` is its clock, in seconds, good for differences, in any thread. Origin: chez-a-sync
    `make-event-loop`.
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
        throttle = throttle_for(throttle_threshold, throttle_delay)
        if clock is not None:
            checked_callable("clock", clock)
        self.on_error = on_error
        self.debug = _debug_by_default() if debug is None else bool(debug)
        # Who says in another way that `run` left tasks asleep (`Deadlock`) turns it off.
        self.names_sleepers = self.debug
        # Who steps the loop in its place; None: nobody, so it may run.
        self.host: object | None = None
        # Between two steps, with something left to do.
        self._stepped = False
        # Closed in another thread than its own between two steps: the next step does it.
        self._closes_later = False
        # How many runs and steps are on the stack; more than one where a callback has opened a `nested()` block.
        self._depth = 0
        self._nest: _Nest | None = None
        self._doomed = False
        self._error: BaseException | None = None
        poller = poller_for(selector)
        try:
            super().__init__(poller, clock, self.debug, throttle)
        except BaseException:
            poller.close()
            raise
        self._guard = InterruptGuard(self._wakeup, self._interrupted)
        self._closed = False
        remember(self)

    def _interrupted(self) -> None:
        if self.in_turn:
            self._stop()
            self.rouse()

    # Running

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
        self._finish_close()
        if self._refusal is not None:
            raise self._refused()
        guarded = self._guard.install()
        try:
            self._serve_until_done()
            if guarded and self._guard.seen:
                self._error = _joined(self._error, KeyboardInterrupt())
        except BaseException:  # not begun at all
            if guarded and self._guard.seen:
                raise KeyboardInterrupt
            raise
        finally:
            if guarded:
                self._guard.remove()
        _raise(self._take_error())

    def _serve_until_done(self) -> None:
        depth, thread = self._depth, self._driven_by
        former, hooks = here.loop, sys.get_asyncgen_hooks()
        try:
            self._enter(may_nest=False)
            self.running = True
            if self._guard.seen:
                self._stop()
            while self._turn(None, None):
                if self._nest is not None:
                    self._forget_suspended()
            if self.names_sleepers and self.residents and not self._stopping:
                self._name_sleepers()
        except BaseException as error:
            if self._depth == depth:
                raise  # refused
            self._leave_with(error)
        finally:
            if self._depth > depth:
                try:
                    self._leave(False)
                except BaseException as error:
                    # An application's own handler raises Ctrl-C wherever something is called, as early as there.
                    if self._depth > depth:
                        self._leave(False)
                    self._error = _joined(self._error, error)
                finally:
                    self.running = False
                    self._driven_by = thread
                    here.loop = former
                    if self._throttle is not None and thread is None:
                        self._throttle.end()
                    sys.set_asyncgen_hooks(*hooks)

    def step(self, timeout: float | None = 0.0, *, budget: float | None = None) -> bool:
        """One turn: poll (waiting at most `timeout` seconds; None: until there is work), timeouts, watches, posts.

        True while anything remains to be done. `budget` limits the seconds spent in callbacks; what is not served stays for the
        next step. The first step makes this the current loop of the thread. Raises as `run`.
        """
        patience = inf if timeout is None else max(checked_seconds(timeout, "timeout"), 0.0)
        spend = None if budget is None else checked_seconds(budget, "budget")
        depth, more = self._depth, False
        former, hooks = here.loop, sys.get_asyncgen_hooks()
        try:
            self._enter(may_nest=True)
            # Without work, and with nobody who could bring any, there is nothing to wait for until there is work.
            if patience != inf or self._remains():
                self._turn(patience, None if spend is None else self.time() + spend)
            # Announced before the queues are looked at, as in a turn: what comes later rings.
            self._awake = self._alert = False
            self._waker.reset()
            more = self._remains()
        except BaseException as error:
            if self._depth == depth:
                raise  # refused
            self._leave_with(error)
        finally:
            if self._depth > depth:
                try:
                    more = self._leave(more)
                except BaseException as error:
                    if self._depth > depth:  # as in a run
                        more = self._leave(more)
                    self._error = _joined(self._error, error)
                finally:
                    sys.set_asyncgen_hooks(*hooks)
                    if self._closed and not self._depth:
                        here.loop = None if former is self else former
        _raise(self._take_error())
        return more

    def _remains(self) -> bool:
        return self._wait() >= 0.0

    def _enter(self, *, may_nest: bool) -> None:
        """Begin to drive the loop here, as the current one of this thread."""
        with self._lock:
            if self._refusal is not None and not self._closes_later:
                raise self._refused()
            if self._driven_by is not None and self._driven_by != get_ident():
                raise LoopStateError(f"{self!r} is driven by thread {self._driven_by}; thread {get_ident()} must post to it instead")
            if self.in_turn or (self._depth and not may_nest):
                raise LoopStateError(
                    f"{self!r} is already running: inside it, start a task with a_sync and await its result, or call a dialog's "
                    "own loop within `with loop.nested():`"
                )
            claim_thread(self)
            self._driven_by = get_ident()
            # From here on `_leave` will be called, so nothing must come in between.
            self._depth += 1
            self.in_turn = True
            self._stepped = False
        if self._throttle is not None:
            self._throttle.begin()
        hooks = self.asyncgen_hooks
        if hooks is not None:
            sys.set_asyncgen_hooks(*hooks)

    def _leave(self, more: bool) -> bool:
        """The end of a run or of a step: put down what a quit, an error or a close must put down. Whether anything remains."""
        try:
            if self._stopping:
                self._put_down()
                more = False
        finally:
            self._guard.leaving = True
            with self._lock:
                self._depth -= 1
                while self._nest is not None and self._nest.depth > self._depth:
                    self._nest = self._nest.outer  # its task suspended inside the block
                # The turns below end too, as soon as what holds them up returns.
                self._doomed = self._depth > 0 and (self._doomed or self._stopping)
                self._stepped = more
                self._awake = self._alert = self.in_turn = False
                # A quit that came too late to be done here: the next step will, but a run has ended already.
                self._stopping = self._cut = more and self._stopping
                self._closes_later = False
                self._waker.reset()
                if self._closed and not self._depth:
                    self._release()
        return more

    # Ending

    def quit(self) -> None:
        """Make `run` return after the callback that is running; all watches, timeouts and posts are dropped, tasks are closed.

        On a loop that is not running it does nothing; one that a host steps is running between the steps too, as long as anything
        remains. Any thread, any signal handler. Origin: chez-a-sync `event-loop-quit!`.
        """
        with self._lock:
            if self._refusal is not None or not (self._depth or self._stepped):
                return
            self._stop()
        self.rouse()

    def _stop(self) -> None:
        self._stopping = self._cut = True

    def close(self) -> None:
        """As `quit`, but posts that were accepted are still run; then the selector is released, for ever. Idempotent. Any thread.

        On an idle loop accepted posts are dropped with a `ResourceWarning`. Origin: chez-a-sync `event-loop-close!`.
        """
        self._finish_close()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._refuse(LoopClosedError("the loop is closed"))
            self._closes_later = self._stepped and self._driven_by != get_ident() and _is_alive(self._driven_by)
            waits = self._depth > 0 or self._closes_later
            if waits:
                self._stop()
                self._waker.ring()
        try:
            if not waits:
                self._close_idle()
        finally:
            if self._on_wake is not None and not self.in_turn:
                self._on_wake()

    def _finish_close(self) -> None:
        """What another thread has left to the next step."""
        if self._closes_later and self._driven_by == get_ident() and not self._depth:
            self.step()

    def _close_idle(self) -> None:
        # A worker's answer that came when its task had been closed already is no loss.
        pending = sum(getattr(action, "wanted", True) for action in list(self._posts))
        try:
            self._abandon()
        finally:
            with self._lock:
                self._release()
            if here.loop is self:
                here.loop = None
        try:
            if pending:
                posts = "1 post" if pending == 1 else f"{pending} posts"
                warnings.warn(f"{self!r} was closed with {posts} not run; call run() first", ResourceWarning, stacklevel=3)
        finally:
            _raise(self._take_error())

    def _refuse(self, refusal: LoopStateError) -> None:
        self._refusal = refusal
        self._unguarded = False
        self._awake = self._alert = False

    def _put_down(self) -> None:
        if isinstance(self.book.poller, ForkedPoller):
            return
        # A second time if a second Ctrl-C cut the first one short.
        for _ in range(2):
            try:
                if self._closed:
                    self._run_accepted()
                self._abandon()
                return
            except BaseException as error:
                self._leave_with(error)

    def _run_accepted(self) -> None:
        self._awake = self._alert = False  # from here on a post takes itself back
        posts = self._posts
        while posts:
            action = posts.popleft()
            try:
                action()
            except BaseException as error:
                self.fail(error, f"a post, {name_of(action)}")

    def _abandon(self) -> None:
        """Drop all work and close all residents; what goes wrong is attached to the error that leaves."""
        self._awake = self._refusal is None  # nobody need ring
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
        self.book.clear()
        dropped = []
        with self._lock:
            # One by one: another thread may add one at any time, and is to find it here or there.
            while self._posts:
                dropped.append(self._posts.popleft())
            if self._closed:
                self._dropped += dropped  # see `_take_back`
        for action in dropped:
            tell = getattr(action, "dropped", None)
            if tell is not None:
                try:
                    tell()
                except BaseException as error:
                    self._leave_with(error)

    def _release(self) -> None:
        self._signals.clear()
        self.book.table.clear()
        try:
            self.book.poller.close()
        finally:
            self._waker.close()
            self._wakeup.close()
            if self._throttle is not None:
                self._throttle.end()

    def _take_error(self) -> BaseException | None:
        error, self._error = self._error, None
        return error

    # Errors

    @property
    def on_error(self) -> Callable[[BaseException, str], object] | None:
        """What gets an error that nobody catches, as `on_error(error, where)`; None: it leaves `run` or `step`. Settable."""
        return self._on_error

    @on_error.setter
    def on_error(self, handler: Callable[[BaseException, str], object] | None) -> None:
        if handler is not None:
            checked_callable("on_error", handler)
        self._on_error = handler

    def fail(self, error: BaseException, where: str) -> None:
        """An error nobody catches: to `on_error`, else it ends the turn and leaves `run` or `step`. Loop thread."""
        always_leaves = isinstance(error, (KeyboardInterrupt, SystemExit))
        if self._on_error is not None and not always_leaves:
            try:
                self._on_error(error, where)
            except BaseException as worse:
                if worse.__context__ is None and worse is not error:
                    worse.__context__ = error  # who reports an error some time after it was caught has no context to give
                self._leave_with(worse)
            return
        if not always_leaves:
            attach(error, f"escaped from {where}")
        self._leave_with(error)

    def _leave_with(self, error: BaseException) -> None:
        self._stop()
        self._error = _joined(self._error, error)

    # Embedding

    @property
    def closed(self) -> bool:
        """Whether `close` was called; also True in a forked child, where the loop is its parent's. Any thread.

        False until the next step, if a host steps the loop and another thread has closed it: that step will close it.
        """
        return self._closed and (self.in_turn or not self._closes_later)

    def fileno(self) -> int | None:
        """A descriptor that is readable when the loop wants a `step`; None where the selector has none. For a host's own loop."""
        return None if self.closed else self.book.poller.fileno()

    def next_deadline(self) -> float | None:
        """In how many seconds the loop wants a `step` whatever its descriptor says; 0.0 when work is queued; None: not at all.

        Ask after each step and after each `on_wake`: only what makes work earlier than the last answer is told.
        """
        if self.closed:
            return None
        self._check_ours()
        if not self.in_turn:
            self._awake = self._alert = False
            self._waker.reset()
        wait = self._wait()
        if wait == 0.0 and self._refusal is None:
            self._awake, self._alert = True, self._unguarded  # nothing can be earlier
        return wait if 0.0 <= wait < inf else None

    def on_wake(self, callback: Callable[[], object] | None) -> None:
        """Between steps, call `callback()` once when a change makes work earlier, in the thread that made the change.

        Ask `next_deadline()` then and after each step; None takes the callback back.
        """
        if callback is not None:
            checked_callable("callback", callback)
        self._on_wake = callback

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Inside a callback or task: allow `step` on top of it, as a modal dialog's own loop does through the host's adapter.

        All else goes on; the task on the stack does not, and resuming it is a `LoopStateError`. The block must not contain an
        await. What `quit`, `close` or an error ends inside it also ends the turn outside, once the block is left.
        `LoopStateError`: outside a callback or task, or a task suspended inside the block.
        """
        if get_ident() != self._driven_by or not self.in_turn:
            raise LoopStateError("nested() is for a callback or task of a loop that is being stepped")
        block = self._nest = _Nest(self._depth, self._nest)
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

    def _forget_suspended(self) -> None:
        """A turn has ended: a block that was opened in it is still open because its task is suspended, which it will be told."""
        while self._nest is not None and self._nest.depth >= self._depth:
            self._nest = self._nest.outer
            self.in_turn = True

    def _end_nested(self, block: _Nest, task: Any) -> bool:
        if self._nest is not block:
            return False
        self.current = task
        self._nest = block.outer
        self.in_turn = True
        self._awake = self._refusal is None
        self._alert = self._awake and self._unguarded
        # What the turn below had polled was polled again meanwhile, and served.
        self._cut = True
        self._stopping = self._stopping or self._doomed
        return True

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
        """Write what lives in the loop to `file` (None: stderr): its state, its watches, and each task with what it waits for."""
        for line in lines(self):
            print(line, file=sys.stderr if file is None else file)

    def _name_sleepers(self) -> None:
        print("nothing is left to do, but these tasks still wait:", file=sys.stderr)
        self.dump()

    def __repr__(self) -> str:
        return describe(self)

    # The end of the object

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_closes_later", False):
            self._close_idle()  # there was no next step
        elif not getattr(self, "_closed", True):
            text = f"unclosed event loop {self!r}; use `with EventLoop() as loop:` or loop.close()"
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)
            self.close()

    def forked(self) -> None:
        """In a forked child: the selector is the parent's, so let go of our copies and refuse everything from here on."""
        if self._closed:
            return
        poller = self.book.forked(ForkedPoller())
        self._lock = threading.RLock()  # whichever thread held it is not here
        self._closed = True
        self._refuse(LoopStateError(FORKED))
        self._stop()
        if here.loop is self:
            here.loop = None
        self._wakeup.abandon()
        self._signals.abandon()
        self._guard.remove()
        self._wakeup.close()
        self._waker.abandon()
        poller.close()
        if self.in_turn:
            self._error = self._refused()


def _is_alive(thread: int | None) -> bool:
    return any(each.ident == thread for each in threading.enumerate())


def _joined(first: BaseException | None, second: BaseException) -> BaseException:
    """The error that leaves, with the other one attached: the first, but a Ctrl-C or an exit goes before any other."""
    if first is None or first is second:
        return second
    if isinstance(second, (KeyboardInterrupt, SystemExit)) and not isinstance(first, (KeyboardInterrupt, SystemExit)):
        first, second = second, first
    from traceback import format_exception

    first.add_note("beside it: " + "".join(format_exception(second)).rstrip())
    return first


def _raise(error: BaseException | None) -> None:
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
