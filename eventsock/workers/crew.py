"""The threads of a pool, and the queue they serve.

Knows threads. It must not know executors: work is a procedure, and its error goes where it was told to. A thread holds its crew and
not the pool, so a pool that nobody uses any more can end.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from ..errors import PoolStopped
from .last_call import crews

__all__ = ["Crew", "Work"]


class Work:
    """One piece of work: what to call, who is told its error, whose future it is, and what to call it in reports."""

    __slots__ = ("call", "fail_handler", "future", "name")

    def __init__(
        self, call: Callable[[], object], name: str, fail_handler: Callable[[BaseException], object] | None, future: Future[object] | None
    ) -> None:
        self.call = call
        self.name = name
        self.fail_handler = fail_handler
        self.future = future

    def run(self) -> None:
        """In a thread of the crew, which outlives whatever it raises."""
        try:
            try:
                self.call()
            except BaseException as error:
                if self.fail_handler is None:
                    raise
                self.fail_handler(error)
        except BaseException:
            kind, value, trace = sys.exc_info()
            assert kind is not None
            threading.excepthook(threading.ExceptHookArgs((kind, value, trace, threading.current_thread())))
            del value, trace
        finally:
            del self  # an error's trace may lead here, and the future has the error


class Crew:
    """Between `least` and `most` threads. With `fixed`, they are one number. All but `call_next` is called with `changed` held."""

    def __init__(self, least: int, most: int, idle: float, fixed: bool) -> None:
        self.least = least
        self.most = most
        self.idle = idle
        self.fixed = fixed
        self.stopped = False
        self.queue: deque[Work] = deque()
        self.running: dict[threading.Thread, Work] = {}
        self.threads: set[threading.Thread] = set()
        self.changed = threading.Condition()
        crews.add(self)

    def add(self, work: Work) -> None:
        """Queue `work`, and start a thread for it if none is free. `RuntimeError`: that cannot be started, and none is alive."""
        self.queue.append(work)
        try:
            self.start_for_queue()
        except RuntimeError:
            if not self.threads:
                self.queue.pop()
                raise
        self.changed.notify()

    def resize(self, delta: int) -> None:
        """Change the number of threads, never below 1 or `least`."""
        self.most = max(1, 0 if self.fixed else self.least, self.most + delta)
        if not self.fixed:
            self.start_for_queue()
            return
        self.least = self.most
        try:
            self.start(self.most - len(self.threads))
        except RuntimeError:
            self.most = self.least = max(1, len(self.threads))
            raise
        self.changed.notify_all()

    def start_for_queue(self) -> None:
        """Start what the queue needs and `most` allows."""
        free = len(self.threads) - len(self.running)
        self.start(min(self.most - len(self.threads), len(self.queue) - free))

    def start(self, count: int) -> None:
        """Start `count` threads. `RuntimeError`: one cannot be started; those before it work."""
        for _ in range(count):
            thread = threading.Thread(target=self._serve, name="eventsock pool", daemon=True)
            self.threads.add(thread)
            try:
                thread.start()
            except BaseException:
                self.threads.discard(thread)
                raise

    def stop(self, wait: bool) -> None:
        """Take no more; with `wait`, return when all is done, unless a thread of the crew asks."""
        self.stopped = True
        self.changed.notify_all()
        if wait and threading.current_thread() not in self.threads:
            self.changed.wait_for(lambda: not self.threads)

    def cancel_queued(self) -> None:
        """Take back what has a future and was not begun."""
        for work in list(self.queue):
            if work.future is not None and work.future.cancel():
                self.queue.remove(work)
                work.future.set_running_or_notify_cancel()

    def refuse_if_stopped(self) -> None:
        """`PoolStopped`."""
        if self.stopped:
            raise PoolStopped("the thread pool was stopped")

    # The threads

    def _serve(self) -> None:
        me = threading.current_thread()
        while (work := self._next(me)) is not None:
            try:
                work.run()
            finally:
                del work
                with self.changed:
                    del self.running[me]
                    self.changed.notify_all()

    def _next(self, me: threading.Thread) -> Work | None:
        """The next work for the thread `me`; None: it is to end, and does not count any more."""
        with self.changed:
            waited = False
            while True:
                surplus = len(self.threads) > self.most and not self.stopped
                if self.queue and not surplus:
                    work = self.running[me] = self.queue.popleft()
                    return work
                if surplus or self.stopped or (waited and len(self.threads) > self.least):
                    self.threads.discard(me)
                    self.changed.notify_all()
                    return None
                waited = not self.changed.wait(min(self.idle, threading.TIMEOUT_MAX) if len(self.threads) > self.least else None)

    # Ends that nobody asked for

    def last_call(self, seconds: float) -> list[str]:
        """The interpreter exits."""
        with self.changed:
            self.stop(False)
            self.changed.wait_for(lambda: not self.threads, seconds)
            return [f"a thread pool's {work.name}" for work in (*self.running.values(), *self.queue)]

    def forked(self) -> None:
        """In the child, where none of the threads is."""
        self.changed = threading.Condition()
        self.stopped = True
        self.threads.clear()
        self.running.clear()
        self.queue.clear()
