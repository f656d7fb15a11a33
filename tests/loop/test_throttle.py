"""A foreign thread that posts too fast is slowed down; nobody else is."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from eventsock import EventLoop
from eventsock.loop.throttle import Throttle, throttle_for
from loop_kit import MakeLoop, chain, in_thread


class _Measured:
    """Stands in for the lock that a poster waits for: remembers how long it was asked to."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def acquire(self, timeout: float) -> bool:
        self.waits.append(timeout)
        return False


@pytest.mark.parametrize(("pending", "wait"), [(0, None), (3, None), (4, 0.001), (5, 0.001 * 1.25**3), (8, 0.008), (40, 1.0), (10**6, 1.0)])
def test_sleep_is_the_cube_of_the_load_at_most_one_second(pending: int, wait: float | None) -> None:
    throttle = Throttle(4, 0.001)
    throttle._gate = measured = _Measured()  # type: ignore[assignment]
    throttle.slow_down(pending)
    assert measured.waits == ([] if wait is None else [pytest.approx(wait)])


def test_neither_or_both() -> None:
    assert throttle_for(None, None) is None
    with pytest.raises(ValueError, match="together or not at all"):
        throttle_for(1, None)


def _blocked(loop: EventLoop, posts: int) -> float:
    """How long a foreign thread needs for `posts` posts while a callback holds the loop up."""
    took: list[float] = []

    def works() -> None:
        started = time.monotonic()
        for _ in range(posts):
            loop.post(int)
        took.append(time.monotonic() - started)

    def stands() -> None:
        with in_thread(works):
            pass

    loop.post(stands)
    loop.run()
    return took[0]


def test_foreign_thread_is_slowed_down_while_the_loop_runs(make_loop: MakeLoop) -> None:
    loop = make_loop(throttle_threshold=2, throttle_delay=0.01)
    # Two posts are one load, three 1.5 loads: 1 + 3.375 + 8 hundredths of a second.
    assert 0.12 <= _blocked(loop, 4) < 1.5


def test_the_loops_own_thread_is_not(make_loop: MakeLoop) -> None:
    loop = make_loop(throttle_threshold=1, throttle_delay=1)
    started = time.monotonic()
    loop.post(chain(*[partial(loop.post, int)] * 50))
    loop.run()
    assert time.monotonic() - started < 0.9


def test_nobody_is_before_and_after_a_run(make_loop: MakeLoop) -> None:
    loop = make_loop(throttle_threshold=1, throttle_delay=1)
    started = time.monotonic()
    for _ in range(2):
        with in_thread(chain(*[partial(loop.post, int)] * 50)):
            pass
        loop.run()
    assert time.monotonic() - started < 0.9


def test_without_options_nobody_is(loop: EventLoop) -> None:
    assert _blocked(loop, 5000) < 1.0


def test_no_longer_than_the_loop_lives(make_loop: MakeLoop) -> None:
    loop = make_loop(throttle_threshold=1, throttle_delay=1)
    took: list[float] = []
    threads: list[threading.Thread] = []

    def works() -> None:
        started = time.monotonic()
        loop.post(int)
        took.append(time.monotonic() - started)

    def quits() -> None:
        loop.post(int)
        threads.append(threading.Thread(target=works))
        threads[0].start()
        while loop.pending_posts < 2:
            time.sleep(0.001)
        loop.quit()

    loop.post(quits)
    loop.run()
    threads[0].join()
    assert took[0] < 0.9


def test_a_thread_that_is_slowed_down_has_posted_already(make_loop: MakeLoop) -> None:
    loop = make_loop(throttle_threshold=1, throttle_delay=0.3)
    order: list[str] = []
    threads: list[threading.Thread] = []

    def works() -> None:
        loop.post(lambda: order.append("ran"))
        order.append("returned")

    def starts() -> None:
        threads.append(threading.Thread(target=works))
        threads[0].start()
        while not loop.pending_posts:
            time.sleep(0.001)
        time.sleep(0.02)

    loop.timeout_post(0.5, threading.Event, repeat=False)
    loop.post(starts)
    loop.run()
    threads[0].join()
    assert order == ["ran", "returned"]


def test_a_stepped_loop_slows_down_as_well(make_loop: MakeLoop) -> None:
    loop = make_loop(throttle_threshold=1, throttle_delay=0.05)
    loop.block()
    loop.step()
    started = time.monotonic()
    with in_thread(lambda: loop.post(int)):
        pass
    assert time.monotonic() - started >= 0.05
    loop.block(False)
    loop.run()


def test_throttle_can_begin_twice_and_end_twice() -> None:
    throttle = Throttle(1, 1)
    throttle.end()
    throttle.begin()
    throttle.begin()
    throttle.end()
    throttle.end()
    started = time.monotonic()
    throttle.slow_down(100)
    assert time.monotonic() - started < 0.5
