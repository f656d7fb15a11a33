"""Having the task's own loop do something: run a thunk, run it later, hand on what a generator yields.

Knows posts, timeouts and tasks. It must not know threads: work done elsewhere is the business of `workers`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .outcome import attempt
from .states import SUSPENDED, TURN
from .task import Task, current_task
from .waitable import waitable

__all__ = ["Values", "await_generator", "await_task", "await_timeout", "checked_callable", "values_of"]

T = TypeVar("T")

# What the `await_generator…` family takes: a function that makes an iterable, a generator function above all, or an iterable.
Values = Callable[[], Iterable[T]] | Iterable[T]


def checked_callable(value: object, name: str) -> None:
    """`TypeError` naming the argument: it cannot be called."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")


class _Job:
    """A thunk that the loop runs for a waiting task: the callback and the wait in one."""

    __slots__ = ("_task", "_text", "_thunk", "since")

    def __init__(self, task: Task[Any], thunk: Callable[[], Any], text: str) -> None:
        checked_callable(thunk, "thunk")
        self._task: Task[Any] | None = task
        self._thunk = thunk
        self._text = text
        self.since = task.loop.time()

    def __call__(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            good, value = attempt(self._thunk)
            if good:
                task.wake(value)
            else:
                task.fail(value)
            del value  # the error's trace leads back to this frame

    def withdraw(self) -> bool:
        if self._task is None:
            return False
        self._task = None
        return True

    def __str__(self) -> str:
        return f"{self._text}, {getattr(self._thunk, '__qualname__', self._thunk)}"


@waitable
def await_task(thunk: Callable[[], T]) -> Generator[Any, Any, T]:
    """Have the loop call `thunk()` as a post, in turn, and give its result; its error is raised here.

    A task that is cancelled before that has the thunk not run. `TypeError`: it cannot be called. Origin: chez-a-sync `await-task!`
    (where an error in the thunk leaves the loop).
    """
    task = current_task("await_task()")
    job = _Job(task, thunk, "a post")
    task.loop.soon(job)
    task.waits_for = job
    del task
    return (yield SUSPENDED)  # type: ignore[no-any-return]


@waitable
def await_timeout(seconds: float, thunk: Callable[[], T]) -> Generator[Any, Any, T]:
    """Have the loop call `thunk()` in `seconds` (negative counts as 0; `inf`: never), and give its result; its error is raised here.

    `ValueError`: NaN; `TypeError`. Origin: chez-a-sync `await-timeout!` (where an error in the thunk leaves the loop).
    """
    task = current_task("await_timeout()")
    job = _Job(task, thunk, f"a timeout of {seconds} s")
    loop = task.loop
    timeout = loop.timeout_post(seconds, job, repeat=False)
    task.waits_for = job
    del task  # see `await_sleep`
    try:
        return (yield SUSPENDED)  # type: ignore[no-any-return]
    finally:
        loop.timeout_remove(timeout)


@contextmanager
def values_of(generator: Values[T]) -> Iterator[Iterator[T]]:
    """An iterator over what `generator` yields, closed in the end. `TypeError`: it yields nothing."""
    made = generator if isinstance(generator, Iterable) or not callable(generator) else generator()
    if not isinstance(made, Iterable):
        raise TypeError(f"generator must be a generator function or an iterable; {generator!r} gave {type(made).__name__}")
    values = iter(made)
    try:
        yield values
    finally:
        close = getattr(values, "close", None)
        if close is not None and isinstance(values, Generator):
            close()


@waitable
def await_generator(generator: Values[T], proc: Callable[[T], object]) -> Generator[Any, Any, None]:
    """Call `proc(value)` for each value that `generator` yields, each in a turn of its own. Gives None.

    `generator`: a generator function without arguments, or an iterable. An error of either is raised here, and the generator is
    closed. `TypeError`. Origin: chez-a-sync `await-generator!` (which runs all of the generator before the first value is used).
    """
    current_task("await_generator()")
    checked_callable(proc, "proc")
    with values_of(generator) as values:
        for value in values:
            yield TURN
            proc(value)
