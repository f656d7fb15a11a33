"""One turn of a loop: prepare, poll, dispatch.

Knows the queues, the timeouts and the book of descriptors, and calls what is due. It must not know who drives it, how a run ends,
or what becomes of an error: that is the `EventLoop` built on it. Everything here is a hot path: each line is paid for per event.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Protocol

from ..compiling import mypyc_attr
from ..errors import LoopStateError, SocketError
from .book import Book
from .checks import name_of
from .descriptors import Descriptor, Side, Waiter, Watch
from .pollers import Poller
from .selectors import ERR, HUP, IN, NVAL, OUT, PRI
from .timers import TimerHeap
from .waker import Waker

__all__ = ["Engine", "Resident"]

_READABLE = IN | ERR | HUP
_WRITABLE = OUT | ERR | HUP

_NOTHING: list[tuple[int, int]] = []

# How long the loop sleeps before it looks whether a descriptor was closed behind its back: epoll drops such without a word. Each
# further look of the same sleep comes after twice the time, so an idle loop costs next to nothing.
_LOOK = 1.0
# The longest time that poll(2) is told to wait.
_LONGEST_POLL = 86400.0

# How many times within a turn a task may be woken by the one that met it.
_GOES = 100

# From so many ready descriptors on, one turn serves them for at most so many seconds before timeouts have their turn.
_MANY = 256
_LONGEST_BATCH = 0.05


def _do_nothing() -> None:
    pass


class Resident(Protocol):
    """Who lives in a loop and must be closed with it."""

    def shut(self) -> bool | None:
        """End now; False: cannot, it is on the stack below the call."""

    def report(self) -> str: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Engine:
    """What a loop holds, and the turn that serves it."""

    # Slots, because a loop has too many attributes for Python to keep them in place: each would be looked up in a dictionary.
    __slots__ = (
        "_alert",
        "_awake",
        "_bell",
        "_blocked",
        "_cut",
        "_handed",
        "_jobs",
        "_longest",
        "_posts",
        "_refusal",
        "_stopping",
        "_unguarded",
        "_unserved",
        "_until",
        "_waker",
        "book",
        "current",
        "finalizer",
        "residents",
        "time",
        "timers",
    )

    def __init__(self, poller: Poller, clock: Callable[[], float], debug: bool) -> None:
        self.time: Callable[[], float] = clock
        self.residents: dict[Resident, None] = {}
        # Whose code runs right now: a note of the tasks' room, which the loop never reads.
        self.current: Any = None
        # Another such note: what closes the async generators that are left behind here.
        self.finalizer: Callable[[Any], None] | None = None
        self.timers = TimerHeap()
        self._posts: deque[Callable[[], object]] = deque()
        # Whether the first of the queued posts was handed over when nothing else was queued.
        self._handed = False
        self._jobs: set[object] = set()
        self._blocked = False
        # Until when the loop would sleep if nothing happened; `inf`: for ever, or it is just being found out.
        self._until = inf
        # What a step with a budget left over: the events, and the turn they were polled in.
        self._unserved: tuple[list[tuple[int, int]], int] | None = None
        self._longest: float | None = 0.0 if debug else None
        # awake: work is seen without a ring, because callbacks are being served or a byte is on its way; alert: awake, and a post
        # needs no second look either (it is unguarded: no throttle, not closed).
        self._awake = False
        self._alert = False
        self._unguarded = True
        self._refusal: LoopStateError | None = None
        # cut: serve nothing more in this turn; stopping: nor in any other.
        self._cut = False
        self._stopping = False
        self._waker = Waker()
        self._bell = self._waker.bell
        try:
            self.book = Book(poller, self._dismissed)
            # Once woken is enough: where the poller reports each ring once, nobody need read it away.
            self.book.adopt(self._waker.fd, _do_nothing if poller.edge else self._waker.drain, once=True)
        except BaseException:
            self._waker.close()
            raise

    def fail(self, error: BaseException, where: str) -> None:
        """An error that nobody caught."""
        raise NotImplementedError

    def soon(self, action: Callable[[], object]) -> None:
        """As `EventLoop.post`, for the loop's own thread: no checks and no throttle."""
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
        """There is work that the sleeping loop does not know of. Any thread."""
        raise NotImplementedError

    def _dismissed(self, waiter: Waiter, error: SocketError) -> None:
        self.soon(partial(waiter.fail, error))

    # The turn

    def _turn(self, patience: float | None, limit: float | None) -> bool:
        """Poll (for at most `patience` seconds), timeouts, ready descriptors, posts (until the time `limit`).

        False: nothing was left to do, so nothing was done, or the loop is to stop.
        """
        book = self.book
        if self._posts:
            # Awake all along: what is posted meanwhile is seen in this turn, so nobody needs to ring.
            wait = 0.0
        else:
            # Announced before the queues are looked at: whatever comes later finds the loop asleep and rings.
            self._awake = self._alert = False
            bell = self._bell
            if not bell:
                bell.append(None)
            wait = self._wait()
            if wait < 0.0 and patience is None:
                return False
        if self._unserved is None:
            # Counted before the poll: what is registered while that lasts is newer than what it reports.
            book.turn = turn = book.turn + 1
            if book.left:
                book.left.clear()
            if wait != 0.0:
                if patience is not None and (wait < 0.0 or wait > patience):
                    wait = patience
                fired = book.poller.poll(wait if wait < _LOOK else _LOOK)
                if not fired and wait > _LOOK:
                    fired = self._go_on_sleeping(wait - _LOOK)
            elif book.registered or patience is not None or not turn & 15:
                fired = book.poller.poll(0.0)
            else:
                # There is no descriptor to ask about. A host must see ours drained, and now and then other threads should have
                # the interpreter; else it can wait.
                fired = _NOTHING
        else:
            fired, turn = self._unserved
            self._unserved = None
        self._awake = True
        self._alert = self._unguarded
        if self._refusal is not None:
            self._awake = self._alert = False
        timers = self.timers
        if timers.incoming:
            timers.absorb()
        if timers.heap and timers.heap[0][0] <= (now := self.time()):
            self._fire_timeouts(now, limit)
        if fired:
            self._fire_ready(fired, turn, limit)
        if self._posts:
            self._run_posts(limit)
        if self._cut:
            self._cut = self._stopping
            return not self._stopping
        return True

    def _wait(self) -> float:
        """How long the poll may wait, in seconds; `inf`: without limit; negative: nothing is left to do."""
        # First of all: a timeout that another thread sets while we look here must not be compared with the last sleep's end.
        self._until = inf
        if self._posts or self._stopping or self._unserved is not None:
            return 0.0
        timers = self.timers
        if timers.heap or timers.incoming:
            deadline = timers.next_deadline()
            if deadline is not None:
                self._until = deadline
                wait = deadline - self.time()
                return wait if wait > 0.0 else 0.0
        book = self.book
        return inf if book.armed or book.watches or self._jobs or self._blocked else -1.0

    def _go_on_sleeping(self, wait: float) -> list[tuple[int, int]]:
        poll = self.book.poller.poll
        look = _LOOK
        while wait > 0.0:
            # What is closed behind our back may have been all that was left: then there is nothing to wait for.
            if self._posts or self._stopping or self.book.reap_closed():
                break
            look = min(2 * look, _LONGEST_POLL)
            fired = poll(min(wait, look))
            if fired:
                return fired
            wait -= look
        return _NOTHING

    # Timeouts

    def _fire_timeouts(self, now: float, limit: float | None) -> None:
        timers = self.timers
        # Timeouts made by these callbacks come in for the next turn, so one that posts itself starves nothing.
        while not self._cut:
            timeout = timers.pop_due(now)
            if timeout is None:
                action = None  # see `_run_posts`
                return
            action = timeout.action
            if action is None:  # removed just now, in another thread
                timers.dead -= 1
                continue
            once = timeout.interval is None
            if once:
                timeout.action = None
            goes_on: object = True
            try:
                goes_on = timeout.fire(action) if self._longest is None else self._timed(partial(timeout.fire, action))
            except BaseException as error:
                self.fail(error, f"a timeout, {name_of(action)}")
            if not once:
                timers.settle(timeout, goes_on is not False, self.time())
            if limit is not None and self.time() >= limit:
                return

    # Ready descriptors

    def _fire_ready(self, fired: list[tuple[int, int]], turn: int, limit: float | None) -> None:
        book = self.book
        if limit is not None or self._longest is not None or len(fired) >= _MANY or turn >= book.check_at:
            self._fire_carefully(fired, turn, limit)
            return
        get = book.table.get
        for fd, mask in fired:
            if self._cut:
                return
            # Looked up again for each: a callback before this one may have removed or replaced what was registered, or closed it,
            # and the number may mean another file by now.
            descriptor = get(fd)
            if mask != IN or descriptor is None or descriptor.born >= turn:
                self._serve(fd, mask, turn)
                continue
            side = descriptor.read
            waiter = side.waiter
            if waiter is None:
                self._serve_watch(side, "in", turn)
                continue
            # The registration stays, only the slot is cleared; see `Side.arm`.
            side.waiter = None
            book.armed -= 1
            try:
                waiter.wake()
            except BaseException as error:
                self.fail(error, f"what waited for {side}")
        waiter = None  # see `_run_posts`

    def _fire_carefully(self, fired: list[tuple[int, int]], turn: int, limit: float | None) -> None:
        """The same with an eye on the time, and now and then on what the selector says."""
        book = self.book
        if turn >= book.check_at:
            book.check(fired)
        if len(fired) >= _MANY:
            fired = book.poller.poll_all(fired)
            limit = self.time() + _LONGEST_BATCH if limit is None else limit
        begun = False
        for index, (fd, mask) in enumerate(fired):
            if self._cut:
                return
            # However short the time, one is served; our own descriptors do not count.
            if begun and limit is not None and self.time() >= limit:
                self._unserved = fired[index:], turn
                return
            self._serve(fd, mask, turn)
            begun = begun or fd not in book.own

    def _serve(self, fd: int, mask: int, turn: int) -> None:
        """All that one descriptor was reported for: `excpt`, then `in`, then `out`."""
        book = self.book
        descriptor = book.table.get(fd)
        if descriptor is None:
            book.stray(fd)
        elif descriptor.born >= turn:
            pass  # the number means this file only since the poll: the event was for the one before
        elif mask & NVAL:
            book.discard(descriptor)
        else:
            if mask & PRI:
                self._serve_watch(descriptor.read, "excpt", turn)
            if mask & _READABLE and not self._cut:
                self._serve_side(descriptor.read, "in", turn)
            if mask & _WRITABLE and not self._cut:
                self._serve_side(descriptor.write, "out", turn)

    def _serve_side(self, side: Side, status: str, turn: int) -> None:
        waiter = side.waiter
        if waiter is None:
            self._serve_watch(side, status, turn)
            return
        side.withdraw()
        try:
            self._timed(waiter.wake)
        except BaseException as error:
            self.fail(error, f"what waited for {side}")

    def _serve_watch(self, side: Side, status: str, turn: int) -> None:
        watch, descriptor = side.watch, side.descriptor
        if watch is None:
            if descriptor.mask:
                # An interest that outlived its wait: dropped now that it costs something.
                descriptor.unwant(side.bit if side.bit == OUT else IN | PRI)
            else:
                self.book.stray(descriptor.fd)
            return
        if watch.born >= turn:
            return  # it has replaced the one that the poll was made for
        try:
            is_open = watch.fileno() == descriptor.fd
        except Exception:
            is_open = False
        if not is_open:
            # Closed behind our back, after the poll or with a duplicate alive. If it is reported again, `Book.stray` is told.
            self.book.discard(descriptor)
            return
        goes_on: object = True
        try:
            goes_on = watch.proc(status) if self._longest is None else self._timed(partial(watch.proc, status))
        except BaseException as error:
            self.fail(error, f"a watch on descriptor {descriptor.fd}, {name_of(watch.proc)}")
        if goes_on is False:
            self.book.end_watch(side, watch)
        elif status == "excpt" or watch.resting:
            self._rest(descriptor, watch, status)

    def _rest(self, descriptor: Descriptor, watch: Watch, status: str) -> None:
        """An exceptional condition would be reported until the urgent byte is read; so it is not asked for until the next input."""
        if descriptor.read.watch is not watch:
            return
        watch.resting = status == "excpt"
        if watch.resting:
            descriptor.unwant(PRI)
            return
        try:
            descriptor.want(PRI)
        except SocketError:
            self.book.discard(descriptor)  # the callback has closed it

    # Posts

    def _run_posts(self, limit: float | None) -> None:
        posts = self._posts
        popleft = posts.popleft
        self._handed = False
        if limit is not None or self._longest is not None:
            self._run_carefully(limit)
            return
        # Only what is queued now: a post made by a post runs in the next turn, after sockets and timeouts had theirs.
        for _ in range(len(posts)):
            if self._cut or not posts:
                return
            action = popleft()
            try:
                action()
            except BaseException as error:
                self.fail(error, f"a post, {name_of(action)}")
        # From Python 3.12 on the trace of a task's error leads here, and from here it must not lead to the task, which has the error.
        action = _do_nothing
        if self._handed:
            self._run_handed()

    def _run_carefully(self, limit: float | None) -> None:
        """The same with an eye on the time."""
        for _ in range(len(self._posts)):
            if self._cut or not self._posts:
                return
            self._run_one()
            if limit is not None and self.time() >= limit:
                return
        self._run_handed()

    def _run_handed(self) -> None:
        # Two tasks that meet again and again would pay for a poll each time, so they have a number of goes in one turn.
        posts, plain, goes = self._posts, self._longest is None, _GOES
        while self._handed and goes and posts and not self._cut:
            self._handed = False
            goes -= 1
            if not plain:
                self._run_one()
                continue
            action = posts.popleft()
            try:
                action()
            except BaseException as error:
                self.fail(error, f"a post, {name_of(action)}")

    def _run_one(self) -> None:
        action = self._posts.popleft()
        try:
            self._timed(action)
        except BaseException as error:
            self.fail(error, f"a post, {name_of(action)}")

    def _timed(self, action: Callable[[], object]) -> object:
        """Call `action`; in debug mode, remember the longest that any took."""
        if self._longest is None:
            return action()
        start = time.perf_counter()
        try:
            return action()
        finally:
            self._longest = max(self._longest, time.perf_counter() - start)
