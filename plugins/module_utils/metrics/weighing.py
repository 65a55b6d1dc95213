# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One condition and all requests that were seen of its metric since a hold began. Pure, no clock of its own."""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import (
    Criterion,
    Limits,
    Risks,
    Standing,
    Trigger,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Condition, Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import (
    Bucket,
    histogram_quantile,
    slow_share,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    Judgement,
    lacking_requests,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.limits import limits_of, offends_above
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Gap
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import Counts
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_count, format_value
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    FAIL,
    NO_EVIDENCE,
)

# Requests take time; by the clock of another replica, which is behind, they may seem not to.
_LEAST_SECONDS = 1e-3


@dataclasses.dataclass(frozen=True)
class Batch:
    """What was seen of a metric for the first time, in one step of time up to ``until`` by the source's clock.

    ``part`` of ``total`` requests for a ratio, ``buckets`` (cumulative) for a quantile. ``newest`` is the time of the
    newest sample, ``gaps`` were found in this step, and ``note`` is for people.
    """

    until: float
    newest: float | None
    part: float = 0.0
    total: float = 0.0
    buckets: tuple[Bucket, ...] = ()
    series: int = 0
    partial: str = ""
    note: str = ""
    gaps: tuple[Gap, ...] = ()

    @property
    def age(self) -> float | None:
        """Of the newest sample, in seconds; None where there is none."""
        return None if self.newest is None else max(0.0, self.until - self.newest)

    @property
    def requests(self) -> float:
        return self.buckets[-1][1] if self.buckets else self.total

    def without_requests(self) -> Batch:
        """The same step, as if no request had been seen."""
        return dataclasses.replace(self, part=0.0, total=0.0, buckets=())


def lacking_samples(condition: Condition, batch: Batch, since: float, last_request: float) -> str:
    """What the source doesn't tell any more, or yet; empty when samples and requests keep coming."""
    if batch.age is None:
        return f"no sample since the start, {batch.until - since:.0f} s ago"
    if batch.age > condition.metric.max_age:
        return f"the newest sample is {batch.age:.0f} s old, {condition.metric.max_age:.0f} s allowed"
    if batch.series < condition.min_samples:
        return f"{batch.series} series answered, {condition.min_samples} needed"
    if (silent := batch.until - last_request) > max(condition.window, condition.metric.max_age):
        return f"no requests for {silent:.0f} s"
    return f"the source's answer is partial: {batch.partial}" if batch.partial else ""


class Weighing:
    """Gathers batches and judges by all of them.

    ``since`` is when the hold began, by the source's clock. ``horizon`` is about how long it will be, in seconds.
    """

    def __init__(
        self, condition: Condition, conditions: Conditions, risks: Risks, *, since: float, horizon: float
    ) -> None:
        self.condition = condition
        self.limits: Limits = limits_of(condition, conditions)
        self._risk = risks.false_rollback if condition.is_trigger else risks.false_advance
        self._test: Trigger | Criterion = (
            Trigger(self.limits, risks.false_rollback, horizon, condition.metric.clump)
            if condition.is_trigger
            else Criterion(self.limits, risks, condition.metric.clump)
        )
        self._since = self._until = self._last_request = since
        self._batch = Batch(since, None)
        self._buckets: dict[float, float] = {}
        self._edges: tuple[float, float] | None = None

    def add(self, batch: Batch) -> None:
        """Take in what was not seen before."""
        counts = self._counts(batch)
        offences = counts if offends_above(self.condition) else Counts(counts.total - counts.bad, counts.total)
        self._test.add(offences, max(_LEAST_SECONDS, batch.until - self._until))
        if counts.total > 0:
            self._last_request = batch.until
        self._until, self._batch = batch.until, batch
        edges = dict(batch.buckets)
        if edges:
            kept = edges.keys() & self._buckets.keys() if self._buckets else edges.keys()
            self._buckets = {edge: self._buckets.get(edge, 0.0) + edges[edge] for edge in kept}

    @property
    def fires(self) -> bool:
        """As :attr:`Judgement.fires`, without the cost of one."""
        return self.condition.is_trigger and self._test.fails

    def judgement(self) -> Judgement:
        """The verdict on everything so far, with what it rests on."""
        standing = self._test.standing
        missing = lacking_samples(self.condition, self._batch, self._since, self._last_request)
        lacking = "" if standing.verdict == FAIL else missing or self._lacking(standing)
        evidence = self._evidence(standing) | {"undecided": not missing and standing.counts.total > 0}
        verdict = NO_EVIDENCE if lacking else standing.verdict
        return Judgement(self.condition, verdict, self._value(standing), evidence, lacking or self._reason(standing))

    def _counts(self, batch: Batch) -> Counts:
        """Failed, or slower than the bound, of all. Between bucket edges the count harder to hold is taken."""
        if self.condition.metric.kind == "ratio":
            return Counts(batch.part, batch.total)
        if not batch.buckets or batch.buckets[-1][1] <= 0:
            return Counts(0.0, 0.0)
        slow = slow_share(batch.buckets, self.condition.bound)
        self._edges = slow.edges
        return Counts(slow.least if self.condition.operator in ("above", "at_least") else slow.most, slow.total)

    def _lacking(self, standing: Standing) -> str:
        """Why this is not enough to say that all is well; empty when it is."""
        needed = 0.0 if self.condition.is_trigger else self.condition.min_requests
        if lacking := lacking_requests(standing.counts.total, needed):
            return lacking
        return self._not_sure(standing) if standing.verdict == NO_EVIDENCE else ""

    def _not_sure(self, standing: Standing) -> str:
        most, limit = (format_value(share, "percent") for share in (standing.bounds.most, self.limits.unacceptable))
        subject = "slow" if self.condition.metric.kind == "quantile" else "bad"
        said = f"not yet sure: up to {most} may be {subject}, under {limit} asked"
        return said if standing.more is None else f"{said}; about {format_count(standing.more)} more requests will tell"

    def _reason(self, standing: Standing) -> str:
        notes = [self._batch.note] if self._batch.note else []
        if self._edges and self._edges[0] != self._edges[1]:
            lower, upper = (format_value(edge, self.condition.metric.unit) for edge in self._edges)
            notes.append(f"the bound lies between the bucket edges {lower} and {upper}")
        if standing.verdict == FAIL and self.condition.is_trigger:
            bad, total = standing.counts
            notes.append(f"{format_count(bad)} of {format_count(total)} requests since it changed")
        return "; ".join(notes)

    def _value(self, standing: Standing) -> float | None:
        """In the metric's own words: the share as it is defined, or the quantile itself."""
        if standing.counts.total <= 0:
            return None
        if self.condition.metric.kind == "quantile":
            buckets = sorted(self._buckets.items())
            value = histogram_quantile(buckets, self.condition.metric.quantile) if buckets else math.nan
            return None if math.isnan(value) else value
        share = standing.counts.share
        return share if offends_above(self.condition) else 1 - share

    def _evidence(self, standing: Standing) -> dict[str, t.Any]:
        batch = self._batch
        return {
            "window": round(self._until - self._since, 1),
            "at": batch.until,
            "age": batch.age,
            "samples": batch.series,
            "offending": standing.counts.bad,
            "total": standing.counts.total,
            "offending_share": {"least": standing.bounds.least, "most": standing.bounds.most},
            "limits": self.limits._asdict(),
            "risk": self._risk,
        }
