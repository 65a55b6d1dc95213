"""Latencies in few numbers: a histogram with logarithmic buckets, cheap to add to and exact to about one percent."""

from __future__ import annotations

import math

_SMALLEST = 1e-5
_LARGEST = 20.0
_GROWTH = 1.02
_LOG_GROWTH = math.log(_GROWTH)
_BUCKETS = math.ceil(math.log(_LARGEST / _SMALLEST) / _LOG_GROWTH) + 1


class Histogram:
    """Counts of latencies in seconds, from 10 microseconds to 20 seconds; beyond that they count at the edges."""

    __slots__ = ("counts", "largest", "total")

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.total = 0
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        index = int(math.log(seconds / _SMALLEST) / _LOG_GROWTH) if seconds > _SMALLEST else 0
        self.counts[min(index, _BUCKETS - 1)] += 1
        self.total += 1
        self.largest = max(self.largest, seconds)

    def quantile(self, share: float) -> float | None:
        """The latency in seconds that ``share`` (0 to 1) of all stayed within; None when nothing was counted."""
        if not self.total:
            return None
        rank = max(1, math.ceil(share * self.total))
        below = 0
        for index, count in enumerate(self.counts):
            below += count
            if below >= rank:
                return min(_SMALLEST * _GROWTH ** (index + 0.5), self.largest)
        return self.largest

    def summary(self) -> dict[str, float | None]:
        """P50, P95, P99 and the largest, in seconds."""
        quantiles = {name: self.quantile(share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
        return quantiles | {"max": self.largest if self.total else None}
