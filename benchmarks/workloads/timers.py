"""Timeouts among few and many live ones, and watches: what the callback loop costs without tasks."""

from __future__ import annotations

from functools import partial

from candidates import COMPILED, Candidate, Library, libraries
from harness import NS, Sample, Settings, Workload, operation

LOOPS = libraries("eventsock", COMPILED, "asyncio", "uvloop", "rloop")


def measure(candidate: Candidate, settings: Settings, name: str, size: int) -> Sample:
    assert isinstance(candidate, Library)
    return operation(candidate, name, size, settings)


WORKLOADS = [
    Workload("timeout-cancelled", "Timeouts", "set + cancelled", (NS,), libraries(), partial(measure, name="timeout_cancelled", size=10)),
    *(
        Workload(
            f"timeout-cancelled-{n}",
            "Timeouts",
            f"set + cancelled, {n} live",
            (NS,),
            LOOPS,
            partial(measure, name="timeout_cancelled", size=n),
        )
        for n in (1000, 100_000)
    ),
    *(
        Workload(f"timeout-fired-{n}", "Timeouts", f"set + fired, {n} live", (NS,), LOOPS, partial(measure, name="timeout_fired", size=n))
        for n in (10, 1000, 100_000)
    ),
    *(
        Workload(f"watch-{n}", "Watch dispatch", f"{n} ready", (NS,), LOOPS, partial(measure, name="watch_dispatch", size=n))
        for n in (1, 100)
    ),
]
