"""Starting tasks, and resuming them by hand.

Knows tasks and which loop is meant. It must not know what tasks wait for.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Generator
from types import CoroutineType
from typing import Any, TypeVar, overload

from ..errors import LoopStateError
from ..loop.current import here, resolve_loop
from ..loop.event_loop import EventLoop
from .async_generators import hooks_of
from .states import RAW
from .task import Task, caller_of, current_task
from .timed import TimedTask, kinds
from .waitable import Await, waitable

__all__ = ["Resume", "a_sync", "await_call", "get_resume", "outside_a_turn", "start_task"]

T = TypeVar("T")


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
    running = here.loop
    found = running if loop is None and running is not None else resolve_loop(loop)
    if name is None:
        name = getattr(waitable, "__qualname__", None) or _name_of(waitable)
    task: Task[Any] = TimedTask(caller_of(sys._getframe(1))) if found.debug else kinds.usual()
    try:
        if found.in_turn and found is running:
            task.start(found, name, None, waitable, args)
        else:
            outside_a_turn(task, found, task.start, found, name, None, waitable, args)
        return task
    finally:
        del task  # the frame of a plain function that fails leads back to this one, and the task has the error


def start_task(
    waitable: Callable[..., Any],
    args: tuple[Any, ...],
    owner: Callable[[Task[Any]], object],
    name: str | None,
    loop: EventLoop | None = None,
) -> Task[Any]:
    """As `a_sync`, for a task whose error belongs to `owner` from its first step on. `loop`: None is the one of this thread."""
    running = here.loop
    if loop is None:
        loop = running or resolve_loop()
    if name is None:
        name = _name_of(waitable)
    task: Task[Any] = TimedTask(caller_of(sys._getframe(1))) if loop.debug else kinds.usual()
    try:
        if loop.in_turn and loop is running:
            task.start(loop, name, owner, waitable, args)
        else:
            outside_a_turn(task, loop, task.start, loop, name, owner, waitable, args)
        return task
    finally:
        del task  # as in `a_sync`


def _name_of(waitable: Callable[..., Any]) -> str:
    name = getattr(waitable, "__qualname__", None)
    if name is not None:
        return str(name)
    inner = getattr(waitable, "func", None)  # a functools.partial
    return type(waitable).__name__ if inner is None else _name_of(inner)


def outside_a_turn(task: Task[Any], loop: EventLoop, steps: Callable[..., object], *args: Any) -> None:
    """Take `steps(*args)` of `task` while its `loop` is not in a turn: its error then leaves by the caller, who is the one at hand."""
    former = here.loop
    if former is not None and former is not loop and former.in_turn:
        raise LoopStateError(f"a task of {loop!r} cannot go on here: {former!r} is running in this thread")
    loop.check_thread()
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(*hooks_of(loop))
    here.loop = loop
    try:
        steps(*args)
    finally:
        here.loop = former
        sys.set_asyncgen_hooks(*hooks)
        if loop.pending_posts:
            loop.rouse()
    if loop.closed:
        task.shut()
    if task.unheard:
        task.result()


class Resume:
    """The resume procedure of one task: `resume(value)` continues it at its bare `yield`. Loop thread.

    `LoopStateError`: the task is running, has ended, or stands in an `await_…` of the library, which knows itself when to go on.
    Origin: chez-a-sync `resume`.
    """

    __slots__ = ("task",)

    def __init__(self, task: Task[Any]) -> None:
        self.task = task

    def __call__(self, value: object = None) -> None:
        """Continue the task; its `yield` gives `value`."""
        self._take(lambda task: task.wake(value))

    def throw(self, error: BaseException) -> None:
        """Continue the task; its `yield` raises `error`."""
        if not isinstance(error, BaseException):
            raise TypeError(f"error must be an exception, not {type(error).__name__}")
        self._take(lambda task: task.fail(error))

    def _take(self, step: Callable[[Task[Any]], object]) -> None:
        task = self.task
        task.check_thread("resumed")
        if task.waits_for is not RAW:
            raise LoopStateError(f"resume was called while {task} {_state(task)}; it answers a bare `yield` only (see await_callback)")
        if task.loop.in_turn:
            step(task)
        else:
            outside_a_turn(task, task.loop, step, task)

    def __repr__(self) -> str:
        return f"<resume of {self.task}>"


def _state(task: Task[Any]) -> str:
    if task.waits_for is None:
        return "is running"
    if task.done:
        return "has ended"
    procedure = task.awaiting
    return f"waits for {task.waits_for}" if procedure is None else f"stands in {procedure} and waits for {task.waits_for}"


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
    """Run `f(*args)` inside the current task and give its result: a generator function, an `async def` or a plain function.

    May suspend where `f` does. Raises what `f` raises.
    """
    return _await_call(f, args)


@waitable
def _await_call(f: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
    made = f(*args)
    if isinstance(made, (Generator, CoroutineType)):
        return (yield from made)  # type: ignore[misc]  # a `waitable` may delegate to a coroutine
    if isinstance(made, Awaitable):
        return (yield from made.__await__())
    return made
