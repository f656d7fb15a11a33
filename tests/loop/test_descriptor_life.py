"""Descriptors that are closed, reused, duplicated, detached, or never were pollable (area A of what goes wrong)."""

from __future__ import annotations

import errno
import gc
import os
import pty
import resource
import select
import selectors
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from compiled_kit import COMPILED
from eventsock import BusyError, EventLoop, SocketError, a_sync, await_readable, await_writable
from eventsock.loop.selectors import EpollSelector
from loop_kit import KINDS, MakeLoop, Noted, after, busy_time, in_thread, reading, until

Pair = tuple[socket.socket, socket.socket]
Steps = Generator[Any, Any, None]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _pair(stack: ExitStack) -> Pair:
    left, right = socket.socketpair()
    for each in (left, right):
        each.setblocking(False)
        stack.enter_context(each)
    return left, right


def _pair_with_number(stack: ExitStack, fd: int) -> Pair:
    """A pair whose second socket has the number `fd`, which has just become free."""
    spare, right = socket.socketpair()
    if spare.fileno() == fd:
        spare, right = right, spare
    assert right.fileno() == fd
    for each in (spare, right):
        each.setblocking(False)
        stack.enter_context(each)
    return spare, right


# Closing through us


def test_fault_01_forget_drops_watches_and_wakes_the_waiter(loop: EventLoop, pair: Pair) -> None:
    _, right = pair
    errors: list[SocketError] = []

    def waits() -> Steps:
        try:
            yield from await_readable(right)
        except SocketError as error:
            errors.append(error)

    a_sync(waits, loop=loop)
    loop.add_write_watch(right, print)
    loop.forget(right)
    assert loop.statistics().watches == 0
    right.close()
    loop.step()  # at once: no look at what was closed behind the loop's back is needed
    assert errors[0].errno == errno.EBADF
    assert "closed while a task waited for it" in str(errors[0])
    assert loop.statistics().selector_rebuilds == 0


def test_forget_of_what_is_not_known_does_nothing(loop: EventLoop, pair: Pair) -> None:
    loop.forget(pair[0])
    loop.forget(9999)
    pair[0].close()
    loop.forget(pair[0])


def test_forget_in_the_callback_of_the_watch(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"x")

    def ready(status: str) -> None:
        loop.forget(right)
        right.close()

    loop.add_read_watch(right, ready)
    loop.run()
    assert loop.statistics().watches == 0


