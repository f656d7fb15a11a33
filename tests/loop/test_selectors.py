"""The own selectors keep the contract of `selectors.BaseSelector`, beside the standard ones in the same tests; and what picks one."""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from eventsock import EventLoop
from eventsock.loop.pollers import ForkedPoller, SelectorPoller, default_poller, poller_for
from eventsock.loop.selectors import BATCH, EVENT_EXCEPT, EpollSelector, LeanSelector, PollSelector, events_of

Pair = tuple[socket.socket, socket.socket]
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@pytest.fixture(params=[EpollSelector, PollSelector, selectors.EpollSelector, selectors.PollSelector, selectors.SelectSelector])
def selector(request: pytest.FixtureRequest) -> Iterator[selectors.BaseSelector]:
    with request.param() as selector:
        yield selector


@pytest.fixture(params=[EpollSelector, PollSelector])
def lean(request: pytest.FixtureRequest) -> Iterator[LeanSelector]:
    with request.param() as selector:
        yield selector


# The contract, for the standard ones as well: so it is the contract, and not our idea of it


def test_register_gives_the_key(selector: selectors.BaseSelector, pair: Pair) -> None:
    key = selector.register(pair[0], READ, "data")
    assert key == selectors.SelectorKey(pair[0], pair[0].fileno(), READ, "data")
    assert selector.get_key(pair[0]) == key


def test_select_gives_keys_and_events(selector: selectors.BaseSelector, pair: Pair) -> None:
    left, right = pair
    key = selector.register(right, READ | WRITE, "data")
    assert selector.select(0) == [(key, WRITE)]
    left.send(b"x")
    assert selector.select(0) == [(key, READ | WRITE)]


def test_modify_changes_events_and_data(selector: selectors.BaseSelector, pair: Pair) -> None:
    _, right = pair
    selector.register(right, WRITE, 1)
    key = selector.modify(right, READ, 2)
    assert (key.events, key.data) == (READ, 2)
    assert selector.select(0) == []
    assert selector.modify(right, READ, 3).data == 3
    assert selector.get_key(right).data == 3


def test_unregister_gives_the_key_and_forgets(selector: selectors.BaseSelector, pair: Pair) -> None:
    _, right = pair
    key = selector.register(right, WRITE)
    assert selector.unregister(right) == key
    assert selector.select(0) == []
    with pytest.raises(KeyError):
        selector.unregister(right)
    with pytest.raises(KeyError):
        selector.modify(right, READ)
    with pytest.raises(KeyError):
        selector.get_key(right)


def test_register_twice_is_refused(selector: selectors.BaseSelector, pair: Pair) -> None:
    selector.register(pair[0], READ)
    with pytest.raises(KeyError):
        selector.register(pair[0], READ)
    with pytest.raises(KeyError):
        selector.register(pair[0].fileno(), READ)


@pytest.mark.parametrize("events", [0, 64, 999])
def test_bad_events_are_refused(selector: selectors.BaseSelector, pair: Pair, events: int) -> None:
    with pytest.raises(ValueError, match=r"[Ee]vent"):
        selector.register(pair[0], events)


