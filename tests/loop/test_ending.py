"""How a run ends by itself, and what `quit` does."""

from __future__ import annotations

import contextvars
import gc
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest

from eventsock import EventLoop, LoopStateError, Meeting, a_sync, await_sleep, get_resume, running_event_loop
from loop_kit import MakeLoop, Noted, after, chain, in_thread

Pair = tuple[socket.socket, socket.socket]
Steps = Generator[Any, Any, None]


def test_run_returns_at_once_when_there_is_nothing(loop: EventLoop) -> None:
    loop.run()
    loop.run()


def test_run_may_be_called_again(loop: EventLoop) -> None:
    noted = Noted()
    for number in range(3):
        loop.post(noted.note(number))
        loop.run()
    assert noted == [0, 1, 2]


@pytest.mark.parametrize("what", ["watch", "timeout", "post", "worker", "block"])
def test_run_goes_on_while_there_is_a(what: str, loop: EventLoop, pair: Pair) -> None:
    _, right = pair
    ended = Noted()
    begin: dict[str, Callable[[], object]] = {
        "watch": lambda: loop.add_read_watch(right, print),
        "timeout": lambda: loop.timeout_post(3600, print),
        "post": lambda: loop.post(again),
        "worker": lambda: loop.keep_alive("job"),
        "block": loop.block,
    }
    finish: dict[str, Callable[[], object]] = {
        "watch": lambda: loop.remove_read_watch(right),
        "timeout": lambda: loop.timeout_remove(started),
        "post": lambda: ended.append("post"),
        "worker": lambda: loop.let_go("job"),
        "block": lambda: loop.block(False),
    }

    def again() -> None:
        if not ended:
            loop.post(again)

    def finishes() -> None:
        ended.append("finished")
        finish[what]()

    started: Any = begin[what]()
    loop.timeout_post(0.02, finishes, repeat=False)
    loop.run()
    assert ended


def test_signal_watch_does_not_keep_the_loop_alive(loop: EventLoop) -> None:
    loop.add_signal_watch(signal.SIGUSR1, print)
    loop.run()
    loop.remove_signal_watch(signal.SIGUSR1)


def _sleeps_raw() -> Steps:
    yield


def test_task_that_waits_for_a_raw_resume_does_not_keep_the_loop_alive(make_loop: MakeLoop) -> None:
    loop = make_loop()
    loop.names_sleepers = False
    meeting: Meeting[int] = Meeting()
    raw, meets = a_sync(_sleeps_raw, loop=loop), a_sync(meeting.await_receive, loop=loop)
    loop.run()
    assert not raw.done
    assert not meets.done


def test_sleeping_tasks_are_named_in_debug_mode(capsys: pytest.CaptureFixture[str]) -> None:
    with EventLoop(debug=True) as loop:
        a_sync(_sleeps_raw, loop=loop, name="sleeper")
        loop.run()
        assert "these tasks still wait" in (text := capsys.readouterr().err)
        assert "'sleeper'" in text
    with EventLoop(debug=False) as loop:
        a_sync(_sleeps_raw, loop=loop, name="sleeper")
        loop.run()
        assert capsys.readouterr().err == ""


