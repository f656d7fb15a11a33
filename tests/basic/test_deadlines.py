"""Time limits: of the surrounding block, of one call, and how a deadline runs."""

from __future__ import annotations

import contextvars
import math
import threading
from typing import TYPE_CHECKING, Any

import pytest

from eventsock.basic import deadlines, timeouts
from eventsock.basic.deadlines import SURROUNDING, Deadline, deadline_of, surrounding_limit

if TYPE_CHECKING:
    from eventsock.basic.deadlines import Verb

_VERBS: list[Verb] = ["connect", "accept", "receive", "send"]


def _limits() -> list[float | None]:
    return [surrounding_limit(verb) for verb in _VERBS]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by hand."""
    now = [1000.0]
    monkeypatch.setattr(deadlines, "monotonic", lambda: now[0])
    return now


def test_outermost_values() -> None:
    assert _limits() == [None, None, 60.0, 60.0]


def test_block_sets_what_it_names_and_keeps_the_rest() -> None:
    with timeouts(connect=5, receive=None):
        assert _limits() == [5.0, None, None, 60.0]
        with timeouts(accept=1, receive=2.5):
            assert _limits() == [5.0, 1.0, 2.5, 60.0]
        assert _limits() == [5.0, None, None, 60.0]
    assert _limits() == [None, None, 60.0, 60.0]


def test_block_ends_with_an_error() -> None:
    with pytest.raises(KeyError), timeouts(send=1):
        raise KeyError
    assert surrounding_limit("send") == 60.0


def test_block_can_be_entered_again() -> None:
    again = timeouts(send=1)
    with again, again:
        assert surrounding_limit("send") == 1.0
    with again:
        assert surrounding_limit("send") == 1.0
    assert surrounding_limit("send") == 60.0


def test_threads_do_not_disturb_each_other() -> None:
    seen: list[list[float | None]] = []
    with timeouts(receive=1):
        thread = threading.Thread(target=lambda: seen.append(_limits()))
        thread.start()
        thread.join()
    assert seen == [[None, None, 60.0, 60.0]]


def test_contexts_do_not_disturb_each_other() -> None:
    with timeouts(receive=1):
        other = contextvars.copy_context()
    assert surrounding_limit("receive") == 60.0
    assert other.run(surrounding_limit, "receive") == 1.0


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_no_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="accept must be 0 or more seconds"):
        timeouts(accept=seconds)


@pytest.mark.parametrize("seconds", ["5", True])
def test_seconds_of_another_type(seconds: Any) -> None:
    with pytest.raises(TypeError, match="send must be a number of seconds"):
        timeouts(send=seconds)


def test_verbs_only() -> None:
    with pytest.raises(TypeError):
        timeouts(close=5)  # type: ignore[call-arg]


def test_deadline_of_a_whole_call(clock: list[float]) -> None:
    deadline = deadline_of("receive", 10)
    clock[0] += 4
    deadline.progressed()
    assert deadline.left() == 6.0
    clock[0] += 7
    assert deadline.left() == 0.0


def test_deadline_of_the_surrounding_block_renews_with_progress(clock: list[float]) -> None:
    with timeouts(receive=10):
        deadline = deadline_of("receive", SURROUNDING)
    clock[0] += 9
    assert deadline.left() == 1.0
    deadline.progressed()
    clock[0] += 9
    assert deadline.left() == 1.0


def test_no_deadline(clock: list[float]) -> None:
    for deadline in (deadline_of("receive", None), deadline_of("connect", SURROUNDING), deadline_of("send", math.inf)):
        clock[0] += 1e9
        deadline.progressed()
        assert deadline.left() is None


def test_share_of_a_whole_call(clock: list[float]) -> None:
    deadline = Deadline(9)
    first = deadline.share(3)
    assert first.left() == 3.0
    clock[0] += 1
    assert deadline.share(2).left() == 4.0
    assert deadline.share(1).left() == 8.0


def test_share_of_a_limit_that_renews_is_all_of_it(clock: list[float]) -> None:
    deadline = Deadline(9, renews=True)
    clock[0] += 8
    assert deadline.share(3).left() == 9.0
    assert Deadline(None).share(3).left() is None


def test_default_shows_its_meaning() -> None:
    assert repr(SURROUNDING) == "SURROUNDING"