def test_file_that_was_forgotten_but_not_closed_can_be_used_again(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()

    def waits() -> Steps:
        for _ in range(2):
            try:
                yield from await_readable(right)
                noted.append("readable")
            except SocketError:
                noted.append("forgotten")
                left.send(b"x")

    a_sync(waits, loop=loop)
    loop.timeout_post(0.01, lambda: loop.forget(right), repeat=False)
    loop.run()
    assert noted == ["forgotten", "readable"]


# Closing behind our back


def test_fault_02_unannounced_close_of_a_watched_number(loop: EventLoop, kind: str) -> None:
    left, right = socket.socketpair()
    fd = os.dup(right.fileno())
    right.close()
    loop.add_read_watch(fd, print)
    os.close(fd)
    loop.timeout_post(0.1, loop.quit)
    with busy_time() as busy:
        loop.run()
        assert busy() < 0.5
    assert loop.remove_read_watch(fd) is False
    left.close()


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("waits", ["task", "watch"])
def test_fault_02_run_does_not_wait_for_ever_for_what_was_closed(
    waits: str, loop: EventLoop, has_epoll: bool, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once under poll and select; under epoll, which says nothing, when the loop would otherwise sleep without limit."""
    _, right = pair
    errors: list[SocketError] = []

    def task() -> Steps:
        try:
            yield from await_readable(right)
        except SocketError as error:
            errors.append(error)

    if waits == "task":
        a_sync(task, loop=loop)
    else:
        loop.add_read_watch(right, print)
    looks: list[bool] = []
    monkeypatch.setattr("eventsock.loop.engine._LOOK", 0.1)
    reap = loop.book.reap_closed

    def look(book: object) -> bool:
        looks.append(reap())
        return looks[-1]

    if not COMPILED:
        monkeypatch.setattr(type(loop.book), "reap_closed", look)
    loop.timeout_post(0.01, right.close, repeat=False)
    loop.run()
    assert loop.statistics().turns < 10  # it does not spin
    assert looks == ([True] if has_epoll and not COMPILED else [])
    assert [error.errno for error in errors] == ([errno.EBADF] if waits == "task" else [])


def test_fault_02_closed_in_another_thread_while_the_loop_sleeps(
    has_epoll: bool, loop: EventLoop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_epoll:
        pytest.skip("poll and select are not told of a close while they wait (poll(2), Notes)")
    _, right = pair
    loop.add_read_watch(right, print)
    monkeypatch.setattr("eventsock.loop.engine._LOOK", 0.1)
    with in_thread(after(0.15, right.close)):
        loop.run()  # looks after a tenth of a second, and after two more


def test_fault_03_number_reused_with_the_same_events(loop: EventLoop, stack: ExitStack) -> None:
    _, right = _pair(stack)
    loop.add_read_watch(right, print)
    fd = right.fileno()
    right.close()
    left, right = _pair_with_number(stack, fd)
    seen: list[bytes] = []
    loop.add_read_watch(right, reading(right, seen))
    left.send(b"to the new one")
    loop.run()
    assert seen == [b"to the new one"]


def test_fault_03_number_reused_between_two_waits_of_tasks(loop: EventLoop, stack: ExitStack) -> None:
    """Interest stays registered between waits, so the second wait must notice that the number means another file."""
    left, right = _pair(stack)
    noted = Noted()

    def task() -> Steps:
        yield from await_readable(right)
        fd = right.fileno()
        right.recv(10)
        right.close()
        new_left, new_right = _pair_with_number(stack, fd)
        loop.timeout_post(0.01, lambda: new_left.send(b"y"), repeat=False)
        yield from await_readable(new_right)
        noted.append(new_right.recv(10))

    a_sync(task, loop=loop)
    left.send(b"x")
    loop.timeout_post(5, loop.quit)
    loop.timeout_post(0.5, loop.quit)
    loop.run()
    assert noted == [b"y"]


def test_fault_03_number_reused_that_was_watched_as_a_bare_number(loop: EventLoop, stack: ExitStack) -> None:
    """Nothing but the selector can tell that the number means another file by now."""
    _, right = _pair(stack)
    fd = right.fileno()
    loop.add_read_watch(fd, print)
    right.close()
    left, right = _pair_with_number(stack, fd)
    seen: list[bytes] = []
    loop.add_read_watch(right, reading(right, seen))
    left.send(b"to the new one")
    until(loop, lambda: seen)
    assert seen == [b"to the new one"]


@pytest.mark.parametrize("held", ["socket", "number", "wrapper"])
def test_fault_03_same_number_same_holder(held: str, loop: EventLoop, stack: ExitStack) -> None:
    """A bare number, or an object that has a new descriptor inside under the old number: each wait is registered anew."""
    left, right = _pair(stack)
    noted = Noted()

    class Wrapper:
        inner = right

        def fileno(self) -> int:
            return self.inner.fileno()

    wrapper = Wrapper()

    def task() -> Steps:
        for _ in range(2):
            files: dict[str, Any] = {"socket": wrapper.inner, "number": wrapper.inner.fileno(), "wrapper": wrapper}
            yield from await_readable(files[held])
            noted.append(wrapper.inner.recv(10))
            fd = wrapper.inner.fileno()
            wrapper.inner.close()
            new_left, wrapper.inner = _pair_with_number(stack, fd)
            loop.timeout_post(0.01, partial(new_left.send, b"new"), repeat=False)

    a_sync(task, loop=loop)
    left.send(b"old")
    loop.timeout_post(0.5, loop.quit)
    loop.run()
    assert noted == [b"old", b"new"]


def test_fault_04_number_reused_with_other_events(loop: EventLoop, stack: ExitStack) -> None:
    _, right = _pair(stack)
    loop.add_read_watch(right, print)
    fd = right.fileno()
    right.close()
    _, right = _pair_with_number(stack, fd)
    noted = Noted()
    loop.add_write_watch(right, noted.note("out", False))
    loop.run()
    assert noted == [("out", "out")]
    assert loop.statistics().watches == 0


def test_fault_04_number_reused_by_the_loop_itself(loop: EventLoop, stack: ExitStack) -> None:
    """The wake-up descriptor of signals gets the number of a watched socket that was closed behind the loop's back."""
    _, right = _pair(stack)
    loop.add_read_watch(right, print)
    fd = right.fileno()
    right.close()
    noted = Noted()
    loop.add_signal_watch(signal.SIGUSR1, noted.append)
    assert fd in loop.book.own
    assert loop.statistics().watches == 0
    loop.block()
    # The system gives the signal to a thread that is not the loop's, so only the descriptor can end the sleep.
    for count in (1, 2):
        with in_thread(after(0.03, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))):
            started = time.monotonic()
            while len(noted) < count:
                loop.step(10)
        assert time.monotonic() - started < 5
    loop.block(False)
    loop.remove_signal_watch(signal.SIGUSR1)


def test_fault_04_number_reused_by_a_bare_number(loop: EventLoop, stack: ExitStack) -> None:
    _, right = _pair(stack)
    loop.add_read_watch(right.fileno(), print)
    fd = right.fileno()
    right.close()
    _pair_with_number(stack, fd)
    noted = Noted()
    loop.add_write_watch(fd, noted.note("out", False))
    loop.step()
    assert noted == [("out", "out")]
    # Only epoll itself can tell that the number has changed its meaning, and so that the other watch was for another file.
    assert loop.statistics().watches == (0 if isinstance(loop.book.poller, EpollSelector) else 1)
    loop.forget(fd)


def test_waiter_is_told_at_once_when_its_number_is_reused(loop: EventLoop, stack: ExitStack) -> None:
    _, right = _pair(stack)
    noted = Noted()

    def waits() -> Steps:
        try:
            yield from await_readable(right)
        except SocketError as error:
            noted.append(error.errno)

    a_sync(waits, loop=loop)
    fd = right.fileno()
    right.close()
    _, right = _pair_with_number(stack, fd)
    loop.add_read_watch(right, print)
    loop.step()
    assert noted == [errno.EBADF]
    loop.remove_read_watch(right)


@pytest.mark.parametrize("by", ["object", "file", "number"])
def test_fault_05_close_with_a_live_duplicate(by: str, loop: EventLoop, stack: ExitStack) -> None:
    loop.run()  # so that what it opens itself gets other numbers
    left, right = _pair(stack)
    duplicate = right.dup()
    stack.enter_context(duplicate)
    noted = Noted()
    fd = right.fileno()
    file = right.makefile("rb", buffering=0)  # which raises, when it is asked for its number later
    files: dict[str, Any] = {"object": right, "file": file, "number": fd}
    loop.add_read_watch(files[by], noted.note("called"))
    file.close()
    right.close()
    if by == "number":
        loop.forget(fd)
    left.send(b"x")
    loop.timeout_post(0.4, loop.quit)
    with busy_time() as busy:
        loop.run()
        assert busy() < 0.3
    assert noted == []


@pytest.mark.parametrize("user", ["watch", "task"])
def test_fault_05_ghost_is_counted(user: str, loop: EventLoop, stack: ExitStack, has_epoll: bool) -> None:
    left, right = _pair(stack)
    stack.enter_context(right.dup())

    def waits() -> Steps:
        with suppress(SocketError):
            yield from await_readable(right)

    if user == "task":
        a_sync(waits, loop=loop)
    else:
        loop.add_read_watch(right, print)
    loop.block()
    loop.step()
    right.close()
    left.send(b"x")
    for _ in range(30):
        loop.step(0.02)
    assert loop.statistics().selector_rebuilds == (1 if has_epoll else 0)
    with busy_time() as busy:
        loop.step(0.2)
        assert busy() < 0.5
    loop.block(False)
    loop.quit()
    loop.step()


def test_one_closed_by_an_earlier_callback_of_the_batch_is_no_ghost(loop: EventLoop, stack: ExitStack) -> None:
    """Closed without a word, but by nobody kept open: dropped, and nobody else is registered anew for it."""
    pairs = [_pair(stack) for _ in range(3)]

    def ready(status: str) -> bool:
        for _, right in pairs:
            right.close()
        return False

    for left, right in pairs:
        left.send(b"x")
        loop.add_read_watch(right, ready)
    for _ in range(4):
        loop.step()
    assert loop.statistics()[:1] == (0,)
    assert loop.statistics().selector_rebuilds == 0


def test_fault_05_rebuild_keeps_the_others(loop: EventLoop, stack: ExitStack) -> None:
    left, right = _pair(stack)
    stack.enter_context(right.dup())
    loop.add_read_watch(right, print)
    other_left, other = _pair(stack)
    seen: list[bytes] = []
    noted = Noted()
    loop.add_read_watch(other, reading(other, seen, stop=False))
    loop.add_write_watch(other, noted.note("out", False))

    def waits() -> Steps:
        third_left, third = _pair(stack)
        loop.timeout_post(0.1, partial(third_left.send, b"x"), repeat=False)
        yield from await_readable(third)
        noted.append("task")

    a_sync(waits, loop=loop)
    right.close()
    left.send(b"x")
    for _ in range(5):
        loop.step(0.01)
    other_left.send(b"data")
    until(loop, lambda: seen and "task" in noted)
    assert seen == [b"data"]
    assert ("out", "out") in noted
    # The loop's own descriptor, too: a sleep is ended from outside.
    started = time.monotonic()
    with in_thread(after(0.02, partial(loop.post, noted.note("woken")))):
        while "woken" not in noted:
            loop.step(10)
    assert time.monotonic() - started < 5
    assert loop.remove_read_watch(other) is True


def test_fault_05_ghost_under_a_number_in_use_again(has_epoll: bool, make_loop: MakeLoop, stack: ExitStack) -> None:
    """The former file's events are taken for the new one's: only asking the file itself tells."""
    if not has_epoll:
        pytest.skip("poll and select ask by number")
    loop = make_loop()
    left, right = _pair(stack)
    stack.enter_context(right.dup())
    loop.add_read_watch(right, print)
    fd = right.fileno()
    right.close()
    new_left, new_right = _pair_with_number(stack, fd)
    calls: list[bytes] = []

    def ready(status: str) -> None:
        try:
            calls.append(new_right.recv(10))
        except BlockingIOError:
            calls.append(b"")

    loop.add_read_watch(new_right, ready)
    left.send(b"to the former")
    loop.timeout_post(0.7, loop.quit)
    loop.timeout_post(0.6, lambda: new_left.send(b"to the new"), repeat=False)
    with busy_time() as busy:
        loop.run()
        assert busy() < 0.6
    assert loop.statistics().selector_rebuilds == 1
    assert calls[-1] == b"to the new"
    assert len(calls) < 3000


@pytest.mark.parametrize("known", ["watched", "discarded", "reused"])
def test_fault_05_ghost_under_a_number_of_the_loops_own(known: str, has_epoll: bool, make_loop: MakeLoop, stack: ExitStack) -> None:
    """What the loop opens itself gets the number of a ghost, whose events it would take for its own, again and again."""
    if not has_epoll:
        pytest.skip("poll and select ask by number")
    loop = make_loop()
    if known != "watched" and not isinstance(loop.book.poller, EpollSelector):
        pytest.skip("only our own selector says that a number means another file")
    left, right = _pair(stack)
    stack.enter_context(right.dup())
    loop.add_read_watch(right, print)
    fd = right.fileno()
    right.close()
    if known == "discarded":
        loop.remove_read_watch(right)
    elif known == "reused":
        _, again = _pair_with_number(stack, fd)
        loop.add_read_watch(again, print)
        loop.remove_read_watch(again)
        again.close()
    left.send(b"x")
    loop.add_signal_watch(signal.SIGUSR1, print)
    assert fd in loop.book.own
    loop.block()
    turns = loop.statistics().turns
    loop.timeout_post(0.05, loop.quit)
    loop.run()
    assert loop.statistics().turns - turns < 20
    assert loop.statistics().selector_rebuilds == 1
    loop.block(False)


def test_truthful_selector_is_not_rebuilt(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"x")
    loop.add_read_watch(right, lambda status: None)
    loop.add_write_watch(right, lambda status: None)
    while loop.statistics().turns < 3000:
        loop.step()
    assert loop.statistics().selector_rebuilds == 0
    loop.quit()
    loop.step()


def test_waiter_that_is_woken_in_vain_again_and_again(has_epoll: bool, make_loop: MakeLoop, stack: ExitStack) -> None:
    if not has_epoll:
        pytest.skip("poll and select ask by number")
    loop = make_loop()
    left, right = _pair(stack)
    stack.enter_context(right.dup())
    side = loop.book.find(right).read
    noted = Noted()

    class Waiter:
        def wake(self) -> None:
            noted.append("woken")
            side.woken_in_vain()
            side.arm(self)

        def fail(self, error: BaseException) -> None:
            noted.append(error)

    side.arm(Waiter())
    left.send(b"never read")
    for _ in range(20):
        loop.step(0.001)
    assert loop.statistics().selector_rebuilds == 20 // 8
    side.withdraw()


# Within one batch


def test_fault_06_closed_within_the_batch_that_fired(loop: EventLoop, stack: ExitStack) -> None:
    """Two are ready; the callback of one closes the other and opens a new one under its number."""
    pairs = [_pair(stack), _pair(stack)]
    noted = Noted()

    def ready(index: int, status: str) -> None:
        other = pairs[1 - index][1]
        fd = other.fileno()
        loop.forget(other)
        other.close()
        _, new_right = _pair_with_number(stack, fd)
        loop.add_read_watch(new_right, noted.note("new"))
        noted.append("closed")
        loop.remove_read_watch(pairs[index][1])
        loop.timeout_post(0.02, loop.quit)

    for index, (left, right) in enumerate(pairs):
        left.send(b"x")
        loop.add_read_watch(right, partial(ready, index))
    loop.run()
    assert noted == ["closed"]


@pytest.mark.parametrize("announced", [True, False])
def test_fault_06_stale_event_is_not_for_a_new_waiter(announced: bool, loop: EventLoop, stack: ExitStack) -> None:
    pairs = [_pair(stack), _pair(stack)]
    noted = Noted()

    def task(index: int) -> Steps:
        _, right = pairs[index]
        yield from await_readable(right)
        if noted:
            return
        noted.append("first")
        other = pairs[1 - index][1]
        fd = other.fileno()
        if announced:
            loop.forget(other)
        other.close()
        _, new_right = _pair_with_number(stack, fd)
        a_sync(new_waiter, new_right)

    def new_waiter(sock: socket.socket) -> Steps:
        yield from await_readable(sock)
        noted.append("stale")

    def tolerant(index: int) -> Steps:
        try:
            yield from task(index)
        except SocketError:
            noted.append("told")

    for index, (left, _) in enumerate(pairs):
        left.send(b"x")
        a_sync(tolerant, index, loop=loop)
    for _ in range(4):
        loop.step(0.01)
    assert noted == ["first", "told"]
    loop.quit()
    loop.step()


def test_event_of_one_that_left_in_the_same_turn_is_no_ghost(loop: EventLoop, stack: ExitStack) -> None:
    pairs = [_pair(stack) for _ in range(3)]

    def ready(status: str) -> None:
        for _, right in pairs:
            if right.fileno() != -1:
                loop.forget(right)
                right.close()

    for left, right in pairs:
        left.send(b"x")
        loop.add_read_watch(right, ready)
    loop.run()
    assert loop.statistics().selector_rebuilds == 0


def test_event_left_over_by_a_budget_of_one_that_has_left_is_no_ghost(loop: EventLoop, stack: ExitStack) -> None:
    pairs = [_pair(stack) for _ in range(3)]
    noted = Noted()

    def ready(status: str) -> None:
        noted.append(status)
        for _, right in pairs:
            loop.remove_read_watch(right)

    for left, right in pairs:
        left.send(b"x")
        loop.add_read_watch(right, ready)
    for _ in range(4):
        loop.step(budget=0)
    assert noted == ["in"]
    assert loop.statistics().selector_rebuilds == 0


# Bad input


def test_fault_08_removing_what_was_never_added(loop: EventLoop, pair: Pair) -> None:
    left, _ = pair
    assert loop.remove_read_watch(left) is False
    assert loop.remove_write_watch(left.fileno()) is False
    loop.add_read_watch(left, print)
    assert loop.remove_write_watch(left) is False
    assert [loop.remove_read_watch(left), loop.remove_read_watch(left)] == [True, False]
    loop.add_read_watch(left, print)
    left.close()
    assert loop.remove_read_watch(left) is True


class _Failing:
    def fileno(self) -> int:
        raise RuntimeError("no number today")


class _Odd:
    def __init__(self, number: Any) -> None:
        self.number = number

    def fileno(self) -> Any:
        return self.number


@pytest.mark.parametrize("bad", [-1, -100, _Odd(-1)], ids=["-1", "-100", "fileno -1"])
def test_fault_09_negative_numbers(loop: EventLoop, bad: Any) -> None:
    for add in (loop.add_read_watch, loop.add_write_watch):
        with pytest.raises(SocketError, match="not an open descriptor") as caught:
            add(bad, print)
        assert caught.value.errno == errno.EBADF
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("bad", [9999, 2**31 - 1, 2**31, 2**70])
def test_fault_09_numbers_that_are_not_open(loop: EventLoop, bad: int, kind: str) -> None:
    if kind == "standard select":
        with pytest.raises((SocketError, ValueError)):
            loop.add_read_watch(bad, print)
    else:
        with pytest.raises(SocketError) as caught:
            loop.add_read_watch(bad, print)
        assert caught.value.errno == errno.EBADF
    assert loop.statistics().watches == 0
    loop.run()


@pytest.mark.parametrize("bad", ["5", None, True, 1.5, object(), socket.socket, _Odd("5"), _Odd(None)], ids=lambda bad: type(bad).__name__)
def test_fault_09_wrong_types(loop: EventLoop, bad: Any) -> None:
    with pytest.raises(TypeError, match=r"file must be a descriptor number or have fileno|which is no number"):
        loop.add_read_watch(bad, print)
    with pytest.raises(TypeError):
        loop.remove_read_watch(bad)


def test_fault_09_fileno_that_raises(loop: EventLoop) -> None:
    with pytest.raises(RuntimeError, match="no number today"):
        loop.add_read_watch(_Failing(), print)
    loop.run()


def test_fault_09_closed_objects(loop: EventLoop, pair: Pair) -> None:
    pair[0].close()
    with tempfile.TemporaryFile() as file:
        pass
    for closed in (pair[0], file):
        with pytest.raises(SocketError) as caught:
            loop.add_read_watch(closed, print)
        assert caught.value.errno == errno.EBADF


def test_fault_09_what_is_not_callable(loop: EventLoop, pair: Pair) -> None:
    with pytest.raises(TypeError, match="proc must be callable, not str"):
        loop.add_read_watch(pair[0], "print")  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["file", "directory"])
