"""Work for a pool, and for any other executor: threads, processes, and one that works at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import resource
import stat
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from eventsock import (
    EventLoop,
    PoolStopped,
    Task,
    TaskCancelled,
    ThreadPool,
    a_sync,
    await_generator_in_thread_pool,
    await_sleep,
    await_task_in_thread_pool,
    await_yield,
    run,
    timeout,
)

Steps = Generator[Any, Any, Any]


class AtOnce(Executor):
    """Works within `submit`, in the thread that calls it."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


# Before anything that looks what each test leaves behind: its processes outlive the tests, and so does their tracker.
@pytest.fixture(scope="module", autouse=True)
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as made:
        made.submit(int).result()  # so that its threads and pipes are there before the first test
        yield made


@pytest.fixture(params=["ThreadPool", "ThreadPoolExecutor", "processes", "AtOnce"])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "processes":
        yield request.getfixturevalue("processes")
        return
    kinds: dict[str, Callable[[], Executor]] = {
        "ThreadPool": lambda: ThreadPool(2),
        "ThreadPoolExecutor": lambda: ThreadPoolExecutor(2),
        "AtOnce": AtOnce,
    }
    with kinds[request.param]() as made:
        yield made


# These are found by a process under their names.


def seven() -> int:
    return 7


def divides() -> float:
    return 1 / 0


def row() -> Iterator[int]:
    yield from range(100)


def broken_row() -> Iterator[int]:
    yield 1
    raise ValueError("row")


def unspeakable_row() -> Iterator[object]:
    yield 1
    yield lambda: None


class Trap:
    def __reduce__(self) -> Any:
        return fall, ()


def fall() -> None:
    raise EOFError("made so")


def row_of_traps() -> Iterator[object]:
    yield 1
    yield Trap()


def cancels() -> list[int]:
    raise CancelledError("of its own")


def endless_row() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def exits() -> list[int]:
    os._exit(3)


def test_one_answer(pool: Executor) -> None:
    def main() -> Steps:
        assert (yield from await_task_in_thread_pool(pool, seven)) == 7
        with pytest.raises(ZeroDivisionError):
            yield from await_task_in_thread_pool(pool, divides)
        return (yield from await_task_in_thread_pool(pool, divides, lambda error: type(error)))

    assert run(main) is ZeroDivisionError


def test_a_row_of_values(pool: Executor) -> None:
    def main() -> Steps:
        seen: list[int] = []
        yield from await_generator_in_thread_pool(pool, row, seen.append)
        assert seen == list(range(100))
        with pytest.raises(ValueError, match="row"):
            yield from await_generator_in_thread_pool(pool, broken_row, seen.append)
        assert seen[100:] == [1]
        handled: list[BaseException] = []
        yield from await_generator_in_thread_pool(pool, broken_row, seen.append, handled.append)
        with pytest.raises(ZeroDivisionError):
            yield from await_generator_in_thread_pool(pool, row, lambda number: 1 // (3 - number))
        return [str(error) for error in handled]

    assert run(main) == ["row"]


def test_an_endless_row_is_closed_by_a_time_limit(pool: Executor) -> None:
    def main() -> Steps:
        with pytest.raises(TimeoutError), timeout(0.05):
            yield from await_generator_in_thread_pool(pool, endless_row, lambda number: None)
        # And the worker is free again.
        return (yield from await_task_in_thread_pool(pool, seven))

    assert run(main) == 7


def test_no_executor() -> None:
    def main() -> Steps:
        for refused in (await_task_in_thread_pool(5, seven), await_generator_in_thread_pool(5, row, print)):  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="Executor, not int"):
                yield from refused
        yield from await_yield()

    run(main)


def test_a_stopped_pool_refuses_before_the_wait() -> None:
    def main() -> Steps:
        pool = ThreadPool(1)
        pool.stop()
        for refused in (await_task_in_thread_pool(pool, seven), await_generator_in_thread_pool(pool, row, print)):
            with pytest.raises(PoolStopped):
                yield from refused
        executor = ThreadPoolExecutor(1)
        executor.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            yield from await_task_in_thread_pool(executor, seven)

    with EventLoop() as loop:
        task = a_sync(main, loop=loop)
        assert task.done


@pytest.mark.parametrize("kind", [ThreadPool, ThreadPoolExecutor])
def test_queued_work_of_a_cancelled_waiter_is_not_done(kind: Any) -> None:
    ran: list[str] = []

    def main() -> Steps:
        begun, release = threading.Event(), threading.Event()

        def first() -> None:
            begun.set()
            release.wait(10)

        with kind(1) as pool:
            working = a_sync(await_task_in_thread_pool, pool, first)
            while not begun.is_set():
                yield from await_sleep(0.001)
            waiting = [
                a_sync(await_task_in_thread_pool, pool, lambda: ran.append("task")),
                a_sync(await_generator_in_thread_pool, pool, lambda: ran.append("row"), print),
            ]
            for task in waiting:
                task.cancel()
            yield from await_yield()
            release.set()
            yield from working.await_result()
            assert all(task.cancelled for task in waiting)
            if isinstance(pool, ThreadPool):
                yield from await_task_in_thread_pool(pool, int)
                assert pool.threads == 1

    run(main)
    assert ran == []


