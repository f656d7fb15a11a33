"""Dumps: of a hung process by a signal, of every loop and thread."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventsock import EventLoop, a_sync, await_sleep, dump_on
from eventsock.debug.dump import dump
from eventsock.tasks.timed import TimedTask, kinds

StartProgram = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def kinds_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "usual", kinds.usual)


@pytest.fixture
def handler_put_back() -> Iterator[None]:
    former = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, former)


def test_every_loop_and_every_thread() -> None:
    out = io.StringIO()
    with EventLoop(debug=False) as one, EventLoop(debug=False) as other:
        a_sync(await_sleep, 60, loop=one, name="first")
        a_sync(await_sleep, 60, loop=other, name="second")
        dump(out)
    shown = out.getvalue()
    for name in ("first", "second"):
        assert re.search(rf"task '{name}' waits for time \(60.0 s\), for \d", shown)
    assert f"thread 'MainThread' ({threading.get_ident()}):" in shown
    assert "in test_every_loop_and_every_thread" in shown


@pytest.mark.usefixtures("handler_put_back")
def test_a_signal_writes_it_and_tasks_keep_their_time_from_then_on() -> None:
    out = io.StringIO()
    with EventLoop(debug=False) as loop:
        assert not isinstance(a_sync(await_sleep, 60, loop=loop), TimedTask)
        former = dump_on(signal.SIGUSR1, out)
        assert former == signal.SIG_DFL
        assert isinstance(a_sync(await_sleep, 60, loop=loop, name="timed"), TimedTask)
        signal.raise_signal(signal.SIGUSR1)
    assert "task 'timed' waits for time" in out.getvalue()


@pytest.mark.parametrize(
    ("signum", "error"), [(9, ValueError), (0, ValueError), (999, ValueError), ("SIGUSR1", TypeError), (True, TypeError)]
)
def test_bad_signals(signum: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="sign"):
        dump_on(signum)
    assert kinds.usual is not TimedTask


def test_a_hung_program_tells_where_it_hangs(start_program: StartProgram) -> None:
    program = start_program(
        "-c",
        """
import signal, socket, sys, time
from eventsock import *

dump_on(signal.SIGUSR1)
left, right = socket.socketpair()

def reads():
    yield from await_readable(right)

def hangs():
    yield from await_yield()
    print("hung", flush=True)
    while True:
        time.sleep(0.01)

def main():
    a_sync(reads)
    yield from a_sync(hangs).await_result()

run(main)
""",
    )
    assert program.stdout is not None
    assert program.stderr is not None
    assert program.stdout.readline() == "hung\n"
    program.send_signal(signal.SIGUSR1)
    shown = ""
    while "in main\n" not in shown and "<module>" not in shown:
        shown += program.stderr.readline()
    program.kill()
    lines = [line.strip() for line in shown.splitlines()]
    reads = next(number for number, line in enumerate(lines) if "task 'reads'" in line)
    assert re.search(r"task 'reads' waits for descriptor \d+ readable, for \d\.\d{3} s$", lines[reads]), shown
    assert re.fullmatch(r"started at <string>:\d+", lines[reads + 1])
    assert lines[reads + 2] == "reads at <string>:9"
    assert "task 'hangs' is running\n" in shown
    assert re.search(r"  hangs at <string>:1[3-6]\n", shown)
    assert "task 'main' waits for the result of task 'hangs'" in shown
