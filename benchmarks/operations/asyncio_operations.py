"""asyncio's operations, run on asyncio's own loop or on one that slips under it (uvloop, rloop)."""

from __future__ import annotations

import asyncio
import importlib
import random
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import stopwatch
from stopwatch import Stopwatch

BATCH = 100
FAR = 3600.0  # seconds
CHILDREN = 100

Body = Callable[[Stopwatch, int, int], Awaitable["int | None"]]


async def switch(watch: Stopwatch, tasks: int, count: int) -> int:
    rounds = max(1, count // tasks)

    async def spin() -> None:
        for _ in range(rounds):
            await asyncio.sleep(0)

    spinners = [asyncio.create_task(spin()) for _ in range(tasks)]
    with watch:
        for spinner in spinners:
            await spinner
    return rounds * tasks


async def start(watch: Stopwatch, _: int, count: int) -> int:
    async def child() -> None:
        await asyncio.sleep(0)

    rounds = max(1, count // CHILDREN)
    with watch:
        for _ in range(rounds):
            for task in [asyncio.create_task(child()) for _ in range(CHILDREN)]:
                await task
    return rounds * CHILDREN


async def hand_over(watch: Stopwatch, _: int, count: int) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def produce() -> None:
        for number in range(count):
            await queue.put(number)

    producer = asyncio.create_task(produce())
    with watch:
        for _ in range(count):
            await queue.get()
    await producer


async def timeout_cancelled(watch: Stopwatch, live: int, count: int) -> int:
    loop = asyncio.get_running_loop()
    kept = [loop.call_later(FAR + random.random(), print) for _ in range(live)]
    rounds = max(1, count // BATCH)
    with watch:
        for _ in range(rounds):
            for _ in range(BATCH):
                loop.call_later(10.0, print).cancel()
            await asyncio.sleep(0)
    for handle in kept:
        handle.cancel()
    return rounds * BATCH


async def timeout_fired(watch: Stopwatch, live: int, count: int) -> int:
    loop = asyncio.get_running_loop()
    kept = [loop.call_later(FAR + random.random(), print) for _ in range(live)]
    rounds = max(1, count // BATCH)
    with watch:
        for _ in range(rounds):
            fired = loop.create_future()
            for _ in range(BATCH - 1):
                loop.call_later(0.0, int)
            loop.call_later(0.0, fired.set_result, None)
            await fired
    for handle in kept:
        handle.cancel()
    return rounds * BATCH


async def sleepers(watch: Stopwatch, tasks: int, count: int) -> None:
    chance = random.Random(1)
    with watch:
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(asyncio.sleep(0.1 + 0.9 * chance.random()))


async def post(watch: Stopwatch, _: int, count: int) -> int:
    loop = asyncio.get_running_loop()
    rounds = max(1, count // BATCH)
    with watch:
        for _ in range(rounds):
            for _ in range(BATCH):
                loop.call_soon(int)
            await asyncio.sleep(0)
    return rounds * BATCH


async def post_burst(watch: Stopwatch, _: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    left = count

    def arrived() -> None:
        nonlocal left
        left -= 1
        if not left:
            ended.set_result(None)

    def burst() -> None:
        foreign_post = loop.call_soon_threadsafe
        for _ in range(count):
            foreign_post(arrived)

    thread = threading.Thread(target=burst)
    with watch:
        thread.start()
        await ended
    thread.join()


async def post_waking(watch: Stopwatch, _: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    gate = threading.Lock()
    gate.acquire()

    def one_by_one() -> None:
        for _ in range(count):
            loop.call_soon_threadsafe(gate.release)
            gate.acquire()
        loop.call_soon_threadsafe(ended.set_result, None)

    thread = threading.Thread(target=one_by_one)
    with watch:
        thread.start()
        await ended
    thread.join()


async def thread_hand_over(watch: Stopwatch, _: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        await loop.run_in_executor(pool, int)
        with watch:
            for _ in range(count):
                await loop.run_in_executor(pool, int)


async def task_memory(watch: Stopwatch, tasks: int, count: int) -> None:
    before = stopwatch.private_bytes()
    sleeping = [asyncio.create_task(asyncio.sleep(FAR)) for _ in range(tasks)]
    await asyncio.sleep(0.01)
    watch.grew_since(before)
    for task in sleeping:
        task.cancel()


async def watch_dispatch(watch: Stopwatch, descriptors: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    left = count

    def ready() -> None:
        nonlocal left
        left -= 1
        if not left:
            ended.set_result(None)

    pairs = [socket.socketpair() for _ in range(descriptors)]
    for reader, writer in pairs:
        writer.send(b"x")
        loop.add_reader(reader.fileno(), ready)
    with watch:
        await ended
    for reader, writer in pairs:
        loop.remove_reader(reader.fileno())
        reader.close()
        writer.close()


def on_loop(body: Body) -> stopwatch.Operation:
    factory = importlib.import_module(sys.argv[1]).new_event_loop

    def operation(watch: Stopwatch, size: int, count: int) -> int | None:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(body(watch, size, count))  # type: ignore[arg-type]

    return operation


if __name__ == "__main__":
    bodies: list[Body] = [
        switch,
        start,
        hand_over,
        timeout_cancelled,
        timeout_fired,
        post,
        post_burst,
        post_waking,
        thread_hand_over,
        watch_dispatch,
    ]
    operations = {body.__name__: on_loop(body) for body in bodies}
    operations |= {body.__name__: stopwatch.once(on_loop(body)) for body in (sleepers, task_memory)}
    stopwatch.main(operations)
