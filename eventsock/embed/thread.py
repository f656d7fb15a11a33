"""A loop in a thread of its own, for synchronous programs: a script, a Flask view, a Django process.

Knows threads, futures and how a loop is run and posted to. It must not know who calls, nor how many threads do.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..basic.arguments import checked_seconds
from ..errors import Cancelled, LoopClosedError, LoopStateError, TaskCancelled
from ..loop.event_loop import EventLoop
from ..tasks.a_sync import start_task
from ..tasks.run import run
from ..tasks.task import Task, current_task
from ..tasks.waits import OneShotResume, await_callback

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """A loop in a background thread. A context manager that stops it.

    The thread is started by the first call, in whatever process that is: after a fork the child gets a thread of its own, and the
    parent's is left alone. At exit its tasks are cancelled and have 5 seconds for their `finally` blocks. An error of a task that
    nobody awaits goes to `threading.excepthook`, and the loop goes on. Any thread may call; a task runs in a copy of the caller's
    context. `name`: the thread's.
    """

    def __init__(self, *, name: str = "eventsock") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._life: _Life | None = None
        self._stopped = False
        _all.add(self)

    @property
    def loop(self) -> EventLoop:
        """The loop in the thread, which is started if need be: for its `post`. `LoopClosedError`: it was stopped."""
        return self._alive().loop

    def start(self) -> Self:
        """Start the thread now, also after a `stop`. Not needed: a call starts it."""
        with self._lock:
            self._stopped = False
        self._alive()
        return self

    def _alive(self) -> _Life:
        with self._lock:
            if self._stopped:
                raise LoopClosedError("this LoopThread was stopped; start() it again")
            if self._life is None:
                self._life = _Life(self._name)
                # Whoever drops it without a word gets no thread that runs for ever.
                self._dropped = weakref.finalize(self, self._life.end)
                self._dropped.atexit = False
            return self._life

    @overload
    def call(self, waitable: Callable[..., Generator[Any, Any, T]], *args: Any, timeout: float | None = None) -> T: ...
    @overload
    def call(self, waitable: Callable[..., Awaitable[T]], *args: Any, timeout: float | None = None) -> T: ...
    @overload
    def call(self, waitable: Callable[..., T], *args: Any, timeout: float | None = None) -> T: ...
    def call(self, waitable: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
        """Run `waitable(*args)` as a task in the loop's thread, wait for its end, and return its result. Any other thread.

        Raises the task's error, or `TaskCancelled`; `TimeoutError` after `timeout` seconds, when the task is cancelled and not
        waited for any longer. `LoopStateError`: in the loop's own thread, which would wait for itself. `LoopClosedError`: stopped.
        """
        seconds = checked_seconds(timeout)
        life = self._alive()
        if life.is_here():
            raise LoopStateError("call() in the loop's own thread would wait for itself: use `yield from await_call(f)`, or a_sync(f)")
        future = life.submit(waitable, args)
        try:
            return future.result(seconds)
        except BaseException as error:
            if future.cancel() and isinstance(error, TimeoutError):
                raise TimeoutError(f"{getattr(waitable, '__qualname__', waitable)} took longer than {timeout} s") from None
            raise
        finally:
            del future  # it holds the error, which holds this frame

    @overload
    def submit(self, waitable: Callable[..., Generator[Any, Any, T]], *args: Any) -> Future[T]: ...
    @overload
    def submit(self, waitable: Callable[..., Awaitable[T]], *args: Any) -> Future[T]: ...
    @overload
    def submit(self, waitable: Callable[..., T], *args: Any) -> Future[T]: ...
    def submit(self, waitable: Callable[..., Any], *args: Any) -> Future[Any]:
        """Start `waitable(*args)` as a task in the loop's thread and return at once. Any thread.

        The future ends with the task; to cancel the future cancels the task. `LoopClosedError`: stopped.
        """
        return self._alive().submit(waitable, args)

    def stop(self) -> None:
        """Cancel the tasks, give them 5 seconds for their `finally` blocks, end the thread, and wait for that. Idempotent.

        `LoopStateError`: in the loop's own thread.
        """
        life = self._life
        if life is not None and life.is_here():
            raise LoopStateError("stop() in the loop's own thread would wait for itself: let the thread that made it stop it")
        with self._lock:
            self._stopped = True
            life, self._life = self._life, None
        if life is not None:
            self._dropped.detach()
            life.end()
            life.thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _forked(self) -> None:
        self._lock = threading.Lock()  # a thread that is not here may have held it
        self._life = None


class _Life:
    """One thread and its loop, from its start to its end."""

    def __init__(self, name: str) -> None:
        started: Future[tuple[EventLoop, OneShotResume]] = Future()
        self.thread = threading.Thread(target=_live, args=(started,), name=name, daemon=True)
        self.thread.start()
        self.loop, self._farewell = started.result()
        _lives.add(self)

    def is_here(self) -> bool:
        """Whether it is the thread of the caller."""
        return self.thread is threading.current_thread()

    def submit(self, waitable: Callable[..., Any], args: tuple[Any, ...]) -> Future[Any]:
        if not callable(waitable):
            raise TypeError(f"waitable must be a function, not {type(waitable).__name__}")
        call = _Call(self.loop, waitable, args)
        self.loop.post(call)
        return call.future

    def end(self) -> None:
        """Have the thread end; do not wait for it."""
        _lives.discard(self)
        with suppress(LoopStateError):  # it has ended, or is another process's
            self.loop.post(self._farewell)


def _live(started: Future[tuple[EventLoop, OneShotResume]]) -> None:
    try:
        run(_stay, started)
    except SystemExit:
        pass  # ends the thread, as it ends any; whoever waited for the task has it too
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


def _stay(started: Future[tuple[EventLoop, OneShotResume]]) -> Generator[Any, Any, None]:
    """The thread's main task. When it ends, `run` sees to the end of the others."""
    loop = current_task().loop
    loop.on_error = _report
    loop.block()
    yield from await_callback(lambda farewell: started.set_result((loop, farewell)))


def _report(error: BaseException, where: str) -> None:
    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread())))


class _Call:
    """A post that starts a task, and answers a future with its end."""

    def __init__(self, loop: EventLoop, waitable: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.future: Future[Any] = Future()
        self._loop = loop
        self._start = partial(copy_context().run, partial(start_task, waitable, args, self._ended, None, loop))

    def __call__(self) -> None:
        if not self.future.cancelled():
            self.future.add_done_callback(partial(self._answered, self._start()))

    def _answered(self, task: Task[Any], future: Future[Any]) -> None:
        if future.cancelled():
            with suppress(LoopStateError):  # the loop has ended, and the task with it
                self._loop.post(partial(task.cancel, "its caller waits no longer"))

    def _ended(self, task: Task[Any]) -> None:
        future, error = self.future, task.error
        if not future.set_running_or_notify_cancel():
            if error is not None and not task.cancelled:
                self._loop.fail(error, str(task))
        elif error is None:
            future.set_result(task.result())
        else:
            future.set_exception(TaskCancelled(error.reason, error.by) if isinstance(error, Cancelled) else error)

    def dropped(self) -> None:
        """The loop has ended before it came to this post."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(LoopClosedError("the loop of this LoopThread ended before the task was started"))


_all: weakref.WeakSet[LoopThread] = weakref.WeakSet()
_lives: set[_Life] = set()


@atexit.register
def _end_all() -> None:
    lives = list(_lives)
    for life in lives:
        life.end()
    for life in lives:
        life.thread.join()


def _forked() -> None:
    _lives.clear()
    for each in list(_all):
        each._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
