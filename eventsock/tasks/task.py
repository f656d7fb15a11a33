"""A running task: the one place that calls `send` and `throw`.

Knows generators and its loop's queue. It must not know what is waited for: a wait is something with `withdraw`, armed by an
`await_…` procedure before it yields `SUSPENDED`, and answered through `wake` or `fail`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from types import CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, Generic, Protocol, TypeVar

from ..errors import Cancelled, LoopStateError, TaskCancelled
from ..loop.event_loop import EventLoop
from .waitable import Await, waitable

__all__ = ["BUDGET", "SUSPENDED", "TURN", "Task", "Wait", "current_task", "get_current"]

T = TypeVar("T")

Body = Generator[Any, Any, T] | Coroutine[Any, Any, T]


class Wait(Protocol):
    """What a suspended task waits for; `str()` says it. `withdraw` undoes it, or is False when the answer is on its way."""

    def withdraw(self) -> bool: ...


class _Suspended:
    """What an `await_…` procedure yields once it has armed its wait; nothing else a task yields means anything to us."""

    def __repr__(self) -> str:
        return "SUSPENDED"


SUSPENDED = _Suspended()

# A task that did this many operations in a row without waiting gives a turn away (yields `TURN`) before the next one is tried,
# so that a socket which is always ready starves neither timeouts nor the other sockets.
BUDGET = 100


class _Standing:
    """A wait without an object of its own."""

    def __init__(self, text: str, withdraws: bool) -> None:
        self._text = text
        self._withdraws = withdraws

    def withdraw(self) -> bool:
        return self._withdraws

    def __str__(self) -> str:
        return self._text


RAW = _Standing("a raw resume", True)
STRUCK = _Standing("its cancellation", False)
# Also what `await_yield` yields: the driver queues the task itself, so a turn given away costs no generator and no look-up.
TURN = _Standing("the next turn", False)
ENDED = _Standing("nothing: it has ended", False)

# The task whose code runs. Set once, in the task's own context: switching tasks then sets nothing. Other code that runs in a copy
# of that context (a foreign loop's task, say) is told apart by the task's being suspended or ended then.
_current: ContextVar[Task[Any] | None] = ContextVar("eventsock task", default=None)
get_current = _current.get


def current_task(what: str = "an await_ procedure") -> Task[Any]:
    """The task whose code is running. `LoopStateError`: there is none."""
    task = get_current()
    if task is None or task.waits_for is not None:
        raise LoopStateError(f"{what} was called outside a task: start one with a_sync(f) or run(f)")
    return task


class Task(Generic[T]):
    """A running waitable, as `a_sync` returns it. Its loop holds it until it ends, so nobody else needs to."""

    __slots__ = (
        "__weakref__",
        "_body",
        "_context",
        "_error",
        "_name",
        "_origin",
        "_result",
        "_send",
        "_strikes",
        "_watchers",
        "eager",
        "loop",
        "owner",
        "raw_allowed",
        "waits_for",
    )

    def __init__(self, loop: EventLoop, context: Context, name: str, origin: str | None) -> None:
        self.loop = loop
        self.waits_for: Wait | None = None
        # How many operations in a row needed no waiting; see `BUDGET`.
        self.eager = 0
        # Who answers for the task's error: a group, or nobody.
        self.owner: Callable[[Task[Any]], object] | None = None
        self._name = name
        self._origin = origin
        self._context: Context | None = context
        self._body: Body[T] | None = None
        self._send: Callable[[Any], Any] = _unstarted
        self._strikes: list[Cancelled] | None = None
        self._watchers: list[Callable[[], object]] | None = None
        self._result: T | None = None
        self._error: BaseException | None = None
        self.raw_allowed = False

    # Starting

    def start(self, waitable: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run the first steps, in the caller's turn. The caller has made `loop` the thread's current one."""
        assert self._context is not None
        try:
            made = self._context.run(_call, self, waitable, args)
        except BaseException as error:
            self._failed(error)
            return
        if isinstance(made, Await):
            made = made.__await__()  # in debug mode a wrapper, see `waitable`
        kind = type(made)
        if kind is not GeneratorType and kind is not CoroutineType and not isinstance(made, (Generator, Coroutine)):
            self._finished(made)
            return
        self._body = made
        self._send = made.send
        self.raw_allowed = kind is GeneratorType
        self.loop.residents[self] = None
        self.wake()

    # The driver

    def wake(self, value: object = None) -> None:
        """Run from the present await to the next one; the await gives `value`. The loop calls it, or an armed wait does."""
        self.waits_for = None
        self.eager = 0
        try:
            token = self._context.run(self._send, value)  # type: ignore[union-attr]
        except StopIteration as stop:
            self._finished(stop.value)
        except BaseException as error:
            self._failed(error)
        else:
            if token is not SUSPENDED or self._strikes:
                if token is TURN and not self._strikes:
                    self.waits_for = TURN
                    self.loop.soon(self.wake)
                else:
                    self._irregular(token)

    def fail(self, error: BaseException) -> None:
        """As `wake`, but the await raises `error`."""
        self.waits_for = None
        assert self._context is not None
        assert self._body is not None
        try:
            token = self._context.run(self._body.throw, error)
        except StopIteration as stop:
            self._finished(stop.value)
        except BaseException as raised:
            self._failed(raised)
        else:
            if token is not SUSPENDED or self._strikes:
                self._irregular(token)

    def _irregular(self, token: object) -> None:
        """What the task yielded was not a plain suspension, or a cancellation has been waiting for one."""
        if token is None and self.raw_allowed:
            self.waits_for = RAW
        elif token is TURN:
            if self._strikes:
                self.fail(self._strikes.pop(0))
            else:
                self.waits_for = TURN
                self.loop.soon(self.wake)
            return
        elif token is not SUSPENDED:
            self.fail(TypeError(_yield_text(token)))
            return
        if self._strikes and self.waits_for is not None and self.waits_for.withdraw():
            self.waits_for = STRUCK
            self.loop.soon(self._struck)

    # Cancelling

    def cancel(self, reason: object = None) -> bool:
        """Raise `Cancelled` inside the task at its await, on the loop's next turn; False if it has ended.

        A wait that is already decided delivers its value first, and the cancel strikes at the next await. Calling it again before
        it struck changes nothing; afterwards it strikes again. Loop thread.
        """
        if self.done:
            return False
        if not self._strikes:
            by = get_current()
            self.strike(Cancelled(reason, by))
        return True

    def strike(self, error: Cancelled) -> None:
        """Have `error` raised at the task's await, or at its next one."""
        if self._strikes is None:
            self._strikes = []
        self._strikes.append(error)
        wait = self.waits_for
        if wait is not None and wait.withdraw():
            self.waits_for = STRUCK
            self.loop.soon(self._struck)

    def unstrike(self, error: Cancelled) -> bool:
        """Take a strike back that has not been raised yet; False if it has."""
        if self._strikes and error in self._strikes:
            self._strikes.remove(error)
            return True
        return False

    def _struck(self) -> None:
        if self.waits_for is STRUCK:
            assert self._strikes
            self.fail(self._strikes.pop(0))

    def shut(self) -> bool | None:
        """The loop ends: close the body. An await in a `finally` raises instead of suspending. False: the body is on the stack."""
        body, self.waits_for = self._body, None
        if body is None or self._context is None:
            return None
        error: BaseException = GeneratorExit()
        context = self._context
        if body_running(body):
            return False
        try:
            for _ in range(_PATIENCE):
                context.run(body.throw, error)
                wait, self.waits_for = self.waits_for, None
                if wait is not None:
                    wait.withdraw()
                error = LoopStateError(f"{self} cannot wait any more: its loop has quit or was closed")
            raise RuntimeError(f"{self} goes on waiting although its loop has ended")
        except (StopIteration, GeneratorExit, Cancelled):
            self._end(None, Cancelled("the loop ended"))
        except BaseException as raised:
            self._end(None, raised)
            raise
        return None

    # Ending

    def _finished(self, value: T) -> None:
        self._end(value, None)

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, Cancelled):
            error.add_note(self._provenance())
        watched = self._watchers or self.owner is not None
        self._end(None, error)
        if isinstance(error, (KeyboardInterrupt, SystemExit)) or not (watched or isinstance(error, Cancelled)):
            self.loop.fail(error, str(self))

    def _end(self, value: T | None, error: BaseException | None) -> None:
        self._result = value
        self._error = error
        self.waits_for = ENDED
        self._strikes = None
        # The context holds the task and `_send` the body: without these a finished task is no cycle.
        self._context = self._body = None
        self._send = _unstarted
        self.loop.residents.pop(self, None)
        owner, self.owner = self.owner, None
        if owner is not None:
            owner(self)
        watchers, self._watchers = self._watchers, None
        if watchers:
            for watcher in watchers:
                watcher()

    @property
    def done(self) -> bool:
        """Whether it has ended: with a result, with an error, or cancelled. Any thread."""
        return self.waits_for is ENDED

    def result(self) -> T:
        """The result of a task that has ended; raises its error, or `TaskCancelled`. `LoopStateError`: it has not ended."""
        if not self.done:
            raise LoopStateError(f"{self} has not ended; use `yield from task.await_result()`")
        error = self._error
        if error is None:
            return self._result  # type: ignore[return-value]
        try:
            if isinstance(error, Cancelled):
                raise TaskCancelled(error.reason, error.by) from error
            raise error
        finally:
            del error

    @property
    def cancelled(self) -> bool:
        """Whether it ended by a cancellation."""
        return isinstance(self._error, Cancelled)

    @property
    def error(self) -> BaseException | None:
        """The error it ended with (`Cancelled` if it was cancelled), or None."""
        return self._error

    def watch(self, watcher: Callable[[], object]) -> None:
        """Call `watcher()` when the task ends: from then on somebody answers for its error."""
        if self._watchers is None:
            self._watchers = []
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], object]) -> None:
        """Undo `watch`."""
        if self._watchers and watcher in self._watchers:
            self._watchers.remove(watcher)

    @waitable
    def await_result(self) -> Generator[Any, Any, T]:
        """Wait for the task to end; its result. Raises its error, or `TaskCancelled`.

        Cancelling the waiter leaves the awaited task alone. `LoopStateError`: from a task of another loop, or from itself.
        """
        if not self.done:
            me = current_task("await_result()")
            if me is self or me.loop is not self.loop:
                whose = "its own result" if me is self else f"the result of {self}, which belongs to another loop"
                raise LoopStateError(f"{me} cannot wait for {whose}")
            me.waits_for = _Result(self, me)
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

    def _provenance(self) -> str:
        started = "" if self._origin is None else f", started at {self._origin}"
        return f"in {self}{started}"

    def __str__(self) -> str:
        return f"task {self.name!r}"

    def __repr__(self) -> str:
        state = "ended" if self.done else "running" if self.waits_for is None else f"waiting for {self.waits_for}"
        return f"<Task {self.name!r} {state}>"

    def report(self) -> str:
        """For `EventLoop.dump`."""
        return repr(self)


