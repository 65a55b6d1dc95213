# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a criterion has held for a time on end, from what a source kept of it. Pure, no clock of its own.

A gauge must have held at every point, free PromQL over every window. A share of requests has no value at a point: all
requests of the time together must not come from a bad release, and none of its stretches may be clearly bad. A time
of which nothing is known is a gap, and a gap passes nothing.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_time
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.comparing import weighing_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Condition, Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import Bucket
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    Judgement,
    Measurement,
    compare,
    judge,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.limits import breach_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Course, Gap, merged
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_count, format_value
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    FAIL,
    NO_EVIDENCE,
    PASS,
    SOURCE_DOWN,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.weighing import Batch


class Stretch(t.NamedTuple):
    """A part of the time whose requests are clearly bad: ``bad`` of ``total``."""

    since: float
    until: float
    bad: float
    total: float


class Held:
    """A criterion on counts, over the time from ``since`` on; ``before`` as in :func:`weighing_of`.

    Both the whole and its stretches may call a good release bad, each with the ``false_rollback`` of ``risks``.
    """

    def __init__(
        self, condition: Condition, conditions: Conditions, risks: Risks, before: t.Sequence[Bucket], *, since: float
    ) -> None:
        horizon = condition.lasting or 1.0
        breach = breach_of(condition, conditions)
        self._condition = condition
        self._whole = weighing_of(condition, conditions, risks, before, since=since, horizon=horizon)
        self._detector_from = lambda at: weighing_of(breach, conditions, risks, before, since=at, horizon=horizon)
        self._detector = self._detector_from(since)
        self._watched: list[tuple[float, float]] = []
        self._stretches: list[Stretch] = []
        self._gaps: list[Gap] = []
        self._pauses: list[Gap] = []
        self._until = self._last_request = since

    def add(self, *batches: Batch) -> None:
        """One step further: what was not seen before, for a comparison of both sides."""
        until, requests = batches[0].until, batches[0].requests
        self._whole.add(*batches)
        self._detector.add(*batches)
        self._gaps += [gap for batch in batches for gap in batch.gaps]
        self._watched.append((self._until, requests))
        self._until = until
        if requests > 0:
            if until - self._last_request > max(self._condition.window, self._condition.metric.max_age):
                self._pauses.append(Gap(self._last_request, until, 0))
            self._last_request = until
        if self._detector.fires:
            clearly_bad = self._detector.judgement().evidence
            self._note_stretch(clearly_bad["offending"], clearly_bad["total"])

    def judgement(self) -> Judgement:
        """The verdict on the whole time; the evidence tells its bad ``stretches``, its ``gaps`` and ``pauses``."""
        whole = self._whole.judgement()
        verdict, reason = self._verdict(whole)
        evidence = {
            **whole.evidence,
            "lasting": self._condition.lasting,
            "stretches": [stretch._asdict() for stretch in self._stretches],
            "gaps": _told(merged(self._gaps)),
            "pauses": _told(self._pauses),
        }
        return dataclasses.replace(whole, verdict=verdict, reason=reason, evidence=evidence)

    def _verdict(self, whole: Judgement) -> tuple[str, str]:
        lasting = f"{self._condition.lasting:g} s"
        bad = "slow" if self._condition.metric.kind == "quantile" else "bad"
        if self._stretches:
            last = self._stretches[-1]
            return FAIL, (
                f"{_of(last.bad, last.total)} requests {bad} from {format_time(last.since)} to "
                f"{format_time(last.until)}, held since then for {self._until - last.until:.0f} of {lasting}"
            )
        if whole.verdict == FAIL:
            counted = _of(whole.evidence["offending"], whole.evidence["total"])
            return FAIL, f"{counted} requests {bad} over {lasting} as a whole, without a stretch that stands out"
        if self._gaps:
            return NO_EVIDENCE, _gaps_text(merged(self._gaps))
        if self._pauses:
            pause = self._pauses[-1]
            return NO_EVIDENCE, f"no requests for {pause.until - pause.since:.0f} s, at {format_time(pause.since)}"
        if whole.verdict != PASS:
            return whole.verdict, f"{lasting} as a whole: {whole.reason}"
        return PASS, "; ".join(filter(None, [f"held for {lasting}", whole.reason]))

    def _note_stretch(self, bad: float, total: float) -> None:
        """The last ``total`` requests are clearly bad. Stretches that touch are one."""
        since, missing = self._until, total
        while self._watched and missing > 0:
            since, requests = self._watched.pop()
            missing -= requests
        stretch = Stretch(since, self._until, bad, total)
        if self._stretches and self._stretches[-1].until >= since:
            last = self._stretches.pop()
            stretch = Stretch(last.since, self._until, last.bad + bad, last.total + total)
        self._stretches.append(stretch)
        self._watched = []
        self._detector = self._detector_from(self._until)


