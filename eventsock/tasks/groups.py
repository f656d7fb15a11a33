"""Task groups: tasks that one task answers for, and that end before it goes on.

Knows how tasks are started, cancelled and awaited. It must not know what they do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from threading import get_ident
from traceback import format_exception
from types import TracebackType
from typing import Any, TypeVar, overload

from ..errors import Cancelled, LoopStateError
from .a_sync import start_task
from .states import SUSPENDED
from .task import LoopEnded, LoopEnds, Task, current_task
from .waitable import waitable

__all__ = ["TaskGroup"]

T = TypeVar("T")


class _Aborted(Cancelled):
    """The cancellation that strikes the body of an `async with` block when a child has failed."""


class TaskGroup:
    """Tasks whose errors belong to one task. When one fails, the others are cancelled, and its error is raised where they are awaited.

    In a generator: `group.a_sync(f, …)`, then `yield from group.await_all()`. In an `async def`: `async with TaskGroup() as group:`,
    whose end awaits them all, and whose body is cancelled as well when a child fails. The first error is raised as it is; others are
    attached to it as notes. A child that is cancelled alone is no failure. A group belongs to the task that uses it first; if that
    ends without awaiting, the children are cancelled, and an error of theirs leaves the loop. Loop thread. May be used again.
    """

    def __init__(self) -> None:
        self._parent: Task[Any] | None = None
        self._children: dict[Task[Any], None] = {}
        self._errors: list[BaseException] = []
        self._cancel: tuple[object, object] | None = None
        self._abort: _Aborted | None = None
        self._in_block = False
        self._waiter: _AllEnded | None = None

    @overload
    def a_sync(self, waitable: Callable[..., Generator[Any, Any, T]], *args: Any, name: str | None = None) -> Task[T]: ...
    @overload
    def a_sync(self, waitable: Callable[..., Awaitable[T]], *args: Any, name: str | None = None) -> Task[T]: ...
    @overload
    def a_sync(self, waitable: Callable[..., T], *args: Any, name: str | None = None) -> Task[T]: ...
    def a_sync(self, waitable: Callable[..., Any], *args: Any, name: str | None = None) -> Task[Any]:
        """Start `waitable(*args)` as a task of the group, as `a_sync` does. Its error belongs to the group from its first step on.

        In a group that is being cancelled the task is cancelled too, at its first suspension. Callbacks of the loop may start tasks
        in a group that is in use. `LoopStateError`: in another loop, or outside a task with a group that nobody uses yet.
        """
        parent = self._bind("TaskGroup.a_sync()")
        task = start_task(waitable, args, self._child_ended, name, parent.loop)
        try:
            if not task.done:
                self._children[task] = None
                if self._cancel is not None:
                    task.cancel_by(*self._cancel)
            return task
        finally:
            del task  # see the function `a_sync`

    def cancel(self, reason: object = None) -> None:
        """Cancel all tasks of the group; those who await it go on when they have ended. Loop thread."""
        self._stop(reason, Task.current())

    @waitable
    def await_all(self) -> Generator[Any, Any, None]:
        """Wait until all tasks of the group have ended. Raises the first error of one, with the others attached.

        Cancelled meanwhile, it cancels the tasks and waits for them before `Cancelled` goes on; an error of a task then comes first,
        and the cancellation strikes at the next await. Does not suspend if all have ended. `LoopStateError`: another loop's task, a
        task of the group itself, or a second waiter.
        """
        current_task("TaskGroup.await_all()")
        self._bind("TaskGroup.await_all()")
        yield from self._await_end(None)

    # The block of an `async def`

    async def __aenter__(self) -> TaskGroup:
        me = current_task("`async with TaskGroup()`")
        if self._parent not in (None, me) or self._in_block:
            raise LoopStateError(f"the group is in use in {self._parent}; make one for each block")
        self._bind("`async with TaskGroup()`")
        self._in_block = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._in_block = False
        assert self._parent is not None
        abort, self._abort = self._abort, None
        if abort is not None and error is not abort:
            self._parent.unstrike(abort)
        cause = None if error is abort else error
        if cause is not None:
            self._stop(f"the body of the group has left with {type(cause).__name__}", self._parent)
        try:
            await self._await_block(cause)
        except LoopEnded:
            # Our own wait, in a task that is being closed: so are the children.
            if not isinstance(error, LoopEnds):
                raise
        finally:
            del error, trace, abort, cause  # what is raised here leads back to this frame

    @waitable
    def _await_block(self, cause: BaseException | None) -> Generator[Any, Any, None]:
        yield from self._await_end(cause)

    def _await_end(self, cause: BaseException | None) -> Generator[Any, Any, None]:
        """Wait for all; `cause` is what the block is left with, and raised again by whoever holds it."""
        me = current_task()
        if self._waiter is not None:
            raise LoopStateError(f"{self._waiter.task} awaits the group already")
        if me.owner == self._child_ended:
            raise LoopStateError(f"{me} cannot wait for its own group: that ends when it has ended")
        struck: Cancelled | None = None
        while self._children:
            wait = me.waits_for = self._waiter = _AllEnded(self, me)
            try:
                yield SUSPENDED
            except Cancelled as error:
                if error is not self._abort:
                    struck = struck or error
                self._stop(error.reason, error.by)
            finally:
                wait.withdraw()
                del wait
        errors, abort = self._errors, self._abort
        self._release()
        if abort is not None:
            me.unstrike(abort)
        try:
            if errors and (cause is None or isinstance(cause, Cancelled)):
                # An error must not be lost on the way of a cancellation, nor the cancellation: it strikes again.
                for strike in (cause, struck):
                    if isinstance(strike, Cancelled):
                        me.strike(strike)
                del strike
                _raise(errors[0], errors[1:])
            elif cause is not None:
                _attach(cause, errors)
            elif struck is not None:
                raise struck
        finally:
            del me, errors, abort, cause, struck  # what is raised here leads back to this frame

    # The children

    def _child_ended(self, task: Task[Any]) -> None:
        self._children.pop(task, None)
        error = task.error
        if error is not None and not isinstance(error, (Cancelled, KeyboardInterrupt, SystemExit)):
            self._failed(task, error)
        if not self._children:
            if self._waiter is not None:
                self._waiter.answer()
            elif self._parent is not None and self._parent.done:
                self._release()

    def _failed(self, task: Task[Any], error: BaseException) -> None:
        parent = self._parent
        if parent is None or parent.done:
            task.loop.fail(error, str(task))
            return
        self._errors.append(error)
        if len(self._errors) == 1:
            reason = f"{type(error).__name__} in the same group"
            self._stop(reason, task)
            if self._in_block:
                self._abort = _Aborted(reason, task)
                parent.strike(self._abort)

    def _stop(self, reason: object, by: object) -> None:
        self._cancel = reason, by
        for child in list(self._children):
            child.cancel_by(reason, by)

    # Whose it is

    def _bind(self, what: str) -> Task[Any]:
        parent = self._parent
        if parent is None:
            parent = self._parent = current_task(what)
            parent.watch(self._parent_ended, answers=False)
        elif parent.loop.thread not in (None, get_ident()):
            raise LoopStateError(f"{what} was called in thread {get_ident()}, but the group belongs to {parent} of {parent.loop!r}")
        else:
            me = Task.current()
            if me is not None and me.loop is not parent.loop:
                raise LoopStateError(f"{me} of {me.loop!r} uses a group that belongs to {parent} of {parent.loop!r}")
        return parent

    def _release(self) -> None:
        """All have ended and were awaited, or nobody will: the group is as new, unless it still has its block."""
        self._errors = []
        self._cancel = None
        if self._parent is not None and not self._in_block:
            self._parent.unwatch(self._parent_ended)
            self._parent = None

    def _parent_ended(self) -> None:
        parent = self._parent
        assert parent is not None
        self._stop(f"{parent} has ended without awaiting its group", parent)
        errors, self._errors = self._errors, []
        for error in errors:
            parent.loop.fail(error, f"a task group that {parent} did not await")
        if not self._children:
            self._release()


def _attach(error: BaseException, others: list[BaseException]) -> None:
    for other in others:
        error.add_note("beside it: " + "".join(format_exception(other)).rstrip())


def _raise(error: BaseException, others: list[BaseException]) -> None:
    _attach(error, others)
    context = error.__context__
    try:
        raise error
    finally:
        # What the block was left with, the strike that the error itself has caused, is not what it came from.
        error.__context__ = context
        del error, others, context


class _AllEnded:
    """Waiting for all tasks of a group."""

    __slots__ = ("_group", "since", "task")

    def __init__(self, group: TaskGroup, task: Task[Any]) -> None:
        self._group: TaskGroup | None = group
        self.task = task
        self.since = task.loop.time()

    def answer(self) -> None:
        """The last one has ended."""
        if self.withdraw():
            self.task.loop.soon(self.task.wake)

    def withdraw(self) -> bool:
        group, self._group = self._group, None
        if group is None:
            return False
        group._waiter = None
        return True

    def __str__(self) -> str:
        group = self._group
        if group is None:
            return "its group"
        left = len(group._children)
        return f"the {left} tasks of its group" if left > 1 else "the last task of its group"