class _Result:
    """Waiting for another task's end."""

    __slots__ = ("_awaited", "_waiter")

    def __init__(self, awaited: Task[Any], waiter: Task[Any]) -> None:
        self._awaited = awaited
        self._waiter: Task[Any] | None = waiter
        awaited.watch(self._ended)

    def _ended(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.loop.soon(waiter.wake)

    def withdraw(self) -> bool:
        if self._waiter is None:
            return False
        self._waiter = None
        self._awaited.unwatch(self._ended)
        return True

    def __str__(self) -> str:
        return f"the result of {self._awaited}"


# How often a body that is being closed may try to wait before it is given up.
_PATIENCE = 100


def _call(task: Task[Any], waitable: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    _current.set(task)
    return waitable(*args)


def _unstarted(value: object) -> object:
    raise LoopStateError("this task has ended")


def leave_task() -> None:
    """In a context that was copied from a task's: no task runs here."""
    _current.set(None)


def body_running(body: Body[Any]) -> bool:
    """Whether the body is on the stack right now."""
    running = getattr(body, "gi_running", None)
    return bool(getattr(body, "cr_running", False) if running is None else running)


def _yield_text(token: object) -> str:
    if token is None:
        return "a bare yield (a raw await) works in generator tasks only; in an async def use `await await_callback(start)`"
    shown = type(token).__name__
    if isinstance(token, (Generator, Coroutine, Await)):
        return f"a task yielded a {shown}: write `yield from …` instead of `yield …`"
    return f"a task yielded {token!r} ({shown}), which nothing answers: write `yield from await_…(…)`, or a bare `yield` and resume()"


def _where(code: CodeType, line: int) -> str:
    return f"{code.co_filename}:{line}"


def caller_of(frame: FrameType | None) -> str | None:
    """File and line of the first frame outside this package, for saying where a task was started."""
    package = __name__.partition(".")[0]
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame = frame.f_back
    return None if frame is None else _where(frame.f_code, frame.f_lineno)
