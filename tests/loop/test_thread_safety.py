"""Posts and other verbs from other threads and from signal handlers: none is lost, none blocks, none costs more than it must."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from compiled_kit import by_replacing
from eventsock import EventLoop, LoopClosedError, LoopStateError, Meeting, a_sync
from loop_kit import MakeLoop, Noted, after, chain, in_thread, until
from programs import ROOT

Pair = tuple[socket.socket, socket.socket]


def test_fault_84_posts_of_four_threads_while_the_loop_is_blocked(make_loop: MakeLoop) -> None:
    loop = make_loop()
    seen: list[tuple[int, int]] = []
    threads, count = 4, 10_000
    loop.block()

    def posts(thread: int) -> None:
        for number in range(count):
            loop.post(lambda number=number: seen.append((thread, number)))  # type: ignore[misc]

    def stands() -> None:
        # All of it comes while a callback holds the loop up: the queue grows, and nothing else.
        workers = [threading.Thread(target=posts, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        loop.post(lambda: loop.block(False))

    loop.post(stands)
    loop.run()
    assert len(seen) == threads * count
    for thread in range(threads):
        assert [number for each, number in seen if each == thread] == list(range(count))
    assert loop.statistics().wake_ups <= 2  # before the run


def test_posts_before_run_cost_one_wake_up(make_loop: MakeLoop) -> None:
    loop = make_loop()
    done: list[None] = []
    with in_thread(chain(*[partial(loop.post, partial(done.append, None))] * 20_000)):
        pass
    assert loop.statistics().wake_ups == 1
    loop.run()
    assert len(done) == 20_000


def test_one_wake_up_per_sleep_at_most(loop: EventLoop) -> None:
    done: list[None] = []
    loop.block()

    def works() -> None:
        for number in range(100):
            for _ in range(50):
                loop.post(partial(done.append, None))
            if number % 10 == 0:
                time.sleep(0.002)
        left.pop()
        loop.post(lambda: None if left else loop.block(False))

    left = [1, 2]
    with in_thread(works), in_thread(works):
        loop.run()
    assert len(done) == 10_000
    found = loop.statistics()
    # A turn sleeps at most once.
    assert 0 < found.wake_ups <= found.turns + 2


def test_post_costs_no_wake_up_while_the_loop_is_awake(loop: EventLoop) -> None:
    noted = Noted()

    def works() -> None:
        before = loop.statistics().wake_ups
        for _ in range(100):
            loop.post(int)
            loop.timeout_remove(loop.timeout_post(0, print))
        noted.append(loop.statistics().wake_ups - before)

    def stands() -> None:
        with in_thread(works):
            pass

    loop.post(stands)
    loop.run()
    assert noted == [0]


_COUNTED = """
import threading, time
from eventsock import EventLoop
with EventLoop() as loop:
    left = 40_000
    def done():
        global left
        left -= 1
        if not left:
            loop.quit()
    def posts():
        for _ in range(10_000):
            loop.post(done)
    loop.block()
    threads = [threading.Thread(target=posts) for _ in range(4)]
    for thread in threads:
        thread.start()
    loop.run()
    for thread in threads:
        thread.join()
