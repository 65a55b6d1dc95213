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
    values: t.Iterable[Series], newest: t.Iterable[Series] | None, grid: Grid, max_age: float
) -> tuple[tuple[Series, ...], tuple[Gap, ...]]:
    """Series on ``grid`` and the gaps in them: a point that is NaN, or older than ``max_age`` seconds, is none.

    ``newest`` tells the time of the newest sample at each point, None where nobody knows. It is needed because a range
    query goes on giving the last value for minutes after the samples have ended.
    """
    fresh = set(range(grid.points))
    if newest is not None:
        seen = {grid.place(at): value for series in newest for at, value in series.samples}
        fresh = {place for place, value in seen.items() if grid.time(place) - value <= max_age}
    found = []
    for labels, samples in values:
        known = {grid.place(at): value for at, value in samples if math.isfinite(value)}
        if kept := sorted(known.keys() & fresh):
            found.append((labels, kept, known))
    present = {place for _labels, kept, _known in found for place in kept}
    gaps = [*_holes(present, 0, grid.points - 1, grid, len(found))]
    for _labels, kept, _known in found:
        # Where there is no series at all was told above; the series' own end is no gap: its pod may be gone.
        others = set(range(grid.points)) - present
        gaps += _holes({*kept, *others}, kept[0], kept[-1], grid, 1)
    series = [Series(labels, [(grid.time(place), known[place]) for place in kept]) for labels, kept, known in found]
    return tuple(series), tuple(merged(gaps))


def _holes(present: t.Container[int], first: int, last: int, grid: Grid, series: int) -> t.Iterator[Gap]:
    """Stretches from ``first`` to ``last`` without a value, from the point before to the next that has one."""
    since: int | None = None
    for place in range(first, last + 1):
        if place not in present:
            since = max(first, place - 1) if since is None else since
        elif since is not None:
            yield Gap(grid.time(since), grid.time(place), series)
            since = None
    if since is not None:
        yield Gap(grid.time(since), grid.time(last), series)
