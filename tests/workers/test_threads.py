"""A thread for one piece of work: its answer, its errors, its values in order and no faster than they are used."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from traceback import format_exception
from typing import Any

import pytest

from eventsock import (
    Cancelled,
    EventLoop,
    LoopStateError,
    Task,
    TaskCancelled,
    a_sync,
    await_generator_in_thread,
    await_sleep,
    await_task_in_thread,
    await_yield,
    in_thread,
    run,
)
from eventsock.workers.conveyor import Conveyor
from eventsock.workers.jobs import Job

Steps = Generator[Any, Any, Any]


def running() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop


@pytest.fixture
def late_errors(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What goes to `threading.excepthook`."""
    seen: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_value))
    return seen


class Gate:
    """Work that stands still until it is let through."""

    def __init__(self, value: object = None) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        self.ended = threading.Event()
        self._value = value

    def __call__(self) -> object:
        self.begun.set()
        try:
            assert self.open.wait(10)
            if isinstance(self._value, BaseException):
                raise self._value
            return self._value
        finally:
            self.ended.set()

    def await_begun(self) -> Steps:
        while not self.begun.is_set():
            yield from await_sleep(0.001)


# One answer


def test_it_runs_in_a_thread_named_after_it_while_the_loop_goes_on() -> None:
    gate = Gate(7)

    def ticks() -> Steps:
        yield from gate.await_begun()
        gate.open.set()

    def main() -> Steps:
        a_sync(ticks)
        assert (yield from await_task_in_thread(gate)) == 7
        return (yield from await_task_in_thread(lambda: threading.current_thread().name))

    assert run(main).endswith("<lambda>()")


def test_waiting_for_a_thread_keeps_the_loop_alive() -> None:
    gate = Gate(7)
    with EventLoop() as loop:
        task = a_sync(await_task_in_thread, gate, loop=loop)
        threading.Timer(0.01, gate.open.set).start()
        loop.run()
        assert task.result() == 7


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt, Cancelled, StopIteration])
def test_any_error_is_raised_at_the_await(error: type[BaseException]) -> None:
    def work() -> None:
        raise error

    def main() -> Steps:
        try:
            yield from await_task_in_thread(work)
        except error:
            return "raised here"
        except RuntimeError as raised:
            return type(raised.__cause__)

    # A StopIteration cannot leave a generator as it is.
    assert run(main) == (StopIteration if error is StopIteration else "raised here")


def fails_in_a_row() -> Iterator[int]:
    yield 1
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "await_with",
    [
        lambda handler: await_task_in_thread(fails, handler),
        lambda handler: await_generator_in_thread(fails_in_a_row, int, handler),
    ],
    ids=["a value", "a row"],
)
def test_an_error_of_the_handler_shows_the_workers_error_as_its_context(await_with: Callable[[Any], Any]) -> None:
    def handler(error: BaseException) -> None:
        try:
            raise LookupError
        except LookupError:
            raise KeyError

    def main() -> Steps:
        with pytest.raises(KeyError) as caught:
            yield from await_with(handler)
        lookup = caught.value.__context__
        assert isinstance(lookup, LookupError)
        worker = lookup.__context__
        assert isinstance(worker, ZeroDivisionError)
        assert worker.__context__ is None
        assert "in fails" in "".join(format_exception(worker))

    run(main)


def test_the_handler_runs_in_the_loops_thread_and_answers() -> None:
    def handler(error: BaseException) -> object:
        return type(error), threading.current_thread() is threading.main_thread()

    def main() -> Steps:
        seen = yield from await_task_in_thread(lambda: 1 / 0, handler)
        with pytest.raises(KeyError):
            yield from await_task_in_thread(lambda: 1 / 0, lambda error: dict[str, int]()["handler"])
        assert (yield from await_task_in_thread(lambda: 7, handler)) == 7
        return seen

    assert run(main) == (ZeroDivisionError, True)


@pytest.mark.parametrize("kind", [list, ZeroDivisionError])
def test_a_cancelled_waiter_leaves_the_thread_alone(kind: type[object], late_errors: list[BaseException]) -> None:
    work = kind()
    gate = Gate(work)

    def main() -> Steps:
        task = a_sync(await_task_in_thread, gate)
        yield from gate.await_begun()
        task.cancel()
        yield from await_yield()
        assert task.cancelled
        gate.open.set()
        while not gate.ended.is_set():
            yield from await_sleep(0.001)
        yield from await_sleep(0.005)

    run(main)
    assert late_errors == ([work] if isinstance(work, BaseException) else [])


