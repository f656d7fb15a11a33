"""What `close` runs, drops and refuses, and what it leaves behind: nothing."""

from __future__ import annotations

import errno
import gc
import os
import selectors
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator
from typing import Any

import pytest

from eventsock import EventLoop, LoopClosedError, LoopStateError, a_sync, await_sleep, running_event_loop
from eventsock.loop.pollers import default_poller
from loop_kit import KINDS, MakeLoop, Noted, chain, in_thread, open_descriptors

Pair = tuple[socket.socket, socket.socket]
Steps = Generator[Any, Any, None]


def test_posts_already_accepted_are_run_once_in_order(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()
    loop.post(noted.note("before"))
    loop.post(lambda: loop.timeout_post(0, noted.note("timeout")))  # for the next turn, which does not come
    loop.post(loop.close)
    for number in range(3):
        loop.post(noted.note(number))
    loop.run()
    assert noted == ["before", 0, 1, 2]


def test_post_of_an_accepted_post_is_refused(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()

    def posts() -> None:
        with pytest.raises(LoopClosedError):
            loop.post(noted.note("never"))
        noted.append("refused")

    loop.post(loop.close)
    loop.post(posts)
    loop.run()
    assert noted == ["refused"]
    assert loop.pending_posts == 0


def test_error_of_an_accepted_post_leaves_run_and_the_others_are_run(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()

    def fails() -> None:
        raise ValueError("accepted")

    loop.post(loop.close)
    loop.post(fails)
    loop.post(noted.note("after"))
    with pytest.raises(ValueError, match="accepted"):
        loop.run()
    assert noted == ["after"]
    assert loop.closed


def test_close_of_an_idle_loop_drops_posts_with_a_warning_that_counts_them(make_loop: MakeLoop) -> None:
    loop = make_loop()
    for _ in range(3):
        loop.post(pytest.fail)
    with pytest.warns(ResourceWarning, match="closed with 3 posts not run") as caught:
        loop.close()
    assert caught[0].filename == __file__
    assert loop.pending_posts == 0


def test_close_of_an_idle_loop_closes_its_tasks(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()

    def holds() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            with pytest.raises(LoopStateError):
                loop.post(pytest.fail)
            with pytest.raises(LoopStateError):
                loop.timeout_post(0, pytest.fail)
            noted.append("closed")

    a_sync(holds, loop=loop)
    loop.close()
    assert noted == ["closed"]


def test_error_of_a_task_leaves_close(make_loop: MakeLoop) -> None:
    loop = make_loop()

    def fails() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            raise KeyError("in finally")

    a_sync(fails, loop=loop)
    with pytest.raises(KeyError, match="in finally"):
        loop.close()
    assert loop.closed
    loop.close()


@pytest.mark.parametrize("running", [False, True])
def test_selector_that_cannot_be_closed_keeps_no_other_descriptor_open(running: bool) -> None:
    class Broken(selectors.SelectSelector):
        def close(self) -> None:
            super().close()
            raise OSError(errno.EIO, "broken")

    before = open_descriptors()
    loop = EventLoop(selector=Broken())
    loop.run()
    if running:
        loop.post(loop.close)
    with pytest.raises(OSError, match="broken"):
        (loop.run if running else loop.close)()
    assert open_descriptors() == before
    assert loop.closed


def test_close_is_idempotent(make_loop: MakeLoop) -> None:
    loop = make_loop()
    loop.close()
    loop.close()
    with loop:
        pass
    assert loop.closed


def test_close_releases_every_descriptor(kind: str) -> None:
    before = open_descriptors()
    loop = EventLoop(**KINDS[kind]())
    loop.fileno()
    loop.add_signal_watch(signal.SIGUSR1, print)
    assert open_descriptors() > before
    loop.close()
    assert open_descriptors() == before
    assert loop.fileno() is None
    assert loop.next_deadline() is None


@pytest.fixture
def closed(make_loop: MakeLoop) -> EventLoop:
    loop: EventLoop = make_loop()
    loop.close()
    return loop


_LATER: dict[str, Callable[[EventLoop, socket.socket], object]] = {
    "run": lambda loop, sock: loop.run(),
    "step": lambda loop, sock: loop.step(),
    "post": lambda loop, sock: loop.post(print),
    "timeout_post": lambda loop, sock: loop.timeout_post(1, print),
    "add_read_watch": lambda loop, sock: loop.add_read_watch(sock, print),
    "add_write_watch": lambda loop, sock: loop.add_write_watch(sock, print),
    "add_signal_watch": lambda loop, sock: loop.add_signal_watch(signal.SIGUSR1, print),
    "block": lambda loop, sock: loop.block(),
    "check_thread": lambda loop, sock: loop.check_thread(),
}


@pytest.mark.parametrize("verb", _LATER)
def test_later_it_is_refused(verb: str, closed: EventLoop, pair: Pair) -> None:
    with pytest.raises(LoopClosedError, match="the loop is closed"):
        _LATER[verb](closed, pair[0])
    assert (closed.statistics().timeouts, closed.pending_posts) == (0, 0)


@pytest.mark.parametrize("verb", ["post", "timeout_post", "add_read_watch", "block"])
def test_it_is_refused_in_the_callback_that_closed(verb: str, make_loop: MakeLoop, pair: Pair) -> None:
    loop, noted = make_loop(), Noted()

    def closes() -> None:
        loop.close()
        assert loop.closed
        with pytest.raises(LoopClosedError):
            _LATER[verb](loop, pair[0])
        noted.append("refused")

    loop.post(closes)
    loop.run()
    assert noted == ["refused"]


def test_later_removals_return_false(make_loop: MakeLoop, pair: Pair) -> None:
    loop = make_loop()
    loop.add_read_watch(pair[0], print)
    loop.add_write_watch(pair[0], print)
    timeout = loop.timeout_post(60, print)
    loop.add_signal_watch(signal.SIGUSR1, print)
    loop.close()
    assert loop.remove_read_watch(pair[0]) is False
    assert loop.remove_write_watch(pair[0]) is False
    assert loop.timeout_remove(timeout) is False
    assert loop.remove_signal_watch(signal.SIGUSR1) is False
    loop.forget(pair[0])
    loop.quit()


def test_close_from_another_thread_while_it_runs(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()
    loop.block()

    def closes() -> None:
        while not loop.running:
            time.sleep(0.001)
        loop.post(noted.note("accepted"))
        loop.close()

    with in_thread(closes):
        loop.run()
    assert noted == ["accepted"]
    assert loop.closed
    with pytest.raises(LoopClosedError):
        loop.run()


def test_close_of_an_idle_loop_from_another_thread(make_loop: MakeLoop) -> None:
    loop = make_loop()
    loop.run()
    with in_thread(loop.close):
        pass
    assert loop.closed


def test_close_from_another_thread_between_steps_is_done_by_the_next_step(make_loop: MakeLoop) -> None:
    """A task's `finally` must not run in a thread that is not the loop's."""
    loop, noted = make_loop(), Noted()
    here = threading.get_ident()

    def holds() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            noted.append(threading.get_ident() == here)

    a_sync(holds, loop=loop)
    assert loop.step() is True
    woken = Noted()
    loop.on_wake(woken.note("woken"))
    loop.next_deadline()
    loop.post(noted.note("accepted"))
    loop.next_deadline()
    woken.clear()
    with in_thread(loop.close):
        pass
    assert (noted, woken, loop.closed) == ([], ["woken"], False)
    assert loop.next_deadline() == 0.0
    with pytest.raises(LoopClosedError):
        loop.post(print)
    assert loop.step() is False
    assert noted == ["accepted", True]
    assert loop.closed
    assert running_event_loop() is None


@pytest.mark.parametrize("verb", ["close", "run"])
def test_close_of_another_thread_is_done_by_the_next_close_or_run_as_well(verb: str, make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()
    loop.block()
    loop.step()
    loop.post(noted.note("accepted"))
    with in_thread(loop.close):
        pass
    assert not loop.closed
    if verb == "close":
        loop.close()
    else:
        with pytest.raises(LoopClosedError):
            loop.run()
    assert loop.closed
    assert noted == ["accepted"]


def test_stepped_loop_that_another_thread_closed_and_nobody_stepped_again(kind: str, make_loop: MakeLoop) -> None:
    other = make_loop()
    before = open_descriptors()
    loop = EventLoop(**KINDS[kind]())
    loop.block()
    loop.step()
    with in_thread(loop.close):
        pass
    other.step()  # now that is the thread's current one
    del loop
    gc.collect()
    assert open_descriptors() == before


def test_host_is_told_of_a_close_that_raises(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()
    loop.post(int)
    loop.on_wake(noted.note("woken"))
    with pytest.raises(ResourceWarning):
        loop.close()
    assert noted == ["woken"]


def test_close_from_another_thread_does_not_wait_for_a_thread_that_is_gone(make_loop: MakeLoop) -> None:
    loop = make_loop()
    loop.timeout_post(60, print)
    with in_thread(loop.step):
        pass
    loop.close()
    assert loop.closed


def test_task_that_joins_a_thread_that_closes_the_same_loop(make_loop: MakeLoop) -> None:
    """The tasks are closed while nothing is locked."""
    loop = make_loop()

    def waits_for_a_closer() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            with in_thread(chain(loop.close, loop.quit, loop.statistics)):
                pass

    a_sync(waits_for_a_closer, loop=loop)
    loop.close()


def test_signal_handlers_and_wakeup_descriptor_come_back(make_loop: MakeLoop) -> None:
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)
    loop = make_loop()
    loop.add_signal_watch(signal.SIGUSR1, print)
    loop.post(loop.close)
    loop.run()
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)) == before
    assert signal.set_wakeup_fd(-1) == -1


def test_fault_12_double_close_and_close_in_del(kind: str) -> None:
    before = open_descriptors()
    loop = EventLoop(**KINDS[kind]())
    loop.close()
    del loop
    loop = EventLoop(**KINDS[kind]())
    with pytest.warns(ResourceWarning, match="unclosed event loop"):  # noqa: PT031 - the collector may be needed
        del loop
        gc.collect()
    assert open_descriptors() == before


def test_fault_12_two_threads_close_at_once_and_no_number_is_closed_twice(make_loop: MakeLoop) -> None:
    """While two threads close a loop, a third opens descriptors: none of them may be closed by a loop."""
    for _ in range(100):
        loop = make_loop()
        gate = threading.Barrier(2)

        def closes(loop: EventLoop = loop, gate: threading.Barrier = gate) -> None:
            gate.wait()
            loop.close()

        with in_thread(closes), in_thread(closes):
            opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
        for fd in opened:
            os.close(fd)  # EBADF if somebody else has closed it


def test_fault_16_half_built_loop_leaves_nothing(kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each system call of the constructor fails in its turn."""
    before = open_descriptors()
    calls = 0
    fails_at = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == fails_at:
                raise OSError(24, "Too many open files")
            return original(*arguments, **options)

        return call

    monkeypatch.setattr("os.eventfd", counted(os.eventfd))
    monkeypatch.setattr("socket.socketpair", counted(socket.socketpair))
    adds = type(default_poller())
    monkeypatch.setattr("eventsock.loop.selectors.LeanSelector.add", counted(adds.add))
    monkeypatch.setattr("eventsock.loop.pollers.SelectorPoller.add", counted(lambda self, fd, mask: self._selector.register(fd, 1)))
    monkeypatch.setattr("eventsock.loop.selectors.PollSelector.add", counted(lambda self, fd, mask: None))
    while True:
        fails_at += 1
        calls = 0
        options = KINDS[kind]()  # a selector that is handed in must be closed, too
        try:
            EventLoop(**options).close()
            break
        except OSError:
            pass
        gc.collect()
        assert open_descriptors() == before
    assert fails_at == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "options",
    [
        {"clock": 5},
        {"on_error": "print"},
        {"selector": "epoll"},
        {"throttle_threshold": 1},
        {"throttle_delay": 1},
        {"throttle_threshold": 0, "throttle_delay": 1},
        {"throttle_threshold": 1, "throttle_delay": -1},
        {"throttle_threshold": float("nan"), "throttle_delay": 1},
        {"throttle_threshold": "1", "throttle_delay": 1},
    ],
    ids=str,
)
def test_bad_options_are_refused_and_leave_nothing(options: dict[str, Any]) -> None:
    before = open_descriptors()
    name = next(iter(options))
    with pytest.raises((TypeError, ValueError), match=name):
        EventLoop(**options)
    gc.collect()
    assert open_descriptors() == before


def test_closed_loop_holds_no_file(make_loop: MakeLoop) -> None:
    loop = make_loop()
    left, right = socket.socketpair()
    loop.add_read_watch(left, print)
    loop.close()
    references = sys.getrefcount(left)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop
        gc.collect()
    assert sys.getrefcount(left) == references
    left.close()
    right.close()
