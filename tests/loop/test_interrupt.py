"""Ctrl-C: between two callbacks in the main thread, at once the second time, and always with the loop left in good order."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest

from eventsock import EventLoop, a_sync, await_sleep
from loop_kit import MakeLoop, Noted, after, chain, in_thread
from programs import StartProgram

Steps = Generator[Any, Any, None]


def _interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_is_raised_between_callbacks(loop: EventLoop) -> None:
    noted = Noted()

    def callback() -> None:
        _interrupt()
        noted.append("callback ended")

    loop.post(callback)
    loop.post(noted.note("another"))
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert noted == ["callback ended"]


def test_second_ctrl_c_is_raised_at_once(loop: EventLoop) -> None:
    noted = Noted()

    def callback() -> None:
        _interrupt()
        noted.append("first")
        _interrupt()
        noted.append("never")

    loop.post(callback)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert noted == ["first"]


def test_ctrl_c_ends_a_sleep(loop: EventLoop) -> None:
    loop.block()
    started, runs = time.monotonic(), threading.Event()
    loop.post(runs.set)
    with in_thread(chain(runs.wait, after(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)))), pytest.raises(KeyboardInterrupt):
        loop.run()
    assert time.monotonic() - started < 10
    loop.block(False)


def test_ctrl_c_is_no_business_of_on_error(make_loop: MakeLoop) -> None:
    loop = make_loop(on_error=lambda *told: pytest.fail(str(told)))
    loop.post(_interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run()


def test_tasks_are_closed_and_the_loop_can_run_again(loop: EventLoop) -> None:
    noted = Noted()

    def holds() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            noted.append("closed")

    a_sync(holds, loop=loop)
    loop.post(_interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    loop.post(noted.note("again"))
    loop.run()
    assert noted == ["closed", "again"]


def test_second_ctrl_c_during_the_clean_up_cuts_one_task_short_and_no_other(loop: EventLoop) -> None:
    noted, reached = Noted(), Noted()

    def holds(name: str) -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            reached.append(name)
            if len(reached) == 1:
                _interrupt()
            noted.append(name)

    a_sync(holds, "one", loop=loop)
    a_sync(holds, "two", loop=loop)
    loop.post(_interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert noted == ["two"]
    assert loop.statistics().tasks == 0
    loop.run()


def test_error_that_leaves_at_the_same_time_is_attached(loop: EventLoop) -> None:
    def fails() -> None:
        _interrupt()
        raise ValueError("beside")

    loop.post(fails)
    with pytest.raises(KeyboardInterrupt) as caught:
        loop.run()
    assert "ValueError: beside" in "".join(caught.value.__notes__)


def test_handler_of_the_application_is_respected(loop: EventLoop) -> None:
    noted = Noted()
    former = signal.signal(signal.SIGINT, noted.note("application"))
    try:
        loop.post(_interrupt)
        loop.run()
    finally:
        signal.signal(signal.SIGINT, former)
    assert len(noted) == 1


def test_handler_set_while_the_loop_runs_stays(loop: EventLoop) -> None:
    noted = Noted()
    former = signal.getsignal(signal.SIGINT)
    handler = noted.note("application")
    loop.post(lambda: signal.signal(signal.SIGINT, handler))
    loop.run()
    try:
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, former)


def test_ctrl_c_lives_on_after_a_watch_on_it_that_outlived_its_run(loop: EventLoop) -> None:
    loop.post(lambda: loop.add_signal_watch(signal.SIGINT, print))
    loop.run()
    assert loop.remove_signal_watch(signal.SIGINT) is True
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_lives_on_after_a_handler_that_outlived_its_run(loop: EventLoop) -> None:
    former = Noted()
    loop.post(lambda: former.append(signal.signal(signal.SIGINT, lambda *told: None)))
    loop.run()
    signal.signal(signal.SIGINT, former[0])
    try:
        with pytest.raises(KeyboardInterrupt):
            _interrupt()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_handler_comes_back_after_each_run(loop: EventLoop) -> None:
    for _ in range(3):
        loop.run()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        wakeup = signal.set_wakeup_fd(-1)
        assert wakeup == -1


def test_loop_in_another_thread_leaves_ctrl_c_alone(loop: EventLoop) -> None:
    noted = Noted()
    loop.post(lambda: noted.append(signal.getsignal(signal.SIGINT)))
    with in_thread(loop.run):
        pass
    assert noted == [signal.default_int_handler]


class _InterruptsWithin:
    """Stands in for the loop's lock: Ctrl-C comes when the method of the given name takes it, once."""

    def __init__(self, lock: Any, name: str) -> None:
        self.lock = lock
        self.name = name
        self.interrupted = False

    def __enter__(self) -> None:
        if not self.interrupted and sys._getframe(1).f_code.co_name == self.name:
            self.interrupted = True
            _interrupt()
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()


