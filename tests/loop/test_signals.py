"""Signal watches, the wake-up descriptor they share, and what is refused."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from eventsock import EventLoop, LoopClosedError, LoopStateError
from loop_kit import MakeLoop, Noted, after, chain, in_thread, until


def _kill(signum: int = signal.SIGUSR1) -> None:
    os.kill(os.getpid(), signum)


def _wakeup_fd() -> int:
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd


def test_watch_is_called_in_the_loop_until_it_returns_false(loop: EventLoop) -> None:
    noted = Noted()

    def proc(signum: int) -> bool:
        noted.append((signum, threading.get_ident()))
        return len(noted) < 3

    before = signal.getsignal(signal.SIGUSR1)
    loop.add_signal_watch(signal.SIGUSR1, proc)
    for count in range(1, 4):
        _kill()
        until(loop, lambda count=count: len(noted) == count)  # type: ignore[misc]
    assert noted == [(signal.SIGUSR1, threading.get_ident())] * 3
    assert signal.getsignal(signal.SIGUSR1) == before
    assert loop.remove_signal_watch(signal.SIGUSR1) is False


def test_signal_ends_the_sleep(loop: EventLoop) -> None:
    loop.block()
    loop.add_signal_watch(signal.SIGUSR1, lambda signum: loop.quit())
    with in_thread(after(0.05, _kill)):
        loop.run()
    loop.block(False)


def test_signal_that_was_served_costs_nothing_more(loop: EventLoop) -> None:
    noted = Noted()
    loop.add_signal_watch(signal.SIGUSR1, noted.append)
    _kill()
    until(loop, lambda: noted)
    loop.step()
    loop.block()
    turns = loop.statistics().turns
    loop.timeout_post(0.05, lambda: loop.block(False), repeat=False)
    loop.run()
    assert loop.statistics().turns - turns < 10
    loop.remove_signal_watch(signal.SIGUSR1)


def test_several_signals(loop: EventLoop) -> None:
    noted = Noted()
    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        loop.add_signal_watch(signum, noted.append)
        _kill(signum)
    until(loop, lambda: len(noted) == 3)
    assert set(noted) == {signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP}
    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        assert loop.remove_signal_watch(signum) is True


def test_second_watch_replaces_the_first(loop: EventLoop) -> None:
    noted = Noted()
    loop.add_signal_watch(signal.SIGUSR1, noted.note("first"))
    loop.add_signal_watch(signal.SIGUSR1, noted.note("second"))
    _kill()
    until(loop, lambda: noted)
    assert noted == [("second", signal.SIGUSR1)]
    assert loop.remove_signal_watch(signal.SIGUSR1) is True


def test_watch_replaced_in_its_callback_stays_although_that_returns_false(loop: EventLoop) -> None:
    noted = Noted()

    def first(signum: int) -> bool:
        loop.add_signal_watch(signum, noted.note("second"))
        return False

    loop.add_signal_watch(signal.SIGUSR1, first)
    _kill()
    loop.step()
    _kill()
    until(loop, lambda: noted)
    assert loop.remove_signal_watch(signal.SIGUSR1) is True


def test_former_handler_comes_back_and_is_not_called_meanwhile(loop: EventLoop) -> None:
    noted = Noted()
    former = signal.signal(signal.SIGUSR1, noted.note("former"))
    try:
        loop.add_signal_watch(signal.SIGUSR1, lambda signum: noted.append("watch"))
        _kill()
        until(loop, lambda: noted)
        loop.remove_signal_watch(signal.SIGUSR1)
        _kill()
        time.sleep(0.01)
        assert [each[0] if isinstance(each, tuple) else each for each in noted] == ["watch", "former"]
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_signal_of_a_watch_that_was_removed_before_its_turn(loop: EventLoop) -> None:
    loop.add_signal_watch(signal.SIGUSR1, lambda signum: pytest.fail(str(signum)))
    _kill()
    loop.remove_signal_watch(signal.SIGUSR1)
    loop.run()


def test_error_of_a_watch_names_the_signal(make_loop: MakeLoop) -> None:
    noted = Noted()
    loop = make_loop(on_error=lambda error, where: noted.append(where))

    def fails(signum: int) -> None:
        raise ValueError

    loop.add_signal_watch(signal.SIGUSR1, fails)
    _kill()
    until(loop, lambda: noted)
    assert noted[0].startswith("a watch on SIGUSR1, test_error_of_a_watch_names_the_signal")
    loop.remove_signal_watch(signal.SIGUSR1)


def test_quit_and_errors_drop_signal_watches_too(loop: EventLoop) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    loop.add_signal_watch(signal.SIGUSR1, print)
    loop.post(loop.quit)
    loop.run()
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.parametrize("bad", [0, -1, 999, 10**6])
def test_fault_95_no_such_signal(loop: EventLoop, bad: int) -> None:
    with pytest.raises(ValueError, match="is no signal of this system"):
        loop.add_signal_watch(bad, print)


@pytest.mark.parametrize("bad", ["SIGTERM", None, True, 15.0])
def test_fault_95_wrong_types(loop: EventLoop, bad: Any) -> None:
    with pytest.raises(TypeError, match="signum must be a signal number"):
        loop.add_signal_watch(bad, print)
    with pytest.raises(TypeError, match="signum must be a signal number"):
        loop.remove_signal_watch(bad)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_fault_95_signals_that_cannot_be_caught(loop: EventLoop, signum: int) -> None:
    with pytest.raises(ValueError, match=r"SIG\w+ cannot be caught"):
        loop.add_signal_watch(signum, print)
    assert _wakeup_fd() == -1


def test_fault_95_what_is_not_callable(loop: EventLoop) -> None:
    with pytest.raises(TypeError, match="proc must be callable"):
        loop.add_signal_watch(signal.SIGUSR1, 5)  # type: ignore[arg-type]


def test_fault_95_in_another_thread_it_is_refused(loop: EventLoop) -> None:
    def works() -> None:
        with pytest.raises(LoopStateError, match="main thread"):
            loop.add_signal_watch(signal.SIGUSR1, print)
        with pytest.raises(LoopStateError, match="main thread"):
            loop.remove_signal_watch(signal.SIGUSR1)

    with in_thread(works):
        pass


def test_fault_95_signal_while_the_loop_closes(make_loop: MakeLoop) -> None:
    """Nothing of it is pending afterwards: neither a handler nor a byte to a descriptor that is gone."""
    before = signal.getsignal(signal.SIGUSR1)
    for _ in range(50):
        loop = make_loop()
        loop.add_signal_watch(signal.SIGUSR1, lambda signum: None)
        loop.post(chain(_kill, loop.close))
        loop.run()
        assert signal.getsignal(signal.SIGUSR1) == before
        assert _wakeup_fd() == -1


def test_fault_95_watch_that_raises_leaves_run_and_is_dropped(loop: EventLoop) -> None:
    before = signal.getsignal(signal.SIGUSR1)

    def fails(signum: int) -> None:
        raise ValueError("in the watch")

    loop.add_signal_watch(signal.SIGUSR1, fails)
    loop.block()
    with in_thread(after(0.02, _kill)), pytest.raises(ValueError, match="in the watch"):
        loop.run()
    assert signal.getsignal(signal.SIGUSR1) == before
    assert loop.remove_signal_watch(signal.SIGUSR1) is False
    loop.block(False)


def test_fault_95_handler_of_the_application_that_raises_leaves_run(loop: EventLoop) -> None:
    """It cuts the sleep short, wherever it strikes, and the loop is as good as new."""

    def handler(*_: object) -> None:
        raise ValueError("in the handler")

    former = signal.signal(signal.SIGUSR1, handler)
    try:
        loop.timeout_post(60, print)
        with in_thread(after(0.02, _kill)), pytest.raises(ValueError, match="in the handler"):
            loop.run()
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert loop.statistics().timeouts == 0
    noted = Noted()
    loop.post(noted.note("as good as new"))
    loop.run()
    assert noted == ["as good as new"]


@pytest.fixture
def outer_wakeup() -> Iterator[socket.socket]:
    """A wake-up descriptor that somebody had set before us, as the reading end."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    former = signal.set_wakeup_fd(writer.fileno())
    with reader, writer:
        yield reader
        assert _wakeup_fd() == writer.fileno()
        signal.set_wakeup_fd(former)


