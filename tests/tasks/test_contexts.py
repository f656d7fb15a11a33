"""Context variables: each task has a copy of its own; callbacks, thunks and threads have what they should."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from eventsock import (
    EventLoop,
    Task,
    ThreadPool,
    a_sync,
    await_generator_in_thread,
    await_sleep,
    await_task,
    await_task_in_event_loop,
    await_task_in_thread,
    await_task_in_thread_pool,
    await_yield,
    run,
)

Steps = Generator[Any, Any, Any]

who: ContextVar[str] = ContextVar("who", default="nobody")


def test_tasks_inherit_and_do_not_leak() -> None:
    seen: list[str] = []

    def child(name: str) -> Steps:
        seen.append(who.get())
        who.set(name)
        yield from await_yield()
        seen.append(who.get())
        yield from await_sleep(0)
        seen.append(who.get())

    def main() -> Steps:
        who.set("main")
        tasks = [a_sync(child, "a"), a_sync(child, "b")]
        assert who.get() == "main"
        for task in tasks:
            yield from task.await_result()
        assert who.get() == "main"

    run(main)
    assert seen == ["main", "main", "a", "b", "a", "b"]
    assert who.get() == "nobody"


def test_callbacks_have_the_loops_context() -> None:
    def main() -> Steps:
        who.set("main")
        task = Task.current()
        assert task is not None
        task.loop.post(lambda: seen.append(who.get()))
        seen.append((yield from await_task(who.get)))
        task.loop.timeout_post(0, lambda: seen.append(who.get()), repeat=False)
        yield from await_sleep(0.001)

    seen: list[str] = []
    run(main)
    assert seen == ["nobody"] * 3


def test_workers_have_a_copy_of_the_tasks_context_and_no_task() -> None:
    def work() -> tuple[str, object]:
        found = who.get()
        who.set("worker")
        return found, Task.current()

    def main() -> Steps:
        who.set("main")
        found = [(yield from await_task_in_thread(work))]
        with ThreadPool(1) as pool, ThreadPoolExecutor(1) as executor:
            for each in (pool, pool, executor, executor):
                found.append((yield from await_task_in_thread_pool(each, work)))
        with EventLoop() as other:
            other.block()
            thread = threading.Thread(target=other.run)
            thread.start()
            for _ in range(2):
                found.append((yield from await_task_in_event_loop(other, work)))
            other.quit()
            thread.join()
        yield from await_generator_in_thread(lambda: iter([work()]), found.append)
        return found, who.get()

    assert run(main) == ([("main", None)] * 8, "main")


def test_a_waiter_that_has_gone_on_is_not_current_in_its_thread() -> None:
    def main() -> Steps:
        begun, release, seen = threading.Event(), threading.Event(), list[object]()

        def work() -> None:
            begun.set()
            release.wait(10)
            seen.append(Task.current())

        task = a_sync(await_task_in_thread, work)
        while not begun.is_set():
            yield from await_sleep(0.001)
        task.cancel()
        yield from await_yield()
        release.set()
        while not seen:
            yield from await_sleep(0.001)
        return seen

    assert run(main) == [None]
