"""Ten thousand rounds of one choice between a meeting, a socket, a timer and a thread, whose causes come in any order and any number.

Knows what must be true after each round: one of the four has happened, and what the other three had to give is still where it was.
"""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import pytest

from eventsock import EventLoop, Meeting, Task, a_sync, after, await_choice, await_yield, in_thread, readable

ROUNDS = 10_000
SEED = 1978

Steps = Generator[Any, Any, None]


class Round:
    """One choice, and what is done to it."""

    def __init__(self, number: int, chance: random.Random, sockets: tuple[socket.socket, socket.socket]) -> None:
        self.number = number
        self.ours, self.theirs = sockets
        self.meeting: Meeting[int] = Meeting()
        self.gate = threading.Event()
        self.happened: list[str] = []
        self.sender: Task[None] | None = None
        causes: dict[str, Callable[[], object]] = {"meeting": self._send, "socket": self._write, "thread": self.gate.set, "time": int}
        self.caused = {kind: causes[kind] for kind in chance.sample(sorted(causes), chance.randint(1, 4))}
        # How many turns before or after the choice begins each cause comes.
        self.turns = {kind: chance.randint(-1, 3) for kind in self.caused}
        self.seconds = chance.choice([0.0, 0.0001]) if "time" in self.caused else 9.0
        self.order = chance.sample(range(4), 4)

    def _send(self) -> None:
        self.sender = a_sync(self.meeting.await_send, self.number)

    def _write(self) -> None:
        self.theirs.send(b"x")

    def _block(self) -> str:
        self.gate.wait()
        return "done"

    def _cause(self, kind: str) -> Steps:
        for _ in range(self.turns[kind]):
            yield from await_yield()
        self.caused[kind]()

    def await_outcome(self) -> Generator[Any, Any, tuple[str, object]]:
        """The choice, with what happened in the words of the operations themselves."""
        operations = [
            self.meeting.receiving().map(lambda datum: self._note("meeting", datum)),
            readable(self.ours).map(lambda nothing: self._note("socket", nothing)),
            after(self.seconds).map(lambda nothing: self._note("time", nothing)),
            in_thread(self._block).map(lambda result: self._note("thread", result)),
        ]
        for kind, turns in self.turns.items():
            if turns < 0:
                self.caused[kind]()
        others = [a_sync(self._cause, kind) for kind, turns in self.turns.items() if turns >= 0]
        outcome = yield from await_choice(*(operations[place] for place in self.order))
        for other in others:
            yield from other.await_result()
        return outcome

    def _note(self, kind: str, result: object) -> tuple[str, object]:
        self.happened.append(kind)
        return kind, result

    def await_inspection(self, loop: EventLoop, outcome: tuple[str, object]) -> Steps:
        """What did not happen is undone, and can still happen."""
        kind, result = outcome
        assert self.happened == [kind]
        assert kind in self.caused
        assert result == {"meeting": self.number, "thread": "done", "socket": None, "time": None}[kind]
        side = loop.book.find(self.ours).read
        assert (side.holder, side.waiter, loop.book.armed, len(loop.timers)) == (None, None, 0, 0)
        if kind != "meeting":
            assert self.meeting.ready is ("meeting" in self.caused), "nobody receives there, and the sender still waits"
            if self.sender is not None:
                assert (yield from self.meeting.await_receive()) == self.number
        assert not self.meeting.ready
        if self.sender is not None:
            yield from self.sender.await_result()
        if "socket" in self.caused:
            assert self.ours.recv(10) == b"x"
        self.gate.set()


@pytest.mark.timeout(120)
def test_exactly_one_happens_in_ten_thousand_rounds(socket_pair: tuple[socket.socket, socket.socket]) -> None:
    chance = random.Random(SEED)
    won: Counter[str] = Counter()

    def main(loop: EventLoop) -> Steps:
        for number in range(ROUNDS):
            this = Round(number, chance, socket_pair)
            outcome = yield from this.await_outcome()
            yield from this.await_inspection(loop, outcome)
            won[outcome[0]] += 1

    with EventLoop(debug=False) as loop:
        task = a_sync(main, loop, loop=loop)
        loop.run()
        assert task.done, "nothing but the task keeps the loop alive"
    assert won.total() == ROUNDS
    assert min(won[kind] for kind in ("meeting", "socket", "time", "thread")) > ROUNDS / 50, won
