"""trio's operations. It has no bare timers or watches: what it has in their place (cancel scopes) is measured where it is the idiom."""

from __future__ import annotations

import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import trio

import stopwatch
from stopwatch import Stopwatch

BATCH = 100
CHILDREN = 100

Body = Callable[[Stopwatch, int, int], Awaitable["int | None"]]


async def switch(watch: Stopwatch, tasks: int, count: int) -> int:
    rounds = max(1, count // tasks)

    async def spin() -> None:
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()

    with watch:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(spin)
    return rounds * tasks


async def start(watch: Stopwatch, _: int, count: int) -> int:
    rounds = max(1, count // CHILDREN)
    with watch:
        for _ in range(rounds):
            async with trio.open_nursery() as nursery:
                for _ in range(CHILDREN):
                    nursery.start_soon(trio.lowlevel.checkpoint)
    return rounds * CHILDREN


async def hand_over(watch: Stopwatch, _: int, count: int) -> None:
    send, receive = trio.open_memory_channel[int](0)

    async def produce() -> None:
        for number in range(count):
            await send.send(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        with watch:
            for _ in range(count):
                await receive.receive()


async def timeout_cancelled(watch: Stopwatch, _: int, count: int) -> int:
    rounds = max(1, count // BATCH)
    with watch:
        for _ in range(rounds):
            for _ in range(BATCH):
                with trio.move_on_after(10.0):
                    pass
            await trio.lowlevel.checkpoint()
    return rounds * BATCH


async def sleepers(watch: Stopwatch, tasks: int, count: int) -> None:
    chance = random.Random(1)
    with watch:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(trio.sleep, 0.1 + 0.9 * chance.random())


async def post_burst(watch: Stopwatch, _: int, count: int) -> None:
    token = trio.lowlevel.current_trio_token()
    ended = trio.Event()
    left = count

    def arrived() -> None:
        nonlocal left
        left -= 1
        if not left:
            ended.set()

    def burst() -> None:
        for _ in range(count):
            token.run_sync_soon(arrived)

    thread = threading.Thread(target=burst)
    with watch:
        thread.start()
        await ended.wait()
    thread.join()


async def post_waking(watch: Stopwatch, _: int, count: int) -> None:
    token = trio.lowlevel.current_trio_token()
    ended = trio.Event()
    gate = threading.Lock()
    gate.acquire()

    def one_by_one() -> None:
        for _ in range(count):
            token.run_sync_soon(gate.release)
            gate.acquire()
        token.run_sync_soon(ended.set)

    thread = threading.Thread(target=one_by_one)
    with watch:
        thread.start()
        await ended.wait()
    thread.join()


async def thread_hand_over(watch: Stopwatch, _: int, count: int) -> None:
    with watch:
        for _ in range(count):
            await trio.to_thread.run_sync(int)


async def task_memory(watch: Stopwatch, tasks: int, count: int) -> None:
    before = stopwatch.private_bytes()
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(trio.sleep, 3600.0)
        await trio.sleep(0.01)
        watch.grew_since(before)
        nursery.cancel_scope.cancel()


def in_trio(body: Body) -> stopwatch.Operation:
    def operation(watch: Stopwatch, size: int, count: int) -> Any:
        return trio.run(body, watch, size, count)

    return operation


if __name__ == "__main__":
    bodies: list[Body] = [switch, start, hand_over, timeout_cancelled, post_burst, post_waking, thread_hand_over]
    operations = {body.__name__: in_trio(body) for body in bodies}
    operations |= {body.__name__: stopwatch.once(in_trio(body)) for body in (sleepers, task_memory)}
    stopwatch.main(operations)
