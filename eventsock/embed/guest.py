"""A guest: our loop, stepped by a foreign one.

Knows the loop's side of embedding (`fileno`, `next_deadline`, `step`, `on_wake`) and what any host must be able to do: call back
when a descriptor is readable, call back after a time, report an error. It must not know which host that is.
"""

from __future__ import annotations

import os
import sys
from math import ceil
from threading import get_ident
from typing import TYPE_CHECKING

from ..basic.arguments import checked_seconds
from ..errors import LoopStateError
from ..loop.current import claim_thread, here, resolve_loop

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ..loop.event_loop import EventLoop

__all__ = ["Guest", "milliseconds"]

# The longest time that hosts which count milliseconds in 32 bits can be told to wait. Waking up earlier does no harm.
_LONGEST = 2**31 - 1


def milliseconds(seconds: float) -> int:
    """`seconds` for a host that counts milliseconds: rounded up, so that an alarm never rings before its time."""
    return ceil(min(seconds * 1000, _LONGEST))


class Guest:
    """A loop attached to a host. A context manager that detaches; made by an adapter's `attach(host, loop)`.

    An adapter derives from it and fills in `watch`, `unwatch` and `alarm`, and `report` where its host has a way of its own. Each
    of them, like everything here, is called in the host's thread. `loop`: None means the default loop. `budget`: how many seconds
    of callbacks one turn may take before the host has its turn again (one callback is never cut short).
    """

    name = "a host"
    watches = True
    """Whether the host watches descriptors; one that calls `serve()` of its own accord, as a frame loop does, need not."""

    def __init__(self, loop: EventLoop | None = None, *, budget: float | None = 0.005) -> None:
        self.loop = resolve_loop(loop)
        self.budget = checked_seconds(budget, "budget")
        self._attached = False
        self._watching = False
        self._fd = -1

    # What a host can do

    def watch(self, fd: int) -> None:
        """From now on call `serve()` whenever `fd` is readable."""
        raise NotImplementedError

    def unwatch(self, fd: int) -> None:
        """Undo `watch`. The host may have ended."""
        raise NotImplementedError

    def alarm(self, seconds: float | None) -> None:
        """Call `serve()` once in `seconds`, in place of the alarm set before; None: not at all. The host may have ended then."""
        raise NotImplementedError

    def report(self, error: BaseException, where: str) -> None:
        """Show an error that no task or callback caught (`where`: which one let it go), as the host shows its own."""
        sys.excepthook(type(error), error, error.__traceback__)

    # What any host calls

    @property
    def attached(self) -> bool:
        """Whether the host steps the loop."""
        return self._attached

    def attach(self) -> Self:
        """Let the host step the loop from here on; it becomes the current loop of the thread.

        Errors that no callback or task catches then go to `report`, unless the loop has an `on_error` of its own, and the loop
        goes on. `LoopStateError`: the loop is attached already, is running, belongs to another thread, or has no descriptor
        (`EventLoop.fileno()` is None); `LoopClosedError`.
        """
        loop = self.loop
        self._check()
        self._pid, self._thread = os.getpid(), get_ident()
        self._former = claim_thread(loop)
        self._attached = True
        loop.host = self
        if loop.on_error is None:
            loop.on_error = self.report
        loop.on_wake(self._woken)
        try:
            # A duplicate of our own: whoever closes the loop, in whatever thread, the host never polls a stranger's number.
            fd = loop.fileno()
            self._fd = -1 if fd is None else os.dup(fd)
            self._look()
            self.alarm(loop.next_deadline())
        except BaseException:
            self.detach()
            raise
        return self

    def _check(self) -> None:
        loop = self.loop
        loop.check_thread()
        if loop.host is not None:
            raise LoopStateError(f"{loop!r} is attached to {loop.host} already; detach() it there first")
        if loop.in_turn:
            raise LoopStateError(f"{loop!r} is running: attach it before it runs, or within `with loop.nested():`")
        if loop.fileno() is None and self.watches:
            raise LoopStateError(
                f"{loop!r} has no descriptor that {self} could watch, because its selector has none: make the loop without selector=, "
                "on a system with epoll or kqueue, or run it in a LoopThread"
            )

    def detach(self) -> None:
        """Take the loop from its host. It keeps its tasks, and can be attached again, run or closed. Idempotent."""
        if not self._attached:
            return
        if get_ident() != self._thread:
            raise LoopStateError(f"detach() was called in thread {get_ident()}; {self} lives in thread {self._thread}")
        self._attached = False
        loop = self.loop
        loop.host = None
        loop.on_wake(None)
        if loop.on_error == self.report:
            loop.on_error = None
        if not loop.in_turn:
            self._give_thread_back()
        try:
            # In a forked child the host's own descriptors are its parent's still: to unwatch there would make the parent deaf.
            if os.getpid() == self._pid:
                self.alarm(None)
                self._look_away()
        finally:
            fd, self._fd = self._fd, -1
            if fd != -1:
                os.close(fd)

    def _give_thread_back(self) -> None:
        if here.loop is self.loop:
            former = self._former
            here.loop = None if former is None or former.closed else former

    def serve(self) -> None:
        """One turn of the loop. The host's callback, for the descriptor and for the alarm."""
        loop = self.loop
        if not self._attached:
            return
        if loop.in_turn:
            # The host runs inside a callback of ours that did not say `nested()`: we cannot serve, and must not be asked again.
            self.alarm(None)
            self._look_away()
            return
        if loop.closed:  # in another thread
            self.detach()
            return
        try:
            loop.step(budget=self.budget)
        finally:
            self._served()

    def _served(self) -> None:
        if not self._attached:
            self._give_thread_back()
        elif self.loop.closed:
            self.detach()
        else:
            self._look()
            self.alarm(self.loop.next_deadline())

    def _look(self) -> None:
        if not self._watching:
            self.watch(self._fd)
            self._watching = True

    def _look_away(self) -> None:
        if self._watching:
            self._watching = False
            self.unwatch(self._fd)

    def _woken(self) -> None:
        # What happens in another thread makes the descriptor readable; so does a change here, which therefore needs no more either.
        if get_ident() == self._thread:
            if self.loop.closed:
                self.detach()
            else:
                self._look()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.detach()

    def __str__(self) -> str:
        return self.name
