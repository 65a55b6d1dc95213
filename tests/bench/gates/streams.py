"""What Prometheus scraped of many releases at once: counters, and counts between two samples of a window. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SCRAPE = 15.0
EDGES = (0.1, 0.2, 0.5, 1.0, 2.5)
# How far back an instant query looks for a sample (Prometheus' default).
LOOKBACK = 300.0


@dataclass(frozen=True)
class Window:
    """Increments per release (rows) and query (columns); ``empty`` where fewer than two samples were in the window.

    ``faster`` counts requests at most as slow as each of EDGES (first axis).
    """

    requests: Ints
    errors: Ints
    faster: Ints
    empty: Bools


@dataclass(frozen=True)
class Stream:
    """Counters of ``releases`` x ``scrapes``; ``times`` of the scrapes are seconds from the start of the first stage.

    ``faster`` has one such table per edge of EDGES. Where ``present`` is false the scrape failed.
    """

    times: Floats
    requests: Ints
    errors: Ints
    faster: Ints
    agents_failed: Ints
    present: Bools
    _latest: Ints = field(init=False)
    _next: Ints = field(init=False)

    def __post_init__(self) -> None:
        numbers = np.arange(len(self.times))
        latest = np.maximum.accumulate(np.where(self.present, numbers, -1), axis=1)
        following = np.where(self.present, numbers, len(self.times))
        following = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]
        object.__setattr__(self, "_latest", latest)
        object.__setattr__(self, "_next", following)

    @property
    def releases(self) -> int:
        return len(self.requests)

    def first(self, releases: int) -> Stream:
        """The first so many releases."""
        part = slice(releases)
        return Stream(
            self.times,
            self.requests[part],
            self.errors[part],
            self.faster[:, part],
            self.agents_failed[part],
            self.present[part],
        )

    def latest(self, at: Floats) -> Ints:
        """Index of the last sample at each of the times; -1 where there is none yet. Releases x times."""
        return _taken(self._latest, np.searchsorted(self.times, at, side="right") - 1)

    def window(self, at: Floats, seconds: float) -> Window:
        """What ``increase()`` over the window that ends at each of ``at`` is made of: its first and last sample."""
        first_scrape = np.searchsorted(self.times, at - seconds, side="right")
        first = _taken(self._next, np.minimum(first_scrape, len(self.times) - 1))
        return self._between(first, self.latest(at))

    def last_two(self, at: Floats) -> Window:
        """What ``irate()`` is made of, over a window of five minutes."""
        last = self.latest(at)
        before = _at(self._latest, last - 1)
        recent = self.times[np.maximum(before, 0)] > at - LOOKBACK
        return self._between(np.where(recent, before, len(self.times)), last)

    def agents(self, at: Floats) -> Ints:
        """Failed agents as an instant query tells them; 0 where no sample is young enough."""
        last = self.latest(at)
        known = (last >= 0) & (self.times[np.maximum(last, 0)] > at - LOOKBACK)
        return np.where(known, _at(self.agents_failed, last), 0)

    def requests_by(self, at: Floats) -> Ints:
        """Requests counted by one time per release and column; 0 before the first sample."""
        index = np.searchsorted(self.times, at, side="right") - 1
        rows = np.arange(self.releases)[:, None]
        last = np.where(index >= 0, self._latest[rows, np.maximum(index, 0)], -1)
        return np.where(last >= 0, _at(self.requests, last), 0)

    def _between(self, first: Ints, last: Ints) -> Window:
        empty = ~((first >= 0) & (last > first))
        first, last = np.where(empty, 0, first), np.where(empty, 0, last)
        rows = np.arange(self.releases)[:, None]
        counted = [counter[..., rows, last] - counter[..., rows, first] for counter in self._counters]
        return Window(counted[0], counted[1], counted[2], empty)

    @property
    def _counters(self) -> tuple[Ints, Ints, Ints]:
        return self.requests, self.errors, self.faster


def slower(window: Window, bound: float) -> Ints:
    """Requests slower than ``bound``, which is one of EDGES."""
    return window.requests - window.faster[EDGES.index(bound)]


def quantile(window: Window, share: float) -> Floats:
    """``histogram_quantile()``: straight lines between EDGES; NaN without requests."""
    edges = np.array([0.0, *EDGES])
    counts = np.concatenate([np.zeros_like(window.faster[:1]), window.faster])
    rank = share * window.requests
    above = np.minimum((counts[1:] < rank).sum(axis=0) + 1, len(EDGES))
    upper, lower = np.take_along_axis(counts, above[None], 0)[0], np.take_along_axis(counts, above[None] - 1, 0)[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = np.clip((rank - lower) / (upper - lower), 0.0, 1.0)
    value = edges[above - 1] + (edges[above] - edges[above - 1]) * np.nan_to_num(inside, nan=1.0)
    return np.where((window.requests > 0) & ~window.empty, value, np.nan)


def _taken(table: Ints, columns: Ints) -> Ints:
    """Columns of ``table``; -1 in all of a column that is before its first."""
    return np.where(columns >= 0, table[:, np.maximum(columns, 0)], -1)


def _at(table: Ints, columns: Ints) -> Ints:
    """One value per row and column number; a number below 0 reads the first column."""
    rows = np.arange(len(table))[:, None]
    return table[rows, np.maximum(columns, 0)]
