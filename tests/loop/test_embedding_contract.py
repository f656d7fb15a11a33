"""`fileno`, `next_deadline`, `step`, `on_wake`: what a host relies on."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest

from eventsock import EventLoop, LoopStateError, a_sync, await_receive, await_sleep, running_event_loop
from loop_kit import Clock, MakeLoop, Noted, after, busy_time, in_thread, until

Pair = tuple[socket.socket, socket.socket]
Steps = Generator[Any, Any, None]


def _is_readable(fd: int | None, timeout: float = 0) -> bool:
    assert fd is not None
    return bool(select.select([fd], [], [], timeout)[0])


@pytest.fixture
def hosted(make_loop: MakeLoop) -> EventLoop:
    """A loop whose selector has a descriptor to be watched by a host."""
    loop: EventLoop = make_loop()
    if loop.fileno() is None:
        pytest.skip("this selector has no descriptor")
    return loop


# fileno


def test_fileno_is_readable_when_a_descriptor_is_ready(hosted: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()
    hosted.add_read_watch(right, noted.note("read", False))
    hosted.step()
    assert not _is_readable(hosted.fileno())
    left.send(b"x")
    assert _is_readable(hosted.fileno())
    hosted.step()
    assert noted == [("read", "in")]
    assert not _is_readable(hosted.fileno())


def test_fileno_is_readable_when_a_foreign_thread_has_posted(hosted: EventLoop) -> None:
    hosted.block()
    hosted.step()
    assert not _is_readable(hosted.fileno())
    with in_thread(lambda: hosted.post(int)):
        pass
    assert _is_readable(hosted.fileno())
    hosted.step()
    assert not _is_readable(hosted.fileno())
    hosted.block(False)


def test_fileno_is_none_where_the_selector_has_none(loop: EventLoop, kind: str) -> None:
    assert (loop.fileno() is None) == (kind in ("own poll", "standard poll", "standard select"))


def test_fileno_stays_the_same_when_the_selector_is_rebuilt(make_loop: MakeLoop, kind: str, pair: Pair) -> None:
    if kind not in ("default", "debug", "own epoll"):
        pytest.skip("our own epoll selector promises it")
    loop = make_loop()
    left, right = pair
    with select.epoll() as host:
        fd = loop.fileno()
        assert fd is not None
        host.register(fd, select.EPOLLIN)
        noted = Noted()
        loop.add_read_watch(right, noted.note("read", False))
        loop.step()
        loop.book.rebuild()
        loop.step()
        assert loop.fileno() == fd
        left.send(b"x")
        assert host.poll(1) == [(fd, select.EPOLLIN)]
        loop.step()
        assert noted == [("read", "in")]


def test_post_that_comes_while_a_step_ends_is_told(hosted: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the step has looked whether anything remains: then only the descriptor can tell."""
    hosted.step()
    remains = hosted._remains

    def posted_meanwhile() -> bool:
        more = remains()
        with in_thread(lambda: hosted.post(int)):
            pass
        return more

    with monkeypatch.context() as patch:
        patch.setattr(hosted, "_remains", posted_meanwhile)
        assert hosted.step() is False
    assert _is_readable(hosted.fileno())
    assert hosted.next_deadline() == 0.0
    hosted.step()


# next_deadline


def test_next_deadline(make_loop: MakeLoop) -> None:
    clock = Clock()
    loop = make_loop(clock=clock)
    assert loop.next_deadline() is None
    timeout = loop.timeout_post(5, int)
    loop.timeout_post(9, int)
    assert loop.next_deadline() == 5.0
    clock.advance(2)
    assert loop.next_deadline() == 3.0
    clock.advance(4)
    assert loop.next_deadline() == 0.0
    loop.timeout_remove(timeout)
    assert loop.next_deadline() == 3.0
    loop.post(int)
    assert loop.next_deadline() == 0.0
    loop.step()


def test_next_deadline_is_none_when_only_descriptors_are_waited_for(loop: EventLoop, pair: Pair) -> None:
    loop.add_read_watch(pair[0], print)
    loop.timeout_post(float("inf"), print)
    assert loop.next_deadline() is None
    loop.remove_read_watch(pair[0])


