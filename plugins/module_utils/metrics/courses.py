# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gauge over time: what a range query answers, without the points that only look like values. Pure."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Gap, Series, merged


class Grid(t.NamedTuple):
    """Points of time: ``points`` of them, ``step`` seconds apart, from ``since`` on."""

    since: float
    step: float
    points: int

    def place(self, at: float) -> int:
        """The number of the point that ``at`` stands for; a source may round times, or move them a little."""
        return min(self.points - 1, max(0, round((at - self.since) / self.step)))

    def time(self, place: int) -> float:
        return self.since + place * self.step


def read_course(
    values: t.Iterable[Series],
    newest: t.Iterable[Series] | None,
    grid: Grid,
    max_age: float,
    *,
    absent_is_zero: bool = False,
) -> tuple[tuple[Series, ...], tuple[Gap, ...]]:
    """Series on ``grid`` and the gaps in them: a point that is NaN, or older than ``max_age`` seconds, is none.

    ``newest`` tells the time of the newest sample at each point, None where nobody knows. It is needed because a range
    query goes on giving the last value for minutes after the samples have ended. With ``absent_is_zero`` points
    without any series, fresh or not, are a series of zeros.
    """
    seen = {grid.place(at): value for series in newest or () for at, value in series.samples}
    fresh = {place for place, value in seen.items() if grid.time(place) - value <= max_age}
    if newest is None:
        fresh = set(range(grid.points))
    found, valued = [], set()
    for labels, samples in values:
        known = {grid.place(at): value for at, value in samples if math.isfinite(value)}
        valued |= {grid.place(at) for at, _value in samples}
        if kept := sorted(known.keys() & fresh):
            found.append((labels, kept, known))
    present = {place for _labels, kept, _known in found for place in kept}
    absent = set(range(grid.points)) - present
    zeros = absent - seen.keys() - valued if absent_is_zero else set()
    gaps = [*_holes(present | zeros, 0, grid.points - 1, grid, len(found), seen)]
    for _labels, kept, _known in found:
        # Where there is no series at all was told above; the series' own end is no gap: its pod may be gone.
        gaps += _holes({*kept, *absent}, kept[0], kept[-1], grid, 1, {})
    series = [Series(labels, [(grid.time(place), known[place]) for place in kept]) for labels, kept, known in found]
    if zeros:
        series.append(Series({}, [(grid.time(place), 0.0) for place in sorted(zeros)]))
    return tuple(series), tuple(merged(gaps))


def _holes(
    present: t.Container[int], first: int, last: int, grid: Grid, series: int, seen: t.Mapping[int, float]
) -> t.Iterator[Gap]:
    """Stretches from ``first`` to ``last`` without a value, from the point before to the next that has one.

    Where ``seen`` has the time of the newest sample at these points, the gap is as long as there was no sample.
    """
    since: int | None = None
    for place in range(first, last + 1):
        if place not in present:
            since = place if since is None else since
        elif since is not None:
            yield _gap(max(first, since - 1), place, grid, series, seen)
            since = None
    if since is not None:
        begin = max(first, since - 1)
        yield _gap(begin, last, grid, series, {begin: seen[begin]} if begin in seen else {})


def _gap(since: int, until: int, grid: Grid, series: int, seen: t.Mapping[int, float]) -> Gap:
    return Gap(seen.get(since, grid.time(since)), seen.get(until, grid.time(until)), series)
