"""What a loop tells of itself: `statistics`, `dump`, `repr`."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest

from eventsock import EventLoop, Statistics, a_sync, await_readable, await_sleep
from eventsock.loop.checks import attach, checked_seconds, name_of
from loop_kit import Clock, MakeLoop, Noted, in_thread

Pair = tuple[socket.socket, socket.socket]
Steps = Generator[Any, Any, None]


def _waits(sock: socket.socket) -> Steps:
    yield from await_readable(sock)


def test_statistics(make_loop: MakeLoop, pair: Pair) -> None:
    left, right = pair
    loop = make_loop()
    loop.add_read_watch(left, print)
    loop.add_write_watch(left, print)
    a_sync(_waits, right, loop=loop)
    loop.timeout_post(60, print)
    loop.timeout_remove(loop.timeout_post(60, print))
    loop.post(int)
    found = loop.statistics()
    assert (found.watches, found.waiting, found.timeouts, found.posts, found.tasks) == (2, 1, 1, 1, 1)
    assert (found.turns, found.selector_rebuilds) == (0, 0)
    assert found.wake_ups == 1
    loop.quit()
    loop.step()
    found = loop.statistics()
    assert found.turns == 1
    loop.post(loop.quit)
    loop.step()
    assert loop.statistics()[:5] == (0, 0, 0, 0, 0)


def test_statistics_are_frozen(loop: EventLoop) -> None:
    found = loop.statistics()
    assert isinstance(found, Statistics)
    with pytest.raises(AttributeError):
        found.watches = 5  # type: ignore[misc]
    assert found == loop.statistics()


def test_statistics_are_safe_from_another_thread(loop: EventLoop) -> None:
    """Also while the queues change under it."""
    ended = threading.Event()

    def watches() -> None:
        while not ended.is_set():
            loop.statistics()
            repr(loop)
            loop.dump(io.StringIO())

    with in_thread(watches):
        for _ in range(2000):
            loop.timeout_remove(loop.timeout_post(1, int))
            loop.post(int)
            loop.step()
        ended.set()


@pytest.mark.parametrize("debug", [True, False])
def test_longest_callback_is_measured_in_debug_mode(debug: bool) -> None:
    with EventLoop(debug=debug) as loop:
        loop.post(lambda: time.sleep(0.02))
        loop.post(int)
        loop.run()
        longest = loop.statistics().longest_callback
        assert (longest is not None and 0.02 <= longest < 5) if debug else longest is None


@pytest.mark.parametrize("origin", ["timeout", "watch", "task"])
def test_longest_callback_counts_every_kind(origin: str, pair: Pair) -> None:
    left, right = pair

    def slow(*arguments: object) -> bool:
        time.sleep(0.02)
        return False

    def task() -> Steps:
        yield from await_readable(right)
        time.sleep(0.02)

    with EventLoop(debug=True) as loop:
        left.send(b"x")
        if origin == "timeout":
            loop.timeout_post(0, slow)
        elif origin == "watch":
            loop.add_read_watch(right, slow)
        else:
            a_sync(task, loop=loop)
        loop.run()
        assert (loop.statistics().longest_callback or 0) >= 0.02


def test_debug_is_decided_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for dev_mode, variable, expected in [(False, None, False), (False, "1", True), (False, "0", False), (True, None, True)]:
        flags = type("Flags", (), {"dev_mode": dev_mode})
        monkeypatch.setattr(sys, "flags", flags)
        if variable is None:
            monkeypatch.delenv("EVENTSOCK_DEBUG", raising=False)
        else:
            monkeypatch.setenv("EVENTSOCK_DEBUG", variable)
        with EventLoop() as loop:
            assert loop.debug is expected
        with EventLoop(debug=not expected) as loop:
            assert loop.debug is not expected


def test_repr_says_what_the_loop_does_and_holds(make_loop: MakeLoop, pair: Pair) -> None:
    loop, noted = make_loop(), Noted()
    assert repr(loop) == "<EventLoop idle: empty>"
    loop.post(lambda: noted.append(repr(loop)))
    loop.run()
    assert noted == ["<EventLoop running: empty>"]
    loop.add_read_watch(pair[0], print)
    for _ in range(2):
        loop.timeout_post(60, print)
    assert repr(loop) == "<EventLoop idle: 1 watch, 2 timeouts>"
    loop.post(lambda: noted.append(repr(loop)))
    loop.step()
    assert noted[1:] == ["<EventLoop in a step: 1 watch, 2 timeouts>"]
    a_sync(await_sleep, 60, loop=loop)
    assert repr(loop) == "<EventLoop stepped: 1 watch, 3 timeouts, 1 task>"
    loop.close()
    assert repr(loop) == "<EventLoop closed: empty>"


def test_dump_names_watches_tasks_and_the_next_timeout(make_loop: MakeLoop, pair: Pair) -> None:
    left, right = pair
    loop = make_loop(clock=Clock())
    loop.add_read_watch(left, print)
    loop.add_write_watch(left, _a_callback)
    a_sync(_waits, right, loop=loop, name="reader")
    loop.timeout_post(1.5, print)
    file = io.StringIO()
    loop.dump(file)
    text = file.getvalue()
    lines = text.splitlines()
    assert lines[0] == repr(loop)
    assert lines[1] == "  next timeout in 1.500 s"
    assert f"  watch on descriptor {left.fileno()} readable: print" in lines
    assert f"  watch on descriptor {left.fileno()} writable: _a_callback" in lines
    assert "'reader'" in text
    loop.quit()
    loop.step()
    loop.post(loop.quit)
    loop.run()


def _a_callback(status: str) -> None:
    pass


def test_dump_goes_to_stderr_unless_told(loop: EventLoop, capsys: pytest.CaptureFixture[str]) -> None:
    loop.dump()
    assert capsys.readouterr().err == "<EventLoop idle: empty>\n"


def test_names() -> None:
    from functools import partial

    assert name_of(print) == "print"
    assert name_of(partial(_a_callback, "in")) == "_a_callback"
    assert name_of(partial(partial(_a_callback, "in"))) == "_a_callback"
    assert name_of(5) == "5"


def test_note_is_attached_once() -> None:
    error = ValueError()
    attach(error, "note")
    attach(error, "note")
    assert error.__notes__ == ["note"]


@pytest.mark.parametrize(("given", "value"), [(1, 1.0), (0.5, 0.5), (10**400, float("inf")), (-(10**400), float("-inf"))])
def test_seconds(given: float, value: float) -> None:
    assert checked_seconds(given) == value
