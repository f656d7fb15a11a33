"""What counts as ready, and what becomes of hang-ups, errors, urgent bytes and events for nobody (area B of what goes wrong)."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from eventsock import EventLoop, SocketError, Stream, a_sync, await_readable, await_receive, await_send_all, await_sleep, await_writable
from eventsock.loop.selectors import EVENT_EXCEPT
from loop_kit import MakeLoop, Noted, busy_time, until
from programs import ROOT

Pair = tuple[socket.socket, socket.socket]
Steps = Generator[Any, Any, None]


def _reset(sock: socket.socket) -> None:
    """Close with a reset instead of an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _fill(sock: socket.socket) -> None:
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))


def _idle_cost(loop: EventLoop, seconds: float) -> float:
    """What part of a processor the loop takes while nothing happens."""
    loop.timeout_post(seconds, lambda: loop.block(False), repeat=False)
    loop.block()
    with busy_time() as busy:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            loop.step(0.05)
        loop.block(False)
        return busy()


def test_fault_17_hang_up_that_nobody_waits_for_does_not_spin(loop: EventLoop, pair: Pair) -> None:
    left, right = pair

    def reads() -> Steps:
        yield from await_readable(right)
        right.recv(10)
        # The interest stays registered; now both ends are shut.
        left.shutdown(socket.SHUT_RDWR)
        yield from await_sleep(0.2)
        data = yield from await_receive(right, 10)
        assert data == b""

    task = a_sync(reads, loop=loop)
    left.send(b"x")
    assert _idle_cost(loop, 0.15) < 0.7
    loop.run()
    assert task.done


@pytest.mark.parametrize("side", ["read", "write"])
def test_fault_17_hang_up_while_only_one_side_is_known(side: str, loop: EventLoop, pair: Pair) -> None:
    """A left-over interest in one direction, and a hang-up that is reported for both: dropped without a rebuild."""
    left, right = pair

    def waits() -> Steps:
        if side == "read":
            yield from await_readable(right)
            right.recv(10)
        else:
            yield from await_writable(right)

    a_sync(waits, loop=loop)
    left.send(b"x")
    loop.run()
    left.close()
    assert _idle_cost(loop, 0.1) < 0.7
    assert loop.statistics().selector_rebuilds == 0
    assert loop.book.registered == 0


def test_fault_18_reset_wakes_a_write_waiter(loop: EventLoop, tcp_pair: Pair) -> None:
    client, server = tcp_pair
    _fill(server)
    noted = Noted()

    def writes() -> Steps:
        yield from await_writable(server)
        try:
            yield from await_send_all(server, bytes(10_000_000))
        except SocketError as error:
            noted.append(error.errno)

    a_sync(writes, loop=loop)
    loop.timeout_post(0.02, lambda: _reset(client), repeat=False)
    loop.run()
    assert noted[0] in (errno.ECONNRESET, errno.EPIPE)


def test_fault_18_reset_calls_a_write_watch(loop: EventLoop, tcp_pair: Pair) -> None:
    client, server = tcp_pair
    _fill(server)
    noted = Noted()
    loop.add_write_watch(server, noted.note("out", False))
    loop.timeout_post(0.02, lambda: _reset(client), repeat=False)
    loop.run()
    assert noted == [("out", "out")]


