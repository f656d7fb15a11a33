"""Starting tasks, and resuming them by hand.

Knows tasks and which loop is meant. It must not know what tasks wait for.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from threading import get_ident
from typing import Any, TypeVar, overload

from ..errors import Deadlock, LoopStateError
from ..loop.current import here, resolve_loop
from ..loop.event_loop import EventLoop
from .task import RAW, Task, caller_of, current_task
from .waitable import Await, waitable

__all__ = ["Resume", "a_sync", "await_call", "get_resume", "run", "start_task"]

T = TypeVar("T")

# Seconds that the other tasks have for their `finally` blocks when `run(f)` has its result.
_GRACE = 5.0


@overload
def a_sync(
    waitable: Callable[..., Generator[Any, Any, T]], *args: Any, loop: EventLoop | None = None, name: str | None = None
) -> Task[T]: ...
@overload
def a_sync(waitable: Callable[..., Awaitable[T]], *args: Any, loop: EventLoop | None = None, name: str | None = None) -> Task[T]: ...
@overload
def a_sync(waitable: Callable[..., T], *args: Any, loop: EventLoop | None = None, name: str | None = None) -> Task[T]: ...
def a_sync(waitable: Callable[..., Any], *args: Any, loop: EventLoop | None = None, name: str | None = None) -> Task[Any]:
    """Start `waitable(*args)` as a task: at once, up to its first suspension. Loop thread.

    `waitable`: a generator function or an `async def` (a plain function is run, and the task has ended). An error before the first
    suspension is raised here only where the loop is not running yet; in a running loop it belongs to the task: whoever awaits the
    result gets it, and if nobody does when the task ends, it leaves `loop.run()`. `NoEventLoopError`; `LoopStateError`: the loop
    belongs to another thread, or another loop is running here. Origin: chez-a-sync `a-sync`.
    """
    found = here.loop if loop is None else None
    if found is None:
        found = resolve_loop(loop)
    task: Task[Any] = Task(found, copy_context(), _name_of(waitable) if name is None else name, _origin(found))
    if found.in_turn and found is here.loop:
        task.start(waitable, args)
    else:
        _outside_a_turn(task, lambda: task.start(waitable, args))
    return task


def start_task(waitable: Callable[..., Any], args: tuple[Any, ...], owner: Callable[[Task[Any]], object], name: str | None) -> Task[Any]:
    """As `a_sync` in the current task's loop, for a task whose error belongs to `owner` from its first step on."""
    loop = current_task("a task group").loop
    task: Task[Any] = Task(loop, copy_context(), _name_of(waitable) if name is None else name, _origin(loop))
    task.owner = owner
    task.start(waitable, args)
    return task


def _name_of(waitable: Callable[..., Any]) -> str:
    name = getattr(waitable, "__qualname__", None)
    if name is not None:
        return str(name)
    inner = getattr(waitable, "func", None)  # a functools.partial
    return type(waitable).__name__ if inner is None else _name_of(inner)


def _origin(loop: EventLoop) -> str | None:
    return caller_of(sys._getframe(2)) if loop.debug else None


def _outside_a_turn(task: Task[Any], steps: Callable[[], object]) -> None:
    """Take `steps` of `task` while its loop is not in a turn: its error then leaves by the caller, who is the one at hand."""
    loop = task.loop
    former = here.loop
    if former is not None and former is not loop and former.in_turn:
        raise LoopStateError(f"{task} belongs to {loop!r}, but {former!r} is running in this thread")
    loop.check_thread()
    owner = task.owner
    task.owner = owner or _nobody
    here.loop = loop
    try:
        steps()
    finally:
        here.loop = former
        if not task.done:
            task.owner = owner
    error = task.error
    if error is not None and owner is None and task.done and not task.cancelled:
        raise error


def _nobody(task: Task[Any]) -> None:
    """Answers for a task whose error is about to be raised to the caller."""


