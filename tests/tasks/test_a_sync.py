"""Starting tasks: at once, in which loop, under which name, and whose their first errors are."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
import weakref
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

import pytest

from eventsock import (
    EventLoop,
    LoopClosedError,
    LoopStateError,
    NoEventLoopError,
    Task,
    a_sync,
    await_call,
    await_callback,
    await_sleep,
    await_yield,
    get_resume,
    run,
    running_event_loop,
    set_default_event_loop,
    waitable,
)

Steps = Generator[Any, Any, Any]


def test_runs_at_once_up_to_the_first_suspension() -> None:
    said: list[str] = []

    def body() -> Steps:
        said.append("first")
        yield from await_yield()
        said.append("second")

    with EventLoop() as loop:
        task = a_sync(body, loop=loop)
        assert (said, task.done) == (["first"], False)
        loop.run()
        assert (said, task.done, task.result()) == (["first", "second"], True, None)


@pytest.mark.parametrize("value", [None, 0, "", (), False, StopIteration])
def test_results_of_every_kind_of_waitable(value: object) -> None:
    def generator() -> Steps:
        yield from await_yield()
        return value

    async def coroutine() -> object:
        await await_yield()
        return value

    @waitable
    def decorated() -> Steps:
        yield from await_yield()
        return value

    class Awaitable:
        def __await__(self) -> Steps:
            return (yield from decorated())

    with EventLoop() as loop:
        tasks: list[Task[Any]] = [a_sync(each, loop=loop) for each in (generator, coroutine, decorated, Awaitable, lambda: value)]
        loop.run()
        assert [task.result() for task in tasks] == [value] * 5


def test_a_waitable_may_be_an_await_procedure_itself() -> None:
    with EventLoop() as loop:
        tasks = [a_sync(await_yield, loop=loop), a_sync(await_sleep, 0, loop=loop), a_sync(await_call, lambda: 7, loop=loop)]
        loop.run()
        assert [task.result() for task in tasks] == [None, None, 7]


def test_arguments_and_keywords_by_partial() -> None:
    def body(a: int, *, b: int) -> Steps:
        yield from await_yield()
        return a, b

    with EventLoop() as loop:
        task = a_sync(functools.partial(body, b=2), 1, loop=loop)
        loop.run()
        assert (task.result(), task.name.rpartition(".")[2]) == ((1, 2), "body")


def test_names() -> None:
    class Waits:
        def __call__(self) -> Steps:
            yield from await_yield()

    def body() -> Steps:
        yield from await_yield()

    with EventLoop() as loop:
        tasks = [a_sync(Waits(), loop=loop), a_sync(body, loop=loop, name="given")]
        assert [task.name for task in tasks] == ["Waits", "given"]
        assert (str(tasks[1]), repr(tasks[1])) == ("task 'given'", "<Task 'given' waiting for its next turn>")
        loop.run()
        assert repr(tasks[1]) == "<Task 'given' ended>"


# Which loop


def test_without_any_loop() -> None:
    with pytest.raises(NoEventLoopError, match="set_default_event_loop"):
        a_sync(lambda: None)


@pytest.mark.usefixtures("default_loop_put_back")
def test_the_default_loop() -> None:
    with set_default_event_loop() as loop:
        assert a_sync(lambda: None).loop is loop


def test_a_task_started_by_the_first_steps_of_another_is_in_the_same_loop() -> None:
    loops: list[EventLoop | None] = []

    def outer() -> Steps:
        loops.append(a_sync(lambda: loops.append(running_event_loop())).loop)
        yield from await_yield()

    with EventLoop() as loop:
        a_sync(outer, loop=loop)
        assert running_event_loop() is None
        loop.run()
        assert loops == [loop, loop]


def test_a_loop_that_runs_in_another_thread_is_refused() -> None:
    with EventLoop() as loop:
        loop.block()
        running = threading.Event()
        loop.post(running.set)
        thread = threading.Thread(target=loop.run)
        thread.start()
        assert running.wait(10)
        with pytest.raises(LoopStateError, match=f"thread {thread.ident}"):
            a_sync(lambda: None, loop=loop)
        loop.quit()
        thread.join(10)


def test_another_loop_than_the_one_that_runs_here_is_refused() -> None:
    def body() -> Steps:
        with pytest.raises(LoopStateError, match="is running in this thread"):
            a_sync(lambda: None, loop=other)
        yield from await_yield()

    with EventLoop() as loop, EventLoop() as other:
        loop.post(lambda: a_sync(body, loop=loop) and None)
        loop.run()
        assert (other.residents, loop.residents) == ({}, {})


def test_a_closed_loop_is_refused() -> None:
    with EventLoop() as loop:
        pass
    with pytest.raises(LoopClosedError):
        a_sync(lambda: None, loop=loop)


def test_a_first_step_that_closes_its_loop_ends_the_task() -> None:
    ended: list[str] = []

    def body() -> Steps:
        try:
            loop.close()
            yield from await_yield()
        finally:
            ended.append("finally")

    loop = EventLoop()
    task = a_sync(body, loop=loop)
    assert (ended, task.done, task.cancelled) == (["finally"], True, True)


# Whose error


def fails_at_once() -> Steps:
    raise ValueError("at once")
    yield


def fails_later() -> Steps:
    yield from await_yield()
    raise ValueError("later")


def test_before_the_loop_runs_an_error_of_the_first_steps_leaves_a_sync() -> None:
    with EventLoop() as loop:
        with pytest.raises(ValueError, match="at once"):
            a_sync(fails_at_once, loop=loop)
        loop.run()  # and has harmed nothing


def test_an_error_of_later_steps_leaves_run_with_the_name_of_the_task() -> None:
    with EventLoop(debug=False) as loop:
        a_sync(fails_later, loop=loop)
        with pytest.raises(ValueError, match="later") as caught:
            loop.run()
        assert caught.value.__notes__[0] == "in task 'fails_later'"


def test_in_debug_mode_an_error_says_where_the_task_was_started() -> None:
    with EventLoop(debug=True) as loop:
        a_sync(fails_later, loop=loop)
        with pytest.raises(ValueError, match="later") as caught:
            loop.run()
        assert caught.value.__notes__[0].startswith(f"in task 'fails_later', started at {__file__}:")


def test_in_a_running_loop_who_awaits_in_the_same_step_gets_the_first_error() -> None:
    def main() -> Steps:
        for failing in (fails_at_once, lambda: [][0]):
            task = a_sync(failing)
            with pytest.raises((ValueError, IndexError)):
                yield from task.await_result()
        yield from await_yield()
        return "went on"

    assert run(main) == "went on"


def test_in_a_running_loop_the_first_error_leaves_run_if_nobody_awaits() -> None:
    def main() -> Steps:
        task = a_sync(fails_at_once)
        yield from await_yield()
        yield from task.await_result()

    with pytest.raises(ValueError, match="at once"):
        run(main)


def test_the_second_of_two_tasks_fails_before_it_is_awaited() -> None:
    def slow() -> Steps:
        yield from await_sleep(60)

    def main() -> Steps:
        first, second = a_sync(slow), a_sync(fails_later)
        yield from first.await_result()
        yield from second.await_result()

    with pytest.raises(ValueError, match="later"):
        run(main)


def test_an_error_of_on_error_shows_the_first_error_as_its_context() -> None:
    def handler(error: BaseException, where: str) -> None:
        raise KeyError("in the handler")

    with EventLoop(on_error=handler) as loop:
        loop.post(lambda: a_sync(fails_at_once))
        with pytest.raises(KeyError) as caught:
            loop.run()
    assert str(caught.value.__context__) == "at once"


def test_on_error_gets_the_first_error_once() -> None:
    seen: list[tuple[str, str]] = []
    with EventLoop(on_error=lambda error, where: seen.append((str(error), where))) as loop:
        loop.post(lambda: a_sync(fails_at_once) and None)
        loop.post(lambda: a_sync(fails_later) and None)
        loop.run()
    assert seen == [("at once", "task 'fails_at_once'"), ("later", "task 'fails_later'")]


def test_a_quit_does_not_lose_a_first_error() -> None:
    def main() -> Steps:
        a_sync(fails_at_once)
        loop.quit()
        yield from await_yield()

    with EventLoop() as loop:
        loop.post(lambda: a_sync(main) and None)
        with pytest.raises(ValueError, match="at once"):
            loop.run()


def test_a_handed_error_is_heard_once() -> None:
    def main() -> Steps:
        task = a_sync(fails_later)
        for _ in range(3):
            with pytest.raises(ValueError, match="later") as caught:
                yield from task.await_result()
            yield from await_yield()
        # The same error each time, with the trace of the failure and not of those who asked before.
        traces.append([entry.name for entry in caught.traceback])
        traces.append(caught.value.__notes__)

    traces: list[Any] = []
    run(main)
    assert traces[0].count("result") == 1
    assert traces[0][-1] == "fails_later"
    assert len(traces[1]) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_leave_whoever_awaits(error: type[BaseException]) -> None:
    def interrupted(at_once: bool) -> Steps:
        if not at_once:
            yield from await_yield()
        raise error

    def main(at_once: bool) -> Steps:
        yield from a_sync(interrupted, at_once).await_result()

    for at_once in (True, False):
        with pytest.raises(error):
            run(main, at_once)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_before_the_loop_runs_is_the_callers_and_forgotten(error: type[BaseException]) -> None:
    def body() -> Steps:
        raise error
        yield

    with EventLoop() as loop:
        with pytest.raises(error):
            a_sync(body, loop=loop)
        loop.run()


def test_wrong_arguments_are_the_callers_or_the_tasks() -> None:
    with EventLoop() as loop, pytest.raises(TypeError, match="positional argument"):
        a_sync(fails_later, 1, loop=loop)


def raises_stop_iteration() -> None:
    next(iter([]))


def stops_in_a_generator() -> Steps:
    yield from await_yield()
    next(iter([]))


async def stops_in_a_coroutine() -> None:
    next(iter([]))


@pytest.mark.parametrize("body", [raises_stop_iteration, stops_in_a_generator, stops_in_a_coroutine])
def test_stop_iteration_is_no_silent_end(body: Any) -> None:
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        run(body)


# Alive


def test_a_task_that_nobody_references_lives() -> None:
    said: list[str] = []

    def body() -> Steps:
        yield from await_sleep(0.001)
        said.append("alive")

    def waits_for_nobody() -> Steps:
        try:
            yield
        finally:
            said.append("ended with the others")

    def main() -> Steps:
        a_sync(body)
        a_sync(waits_for_nobody)
        gc.collect()
        yield from await_sleep(0.01)

    run(main)
    assert said == ["alive", "ended with the others"]


def test_ended_tasks_are_freed_without_the_collector() -> None:
    def body(fails: bool) -> Steps:
        myself.set(Task.current())
        yield from await_yield()
        yield from await_sleep(0)
        if fails:
            raise ValueError

    myself: ContextVar[object] = ContextVar("myself")

    def main() -> Steps:
        gc.collect()
        gc.disable()
        try:
            task = a_sync(body, False)
            ended = weakref.ref(task)
            yield from task.await_result()
            del task
            assert ended() is None
            # From 3.12 on a trace holds the frames below those it names as well: the loop's, and what they had in hand.
            if sys.version_info < (3, 12):
                task = a_sync(body, True)
                ended = weakref.ref(task)
                try:
                    yield from task.await_result()
                except ValueError:
                    pass
                del task
                assert ended() is None
                task = a_sync(await_sleep, 60)
                ended = weakref.ref(task)
                task.cancel()
                yield from await_yield()
                yield from await_yield()
                del task
                assert ended() is None
        finally:
            gc.enable()

    run(main)


def test_a_task_that_waits_for_nobody_is_collected_with_its_loop() -> None:
    closed: list[str] = []

    def body() -> Steps:
        try:
            yield
        finally:
            closed.append("closed")

    with EventLoop(debug=False) as loop:
        task = weakref.ref(a_sync(body, loop=loop))
        loop.run()
        gc.collect()
        assert task() is not None
    gc.collect()
    assert (task(), closed) == (None, ["closed"])


# Helpers that cross


def test_await_call_runs_any_waitable_in_the_same_task() -> None:
    def generator(value: int) -> Steps:
        yield from await_yield()
        return value, Task.current()

    async def coroutine(value: int) -> Any:
        await await_yield()
        return value, Task.current()

    class Future:
        def __await__(self) -> Steps:
            yield from await_yield()
            return 4, Task.current()

    async def main() -> Any:
        return [await await_call(each, 1) for each in (generator, coroutine)] + [await await_call(lambda: 3), await await_call(Future)]

    def outer() -> Steps:
        me = Task.current()
        assert (yield from await_call(main)) == [(1, me), (1, me), 3, (4, me)]

    run(outer)


def test_a_waitable_may_delegate_to_a_coroutine() -> None:
    async def inner() -> int:
        await await_yield()
        return 7

    @waitable
    def middle() -> Steps:
        return (yield from inner())  # type: ignore[misc]

    async def outer() -> Any:
        return await middle()

    assert run(outer) == run(middle) == 7


def test_await_procedures_outside_a_task_are_refused() -> None:
    # `await_yield` is none of them: it is a constant, and only whoever yields it needs to be a task.
    calls: list[Any] = [lambda: list(await_sleep(1)), lambda: list(await_callback(print)), get_resume]
    for call in calls:
        with pytest.raises(LoopStateError, match="outside a task"):
            call()


def test_a_task_of_asyncio_is_no_task_of_ours() -> None:
    async def foreign() -> None:
        with pytest.raises(LoopStateError, match="outside a task"):
            await await_sleep(0)

    asyncio.run(foreign())


def test_an_asyncio_future_is_told_so() -> None:
    future_loop = asyncio.new_event_loop()
    try:
        future = future_loop.create_future()

        async def body() -> None:
            with pytest.raises(TypeError, match="nothing answers"):
                await future

        run(body)
    finally:
        future_loop.close()