@pytest.mark.parametrize("bad", [-1, -10, 1.5, None, "5"], ids=repr)
def test_bad_files_are_refused(selector: selectors.BaseSelector, bad: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        selector.register(bad, READ)  # type: ignore[arg-type]


def test_closed_file_is_refused(selector: selectors.BaseSelector, pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(ValueError, match=r"."):
        selector.register(pair[0], READ)


def test_file_that_was_closed_can_be_unregistered(selector: selectors.BaseSelector, pair: Pair) -> None:
    key = selector.register(pair[0], READ)
    pair[0].close()
    assert selector.unregister(pair[0]) == key
    assert len(selector.get_map()) == 0


def test_file_that_was_closed_can_be_unregistered_by_number(selector: selectors.BaseSelector, pair: Pair) -> None:
    fd = pair[0].fileno()
    key = selector.register(pair[0], READ)
    pair[0].close()
    assert selector.unregister(fd) == key


def test_map_is_up_to_date(selector: selectors.BaseSelector, pair: Pair) -> None:
    left, right = pair
    found = selector.get_map()
    assert len(found) == 0
    key = selector.register(left, READ)
    selector.register(right.fileno(), READ)
    assert (len(found), set(found)) == (2, {left.fileno(), right.fileno()})
    assert found[left] == found[left.fileno()] == key
    assert left in found
    selector.unregister(left)
    assert left not in found
    with pytest.raises(KeyError):
        found[left]


def test_after_close(selector: selectors.BaseSelector, pair: Pair) -> None:
    selector.register(pair[0], READ)
    selector.close()
    selector.close()
    assert selector.get_map() is None
    with pytest.raises(RuntimeError, match="closed"):
        selector.get_key(pair[0])


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_no_timeout_is_no_wait(selector: selectors.BaseSelector, pair: Pair, timeout: float) -> None:
    selector.register(pair[0], READ)
    assert selector.select(timeout) == []


def test_timeout_is_not_early(selector: selectors.BaseSelector, pair: Pair) -> None:
    selector.register(pair[0], READ)
    for timeout in (0.0011, 0.02):
        started = time.monotonic()
        assert selector.select(timeout) == []
        assert time.monotonic() - started >= timeout


def test_hang_up_is_an_event_for_whoever_registered(selector: selectors.BaseSelector, pair: Pair) -> None:
    left, right = pair
    key = selector.register(right, READ)
    left.close()
    assert selector.select(1) == [(key, READ)]


def test_selector_is_a_context_manager(pair: Pair) -> None:
    for kind in (EpollSelector, PollSelector):
        with kind() as selector:
            selector.register(pair[0], READ)
        assert selector.get_map() is None


# What ours do beyond it


def test_modify_reaches_a_number_that_was_reused(lean: LeanSelector) -> None:
    """The standard ones make no system call where the events are the same; epoll would be deaf for the new file."""
    left, right = socket.socketpair()
    fd = right.fileno()
    lean.register(fd, READ)
    right.close()
    left.close()
    left, right = socket.socketpair()
    if left.fileno() == fd:
        left, right = right, left
    with left, right:
        try:
            lean.modify(fd, READ)
        except FileNotFoundError:
            pass  # told, and not deaf
        else:
            left.send(b"x")
            assert [key.fd for key, _ in lean.select(0)] == [fd]


def test_exceptional_conditions(lean: LeanSelector, tcp_pair: Pair) -> None:
    client, server = tcp_pair
    key = lean.register(server, READ | EVENT_EXCEPT)
    client.send(b"!", socket.MSG_OOB)
    assert lean.select(1) == [(key, EVENT_EXCEPT)]
    key = lean.modify(server, READ)
    assert lean.select(0) == []


def test_exceptional_conditions_alone_see_a_hang_up(lean: LeanSelector, pair: Pair) -> None:
    left, right = pair
    key = lean.register(right, EVENT_EXCEPT)
    left.close()
    assert lean.select(1) == [(key, EVENT_EXCEPT)]


def test_far_timeout_overflows_nothing(lean: LeanSelector, pair: Pair) -> None:
    lean.register(pair[0], WRITE)
    assert len(lean.select(1e12)) == 1


def test_masks_and_events() -> None:
    assert [events_of(mask) for mask in (1, 4, 2, 5, 8, 16, 32)] == [READ, WRITE, EVENT_EXCEPT, READ | WRITE, 7, 7, 7]


def test_more_than_one_poll_has_room_for() -> None:
    """The rest is asked for again with more room, and nothing is told twice."""
    with ExitStack() as stack:
        selector = stack.enter_context(EpollSelector())
        numbers = set()
        for _ in range(BATCH + 50):
            fd = os.eventfd(1)
            stack.callback(os.close, fd)
            selector.add(fd, 1)
            numbers.add(fd)
        fired = selector.poll(0)
        assert len(fired) == BATCH
        everything = selector.poll_all(fired)
        assert {fd for fd, _ in everything} == numbers
        assert len(everything) == len(numbers)


def test_face_is_the_same_descriptor_for_life(pair: Pair) -> None:
    """A host that watches it need not know that the selector was made anew."""
    left, right = pair
    with EpollSelector() as selector, selectors.DefaultSelector() as host:
        host.register(selector.fileno(), READ)
        for _ in range(3):
            selector.add(right.fileno(), 1)
            assert host.select(0) == []
            left.send(b"x")
            assert len(host.select(1)) == 1
            right.recv(1)
            selector.renew()
        assert host.get_key(selector.fileno()).fd == selector.fileno()


# Any selector as a poller


@pytest.mark.parametrize("kind", [selectors.EpollSelector, selectors.PollSelector, selectors.SelectSelector])
def test_any_selector_as_a_poller(kind: Callable[[], selectors.BaseSelector], pair: Pair) -> None:
    left, right = pair
    poller = poller_for(kind())
    assert isinstance(poller, SelectorPoller)
    fd = right.fileno()
    poller.add(fd, 1 | 2)
    left.send(b"x")
    assert poller.poll(0) == [(fd, 1)]
    poller.change(fd, 1 | 4)
    assert poller.poll(0) == [(fd, 5)]
    poller.add(fd, 4)
    assert poller.poll(0) == [(fd, 4)]
    poller.renew()
    assert poller.poll(0) == []
    with pytest.raises(OSError, match="not registered"):
        poller.remove(fd)
    poller.close()


def test_select_with_a_bad_descriptor_says_which(pair: Pair) -> None:
    poller = poller_for(selectors.SelectSelector())
    fd = os.dup(pair[0].fileno())
    poller.add(fd, 1)
    poller.add(pair[1].fileno(), 4)
    os.close(fd)
    assert poller.poll(0) == [(fd, 32)]
    poller.remove(fd)
    assert poller.poll(0) == [(pair[1].fileno(), 4)]
    poller.close()


def test_error_that_no_descriptor_is_to_blame_for_is_raised() -> None:
    class Broken(selectors.SelectSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            raise OSError(12, "broken")

    poller = poller_for(Broken())
    with pytest.raises(OSError, match="broken"):
        poller.poll(0)
    poller.close()


def test_the_default_is_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> type:
        poller = default_poller()
        poller.close()
        return type(poller)

    assert made() is EpollSelector
    monkeypatch.delattr(select, "epoll")
    assert made() is PollSelector
    monkeypatch.delattr(select, "poll")
    assert made() is SelectorPoller


def test_own_selector_is_used_as_it_is() -> None:
    selector = PollSelector()
    assert poller_for(selector) is selector


@pytest.mark.parametrize("bad", [5, "epoll", select, selectors.EpollSelector])
def test_what_is_no_selector_is_refused(bad: object) -> None:
    with pytest.raises(TypeError, match=r"selector must be a selectors\.BaseSelector"):
        poller_for(bad)  # type: ignore[arg-type]


def test_loop_owns_its_selector() -> None:
    selector = selectors.PollSelector()
    with EventLoop(selector=selector):
        pass
    assert selector.get_map() is None


def test_renewed_without_a_descriptor_to_spare_it_begins_again_all_the_same(pair: Pair) -> None:
    left = [1]

    class Scarce(selectors.SelectSelector):
        def __new__(cls) -> Scarce:
            if not left:
                raise OSError(errno.EMFILE, "no descriptor left")
            left.clear()
            return super().__new__(cls)

    poller = poller_for(Scarce())
    poller.add(pair[1].fileno(), 4)
    poller.renew()
    assert poller.poll(0) == []
    poller.add(pair[1].fileno(), 4)
    assert poller.poll(0) == [(pair[1].fileno(), 4)]
    poller.close()


def test_poller_of_a_forked_child_touches_nothing() -> None:
    poller = ForkedPoller()
    with pytest.raises(RuntimeError, match="belongs to the parent process"):
        poller.add(0, 1)
    poller.remove(0)
    poller.renew()
    poller.close()
    assert poller.poll(None) == poller.poll_all([]) == []
    assert poller.fileno() is None