@pytest.mark.parametrize("user", ["watch", "task"])
def test_fault_18_pipe_without_a_reader_wakes_who_waits_to_write(user: str, loop: EventLoop) -> None:
    """Here the system reports an error, and nothing else."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    noted = Noted()

    def waits() -> Steps:
        yield from await_writable(writer)
        noted.append("woken")

    if user == "watch":
        loop.add_write_watch(writer, noted.note("woken", False))
    else:
        a_sync(waits, loop=loop)
    loop.timeout_post(0.01, lambda: os.close(reader), repeat=False)
    until(loop, lambda: noted, 2.0)
    os.close(writer)
    assert noted == (["woken"] if user == "task" else [("woken", "out")])


def test_fault_19_reset_while_reading_is_paused(loop: EventLoop, tcp_pair: Pair) -> None:
    client, server = tcp_pair
    noted = Noted()

    def reads() -> Steps:
        stream = Stream(server)
        noted.append((yield from stream.await_getline()))
        yield from await_sleep(0.2)  # paused, with the interest registered
        try:
            yield from stream.await_getline()
        except SocketError as error:
            noted.append(error.errno)
        stream.close()

    a_sync(reads, loop=loop)
    client.send(b"line\n")
    loop.timeout_post(0.02, lambda: _reset(client), repeat=False)
    assert _idle_cost(loop, 0.15) < 0.7
    loop.run()
    assert noted == [b"line", errno.ECONNRESET]


def test_fault_20_urgent_byte_does_not_spin_and_leaves_the_stream_intact(loop: EventLoop, tcp_pair: Pair) -> None:
    client, server = tcp_pair
    server.setblocking(False)
    seen: list[bytes | str] = []

    def ready(status: str) -> None:
        seen.append(status if status == "excpt" else server.recv(100))

    loop.add_read_watch(server, ready)
    client.send(b"before")
    until(loop, lambda: seen)
    client.send(b"!", socket.MSG_OOB)
    assert _idle_cost(loop, 0.2) < 0.7
    client.send(b"after")
    until(loop, lambda: b"after" in seen)
    data = [each for each in seen if isinstance(each, bytes)]
    assert data[0] == b"before"
    assert b"".join(data) == b"beforeafter"
    # Once for the byte, and once more after the next ordinary input, as it has not been read.
    assert seen.count("excpt") <= (2 if loop.book.poller.has_priority else 0)
    loop.remove_read_watch(server)


def test_excpt_rests_after_firing_until_the_next_in(make_loop: MakeLoop, tcp_pair: Pair) -> None:
    loop = make_loop()
    if not loop.book.poller.has_priority:
        pytest.skip("this selector reports no exceptional conditions")
    client, server = tcp_pair
    seen = Noted()

    def ready(status: str) -> None:
        seen.append(status)
        if status == "in":
            server.recv(100)

    loop.add_read_watch(server, ready)
    client.send(b"1", socket.MSG_OOB)
    until(loop, lambda: seen)
    for _ in range(5):
        loop.step(0.01)
    assert seen == ["excpt"]
    client.send(b"x")
    until(loop, lambda: "in" in seen)
    client.send(b"2", socket.MSG_OOB)
    until(loop, lambda: seen.count("excpt") == 2)
    loop.remove_read_watch(server)


def test_excpt_is_armed_for_read_watches_only(make_loop: MakeLoop, tcp_pair: Pair) -> None:
    loop = make_loop()
    client, server = tcp_pair
    _fill(server)
    noted = Noted()

    def reads() -> Steps:
        yield from await_readable(server)
        noted.append("readable")

    a_sync(reads, loop=loop)
    loop.add_write_watch(server, noted.note("out"))
    client.send(b"!", socket.MSG_OOB)
    for _ in range(5):
        loop.step(0.01)
    assert noted == []
    loop.quit()
    loop.step()


def test_excpt_callback_that_closes_its_descriptor(make_loop: MakeLoop, tcp_pair: Pair) -> None:
    loop = make_loop()
    if not loop.book.poller.has_priority:
        pytest.skip("this selector reports no exceptional conditions")
    client, server = tcp_pair
    noted = Noted()

    def ready(status: str) -> None:
        noted.append(status)
        if status == "in":
            server.recv(10)
            server.close()  # behind the loop's back, and PRI is to be asked for again

    loop.add_read_watch(server, ready)
    client.send(b"!", socket.MSG_OOB)
    until(loop, lambda: noted)
    client.send(b"x")
    until(loop, lambda: "in" in noted)
    loop.run()
    assert loop.statistics().watches == 0


class _Scripted(selectors.BaseSelector):
    """A selector that reports what it is told to, whatever is so."""

    def __init__(self) -> None:
        self._inner = selectors.PollSelector()
        self.script: list[tuple[int, int]] = []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.script:
            told, self.script = self.script, []
            return [(selectors.SelectorKey(fd, fd, events, None), events) for fd, events in told]
        return self._inner.select(timeout)

    def get_map(self) -> Any:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def scripted() -> Iterator[tuple[EventLoop, _Scripted]]:
    selector = _Scripted()
    with EventLoop(selector=selector, debug=False) as loop:
        yield loop, selector


def test_fault_21_spurious_readiness_waits_again_silently(scripted: tuple[EventLoop, _Scripted], pair: Pair) -> None:
    loop, selector = scripted
    left, right = pair
    got = Noted()

    def reads() -> Steps:
        got.append((yield from await_receive(right, 10)))

    a_sync(reads, loop=loop)
    for _ in range(3):
        selector.script = [(right.fileno(), selectors.EVENT_READ)]
        loop.step(0)
        assert got == []
    left.send(b"real")
    loop.run()
    assert got == [b"real"]


def test_fault_21_spurious_event_for_a_direction_nobody_asked_for(scripted: tuple[EventLoop, _Scripted], pair: Pair) -> None:
    loop, selector = scripted
    _, right = pair
    noted = Noted()
    loop.add_read_watch(right, noted.note("read"))
    selector.script = [(right.fileno(), selectors.EVENT_WRITE)]
    loop.step(0)
    assert noted == []
    assert loop.remove_read_watch(right) is True


def test_fault_21_two_loops_on_one_listener(make_loop: MakeLoop, tcp_listener: socket.socket) -> None:
    """Both are woken for one connection; one gets it."""
    tcp_listener.setblocking(False)
    loops = [make_loop(), make_loop()]
    noted = Noted()

    def accepts(number: int, status: str) -> None:
        try:
            noted.append((number, tcp_listener.accept()[0]))
        except BlockingIOError:
            noted.append((number, None))

    loops[0].add_read_watch(tcp_listener, lambda status: accepts(0, status))
    loops[1].add_read_watch(tcp_listener, lambda status: accepts(1, status))
    with socket.create_connection(tcp_listener.getsockname()):
        ready = [bool(select.select([tcp_listener], [], [], 1)[0])]
        loops[0].step(1)
        loops[1].step(0)
        assert ready == [True]
    connections = [sock for _, sock in noted if sock is not None]
    assert len(connections) == 1
    connections[0].close()
    for loop in loops:
        loop.remove_read_watch(tcp_listener)


_POLLS = """
import selectors, sys
from eventsock import EventLoop
from eventsock.loop.selectors import PollSelector
kind = {"epoll": lambda: None, "poll": PollSelector, "select": selectors.SelectSelector}[sys.argv[1]]
with EventLoop(selector=kind(), debug=False) as loop:
    loop.timeout_post(0.05, lambda: print("fired") or loop.quit())
    loop.run()
"""


@pytest.mark.parametrize(("kind", "calls"), [("epoll", "epoll_wait,epoll_pwait"), ("poll", "poll,ppoll"), ("select", "select,pselect6")])
def test_fault_33_interrupted_polls_are_invisible(kind: str, calls: str) -> None:
    """EINTR fifty times, injected by strace."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={calls}:error=EINTR:when=1..50", sys.executable, "-c", _POLLS, kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fired\n", "")


def test_own_selectors_have_one_event_more() -> None:
    assert not EVENT_EXCEPT & (selectors.EVENT_READ | selectors.EVENT_WRITE)
