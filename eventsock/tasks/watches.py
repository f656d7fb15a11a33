"""Watches that resume a task each time a descriptor is ready.

Knows the loop's watches and a task's resume procedure, and nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import LoopStateError
from ..loop.descriptors import FileLike
from .a_sync import Resume
from .outcome import attempt
from .thunks import checked_callable

__all__ = ["a_sync_read_watch", "a_sync_write_watch"]


def a_sync_read_watch(resume: Resume, file: FileLike, proc: Callable[[str], Any]) -> None:
    """Watch `file` in the loop of the task of `resume`; whenever it is readable, the task's bare `yield` gives `proc("in")`.

    `resume`: what `get_resume()` gave. The task takes one value at each `yield`; it must stand at one whenever `file` is ready, and
    remove the watch (`loop.remove_read_watch(file)`) before it waits for anything else. An error in `proc` is raised at the `yield`.
    `proc("excpt")` for exceptional conditions. `LoopStateError` out of the loop: the task has ended, and the watch is removed with
    that; or it stands elsewhere. Errors as `EventLoop.add_read_watch`. Origin: chez-a-sync `a-sync-read-watch!`.
    """
    watch = _checked(resume, proc, "read")
    loop = resume.task.loop
    watch.remove = lambda: loop.remove_read_watch(file)
    loop.add_read_watch(file, watch)


def a_sync_write_watch(resume: Resume, file: FileLike, proc: Callable[[str], Any]) -> None:
    """As `a_sync_read_watch`, for writing: the `yield` gives `proc("out")`; `loop.remove_write_watch(file)` ends it."""
    watch = _checked(resume, proc, "write")
    loop = resume.task.loop
    watch.remove = lambda: loop.remove_write_watch(file)
    loop.add_write_watch(file, watch)


def _checked(resume: Resume, proc: Callable[[str], Any], verb: str) -> _Watch:
    if not isinstance(resume, Resume):
        raise TypeError(f"resume must be what get_resume() gave, not {type(resume).__name__}: only that one works more than once")
    checked_callable(proc, "proc")
    return _Watch(resume, proc, verb)


class _Watch:
    """The callback: what `proc` makes of the readiness goes to the task."""

    remove: Callable[[], object]

    def __init__(self, resume: Resume, proc: Callable[[str], Any], verb: str) -> None:
        self._resume = resume
        self._proc = proc
        self._verb = verb

    def __call__(self, status: str) -> None:
        resume = self._resume
        if resume.task.done:
            self.remove()  # or the loop would spin on it
            raise LoopStateError(f"{resume.task} has ended without removing its {self._verb} watch, which is removed now")
        good, value = attempt(self._proc, status)
        if good:
            resume(value)
        else:
            resume.throw(value)
