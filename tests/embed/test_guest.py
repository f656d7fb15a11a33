"""The guest itself, in a host made of a list: what is refused, what is undone, what reaches the host.

Knows `Guest` and the contract of the loop; no real host.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial
from math import inf
from typing import Any

import pytest

from eventsock import EventLoop, LoopStateError, NoEventLoopError, a_sync, await_sleep, await_yield, embed, running_event_loop
from eventsock.loop.selectors import PollSelector

Task = Generator[Any, Any, None]


class Ledger(embed.Guest):
    """A guest whose host only writes down what it is asked for."""

    name = "a ledger"

    def __init__(self, loop: EventLoop | None = None, **options: Any) -> None:
        super().__init__(loop, **options)
        self.entries: list[object] = []

    def watch(self, fd: int) -> None:
        os.fstat(fd)
        self.entries.append("watch")

    def unwatch(self, fd: int) -> None:
        os.fstat(fd)
        self.entries.append("unwatch")

    def alarm(self, seconds: float | None) -> None:
        self.entries.append(seconds)

    def report(self, error: BaseException, where: str) -> None:
        self.entries.append((error, where))

    def taken(self) -> list[object]:
        entries, self.entries = self.entries, []
        return entries


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    with EventLoop() as loop:
        yield loop


def test_attach_watches_and_rings(loop: EventLoop) -> None:
    loop.timeout_post(10, print)
    with Ledger(loop).attach() as guest:
        watch, seconds = guest.taken()
        assert watch == "watch"
        assert isinstance(seconds, float)
        assert 9 < seconds <= 10
        assert guest.attached
        assert running_event_loop() is loop
        assert loop.host is guest
    assert guest.taken() == [None, "unwatch"]
    assert not guest.attached
    assert running_event_loop() is None
    assert (loop.host, loop.on_error) == (None, None)


def test_idle_guest_sets_no_alarm(loop: EventLoop) -> None:
    with Ledger(loop).attach() as guest:
        guest.taken()
        guest.serve()
        assert guest.taken() == [None]


def test_default_loop(default_loop_put_back: None) -> None:
    from eventsock import set_default_event_loop

    with set_default_event_loop() as loop, Ledger().attach() as guest:
        assert guest.loop is loop


def test_former_guest_is_the_current_loop_again(loop: EventLoop) -> None:
    with EventLoop() as second, Ledger(loop).attach():
        with Ledger(second).attach():
            assert running_event_loop() is second
        assert running_event_loop() is loop
        with Ledger(second).attach():
            loop.close()
        assert running_event_loop() is None


def test_host_that_calls_after_another_thread_has_closed_the_loop(loop: EventLoop) -> None:
    guest = Ledger(loop).attach()
    thread = threading.Thread(target=loop.close)
    thread.start()
    thread.join()
    guest.serve()
    assert (guest.attached, running_event_loop()) == (False, None)
    assert guest.taken()[-2:] == [None, "unwatch"]


def test_no_loop() -> None:
    with pytest.raises(NoEventLoopError):
        Ledger()


@pytest.mark.parametrize(("budget", "error"), [(-1, ValueError), (float("nan"), ValueError), ("5", TypeError), (True, TypeError)])
def test_bad_budget(loop: EventLoop, budget: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="budget"):
        Ledger(loop, budget=budget)


def test_without_budget_a_turn_serves_all(loop: EventLoop) -> None:
    with Ledger(loop, budget=None).attach() as guest:
        ran: list[int] = []
        for number in range(100):
            loop.post(partial(ran.append, number))
        guest.serve()
        assert len(ran) == 100


def test_budget_leaves_the_rest_for_the_next_turn() -> None:
    now = [0.0]
    ran: list[int] = []

    def work(number: int) -> None:
        now[0] += 1.0
        ran.append(number)

    with EventLoop(clock=lambda: now[0]) as loop, Ledger(loop, budget=3).attach() as guest:
        for number in range(5):
            loop.post(partial(work, number))
        guest.taken()
        guest.serve()
        assert (len(ran), guest.taken()) == (3, [0.0])
        guest.serve()
        assert (ran, guest.taken()) == ([0, 1, 2, 3, 4], [None])


def test_host_that_cannot_watch_leaves_nothing_behind(loop: EventLoop) -> None:
    class Blind(Ledger):
        def watch(self, fd: int) -> None:
            raise NotImplementedError("no descriptors here")

    guest = Blind(loop)
    with pytest.raises(NotImplementedError, match="no descriptors here"):
        guest.attach()
    assert (guest.attached, loop.host, loop.on_error, running_event_loop()) == (False, None, None, None)
    with Ledger(loop).attach():
        pass


def test_selector_without_descriptor_is_refused() -> None:
    with (
        EventLoop(selector=PollSelector()) as loop,
        pytest.raises(LoopStateError, match=r"no descriptor that a ledger could watch.*LoopThread"),
    ):
        Ledger(loop).attach()


def test_frame_loop_needs_no_descriptor() -> None:
    ran: list[str] = []
    with EventLoop(selector=PollSelector()) as loop, embed.pygame.attach(None, loop) as guest:
        loop.post(lambda: ran.append("post"))
        guest.frame()
        assert ran == ["post"]
        with pytest.raises(LoopStateError, match="no clock"):
            guest.tick(60)
        loop.close()
        guest.frame()  # a game goes on drawing
        assert not guest.attached


def test_attach_inside_another_loops_turn_is_refused(loop: EventLoop) -> None:
    with EventLoop() as other:
        other.post(lambda: Ledger(loop).attach())
        with pytest.raises(LoopStateError, match="is running in this thread"):
            other.run()
    assert loop.host is None


def test_detach_belongs_to_the_thread_of_the_host(loop: EventLoop) -> None:
    errors: list[str] = []

    def detach() -> None:
        try:
            guest.detach()
        except LoopStateError as error:
            errors.append(str(error))

    with Ledger(loop).attach() as guest:
        thread = threading.Thread(target=detach)
        thread.start()
        thread.join()
        assert guest.attached
    assert len(errors) == 1
    assert "a ledger lives in thread" in errors[0]


def test_errors_are_reported_with_their_place(loop: EventLoop) -> None:
    def fail() -> Task:
        yield from await_yield()
        raise ArithmeticError("lost")

    with Ledger(loop).attach() as guest:
        a_sync(fail, name="sums")
        guest.taken()
        guest.serve()
        reported, _ = guest.taken()
    assert isinstance(reported, tuple)
    assert isinstance(reported[0], ArithmeticError)
    assert reported[1] == "task 'sums'"


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_interrupt_goes_through_to_the_host(loop: EventLoop, fatal: type[BaseException]) -> None:
    def interrupt() -> None:
        raise fatal

    with Ledger(loop).attach() as guest:
        loop.post(interrupt)
        with pytest.raises(fatal):
            guest.serve()
        loop.post(lambda: guest.entries.append("served"))
        guest.serve()
        assert "served" in guest.taken()


def test_report_that_fails_reaches_the_host(loop: EventLoop) -> None:
    class Clumsy(Ledger):
        def report(self, error: BaseException, where: str) -> None:
            raise RuntimeError("cannot report")

    with Clumsy(loop).attach() as guest:
        loop.post(partial(divmod, 1, 0))
        with pytest.raises(RuntimeError, match="cannot report"):
            guest.serve()
        assert guest.attached


def test_default_report_is_excepthook(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: seen.append(kind))
    with embed.pygame.attach(None, loop) as guest:
        loop.post(partial(divmod, 1, 0))
        guest.frame()
    assert seen == [ZeroDivisionError]


def test_detach_inside_a_turn(loop: EventLoop) -> None:
    order: list[object] = []

    def task() -> Task:
        yield from await_yield()
        guest.detach()
        order.append(running_event_loop() is loop)
        yield from await_yield()
        order.append("second turn")

    guest = Ledger(loop).attach()
    a_sync(task)
    guest.serve()
    assert (order, running_event_loop()) == ([True], None)
    guest.serve()  # a host may have had the call on its list already
    assert order == [True]
    loop.run()
    assert order == [True, "second turn"]


def test_call_of_a_host_within_a_callback_rests(loop: EventLoop) -> None:
    with Ledger(loop).attach() as guest:
        loop.post(guest.serve)
        loop.post(guest.serve)
        guest.taken()
        guest.serve()
        assert guest.taken() == [None, "unwatch", None, "watch", None]


def test_nested_wakes_a_resting_guest(loop: EventLoop) -> None:
    order: list[str] = []

    def callback() -> None:
        guest.serve()  # refused, and the guest rests
        assert guest.taken() == [None, "unwatch"]
        with loop.nested():
            assert guest.taken() == ["watch"]
            loop.post(lambda: order.append("inside"))
            guest.serve()
        order.append("after")

    with Ledger(loop).attach() as guest:
        guest.taken()
        loop.post(callback)
        guest.serve()
        assert order == ["inside", "after"]


def test_change_between_steps_makes_the_descriptor_readable(loop: EventLoop) -> None:
    import select

    with Ledger(loop).attach() as guest:
        guest.serve()
        for change in _CHANGES:
            fd = loop.fileno()
            assert fd is not None
            assert select.select([fd], [], [], 0)[0] == [], change
            change(loop)
            assert select.select([fd], [], [], 0)[0] == [fd], change
            guest.serve()
            guest.serve()


def _start_sleeper(loop: EventLoop) -> None:
    a_sync(await_sleep, 60, loop=loop)


def _start_yielder(loop: EventLoop) -> None:
    a_sync(await_yield, loop=loop)


def _cancel(loop: EventLoop) -> None:
    for resident in list(loop.residents):
        resident.cancel("enough")  # type: ignore[attr-defined]


_CHANGES: list[Callable[[EventLoop], object]] = [
    lambda loop: loop.post(int),
    lambda loop: loop.timeout_post(60, int),
    _start_sleeper,
    _start_yielder,
    _cancel,
]


def test_on_wake_is_called_once_between_steps(loop: EventLoop) -> None:
    calls: list[int] = []
    loop.on_wake(lambda: calls.append(threading.get_ident()))
    loop.step()
    loop.post(int)
    loop.post(int)
    assert calls == [threading.get_ident()]
    loop.step()
    thread = threading.Thread(target=loop.post, args=(int,))
    thread.start()
    thread.join()
    assert len(calls) == 2
    assert calls[1] == thread.ident
    loop.step()
    loop.on_wake(None)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forked_child_leaves_the_host_of_its_parent_alone(loop: EventLoop) -> None:
    with Ledger(loop).attach() as guest:
        guest.taken()
        child = os.fork()
        if child == 0:
            wrong = 1
            try:
                guest.detach()
                wrong = int(guest.attached or guest.entries != [])
            finally:
                os._exit(wrong)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        loop.post(lambda: guest.entries.append("served"))
        guest.serve()
        assert guest.taken() == ["served", None]


_MILLISECONDS = [(0.0, 0), (0.0001, 1), (0.001, 1), (0.0011, 2), (60, 60000), (1e9, 2**31 - 1), (inf, 2**31 - 1)]


@pytest.mark.parametrize(("seconds", "expected"), _MILLISECONDS)
def test_milliseconds_are_rounded_up(seconds: float, expected: int) -> None:
    assert embed.milliseconds(seconds) == expected


def test_host_never_holds_the_number_of_a_stranger(loop: EventLoop) -> None:
    """The loop is closed in another thread; the numbers that it had are given out again before the host hears of it."""

    class Looking(Ledger):
        def unwatch(self, fd: int) -> None:
            self.entries.append(os.readlink(f"/proc/self/fd/{fd}"))

    with Looking(loop).attach() as guest:
        thread = threading.Thread(target=loop.close)
        thread.start()
        thread.join()
        strangers = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
        guest.taken()
        guest.detach()
        for fd in strangers:
            os.close(fd)
    assert guest.taken() == [None, "anon_inode:[eventpoll]"]
