from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import (
    clopper_pearson,
    histogram_quantile,
    lower_bound,
    rising,
    slow_share,
    upper_bound,
)

counts = st.integers(0, 3000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@pytest.mark.parametrize(
    ("bad", "total", "confidence", "expected"),
    [
        # Published values of the exact interval.
        (1, 20, 0.95, (0.00127, 0.24873)),
        (10, 100, 0.95, (0.04900, 0.17622)),
        (4, 20, 0.90, (0.07135, 0.40103)),
        (0, 20, 0.95, (0.0, 0.16843)),
        (20, 20, 0.95, (0.83157, 1.0)),
    ],
)
def test_interval_has_the_published_values(bad: int, total: int, confidence: float, expected: tuple) -> None:
    assert clopper_pearson(bad, total, confidence) == pytest.approx(expected, abs=6e-6)


def binomial_tail(bad: int, total: int, share: float) -> float:
    """Probability of ``bad`` or more, summed by hand."""
    return sum(math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(bad, total + 1))


@pytest.mark.parametrize(("bad", "total"), [(1, 10), (7, 10), (3, 100), (40, 200)])
def test_lower_bound_inverts_the_binomial_tail(bad: int, total: int) -> None:
    assert binomial_tail(bad, total, lower_bound(bad, total, 0.99)) == pytest.approx(0.01, rel=1e-6)


@given(counts, st.floats(0.5, 0.999))
def test_bounds_hold_the_share_and_mirror_each_other(count: tuple[int, int], confidence: float) -> None:
    bad, total = count
    low, high = lower_bound(bad, total, confidence), upper_bound(bad, total, confidence)
    assert 0 <= low <= (bad / total if total else 1) + 1e-9
    assert (bad / total if total else 0) - 1e-9 <= high <= 1
    assert low == pytest.approx(1 - upper_bound(total - bad, total, confidence), abs=1e-9)


@settings(max_examples=60)
@given(counts, st.floats(0.5, 0.999))
def test_bounds_rise_with_every_failure(count: tuple[int, int], confidence: float) -> None:
    bad, total = count
    if bad < total:
        assert lower_bound(bad + 1, total, confidence) >= lower_bound(bad, total, confidence) - 1e-12
        assert upper_bound(bad + 1, total, confidence) >= upper_bound(bad, total, confidence) - 1e-12


def test_large_counts_stay_exact_enough() -> None:
    low, high = clopper_pearson(5_000, 1_000_000, 0.95)
    # At this size the normal approximation is good to a few parts in a thousand.
    spread = 1.95996 * math.sqrt(0.005 * 0.995 / 1e6)
    assert (low, high) == pytest.approx((0.005 - spread, 0.005 + spread), rel=2e-3)


def test_fractions_of_a_request_are_counts_too() -> None:
    assert lower_bound(3, 100, 0.95) < lower_bound(3.4, 100, 0.95) < lower_bound(4, 100, 0.95)


def test_nothing_known_without_requests() -> None:
    assert clopper_pearson(0, 0, 0.95) == (0.0, 1.0)


@pytest.mark.parametrize(("bad", "total", "confidence"), [(2, 1, 0.9), (-1, 1, 0.9), (0, 1, 1.0), (0, 1, 0.0)])
def test_senseless_counts_are_refused(bad: float, total: float, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"not a share|not between"):
        lower_bound(bad, total, confidence)


BUCKETS = [(0.1, 50.0), (0.2, 90.0), (0.5, 98.0), (math.inf, 100.0)]


def test_slow_share_at_an_edge_is_one_number() -> None:
    share = slow_share(BUCKETS, 0.2)
    assert (share.least, share.most, share.exact) == (10, 10, True)


def test_slow_share_between_edges_is_two_numbers() -> None:
    share = slow_share(BUCKETS, 0.3)
    assert (share.least, share.most, share.exact, share.edges) == (2, 10, False, (0.2, 0.5))


def test_slow_share_below_the_first_and_above_the_last_edge() -> None:
    assert slow_share(BUCKETS, 0.05)[:2] == (50, 100)
    assert slow_share(BUCKETS, 3.0)[:2] == (0, 2)


def test_quantile_by_straight_line() -> None:
    assert histogram_quantile(BUCKETS, 0.5) == pytest.approx(0.1)
    assert histogram_quantile(BUCKETS, 0.7) == pytest.approx(0.15)
    assert histogram_quantile(BUCKETS, 0.99) == pytest.approx(0.5)
    assert math.isnan(histogram_quantile([(1.0, 0.0), (math.inf, 0.0)], 0.5))


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=12))
def test_rising_never_falls(heights: list[float]) -> None:
    buckets = rising((float(edge), height) for edge, height in enumerate(heights))
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(buckets))
    assert buckets[-1][1] == max(heights)
