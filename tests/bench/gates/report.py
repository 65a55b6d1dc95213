"""What the bench of the gates found, as text for people. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.bench.gates import verdict
from tests.bench.gates.cell import Cells, names
from tests.bench.gates.ending import Rate, Rule, Tally
from tests.bench.gates.scenarios import AT_LINE, BAD, BLIND, CLUMPED, HEALTHY, SCENARIOS
from tests.bench.gates.verdict import SHARES
from tests.bench.table import table

_MOST_LISTED = 20
_SHORT = {"Argo Rollouts": "Argo", "Flagger": "Flagger", "Kayenta": "Kayenta"}
_COLUMNS = (
    "false rollbacks",
    "clumps 3",
    "clumps 10",
    "undecided",
    "bad advanced",
    "at line",
    "blind",
    "median",
    "95 %",
)


def lines(cells: Cells, rates: Sequence[float]) -> list[str]:
    """Everything: the tables per rate, then what was promised and what came of it."""
    text = []
    for rate in rates:
        text += ["", f"== {rate:g} requests/s to the candidate", *_summary(cells, rate), "", *_delays(cells, rate)]
    return [*text, "", *_scenarios(), "", *_verdict(cells, rates)]


def _summary(cells: Cells, rate: float) -> list[str]:
    """Releases per 1000, some with their interval, and seconds to stop a bad release over all bad scenarios."""
    rows = []
    for label, rule in verdict.shown(cells, rate):
        healthy, bad, line, blind = (cells.pooled(kind, rate, rule) for kind in (HEALTHY, BAD, AT_LINE, BLIND))
        rows.append(
            [
                label,
                verdict.false_rollbacks(cells, rate, rule).text(),
                *(_per_1000(part.rolled_back, part) for part in (cells[name, rate][rule] for name in names(CLUMPED))),
                _per_1000(healthy.undecided, healthy),
                Rate(bad.advanced, bad.judged).text(),
                _per_1000(line.advanced, line),
                _per_1000(blind.blind, blind),
                *(_seconds(bad.delay(share)) for share in SHARES.values()),
            ]
        )
    settings = [f"{label}: {rule.settings}" for label, rule in verdict.shown(cells, rate) if rule.settings]
    return [*table(["per 1000 releases", *_COLUMNS], rows), "", *settings]


def _delays(cells: Cells, rate: float) -> list[str]:
    """Median and 95th percentile per bad scenario and rule set."""
    rules = verdict.shown(cells, rate)
    rows = [
        [name, *(_both(cells[name, rate][rule]) for _label, rule in rules)] for name in (*names(BAD), *names(AT_LINE))
    ]
    return table(["seconds to stop", *(_heading(label, rule) for label, rule in rules)], rows)


def _scenarios() -> list[str]:
    width = max(len(one.name) for one in SCENARIOS)
    return [f"{one.name.ljust(width)}  {one.title}" for one in SCENARIOS]


def _verdict(cells: Cells, rates: Sequence[float]) -> list[str]:
    promises, faster = verdict.promises(cells, rates), verdict.faster(cells, rates)
    broken = [promise for promise in promises if promise.broken]
    compared = sum(len(verdict.rivals(cells, rate)) for rate in rates) * len(names(BAD)) * len(SHARES)
    return [
        f"Bounds of ours: {len(promises) - len(broken)} of {len(promises)} kept",
        *(f"  broken: {promise.text}" for promise in broken),
        f"Peers' settings with at most as many false rollbacks as ours, each against ours in every bad scenario: "
        f"ours at least as fast in {compared - len(faster)} of {compared}",
        *_listed([f"  slower: {one.text}" for one in sorted(faster, key=lambda one: one.theirs - one.ours)]),
    ]


def _listed(texts: Sequence[str]) -> list[str]:
    """The first ones, and how many more there are."""
    more = len(texts) - _MOST_LISTED
    return [*texts[:_MOST_LISTED], *([f"  and {more} more, in the JSON file"] if more > 0 else [])]


def _heading(label: str, rule: Rule) -> str:
    return label.replace(rule.family, _SHORT.get(rule.family, rule.family)).replace(",", "")


def _per_1000(count: int, part: Tally) -> str:
    return f"{Rate(count, part.releases).per_1000:.0f}"


def _both(part: Tally) -> str:
    return "/".join(_seconds(part.delay(share)) for share in SHARES.values())


def _seconds(time: float | None) -> str:
    if time is None:
        return "–"
    return "never" if math.isinf(time) else f"{time:.0f}"
