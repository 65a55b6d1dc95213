"""Numbers of repeated measurements. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Measurement:
    """Values in seconds, one per run. ``problem`` says why runs are missing, empty when none is."""

    name: str
    values: list[float] = field(default_factory=list)
    problem: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def maximum(self) -> float | None:
        return max(self.values, default=None)

    def times(self, floor: Measurement) -> float | None:
        """The median as a multiple of the floor's."""
        if self.median is None or not floor.median:
            return None
        return self.median / floor.median

    def document(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "name": self.name,
            "median": self.median,
            "maximum": self.maximum,
            "values": self.values,
            "problem": self.problem,
        }


class Measurements:
    """All measurements of a bench, in the order in which they were named."""

    def __init__(self, names: list[str], runs: int) -> None:
        self.runs = runs
        self._known = {name: Measurement(name) for name in names}

    def __getitem__(self, name: str) -> Measurement:
        return self._known[name]

    def add(self, values: dict[str, float]) -> None:
        """One run's values by name."""
        for name, value in values.items():
            self._known[name].values.append(value)

    def fail(self, names: list[str], problem: str) -> None:
        """Runs of ``names`` are missing; the first reason is kept."""
        for name in names:
            self._known[name].problem = self._known[name].problem or problem

    def all(self) -> list[Measurement]:
        return list(self._known.values())

    def problems(self) -> list[str]:
        """One sentence for each reason why measurements are not whole."""
        reasons: dict[str, list[str]] = {}
        for one in self.all():
            if one.problem or len(one.values) != self.runs:
                told = f"{one.name} ({len(one.values)} of {self.runs} runs)"
                reasons.setdefault(one.problem or "not measured", []).append(told)
        return [f"{'; '.join(names)}: {why}" for why, names in reasons.items()]