def judge_course(condition: Condition, course: Course) -> Judgement:
    """A gauge or an increase: every point of every series must satisfy the bound. Told is the worst value."""
    points = _points(condition, course)
    gaps = [gap for gap in course.gaps if gap.until - gap.since > condition.metric.max_age]
    evidence: dict[str, t.Any] = {
        "window": course.at - course.since,
        "at": course.at,
        "age": course.at - points[-1][0] if points else None,
        "samples": len(course.series),
        "queries": {"query": course.query},
        "lasting": condition.lasting,
        "step": course.step,
        "points": len(points),
        "gaps": _told(gaps),
    }
    if course.problem:
        return Judgement(condition, course.problem, None, evidence | {"at": None}, course.reason)
    worst = _furthest(condition, [value for _at, value in points])
    missed = [(at, value) for at, value in points if not compare(condition.operator, value, condition.bound)]
    if missed:
        return Judgement(condition, FAIL, worst, evidence, _missed_text(condition, course, points, missed))
    lacking = _gaps_text(gaps) if gaps else _lacking(condition, course, points)
    if lacking:
        return Judgement(condition, NO_EVIDENCE, worst, evidence, lacking)
    return Judgement(condition, PASS, worst, evidence, f"held for {condition.lasting:g} s")


def judge_windows(condition: Condition, measured: t.Sequence[Measurement]) -> Judgement:
    """A ratio or a quantile by ``evidence: point``: it must hold over each of the windows, in order of time."""
    judgements = [judge(condition, measurement) for measurement in measured]
    ranked = [FAIL, SOURCE_DOWN, NO_EVIDENCE, PASS]
    found = min((one.verdict for one in judgements), key=ranked.index)
    last = [place for place, one in enumerate(judgements) if one.verdict == found][-1]
    judgement, at = judgements[last], measured[last].at
    evidence = {**judgement.evidence, "lasting": condition.lasting, "verdicts": [one.verdict for one in judgements]}
    if found == PASS:
        said = [f"held for {condition.lasting:g} s", judgement.reason]
    else:
        said = [judgement.reason, f"in the {condition.window:g} s up to {format_time(at)}" if at else ""]
    return dataclasses.replace(judgement, evidence=evidence, reason="; ".join(filter(None, said)))


def _points(condition: Condition, course: Course) -> list[tuple[float, float]]:
    """Time and value in order of time, of each series; of an increase all series together."""
    points = sorted(point for series in course.series for point in series.samples)
    if condition.metric.kind != "increase":
        return points
    sums: dict[float, float] = {}
    for at, value in points:
        sums[at] = sums.get(at, 0.0) + value
    return list(sums.items())


def _furthest(condition: Condition, values: t.Sequence[float]) -> float | None:
    """The value that holds least, or is furthest from holding."""
    if not values:
        return None
    if condition.operator == "equals":
        return max(values, key=lambda value: abs(value - condition.bound))
    return min(values) if condition.operator in ("above", "at_least") else max(values)


def _missed_text(
    condition: Condition,
    course: Course,
    points: t.Sequence[tuple[float, float]],
    missed: t.Sequence[tuple[float, float]],
) -> str:
    last = missed[-1][0]
    if last < points[-1][0]:
        value = format_value(_furthest(condition, [value for at, value in missed if at == last]), condition.metric.unit)
        since = f"held since then for {course.at - last:.0f} of {condition.lasting:g} s"
        return f"{value} at {format_time(last)}, {since}"
    held = {at for at, _value in points} - {at for at, _value in missed}
    return f"last held at {format_time(max(held))}" if held else f"at no time of {condition.lasting:g} s"


def _lacking(condition: Condition, course: Course, points: t.Sequence[tuple[float, float]]) -> str:
    if not points:
        return "the query answered nothing"
    answered: dict[float, int] = {}
    for series in course.series:
        for at, _value in series.samples:
            answered[at] = answered.get(at, 0) + 1
    fewest = min(answered, key=lambda at: (answered[at], -at))
    if answered[fewest] < condition.min_samples:
        return f"{answered[fewest]} series answered at {format_time(fewest)}, {condition.min_samples} needed"
    return f"the source's answer is partial: {course.partial}" if course.partial else ""


def _gaps_text(gaps: t.Sequence[Gap]) -> str:
    """The last gap is the one that goes by last."""
    last = gaps[-1]
    said = f"a gap of {last.until - last.since:.0f} s, at {format_time(last.since)}"
    return f"{said}, the last of {len(gaps)}" if len(gaps) > 1 else said


def _told(gaps: t.Iterable[Gap]) -> list[dict[str, float]]:
    return [{"since": gap.since, "until": gap.until} for gap in gaps]


def _of(bad: float, total: float) -> str:
    return f"{format_count(bad)} of {format_count(total)}"
