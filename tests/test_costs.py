"""What an operation costs, counted and not timed: system calls by a selector and a socket that count, work by calls and comparisons.

Knows what each technique saves, and proves that it is still saved. How long things take is for the benchmarks. That a post makes no
system call while the loop is awake, and one for a sleep at the most, is counted in loop/test_thread_safety.py.
"""

from __future__ import annotations

import gc
import math
import random
import socket
import sys
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import pytest

from eventsock import (
    EventLoop,
    Meeting,
    Stream,
    TaskGroup,
    a_sync,
    await_meeting_receive,
    await_receive,
    await_send_all,
    await_serve,
    await_sleep,
    await_writable,
    await_yield,
    run,
    running_event_loop,
)
from eventsock.basic import listen_on_ipv4_socket
from eventsock.loop.selectors import EpollSelector
from eventsock.loop.timers import TimerHeap
from eventsock.tasks.operations import Arm
from loop_kit import timeout_of

Steps = Generator[Any, Any, Any]

MESSAGES = 200


class CountingSelector(EpollSelector):
    """Counts what the loop asks of the system: `calls["add"]`, `["change"]`, `["remove"]`, `["poll"]`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        super().__init__()

    def _open(self) -> None:
        super()._open()
        poll = self.poll

        def counted(timeout: float | None) -> list[tuple[int, int]]:
            self.calls["poll"] += 1
            return poll(timeout)

        self.poll = counted  # type: ignore[method-assign]

    def add(self, fd: int, mask: int) -> None:
        self.calls["add"] += 1
        super().add(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        self.calls["change"] += 1
        super().change(fd, mask)

    def remove(self, fd: int) -> None:
        self.calls["remove"] += 1
        super().remove(fd)


class CountingSocket(socket.socket):
    """Counts its transfers, and those that found nothing or no room."""

    calls: Counter[str]

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        return self._count("recv", super().recv, size, flags)  # type: ignore[no-any-return]

    def send(self, data: Any, flags: int = 0, /) -> int:
        return self._count("send", super().send, data, flags)  # type: ignore[no-any-return]

    def _count(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        self.calls[name] += 1
        try:
            return call(*args)
        except BlockingIOError:
            self.calls["in vain"] += 1
            raise


@pytest.fixture
def ends() -> Any:
    """A socket that counts, and its other end; both do not block."""
    left, right = socket.socketpair()
    with CountingSocket(fileno=left.detach()) as counting, right:
        counting.calls = Counter()
        counting.setblocking(False)
        right.setblocking(False)
        yield counting, right


def by_stream(sock: socket.socket) -> Steps:
    with Stream(sock) as stream:
        while data := (yield from stream.await_getsome()):
            yield from stream.await_put_bytes(data)


def by_lines(sock: socket.socket) -> Steps:
    with Stream(sock) as stream:
        while (line := (yield from stream.await_getline())) is not None:
            yield from stream.await_put_bytes(line + b"\n")


def by_socket(sock: socket.socket) -> Steps:
    while data := (yield from await_receive(sock, 65536)):
        yield from await_send_all(sock, data)


def exchange(sock: socket.socket, count: int) -> Steps:
    """The client: asks, and waits turn by turn for the answer."""
    for _ in range(count):
        sock.send(b"a message\n")
        answer = b""
        while not answer.endswith(b"\n"):
            yield from await_yield()
            try:
                answer += sock.recv(100)
            except BlockingIOError:
                pass


@pytest.mark.parametrize(
    ("server", "calls"),
    [
        (by_stream, {"recv": MESSAGES, "send": MESSAGES}),
        (by_lines, {"recv": MESSAGES, "send": MESSAGES}),
        # Nothing is kept between two calls on a bare socket, so each tries first.
        (by_socket, {"recv": 2 * MESSAGES, "send": MESSAGES, "in vain": MESSAGES}),
    ],
)
def test_message_registers_nothing_and_costs_one_receive_and_one_send(server: Any, calls: dict[str, int], ends: Any) -> None:
    counting, client = ends
    selector = CountingSelector()

    def main() -> Steps:
        echo = a_sync(server, counting)
        yield from exchange(client, 1)
        selector.calls.clear()
        counting.calls.clear()
        yield from exchange(client, MESSAGES)
        # Interest outlives a wait, and a short read says that the socket is empty.
        assert [selector.calls[name] for name in ("add", "change", "remove")] == [0, 0, 0]
        assert counting.calls == calls
        client.close()
        yield from echo.await_result()

    with EventLoop(selector=selector) as loop:
        a_sync(main, loop=loop)
        loop.run()


def test_event_of_a_watch_registers_nothing(ends: Any) -> None:
    counting, client = ends
    selector = CountingSelector()
    with EventLoop(selector=selector) as loop:
        loop.add_read_watch(counting, lambda status: counting.send(counting.recv(100)) and None)
        a_sync(exchange, client, 1, loop=loop)
        loop.step()
        selector.calls.clear()
        counting.calls.clear()
        task = a_sync(exchange, client, MESSAGES, loop=loop)
        while not task.done:
            loop.step()
        assert [selector.calls[name] for name in ("add", "change", "remove")] == [0, 0, 0]
        assert counting.calls["recv"] >= MESSAGES
        assert counting.calls["in vain"] == 0
        loop.remove_read_watch(counting)


def test_burst_of_lines_is_received_once_and_answered_once(ends: Any) -> None:
    counting, client = ends

    def server() -> Steps:
        with Stream(counting, gather=True) as stream:
            while (yield from stream.await_getline()) is not None:
                yield from stream.await_put_bytes(b"+PONG\r\n")

    def main() -> Steps:
        answering = a_sync(server)
        for _ in range(MESSAGES):
            client.send(b"PING\r\n" * 16)
            answers = b""
            while len(answers) < 16 * 7:
                yield from await_yield()
                try:
                    answers += client.recv(1000)
                except BlockingIOError:
                    pass
        assert counting.calls["recv"] <= MESSAGES + 1
        assert counting.calls["send"] == MESSAGES
        client.close()
        yield from answering.await_result()

    run(main)


def test_connection_is_registered_once_and_removed_once() -> None:
    selector = CountingSelector()
    connections = 20

    def handler(stream: Stream, address: object) -> Steps:
        while data := (yield from stream.await_getsome()):
            yield from stream.await_put_bytes(data)

    def main() -> Steps:
        with listen_on_ipv4_socket(True, 0) as listener:
            serving = a_sync(await_serve, handler, listener)
            yield from await_yield()
            selector.calls.clear()
            for _ in range(connections):
                with socket.create_connection(listener.getsockname()) as client:
                    client.setblocking(False)
                    yield from exchange(client, 3)
            while len(loop.residents) > 3:  # the server, its accepting task, and this one
                yield from await_yield()
            assert [selector.calls[name] for name in ("add", "change", "remove")] == [connections, 0, connections]
            serving.cancel()
            with pytest.raises(Exception, match="cancelled"):
                yield from serving.await_result()

    with EventLoop(selector=selector) as loop:
        a_sync(main, loop=loop)
        loop.run()


# Work


def calls_of(work: Callable[[], object]) -> int:
    """How many functions, Python's and C's, are called meanwhile."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def in_tasks(tasks: int, times: int, waits: Callable[[], Any]) -> Callable[[], None]:
    """Has `tasks` tasks wait `times` times each."""

    def task() -> Steps:
        for _ in range(times):
            yield from waits()

    def work() -> None:
        with EventLoop(debug=False) as loop:
            for _ in range(tasks):
                a_sync(task, loop=loop)
            loop.run()

    return work


