"""A row of values that comes from elsewhere, in order, and no faster than they are used.

Knows the loop of the one who waits, and delivers by posting. It must not know who makes the values.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from ..errors import LoopStateError
from ..tasks.outcome import Outcome, unwrap
from ..tasks.states import SUSPENDED, TURN
from ..tasks.task import Task, current_task
from ..tasks.thunks import Values, checked_callable, values_of
from .jobs import Handler, report

__all__ = ["Conveyor", "await_values", "checked_row", "produce"]

T = TypeVar("T")

# How many values may be on their way: enough that neither side waits for each single one of the other.
_ROOM = 32


def checked_row(proc: object, handler: object) -> None:
    """`TypeError` naming the argument that cannot be called."""
    checked_callable(proc, "proc")
    if handler is not None:
        checked_callable(handler, "handler")


class Conveyor:
    """The wait for the next value of a row, and the posts that bring them. `put`, `end` and the room are for any thread."""

    __slots__ = ("_early", "_ended", "_free", "_freed", "_lock", "_parcels", "_task", "_text", "_withdrawn", "loop", "since")

    def __init__(self, task: Task[Any], text: str) -> None:
        self.loop = task.loop
        self.since = task.loop.time()
        self._text = text
        self._task: Task[Any] | None = task
        self._parcels: deque[Outcome] = deque()
        # How many have come while the task was on the stack: `proc` may step the loop (see `EventLoop.nested`).
        self._early = 0
        self._lock = threading.Lock()
        self._free = _ROOM
        self._freed: Callable[[], object] | None = None
        self._ended: Outcome | None = None
        self._withdrawn: Callable[[], object] | None = None
        self.loop.keep_alive(self)

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits. Any thread."""
        return self._task is not None

    def on_withdrawal(self, call: Callable[[], object]) -> None:
        """Call `call()` when nobody waits any more, to stop what can be stopped."""
        self._withdrawn = call

    # The worker's side

    def take_room(self, freed: Callable[[], object]) -> bool:
        """Claim the room for one value. False: there is none; `freed()` will be called, once, in any thread, when to ask again."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return True
            self._freed = freed
            return False

    def wait_for_room(self) -> None:
        """Claim the room for one value; blocks the thread. In the loop's own thread, which would wait for itself, it does not."""
        again = threading.Event()
        while not self.take_room(again.set) and self.loop.thread != threading.get_ident():
            again.wait()
            again.clear()

    def put(self, value: object) -> bool:
        """Send a value into the room that was claimed; False: nobody waits any more."""
        return self.wanted and self._post((True, value))

    def end(self, outcome: Outcome) -> None:
        """The row has ended. An error for nobody goes to `threading.excepthook`."""
        self._ended = outcome
        if not (self.wanted and self._post(outcome)):
            self.dropped()

    def refuse(self, error: BaseException) -> None:
        """There will be no more values: of no interest to those who do not wait any more."""
        if self.wanted:
            self.end((False, error))

    def _post(self, parcel: Outcome) -> bool:
        self._parcels.append(parcel)
        try:
            self.loop.post(self)
        except LoopStateError:
            return False  # the loop was closed, and who waited with it
        return True

    # The loop's side

    def __call__(self) -> None:
        task = self._task
        if task is None:
            self.dropped()
        elif task.waits_for is self:
            task.wake(self._parcels.popleft())
            self._give_room()
        else:
            self._early += 1

    def stand(self) -> bool:
        """Make the task wait for the next value; False: one has come already, so `await_early` it."""
        if self._early:
            return False
        assert self._task is not None
        self._task.waits_for = self
        return True

    def await_early(self) -> Generator[Any, Any, Outcome]:
        """The next value in a turn of its own, as the others have it."""
        yield TURN
        self._early -= 1
        self._give_room()
        return self._parcels.popleft()

    def dropped(self) -> None:
        """The end has come too late, or the loop has dropped it, or a value, which is nobody's then."""
        ended, self._ended = self._ended, None
        if ended is not None and not ended[0]:
            report(ended[1])

    def ends_with(self, parcel: Outcome) -> bool:
        """Whether it is the last; then it is the task's from now on."""
        if parcel is not self._ended:
            return False
        self._ended = None
        return True

    def _give_room(self) -> None:
        with self._lock:
            self._free += 1
            freed, self._freed = self._freed, None
        if freed is not None:
            freed()

    def withdraw(self) -> bool:
        """As what a task waits for: the row is not wanted any more."""
        self.leave()
        return True

    def leave(self) -> None:
        """Wait no more. Idempotent."""
        if self._task is not None:
            self._task = None
            self.loop.let_go(self)
            self._give_room()
            withdrawn, self._withdrawn = self._withdrawn, None
            if withdrawn is not None:
                withdrawn()

    def __str__(self) -> str:
        return self._text


def await_values(
    what: str, text: str, begin: Callable[[Conveyor], object], proc: Callable[[Any], object], handler: Handler[Any] | None
) -> Generator[Any, Any, None]:
    """Call `proc` with each value of the row that `begin(conveyor)` has set going, until it ends."""
    conveyor = Conveyor(current_task(what), text)
    try:
        begin(conveyor)
        while True:
            parcel = (yield SUSPENDED) if conveyor.stand() else (yield from conveyor.await_early())
            if conveyor.ends_with(parcel):
                break
            proc(parcel[1])
    finally:
        conveyor.leave()
    try:
        unwrap(parcel, handler)
    finally:
        del parcel  # see `outcome`


def produce(conveyor: Conveyor, generator: Values[Any]) -> None:
    """In a thread: put each value that `generator` yields, as there is room, until nobody wants more."""
    with values_of(generator) as values:
        for value in values:
            conveyor.wait_for_room()
            if not conveyor.put(value):
                return
