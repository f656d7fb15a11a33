"""Both ways on one thread: asyncio waits for our tasks, our tasks wait for asyncio; results, errors, cancellations and contexts cross.

Knows asyncio and uvloop as hosts, and the adapter's two verbs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

import pytest

from eventsock import (
    EventLoop,
    LoopStateError,
    Task,
    TaskCancelled,
    a_sync,
    await_call,
    await_callback,
    await_readable,
    await_sleep,
    await_yield,
    embed,
    run,
)
from eventsock.embed.asyncio import as_awaitable, await_future

Steps = Generator[Any, Any, Any]
Main = Callable[[], Coroutine[Any, Any, Any]]
RunMain = Callable[[Main], Any]

colour: ContextVar[str] = ContextVar("colour", default="none")


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    if request.param == "asyncio":
        return asyncio.new_event_loop
    if find_spec("uvloop") is None:
        pytest.skip("uvloop is not here: pip install uvloop")
    import uvloop

    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(asyncio.sleep(0))  # the first one opens a pipe that it never closes
    return new_event_loop


@pytest.fixture
def run_main(factory: Callable[[], asyncio.AbstractEventLoop]) -> RunMain:
    """Runs a coroutine function in the host, with a loop attached that is the current one."""

    def run_main(main: Main) -> Any:
        async def attached() -> Any:
            with EventLoop() as loop, embed.asyncio.attach(asyncio.get_running_loop(), loop):
                return await main()

        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(attached())

    return run_main


@pytest.fixture(autouse=True)
def silent(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What asyncio logs (an error nobody asked for, a slow callback) is a failure."""
    yield
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


def nap(result: object, seconds: float = 0.001) -> Steps:
    yield from await_sleep(seconds)
    return result


def failing() -> Steps:
    yield from await_sleep(0.001)
    raise ArithmeticError("of the task")


# asyncio waits for us


def test_result_of_a_task(run_main: RunMain) -> None:
    async def main() -> object:
        return await as_awaitable(a_sync(nap, "a nap"))

    assert run_main(main) == "a nap"


def test_result_of_a_task_that_has_ended(run_main: RunMain) -> None:
    async def main() -> object:
        return await as_awaitable(a_sync(lambda: "at once"))

    assert run_main(main) == "at once"


def test_error_of_a_task(run_main: RunMain) -> None:
    async def main() -> None:
        with pytest.raises(ArithmeticError, match="of the task") as caught:
            await as_awaitable(a_sync(failing))
        assert [entry.name for entry in caught.traceback][-1] == "failing"

    run_main(main)


def test_error_of_a_task_that_has_ended(run_main: RunMain) -> None:
    async def main() -> None:
        with EventLoop() as own:
            task = a_sync(failing, loop=own)
            task.watch(int)
            own.run()
            assert task.done
            with pytest.raises(ArithmeticError):
                await as_awaitable(task)

    run_main(main)


def test_many_at_once(run_main: RunMain) -> None:
    async def main() -> object:
        return await asyncio.gather(*(as_awaitable(a_sync(nap, number, 0.001 * (5 - number))) for number in range(5)))

    assert run_main(main) == [0, 1, 2, 3, 4]


def test_cancelled_by_its_waiter(run_main: RunMain) -> None:
    order: list[str] = []

    def task() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            yield from await_sleep(0.005)
            order.append("cleaned up")

    async def waiter(ours: Task[Any]) -> None:
        try:
            await as_awaitable(ours)
        finally:
            order.append("waiter")

    async def main() -> None:
        ours = a_sync(task)
        waiting = asyncio.create_task(waiter(ours))
        await asyncio.sleep(0.002)
        waiting.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert waiting.cancelled()
        assert ours.cancelled
        assert getattr(ours.error, "reason", None) == "enough"

    run_main(main)
    assert order == ["cleaned up", "waiter"]


def test_time_limit_of_asyncio(run_main: RunMain) -> None:
    async def main() -> None:
        ours = a_sync(nap, None, 60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(as_awaitable(ours), 0.005)
        assert ours.cancelled

    run_main(main)


def test_shielded_task_lives_on(run_main: RunMain) -> None:
    async def main() -> object:
        answer: list[Callable[[str], object]] = []
        ours = a_sync(await_callback, answer.append)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(as_awaitable(ours)), 0.001)
        answer[0]("alive")
        return await as_awaitable(ours)

    assert run_main(main) == "alive"