def test_fault_10_regular_files_and_directories(what: str, loop: EventLoop, stack: ExitStack) -> None:
    fd = os.open(__file__ if what == "file" else "/", os.O_RDONLY)
    stack.callback(os.close, fd)
    for add in (loop.add_read_watch, loop.add_write_watch):
        with pytest.raises(PermissionError, match=r"not pollable: .* use a thread") as caught:
            add(fd, print)
        assert isinstance(caught.value, SocketError)
    assert loop.statistics().watches == 0
    noted = Noted()
    loop.post(noted.note("the loop lives"))
    loop.run()
    assert noted == ["the loop lives"]


def test_fault_10_dev_null_under_epoll(loop: EventLoop, has_epoll: bool, stack: ExitStack) -> None:
    if not has_epoll:
        pytest.skip("poll and select take it for always ready")
    with open("/dev/null") as null, pytest.raises(PermissionError, match="not pollable"):
        loop.add_read_watch(null, print)


def test_fault_10_task_is_told_and_the_loop_lives(loop: EventLoop) -> None:
    noted = Noted()

    def task() -> Steps:
        with open(__file__) as file:
            try:
                yield from await_readable(file)
            except PermissionError as error:
                noted.append(type(error).__name__)

    a_sync(task, loop=loop)
    loop.run()
    assert noted == ["SocketError"]


