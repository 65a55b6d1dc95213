# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One condition that compares the candidate with stable, and all requests of both since a hold began. Pure.

The bound is a multiple of stable's odds of a failed request, or of one slower than stable's own quantile was before.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.comparison import (
    ComparisonTest,
    LatencyThreshold,
    OddsRatio,
    OddsRatioBounds,
    latency_threshold,
    slower_than,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Condition, Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import Bucket
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    Judgement,
    lacking_requests,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import Counts
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_count, format_value
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    FAIL,
    NO_EVIDENCE,
    PASS,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.weighing import (
    Batch,
    Weighing,
    lacking_samples,
)

ALIKE = 1.0


class Comparing:
    """Gathers batches of both sides and judges by all of them.

    ``before`` are stable's cumulative buckets of a time before the hold, for a quantile; empty where there are none.
    """

    def __init__(
        self, condition: Condition, risks: Risks, before: t.Sequence[Bucket], *, since: float, horizon: float
    ) -> None:
        self.condition = condition
        self._risks = risks
        self._risk = risks.false_rollback if condition.is_trigger else risks.false_advance
        self._before = before
        self._threshold: LatencyThreshold | None = None
        self._problem = ""
        self._since = self._until = since
        self._sides: tuple[Batch, Batch] = (Batch(since, None), Batch(since, None))
        self._last_request = {"candidate": since, "stable": since}
        clump = condition.metric.clump
        self._odds_ratio = OddsRatio(clump)
        bound = condition.bound
        acceptable = bound if condition.acceptable is None else condition.acceptable
        unacceptable = bound if condition.unacceptable is None else condition.unacceptable
        self._worse = ComparisonTest(
            acceptable, above=True, horizon=horizon if condition.is_trigger else None, clump=clump
        )
        self._not_worse = ComparisonTest(unacceptable, above=False, towards=min(ALIKE, unacceptable), clump=clump)

    def add(self, candidate: Batch, stable: Batch) -> None:
        """Take in what was not seen before, of both sides over the same time."""
        seconds = max(0.0, candidate.until - self._until)
        self._until, self._sides = candidate.until, (candidate, stable)
        try:
            counts = self._counts(candidate, stable)
        except ValueError as error:
            self._problem = str(error)
            return
        self._problem = ""
        for side, seen in zip(("candidate", "stable"), counts, strict=True):
            if seen.total > 0:
                self._last_request[side] = self._until
        self._worse.add(*counts, seconds)
        self._not_worse.add(*counts, seconds)
        self._odds_ratio.add(*counts)

    @property
    def fires(self) -> bool:
        """As :attr:`Judgement.fires`, without the cost of one."""
        return self.condition.is_trigger and self._fails

    @property
    def _fails(self) -> bool:
        return self._worse.holds(self._risks.false_rollback)

    def judgement(self) -> Judgement:
        """The verdict on everything so far; the value is the estimated multiple."""
        estimate, bounds = self._odds_ratio.estimate, self._odds_ratio.bounds(self._risk)
        missing = self._missing()
        verdict, reason = self._verdict(missing, bounds)
        evidence = self._evidence(bounds) | {"undecided": not missing and self._worse.candidate.total > 0}
        return Judgement(self.condition, verdict, None if math.isnan(estimate) else estimate, evidence, reason)

    def _verdict(self, missing: str, bounds: OddsRatioBounds) -> tuple[str, str]:
        if self._fails:
            return FAIL, self._told()
        if missing:
            return NO_EVIDENCE, missing
        if self.condition.is_trigger:
            return PASS, self._told()
        if lacking := lacking_requests(self._worse.candidate.total, self.condition.min_requests):
            return NO_EVIDENCE, lacking
        if self._not_worse.holds(self._risks.false_advance):
            return PASS, self._told()
        most = "any number of times" if math.isinf(bounds.most) else f"up to {format_value(bounds.most, 'ratio')} times"
        return NO_EVIDENCE, f"not yet sure: the candidate may be {most} as bad as stable"

    def _missing(self) -> str:
        """What the sources don't tell of either side; empty when samples and requests keep coming."""
        if self._problem:
            return self._problem
        for side, batch in zip(("candidate", "stable"), self._sides, strict=True):
            if lacking := lacking_samples(self.condition, batch, self._since, self._last_request[side]):
                return f"{side}: {lacking}"
        return ""

    def _counts(self, candidate: Batch, stable: Batch) -> tuple[Counts, Counts]:
        metric = self.condition.metric
        if metric.kind == "ratio":
            sides = [(batch.part, batch.total) for batch in (candidate, stable)]
            good = "good" in metric.queries
            pair = [Counts(total - part if good else part, total) for part, total in sides]
            return pair[0], pair[1]
        if not (candidate.buckets and stable.buckets):
            nothing = Counts(0.0, 0.0)
            return nothing, nothing
        if self._threshold is None:
            edges = [edge for edge, _count in candidate.buckets]
            self._threshold = latency_threshold(self._before, metric.quantile, edges, metric.unit)
        edge = self._threshold.edge
        return slower_than(candidate.buckets, edge), slower_than(stable.buckets, edge)

    def _told(self) -> str:
        candidate, stable = self._worse.candidate, self._worse.stable
        subject = "slow" if self._threshold else "bad"
        said = (
            f"{format_count(candidate.bad)} of {format_count(candidate.total)} requests {subject}, on stable "
            f"{format_count(stable.bad)} of {format_count(stable.total)}"
        )
        return f"{said}; {self._threshold.note}" if self._threshold and self._threshold.note else said

    def _evidence(self, bounds: OddsRatioBounds) -> dict[str, t.Any]:
        batch = self._sides[0]
        return {
            "window": round(self._until - self._since, 1),
            "at": self._until,
            "age": batch.age,
            "samples": batch.series,
            "offending": self._worse.candidate.bad,
            "total": self._worse.candidate.total,
            "stable": self._worse.stable._asdict(),
            "odds_ratio": {"least": bounds.least, "most": None if math.isinf(bounds.most) else bounds.most},
            "threshold": self._threshold.edge if self._threshold else None,
            "risk": self._risk,
        }


def weighing_of(
    condition: Condition,
    conditions: Conditions,
    risks: Risks,
    before: t.Sequence[Bucket],
    *,
    since: float,
    horizon: float,
) -> Weighing | Comparing:
    """What judges ``condition`` by all requests since ``since``; ``before`` are stable's buckets of the time before."""
    if condition.compared_with:
        return Comparing(condition, risks, before, since=since, horizon=horizon)
    return Weighing(condition, conditions, risks, since=since, horizon=horizon)