def test_cancelled_by_somebody_else(run_main: RunMain) -> None:
    async def main() -> None:
        ours = a_sync(nap, None, 60)
        asyncio.get_running_loop().call_later(0.002, ours.cancel, "not needed")
        with pytest.raises(TaskCancelled) as caught:
            await as_awaitable(ours)
        assert caught.value.reason == "not needed"

    run_main(main)


def test_task_that_refuses_to_be_cancelled(run_main: RunMain) -> None:
    from eventsock import Cancelled

    def stubborn() -> Steps:
        try:
            yield from await_sleep(60)
        except Cancelled:
            return "no"

    async def main() -> object:
        waiting = asyncio.ensure_future(as_awaitable(a_sync(stubborn)))
        await asyncio.sleep(0.001)
        assert waiting.cancel()
        return await waiting

    assert run_main(main) == "no"


def test_error_while_being_cancelled(run_main: RunMain) -> None:
    def clumsy() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            raise ArithmeticError("in cleaning up")

    async def main() -> None:
        waiting = as_awaitable(a_sync(clumsy))
        await asyncio.sleep(0.001)
        waiting.cancel()
        with pytest.raises(ArithmeticError, match="in cleaning up"):
            await waiting
        assert waiting.cancel() is False

    run_main(main)


def test_loop_that_ends_tells_who_waits(run_main: RunMain) -> None:
    async def main() -> None:
        ours = a_sync(nap, None, 60)
        asyncio.get_running_loop().call_later(0.002, ours.loop.close)
        with pytest.raises(TaskCancelled, match="the loop ended"):
            await as_awaitable(ours)

    run_main(main)


def test_host_that_ended_is_not_answered() -> None:
    async def leave(loop: EventLoop) -> Task[Any]:
        guest = embed.asyncio.attach(None, loop)
        ours: Task[Any] = a_sync(nap, "later")
        as_awaitable(ours)  # nobody awaits it
        guest.detach()
        return ours

    with EventLoop() as loop:
        ours = asyncio.run(leave(loop))
        loop.run()
        assert ours.result() == "later"


def test_what_is_refused_there(run_main: RunMain) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match=r"what a_sync\(\) returned, not function"):
            as_awaitable(nap)  # type: ignore[arg-type]
        with EventLoop() as other:
            stray = a_sync(nap, None, loop=other)
            with pytest.raises(LoopStateError, match="is not attached to asyncio"):
                as_awaitable(stray)

    run_main(main)


def test_loop_of_another_host_is_refused() -> None:
    async def ask(task: Task[Any]) -> None:
        with pytest.raises(LoopStateError, match="another asyncio loop"):
            as_awaitable(task)

    host = asyncio.new_event_loop()
    try:
        with EventLoop() as loop, embed.asyncio.attach(host, loop):
            asyncio.run(ask(a_sync(nap, None)))
    finally:
        host.close()


# We wait for asyncio


async def doze(result: object, seconds: float = 0.001) -> object:
    await asyncio.sleep(seconds)
    return result


async def fails() -> None:
    await asyncio.sleep(0.001)
    raise ArithmeticError("of asyncio")


def in_task(run_main: RunMain, waitable: Callable[..., Any]) -> Any:
    """Runs `waitable` as a task of ours that asyncio waits for."""

    async def main() -> object:
        return await as_awaitable(a_sync(waitable))

    return run_main(main)


def test_result_of_a_coroutine(run_main: RunMain) -> None:
    def task() -> Steps:
        return (yield from await_future(doze("dozed")))

    assert in_task(run_main, task) == "dozed"


def test_result_in_an_async_def(run_main: RunMain) -> None:
    async def task() -> object:
        return await await_future(doze("dozed"))

    assert in_task(run_main, task) == "dozed"


def test_result_of_a_future_and_of_what_has_ended(run_main: RunMain) -> None:
    def task() -> Steps:
        host = asyncio.get_running_loop()
        future = host.create_future()
        host.call_later(0.001, future.set_result, "set")
        first = yield from await_future(future)
        return first, (yield from await_future(future))

    assert in_task(run_main, task) == ("set", "set")