# Kinds of files


def _pipe(stack: ExitStack) -> tuple[int, Callable[[], object]]:
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    stack.callback(os.close, writer)
    return reader, lambda: os.write(writer, b"x")


def _fifo(stack: ExitStack) -> tuple[int, Callable[[], object]]:
    path = stack.enter_context(tempfile.TemporaryDirectory()) + "/fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    stack.callback(os.close, reader)
    stack.callback(os.close, writer)
    return reader, lambda: os.write(writer, b"x")


def _pty(stack: ExitStack) -> tuple[int, Callable[[], object]]:
    master, slave = pty.openpty()
    stack.callback(os.close, master)
    stack.callback(os.close, slave)
    return master, lambda: os.write(slave, b"x")


def _eventfd(stack: ExitStack) -> tuple[int, Callable[[], object]]:
    fd = os.eventfd(0)
    stack.callback(os.close, fd)
    return fd, lambda: os.eventfd_write(fd, 1)


def _epoll(stack: ExitStack) -> tuple[int, Callable[[], object]]:
    inner = select.epoll()
    stack.callback(inner.close)
    left, right = _pair(stack)
    inner.register(right, select.EPOLLIN)
    return inner.fileno(), lambda: left.send(b"x")


def _unix_listener(stack: ExitStack) -> tuple[int, Callable[[], object]]:
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(b"\0eventsock-test-%d" % os.getpid())
    listener.listen()
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    return listener.fileno(), lambda: client.connect(listener.getsockname())


