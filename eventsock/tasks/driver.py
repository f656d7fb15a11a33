"""Driving a body, a generator or coroutine, from one suspension to the next: the one place that calls `next`, `send` and `throw`.

Knows generators and its loop's queue. It must not know what is waited for: a wait is something with `withdraw`, armed by an
`await_…` procedure before it yields `SUSPENDED`, and answered through `wake` or `fail`. Nor who wants to know how the body ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from threading import get_ident
from types import GeneratorType
from typing import Any

from ..compiling import mypyc_attr
from ..errors import Cancelled, LoopStateError
from ..loop.current import here
from ..loop.event_loop import EventLoop
from ..loop.verbs import Verbs
from .ends import LoopEnded, LoopEnds
from .states import ENDED, RAW, STRUCK, SUSPENDED, TURN, Wait
from .telling import Thrower, wrong_yield
from .waitable import Await, awaited
from .where import awaiting, is_running, report

__all__ = ["Driver", "Failure"]

Body = Generator[Any, Any, Any] | Coroutine[Any, Any, Any]


class Failure:
    """How a task has ended that did not end well: with what error, raised where, and whether that has yet to reach anybody."""

    __slots__ = ("error", "trace", "unheard")

    def __init__(self, error: BaseException, unheard: bool = False) -> None:
        self.error = error
        self.trace = error.__traceback__
        self.unheard = unheard


@mypyc_attr(allow_interpreted_subclasses=True)
class Driver:
    """The half of a task that runs: its steps, what strikes it, its end."""

    __slots__ = (
        "_context",
        "_made",
        "_name",
        "_watchers",
        "eager",
        "loop",
        "owner",
        "steps",
        "strikes",
        "turn",
        "waits_for",
    )

    # Made empty and filled by `start`: an `__init__` would be one call more for each task.
    loop: EventLoop
    # What the waitable has made: its body, and in the end its result or its failure. One place for both, because there are many tasks.
    _made: Any

    def start(
        self,
        loop: EventLoop,
        name: str,
        owner: Callable[[Any], object] | None,
        waitable: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        """Run the first steps, in the caller's turn. The caller has made `loop` the thread's current one.

        `owner` answers for the task's error, a group for instance; None: nobody does.
        """
        self.loop = loop
        self._name = name
        self.owner = owner
        self.waits_for: Wait | None = None
        # How many operations in a row needed no waiting; see `BUDGET`.
        self.eager = 0
        # `wake`, bound once for a task that queues itself again and again. Most only wait, and are woken without an object for it.
        self.turn: Callable[[], object] | None = None
        context = copy_context()
        self._context: Any = context
        # What gives the next word: the body, or what stands in for it to tell it an error.
        self.steps: Any = None
        self._made = None
        self.strikes: list[Cancelled] | None = None
        self._watchers: dict[Callable[[], object], bool] | None = None
        former, loop.current = loop.current, self
        try:
            made = context.run(waitable, *args)
        except BaseException as error:
            loop.current = former
            if isinstance(error, StopIteration):  # as PEP 479 has it for generators
                error, error.__cause__ = RuntimeError(f"{self} raised StopIteration"), error
            self._failed(error, True)
            del self  # see `wake`
            return
        body = steps = made
        if type(made) is not GeneratorType:
            body, steps = self._adapt(made)
            if steps is None:
                loop.current = former
                self._end(made)
                return
        self._made = body
        self.steps = steps
        loop.residents[self] = None
        try:
            token = context.run(next, steps)
        except StopIteration as stop:
            loop.current = former
            self._end(stop.value)
        except BaseException as error:
            loop.current = former
            self._failed(error, True)
            del self
        else:
            loop.current = former
            if token is TURN and not self.strikes:
                self.waits_for = TURN
                self.turn = turn = self.wake
                loop.soon(turn)
            elif token is not SUSPENDED or self.strikes:
                self._irregular(token)

    def _adapt(self, made: Any) -> tuple[Any, Any]:
        """The body, and what to call `next` on, for what a waitable made that is no plain generator; None: it has made a result."""
        if not isinstance(made, Await):  # which looks like everything else as well
            if isinstance(made, Coroutine):
                return made, made.__await__()
            if isinstance(made, Generator):
                return made, made
        body = awaited(made) if isinstance(made, Awaitable) else None
        return body, body

    def wake(self, value: object = None) -> None:
        """Continue from the present await, which gives `value`. The loop calls it, or an armed wait does."""
        loop: Verbs = self.loop  # whose attributes compiled code finds without a look-up
        former = loop.current
        loop.current = self
        self.waits_for = None
        self.eager = 0
        try:
            # `next`, because a `send` is an object more: bound for each wake-up, or kept by each task.
            token = self._context.run(next, self.steps) if value is None else self._context.run(self.steps.send, value)
        except StopIteration as stop:
            loop.current = former
            self._end(stop.value)
        except BaseException as error:
            loop.current = former
            self._failed(error)
            del self  # the trace leads back to this frame, and the task has the error: that would be a cycle
        else:
            loop.current = former
            if token is TURN and not self.strikes:
                self.waits_for = TURN
                turn = self.turn
                if turn is None:
                    turn = self.turn = self.wake
                loop.enqueue(turn)
            elif token is not SUSPENDED or self.strikes:
                self._irregular(token)

    def fail(self, error: BaseException) -> None:
        """As `wake`, but the await raises `error`."""
        self.steps = Thrower(self, error)
        self.wake()

    def _irregular(self, token: object) -> None:
        """What the task yielded was not a plain suspension, or a cancellation has been waiting for one."""
        if token is TURN or (token is not SUSPENDED and (token is not None or isinstance(self._made, Coroutine))):
            if self.strikes:
                self.steps = Thrower(self, None)
            elif token is not TURN:
                self.steps = Thrower(self, wrong_yield(token))
            self.waits_for = TURN
            self.loop.soon(self.wake)
            return
        if token is None:
            self.waits_for = RAW
        if self.strikes:
            self._strike_wait()

    def check_thread(self, done: str) -> None:
        """`LoopStateError`: the task's loop is driven by another thread, so this is no place to have the task cancelled or resumed."""
        thread = self.loop.thread
        if thread is not None and thread != get_ident():
            raise LoopStateError(
                f"{self} was {done} in thread {get_ident()}, but {self.loop!r} is driven by thread {thread}: use loop.post() there"
            )

    # Striking and closing

    def strike(self, error: Cancelled) -> None:
        """Have `error` raised at the task's await, or at its next one, in addition to what is to be raised there already."""
        if self.strikes is None:
            self.strikes = []
        self.strikes.append(error)
        self._strike_wait()

    def _strike_wait(self) -> None:
        wait = self.waits_for
        if wait is TURN:
            # The turn is on its way; it brings the error instead, unless it brings another one already.
            if type(self.steps) is not Thrower:
                self.steps = Thrower(self, None)
        elif wait is not None and wait.withdraw():
            self.waits_for = STRUCK
            self.steps = Thrower(self, None)
            self.loop.soon(self.wake)

    def unstrike(self, error: Cancelled) -> bool:
        """Take a strike back that has not been raised yet; False if it has."""
        if self.strikes and error in self.strikes:
            self.strikes.remove(error)
            return True
        return False

    def shut(self) -> bool | None:
        """The loop ends: close the body. An await in a `finally` raises instead of suspending. False: the body is on the stack."""
        body, loop = self.body, self.loop
        if body is None:
            return None
        if is_running(body):
            return False
        self._leave_wait()
        error: BaseException = LoopEnds("the loop has quit or was closed")
        former = here.loop, loop.current
        here.loop, loop.current = loop, self
        try:
            for _ in range(_PATIENCE):
                self._context.run(body.throw, error)
                self._leave_wait()
                error = LoopEnded(f"{self} cannot wait any more: its loop has quit or was closed")
            raise RuntimeError(f"{self} goes on waiting although its loop has ended")
        except (StopIteration, LoopEnds, GeneratorExit, Cancelled):
            self._end(Failure(Cancelled("the loop ended")))
        except BaseException as raised:
            self._end(Failure(raised))  # which leaves by the loop, so it is not unheard
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
        if self._context is None:  # found out here, so that a wake-up need not look
            self.waits_for = ENDED
            raise LoopStateError(f"{self} was resumed, but it has ended") from None
        unheard = False
        if not isinstance(error, Cancelled):
            unheard = self.owner is None and not (self._watchers is not None and True in self._watchers.values())
            error.add_note(f"in {self}" if self.origin is None else f"in {self}, started at {self.origin}")
        # The frames of the driver tell nothing, and hold the task, which holds the error.
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals["__name__"] in _DRIVER:
            trace = trace.tb_next
        error.__traceback__ = trace
        failure = Failure(error, unheard)
        self._end(failure)
        # Where no turn is under way, the error leaves by whoever made the task run.
        if self.loop.in_turn:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self.loop.fail(error, str(self))
            elif failure.unheard:
                if first:
                    self.loop.soon(_Unheard(self))
                else:
                    self.loop.fail(error, str(self))

    def _end(self, outcome: object) -> None:
        self._made = outcome
        self.waits_for = ENDED
        # Without these a finished task would be a cycle: a bound method holds it, and what it ran may.
        self.turn = self.strikes = self.steps = self._context = None
        self.loop.residents.pop(self, None)
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

    @property
    def cancelled(self) -> bool:
        """Whether it ended by a cancellation."""
        return isinstance(self.error, Cancelled)

    @property
    def error(self) -> BaseException | None:
        """The error it ended with (`Cancelled` if it was cancelled), or None."""
        if self.waits_for is ENDED and isinstance(outcome := self._made, Failure):
            return outcome.error
        return None

    @property
    def unheard(self) -> bool:
        """Whether it ended with an error that has reached nobody yet."""
        return self.waits_for is ENDED and isinstance(outcome := self._made, Failure) and outcome.unheard

    @property
    def name(self) -> str:
        """As given to `a_sync`, else the waitable's own name."""
        return self._name

    @property
    def body(self) -> Any:
        """The generator or coroutine that runs; None when it has ended."""
        return None if self.waits_for is ENDED else self._made

    @property
    def origin(self) -> str | None:
        """File and line where it was started; None where nobody kept it."""
        return None

    @property
    def waits_since(self) -> float | None:
        """When its wait began, in the loop's seconds; None where nobody kept it."""
        return getattr(self.waits_for, "since", None)

    @property
    def awaiting(self) -> str | None:
        """The `await_…` procedure it stands in, or None."""
        return awaiting(self.body, self.waits_for is TURN)

    def report(self) -> str:
        """Where it stands, for `EventLoop.dump`."""
        return report(self)

    def __str__(self) -> str:
        return f"task {self.name!r}"


class _Unheard:
    """A task failed in its first steps: who started it has the rest of its own step to ask for the result."""

    __slots__ = ("_task",)

    def __init__(self, task: Driver) -> None:
        self._task = task

    def __call__(self) -> None:
        task = self._task
        if task.unheard and task.error is not None:
            task.loop.fail(task.error, str(task))

    def dropped(self) -> None:
        """The loop ends before that."""
        self()


# How often a body that is being closed may try to wait before it is given up.
_PATIENCE = 100


# Modules and not functions, because what is compiled has no code object.
_DRIVER = {__name__, Thrower.__module__}
