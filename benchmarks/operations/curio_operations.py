"""curio's operations. Other threads reach its kernel only through queues, so there is no post to measure."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import curio

import stopwatch
from stopwatch import Stopwatch

BATCH = 100
CHILDREN = 100

Body = Callable[[Stopwatch, int, int], Awaitable["int | None"]]


async def switch(watch: Stopwatch, tasks: int, count: int) -> int:
    rounds = max(1, count // tasks)

    async def spin() -> None:
        for _ in range(rounds):
            await curio.sleep(0)

    spinners = [await curio.spawn(spin) for _ in range(tasks)]
    with watch:
        for spinner in spinners:
            await spinner.join()
    return rounds * tasks


async def start(watch: Stopwatch, _: int, count: int) -> int:
    rounds = max(1, count // CHILDREN)
    with watch:
        for _ in range(rounds):
            for task in [await curio.spawn(curio.sleep, 0) for _ in range(CHILDREN)]:
                await task.join()
    return rounds * CHILDREN


async def hand_over(watch: Stopwatch, _: int, count: int) -> None:
    queue = curio.Queue(1)

    async def produce() -> None:
        for number in range(count):
            await queue.put(number)

    producer = await curio.spawn(produce)
    with watch:
        for _ in range(count):
            await queue.get()
    await producer.join()


async def timeout_cancelled(watch: Stopwatch, _: int, count: int) -> int:
    rounds = max(1, count // BATCH)
    with watch:
        for _ in range(rounds):
            for _ in range(BATCH):
                async with curio.ignore_after(10.0):
                    pass
            await curio.sleep(0)
    return rounds * BATCH


async def sleepers(watch: Stopwatch, tasks: int, count: int) -> None:
    chance = random.Random(1)
    with watch:
        async with curio.TaskGroup() as group:
            for _ in range(tasks):
                await group.spawn(curio.sleep, 0.1 + 0.9 * chance.random())


async def thread_hand_over(watch: Stopwatch, _: int, count: int) -> None:
    with watch:
        for _ in range(count):
            await curio.run_in_thread(int)


async def task_memory(watch: Stopwatch, tasks: int, count: int) -> None:
    before = stopwatch.private_bytes()
    sleeping = [await curio.spawn(curio.sleep, 3600.0) for _ in range(tasks)]
    await curio.sleep(0.01)
    watch.grew_since(before)
    for task in sleeping:
        await task.cancel()


def in_curio(body: Body) -> stopwatch.Operation:
    def operation(watch: Stopwatch, size: int, count: int) -> Any:
        return curio.run(body, watch, size, count)

    return operation


if __name__ == "__main__":
    bodies: list[Body] = [switch, start, hand_over, timeout_cancelled, thread_hand_over]
    operations = {body.__name__: in_curio(body) for body in bodies}
    operations |= {body.__name__: stopwatch.once(in_curio(body)) for body in (sleepers, task_memory)}
    stopwatch.main(operations)
