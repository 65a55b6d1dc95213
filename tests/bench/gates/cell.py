"""One cell of the bench: many releases of one scenario at one rate of traffic, ended by every rule set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tests.bench.gates import fixed_line, kayenta, ours
from tests.bench.gates.ending import Rule, Tally, tally
from tests.bench.gates.plan import Plan
from tests.bench.gates.scenarios import SCENARIOS, Simulated

BATCH = 250
# Of each batch; Mann-Whitney tests of all settings take longer than everything else together.
KAYENTA_RELEASES = 100


@dataclass(frozen=True)
class Batch:
    """Some releases of a cell: ``scenario`` counts SCENARIOS, ``rate`` is requests/s to the candidate."""

    scenario: int
    rate: float
    number: int
    releases: int


@dataclass(frozen=True)
class Found:
    """What each rule made of a batch."""

    batch: Batch
    tallies: dict[Rule, Tally]


class Cells:
    """What every rule made of every cell so far. Keys are the scenario's name and the rate."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, float], dict[Rule, Tally]] = defaultdict(lambda: defaultdict(Tally))

    def add(self, found: Found) -> None:
        cell = self._found[SCENARIOS[found.batch.scenario].name, found.batch.rate]
        for rule, part in found.tallies.items():
            cell[rule].add(part)

    def __getitem__(self, key: tuple[str, float]) -> dict[Rule, Tally]:
        return self._found[key]

    @property
    def rules(self) -> list[Rule]:
        """Every rule set, ours first."""
        return list(next(iter(self._found.values())))

    def pooled(self, kind: str, rate: float, rule: Rule) -> Tally:
        """All releases of the scenarios of one kind together."""
        whole = Tally()
        for name in names(kind):
            whole.add(self[name, rate][rule])
        return whole

    def document(self) -> list[dict[str, Any]]:
        """Ready for JSON: one entry per cell and rule set."""
        return [
            {"scenario": name, "rate": rate, **asdict(rule), **part.document()}
            for (name, rate), cell in self._found.items()
            for rule, part in cell.items()
        ]


def names(kind: str) -> list[str]:
    """The scenarios of a kind."""
    return [one.name for one in SCENARIOS if one.kind == kind]


def batches(releases: dict[str, int], rates: list[float]) -> list[Batch]:
    """All there is to simulate; ``releases`` per kind of scenario."""
    return [
        Batch(scenario, rate, number, min(BATCH, releases[one.kind] - first))
        for rate in rates
        for scenario, one in enumerate(SCENARIOS)
        for number, first in enumerate(range(0, releases[one.kind], BATCH))
    ]


def run(batch: Batch, plan: Plan, seed: int) -> Found:
    """Simulate and judge one batch. The same seed gives the same releases, whatever runs beside it."""
    rng = np.random.default_rng([seed, batch.scenario, round(1000 * batch.rate), batch.number])
    simulated = SCENARIOS[batch.scenario].stream(plan, batch.rate, batch.releases, rng)
    return Found(batch, dict(_tallies(simulated, plan)))


def _tallies(simulated: Simulated, plan: Plan) -> Iterator[tuple[Rule, Tally]]:
    yield ours.RULE, tally(ours.judge(simulated.candidate, plan), simulated)
    yield ours.CLUMP_RULE, tally(ours.judge(simulated.candidate, plan, ours.CLUMP), simulated)
    for rule, endings in fixed_line.judge(simulated.candidate, plan):
        yield rule, tally(endings, simulated)
    some = simulated.first(KAYENTA_RELEASES)
    for rule, endings in kayenta.judge(some, plan):
        yield rule, tally(endings, some)