def test_fault_94_former_wakeup_descriptor_gets_its_bytes_and_comes_back(loop: EventLoop, outer_wakeup: socket.socket) -> None:
    noted = Noted()
    loop.add_signal_watch(signal.SIGUSR1, noted.append)
    _kill()
    until(loop, lambda: noted)
    until(loop, partial(_has_bytes, outer_wakeup), 2.0)
    assert outer_wakeup.recv(10) == bytes([signal.SIGUSR1])
    loop.remove_signal_watch(signal.SIGUSR1)


def _has_bytes(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(10, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_fault_94_wakeup_descriptor_replaced_behind_our_back_is_left_with_a_warning(loop: EventLoop) -> None:
    loop.add_signal_watch(signal.SIGUSR1, print)
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer:
        signal.set_wakeup_fd(writer.fileno())
        with pytest.warns(RuntimeWarning, match="has replaced the event loop's descriptor"):
            loop.remove_signal_watch(signal.SIGUSR1)
        assert signal.set_wakeup_fd(-1) == writer.fileno()


def test_fault_94_full_pipe_does_no_harm(loop: EventLoop, capfd: pytest.CaptureFixture[str]) -> None:
    noted = Noted()
    loop.add_signal_watch(signal.SIGUSR1, noted.append)
    for _ in range(3000):  # the pipe is full after a few hundred
        _kill()
    until(loop, lambda: loop.pending_posts == 0)
    assert noted
    loop.remove_signal_watch(signal.SIGUSR1)
    assert capfd.readouterr().err == ""


def test_loop_of_another_thread_gets_the_signals_of_the_main_thread(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()
    ends = chain(lambda: noted.append(threading.get_ident()), partial(loop.block, False))
    loop.add_signal_watch(signal.SIGUSR1, lambda signum: ends())
    loop.block()
    with in_thread(loop.run) as thread:
        time.sleep(0.05)
        _kill()
        time.sleep(0)
        thread.join(10)
    assert noted == [thread.ident]
    assert loop.remove_signal_watch(signal.SIGUSR1) is True


@pytest.mark.parametrize("ending", ["quit", "close", "return False"])
def test_handlers_come_back_although_another_thread_drops_the_watch(ending: str, make_loop: MakeLoop) -> None:
    """Only the main thread may set handlers; the system must not write to a closed descriptor meanwhile."""
    noted = Noted()
    former = signal.signal(signal.SIGUSR1, noted.note("former"))
    loop = make_loop()
    loop.block()
    try:

        def proc(signum: int) -> bool:
            noted.append("watch")
            if ending == "return False":
                loop.block(False)
                return False
            getattr(loop, ending)()
            return True

        loop.add_signal_watch(signal.SIGUSR1, proc)
        with in_thread(loop.run) as thread:
            time.sleep(0.02)
            _kill()
            time.sleep(0)
            thread.join(10)
        assert noted == ["watch"]
        assert _wakeup_fd() == -1
        _kill()
        time.sleep(0.01)
        assert noted == ["watch", ("former", *noted[1][1:])]
        if ending == "close":
            with pytest.raises(LoopClosedError):
                loop.add_signal_watch(signal.SIGUSR1, print)
        else:
            loop.block(False)
    finally:
        signal.signal(signal.SIGUSR1, former)


@pytest.mark.parametrize("ends_first", [0, 1, 2])
def test_fault_94_and_95_several_loops_watch_a_signal_and_end_in_any_order(ends_first: int, make_loop: MakeLoop) -> None:
    noted = Noted()
    former = signal.signal(signal.SIGUSR1, noted.note("former"))
    try:
        loops = [make_loop() for _ in range(3)]
        for number, loop in enumerate(loops):
            loop.add_signal_watch(signal.SIGUSR1, noted.note(number))
        loops.pop(ends_first).close()
        _kill()
        until(loops[-1], lambda: noted)
        assert noted == [(1 if ends_first == 2 else 2, signal.SIGUSR1)]
        for loop in loops:
            loop.close()
        assert _wakeup_fd() == -1
        _kill()
        assert noted[1][:2] == ("former", signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_handler_comes_back_although_another_thread_drops_the_watch_of_an_earlier_loop(make_loop: MakeLoop) -> None:
    former = signal.getsignal(signal.SIGUSR1)
    earlier, later = make_loop(), make_loop()
    earlier.add_signal_watch(signal.SIGUSR1, print)
    later.add_signal_watch(signal.SIGUSR1, print)
    with in_thread(earlier.close):
        pass
    assert later.remove_signal_watch(signal.SIGUSR1) is True
    assert signal.getsignal(signal.SIGUSR1) == former
    assert _wakeup_fd() == -1


def test_watch_set_again_before_the_main_thread_could_take_it_back(make_loop: MakeLoop) -> None:
    loop, noted = make_loop(), Noted()
    loop.add_signal_watch(signal.SIGUSR1, lambda signum: pytest.fail(str(signum)))
    watches = loop._signals
    # What a drop in another thread does first, the rest being the main thread's.
    watches._procs.pop(signal.SIGUSR1)
    watches._leaving.add(signal.SIGUSR1)
    loop.add_signal_watch(signal.SIGUSR1, noted.append)
    watches._handle(signal.SIGUSR1, None)
    _kill()
    until(loop, lambda: noted)
    assert loop.remove_signal_watch(signal.SIGUSR1) is True


def test_fault_96_child_reaped_elsewhere(loop: EventLoop) -> None:
    """A watch on SIGCHLD only says that there was one: whoever reaps first has the status, and nothing hangs."""
    noted = Noted()

    def reaps(signum: int) -> None:
        try:
            noted.append(os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            noted.append("reaped elsewhere")

    loop.add_signal_watch(signal.SIGCHLD, reaps)
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    until(loop, lambda: noted)
    assert noted == ["reaped elsewhere"]
    loop.remove_signal_watch(signal.SIGCHLD)


def test_fault_93_signal_storm_during_a_transfer_and_a_sleep(loop: EventLoop, pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    size = 4_000_000
    received = sent = alarms = 0
    data = bytes(65536)

    def alarm(*_: object) -> None:
        nonlocal alarms
        alarms += 1

    def read(status: str) -> bool:
        nonlocal received
        received += len(right.recv(65536))
        return received < size

    def write(status: str) -> bool:
        nonlocal sent
        sent += left.send(data[: min(len(data), size - sent)])
        return sent < size

    former = signal.signal(signal.SIGALRM, alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        loop.add_read_watch(right, read)
        loop.add_write_watch(left, write)
        due = loop.time() + 0.3
        woke: list[float] = []
        loop.timeout_post(0.3, lambda: woke.append(loop.time()), repeat=False)
        loop.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert (sent, received) == (size, size)
    assert woke[0] >= due
    assert alarms > 50
