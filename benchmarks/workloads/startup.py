"""What an import costs a program that has just started."""

from __future__ import annotations

import statistics
import sysconfig
from functools import partial

from candidates import Candidate, Library
from harness import MILLISECONDS, Sample, Settings, Workload, python

PROCESSES = 5
STATEMENTS = {
    "import selectors, socket": "",
    "import eventsock": "eventsock",
    "import eventsock.basic": "eventsock",
    "from eventsock import EventLoop, Stream, run": "eventsock",
    "import asyncio": "",
    "import uvloop": "uvloop",
    "import rloop": "rloop",
    "import curio": "curio",
    "import trio": "trio",
    "import gevent": "gevent",
    "import tornado.ioloop": "tornado",
}
CANDIDATES = tuple(Library(statement, library, "") for statement, library in STATEMENTS.items())
TIMED = "import time; start = time.process_time_ns(); {}; print(time.process_time_ns() - start)"


def measure(candidate: Candidate, settings: Settings) -> Sample:
    code, path = TIMED.format(candidate.name), sysconfig.get_path("purelib")
    python("-c", code, path=path)  # compiles what was not compiled
    return {"ms": statistics.median(int(python("-c", code, path=path)) / 1e6 for _ in range(PROCESSES))}


WORKLOADS = [Workload("import", "Start-up", "an import in a fresh interpreter", (MILLISECONDS,), CANDIDATES, partial(measure))]
