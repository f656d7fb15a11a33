"""A pool of threads whose size can be changed while it works: a `concurrent.futures.Executor`.

Knows threads and a queue. It must not know loops or tasks of a loop: whoever wants the answer in a loop posts it.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from ..errors import PoolStopped

__all__ = ["ThreadPool"]

P = ParamSpec("P")
T = TypeVar("T")

Task = Callable[[], object]
FailHandler = Callable[[BaseException], object]

# Seconds that tasks still have when the interpreter exits; a stuck one is named and left.
_LAST_CALL = 5.0


class ThreadPool(Executor):
    """Runs what is given to `add` or `submit` in at most `size` threads, in the order in which it came. Any thread.

    `ThreadPool(4)` starts four threads at once and keeps them (chez-a-sync `make-thread-pool`). With the keywords of guile-a-sync2
    instead, threads are started as they are needed, up to `max_threads`, and end after `idle` seconds without work, down to
    `min_threads`. `non_blocking`: `stop` does not wait for the tasks. Counts are exact. `ValueError`: sizes out of order.
    `RuntimeError`: a thread could not be started. When the interpreter exits, tasks have 5 seconds more; a stuck one is named.
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        non_blocking: bool = False,
        max_threads: int | None = None,
        min_threads: int | None = None,
        idle: float = 5.0,
    ) -> None:
        least, most = _checked_sizes(size, max_threads, min_threads)
        if not idle >= 0:
            raise ValueError(f"idle must be 0 or more seconds, not {idle!r}")
        self._fixed = size is not None
        self._least = least
        self._most = most
        self._idle = idle
        self._non_blocking = bool(non_blocking)
        self._stopped = False
        self._queue: deque[tuple[Task, FailHandler | None]] = deque()
        self._running: dict[threading.Thread, Task] = {}
        self._workers: set[threading.Thread] = set()
        self._changed = threading.Condition()
        try:
            with self._changed:
                self._start(least)
        except BaseException:
            self.shutdown(wait=False)
            raise
        _pools.add(self)

    # Counts

    @property
    def size(self) -> int:
        """How many threads there may be: the setting, not how many are alive. Origin: `thread-pool-get-size`."""
        return self._most

    max_threads = size

    @property
    def min_threads(self) -> int:
        """How many threads stay however idle they are."""
        return self._least

    @property
    def idle(self) -> float:
        """After how many idle seconds a thread beyond `min_threads` ends. Settable; counts for waits begun afterwards."""
        return self._idle

    @idle.setter
    def idle(self, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError(f"idle must be 0 or more seconds, not {seconds!r}")
        self._idle = seconds

    @property
    def threads(self) -> int:
        """How many threads are alive now. Origin: `thread-pool-get-num-threads`."""
        with self._changed:
            return len(self._workers)

    @property
    def tasks(self) -> int:
        """How many tasks are running or queued. Origin: `thread-pool-get-num-tasks`."""
        with self._changed:
            return len(self._running) + len(self._queue)

    @property
    def non_blocking(self) -> bool:
        """Whether `stop` returns without waiting. Settable until then (`PoolStopped`). Origin: `thread-pool-set-non-blocking!`."""
        return self._non_blocking

    @non_blocking.setter
    def non_blocking(self, flag: bool) -> None:
        with self._changed:
            self._refuse_if_stopped()
            self._non_blocking = bool(flag)

    # Work

    def add(self, task: Task, fail_handler: FailHandler | None = None) -> None:
        """Queue `task()`. Its error goes to `fail_handler(error)`, in the pool's thread, else to `threading.excepthook`.

        Does not block. `PoolStopped`; `RuntimeError`: no thread could be started and none is alive. Origin: `thread-pool-add!`.
        """
        for name, value in (("task", task), ("fail_handler", fail_handler)):
            if not callable(value) and (name == "task" or value is not None):
                raise TypeError(f"{name} must be callable, not {type(value).__name__}")
        with self._changed:
            self._refuse_if_stopped()
            self._queue.append((task, fail_handler))
            try:
                self._start_for_queue()
            except RuntimeError:
                if not self._workers:
                    self._queue.pop()
                    raise
            self._changed.notify()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As `concurrent.futures.Executor.submit`. `PoolStopped`."""
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        work._future = future  # type: ignore[attr-defined]
        self.add(work)
        return future

    # Size

    def change_size(self, delta: int) -> None:
        """Grow or shrink by `delta` threads, never below 1 (or `min_threads`); nothing after `stop`.

        Surplus threads end when they are free. `RuntimeError`: a thread could not be started; the size is then what is alive.
        Origin: `thread-pool-change-size!`, `thread-pool-change-max-threads!`.
        """
        with self._changed:
            if self._stopped:
                return
            self._most = max(1 if self._fixed else max(1, self._least), self._most + delta)
            if not self._fixed:
                self._start_for_queue()
                return
            self._least = self._most
            try:
                self._start(self._most - len(self._workers))
            except RuntimeError:
                self._most = self._least = max(1, len(self._workers))
                raise
            self._changed.notify_all()

    @contextmanager
    def increment(self) -> Iterator[None]:
        """One thread more while the block runs: for a task that is about to wait. Origin: `with-thread-pool-increment`."""
        self.change_size(1)
        try:
            yield
        finally:
            self.change_size(-1)

    # End

    def stop(self) -> None:
        """Take no more tasks, let the queued ones finish, and wait for that (unless `non_blocking`, or called by a task of the pool).

        `PoolStopped`: it was stopped before. Origin: `thread-pool-stop!`.
        """
        with self._changed:
            self._refuse_if_stopped()
            self._stopped = True
            self._changed.notify_all()
            if not self._non_blocking and threading.current_thread() not in self._workers:
                self._changed.wait_for(lambda: not self._workers)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `concurrent.futures.Executor.shutdown`; idempotent."""
        with self._changed:
            self._stopped = True
            if cancel_futures:
                self._cancel_queued()
            self._changed.notify_all()
            if wait and threading.current_thread() not in self._workers:
                self._changed.wait_for(lambda: not self._workers)

    def _cancel_queued(self) -> None:
        for entry in list(self._queue):
            future: Future[object] | None = getattr(entry[0], "_future", None)
            if future is not None and future.cancel():
                self._queue.remove(entry)
                future.set_running_or_notify_cancel()

    def _refuse_if_stopped(self) -> None:
        if self._stopped:
            raise PoolStopped("the thread pool was stopped")

    # Threads; all but `_work` with the lock held

    def _start_for_queue(self) -> None:
        free = len(self._workers) - len(self._running)
        self._start(min(self._most - len(self._workers), len(self._queue) - free))

    def _start(self, count: int) -> None:
        for _ in range(count):
            worker = threading.Thread(target=self._work, name="eventsock pool", daemon=True)
            self._workers.add(worker)
            try:
                worker.start()
            except BaseException:
                self._workers.discard(worker)
                raise

    def _work(self) -> None:
        me = threading.current_thread()
        while (entry := self._next(me)) is not None:
            task, handler = entry
            try:
                _run(task, handler)
            finally:
                del entry, task, handler
                with self._changed:
                    del self._running[me]
                    self._changed.notify_all()

    def _next(self, me: threading.Thread) -> tuple[Task, FailHandler | None] | None:
        """The next task for the worker `me`; None: it is to end, and does not count any more."""
        with self._changed:
            waited = False
            while True:
                surplus = len(self._workers) > self._most and not self._stopped
                if self._queue and not surplus:
                    entry = self._queue.popleft()
                    self._running[me] = entry[0]
                    return entry
                if surplus or self._stopped or (waited and len(self._workers) > self._least):
                    self._workers.discard(me)
                    self._changed.notify_all()
                    return None
                limit = self._idle if len(self._workers) > self._least else None
                waited = not self._changed.wait(limit)

    def _stuck(self) -> list[Task]:
        with self._changed:
            return [*self._running.values(), *(entry[0] for entry in self._queue)]


def _run(task: Task, handler: FailHandler | None) -> None:
    try:
        try:
            task()
        except BaseException as error:
            if handler is None:
                raise
            handler(error)
    except BaseException:
        kind, value, trace = sys.exc_info()
        assert kind is not None
        threading.excepthook(threading.ExceptHookArgs((kind, value, trace, threading.current_thread())))


def _checked_sizes(size: int | None, most: int | None, least: int | None) -> tuple[int, int]:
    if size is not None:
        if most is not None or least is not None:
            raise TypeError("ThreadPool takes either a size or min_threads and max_threads")
        least = most = size
    least = 0 if least is None else least
    most = max(8, least) if most is None else most
    for name, value, lowest in (("size" if size is not None else "max_threads", most, 1), ("min_threads", least, 0)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if value < lowest:
            raise ValueError(f"{name} must be at least {lowest}, not {value}")
    if least > most:
        raise ValueError(f"min_threads must not be more than max_threads: {least} > {most}")
    return least, most


_pools: weakref.WeakSet[ThreadPool] = weakref.WeakSet()


@atexit.register
def _last_call() -> None:
    """Workers are daemons, so that a stuck task cannot keep the program from ending; but what was accepted gets its chance."""
    deadline = time.monotonic() + _LAST_CALL
    for pool in list(_pools):
        pool.shutdown(wait=False)
        with pool._changed:
            pool._changed.wait_for(lambda pool=pool: not pool._workers, max(0.0, deadline - time.monotonic()))  # type: ignore[misc]
        for task in pool._stuck():
            print(f"eventsock: a thread pool's task did not end in time and is left: {task!r}", file=sys.stderr)
