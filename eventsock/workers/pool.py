"""A pool of threads whose size can be changed while it works: a `concurrent.futures.Executor`.

Knows its crew, which does the work. It must not know loops or tasks of a loop: whoever wants the answer in a loop posts it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from ..tasks.thunks import checked_callable
from .crew import Crew, Work
from .jobs import name_of

__all__ = ["ThreadPool"]

P = ParamSpec("P")
T = TypeVar("T")

# How many threads there may be where the program does not say; guile-a-sync2's number.
_USUAL_MOST = 8


class ThreadPool(Executor):
    """Runs what is given to `add` or `submit` in at most `size` threads, in the order in which it came. Any thread.

    `ThreadPool(4)` starts four threads at once and keeps them (chez-a-sync `make-thread-pool`). With the keywords of guile-a-sync2
    instead, threads are started as they are needed, up to `max_threads` (8), and end after `idle` seconds without work, down to
    `min_threads` (0). `non_blocking`: `stop` and the end of a `with` block do not wait for the tasks. Counts are exact. `TypeError`,
    `ValueError`: sizes out of order; `RuntimeError`: a thread could not be started. A pool that is dropped without `stop` warns
    (`ResourceWarning`), and stops when its tasks are done. When the interpreter exits, tasks have 5 seconds more; a stuck one is named.
    After a fork, the child's copy is stopped.
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
        self._non_blocking = bool(non_blocking)
        self._crew = Crew(least, most, _checked_idle(idle), size is not None)
        with self._crew.changed:
            try:
                self._crew.start(least)
            except BaseException:
                self._crew.stop(False)
                raise

    # Counts

    @property
    def size(self) -> int:
        """How many threads there may be: the setting, not how many are alive. Origin: `thread-pool-get-size`."""
        return self._crew.most

    max_threads = size

    @property
    def min_threads(self) -> int:
        """How many threads stay however idle they are."""
        return self._crew.least

    @property
    def idle(self) -> float:
        """After how many idle seconds a thread beyond `min_threads` ends. Settable; counts for waits begun afterwards."""
        return self._crew.idle

    @idle.setter
    def idle(self, seconds: float) -> None:
        self._crew.idle = _checked_idle(seconds)

    @property
    def threads(self) -> int:
        """How many threads are alive now. Origin: `thread-pool-get-num-threads`."""
        with self._crew.changed:
            return len(self._crew.threads)

    @property
    def tasks(self) -> int:
        """How many tasks are running or queued. Origin: `thread-pool-get-num-tasks`."""
        with self._crew.changed:
            return len(self._crew.running) + len(self._crew.queue)

    @property
    def non_blocking(self) -> bool:
        """Whether `stop` returns without waiting. Settable until then (`PoolStopped`). Origin: `thread-pool-set-non-blocking!`."""
        return self._non_blocking

    @non_blocking.setter
    def non_blocking(self, flag: bool) -> None:
        with self._crew.changed:
            self._crew.refuse_if_stopped()
            self._non_blocking = bool(flag)

    # Work

    def add(self, task: Callable[[], object], fail_handler: Callable[[BaseException], object] | None = None) -> None:
        """Queue `task()`. Its error goes to `fail_handler(error)`, in the pool's thread, else to `threading.excepthook`.

        Does not block. `PoolStopped`; `RuntimeError`: no thread could be started and none is alive. Origin: `thread-pool-add!`.
        """
        checked_callable(task, "task")
        if fail_handler is not None:
            checked_callable(fail_handler, "fail_handler")
        self._add(Work(task, name_of(task), fail_handler, None))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As `concurrent.futures.Executor.submit`. `PoolStopped`, `RuntimeError` as `add`."""
        checked_callable(fn, "fn")
        future: Future[Any] = Future()
        self._add(Work(_Call(future, partial(fn, *args, **kwargs)), name_of(fn), None, future))
        return future

    def _add(self, work: Work) -> None:
        with self._crew.changed:
            self._crew.refuse_if_stopped()
            self._crew.add(work)

    # Size

    def change_size(self, delta: int) -> None:
        """Grow or shrink by `delta` threads, never below 1 (or `min_threads`); nothing after `stop`.

        Surplus threads end when they are free. `TypeError`; `RuntimeError`: a thread could not be started; the size is then what is
        alive. Origin: `thread-pool-change-size!`, `thread-pool-change-max-threads!`.
        """
        _check_int(delta, "delta")
        with self._crew.changed:
            if not self._crew.stopped:
                self._crew.resize(delta)

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

        In a task of a loop it blocks the loop; `non_blocking`, or `await_task_in_thread(pool.stop)`, does not. `PoolStopped`: it was
        stopped before. Origin: `thread-pool-stop!`.
        """
        with self._crew.changed:
            self._crew.refuse_if_stopped()
            self._crew.stop(not self._non_blocking)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `concurrent.futures.Executor.shutdown`; idempotent. From a task of the pool it does not wait."""
        with self._crew.changed:
            self._crew.stopped = True
            if cancel_futures:
                self._crew.cancel_queued()
            self._crew.stop(wait)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shutdown(not self._non_blocking)

    def __del__(self) -> None:
        crew: Crew | None = getattr(self, "_crew", None)
        if crew is not None and not crew.stopped:
            warnings.warn("a thread pool was dropped without stop()", ResourceWarning, source=self, stacklevel=2)
            with crew.changed:
                crew.stop(False)


class _Call:
    """What answers a future."""

    __slots__ = ("_call", "_future")

    def __init__(self, future: Future[Any], call: Callable[[], object]) -> None:
        self._future = future
        self._call = call

    def __call__(self) -> None:
        future = self._future
        if future.set_running_or_notify_cancel():
            try:
                result = self._call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
        del future, self  # the error's trace leads here, and the future has the error


def _checked_sizes(size: int | None, most: int | None, least: int | None) -> tuple[int, int]:
    if size is not None:
        if most is not None or least is not None:
            raise TypeError("ThreadPool takes either a size or min_threads and max_threads")
        least = most = size
    least = 0 if least is None else least
    most = _USUAL_MOST if most is None else most
    for name, value, lowest in (("size" if size is not None else "max_threads", most, 1), ("min_threads", least, 0)):
        _check_int(value, name)
        if value < lowest:
            raise ValueError(f"{name} must be at least {lowest}, not {value}")
    if least > most:
        raise ValueError(f"min_threads must not be more than max_threads: {least} > {most}")
    return least, most


def _check_int(value: object, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")


def _checked_idle(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"idle must be an int or a float, not {type(seconds).__name__}")
    if not seconds >= 0:
        raise ValueError(f"idle must be 0 or more seconds, not {seconds!r}")
    return seconds
