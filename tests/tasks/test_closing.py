"""Closing tasks with their loop: every `finally` runs, however deep it stands, and an await in it raises instead of suspending."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from eventsock import Cancelled, EventLoop, LoopStateError, TaskGroup, a_sync, await_call, await_sleep, waitable

Steps = Generator[Any, Any, None]


@waitable
def decorated(said: list[str]) -> Steps:
    try:
        yield from await_sleep(60)
    finally:
        try:
            yield from await_sleep(0)
        except LoopStateError:
            said.append("refused")


def plain(said: list[str]) -> Steps:
    yield from decorated(said)


async def coroutine(said: list[str]) -> None:
    await decorated(said)


def through_a_call(said: list[str]) -> Steps:
    yield from await_call(coroutine, said)


def in_a_group(said: list[str]) -> Steps:
    group = TaskGroup()
    group.a_sync(decorated, said)
    yield from group.await_all()


@pytest.mark.parametrize("body", [decorated, plain, coroutine, through_a_call, in_a_group])
def test_an_await_in_a_finally_raises_at_any_depth(body: Callable[[list[str]], Any]) -> None:
    said: list[str] = []
    with EventLoop() as loop:
        a_sync(body, said, loop=loop)
        loop.post(loop.quit)
        loop.run()
    assert said == ["refused"]


def test_a_task_that_swallows_cancellations_is_closed_all_the_same() -> None:
    said: list[str] = []

    def stays() -> Steps:
        while True:
            try:
                yield from await_sleep(60)
            except Cancelled:
                said.append("cancelled")
            finally:
                said.append("finally")

    with EventLoop() as loop:
        a_sync(stays, loop=loop)
        loop.post(loop.quit)
        loop.run()
    assert said == ["finally"]
