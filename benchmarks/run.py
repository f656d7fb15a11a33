#!/usr/bin/env python3
"""The benchmark's one command. See README.md beside it.

Knows the order of things: environment, turns, report. How one sample is taken is in `harness`, what is measured in `workloads`.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import bar
import environment
from candidates import COMPILED, Candidate
from harness import Sample, Settings, Skipped, Workload
from results import Results

FULL = Settings(seconds=0.4, warm_up=0.1, rounds=3, tries=2)
QUICK = Settings(seconds=0.25, warm_up=0.1, rounds=3, tries=1)
NOISE_LIMIT = 0.03  # of all cores, over the whole run
DISTURBED = 0.08  # of all cores, in one sample: then it is taken again, in a run that is not quick


def main() -> None:
    options = arguments()
    environment.enter()
    has_programs = environment.build()
    from workloads import ALL

    if options.report:
        write(Results.load(options.report), ALL, options.output or environment.ROOT / "docs")
        return
    settings = replace(QUICK if options.quick else FULL, rounds=options.rounds)
    plan = [(workload, candidates) for workload in ALL if (candidates := chosen(workload, options, has_programs))]
    if not plan:
        sys.exit(f"nothing to do; the workloads are: {', '.join(workload.key for workload in ALL)}")
    if any(candidate.name == COMPILED for _, candidates in plan for candidate in candidates):
        environment.compile_package()
    whole = not (options.quick or options.only or options.candidates) and options.rounds >= FULL.rounds
    results = measured(plan, settings)
    whole = whole and "Interrupted" not in results.about
    write(results, ALL, options.output or (environment.ROOT / "docs" if whole else environment.BUILD / "report"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only what the bar needs, one short round: under two minutes")
    parser.add_argument("--only", type=_names, metavar="WORKLOAD,…", help="only workloads whose key begins so, as in echo-1024,switch")
    parser.add_argument("--candidates", type=_names, metavar="NAME,…", help="only candidates whose name begins so, as in eventsock,uvloop")
    parser.add_argument(
        "--output", type=Path, metavar="DIRECTORY", help="default: docs for a whole run, benchmarks/.build/report for a part"
    )
    parser.add_argument("--report", type=Path, metavar="FIGURES.json", help="measure nothing: write the report of these figures again")
    parser.add_argument("--rounds", type=int, default=FULL.rounds, help="how often each candidate has its turn (default: %(default)s)")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in text.split(","))


def chosen(workload: Workload, options: argparse.Namespace, has_programs: bool) -> list[Candidate]:
    if options.only and not workload.key.startswith(options.only):
        return []
    candidates: Iterable[Candidate] = workload.candidates
    if options.candidates:
        candidates = [
            candidate for candidate in candidates if candidate.name.lower().removeprefix("import ").startswith(options.candidates)
        ]
    if options.quick:
        candidates = [candidate for candidate in candidates if (workload.key, candidate.name) in bar.wanted()]
    return list(candidates)


def measured(plan: list[tuple[Workload, list[Candidate]]], settings: Settings) -> Results:
    """Run the plan, workload by workload; within each, round by round, every candidate in its turn."""
    results = Results(about={"Command": "`python3 " + " ".join([os.path.relpath(sys.argv[0], environment.ROOT), *sys.argv[1:]]) + "`"})
    results.about |= {"Date": f"{datetime.now():%Y-%m-%d %H:%M}"} | environment.description()
    noise, start = Noise(), time.monotonic()
    number = 0
    try:
        for number, (workload, candidates) in enumerate(plan, 1):
            print(f"[{number}/{len(plan)}] {workload.family}: {workload.title}", flush=True)
            for turn in range(settings.rounds):
                for candidate in candidates:
                    take(workload, candidate, settings, results, turn)
    except KeyboardInterrupt:
        results.about["Interrupted"] = f"at workload {number} of {len(plan)}"
    results.about["Took"] = f"{time.monotonic() - start:.0f} seconds, {settings.rounds} round(s) of {settings.seconds} s"
    results.about |= noise.told()
    return results


def take(workload: Workload, candidate: Candidate, settings: Settings, results: Results, turn: int) -> None:
    """One sample, and one line that says so."""
    if results.is_skipped(workload.key, candidate.name):
        return
    try:
        if not environment.has_library(candidate.library):
            raise Skipped("is not installed")
        sample = undisturbed(workload, candidate, settings)
    except Skipped as reason:
        results.skip(workload.key, candidate.name, str(reason))
        print(f"    {candidate.name:24} skipped: {reason}", flush=True)
        return
    results.add(workload.key, candidate.name, sample)
    figures = "  ".join(f"{sample[metric.key]:>12,.1f} {metric.unit}" for metric in workload.metrics)
    print(f"    {candidate.name:24} {figures}   (round {turn + 1} of {settings.rounds})", flush=True)


def undisturbed(workload: Workload, candidate: Candidate, settings: Settings) -> Sample:
    """A sample, taken again when somebody else used the cores meanwhile; the least disturbed of all tries."""
    tries = []
    for _ in range(settings.tries):
        noise = Noise()
        sample = workload.measure(candidate, settings)
        tries.append((noise.share(), sample))
        if tries[-1][0] <= DISTURBED:
            break
    return min(tries, key=lambda found: found[0])[1]


class Noise:
    """What others took of the machine meanwhile: figures from a busy machine are marked provisional."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._before = self._seconds()

    @staticmethod
    def _seconds() -> tuple[float, float, float]:
        """How long all cores together were busy, how long the hypervisor took them away, and how long this run has used them."""
        line = Path("/proc/stat").read_text().split("\n", 1)[0]
        user, nice, system, _, _, interrupts, soft, stolen, *_ = (int(field) / os.sysconf("SC_CLK_TCK") for field in line.split()[1:])
        own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return user + nice + system + interrupts + soft, stolen, own

    def share(self) -> float:
        """The part of all cores that was not ours and not idle."""
        busy, stolen, own = (after - before for after, before in zip(self._seconds(), self._before, strict=True))
        return max(0.0, busy + stolen - own) / ((time.monotonic() - self._start) * (os.cpu_count() or 1))

    def told(self) -> dict[str, str]:
        share = self.share()
        told = {"Noise": f"other processes and the hypervisor took {share:.1%} of the cores while this ran"}
        if share > NOISE_LIMIT:
            told["Provisional"] = "the machine was busy with other things while this was measured."
        return told


def write(results: Results, workloads: list[Workload], directory: Path) -> None:
    """Figures, pictures and Markdown below `directory`; and the bar on the terminal."""
    import plots
    import report

    results.save(directory / "benchmarks" / "figures.json")
    try:
        drawn = list(plots.draw(results, workloads, directory / "benchmarks"))
    except ImportError:
        print("no matplotlib: no plots")
        drawn = []
    page = directory / "benchmarks.md"
    page.write_text(report.markdown(results, workloads, drawn))
    for line in bar.LINES:
        ratio, by_cpu = line.ratio(results), line.ratio_by_cpu(results)
        if ratio is not None:
            note = "" if by_cpu is None else f"  (by server CPU {by_cpu:.2f})"
            print(f"{line.text:55} {line.promise:26} {ratio:6.2f}  {line.verdict(results).strip('*')}{note}")
    print(f"\n{results.about.get('Noise', '')}\nwritten: {page}")


if __name__ == "__main__":
    main()
