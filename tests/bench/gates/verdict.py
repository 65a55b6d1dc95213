"""Whether our rule keeps what it promises, and whether a peer's is faster at the same price. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Risks
from tests.bench.gates import ours
from tests.bench.gates.cell import Cells, names
from tests.bench.gates.ending import Rate, Rule
from tests.bench.gates.scenarios import AT_LINE, BAD, BLIND, HEALTHY

FAMILIES = ("Argo Rollouts", "Flagger", "Kayenta")
SHARES = {"median": 0.5, "95th percentile": 0.95}
# What counts for a bad release that is never stopped, when settings are put in order of speed.
_NEVER = 7200.0


@dataclass(frozen=True)
class Promise:
    """One bound in one cell. It is broken when even the lower end of the interval is above it."""

    what: str
    scenario: str
    rate: float
    found: Rate
    bound: float

    @property
    def broken(self) -> bool:
        return self.found.interval[0] > 1000 * self.bound

    @property
    def text(self) -> str:
        return f"{self.what}, {self.scenario} at {self.rate:g}/s: {self.found.text()} in 1000"


@dataclass(frozen=True)
class Faster:
    """A setting of a peer with no more false rollbacks than ours that stops a bad release sooner; times in seconds."""

    rule: Rule
    scenario: str
    rate: float
    share: str
    ours: float
    theirs: float

    @property
    def text(self) -> str:
        return (
            f"{self.scenario} at {self.rate:g}/s, {self.share}: ours {self.ours:.0f} s, "
            f"{self.rule.name} {self.theirs:.0f} s"
        )


def promises(cells: Cells, rates: Sequence[float]) -> list[Promise]:
    """Our bounds in every cell that they are stated for, and that nothing passes without evidence."""
    risks, found = Risks(), []
    for rate, rule in itertools.product(rates, (ours.RULE, ours.CLUMP_RULE)):
        for name in names(HEALTHY):
            part = cells[name, rate][rule]
            kept = Rate(part.rolled_back, part.releases)
            found.append(Promise(f"{rule.name}: false rollbacks", name, rate, kept, risks.false_rollback))
        for name in (*names(AT_LINE), *names(BAD)):
            part = cells[name, rate][rule]
            kept = Rate(part.advanced, part.judged)
            found.append(Promise(f"{rule.name}: bad advanced", name, rate, kept, risks.false_advance))
        for name in names(BLIND):
            part = cells[name, rate][rule]
            kept = Rate(part.blind, part.releases)
            found.append(Promise(f"{rule.name}: advanced without evidence", name, rate, kept, 0.0))
    return found


def false_rollbacks(cells: Cells, rate: float, rule: Rule) -> Rate:
    """Over all healthy releases for which our bounds are stated."""
    part = cells.pooled(HEALTHY, rate, rule)
    return Rate(part.rolled_back, part.releases)


def rivals(cells: Cells, rate: float) -> list[Rule]:
    """The peers' settings with at most as many false rollbacks as ours."""
    most = false_rollbacks(cells, rate, ours.RULE).per_1000
    peers = [rule for rule in cells.rules if rule.family in FAMILIES]
    return [rule for rule in peers if false_rollbacks(cells, rate, rule).per_1000 <= most]


def faster(cells: Cells, rates: Sequence[float]) -> list[Faster]:
    """Where a rival stops bad releases sooner than ours does."""
    found = []
    for rate in rates:
        for rule in rivals(cells, rate):
            for name in names(BAD):
                for share, quantile in SHARES.items():
                    own = cells[name, rate][ours.RULE].delay(quantile)
                    theirs = cells[name, rate][rule].delay(quantile)
                    if own is not None and theirs is not None and theirs < own:
                        found.append(Faster(rule, name, rate, share, own, theirs))
    return found


def shown(cells: Cells, rate: float) -> list[tuple[str, Rule]]:
    """The rule sets for the tables, with what they are called there: ours, each peer's example and its best setting."""
    chosen = [("ours", ours.RULE), (f"ours, {ours.CLUMP_RULE.settings}", ours.CLUMP_RULE)]
    for family in FAMILIES:
        example = next(rule for rule in cells.rules if rule.family == family and rule.documented)
        chosen += [(f"{family}, example", example), (f"{family}, best", best(cells, rate, family))]
    return chosen


def best(cells: Cells, rate: float, family: str) -> Rule:
    """The fastest setting within our bound on false rollbacks at this rate; with the fewest of them if none is."""
    settings = [rule for rule in cells.rules if rule.family == family]
    counts = {rule: false_rollbacks(cells, rate, rule).per_1000 for rule in settings}
    within = [rule for rule in settings if counts[rule] <= 1000 * Risks().false_rollback]
    candidates = within or [rule for rule in settings if counts[rule] == min(counts.values())]
    return min(candidates, key=lambda rule: _slowness(cells, rate, rule))


def _slowness(cells: Cells, rate: float, rule: Rule) -> float:
    """Mean over the bad scenarios of the median time to stop."""
    delays = [cells[name, rate][rule].delay(SHARES["median"]) for name in names(BAD)]
    known = [min(delay, _NEVER) for delay in delays if delay is not None]
    return sum(known) / len(known) if known else math.inf
