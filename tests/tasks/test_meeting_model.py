"""Meetings against a model of a few lines: any order of sends, receives, choices, cancels, closes and turns gives what the model gives.

The model is a list of who waits and a rule for who meets whom. Knows nothing of how the package keeps its lines.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from eventsock import (
    Cancelled,
    EventLoop,
    Meeting,
    MeetingClosed,
    Task,
    a_sync,
    await_choice,
    await_meeting_receive,
    await_meeting_send,
)

MEETINGS = 3

# Where a party stands: the number of a meeting, and whether it sends there.
Place = tuple[int, bool]
Outcome = tuple[str, str]


@dataclass(eq=False)
class Party:
    """One task with one wait. What it sends is its own name."""

    name: str
    places: list[Place]
    task: Task[None] | None = None


@dataclass
class Model:
    """Meetings, as the documentation has them."""

    waiting: list[Party] = field(default_factory=list)
    closed: set[int] = field(default_factory=set)
    # What the tasks have logged, and what those who were decided will log when they run, both in order.
    log: list[Outcome] = field(default_factory=list)
    coming: list[Outcome] = field(default_factory=list)

    def enter(self, party: Party) -> None:
        for number, sends in party.places:
            partner = self.partner(number, sends)
            if partner is not None:
                self.waiting.remove(partner)
                self.log.append((party.name, self._result(number, sends, partner)))
                self.coming.append((partner.name, self._result(number, not sends, party)))
                return
            if number in self.closed:
                self.log.append((party.name, "closed"))
                return
        self.waiting.append(party)

    def partner(self, number: int, sends: bool) -> Party | None:
        """Who has waited longest at a meeting on the other side."""
        return next((party for party in self.waiting if (number, not sends) in party.places), None)

    def _result(self, number: int, sends: bool, partner: Party) -> str:
        return f"sent at {number}" if sends else f"{partner.name} at {number}"

    def cancel(self, party: Party) -> None:
        if party in self.waiting:
            self.waiting.remove(party)
            self.coming.append((party.name, "cancelled"))

    def close(self, number: int) -> None:
        self.closed.add(number)
        for sends in (True, False):
            for party in [party for party in self.waiting if (number, sends) in party.places]:
                self.waiting.remove(party)
                self.coming.append((party.name, "closed"))

    def turn(self) -> None:
        self.log += self.coming
        self.coming.clear()


class Meetings(RuleBasedStateMachine):
    """Drives the meetings and the model side by side."""

    parties: Bundle[Party] = Bundle("parties")

    def __init__(self) -> None:
        super().__init__()
        self.loop = EventLoop(debug=False)
        self.meetings = [Meeting[str]() for _ in range(MEETINGS)]
        self.model = Model()
        self.log: list[Outcome] = []
        self.count = 0

    def _enter(self, places: list[Place], waiting: Any) -> Party:
        party = Party(f"p{self.count}", places)
        self.count += 1
        self.model.enter(party)
        party.task = a_sync(self._steps, party.name, waiting, loop=self.loop)
        return party

    def _steps(self, name: str, waiting: Any) -> Generator[Any, Any, None]:
        try:
            self.log.append((name, (yield from waiting(name))))
        except MeetingClosed:
            self.log.append((name, "closed"))
        except Cancelled:
            self.log.append((name, "cancelled"))

    @rule(target=parties, number=st.integers(0, MEETINGS - 1))
    def send(self, number: int) -> Party:
        def waiting(name: str) -> Generator[Any, Any, str]:
            yield from self.meetings[number].await_send(name)
            return f"sent at {number}"

        return self._enter([(number, True)], waiting)

    @rule(target=parties, number=st.integers(0, MEETINGS - 1))
    def receive(self, number: int) -> Party:
        def waiting(name: str) -> Generator[Any, Any, str]:
            return f"{(yield from self.meetings[number].await_receive())} at {number}"

        return self._enter([(number, False)], waiting)

    @rule(target=parties, numbers=st.lists(st.integers(0, MEETINGS - 1), min_size=1, max_size=4), sends=st.booleans())
    def multiway(self, numbers: list[int], sends: bool) -> Party:
        """The two procedures do not say where they met, so the outcome is completed from the partner's."""
        meetings = [self.meetings[number] for number in numbers]

        def waiting(name: str) -> Generator[Any, Any, str]:
            if sends:
                yield from await_meeting_send(name, *meetings)
                return "sent at ?"
            return f"{(yield from await_meeting_receive(*meetings))} at ?"

        return self._enter([(number, sends) for number in numbers], waiting)

    @rule(target=parties, places=st.lists(st.tuples(st.integers(0, MEETINGS - 1), st.booleans()), min_size=1, max_size=4))
    def choose(self, places: list[Place]) -> Party:
        def waiting(name: str) -> Generator[Any, Any, str]:
            outcome: str = yield from await_choice(*(self._operation(name, *place) for place in places))
            return outcome

        return self._enter(places, waiting)

    def _operation(self, name: str, number: int, sends: bool) -> Any:
        meeting = self.meetings[number]
        if sends:
            return meeting.sending(name).map(lambda _: f"sent at {number}")
        return meeting.receiving().map(lambda datum: f"{datum} at {number}")

    @rule(party=parties)
    def cancel(self, party: Party) -> None:
        assert party.task is not None
        party.task.cancel()
        self.model.cancel(party)

    @rule(number=st.integers(0, MEETINGS - 1))
    def close(self, number: int) -> None:
        self.meetings[number].close()
        self.model.close(number)

    @rule()
    def turn(self) -> None:
        while self.loop.pending_posts:
            self.loop.step()
        self.model.turn()

    @invariant()
    def outcomes_are_the_models(self) -> None:
        assert len(self.log) == len(self.model.log)
        for (name, outcome), (their_name, theirs) in zip(self.log, self.model.log, strict=True):
            assert (name, outcome) == (their_name, theirs[:-1] + "?" if outcome.endswith("?") else theirs)

    @invariant()
    def meetings_are_ready_where_the_model_says(self) -> None:
        taken = {number for party in self.model.waiting for number, _ in party.places}
        assert [meeting.ready for meeting in self.meetings] == [n in taken | self.model.closed for n in range(MEETINGS)]

    @invariant()
    def every_datum_is_with_one_task(self) -> None:
        """Sent = received, counting what is on its way; all others are still with those who wait."""
        outcomes = self.model.log + self.model.coming
        sent = sorted(name for name, outcome in outcomes if outcome.startswith("sent"))
        received = sorted(outcome.partition(" at ")[0] for _, outcome in outcomes if outcome.startswith("p"))
        assert sent == received
        assert len(outcomes) + len(self.model.waiting) == self.count

    def teardown(self) -> None:
        self.turn()
        self.outcomes_are_the_models()
        self.loop.close()
        assert not any(meeting.ready for number, meeting in enumerate(self.meetings) if number not in self.model.closed)


TestMeetings = Meetings.TestCase
TestMeetings.settings = settings(max_examples=150, stateful_step_count=40)
