"""Candidate against stable: the conditional distribution by enumeration, validity, power, and what people read."""

from __future__ import annotations

import copy
import itertools
import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.comparison import (
    ComparisonTest,
    OddsRatio,
    Table,
    latency_threshold,
    log_likelihood,
    slower_than,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import Counts

RISK = 0.001
ODDS_RATIOS = (1 / 1024, 0.4, 1.0, 1.5, 30.0, 1024.0)


def exact_log_likelihood(table: Table, odds_ratio: float) -> float:
    """Fisher's noncentral hypergeometric distribution in whole numbers."""
    ratio = Fraction(odds_ratio)

    def term(candidate_bad: int) -> Fraction:
        ways = math.comb(table.candidate, candidate_bad) * math.comb(table.stable, table.bad - candidate_bad)
        return ways * ratio**candidate_bad

    possible = range(max(0, table.bad - table.stable), min(table.bad, table.candidate) + 1)
    chance = term(table.candidate_bad) / sum(term(value) for value in possible)
    return math.log(chance.numerator) - math.log(chance.denominator)


def binomial(bad: int, total: int, share: float) -> float:
    return math.comb(total, bad) * share**bad * (1 - share) ** (total - bad)


def with_odds(share: float, odds_ratio: float) -> float:
    """The share whose odds are ``odds_ratio`` times those of ``share``."""
    odds = odds_ratio * share / (1 - share)
    return odds / (1 + odds)


def drawn(seeded: random.Random, total: int, share: float) -> Counts:
    return Counts(sum(seeded.random() < share for _request in range(total)), total)


def evidence(test: ComparisonTest, *looks: tuple[Counts, Counts], seconds: float = 10.0) -> float:
    for candidate, stable in looks:
        test.add(candidate, stable, seconds)
    return test.log_evidence


# The distribution.


def test_likelihood_of_every_small_table() -> None:
    for candidate, stable in itertools.product(range(6), range(6)):
        for candidate_bad, stable_bad in itertools.product(range(candidate + 1), range(stable + 1)):
            table = Table(candidate_bad, candidate, stable_bad, stable)
            for odds_ratio in ODDS_RATIOS:
                assert log_likelihood(table, odds_ratio) == pytest.approx(
                    exact_log_likelihood(table, odds_ratio), rel=1e-11, abs=1e-13
                )


@given(st.integers(0, 300), st.integers(0, 300), st.data(), st.floats(1e-3, 1e3))
@settings(max_examples=60, deadline=None)
def test_likelihood_of_any_table(candidate: int, stable: int, data: st.DataObject, odds_ratio: float) -> None:
    table = Table(data.draw(st.integers(0, candidate)), candidate, data.draw(st.integers(0, stable)), stable)
    assert log_likelihood(table, odds_ratio) == pytest.approx(
        exact_log_likelihood(table, odds_ratio), rel=1e-10, abs=1e-11
    )


@pytest.mark.parametrize("odds_ratio", [0.1, 1.0, 8.0])
def test_likelihood_of_ten_million_requests(odds_ratio: float) -> None:
    table = Table(10, 500_000, 90, 9_500_000)
    assert log_likelihood(table, odds_ratio) == pytest.approx(exact_log_likelihood(table, odds_ratio), abs=1e-6)


@pytest.mark.parametrize("odds_ratio", [0.2, 1.0, 3.0])
def test_probabilities_of_a_large_table_sum_to_one(odds_ratio: float) -> None:
    """100 000 bad of 10 million: the sum over all tables is 1, so nothing that matters was left out."""
    bad, candidate, stable = 100_000, 500_000, 9_500_000
    middle = candidate * with_odds(bad / (candidate + stable), odds_ratio)
    near = range(max(0, int(middle * 0.8) - 50), int(middle * 1.25) + 50)
    total = math.fsum(
        math.exp(log_likelihood(Table(value, candidate, bad - value, stable), odds_ratio))
        for value in itertools.islice(near, 0, None, 20)
    )
    assert 20 * total == pytest.approx(1.0, abs=1e-5)


# Validity: the mean under the hypothesis.

SIDES = ((2, 4), (5, 1), (3, 3))


def mean_evidence(test: tuple[float, bool, float | None], shares: tuple[float, ...], odds_ratio: float) -> float:
    """Mean of the e-process over all that two looks can bring; ``shares`` of stable, look by look."""
    limit, above, horizon = test
    mean = 0.0
    looks = list(zip(SIDES, shares, strict=False))
    cells = [(range(candidate + 1), range(stable + 1)) for (candidate, stable), _share in looks]
    for bads in itertools.product(*itertools.chain.from_iterable(cells)):
        comparison, chance = ComparisonTest(limit, above, horizon), 1.0
        for number, ((candidate, stable), share) in enumerate(looks):
            candidate_bad, stable_bad = bads[2 * number : 2 * number + 2]
            chance *= binomial(candidate_bad, candidate, with_odds(share, odds_ratio))
            chance *= binomial(stable_bad, stable, share)
            comparison.add(Counts(candidate_bad, candidate), Counts(stable_bad, stable), 10.0)
        mean += chance * math.exp(comparison.log_evidence)
    return mean


@pytest.mark.parametrize("horizon", [None, 15.0])
@pytest.mark.parametrize("limit", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("above", [True, False])
def test_the_mean_is_one_at_the_edge_and_less_inside(limit: float, above: bool, horizon: float | None) -> None:
    """Whatever the common rate was, and though it was not the same at both looks."""
    test = (limit, above, horizon)
    for shares in ((0.05, 0.6), (0.5, 0.5), (0.9, 0.01)):
        assert mean_evidence(test, shares, limit) == pytest.approx(1.0, abs=1e-9)
        before = 1.0
        for part in (0.9, 0.5, 0.1):
            mean = mean_evidence(test, shares, limit * part if above else limit / part)
            assert mean < before
            before = mean
        assert mean_evidence(test, shares, limit * 20 if above else limit / 20) > 1


def test_ever_wrong_over_many_seeds() -> None:
    """Candidate exactly at the limit, 5 % of the traffic, a shock on both sides in the middle."""
    seeded = random.Random(7)
    risk, runs, wrong = 0.1, 400, 0
    for _run in range(runs):
        test = ComparisonTest(1.5)
        for look in range(40):
            share = 0.3 if 15 <= look < 20 else 0.02
            test.add(drawn(seeded, 4, with_odds(share, 1.5)), drawn(seeded, 40, share), 10.0)
            if test.holds(risk):
                wrong += 1
                break
    assert 0.1 * risk < wrong / runs <= risk + 3 * math.sqrt(risk * (1 - risk) / runs)


# What is evidence and what is not.


def test_a_shock_on_both_sides_is_no_evidence() -> None:
    """40 % of both sides fail for a minute: a fixed line at 0.5 % would roll back, the comparison does not move."""
    test = ComparisonTest(1.5, horizon=600)
    for look in range(60):
        share = 0.4 if 30 <= look < 36 else 0.001
        test.add(Counts(200 * share, 200), Counts(3800 * share, 3800), 10.0)
        assert test.log_evidence < 0.5
    assert test.candidate.bad / test.candidate.total == pytest.approx(test.stable.bad / test.stable.total)


def test_a_real_regression_is_found_with_five_percent_of_the_traffic() -> None:
    """400 requests/s, 5 % to the candidate, 3 % of its requests fail against 0.1 %: found within half a minute."""
    test = ComparisonTest(1.5, towards=3.0, horizon=600)
    for _look in range(180):
        test.add(Counts(0.2, 200), Counts(3.8, 3800), 10.0)
    assert not test.holds(RISK)
    for _look in range(3):
        test.add(Counts(6, 200), Counts(4, 3800), 10.0)
    assert test.holds(RISK)


@pytest.mark.parametrize(("above", "odds_ratio"), [(True, 4.2), (False, 1 / 4.2)])
def test_the_alternative_that_is_named_is_the_one_most_easily_proven(above: bool, odds_ratio: float) -> None:
    """Without a name the nearest alternatives to 4.2 are 3 and 6."""
    share = 0.05
    look = (Counts(round(4000 * with_odds(share, odds_ratio)), 4000), Counts(4000 * share, 4000))
    named = evidence(ComparisonTest(1.0, above, towards=odds_ratio), look)
    assert named > evidence(ComparisonTest(1.0, above), look) + 1


@pytest.mark.parametrize("stable", [200, 3800, 72_200])
def test_a_few_bad_requests_of_the_candidate_are_enough_where_stable_has_none(stable: int) -> None:
    """At equal traffic a bad request is at most log 2 of evidence; with 5 % or 0.3 % it tells far more."""
    test = ComparisonTest(1.0)
    needed = next(number for number in range(1, 50) if evidence(test, (Counts(1, 200), Counts(0, stable))) > 7)
    most = math.log((200 + stable) / 200)
    assert (7 / most) <= needed <= (7 + math.log(10)) / most + 1.5


def test_not_worse_than_the_margin_is_proven_and_only_with_bad_requests_to_go_by() -> None:
    test = ComparisonTest(2.0, above=False)
    for _look in range(1000):
        test.add(Counts(0, 2000), Counts(0, 2000), 10.0)
    assert test.log_evidence == pytest.approx(0.0, abs=1e-12)
    for _look in range(30):
        test.add(Counts(5, 2000), Counts(5, 2000), 10.0)
    assert test.holds(RISK)


@pytest.mark.parametrize(
    "look",
    [
        (Counts(0, 0), Counts(50, 100)),
        (Counts(50, 100), Counts(0, 0)),
        (Counts(0, 0), Counts(0, 0)),
        (Counts(7, 7), Counts(9, 9)),
    ],
)
@pytest.mark.parametrize("above", [True, False])
def test_a_table_that_could_not_be_another_is_no_evidence(look: tuple[Counts, Counts], above: bool) -> None:
    assert evidence(ComparisonTest(1.0, above), look) == pytest.approx(0.0, abs=1e-12)


tables = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 300), st.integers(0, 300))


