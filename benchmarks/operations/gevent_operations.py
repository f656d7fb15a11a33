"""gevent's operations, on its hub (libev)."""

from __future__ import annotations

import random
import threading

import gevent
import gevent.event
import gevent.queue
import gevent.threadpool

import stopwatch
from stopwatch import Stopwatch

BATCH = 100
FAR = 3600.0  # seconds
CHILDREN = 100


def switch(watch: Stopwatch, tasks: int, count: int) -> int:
    rounds = max(1, count // tasks)

    def spin() -> None:
        for _ in range(rounds):
            gevent.sleep(0)

    spinners = [gevent.spawn(spin) for _ in range(tasks)]
    with watch:
        gevent.joinall(spinners)
    return rounds * tasks


def start(watch: Stopwatch, _: int, count: int) -> int:
    rounds = max(1, count // CHILDREN)
    with watch:
        for _ in range(rounds):
            gevent.joinall([gevent.spawn(gevent.sleep, 0) for _ in range(CHILDREN)])
    return rounds * CHILDREN


def hand_over(watch: Stopwatch, _: int, count: int) -> None:
    channel = gevent.queue.Channel()

    def produce() -> None:
        for number in range(count):
            channel.put(number)

    producer = gevent.spawn(produce)
    with watch:
        for _ in range(count):
            channel.get()
    producer.join()


def timeout_cancelled(watch: Stopwatch, live: int, count: int) -> int:
    loop = gevent.get_hub().loop
    kept = [loop.timer(FAR + random.random()) for _ in range(live)]
    for timer in kept:
        timer.start(int)
    rounds = max(1, count // BATCH)
    with watch:
        for _ in range(rounds):
            for _ in range(BATCH):
                timer = loop.timer(10.0)
                timer.start(int)
                timer.close()
            gevent.sleep(0)
    for timer in kept:
        timer.close()
    return rounds * BATCH


def sleepers(watch: Stopwatch, tasks: int, count: int) -> None:
    chance = random.Random(1)
    with watch:
        gevent.joinall([gevent.spawn(gevent.sleep, 0.1 + 0.9 * chance.random()) for _ in range(tasks)])


def post(watch: Stopwatch, _: int, count: int) -> int:
    loop = gevent.get_hub().loop
    rounds = max(1, count // BATCH)
    with watch:
        for _ in range(rounds):
            for _ in range(BATCH):
                loop.run_callback(int)
            gevent.sleep(0)
    return rounds * BATCH


def post_burst(watch: Stopwatch, _: int, count: int) -> None:
    loop = gevent.get_hub().loop
    ended = gevent.event.Event()
    left = count

    def arrived() -> None:
        nonlocal left
        left -= 1
        if not left:
            ended.set()

    def burst() -> None:
        for _ in range(count):
            loop.run_callback_threadsafe(arrived)

    thread = threading.Thread(target=burst)
    with watch, kept_awake():
        thread.start()
        ended.wait()
    thread.join()


def post_waking(watch: Stopwatch, _: int, count: int) -> None:
    loop = gevent.get_hub().loop
    ended = gevent.event.Event()
    gate = threading.Lock()
    gate.acquire()

    def one_by_one() -> None:
        for _ in range(count):
            loop.run_callback_threadsafe(gate.release)
            gate.acquire()
        loop.run_callback_threadsafe(ended.set)

    thread = threading.Thread(target=one_by_one)
    with watch, kept_awake():
        thread.start()
        ended.wait()
    thread.join()


def kept_awake() -> gevent.Timeout:
    """A hub that waits for nothing but another thread takes that for a deadlock; a far timer is something to wait for."""
    return gevent.Timeout(FAR)


def thread_hand_over(watch: Stopwatch, _: int, count: int) -> None:
    pool = gevent.threadpool.ThreadPool(1)
    pool.apply(int)
    with watch:
        for _ in range(count):
            pool.apply(int)
    pool.kill()


def task_memory(watch: Stopwatch, tasks: int, count: int) -> None:
    before = stopwatch.private_bytes()
    sleeping = [gevent.spawn(gevent.sleep, FAR) for _ in range(tasks)]
    gevent.sleep(0.01)
    watch.grew_since(before)
    gevent.killall(sleeping)


if __name__ == "__main__":
    operations = [switch, start, hand_over, timeout_cancelled, post, post_burst, post_waking, thread_hand_over]
    stopwatch.main({f.__name__: f for f in operations} | {f.__name__: stopwatch.once(f) for f in (sleepers, task_memory)})
