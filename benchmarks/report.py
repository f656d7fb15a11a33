"""The figures as Markdown: the bar first, then a table for each workload. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import bar
from candidates import COMPILED
from harness import Metric, Workload
from results import Results

PEERS = ("C epoll", "uvloop streams", "asyncio streams", "asyncio", "uvloop", "import asyncio")

_KEPT = ("met", "not measured")

INTRODUCTION = """\
# Benchmarks

Every candidate runs in a process of its own, pinned to one core with its load on another, and the candidates take turns (A B C A B C …),
so that whatever else the machine does meets them all. The figures are medians; *spread* is how far the rounds lie apart. Absolute
figures belong to the machine that made them; the ratios are what to look at. How it is measured, and what was done to be fair, is in
`benchmarks/README.md`."""


def markdown(results: Results, workloads: Iterable[Workload], plots: Iterable[str]) -> str:
    parts = [INTRODUCTION, *_about(results), "## The bar", *_bar(results), *_pictures(plots)]
    for family, members in groupby(workloads, key=lambda workload: workload.family):
        sections = ["\n".join(_section(results, workload)) for workload in members if workload.key in results.samples]
        if sections:
            parts += [f"## {family}", *sections]
    parts += _skipped(results)
    return "\n\n".join(parts) + "\n"


def _about(results: Results) -> Iterator[str]:
    about = dict(results.about)
    provisional = about.pop("Provisional", "")
    if provisional:
        yield f"**Provisional:** {provisional}"
    yield "\n".join(f"- {name}: {text}" for name, text in about.items())


def _bar(results: Results) -> Iterator[str]:
    rows = []
    for line in bar.LINES:
        others = (line.reached_by(results, who) for who in (COMPILED, *bar.CEILINGS))
        found = [line.ratio(results), line.ratio_by_cpu(results), *others]
        ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in found]
        rows.append([line.text, line.promise, *ratios, line.verdict(results)])
    yield _table(["workload", "bar", "measured", "by server CPU", "compiled", *bar.CEILINGS, ""], rows)
    yield (
        "*By server CPU*: for the rates, what the ratio would be by the CPU each server used for a message."
        " The two agree where the server is what limits and nobody else uses the machine; a line on which they differ is *unclear*."
        " *Compiled*: what the same source reaches through mypyc (see [the design](design.md#a-compiled-build))."
        " *Bare Python epoll* and *C epoll*: what a server reaches in the same line that is nothing but a loop around the system calls,"
        " in Python and in C: where such a server misses the bar, the interpreter or the machine leaves no room."
    )
    reasons = [f"- {line.text}, {line.promise}: {line.why}" for line in bar.LINES if line.why and line.verdict(results) not in _KEPT]
    if reasons:
        yield "What is not met, and why:"
        yield "\n".join(reasons)


def _pictures(plots: Iterable[str]) -> Iterator[str]:
    for name in plots:
        yield f"[![{name}](benchmarks/{name}.png)](benchmarks/{name}.svg)"


def _section(results: Results, workload: Workload) -> Iterator[str]:
    yield f"### {workload.title[0].upper()}{workload.title[1:]}\n"
    if workload.note:
        yield f"{workload.note}\n"
    main = workload.metrics[0]
    names = [candidate.name for candidate in workload.candidates if results.values(workload.key, candidate.name, main)]
    names.sort(key=lambda name: results.median(workload.key, name, main) or 0.0, reverse=main.more_is_better)
    peers = [name for name in PEERS if name in names]
    heads = ["candidate"]
    for metric in workload.metrics:
        heads += [metric.unit, "spread", *(f"× {peer}" for peer in peers)]
    yield _table(heads, [_row(results, workload, name, peers) for name in names])


def _row(results: Results, workload: Workload, name: str, peers: list[str]) -> list[str]:
    cells = [f"**{name}**" if "eventsock" in name else name]
    for metric in workload.metrics:
        spread = results.spread(workload.key, name, metric)
        cells += [shown(results.median(workload.key, name, metric)), "" if spread is None else f"{spread:.0%}"]
        cells += [_ratio(results, workload.key, name, peer, metric) for peer in peers]
    return cells


def _ratio(results: Results, workload: str, name: str, peer: str, metric: Metric) -> str:
    ours, theirs = results.median(workload, name, metric), results.median(workload, peer, metric)
    return f"{ours / theirs:.2f}" if ours is not None and theirs else ""


def shown(value: float | None) -> str:
    """Three digits that matter, thousands apart."""
    if value is None:
        return ""
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def _skipped(results: Results) -> Iterator[str]:
    lines = [f"- {workload}: {name} {reason}" for workload, names in results.skipped.items() for name, reason in names.items()]
    if lines:
        yield "## Not measured"
        yield "\n".join(lines)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
