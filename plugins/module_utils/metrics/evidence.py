# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What counts say: intervals around a share, and quantiles as counts. Pure functions, no I/O.

A *share* is ``bad`` out of ``total``. Both may be fractions of a request, because ``increase()`` extrapolates.
Everything here answers for one look at the counts; a test that stays valid over many looks takes the same counts.
"""

from __future__ import annotations

import math
import typing as t

Bucket = tuple[float, float]
"""Upper bound of a histogram bucket (``inf`` for the last) and how many observations were at most that."""


def clopper_pearson(bad: float, total: float, confidence: float) -> tuple[float, float]:
    """Exact two-sided interval of the share ``bad/total``, at ``confidence`` (0.95, say).

    ``(0, 1)`` when ``total`` is 0: nothing is known. Raises ValueError for counts or a confidence that make no sense.
    """
    _check(confidence)
    tail = (1 + confidence) / 2
    return lower_bound(bad, total, tail), upper_bound(bad, total, tail)


def lower_bound(bad: float, total: float, confidence: float) -> float:
    """The share is at least this, at one-sided ``confidence``."""
    _check(confidence, bad, total)
    if bad <= 0:
        return 0.0
    return _beta_quantile(1 - confidence, bad, total - bad + 1)


def upper_bound(bad: float, total: float, confidence: float) -> float:
    """The share is at most this, at one-sided ``confidence``."""
    _check(confidence, bad, total)
    if bad >= total:
        return 1.0
    return _beta_quantile(confidence, bad + 1, total - bad)


class SlowShare(t.NamedTuple):
    """How many of ``total`` observations were above a bound: between ``least`` and ``most``.

    The two are equal when the bound is the edge of a bucket; ``edges`` are the bucket edges around it.
    """

    least: float
    most: float
    total: float
    edges: tuple[float, float]

    @property
    def exact(self) -> bool:
        return self.edges[0] == self.edges[1]


def slow_share(buckets: t.Sequence[Bucket], bound: float) -> SlowShare:
    """Counts above ``bound`` from cumulative ``buckets`` in rising order, the last of which is ``inf``."""
    total = buckets[-1][1]
    below = max((bucket for bucket in buckets if bucket[0] <= bound), default=(0.0, 0.0))
    above = min(bucket for bucket in buckets if bucket[0] >= bound)
    return SlowShare(max(0.0, total - above[1]), max(0.0, total - below[1]), total, (below[0], above[0]))


def histogram_quantile(buckets: t.Sequence[Bucket], quantile: float) -> float:
    """The value below which ``quantile`` of the observations lie, by straight line inside its bucket.

    For people: a value in the last, open bucket reads as that bucket's lower edge. NaN without observations.
    """
    total = buckets[-1][1]
    if total <= 0:
        return math.nan
    rank = quantile * total
    edge, count = 0.0, 0.0
    for upper, cumulative in buckets:
        if cumulative >= rank:
            if math.isinf(upper):
                return edge
            inside = cumulative - count
            return edge + (upper - edge) * ((rank - count) / inside if inside > 0 else 1.0)
        edge, count = upper, cumulative
    return edge


def rising(buckets: t.Iterable[Bucket]) -> list[Bucket]:
    """Buckets in order, with the small dips taken out that extrapolated counts have."""
    result: list[Bucket] = []
    highest = 0.0
    for upper, count in sorted(buckets):
        highest = max(highest, count)
        result.append((upper, highest))
    return result


def _check(confidence: float, bad: float = 0.0, total: float = 0.0) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    if not 0 <= bad <= total:
        raise ValueError(f"{bad} of {total} is not a share")


def _beta_quantile(probability: float, a: float, b: float) -> float:
    """Where the regularised incomplete beta function reaches ``probability``: bisection, as it only rises."""
    low, high = 0.0, 1.0
    for _step in range(60):
        middle = (low + high) / 2
        if _beta(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + term * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + term / c
            c = c if abs(c) > tiny else tiny
            result *= d * c
        if abs(d * c - 1) < 1e-12:
            break
    return result