@given(st.lists(tables, min_size=1, max_size=4), st.floats(0.2, 5.0), st.booleans(), st.sampled_from([None, 60.0]))
@settings(max_examples=60, deadline=None)
def test_swapped_sides_are_the_reciprocal_question(
    looks: list[tuple[int, int, int, int]], limit: float, above: bool, horizon: float | None
) -> None:
    one, other = ComparisonTest(limit, above, horizon), ComparisonTest(1 / limit, not above, horizon)
    for bad, good, stable_bad, stable_good in looks:
        candidate, stable = Counts(bad, bad + good), Counts(stable_bad, stable_bad + stable_good)
        one.add(candidate, stable, 10.0)
        other.add(stable, candidate, 10.0)
        assert one.log_evidence == pytest.approx(other.log_evidence, rel=1e-9, abs=1e-9)


@given(tables, st.floats(0.2, 5.0))
@settings(max_examples=60, deadline=None)
def test_good_for_bad_is_the_reciprocal_question(table: tuple[int, int, int, int], limit: float) -> None:
    bad, good, stable_bad, stable_good = table
    failures = evidence(ComparisonTest(limit), (Counts(bad, bad + good), Counts(stable_bad, stable_bad + stable_good)))
    successes = evidence(
        ComparisonTest(1 / limit, above=False),
        (Counts(good, bad + good), Counts(stable_good, stable_bad + stable_good)),
    )
    assert failures == pytest.approx(successes, rel=1e-9, abs=1e-9)


