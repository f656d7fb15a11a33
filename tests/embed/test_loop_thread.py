"""A loop in a thread of its own: calls, cancellations, ends, forks. Knows `LoopThread` and what a synchronous program does with it."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from eventsock import (
    LoopClosedError,
    LoopStateError,
    Task,
    TaskCancelled,
    a_sync,
    await_call,
    await_readable,
    await_sleep,
    await_yield,
    running_event_loop,
)
from eventsock.embed import LoopThread
from programs import ROOT

Steps = Generator[Any, Any, Any]

colour: ContextVar[str] = ContextVar("colour", default="none")


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    with LoopThread() as loop_thread:
        yield loop_thread


def nap(result: object, seconds: float = 0.001) -> Steps:
    yield from await_sleep(seconds)
    return result


async def async_nap(result: str) -> str:
    await await_sleep(0.001)
    return result


def fail() -> Steps:
    yield from await_yield()
    raise ArithmeticError("of the task")


def forever(ended: list[str]) -> Steps:
    try:
        yield from await_sleep(60)
    finally:
        yield from await_sleep(0.005)
        ended.append("ended")


def test_call(loop_thread: LoopThread) -> None:
    assert loop_thread.call(nap, "generator") == "generator"
    assert loop_thread.call(async_nap, "async def") == "async def"
    assert loop_thread.call(threading.get_ident) not in (None, threading.get_ident())
    assert loop_thread.call(running_event_loop) is loop_thread.loop
    assert running_event_loop() is None


def test_call_talks_over_a_socket(loop_thread: LoopThread, socket_pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = socket_pair

    def hear() -> Steps:
        yield from await_readable(right)
        return right.recv(10)

    future = loop_thread.submit(hear)
    left.send(b"hello")
    assert future.result(5) == b"hello"


@pytest.mark.parametrize("waitable", [fail, partial(divmod, 1, 0)])
def test_error_comes_to_the_caller_and_the_loop_goes_on(loop_thread: LoopThread, waitable: Any) -> None:
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            loop_thread.call(waitable)
    assert loop_thread.call(nap, "still here") == "still here"


def test_many_threads_call(loop_thread: LoopThread) -> None:
    results: list[object] = []
    threads = [threading.Thread(target=lambda n=n: results.append(loop_thread.call(nap, n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, map(str, results))) == list(range(20))


def test_timeout_cancels_the_task(loop_thread: LoopThread) -> None:
    ended: list[str] = []
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"forever took longer than 0\.02 s"):
        loop_thread.call(forever, ended, timeout=0.02)
    assert time.monotonic() - start < 5
    while not ended:
        time.sleep(0.001)


def test_timeout_of_the_task_itself_is_its_own(loop_thread: LoopThread) -> None:
    def late() -> Steps:
        yield from await_yield()
        raise TimeoutError("of the task")

    with pytest.raises(TimeoutError, match="of the task"):
        loop_thread.call(late, timeout=5)


@pytest.mark.parametrize(("timeout", "error"), [(float("nan"), ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)])
def test_bad_timeout(loop_thread: LoopThread, timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="timeout"):
        loop_thread.call(nap, None, timeout=timeout)


def test_what_is_no_waitable(loop_thread: LoopThread) -> None:
    with pytest.raises(TypeError, match="waitable must be a function, not generator"):
        loop_thread.call(nap(1))  # type: ignore[call-overload]


def test_interrupted_caller_cancels_the_task(loop_thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    wait = Future.result

    def interrupted(self: Future[Any], timeout: float | None = None) -> Any:
        time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop_thread.call(forever, ended)
    monkeypatch.setattr(Future, "result", wait)
    while not ended:
        time.sleep(0.001)


def test_call_from_its_own_thread_is_refused(loop_thread: LoopThread) -> None:
    def task() -> Steps:
        with pytest.raises(LoopStateError, match=r"would wait for itself: use `yield from await_call"):
            loop_thread.call(nap, 1)
        with pytest.raises(LoopStateError, match="would wait for itself"):
            loop_thread.stop()
        future = loop_thread.submit(nap, "submitted")
        while not future.done():
            yield from await_yield()
        return future.result(), (yield from await_call(nap, "awaited"))

    assert loop_thread.call(task, timeout=5) == ("submitted", "awaited")


def test_cancelled_future_cancels_the_task(loop_thread: LoopThread) -> None:
    ended: list[str] = []
    future = loop_thread.submit(forever, ended)
    loop_thread.call(await_yield)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()
    while not ended:
        time.sleep(0.001)


def test_future_cancelled_before_it_began(loop_thread: LoopThread) -> None:
    ended: list[str] = []
    hold = threading.Event()
    loop_thread.loop.post(hold.wait)
    future = loop_thread.submit(forever, ended)
    assert future.cancel()
    hold.set()
    loop_thread.call(await_yield)
    assert ended == []


def test_error_after_the_future_was_cancelled_is_reported(loop_thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def clumsy() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            raise ArithmeticError("in cleaning up")

    future = loop_thread.submit(clumsy)
    loop_thread.call(await_yield)
    future.cancel()
    while not reported:
        time.sleep(0.001)
    assert reported[0].exc_type is ArithmeticError
    assert reported[0].thread.name == "eventsock"
    reported.clear()


def test_cancelled_task_says_so(loop_thread: LoopThread) -> None:
    def task() -> Steps:
        me = Task.current()
        assert me is not None
        me.cancel("not needed")
        yield from await_sleep(60)

    with pytest.raises(TaskCancelled) as caught:
        loop_thread.call(task)
    assert caught.value.reason == "not needed"


def test_error_that_nobody_awaits_goes_to_excepthook(loop_thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append((args.exc_type, args.thread.name)))

    def starts() -> Steps:
        a_sync(fail)
        yield from await_yield()

    loop_thread.call(starts)
    loop_thread.call(nap, None)
    assert reported == [(ArithmeticError, "eventsock")]


def test_context_of_the_caller(loop_thread: LoopThread) -> None:
    def task() -> Steps:
        before = colour.get()
        colour.set("changed there")
        yield from await_yield()
        return before, colour.get()

    token = colour.set("red")
    try:
        assert loop_thread.call(task) == ("red", "changed there")
        assert colour.get() == "red"
    finally:
        colour.reset(token)


# Its life


def test_thread_starts_with_the_first_call() -> None:
    before = threading.active_count()
    loop_thread = LoopThread(name="late")
    assert threading.active_count() == before
    try:
        assert loop_thread.call(nap, 1) == 1
        assert "late" in [thread.name for thread in threading.enumerate()]
    finally:
        loop_thread.stop()
    assert threading.active_count() == before


def test_threads_that_call_first_at_once_get_one_loop() -> None:
    loop_thread = LoopThread()
    gate = threading.Barrier(8)
    loops: list[object] = []

    def call() -> None:
        gate.wait()
        loops.append(loop_thread.call(running_event_loop))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop_thread.stop()
    assert len(loops) == 8
    assert len(set(map(id, loops))) == 1


def test_stop_waits_for_the_finally_blocks() -> None:
    ended: list[str] = []
    loop_thread = LoopThread()
    future = loop_thread.submit(forever, ended)
    loop_thread.call(await_yield)
    loop_thread.stop()
    assert ended == ["ended"]
    with pytest.raises(TaskCancelled):
        future.result(0)
    loop_thread.stop()
    with pytest.raises(LoopClosedError, match="was stopped"):
        loop_thread.call(nap, 1)
    with pytest.raises(LoopClosedError, match="was stopped"):
        loop_thread.loop  # noqa: B018
    assert loop_thread.start().call(nap, "again") == "again"
    loop_thread.stop()


def test_stop_while_a_thread_calls() -> None:
    loop_thread = LoopThread()
    errors: list[BaseException] = []

    def call() -> None:
        try:
            loop_thread.call(nap, None, 60)
        except TaskCancelled as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while loop_thread.loop.statistics().tasks < 2:
        time.sleep(0.001)
    loop_thread.stop()
    thread.join()
    assert len(errors) == 1


def test_call_that_was_not_begun_is_told() -> None:
    loop_thread = LoopThread()
    hold = threading.Event()
    loop = loop_thread.loop
    loop.post(hold.wait)
    loop.post(loop.quit)
    future = loop_thread.submit(nap, 1)
    quiet, threading.excepthook = threading.excepthook, lambda args: None  # the thread says that its loop was taken from it
    try:
        hold.set()
        with pytest.raises(LoopClosedError, match="ended before the task was started"):
            future.result(5)
        while not loop.closed:
            time.sleep(0.001)
        with pytest.raises(LoopClosedError):
            loop_thread.call(nap, 1)
        loop_thread.stop()
    finally:
        threading.excepthook = quiet


def test_system_exit_in_a_task_comes_to_the_caller() -> None:
    def leaves() -> Steps:
        yield from await_yield()
        sys.exit(3)

    loop_thread = LoopThread()
    with pytest.raises(SystemExit) as caught:
        loop_thread.call(leaves)
    assert caught.value.code == 3
    loop_thread.stop()


def test_dropped_without_a_word_ends_its_thread() -> None:
    loop_thread = LoopThread(name="dropped")
    loop_thread.call(nap, 1)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "dropped"]
    del loop_thread
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_no_descriptors_is_told_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    import eventsock.tasks.run

    def refuse() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(eventsock.tasks.run, "EventLoop", refuse)
    loop_thread = LoopThread()
    with pytest.raises(OSError, match="Too many open files"):
        loop_thread.call(nap, 1)
    monkeypatch.undo()
    assert loop_thread.call(nap, 1) == 1
    loop_thread.stop()


_PROGRAM = """
import sys, time
from eventsock import await_sleep
from eventsock.embed import LoopThread
loop_thread = LoopThread()
def task():
    try:
        yield from await_sleep(60)
    finally:
        yield from await_sleep(0.01)
        print("cleaned up")
loop_thread.submit(task)
loop_thread.call(await_sleep, 0.01)
"""


@pytest.mark.parametrize("end", ["", "sys.exit(0)"])
def test_stops_at_exit(end: str) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", _PROGRAM + end]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cleaned up\n", "")


_FORKS = """
import os, sys
from eventsock import await_sleep
from eventsock.embed import LoopThread
loop_thread = LoopThread()
def nap():
    yield from await_sleep(0.01)
    return os.getpid()
before = bool(sys.argv[1:])
if before:
    assert loop_thread.call(nap) == os.getpid()
children = []
for _ in range(3):
    with loop_thread._lock:  # as if another thread were in the midst of its first call
        child = os.fork()
    if child == 0:
        # As a worker of a prefork server: uses it, and leaves by the ordinary way.
        assert loop_thread.call(nap, timeout=5) == os.getpid()
        sys.exit(7)
    children.append(child)
assert loop_thread.call(nap, timeout=5) == os.getpid()
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
assert loop_thread.call(nap, timeout=5) == os.getpid()
"""


@pytest.mark.parametrize("before", [[], ["before"]])
def test_fork(before: list[str]) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:.*fork:DeprecationWarning", "-c", _FORKS, *before]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[7, 7, 7]\n", "")
