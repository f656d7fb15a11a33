"""A turn: poll, timeouts, watches, posts. Each sentence of that has its test here."""

from __future__ import annotations

import contextlib
import socket
import time
from functools import partial
from typing import Any

import pytest

from eventsock import EventLoop
from loop_kit import Clock, MakeLoop, Noted, chain, reading

Pair = tuple[socket.socket, socket.socket]


def test_timeouts_then_watches_then_posts(make_loop: MakeLoop, pair: Pair) -> None:
    loop, noted = make_loop(clock=Clock()), Noted()
    left, right = pair
    left.send(b"x")
    loop.post(noted.note("post"))
    loop.add_read_watch(right, noted.note("watch", False))
    loop.timeout_post(0, noted.note("timeout", False))
    loop.step()
    assert noted == ["timeout", ("watch", "in"), "post"]


def test_fault_24_ready_descriptor_and_due_timer_are_served_in_one_turn(make_loop: MakeLoop, pair: Pair) -> None:
    test_timeouts_then_watches_then_posts(make_loop, pair)


def test_poll_does_not_wait_if_posts_are_queued(loop: EventLoop) -> None:
    loop.block()
    loop.post(lambda: None)
    started = time.monotonic()
    assert loop.step(30) is True
    assert time.monotonic() - started < 10
    loop.block(False)


def test_poll_does_not_wait_if_a_timeout_is_due(loop: EventLoop) -> None:
    noted = Noted()
    loop.timeout_post(0, noted.note("due"), repeat=False)
    started = time.monotonic()
    loop.step(30)
    assert noted == ["due"]
    assert time.monotonic() - started < 10


def test_poll_waits_for_the_earliest_timeout(loop: EventLoop) -> None:
    loop.timeout_post(30, pytest.fail)
    loop.timeout_post(0.02, loop.quit)
    started = time.monotonic()
    loop.run()
    assert 0.02 <= time.monotonic() - started < 10
    assert loop.statistics().turns < 10  # it has slept, and not asked again and again


def test_on_one_descriptor_excpt_then_in_then_out(make_loop: MakeLoop, tcp_pair: Pair) -> None:
    loop, noted = make_loop(), Noted()
    client, server = tcp_pair
    server.setblocking(False)
    loop.add_write_watch(server, noted.note("write", False))
    loop.add_read_watch(server, lambda status: noted.note("read", status == "excpt")(status))
    client.send(b"data")
    client.send(b"!", socket.MSG_OOB)
    time.sleep(0.05)
    loop.step()
    wanted = [("read", "excpt"), ("read", "in"), ("write", "out")]
    assert noted == (wanted if loop.book.poller.has_priority else wanted[1:])


def test_fault_22_read_first_and_a_write_watch_removed_by_it_is_not_called(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"x")
    noted = Noted()

    def read(status: str) -> bool:
        noted.append(status)
        assert loop.remove_write_watch(right) is True
        return False

    loop.add_write_watch(right, noted.note("write"))
    loop.add_read_watch(right, read)
    loop.run()
    assert noted == ["in"]


def test_fault_22_both_run_read_first(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"x")
    noted = Noted()
    loop.add_write_watch(right, noted.note("w", False))
    loop.add_read_watch(right, noted.note("r", False))
    loop.step()
    assert noted == [("r", "in"), ("w", "out")]


def test_post_made_by_a_timeout_or_a_watch_runs_in_the_same_turn(make_loop: MakeLoop, pair: Pair) -> None:
    loop, noted = make_loop(clock=Clock()), Noted()
    left, right = pair
    left.send(b"x")

    def watch(status: str) -> bool:
        loop.post(noted.note("from watch"))
        return False

    loop.timeout_post(0, lambda: loop.post(noted.note("from timeout")), repeat=False)
    loop.add_read_watch(right, watch)
    loop.step()
    assert noted == ["from timeout", "from watch"]


def test_post_made_by_a_post_runs_in_the_next_turn(loop: EventLoop) -> None:
    noted = Noted()
    loop.post(lambda: loop.post(noted.note("second")))
    loop.post(noted.note("first"))
    assert loop.step() is True
    assert noted == ["first"]
    assert loop.step() is False
    assert noted == ["first", "second"]


def test_posts_run_in_order(loop: EventLoop) -> None:
    noted = Noted()
    for number in range(100):
        loop.post(noted.note(number))
    loop.run()
    assert noted == list(range(100))


