# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Candidate against stable over the same time, valid however often one looks. Pure: counts in, evidence out.

One look gives a table: bad and good requests of either side. Given how many were bad on both sides together, the
candidate's part of them follows Fisher's noncentral hypergeometric distribution. Its one parameter is the *odds
ratio*: the odds of a bad request on the candidate, over those on stable (for small shares the ratio of the shares).
The rate that both have in common is not in it, so what hits both sides, a slow database say, is no evidence. Each
look may have its own.

The likelihood ratio of a larger odds ratio to the edge of "at most ``limit``" has a mean of 1 at the edge. It rises
with the number of the candidate's bad requests (the family has a monotone likelihood ratio), and for every odds ratio
below the edge that number is stochastically smaller; so the mean is at most 1 for the whole hypothesis. The product
over looks is an e-process, as ``sequential`` has it, and its bounds hold here.

Two things are assumed: a request's side does not depend on whether it will be bad, and bad requests do not come in
clumps (beyond ``clump``, see there). Where the weight or the common rate moves *within* a look, tables of two times
become one; look often. Evidence comes from bad requests only: two sides without any are not proven alike.

Ten alternatives cost about 0.1 ms a look with 20 bad requests and 4 ms with 100 000, of up to 10 million.

Sources: R. A. Fisher, *The logic of inductive inference*, 1935, and J. Cornfield, *A statistical problem arising from
retrospective studies*, 1956 (the distribution, its intervals). J. Liao, O. Rosen, *Fast and stable algorithms for
computing and sampling from the noncentral hypergeometric distribution*, 2001 (sums from the mode outwards). A. Wald,
*Sequential analysis*, 1947 (conditioning in a sequential test of two shares). R. Turner, A. Ly, P. Grünwald, *Generic
E-variables for exact sequential k-sample tests that allow for optional stopping*, 2024 (e-values per block). Y. Hao,
P. Grünwald, T. Lardy, L. Long, R. Adams, *E-values for k-sample tests with exponential families*, 2024 (those that
condition on the sum). A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, *Game-theoretic statistics and safe anytime-valid
inference*, 2023.
"""

from __future__ import annotations

import bisect
import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import Bucket
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import Counts, Mixture
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_value

_ALTERNATIVES = 10
_FIRST = 1.5
_STEP = 2.0
# Terms fall faster than geometrically on the way out: what is left behind this one is less than rounding.
_NEGLIGIBLE = 1e-18
# Odds ratios that people are told about: 1/1024 to 1024, four to a doubling.
_GRID_PER_DOUBLING = 4
_GRID_MIDDLE = 40
_GRID = [2 ** ((place - _GRID_MIDDLE) / _GRID_PER_DOUBLING) for place in range(2 * _GRID_MIDDLE + 1)]


class Table(t.NamedTuple):
    """Whole requests of one look: how many the candidate and stable had, and how many of each were bad."""

    candidate_bad: int
    candidate: int
    stable_bad: int
    stable: int

    @property
    def bad(self) -> int:
        return self.candidate_bad + self.stable_bad

    @property
    def possible(self) -> range:
        """What ``candidate_bad`` could have been, but for its largest value, given all the sums."""
        return range(max(0, self.bad - self.stable), min(self.bad, self.candidate))


def log_likelihood(table: Table, odds_ratio: float) -> float:
    """Logarithm of the probability of ``table``, given its sums, under ``odds_ratio``."""
    mode = _mode(table, odds_ratio)
    others = _sum_above(table.candidate, table.stable, table.bad, mode, odds_ratio)
    others += _sum_above(table.stable, table.candidate, table.bad, table.bad - mode, 1 / odds_ratio)
    height = _log_ways(table, table.candidate_bad) - _log_ways(table, mode)
    return height + (table.candidate_bad - mode) * math.log(odds_ratio) - math.log1p(others)


class ComparisonTest:
    """Gathers evidence against "the odds ratio is at most the limit" when ``above``, else against "at least".

    ``above=True`` proves that the candidate is worse than allowed, ``above=False`` that it is not worse than the
    margin ``limit_odds_ratio``. The alternatives begin at ``towards`` (next to the limit without it). With
    ``horizon``, in seconds, the evidence is weighed since the likeliest change instead of since the start. Where up to
    ``clump`` bad requests have one cause the evidence is divided by it; here that is measured, not proven.
    """

    def __init__(
        self,
        limit_odds_ratio: float,
        above: bool = True,
        horizon: float | None = None,
        towards: float | None = None,
        clump: float = 1.0,
    ) -> None:
        for odds_ratio in (limit_odds_ratio, limit_odds_ratio if towards is None else towards):
            if not 0 < odds_ratio < math.inf:
                raise ValueError(f"{odds_ratio} is not an odds ratio: it must be above 0 and finite")
        if towards is not None and (towards < limit_odds_ratio if above else towards > limit_odds_ratio):
            raise ValueError(f"{towards} is on the wrong side of {limit_odds_ratio}")
        self.limit_odds_ratio = limit_odds_ratio
        self.above = above
        self._alternatives = _alternatives(limit_odds_ratio, towards, above)
        self._mixture = Mixture(len(self._alternatives), horizon, clump)
        self._tables = _Tables()

    def add(self, candidate: Counts, stable: Counts, seconds: float) -> None:
        """Take in the requests of ``seconds`` not counted before. Raises ValueError for what is no count."""
        table = self._tables.add(candidate, stable)
        edge = log_likelihood(table, self.limit_odds_ratio)
        self._mixture.add([log_likelihood(table, other) - edge for other in self._alternatives], seconds)

    @property
    def candidate(self) -> Counts:
        """All that was seen of the candidate."""
        return self._tables.candidate.seen

    @property
    def stable(self) -> Counts:
        """All that was seen of the stable side."""
        return self._tables.stable.seen

    @property
    def log_evidence(self) -> float:
        return self._mixture.log_evidence

    def holds(self, risk: float) -> bool:
        """Whether it is surely beyond the limit; wrong at most with probability ``risk``, over all looks."""
        return self.log_evidence >= math.log(1 / risk)


class OddsRatioBounds(t.NamedTuple):
    """The odds ratio is between ``least`` and ``most``."""

    least: float
    most: float


class OddsRatio:
    """The odds ratio as people are told it, if it is the same at all looks: an estimate, and how sure that is.

    It is looked for on a grid from 1/1024 to 1024, so bounds are never much closer than a fifth; beyond the grid they
    are 0 and infinity. A look costs about eight times that of a :class:`ComparisonTest`.
    """

    def __init__(self, clump: float = 1.0) -> None:
        self._clump = clump
        self._logs = [0.0] * len(_GRID)
        self._tables = _Tables()
        self._told = False

    def add(self, candidate: Counts, stable: Counts) -> None:
        """Take in requests not counted before. Raises ValueError for what is no count."""
        table = self._tables.add(candidate, stable)
        if table.possible:
            self._told = True
            self._logs = [
                log + log_likelihood(table, ratio) / self._clump for log, ratio in zip(self._logs, _GRID, strict=True)
            ]

    @property
    def estimate(self) -> float:
        """Where the conditional likelihood of all looks is highest; 0 or infinity beyond the grid, else NaN."""
        if not self._told:
            return math.nan
        place = max(range(len(_GRID)), key=self._logs.__getitem__)
        if place in (0, len(_GRID) - 1):
            return math.inf if place else 0.0
        before, top, after = self._logs[place - 1 : place + 2]
        return _at(place + (before - after) / (2 * (before - 2 * top + after)))

    def bounds(self, risk: float) -> OddsRatioBounds:
        """Where it lies, wrong at any look ever with probability at most ``risk``.

        What the mean likelihood over the grid does not refute (H. Robbins, 1970). The logarithm of the likelihood is
        concave in that of the odds ratio, so a chord drawn on to the next point never refutes too much.
        """
        highest = max(self._logs)
        mean = highest + math.log(sum(math.exp(log - highest) for log in self._logs) / len(self._logs))
        lower = _rise(self._logs, mean + math.log(risk))
        upper = _rise(self._logs[::-1], mean + math.log(risk))
        return OddsRatioBounds(
            0.0 if lower is None else _at(lower),
            math.inf if upper is None else _at(len(_GRID) - 1 - upper),
        )


class LatencyThreshold(t.NamedTuple):
    """A request slower than ``edge`` counts as slow; ``slow`` of stable's were before. ``note`` says what is amiss."""

    edge: float
    slow: float
    note: str = ""


