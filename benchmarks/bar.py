"""The bar: which ratio between whom is promised, and whether the figures keep it."""

from __future__ import annotations

from dataclasses import dataclass

from candidates import BARE, COMPILED, C
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
    why: str = ""
    """Where the line is not met: why not."""

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

_KERNEL = (
    "a receive and a send cost here what they cost in C, and the interpreter's part of two calls is a third more, so that bare Python is "
    "near this or below it; a task and a stream come on top."
)

_TASK = (
    "a task and a stream take half as much again as bare Python: two generators a message, a context, and the rules of who may read and "
    "write."
)

LINES = [
    Line(_ECHO, "echo-1024-50", RATE, 0.75, "C epoll", why=_KERNEL),
    Line(_ECHO, "echo-1024-50", RATE, 1.35, "uvloop streams", why=_TASK),
    Line(_ECHO, "echo-1024-50", RATE, 1.7, "asyncio streams", why=_TASK),
    Line("Echo by `add_read_watch`, server CPU", "echo-1024-50", CPU, 1.1, "uvloop Protocol", ours="eventsock watches"),
    Line("Lines, no pipelining, server CPU", "lines-1", CPU, 0.77, "uvloop streams", why=_KERNEL),
    Line(
        "Lines, 16 pipelined, messages/s",
        "lines-16",
        RATE,
        5,
        "uvloop streams",
        why="a task asks for each line and puts each answer, which is two generators and the rules of who may read and write; what is "
        "faster cuts a whole burst with one call.",
    ),
    Line(
        "HTTP hello, messages/s",
        "http",
        RATE,
        1.25,
        "uvloop streams",
        why="an echo hands on what has come; here it goes through the splitter, which costs about a fifth more.",
    ),
    Line(
        "Accept churn, connections/s",
        "churn",
        RATE,
        1.7,
        "uvloop streams",
        why="each connection makes and releases a socket, a stream, an entry for its descriptor and a task, all of them Python's objects; "
        "about half of the time is the system's.",
    ),
    Line(
        "UDP echo, messages/s",
        "udp",
        RATE,
        1.2,
        "uvloop Protocol",
        why="two verbs a datagram, each of which finds the descriptor and holds its direction; a callback (`eventsock watches`) "
        "pays neither.",
    ),
    Line("Task switch", "switch-10", NS, 0.35, "asyncio"),
    Line("Task switch", "switch-10", NS, 0.7, "uvloop"),
    Line("Task switch among 10 000 tasks", "switch-10000", NS, 1.5, "eventsock", peer_workload="switch-10"),
    Line("Start + finish a task", "start", NS, 0.6, "asyncio", why="asyncio's tasks and futures are written in C, ours in Python."),
    Line("Meeting hand-over", "hand-over", NS, 0.2, "asyncio", why="two switches of a task, each with a context of its own."),
    Line(
        "Timeout set + cancelled",
        "timeout-cancelled",
        NS,
        0.35,
        "asyncio",
        why="an object, a look at the clock and two calls that check what they are given. Among many live ones asyncio's heap makes it "
        "dearer, and ours stays as it is.",
    ),
    Line(
        "Timeout set + cancelled, compiled",
        "timeout-cancelled",
        NS,
        0.2,
        "asyncio",
        ours=COMPILED,
        why="mypyc takes a third off; the object, the queue and the clock are Python's as before.",
    ),
    Line(
        "100 000 sleeping tasks",
        "sleepers-100000",
        NS,
        0.44,
        "asyncio",
        why="a quarter of it is Python's garbage collector, which visits the five objects of each sleeping task again and again.",
    ),
    Line("Posts from another thread, burst", "post-burst", NS, 0.07, "asyncio"),
    Line("Posts from another thread, each waking the loop", "post-waking", NS, 0.9, "asyncio"),
    Line(
        "Memory per idle connection with a waiting task",
        "idle-memory",
        BYTES,
        0.35,
        "asyncio streams",
        why="a socket, two generators, a task with its context, a stream, a side of a descriptor, and a place in three tables.",
    ),
    Line("`import eventsock`", "import", MILLISECONDS, 0.5, "import asyncio", ours="import eventsock"),
]


def wanted() -> set[tuple[str, str]]:
    """The pairs of workload and candidate without which a line cannot be judged: what a quick run measures."""
    ours = {(line.workload, who) for line in LINES for who in (line.ours, COMPILED, *CEILINGS)}
    return ours | {(line.peer_workload or line.workload, line.peer) for line in LINES}