# step


def test_step_is_one_turn(loop: EventLoop) -> None:
    noted = Noted()
    loop.post(lambda: loop.post(noted.note("second")))
    assert loop.step() is True
    assert noted == []
    assert loop.step() is False
    assert noted == ["second"]


@pytest.mark.parametrize("what", ["watch", "timeout", "post", "worker", "block", "task"])
def test_step_is_true_while_anything_remains(what: str, loop: EventLoop, pair: Pair) -> None:
    def waits() -> Steps:
        yield from await_receive(pair[0], 1)

    begin: dict[str, Callable[[], object]] = {
        "watch": lambda: loop.add_read_watch(pair[0], print),
        "timeout": lambda: loop.timeout_post(60, print),
        "post": lambda: loop.post(lambda: loop.post(int)),
        "worker": lambda: loop.keep_alive("job"),
        "block": loop.block,
        "task": lambda: a_sync(waits, loop=loop),
    }
    assert loop.step() is False
    begin[what]()
    assert loop.step() is True
    loop.quit()
    assert loop.step() is False
    loop.block(False)


def test_step_does_not_wait_unless_told(loop: EventLoop) -> None:
    loop.timeout_post(60, print)
    started = time.monotonic()
    loop.step()
    loop.step(-5)
    assert time.monotonic() - started < 5


def test_step_waits_as_long_as_told_and_not_longer_than_the_next_timeout(loop: EventLoop) -> None:
    loop.timeout_post(60, print)
    loop.step()
    started = time.monotonic()
    loop.step(0.03)
    assert 0.03 <= time.monotonic() - started < 5
    noted = Noted()
    started = time.monotonic()
    loop.timeout_post(0.03, noted.note("fired"), repeat=False)
    while not noted:
        loop.step(60)
    assert 0.03 <= time.monotonic() - started < 5


def test_step_without_work_waits_for_a_foreign_post(loop: EventLoop) -> None:
    noted = Noted()
    with in_thread(after(0.03, partial(loop.post, noted.note("posted")))):
        loop.step(20)
    until(loop, lambda: noted, 1.0)


