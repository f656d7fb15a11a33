"""What tasks cost by themselves: switching, starting, handing over, choosing, sleeping, and their memory."""

from __future__ import annotations

from functools import partial

from candidates import COMPILED, Candidate, Library, libraries
from harness import BYTES, NS, Sample, Settings, Workload, operation

EVENTSOCK = libraries("eventsock", COMPILED)


def measure(candidate: Candidate, settings: Settings, name: str, size: int) -> Sample:
    assert isinstance(candidate, Library)
    return operation(candidate, name, size, settings)


def _workload(
    key: str, family: str, title: str, name: str, size: int = 0, who: tuple[Library, ...] = libraries(), note: str = ""
) -> Workload:
    metric = BYTES if name == "task_memory" else NS
    return Workload(key, family, title, (metric,), who, partial(measure, name=name, size=size), note)


WORKLOADS = [
    *(_workload(f"switch-{n}", "Task switch", f"among {n} tasks", "switch", n) for n in (10, 100, 1000, 10_000)),
    _workload("switch-async-10", "Task switch", "among 10 tasks written as async def", "switch_async", 10, EVENTSOCK),
    _workload("start", "Tasks", "start + finish", "start", note="A hundred at a time; each task suspends once and its result is awaited."),
    _workload(
        "hand-over",
        "Meetings",
        "hand-over",
        "hand_over",
        note="asyncio and its loops: `Queue(1)`, as curio; trio: a memory channel; gevent: a `Channel`.",
    ),
    _workload("receive-plain", "Meetings", "from two meetings in turn, plain receive", "receive_plain", who=EVENTSOCK),
    _workload("receive-either", "Meetings", "from either of two, `await_meeting_receive`", "receive_either", who=EVENTSOCK),
    _workload("receive-choice", "Meetings", "from either of two, `await_choice`", "receive_choice", who=EVENTSOCK),
    *(
        _workload(f"sleepers-{n}", "Sleeping tasks", f"{n} at once", "sleepers", n, who)
        for n, who in (
            (1000, libraries()),
            (10_000, libraries()),
            (100_000, libraries("eventsock", COMPILED, "asyncio", "uvloop", "rloop", "trio", "gevent")),
        )
    ),
    _workload("task-memory", "Memory", "per sleeping task", "task_memory", 20_000),
]
