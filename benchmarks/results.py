"""What has been measured: samples by workload and candidate, their medians and spread, and the file they are kept in."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness import Metric, Sample


@dataclass
class Results:
    """`about`: the command, the machine, the versions. `samples[workload][candidate]`: one per round. `skipped` likewise: why not."""

    about: dict[str, str] = field(default_factory=dict)
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, workload: str, candidate: str, sample: Sample) -> None:
        self.samples.setdefault(workload, {}).setdefault(candidate, []).append(sample)

    def skip(self, workload: str, candidate: str, reason: str) -> None:
        self.skipped.setdefault(workload, {})[candidate] = reason

    def is_skipped(self, workload: str, candidate: str) -> bool:
        return candidate in self.skipped.get(workload, {})

    def values(self, workload: str, candidate: str, metric: Metric) -> list[float]:
        samples = self.samples.get(workload, {}).get(candidate, [])
        return [sample[metric.key] for sample in samples if metric.key in sample]

    def median(self, workload: str, candidate: str, metric: Metric) -> float | None:
        values = self.values(workload, candidate, metric)
        return statistics.median(values) if values else None

    def spread(self, workload: str, candidate: str, metric: Metric) -> float | None:
        """How far the samples lie apart, as a part of their median."""
        values = self.values(workload, candidate, metric)
        middle = statistics.median(values) if values else 0.0
        return (max(values) - min(values)) / middle if middle else None

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: Path) -> Results:
        return Results(**json.loads(path.read_text()))