def test_step_without_limit_runs_until_nothing_is_left(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()
    loop.add_read_watch(right, noted.note("read", False))
    loop.timeout_post(0.01, lambda: left.send(b"x"), repeat=False)
    while loop.step(None):
        pass
    assert noted == [("read", "in")]
    assert loop.step(None) is False


def test_first_step_makes_this_the_current_loop_of_the_thread(loop: EventLoop) -> None:
    assert running_event_loop() is None
    loop.step()
    assert running_event_loop() is loop
    noted = Noted()

    def task() -> Steps:
        yield from await_sleep(0)
        noted.append("ran")

    a_sync(task)  # no loop named
    until(loop, lambda: noted)
    loop.close()
    assert running_event_loop() is None


def test_two_stepped_loops_in_one_thread(make_loop: MakeLoop) -> None:
    one, other = make_loop(), make_loop()
    noted = Noted()
    one.post(noted.note("one"))
    other.post(noted.note("other"))
    one.step()
    other.step()
    assert noted == ["one", "other"]
    one.close()
    assert running_event_loop() is other


def test_run_inside_a_thread_with_a_stepped_loop_gives_the_place_back(make_loop: MakeLoop) -> None:
    stepped, other = make_loop(), make_loop()
    stepped.step()
    other.run()
    assert running_event_loop() is stepped


def test_step_belongs_to_one_thread(loop: EventLoop) -> None:
    loop.block()
    loop.step()

    def works() -> None:
        with pytest.raises(LoopStateError, match="is driven by thread"):
            loop.step()

    with in_thread(works):
        pass
    loop.block(False)


def test_budget_limits_the_time_of_one_turn(make_loop: MakeLoop) -> None:
    clock = Clock()
    loop, noted = make_loop(clock=clock), Noted()

    def slow(name: str) -> None:
        noted.append(name)
        clock.advance(0.25)

    for number in range(6):
        loop.post(partial(slow, f"post {number}"))
    loop.step(budget=0.5)
    assert noted == ["post 0", "post 1"]
    assert loop.next_deadline() == 0.0
    loop.step(budget=0.5)
    assert noted == [f"post {number}" for number in range(4)]
    loop.step()
    assert len(noted) == 6


def test_budget_of_nothing_still_serves_one_of_each(make_loop: MakeLoop, pair: Pair) -> None:
    """Else a host with too small a budget would never see the last of them."""
    clock = Clock()
    loop, noted = make_loop(clock=clock), Noted()
    left, right = pair
    left.send(b"x")
    for kind in ("a", "b"):
        loop.timeout_post(0, noted.note(f"timeout {kind}"), repeat=False)
        loop.post(noted.note(f"post {kind}"))
    loop.add_read_watch(right, noted.note("read", False))
    loop.step(budget=0)
    assert noted == ["timeout a", ("read", "in"), "post a"]
    loop.step(budget=0)
    assert noted[3:] == ["timeout b", "post b"]


def test_budget_left_over_descriptors_are_served_next(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()
    pairs = [socket.socketpair() for _ in range(4)]
    for number, (left, right) in enumerate(pairs):
        left.send(b"x")
        loop.add_read_watch(right, noted.note(number))
    for count in range(1, 5):
        loop.step(budget=0)
        assert len(noted) == count
        assert loop.next_deadline() == 0.0 or count == 4
    assert len({name for name, _ in noted}) == 4
    loop.quit()
    loop.step()
    for pair in pairs:
        for each in pair:
            each.close()


# on_wake


def _changes(loop: EventLoop, pair: Pair) -> dict[str, Callable[[], object]]:
    return {
        "post": lambda: loop.post(int),
        "timeout": lambda: loop.timeout_post(1, int, repeat=False),
        "read watch": lambda: loop.add_read_watch(pair[0], lambda status: False),
        "write watch": lambda: loop.add_write_watch(pair[0], lambda status: False),
        "block": lambda: loop.block(False),
        "quit": loop.quit,
        "close": loop.close,
    }


@pytest.mark.parametrize("what", ["post", "timeout", "read watch", "write watch", "block", "quit", "close"])
@pytest.mark.parametrize("where", ["here", "another thread"])
def test_change_between_steps_calls_on_wake_once_in_the_thread_that_made_it(what: str, where: str, make_loop: MakeLoop, pair: Pair) -> None:
    loop, threads = make_loop(), Noted()
    loop.block()
    loop.on_wake(lambda: threads.append(threading.get_ident()))
    loop.timeout_post(60, print)
    loop.step()
    loop.next_deadline()
    threads.clear()
    change = _changes(loop, pair)[what]
    if where == "here":
        change()
        assert threads == [threading.get_ident()]
    else:
        with in_thread(change) as thread:
            pass
        assert threads == [thread.ident]
    if what != "close" or where != "here":
        loop.quit()
        loop.step()
        if not loop.closed:
            loop.block(False)


def test_on_wake_is_called_once_until_the_host_asks_again(loop: EventLoop) -> None:
    noted = Noted()
    loop.block()
    loop.on_wake(noted.note("woken"))
    loop.step()
    loop.next_deadline()
    for _ in range(5):
        loop.post(int)
    assert noted == ["woken"]
    loop.next_deadline()
    loop.timeout_post(0, int, repeat=False)
    assert noted == ["woken"], "0.0 was told already: nothing can be earlier"
    loop.step()
    loop.next_deadline()
    loop.post(int)
    assert noted == ["woken"] * 2
    loop.step()
    loop.block(False)


def test_on_wake_is_told_of_an_earlier_timeout_only(make_loop: MakeLoop) -> None:
    noted = Noted()
    loop = make_loop(clock=Clock())
    loop.on_wake(noted.note("woken"))
    loop.timeout_post(10, int)
    loop.step()
    assert loop.next_deadline() == 10.0
    noted.clear()
    loop.timeout_post(20, int)
    loop.timeout_post(float("inf"), int)
    assert noted == []
    loop.timeout_post(5, int)
    assert noted == ["woken"]
    assert loop.next_deadline() == 5.0
    loop.timeout_post(7, int)
    assert noted == ["woken"]
    loop.timeout_post(1, int)
    assert noted == ["woken"] * 2


def test_on_wake_is_not_called_within_a_step(loop: EventLoop) -> None:
    noted = Noted()
    loop.on_wake(noted.note("woken"))
    loop.post(lambda: loop.post(int))
    noted.clear()
    loop.step()
    loop.step()
    assert noted == []


def test_on_wake_is_not_called_while_a_step_sleeps(loop: EventLoop) -> None:
    noted = Noted()
    loop.block()
    loop.step()
    loop.on_wake(noted.note("woken"))
    with in_thread(after(0.3, partial(loop.post, int))):
        loop.step(20)
    assert noted == []
    loop.block(False)
    loop.step()


def test_on_wake_can_be_taken_back(loop: EventLoop) -> None:
    noted = Noted()
    loop.on_wake(noted.note("woken"))
    loop.on_wake(None)
    loop.post(int)
    assert noted == []
    loop.run()
    with pytest.raises(TypeError, match="callback must be callable"):
        loop.on_wake(5)  # type: ignore[arg-type]


def test_every_change_made_from_host_code_reaches_the_kernel_at_once(hosted: EventLoop, pair: Pair) -> None:
    """A watch that is added between steps makes the descriptor readable without a further step."""
    left, right = pair
    left.send(b"x")
    hosted.block()
    hosted.step()
    hosted.next_deadline()
    with select.epoll() as host:
        fd = hosted.fileno()
        assert fd is not None
        host.register(fd, select.EPOLLIN)
        assert host.poll(0) == []
        hosted.add_read_watch(right, lambda status: False)
        assert host.poll(1) == [(fd, select.EPOLLIN)]
    hosted.block(False)
    hosted.run()


# A whole host


def test_fault_137_driven_by_asyncio(hosted: EventLoop, pair: Pair) -> None:
    """Nested epoll, a timer for the deadline, and a wake from another thread: no spin, nothing late, nothing lost."""
    left, right = pair
    noted = Noted()

    def task() -> Steps:
        noted.append((yield from await_receive(right, 10)))
        started = hosted.time()
        yield from await_sleep(0.03)
        noted.append("in time" if 0.03 <= hosted.time() - started < 1 else "not in time")

    async def host() -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        alarm: list[asyncio.TimerHandle] = []

        def serve() -> None:
            while alarm:
                alarm.pop().cancel()
            if not hosted.step(budget=0.005):
                ended.cancel()
            deadline = hosted.next_deadline()
            if deadline is not None:
                alarm.append(loop.call_later(deadline, serve))

        fd = hosted.fileno()
        assert fd is not None
        hosted.on_wake(lambda: loop.call_soon_threadsafe(serve))
        loop.add_reader(fd, serve)
        a_sync(task, loop=hosted)
        loop.call_later(0.02, left.send, b"data")
        with busy_time() as busy, in_thread(after(0.05, partial(hosted.post, noted.note("posted")))):
            await asyncio.wait([ended], timeout=10)
            assert ended.done()
            assert busy() < 0.9
        loop.remove_reader(fd)
        hosted.on_wake(None)

    asyncio.run(host())
    until(hosted, lambda: len(noted) == 3)
    assert set(noted) == {b"data", "in time", "posted"}


def test_fault_137_host_that_stops_calling(hosted: EventLoop) -> None:
    """Nothing is lost: what has come meanwhile is served when it calls again."""
    noted = Noted()
    hosted.timeout_post(0.01, noted.note("timeout"), repeat=False)
    hosted.step()
    with in_thread(lambda: hosted.post(noted.note("post"))):
        pass
    time.sleep(0.03)
    assert noted == []
    hosted.step()
    assert noted == ["timeout", "post"]
