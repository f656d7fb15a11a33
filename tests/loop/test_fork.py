"""A forked child: it never touches the parent's selector, and is told clearly that the loop is not its own."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from eventsock import EventLoop, LoopStateError
from loop_kit import MakeLoop, Noted, after, chain, in_thread, open_descriptors, reading, until
from programs import StartProgram

Pair = tuple[socket.socket, socket.socket]


def _in_child(work: Callable[[], object]) -> None:
    """Fork; do `work` in the child; its error, if any, fails the test."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            work()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writer)
    told = b""
    while chunk := _told_by(pid, reader):
        told += chunk
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    assert (told.decode(), status) == ("", 0)


def _told_by(pid: int, reader: int) -> bytes:
    if select.select([reader], [], [], 20)[0]:
        return os.read(reader, 65536)
    os.kill(pid, signal.SIGKILL)
    return b"the child hangs"


def _raises_clear_error(verb: Callable[[], object]) -> None:
    with pytest.raises(LoopStateError, match="belongs to the parent process; make a new EventLoop in the child"):
        verb()


def test_fault_97_child_that_closes_its_loop_does_not_deafen_the_parent(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    seen: list[bytes] = []
    loop.add_read_watch(right, reading(right, seen))

    def child() -> None:
        loop.remove_read_watch(right)
        loop.close()

    loop.post(lambda: _in_child(child))
    loop.timeout_post(0.05, lambda: left.send(b"for the parent"), repeat=False)
    loop.run()
    assert seen == [b"for the parent"]


def test_fault_97_using_the_loop_in_the_child_is_a_clear_error(loop: EventLoop, pair: Pair) -> None:
    timeout = loop.timeout_post(60, print)
    loop.add_read_watch(pair[0], print)

    def child() -> None:
        for verb in (
            loop.run,
            loop.step,
            loop.block,
            loop.check_thread,
            lambda: loop.post(print),
            lambda: loop.timeout_post(1, print),
            lambda: loop.add_read_watch(pair[1], print),
            lambda: loop.add_signal_watch(signal.SIGUSR1, print),
        ):
            _raises_clear_error(verb)
        loop.timeout_remove(timeout)
        loop.remove_read_watch(pair[0])
        loop.forget(pair[0])
        loop.quit()
        assert loop.closed
        assert loop.fileno() is None
        assert loop.next_deadline() is None
        loop.statistics()
        repr(loop)
        loop.close()

    _in_child(child)
    assert loop.timeout_remove(timeout) is True
    assert loop.remove_read_watch(pair[0]) is True


def test_fault_97_fork_within_a_callback_ends_the_childs_run_with_a_clear_error(loop: EventLoop, pair: Pair) -> None:
    """The child returns from the callback into a loop that is its parent's."""
    left, right = pair
    seen: list[bytes] = []
    loop.add_read_watch(right, reading(right, seen))
    pids: list[int] = []

    def forks() -> None:
        pids.append(os.fork())
        if pids[0] == 0:
            _raises_clear_error(lambda: loop.post(print))
            _raises_clear_error(lambda: loop.timeout_post(1, print))

    loop.post(forks)
    loop.timeout_post(0.05, lambda: left.send(b"x"), repeat=False)
    status = 1
    try:
        loop.run()
    except LoopStateError as error:
        if pids == [0]:
            status = 0 if "parent process" in str(error) else 2
    finally:
        if pids == [0]:
            os._exit(status)
    assert os.waitpid(pids[0], 0)[1] == 0
    assert seen == [b"x"]


def test_fault_97_child_can_have_a_loop_of_its_own(make_loop: MakeLoop) -> None:
    loop = make_loop()

    def child() -> None:
        noted = Noted()
        with EventLoop(debug=False) as own:
            own.timeout_post(0.01, noted.note("own", False))
            own.run()
        assert noted == ["own"]

    loop.post(lambda: _in_child(child))
    loop.run()


_TAKEN = """
import os, signal
# As asyncio does from Python 3.12 on, for whoever has imported it.
os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
from eventsock import EventLoop, LoopStateError

loop = EventLoop()
loop.add_signal_watch(signal.SIGUSR1, print)
pids = []
loop.post(lambda: pids.append(os.fork()))
try:
    loop.run()
    told = "nothing"
except LoopStateError as error:
    told = str(error)
if pids == [0]:
    os._exit(0 if "parent process" in told else 1)
assert os.waitpid(pids[0], 0)[1] == 0
loop.close()
"""


def test_fault_97_others_who_take_the_wakeup_descriptor_in_a_child_do_not_leave_the_loop_half_forked(start_program: StartProgram) -> None:
    program = start_program("-c", _TAKEN)
    assert program.communicate(timeout=20) == ("", "")
    assert program.returncode == 0


def test_fault_97_nothing_of_the_child_wakes_the_parent(loop: EventLoop) -> None:
    def child() -> None:
        assert str(waker.fd) not in open_descriptors()
        for _ in range(10):
            _raises_clear_error(lambda: loop.post(print))
            waker.bell[:] = [None]
            loop.rouse()
            time.sleep(0.002)
        loop.quit()

    waker = loop._waker
    loop.timeout_post(0.1, loop.quit)
    loop.step()
    before = loop.statistics().turns
    with in_thread(after(0.02, lambda: _in_child(child))):
        loop.run()
    assert loop.statistics().turns - before <= 4


def test_fault_97_fork_while_another_thread_posts(loop: EventLoop) -> None:
    """Whatever lock the other thread holds is not held in the child."""
    ended = threading.Event()
    loop.block()

    def posts() -> None:
        while not ended.is_set():
            loop.post(int)
            loop.rouse()

    def forks() -> None:
        for _ in range(10):
            _in_child(chain(partial(_raises_clear_error, loop.run), loop.close))
        ended.set()
        loop.block(False)

    # Python 3.12 warns of forking with threads, which is what is tested here.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        with in_thread(posts):
            loop.post(forks)
            loop.run()
            ended.set()
        loop.run()


@pytest.mark.parametrize("lock", ["the loop's", "the book's", "the waker's"])
def test_fault_97_fork_while_another_thread_holds_a_lock(lock: str, loop: EventLoop, pair: Pair) -> None:
    """That thread is not there in the child, and never gives it back."""
    locks: dict[str, Any] = {"the loop's": loop._lock, "the book's": loop.book.lock, "the waker's": loop._waker._lock}
    held, forked = threading.Event(), threading.Event()
    loop.add_read_watch(pair[0], print)

    def holds() -> None:
        with locks[lock]:
            held.set()
            forked.wait(10)

    def child() -> None:
        _raises_clear_error(loop.run)
        _raises_clear_error(lambda: loop.add_read_watch(pair[0], print))
        loop.remove_read_watch(pair[0])
        loop.forget(pair[0])
        loop.quit()
        loop.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # as above
        with in_thread(holds):
            assert held.wait(10)
            _in_child(child)
            forked.set()
    loop.remove_read_watch(pair[0])


def test_fault_97_signals_of_the_child_are_its_own(loop: EventLoop) -> None:
    noted = Noted()
    former = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        loop.add_signal_watch(signal.SIGUSR1, noted.append)

        def child() -> None:
            assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert signal.set_wakeup_fd(-1) == -1
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.01)

        loop.post(lambda: _in_child(child))
        loop.run()
        loop.step()
        assert noted == []
        os.kill(os.getpid(), signal.SIGUSR1)
        until(loop, lambda: noted)
        loop.remove_signal_watch(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_closed_loop_is_no_concern_of_a_child(make_loop: MakeLoop) -> None:
    loop = make_loop()
    loop.close()
    _in_child(lambda: loop.close())


_MULTIPROCESSING = """
import multiprocessing, warnings
from eventsock import EventLoop, run, await_sleep

def child(queue):
    def task():
        yield from await_sleep(0.01)
        return "from a task in the child"
    queue.put(run(task))

if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with EventLoop() as loop:
        process = context.Process(target=child, args=(queue,))
        def starts():
            process.start()
            process.join()
        loop.post(starts)
        loop.timeout_post(0.01, lambda: print(queue.get()), repeat=False)
        loop.run()
"""


def test_fault_97_multiprocessing_within_a_running_loop(start_program: StartProgram) -> None:
    program = start_program("-c", _MULTIPROCESSING)
    assert program.communicate(timeout=30) == ("from a task in the child\n", "")


def test_fault_14_and_99_executed_child_inherits_nothing(make_loop: MakeLoop, pair: Pair) -> None:
    """Even without `close_fds`: every descriptor of a loop closes on exec."""
    before = open_descriptors()
    loop = make_loop()
    loop.add_read_watch(pair[0], lambda status: False)
    loop.add_signal_watch(signal.SIGUSR1, print)
    loop.fileno()
    ours = {int(fd) for fd in open_descriptors() - before}
    assert len(ours) >= 3
    text = "import os; print(*(fd for fd in os.listdir('/proc/self/fd') if os.path.lexists(f'/proc/self/fd/{fd}')))"
    inherited = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, close_fds=False).stdout
    assert not ours & {int(fd) for fd in inherited.split()}
    for fd in ours - {loop.book.poller.fileno()}:
        assert not os.get_blocking(fd) or os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]"
    loop.remove_signal_watch(signal.SIGUSR1)
