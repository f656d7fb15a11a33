"""Nothing that goes wrong makes a cycle: an error, its trace and what ended with it are freed as soon as nobody has them any more.

Knows each way in which a wait can end badly, of tasks and of workers. Until it is collected such a cycle keeps alive whatever the
frames of the trace hold: sockets, buffers, whole requests.
"""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from eventsock import (
    EventLoop,
    Meeting,
    MeetingClosed,
    TaskCancelled,
    TaskGroup,
    ThreadPool,
    a_sync,
    after,
    await_call,
    await_callback,
    await_choice,
    await_generator,
    await_generator_in_event_loop,
    await_generator_in_thread,
    await_generator_in_thread_pool,
    await_readable,
    await_sleep,
    await_task,
    await_task_in_event_loop,
    await_task_in_thread,
    await_task_in_thread_pool,
    await_timeout,
    await_yield,
    finished,
    in_thread,
    run,
    timeout,
)

Steps = Generator[Any, Any, Any]


class Surroundings:
    """A loop in another thread, two pools, a socket on which nothing comes."""

    def __init__(self) -> None:
        self.socket, self._peer = socket.socketpair()
        self.pools: list[Executor] = [ThreadPool(1), ThreadPoolExecutor(1)]
        self.gate = threading.Event()
        self.other = EventLoop(debug=False)
        self.other.block()
        self._thread = threading.Thread(target=self.other.run)
        self._thread.start()

    def close(self) -> None:
        self.other.close()
        self._thread.join(10)
        for pool in self.pools:
            pool.shutdown()
        self.socket.close()
        self._peer.close()


@pytest.fixture
def at() -> Iterator[Surroundings]:
    made = Surroundings()
    yield made
    made.close()


def fails(value: object = None) -> Any:
    raise ZeroDivisionError


def broken_row() -> Iterator[int]:
    yield 1
    raise ZeroDivisionError


def endless_row() -> Iterator[int]:
    while True:
        yield 1


def nothing(value: object) -> None:
    pass


def failing() -> Steps:
    yield from await_yield()
    raise ZeroDivisionError


def in_a_group() -> Steps:
    group = TaskGroup()
    for waitable in (failing, failing, lambda: await_sleep(60)):
        group.a_sync(waitable)
    yield from group.await_all()


async def in_a_block() -> None:
    async with TaskGroup() as group:
        group.a_sync(failing)
        await await_sleep(60)


def in_a_group_at_once() -> Steps:
    group = TaskGroup()
    group.a_sync(fails)
    yield from group.await_all()


async def failing_at_once() -> None:
    raise ZeroDivisionError


def in_limits(wait: Callable[[], Any]) -> Steps:
    with timeout(60), timeout(0), timeout(60):
        yield from wait()


def cancelled(wait: Callable[[], Any]) -> Steps:
    task = a_sync(wait)
    task.cancel()
    try:
        yield from task.await_result()
    finally:
        del task  # the way to it from its own error would be ours


def closed_meanwhile() -> Steps:
    meeting: Meeting[int] = Meeting()

    def close() -> Steps:
        yield from await_yield()
        meeting.close()

    a_sync(close)
    yield from await_choice(after(60), meeting.receiving())


