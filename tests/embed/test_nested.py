"""`loop.nested()`: a call that blocks, on top of a task, while everything else goes on.

Knows the loop and its tasks; the host is a loop of steps in the task itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from eventsock import (
    BusyError,
    EventLoop,
    LoopClosedError,
    LoopStateError,
    Task,
    a_sync,
    await_callback,
    await_readable,
    await_sleep,
    await_yield,
    get_resume,
)

Steps = Generator[Any, Any, None]


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    with EventLoop() as loop:
        yield loop


def dialog(loop: EventLoop, until: Callable[[], object], limit: int = 1000) -> None:
    """As a modal dialog does: steps the loop until something is so."""
    with loop.nested():
        for _ in range(limit):
            if until():
                return
            loop.step(0.01)
    raise AssertionError("the dialog was never answered")


def steps(loop: EventLoop, number: int, order: list[str]) -> None:
    """A dialog that is open for a few steps."""
    with loop.nested():
        for _ in range(number):
            loop.step(0.01)
            order.append("step")


def test_everything_else_goes_on(loop: EventLoop, socket_pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = socket_pair
    order: list[str] = []

    def reader() -> Steps:
        for _ in range(3):
            yield from await_readable(right)
            order.append(right.recv(1).decode())

    def talker() -> Steps:
        yield from await_yield()
        order.append("opens")
        dialog(loop, lambda: len(order) == 6)
        order.append("closes")
        yield from await_sleep(0.001)
        order.append("done")

    a_sync(reader, loop=loop)
    a_sync(talker, loop=loop)
    loop.timeout_post(0.01, lambda: left.send(b"xyz"), repeat=False)
    loop.post(lambda: loop.post(lambda: loop.post(lambda: order.append("post"))))
    loop.timeout_post(0.02, lambda: order.append("timeout"), repeat=False)
    loop.run()
    assert order[0] == "opens"
    assert sorted(order[1:6]) == ["post", "timeout", "x", "y", "z"]
    assert order[6:] == ["closes", "done"]


def test_dialogs_in_dialogs(loop: EventLoop) -> None:
    order: list[str] = []

    def asks(name: str, answer: str) -> Steps:
        yield from await_sleep(0.001)
        order.append(f"{name} opens")
        dialog(loop, lambda: answer in order)
        order.append(f"{name} closes")

    def asks_later() -> Steps:
        yield from await_sleep(0.005)
        yield from asks("inner", "answer")

    a_sync(asks, "outer", "inner closes", loop=loop)
    a_sync(asks_later, loop=loop)
    loop.timeout_post(0.02, lambda: order.append("answer"), repeat=False)
    loop.run()
    assert order == ["outer opens", "inner opens", "answer", "inner closes", "outer closes"]


def test_step_is_refused_outside_the_block(loop: EventLoop) -> None:
    texts: list[str] = []

    def task() -> Steps:
        yield from await_yield()
        with loop.nested():
            loop.step()
        try:
            loop.step()
        except LoopStateError as error:
            texts.append(str(error))

    a_sync(task, loop=loop)
    loop.run()
    assert "is already running" in texts[0]
    assert "nested()" in texts[0]


def test_run_is_refused_inside_the_block(loop: EventLoop) -> None:
    texts: list[str] = []

    def task() -> Steps:
        yield from await_yield()
        with loop.nested():
            try:
                loop.run()
            except LoopStateError as error:
                texts.append(str(error))
        assert loop.running
        yield from await_yield()
        texts.append("goes on")

    a_sync(task, loop=loop)
    loop.run()
    assert "is already running" in texts[0]
    assert texts[1:] == ["goes on"]


def test_nested_outside_a_callback_is_refused(loop: EventLoop) -> None:
    with pytest.raises(LoopStateError, match="for a callback or task"), loop.nested():
        pass
    with EventLoop() as other:
        other.post(lambda: loop.nested().__enter__())
        with pytest.raises(LoopStateError, match="for a callback or task"):
            other.run()


def test_resuming_the_one_on_the_stack_is_an_error(loop: EventLoop) -> None:
    texts: list[str] = []

    def on_stack() -> Steps:
        resume = get_resume()
        yield from await_yield()

        def answer() -> None:
            try:
                resume("now")
            except LoopStateError as error:
                texts.append(str(error))

        loop.post(answer)
        dialog(loop, lambda: texts)
        got = yield from await_callback(lambda one_shot: loop.post(lambda: one_shot("later")))
        texts.append(got)

    a_sync(on_stack, loop=loop, name="dialog")
    loop.run()
    assert "task 'dialog' is running" in texts[0]
    assert texts[1:] == ["later"]


def test_cancelling_the_one_on_the_stack_strikes_at_its_next_await(loop: EventLoop) -> None:
    order: list[str] = []

    def on_stack() -> Steps:
        yield from await_yield()
        loop.post(lambda: task.cancel("changed my mind"))
        steps(loop, 3, order)
        order.append("closed")
        try:
            yield from await_sleep(60)
        finally:
            order.append("cancelled")

    task: Task[None] = a_sync(on_stack, loop=loop)
    loop.run()
    assert task.cancelled
    assert order[-2:] == ["closed", "cancelled"]


def test_awaiting_the_one_on_the_stack_waits_for_its_end(loop: EventLoop) -> None:
    order: list[str] = []

    def on_stack() -> Generator[Any, Any, str]:
        yield from await_yield()
        a_sync(waiter)
        steps(loop, 3, order)
        yield from await_sleep(0.001)
        return "its result"

    def waiter() -> Steps:
        order.append((yield from task.await_result()))

    task: Task[str] = a_sync(on_stack, loop=loop)
    loop.run()
    assert order[-1] == "its result"


def test_direction_held_below_stays_held(loop: EventLoop, socket_pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = socket_pair
    errors: list[BaseException] = []

    def second() -> Steps:
        try:
            yield from await_readable(right)
        except BusyError as error:
            errors.append(error)

    def first() -> Steps:
        yield from await_readable(right)

    def asks() -> Steps:
        yield from await_yield()
        a_sync(second)
        dialog(loop, lambda: errors)
        left.send(b"x")

    a_sync(first, loop=loop)
    a_sync(asks, loop=loop)
    loop.run()
    assert len(errors) == 1


def test_what_was_polled_below_is_not_served_twice(loop: EventLoop) -> None:
    """Of two sockets ready in one turn the first opens a dialog, in which the second is served and becomes quiet again."""
    pairs = [socket.socketpair() for _ in range(2)]
    heard: list[bytes] = []

    def opens(status: str) -> bool:
        first[1].recv(10)
        dialog(loop, lambda: heard)
        a_sync(again)
        loop.timeout_post(0.02, lambda: second[0].send(b"late"), repeat=False)
        return False

    def hears(status: str) -> bool:
        heard.append(second[1].recv(10))
        return False

    def again() -> Steps:
        yield from await_readable(second[1])
        second[1].setblocking(False)
        heard.append(second[1].recv(10))  # not ready: the stale event of the turn below woke it

    first, second = pairs
    try:
        for each in pairs:
            each[0].send(b"x")
        loop.add_read_watch(first[1], opens)
        loop.add_read_watch(second[1], hears)
        loop.run()
    finally:
        for end in (*first, *second):
            end.close()
    assert heard == [b"x", b"late"]


def test_await_inside_the_block_is_refused(loop: EventLoop) -> None:
    def careless() -> Steps:
        yield from await_yield()
        with loop.nested():
            yield from await_sleep(0.001)

    a_sync(careless, loop=loop)
    with pytest.raises(LoopStateError, match="outside a task"):
        loop.run()


def test_task_that_suspends_inside_the_block_is_told(loop: EventLoop) -> None:
    def careless() -> Steps:
        yield from await_yield()
        resume = get_resume()
        loop.timeout_post(0.001, resume, repeat=False)
        with loop.nested():
            yield

    a_sync(careless, loop=loop)
    with pytest.raises(LoopStateError, match="a task was suspended inside"):
        loop.run()
    ran: list[str] = []
    loop.post(lambda: ran.append("post"))
    loop.run()
    assert ran == ["post"]


def test_task_closed_inside_the_block(loop: EventLoop) -> None:
    order: list[str] = []

    def careless() -> Steps:
        yield from await_yield()
        try:
            with loop.nested():
                yield
        finally:
            order.append("closed")

    a_sync(careless, loop=loop)
    loop.timeout_post(0.01, loop.quit, repeat=False)
    loop.run()
    assert order == ["closed"]


# What ends inside ends outside


def sleeper(order: list[str]) -> Steps:
    try:
        yield from await_sleep(60)
    finally:
        order.append("sleeper closed")


@pytest.mark.parametrize("verb", ["quit", "close"])
def test_quit_in_a_dialog_ends_the_run_when_the_dialog_closes(loop: EventLoop, verb: str) -> None:
    order: list[str] = []

    def asks() -> Steps:
        yield from await_yield()
        loop.post(getattr(loop, verb))
        loop.post(lambda: order.append("not run after quit"))
        with loop.nested():
            loop.step()
            order.append("dialog open")
            if verb == "quit":
                loop.post(lambda: order.append("served"))
                loop.step()
            else:
                with pytest.raises(LoopClosedError):
                    loop.step()
        order.append("dialog closed")
        try:
            yield from await_sleep(60)
        finally:
            order.append("asks closed")

    a_sync(sleeper, order, loop=loop)
    a_sync(asks, loop=loop)
    loop.run()
    if verb == "close":
        order.remove("not run after quit")  # a close runs what was accepted
        assert order == ["sleeper closed", "dialog open", "dialog closed", "asks closed"]
        assert loop.closed
        assert loop.fileno() is None
    else:
        assert order == ["sleeper closed", "dialog open", "served", "dialog closed", "asks closed"]
        assert loop.statistics().tasks == 0
        loop.post(lambda: order.append("runs again"))
        loop.run()
        assert order[-1] == "runs again"


@pytest.mark.parametrize("verb", ["quit", "close"])
def test_quit_between_the_steps_of_a_dialog(loop: EventLoop, verb: str) -> None:
    order: list[str] = []

    def asks() -> Steps:
        yield from await_yield()
        with loop.nested():
            loop.step()
            getattr(loop, verb)()  # a button of the host
            if verb == "quit":
                loop.step()
                order.append("dialog open")
        order.append("dialog closed")
        yield from await_sleep(60)

    a_sync(sleeper, order, loop=loop)
    a_sync(asks, loop=loop)
    loop.run()
    assert sorted(order) == sorted(["sleeper closed", "dialog closed"] + ["dialog open"] * (verb == "quit"))
    assert loop.statistics().tasks == 0


def test_error_in_a_dialog_leaves_its_step_and_ends_the_run(loop: EventLoop) -> None:
    order: list[str] = []

    def asks() -> Steps:
        yield from await_yield()
        loop.post(lambda: divmod(1, 0))
        with loop.nested():
            with pytest.raises(ZeroDivisionError):
                loop.step()
            order.append("dialog open")
        yield from await_sleep(60)

    a_sync(sleeper, order, loop=loop)
    a_sync(asks, loop=loop)
    loop.run()
    assert order == ["sleeper closed", "dialog open"]


def test_error_that_leaves_the_dialog_leaves_the_task(loop: EventLoop) -> None:
    def asks() -> Steps:
        yield from await_yield()
        with loop.nested():
            loop.step()
            raise ArithmeticError("in the dialog")

    a_sync(asks, loop=loop)
    with pytest.raises(ArithmeticError, match="in the dialog"):
        loop.run()


def test_no_task_is_current_on_top_of_one(loop: EventLoop) -> None:
    seen: list[object] = []

    def asks() -> Steps:
        yield from await_yield()
        loop.post(lambda: seen.append(Task.current()))
        with loop.nested():
            seen.append(Task.current())
            loop.step()
        seen.append(Task.current())

    task = a_sync(asks, loop=loop)
    loop.run()
    assert seen == [None, None, task]


def test_post_from_inside_wakes_the_host(loop: EventLoop) -> None:
    """Between the steps of a dialog the loop is asleep: a change must tell the host, as between any two steps."""
    calls: list[str] = []

    def asks() -> Steps:
        yield from await_yield()
        loop.on_wake(lambda: calls.append("wake"))
        with loop.nested():
            loop.step()
            calls.clear()
            loop.post(int)
            loop.post(int)
            assert calls == ["wake"]
            loop.step()
            calls.clear()
            assert loop.next_deadline() is None
            loop.timeout_post(1, int)
            assert calls == ["wake"]
        calls.clear()
        loop.post(int)
        assert calls == []
        loop.on_wake(None)
        loop.quit()

    loop.block()
    a_sync(asks, loop=loop)
    loop.run()
