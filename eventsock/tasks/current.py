"""Which task is meant when none is named: the one whose code is running.

Knows the note of it that the loop of this thread holds. It must not know what a task can do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import LoopStateError
from ..loop.current import here
from ..loop.verbs import Verbs
from .driver import Driver

if TYPE_CHECKING:
    from .task import Task

__all__ = ["current_task", "get_current"]


def get_current() -> Task[Any] | None:
    """The task whose code is running, or None."""
    # A note on the loop costs a switch a few nanoseconds; a context variable would cost each task two objects of its own.
    loop: Verbs | None = here.loop
    return None if loop is None else loop.current


def current_task(what: str = "an await_ procedure") -> Task[Any]:
    """The task whose code is running. `LoopStateError`: there is none."""
    # As `get_current`, without the call: this is asked at nearly every await.
    loop: Verbs | None = here.loop
    task: Driver | None = None if loop is None else loop.current
    if task is None or task.waits_for is not None:
        raise LoopStateError(f"{what} was called outside a task: start one with a_sync(f) or run(f)")
    return task  # type: ignore[return-value]  # what runs is a task
