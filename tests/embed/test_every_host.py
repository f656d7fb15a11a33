"""Every real host, in a process of its own, goes through every case of `host_cases`. Knows programs and their output."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from display import INSTALL, command, environment, screen
from host_cases import CASES
from host_drivers import HOSTS
from programs import ROOT


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with screen() as name:
        yield name


def test_there_is_a_case_for_each_thing_that_can_go_wrong() -> None:
    assert len(CASES) == len({getattr(case, "__name__", "?") for case in CASES}) >= 20
    assert set(HOSTS) == set(INSTALL)


@pytest.mark.parametrize("host", HOSTS)
def test_host(display: str, host: str) -> None:
    program = command(host, "tests/embed/in_host.py", host)
    done = subprocess.run(program, cwd=ROOT, env=environment(display), capture_output=True, text=True, timeout=55, check=False)
    if done.returncode == 77:
        pytest.skip(f"{host} is not here ({done.stdout.strip()}): {INSTALL[host]}")
    outcomes = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert "\n".join(f"--- {name}\n{wrong}" for name, wrong in outcomes.items() if wrong) == "", done.stderr
    assert done.returncode == 0, done.stderr
    assert list(outcomes) == [getattr(case, "__name__", "?") for case in CASES]