def test_work_that_the_pool_cancels_is_the_waiters_error() -> None:
    def main() -> Steps:
        begun, release = threading.Event(), threading.Event()

        def first() -> None:
            begun.set()
            release.wait(10)

        pool = ThreadPool(1)
        pool.add(first)
        begun.wait(10)
        waiting = [
            a_sync(catches, await_task_in_thread_pool(pool, seven)),
            a_sync(catches, await_generator_in_thread_pool(pool, row, print)),
        ]
        pool.shutdown(wait=False, cancel_futures=True)
        answers = []
        for task in waiting:
            answers.append((yield from task.await_result()))
        release.set()
        pool.shutdown()
        return answers

    def catches(work: Any) -> Steps:
        try:
            yield from work
        except PoolStopped as error:
            return str(error)

    assert run(main) == ["the pool cancelled seven()", "the pool cancelled row()"]


def test_what_cannot_be_pickled(processes: Executor) -> None:
    # Which error it is, and what it says, is the affair of each Python version.
    errors = (pickle.PicklingError, AttributeError, TypeError)

    def main() -> Steps:
        for refused in (
            await_task_in_thread_pool(processes, lambda: 7),
            await_generator_in_thread_pool(processes, lambda: iter([1]), print),
        ):
            with pytest.raises(errors, match="lambda"):
                yield from refused
        seen: list[object] = []
        with pytest.raises(errors, match="lambda"):
            yield from await_generator_in_thread_pool(processes, unspeakable_row, seen.append)
        assert seen == [1]
        return (yield from await_task_in_thread_pool(processes, seven))

    assert run(main) == 7


class Gate(Executor):
    """Refuses, but only when it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        assert self.open.wait(10)
        raise ValueError("refused")


def test_a_row_that_never_begins_ends_also_where_no_descriptor_is_left() -> None:
    gate = Gate()

    def main() -> Steps:
        waiting = a_sync(await_generator_in_thread_pool, gate, row, print)
        # Who accepts has the descriptor for it from the beginning.
        while not any(frame.f_code.co_name == "accept" for frame in sys._current_frames().values()):
            yield from await_sleep(0.001)
        yield from await_sleep(0.01)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        gate.open.set()
        try:
            with pytest.raises(ValueError, match="refused"), timeout(10):
                yield from waiting.await_result()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    run(main)


def sockets() -> set[int]:
    """The numbers of all open sockets."""
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}") and is_socket(int(name))}


def is_socket(fd: int) -> bool:
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="nobody tells which descriptors are open")
def test_a_process_is_told_the_end_though_a_forked_one_has_the_socket_too(processes: Executor) -> None:
    before = sockets()

    def main() -> Steps:
        begun: list[int] = []
        task = a_sync(await_generator_in_thread_pool, processes, endless_row, begun.append)
        while not begun:
            yield from await_sleep(0.001)
        inherited = [os.dup(fd) for fd in sockets() - before]  # as far as the socket can tell, this is what a fork does
        try:
            task.cancel()
            with timeout(10):
                return (yield from await_task_in_thread_pool(processes, seven))
        finally:
            for fd in inherited:
                os.close(fd)

    assert run(main) == 7


def test_an_error_in_the_midst_of_unpickling(processes: Executor) -> None:
    def main() -> Steps:
        seen: list[object] = []
        with pytest.raises(EOFError, match="made so"):
            yield from await_generator_in_thread_pool(processes, row_of_traps, seen.append)
        assert seen == [1]
        return (yield from await_task_in_thread_pool(processes, seven))

    assert run(main) == 7


def test_an_error_of_its_own_that_looks_like_the_pools(pool: Executor) -> None:
    def main() -> Steps:
        for work in (
            await_task_in_thread_pool(pool, cancels),
            await_generator_in_thread_pool(pool, cancels, print),
        ):
            with pytest.raises(CancelledError, match="of its own"):
                yield from work

    run(main)


@pytest.mark.parametrize("row_of_values", [False, True])
def test_a_process_that_dies(row_of_values: bool) -> None:
    def main(pool: Executor) -> Steps:
        work: Any = await_generator_in_thread_pool(pool, exits, print) if row_of_values else await_task_in_thread_pool(pool, exits)
        with pytest.raises(BrokenProcessPool):
            yield from work

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        run(main, pool)


def test_a_cancelled_row_in_a_busy_process_pool_is_given_up(processes: Executor) -> None:
    def main() -> Steps:
        begun = a_sync(await_generator_in_thread_pool, processes, endless_row, lambda number: None)
        # Queued behind the endless one, of which the executor hands out one more than there are processes.
        queued = [a_sync(await_generator_in_thread_pool, processes, row, lambda number: None) for _ in range(4)]
        yield from await_sleep(0.05)
        for task in queued:
            task.cancel()
        yield from await_sleep(0.01)
        begun.cancel()
        for task in [begun, *queued]:
            with pytest.raises(TaskCancelled):
                yield from task.await_result()
        return (yield from await_task_in_thread_pool(processes, seven))

    assert run(main) == 7
    for thread in threading.enumerate():
        if thread.name.startswith("eventsock "):
            thread.join(10)
            assert not thread.is_alive()


def test_where_a_waiter_stands() -> None:
    def main() -> Steps:
        with ThreadPool(1) as pool:
            task = a_sync(await_task_in_thread_pool, pool, seven)
            shown = task.where()
            yield from task.await_result()
        assert Task.current() is not None
        return shown

    assert re.search(r"waits for a thread pool, seven\(\), for \d+\.\d{3} s$", run(main), re.MULTILINE)
