"""Posts, from the loop's own thread and from another, and jobs handed to a thread."""

from __future__ import annotations

from functools import partial

from candidates import COMPILED, Candidate, Library, libraries
from harness import NS, WALL, Sample, Settings, Workload, operation


def measure(candidate: Candidate, settings: Settings, name: str) -> Sample:
    assert isinstance(candidate, Library)
    return operation(candidate, name, 0, settings)


NO_CURIO = tuple(library for library in libraries() if library.name != "curio")
LOOPS = libraries("eventsock", COMPILED, "asyncio", "uvloop", "rloop", "gevent")

WORKLOADS = [
    Workload("post", "Posts", "from the loop's thread", (NS,), LOOPS, partial(measure, name="post")),
    Workload("post-burst", "Posts", "from another thread, a burst", (NS, WALL), NO_CURIO, partial(measure, name="post_burst")),
    Workload(
        "post-waking", "Posts", "from another thread, each waking the loop", (NS, WALL), NO_CURIO, partial(measure, name="post_waking")
    ),
    Workload("thread", "Threads", "a job to a pool's thread and back", (NS, WALL), libraries(), partial(measure, name="thread_hand_over")),
    Workload(
        "new-thread",
        "Threads",
        "a job to a thread of its own and back",
        (NS, WALL),
        libraries("eventsock"),
        partial(measure, name="new_thread"),
    ),
]
