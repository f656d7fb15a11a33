"""A guest of asyncio, also on uvloop, and both ways of waiting across: one thread, two kinds of tasks.

Knows asyncio's public API and ours. What is awaited is cancelled with its waiter, as asyncio does it: one that must live on is awaited
through `asyncio.shield`, or is a task that another one awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from contextlib import suppress
from typing import Any, TypeVar

from ..errors import Cancelled, LoopStateError, TaskCancelled
from ..loop.event_loop import EventLoop
from ..tasks.task import Task, current_task
from ..tasks.waitable import waitable
from ..tasks.waits import await_callback
from .guest import Guest, milliseconds

__all__ = ["AsyncioGuest", "as_awaitable", "attach", "await_future"]

T = TypeVar("T")


class AsyncioGuest(Guest):
    """A loop that an asyncio loop steps."""

    name = "asyncio"

    def __init__(self, host: asyncio.AbstractEventLoop, loop: EventLoop | None, budget: float | None) -> None:
        super().__init__(loop, budget=budget)
        self.host = host
        self._alarm: asyncio.Handle | None = None

    def watch(self, fd: int) -> None:
        """By `add_reader`; a loop without it (Windows' proactor) raises NotImplementedError."""
        self.host.add_reader(fd, self.serve)

    def unwatch(self, fd: int) -> None:
        if not self.host.is_closed():
            self.host.remove_reader(fd)

    def alarm(self, seconds: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if seconds is not None and not self.host.is_closed():
            # uvloop rounds to milliseconds: less than half of one would be none, and be asked for again and again.
            self._alarm = self.host.call_later(milliseconds(seconds) / 1000, self.serve)

    def report(self, error: BaseException, where: str) -> None:
        """To the loop's exception handler, which logs it if nobody has set another."""
        self.host.call_exception_handler({"message": f"an error left {where}", "exception": error})


def attach(host: asyncio.AbstractEventLoop | None = None, loop: EventLoop | None = None, *, budget: float | None = 0.005) -> AsyncioGuest:
    """Let the asyncio loop `host` (None: the running one) step `loop` (None: the default one). See `Guest.attach`."""
    return AsyncioGuest(asyncio.get_running_loop() if host is None else host, loop, budget).attach()


def _guest_of(loop: EventLoop) -> AsyncioGuest:
    guest = loop.host
    if not isinstance(guest, AsyncioGuest):
        raise LoopStateError(f"{loop!r} is not attached to asyncio: embed.asyncio.attach(asyncio.get_running_loop(), loop) does it")
    return guest


# From asyncio: waiting for a task of ours


class _Outcome(asyncio.Future[T]):
    """The end of a task of ours, for asyncio to await. To cancel it is to cancel the task; it is cancelled when that has ended."""

    def __init__(self, task: Task[T], host: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=host)
        self._task = task
        self._asked = False
        if not task.done:
            task.watch(self.take)

    def cancel(self, msg: Any | None = None) -> bool:
        if self.done():
            return False
        self._asked = True
        return self._task.cancel(msg)

    def take(self) -> None:
        """The task has ended: so do we."""
        error = self._task.error
        if self.done() or self.get_loop().is_closed():
            return
        if error is None:
            self.set_result(self._task.result())
        elif not isinstance(error, Cancelled):
            self.set_exception(error)
        elif self._asked:
            super().cancel(error.reason)
        else:
            self.set_exception(TaskCancelled(error.reason, error.by))


def as_awaitable(task: Task[T]) -> asyncio.Future[T]:
    """For asyncio code: `await as_awaitable(task)` waits for a task of a loop that is attached here, and gives its result.

    It raises the task's error, or `TaskCancelled` if somebody else cancelled the task. Cancelling the waiter cancels the task, and
    `asyncio.CancelledError` comes when that has ended, after its `finally` blocks. Asyncio's thread. `LoopStateError`: the task's
    loop is not attached to the running asyncio loop.
    """
    if not isinstance(task, Task):
        raise TypeError(f"task must be what a_sync() returned, not {type(task).__name__}")
    host = asyncio.get_running_loop()
    if not task.done and _guest_of(task.loop).host is not host:
        raise LoopStateError(f"{task} belongs to {task.loop!r}, which is attached to another asyncio loop")
    outcome = _Outcome(task, host)
    if task.done:
        with suppress(BaseException):
            task.result()  # who asks has heard of its error
        outcome.take()
    return outcome


# From a task of ours: waiting for asyncio


@waitable
def await_future(awaitable: Awaitable[T]) -> Generator[Any, Any, T]:
    """Wait for a coroutine, a future or another awaitable of the asyncio loop that steps this task's loop; its result.

    A coroutine becomes an asyncio task, in a copy of this task's context. Its error is raised here, or `TaskCancelled` if it was
    cancelled there. Cancelling this task cancels it and waits for its end, so that its `finally` blocks have run before `Cancelled`
    goes on; an error that it ends with takes the place of `Cancelled`. `LoopStateError`: the loop is not attached to asyncio.
    """
    host = _guest_of(current_task("await_future()").loop).host
    future: asyncio.Future[T] = asyncio.ensure_future(awaitable, loop=host)
    try:
        yield from _await_end(future)
    except Cancelled as cancelled:
        future.cancel(cancelled.reason)
        yield from _await_end(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            raise error
        raise
    except BaseException:  # our loop ends, and nothing can be waited for
        future.cancel()
        raise
    try:
        return future.result()
    except asyncio.CancelledError as error:
        raise TaskCancelled(error.args[0] if error.args else None) from error


def _await_end(future: asyncio.Future[Any]) -> Generator[Any, Any, None]:
    if not future.done():
        yield from await_callback(lambda resume: future.add_done_callback(lambda ended: resume()))
