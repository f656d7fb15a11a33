"""Name look-ups that never block a loop: in a few threads of their own, one flight per question.

Knows `Query` and threads; delivers by posting. The application's own pools are never used: eight stuck downloads must not look like
a dead name server.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any

from ..basic.resolve import AddressInfo, Query
from ..tasks.task import current_task
from ..tasks.waitable import waitable
from ..tasks.waits import OneShotResume, await_callback

__all__ = ["Resolver", "await_addresses"]

Answer = list[AddressInfo] | BaseException


class Resolver:
    """Looks names up in at most `size` daemon threads, which end after `idle` seconds without a question. Any thread may ask."""

    def __init__(self, size: int = 4, idle: float = 10.0) -> None:
        self._size = size
        self._idle = idle
        self._lock = threading.Lock()
        self._questions: queue.SimpleQueue[Query] = queue.SimpleQueue()
        self._askers: dict[object, list[Callable[[Answer], object]]] = {}
        self._threads = 0
        self._free = 0

    def ask(self, query: Query, answer: Callable[[Answer], object]) -> None:
        """Call `answer(addresses or error)`, in a thread of the resolver. Who asks what is being asked already shares the answer."""
        with self._lock:
            askers = self._askers.setdefault(query.key, [])
            askers.append(answer)
            if len(askers) > 1:
                return
            self._questions.put(query)
            if self._free < self._questions.qsize() and self._threads < self._size:
                threading.Thread(target=self._work, name="eventsock resolver", daemon=True).start()
                self._threads += 1
                self._free += 1

    def _work(self) -> None:
        while True:
            try:
                query = self._questions.get(timeout=self._idle)
            except queue.Empty:
                with self._lock:
                    if self._questions.empty():
                        self._threads -= 1
                        self._free -= 1
                        return
                continue
            with self._lock:
                self._free -= 1
            found = _answered(query)
            with self._lock:
                self._free += 1
                askers = self._askers.pop(query.key)
            for answer in askers:
                answer(found)


def _answered(query: Query) -> Answer:
    try:
        return query.answer()
    except BaseException as error:
        return error


_resolver = Resolver()


@waitable
def await_addresses(query: Query) -> Generator[Any, Any, list[AddressInfo]]:
    """The answer to `query`; one without a name in it is answered at once. `ResolveError`."""
    if query.instant:
        return query.answer()
    loop = current_task("a look-up").loop

    def start(resume: OneShotResume) -> None:
        def deliver(found: Answer) -> None:
            loop.let_go(resume)
            if isinstance(found, BaseException):
                resume.throw(found)
            else:
                resume(found)

        def answered(found: Answer) -> None:
            try:
                loop.post(lambda: deliver(found))
            except RuntimeError:
                pass  # the loop was closed, and who waited with it

        loop.keep_alive(resume)
        _resolver.ask(query, answered)

    return (yield from await_callback(start))  # type: ignore[no-any-return]
