"""What must hold in every host: each case is a generator that yields for how long, or until when, its host is to run.

Knows the contract of embedding and the shape that `host_drivers` gives a host; no host in particular.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from eventsock import (
    EventLoop,
    LoopStateError,
    Stream,
    a_sync,
    await_accept_ipv4_connection,
    await_connect_to_ipv4_host,
    await_readable,
    await_sleep,
    await_yield,
    basic,
    embed,
    running_event_loop,
)
from host_drivers import Case, Host, Wish

Steps = Generator[Wish, Any, None]
Task = Generator[Any, Any, None]

CASES: list[Case] = []


def case(function: Case) -> Case:
    CASES.append(function)
    return function


class Ticker:
    """The host's own timer, over and over: whether it is served in time shows how the host feels."""

    def __init__(self, host: Host, period: float) -> None:
        self.times = [time.monotonic()]
        self._host = host
        self._period = period
        self._on = True
        self._tick()

    def _tick(self) -> None:
        if self._on:
            self.times.append(time.monotonic())
            self._host.after(self._period, self._tick)

    def stop(self) -> None:
        self._on = False

    @property
    def median(self) -> float:
        return sorted(self._gaps())[len(self.times) // 2 - 1]

    @property
    def longest(self) -> float:
        return max(self._gaps())

    def _gaps(self) -> list[float]:
        return [b - a for a, b in zip(self.times, self.times[1:], strict=False)]


calls_of_host: list[None] = []
"""Grows with each call that a host makes to any guest, from `count_calls` on."""


def count_calls() -> None:
    serve = embed.Guest.serve

    def counted(self: embed.Guest) -> None:
        calls_of_host.append(None)
        serve(self)

    embed.Guest.serve = counted  # type: ignore[method-assign]


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


def hear(sock: socket.socket, heard: list[bytes]) -> Task:
    while True:
        yield from await_readable(sock)
        heard.append(sock.recv(100))


def refused(action: Callable[[], object]) -> str:
    try:
        action()
    except LoopStateError as error:
        return str(error)
    raise AssertionError(f"{action} was not refused")


# What it is for


@case
def task_talks_while_host_ticks(host: Host) -> Steps:
    said: list[bytes | None] = []

    def answer(listener: socket.socket) -> Task:
        sock, _ = yield from await_accept_ipv4_connection(listener)
        with Stream(sock) as stream:
            while (line := (yield from stream.await_getline())) is not None:
                yield from stream.await_put_bytes(line.upper() + b"\n")

    def ask(port: int) -> Task:
        with Stream((yield from await_connect_to_ipv4_host("127.0.0.1", port=port))) as stream:
            for number in range(20):
                yield from stream.await_put_bytes(b"line %d\n" % number)
                said.append((yield from stream.await_getline()))
                yield from await_sleep(0.005)

    with EventLoop() as loop, host.attach(loop), basic.listen_on_ipv4_socket("127.0.0.1", 0) as listener:
        ticker = Ticker(host, 0.01)
        a_sync(answer, listener)
        a_sync(ask, listener.getsockname()[1])
        yield lambda: len(said) == 20
        ticker.stop()
        assert said == [b"LINE %d" % number for number in range(20)]
        assert len(ticker.times) >= 5
        assert ticker.longest < 2
    assert host.reported == []


@case
def idle_host_is_left_alone(host: Host) -> Steps:
    if not host.counts:
        return
    with pair() as (left, right), EventLoop() as loop, host.attach(loop):
        heard: list[bytes] = []
        a_sync(hear, right, heard)
        loop.add_read_watch(left, lambda status: None)
        right.send(b"x")
        left.send(b"y")
        loop.remove_read_watch(left)
        yield lambda: heard
        yield 0.05
        turns = loop.statistics().turns
        calls_of_host.clear()
        yield 1.0
        assert (len(calls_of_host), loop.statistics().turns - turns) == (0, 0)
        left.send(b"z")
        yield lambda: len(heard) == 2


@case
def post_of_a_thread_is_soon_served(host: Host) -> Steps:
    delays: list[float] = []

    def post(loop: EventLoop) -> None:
        for _ in range(20):
            time.sleep(0.01)
            sent = time.monotonic()
            loop.post(lambda sent=sent: delays.append(time.monotonic() - sent))  # type: ignore[misc]

    with EventLoop() as loop, host.attach(loop):
        thread = threading.Thread(target=post, args=(loop,))
        thread.start()
        yield lambda: len(delays) == 20
        thread.join()
    quickest, median = sorted(delays)[::10]
    print(f"latency of a posted callback: at best {quickest * 1e3:.2f} ms, median {median * 1e3:.2f} ms")
    # The quickest shows what the host takes, the others what else the machine has to do.
    assert quickest < 0.005
    assert median < 0.1


@case
def change_in_a_host_callback_is_seen(host: Host) -> Steps:
    seen: set[str] = set()

    def nap() -> Task:
        yield from await_sleep(0.02)
        seen.add("nap")

    def begin() -> None:
        assert running_event_loop() is loop
        a_sync(nap)
        loop.post(lambda: seen.add("post"))
        loop.timeout_post(0.04, lambda: seen.add("timeout"), repeat=False)

    with EventLoop() as loop, host.attach(loop):
        yield 0.02  # the guest has nothing to do and the host sleeps
        host.after(0.01, begin)
        yield lambda: seen == {"post", "nap", "timeout"}


@case
def timeouts_are_not_early(host: Host) -> Steps:
    early: list[float] = []

    def sleep(seconds: float) -> Task:
        start = loop.time()
        yield from await_sleep(seconds)
        early.append(loop.time() - start - seconds)

    with EventLoop() as loop, host.attach(loop):
        calls_of_host.clear()
        for number in range(20):
            a_sync(sleep, number * 0.0037)
        yield lambda: len(early) == 20
        assert min(early) >= 0
        if host.counts:
            assert len(calls_of_host) <= 28, "the guest was called again and again for one deadline"


@case
def busy_guest_leaves_the_host_responsive(host: Host) -> Steps:
    with EventLoop() as loop, host.attach(loop):
        going = True

        def work() -> None:
            time.sleep(0.001)
            if going:
                loop.post(work)

        def spin() -> Task:
            while going:
                yield from await_yield()

        def draw() -> None:
            drawn.append(None)
            if going:
                host.when_idle(draw)

        drawn: list[None] = []
        for _ in range(50):
            loop.post(work)
        a_sync(spin)
        ticker = Ticker(host, 0.01)
        host.when_idle(draw)
        yield 0.5
        going = False
        ticker.stop()
        # Fifty callbacks of a millisecond are ready at any time: without a budget each turn would take fifty.
        assert ticker.median < 0.05
        assert len(drawn) > 5
        yield lambda: not loop.pending_posts


# Errors


@case
def error_of_a_task_is_reported_and_the_rest_goes_on(host: Host) -> Steps:
    def fail() -> Task:
        yield from await_sleep(0.01)
        raise ArithmeticError("a task")

    with pair() as (left, right), EventLoop() as loop, host.attach(loop):
        heard: list[bytes] = []
        a_sync(hear, right, heard)
        a_sync(fail)
        loop.timeout_post(0.02, partial(divmod, 1, 0), repeat=False)
        yield lambda: len(host.reported) == 2
        left.send(b"still here")
        yield lambda: heard
    assert [type(error) for error in host.reported] == [ArithmeticError, ZeroDivisionError]
    assert loop.on_error is None


@case
def own_on_error_has_the_first_say(host: Host) -> Steps:
    errors: list[BaseException] = []
    with EventLoop(on_error=lambda error, where: errors.append(error)) as loop:
        handler = loop.on_error
        with host.attach(loop):
            loop.post(partial(divmod, 1, 0))
            yield lambda: errors
        assert loop.on_error is handler
    assert host.reported == []


@case
def attach_twice_is_refused(host: Host) -> Steps:
    with pair() as (left, right), EventLoop() as loop, host.attach(loop) as guest:
        heard: list[bytes] = []
        text = refused(lambda: host.attach(loop))
        assert f"attached to {guest} already" in text
        a_sync(hear, right, heard)
        left.send(b"x")
        yield lambda: heard  # the first one is unharmed
        guest.detach()
        with host.attach(loop):
            left.send(b"y")
            yield lambda: len(heard) == 2
        guest.detach()  # a second time: nothing


@case
def running_or_closed_loop_is_refused(host: Host) -> Steps:
    texts: list[str] = []
    with EventLoop() as loop:
        loop.post(lambda: texts.append(refused(lambda: host.attach(loop))))
        loop.run()
        loop.block()
        thread = threading.Thread(target=loop.run)
        thread.start()
        while not loop.running:
            time.sleep(0.001)
        texts.append(refused(lambda: host.attach(loop)))
        loop.quit()
        thread.join()
    texts.append(refused(lambda: host.attach(loop)))
    assert "is running" in texts[0]
    assert "belongs to thread" in texts[1]
    assert "closed" in texts[2]
    assert running_event_loop() is None
    yield 0.0


@case
def run_is_refused_while_attached(host: Host) -> Steps:
    texts: list[str] = []

    def task() -> Task:
        yield from await_yield()
        texts.append(refused(loop.run))

    with EventLoop() as loop, host.attach(loop) as guest:
        a_sync(task)
        host.after(0.01, lambda: texts.append(refused(loop.run)))
        yield lambda: len(texts) == 2
        assert all(f"stepped by {guest}" in text and "a_sync" in text for text in texts)
    with EventLoop() as alone:  # by itself it runs as ever
        alone.post(lambda: texts.append("run"))
        alone.run()
    assert texts[-1] == "run"


# Who ends first


@case
def loop_closed_in_a_host_callback(host: Host) -> Steps:
    ended: list[str] = []

    def task() -> Task:
        try:
            yield from await_sleep(60)
        finally:
            ended.append("task")

    loop = EventLoop()
    guest = host.attach(loop)
    a_sync(task)
    host.after(0.01, loop.close)
    yield lambda: ended
    yield from _is_gone(host, guest)


@case
def loop_closed_by_its_own_task(host: Host) -> Steps:
    def task() -> Task:
        yield from await_sleep(0.01)
        loop.close()

    loop = EventLoop()
    guest = host.attach(loop)
    a_sync(task)
    yield lambda: not guest.attached
    yield from _is_gone(host, guest)


@case
def loop_closed_in_another_thread(host: Host) -> Steps:
    loop = EventLoop()
    guest = host.attach(loop)
    a_sync(await_sleep, 0.05)
    yield 0.01
    thread = threading.Thread(target=loop.close)
    thread.start()
    thread.join()
    with pair():  # the numbers that the loop had are others' now
        yield 0.1
        guest.detach()
    yield from _is_gone(host, guest)


def _is_gone(host: Host, guest: embed.Guest) -> Steps:
    calls_of_host.clear()
    ticker = Ticker(host, 0.01)
    start = time.process_time()
    yield lambda: len(ticker.times) > 20
    ticker.stop()
    assert not guest.attached
    assert running_event_loop() is None
    assert guest.loop.host is None
    if host.counts:
        assert calls_of_host == []
        assert time.process_time() - start < 0.15
    assert host.reported == []


@case
def detached_loop_goes_on_by_itself(host: Host) -> Steps:
    done: list[str] = []

    def task() -> Task:
        yield from await_sleep(0.01)
        guest.detach()
        assert running_event_loop() is loop
        yield from await_sleep(0.02)
        done.append("task")

    with EventLoop() as loop:
        guest = host.attach(loop)
        a_sync(task)
        yield lambda: not guest.attached
        assert running_event_loop() is None
        yield 0.05
        assert done == []
        loop.run()
        assert done == ["task"]


@case
def host_that_ends_first(host: Host) -> Steps:
    done: list[str] = []

    def task() -> Task:
        yield from await_sleep(0.02)
        done.append("task")

    with EventLoop() as loop:
        guest = host.attach(loop)
        a_sync(task, loop=loop)
        host.end()
        if type(host).__name__ == "TrioHost":
            yield lambda: not guest.attached
        loop.post(lambda: done.append("post"))
        guest.detach()
        loop.run()
    assert sorted(done) == ["post", "task"]
    assert host.reported == []


@case
def host_that_stops_calling(host: Host) -> Steps:
    ran: list[int] = []
    with pair() as (left, right), EventLoop() as loop, host.attach(loop):
        heard: list[bytes] = []
        a_sync(hear, right, heard)
        every: list[float] = []
        loop.timeout_post(0.01, lambda: every.append(loop.time()))
        yield 0.03
        rings = loop.statistics().wake_ups
        fired = len(every)
        left.send(b"x")
        for number in range(1000):
            loop.post(partial(ran.append, number))
        time.sleep(0.1)  # the host is busy with something else
        assert loop.statistics().wake_ups <= rings + 1
        assert (ran, heard, len(every)) == ([], [], fired)
        yield lambda: heard and len(ran) == 1000
        yield 0.03
        assert ran == list(range(1000))
        assert len(every) <= fired + 10  # the periods that were missed are not replayed


@case
def nothing_is_left_open(host: Host) -> Steps:
    def attach_and_detach() -> None:
        with EventLoop() as loop, host.attach(loop):
            loop.timeout_post(60, print)

    attach_and_detach()
    yield 0.01
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        attach_and_detach()
        yield 0.01
    assert len(os.listdir("/proc/self/fd")) == len(before)


def _with_renewed_selector(host: Host, loop: EventLoop) -> Steps:
    with pair() as (left, right), loop, host.attach(loop):
        heard: list[bytes] = []
        a_sync(hear, right, heard)
        ghost, peer = socket.socketpair()
        loop.add_read_watch(ghost.fileno(), lambda status: None)
        alias = ghost.dup()
        yield 0.01
        loop.remove_read_watch(ghost.fileno())
        loop.add_read_watch(ghost, lambda status: None)
        ghost.close()  # behind the loop's back, while a duplicate lives
        with peer, alias:
            peer.send(b"to a ghost")
            yield lambda: loop.statistics().selector_rebuilds
            left.send(b"x")
            yield lambda: heard
            start = time.process_time()
            yield 0.2
            if host.counts:
                assert time.process_time() - start < 0.1


@case
def renewed_selector_is_still_heard(host: Host) -> Steps:
    yield from _with_renewed_selector(host, EventLoop())


@case
def renewed_selector_of_the_user_is_still_heard(host: Host) -> Steps:
    yield from _with_renewed_selector(host, EventLoop(selector=selectors.DefaultSelector()))


# A modal dialog


def go_on_until(host: Host, done: Callable[[], object]) -> None:
    for _ in range(250):
        if done():
            return
        host.go_on(0.02)
    raise AssertionError("what the dialog waits for did not happen")


@case
def dialog_within_nested(host: Host) -> Steps:
    if not host.nests:
        return
    order: list[str] = []

    def dialog() -> Task:
        yield from await_sleep(0.01)
        order.append("opens")
        with loop.nested():
            go_on_until(host, lambda: "other" in order)
        order.append("closes")
        yield from await_sleep(0.01)
        order.append("dialog")

    def other(sock: socket.socket) -> Task:
        yield from await_sleep(0.03)
        for _ in range(3):
            yield from await_readable(sock)
            sock.recv(1)
            yield from await_sleep(0.01)
        order.append("other")

    with pair() as (left, right), EventLoop() as loop, host.attach(loop) as guest:
        left.send(b"xyz")
        a_sync(dialog)
        a_sync(other, right)
        yield lambda: "dialog" in order
        assert order == ["opens", "other", "closes", "dialog"]
        assert guest.attached
    assert host.reported == []


@case
def dialog_without_nested(host: Host) -> Steps:
    if not host.nests:
        return
    order: list[str] = []

    def dialog() -> Task:
        yield from await_sleep(0.01)
        order.append("opens")
        start = time.process_time()
        host.go_on(0.2)
        order.append("closes" if time.process_time() - start < 0.1 or not host.counts else "spins")

    with pair() as (left, right), EventLoop() as loop, host.attach(loop):
        heard: list[bytes] = []
        a_sync(hear, right, heard)
        a_sync(dialog)
        host.after(0.05, lambda: left.send(b"x"))
        host.after(0.1, lambda: order.append(f"heard {len(heard)}"))
        yield lambda: "closes" in order or "spins" in order
        assert order == ["opens", "heard 0", "closes"]
        yield lambda: heard
    assert host.reported == []


@case
def dialog_of_a_loop_that_runs_itself(host: Host) -> Steps:
    """Ours is the loop of the program; a task opens a window, whose host steps the loop as long as it is open."""
    if not host.nests:
        return
    order: list[str] = []

    def dialog() -> Task:
        yield from await_sleep(0.01)
        with loop.nested(), host.attach(loop):
            go_on_until(host, lambda: "other" in order)
        order.append("closed")
        yield from await_sleep(0.01)
        order.append("dialog")

    def other() -> Task:
        yield from await_sleep(0.03)
        order.append("other")

    with EventLoop() as loop:
        a_sync(dialog, loop=loop)
        a_sync(other, loop=loop)
        loop.run()
    assert order == ["other", "closed", "dialog"]
    assert running_event_loop() is None
    yield 0.0


@case
def two_guests(host: Host) -> Steps:
    if not host.several:
        return
    with pair() as (left, right), EventLoop() as one, EventLoop() as two, host.attach(one) as first, host.attach(two):
        heard: list[bytes] = []
        others: list[bytes] = []
        a_sync(hear, left, heard, loop=one)
        a_sync(hear, right, others, loop=two)
        right.send(b"to the first")
        left.send(b"to the second")
        yield lambda: heard and others
        first.detach()
        right.send(b"not heard")
        left.send(b"again")
        yield lambda: len(others) == 2
        yield 0.02
        assert len(heard) == 1