@given(tables, st.floats(0.2, 5.0))
@settings(max_examples=60, deadline=None)
def test_a_bad_request_moved_to_the_candidate_is_more_evidence(table: tuple[int, int, int, int], limit: float) -> None:
    bad, good, stable_bad, stable_good = (cell + 1 for cell in table)
    candidate, stable = bad + good, stable_bad + stable_good
    fewer = (Counts(bad, candidate), Counts(stable_bad, stable))
    more = (Counts(bad + 1, candidate), Counts(stable_bad - 1, stable))
    assert evidence(ComparisonTest(limit), more) > evidence(ComparisonTest(limit), fewer)
    assert evidence(ComparisonTest(limit, False), more) < evidence(ComparisonTest(limit, False), fewer)


def test_fractions_of_requests_add_up_to_whole_ones() -> None:
    """A quarter of a bad request at four looks is one, at the look that completes it."""
    test = ComparisonTest(1.0)
    for _look in range(4):
        test.add(Counts(0.25, 50.25), Counts(0.0, 949.75), 10.0)
    told = log_likelihood(Table(1, 50, 0, 950), 1.5) - log_likelihood(Table(1, 50, 0, 950), 1.0)
    assert test.log_evidence > told > 0
    assert test.candidate == Counts(1, 201)
    assert test.stable == Counts(0, 3799)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=30),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=30),
)
@settings(max_examples=40, deadline=None)
def test_any_fractions_make_sound_tables(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> None:
    test = ComparisonTest(1.0)
    for (bad, good), (stable_bad, stable_good) in zip(one, other, strict=False):
        test.add(Counts(bad, bad + good), Counts(stable_bad, stable_bad + stable_good), 10.0)
        assert math.isfinite(test.log_evidence)


# What is named.


@pytest.mark.parametrize(
    ("limit", "above", "towards", "said"),
    [
        (0.0, True, None, "0.0 is not an odds ratio: it must be above 0 and finite"),
        (math.inf, True, None, "inf is not an odds ratio"),
        (math.nan, True, None, "nan is not an odds ratio"),
        (1.5, True, -1.0, "-1.0 is not an odds ratio"),
        (1.5, True, 1.0, "1.0 is on the wrong side of 1.5"),
        (1.5, False, 2.0, "2.0 is on the wrong side of 1.5"),
    ],
)
def test_what_is_no_limit_is_named(limit: float, above: bool, towards: float | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ComparisonTest(limit, above, towards=towards)


@pytest.mark.parametrize("counts", [Counts(2, 1), Counts(-1, 1), Counts(math.nan, 1), Counts(0, math.inf)])
def test_what_is_no_count_is_named(counts: Counts) -> None:
    said = rf"{counts.bad} of {counts.total} is not a share"
    test = ComparisonTest(1.0)
    for sides in ((counts, Counts(1, 1)), (Counts(1, 1), counts)):
        with pytest.raises(ValueError, match=said):
            test.add(*sides, 10.0)
        with pytest.raises(ValueError, match=said):
            OddsRatio().add(*sides)
    # Nothing of what was refused is kept.
    assert test.candidate == test.stable == Counts(0, 0)


# The odds ratio for people.


@pytest.mark.parametrize(
    ("candidate", "stable", "published"),
    [
        # The conditional maximum likelihood estimates of R's fisher.test: Fisher's tea tasting, Fisher's twins.
        (Counts(3, 4), Counts(1, 4), 6.408309),
        (Counts(2, 17), Counts(10, 13), 0.04693661),
    ],
)
def test_estimate_against_published_values(candidate: Counts, stable: Counts, published: float) -> None:
    found = OddsRatio()
    found.add(candidate, stable)
    assert found.estimate == pytest.approx(published, rel=2e-3)


def test_nothing_seen_is_nothing_known() -> None:
    found = OddsRatio()
    assert math.isnan(found.estimate)
    assert found.bounds(0.05) == (0.0, math.inf)
    found.add(Counts(0, 100), Counts(0, 100))
    assert math.isnan(found.estimate)
    assert found.bounds(0.05) == (0.0, math.inf)


def test_none_bad_on_one_side_leaves_one_end_open() -> None:
    worse, better = OddsRatio(), OddsRatio()
    worse.add(Counts(12, 1000), Counts(0, 1000))
    better.add(Counts(0, 1000), Counts(12, 1000))
    assert worse.estimate == math.inf
    assert better.estimate == 0.0
    assert worse.bounds(0.05).most == math.inf
    assert better.bounds(0.05).least == 0.0
    assert worse.bounds(0.05).least == pytest.approx(1 / better.bounds(0.05).most)
    assert worse.bounds(0.05).least > 1.5


def refuting(counts: tuple[Counts, Counts], odds_ratio: float) -> float:
    """Logarithm of the mean likelihood over the grid of odds ratios, over that of ``odds_ratio``, in whole numbers."""
    table = Table(*(int(count) for side in counts for count in side))
    grid = [2 ** (place / 4) for place in range(-40, 41)]
    mean = math.fsum(math.exp(exact_log_likelihood(table, ratio)) for ratio in grid) / len(grid)
    return math.log(mean) - exact_log_likelihood(table, odds_ratio)


@pytest.mark.parametrize("counts", [(Counts(20, 40), Counts(8, 40)), (Counts(3, 60), Counts(30, 50))])
def test_bounds_are_where_the_grid_stops_refuting(counts: tuple[Counts, Counts]) -> None:
    found = OddsRatio()
    found.add(*counts)
    least, most = found.bounds(0.05)
    level = math.log(20)
    # Refuted at the bound, and not much further in.
    assert refuting(counts, least) >= level > refuting(counts, least * 1.03)
    assert refuting(counts, most) >= level > refuting(counts, most / 1.03)


@pytest.mark.parametrize("odds_ratio", [1.0, 2.3])
def test_bounds_cover_at_all_looks_together(odds_ratio: float) -> None:
    """Looks of one bad request among one of either side: exact, by dynamic programming over who had how many."""
    risk, looks = 0.2, 50
    bads = {True: (Counts(1, 1), Counts(0, 1)), False: (Counts(0, 1), Counts(1, 1))}
    alive, missed = {0: (1.0, OddsRatio())}, 0.0
    for _look in range(looks):
        after: dict[int, tuple[float, OddsRatio]] = {}
        for had, (chance, seen) in alive.items():
            for candidates, part in ((True, odds_ratio / (1 + odds_ratio)), (False, 1 / (1 + odds_ratio))):
                before, found = after.get(had + candidates, (0.0, None))
                if found is None:
                    found = copy.deepcopy(seen)
                    found.add(*bads[candidates])
                after[had + candidates] = before + chance * part, found
        alive = {}
        for had, (chance, found) in after.items():
            least, most = found.bounds(risk)
            if least <= odds_ratio <= most:
                alive[had] = chance, found
            else:
                missed += chance
    assert 0.3 * risk < missed <= risk


def test_bounds_close_in_on_the_truth_whatever_the_common_rate() -> None:
    found = OddsRatio()
    widths = []
    for look in range(60):
        share = 0.2 if look % 3 == 0 else 0.01
        found.add(Counts(1000 * with_odds(share, 2.0), 1000), Counts(19_000 * share, 19_000))
        least, most = found.bounds(0.01)
        assert least < 2.0 < most
        widths.append(most / least)
    assert found.estimate == pytest.approx(2.0, rel=0.01)
    assert widths[0] > widths[5] > widths[-1]
    assert widths[-1] < 1.4


# Latency.

STABLE = ((0.1, 500.0), (0.25, 930.0), (0.5, 996.0), (1.0, 999.0), (math.inf, 1000.0))
EDGES = (0.1, 0.25, 0.5, 1.0, math.inf)


@pytest.mark.parametrize(("quantile", "edge", "slow"), [(0.5, 0.1, 0.5), (0.95, 0.25, 0.07), (0.99, 0.5, 0.004)])
def test_threshold_is_the_edge_nearest_to_stables_quantile(quantile: float, edge: float, slow: float) -> None:
    assert latency_threshold(STABLE, quantile, EDGES) == (edge, pytest.approx(slow), "")


def test_an_edge_that_all_or_none_are_slower_than_is_far_from_any_quantile() -> None:
    buckets = ((0.01, 0.0), (0.1, 900.0), (0.25, 1000.0), (math.inf, 1000.0))
    assert latency_threshold(buckets, 0.95, (0.01, 0.1, 0.25)).edge == 0.1


def test_edges_that_differ_are_told() -> None:
    found = latency_threshold(STABLE, 0.95, (0.1, 0.2, 0.5, 1.0, math.inf))
    assert found.edge == 0.5
    assert found.note == (
        "bucket edges differ (only stable: 250 ms; only the candidate: 200 ms): compared at 500 ms, which both have"
    )


def test_a_quantile_in_the_open_bucket_is_told() -> None:
    buckets = ((0.1, 500.0), (0.25, 900.0), (math.inf, 1000.0))
    found = latency_threshold(buckets, 0.95, (0.1, 0.25, math.inf))
    assert (found.edge, found.slow) == (0.25, pytest.approx(0.1))
    assert found.note == (
        "the 0.95 quantile of stable is slower than its last bucket edge, 250 ms: "
        "add buckets above it, or compare a lower quantile"
    )


@pytest.mark.parametrize(
    ("before", "quantile", "edges", "said"),
    [
        (STABLE, 1.0, EDGES, "quantile 1.0 is not between 0 and 1"),
        ((), 0.95, EDGES, "no requests of the stable side from before"),
        (((0.1, 0.0), (math.inf, 0.0)), 0.95, EDGES, "no requests of the stable side from before"),
        (STABLE, 0.95, (0.2, math.inf), "in common: stable has 100 ms, 250 ms, 500 ms, 1 s, the candidate 200 ms"),
        (STABLE, 0.95, (), "in common: stable has 100 ms, 250 ms, 500 ms, 1 s, the candidate none"),
        (((math.inf, 10.0),), 0.95, EDGES, "in common: stable has none, the candidate 100 ms"),
    ],
)
def test_what_has_no_threshold_is_named(
    before: tuple[tuple[float, float], ...], quantile: float, edges: tuple[float, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        latency_threshold(before, quantile, edges)


def test_slower_requests_are_counted_at_the_edge() -> None:
    assert slower_than(STABLE, 0.25) == Counts(70.0, 1000.0)
    assert slower_than(((0.25, 10.5), (math.inf, 10.0)), 0.25) == Counts(0.0, 10.0)
    with pytest.raises(ValueError, match=r"no bucket ends at 0\.3; there are 0\.1, 0\.25, 0\.5, 1, inf"):
        slower_than(STABLE, 0.3)
    with pytest.raises(ValueError, match=r"no bucket ends at 0\.3; there are none"):
        slower_than((), 0.3)


def test_a_slower_candidate_is_found_where_both_slow_down() -> None:
    """Everything slows down at once, which is no evidence; then only the candidate does."""
    edge = latency_threshold(STABLE, 0.95, EDGES).edge
    test = ComparisonTest(1.5, towards=2.0)
    slowed = ((0.1, 100.0), (0.25, 400.0), (0.5, 900.0), (1.0, 990.0), (math.inf, 1000.0))
    for _look in range(20):
        test.add(slower_than(slowed, edge), slower_than(slowed, edge), 10.0)
    assert test.log_evidence < 0
    late = ComparisonTest(1.5, towards=2.0)
    for _look in range(4):
        late.add(slower_than(slowed, edge), slower_than(STABLE, edge), 10.0)
    assert late.holds(RISK)
