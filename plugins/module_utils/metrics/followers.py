# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows one metric at a source: what is new, step by step in the order of time, each request in one batch."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_time
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Condition
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.counters import (
    DEFAULT_LOOKBACK,
    CounterWatch,
    Increments,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import Bucket
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Measurement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import (
    Gap,
    Samples,
    merged,
    steps,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.source import Source
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import NO_EVIDENCE
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.weighing import Batch

# Times are sums of floats around 1e9; a window that is short by less than this is not short.
_SLACK = 1e-3
Key = t.TypeVar("Key", bound=t.Hashable)


class NoBatch(Exception):
    """A look that told nothing of a metric: ``verdict`` is ``no_evidence`` or ``source_down``."""

    def __init__(self, verdict: str, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


class Follower(t.Protocol):
    """Follows one metric from some time on."""

    @property
    def since(self) -> dict[str, float]:
        """Selectors whose samples it needs, and from when on."""

    def batches(
        self, samples: t.Mapping[str, Samples], source: Source, ends: t.Sequence[float], strict: bool
    ) -> list[Batch]:
        """What is new, a batch per step; ``ends`` are the ends of the steps, the last of which is the look.

        Raises NoBatch.
        """


def follow(metric: Metric, versions: t.Mapping[str, str], since: float) -> Follower:
    """What follows ``metric`` from ``since`` on, by the source's clock."""
    return CounterFollower(metric, versions, since) if metric.counted else WindowFollower(metric, since)


def whole_windows(metric: Metric, seconds: float) -> float:
    """``seconds``, or as much more as :func:`follow` needs to cover them."""
    return seconds if metric.counted else metric.window * math.ceil(seconds / metric.window - _SLACK)


def stable_before(source: Source, condition: Condition, until: float) -> tuple[Bucket, ...]:
    """Stable's histogram of the window before ``until``, which says where its quantile stands. Empty for all else."""
    if not condition.compared_with or condition.metric.kind != "quantile":
        return ()
    stable = condition.metric.scoped(condition.compared_with)
    measured = source.measure([(stable, condition.window)], at=until)
    return measured[stable.name, condition.window].buckets


def in_step(seen: t.Sequence[list[Batch] | NoBatch]) -> list[tuple[Batch, ...]]:
    """Batches of several metrics side by side. What one of them has from longer ago than the others is left out.

    Raises the first NoBatch among them.
    """
    known: list[list[Batch]] = []
    for batches in seen:
        if isinstance(batches, NoBatch):
            raise batches
        known.append(batches)
    least = min(len(batches) for batches in known)
    return list(zip(*(batches[-least:] for batches in known), strict=True))


def look_at(
    followers: t.Mapping[Key, Follower], source: Source, since: float, at: float, strict: bool
) -> dict[Key, list[Batch] | NoBatch]:
    """The batches of each follower at the look ``at``, in steps from ``since`` on that are the same for all.

    All samples are asked for at once, those of a selector that several followers need only once.
    """
    needed: dict[str, float] = {}
    for follower in followers.values():
        for selector, begin in follower.since.items():
            needed[selector] = min(begin, needed.get(selector, begin))
    samples = source.samples(needed, strict=strict, at=at) if needed else {}
    ends = steps(samples.values(), since, at)
    found: dict[Key, list[Batch] | NoBatch] = {}
    for name, follower in followers.items():
        try:
            found[name] = follower.batches(samples, source, ends, strict)
        except NoBatch as nothing:
            found[name] = nothing
    return found


class CounterFollower:
    """A metric made of plain counters: exact increments from raw samples."""

    def __init__(self, metric: Metric, versions: t.Mapping[str, str], since: float) -> None:
        self._metric = metric
        self._until = since
        self._selectors = {role: metric.selector(role, versions) or "" for role in metric.queries}
        lookback = max(DEFAULT_LOOKBACK, metric.max_age)
        self._watches = {role: CounterWatch(since, metric.max_age, lookback) for role in self._selectors}
        self._whole = "buckets" if metric.kind == "quantile" else "total"

    @property
    def since(self) -> dict[str, float]:
        return {selector: self._watches[role].since for role, selector in self._selectors.items()}

    def batches(
        self, samples: t.Mapping[str, Samples], source: Source, ends: t.Sequence[float], strict: bool
    ) -> list[Batch]:
        answers = {role: samples[selector] for role, selector in self._selectors.items()}
        for answer in answers.values():
            if answer.problem:
                raise NoBatch(answer.problem, answer.reason)
        ahead = [end for end in ends[:-1] if end > self._until]
        seen = [(end, self._seen(answers, end)) for end in (*ahead, ends[-1])]
        self._until = ends[-1]
        self._check(seen[-1][1])
        partial = "; ".join(sorted({answer.partial for answer in answers.values() if answer.partial}))
        gaps = merged(gap for _end, increments in seen for gap in increments[self._whole].gaps)
        note = f"{len(gaps)} gaps in the samples" if len(gaps) > 1 else "a gap in the samples"
        last = seen[-1][0]
        return [self._batch(end, increments, partial, note if gaps and end == last else "") for end, increments in seen]

    def _seen(self, answers: t.Mapping[str, Samples], until: float) -> dict[str, Increments]:
        """What each counter gained up to ``until`` that was not seen before."""
        return {
            role: self._watches[role].add(answer.between(max(answer.since, self._watches[role].since), until))
            for role, answer in answers.items()
        }

    def _check(self, seen: t.Mapping[str, Increments]) -> None:
        """Raises NoBatch where no series means that nobody knows, rather than none."""
        role = "good" if "good" in seen else "bad"
        if role not in seen or seen[role].newest is not None or self._metric.absent_is_zero:
            return
        if seen[self._whole].newest is not None:
            way_out = " (set bad_absent_is_zero if no series means no failures)" if role == "bad" else ""
            raise NoBatch(NO_EVIDENCE, f"{self._selectors[role]} has no series{way_out}")

    def _batch(self, until: float, seen: t.Mapping[str, Increments], partial: str, note: str) -> Batch:
        whole = seen[self._whole]
        common: dict[str, t.Any] = {
            "until": until,
            "newest": whole.newest,
            "series": whole.series,
            "partial": partial,
            "note": note,
            "gaps": whole.gaps,
        }
        if self._metric.kind == "quantile":
            return Batch(**common, buckets=whole.buckets)
        part = seen["good" if "good" in seen else "bad"].count
        return Batch(**common, part=min(part, whole.count), total=whole.count)


class WindowFollower:
    """A metric of free PromQL: windows that don't overlap, one after the other, as long as the metric's own."""

    def __init__(self, metric: Metric, since: float) -> None:
        self._metric = metric
        self._taken = since
        self._newest: float | None = None
        self._series = 0
        self._nothing = False

    @property
    def since(self) -> dict[str, float]:
        return {}

    def batches(
        self, samples: t.Mapping[str, Samples], source: Source, ends: t.Sequence[float], strict: bool
    ) -> list[Batch]:
        at, window = ends[-1], self._metric.window
        if self._nothing:
            # What is gone by stays unknown; only the window that ends now may have an answer.
            self._taken = max(self._taken, at - window)
        found: list[Batch] = []
        taken = self._taken
        while at - taken >= window - _SLACK:
            taken = min(at, taken + window)
            measured = source.measure([(self._metric, window)], strict=strict, at=taken)[self._metric.name, window]
            self._nothing = measured.problem == NO_EVIDENCE
            if measured.problem:
                then = "" if at - taken < _SLACK else f", at {format_time(taken)}"
                raise NoBatch(measured.problem, measured.reason + then)
            found.append(self._batch(taken, measured))
        self._taken = taken
        if not found or found[-1].until < at:
            found.append(Batch(at, self._newest, series=self._series))
        return found

    def _batch(self, until: float, measured: Measurement) -> Batch:
        age = measured.age or 0.0
        self._newest = until - age
        self._series = measured.samples
        return Batch(
            until,
            self._newest,
            part=measured.bad,
            total=measured.total,
            buckets=measured.buckets,
            series=measured.samples,
            partial=measured.partial,
            gaps=(Gap(self._newest, until, measured.samples),) if age > self._metric.max_age else (),
        )