def test_an_answer_on_its_way_is_delivered_before_the_cancellation() -> None:
    def waiter() -> Steps:
        seen.append((yield from await_task_in_thread(gate)))
        yield from await_sleep(60)

    def main() -> Steps:
        task = a_sync(waiter)
        yield from gate.await_begun()
        gate.open.set()
        gate.ended.wait(10)
        while not running().pending_posts:
            time.sleep(0.001)  # the loop stands still, so the answer is queued and not delivered
        task.cancel()
        with pytest.raises(TaskCancelled):
            yield from task.await_result()

    gate, seen = Gate(7), list[object]()
    run(main)
    assert seen == [7]


@pytest.mark.parametrize("kind", [list, ZeroDivisionError])
@pytest.mark.parametrize("end", ["quit", "close"])
def test_a_loop_that_ends_first(kind: type[object], end: str, late_errors: list[BaseException]) -> None:
    work = kind()
    gate, said = Gate(work), list[str]()

    def waiter() -> Steps:
        try:
            yield from await_task_in_thread(gate)
        finally:
            said.append("closed")

    with EventLoop() as loop:
        a_sync(waiter, loop=loop)
        loop.post(loop.quit if end == "quit" else loop.close)
        loop.run()
        gate.open.set()
        assert gate.ended.wait(10)
        for thread in threading.enumerate():
            if thread.name == "eventsock Gate()":
                thread.join(10)
        if end == "quit":
            loop.run()  # nothing of it comes later
    assert said == ["closed"]
    assert late_errors == ([work] if isinstance(work, BaseException) else [])


def test_a_thread_that_cannot_start_is_the_callers_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def main() -> Steps:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for refused in (await_task_in_thread(int), await_generator_in_thread([1], print), in_thread(int).await_()):
                with pytest.raises(RuntimeError, match="can't start"):
                    yield from refused
        return (yield from await_task_in_thread(lambda: 7))

    with EventLoop() as loop:
        task = a_sync(main, loop=loop)
        loop.run()
        assert task.result() == 7  # and nothing else has kept the loop alive


@pytest.mark.parametrize("procedure", [await_task_in_thread, lambda *args: await_generator_in_thread([], *args)])
def test_bad_arguments(procedure: Any) -> None:
    def main() -> Steps:
        with pytest.raises(TypeError, match="must be callable, not int"):
            yield from procedure(5)
        with pytest.raises(TypeError, match="handler must be callable, not str"):
            yield from procedure(int, "handler")
        yield from await_yield()

    run(main)
    with pytest.raises(LoopStateError, match="outside a task"):
        list(procedure(int))


def test_where_a_waiter_stands() -> None:
    gate = Gate()

    def main() -> Steps:
        task = a_sync(await_task_in_thread, gate)
        shown = task.where()
        gate.open.set()
        yield from task.await_result()
        return shown

    assert re.search(r"waits for a thread, Gate\(\), for \d+\.\d{3} s$", run(main), re.MULTILINE)


# A row of values


def test_values_come_in_order_as_they_are_yielded() -> None:
    proceed = threading.Semaphore(0)

    def row() -> Iterator[int]:
        for number in range(3):
            assert proceed.acquire(timeout=10)
            yield number

    def main() -> Steps:
        seen: list[int] = []

        def use(number: int) -> None:
            seen.append(number)
            assert threading.current_thread() is threading.main_thread()
            proceed.release()  # the next one is made only when this one has been used

        proceed.release()
        yield from await_generator_in_thread(row, use)
        return seen

    assert run(main) == [0, 1, 2]


def test_the_thread_waits_when_the_loop_falls_behind() -> None:
    made: list[int] = []

    def row() -> Iterator[int]:
        for number in range(200):
            made.append(number)
            yield number

    def main() -> Steps:
        ahead: list[int] = []

        def use(number: int) -> None:
            if number % 50 == 0:
                deadline = time.monotonic() + 10
                while len(made) < min(number + 33, 200) and time.monotonic() < deadline:
                    time.sleep(0.001)  # a busy loop: the row runs ahead as far as it may
                time.sleep(0.01)
            ahead.append(len(made) - number)

        yield from await_generator_in_thread(row, use)
        return max(ahead)

    # 32 on their way, and one in the generator's hand.
    assert 32 <= run(main) <= 34
    assert made == list(range(200))