"""


def test_system_calls_of_a_burst(tmp_path: Path) -> None:
    """Counted by strace: the writes that wake the loop are far fewer than the posts."""
    try:
        subprocess.run(["strace", "-V"], check=True, capture_output=True)
    except OSError:
        pytest.skip("needs strace")
    log = tmp_path / "calls"
    command = ["strace", "-f", "-c", "-o", str(log), sys.executable, "-c", _COUNTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    calls: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit():
            calls[words[-1]] += int(words[3])
    assert calls["write"] + calls["sendto"] < 4000  # less than one for ten posts
    assert calls["epoll_wait"] < 20_000


def test_post_of_another_thread_wakes_the_loop(loop: EventLoop) -> None:
    loop.block()
    pause = partial(time.sleep, 0.02)
    # Each time it sleeps, and not only the first time.
    with in_thread(chain(pause, partial(loop.post, int), pause, partial(loop.post, int), pause, partial(loop.block, False))):
        loop.run()


@pytest.mark.parametrize("verb", ["add_read_watch", "add_write_watch", "block", "timeout"])
def test_verbs_of_another_thread_reach_a_sleeping_loop(verb: str, loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"x")
    loop.block()
    verbs: dict[str, Callable[[], object]] = {
        "add_read_watch": lambda: loop.add_read_watch(right, lambda status: loop.quit()),
        "add_write_watch": lambda: loop.add_write_watch(right, lambda status: loop.quit()),
        "block": lambda: loop.block(False),
        "timeout": lambda: loop.timeout_post(0.01, loop.quit),
    }
    with in_thread(after(0.05, verbs[verb])):
        loop.run()
    loop.block(False)


@pytest.mark.parametrize("direction", ["read", "write"])
def test_run_ends_when_another_thread_removes_the_last_watch(direction: str, loop: EventLoop, pair: Pair) -> None:
    left, _ = pair
    if direction == "read":
        loop.add_read_watch(left, print)
        removes = partial(loop.remove_read_watch, left)
    else:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        while True:
            try:
                left.send(b"x" * 1000)
            except BlockingIOError:
                break
        loop.add_write_watch(left, print)
        removes = partial(loop.remove_write_watch, left)
    with in_thread(after(0.05, removes)):
        loop.run()


def test_fault_85_accepted_means_executed(make_loop: MakeLoop) -> None:
    """Threads post while the loop is closed under them: each post has run, or has raised."""
    chance = random.Random(1)
    for _ in range(150):
        loop = make_loop()
        loop.block()
        ran: list[int] = []
        accepted: list[int] = []
        gate = threading.Barrier(4)

        def posts(loop: EventLoop = loop, ran: list[int] = ran, accepted: list[int] = accepted, gate: threading.Barrier = gate) -> None:
            gate.wait()
            for number in range(1000):
                try:
                    loop.post(partial(ran.append, number))
                except LoopClosedError:
                    return
                accepted.append(number)

        def closes(loop: EventLoop = loop, gate: threading.Barrier = gate, pause: float = chance.random() * 2e-4) -> None:
            gate.wait()
            time.sleep(pause)
            loop.close()

        loop.timeout_post(0, gate.wait, repeat=False)
        with in_thread(posts), in_thread(posts), in_thread(closes):
            loop.run()
        assert sorted(ran) == sorted(accepted)


def test_fault_85_the_race_of_thousands_of_rounds() -> None:
    """One poster, one close, as close together as they come, on a loop that runs and on one that does not."""
    outcomes: Counter[tuple[bool, bool]] = Counter()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for round_ in range(2000):
            running = round_ % 2 == 0
            loop = EventLoop(debug=False)
            if running:
                loop.block()
            noted = Noted()
            accepted: list[bool] = []
            gate = threading.Barrier(2)

            def posts(
                loop: EventLoop = loop, noted: Noted = noted, accepted: list[bool] = accepted, gate: threading.Barrier = gate
            ) -> None:
                gate.wait()
                try:
                    loop.post(noted.note("ran"))
                    accepted.append(True)
                except LoopClosedError:
                    accepted.append(False)

            thread = threading.Thread(target=posts)
            thread.start()
            if running:
                loop.timeout_post(0, chain(gate.wait, loop.close), repeat=False)
                loop.run()
            else:
                gate.wait()
                try:
                    loop.close()
                except ResourceWarning:
                    noted.append("warned")
            thread.join()
            assert accepted == [bool(noted)], f"round {round_}: accepted {accepted}, {noted}"
            assert loop.closed
            outcomes[running, accepted[0]] += 1
    finally:
        sys.setswitchinterval(interval)
    assert all(outcomes[running, False] for running in (True, False)), outcomes


def test_fault_85_post_that_is_overtaken_by_a_close_is_taken_back(make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close comes, and ends, exactly between the two halves of a post."""
    loop, noted = make_loop(), Noted()
    second_half = loop._posted_unseen

    def overtaken(action: Callable[[], object]) -> None:
        def closes() -> None:
            with pytest.warns(ResourceWarning, match="1 post not run"):
                loop.close()

        with in_thread(closes):
            pass
        second_half(action)

    monkeypatch.setattr(loop, "_posted_unseen", overtaken)
    with pytest.raises(LoopClosedError):
        loop.post(noted.note("ran"))
    assert noted == []
    assert loop.pending_posts == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_fault_85_post_that_is_overtaken_by_a_closing_run(when: str, make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The post comes before the loop has run what it had accepted, or after: it is run, or it is refused."""
    loop, noted = make_loop(), Noted()
    second_half = loop._posted_unseen
    queued, ended = threading.Event(), threading.Event()

    def halved(action: Callable[[], object]) -> None:
        queued.set()
        ended.wait(10)
        second_half(action)

    def posts() -> None:
        try:
            loop.post(noted.note("ran"))
            noted.append("accepted")
        except LoopClosedError:
            noted.append("refused")

    monkeypatch.setattr(loop, "_posted_unseen", halved)
    thread = threading.Thread(target=posts)

    def post_meanwhile() -> None:
        loop._alert = False
        thread.start()
        assert queued.wait(10)

    if when == "before":
        loop.timeout_post(0, chain(post_meanwhile, loop.close), repeat=False)
    else:
        drop = loop._drop_work
        monkeypatch.setattr(loop, "_drop_work", lambda: (None if queued.is_set() else post_meanwhile(), drop()))  # type: ignore[func-returns-value]
        loop.timeout_post(0, loop.close, repeat=False)
    loop.run()
    ended.set()
    thread.join()
    assert noted == (["ran", "accepted"] if when == "before" else ["refused"])


def test_fault_85_post_that_is_overtaken_while_the_queue_is_dropped(make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second half of the post looks for its callback at the moment when that is in no queue."""
    loop, noted = make_loop(), Noted()
    second_half = loop._posted_unseen
    queued, goes_on = threading.Event(), threading.Event()

    def halved(action: Callable[[], object]) -> None:
        queued.set()
        goes_on.wait(10)
        second_half(action)

    def posts() -> None:
        try:
            loop.post(noted.note("ran"))
            noted.append("accepted")
        except LoopClosedError:
            noted.append("refused")

    class Posts(deque[Callable[[], object]]):
        def popleft(self) -> Callable[[], object]:
            action = super().popleft()
            goes_on.set()
            thread.join(0.1)
            return action

    monkeypatch.setattr(loop, "_posted_unseen", halved)
    monkeypatch.setattr(loop, "_posts", Posts())
    thread = threading.Thread(target=posts)
    thread.start()
    assert queued.wait(10)
    with pytest.warns(ResourceWarning, match="1 post not run"):
        loop.close()
    thread.join()
    assert noted == ["refused"]


def test_fault_85_post_after_close_touches_no_descriptor(make_loop: MakeLoop) -> None:
    loop = make_loop()
    loop.close()
    # The numbers that the loop had are given out again; nothing may be written to them.
    pairs = [socket.socketpair() for _ in range(4)]
    for _ in range(3):
        with pytest.raises(LoopClosedError):
            loop.post(print)
        loop.rouse()
        loop.quit()
    ends = [each for pair in pairs for each in pair]
    for each in ends:
        each.setblocking(False)
        with pytest.raises(BlockingIOError):
            each.recv(1)
    for each in ends:
        each.close()


def test_add_and_remove_from_many_threads(loop: EventLoop) -> None:
    """The counts come out even, whatever the threads do to the same descriptors."""
    pairs = [socket.socketpair() for _ in range(4)]
    loop.block()

    def works() -> None:
        for number in range(300):
            sock = pairs[number % 4][0]
            loop.add_read_watch(sock, lambda status: None)
            loop.add_write_watch(sock, lambda status: False)
            loop.remove_read_watch(sock)
            loop.timeout_remove(loop.timeout_post(10, print))

    def ends() -> None:
        with in_thread(works), in_thread(works), in_thread(works):
            pass
        for left, _ in pairs:
            loop.remove_read_watch(left)
            loop.remove_write_watch(left)
        loop.block(False)

    with in_thread(ends):
        loop.run()
    found = loop.statistics()
    assert (found.watches, found.timeouts) == (0, 0)
    for pair in pairs:
        for each in pair:
            each.close()


def test_fault_92_what_is_for_the_loops_thread_only(loop: EventLoop, pair: Pair) -> None:
    loop.block()
    refused = Noted()

    def works() -> None:
        for verb in (lambda: loop.forget(pair[0]), loop.next_deadline, loop.step, loop.run, loop.check_thread):
            with pytest.raises(LoopStateError, match="thread"):
                verb()
            refused.append("refused")
        loop.block(False)

    with in_thread(after(0.02, works)):
        loop.run()
    assert len(refused) == 5


def test_fault_92_callback_of_another_thread_may_not_start_tasks_here(loop: EventLoop) -> None:
    def task() -> Any:
        yield

    def works() -> None:
        with pytest.raises(LoopStateError, match=r"must use loop\.post"):
            a_sync(task, loop=loop)
        loop.block(False)

    loop.block()
    with in_thread(after(0.02, works)):
        loop.run()


def test_fault_98_several_loops_in_threads_do_not_meet(make_loop: MakeLoop) -> None:
    loops = [make_loop() for _ in range(3)]
    seen: dict[int, set[int]] = {number: set() for number in range(3)}

    def runs(number: int) -> None:
        beats = 0

        def beat() -> bool:
            nonlocal beats
            beats += 1
            seen[number].add(threading.get_ident())
            loops[(number + 1) % 3].post(lambda: seen[(number + 1) % 3].add(threading.get_ident()))
            return beats < 20

        loops[number].timeout_post(0.001, beat)
        loops[number].timeout_post(0.1, loops[number].quit)
        loops[number].run()

    with in_thread(lambda: runs(0)), in_thread(lambda: runs(1)), in_thread(lambda: runs(2)):
        pass
    assert [len(threads) for threads in seen.values()] == [1, 1, 1]
    for loop in loops:
        loop.run()  # what came after the quit


def test_fault_98_no_wake_up_crosses_over(make_loop: MakeLoop) -> None:
    one, other = make_loop(), make_loop()
    other.timeout_post(0.1, other.quit)
    with in_thread(after(0.02, *[partial(one.post, int)] * 100)):
        other.run()
    one.run()
    # Before the run, for the timeout, and for Ctrl-C.
    assert other.statistics().wake_ups <= 2


def test_fault_98_meeting_of_one_loop_used_in_another(make_loop: MakeLoop) -> None:
    one, other = make_loop(), make_loop()
    one.names_sleepers = other.names_sleepers = False
    meeting: Meeting[int] = Meeting()
    a_sync(meeting.await_receive, loop=one)
    with pytest.raises(LoopStateError, match="belongs to"):
        a_sync(meeting.await_receive, loop=other)


def test_fault_98_task_of_one_loop_awaited_in_another(make_loop: MakeLoop) -> None:
    one, other = make_loop(), make_loop()
    one.names_sleepers = other.names_sleepers = False

    def sleeps() -> Any:
        yield

    task = a_sync(sleeps, loop=one)
    with pytest.raises(LoopStateError, match=r"of <EventLoop .*> cannot wait for the result of .*, which belongs to <EventLoop .*>"):
        a_sync(task.await_result, loop=other)
    assert (one.statistics().tasks, other.statistics().tasks) == (1, 0)


def test_post_from_a_signal_handler(loop: EventLoop) -> None:
    noted = Noted()
    former = signal.signal(signal.SIGUSR1, lambda *_: loop.post(chain(noted.note("posted"), partial(loop.block, False))))
    try:
        loop.block()
        with in_thread(after(0.05, partial(os.kill, os.getpid(), signal.SIGUSR1))):
            loop.run()
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert noted == ["posted"]


def test_what_a_signal_handler_asks_for_amid_another_verb_is_overtaken_by_what_comes_later(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    right.send(b"x")
    noted = Noted()

    def stop_after(word: str) -> Callable[[str], bool]:
        return lambda status: noted.note(word)() or False

    with loop.book.lock:  # as a handler finds it that has interrupted a verb half-way
        loop.add_read_watch(left, stop_after("removed by the handler"))
        assert loop.remove_read_watch(left)
        assert not loop.remove_read_watch(left)
    loop.step()
    assert (noted, loop.statistics().watches) == ([], 0)
    with loop.book.lock:
        loop.add_read_watch(left, stop_after("removed later"))
    assert loop.remove_read_watch(left.fileno())
    loop.step()
    assert (noted, loop.statistics().watches) == ([], 0)
    with loop.book.lock:
        loop.add_read_watch(left, stop_after("replaced by the handler"))
        loop.add_write_watch(left, stop_after("another direction"))
        loop.add_read_watch(left, stop_after("replaced later"))
    loop.add_read_watch(left, stop_after("the last"))
    until(loop, lambda: loop.statistics().watches == 0 and len(noted) == 2)
    assert sorted(noted) == ["another direction", "the last"]
    with loop.book.lock:
        loop.add_read_watch(left, stop_after("another one"))
    right.close()
    assert not loop.remove_read_watch(right)
    until(loop, lambda: len(noted) == 3)


def test_signal_handler_that_interrupts_the_same_verbs_does_not_deadlock(loop: EventLoop, pair: Pair) -> None:
    """A storm of signals whose handler does everything that a handler may, while the loop and the main program do the same."""
    left, right = pair
    spare, other = socket.socketpair()
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        loop.post(int)
        loop.timeout_remove(loop.timeout_post(5, int))
        loop.add_write_watch(spare, lambda status: False)
        loop.add_read_watch(left, lambda status: None)
        loop.remove_read_watch(left)
        loop.block()
        if handled % 50 == 0:
            loop.rouse()

    former = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        while handled < 500:
            loop.post(int)
            loop.add_write_watch(right, lambda status: False)
            loop.add_read_watch(left, lambda status: None)
            loop.timeout_remove(loop.timeout_post(5, int))
            loop.remove_read_watch(left)
            loop.step()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    loop.remove_read_watch(left)
    until(loop, lambda: loop.statistics().watches == 0)
    assert loop.statistics().timeouts == 0
    loop.block(False)
    loop.run()
    spare.close()
    other.close()


class _HandledWithin:
    """Stands in for the book's lock: a signal handler strikes when it is taken for the first time."""

    def __init__(self, lock: Any, handler: Callable[[], object]) -> None:
        self.lock = lock
        self.handlers = [handler]

    def __enter__(self) -> None:
        self.lock.__enter__()
        while self.handlers:
            self.handlers.pop()()

    def __exit__(self, *error: object) -> None:
        self.lock.__exit__(*error)

    def held_here(self) -> bool:
        held: bool = self.lock.held_here()
        return held


@by_replacing
@pytest.mark.parametrize("then", ["nothing", "removed in the handler", "removed afterwards", "replaced afterwards", "quit"])
def test_watch_of_a_signal_handler_that_interrupts_the_same_verb_keeps_its_place(
    then: str, loop: EventLoop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop adds it, later; but not if it was removed or replaced before that."""
    left, right = pair
    noted = Noted()

    def handler() -> None:
        loop.add_write_watch(left, noted.note("handler", False))
        if then == "removed in the handler":
            assert loop.remove_write_watch(left) is True

    monkeypatch.setattr(loop.book, "lock", _HandledWithin(loop.book.lock, handler))
    loop.add_read_watch(right, print)
    if then == "removed afterwards":
        assert loop.remove_write_watch(left) is True
        assert loop.remove_write_watch(left) is False
    elif then == "replaced afterwards":
        loop.add_write_watch(left, noted.note("replaced", False))
    elif then == "quit":
        loop.post(loop.quit)
        loop.run()
        assert loop.remove_write_watch(left) is False
    for _ in range(3):
        loop.step()
    wanted = {"nothing": [("handler", "out")], "replaced afterwards": [("replaced", "out")]}
    assert noted == wanted.get(then, [])
    loop.remove_read_watch(right)


def test_quit_and_close_from_a_signal_handler(make_loop: MakeLoop) -> None:
    for verb in ("quit", "close"):
        loop = make_loop()
        former = signal.signal(signal.SIGUSR1, lambda *_, loop=loop, verb=verb: getattr(loop, verb)())
        try:
            loop.block()
            with in_thread(after(0.05, partial(os.kill, os.getpid(), signal.SIGUSR1))):
                loop.run()
        finally:
            signal.signal(signal.SIGUSR1, former)


@pytest.mark.parametrize("bad", [None, 5, "print"])
def test_what_is_not_callable_is_refused_by_post(loop: EventLoop, bad: Any) -> None:
    with pytest.raises(TypeError, match="action must be callable, not"):
        loop.post(bad)
    assert loop.pending_posts == 0


def test_pending_posts(loop: EventLoop) -> None:
    for _ in range(3):
        loop.post(int)
    loop.post(lambda: noted.append(loop.pending_posts))
    loop.post(int)
    noted = Noted()
    assert loop.pending_posts == 5
    loop.run()
    assert noted == [1]
    assert loop.pending_posts == 0