# How each wait ends with an error.
_CASES: dict[str, Callable[[Surroundings], Any]] = {
    "a task": lambda at: a_sync(failing).await_result(),
    "a task that has failed before": lambda at: a_sync(fails).await_result(),
    "a task as an operation": lambda at: await_choice(after(60), finished(a_sync(failing))),
    "a task as the only operation": lambda at: finished(a_sync(failing)).await_(),
    "a task whose result is mapped": lambda at: await_choice(finished(a_sync(failing)).map(nothing), after(60)),
    "a function of a result": lambda at: await_choice(finished(a_sync(await_yield)).map(fails), after(60)),
    "a task that has failed before, as an operation": lambda at: await_choice(finished(a_sync(fails)), after(60)),
    "a task that has failed before, as the only operation": lambda at: finished(a_sync(fails)).await_(),
    "a task that has failed before, mapped": lambda at: await_choice(finished(a_sync(fails)).map(nothing), after(60)),
    "a post": lambda at: await_task(fails),
    "a timeout": lambda at: await_timeout(0, fails),
    "a generator": lambda at: await_generator(broken_row, nothing),
    "its procedure": lambda at: await_generator([1], fails),
    "a callback": lambda at: await_callback(lambda resume: resume.throw(ZeroDivisionError())),
    "a coroutine that has failed before": lambda at: a_sync(failing_at_once).await_result(),
    "a group": lambda at: in_a_group(),
    "a group in which a function fails": lambda at: in_a_group_at_once(),
    "a block": lambda at: in_a_block(),
    "a meeting": lambda at: closed_meanwhile(),
    "a thread": lambda at: await_task_in_thread(fails),
    "a thread as an operation": lambda at: await_choice(after(60), in_thread(fails)),
    "a handler of a thread's error": lambda at: await_task_in_thread(fails, fails),
    "a handler of the error of a row": lambda at: await_generator_in_thread(broken_row, nothing, fails),
    "a generator in a thread": lambda at: await_generator_in_thread(broken_row, nothing),
    "its procedure in the task": lambda at: await_generator_in_thread([1, 2], fails),
    "a pool": lambda at: await_task_in_thread_pool(at.pools[0], fails),
    "a generator in a pool": lambda at: await_generator_in_thread_pool(at.pools[0], broken_row, nothing),
    "another pool": lambda at: await_task_in_thread_pool(at.pools[1], fails),
    "a generator in another pool": lambda at: await_generator_in_thread_pool(at.pools[1], broken_row, nothing),
    "another loop": lambda at: await_task_in_event_loop(at.other, fails),
    "a generator in another loop": lambda at: await_generator_in_event_loop(at.other, broken_row, nothing),
}

_WAITS: dict[str, Callable[[Surroundings], Any]] = {
    "time": lambda at: await_sleep(60),
    "a post": lambda at: await_timeout(60, fails),
    "a descriptor": lambda at: await_readable(at.socket),
    "a callback": lambda at: await_callback(nothing),
    "a meeting": lambda at: Meeting[int]().await_receive(),
    "a choice": lambda at: await_choice(Meeting[int]().receiving(), after(60)),
    "a task": lambda at: a_sync(await_sleep, 0.001).await_result(),
    "a group": lambda at: in_a_group(),
    "a thread": lambda at: await_task_in_thread(partial(at.gate.wait, 10)),
    "another loop": lambda at: await_generator_in_event_loop(at.other, endless_row, nothing),
}

_CASES |= {f"{name}, cancelled": lambda at, wait=wait: cancelled(lambda: wait(at)) for name, wait in _WAITS.items()}  # type: ignore[misc]
_CASES |= {f"{name}, out of time": lambda at, wait=wait: in_limits(lambda: wait(at)) for name, wait in _WAITS.items()}  # type: ignore[misc]


@pytest.mark.parametrize("case", _CASES)
def test_what_goes_wrong_makes_no_cycle(at: Surroundings, case: str) -> None:
    def once() -> Steps:
        try:
            yield from await_call(_CASES[case], at)
        except (ZeroDivisionError, TaskCancelled, TimeoutError, MeetingClosed):
            return
        finally:
            at.gate.set()
            at.gate = threading.Event()
        pytest.fail("nothing went wrong")

    def often() -> Steps:
        for _ in range(3):
            yield from once()
            # What still runs elsewhere has to end.
            yield from await_sleep(0.01 if case.startswith(("a thread", "another")) else 0)

    def main() -> Steps:
        yield from often()
        gc.collect()
        gc.disable()
        try:
            yield from often()
            return gc.collect()
        finally:
            gc.enable()

    assert run(main) == 0
