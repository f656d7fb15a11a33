"""One answer that comes from elsewhere: from a thread, a pool, another loop.

Knows the loop of the one who waits, and delivers by posting. It must not know who does the work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from ..errors import LoopStateError
from ..tasks.outcome import Outcome, unwrap
from ..tasks.states import SUSPENDED
from ..tasks.task import Task, current_task
from ..tasks.thunks import checked_callable

__all__ = ["Handler", "Job", "await_answer", "checked_work", "name_of", "report"]

T = TypeVar("T")

Handler = Callable[[BaseException], T]


def name_of(work: object) -> str:
    """What to call a piece of work in reports."""
    inner = getattr(work, "func", work)  # a functools.partial
    return f"{getattr(inner, '__qualname__', None) or type(inner).__name__}()"


def checked_work(thunk: object, handler: object) -> None:
    """`TypeError` naming the argument that cannot be called."""
    checked_callable(thunk, "thunk")
    if handler is not None:
        checked_callable(handler, "handler")


def report(error: BaseException) -> None:
    """An error of a thread that nobody waits for any more: to `threading.excepthook`."""
    args = (type(error), error, error.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(args))


class Job:
    """The wait for one answer, the post that brings it, and what keeps the loop alive until then.

    `answer` and `refuse` are for any thread; the rest belongs to the loop's.
    """

    __slots__ = ("_deliver", "_outcome", "_text", "_withdrawn", "loop", "since")

    def __init__(self, task: Task[Any], deliver: Callable[[Outcome], object], text: str) -> None:
        self.loop = task.loop
        self.since = task.loop.time()
        self._text = text
        self._deliver: Callable[[Outcome], object] | None = deliver
        self._outcome: Outcome | None = None
        self._withdrawn: Callable[[], object] | None = None
        self.loop.keep_alive(self)

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits. Any thread."""
        return self._deliver is not None

    def on_withdrawal(self, call: Callable[[], object]) -> None:
        """Call `call()` when nobody waits any more, to stop what can be stopped."""
        self._withdrawn = call

    # The worker's side

    def answer(self, outcome: Outcome) -> None:
        """The work is done. Who does not wait any more loses a value quietly; an error goes to `threading.excepthook`."""
        self._outcome = outcome
        if self.wanted:
            try:
                self.loop.post(self)
                return
            except LoopStateError:
                pass  # the loop was closed, and who waited with it
        self.dropped()

    def refuse(self, error: BaseException) -> None:
        """The work will not be done: of no interest to those who do not wait any more."""
        if self.wanted:
            self.answer((False, error))

    # The loop's side

    def __call__(self) -> None:
        deliver, outcome = self._deliver, self._outcome
        if deliver is None or outcome is None:
            self.dropped()
            return
        self._outcome = self._withdrawn = None
        self.leave()
        deliver(outcome)

    def dropped(self) -> None:
        """The answer has come too late, or the loop has dropped it."""
        outcome, self._outcome = self._outcome, None
        if outcome is not None and not outcome[0]:
            report(outcome[1])

    def withdraw(self) -> bool:
        """As what a task waits for."""
        if self._deliver is None or self._outcome is not None:
            return False
        self.leave()
        return True

    def leave(self) -> None:
        """Wait no more, whatever is on its way. Idempotent."""
        if self._deliver is not None:
            self._deliver = None
            self.loop.let_go(self)
            withdrawn, self._withdrawn = self._withdrawn, None
            if withdrawn is not None:
                withdrawn()

    def __str__(self) -> str:
        return self._text


def await_answer(what: str, text: str, begin: Callable[[Job], object], handler: Handler[Any] | None) -> Generator[Any, Any, Any]:
    """Suspend until the job that `begin(job)` has set going is answered; the value, or the error (or `handler(error)`)."""
    task = current_task(what)
    job = Job(task, task.wake, text)
    try:
        begin(job)
        task.waits_for = job
        del task  # see `outcome`
        outcome = yield SUSPENDED
    finally:
        job.leave()
    try:
        return unwrap(outcome, handler)
    finally:
        del outcome
