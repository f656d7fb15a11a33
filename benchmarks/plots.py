"""The figures as pictures: a bar for each candidate, and cost against number of connections, tasks and timers on log axes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import CPU, NS, Metric, Workload
from results import Results

OURS, OTHERS = "#c0392b", "#7f8c8d"
HIGHLIGHTS: dict[str, dict[str, Any]] = {
    "eventsock": {"color": OURS, "linewidth": 2.5, "zorder": 3},
    "C epoll": {"color": "black", "linewidth": 1.2},
}

# Picture, workload, what is written beside it.
BARS = [
    ("echo", "echo-1024-50", "Echo, 1 KiB, 50 connections"),
    ("lines", "lines-16", "Lines, 50 connections, 16 pipelined"),
    ("http", "http", "HTTP hello, 50 connections"),
    ("churn", "churn", "Accept churn"),
    ("udp", "udp", "UDP echo"),
    ("switch", "switch-10", "Task switch"),
    ("hand-over", "hand-over", "Hand-over between tasks"),
    ("memory", "idle-memory", "Memory per idle connection"),
]

# Left out where each candidate is a line: more than ten cannot be told apart.
TOO_MANY = ("eventsock async def", "eventsock sockets", "asyncio sock_*", "uvloop sock_*", "rloop Protocol", "tornado")

# Picture, the workload's key without its number, the numbers, what they count, which figure.
SLOPES: list[tuple[str, str, list[int], str, Metric]] = [
    ("cost-by-connections", "echo-1024-{}", [1, 50, 500], "connections (echo, 1 KiB)", CPU),
    ("cost-by-tasks", "switch-{}", [10, 100, 1000, 10_000], "tasks (switch)", NS),
    ("cost-by-sleepers", "sleepers-{}", [1000, 10_000, 100_000], "sleeping tasks", NS),
    ("cost-by-timers", "timeout-fired-{}", [10, 1000, 100_000], "live timeouts (set + fired)", NS),
]


def draw(results: Results, workloads: list[Workload], directory: Path) -> Iterator[str]:
    """Draw what there are figures for, as PNG and SVG; gives each picture's name."""
    by_key = {workload.key: workload for workload in workloads}
    for name, key, title in BARS:
        if len(results.samples.get(key, {})) > 1:
            _bars(results, by_key[key], title, directory / name)
            yield name
    for name, pattern, numbers, counted, metric in SLOPES:
        if sum(pattern.format(number) in results.samples for number in numbers) > 1:
            _slopes(results, pattern, numbers, counted, metric, directory / name)
            yield name


def _bars(results: Results, workload: Workload, title: str, path: Path) -> None:
    metric = workload.metrics[0]
    found = {name: results.median(workload.key, name, metric) or 0.0 for name in results.samples[workload.key]}
    names = sorted(found, key=lambda name: found[name], reverse=not metric.more_is_better)
    figure, axes = _figure(0.3 * len(names) + 1.2)
    bars = axes.barh(names, [found[name] for name in names], color=[OURS if "eventsock" in name else OTHERS for name in names])
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.margins(x=0.12)
    axes.set_title(title)
    axes.set_xlabel(f"{metric.unit}, {'more' if metric.more_is_better else 'less'} is better")
    _save(figure, path)


def _slopes(results: Results, pattern: str, numbers: list[int], counted: str, metric: Metric, path: Path) -> None:
    figure, axes = _figure(4.5)
    names = {name: None for number in numbers for name in results.samples.get(pattern.format(number), {}) if name not in TOO_MANY}
    for name in names:
        points = [(number, results.median(pattern.format(number), name, metric)) for number in numbers]
        known = [(number, value) for number, value in points if value]
        ours = "eventsock" in name
        style = HIGHLIGHTS.get(name, {"linewidth": 1.2, "alpha": 0.8})
        axes.plot(
            [x for x, _ in known], [y for _, y in known], marker="o", markersize=4, linestyle="-" if ours else "--", label=name, **style
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.0f}")
        axis.set_minor_formatter("")
    axes.yaxis.set_minor_formatter("{x:,.0f}")
    axes.set_xlabel(counted)
    axes.set_ylabel(f"{metric.unit}, less is better")
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(figure, path)


def _figure(height: float):  # type: ignore[no-untyped-def]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure, path: Path) -> None:  # type: ignore[no-untyped-def]
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".png"), dpi=130)
    # Without a date, and with ids that do not change, so that the same figures give the same file.
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "eventsock"}):
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
