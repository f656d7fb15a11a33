"""Meetings: who meets whom and in which order, what a close does, and what is refused.

Knows the rules of chez-a-sync's meetings, one test for each, and that a datum is with exactly one task at any time.
"""

from __future__ import annotations

import gc
import itertools
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any, cast

import pytest

from eventsock import (
    Cancelled,
    Deadlock,
    EventLoop,
    LoopStateError,
    Meeting,
    MeetingClosed,
    Task,
    a_sync,
    after,
    await_choice,
    await_meeting_receive,
    await_meeting_send,
    await_readable,
    await_sleep,
    await_yield,
    run,
    timeout,
)
from eventsock.tasks import choice, meetings, operations

Steps = Generator[Any, Any, None]


def own_loop() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop


class Scene:
    """A loop, tasks that do one thing each, and the log of what came of it, in order."""

    def __init__(self) -> None:
        self.loop = EventLoop()
        self.log: list[str] = []

    def do(self, name: str, awaiting: Callable[[], Any]) -> Task[None]:
        """A task that awaits what `awaiting()` gives and logs the result as `name`."""

        def steps() -> Steps:
            try:
                result = yield from awaiting()
                self.log.append(name if result is None else f"{name} {result}")
            except MeetingClosed:
                self.log.append(f"{name} closed")
            except Cancelled:
                self.log.append(f"{name} cancelled")
                raise

        return a_sync(steps, loop=self.loop, name=name)

    def ran(self) -> list[str]:
        self.loop.run()
        log, self.log = self.log, []
        return log

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()


# A match


def test_send_to_a_waiting_receiver_does_not_suspend() -> None:
    meeting: Meeting[int] = Meeting()
    with Scene() as scene:
        scene.do("receive", meeting.await_receive)
        assert scene.do("send", lambda: meeting.await_send(1)).done
        assert scene.log == ["send"]
        assert scene.ran() == ["send", "receive 1"]


def test_receive_from_a_waiting_sender_does_not_suspend() -> None:
    meeting: Meeting[int] = Meeting()
    with Scene() as scene:
        scene.do("send", lambda: meeting.await_send(1))
        assert scene.do("receive", meeting.await_receive).done
        assert scene.log == ["receive 1"]
        assert scene.ran() == ["receive 1", "send"]


def test_sender_serves_all_who_wait_before_any_of_them_runs() -> None:
    meeting: Meeting[int] = Meeting()

    def send_both() -> Steps:
        for number in (1, 2):
            yield from meeting.await_send(number)
            scene.log.append(f"sent {number}")

    with Scene() as scene:
        scene.do("a", meeting.await_receive)
        scene.do("b", meeting.await_receive)
        scene.do("sender", send_both)
        assert scene.ran() == ["sent 1", "sent 2", "sender", "a 1", "b 2"]


@pytest.mark.parametrize("senders_first", [True, False])
def test_first_come_first_served_among_a_hundred(senders_first: bool) -> None:
    meeting: Meeting[int] = Meeting()
    with Scene() as scene:
        sides: list[Callable[[], Any]] = [
            lambda: [scene.do(f"send {n}", lambda n=n: meeting.await_send(n)) for n in range(100)],  # type: ignore[misc]
            lambda: [scene.do(f"receive {n}", meeting.await_receive) for n in range(100)],
        ]
        for side in sides if senders_first else sides[::-1]:
            side()
        log = scene.ran()
    assert [line for line in log if line.startswith("receive")] == [f"receive {n} {n}" for n in range(100)]
    assert [line for line in log if line.startswith("send")] == [f"send {n}" for n in range(100)]
    assert not meeting.ready


def test_any_datum_is_delivered() -> None:
    other: Meeting[object] = Meeting()
    data: list[object] = [None, False, 0, (), Meeting, other, MeetingClosed(), StopIteration(), ...]
    got = []

    def send() -> Steps:
        meeting: Meeting[object] = Meeting()
        receiver = a_sync(receive, meeting)
        for datum in data:
            yield from meeting.await_send(datum)
        yield from receiver.await_result()

    def receive(meeting: Meeting[object]) -> Steps:
        for place, _ in enumerate(data):
            got.append((yield from (meeting.await_receive() if place % 2 else await_meeting_receive(meeting, other))))

    run(send)
    assert len(got) == len(data)
    assert all(one is another for one, another in zip(got, data, strict=True))


