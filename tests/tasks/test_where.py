"""Where tasks stand: the wait and how long it lasts, the start, each link of the chain."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from eventsock import (
    EventLoop,
    Task,
    TaskGroup,
    a_sync,
    await_call,
    await_callback,
    await_readable,
    await_sleep,
    await_task_in_thread,
    await_yield,
    run,
    waitable,
)
from eventsock.tasks.timed import TimedTask, kinds

Steps = Generator[Any, Any, Any]


def line_of(text: str) -> int:
    """The line of this file with `# text` at its end."""
    with open(__file__) as source:
        return next(number for number, line in enumerate(source, 1) if line.rstrip().endswith(f"# {text}"))


def inner() -> Steps:
    yield from await_sleep(60)  # inner stands here


async def middle() -> None:
    await await_call(inner)  # middle stands here


async def row() -> AsyncIterator[int]:
    await middle()  # row stands here
    yield 1


async def outer() -> None:
    async for _ in row():  # outer stands here
        pass


def test_the_chain_goes_through_generators_coroutines_and_async_generators() -> None:
    with EventLoop(debug=True) as loop:
        task = a_sync(outer, loop=loop)  # started here
        shown = task.where().splitlines()
        assert re.fullmatch(r"task 'outer' waits for time \(60.0 s\), for \d\.\d\d\d s", shown[0])
        assert shown[1] == f"  started at {__file__}:{line_of('started here')}"
        ours = [line for line in shown[2:] if __file__ in line]
        assert ours == [f"  {name} at {__file__}:{line_of(f'{name} stands here')}" for name in ("outer", "row", "middle", "inner")]
        assert shown[-1].startswith("  await_sleep at ")


def test_out_of_debug_mode_nobody_keeps_the_start() -> None:
    with EventLoop(debug=False) as loop:
        assert "started at" not in a_sync(outer, loop=loop).where()


def test_how_long() -> None:
    now = [100.0]
    with EventLoop(clock=lambda: now[0], debug=False) as loop:
        sleeping, called = a_sync(await_sleep, 60, loop=loop), a_sync(await_callback, print, loop=loop)
        now[0] += 12.5
        assert "waits for time (60.0 s), for 12.500 s" in sleeping.where()
        assert "waits for a callback from print, for 12.500 s" in called.where()
        assert (sleeping.waits_since, called.waits_since) == (100.0, 100.0)


@pytest.mark.parametrize("debug", [True, False])
def test_how_long_for_every_wait_where_time_is_kept(debug: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def raw() -> Steps:
        yield
        yield

    now = [100.0]
    if not debug:
        monkeypatch.setattr(kinds, "usual", TimedTask)
    with EventLoop(clock=lambda: now[0], debug=debug) as loop:
        task = a_sync(raw, loop=loop)
        now[0] += 1.5
        assert "waits for a raw resume, for 1.500 s" in task.where()
        loop.post(task.wake)
        loop.step()
        now[0] += 2.5
        assert "waits for a raw resume, for 2.500 s" in task.where()


def test_what_each_kind_waits_for() -> None:
    def grouped() -> Steps:
        group = TaskGroup()
        group.a_sync(await_sleep, 60)
        yield from group.await_all()

    def main() -> Steps:
        awaited = a_sync(await_sleep, 60, name="awaited")
        tasks = [
            awaited,
            a_sync(await_yield),
            a_sync(awaited.await_result),
            a_sync(await_task_in_thread, int),
            a_sync(await_callback, print),
            a_sync(grouped),
        ]
        waits = [str(task.waits_for) for task in tasks]
        yield from tasks[3].await_result()
        return waits

    assert run(main) == [
        "time (60.0 s)",
        "its next turn",
        "the result of task 'awaited'",
        "a thread, int()",
        "a callback from print",
        "the last task of its group",
    ]


def test_the_descriptor_and_its_peer(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    _, server = tcp_pair
    host, port = server.getpeername()
    with EventLoop() as loop:
        task = a_sync(await_readable, server, loop=loop)
        assert f"waits for descriptor {server.fileno()} readable ({host}:{port})" in task.where()
        task.cancel()
        loop.run()


def test_a_descriptor_without_a_peer(socket_pair: tuple[socket.socket, socket.socket]) -> None:
    left, _ = socket_pair
    with EventLoop() as loop, socket.socket() as unconnected:
        tasks = [a_sync(await_readable, file, loop=loop) for file in (left, unconnected)]
        for task, file in zip(tasks, (left, unconnected), strict=True):
            assert re.match(f".* waits for descriptor {file.fileno()} readable(, for .*)?\n", task.where())
            task.cancel()
        loop.run()


def test_a_running_task_shows_its_stack() -> None:
    def deep() -> str:
        task = Task.current()
        assert task is not None
        return task.where()  # deep stands there

    def main() -> Steps:
        yield from await_yield()
        return deep()  # main stands there

    shown = run(main).splitlines()
    assert shown[0].endswith("is running")
    assert [line.split(".")[-1] for line in shown[-2:]] == [
        f"main at {__file__}:{line_of('main stands there')}".split(".")[-1],
        f"deep at {__file__}:{line_of('deep stands there')}".split(".")[-1],
    ]


def test_one_that_has_ended() -> None:
    with EventLoop(debug=False) as loop:
        assert a_sync(lambda: None, loop=loop, name="quick").where() == "task 'quick' has ended"


def test_a_loop_dumps_its_tasks() -> None:
    out = io.StringIO()
    with EventLoop(debug=False) as loop:
        for number in range(2):
            a_sync(inner, loop=loop, name=f"number {number}")
        loop.dump(out)
    shown = out.getvalue()
    assert shown.splitlines()[0].startswith("<EventLoop")
    for number in range(2):
        assert f"task 'number {number}' waits for time (60.0 s)" in shown
    assert shown.count(f"  inner at {__file__}:{line_of('inner stands here')}") == 2


def test_which_procedure_a_task_awaits() -> None:
    @waitable
    def await_mine() -> Steps:
        yield from await_sleep(60)

    with EventLoop() as loop:
        tasks = [a_sync(each, loop=loop) for each in (await_mine, await_yield, outer)]
        assert [task.awaiting for task in tasks] == ["await_sleep()", "await_yield()", "await_call()"]

        def raw() -> Steps:
            yield

        tasks.append(a_sync(raw, loop=loop))
        assert tasks[-1].awaiting is None
        for task in tasks:
            task.cancel()
        loop.run()
