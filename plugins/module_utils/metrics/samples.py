# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples over time, as a source gives them, and the gaps in them. Pure data.

All times are unix seconds by the source's own clock, the one its samples are stamped by; ours may differ.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import operator
import statistics
import typing as t

_MOST_STEPS = 300
_time = operator.itemgetter(0)


class Series(t.NamedTuple):
    """Labels and samples of one series: time and value of each, in order of time."""

    labels: t.Mapping[str, str]
    samples: t.Sequence[tuple[float, float]]


class Gap(t.NamedTuple):
    """No sample between ``since`` and ``until``; gaps of ``series`` single series are taken together in it."""

    since: float
    until: float
    series: int


@dataclasses.dataclass(frozen=True)
class Samples:
    """The raw samples of one counter from ``since`` to ``at``.

    ``problem``, ``reason`` and ``partial`` are those of a Measurement; with a problem there are no series.
    """

    since: float
    at: float
    series: tuple[Series, ...] = ()
    problem: str = ""
    reason: str = ""
    partial: str = ""

    def between(self, since: float, until: float) -> Samples:
        """What a source would have answered at ``until``, asked from ``since`` on."""
        cut = (
            Series(
                labels,
                samples[bisect.bisect_left(samples, since, key=_time) : bisect.bisect_right(samples, until, key=_time)],
            )
            for labels, samples in self.series
        )
        kept = tuple(series for series in cut if series.samples)
        return dataclasses.replace(self, since=since, at=until, series=kept)


@dataclasses.dataclass(frozen=True)
class Course:
    """A gauge from ``since`` to ``at``, a value every ``step`` seconds per series.

    A point of time without a fresh, finite value has no sample; ``gaps`` are the stretches where a series that was
    there has none, and those where there is no series at all.
    """

    since: float
    at: float
    step: float
    series: tuple[Series, ...] = ()
    gaps: tuple[Gap, ...] = ()
    problem: str = ""
    reason: str = ""
    partial: str = ""
    query: str = ""


def steps(answers: t.Iterable[Samples], since: float, at: float) -> list[float]:
    """Ends of even steps from ``since`` to ``at``, about as long as the time between two scrapes; the last is ``at``.

    Where the samples don't tell that time there is one step, and there are never more than some hundreds.
    """
    spacing = min((one for answer in answers if (one := _spacing(answer)) > 0), default=0.0)
    number = min(_MOST_STEPS, max(1, round((at - since) / spacing))) if spacing else 1
    return [since + (at - since) * step / number for step in range(1, number)] + [at]


def _spacing(answer: Samples) -> float:
    """Seconds between two scrapes, by the series that has most of them; 0 where nobody can tell."""
    longest = max((series.samples for series in answer.series), key=len, default=())
    later = [second[0] - first[0] for first, second in itertools.pairwise(longest)]
    return statistics.median(later) if later else 0.0


def merged(gaps: t.Iterable[Gap]) -> list[Gap]:
    """Gaps in order of time, those that overlap as one."""
    whole: list[Gap] = []
    for gap in sorted(gaps):
        if whole and gap.since < whole[-1].until:
            last = whole.pop()
            gap = Gap(last.since, max(last.until, gap.until), last.series + gap.series)
        whole.append(gap)
    return whole