def test_result_of_any_awaitable(run_main: RunMain) -> None:
    class Patient:
        def __await__(self) -> Generator[Any, None, str]:
            yield from asyncio.sleep(0.001).__await__()
            return "waited"

    def task() -> Steps:
        return (yield from await_future(Patient()))

    assert in_task(run_main, task) == "waited"


def test_error_of_a_coroutine(run_main: RunMain) -> None:
    def task() -> Steps:
        with pytest.raises(ArithmeticError, match="of asyncio"):
            yield from await_future(fails())
        return "caught"

    assert in_task(run_main, task) == "caught"


def test_future_cancelled_over_there(run_main: RunMain) -> None:
    def task() -> Steps:
        future = asyncio.get_running_loop().create_task(doze(None, 60))
        asyncio.get_running_loop().call_later(0.002, future.cancel, "not needed")
        with pytest.raises(TaskCancelled) as caught:
            yield from await_future(future)
        return caught.value.reason

    assert in_task(run_main, task) == "not needed"


def test_cancelled_task_cancels_what_it_awaits(run_main: RunMain) -> None:
    order: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.005)
            order.append("asyncio cleaned up")

    def task() -> Steps:
        try:
            yield from await_future(slow())
        finally:
            order.append("task")

    async def main() -> None:
        ours = a_sync(task)
        await asyncio.sleep(0.002)
        ours.cancel()
        with pytest.raises(TaskCancelled):
            await as_awaitable(ours)

    run_main(main)
    assert order == ["asyncio cleaned up", "task"]


def test_second_cancel_does_not_wait_for_the_cleaning(run_main: RunMain) -> None:
    async def main() -> None:
        clean, cleaned = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await clean.wait()
                cleaned.set()

        def task() -> Steps:
            yield from await_future(slow())

        ours = a_sync(task)
        await asyncio.sleep(0.002)
        ours.cancel("first")
        await asyncio.sleep(0.005)
        assert not ours.done
        ours.cancel("second")
        while not ours.done:
            await asyncio.sleep(0.001)
        assert not cleaned.is_set()
        clean.set()
        await cleaned.wait()

    run_main(main)


def test_error_in_the_cleaning_takes_the_place_of_the_cancellation(run_main: RunMain) -> None:
    async def clumsy() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ArithmeticError("in cleaning up")

    def task() -> Steps:
        yield from await_future(clumsy())

    async def main() -> None:
        ours = a_sync(task)
        await asyncio.sleep(0.002)
        ours.cancel()
        with pytest.raises(ArithmeticError, match="in cleaning up"):
            await as_awaitable(ours)

    run_main(main)


def test_closed_loop_cancels_what_its_tasks_await(run_main: RunMain) -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("slow")

    def task() -> Steps:
        yield from await_future(slow())

    async def main() -> None:
        ours = a_sync(task)
        await asyncio.sleep(0.002)
        ours.loop.close()
        await asyncio.sleep(0.002)

    run_main(main)
    assert ended == ["slow"]


def test_through_both_and_back(run_main: RunMain) -> None:
    """asyncio waits for us, who wait for asyncio, which waits for us; a cancellation goes down and its end comes up."""
    order: list[str] = []

    def innermost() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            yield from await_yield()
            order.append("innermost")

    async def inner() -> None:
        try:
            await as_awaitable(a_sync(innermost))
        finally:
            order.append("inner")

    def outer() -> Steps:
        try:
            yield from await_future(inner())
        finally:
            order.append("outer")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(as_awaitable(a_sync(outer)), 0.01)

    run_main(main)
    assert order == ["innermost", "inner", "outer"]


def test_contexts_cross(run_main: RunMain) -> None:
    seen: list[str] = []

    async def reads() -> None:
        await asyncio.sleep(0)
        seen.append(f"there {colour.get()}")
        colour.set("changed there")

    def task() -> Steps:
        seen.append(f"here {colour.get()}")
        colour.set("blue")
        yield from await_future(reads())
        seen.append(f"back {colour.get()}")

    async def main() -> None:
        colour.set("red")
        await as_awaitable(a_sync(task))
        seen.append(f"asyncio {colour.get()}")

    run_main(main)
    assert seen == ["here red", "there blue", "back blue", "asyncio red"]


