"""The order and the times of RFC 8305, without a clock and without a socket."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st

from eventsock.basic import AddressInfo, inet_address
from eventsock.basic.racing import ATTEMPT_DELAY, Race, interleaved


def _info(address: str) -> AddressInfo:
    made = inet_address(address, 80)
    return AddressInfo(made.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, made)


_A1, _A2, _A3 = (_info(f"127.0.0.{i}") for i in (1, 2, 3))
_B1, _B2 = (_info(f"::{i}") for i in (1, 2))


def test_families_take_turns_in_the_order_of_the_resolver() -> None:
    assert interleaved([_A1, _A2, _A3, _B1, _B2]) == [_A1, _B1, _A2, _B2, _A3]
    assert interleaved([_B1, _B2, _A1, _A2, _A3]) == [_B1, _A1, _B2, _A2, _A3]
    assert interleaved([_A2, _A1]) == [_A2, _A1]
    assert interleaved([]) == []


@given(st.lists(st.sampled_from([_A1, _A2, _A3, _B1, _B2])))
def test_interleaving_loses_and_adds_nothing(infos: list[AddressInfo]) -> None:
    made = interleaved(infos)
    assert sorted(map(str, made)) == sorted(map(str, infos))
    for family in (socket.AF_INET, socket.AF_INET6):
        assert [info for info in made if info.family == family] == [info for info in infos if info.family == family]


def test_attempts_begin_one_after_the_other() -> None:
    race = Race([_B1, _A1, _A2])
    assert race.due(100.0) == _B1
    assert race.due(100.0) is None
    assert race.wake() == 100.0 + ATTEMPT_DELAY
    assert race.due(100.0 + ATTEMPT_DELAY - 0.001) is None
    assert race.due(100.0 + ATTEMPT_DELAY) == _A1
    assert race.wake() == 100.0 + 2 * ATTEMPT_DELAY
    assert race.due(200.0) == _A2
    assert race.wake() is None
    assert race.due(300.0) is None


def test_failure_begins_the_next_attempt_at_once() -> None:
    race = Race([_B1, _A1, _A2], delay=10)
    assert race.due(0.0) == _B1
    race.failed()
    assert race.due(0.1) == _A1
    assert race.due(0.1) is None
    assert race.wake() == 10.1


def test_recommended_delay() -> None:
    assert ATTEMPT_DELAY == 0.25