def _udp(stack: ExitStack) -> tuple[int, Callable[[], object]]:
    receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.bind(("127.0.0.1", 0))
    sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    return receiver.fileno(), lambda: sender.sendto(b"", receiver.getsockname())


@pytest.mark.parametrize("make", [_pipe, _fifo, _pty, _eventfd, _epoll, _unix_listener, _udp])
def test_fault_11_kinds_of_descriptors(
    make: Callable[[ExitStack], tuple[int, Callable[[], object]]], loop: EventLoop, stack: ExitStack
) -> None:
    fd, write = make(stack)
    noted = Noted()
    loop.add_read_watch(fd, noted.note("readable", False))
    loop.step()
    assert noted == []
    write()
    loop.run()
    assert noted == [("readable", "in")]


def test_fault_11_end_of_a_pty_is_readable(loop: EventLoop, stack: ExitStack) -> None:
    master, slave = pty.openpty()
    stack.callback(os.close, master)
    noted = Noted()

    def ready(status: str) -> bool:
        try:
            noted.append(os.read(master, 10))
        except OSError as error:
            noted.append(error.errno)
        return False

    loop.add_read_watch(master, ready)
    os.close(slave)
    loop.run()
    assert noted == [errno.EIO]


def test_fault_13_detached_socket(loop: EventLoop, stack: ExitStack) -> None:
    left, right = _pair(stack)
    noted = Noted()
    loop.add_read_watch(right, noted.note("called"))
    fd = right.detach()
    stack.callback(os.close, fd)
    left.send(b"x")
    loop.timeout_post(0.1, loop.quit)
    with busy_time() as busy:
        loop.run()
        assert busy() < 0.6
    assert noted == []
    assert loop.statistics().watches == 0


