"""`waitable`: procedures for both kinds of tasks, and the warning for those that are never run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from eventsock import Await, await_sleep, await_yield, run, waitable
from eventsock.tasks.waitable import DEBUG

Steps = Generator[Any, Any, Any]

_ROOT = Path(__file__).resolve().parent.parent.parent

_PROGRAM = """
import sys, warnings
from eventsock import *

@waitable
def await_mine():
    yield from await_yield()

def forgets():
    await_sleep(1)
    await_mine()
    await_yield()
    await_call(print)
    Task.current().await_result()
    await_task_in_thread(print)
    kept = await_sleep(1)
    kept.close()
    yield from await_mine()

async def awaits():
    await await_mine()

warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as caught:
    run(forgets)
    run(awaits)
for each in caught:
    print(each.category.__name__, each.filename, each.lineno, str(each.message).split(":")[0])
print(type(await_sleep(1)).__name__ if "-q" in sys.argv else "")
"""


@pytest.mark.parametrize(("options", "environment"), [(["-X", "dev"], {}), ([], {"EVENTSOCK_DEBUG": "1"})])
def test_a_forgotten_yield_from_warns_with_function_and_line(options: list[str], environment: dict[str, str]) -> None:
    shown = _run(options, environment)
    assert shown.splitlines()[:6] == [
        "NotAwaited <string> 10 await_sleep() was called and never run",
        "NotAwaited <string> 11 await_mine() was called and never run",
        "NotAwaited <string> 12 await_yield() was called and never run",
        "NotAwaited <string> 13 await_call() was called and never run",
        "NotAwaited <string> 14 Task.await_result() was called and never run",
        "NotAwaited <string> 15 await_task_in_thread() was called and never run",
    ]
    assert len(shown.split("NotAwaited")) == 7


@pytest.mark.parametrize("environment", [{}, {"EVENTSOCK_DEBUG": "0"}, {"EVENTSOCK_DEBUG": ""}])
def test_out_of_debug_mode_the_procedures_are_bare_generators(environment: dict[str, str]) -> None:
    assert _run([], environment, "-q").split() == ["generator"]


def _run(options: list[str], environment: dict[str, str], *arguments: str) -> str:
    settings = {"PATH": "/usr/bin:/bin", **environment}
    command = [sys.executable, *options, "-c", _PROGRAM, *arguments]
    done = subprocess.run(command, cwd=_ROOT, env=settings, capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return done.stdout


def test_only_generator_functions_are_decorated() -> None:
    async def coroutine() -> None: ...

    for function in (coroutine, len, lambda: 1):
        with pytest.raises(TypeError, match="contains no yield"):
            waitable(function)  # type: ignore[arg-type]


def test_the_name_and_the_arguments_are_kept() -> None:
    @waitable
    def await_both(first: int, *, second: int = 2) -> Generator[Any, Any, tuple[int, int]]:
        """What it says."""
        yield from await_yield()
        return first, second

    assert (await_both.__name__, await_both.__doc__) == ("await_both", "What it says.")
    assert run(await_both, 1) == (1, 2)

    async def coroutine() -> object:
        made: Await[tuple[int, int]] = await_both(1, second=3)
        return await made

    assert run(coroutine) == (1, 3)


def test_one_serves_once() -> None:
    def main() -> Steps:
        once = await_sleep(0)
        yield from once
        yield from once  # spent, as any generator: it ends at once

    run(main)


@pytest.mark.skipif(not DEBUG, reason="the bare generators are Python's own")
def test_the_watched_ones_are_generators() -> None:
    made = await_sleep(0)
    assert isinstance(made, Generator)
    made.close()
    with pytest.raises(StopIteration):
        next(made)
    with pytest.raises(KeyError):
        made.throw(KeyError())
