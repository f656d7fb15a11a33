"""Cancelling a task at each of its suspensions in turn: whatever it holds must be given back, wherever it is struck.

Knows tasks and `run`. It must not know what the task does: it is run once to count its suspensions, and then twice for each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from typing import Any

from ..errors import TaskCancelled
from ..tasks.a_sync import await_call
from ..tasks.run import run
from ..tasks.task import Task, current_task

__all__ = ["cancel_sweep"]

_DESCRIPTORS = "/proc/self/fd"


def cancel_sweep(waitable: Callable[..., Any], *args: Any, check: Callable[[], object] | None = None) -> int:
    """Run `waitable(*args)` as `run` does, once undisturbed; then for each suspension, cancelling it there; gives how many there are.

    Each suspension is struck twice: at once, and by a post, which comes when the answer may be on its way. `waitable` makes all that it
    uses. It may end as it likes, but for other errors than `TaskCancelled`, which are raised with a note of where it was cancelled.
    `AssertionError`: it has left a descriptor open. `check()` is called after each run. May not be called in a task.
    """
    total = _round(waitable, args, 0, False, check)
    for number in range(1, total + 1):
        for later in (False, True):
            try:
                _round(waitable, args, number, later, check)
            except BaseException as error:
                error.add_note(f"cancelled at suspension {number} of {total}{', by a post' if later else ''}")
                raise
    return total


def _round(waitable: Callable[..., Any], args: tuple[Any, ...], number: int, later: bool, check: Callable[[], object] | None) -> int:
    before = _descriptors()
    counted = [0]
    try:
        run(_interrupted, waitable, args, number, later, counted)
    except TaskCancelled:
        if not number:
            raise
    left = _descriptors() - before
    if left:
        raise AssertionError(f"left open: {', '.join(sorted(left))}")
    if check is not None:
        check()
    return counted[0]


def _descriptors() -> set[str]:
    """Number and file of each open descriptor, where the system tells."""
    found = set()
    for number in os.listdir(_DESCRIPTORS) if os.path.isdir(_DESCRIPTORS) else ():
        try:
            found.add(f"{number}: {os.readlink(f'{_DESCRIPTORS}/{number}')}")
        except FileNotFoundError:  # the listing's own
            continue
    return found


def _interrupted(
    waitable: Callable[..., Any], args: tuple[Any, ...], number: int, later: bool, counted: list[int]
) -> Generator[Any, Any, Any]:
    """Pass on what the body says to its driver, and the answers, counting; at the given suspension cancel the task."""
    me: Task[Any] = current_task()
    steps: Any = _steps(waitable, args)
    step, answer = steps.send, None
    while True:
        try:
            token = step(answer)
        except StopIteration as stop:
            return stop.value
        counted[0] += 1
        if counted[0] == number:
            me.loop.post(me.cancel) if later else me.cancel()
        try:
            step, answer = steps.send, (yield token)
        except BaseException as error:
            step, answer = steps.throw, error


def _steps(waitable: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
    return (yield from await_call(waitable, *args))
