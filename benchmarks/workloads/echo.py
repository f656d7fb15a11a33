"""Echo over TCP: messages of three sizes on one, fifty and five hundred connections, each waiting for its answer."""

from __future__ import annotations

from functools import partial

from candidates import Candidate, Server, servers
from harness import CPU, RATE, Sample, Settings, Workload, own_load, serving

FAMILY = "Echo over TCP"
SIZES = {64: "64 B", 1024: "1 KiB", 65536: "64 KiB"}
CONNECTIONS = [1, 50, 500]
SERVERS = tuple(server for server in servers() if server.name != "eventsock without gather")


def measure(candidate: Candidate, settings: Settings, size: int, connections: int) -> Sample:
    assert isinstance(candidate, Server)
    with serving(candidate, "echo") as (port, pid):
        return own_load("exchange", port, pid, settings, "-n", str(size), "-c", str(connections))


def _workload(size: int, connections: int) -> Workload:
    return Workload(
        f"echo-{size}-{connections}",
        FAMILY,
        f"{SIZES[size]}, {connections} connection{'s' if connections > 1 else ''}",
        (RATE, CPU),
        SERVERS,
        partial(measure, size=size, connections=connections),
    )


WORKLOADS = [_workload(size, connections) for size in SIZES for connections in CONNECTIONS]