def test_fault_86_a_post_that_posts_itself_starves_neither_sockets_nor_timeouts(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()

    def again() -> None:
        loop.post(again)

    again()
    loop.timeout_post(0.02, lambda: left.send(b"x"), repeat=False)
    last = chain(noted.note("timeout"), loop.quit)
    loop.add_read_watch(right, lambda status: loop.timeout_post(0.02, last, repeat=False) is None)
    loop.run()
    assert noted == ["timeout"]


def test_fault_25_descriptor_that_is_always_ready_starves_nobody(make_loop: MakeLoop, pair: Pair) -> None:
    clock = Clock()
    loop, noted = make_loop(clock=clock), Noted()
    left, right = pair
    left.send(b"x")
    loop.add_read_watch(right, lambda status: clock.advance(1 / 1024))
    loop.timeout_post(10 / 1024, noted.note("beat"))
    for count in range(10):
        loop.post(noted.note("post"))
        for _ in range(10):
            loop.step()
        assert (noted.count("post"), noted.count("beat")) == (count + 1, count)
    loop.remove_read_watch(right)


def test_watch_added_by_a_callback_is_not_called_for_an_older_poll(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"x")
    noted = Noted()

    def first(status: str) -> None:
        noted.append("first")
        loop.add_read_watch(right, noted.note("second", False))

    loop.add_read_watch(right, first)
    loop.step()
    assert noted == ["first"]
    loop.step()
    assert noted == ["first", ("second", "in")]


def test_watch_put_in_anothers_place_is_not_called_for_an_older_poll(loop: EventLoop, pair: Pair) -> None:
    """The reader replaces the write watch of a descriptor that was polled as readable and writable."""
    left, right = pair
    left.send(b"x")
    noted = Noted()

    def read(status: str) -> bool:
        noted.append("read")
        loop.add_write_watch(right, noted.note("new", False))
        return False

    loop.add_write_watch(right, noted.note("old"))
    loop.add_read_watch(right, read)
    loop.step()
    assert noted == ["read"]
    loop.step()
    assert noted == ["read", ("new", "out")]


def test_registered_is_not_fired_removed_by_an_earlier_callback(loop: EventLoop) -> None:
    """Of two ready descriptors the first to be served removes the other's watch."""
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(2)]
        for pair in pairs:
            for each in pair:
                stack.enter_context(each)
            pair[0].send(b"x")
        noted = Noted()

        def removes(index: int) -> None:
            noted.append((index, loop.remove_read_watch(pairs[1 - index][1])))

        loop.add_read_watch(pairs[0][1], lambda status: removes(0))
        loop.add_read_watch(pairs[1][1], lambda status: removes(1))
        loop.step()
        assert noted in ([(0, True)], [(1, True)])
        loop.quit()


def test_callback_that_replaces_its_own_watch_and_returns_false_keeps_the_new_one(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"x")
    noted = Noted()

    def first(status: str) -> bool:
        loop.add_read_watch(right, noted.note("second", False))
        return False

    loop.add_read_watch(right, first)
    loop.run()
    assert noted == [("second", "in")]


def test_fault_07_remove_and_add_again_inside_the_callback(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"abc")
    seen: list[bytes] = []

    def ready(status: str) -> None:
        seen.append(right.recv(1))
        assert loop.remove_read_watch(right) is True
        if len(seen) < 3:
            loop.add_read_watch(right, ready)

    loop.add_read_watch(right, ready)
    loop.run()
    assert seen == [b"a", b"b", b"c"]
    assert loop.statistics().watches == 0


def test_fault_23_unread_rest_is_reported_again(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"abc")
    seen: list[bytes] = []

    def ready(status: str) -> bool:
        seen.append(right.recv(1))
        return len(seen) < 3

    loop.add_read_watch(right, ready)
    loop.run()
    assert seen == [b"a", b"b", b"c"]


def test_second_watch_replaces_the_first(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()
    loop.add_read_watch(right, noted.note("first", False))
    loop.add_read_watch(right, noted.note("second", False))
    assert loop.statistics().watches == 1
    left.send(b"x")
    loop.run()
    assert noted == [("second", "in")]


def test_number_and_object_are_one_descriptor(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()
    loop.add_read_watch(right, noted.note("object"))
    loop.add_read_watch(right.fileno(), noted.note("number", False))
    assert loop.statistics().watches == 1
    left.send(b"x")
    loop.run()
    assert noted == [("number", "in")]
    loop.add_read_watch(right.fileno(), noted.note("number"))
    assert loop.remove_read_watch(right) is True


def test_watch_returning_none_or_anything_but_false_goes_on(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"x")
    results: list[Any] = [None, 0, "", [], True, False, None]
    seen: list[object] = []

    def ready(status: str) -> object:
        seen.append(results[len(seen)])
        return seen[-1]

    loop.add_read_watch(right, ready)
    loop.run()
    assert seen == results[:6]


def test_fault_26_thousands_ready_at_once_are_served_in_two_turns(make_loop: MakeLoop, kind: str) -> None:
    loop = make_loop(clock=Clock())  # it stands still: however slow the machine is, they fit into the time that a batch may take
    count = 400 if kind == "standard select" else 3000
    served: set[int] = set()
    with contextlib.ExitStack() as stack:
        for number in range(count):
            left, right = socket.socketpair()
            stack.enter_context(left)
            stack.enter_context(right)
            left.send(b"x")
            loop.add_read_watch(right, lambda status, number=number: served.add(number))  # type: ignore[misc]
        loop.step()
        loop.step()
        assert len(served) == count
        loop.post(loop.quit)
        loop.run()


def test_fault_26_timers_have_their_turn_between_thousands(make_loop: MakeLoop) -> None:
    clock = Clock()
    loop, served, beats = make_loop(clock=clock), Noted(), Noted()

    def slow(sock: socket.socket, status: str) -> None:
        sock.recv(1)
        served.append(sock)
        clock.advance(1 / 64)

    with contextlib.ExitStack() as stack:
        for _ in range(400):
            left, right = socket.socketpair()
            stack.enter_context(left)
            stack.enter_context(right)
            left.send(b"x")
            loop.add_read_watch(right, partial(slow, right))
        loop.timeout_post(0.01, beats.note("beat"))
        loop.step()
        assert (len(served), len(beats)) == (4, 0)  # what fits into the time that a batch may take
        for _ in range(99):
            loop.step()
        # Each has been served once, and the timer between the batches; the last few hundred count as few.
        assert len(served) == len(set(served)) == 400
        assert len(beats) == 38
        loop.quit()
        loop.step()


def test_reading_helper_is_a_callback(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    seen: list[bytes] = []
    left.send(b"data")
    loop.add_read_watch(right, reading(right, seen))
    loop.run()
    assert seen == [b"data"]