def latency_threshold(
    stable_before: t.Sequence[Bucket], quantile: float, candidate_edges: t.Iterable[float], unit: str = "seconds"
) -> LatencyThreshold:
    """The bucket edge at which the ``quantile`` of stable stood, nearest in odds, among those both sides have.

    ``stable_before`` are cumulative buckets of a time before the comparison: a threshold chosen from the counts it
    judges would fit them too well. Raises ValueError saying what is missing.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile {quantile} is not between 0 and 1")
    total = stable_before[-1][1] if stable_before else 0.0
    if total <= 0:
        raise ValueError("no requests of the stable side from before, so its quantile is not known")
    counts = {edge: count for edge, count in stable_before if math.isfinite(edge)}
    stable, candidate = set(counts), {edge for edge in candidate_edges if math.isfinite(edge)}
    if not stable & candidate:
        raise ValueError(
            "the sides have no bucket edge in common: "
            f"stable has {_listed(stable, unit)}, the candidate {_listed(candidate, unit)}"
        )
    edge = min(sorted(stable & candidate), key=lambda edge: _distance(counts[edge], total, quantile))
    notes = []
    if stable != candidate:
        notes.append(
            f"bucket edges differ (only stable: {_listed(stable - candidate, unit)}; only the candidate: "
            f"{_listed(candidate - stable, unit)}): compared at {format_value(edge, unit)}, which both have"
        )
    last = max(stable)
    if counts[last] < quantile * total:
        notes.append(
            f"the {quantile:.4g} quantile of stable is slower than its last bucket edge, {format_value(last, unit)}: "
            "add buckets above it, or compare a lower quantile"
        )
    return LatencyThreshold(edge, _slow(counts[edge], total) / total, "; ".join(notes))


def slower_than(buckets: t.Sequence[Bucket], edge: float) -> Counts:
    """How many requests of cumulative ``buckets`` were slower than ``edge``, and how many there were.

    Raises ValueError when no bucket ends at ``edge``, as after a change of the buckets.
    """
    counts = dict(buckets)
    if edge not in counts:
        raise ValueError(f"no bucket ends at {edge:g}; there are {', '.join(f'{have:g}' for have in counts) or 'none'}")
    total = buckets[-1][1]
    return Counts(_slow(counts[edge], total), total)


class _Side:
    """Requests of one side; whole ones are taken from the running sums, so that rounding loses none."""

    def __init__(self) -> None:
        self._bad = 0.0
        self._good = 0.0

    @property
    def seen(self) -> Counts:
        return Counts(self._bad, self._bad + self._good)

    def add(self, counts: Counts) -> tuple[int, int]:
        """How many more whole requests were bad, and how many there were in all."""
        bad, good = round(self._bad), round(self._good)
        self._bad += counts.bad
        self._good += counts.total - counts.bad
        bad, good = round(self._bad) - bad, round(self._good) - good
        return bad, bad + good


class _Tables:
    """Tables of whole requests, look after look."""

    def __init__(self) -> None:
        self.candidate = _Side()
        self.stable = _Side()

    def add(self, candidate: Counts, stable: Counts) -> Table:
        for counts in (candidate, stable):
            if not 0 <= counts.bad <= counts.total < math.inf:
                raise ValueError(f"{counts.bad} of {counts.total} is not a share")
        return Table(*self.candidate.add(candidate), *self.stable.add(stable))


def _alternatives(limit: float, towards: float | None, above: bool) -> list[float]:
    """Odds ratios beyond ``limit``, each twice the one before (half, below)."""
    sign = 1 if above else -1
    first = limit * _FIRST**sign
    if towards is not None:
        first = max(first, towards) if above else min(first, towards)
    return [first * _STEP ** (sign * number) for number in range(_ALTERNATIVES)]


def _mode(table: Table, odds_ratio: float) -> int:
    """The likeliest ``candidate_bad``: from there on each is less likely than the one before."""

    def falls(value: int) -> bool:
        more = odds_ratio * (table.candidate - value) * (table.bad - value)
        return more < (value + 1) * (table.stable - table.bad + value + 1)

    possible = table.possible
    return possible.start + bisect.bisect_left(possible, True, key=falls)


def _sum_above(one: int, other: int, bad: int, start: int, odds_ratio: float) -> float:
    """Sum of the terms above ``start`` of side ``one``'s distribution, in units of the term at ``start``."""
    term, total = 1.0, 0.0
    rest = other - bad + 1
    for value in range(start, min(one, bad)):
        term *= odds_ratio * (one - value) * (bad - value) / ((value + 1) * (rest + value))
        total += term
        if term < _NEGLIGIBLE:
            break
    return total


