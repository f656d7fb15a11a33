"""Work that a thread of a pool does, or any other executor, whose answer a task awaits.

Knows the contract of `concurrent.futures.Executor`. It must not know how a pool does its work.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from ..errors import PoolStopped
from ..tasks.outcome import Outcome, attempt
from ..tasks.thunks import Values
from ..tasks.waitable import waitable
from .conveyor import Conveyor, await_values, checked_row, produce
from .jobs import Handler, Job, await_answer, checked_work, name_of
from .pool import ThreadPool
from .processes import Remote
from .threads import start_thread

__all__ = ["await_generator_in_thread_pool", "await_task_in_thread_pool"]

T = TypeVar("T")

# From Python 3.14 on; a kind of ThreadPoolExecutor that shares no objects.
_SHARES_NOTHING: Any = getattr(concurrent.futures, "InterpreterPoolExecutor", ())


def _shares_memory(pool: Executor) -> bool:
    """Whether work may carry a context and a way back along; elsewhere it is pickled."""
    return isinstance(pool, (ThreadPool, ThreadPoolExecutor)) and not isinstance(pool, _SHARES_NOTHING)


def _check_pool(pool: Executor) -> None:
    if not isinstance(pool, Executor):
        raise TypeError(f"pool must be a ThreadPool or another concurrent.futures.Executor, not {type(pool).__name__}")


@waitable
def await_task_in_thread_pool(pool: Executor, thunk: Callable[[], T], handler: Handler[T] | None = None) -> Generator[Any, Any, T]:
    """Call `thunk()` in a thread of `pool`, and give its result. Its error is raised here, or given to `handler(error)`.

    `pool`: a `ThreadPool` or any `concurrent.futures.Executor`; a process pool needs a `thunk` that can be pickled. A waiter that is
    cancelled before `thunk` has begun has it not run; otherwise as `await_task_in_thread`. `PoolStopped`: the pool was stopped before
    (other executors: `RuntimeError`), or cancelled the work; `TypeError`. Origin: chez-a-sync `await-task-in-thread-pool!`.
    """
    _check_pool(pool)
    checked_work(thunk, handler)
    name = name_of(thunk)

    def begin(job: Job) -> None:
        future: Future[Any] = pool.submit(copy_context().run, thunk) if _shares_memory(pool) else pool.submit(thunk)
        job.on_withdrawal(future.cancel)
        future.add_done_callback(partial(_deliver, job, name))

    return (yield from await_answer("await_task_in_thread_pool()", f"a thread pool, {name}", begin, handler))  # type: ignore[no-any-return]


def _deliver(job: Job, name: str, future: Future[Any]) -> None:
    if future.cancelled():
        job.refuse(_cancelled(name))
    else:
        job.answer(_outcome(future))


def _outcome(future: Future[Any]) -> Outcome:
    """Asked for, not raised: a trace that leads to whoever has the future would make a cycle, as that has the error."""
    error = future.exception()
    return (True, future.result()) if error is None else (False, error)


def _cancelled(name: str) -> PoolStopped:
    return PoolStopped(f"the pool cancelled {name}")


@waitable
def await_generator_in_thread_pool(
    pool: Executor, generator: Values[T], proc: Callable[[T], object], handler: Handler[object] | None = None
) -> Generator[Any, Any, None]:
    """Run `generator` in a thread of `pool`, and call `proc(value)` in the task for each value it yields. Gives None.

    As `await_generator_in_thread`, with `pool` as in `await_task_in_thread_pool`. From a process the values come through a local
    socket: they, and `generator`, must be picklable. Origin: chez-a-sync `await-generator-in-thread-pool!`.
    """
    _check_pool(pool)
    checked_row(proc, handler)
    name = name_of(generator)

    def begin(conveyor: Conveyor) -> None:
        if _shares_memory(pool):
            future = pool.submit(copy_context().run, produce, conveyor, generator)
            conveyor.on_withdrawal(future.cancel)
            future.add_done_callback(partial(_end, conveyor, name))
        else:
            _begin_remote(Remote(pool, generator), conveyor, name)

    yield from await_values("await_generator_in_thread_pool()", f"a generator in a thread pool, {name}", begin, proc, handler)


def _begin_remote(remote: Remote, conveyor: Conveyor, name: str) -> None:
    def work() -> None:
        outcome = attempt(produce, conveyor, remote.values)
        if remote.cancelled:
            conveyor.refuse(_cancelled(name))
        else:
            conveyor.end(outcome)

    conveyor.on_withdrawal(remote.cancel)
    try:
        start_thread(work, name)
    except BaseException:
        remote.close()
        raise
    try:
        start_thread(remote.submit, name)
    except BaseException:
        remote.abandon()
        raise


def _end(conveyor: Conveyor, name: str, future: Future[Any]) -> None:
    if future.cancelled():
        conveyor.refuse(_cancelled(name))
    else:
        conveyor.end(_outcome(future))
