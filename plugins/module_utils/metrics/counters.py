# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much a counter grew, exactly: from raw samples, look after look, each increment once. Pure, no clock of its own.

``increase()`` of PromQL answers for one window: it extrapolates to the window's ends, can't see the first value of a
new series as growth (the first 500 of a pod), and windows that overlap count twice. Here the watch itself remembers
each series, so that a first value counts from 0 where the series is known not to have been there before. That is the
idea of Prometheus' "created timestamp zero ingestion", for exporters that give no such timestamp.

What no scrape ever saw can't be counted: what a process did between its last scrape and its end.
"""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import Bucket, rising
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import (
    Gap,
    Samples,
    Series,
    merged,
)

DEFAULT_LOOKBACK = 300.0
_OVERLAP = 3
_Identity = frozenset[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Increments:
    """What one counter gained between two looks; times in unix seconds by the source's clock.

    ``count`` is over all series; of a histogram it is the number of observations, and ``buckets`` has them cumulated
    at the edges that all of its series have. ``across_gaps`` is the part of ``count`` that came after a gap, so that
    nobody can say when in between. ``newest`` is the time of the newest sample ever seen, None before the first.
    ``series`` had a sample within the gap limit; ``silent`` had one before that and none since. ``gaps`` ended in
    this look, except that one without any series reaches to the look itself.
    """

    since: float
    newest: float | None
    count: float = 0.0
    buckets: tuple[Bucket, ...] = ()
    across_gaps: float = 0.0
    series: int = 0
    silent: int = 0
    born: int = 0
    resets: int = 0
    gaps: tuple[Gap, ...] = ()


@dataclasses.dataclass
class _Memory:
    """The newest sample of a series, and the highest value since it last began at 0."""

    time: float
    value: float


@dataclasses.dataclass
class _Gain:
    """What one series gained in one look."""

    labels: t.Mapping[str, str]
    count: float = 0.0
    across_gaps: float = 0.0
    born: bool = False
    resets: int = 0
    spacing: float = 0.0
    gaps: list[Gap] = dataclasses.field(default_factory=list)


class CounterWatch:
    """Watches the series of one counter from ``begin`` on.

    A series with a sample up to ``begin`` was known before, and its growth counts from the last one. One that shows
    up later is born, and counts from 0: a new pod, or a status that was never answered before. ``lookback``, in
    seconds, is how far before ``begin`` samples are asked for: a series that was silent for longer can't be told from
    a new one. ``gap``, in seconds, is how long a series may go without a sample before that is said; take several
    scrape intervals.
    """

    def __init__(self, begin: float, gap: float, lookback: float = DEFAULT_LOOKBACK) -> None:
        if not 0 < gap <= lookback:
            raise ValueError(f"a gap of {gap:g} s must be more than 0 s, and at most the lookback of {lookback:g} s")
        self._begin = begin
        self._gap = gap
        self._lookback = lookback
        self._known: dict[_Identity, _Memory] = {}
        self._covered = (math.inf, -math.inf)
        self._newest: float | None = None
        self._spacing = gap

    @property
    def since(self) -> float:
        """From when on the next look must have samples: from before the newest one known, so that looks overlap.

        The overlap shows whether a value fell, or only comes from another replica that lags behind.
        """
        until = self._covered[1]
        if math.isinf(until):
            return self._begin - self._lookback
        newest = until if self._newest is None else min(self._newest, until)
        return max(newest, until - self._lookback) - min(self._gap, _OVERLAP * self._spacing)

    def add(self, samples: Samples) -> Increments:
        """What is new in ``samples``. Raises ValueError for those that carry a problem instead of an answer."""
        if samples.problem:
            raise ValueError(f"{samples.problem}: {samples.reason}")
        before = self._begin if self._newest is None else max(self._begin, self._newest)
        self._cover(samples)
        gains = [self._gain(series) for series in samples.series if series.samples]
        gaps = [*self._silence_before(samples, before), *(gap for gain in gains for gap in gain.gaps)]
        self._spacing = max((gain.spacing for gain in gains), default=0.0) or self._spacing
        if self._known:
            self._newest = max(memory.time for memory in self._known.values())
        ages = [samples.at - memory.time for memory in self._known.values()]
        return Increments(
            since=before,
            newest=self._newest,
            **_summed(gains),
            series=sum(age <= self._gap for age in ages),
            silent=sum(self._gap < age <= self._lookback for age in ages),
            born=sum(gain.born for gain in gains),
            resets=sum(gain.resets for gain in gains),
            gaps=(*merged(gaps), *self._silence(samples.at)),
        )

    def _cover(self, samples: Samples) -> None:
        """Note for which time on end the samples are known; a hole begins it anew."""
        since, until = self._covered
        if samples.since > until:
            since, until = samples.since, samples.at
        self._covered = (min(since, samples.since), max(until, samples.at))

    def _gain(self, series: Series) -> _Gain:
        gain = _Gain(series.labels)
        identity = frozenset(series.labels.items())
        if identity not in self._known:
            self._known[identity] = self._first_seen(series.samples, gain)
        _follow(self._known[identity], series.samples, gain, self._gap)
        return gain

    def _first_seen(self, samples: t.Sequence[tuple[float, float]], gain: _Gain) -> _Memory:
        earlier = [sample for sample in samples if sample[0] <= self._begin]
        if earlier:
            return _Memory(*earlier[-1])
        first, value = samples[0]
        # A series that was there before would have had a sample in the time that was looked at.
        gain.born = first - self._covered[0] > self._gap
        return _Memory(math.nextafter(first, -math.inf), 0.0) if gain.born else _Memory(first, value)

    def _silence_before(self, samples: Samples, before: float) -> list[Gap]:
        """The gap of all series, that of one which is gone and another that was born since."""
        newer = (next((time for time, _value in series.samples if time > before), None) for series in samples.series)
        first = min((time for time in newer if time is not None), default=before)
        return [Gap(before, first, 0)] if first - before > self._gap else []

    def _silence(self, at: float) -> list[Gap]:
        last = self._begin if self._newest is None else self._newest
        return [Gap(last, at, len(self._known))] if at - last > self._gap else []


def _follow(memory: _Memory, samples: t.Sequence[tuple[float, float]], gain: _Gain, gap: float) -> None:
    """Count what is newer than ``memory``, which moves on."""
    previous: float | None = None
    for time, value in samples:
        if time > memory.time:
            # A value that is lower than what we know, yet rises in this answer, comes from a replica that lags.
            fell = value < memory.value and (previous is None or value < previous)
            grown = value if fell else max(0.0, value - memory.value)
            gain.count += grown
            gain.resets += fell
            if time - memory.time > gap:
                gain.across_gaps += grown
                gain.gaps.append(Gap(memory.time, time, 1))
            elif previous is not None:
                gain.spacing = max(gain.spacing, time - memory.time)
            memory.time, memory.value = time, value if fell else max(value, memory.value)
        previous = value


def _summed(gains: t.Sequence[_Gain]) -> dict[str, t.Any]:
    """``count``, ``buckets`` and ``across_gaps`` of all series together."""
    buckets = _cumulated([gain for gain in gains if "le" in gain.labels])
    counted = [gain for gain in gains if "le" not in gain.labels or float(gain.labels["le"]) == math.inf]
    return {
        "count": sum(gain.count for gain in counted),
        "buckets": buckets,
        "across_gaps": sum(gain.across_gaps for gain in counted),
    }


def _cumulated(gains: t.Iterable[_Gain]) -> tuple[Bucket, ...]:
    """Buckets of several histograms together. Below an edge that one of them lacks, its requests can't be told."""
    histograms: dict[_Identity, dict[float, float]] = {}
    for gain in gains:
        labels = dict(gain.labels)
        edge = float(labels.pop("le"))
        histograms.setdefault(frozenset(labels.items()), {})[edge] = gain.count
    grown = [counts for counts in histograms.values() if any(counts.values())] or list(histograms.values())
    edges = set.intersection(*(set(counts) for counts in grown)) if grown else set()
    return tuple(rising((edge, sum(counts[edge] for counts in grown)) for edge in edges))
