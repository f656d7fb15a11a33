"""The bar: which ratio between whom is promised, and whether the figures keep it."""

from __future__ import annotations

from dataclasses import dataclass

from candidates import BARE, C
from harness import BYTES, CPU, MILLISECONDS, NS, RATE, Metric
from results import Results


@dataclass(frozen=True)
class Line:
    """`ours` in `workload`, against `peer` in the same workload (or in `peer_workload`), is at least or at most `factor`."""

    text: str
    workload: str
    metric: Metric
    factor: float
    peer: str
    ours: str = "eventsock"
    peer_workload: str = ""

    def ratio(self, results: Results) -> float | None:
        return self._ratio(results, self.metric, self.ours)

    def reached_by(self, results: Results, who: str) -> float | None:
        """What another candidate reaches in the same line: where C or bare Python is near the bar, the machine leaves no room."""
        return self._ratio(results, self.metric, who)

    def ratio_by_cpu(self, results: Results) -> float | None:
        """For a rate: what the ratio would be if each server had all of its core, by the CPU it used. Less disturbed by neighbours."""
        costs = self._ratio(results, CPU, self.ours) if self.metric is RATE else None
        return 1 / costs if costs else None

    def _ratio(self, results: Results, metric: Metric, who: str) -> float | None:
        ours = results.median(self.workload, who, metric)
        theirs = results.median(self.peer_workload or self.workload, self.peer, metric)
        return ours / theirs if ours is not None and theirs else None

    def met(self, ratio: float) -> bool:
        return ratio >= self.factor if self.metric.more_is_better else ratio <= self.factor

    @property
    def promise(self) -> str:
        sign = "≥" if self.metric.more_is_better else "≤"
        where = " of 10" if self.peer_workload else ""
        return f"{sign} {self.factor:g} × {self.peer}{where}"

    def verdict(self, results: Results) -> str:
        ratio = self.ratio(results)
        if ratio is None:
            return "not measured"
        by_cpu = self.ratio_by_cpu(results)
        if by_cpu is not None and self.met(by_cpu) != self.met(ratio):
            return "unclear"
        return "met" if self.met(ratio) else "**not met**"


# Those who have nothing to do but the workload itself.
CEILINGS = (BARE.name, C.name)

_ECHO = "Echo through streams, 1 KiB, 50 connections, messages/s"

LINES = [
    Line(_ECHO, "echo-1024-50", RATE, 0.75, "C epoll"),
    Line(_ECHO, "echo-1024-50", RATE, 1.35, "uvloop streams"),
    Line(_ECHO, "echo-1024-50", RATE, 1.7, "asyncio streams"),
    Line("Echo by `add_read_watch`, server CPU", "echo-1024-50", CPU, 1.1, "uvloop Protocol", ours="eventsock watches"),
    Line("Lines, no pipelining, server CPU", "lines-1", CPU, 0.77, "uvloop streams"),
    Line("Lines, 16 pipelined, messages/s", "lines-16", RATE, 5, "uvloop streams"),
    Line("HTTP hello, messages/s", "http", RATE, 1.25, "uvloop streams"),
    Line("Accept churn, connections/s", "churn", RATE, 1.7, "uvloop streams"),
    Line("UDP echo, messages/s", "udp", RATE, 1.2, "uvloop Protocol"),
    Line("Task switch", "switch-10", NS, 0.35, "asyncio"),
    Line("Task switch", "switch-10", NS, 0.7, "uvloop"),
    Line("Task switch among 10 000 tasks", "switch-10000", NS, 1.5, "eventsock", peer_workload="switch-10"),
    Line("Start + finish a task", "start", NS, 0.6, "asyncio"),
    Line("Meeting hand-over", "hand-over", NS, 0.2, "asyncio"),
    Line("Timeout set + cancelled", "timeout-cancelled", NS, 0.35, "asyncio"),
    Line("100 000 sleeping tasks", "sleepers-100000", NS, 0.44, "asyncio"),
    Line("Posts from another thread, burst", "post-burst", NS, 0.07, "asyncio"),
    Line("Posts from another thread, each waking the loop", "post-waking", NS, 0.9, "asyncio"),
    Line("Memory per idle connection with a waiting task", "idle-memory", BYTES, 0.35, "asyncio streams"),
    Line("`import eventsock`", "import", MILLISECONDS, 0.5, "import asyncio", ours="import eventsock"),
]


def wanted() -> set[tuple[str, str]]:
    """The pairs of workload and candidate without which a line cannot be judged: what a quick run measures."""
    ours = {(line.workload, who) for line in LINES for who in (line.ours, *CEILINGS)}
    return ours | {(line.peer_workload or line.workload, line.peer) for line in LINES}
