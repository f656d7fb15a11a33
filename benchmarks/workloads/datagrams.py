"""Echo over UDP: fifty clients with one datagram in flight each."""

from __future__ import annotations

from candidates import COMPILED, Candidate, Server, servers
from harness import CPU, RATE, Sample, Settings, Workload, own_load, serving

NAMES = ("C epoll", "bare Python epoll", "eventsock", COMPILED, "eventsock watches")


def measure(candidate: Candidate, settings: Settings) -> Sample:
    assert isinstance(candidate, Server)
    with serving(candidate, "udp") as (port, pid):
        return own_load("udp", port, pid, settings, "-n", "256", "-c", "50")


WORKLOADS = [
    Workload(
        "udp",
        "Echo over UDP",
        "256 B, 50 clients",
        (RATE, CPU),
        servers(*NAMES, "asyncio Protocol", "uvloop Protocol", "rloop Protocol", "curio", "trio", "gevent"),
        measure,
        note="The bare Python server blocks in `recvfrom`, without a poll.",
    )
]
