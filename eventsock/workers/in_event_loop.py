"""Work that another event loop does, whose answer a task awaits.

Knows both loops by their posts. It must not know in which threads they run: it may even be one and the same loop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from ..errors import Cancelled, LoopClosedError, LoopStateError
from ..loop.event_loop import EventLoop
from ..tasks.a_sync import start_task
from ..tasks.outcome import attempt
from ..tasks.task import Task
from ..tasks.thunks import Values, values_of
from ..tasks.waitable import waitable
from ..tasks.waits import OneShotResume, await_callback, await_yield
from .conveyor import Conveyor, await_values, checked_row
from .jobs import Job, await_answer, checked_work, name_of

__all__ = ["await_generator_in_event_loop", "await_task_in_event_loop"]

T = TypeVar("T")


@waitable
def await_task_in_event_loop(worker: EventLoop, thunk: Callable[[], T]) -> Generator[Any, Any, T]:
    """Have the loop `worker` call `thunk()` as a post, and give its result here; its error is raised here.

    `thunk` has a copy of the task's context. Keeps this task's loop alive, not `worker`: that must run, or be run later. A waiter that
    is cancelled before `thunk` has begun has it not run. `LoopClosedError`: `worker` is closed, or has dropped the post by a quit;
    `TypeError`. Posting to a throttled loop may make this thread sleep. Origin: chez-a-sync `await-task-in-event-loop!`.
    """
    _check_loop(worker)
    checked_work(thunk, None)
    name = name_of(thunk)
    errand = partial(_Errand, worker, thunk, copy_context(), name)
    return (yield from await_answer("await_task_in_event_loop()", f"another loop, {name}", lambda job: worker.post(errand(job)), None))  # type: ignore[no-any-return]


class _Errand:
    """The post in the other loop."""

    def __init__(self, worker: EventLoop, thunk: Callable[[], Any], context: Context, name: str, job: Job) -> None:
        self._worker = worker
        self._thunk = thunk
        self._context = context
        self._name = name
        self._job = job

    def __call__(self) -> None:
        if self._job.wanted:
            self._job.answer(attempt(self._context.run, self._thunk))

    def dropped(self) -> None:
        self._job.refuse(_dropped(self._worker, self._name))


def _dropped(worker: EventLoop, name: str) -> LoopClosedError:
    return LoopClosedError(f"{worker!r} has quit or was closed before {name} was done")


def _check_loop(worker: EventLoop) -> None:
    if not isinstance(worker, EventLoop):
        raise TypeError(f"worker must be an EventLoop, not {type(worker).__name__}")


@waitable
def await_generator_in_event_loop(worker: EventLoop, generator: Values[T], proc: Callable[[T], object]) -> Generator[Any, Any, None]:
    """Run `generator` in the loop `worker`, a value in each turn, and call `proc(value)` in the task for each. Gives None.

    Each value comes in a post of its own, in order; 32 values ahead of `proc`, the generator rests, and `worker` does not. Errors of
    either are raised here, and close the generator. Keeps both loops alive once begun. Otherwise as `await_task_in_event_loop`.
    Origin: chez-a-sync `await-generator-in-event-loop!` (which runs all of the generator in one event).
    """
    _check_loop(worker)
    checked_row(proc, None)
    name = name_of(generator)
    feeding = partial(_Feeding, worker, generator, copy_context(), name)
    text = f"a generator in another loop, {name}"
    yield from await_values("await_generator_in_event_loop()", text, lambda conveyor: worker.post(feeding(conveyor)), proc, None)


class _Feeding:
    """The post in the other loop that starts the task which runs the generator there."""

    def __init__(self, worker: EventLoop, generator: Values[Any], context: Context, name: str, conveyor: Conveyor) -> None:
        self._worker = worker
        self._generator = generator
        self._context = context
        self._name = name
        self._conveyor = conveyor
        self._over = False

    def __call__(self) -> None:
        if self._conveyor.wanted:
            self._worker.keep_alive(self._conveyor)
            self._context.run(start_task, self._feed, (), self._fed, f"feeding {self._name}", self._worker)

    def dropped(self) -> None:
        self._conveyor.refuse(_dropped(self._worker, self._name))

    def _feed(self) -> Generator[Any, Any, None]:
        conveyor = self._conveyor
        with values_of(self._generator) as values:
            for value in values:
                while not (yield from await_callback(self._ask_for_room)):
                    pass
                if not conveyor.put(value):
                    return
                yield from await_yield()

    def _ask_for_room(self, resume: OneShotResume) -> None:
        def freed() -> None:
            # Once the task has ended, room is of no interest; and a loop that was closed meanwhile has ended it.
            if not self._over:
                with suppress(LoopStateError):
                    self._worker.post(lambda: resume(False))

        if self._conveyor.take_room(freed):
            resume(True)

    def _fed(self, task: Task[None]) -> None:
        self._over = True
        self._worker.let_go(self._conveyor)
        error = task.error
        if isinstance(error, Cancelled):
            self._conveyor.refuse(_dropped(self._worker, self._name))
        else:
            self._conveyor.end((error is None, error))
