"""Generators as procedures: `make_iterator` and `make_coroutine`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Generator
from typing import Any

import pytest

from eventsock import STOP_ITERATION, LoopStateError, make_coroutine, make_iterator


def echoes(first: str) -> Generator[Any, Any, str]:
    answer = yield first
    answer = yield f"{first} and {answer}"
    return f"ended with {answer}"


def fails() -> Generator[int, None, None]:
    yield 1
    raise ValueError("fails")


def test_an_iterator_gives_each_value_and_then_stops_for_ever() -> None:
    iterate = make_iterator(echoes, "one")
    assert [iterate(), iterate("two"), iterate("three"), iterate(), iterate("four")] == ["one", "one and two", *[STOP_ITERATION] * 3]


def test_the_first_argument_is_dropped() -> None:
    assert make_iterator(echoes, "one")("dropped") == "one"
    _, value = make_coroutine(echoes, "one")("dropped")
    assert value == "one"


def test_an_error_leaves_the_call_and_ends_the_iterator() -> None:
    iterate = make_iterator(fails)
    assert iterate() == 1
    with pytest.raises(ValueError, match="fails"):
        iterate()
    assert iterate() is STOP_ITERATION


def test_an_iterator_is_not_called_within_itself() -> None:
    def inward() -> Generator[Any, None, None]:
        yield iterate()

    iterate = make_iterator(inward)
    with pytest.raises(ValueError, match="already executing"):
        iterate()


def test_a_coroutine_gives_a_continuation_with_each_value_and_the_result_at_the_end() -> None:
    go_on, value = make_coroutine(echoes, "one")()
    assert (value, go_on is not None) == ("one", True)
    assert go_on is not None
    go_further, value = go_on("two")
    assert value == "one and two"
    assert go_further is not None
    assert go_further("three") == (None, "ended with three")


def test_a_continuation_is_called_once() -> None:
    begin = make_coroutine(echoes, "one")
    go_on, _ = begin()
    assert go_on is not None
    go_on()
    for stale in (begin, go_on):
        with pytest.raises(LoopStateError, match="was called before"):
            stale()


def test_an_error_leaves_the_call_of_a_coroutine() -> None:
    go_on, _ = make_coroutine(fails)()
    assert go_on is not None
    with pytest.raises(ValueError, match="fails"):
        go_on()
    with pytest.raises(LoopStateError):
        go_on()


def test_only_generator_functions() -> None:
    for make in (make_iterator, make_coroutine):
        with pytest.raises(TypeError, match="gave int"):
            make(int)  # type: ignore[arg-type]


def test_stop_iteration_is_one_of_a_kind() -> None:
    assert repr(STOP_ITERATION) == "STOP_ITERATION"
    assert copy.deepcopy(STOP_ITERATION) is pickle.loads(pickle.dumps(STOP_ITERATION)) is STOP_ITERATION
