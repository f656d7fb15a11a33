"""The ring that ends a sleep, on eventfd and on a socket pair."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest

from eventsock import EventLoop
from eventsock.loop.waker import Waker
from loop_kit import after, in_thread, open_descriptors


@pytest.fixture(params=["eventfd", "socket pair"])
def waker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waker]:
    if request.param == "socket pair":
        monkeypatch.delattr(os, "eventfd")
    before = open_descriptors()
    waker = Waker()
    yield waker
    waker.close()
    assert open_descriptors() == before


def _is_readable(waker: Waker) -> bool:
    return bool(select.select([waker.fd], [], [], 0)[0])


def test_ring_makes_readable_and_drain_unreadable(waker: Waker) -> None:
    assert not _is_readable(waker)
    waker.ring()
    assert _is_readable(waker)
    waker.drain()
    assert not _is_readable(waker)
    waker.drain()


def test_only_the_first_claim_counts_until_the_reset(waker: Waker) -> None:
    assert [waker.claim(), waker.claim()] == [True, False]
    waker.reset()
    waker.reset()
    assert [waker.claim(), waker.claim()] == [True, False]


def test_of_many_threads_one_claims(waker: Waker) -> None:
    for _ in range(200):
        claims: list[bool] = []
        gate = threading.Barrier(4)

        def claim(claims: list[bool] = claims, gate: threading.Barrier = gate) -> None:
            gate.wait()
            claims.append(waker.claim())

        with in_thread(claim), in_thread(claim), in_thread(claim):
            gate.wait()
        assert sorted(claims) == [False, False, True]
        waker.reset()


def test_fault_84_full_pipe_is_no_error(waker: Waker) -> None:
    for _ in range(2000):
        waker.ring()
    assert waker.rings == 2000
    assert _is_readable(waker)


def test_ring_and_claim_after_close(waker: Waker) -> None:
    waker.close()
    waker.close()
    waker.ring()
    assert waker.claim() is False
    assert waker.rings == 0


def test_fault_12_second_close_leaves_the_number_to_its_new_owner(waker: Waker) -> None:
    waker.close()
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]
    waker.close()
    for fd in opened:
        os.close(fd)


def test_fault_99_descriptors_close_on_exec_and_do_not_block(waker: Waker) -> None:
    ends = [waker.fd] if waker._pair is None else [end.fileno() for end in waker._pair]
    for fd in ends:
        assert not os.get_inheritable(fd)
        assert not os.get_blocking(fd)


def test_loop_on_a_system_without_eventfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "eventfd")
    with EventLoop() as loop:
        for _ in range(3):
            loop.block()
            with in_thread(after(0.02, lambda: loop.block(False))):
                loop.run()