def test_no_task_is_current_in_what_is_awaited(run_main: RunMain) -> None:
    seen: list[object] = []

    async def asks() -> None:
        seen.append(Task.current())
        await asyncio.sleep(0.001)
        seen.append(Task.current())
        seen.append(asyncio.current_task() is not None)

    def task() -> Steps:
        seen.append(Task.current() is None)
        yield from await_future(asks())
        seen.append(asyncio.current_task())

    in_task(run_main, task)
    assert seen == [False, None, None, True, None]


def test_await_of_ours_in_a_coroutine_of_asyncio_says_what_to_do(run_main: RunMain) -> None:
    async def confused() -> None:
        await await_sleep(1)

    def task() -> Steps:
        with pytest.raises(LoopStateError, match="outside a task"):
            yield from await_future(confused())

    in_task(run_main, task)


def test_future_of_asyncio_awaited_without_the_verb_says_what_to_do(run_main: RunMain) -> None:
    async def task() -> str:
        with pytest.raises(TypeError):
            await asyncio.sleep(0.001)
        return "told"

    assert in_task(run_main, task) == "told"


def test_what_is_refused_here() -> None:
    def task() -> Steps:
        future: asyncio.Future[None] = asyncio.Future(loop=host)
        with pytest.raises(LoopStateError, match="is not attached to asyncio"):
            yield from await_future(future)

    host = asyncio.new_event_loop()
    try:
        run(task)
    finally:
        host.close()
    with pytest.raises(LoopStateError, match="outside a task"):
        next(iter(await_future(asyncio.Future(loop=host))))


def test_what_is_no_awaitable(run_main: RunMain) -> None:
    def task() -> Steps:
        with pytest.raises(TypeError):
            yield from await_future(42)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            yield from await_future(nap)  # type: ignore[arg-type]

    in_task(run_main, task)


# Together


def test_sockets_of_both_in_one_thread(run_main: RunMain) -> None:
    import socket

    async def main() -> list[bytes]:
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        heard: list[bytes] = []

        def ours() -> Steps:
            for _ in range(3):
                yield from await_readable(right)
                heard.append(right.recv(10))
                yield from await_future(asyncio.get_running_loop().sock_sendall(right, b"echo"))

        with left, right:
            task = a_sync(ours)
            for _ in range(3):
                await asyncio.get_running_loop().sock_sendall(left, b"hello")
                heard.append(await asyncio.get_running_loop().sock_recv(left, 10))
            await as_awaitable(task)
        return heard

    assert run_main(main) == [b"hello", b"echo"] * 3


def test_a_callback_of_asyncio_resumes_a_task(run_main: RunMain) -> None:
    def task() -> Steps:
        host = asyncio.get_running_loop()
        return (yield from await_callback(lambda resume: host.call_later(0.001, resume, "called")))

    assert in_task(run_main, task) == "called"


def test_shutdown_of_asyncio_with_a_guest_still_attached() -> None:
    """The host ends first, and closes its selector with the guest's descriptor in it."""

    async def main(loop: EventLoop) -> embed.Guest:
        guest = embed.asyncio.attach(None, loop)
        a_sync(nap, None, 0.001)
        return guest

    with EventLoop() as loop:
        guest = asyncio.run(main(loop))
        assert guest.attached
        loop.post(int)  # tells nobody
        with pytest.raises(LoopStateError, match="stepped by asyncio"):
            loop.run()
        guest.detach()
        loop.run()


def test_closed_in_the_host_while_attached() -> None:
    async def main(loop: EventLoop) -> embed.Guest:
        return embed.asyncio.attach(None, loop)

    loop = EventLoop()
    guest = asyncio.run(main(loop))
    loop.close()
    assert not guest.attached


def test_attach_needs_a_running_loop_or_a_name() -> None:
    with EventLoop() as loop, pytest.raises(RuntimeError, match="no running event loop"):
        embed.asyncio.attach(None, loop)


def test_await_call_hides_which_it_is(run_main: RunMain) -> None:
    def fetch() -> Steps:
        return (yield from await_future(doze("page")))

    def task() -> Steps:
        return (yield from await_call(fetch))

    assert in_task(run_main, task) == "page"
