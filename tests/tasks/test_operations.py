"""The core of choice, with operations made of plain values: what is tried, blocked and undone, at every place among the arms.

Knows no meeting, no clock and no descriptor: `Probe` is an operation that happens when the test says so, and writes down what is asked.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eventsock import Cancelled, EventLoop, Task, a_sync, await_choice
from eventsock.tasks.operations import NOT_YET, Arm, Choosing, NotYet, Operation

# Every place among one to four arms.
PLACES = [(count, place) for count in range(1, 5) for place in range(count)]


class Probe(Operation[Any]):
    """Happens when the test wakes its arm; `ready` makes it happen at once. `said` has what it was asked, in order."""

    def __init__(self, said: list[str], name: str, ready: object = NOT_YET) -> None:
        self.said = said
        self.name = name
        self.ready = ready
        self.arms: list[Arm] = []
        self.refuses: dict[str, Exception] = {}

    def _asked(self, verb: str) -> None:
        self.said.append(f"{verb} {self.name}")
        if verb in self.refuses:
            raise self.refuses[verb]

    def check(self, task: Task[Any]) -> None:
        self._asked("check")

    def attempt(self, task: Task[Any]) -> Any | NotYet:
        self._asked("attempt")
        return self.ready

    def block(self, arm: Arm) -> None:
        self._asked("block")
        self.arms.append(arm)

    def undo(self, arm: Arm) -> None:
        self._asked("undo")
        assert self.arms == [arm] or not self.arms
        self.arms.clear()

    def __str__(self) -> str:
        return self.name


def probes(count: int) -> tuple[list[str], list[Probe]]:
    said: list[str] = []
    return said, [Probe(said, str(place)) for place in range(count)]


def asked(verb: str, count: int) -> list[str]:
    return [f"{verb} {place}" for place in range(count)]


class Chooser:
    """A task in a choice of `operations`, and what came of it."""

    def __init__(self, loop: EventLoop, *operations: Operation[Any]) -> None:
        self.outcome: list[object] = []
        self.loop = loop
        self.task = a_sync(self._steps, operations, loop=loop)

    def _steps(self, operations: tuple[Operation[Any], ...]) -> Generator[Any, Any, None]:
        try:
            self.outcome.append((yield from await_choice(*operations)))
        except (Exception, Cancelled) as error:
            self.outcome.append(error)

    def run(self) -> list[object]:
        self.loop.run()
        return self.outcome


@pytest.mark.parametrize(("count", "place"), PLACES)
def test_first_that_needs_no_wait_is_done(count: int, place: int) -> None:
    said, operations = probes(count)
    for probe in operations[place:]:
        probe.ready = probe.name
    with EventLoop() as loop:
        chooser = Chooser(loop, *operations)
        assert chooser.outcome == [str(place)]
    assert said == asked("check", count) + asked("attempt", place + 1)


@pytest.mark.parametrize(("count", "place"), PLACES)
def test_error_of_a_trial_is_raised_before_anything_is_blocked(count: int, place: int) -> None:
    said, operations = probes(count)
    error = operations[place].refuses["attempt"] = ValueError(str(place))
    with EventLoop() as loop:
        assert Chooser(loop, *operations).outcome == [error]
    assert said == asked("check", count) + asked("attempt", place + 1)


@pytest.mark.parametrize(("count", "place"), PLACES)
def test_check_comes_before_every_trial(count: int, place: int) -> None:
    said, operations = probes(count)
    operations[0].ready = "never given"
    error = operations[place].refuses["check"] = ValueError(str(place))
    with EventLoop() as loop:
        assert Chooser(loop, *operations).outcome == [error]
    assert said == asked("check", place + 1)


@pytest.mark.parametrize(("count", "place"), PLACES)
def test_winner_undoes_every_arm_once(count: int, place: int) -> None:
    said, operations = probes(count)
    with EventLoop() as loop:
        chooser = Chooser(loop, *operations)
        assert said == asked("check", count) + asked("attempt", count) + asked("block", count)
        said.clear()
        operations[place].arms[0].wake(f"result {place}")
        assert said == asked("undo", count)
        assert chooser.run() == [f"result {place}"]
    assert said == asked("undo", count)


@pytest.mark.parametrize(("count", "place"), PLACES)
def test_error_that_wins_undoes_every_arm_once(count: int, place: int) -> None:
    said, operations = probes(count)
    error = KeyError(place)
    with EventLoop() as loop:
        chooser = Chooser(loop, *operations)
        said.clear()
        operations[place].arms[0].fail(error)
        assert chooser.run() == [error]
    assert said == asked("undo", count)


@pytest.mark.parametrize(("count", "place"), PLACES)
def test_refusal_to_block_undoes_every_arm(count: int, place: int) -> None:
    said, operations = probes(count)
    error = operations[place].refuses["block"] = OSError(place)
    with EventLoop() as loop:
        assert Chooser(loop, *operations).outcome == [error]
    assert said == asked("check", count) + asked("attempt", count) + asked("block", place + 1) + asked("undo", place)
    assert not any(probe.arms for probe in operations)


@pytest.mark.parametrize("count", range(1, 5))
def test_cancel_undoes_every_arm_once(count: int) -> None:
    said, operations = probes(count)
    with EventLoop() as loop:
        chooser = Chooser(loop, *operations)
        said.clear()
        chooser.task.cancel("enough")
        assert said == asked("undo", count)
        (error,) = chooser.run()
    assert isinstance(error, Cancelled)
    assert error.reason == "enough"
    assert said == asked("undo", count)


@pytest.mark.parametrize("count", range(1, 5))
def test_end_of_the_loop_undoes_every_arm_once(count: int) -> None:
    said, operations = probes(count)
    with EventLoop() as loop:
        Chooser(loop, *operations)
        said.clear()
    assert said == asked("undo", count)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(range(3), repeat=2)))
@pytest.mark.parametrize("verb", ["wake", "fail"])
def test_second_winner_is_too_late(first: int, second: int, verb: str) -> None:
    _, operations = probes(3)
    with EventLoop() as loop:
        chooser = Chooser(loop, *operations)
        late = operations[second].arms[0]
        operations[first].arms[0].wake(first)
        getattr(late, verb)(ValueError("late"))
        assert chooser.run() == [first]


@pytest.mark.parametrize("place", range(3))
def test_winner_is_kept_from_a_cancel_that_comes_after_it(place: int) -> None:
    _, operations = probes(3)
    with EventLoop() as loop:
        chooser = Chooser(loop, *operations)
        operations[place].arms[0].wake(place)
        chooser.task.cancel()
        assert chooser.run() == [place]


@pytest.mark.parametrize("place", range(3))
def test_answer_after_a_cancel_is_too_late(place: int) -> None:
    _, operations = probes(3)
    with EventLoop() as loop:
        chooser = Chooser(loop, *operations)
        late = operations[place].arms[0]
        chooser.task.cancel()
        late.wake("late")
        (error,) = chooser.run()
    assert isinstance(error, Cancelled)


# Wrapping


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize(("count", "place"), PLACES)
def test_map_is_applied_to_the_winner_only(count: int, place: int, ready: bool) -> None:
    called: list[str] = []

    def mark(name: str) -> Callable[[str], str]:
        return lambda result: called.append(name) or f"{name}({result})"  # type: ignore[func-returns-value]

    _, operations = probes(count)
    if ready:
        operations[place].ready = "it"
    with EventLoop() as loop:
        chooser = Chooser(loop, *(probe.map(mark(f"f{probe.name}")).map(mark(f"g{probe.name}")) for probe in operations))
        if not ready:
            operations[place].arms[0].wake("it")
            assert called == [], "the function runs in the task, not in whoever wakes it"
        assert chooser.run() == [f"g{place}(f{place}(it))"]
    assert called == [f"f{place}", f"g{place}"]


@pytest.mark.parametrize("ready", [True, False])
def test_error_of_a_map_is_the_choices(ready: bool) -> None:
    said, operations = probes(2)
    operations[1].ready = 5 if ready else NOT_YET
    with EventLoop() as loop:
        chooser = Chooser(loop, operations[0], operations[1].map(lambda number: 1 // (number - 5)))
        if not ready:
            operations[1].arms[0].wake(5)
            assert said[-2:] == asked("undo", 2)
        (error,) = chooser.run()
    assert isinstance(error, ZeroDivisionError)


def test_map_is_not_applied_to_an_error() -> None:
    _, (probe,) = probes(1)
    error = KeyError("mine")
    with EventLoop() as loop:
        chooser = Chooser(loop, probe.map(str))
        probe.arms[0].fail(error)
        assert chooser.run() == [error]


def test_map_leaves_the_operation_as_it_was() -> None:
    _, (probe,) = probes(1)
    probe.ready = 5
    mapped = probe.map(str)
    with EventLoop() as loop:
        assert Chooser(loop, probe).outcome == [5]
        assert Chooser(loop, mapped).outcome == ["5"]
        assert Chooser(loop, mapped).outcome == ["5"], "an operation may be awaited again"
    assert str(mapped) == "0"


def test_map_wants_a_function() -> None:
    with pytest.raises(TypeError, match="f must be callable, not int"):
        probes(1)[1][0].map(cast(Any, 5))


# Bad input


def test_choice_of_nothing_is_refused() -> None:
    with EventLoop() as loop:
        (error,) = Chooser(loop).outcome
    assert isinstance(error, ValueError)
    assert "no operations" in str(error)


@pytest.mark.parametrize("thing", [5, None, "meeting", Probe])
def test_choice_takes_operations_only(thing: Any) -> None:
    said, operations = probes(1)
    with EventLoop() as loop:
        (error,) = Chooser(loop, operations[0], thing).outcome
    assert isinstance(error, TypeError)
    assert type(thing).__name__ in str(error)
    assert said == ["check 0"]


def test_alone_is_a_choice_of_one() -> None:
    _, (probe,) = probes(1)
    results = []

    def task() -> Generator[Any, Any, None]:
        results.append((yield from probe.await_()))

    async def async_task() -> None:
        results.append(await probe.map(str).await_())

    for steps in (task, async_task):
        with EventLoop() as loop:
            a_sync(steps, loop=loop)
            assert len(probe.arms) == 1
            probe.arms[0].wake(7)
            loop.run()
    assert results == [7, "7"]


# The wait by itself, without a loop


def stub_task(queue: list[Callable[[], object]]) -> Any:
    return SimpleNamespace(loop=SimpleNamespace(soon=queue.append, hand_over=queue.append), wake="wake", fail=lambda error: error)


def test_wait_says_who_waits_for_what() -> None:
    _, operations = probes(3)
    wait = Choosing(operations, stub_task([]))
    assert str(wait) == "0 or 1 or 2"
    assert str(operations[1].arms[0]) == "0 or 1 or 2"


def test_wait_queues_its_task_once() -> None:
    queue: list[Any] = []
    _, operations = probes(2)
    wait = Choosing(operations, stub_task(queue))
    arms = [probe.arms[0] for probe in operations]
    arms[1].wake("first")
    arms[0].wake("second")
    arms[0].fail(ValueError())
    assert queue == ["wake"]
    assert (wait.done, wait.withdraw(), wait.result()) == (True, False, "first")


def test_withdrawn_wait_answers_nobody() -> None:
    queue: list[Any] = []
    _, operations = probes(2)
    wait = Choosing(operations, stub_task(queue))
    arms = [probe.arms[0] for probe in operations]
    assert wait.withdraw()
    assert not wait.withdraw()
    arms[0].wake()
    assert queue == []


@pytest.mark.parametrize("ending", ["wake", "fail", "withdraw"])
def test_wait_that_is_over_is_no_garbage(ending: str) -> None:
    gc.collect()
    _, operations = probes(3)
    task = stub_task([])
    wait = Choosing(operations, task)
    if ending == "withdraw":
        wait.withdraw()
    else:
        getattr(operations[1].arms[0], ending)(ValueError())
    task.waits_for = None  # as whoever drives the task does
    del wait, task
    assert gc.collect() == 0