def test_after_quit_nothing_else_runs(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    left.send(b"x")
    noted = Noted()
    loop.add_read_watch(right, lambda status: loop.quit())
    loop.add_write_watch(right, noted.note("write"))
    loop.post(noted.note("post"))
    loop.run()
    assert noted == []


@pytest.mark.parametrize("verb", ["quit", "close"])
def test_excpt_callback_that_ends_the_loop_is_the_last(verb: str, make_loop: MakeLoop, tcp_pair: Pair) -> None:
    loop, noted = make_loop(), Noted()
    client, server = tcp_pair
    client.send(b"data")
    client.send(b"!", socket.MSG_OOB)
    time.sleep(0.05)

    def ready(status: str) -> None:
        noted.append(status)
        getattr(loop, verb)()

    loop.add_read_watch(server, ready)
    loop.run()
    assert len(noted) == 1


@pytest.mark.parametrize("origin", ["timeout", "post"])
def test_quit_in_a_timeout_or_post_drops_the_others(origin: str, loop: EventLoop, pair: Pair) -> None:
    _, right = pair
    noted = Noted()
    if origin == "timeout":
        loop.timeout_post(0, loop.quit)
    else:
        loop.post(loop.quit)
    for _ in range(3):
        timeout = loop.timeout_post(0, noted.note("timeout"))
    loop.post(noted.note("post"))
    loop.add_read_watch(right, noted.note("watch"))
    if origin == "post":
        for _ in range(3):
            loop.timeout_remove(timeout)
    loop.run()
    found = loop.statistics()
    assert (found.watches, found.timeouts, found.posts, found.tasks) == (0, 0, 0, 0)
    assert "post" not in noted
    assert loop.timeout_remove(timeout) is False
    assert loop.remove_read_watch(right) is False


def test_suspended_tasks_are_closed_by_quit(loop: EventLoop, pair: Pair) -> None:
    left, _ = pair
    noted = Noted()

    def holds() -> Steps:
        with left:
            try:
                yield from await_sleep(60)
            finally:
                noted.append("finally")

    a_sync(holds, loop=loop)
    loop.post(loop.quit)
    loop.run()
    assert noted == ["finally"]
    assert left.fileno() == -1


def test_await_in_a_finally_of_a_closed_task_raises_instead_of_suspending(loop: EventLoop) -> None:
    noted = Noted()

    def cleans_up() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            try:
                yield from await_sleep(0.1)
            except LoopStateError as error:
                noted.append(str(error))

    a_sync(cleans_up, loop=loop)
    loop.post(loop.quit)
    loop.run()
    assert len(noted) == 1
    assert "cleans_up" in noted[0]


def test_task_that_called_quit_is_closed_at_its_next_suspension(loop: EventLoop) -> None:
    noted = Noted()

    def quits() -> Steps:
        yield from await_sleep(0)
        loop.quit()
        noted.append("goes on")
        try:
            yield from await_sleep(60)
        finally:
            noted.append("closed")

    a_sync(quits, loop=loop)
    loop.run()
    assert noted == ["goes on", "closed"]


def test_errors_from_closing_are_attached_to_what_leaves_run(loop: EventLoop) -> None:
    def fails_at_the_end() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            raise KeyError("while closing")

    def fails() -> None:
        raise ValueError("first")

    a_sync(fails_at_the_end, loop=loop)
    a_sync(fails_at_the_end, loop=loop)
    loop.post(fails)
    with pytest.raises(ValueError, match="first") as caught:
        loop.run()
    assert sum("while closing" in note for note in caught.value.__notes__) == 2
    a_sync(fails_at_the_end, loop=loop)
    loop.post(loop.quit)
    with pytest.raises(KeyError, match="while closing"):
        loop.run()


def test_run_can_be_called_again_after_quit(loop: EventLoop, pair: Pair) -> None:
    left, right = pair
    noted = Noted()
    loop.post(loop.quit)
    loop.run()
    loop.post(noted.note("post"))
    loop.timeout_post(0.001, noted.note("timeout", False))
    left.send(b"x")
    loop.add_read_watch(right, noted.note("watch", False))
    loop.run()
    assert set(noted) == {"post", "timeout", ("watch", "in")}


def test_block_flag_is_kept_by_quit(loop: EventLoop) -> None:
    loop.block()
    loop.post(loop.quit)
    loop.run()
    noted = Noted()
    loop.timeout_post(0.05, chain(noted.note("still blocked"), partial(loop.block, False)), repeat=False)
    loop.run()
    assert noted == ["still blocked"]
    loop.block()
    with in_thread(after(0.05, partial(loop.block, False))):
        loop.run()


def test_quit_on_a_loop_that_is_not_running_does_nothing(loop: EventLoop) -> None:
    noted = Noted()
    loop.post(noted.note("post"))
    loop.quit()
    loop.run()
    assert noted == ["post"]


def test_posted_quit_is_remembered(loop: EventLoop) -> None:
    noted = Noted()
    loop.post(loop.quit)
    loop.post(noted.note("post"))
    loop.run()
    assert noted == []


def test_quit_right_after_a_run_does_not_harm_the_next(loop: EventLoop) -> None:
    """A quit of another thread that comes while a run ends by itself is either in time or nothing."""
    ended = threading.Event()

    def quits() -> None:
        while not ended.is_set():
            loop.quit()

    noted = Noted()
    with in_thread(quits):
        for _ in range(300):
            loop.run()
        ended.set()
    loop.post(noted.note("post"))
    loop.run()
    assert noted == ["post"]


def test_quit_from_another_thread_wakes_the_loop(loop: EventLoop) -> None:
    loop.block()
    with in_thread(after(0.05, loop.quit)):
        loop.run()
    loop.block(False)


def test_quit_between_two_steps_is_done_by_the_next(loop: EventLoop) -> None:
    noted = Noted()
    loop.timeout_post(60, pytest.fail)
    loop.post(noted.note("first"))
    assert loop.step() is True
    loop.post(noted.note("second"))
    loop.quit()
    assert loop.next_deadline() == 0.0
    assert loop.step() is False
    assert noted == ["first"]
    assert loop.statistics().timeouts == 0
    loop.post(noted.note("third"))
    loop.step()
    assert noted == ["first", "third"]


@pytest.mark.parametrize("driver", ["run", "step"])
def test_quit_that_comes_while_a_run_or_step_ends(driver: str, loop: EventLoop) -> None:
    """Too late for this one: a run has ended already, a step leaves it to the next."""

    class Quits:
        def __enter__(self) -> None:
            if loop._depth and not quits:
                quits.append(True)
                loop._stop()

        def __exit__(self, *error: object) -> None:
            pass

    quits: list[bool] = []
    loop.timeout_post(60, print)
    if driver == "run":
        loop.post(loop.quit)
        loop.run()
        lock, loop._lock = loop._lock, Quits()  # type: ignore[assignment]
        loop.run()
        loop._lock = lock
        assert quits
        noted = Noted()
        loop.post(noted.note("the next run is whole"))
        loop.run()
        assert noted == ["the next run is whole"]
    else:
        loop.step()
        entered = loop._enter
        lock = loop._lock

        def enter(**options: bool) -> None:
            entered(**options)
            loop._lock = Quits()  # type: ignore[assignment]

        loop._enter = enter  # type: ignore[method-assign]
        assert loop.step() is True
        loop._lock, loop._enter = lock, entered  # type: ignore[method-assign]
        assert quits
        assert loop.step() is False
        assert loop.statistics().timeouts == 0


def test_quit_tells_posts_that_they_are_dropped(loop: EventLoop) -> None:
    noted = Noted()

    class Answer:
        def __call__(self) -> None:
            noted.append("called")

        def dropped(self) -> None:
            noted.append("dropped")

    loop.post(Answer())
    loop.run()
    loop.post(loop.quit)
    loop.post(Answer())
    loop.run()
    assert noted == ["called", "dropped"]


def test_fault_90_run_within_run_is_refused(loop: EventLoop) -> None:
    noted = Noted()

    def nested() -> None:
        with pytest.raises(LoopStateError, match="already running"):
            loop.run()
        with pytest.raises(LoopStateError, match="already running"):
            loop.step()
        noted.append("refused")

    loop.post(nested)
    loop.run()
    assert noted == ["refused"]


def test_fault_90_run_of_another_loop_within_a_run_is_refused(make_loop: MakeLoop) -> None:
    outer, inner = make_loop(), make_loop()
    noted = Noted()

    def nested() -> None:
        with pytest.raises(LoopStateError, match="is running in this thread"):
            inner.run()
        noted.append("refused")

    outer.post(nested)
    outer.run()
    assert noted == ["refused"]


def test_fault_90_run_from_two_threads_is_refused(loop: EventLoop) -> None:
    noted = Noted()

    def second() -> None:
        with pytest.raises(LoopStateError, match="is driven by thread"):
            loop.run()
        noted.append("refused")
        loop.block(False)

    loop.block()
    thread = threading.Thread(target=second)
    loop.post(thread.start)
    loop.run()
    thread.join()
    assert noted == ["refused"]


def test_run_in_one_thread_and_then_in_another(loop: EventLoop) -> None:
    noted = Noted()
    loop.run()
    with in_thread(chain(partial(loop.post, lambda: noted.append(threading.get_ident())), loop.run)):
        pass
    assert noted != [threading.get_ident()]
    loop.post(noted.note("here"))
    loop.run()
    assert noted[1:] == ["here"]


def test_current_loop_of_the_thread(loop: EventLoop) -> None:
    noted = Noted()
    loop.post(lambda: noted.append(running_event_loop()))
    loop.run()
    assert noted == [loop]
    assert running_event_loop() is None


def test_callbacks_posts_and_timeouts_run_in_the_loops_context(loop: EventLoop, pair: Pair) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    noted = Noted()

    def watch(status: str) -> bool:
        noted.append(variable.get())
        return False

    def elsewhere() -> None:
        variable.set("of the caller")
        loop.post(lambda: noted.append(variable.get()))
        loop.timeout_post(0, lambda: noted.append(variable.get()), repeat=False)
        loop.add_write_watch(pair[0], watch)

    contextvars.copy_context().run(elsewhere)
    variable.set("of the loop")
    loop.run()
    assert noted == ["of the loop"] * 3
    variable.set("unset")


def _holds(*held: object) -> bool:
    return False


def test_run_leaves_no_cycles(make_loop: MakeLoop, pair: Pair) -> None:
    loop = make_loop()
    left, right = pair

    class Object:
        pass

    held = Object()
    gone = weakref.ref(held)
    gc.collect()
    gc.disable()
    try:
        loop.post(partial(_holds, held))
        loop.timeout_post(0, partial(_holds, held))
        left.send(b"x")
        loop.add_read_watch(right, partial(_holds, held))
        del held
        loop.run()
        assert gone() is None
    finally:
        gc.enable()


def test_error_that_leaves_run_leaves_no_cycles(make_loop: MakeLoop) -> None:
    loop = make_loop()

    class Object:
        pass

    def fails() -> None:
        held = Object()
        gone.append(weakref.ref(held))
        raise ValueError(held)

    gone: list[weakref.ref[Object]] = []
    gc.collect()
    gc.disable()
    try:
        for drive in (loop.run, loop.step):
            loop.post(fails)
            try:
                drive()
            except ValueError:
                pass
            assert gone.pop()() is None
    finally:
        gc.enable()


def test_async_generator_hooks_are_set_while_the_loop_steps(make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, noted = make_loop(), Noted()
    ours = noted.note("first"), noted.note("last")
    monkeypatch.setattr(EventLoop, "asyncgen_hooks", ours)
    before = sys.get_asyncgen_hooks()
    loop.post(lambda: noted.append(tuple(sys.get_asyncgen_hooks())))
    loop.run()
    loop.post(lambda: noted.append(tuple(sys.get_asyncgen_hooks())))
    loop.step()
    assert noted == [ours] * 2
    assert sys.get_asyncgen_hooks() == before


def test_worker_job_that_nobody_ends_is_dropped_by_quit(loop: EventLoop) -> None:
    loop.keep_alive("job")
    loop.post(loop.quit)
    loop.run()
    loop.run()


def test_resumed_from_outside_between_two_runs(make_loop: MakeLoop) -> None:
    loop = make_loop()
    loop.names_sleepers = False
    noted = Noted()
    resumes: list[Any] = []

    def waits() -> Steps:
        resumes.append(get_resume())
        noted.append((yield))

    a_sync(waits, loop=loop)
    loop.run()
    loop.post(lambda: resumes[0]("value"))
    loop.run()
    assert noted == ["value"]