class Resume:
    """The resume procedure of one task: `resume(value)` continues it at its bare `yield`. Loop thread.

    `LoopStateError`: the task is running, has ended, or stands in an `await_…` of the library, which knows itself when to go on.
    Origin: chez-a-sync `resume`.
    """

    __slots__ = ("_task",)

    def __init__(self, task: Task[Any]) -> None:
        self._task = task

    def __call__(self, value: object = None) -> None:
        """Continue the task; its `yield` gives `value`."""
        self._take(lambda task: task.wake(value))

    def throw(self, error: BaseException) -> None:
        """Continue the task; its `yield` raises `error`."""
        if not isinstance(error, BaseException):
            raise TypeError(f"error must be an exception, not {type(error).__name__}")
        self._take(lambda task: task.fail(error))

    def _take(self, step: Callable[[Task[Any]], object]) -> None:
        task = self._task
        if task.loop.thread not in (None, get_ident()):
            raise LoopStateError(f"resume of {task} was called in thread {get_ident()}; post it to the task's loop instead")
        if task.waits_for is not RAW:
            state = "is running" if task.waits_for is None else "has ended" if task.done else f"waits for {task.waits_for}"
            raise LoopStateError(f"resume was called while {task} {state}; it answers a bare `yield` only (see await_callback)")
        if task.loop.in_turn:
            step(task)
        else:
            _outside_a_turn(task, lambda: step(task))

    def __repr__(self) -> str:
        return f"<resume of {self._task}>"


def get_resume() -> Resume:
    """The resume procedure of the current task. `LoopStateError`: outside a task."""
    return Resume(current_task("get_resume()"))


@overload
def await_call(f: Callable[..., Generator[Any, Any, T]], *args: Any) -> Await[T]: ...
@overload
def await_call(f: Callable[..., Awaitable[T]], *args: Any) -> Await[T]: ...
@overload
def await_call(f: Callable[..., T], *args: Any) -> Await[T]: ...
def await_call(f: Callable[..., Any], *args: Any) -> Await[Any]:
    """Run `f(*args)` inside the current task and give its result: a generator function, an `async def` or a plain function."""
    return _await_call(f, args)


@waitable
def _await_call(f: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
    made = f(*args)
    if isinstance(made, Generator):
        return (yield from made)
    if isinstance(made, Awaitable):
        return (yield from made.__await__())
    return made


@overload
def run(waitable: Callable[..., Generator[Any, Any, T]], *args: Any) -> T: ...
@overload
def run(waitable: Callable[..., Awaitable[T]], *args: Any) -> T: ...
@overload
def run(waitable: Callable[..., T], *args: Any) -> T: ...
def run(waitable: Callable[..., Any], *args: Any) -> Any:
    """Run `waitable(*args)` as a task in a loop of its own until it ends, and return its result.

    The blocking form of any task code. Other tasks are then cancelled, given 5 seconds for their `finally` blocks, and closed.
    `Deadlock`: nothing is left that could wake it. `LoopStateError`: a loop is running in this thread.
    """
    running = here.loop
    if running is not None and running.in_turn:
        raise LoopStateError(f"run() was called inside {running!r}: use `yield from await_call(f)` there, or a_sync(f)")
    with EventLoop() as loop:
        main: Task[Any] = a_sync(_main, waitable, args, loop=loop, name=_name_of(waitable))
        if not main.done:
            loop.run()
        if not main.done:
            raise Deadlock(f"nothing is left to do, but these tasks still wait: {_waiting(loop)}")
        return main.result()


def _main(waitable: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
    me = current_task()
    try:
        return (yield from _await_call(waitable, args))
    finally:
        loop = me.loop
        for resident in list(loop.residents):
            if isinstance(resident, Task) and resident is not me:
                resident.cancel("the main task has ended")
        if len(loop.residents) > 1 or loop.pending_posts:
            loop.timeout_post(_GRACE, loop.quit, repeat=False)


def _waiting(loop: EventLoop) -> str:
    return "; ".join(f"{task} for {task.waits_for}" for task in loop.residents if isinstance(task, Task))
