"""A thread for one piece of work, whose answer a task awaits.

Knows threads, jobs and conveyors. It must not know pools: there a thread is lent, here it is made and ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextvars import copy_context
from typing import Any, TypeVar

from ..tasks.outcome import attempt
from ..tasks.thunks import Values
from ..tasks.waitable import waitable
from .conveyor import Conveyor, await_values, checked_row, produce
from .jobs import Handler, Job, await_answer, checked_work, name_of
from .last_call import crews

__all__ = ["await_generator_in_thread", "await_task_in_thread", "start_thread"]

T = TypeVar("T")
U = TypeVar("U")


class _Threads:
    """All threads that were made for one piece of work and still run, for the last call."""

    def __init__(self) -> None:
        self._running: dict[threading.Thread, str] = {}

    def start(self, work: Callable[[], object], name: str) -> None:
        """Run `work()` in a thread of its own. `RuntimeError`: it cannot be started."""
        thread = threading.Thread(target=self._run, args=(work,), name=f"eventsock {name}", daemon=True)
        self._running[thread] = name
        try:
            thread.start()
        except BaseException:
            self._running.pop(thread, None)
            raise

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            self._running.pop(threading.current_thread(), None)

    def last_call(self, seconds: float) -> list[str]:
        """Wait for the running ones."""
        deadline = time.monotonic() + seconds
        for thread in list(self._running):
            thread.join(max(0.0, deadline - time.monotonic()))
        return [f"the thread of {name}" for name in self._running.values()]

    def forked(self) -> None:
        """The child has none of them."""
        self._running.clear()


_threads = _Threads()
crews.add(_threads)

start_thread = _threads.start


@waitable
def await_task_in_thread(thunk: Callable[[], T], handler: Handler[T] | None = None) -> Generator[Any, Any, T]:
    """Call `thunk()` in a new thread, and give its result. Its error is raised here, or given to `handler(error)`, whose result it is then.

    `handler` runs in the loop's thread. The thread has a copy of the task's context, but no task: what it wants of the loop it posts.
    Keeps the loop alive. Cancelling the waiter does not stop the thread: its value is dropped, its error goes to
    `threading.excepthook`. When the interpreter exits, such threads have 5 seconds more; a stuck one is named on stderr, and left.
    `TypeError`; `RuntimeError`: the thread cannot be started. Origin: chez-a-sync `await-task-in-thread!`.
    """
    checked_work(thunk, handler)
    name, run = name_of(thunk), copy_context().run

    def begin(job: Job) -> None:
        start_thread(lambda: job.answer(attempt(run, thunk)), name)

    return (yield from await_answer("await_task_in_thread()", f"a thread, {name}", begin, handler))  # type: ignore[no-any-return]


@waitable
def await_generator_in_thread(
    generator: Values[T], proc: Callable[[T], object], handler: Handler[object] | None = None
) -> Generator[Any, Any, None]:
    """Run `generator` in a new thread, and call `proc(value)` in the task for each value it yields. Gives None.

    Each value comes in a post of its own, in order, as it is yielded; 32 values ahead of `proc`, the thread waits. An error of the
    generator is raised here after the values before it, or given to `handler(error)`; an error of `proc` is raised here at once.
    If that or a cancellation ends the wait, the generator is closed, in its thread, when it next yields. Otherwise as
    `await_task_in_thread`. Origin: chez-a-sync `await-generator-in-thread!`.
    """
    checked_row(proc, handler)
    name, run = name_of(generator), copy_context().run

    def begin(conveyor: Conveyor) -> None:
        start_thread(lambda: conveyor.end(attempt(run, produce, conveyor, generator)), name)

    yield from await_values("await_generator_in_thread()", f"a generator in a thread, {name}", begin, proc, handler)
