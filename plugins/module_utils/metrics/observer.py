# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at a source again and again, and judges every condition: by all requests since it began, or by one window.

All that is asked in one look is asked at one time of the source's clock.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import SourceDownError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.comparing import Comparing
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import (
    POINT,
    SEQUENTIAL,
    Condition,
    Conditions,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.counters import (
    DEFAULT_LOOKBACK,
    CounterWatch,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import Bucket
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Judgement, judge
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Samples
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.source import Source
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import NO_EVIDENCE, SOURCE_DOWN
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.weighing import Batch, Weighing

DEFAULT_RISKS = Risks()


class NoBatch(Exception):
    """A look that told nothing of a metric: ``verdict`` is ``no_evidence`` or ``source_down``."""

    def __init__(self, verdict: str, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


@dataclasses.dataclass(frozen=True)
class Watch:
    """How long is looked: about ``horizon`` seconds. ``from_window``: the window before the first look counts too."""

    horizon: float
    from_window: bool = False
    risks: Risks = DEFAULT_RISKS


class Observer:
    """Judges ``conditions`` by what ``source`` answers, from the first look on."""

    def __init__(self, conditions: Conditions, source: Source, versions: t.Mapping[str, str], watch: Watch) -> None:
        self._conditions = conditions
        self._source = source
        self._versions = versions
        self._watch = watch
        self._followers: dict[str, Follower] = {}
        self._weighings: dict[tuple[str, str], Weighing | Comparing] = {}

    def look(self, *, strict: bool = False, criteria_count: bool = True) -> tuple[Judgement, ...]:
        """A judgement of each condition, in their order.

        With ``strict`` a query that the source refuses raises QueryError. Without ``criteria_count`` the requests of
        this look count for triggers only.
        """
        try:
            at = self._source.now()
        except SourceDownError as error:
            return tuple(_unjudged(one, SOURCE_DOWN, error.message) for one in self._conditions.all)
        if not self._weighings:
            self._begin(at)
        batches = self._batches(at, strict)
        points = [one for one in self._conditions.all if one.evidence == POINT]
        needs = [(one.metric, one.window) for one in points]
        measured = self._source.measure(needs, strict=strict, at=at) if needs else {}
        return tuple(
            judge(one, measured[one.metric.name, one.window])
            if one.evidence == POINT
            else self._weigh(one, [batches[metric.name] for metric in _metrics_of(one)], criteria_count)
            for one in self._conditions.all
        )

    def _begin(self, at: float) -> None:
        weighed = [one for one in self._conditions.all if one.evidence == SEQUENTIAL]
        risks = self._watch.risks
        each = risks._replace(false_rollback=risks.false_rollback / max(1, len(weighed)))
        for one in weighed:
            before = self._before(one.metric)
            times = {"since": at - before, "horizon": self._watch.horizon + before}
            self._weighings[one.role, one.name] = (
                Comparing(one, each, self._stable_before(one, at - before), **times)
                if one.compared_with
                else Weighing(one, self._conditions, each, **times)
            )
            for metric in _metrics_of(one):
                if metric.name not in self._followers:
                    follow = CounterFollower if metric.counted else WindowFollower
                    self._followers[metric.name] = follow(metric, self._versions, at - before)

    def _stable_before(self, condition: Condition, until: float) -> tuple[Bucket, ...]:
        """Stable's histogram of the window before the hold, which says where its quantile stands."""
        if condition.metric.kind != "quantile":
            return ()
        stable = condition.metric.scoped("stable")
        measured = self._source.measure([(stable, condition.window)], at=until)
        return measured[stable.name, condition.window].buckets

    def _before(self, metric: Metric) -> float:
        """How many seconds before the first look count for ``metric``: the longest window that is asked of it."""
        if not self._watch.from_window:
            return 0.0
        return max(one.window for one in self._conditions.all if one.metric == metric)

    def _batches(self, at: float, strict: bool) -> dict[str, Batch | NoBatch]:
        since: dict[str, float] = {}
        for follower in self._followers.values():
            for selector, begin in follower.since.items():
                since[selector] = min(begin, since.get(selector, begin))
        samples = self._source.samples(since, strict=strict, at=at) if since else {}
        batches: dict[str, Batch | NoBatch] = {}
        for name, follower in self._followers.items():
            try:
                batches[name] = follower.batch(samples, self._source, at, strict)
            except NoBatch as nothing:
                batches[name] = nothing
        return batches

    def _weigh(self, condition: Condition, seen: t.Sequence[Batch | NoBatch], criteria_count: bool) -> Judgement:
        weighing = self._weighings[condition.role, condition.name]
        nothing = next((one for one in seen if isinstance(one, NoBatch)), None)
        if nothing:
            before = weighing.judgement()
            return before if before.fires else _unjudged(condition, nothing.verdict, str(nothing))
        batches = [one for one in seen if isinstance(one, Batch)]
        if not criteria_count and not condition.is_trigger:
            batches = [one.without_requests() for one in batches]
        weighing.add(*batches)
        return weighing.judgement()


class Follower(t.Protocol):
    """Follows one metric: each request is in one batch and no more."""

    @property
    def since(self) -> dict[str, float]:
        """Selectors whose samples it needs, and from when on."""

    def batch(self, samples: t.Mapping[str, Samples], source: Source, at: float, strict: bool) -> Batch:
        """What is new at this look. Raises NoBatch."""


class CounterFollower:
    """A metric made of plain counters: exact increments from raw samples."""

    def __init__(self, metric: Metric, versions: t.Mapping[str, str], since: float) -> None:
        self._metric = metric
        self._selectors = {role: metric.selector(role, versions) or "" for role in metric.queries}
        lookback = max(DEFAULT_LOOKBACK, metric.max_age)
        self._watches = {role: CounterWatch(since, metric.max_age, lookback) for role in self._selectors}

    @property
    def since(self) -> dict[str, float]:
        return {selector: self._watches[role].since for role, selector in self._selectors.items()}

    def batch(self, samples: t.Mapping[str, Samples], source: Source, at: float, strict: bool) -> Batch:
        answers = {role: samples[selector] for role, selector in self._selectors.items()}
        for answer in answers.values():
            if answer.problem:
                raise NoBatch(answer.problem, answer.reason)
        seen = {role: self._watches[role].add(answer) for role, answer in answers.items()}
        whole = seen["buckets" if self._metric.kind == "quantile" else "total"]
        partial = "; ".join(sorted({answer.partial for answer in answers.values() if answer.partial}))
        gaps = f"{len(whole.gaps)} gaps in the samples" if len(whole.gaps) > 1 else "a gap in the samples"
        common: dict[str, t.Any] = {
            "until": at,
            "newest": whole.newest,
            "series": whole.series,
            "partial": partial,
            "note": gaps if whole.gaps else "",
        }
        if self._metric.kind == "quantile":
            return Batch(**common, buckets=whole.buckets)
        role = "good" if "good" in seen else "bad"
        if seen[role].newest is None and whole.newest is not None and not self._metric.absent_is_zero:
            way_out = " (set bad_absent_is_zero if no series means no failures)" if role == "bad" else ""
            raise NoBatch(NO_EVIDENCE, f"{self._selectors[role]} has no series{way_out}")
        part = seen[role].count
        return Batch(**common, part=min(part, whole.count), total=whole.count)


class WindowFollower:
    """A metric of free PromQL: windows that don't overlap, one after the other, as long as the metric's own."""

    def __init__(self, metric: Metric, versions: t.Mapping[str, str], since: float) -> None:
        self._metric = metric
        self._taken = since
        self._newest: float | None = None
        self._series = 0

    @property
    def since(self) -> dict[str, float]:
        return {}

    def batch(self, samples: t.Mapping[str, Samples], source: Source, at: float, strict: bool) -> Batch:
        window = self._metric.window
        if at - self._taken < window:
            return Batch(at, self._newest, series=self._series)
        measured = source.measure([(self._metric, window)], strict=strict, at=at)[self._metric.name, window]
        if measured.problem:
            raise NoBatch(measured.problem, measured.reason)
        self._taken = at
        self._newest = at - (measured.age or 0.0)
        self._series = measured.samples
        return Batch(
            at,
            self._newest,
            part=measured.bad,
            total=measured.total,
            buckets=measured.buckets,
            series=measured.samples,
            partial=measured.partial,
        )


def _metrics_of(condition: Condition) -> tuple[Metric, ...]:
    """What has to be followed for it: for a comparison the metric of either side."""
    if not condition.compared_with:
        return (condition.metric,)
    return condition.metric.scoped("candidate"), condition.metric.scoped(condition.compared_with)


def _unjudged(condition: Condition, verdict: str, reason: str) -> Judgement:
    return Judgement(condition, verdict or NO_EVIDENCE, None, {"window": 0.0}, reason)
