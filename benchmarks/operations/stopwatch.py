"""How one operation is timed: wall clock and the process's own CPU, only while the watch runs. Knows no framework.

An operations file is started as `python FILE.py LIBRARY OPERATION SIZE SECONDS`. It prints one JSON object: nanoseconds per operation,
or bytes per object. An operation is `f(watch, size, count)`: it does `count` operations (or nearly: it may return how many) among `size`
bystanders, with the watch running only while what is measured goes on.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType

Operation = Callable[["Stopwatch", int, int], "int | None"]

SAMPLES = 3
FIRST_COUNT = 200
FEWEST = 100
MOST = 5_000_000


class Stopwatch:
    """`with watch:` adds what the block takes; `grown` measures memory instead."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0
        self.bytes = 0

    def __enter__(self) -> None:
        self._wall, self._cpu = time.perf_counter_ns(), time.process_time_ns()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wall += time.perf_counter_ns() - self._wall
        self.cpu += time.process_time_ns() - self._cpu

    def grew_since(self, before: int) -> None:
        self.bytes = private_bytes() - before


def private_bytes() -> int:
    """Anonymous memory this process has in RAM."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def sample(operation: Operation, size: int, count: int) -> tuple[Stopwatch, int]:
    watch = Stopwatch()
    done = operation(watch, size, count)
    return watch, count if done is None else done


def fitting_count(operation: Operation, size: int, seconds: float) -> int:
    """How many operations take about `seconds`; finding out warms everything up."""
    count = FIRST_COUNT
    while True:
        watch, done = sample(operation, size, count)
        if watch.wall >= seconds * 1e9 / 4 or count >= MOST:
            return max(FEWEST, min(MOST, int(done * seconds * 1e9 / max(watch.wall, 1))))
        count *= 8


def measure(operation: Operation, size: int, seconds: float) -> dict[str, float]:
    """The median of a few samples; one operation that is as long as `size` objects (a fixed count) is run once per sample."""
    count = size if getattr(operation, "counts_size", False) else fitting_count(operation, size, seconds)
    samples = [sample(operation, size, count) for _ in range(1 if getattr(operation, "once", False) else SAMPLES)]
    return {
        "wall_ns": statistics.median(watch.wall / done for watch, done in samples),
        "cpu_ns": statistics.median(watch.cpu / done for watch, done in samples),
        "bytes": statistics.median(watch.bytes / done for watch, done in samples),
    }


def once(operation: Operation) -> Operation:
    """For an operation that is about `size` objects at once: it is run with `count = size`, one time."""
    operation.counts_size = operation.once = True  # type: ignore[attr-defined]
    return operation


def main(operations: Mapping[str, Operation]) -> None:
    """Run the operation the command line names. One that is not there ends with status 3: the benchmark skips it."""
    _, name, size, seconds = sys.argv[1:]
    if name not in operations:
        sys.exit(3)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(measure(operations[name], int(size), float(seconds))))
