"""A running task: the one place that calls `send` and `throw`.

Knows generators and its loop's queue. It must not know what is waited for: a wait is something with `withdraw`, armed by an
`await_…` procedure before it yields `SUSPENDED`, and answered through `wake` or `fail`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from threading import get_ident
from types import GeneratorType, TracebackType
from typing import Any, Generic, TypeVar

from ..errors import Cancelled, LoopStateError, TaskCancelled
from ..loop.current import here
from ..loop.event_loop import EventLoop
from .states import BUDGET, ENDED, RAW, STRUCK, SUSPENDED, TURN, Wait
from .waitable import Await, waitable
from .where import awaiting, caller_of, is_running, report

__all__ = ["BUDGET", "SUSPENDED", "TURN", "LoopEnded", "Task", "Wait", "caller_of", "current_task", "get_current"]

T = TypeVar("T")

Body = Generator[Any, Any, T] | Coroutine[Any, Any, T]


def get_current() -> Task[Any] | None:
    """The task whose code is running, or None."""
    # A note on the loop costs a switch a few nanoseconds; a context variable would cost each task two objects of its own.
    loop = here.loop
    return None if loop is None else loop.current


def current_task(what: str = "an await_ procedure") -> Task[Any]:
    """The task whose code is running. `LoopStateError`: there is none."""
    task = get_current()
    if task is None or task.waits_for is not None:
        raise LoopStateError(f"{what} was called outside a task: start one with a_sync(f) or run(f)")
    return task


class LoopEnded(LoopStateError):  # noqa: N818 - what has happened, as `LoopClosedError`'s kin say it
    """Raised at an await of a task that is being closed, because its loop has quit or was closed."""


class Task(Generic[T]):
    """A running waitable, as `a_sync` returns it. Its loop holds it until it ends, so nobody else needs to."""

    __slots__ = (
        "__weakref__",
        "_body",
        "_context",
        "_error",
        "_name",
        "_result",
        "_steps",
        "_strikes",
        "_trace",
        "_unheard",
        "_watchers",
        "eager",
        "loop",
        "origin",
        "owner",
        "raw_allowed",
        "waits_for",
        "wake",
    )

    wake: Callable[..., object]
    """Continue from the present await, which gives the argument. The loop calls it, or an armed wait does."""

    _result: T | None
    _error: BaseException | None
    _trace: TracebackType | None

    def __init__(self, loop: EventLoop, name: str, origin: str | None) -> None:
        self.loop = loop
        self.waits_for: Wait | None = None
        # How many operations in a row needed no waiting; see `BUDGET`.
        self.eager = 0
        # Who answers for the task's error: a group, or nobody.
        self.owner: Callable[[Task[Any]], object] | None = None
        self.origin = origin
        self.raw_allowed = True
        self._name = name
        self._context: Any = copy_context()
        # What gives the next word: the body, or what stands in for it to tell it an error.
        self._steps: Any = None
        self._body: Body[T] | None = None
        self._strikes: list[Cancelled] | None = None
        self._watchers: dict[Callable[[], object], bool] | None = None

    # The driver

    def start(self, waitable: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run the first steps, in the caller's turn. The caller has made `loop` the thread's current one."""
        loop = self.loop
        former, loop.current = loop.current, self
        try:
            made = self._context.run(waitable, *args)
        except BaseException as error:
            loop.current = former
            if isinstance(error, StopIteration):  # as PEP 479 has it for generators
                error, error.__cause__ = RuntimeError(f"{self} raised StopIteration"), error
            self._failed(error, True)
            return
        steps = made
        if type(made) is not GeneratorType:
            steps = self._adapt(made)
            if steps is None:
                loop.current = former
                self._end(made, None)
                return
        self._body = made
        self._steps = steps
        # Bound once: whoever will wake the task takes it from here, and makes no method object for each wait.
        self.wake = self._wake
        loop.residents[self] = None
        try:
            token = self._context.run(next, steps)
        except StopIteration as stop:
            loop.current = former
            self._end(stop.value, None)
        except BaseException as error:
            loop.current = former
            self._failed(error, True)
        else:
            loop.current = former
            if token is not SUSPENDED or self._strikes:
                self._irregular(token)

    def _adapt(self, made: Any) -> Any:
        """What to call `next` on for what a waitable made that is no plain generator; None: it has made a result."""
        if isinstance(made, Coroutine):
            self.raw_allowed = False
            return made.__await__()
        if isinstance(made, Generator) and not isinstance(made, Await):
            return made
        return _awaited(made) if isinstance(made, Awaitable) else None

    def _wake(self, value: object = None) -> None:
        loop = self.loop
        former = loop.current
        loop.current = self
        self.waits_for = None
        self.eager = 0
        try:
            # `next`, because a `send` is an object more: bound for each wake-up, or kept by each task.
            token = self._context.run(next, self._steps) if value is None else self._context.run(self._steps.send, value)
        except StopIteration as stop:
            loop.current = former
            self._end(stop.value, None)
        except BaseException as error:
            loop.current = former
            self._failed(error)
        else:
            loop.current = former
            if token is TURN and not self._strikes:
                self.waits_for = TURN
                loop.enqueue(self.wake)
            elif token is not SUSPENDED or self._strikes:
                self._irregular(token)

    def fail(self, error: BaseException) -> None:
        """As `wake`, but the await raises `error`."""
        self._steps = _Thrower(self, self._steps, error)
        self._wake()

    def _irregular(self, token: object) -> None:
        """What the task yielded was not a plain suspension, or a cancellation has been waiting for one."""
        if token is TURN or (token is not SUSPENDED and not (token is None and self.raw_allowed)):
            if token is not TURN:
                self._steps = _Thrower(self, self._steps, TypeError(_yield_text(token)))
            elif self._strikes:
                self._steps = _Thrower(self, self._steps, None)
            self.waits_for = TURN
            self.loop.soon(self.wake)
            return
        if token is None:
            self.waits_for = RAW
        if self._strikes:
            self._strike_wait()

    # Cancelling

    def cancel(self, reason: object = None) -> bool:
        """Raise `Cancelled` inside the task at its await, on the loop's next turn; False if it has ended.

        A wait that is already decided delivers its value first, and the cancel strikes at the next await. Calling it again before
        it struck changes nothing; afterwards it strikes again. A task may cancel itself. Loop thread: elsewhere `LoopStateError`.
        """
        return self.cancel_by(reason, Task.current())

    def cancel_by(self, reason: object, by: object) -> bool:
        """As `cancel`, with another `by` than the current task."""
        thread = self.loop.thread
        if thread is not None and thread != get_ident():
            raise LoopStateError(f"{self} was cancelled in thread {get_ident()}, but {self.loop!r} is driven by thread {thread}: post it")
        if self.done:
            return False
        if not any(type(strike) is Cancelled for strike in self._strikes or ()):
            self.strike(Cancelled(reason, by))
        return True

    def strike(self, error: Cancelled) -> None:
        """Have `error` raised at the task's await, or at its next one, in addition to what is to be raised there already."""
        if self._strikes is None:
            self._strikes = []
        self._strikes.append(error)
        self._strike_wait()

    def _strike_wait(self) -> None:
        wait = self.waits_for
        if wait is TURN:
            # The turn is on its way; it brings the error instead, unless it brings another one already.
            if type(self._steps) is not _Thrower:
                self._steps = _Thrower(self, self._steps, None)
        elif wait is not None and wait.withdraw():
            self.waits_for = STRUCK
            self._steps = _Thrower(self, self._steps, None)
            self.loop.soon(self.wake)

    def unstrike(self, error: Cancelled) -> bool:
        """Take a strike back that has not been raised yet; False if it has."""
        if self._strikes and error in self._strikes:
            self._strikes.remove(error)
            return True
        return False

    def shut(self) -> bool | None:
        """The loop ends: close the body. An await in a `finally` raises instead of suspending. False: the body is on the stack."""
        body, loop = self._body, self.loop
        if body is None:
            return None
        if is_running(body):
            return False
        self._leave_wait()
        error: BaseException = GeneratorExit()
        former = here.loop, loop.current
        here.loop, loop.current = loop, self
        try:
            for _ in range(_PATIENCE):
                self._context.run(body.throw, error)
                self._leave_wait()
                error = LoopEnded(f"{self} cannot wait any more: its loop has quit or was closed")
            raise RuntimeError(f"{self} goes on waiting although its loop has ended")
        except (StopIteration, GeneratorExit, Cancelled):
            self._unheard = False
            self._end(None, Cancelled("the loop ended"))
        except BaseException as raised:
            self._unheard = False  # it leaves by the loop
            self._end(None, raised)
            raise
        finally:
            here.loop, loop.current = former
        return None

    def _leave_wait(self) -> None:
        wait, self.waits_for = self.waits_for, None
        if wait is not None:
            wait.withdraw()

    # Ending

    def _failed(self, error: BaseException, first: bool = False) -> None:
        self._unheard = False
        if not isinstance(error, Cancelled):
            self._unheard = self.owner is None and not (self._watchers is not None and True in self._watchers.values())
            error.add_note(f"in {self}" if self.origin is None else f"in {self}, started at {self.origin}")
        # The frames of the driver tell nothing, and hold the task, which holds the error.
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code in _DRIVER:
            trace = trace.tb_next
        error.__traceback__ = trace
        self._end(None, error)
        # Where no turn is under way, the error leaves by whoever made the task run.
        if self.loop.in_turn:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self.loop.fail(error, str(self))
            elif self._unheard:
                if first:
                    self.loop.soon(_Unheard(self))
                else:
                    self.loop.fail(error, str(self))

    def _end(self, value: T | None, error: BaseException | None) -> None:
        self._result = value
        self._error = error
        self.waits_for = ENDED
        self.wake = _stale
        self._strikes = None
        # Without these a finished task would be a cycle: a bound method holds it, and what it ran may.
        self._body = self._steps = self._context = None
        self.loop.residents.pop(self, None)
        if error is not None:
            self._trace = error.__traceback__
        owner = self.owner
        if owner is not None:
            self.owner = None
            owner(self)
        watchers = self._watchers
        if watchers is not None:
            self._watchers = None
            for watcher in watchers:
                watcher()

    @property
    def done(self) -> bool:
        """Whether it has ended: with a result, with an error, or cancelled. Any thread."""
        return self.waits_for is ENDED

    def result(self) -> T:
        """The result of a task that has ended; raises its error, or `TaskCancelled`. `LoopStateError`: it has not ended."""
        error = self.error
        if error is None:
            if self.waits_for is not ENDED:
                raise LoopStateError(f"{self} has not ended; use `yield from task.await_result()`")
            return self._result  # type: ignore[return-value]
        self._unheard = False
        try:
            if isinstance(error, Cancelled):
                raise TaskCancelled(error.reason, error.by) from error
            # Each who asks gets the trace of the failure, not that of those who asked before as well.
            raise error.with_traceback(self._trace)
        finally:
            del error

    @property
    def cancelled(self) -> bool:
        """Whether it ended by a cancellation."""
        return isinstance(self.error, Cancelled)

    @property
    def error(self) -> BaseException | None:
        """The error it ended with (`Cancelled` if it was cancelled), or None."""
        return self._error if self.waits_for is ENDED else None

    @property
    def unheard(self) -> bool:
        """Whether it ended with an error that has reached nobody yet."""
        return self.error is not None and self._unheard

    def watch(self, watcher: Callable[[], object], *, answers: bool = True) -> None:
        """Call `watcher()` when the task ends; with `answers`, somebody answers for its error from now on."""
        if self._watchers is None:
            self._watchers = {}
        self._watchers[watcher] = answers

    def unwatch(self, watcher: Callable[[], object]) -> None:
        """Undo `watch`."""
        if self._watchers is not None:
            self._watchers.pop(watcher, None)

    @waitable
    def await_result(self) -> Generator[Any, Any, T]:
        """Wait for the task to end; its result. Raises its error, or `TaskCancelled`.

        Does not suspend if it has ended. Cancelling the waiter leaves the awaited task alone. Does not keep the loop alive.
        `LoopStateError`: from a task of another loop, or from itself.
        """
        if self.waits_for is not ENDED:
            me = current_task("await_result()")
            if me is self:
                raise LoopStateError(f"{me} cannot wait for its own result")
            if me.loop is not self.loop:
                raise LoopStateError(f"{me} of {me.loop!r} cannot wait for the result of {self}, which belongs to {self.loop!r}")
            wait = me.waits_for = _Result(self, me)
            self.watch(wait)
            yield SUSPENDED
        return self.result()

    # Who it is

    @staticmethod
    def current() -> Task[Any] | None:
        """The task whose code is running, or None."""
        task = get_current()
        return None if task is None or task.waits_for is not None else task

    @property
    def name(self) -> str:
        """As given to `a_sync`, else the waitable's own name."""
        return self._name

    @property
    def body(self) -> object:
        """The generator or coroutine that runs; None when it has ended."""
        return self._body

    @property
    def waits_since(self) -> float | None:
        """When its wait began, in the loop's seconds; None where nobody kept it."""
        return getattr(self.waits_for, "since", None)

    @property
    def awaiting(self) -> str | None:
        """The `await_…` procedure it stands in, or None."""
        return awaiting(self._body, self.waits_for is TURN)

    def where(self) -> str:
        """Where it stands, in several lines: what it waits for and how long, where it was started, and the chain of `yield from`.

        Each link of the chain is a function with its file and line, the outermost first. How long a wait has lasted is known for
        time, threads, other loops and callbacks; for all waits in debug mode, or after `eventsock.debug.dump_on`. Any thread.
        """
        return report(self)

    def __str__(self) -> str:
        return f"task {self.name!r}"

    def __repr__(self) -> str:
        state = "ended" if self.done else "running" if self.waits_for is None else f"waiting for {self.waits_for}"
        return f"<Task {self.name!r} {state}>"

    report = where  # for `EventLoop.dump`


