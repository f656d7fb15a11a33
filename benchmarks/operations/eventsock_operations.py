"""The same operations with eventsock, and those only it has: choice beside plain receive, one thread per job."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Generator
from typing import Any

import stopwatch
from eventsock import EventLoop, Task, a_sync, await_callback, await_sleep, await_yield, run
from stopwatch import Stopwatch

BATCH = 100
FAR = 3600.0  # seconds
CHILDREN = 100

Steps = Generator[Any, Any, None]
Body = Callable[[Stopwatch, int, int], Generator[Any, Any, Any]]


def switch(watch: Stopwatch, tasks: int, count: int) -> int:
    rounds = max(1, count // tasks)

    def spin() -> Steps:
        for _ in range(rounds):
            yield from await_yield()

    with EventLoop() as loop:
        for _ in range(tasks):
            a_sync(spin, loop=loop)
        with watch:
            loop.run()
    return rounds * tasks


def switch_async(watch: Stopwatch, tasks: int, count: int) -> int:
    rounds = max(1, count // tasks)

    async def spin() -> None:
        for _ in range(rounds):
            await await_yield()

    with EventLoop() as loop:
        for _ in range(tasks):
            a_sync(spin, loop=loop)
        with watch:
            loop.run()
    return rounds * tasks


def start(watch: Stopwatch, _: int, count: int) -> Generator[Any, Any, int]:
    rounds = max(1, count // CHILDREN)

    def child() -> Steps:
        yield from await_yield()

    with watch:
        for _ in range(rounds):
            for task in [a_sync(child) for _ in range(CHILDREN)]:
                yield from task.await_result()
    return rounds * CHILDREN


def hand_over(watch: Stopwatch, _: int, count: int) -> None:
    from eventsock import Meeting

    meeting: Meeting[int] = Meeting()

    def produce() -> Steps:
        for number in range(count):
            yield from meeting.await_send(number)

    def consume() -> Steps:
        for _ in range(count):
            yield from meeting.await_receive()

    with EventLoop() as loop:
        a_sync(produce, loop=loop)
        a_sync(consume, loop=loop)
        with watch:
            loop.run()


def two_meetings(watch: Stopwatch, count: int, way: str) -> None:
    from eventsock import Meeting, await_choice, await_meeting_receive

    one: Meeting[int] = Meeting()
    other: Meeting[int] = Meeting()
    both = (one, other)

    def produce() -> Steps:
        for number in range(count):
            yield from both[number & 1].await_send(number)

    def plain() -> Steps:
        for number in range(count):
            yield from both[number & 1].await_receive()

    def either() -> Steps:
        for _ in range(count):
            yield from await_meeting_receive(one, other)

    def choice() -> Steps:
        for _ in range(count):
            yield from await_choice(one.receiving(), other.receiving())

    with EventLoop() as loop:
        a_sync(produce, loop=loop)
        a_sync({"plain": plain, "either": either, "choice": choice}[way], loop=loop)
        with watch:
            loop.run()


def receive_plain(watch: Stopwatch, _: int, count: int) -> None:
    two_meetings(watch, count, "plain")


def receive_either(watch: Stopwatch, _: int, count: int) -> None:
    two_meetings(watch, count, "either")


def receive_choice(watch: Stopwatch, _: int, count: int) -> None:
    two_meetings(watch, count, "choice")


def in_task(body: Body) -> stopwatch.Operation:
    """Run the body as a task, so that starting and ending a loop stay outside of what is measured."""

    def operation(watch: Stopwatch, size: int, count: int) -> Any:
        return run(body, watch, size, count)

    operation.__name__ = body.__name__
    return operation


def own_loop() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop


def timeout_cancelled(watch: Stopwatch, live: int, count: int) -> Generator[Any, Any, int]:
    rounds = max(1, count // BATCH)
    loop = own_loop()
    kept = [loop.timeout_post(FAR + random.random(), print, repeat=False) for _ in range(live)]
    yield from await_yield()  # so that they are in the heap, where asyncio has them from the start
    with watch:
        for _ in range(rounds):
            for _ in range(BATCH):
                loop.timeout_remove(loop.timeout_post(10.0, print, repeat=False))
            yield from await_yield()
    for timeout in kept:
        loop.timeout_remove(timeout)
    return rounds * BATCH


def timeout_fired(watch: Stopwatch, live: int, count: int) -> Generator[Any, Any, int]:
    rounds = max(1, count // BATCH)
    loop = own_loop()
    kept = [loop.timeout_post(FAR + random.random(), print, repeat=False) for _ in range(live)]

    def set_batch(resume: Callable[[], object]) -> None:
        for _ in range(BATCH - 1):
            loop.timeout_post(0.0, int, repeat=False)
        loop.timeout_post(0.0, resume, repeat=False)

    yield from await_yield()
    with watch:
        for _ in range(rounds):
            yield from await_callback(set_batch)
    for timeout in kept:
        loop.timeout_remove(timeout)
    return rounds * BATCH


def sleepers(watch: Stopwatch, tasks: int, count: int) -> None:
    chance = random.Random(1)
    with EventLoop() as loop, watch:
        for _ in range(tasks):
            a_sync(await_sleep, 0.1 + 0.9 * chance.random(), loop=loop)
        loop.run()


def post(watch: Stopwatch, _: int, count: int) -> Generator[Any, Any, int]:
    rounds = max(1, count // BATCH)
    loop = own_loop()
    with watch:
        for _ in range(rounds):
            for _ in range(BATCH):
                loop.post(int)
            yield from await_yield()
    return rounds * BATCH


def post_burst(watch: Stopwatch, _: int, count: int) -> None:
    left = count

    def arrived() -> None:
        nonlocal left
        left -= 1
        if not left:
            loop.block(False)

    def burst() -> None:
        foreign_post = loop.post
        for _ in range(count):
            foreign_post(arrived)

    with EventLoop() as loop:
        loop.block()
        thread = threading.Thread(target=burst)
        with watch:
            thread.start()
            loop.run()
        thread.join()


def post_waking(watch: Stopwatch, _: int, count: int) -> None:
    gate = threading.Lock()
    gate.acquire()

    def one_by_one() -> None:
        for _ in range(count):
            loop.post(gate.release)
            gate.acquire()
        loop.block(False)

    with EventLoop() as loop:
        loop.block()
        thread = threading.Thread(target=one_by_one)
        with watch:
            thread.start()
            loop.run()
        thread.join()


def thread_hand_over(watch: Stopwatch, _: int, count: int) -> Steps:
    from eventsock import ThreadPool, await_task_in_thread_pool

    pool = ThreadPool(1)
    yield from await_task_in_thread_pool(pool, int)
    with watch:
        for _ in range(count):
            yield from await_task_in_thread_pool(pool, int)
    pool.stop()


def new_thread(watch: Stopwatch, _: int, count: int) -> Steps:
    from eventsock import await_task_in_thread

    with watch:
        for _ in range(count):
            yield from await_task_in_thread(int)


def task_memory(watch: Stopwatch, tasks: int, count: int) -> None:
    with EventLoop() as loop:
        before = stopwatch.private_bytes()
        sleeping = [a_sync(await_sleep, FAR, loop=loop) for _ in range(tasks)]
        loop.step(0.01)
        watch.grew_since(before)
        del sleeping


def watch_dispatch(watch: Stopwatch, descriptors: int, count: int) -> None:
    left = count

    def ready(_: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            loop.quit()

    pairs = [socket.socketpair() for _ in range(descriptors)]
    with EventLoop() as loop:
        for reader, writer in pairs:
            writer.send(b"x")
            loop.add_read_watch(reader, ready)
        with watch:
            loop.run()
    for reader, writer in pairs:
        reader.close()
        writer.close()


if __name__ == "__main__":
    plain: list[stopwatch.Operation] = [switch, switch_async, hand_over, receive_plain, receive_either, receive_choice]
    plain += [post_burst, post_waking, watch_dispatch]
    bodies: list[Body] = [start, timeout_cancelled, timeout_fired, post, thread_hand_over, new_thread]
    operations = plain + [in_task(body) for body in bodies] + [stopwatch.once(sleepers), stopwatch.once(task_memory)]
    stopwatch.main({operation.__name__: operation for operation in operations})
