"""Every `await_…` procedure of this room and of the workers', in a generator and in an `async def`: the same result, the same error.

Knows the face: a procedure that is not in the table below, and has no test of its own room, fails the last test.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest

import eventsock
from eventsock import (
    STOP_ITERATION,
    EventLoop,
    Meeting,
    MeetingClosed,
    TaskGroup,
    ThreadPool,
    a_sync,
    a_sync_read_watch,
    after,
    await_call,
    await_callback,
    await_choice,
    await_generator,
    await_generator_in_event_loop,
    await_generator_in_thread,
    await_generator_in_thread_pool,
    await_meeting_receive,
    await_meeting_send,
    await_readable,
    await_sleep,
    await_task,
    await_task_in_event_loop,
    await_task_in_thread,
    await_task_in_thread_pool,
    await_timeout,
    await_writable,
    await_yield,
    finished,
    get_resume,
    in_thread,
    make_coroutine,
    make_iterator,
    readable,
    run,
    timeout,
    writable,
)

Steps = Generator[Any, Any, Any]


class Surroundings:
    """What the procedures below need: a loop in another thread, a pool, a pipe with a byte in it, a place for values."""

    def __init__(self) -> None:
        self.values: list[object] = []
        self.pool = ThreadPool(1)
        self.other = EventLoop()
        self.other.block()
        self._thread = threading.Thread(target=self.other.run)
        self._thread.start()
        self.source, self.sink = os.pipe()
        os.write(self.sink, b"x")

    def handle(self, error: BaseException) -> None:
        self.values.append("handled")

    def close(self) -> None:
        self.pool.stop()
        self.other.close()
        self._thread.join(10)
        os.close(self.source)
        os.close(self.sink)


@pytest.fixture
def here() -> Iterator[Surroundings]:
    made = Surroundings()
    yield made
    made.close()


def seven() -> int:
    return 7


def fails() -> int:
    raise ZeroDivisionError


def row() -> Generator[int, None, None]:
    yield 1
    yield 2


def broken_row() -> Iterator[int]:
    yield 1
    raise ZeroDivisionError


def child() -> Steps:
    yield from await_yield()
    return 7


def failing_child() -> Steps:
    yield from await_yield()
    raise ZeroDivisionError


def group_of(waitable: Callable[[], Steps]) -> Any:
    group = TaskGroup()
    group.a_sync(waitable)
    return group.await_all()


def met_by(await_at: Callable[[Meeting[int]], Any]) -> Meeting[int]:
    """A meeting at which somebody comes in the next turn."""

    def other() -> Steps:
        yield from await_yield()
        yield from await_at(meeting)

    meeting: Meeting[int] = Meeting()
    a_sync(other)
    return meeting


def closed() -> Meeting[int]:
    meeting: Meeting[int] = Meeting()
    meeting.close()
    return meeting


Case = tuple[Callable[[Surroundings], Any], object, list[object]]

# Each procedure: how it is called, what it gives (or raises), and the values that it has handed on.
_CASES: dict[str, list[Case]] = {
    "await_yield": [(lambda at: await_yield(), None, [])],
    "await_sleep": [(lambda at: await_sleep(0.001), None, []), (lambda at: await_sleep(float("nan")), ValueError, [])],
    "await_callback": [
        (lambda at: await_callback(lambda resume: resume(7)), 7, []),
        (lambda at: await_callback(lambda resume: resume.throw(ZeroDivisionError())), ZeroDivisionError, []),
    ],
    "await_call": [
        (lambda at: await_call(child), 7, []),
        (lambda at: await_call(failing_child), ZeroDivisionError, []),
        (lambda at: await_call(seven), 7, []),
    ],
    "await_readable": [(lambda at: await_readable(at.source), None, []), (lambda at: await_readable(-1), OSError, [])],
    "await_writable": [(lambda at: await_writable(at.sink), None, []), (lambda at: await_writable(-1), OSError, [])],
    "await_task": [(lambda at: await_task(seven), 7, []), (lambda at: await_task(fails), ZeroDivisionError, [])],
    "await_timeout": [(lambda at: await_timeout(0.001, seven), 7, []), (lambda at: await_timeout(0, fails), ZeroDivisionError, [])],
    "await_generator": [
        (lambda at: await_generator(row, at.values.append), None, [1, 2]),
        (lambda at: await_generator(broken_row, at.values.append), ZeroDivisionError, [1]),
    ],
    "await_task_in_thread": [
        (lambda at: await_task_in_thread(seven), 7, []),
        (lambda at: await_task_in_thread(fails), ZeroDivisionError, []),
        (lambda at: await_task_in_thread(fails, lambda error: 8), 8, []),
    ],
    "await_generator_in_thread": [
        (lambda at: await_generator_in_thread(row, at.values.append), None, [1, 2]),
        (lambda at: await_generator_in_thread(broken_row, at.values.append), ZeroDivisionError, [1]),
        (
            lambda at: await_generator_in_thread(broken_row, at.values.append, lambda error: at.values.append("handled")),
            None,
            [1, "handled"],
        ),
    ],
    "await_task_in_event_loop": [
        (lambda at: await_task_in_event_loop(at.other, seven), 7, []),
        (lambda at: await_task_in_event_loop(at.other, fails), ZeroDivisionError, []),
    ],
    "await_generator_in_event_loop": [
        (lambda at: await_generator_in_event_loop(at.other, row, at.values.append), None, [1, 2]),
        (lambda at: await_generator_in_event_loop(at.other, broken_row, at.values.append), ZeroDivisionError, [1]),
    ],
    "await_task_in_thread_pool": [
        (lambda at: await_task_in_thread_pool(at.pool, seven), 7, []),
        (lambda at: await_task_in_thread_pool(at.pool, fails), ZeroDivisionError, []),
        (lambda at: await_task_in_thread_pool(at.pool, fails, lambda error: 8), 8, []),
    ],
    "await_generator_in_thread_pool": [
        (lambda at: await_generator_in_thread_pool(at.pool, row, at.values.append), None, [1, 2]),
        (lambda at: await_generator_in_thread_pool(at.pool, broken_row, at.values.append), ZeroDivisionError, [1]),
        (lambda at: await_generator_in_thread_pool(at.pool, row, lambda value: 1 // (2 - value)), ZeroDivisionError, []),
    ],
    "Task.await_result": [
        (lambda at: a_sync(child).await_result(), 7, []),
        (lambda at: a_sync(failing_child).await_result(), ZeroDivisionError, []),
    ],
    "TaskGroup.await_all": [(lambda at: group_of(child), None, []), (lambda at: group_of(failing_child), ZeroDivisionError, [])],
    "Operation.await_": [
        (lambda at: after(0.001).await_(), None, []),
        (lambda at: in_thread(seven).await_(), 7, []),
        (lambda at: in_thread(fails).await_(), ZeroDivisionError, []),
    ],
    "Meeting.await_send": [
        (lambda at: met_by(lambda meeting: meeting.await_receive()).await_send(7), None, []),
        (lambda at: closed().await_send(7), MeetingClosed, []),
    ],
    "Meeting.await_receive": [
        (lambda at: met_by(lambda meeting: meeting.await_send(7)).await_receive(), 7, []),
        (lambda at: closed().await_receive(), MeetingClosed, []),
        (lambda at: closed().await_receive(default=7), 7, []),
    ],
    "await_meeting_send": [
        (lambda at: await_meeting_send(7, Meeting(), met_by(lambda meeting: meeting.await_receive())), None, []),
        (lambda at: await_meeting_send(7), ValueError, []),
    ],
    "await_meeting_receive": [
        (lambda at: await_meeting_receive(Meeting(), met_by(lambda meeting: meeting.await_send(7))), 7, []),
        (lambda at: await_meeting_receive(Meeting(), closed()), MeetingClosed, []),
    ],
    "await_choice": [
        (lambda at: await_choice(Meeting[int]().sending(1), after(0.001).map(lambda nothing: 7)), 7, []),
        (lambda at: await_choice(met_by(lambda meeting: meeting.await_send(7)).receiving(), after(60)), 7, []),
        (lambda at: await_choice(after(60), met_by(lambda meeting: meeting.await_receive()).sending(1)), None, []),
        (lambda at: await_choice(after(60), readable(at.source).map(lambda nothing: 7)), 7, []),
        (lambda at: await_choice(after(60), writable(at.sink).map(lambda nothing: 7)), 7, []),
        (lambda at: await_choice(after(60), finished(a_sync(child))), 7, []),
        (lambda at: await_choice(finished(a_sync(failing_child)), after(60)), ZeroDivisionError, []),
        (lambda at: await_choice(after(60), in_thread(seven)), 7, []),
        (lambda at: await_choice(), ValueError, []),
    ],
}

# Procedures of other rooms, each with tests of its own there.
_ELSEWHERE = ("sockets.", "embed.")


@pytest.mark.parametrize("colour", ["generator", "async def", "alone"])
@pytest.mark.parametrize(("procedure", "number"), [(name, number) for name, cases in _CASES.items() for number in range(len(cases))])
def test_both_kinds_of_tasks_get_the_same(here: Surroundings, procedure: str, number: int, colour: str) -> None:
    make, expected, values = _CASES[procedure][number]

    def generator() -> Steps:
        return (yield from make(here))

    async def coroutine() -> object:
        made: Awaitable[object] = make(here)
        return await made

    waitable = {"generator": generator, "async def": coroutine, "alone": lambda: make(here)}[colour]
    if isinstance(expected, type) and issubclass(expected, BaseException):
        with pytest.raises(expected):
            run(waitable)
    else:
        assert run(waitable) == expected
    assert here.values == values


@pytest.mark.parametrize("procedure", _CASES)
def test_cancelled_at_each_of_its_suspensions(here: Surroundings, procedure: str) -> None:
    from eventsock.testing.sweep import cancel_sweep

    for make, expected, values in _CASES[procedure]:
        # An error that comes too late is reported (see test_threads), which is no matter here.
        if expected in (None, 7) and "handled" not in values:
            cancel_sweep(partial(make, here))


def test_the_rest_of_the_surface_in_an_async_def(here: Surroundings) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            await await_yield()
            yield number

    async def main() -> list[object]:
        seen: list[object] = [number async for number in numbers()]
        async with TaskGroup() as group:
            task = group.a_sync(child)
        seen.append(task.result())
        with pytest.raises(TimeoutError), timeout(0):
            await await_sleep(60)
        iterate = make_iterator(row)
        seen += [iterate(), iterate(), iterate() is STOP_ITERATION]
        _, value = make_coroutine(row)()
        return [*seen, value]

    assert run(main) == [0, 1, 2, 7, 1, 2, True, 1]


def test_raw_waits_and_the_watches_that_answer_them_are_for_generators(here: Surroundings) -> None:
    def watching() -> Steps:
        a_sync_read_watch(get_resume(), here.source, lambda status: os.read(here.source, 1))
        try:
            return (yield)
        finally:
            task = eventsock.Task.current()
            assert task is not None
            task.loop.remove_read_watch(here.source)

    async def main() -> object:
        return await await_call(watching)

    assert run(watching) == b"x"
    with pytest.raises(TypeError, match="works in generator tasks only"):
        run(main)


def test_every_await_procedure_has_its_case() -> None:
    rooms = {name: room for room, names in eventsock._ROOMS.items() for name in names.split()}
    ours = {name for name, room in rooms.items() if name.startswith("await_") and not room.startswith(_ELSEWHERE)}
    assert ours <= set(_CASES)
