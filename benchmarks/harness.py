"""Running one candidate once: processes, cores, clocks. Knows no workload and no report.

The server runs on the first core and the load on the second; what happens in one process runs on the first alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryFile
from typing import IO

import environment
from candidates import Candidate, Library, Server

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
MISSING = 3  # the exit status of a candidate that does not have this service
PATIENCE = 90.0  # seconds for any one process
LOAD_PATIENCE = 20.0  # seconds for a load: one that takes longer has lost its server

Sample = dict[str, float]


class Skipped(Exception):  # noqa: N818  (a finding, not an error)
    """This candidate takes no part in this workload; the text says why."""


@dataclass(frozen=True)
class Settings:
    """How long one sample takes (seconds), how many rounds there are, and how often a disturbed sample is tried."""

    seconds: float
    warm_up: float
    rounds: int
    tries: int


@dataclass(frozen=True)
class Metric:
    """One figure of a sample. `scale` turns it into the unit shown."""

    key: str
    unit: str
    more_is_better: bool = False


RATE = Metric("rate", "per second", more_is_better=True)
CPU = Metric("cpu_us", "µs CPU")
NS = Metric("ns", "ns")
WALL = Metric("wall_ns", "ns elapsed")
BYTES = Metric("bytes", "bytes")
MILLISECONDS = Metric("ms", "ms")


@dataclass(frozen=True)
class Workload:
    """What is measured, with whom, and which of the figures is the main one (the first)."""

    key: str
    family: str
    title: str
    metrics: tuple[Metric, ...]
    candidates: tuple[Candidate, ...]
    measure: Callable[[Candidate, Settings], Sample] = field(repr=False)
    note: str = ""


def _pinned(core: int) -> Callable[[], None]:
    return partial(os.sched_setaffinity, 0, {core})


def cpu_ns(pid: int) -> int:
    """What another process (all of its threads, user and system) has spent so far: its CPU clock, see clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


@contextmanager
def serving(server: Server, service: str) -> Iterator[tuple[int, int]]:
    """A server process of its own; gives its port and its process number. A server that dies meanwhile is skipped with its last words."""
    with (
        TemporaryFile("w+") as complaints,
        _started(_command(server, service), complaints, environment.variables(server.library)) as process,
    ):
        try:
            yield _announced_port(process), process.pid
        except Skipped as reason:
            if process.poll() in (None, MISSING):
                raise
            raise Skipped(f"died: {_last_complaint(complaints)}") from reason
        finally:
            process.kill()


def _started(command: list[str], complaints: IO[str], variables: dict[str, str]) -> subprocess.Popen[str]:
    pinned = _pinned(SERVER_CORE)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True, preexec_fn=pinned, env=variables)


def _announced_port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    words = process.stdout.readline().split()
    if not words:
        raise Skipped("has no such service" if process.wait() == MISSING else "did not start")
    return int(words[1])


def _last_complaint(complaints: IO[str]) -> str:
    complaints.seek(0)
    return _last_line(complaints.read())


def _command(server: Server, service: str) -> list[str]:
    if not server.style:
        return [str(environment.BUILD / server.program), service]
    return [str(environment.PYTHON), str(environment.HERE / "servers" / server.program), server.style, service]


def load(*arguments: str) -> str:
    """Run a load program on its core; its output."""
    return _output(list(arguments), LOAD_CORE, patience=LOAD_PATIENCE)


def own_load(mode: str, port: int, pid: int, settings: Settings, *arguments: str) -> Sample:
    """Run our load program against a server; messages per second and the server's CPU for each."""
    program = str(environment.BUILD / "load")
    window = ["-t", str(settings.seconds), "-w", str(settings.warm_up)]
    found = json.loads(load(program, mode, "-p", str(port), "-P", str(pid), *window, *arguments))
    if not found["messages"]:
        raise Skipped("answered nothing")
    return {"rate": found["messages"] / found["seconds"], "cpu_us": found["cpu_ns"] / found["messages"] / 1000}


def operation(library: Library, name: str, size: int, settings: Settings) -> Sample:
    """Run one in-process operation in a process of its own, on one core: what threads do to each other is then the same each time."""
    program = str(environment.HERE / "operations" / library.program)
    command = [str(environment.PYTHON), program, library.library, name, str(size), str(settings.seconds / 4)]
    found = json.loads(_output(command, SERVER_CORE, library=library.library))
    return {"ns": found["cpu_ns"], "wall_ns": found["wall_ns"], "bytes": found["bytes"]}


def python(*arguments: str, path: str = "") -> str:
    """Run Python without its `site` (whose hooks would be measured too); its output."""
    return _output([str(environment.PYTHON), "-S", *arguments], SERVER_CORE, path)


def _output(command: list[str], core: int, path: str = "", patience: float = PATIENCE, library: str = "") -> str:
    variables = environment.variables(library)
    if path:
        variables["PYTHONPATH"] += os.pathsep + path
    try:
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=_pinned(core), env=variables, timeout=patience)
    except subprocess.TimeoutExpired:
        raise Skipped(f"took more than {patience:.0f} seconds") from None
    if done.returncode == MISSING:
        raise Skipped("has no such operation")
    if done.returncode:
        raise Skipped(f"failed: {_last_line(done.stderr)}")
    return done.stdout


def _last_line(text: str) -> str:
    """Of a traceback, the line that names the error, which notes may follow."""
    lines = text.strip().splitlines() or ["without a word"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Warning|Exception)\b", line)), lines[-1])