def _log_ways(table: Table, candidate_bad: int) -> float:
    """Logarithm of how many ways there are to spread the bad requests so, but for a constant of the table."""
    stable_bad = table.bad - candidate_bad
    cells = (candidate_bad, table.candidate - candidate_bad, stable_bad, table.stable - stable_bad)
    return -sum(math.lgamma(cell + 1) for cell in cells)


def _at(place: float) -> float:
    """The odds ratio at a place of the grid, also between its points."""
    return float(2 ** ((place - _GRID_MIDDLE) / _GRID_PER_DOUBLING))


def _rise(logs: t.Sequence[float], level: float) -> float | None:
    """Where ``logs``, concave, may first rise above ``level``, never too late; None when it starts there."""
    above = next(place for place, log in enumerate(logs) if log > level)
    if above < 2:
        return None if above == 0 else 0.0
    low = above - 1
    return low + (level - logs[low]) / (logs[low] - logs[low - 1])


def _slow(fast: float, total: float) -> float:
    return max(0.0, total - fast)


def _distance(fast: float, total: float, quantile: float) -> float:
    """How far the odds at a bucket edge are from those at ``quantile``; half a request more keeps them finite."""
    odds = (fast + 0.5) / (_slow(fast, total) + 0.5)
    return abs(math.log(odds * (1 - quantile) / quantile))


def _listed(edges: t.Iterable[float], unit: str) -> str:
    return ", ".join(format_value(edge, unit) for edge in sorted(edges)) or "none"