@pytest.mark.parametrize("waits", [await_yield, lambda: await_sleep(0)], ids=["turn", "sleep"])
def test_switch_costs_no_more_among_many_tasks(waits: Callable[[], Any]) -> None:
    def cost(tasks: int) -> float:
        often, seldom = calls_of(in_tasks(tasks, 30, waits)), calls_of(in_tasks(tasks, 10, waits))
        return (often - seldom) / (20 * tasks)

    # Among many a turn is shared by more, so it may be less.
    assert cost(1000) <= cost(10)
    assert cost(1000) < 25


def test_starting_a_task_costs_no_more_among_many() -> None:
    def cost(tasks: int) -> float:
        return calls_of(in_tasks(2 * tasks, 1, await_yield)) / tasks - calls_of(in_tasks(tasks, 1, await_yield)) / tasks

    assert cost(2000) <= cost(20) * 1.05


# Memory


def test_sleeping_task_is_five_objects() -> None:
    """As the garbage collector counts them: task, context, generator, wait, and a place in the heap."""
    tasks = 200
    with EventLoop(debug=False) as loop:
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(tasks):
            a_sync(await_sleep, 1000.0, loop=loop)
        loop.step()
        gc.collect()
        assert len(gc.get_objects()) - before <= 5 * tasks + 10


