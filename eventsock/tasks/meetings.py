"""Meetings: channels without a buffer, between the tasks of one loop. A datum passes when a sender and a receiver meet.

Knows who waits at a meeting, first come first served. A plain send or receive takes the short way and pays nothing for choice; a
wait at several meetings is a choice. It must not know what else a choice may hold.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Generator
from threading import get_ident
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar, overload

from ..errors import LoopStateError, MeetingClosed
from ..loop.event_loop import EventLoop
from .alone import Alone
from .meeting_operations import Receiving, Sending
from .operations import Choosing, Operation
from .task import BUDGET, SUSPENDED, TURN, Task, caller_of, current_task, get_current
from .waitable import DEBUG, Await, waitable

__all__ = ["Meeting", "await_meeting_receive", "await_meeting_send"]

T = TypeVar("T")
D = TypeVar("D")


class _Party(Protocol):
    """Who waits at a meeting: a task, or an arm of a choice. Whoever takes it out of its line calls one of these."""

    def wake(self, datum: Any = None) -> object: ...
    def fail(self, error: BaseException) -> object: ...


# Who waits, oldest first; of a sender also what it sends. Any of them can leave in constant time, wherever it stands.
_Line = OrderedDict[_Party, Any]

_RAISE = object()


class Meeting(Generic[T]):
    """A channel without a buffer between the tasks of one loop: of `loop`, else of the loop of the task that uses it first.

    Waiting at a meeting does not keep the loop alive. Loop thread. Origin: chez-a-sync `make-meeting`.
    """

    __slots__ = ("__weakref__", "_closed", "_loop", "_origin", "_receivers", "_senders")

    def __init__(self, loop: EventLoop | None = None) -> None:
        if loop is not None and not isinstance(loop, EventLoop):
            raise TypeError(f"loop must be an EventLoop or None, not {type(loop).__name__}")
        # None before the first use, and again after the close: one comparison then keeps both out of the short way.
        self._loop = loop
        self._closed = False
        self._origin = _maker(sys._getframe(1)) if DEBUG else None
        self._senders: _Line = OrderedDict()
        self._receivers: _Line = OrderedDict()

    # Alone

    @waitable
    def await_send(self, datum: T) -> Generator[Any, Any, None]:
        """Hand `datum` to the task that has waited longest to receive, at once; if none waits, suspend until one takes it.

        A task that is cancelled while it waits has not sent. `MeetingClosed`: before or meanwhile; `LoopStateError`: the meeting
        belongs to another loop. Origin: chez-a-sync `meeting-send`.
        """
        task = get_current()
        if task is None or task.waits_for is not None or task.loop is not self._loop:
            task = self._bind(current_task("await_send()"))
        if self._receivers:
            self._receivers.popitem(False)[0].wake(datum)
            return
        waiting = task.waits_for = Alone(task, self)
        self._senders[waiting] = datum
        del task  # see `Alone`
        yield SUSPENDED

    @overload
    def await_receive(self) -> Await[T]: ...
    @overload
    def await_receive(self, default: D) -> Await[T | D]: ...
    @waitable
    def await_receive(self, default: object = _RAISE) -> Generator[Any, Any, Any]:
        """The datum of the task that has waited longest to send, at once; if none waits, suspend until one comes.

        `default`: what to give where the meeting is closed, before or meanwhile; without it that is `MeetingClosed`. A datum is
        delivered once: to this task, or, if that is cancelled before its turn has come, to the next. `LoopStateError`: the meeting
        belongs to another loop. Origin: chez-a-sync `meeting-receive`.
        """
        try:
            task = get_current()
            if task is None or task.waits_for is not None or task.loop is not self._loop:
                task = self._bind(current_task("await_receive()"))
            if self._senders:
                party, datum = self._senders.popitem(False)
                party.wake()
                return datum
            waiting = task.waits_for = Alone(task, self)
            self._receivers[waiting] = None
            del task
            yield SUSPENDED
            return waiting.datum
        except MeetingClosed:
            if default is _RAISE:
                raise
        # Nobody has to come for this answer, so a loop that goes on asking would leave no time for anybody.
        task = current_task()
        if task.eager >= BUDGET:
            yield TURN
        task.eager += 1
        return default

    def __aiter__(self) -> Meeting[T]:
        return self

    @waitable
    def __anext__(self) -> Generator[Any, Any, T]:
        try:
            return (yield from self.await_receive())
        except MeetingClosed:
            raise StopAsyncIteration from None

    # In a choice

    def sending(self, datum: T) -> Operation[None]:
        """The operation of handing `datum` over; gives None. For `await_choice`. Errors as `await_send`."""
        return Sending(self, datum)

    def receiving(self) -> Operation[T]:
        """The operation of receiving a datum, which it gives. For `await_choice`. Errors as `await_receive`."""
        return Receiving(self)

    # For all

    def close(self) -> None:
        """Raise `MeetingClosed` in all who wait, in the order they came, and in all who come later. For ever; again: nothing.

        `LoopStateError`: another thread drives the loop; `loop.post(meeting.close)` there. Origin: chez-a-sync `meeting-close`.
        """
        loop = self._loop
        if loop is not None and loop.thread not in (None, get_ident()):
            raise LoopStateError(f"{self} was closed in thread {get_ident()}, but belongs to {loop!r}: use loop.post(meeting.close)")
        self._loop = None
        self._closed = True
        for line in (self._senders, self._receivers):
            while line:
                line.popitem(False)[0].fail(self._closed_error())

    @property
    def ready(self) -> bool:
        """Whether somebody waits at it, to send or to receive, or it is closed. Origin: chez-a-sync `meeting-ready?`."""
        return self._closed or bool(self._senders or self._receivers)

    def _bind(self, task: Task[Any]) -> Task[Any]:
        """The long way in: the first use, a closed meeting, or one of another loop."""
        if self._closed:
            raise self._closed_error()
        if self._loop is not None:
            raise LoopStateError(f"{task} of {task.loop!r} uses {self}, which belongs to {self._loop!r}; a meeting serves one loop")
        self._loop = task.loop
        return task

    def _check(self, task: Task[Any]) -> None:
        """The long way into a choice. A closed meeting is found later, when all before it have been tried."""
        if not self._closed:
            self._bind(task)

    def _offer(self, datum: T) -> None:
        """Hand `datum` over to the oldest receiver. Without one the meeting is closed, and that is raised."""
        if not self._receivers:
            raise self._closed_error()
        self._receivers.popitem(False)[0].wake(datum)

    def _take(self) -> T:
        """The datum of the oldest sender. Without one the meeting is closed, and that is raised."""
        if not self._senders:
            raise self._closed_error()
        party, datum = self._senders.popitem(False)
        party.wake()
        return datum  # type: ignore[no-any-return]

    def _closed_error(self) -> MeetingClosed:
        return MeetingClosed(f"{self} is closed", self)

    def __str__(self) -> str:
        return f"the meeting at {id(self):#x}" if self._origin is None else f"the meeting made at {self._origin}"

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._senders)} wait to send, {len(self._receivers)} to receive"
        return f"<Meeting at {id(self):#x}: {state}>"


def _maker(frame: FrameType | None) -> str | None:
    """File and line where a meeting was made: as `Meeting()`, or as `Meeting[int]()`, which goes by way of `typing`."""
    while frame is not None and frame.f_globals.get("__name__") == "typing":
        frame = frame.f_back
    return caller_of(frame)


@waitable
def await_meeting_send(datum: T, *meetings: Meeting[T]) -> Generator[Any, Any, None]:
    """Hand `datum` over at one of `meetings`: at the first where somebody waits for it, else where somebody comes first.

    `ValueError`: no meetings. `MeetingClosed`: one is closed, and none before it could be used; or it is closed while all are
    waited at. `LoopStateError`: one belongs to another loop. Origin: chez-a-sync `meeting-send` with several meetings, but the
    datum comes first.
    """
    task = _enter(meetings, "await_meeting_send()")
    for meeting in meetings:
        if meeting._receivers or meeting._closed:
            meeting._offer(datum)
            return
    wait = Choosing([Sending(meeting, datum) for meeting in meetings], task)
    del task
    yield SUSPENDED
    wait.result()


@waitable
def await_meeting_receive(*meetings: Meeting[T]) -> Generator[Any, Any, T]:
    """A datum from one of `meetings`: from the first where somebody waits to send, else from where somebody comes first.

    Errors as `await_meeting_send`. Origin: chez-a-sync `meeting-receive` with several meetings.
    """
    task = _enter(meetings, "await_meeting_receive()")
    for meeting in meetings:
        if meeting._senders or meeting._closed:
            return meeting._take()
    wait = Choosing([Receiving(meeting) for meeting in meetings], task)
    del task
    yield SUSPENDED
    return wait.result()  # type: ignore[no-any-return]


def _enter(meetings: tuple[Meeting[Any], ...], what: str) -> Task[Any]:
    """The current task, once all meetings are found fit for it."""
    task = current_task(what)
    if not meetings:
        raise ValueError(f"{what} was given no meetings: nobody could ever come")
    for meeting in meetings:
        if not isinstance(meeting, Meeting):
            raise TypeError(f"{what} takes meetings, not {type(meeting).__name__}; a datum comes before them")
        if task.loop is not meeting._loop:
            meeting._check(task)
    return task
