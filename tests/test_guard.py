"""The guard of conftest.py itself: a trace fails the test that left it, a failed test is not blamed twice.

Knows pytest as a program: runs tests that misbehave in a process of their own, under the very conftest.py and settings.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from programs import ROOT

_CASES = {
    "clean": ("", "pass"),
    "opens": ("descriptor [0-9]+ was left open: socket", "kept.append(socket.socket())"),
    "exchanges": ("descriptor [0-9]+ was closed: .*the-file", "os.dup2(os.open(os.devnull, os.O_RDONLY), lent)"),
    "closes": ("descriptor [0-9]+ was closed: /dev/null", "os.close(lent)"),
    "threads": ("thread 'lingering' still runs", "threading.Thread(target=never.wait, name='lingering', daemon=True).start()"),
    "ending_thread": ("", "threading.Thread(target=time.sleep, args=(0.05,)).start()"),
    "children": ("a child process was left behind", "kept.append(subprocess.Popen(['sleep', '60']))"),
    "signals": ("signal_handlers was", "signal.signal(signal.SIGUSR1, print)"),
    "wakeup": ("wakeup_fd was -1 and is", "signal.set_wakeup_fd(own.fileno(), warn_on_full_buffer=False)"),
    "hook": ("hooks was", "sys.set_asyncgen_hooks(firstiter=print)"),
    "thread_hook": ("hooks was", "threading.excepthook = print"),
    "limit": ("descriptor_limit was", "resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"),
    "directory": ("getcwd was", "os.chdir('/')"),
    "default_loop": ("default_event_loop was None and is", "current._default = own"),
    "current_loop": ("loop_of_this_thread was None and is", "current.here.loop = own"),
    "held_loop": ("<EventLoop closed: empty> is still held by somebody", "loop = eventsock.EventLoop(); loop.close(); held.append(loop)"),
    "warning": ("UserWarning: mind this", "warnings.warn('mind this')"),
    "unclosed": ("unclosed <socket", "socket.socket()"),
    "unclosed_in_a_knot": ("unclosed <socket", "knot = [socket.socket()]; knot.append(knot)"),
    "unraisable": ("ZeroDivisionError", "Ungraceful()"),
    "thread_error": ("ZeroDivisionError", "runner = threading.Thread(target=lambda: 1 / 0); runner.start(); runner.join()"),
    "failing": ("assert not <socket", "ours = socket.socket(); numbers.append(ours.fileno()); assert not ours"),
    "after_failing": ("", "assert not os.path.exists(f'/proc/self/fd/{numbers[0]}')"),
    "property": ("", "hypothesis.given(hypothesis.strategies.integers())(lambda number: None)()"),
}

_HEAD = """
import os, resource, signal, socket, subprocess, sys, threading, time, warnings
import hypothesis, hypothesis.strategies
import eventsock
from eventsock.loop import current
kept = []
held = []
numbers = []
never = threading.Event()
own = socket.socket()
own.setblocking(False)
lent = os.open("the-file", os.O_CREAT | os.O_RDWR)
class Ungraceful:
    def __del__(self):
        1 / 0
def teardown_module():
    own.close()
    for each in kept:
        if isinstance(each, subprocess.Popen):
            each.kill()
            each.wait()
        else:
            each.close()
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pytest says of each test, all of them run in one process under the same conftest.py and settings; empty for a pass."""
    place = tmp_path_factory.mktemp("guarded")
    for name in ("conftest.py", "programs.py"):
        (place / name).write_text((ROOT / "tests" / name).read_text())
    (place / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text().replace('["tests"]', '["."]'))
    (place / "test_traces.py").write_text(_HEAD + "".join(f"def test_{name}():\n    {code}\n" for name, (_, code) in _CASES.items()))
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=report.xml"]
    # Each once: a second try of the whole suite (PYTEST_ADDOPTS) is no business of these, which are meant to fail.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    subprocess.run(command, cwd=place, capture_output=True, check=False, env=environment)
    report = ElementTree.parse(place / "report.xml")
    said: dict[str, str] = {}
    for case in report.iter("testcase"):  # a test that failed twice, in its call and at its teardown, stands there twice
        said[case.attrib["name"]] = said.get(case.attrib["name"], "") + "".join(case.itertext())
    return said


@pytest.mark.parametrize("name", _CASES)
def test_traces_fail_the_test_that_left_them(outcomes: dict[str, str], name: str) -> None:
    expected, _ = _CASES[name]
    said = outcomes[f"test_{name}"]
    assert re.search(expected, said) if expected else said == ""


def test_failing_test_is_not_blamed_twice(outcomes: dict[str, str]) -> None:
    assert not re.search("left its traces|unclosed", outcomes["test_failing"])
