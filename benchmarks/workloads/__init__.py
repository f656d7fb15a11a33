"""All workloads, family by family: one file each."""

from __future__ import annotations

from harness import Workload

from . import answers, connections, datagrams, echo, relay, startup, tasks, threads, timers

ALL: list[Workload] = [
    workload for family in (echo, answers, connections, datagrams, relay, tasks, timers, threads, startup) for workload in family.WORKLOADS
]