def test_async_def_uses_meetings_the_same_way() -> None:
    one, two = Meeting[str](), Meeting[str]()

    async def send() -> None:
        await one.await_send("one")
        await await_meeting_send("two", two, one)

    async def main() -> list[str]:
        a_sync(send)
        return [await one.await_receive(), await await_meeting_receive(one, two)]

    assert run(main) == ["one", "two"]


def test_two_who_meet_without_end_starve_nobody(socket_pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = socket_pair
    meeting: Meeting[int] = Meeting()
    theirs.send(b"x")
    rounds = 0

    def send() -> Steps:
        nonlocal rounds
        while True:
            yield from meeting.await_send(1)
            rounds += 1

    def receive() -> Steps:
        while True:
            yield from meeting.await_receive()

    def main() -> Steps:
        a_sync(send)
        a_sync(receive)
        yield from await_readable(ours)
        yield from await_sleep(0.01)

    run(main)
    assert rounds > 100


def test_meeting_does_not_overtake_a_post() -> None:
    meeting: Meeting[int] = Meeting()

    def send() -> Steps:
        for number in (1, 2):
            yield from await_yield()
            scene.loop.post(lambda number=number: scene.log.append(f"post {number}"))  # type: ignore[misc]
            yield from meeting.await_send(number)

    with Scene() as scene:
        scene.do("a", meeting.await_receive)
        scene.do("b", meeting.await_receive)
        scene.do("send", send)
        assert scene.ran() == ["post 1", "a 1", "send", "post 2", "b 2"]


def test_meeting_brings_no_post_forward(socket_pair: tuple[socket.socket, socket.socket]) -> None:
    """A post made by a post runs in the next turn, whoever meets meanwhile."""
    ours, theirs = socket_pair
    meeting: Meeting[int] = Meeting()

    def first() -> None:
        theirs.send(b"x")
        scene.loop.post(lambda: scene.log.append("a post"))
        scene.do("send", lambda: meeting.await_send(1))

    def heard(status: str) -> bool:
        scene.log.append(status)
        return False

    with Scene() as scene:
        scene.do("receive", meeting.await_receive)
        scene.loop.add_read_watch(ours, heard)
        scene.loop.post(first)
        assert scene.ran() == ["send", "in", "a post", "receive 1"]


# Several meetings


@pytest.mark.parametrize(("count", "place"), [(count, place) for count in range(1, 5) for place in range(count)])
def test_first_meeting_with_somebody_wins(count: int, place: int) -> None:
    meetings = [Meeting[int]() for _ in range(count)]
    with Scene() as scene:
        # The last meeting's sender came first; what decides is the order of the arguments.
        for number in reversed(range(place, count)):
            scene.do(f"send {number}", lambda number=number: meetings[number].await_send(number))  # type: ignore[misc]
        assert scene.do("receive", lambda: await_meeting_receive(*meetings)).done
        assert scene.ran() == [f"receive {place}", f"send {place}"]
        assert [meeting.ready for meeting in meetings] == [number > place for number in range(count)]


@pytest.mark.parametrize(("count", "place"), [(count, place) for count in range(1, 5) for place in range(count)])
def test_who_waits_at_several_leaves_all_of_them(count: int, place: int) -> None:
    meetings = [Meeting[int]() for _ in range(count)]
    with Scene() as scene:
        scene.do("receive", lambda: await_meeting_receive(*meetings))
        assert all(meeting.ready for meeting in meetings)
        scene.do("send", lambda: meetings[place].await_send(place))
        assert not any(meeting.ready for meeting in meetings), "at once, not when it runs"
        assert scene.ran() == ["send", f"receive {place}"]
        scene.do("send", lambda: await_meeting_send(7, *meetings))
        assert all(meeting.ready for meeting in meetings)
        scene.do("receive", meetings[place].await_receive)
        assert not any(meeting.ready for meeting in meetings)
        assert scene.ran() == ["receive 7", "send"]


def test_two_who_wait_at_several_meet() -> None:
    a, b, c = Meeting[int](), Meeting[int](), Meeting[int]()
    with Scene() as scene:
        scene.do("receive", lambda: await_meeting_receive(a, b))
        scene.do("send", lambda: await_meeting_send(1, c, b))
        assert scene.ran() == ["send", "receive 1"]
        assert not any(meeting.ready for meeting in (a, b, c))


@pytest.mark.parametrize("closed_first", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_place_of_a_closed_meeting_matters(closed_first: bool, several: bool) -> None:
    closed, open_ = Meeting[int](), Meeting[int]()
    order = (closed, open_) if closed_first else (open_, closed)

    def receive() -> Any:
        return await_meeting_receive(*order) if several else await_choice(*(meeting.receiving() for meeting in order))

    def send() -> Any:
        return await_meeting_send(2, *order) if several else await_choice(*(meeting.sending(2) for meeting in order))

    with Scene() as scene:
        closed.close()
        scene.do("send", lambda: open_.await_send(1))
        scene.do("receive", receive)
        scene.do("left", open_.await_receive)
        scene.do("send 2", send)
        if closed_first:
            assert scene.ran() == ["receive closed", "left 1", "send 2 closed", "send"]
        else:
            assert scene.ran() == ["receive 1", "send 2", "send", "left 2"]
        # Nobody to meet anywhere: the closed one is found, and nobody is left standing at the other.
        scene.do("receive", receive)
        scene.do("send", send)
        assert scene.ran() == ["receive closed", "send closed"]
        assert not open_.ready


@pytest.mark.parametrize("sends", [True, False])
def test_same_meeting_twice_is_one_exchange(sends: bool) -> None:
    meeting: Meeting[int] = Meeting()
    with Scene() as scene:
        scene.do("twice", lambda: await_meeting_send(1, meeting, meeting) if sends else await_meeting_receive(meeting, meeting))
        scene.do("other", meeting.await_receive if sends else lambda: meeting.await_send(1))
        assert not meeting.ready
        assert sorted(scene.ran()) == (["other 1", "twice"] if sends else ["other", "twice 1"])
        scene.do("other", meeting.await_receive if sends else lambda: meeting.await_send(1))
        assert scene.ran() == [], "the second arm has gone with the first"
        meeting.close()
        assert scene.ran() == ["other closed"]


def test_first_of_two_data_for_one_meeting_is_sent() -> None:
    meeting: Meeting[int] = Meeting()
    with Scene() as scene:
        scene.do("send", lambda: await_choice(meeting.sending(1).map(lambda _: "first"), meeting.sending(2)))
        scene.do("receive", meeting.await_receive)
        assert scene.ran() == ["receive 1", "send first"]


def test_send_and_receive_on_one_meeting_never_meet_in_one_task() -> None:
    meeting: Meeting[int] = Meeting()

    def either(number: int) -> Any:
        return await_choice(meeting.sending(number).map(lambda _: "sent"), meeting.receiving())

    with Scene() as scene:
        scene.do("a", lambda: either(1))
        assert scene.ran() == []
        scene.do("b", lambda: either(2))
        assert not meeting.ready
        assert scene.ran() == ["b sent", "a 2"]
        scene.do("a", lambda: either(1))
        scene.do("c", meeting.await_receive)
        assert scene.ran() == ["c 1", "a sent"]


# Closing


def test_close_wakes_everyone_in_order() -> None:
    meeting, other = Meeting[int](), Meeting[int]()
    with Scene() as scene:
        scene.do("a", meeting.await_receive)
        scene.do("b", lambda: await_meeting_receive(other, meeting))
        scene.do("c", lambda: await_choice(after(60), meeting.receiving()))
        scene.do("d", lambda: meeting.await_receive("the default"))
        scene.do("e", lambda: meeting.__anext__())
        meeting.close()
        assert scene.log == [], "the closer goes on first"
        assert not other.ready
        with pytest.raises(StopAsyncIteration):
            scene.ran()
        assert scene.log == ["a closed", "b closed", "c closed", "d the default"]


def test_close_wakes_senders_whose_data_stay_with_them() -> None:
    meeting: Meeting[int] = Meeting()
    with Scene() as scene:
        scene.do("a", lambda: meeting.await_send(1))
        scene.do("b", lambda: await_meeting_send(2, meeting))
        meeting.close()
        scene.do("late", meeting.await_receive)
        assert scene.ran() == ["late closed", "a closed", "b closed"]


def test_closed_is_for_ever() -> None:
    meeting: Meeting[int] = Meeting()
    meeting.close()
    meeting.close()
    assert meeting.ready
    with Scene() as scene:
        scene.do("send", lambda: meeting.await_send(1))
        scene.do("receive", meeting.await_receive)
        scene.do("default", lambda: meeting.await_receive(default="nothing"))
        scene.do("none", lambda: meeting.await_receive(None))
        assert scene.log == ["send closed", "receive closed", "default nothing", "none"]
    assert repr(meeting).endswith(": closed>")


@pytest.mark.parametrize("before", [True, False])
def test_error_says_which_of_several_is_closed(before: bool) -> None:
    meetings = [Meeting[int]() for _ in range(3)]
    closed = []

    def receive() -> Steps:
        while len(meetings) > 1:
            try:
                yield from await_choice(*(meeting.receiving() for meeting in meetings))
            except MeetingClosed as error:
                closed.append(error.meeting)
                meetings.remove(cast(Any, error.meeting))

    order = [meetings[1], meetings[0]]
    with Scene() as scene:
        if not before:
            scene.do("receive", receive)
        for meeting in order:
            meeting.close()
        if before:
            scene.do("receive", receive)
        scene.ran()
    assert closed == (order[::-1] if before else order)


def test_close_does_not_take_back_what_has_met() -> None:
    meeting: Meeting[int] = Meeting()
    with Scene() as scene:
        scene.do("receive", meeting.await_receive)
        scene.do("send", lambda: meeting.await_send(1))
        meeting.close()
        assert scene.ran() == ["send", "receive 1"]


def test_default_does_not_stand_for_a_datum() -> None:
    meeting: Meeting[int] = Meeting()
    with Scene() as scene:
        scene.do("receive", lambda: meeting.await_receive(default=0))
        scene.do("send", lambda: meeting.await_send(5))
        assert scene.ran() == ["send", "receive 5"]


def test_asking_a_closed_meeting_again_and_again_starves_nobody() -> None:
    meeting: Meeting[int] = Meeting()
    meeting.close()
    asked = 0

    def ask(rings: list[int]) -> Steps:
        nonlocal asked
        while not rings:
            yield from meeting.await_receive(default=None)
            asked += 1

    def main() -> Steps:
        rings: list[int] = []
        asker = a_sync(ask, rings)
        yield from await_sleep(0.01)
        rings.append(1)
        yield from asker.await_result()

    run(main)
    assert asked > 0


def test_async_for_ends_with_the_close() -> None:
    meeting: Meeting[int] = Meeting()

    def send() -> Steps:
        for number in range(5):
            yield from meeting.await_send(number)
        meeting.close()

    async def main() -> list[int]:
        a_sync(send)
        return [number async for number in meeting]

    assert run(main) == [0, 1, 2, 3, 4]


def test_async_for_in_two_tasks_shares_the_data() -> None:
    meeting: Meeting[int] = Meeting()
    got: list[list[int]] = [[], []]

    async def receive(mine: list[int]) -> None:
        async for number in meeting:
            mine.append(number)
            await await_yield()

    async def main() -> None:
        tasks = [a_sync(receive, mine) for mine in got]
        for number in range(20):
            await meeting.await_send(number)
        meeting.close()
        for task in tasks:
            await task.await_result()

    run(main)
    assert sorted(got[0] + got[1]) == list(range(20))
    assert min(map(len, got)) >= 5


# Cancelling


@pytest.mark.parametrize("sends", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_cancelled_waiter_is_met_by_nobody(sends: bool, several: bool) -> None:
    meeting, other = Meeting[int](), Meeting[int]()
    meetings = (other, meeting, other) if several else (meeting,)
    with Scene() as scene:
        waiter = (lambda: await_meeting_send(1, *meetings)) if sends else (lambda: await_meeting_receive(*meetings))
        task = scene.do("cancelled one", waiter)
        scene.do("next", waiter)
        task.cancel()
        assert repr(meeting).endswith("1 wait to send, 0 to receive>" if sends else "0 wait to send, 1 to receive>")
        scene.do("partner", meeting.await_receive if sends else lambda: meeting.await_send(1))
        log = scene.ran()
        assert "cancelled one cancelled" in log
        assert sorted(log)[1:] == (["next", "partner 1"] if sends else ["next 1", "partner"])
        assert not any(each.ready for each in (meeting, other))


@pytest.mark.parametrize("several", [True, False])
def test_cancel_after_the_match_delivers_the_datum(several: bool) -> None:
    meeting: Meeting[int] = Meeting()
    log: list[object] = []

    def receive() -> Steps:
        log.append((yield from (await_meeting_receive(meeting, meeting) if several else meeting.await_receive())))
        try:
            yield from meeting.await_receive()
        except Cancelled:
            log.append("cancelled")

    with Scene() as scene:
        task = a_sync(receive, loop=scene.loop)
        scene.do("send", lambda: meeting.await_send(1))
        task.cancel()
        assert scene.ran() == ["send"]
    assert log == [1, "cancelled"]
    assert not meeting.ready


@pytest.mark.parametrize("several", [True, False])
def test_end_of_the_loop_leaves_nobody_at_a_meeting(several: bool) -> None:
    meeting: Meeting[int] = Meeting()
    with Scene() as scene:
        scene.do("receive", lambda: await_meeting_receive(meeting, meeting) if several else meeting.await_receive())
        scene.loop.post(scene.loop.quit)
        assert scene.ran() == []
        assert not meeting.ready
        scene.do("send", lambda: meeting.await_send(1))
        scene.do("receive", meeting.await_receive)
        assert scene.ran() == ["receive 1", "send"]


@pytest.mark.parametrize("way", ["receive", "send", "several", "choice"])
def test_time_limit_leaves_nobody_at_a_meeting(way: str) -> None:
    a, b = Meeting[int](), Meeting[int]()
    ways: dict[str, Callable[[], Any]] = {
        "receive": a.await_receive,
        "send": lambda: a.await_send(1),
        "several": lambda: await_meeting_receive(b, a),
        "choice": lambda: await_choice(b.receiving(), a.sending(1)),
    }

    def main() -> Steps:
        with pytest.raises(TimeoutError), timeout(0.01):
            yield from ways[way]()
        assert not any(meeting.ready for meeting in (a, b))

    run(main)


@pytest.mark.parametrize("first", ["datum", "time"])
def test_datum_and_time_limit_in_one_turn(first: str) -> None:
    meeting: Meeting[int] = Meeting()
    got: list[int] = []

    def receive() -> Steps:
        with timeout(0.01):
            while True:
                got.append((yield from meeting.await_receive()))

    def main() -> Steps:
        loop = own_loop()
        sender: list[Task[None]] = []
        come = [lambda: sender.append(a_sync(meeting.await_send, 1))]
        if first == "datum":
            loop.timeout_post(0.01, come.pop(), repeat=False)
        receiver = a_sync(receive)
        if first == "time":
            loop.timeout_post(0.01, come.pop(), repeat=False)
        loop.post(lambda: time.sleep(0.02))  # both are over when the loop looks
        with pytest.raises(TimeoutError):
            yield from receiver.await_result()
        assert (got, sender[0].done, meeting.ready) == (([1], True, False) if first == "datum" else ([], False, True))

    run(main)


class Exchange:
    """Three senders and three receivers of several kinds, and the account of what went where."""

    PARTIES = 6

    def __init__(self) -> None:
        self.loop = EventLoop()
        self.a, self.b = Meeting[str](), Meeting[str]()
        self.sent: list[str] = []
        self.received: list[str] = []
        ways: list[Callable[[], Any]] = [
            lambda: self._send("p", lambda datum: self.a.await_send(datum)),
            lambda: self._receive(lambda: self.a.await_receive()),
            lambda: self._send("q", lambda datum: await_meeting_send(datum, self.b, self.a)),
            lambda: self._receive(lambda: await_meeting_receive(self.a, self.b)),
            lambda: self._send("r", lambda datum: await_choice(after(60), self.b.sending(datum))),
            lambda: self._receive(lambda: await_choice(self.b.receiving(), self.a.receiving(), after(60))),
        ]
        self.tasks = [a_sync(way, loop=self.loop) for way in ways]

    def _send(self, name: str, send: Callable[[str], Any]) -> Steps:
        for number in range(6):
            yield from send(f"{name}{number}")
            self.sent.append(f"{name}{number}")

    def _receive(self, receive: Callable[[], Any]) -> Steps:
        for _ in range(6):
            self.received.append((yield from receive()))

    def settle(self) -> None:
        """Run until nobody moves any more, and end those who still wait."""
        while self.loop.pending_posts:
            self.loop.step()
        for task in self.tasks:
            task.cancel("the end")
        self.loop.run()
        assert all(task.done for task in self.tasks)

    def step(self) -> None:
        """One move of one party."""
        self.loop.step(budget=0.0)

    def steps(self) -> int:
        """How many moves it takes until nobody moves."""
        for count in itertools.count():
            if not self.loop.pending_posts:
                return count
            self.step()
        raise AssertionError


def test_exchange_without_a_cancel_is_complete() -> None:
    exchange = Exchange()
    with exchange.loop:
        exchange.settle()
    assert sorted(exchange.sent) == sorted(exchange.received) == sorted(f"{name}{n}" for name in "pqr" for n in range(6))


def _steps() -> int:
    exchange = Exchange()
    with exchange.loop:
        return exchange.steps()


@pytest.mark.parametrize("party", range(Exchange.PARTIES))
def test_cancel_of_every_party_at_every_step_loses_nothing(party: int) -> None:
    steps = _steps()
    assert steps > 15
    for step in range(steps + 1):
        exchange = Exchange()
        with exchange.loop:
            for _ in range(step):
                exchange.step()
            exchange.tasks[party].cancel()
            exchange.settle()
        assert sorted(exchange.sent) == sorted(exchange.received), f"cancelled at step {step}"
        assert len(set(exchange.received)) == len(exchange.received)
        assert not any(meeting.ready for meeting in (exchange.a, exchange.b))


def test_cancel_of_two_parties_at_many_pairs_of_steps_loses_nothing() -> None:
    steps = _steps()
    for first, second in itertools.permutations(range(Exchange.PARTIES), 2):
        for last in range(0, steps + 1, 2):
            exchange = Exchange()
            with exchange.loop:
                for step in range(last):
                    exchange.step()
                    if step == last // 2:
                        exchange.tasks[first].cancel()
                exchange.tasks[second].cancel()
                exchange.settle()
            assert sorted(exchange.sent) == sorted(exchange.received), f"{first} and {second}, at step {last}"


# Bad input


def test_meeting_of_another_loop_is_refused() -> None:
    mine, other = Meeting[int](), Meeting[int]()
    with Scene() as here, Scene() as there:
        there.do("bind", other.await_receive)
        ways: list[Callable[[], Any]] = [
            lambda: other.await_send(1),
            other.await_receive,
            lambda: other.await_receive(default=1),
            lambda: await_meeting_send(1, mine, other),
            lambda: await_meeting_receive(mine, other),
            lambda: await_choice(mine.receiving(), other.receiving()),
            lambda: await_choice(mine.sending(1), other.sending(1)),
            lambda: other.receiving().await_(),
        ]
        # Somebody to meet at the first one changes nothing: all are looked at before any is used.
        here.do("sender", lambda: mine.await_send(0))
        for way in ways:
            with pytest.raises(LoopStateError, match=r"task 'wrong' of .* uses the meeting .*, which belongs to .*"):
                here.do("wrong", way)
        assert here.ran() == []
        here.do("receiver", mine.await_receive)
        assert here.ran() == ["receiver 0", "sender"]
        assert repr(other).endswith("0 wait to send, 1 to receive>")


def test_meeting_may_be_given_its_loop() -> None:
    with Scene() as here, Scene() as there:
        meeting: Meeting[int] = Meeting(there.loop)
        with pytest.raises(LoopStateError, match="belongs to"):
            here.do("wrong", meeting.await_receive)
        there.do("receive", meeting.await_receive)
        there.do("send", lambda: meeting.await_send(1))
        assert there.ran() == ["send", "receive 1"]


@pytest.mark.parametrize("loop", [5, "loop", EventLoop])
def test_loop_of_the_wrong_type_is_refused(loop: Any) -> None:
    with pytest.raises(TypeError, match="loop must be an EventLoop or None, not "):
        Meeting(loop)


def test_no_meetings_are_refused() -> None:
    with Scene() as scene:
        with pytest.raises(ValueError, match=r"await_meeting_send\(\) was given no meetings"):
            scene.do("send", lambda: await_meeting_send(1))
        with pytest.raises(ValueError, match=r"await_meeting_receive\(\) was given no meetings"):
            scene.do("receive", lambda: await_meeting_receive())


def test_other_things_than_meetings_are_refused() -> None:
    meeting: Meeting[Any] = Meeting()
    with Scene() as scene:
        with pytest.raises(TypeError, match="takes meetings, not int; a datum comes before them"):
            scene.do("send", lambda: await_meeting_send(cast(Any, meeting), cast(Any, 1)))
        with pytest.raises(TypeError, match="takes meetings, not str"):
            scene.do("receive", lambda: await_meeting_receive(meeting, cast(Any, "m")))
        assert not meeting.ready


@pytest.mark.parametrize("way", ["await_send", "await_receive", "await_meeting_send", "await_meeting_receive", "await_choice"])
def test_outside_a_task_is_refused(way: str) -> None:
    meeting: Meeting[int] = Meeting()
    calls: dict[str, Callable[[], Any]] = {
        "await_send": lambda: meeting.await_send(1),
        "await_receive": lambda: meeting.await_receive(),
        "await_meeting_send": lambda: await_meeting_send(1, meeting),
        "await_meeting_receive": lambda: await_meeting_receive(meeting),
        "await_choice": lambda: await_choice(meeting.receiving()),
    }
    with pytest.raises(LoopStateError, match=rf"{way}\(\) was called outside a task"):
        calls[way]().send(None)
    assert not meeting.ready


def test_close_in_another_thread_is_refused() -> None:
    meeting: Meeting[int] = Meeting()
    errors: list[BaseException] = []

    def close() -> None:
        try:
            meeting.close()
        except LoopStateError as error:
            errors.append(error)
        scene.loop.post(meeting.close)
        scene.loop.block(False)

    with Scene() as scene:
        scene.do("receive", meeting.await_receive)
        thread = threading.Thread(target=close)
        scene.loop.block()
        scene.loop.post(thread.start)
        assert scene.ran() == ["receive closed"]
        thread.join()
    assert "use loop.post(meeting.close)" in str(errors[0])


def test_meeting_is_no_ordinary_iterable() -> None:
    with pytest.raises(TypeError):
        iter(cast(Any, Meeting()))


# Reports


def test_waiting_keeps_no_loop_alive_and_is_a_deadlock_for_run() -> None:
    meeting: Meeting[int] = Meeting()
    with pytest.raises(Deadlock, match=r"await_receive.* a datum from the meeting (made )?at "):
        run(meeting.await_receive)
    with pytest.raises(Deadlock, match=r"a receiver at the meeting .* or time \(inf s\) or the result of task 'other'"):
        run(_wait_for_many)


def _wait_for_many() -> Steps:
    meeting: Meeting[int] = Meeting()
    other = a_sync(meeting.await_receive, name="other")
    third: Meeting[int] = Meeting()
    from eventsock import finished

    yield from await_choice(third.sending(1), after(float("inf")), finished(other))


_SLEEPERS = """
from eventsock import EventLoop, Meeting, a_sync
meeting = Meeting()
with EventLoop() as loop:
    a_sync(meeting.await_receive, loop=loop, name="reader")
    a_sync(meeting.await_receive, loop=loop, name="second")
    loop.run()
    meeting.close()
    print("ran")
    loop.timeout_post(0, loop.quit)
    loop.run()
"""


@pytest.mark.parametrize("debug", [True, False])
def test_sleepers_are_named_in_debug_mode(debug: bool) -> None:
    mode = ["-X", "dev"] if debug else []
    done = subprocess.run([sys.executable, *mode, "-W", "error", "-c", _SLEEPERS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    named = [name for name in ("'reader'", "'second'", "a datum from the meeting made at <string>:3") if name in done.stderr]
    assert len(named) == (3 if debug else 0), done.stderr
    assert done.stderr.count("nothing is left to do") == debug, "not when it quits"


def test_repr_says_who_waits() -> None:
    meeting: Meeting[int] = Meeting()
    assert repr(meeting) == f"<Meeting at {id(meeting):#x}: 0 wait to send, 0 to receive>"
    with Scene() as scene:
        scene.do("a", lambda: meeting.await_send(1))
        scene.do("b", lambda: meeting.await_send(1))
        assert repr(meeting).endswith("2 wait to send, 0 to receive>")
        meeting.close()
        scene.ran()


@pytest.mark.parametrize("ending", ["cancel", "close", "map"])
@pytest.mark.parametrize("way", ["receive", "send", "several", "choice", "alone"])
def test_frames_that_an_error_has_passed_do_not_lead_to_the_task(ending: str, way: str) -> None:
    """A task keeps the error it ended with; a way from the error's trace back to the task would be a cycle for each such task."""
    a, b = Meeting[int](), Meeting[int]()
    ways: dict[str, Callable[[], Any]] = {
        "receive": a.await_receive,
        "send": lambda: a.await_send(1),
        "several": lambda: await_meeting_receive(b, a),
        "choice": lambda: await_choice(after(60), b.receiving(), a.receiving().map(lambda number: 1 // number)),
        "alone": lambda: a.receiving().map(lambda number: 1 // number).await_(),
    }
    endings: dict[str, Callable[[], object]] = {"cancel": lambda: task.cancel(), "close": a.close, "map": lambda: a_sync(a.await_send, 0)}
    if ending == "map" and way not in ("choice", "alone"):
        return

    def steps() -> Steps:
        yield from ways[way]()

    with EventLoop() as loop:
        task = a_sync(steps, loop=loop)
        task.watch(dict)  # somebody who answers for its error
        loop.post(endings[ending])
        loop.run()
        error = task.error
    assert error is not None
    rooms = {room.__file__ for room in (choice, meetings, operations)}
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename in rooms]
    held = [value for frame in frames for value in frame.f_locals.values()]
    assert frames
    assert not any(value is task or task in gc.get_referents(value) for value in held)


def test_exchanges_make_no_garbage() -> None:
    a, b = Meeting[int](), Meeting[int]()

    def send() -> Steps:
        for number in range(20):
            yield from a.await_send(number)
            yield from await_meeting_send(number, b, a)

    def receive() -> Steps:
        for _ in range(20):
            yield from a.await_receive()
            yield from await_choice(a.receiving(), b.receiving(), after(60))

    def main() -> Steps:
        tasks = [a_sync(send), a_sync(receive)]
        for task in tasks:
            yield from task.await_result()
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        a_sync(send)
        yield from a_sync(receive).await_result()
        gc.collect()

    try:
        run(main)
        found = [type(thing).__name__ for thing in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert [name for name in found if name in ("Arm", "Choosing", "Alone", "Receiving", "Sending", "Task", "generator")] == []
