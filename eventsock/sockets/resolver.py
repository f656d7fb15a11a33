"""Name look-ups that never block a loop: in a few threads of their own, one flight per question; or as the program says.

Knows `Query`, threads and jobs; delivers by posting. The application's own pools are never used: eight stuck downloads must not
look like a dead name server.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Self

from ..basic.arguments import checked_size
from ..basic.resolve import AddressInfo, Query
from ..errors import PoolStopped, ResolveError
from ..tasks.a_sync import await_call
from ..tasks.task import current_task
from ..tasks.waitable import waitable
from ..workers.jobs import Job, await_answer
from ..workers.last_call import crews

__all__ = ["LookUp", "Resolver", "await_addresses", "set_resolver"]

LookUp = Callable[[str, str | int, int], Any]
"""`look_up(host, service, family)`: a waitable that gives a sequence of `AddressInfo`."""

Answer = list[AddressInfo] | BaseException


class Resolver:
    """Asks the system's resolver (getaddrinfo(3)) in at most `size` daemon threads, which end after `idle` seconds without a question.

    For `set_resolver(Resolver(16))`. Equal questions that are asked at the same time are one flight. Any thread, any number of loops.
    `close` it when it is not the resolver any more, or let its threads end by themselves. In a forked child it starts anew.
    `ValueError`, `TypeError`: bad arguments.
    """

    def __init__(self, size: int = 4, *, idle: float = 10.0) -> None:
        if checked_size(size, "size") < 1:
            raise ValueError("size must be at least 1 thread")
        if isinstance(idle, bool) or not isinstance(idle, (int, float)):
            raise TypeError(f"idle must be an int or a float, not {type(idle).__name__}")
        if not 0 <= idle <= threading.TIMEOUT_MAX:
            raise ValueError(f"idle must be 0 or more seconds, not {idle!r}")
        self._size = size
        self._idle = idle
        self._closed = False
        self.forked()
        crews.add(self)

    @waitable
    def __call__(self, host: str, service: str | int, family: int = socket.AF_UNSPEC) -> Generator[Any, Any, list[AddressInfo]]:
        """The TCP addresses of `host` and `service`, in the order in which they should be tried. Suspends; `ResolveError`.

        Who is cancelled waits no more; the system's resolver cannot be interrupted, and its answer is then dropped.
        """
        query = Query(host, service, family, socket.SOCK_STREAM, 0, 0)
        found = yield from await_answer("a look-up", f"the look-up of {query.asked}", lambda job: self._ask(query, job), None)
        if not isinstance(found, BaseException):
            return list(found)
        try:
            raise _fresh(found)
        finally:
            del found  # or its trace would hold the frame that holds it

    def close(self) -> None:
        """Take no more questions, and end the threads: those at work when they have their answer. Idempotent; any thread."""
        with self._changed:
            self._closed = True
            unasked = list(self._questions)
            self._questions.clear()
            self._changed.notify_all()
        for query in unasked:
            self._deliver(query, PoolStopped(f"{self!r} was closed before it looked up {query.asked}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Resolver size {self._size}{', closed' if self._closed else ''}>"

    # Threads

    def _ask(self, query: Query, job: Job) -> None:
        with self._changed:
            if self._closed:
                raise PoolStopped(f"{self!r} takes no more questions: {query.asked}")
            jobs = self._jobs.setdefault(query.key, [])
            jobs.append(job)
            if len(jobs) == 1:
                self._questions.append(query)
                self._staff(query)

    def _staff(self, query: Query) -> None:
        """See to it that somebody takes the last question."""
        if len(self._questions) <= self._free or self._threads == self._size:
            self._changed.notify()
            return
        thread = threading.Thread(target=self._work, name="eventsock resolver", daemon=True)
        try:
            thread.start()
        except BaseException:
            if not self._threads:  # otherwise one of the others takes it
                self._questions.remove(query)
                del self._jobs[query.key]
                raise
        else:
            self._threads += 1
            self._free += 1

    def _work(self) -> None:
        changed = self._changed
        with changed:
            while self._await_question():
                query = self._questions.popleft()
                self._free -= 1
                changed.release()
                try:
                    self._deliver(query, _answer_to(query))
                    del query  # until the next one there is none
                finally:
                    changed.acquire()
                    self._free += 1
            self._threads -= 1
            self._free -= 1

    def _await_question(self) -> bool:
        """Whether there is one to take; otherwise the thread has to end."""
        self._changed.wait_for(lambda: self._questions or self._closed, self._idle)
        return bool(self._questions)

    def _deliver(self, query: Query, found: Answer) -> None:
        with self._changed:
            jobs = self._jobs.pop(query.key)
        for job in jobs:  # with the lock free: who posts to a busy loop may be held up
            # An error goes as a value: it is no news once nobody waits for it any more.
            job.answer((True, found))

    # The process

    def forked(self) -> None:
        """A child has neither the threads nor who asked them; the lock may be held by one that is not there."""
        self._changed = threading.Condition(threading.Lock())
        self._questions: deque[Query] = deque()
        self._jobs: dict[object, list[Job]] = {}
        self._threads = 0
        self._free = 0  # threads that wait for a question, or are about to

    def last_call(self, seconds: float) -> list[str]:
        """Nobody waits for a name any more when the interpreter exits."""
        return []


def _answer_to(query: Query) -> Answer:
    try:
        return query.answer()
    except BaseException as error:
        return error.with_traceback(None)


def _fresh(error: BaseException) -> BaseException:
    """Each of those who asked raises an error of its own."""
    return ResolveError(error.errno, error.strerror, address=error.address) if isinstance(error, ResolveError) else error


_current: LookUp = Resolver()


def set_resolver(look_up: LookUp | None = None) -> LookUp:
    """Look up names by `look_up(host, service, family)` from now on, in all loops of the process; gives the former.

    `look_up`: a `Resolver`, or any waitable (a generator function, an `async def`, a plain function that does not block), which is
    run in the task that connects and gives a sequence of `AddressInfo`. `service` is a name or a port, `family` one of AF_INET,
    AF_INET6 and AF_UNSPEC. It is never asked for numeric addresses. For an unknown name it raises `ResolveError` or
    `socket.gaierror`. None: a `Resolver()`. `TypeError`. Any thread.
    """
    global _current
    if look_up is not None and not callable(look_up):
        raise TypeError(f"look_up must be callable, not {type(look_up).__name__}")
    former, _current = _current, look_up or Resolver()
    return former


@waitable
def await_addresses(query: Query) -> Generator[Any, Any, Sequence[AddressInfo]]:
    """The answer to `query`, never none; one without a name in it is answered at once. `ResolveError`."""
    if query.instant:
        return query.answer()
    current_task("a look-up")
    host, service, family, *_ = query.key
    try:
        found = yield from await_call(_current, host, service, family)
    except ResolveError:
        raise
    except socket.gaierror as error:
        raise ResolveError.of(error, address=query.asked) from error
    return _checked(found, query)


def _checked(found: Any, query: Query) -> Sequence[AddressInfo]:
    infos = list(found)
    for info in infos:
        if not isinstance(info, AddressInfo):
            raise TypeError(f"the resolver must give AddressInfo objects for {query.asked}, not {type(info).__name__}")
    if not infos:
        raise ResolveError(socket.EAI_NONAME, "the resolver knows no address", address=query.asked)
    return infos
