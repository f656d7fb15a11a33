"""Which loop is meant when none is named, and the default loop."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

from eventsock import EventLoop, NoEventLoopError, a_sync, get_default_event_loop, running_event_loop, set_default_event_loop
from eventsock.loop.current import resolve_loop
from loop_kit import Noted, in_thread
from programs import StartProgram


def test_there_is_none_at_first() -> None:
    assert get_default_event_loop() is None
    assert running_event_loop() is None
    with pytest.raises(NoEventLoopError, match=r"call set_default_event_loop\(\), name one with loop=, or start with run\(f\)"):
        resolve_loop()


@pytest.mark.usefixtures("default_loop_put_back")
def test_default_loop_is_made_unthrottled_or_taken() -> None:
    made = set_default_event_loop()
    assert isinstance(made, EventLoop)
    assert get_default_event_loop() is made
    with EventLoop() as own:
        assert set_default_event_loop(own) is own
        assert get_default_event_loop() is own
    made.close()


@pytest.mark.usefixtures("default_loop_put_back")
def test_default_loop_is_the_whole_processs() -> None:
    with EventLoop() as loop:
        set_default_event_loop(loop)
        noted = Noted()
        with in_thread(lambda: noted.append(resolve_loop())):
            pass
        assert noted == [loop]


@pytest.mark.usefixtures("default_loop_put_back")
def test_running_loop_goes_before_the_default() -> None:
    with EventLoop() as default, EventLoop() as loop:
        set_default_event_loop(default)
        noted = Noted()
        loop.post(lambda: noted.append(resolve_loop()))
        loop.run()
        assert noted == [loop]
        assert resolve_loop() is default
        assert resolve_loop(loop) is loop


def test_running_loop_is_each_threads_own() -> None:
    with EventLoop() as one, EventLoop() as other:
        noted: dict[EventLoop, Any] = {}
        gate = threading.Barrier(2)

        def runs(loop: EventLoop) -> None:
            def looks() -> None:
                gate.wait()
                noted[loop] = running_event_loop()
                gate.wait()

            loop.post(looks)
            loop.run()

        with in_thread(lambda: runs(one)), in_thread(lambda: runs(other)):
            pass
        assert noted == {one: one, other: other}


@pytest.mark.parametrize("bad", [5, "loop", EventLoop])
@pytest.mark.usefixtures("default_loop_put_back")
def test_what_is_no_loop_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match="loop must be an EventLoop"):
        set_default_event_loop(bad)
    with pytest.raises(TypeError, match="loop must be an EventLoop"):
        resolve_loop(bad)
    assert get_default_event_loop() is None


_AT_EXIT = """
from eventsock import EventLoop, a_sync, set_default_event_loop, await_sleep
loop = set_default_event_loop()
def task():
    try:
        yield from await_sleep(60)
    finally:
        print("closed")
a_sync(task)
"""


def test_default_loop_is_closed_at_exit(start_program: StartProgram) -> None:
    program = start_program("-c", _AT_EXIT)
    assert program.communicate(timeout=20) == ("closed\n", "")


def test_task_without_a_loop(loop: EventLoop) -> None:
    def task() -> Generator[Any, Any, None]:
        yield

    with pytest.raises(NoEventLoopError):
        a_sync(task)
