"""The thread pool: sizes and counts as chez-a-sync and guile-a-sync2 have them, and the contract of an `Executor`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait

import pytest

from eventsock import PoolStopped, ThreadPool


class Gate:
    """Tasks that stand still until they are let through, so that counts can be looked at in between."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._entered = threading.Semaphore(0)

    def task(self) -> None:
        self._entered.release()
        assert self._open.wait(10)

    def await_entered(self, count: int) -> None:
        for _ in range(count):
            assert self._entered.acquire(timeout=10)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


@pytest.fixture
def pools() -> Iterator[Callable[..., ThreadPool]]:
    made: list[ThreadPool] = []

    def make(*args: int, **kwargs: float) -> ThreadPool:
        made.append(ThreadPool(*args, **kwargs))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for pool in made:
        pool.shutdown()


def eventually(pool: ThreadPool, threads: int) -> bool:
    """Whether the pool comes down to so many threads; it says when a thread ends, so this waits for that and not for time."""
    with pool._crew.changed:
        return pool._crew.changed.wait_for(lambda: len(pool._crew.threads) == threads, 10)


def test_size_threads_start_at_once(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(3)
    assert (pool.size, pool.max_threads, pool.min_threads, pool.threads, pool.tasks) == (3, 3, 3, 3, 0)


def test_tasks_counts_running_and_queued_exactly(pools: Callable[..., ThreadPool], gate: Gate) -> None:
    pool = pools(2)
    for _ in range(5):
        pool.add(gate.task)
    gate.await_entered(2)
    assert pool.tasks == 5
    gate.open()
    pool.stop()
    assert (pool.tasks, pool.threads) == (0, 0)


def test_tasks_start_in_the_order_they_were_added(pools: Callable[..., ThreadPool]) -> None:
    pool, seen = pools(1), list[int]()
    for number in range(50):
        pool.add(lambda number=number: seen.append(number))  # type: ignore[misc]
    pool.stop()
    assert seen == list(range(50))


def test_shrinking_is_exact_and_never_goes_below_one(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(5)
    pool.change_size(-3)
    assert eventually(pool, 2)
    assert (pool.size, pool.tasks) == (2, 0)
    pool.change_size(-4)
    assert eventually(pool, 1)
    assert (pool.size, pool.tasks) == (1, 0)


def test_a_busy_surplus_thread_ends_after_its_task(pools: Callable[..., ThreadPool], gate: Gate) -> None:
    pool = pools(2)
    pool.add(gate.task)
    pool.add(gate.task)
    gate.await_entered(2)
    pool.change_size(-1)
    assert (pool.size, pool.threads) == (1, 2)
    gate.open()
    assert eventually(pool, 1)


def test_growing_starts_threads_at_once(pools: Callable[..., ThreadPool], gate: Gate) -> None:
    pool = pools(1)
    pool.add(gate.task)
    pool.add(gate.task)
    gate.await_entered(1)
    pool.change_size(1)
    gate.await_entered(1)
    assert pool.threads == 2


def test_increment_lends_a_thread_for_the_block(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(1)
    with pool.increment():
        assert pool.size == 2
    assert pool.size == 1


def test_increment_gives_the_thread_back_after_an_error(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(1)
    with pytest.raises(ZeroDivisionError), pool.increment():
        divmod(1, 0)
    assert pool.size == 1


def test_threads_on_demand_with_min_max_and_idle(pools: Callable[..., ThreadPool], gate: Gate) -> None:
    pool = pools(min_threads=1, max_threads=3, idle=0.01)
    assert pool.threads == 1
    for _ in range(5):
        pool.add(gate.task)
    gate.await_entered(3)
    assert (pool.threads, pool.tasks) == (3, 5)
    gate.open()
    assert eventually(pool, 1)


def test_a_free_thread_is_used_before_a_new_one_is_started(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(min_threads=0, max_threads=8)
    for _ in range(20):
        assert pool.submit(threading.get_ident).result(10)
        wait([pool.submit(int)])
    assert pool.threads <= 2


def test_raising_the_maximum_serves_queued_tasks(pools: Callable[..., ThreadPool], gate: Gate) -> None:
    pool = pools(min_threads=0, max_threads=1)
    pool.add(gate.task)
    pool.add(gate.task)
    gate.await_entered(1)
    pool.change_size(1)
    gate.await_entered(1)
    assert pool.max_threads == 2


def test_after_stop_add_submit_stop_and_non_blocking_raise(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(1)
    pool.stop()
    for refused in (lambda: pool.add(int), lambda: pool.submit(int), pool.stop, lambda: setattr(pool, "non_blocking", True)):
        with pytest.raises(PoolStopped):
            refused()
    pool.change_size(3)
    assert (pool.size, pool.threads, pool.tasks, pool.non_blocking) == (1, 0, 0, False)


def test_stop_lets_queued_tasks_finish(pools: Callable[..., ThreadPool]) -> None:
    pool, done = pools(1), list[int]()
    for number in range(20):
        pool.add(lambda number=number: done.append(number))  # type: ignore[misc]
    pool.stop()
    assert len(done) == 20


def test_a_non_blocking_stop_returns_at_once(pools: Callable[..., ThreadPool], gate: Gate) -> None:
    pool = pools(1)
    pool.non_blocking = True
    pool.add(gate.task)
    pool.stop()
    assert pool.tasks == 1
    gate.open()
    assert eventually(pool, 0)


def test_stop_from_a_task_of_the_pool_does_not_wait_for_itself(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(1)
    pool.add(pool.stop)
    assert eventually(pool, 0)


def test_an_error_goes_to_the_handler_and_the_worker_lives_on(pools: Callable[..., ThreadPool]) -> None:
    pool, errors = pools(1), list[BaseException]()
    pool.add(lambda: 1 / 0, errors.append)
    pool.add(lambda: sys.exit(3), errors.append)
    assert pool.submit(int).result(10) == 0
    assert [type(error) for error in errors] == [ZeroDivisionError, SystemExit]
    assert (pool.threads, pool.size) == (1, 1)


def test_an_error_without_a_handler_goes_to_the_excepthook(pools: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[threading.ExceptHookArgs]()
    monkeypatch.setattr(threading, "excepthook", seen.append)
    pool = pools(1)
    pool.add(lambda: 1 / 0)
    pool.stop()
    assert [each.exc_type for each in seen] == [ZeroDivisionError]


def test_an_error_of_the_handler_goes_to_the_excepthook(pools: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[threading.ExceptHookArgs]()
    monkeypatch.setattr(threading, "excepthook", seen.append)

    def handler(error: BaseException) -> None:
        raise KeyError from error

    pool = pools(1)
    pool.add(lambda: 1 / 0, handler)
    pool.stop()
    assert [each.exc_type for each in seen] == [KeyError]


def test_it_is_an_executor(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(2)
    assert isinstance(pool, Executor)
    assert list(pool.map(pow, [2, 3], [3, 2])) == [8, 9]
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result(10)
    with pytest.raises(SystemExit):
        pool.submit(sys.exit, 3).result(10)
    with pool as same:
        assert same is pool
    assert pool.threads == 0
    pool.shutdown()


def test_shutdown_can_cancel_what_is_queued(pools: Callable[..., ThreadPool], gate: Gate) -> None:
    pool = pools(1)
    first: Future[None] = pool.submit(gate.task)
    gate.await_entered(1)
    second = pool.submit(int)
    pool.shutdown(wait=False, cancel_futures=True)
    assert second.cancelled()
    assert pool.tasks == 1
    gate.open()
    assert first.result(10) is None


def test_a_thread_that_cannot_start_is_the_callers_error(pools: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pools(min_threads=0, max_threads=2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            pool.add(int)
        with pytest.raises(RuntimeError, match="can't start"):
            ThreadPool(2)
        assert (pool.threads, pool.tasks) == (0, 0)
    assert pool.submit(int).result(10) == 0


def test_growing_that_fails_keeps_what_is_alive(pools: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pools(2)
    monkeypatch.setattr(threading.Thread, "start", _refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        pool.change_size(2)
    assert (pool.size, pool.threads) == (2, 2)


def test_a_further_thread_that_cannot_start_is_nobodys_error(
    pools: Callable[..., ThreadPool], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pools(min_threads=0, max_threads=2)
    pool.add(gate.task)
    gate.await_entered(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuse)
        waiting = pool.submit(int)  # for the one that is alive
    assert pool.tasks == 2
    gate.open()
    assert waiting.result(10) == 0


def _refuse(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    ("sizes", "error"),
    [
        ({"size": 0}, ValueError),
        ({"size": 1.5}, TypeError),
        ({"size": True}, TypeError),
        ({"max_threads": 0}, ValueError),
        ({"min_threads": -1}, ValueError),
        ({"min_threads": 3, "max_threads": 2}, ValueError),
        ({"size": 2, "max_threads": 2}, TypeError),
        ({"size": 2, "idle": -1}, ValueError),
        ({"size": 2, "idle": float("nan")}, ValueError),
    ],
)
def test_bad_sizes(sizes: dict[str, float], error: type[Exception]) -> None:
    with pytest.raises(error):
        ThreadPool(**sizes)  # type: ignore[arg-type]


def test_add_wants_callables(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(1)
    with pytest.raises(TypeError, match="task must be callable"):
        pool.add(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="fail_handler must be callable"):
        pool.add(int, 3)  # type: ignore[arg-type]


def test_what_was_accepted_is_done_before_the_interpreter_exits() -> None:
    program = "import time, eventsock\npool = eventsock.ThreadPool(1)\npool.add(lambda: (time.sleep(0.1), print('done')))\n"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert (ended.stdout, ended.stderr) == ("done\n", "")


def test_a_stuck_task_is_named_and_left_at_exit() -> None:
    program = (
        "import threading, eventsock\nfrom eventsock.workers import last_call\nlast_call.LAST_CALL = 0.1\n"
        "def stuck(): threading.Event().wait()\neventsock.ThreadPool(1).add(stuck)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stderr == "eventsock: a thread pool's stuck() did not end within 0.1 s of the program's end and is left\n"


def test_changes_want_numbers(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(1)
    for delta in (1.5, "1", True, None):
        with pytest.raises(TypeError, match="delta must be an int"):
            pool.change_size(delta)  # type: ignore[arg-type]
    for idle in ("5", True, None):
        with pytest.raises(TypeError, match="idle must be an int or a float"):
            pool.idle = idle  # type: ignore[assignment]


def test_an_infinite_idle_time(pools: Callable[..., ThreadPool]) -> None:
    pool = pools(min_threads=0, max_threads=1, idle=float("inf"))
    assert pool.submit(int).result(10) == 0
    assert pool.submit(int).result(10) == 0
    assert pool.threads == 1


def test_a_pool_that_is_dropped_warns_and_does_what_it_has(gate: Gate) -> None:
    pool = ThreadPool(1)
    done = threading.Event()
    pool.add(gate.task)
    pool.add(done.set)
    gate.await_entered(1)
    with pytest.warns(ResourceWarning, match="dropped without stop"):
        del pool
    gate.open()
    assert done.wait(10)


def test_the_end_of_a_with_block_waits_unless_the_pool_is_non_blocking(gate: Gate) -> None:
    with ThreadPool(1, non_blocking=True) as pool:
        pool.add(gate.task)
        gate.await_entered(1)
    assert pool.tasks == 1
    gate.open()
    assert eventually(pool, 0)


def test_random_changes_keep_the_counts_exact(pools: Callable[..., ThreadPool]) -> None:
    chance = random.Random(5)
    pool, done = pools(2), list[int]()
    size = 2
    for number in range(500):
        pool.add(lambda number=number: done.append(number))  # type: ignore[misc]
        if chance.random() < 0.1:
            delta = chance.randint(-3, 3)
            pool.change_size(delta)
            size = max(1, size + delta)
            assert pool.size == size
        assert 0 <= pool.tasks <= 501
    wait([pool.submit(int)])
    assert eventually(pool, size)
    pool.stop()
    assert (pool.tasks, pool.threads, sorted(done)) == (0, 0, list(range(500)))


def test_stop_twice_at_once_one_wins(pools: Callable[..., ThreadPool]) -> None:
    for _ in range(20):
        pool, outcomes = pools(1), list[str]()

        def stop(pool: ThreadPool = pool, outcomes: list[str] = outcomes) -> None:
            try:
                pool.stop()
                outcomes.append("stopped")
            except PoolStopped:
                outcomes.append("refused")

        threads = [threading.Thread(target=stop) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(outcomes) == ["refused", "stopped"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_a_forked_child_the_pool_is_stopped() -> None:
    program = """
import os, eventsock
pool = eventsock.ThreadPool(2)
pool.submit(int).result()
child = os.fork()
if child == 0:
    try:
        pool.submit(int)
    except eventsock.PoolStopped:
        os._exit(7 if (pool.threads, pool.tasks) == (0, 0) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert pool.submit(int).result() == 0
pool.stop()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