def test_fault_15_numbers_beyond_a_thousand(make_loop: MakeLoop, kind: str, stack: ExitStack) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    left, right = _pair(stack)
    fd = 1100
    os.dup2(right.fileno(), fd)
    stack.callback(os.close, fd)
    loop = make_loop()
    noted = Noted()
    if kind == "standard select":
        with pytest.raises(ValueError, match="beyond what select"):
            loop.add_read_watch(fd, print)
        loop.add_read_watch(right, noted.note("small", False))
    else:
        loop.add_read_watch(fd, noted.note("large", False))
    left.send(b"x")
    loop.run()
    assert len(noted) == 1


# One user


def test_fault_28_second_waiter_of_one_direction_is_busy_at_once(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()

    def waits(name: str) -> Steps:
        try:
            yield from await_readable(right)
            noted.append(name)
        except BusyError as error:
            noted.append(str(error))

    a_sync(waits, "first", loop=loop, name="first")
    a_sync(waits, "second", loop=loop, name="second")
    assert len(noted) == 1
    assert "'first'" in noted[0]
    assert "'second'" in noted[0]
    left.send(b"x")
    loop.run()
    assert noted[1:] == ["first"]


@pytest.mark.parametrize("first", ["task", "watch"])
def test_watch_against_a_tasks_wait_is_busy_either_way(first: str, loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()

    def waits() -> Steps:
        try:
            yield from await_writable(right) if first == "out" else await_readable(right)
            noted.append("readable")
        except BusyError as error:
            noted.append(str(error))

    if first == "task":
        a_sync(waits, loop=loop)
        with pytest.raises(BusyError, match="a watch is reading from descriptor"):
            loop.add_read_watch(right, print)
        left.send(b"x")
        loop.run()
        assert noted == ["readable"]
    else:
        loop.add_read_watch(right, print)
        a_sync(waits, loop=loop)
        assert "which a watch uses in the same direction" in noted[0]
        loop.remove_read_watch(right)


def test_two_directions_of_one_descriptor_have_two_users(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()

    def reads() -> Steps:
        yield from await_readable(right)
        noted.append("read")

    loop.add_write_watch(right, noted.note("write", False))
    a_sync(reads, loop=loop)
    left.send(b"x")
    loop.run()
    assert set(noted) == {"read", ("write", "out")}


def test_all_names_of_a_file_are_one_file(loop: EventLoop, pair: Pair) -> None:
    """A socket, its number, and a second object on the same descriptor find the same entry, so the rule of one user holds."""
    _, right = pair
    again = socket.socket(fileno=right.fileno())
    try:
        first = loop.book.find(right)
        assert loop.book.find(right.fileno()) is first
        assert loop.book.find(again) is first
        first.read.hold("somebody")
        for other in (right, right.fileno(), again):
            with pytest.raises(BusyError, match="somebody"):
                loop.book.find(other).read.hold("another")
            with pytest.raises(BusyError):
                loop.add_read_watch(other, print)
    finally:
        again.detach()


def test_user_that_has_not_waited_yet_is_found(loop: EventLoop, pair: Pair) -> None:
    """The holder of a direction is known from the moment it holds, whether or not the system was told of it."""
    side = loop.book.find(pair[0]).read
    side.hold("a transfer")
    with pytest.raises(BusyError, match="a transfer"):
        loop.add_read_watch(pair[0], print)
    side.holder = None
    loop.add_read_watch(pair[0], print)
    loop.remove_read_watch(pair[0])


def test_interest_stays_registered_between_waits(loop: EventLoop, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = pair
    told = Noted()
    poller = loop.book.poller
    add = poller.add

    def noting(fd: int, mask: int) -> None:
        told.append(fd)
        add(fd, mask)

    monkeypatch.setattr(poller, "add", noting)
    monkeypatch.setattr(poller, "change", noting)
    rounds = 20

    def echoes() -> Steps:
        for _ in range(rounds):
            yield from await_readable(right)
            right.send(right.recv(10))

    def asks() -> Steps:
        for _ in range(rounds):
            left.send(b"x")
            yield from await_readable(left)
            left.recv(10)

    a_sync(echoes, loop=loop)
    a_sync(asks, loop=loop)
    loop.run()
    assert (told.count(left.fileno()), told.count(right.fileno())) == (1, 1)


def test_interest_that_nobody_has_any_more_is_dropped_when_it_fires(loop: EventLoop, pair: Pair) -> None:
    left, right = pair

    def reads() -> Steps:
        yield from await_readable(right)

    a_sync(reads, loop=loop)
    left.send(b"x")
    loop.block()
    with busy_time() as busy:
        for _ in range(5):
            loop.step(0.05)
        assert busy() < 0.6
    assert loop.book.registered == 0
    loop.block(False)


def test_book_does_not_keep_a_socket_open(loop: EventLoop) -> None:
    left, right = socket.socketpair()
    left.send(b"x")
    a_sync(await_readable, right, loop=loop)
    loop.run()
    fd = right.fileno()
    with pytest.warns(ResourceWarning, match="unclosed"):  # noqa: PT031 - the collector may be needed
        del right
        gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    left.close()


def test_book_does_not_grow_with_the_sockets_that_were(loop: EventLoop) -> None:
    for _ in range(300):
        left, right = socket.socketpair()
        left.send(b"x")
        loop.add_read_watch(right, lambda status: False)
        loop.add_write_watch(left, lambda status: False)
        loop.run()
        left.close()
        right.close()
    assert len(loop.book.table) < 20


# At random, against a model


class Life(RuleBasedStateMachine):
    """Watches come and go, sockets are closed with and without a word, numbers are reused: data always finds its own watch."""

    kind = "default"

    def __init__(self) -> None:
        super().__init__()
        self.loop = EventLoop(**KINDS[self.kind]())
        self.pairs: list[Pair] = []
        self.watched: set[int] = set()
        self.heard: dict[int, bytes] = {}
        self.serial = 0
        self.names: dict[int, int] = {}

    def teardown(self) -> None:
        self.loop.quit()
        self.loop.close()
        for pair in self.pairs:
            for each in pair:
                each.close()

    @precondition(lambda self: len(self.pairs) < 8)
    @rule()
    def open(self) -> None:
        left, right = socket.socketpair()
        right.setblocking(False)
        self.pairs.append((left, right))
        self.serial += 1
        self.names[id(right)] = self.serial

    @precondition(lambda self: self.pairs)
    @rule(data=st.data())
    def watch(self, data: st.DataObject) -> None:
        _, right = data.draw(st.sampled_from(self.pairs))
        name = self.names[id(right)]

        def ready(status: str) -> None:
            try:
                self.heard[name] = self.heard.get(name, b"") + right.recv(100)
            except BlockingIOError:
                pass

        self.loop.add_read_watch(right, ready)
        self.watched.add(name)

    @precondition(lambda self: self.pairs)
    @rule(data=st.data())
    def unwatch(self, data: st.DataObject) -> None:
        _, right = data.draw(st.sampled_from(self.pairs))
        name = self.names[id(right)]
        assert self.loop.remove_read_watch(right) is (name in self.watched)
        self.watched.discard(name)

    @precondition(lambda self: self.pairs)
    @rule(data=st.data(), announced=st.booleans(), duplicated=st.booleans())
    def close(self, data: st.DataObject, announced: bool, duplicated: bool) -> None:
        pair = data.draw(st.sampled_from(self.pairs))
        left, right = pair
        duplicate = right.dup() if duplicated else None
        if announced:
            self.loop.forget(right)
        right.close()
        left.send(b"for a ghost") if duplicated else None
        self.loop.step()
        if duplicate is not None:
            duplicate.close()
        left.close()
        self.pairs.remove(pair)
        self.watched.discard(self.names.pop(id(right)))

    @precondition(lambda self: self.pairs)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        left, right = data.draw(st.sampled_from(self.pairs))
        name = self.names[id(right)]
        mark = b"%d;" % name
        left.send(mark)
        before = self.heard.get(name, b"")
        for _ in range(3):
            self.loop.step(0.01 if name in self.watched else 0)
            if name in self.watched and self.heard.get(name, b"") != before:
                break
        if name in self.watched:
            assert self.heard.get(name, b"").endswith(mark)
        else:
            assert self.heard.get(name, b"") == before

    @invariant()
    def nobody_hears_what_is_for_others(self) -> None:
        for name, heard in self.heard.items():
            assert set(heard.split(b";")) <= {b"%d" % name, b""}


@pytest.mark.parametrize("selector", KINDS)
def test_descriptors_at_random(selector: str) -> None:
    machine: type[Life] = type(f"Life{selector.title().replace(' ', '')}", (Life,), {"kind": selector})
    case: Any = machine.TestCase
    case.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
    case().runTest()


def test_selector_that_cannot_be_made_anew_goes_on(stack: ExitStack) -> None:
    class Fixed(selectors.PollSelector):
        def __init__(self, needed: str) -> None:
            super().__init__()

    left, right = _pair(stack)
    with EventLoop(selector=Fixed("argument"), debug=False) as loop:
        seen: list[bytes] = []
        loop.add_read_watch(right, reading(right, seen))
        loop.book.rebuild()
        left.send(b"x")
        loop.run()
    assert seen == [b"x"]