@pytest.mark.parametrize("moment", ["_enter", "_drop_work", "_leave"])
def test_fault_88_ctrl_c_while_a_run_begins_and_while_it_is_put_down(moment: str, loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the beginning it ends the run before anything is called; the second one cuts nothing short that would not be done again."""
    noted = Noted()

    def holds() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            noted.append("closed")

    a_sync(holds, loop=loop)
    lock = _InterruptsWithin(loop._lock, moment)
    monkeypatch.setattr(loop, "_lock", lock)
    loop.post(noted.note("begun"))
    loop.post(_interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert lock.interrupted
    assert noted == (["closed"] if moment == "_enter" else ["begun", "closed"])
    assert (loop.in_turn, loop.running, loop.statistics().tasks, loop.statistics().timeouts) == (False, False, 0, 0)
    loop.post(noted.note("as good as new"))
    loop.run()
    assert noted[-1] == "as good as new"


def test_fault_88_ctrl_c_at_any_moment_of_a_run(make_loop: MakeLoop) -> None:
    """At random moments in polls, heaps, dispatch and clean-up: it leaves as itself, and the loop is as good as new."""
    loop = make_loop()
    left, right = socket.socketpair()
    rounds = 150
    interrupted = 0
    gate = threading.Semaphore(0)
    pauses = [0.00003 * (number % 37) for number in range(rounds)]

    def interrupts() -> None:
        for pause in pauses:
            gate.acquire()
            time.sleep(pause)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.0005)

    def holds() -> Steps:
        while True:
            yield from await_sleep(0.0002)

    with left, right, in_thread(interrupts):
        left.send(b"x")
        for _ in range(rounds):
            try:
                loop.block()
                a_sync(holds, loop=loop)
                loop.add_read_watch(right, lambda status: None)
                for index in range(5):
                    loop.timeout_post(0.0001 * index, lambda: None)
                loop.post(gate.release)
                loop.run()
            except KeyboardInterrupt:
                interrupted += 1
            assert not loop.in_turn
            assert not loop.running
            found = loop.statistics()
            assert (found.tasks, found.watches, found.timeouts) == (0, 0, 0)
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert signal.set_wakeup_fd(-1) == -1
    assert interrupted == rounds
    noted = Noted()
    loop.block(False)
    loop.post(noted.note("as good as new"))
    loop.run()
    assert noted == ["as good as new"]


@pytest.mark.parametrize("drive", ["run", "step"])
def test_fault_88_ctrl_c_as_a_run_or_a_step_is_left(drive: str, loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    leave, noted = EventLoop._leave, Noted()

    def struck(self: EventLoop, more: bool) -> bool:
        if not noted:
            noted.append("struck")
            raise KeyboardInterrupt
        return leave(self, more)

    monkeypatch.setattr(EventLoop, "_leave", struck)
    with pytest.raises(KeyboardInterrupt):
        getattr(loop, drive)()
    loop.post(noted.note("as good as new"))
    getattr(loop, drive)()
    assert noted == ["struck", "as good as new"]


_STEPPED = """
import os, signal, threading, time
from eventsock import EventLoop
begun, ended, ready = [], [], []
def handler(signum, frame):
    if ready:
        ready.clear()
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, handler)
def interrupts():
    while not begun:
        time.sleep(0.001)
    for _ in range(40):
        time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)
    ended.append(True)
with EventLoop(debug=False) as loop:
    thread = threading.Thread(target=interrupts)
    thread.start()
    while not ended:
        try:
            begun.append(True)
            ready.append(True)
            while not ended:
                loop.timeout_post(0.0001, int)
                loop.post(int)
                loop.step(0.0005)
        except KeyboardInterrupt:
            pass
    ready.clear()
    thread.join()
    loop.quit()
    loop.step()
    loop.post(lambda: print("as good as new"))
    loop.step()
"""


def test_fault_88_ctrl_c_at_any_moment_of_a_step(start_program: StartProgram) -> None:
    """A host's own handler raises wherever it likes."""
    program = start_program("-c", _STEPPED)
    assert program.communicate(timeout=30) == ("as good as new\n", "")