class _Result:
    """Waiting for another task's end; called when it comes."""

    __slots__ = ("_awaited", "_waiter")

    def __init__(self, awaited: Task[Any], waiter: Task[Any]) -> None:
        self._awaited = awaited
        self._waiter: Task[Any] | None = waiter

    def __call__(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.loop.soon(waiter.wake)

    def withdraw(self) -> bool:
        if self._waiter is None:
            return False
        self._waiter = None
        self._awaited.unwatch(self)
        return True

    def __str__(self) -> str:
        return f"the result of {self._awaited}"


class _Thrower:
    """Stands in for a task's steps once: instead of going on, its body is told `error`, or (None) its next strike."""

    __slots__ = ("_error", "_steps", "_task")

    def __init__(self, task: Task[Any], steps: Any, error: BaseException | None) -> None:
        self._task = task
        self._steps = steps
        self._error = error

    def __next__(self) -> Any:
        task, steps, error = self._task, self._steps, self._error
        task._steps = steps
        if error is None:
            if not task._strikes:
                return next(steps)
            error = task._strikes.pop(0)
        try:
            return steps.throw(error)
        finally:
            del error, self._error

    def send(self, value: object) -> Any:
        return self.__next__()


class _Unheard:
    """A task failed in its first steps: who started it has the rest of its own step to ask for the result."""

    __slots__ = ("_task",)

    def __init__(self, task: Task[Any]) -> None:
        self._task = task

    def __call__(self) -> None:
        task = self._task
        if task.unheard and task.error is not None:
            task.loop.fail(task.error, str(task))

    dropped = __call__


# How often a body that is being closed may try to wait before it is given up.
_PATIENCE = 100


def _awaited(made: Awaitable[T]) -> Generator[Any, Any, T]:
    return (yield from made.__await__())


def _stale(value: object = None) -> None:
    raise LoopStateError("a task that has ended was resumed")


_DRIVER = {each.__code__ for each in (Task.start, Task._wake, _Thrower.__next__, _Thrower.send)}


def leave_task() -> None:
    """Nothing."""


def _yield_text(token: object) -> str:
    if token is None:
        return "a bare yield (a raw await) works in generator tasks only; in an async def use `await await_callback(start)`"
    shown = type(token).__name__
    if isinstance(token, (Generator, Coroutine, Await)):
        return f"a task yielded a {shown}: write `yield from …` instead of `yield …`"
    return f"a task yielded {token!r} ({shown}), which nothing answers: write `yield from await_…(…)`, or a bare `yield` and resume()"