def test_stream_that_never_waited_for_room_has_no_side_for_it(ends: Any) -> None:
    counting, client = ends
    with EventLoop() as loop:
        a_sync(by_stream, counting, loop=loop)
        client.send(b"hello")
        while not counting.calls["send"]:
            loop.step()
        (descriptor,) = loop.book.table.values()
        assert descriptor.write_side is None
        # And one that has to wait gets it.
        a_sync(await_writable, counting, loop=loop)
        assert descriptor.sides == (descriptor.read, descriptor.write)


class Deadline(float):
    """A time that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        Deadline.compared += 1
        return float(self) < float(other)

    def __eq__(self, other: object) -> bool:
        Deadline.compared += 1
        return isinstance(other, float) and float(self) == float(other)

    __hash__ = float.__hash__


@pytest.mark.parametrize("live", [10, 1000, 100_000])
def test_timeout_costs_the_logarithm_of_how_many_there_are(live: int) -> None:
    chance = random.Random(1)
    heap = TimerHeap()

    def put(when: float) -> None:
        heap.incoming.append(timeout_of(heap, Deadline(when)))
        heap.absorb()

    for _ in range(live):
        put(1000.0 + chance.random())
    Deadline.compared = 0
    rounds = 100
    for _ in range(rounds):
        put(1.0)  # the earliest goes all the way up, and out again
        assert heap.pop_due(1.0) is not None
    # A step of the heap is two comparisons (equal? less?), there are two of them at each level of the way down, and the way up again.
    assert Deadline.compared / rounds <= 8 * (math.log2(live) + 2)


def test_removing_a_timeout_compares_nothing() -> None:
    heap = TimerHeap()
    timeouts = [timeout_of(heap, Deadline(number)) for number in range(1000)]
    heap.incoming.extend(timeouts)
    heap.absorb()
    Deadline.compared = 0
    assert all(heap.remove(timeout) for timeout in timeouts)
    assert Deadline.compared == 0


def test_leaving_a_long_line_compares_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits at a meeting can leave from anywhere: no search through those who wait as well."""
    compared = 0

    def counted(self: object, other: object) -> bool:
        nonlocal compared
        compared += 1
        return self is other

    def main() -> Steps:
        stop: Meeting[None] = Meeting()
        tasks = [a_sync(await_meeting_receive, Meeting[None](), stop) for _ in range(1000)]
        random.Random(1).shuffle(tasks)
        monkeypatch.setattr(Arm, "__eq__", counted)
        for task in tasks[:500]:
            task.cancel()
        monkeypatch.undo()
        assert compared < 20  # a few meet in one place of the table
        stop.close()
        loop = running_event_loop()
        assert loop is not None
        for task in tasks:
            task.watch(dict)  # so that its error is heard
        yield from await_yield()

    run(main)


def test_group_of_many_ends_without_a_search() -> None:
    def ends(tasks: int) -> Callable[[], None]:
        def main() -> Steps:
            group = TaskGroup()
            for _ in range(tasks):
                group.a_sync(await_yield)
            yield from group.await_all()

        return lambda: run(main)

    few, many = ((calls_of(ends(2 * tasks)) - calls_of(ends(tasks))) / tasks for tasks in (50, 1000))
    assert many <= few * 1.05