def test_other_tasks_run_between_the_values() -> None:
    said: list[str] = []

    def other() -> Steps:
        while said.count("value") < 100:
            said.append("other")
            yield from await_yield()

    def main() -> Steps:
        a_sync(other)
        yield from await_generator_in_thread(lambda: iter(range(100)), lambda number: said.append("value"))

    run(main)
    longest = max(len(stretch) for stretch in " ".join(said).replace("value", "v").replace("other", "o").split(" o"))
    assert longest < 2 * 40


class Row:
    """An endless generator that tells when it has run ahead as far as it may, and when it was closed."""

    def __init__(self) -> None:
        self.full = threading.Event()
        self.closed = threading.Event()

    def __call__(self) -> Iterator[int]:
        try:
            number = 0
            while True:
                if number == 32:
                    self.full.set()
                yield number
                number += 1
        finally:
            self.closed.set()


def test_an_error_of_proc_closes_the_generator_in_its_thread() -> None:
    row = Row()

    def main() -> Steps:
        with pytest.raises(ZeroDivisionError):
            yield from await_generator_in_thread(row, lambda number: 1 // (3 - number))
        yield from await_yield()

    run(main)
    assert row.closed.wait(10)


def test_a_cancelled_waiter_closes_the_generator_also_while_it_waits_for_room() -> None:
    row = Row()

    def main() -> Steps:
        task = a_sync(await_generator_in_thread, row, lambda number: None)
        assert row.full.wait(10)
        time.sleep(0.01)  # the loop stands still, and the thread stands there by now
        task.cancel()
        with pytest.raises(TaskCancelled):
            yield from task.await_result()

    run(main)
    assert row.closed.wait(10)


@pytest.mark.parametrize("end", ["quit", "close"])
def test_a_loop_that_ends_closes_the_generator(end: str) -> None:
    row = Row()
    with EventLoop() as loop:
        a_sync(await_generator_in_thread, row, lambda number: number == 100 and (loop.quit if end == "quit" else loop.close)(), loop=loop)
        loop.run()
        assert row.closed.wait(10)


def test_an_error_of_the_generator_comes_after_its_values() -> None:
    def row() -> Iterator[int]:
        yield from range(100)
        raise ValueError("row")

    def main() -> Steps:
        seen: list[int] = []
        with pytest.raises(ValueError, match="row"):
            yield from await_generator_in_thread(row, seen.append)
        assert seen == list(range(100))
        handled: list[BaseException] = []
        yield from await_generator_in_thread(row, seen.append, handled.append)
        return [str(error) for error in handled]

    assert run(main) == ["row"]


def test_an_error_that_comes_too_late_is_reported(late_errors: list[BaseException]) -> None:
    gate = Gate(ValueError("too late"))

    def row() -> Iterator[object]:
        yield 1
        yield gate()

    def main() -> Steps:
        with pytest.raises(ZeroDivisionError):
            yield from await_generator_in_thread(row, lambda number: 1 / 0)
        gate.open.set()

    run(main)
    assert gate.ended.wait(10)
    deadline = time.monotonic() + 10
    while not late_errors and time.monotonic() < deadline:
        time.sleep(0.001)
    assert [str(error) for error in late_errors] == ["too late"]


def test_values_that_come_while_proc_steps_the_loop_wait_for_it() -> None:
    def main() -> Steps:
        seen: list[int] = []

        def use(number: int) -> None:
            if number in (0, 3):
                with running_loop.nested():
                    until = time.monotonic() + 10
                    while not full.is_set() and time.monotonic() < until:
                        running_loop.step(0.001)
                    running_loop.step()
            seen.append(number)

        def row() -> Iterator[int]:
            for number in range(40):
                if number == 32:
                    full.set()  # all that has room has been posted
                yield number

        running_loop, full = running(), threading.Event()
        yield from await_generator_in_thread(row, use)
        return seen

    assert run(main) == list(range(40))


def fails() -> list[int]:
    raise ZeroDivisionError


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("work", [list, fails])
@pytest.mark.parametrize("kind", [Job, Conveyor])
def test_an_answer_to_a_task_that_was_closed_just_then_is_no_loss(
    kind: Any, work: Any, again: bool, monkeypatch: pytest.MonkeyPatch, late_errors: list[BaseException]
) -> None:
    asked, go_on = threading.Event(), threading.Event()
    wanted = kind.wanted.fget

    def hesitates(waiting: Any) -> object:
        answer = wanted(waiting)
        asked.set()
        assert go_on.wait(10)
        return answer

    monkeypatch.setattr(kind, "wanted", property(hesitates))

    def end() -> None:
        assert asked.wait(10)
        loop.quit()

    with EventLoop() as loop:
        if kind is Job:
            a_sync(await_task_in_thread, work, loop=loop)
        else:
            a_sync(await_generator_in_thread, work, print, loop=loop)
        loop.post(end)
        loop.run()
        go_on.set()
        for thread in threading.enumerate():
            if thread.name.startswith("eventsock "):
                thread.join(10)
        assert loop.pending_posts == 1
        if again:
            loop.run()
        # And the loop is closed without a warning that something was not done.
    assert [type(error) for error in late_errors] == ([ZeroDivisionError] if work is fails else [])


def test_what_yields_nothing() -> None:
    def main() -> Steps:
        with pytest.raises(TypeError, match="generator must be a generator function or an iterable"):
            yield from await_generator_in_thread(int, print)  # type: ignore[arg-type]
        yield from await_generator_in_thread([], print)

    run(main)


# As an operation


def test_as_an_operation_it_gives_its_result_or_its_error() -> None:
    def main() -> Steps:
        with pytest.raises(ZeroDivisionError):
            yield from in_thread(lambda: 1 / 0).await_()
        operation = in_thread(lambda: 7).map(str)
        return (yield from operation.await_()), (yield from operation.await_())

    assert run(main) == ("7", "7")
    with pytest.raises(TypeError, match="thunk must be callable"):
        in_thread(7)  # type: ignore[arg-type]


def test_an_operation_that_loses_leaves_its_thread_alone(late_errors: list[BaseException]) -> None:
    from eventsock import after, await_choice

    gate = Gate(ValueError("lost"))

    def main() -> Steps:
        return (yield from await_choice(in_thread(gate), after(0.001).map(lambda nothing: "time")))

    assert run(main) == "time"
    gate.open.set()
    assert gate.ended.wait(10)
    deadline = time.monotonic() + 10
    while not late_errors and time.monotonic() < deadline:
        time.sleep(0.001)
    assert [str(error) for error in late_errors] == ["lost"]


# The end of the interpreter


def _program(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", text], capture_output=True, text=True, timeout=30, check=False)


def test_a_job_that_is_left_has_time_until_the_last_call_is_over() -> None:
    program = """
import threading, time, eventsock
def main():
    eventsock.a_sync(eventsock.await_task_in_thread, lambda: (time.sleep(0.1), print("done")))
    yield from eventsock.await_sleep(0.01)
eventsock.run(main)
print("main is over")
"""
    done = _program(program, "-X", "dev", "-W", "error")
    assert (done.stdout, done.stderr, done.returncode) == ("main is over\ndone\n", "", 0)


def test_a_stuck_job_is_named_and_left() -> None:
    program = """
import threading, eventsock
from eventsock.workers import last_call
last_call.LAST_CALL = 0.1
def stuck(): threading.Event().wait()
def main():
    eventsock.a_sync(eventsock.await_task_in_thread, stuck)
    yield from eventsock.await_sleep(0.01)
eventsock.run(main)
"""
    begun = time.monotonic()
    done = _program(program, "-X", "dev", "-W", "error")
    assert done.stderr == "eventsock: the thread of stuck() did not end within 0.1 s of the program's end and is left\n"
    assert (done.returncode, time.monotonic() - begun < 10) == (0, True)


def test_daemon_threads_that_post_to_a_dead_loop_at_exit_say_nothing() -> None:
    program = """
import threading, eventsock
loop = eventsock.set_default_event_loop()
def keep_posting():
    while True:
        try:
            loop.post(int)
        except eventsock.LoopClosedError:
            pass
        threading.Event().wait(0.0001)
threading.Thread(target=keep_posting, daemon=True).start()
loop.timeout_post(0.05, loop.quit, repeat=False)
loop.run()
"""
    for _ in range(3):
        done = _program(program)
        assert (done.returncode, done.stderr) == (0, "")
