# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judging a measurement by a condition: counts in, verdict and its evidence out. Pure, no clock of its own."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Condition
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import (
    Bucket,
    histogram_quantile,
    lower_bound,
    slow_share,
    upper_bound,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import (
    format_count,
    format_value,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    FAIL,
    NO_EVIDENCE,
    PASS,
    SOURCE_DOWN,
)

_WORST_FIRST = (FAIL, SOURCE_DOWN, NO_EVIDENCE)
_ABOVE = ("above", "at_least")


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What the source said about one metric at one time.

    ``bad``/``total`` for a ratio (``bad`` is the part the metric names, failures or successes), ``buckets`` for a
    quantile, ``values`` for gauge and increase (one per series). ``window`` in seconds, ``at`` in unix seconds by the
    source's clock, ``age`` of the newest sample in seconds by the same clock, None where it can't be told.
    ``problem`` is empty, ``no_evidence`` or ``source_down``, and ``reason`` says why. ``partial`` says what data is
    left out of the answer.
    """

    window: float
    bad: float = 0.0
    total: float = 0.0
    good: bool = False
    buckets: tuple[Bucket, ...] = ()
    values: tuple[float, ...] = ()
    samples: int = 0
    age: float | None = None
    at: float | None = None
    problem: str = ""
    reason: str = ""
    partial: str = ""
    queries: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A verdict and what it rests on. For a trigger ``fail`` means that it fires."""

    condition: Condition
    verdict: str
    value: float | None
    evidence: t.Mapping[str, t.Any]
    reason: str = ""

    @property
    def fires(self) -> bool:
        return self.condition.is_trigger and self.verdict == FAIL

    @property
    def undecided(self) -> bool:
        """Whether requests keep coming and are only too few to tell yet, so that nothing is missing but time."""
        return self.verdict == NO_EVIDENCE and bool(self.evidence.get("undecided"))

    @property
    def text(self) -> str:
        """One line for people: ``criterion error_rate: 0.02 %, asked < 0.1 %: pass (12 041 requests in 5 s)``."""
        condition = self.condition
        unit = condition.metric.unit
        asked = f"{'fires at' if condition.is_trigger else 'asked'} {condition.target}"
        head = f"{condition.role} {condition.name}: {format_value(self.value, unit)}, {asked}: {self.verdict}"
        told = [self.reason] if self.reason else []
        if "total" in self.evidence and not (self.fires and self.reason):
            told.append(f"{format_count(self.evidence['total'])} requests in {self.evidence['window']:g} s")
        return f"{head} ({'; '.join(told)})" if told else head

    def as_dict(self) -> dict[str, t.Any]:
        """Everything a report needs, as plain data."""
        condition = self.condition
        return {
            "name": condition.name,
            "role": condition.role,
            "metric": condition.metric.name,
            "kind": condition.metric.kind,
            "unit": condition.metric.unit,
            "operator": condition.operator,
            "bound": condition.bound,
            "value": self.value,
            "verdict": self.verdict,
            "advisory": condition.advisory,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            "text": self.text,
        }


def overall(judgements: t.Iterable[Judgement]) -> str:
    """The worst verdict of all that are not advisory: fail, then source_down, then no_evidence."""
    found = {judgement.verdict for judgement in judgements if not judgement.condition.advisory}
    return next((verdict for verdict in _WORST_FIRST if verdict in found), PASS)


def unjudged(condition: Condition, verdict: str, reason: str) -> Judgement:
    """The judgement of a look that told nothing: ``no_evidence`` or ``source_down``."""
    return Judgement(condition, verdict or NO_EVIDENCE, None, {"window": 0.0}, reason)


def judge(condition: Condition, measurement: Measurement) -> Judgement:
    """The verdict on ``measurement``. Only what surely holds holds: doubt passes no criterion and fires no trigger."""
    evidence = _evidence(condition, measurement)
    lacking = measurement.reason if measurement.problem else _lacking(condition, measurement)
    if measurement.problem or lacking:
        return Judgement(condition, measurement.problem or NO_EVIDENCE, None, evidence, lacking)
    held: bool | None
    if condition.metric.kind == "ratio":
        value, held, reason = _judge_ratio(condition, measurement, evidence)
    elif condition.metric.kind == "quantile":
        value, held, reason = _judge_quantile(condition, measurement, evidence)
    else:
        value, held, reason = _judge_values(condition, measurement.values)
    verdict = _verdict(condition, held)
    if measurement.partial and verdict == PASS:
        verdict, reason = NO_EVIDENCE, f"the source's answer is partial: {measurement.partial}"
    return Judgement(condition, verdict, value, evidence, reason)


def lacking_requests(total: float, needed: float) -> str:
    """Why ``total`` requests are too few; empty when they are not. Of nothing there is no share, whatever is needed."""
    if total <= 0:
        return "no requests"
    return f"{format_count(total)} requests, {format_count(needed)} needed" if total < needed else ""


def value_of(metric: Metric, measurement: Measurement) -> float | None:
    """The measured value for people, whatever it is judged by; None without evidence. Of several gauges their mean."""
    if measurement.problem:
        return None
    if metric.kind == "ratio":
        return measurement.bad / measurement.total if measurement.total > 0 else None
    if metric.kind == "quantile":
        some = measurement.buckets[-1][1] > 0
        return histogram_quantile(measurement.buckets, metric.quantile) if some else None
    return sum(measurement.values) / len(measurement.values)


def _verdict(condition: Condition, held: bool | None) -> str:
    if held is None:
        return NO_EVIDENCE
    return PASS if held is not condition.is_trigger else FAIL


def _evidence(condition: Condition, measurement: Measurement) -> dict[str, t.Any]:
    evidence: dict[str, t.Any] = {
        "window": measurement.window,
        "at": measurement.at,
        "age": measurement.age,
        "samples": measurement.samples,
        "queries": dict(measurement.queries),
    }
    if measurement.problem:
        return evidence
    if condition.metric.kind == "ratio":
        bad = measurement.total - measurement.bad if measurement.good else measurement.bad
        evidence |= {"bad": bad, "total": measurement.total}
    elif condition.metric.kind == "quantile":
        evidence |= {"total": measurement.buckets[-1][1]}
    else:
        evidence |= {"values": list(measurement.values)}
    return evidence


def _lacking(condition: Condition, measurement: Measurement) -> str:
    """Why this is not enough to judge by; empty when it is."""
    if measurement.age is not None and measurement.age > condition.metric.max_age:
        return f"the newest sample is {measurement.age:.0f} s old, {condition.metric.max_age:.0f} s allowed"
    if measurement.samples < condition.min_samples:
        return f"{measurement.samples} series answered, {condition.min_samples} needed"
    if condition.metric.kind in ("gauge", "increase"):
        return "" if measurement.values else "the query answered nothing"
    total = measurement.buckets[-1][1] if condition.metric.kind == "quantile" else measurement.total
    return lacking_requests(total, condition.min_requests)


def _judge_ratio(condition: Condition, measurement: Measurement, evidence: dict[str, t.Any]) -> tuple[float, bool, str]:
    part, total = measurement.bad, measurement.total
    held = _share_held(condition, condition.operator, part, total, condition.bound, evidence)
    return part / total, held, _offenders_note(condition, part, total, held)


def _judge_quantile(
    condition: Condition, measurement: Measurement, evidence: dict[str, t.Any]
) -> tuple[float, bool | None, str]:
    """``P95 below B``: at most 5 % took longer than B. Between bucket edges the count harder to hold is taken."""
    buckets, quantile = measurement.buckets, condition.metric.quantile
    share = slow_share(buckets, condition.bound)
    evidence |= {"slow_least": share.least, "slow_most": share.most, "edges": [share.edges[0], _finite(share.edges[1])]}
    value = histogram_quantile(buckets, quantile)
    above = condition.operator in _ABOVE
    slow = share.least if above else share.most
    held = _share_held(condition, "above" if above else "at_most", slow, share.total, 1 - quantile, evidence)
    if share.exact:
        return value, held, _offenders_note(condition, slow, share.total, held)
    lower, upper = (format_value(edge, condition.metric.unit) for edge in share.edges)
    note = f"the bound lies between the bucket edges {lower} and {upper}"
    blind = above and share.edges[1] == float("inf") and share.most > (1 - quantile) * share.total
    if blind and condition.is_trigger:
        return value, None, f"{note}: these buckets can't tell"
    return value, held, f"{note}: judged by {upper if above else lower}"


def _share_held(
    condition: Condition, operator: str, part: float, total: float, limit: float, evidence: dict[str, t.Any]
) -> bool:
    """Whether ``part`` of ``total`` is surely on the asked side of ``limit``, with the confidence asked for."""
    above = operator in _ABOVE
    offenders = part if above else total - part
    if condition.is_trigger and offenders < condition.min_bad:
        return False
    share = part / total
    if condition.confidence:
        share = (lower_bound if above else upper_bound)(part, total, condition.confidence)
        evidence["share_at_least" if above else "share_at_most"] = share
    return compare(operator, share, limit)


def _offenders_note(condition: Condition, part: float, total: float, held: bool) -> str:
    """Says why a share beyond the bound does not hold yet: too few requests to be sure."""
    if held or not (condition.confidence or condition.is_trigger) or condition.metric.kind != "ratio":
        return ""
    if compare(condition.operator, part / total, condition.bound):
        return "not yet sure"
    return ""


def _judge_values(condition: Condition, values: t.Sequence[float]) -> tuple[float, bool, str]:
    """A criterion needs every series, a trigger one; told is the series that decides."""
    above = condition.operator in _ABOVE
    met = [compare(condition.operator, value, condition.bound) for value in values]
    deciding = [value for value, hit in zip(values, met, strict=True) if hit is condition.is_trigger] or list(values)
    # For a criterion the worst value is the least of "above", for a trigger the most of it.
    value = (max if above is condition.is_trigger else min)(deciding)
    reason = f"{len(values)} series" if len(values) > 1 else ""
    return value, (any(met) if condition.is_trigger else all(met)), reason


def _finite(edge: float) -> float | None:
    """JSON has no infinity: the open end of the last bucket is None."""
    return None if edge == float("inf") else edge


def compare(operator: str, value: float, bound: float) -> bool:
    """Whether ``value`` is on the side of ``bound`` that ``operator`` asks for."""
    # Fractions such as 1 - 0.95 carry a rounding error of their own; it must not decide.
    slack = 1e-12
    return {
        "below": value < bound,
        "above": value > bound + slack,
        "at_least": value >= bound,
        "at_most": value <= bound + slack,
        "equals": value == bound,
    }[operator]
