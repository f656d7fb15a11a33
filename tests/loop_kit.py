"""What the tests of the loop share: every kind of loop there is, a clock that is set by hand, and a few small watchers.

Knows the loop's constructor; each test says for itself what it expects of it.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from eventsock import EventLoop
from eventsock.loop.selectors import EpollSelector, PollSelector
from eventsock.loop.timers import Timeout, TimerHeap

__all__ = [
    "KINDS",
    "Clock",
    "MakeLoop",
    "Noted",
    "after",
    "busy_time",
    "chain",
    "in_thread",
    "open_descriptors",
    "reading",
    "timeout_of",
    "until",
]

MakeLoop = Callable[..., EventLoop]

# The whole suite holds for each: our selectors, the standard ones, and the careful path that debug mode takes.
KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "default": lambda: {"debug": False},
    "debug": lambda: {"debug": True},
    "own epoll": lambda: {"debug": False, "selector": EpollSelector()},
    "own poll": lambda: {"debug": False, "selector": PollSelector()},
    "standard epoll": lambda: {"debug": False, "selector": selectors.EpollSelector()},
    "standard poll": lambda: {"debug": False, "selector": selectors.PollSelector()},
    "standard select": lambda: {"debug": False, "selector": selectors.SelectSelector()},
}


def timeout_of(heap: TimerHeap, when: float, action: Callable[[], object] = print, interval: float | None = None) -> Timeout:
    """A timeout that is not in its heap yet."""
    timeout = Timeout()
    timeout.when, timeout.action, timeout.interval, timeout.heap = when, action, interval, heap
    return timeout


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Noted(list[Any]):
    """A list of what happened; `noted.note(x)` is a callback that notes `x`."""

    def note(self, what: Any, result: Any = None) -> Callable[..., Any]:
        def happen(*arguments: Any) -> Any:
            self.append((what, *arguments) if arguments else what)
            return result

        return happen


def chain(*actions: Callable[[], object]) -> Callable[[], None]:
    """A callback that calls each of `actions`."""

    def call() -> None:
        for action in actions:
            action()

    return call


def after(seconds: float, *actions: Callable[[], object]) -> Callable[[], None]:
    """The same after `seconds`, for a thread."""
    return chain(lambda: time.sleep(seconds), *actions)


def reading(sock: socket.socket, seen: list[bytes], *, stop: bool = True) -> Callable[[str], bool]:
    """A read watch's callback: receives into `seen`, and ends the watch if it is to `stop`."""

    def ready(status: str) -> bool:
        seen.append(sock.recv(65536))
        return not stop

    return ready


def until(loop: EventLoop, condition: Callable[[], Any], seconds: float = 5.0) -> None:
    """Step `loop` until `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds} s: {loop!r}"
        loop.step(0.05)


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Do `work` in a thread meanwhile; its error, if any, is raised at the end of the block."""
    errors: list[BaseException] = []

    def target() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(20.0)
    assert not thread.is_alive(), "the thread hangs"
    if errors:
        raise errors[0]


@contextmanager
def busy_time() -> Iterator[Callable[[], float]]:
    """Gives a function: how much processor time, as a part of the time elapsed, this process has used since the block began."""
    cpu, wall = time.process_time(), time.monotonic()
    yield lambda: (time.process_time() - cpu) / max(time.monotonic() - wall, 1e-9)


def open_descriptors() -> set[str]:
    """The numbers of the descriptors that are open now."""
    # Looked at again, because the listing has a descriptor of its own.
    return {fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")}
