"""Tests of a share under peeking: exact means by enumeration, exact chances of ever being wrong, published values."""

from __future__ import annotations

import itertools
import math
import random
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import (
    FROM_START,
    Counts,
    Mixture,
    ShareTest,
    confidence_sequence,
)

LEVEL = math.log(1000)


def binomial(bad: int, total: int, share: float) -> float:
    return math.comb(total, bad) * share**bad * (1 - share) ** (total - bad)


def mean_evidence(
    make: t.Callable[[], ShareTest], looks: t.Sequence[int], share: float, stop: float = math.inf
) -> float:
    """Mean of the e-process after ``looks`` of so many requests each, over all that can happen.

    Who looks stops for good where it exceeds ``stop``.
    """
    mean = 0.0
    for bads in itertools.product(*(range(total + 1) for total in looks)):
        test, chance = make(), 1.0
        for bad, total in zip(bads, looks, strict=True):
            chance *= binomial(bad, total, share)
            if test.log_evidence <= math.log(stop):
                test.add(Counts(bad, total), 10.0)
        mean += chance * math.exp(test.log_evidence)
    return mean


def chance_of_ever(wrong: t.Callable[[Counts], bool], share: float, most: int) -> float:
    """Probability that ``wrong`` holds at any of ``most`` looks, one request each, by dynamic programming."""
    alive = {0: 1.0}
    lost = 0.0
    for total in range(1, most + 1):
        after: dict[int, float] = {}
        for bad, chance in alive.items():
            after[bad] = after.get(bad, 0.0) + chance * (1 - share)
            after[bad + 1] = after.get(bad + 1, 0.0) + chance * share
        alive = {}
        for bad, chance in after.items():
            if wrong(Counts(bad, total)):
                lost += chance
            else:
                alive[bad] = chance
    return lost


def evidence(test: ShareTest, *counts: Counts, seconds: float = 0.0) -> float:
    for some in counts:
        test.add(some, seconds)
    return test.log_evidence


# One alternative: Wald's sequential probability ratio test.


@pytest.mark.parametrize(("bad", "total"), [(0, 1), (1, 1), (3, 7), (40, 100), (0, 5000)])
def test_one_alternative_is_walds_likelihood_ratio(bad: int, total: int) -> None:
    # From 0.5 towards 0.95 there is room for one alternative only.
    test = ShareTest(0.5, above=True, towards=0.95)
    assert evidence(test, Counts(bad, total)) == pytest.approx(
        bad * math.log(0.95 / 0.5) + (total - bad) * math.log(0.05 / 0.5)
    )


@pytest.mark.parametrize("share", [0.3, 0.45, 0.6, 1.0])
def test_one_alternative_decides_on_walds_line(share: float) -> None:
    """Wald 1947, 5.3: reject at ``bad >= log(A) / d + n * s`` with d, s from the two shares."""
    least, worse, bound = 0.1, 0.3, math.log(0.97 / 0.02)
    step = math.log(worse / least) + math.log((1 - least) / (1 - worse))
    slope = math.log((1 - least) / (1 - worse)) / step
    assert slope == pytest.approx(0.186, abs=5e-4)
    mixture, bad = Mixture(1), 0
    for total in range(1, 200):
        hit = int(total * share) - bad
        bad += hit
        mixture.add([math.log(worse / least) if hit else math.log((1 - worse) / (1 - least))], 0.0)
        assert (mixture.log_evidence >= bound) is (bad >= bound / step + total * slope)


def test_the_share_zero_is_refuted_by_one_bad_request() -> None:
    test = ShareTest(0.5, above=False, towards=0.0)
    assert evidence(test, Counts(0, 10)) == pytest.approx(10 * math.log(2))
    assert evidence(test, Counts(1, 1)) == -math.inf
    assert evidence(test, Counts(0, 1000)) == -math.inf


# The mean of the e-process under the hypothesis.


@pytest.mark.parametrize("horizon", [None, 25.0])
@pytest.mark.parametrize(("limit", "above"), [(0.1, True), (0.5, True), (0.97, True), (0.1, False), (0.5, False)])
@pytest.mark.parametrize("stop", [math.inf, 1.5])
def test_the_mean_is_one_at_the_edge_and_less_inside(
    limit: float, above: bool, horizon: float | None, stop: float
) -> None:
    def make() -> ShareTest:
        return ShareTest(limit, above=above, horizon=horizon)

    looks = (1, 3, 2)
    assert mean_evidence(make, looks, limit, stop) == pytest.approx(1.0, abs=1e-9)
    inside = [limit * part for part in (0.0, 0.3, 0.7, 0.95)]
    before = 1.0
    for share in reversed(inside if above else [1 - (1 - limit) * part for part in (0.0, 0.3, 0.7, 0.95)]):
        mean = mean_evidence(make, looks, share, stop)
        assert mean < before
        before = mean


def test_the_mean_grows_outside() -> None:
    assert mean_evidence(lambda: ShareTest(0.1, above=True), (1, 3, 2), 0.5) > 2


# The chance of ever being wrong: Ville's bound.


@pytest.mark.parametrize(("limit", "above"), [(0.05, True), (0.3, True), (0.3, False)])
@pytest.mark.parametrize("risk", [0.1, 0.02])
def test_ever_wrong_at_most_with_the_stated_risk(limit: float, above: bool, risk: float) -> None:
    def wrong(counts: Counts) -> bool:
        test = ShareTest(limit, above=above)
        test.add(counts)
        return test.holds(risk)

    chance = chance_of_ever(wrong, limit, 150)
    assert 0.15 * risk < chance <= risk


@pytest.mark.parametrize("horizon", [None, 50.0])
def test_ever_wrong_over_many_seeds_with_and_without_a_horizon(horizon: float | None) -> None:
    seeded = random.Random(4)
    limit, risk, looks, runs = 0.5, 0.1, 80, 1500
    wrong = 0
    for _run in range(runs):
        # One alternative and single requests overshoot the threshold least, so the bound is nearly used up.
        test = ShareTest(limit, above=True, towards=0.95, horizon=horizon)
        for _look in range(looks):
            test.add(Counts(seeded.random() < limit, 1), 10.0)
            if test.holds(risk):
                wrong += 1
                break
    assert 0.5 * risk < wrong / runs <= risk + 3 * math.sqrt(risk * (1 - risk) / runs)


# What evidence does with counts.


@given(st.floats(0.001, 0.9), st.booleans(), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8))
@settings(deadline=None)
def test_without_a_horizon_only_the_sums_count(limit: float, above: bool, looks: list[tuple[int, int]]) -> None:
    counts = [Counts(bad, bad + good) for bad, good in looks]
    total = Counts(sum(some.bad for some in counts), sum(some.total for some in counts))
    apart, together = ShareTest(limit, above=above), ShareTest(limit, above=above)
    assert evidence(apart, *reversed(counts)) == pytest.approx(evidence(together, total), rel=1e-9, abs=1e-9)
    assert apart.seen == total


@given(
    st.floats(0.001, 0.9),
    st.integers(1, 200),
    st.data(),
    st.sampled_from([None, 60.0]),
)
@settings(deadline=None)
def test_one_more_bad_request_is_more_evidence(
    limit: float, total: int, data: st.DataObject, horizon: float | None
) -> None:
    bad = data.draw(st.integers(0, total - 1))
    for above in (True, False):
        fewer = evidence(ShareTest(limit, above=above, horizon=horizon), Counts(bad, total), seconds=10)
        more = evidence(ShareTest(limit, above=above, horizon=horizon), Counts(bad + 1, total), seconds=10)
        # The evidence that never vanishes, that of a change yet to come, may drown the difference.
        assert more >= fewer if above else more <= fewer
        if horizon is None and math.isfinite(more):
            assert more != fewer


def test_no_requests_change_nothing() -> None:
    test = ShareTest(0.01, above=True)
    before = evidence(test, Counts(3, 100))
    assert evidence(test, Counts(0, 0)) == before
    assert ShareTest(0.01, above=True).log_evidence == 0


def test_fractions_of_requests_count_as_fractions() -> None:
    whole = evidence(ShareTest(0.01, above=True), Counts(3, 100))
    parts = evidence(ShareTest(0.01, above=True), *[Counts(0.75, 12.5)] * 2, *[Counts(0.375, 18.75)] * 4)
    assert parts == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("horizon", [None, 600.0])
@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("bad", [0, 1, 1e6, 5e8, 1e9])
def test_a_billion_requests_do_not_overflow(bad: float, above: bool, horizon: float | None) -> None:
    test = ShareTest(0.001, above=above, horizon=horizon)
    for _look in range(3):
        assert not math.isnan(evidence(test, Counts(bad, 1e9), seconds=10))
    beyond = bad > 1e6 if above else bad < 1e6
    assert test.holds(0.001) is beyond
    bounds = confidence_sequence(Counts(bad, 1e9), 0.001)
    assert bounds.least <= bad / 1e9 <= bounds.most
    assert bounds.most - bounds.least < 2e-4


@pytest.mark.parametrize(
    ("limit", "above", "counts", "refuted"),
    [
        (0.0, True, Counts(0, 1e9), False),
        (0.0, True, Counts(1, 1), True),
        (1.0, False, Counts(1e9, 1e9), False),
        (1.0, False, Counts(0, 1), True),
        # Nothing is above 1 or below 0, however much is seen.
        (1.0, True, Counts(1e12, 1e12), False),
        (0.0, False, Counts(0, 1e12), False),
    ],
)
def test_limits_zero_and_one(limit: float, above: bool, counts: Counts, refuted: bool) -> None:
    test = ShareTest(limit, above=above)
    test.add(counts)
    assert test.holds(0.001) is refuted


@pytest.mark.parametrize(
    "counts",
    [Counts(2, 1), Counts(-1, 1), Counts(0, -1), Counts(math.nan, 1), Counts(0, math.nan), Counts(0, math.inf)],
)
def test_what_is_no_count_is_named(counts: Counts) -> None:
    with pytest.raises(ValueError, match=rf"{counts.bad} of {counts.total} is not a share"):
        ShareTest(0.01, above=True).add(counts)


@pytest.mark.parametrize(
    ("limit", "above", "towards", "said"),
    [
        (1.5, True, None, "1.5 is not a share"),
        (math.nan, True, None, "nan is not a share"),
        (0.1, True, -0.1, "-0.1 is not a share"),
        (0.1, True, 0.05, "0.05 is on the wrong side of 0.1"),
        (0.1, False, 0.2, "0.2 is on the wrong side of 0.1"),
    ],
)
def test_what_is_no_limit_is_named(limit: float, above: bool, towards: float | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ShareTest(limit, above=above, towards=towards)


def test_room_between_limit_and_alternative_makes_less_evidence_enough() -> None:
    """The mission's stage 1: good is 0.1 %, bad is 0.5 %."""
    close = evidence(ShareTest(0.001, above=True), Counts(10, 1000))
    wide = evidence(ShareTest(0.001, above=True, towards=0.005), Counts(10, 1000))
    assert wide > close


def test_a_third_failing_is_found_within_a_few_requests() -> None:
    test = ShareTest(0.005, above=True, horizon=600)
    for _look in range(360):
        test.add(Counts(0, 200), 10.0)
    assert test.log_evidence < 0.1
    test.add(Counts(6, 20), 1.0)
    assert test.holds(0.001)
    assert test.since_change == Counts(6, 20)


def test_the_change_is_forgotten_where_nothing_speaks_for_it() -> None:
    test = ShareTest(0.01, above=True)
    test.add(Counts(1, 10))
    assert test.since_change == Counts(1, 10)
    test.add(Counts(2, 20))
    assert test.since_change == Counts(3, 30)
    test.add(Counts(0, 100_000))
    assert test.since_change == Counts(0, 0)
    assert test.seen == Counts(3, 100_030)


# How much more is needed.


@pytest.mark.parametrize(
    ("limit", "above", "share"), [(0.001, False, 0.0), (0.001, False, 0.0002), (0.005, True, 0.02), (0.005, True, 0.5)]
)
def test_more_needed_is_about_right(limit: float, above: bool, share: float) -> None:
    test = ShareTest(limit, above=above)
    # A tenth of what is needed tells the share and little more.
    test.add(Counts(0.1 * share, 0.1))
    told = test.more_needed(0.001)
    assert told is not None
    step, used = told / 200, 0.0
    while not test.holds(0.001):
        test.add(Counts(share * step, step))
        used += step
    # Told is as if the best alternative had been the only one: a little too few.
    assert 0.7 * used < told <= used
    assert test.more_needed(0.001) == 0


def test_more_is_never_enough_on_the_wrong_side() -> None:
    test = ShareTest(0.01, above=True)
    test.add(Counts(1, 200))
    assert test.more_needed(0.001) is None
    test = ShareTest(0.01, above=False)
    test.add(Counts(1, 100))
    assert test.more_needed(0.001) is None
    test.add(Counts(5, 100))
    assert test.more_needed(0.001) is None


def test_more_needed_before_anything_was_seen_takes_the_best_case() -> None:
    good = ShareTest(0.001, above=False).more_needed(0.001)
    bad = ShareTest(0.001, above=True).more_needed(0.001)
    assert good == pytest.approx(LEVEL / -math.log1p(-0.001))
    assert bad == pytest.approx(LEVEL / math.log(0.95 / 0.001))


# The confidence sequence.

RISK = 0.05


@pytest.mark.parametrize(
    ("counts", "least", "most"),
    [
        # B(bad + 1/2, good + 1/2) / B(1/2, 1/2) is 1/2, 1/2, 3/8, 1/8 for these, as pi cancels.
        (Counts(0, 1), 0.0, 1 - RISK / 2),
        (Counts(1, 1), RISK / 2, 1.0),
        (Counts(0, 2), 0.0, 1 - math.sqrt(RISK * 3 / 8)),
        (Counts(1, 2), (1 - math.sqrt(1 - RISK / 2)) / 2, (1 + math.sqrt(1 - RISK / 2)) / 2),
        (Counts(0, 0), 0.0, 1.0),
    ],
)
def test_confidence_sequence_in_closed_form(counts: Counts, least: float, most: float) -> None:
    assert confidence_sequence(counts, RISK) == pytest.approx((least, most), abs=1e-12)


@pytest.mark.parametrize("bad", [0, 1, 7, 30])
def test_confidence_sequence_is_where_the_mixture_stops_refuting(bad: int) -> None:
    """The mixture's value by Simpson's rule over the arcsine prior, share = sin^2(x), instead of by gamma functions."""
    total, risk = 30, 0.01
    steps = 2000
    grid = [math.sin(math.pi / 2 * number / steps) ** 2 for number in range(steps + 1)]
    weights = [1, *itertools.islice(itertools.cycle((4, 2)), steps - 1), 1]
    mixture = sum(w * share**bad * (1 - share) ** (total - bad) for w, share in zip(weights, grid, strict=True))
    mixture /= 3 * steps
    for bound in confidence_sequence(Counts(bad, total), risk):
        if 0 < bound < 1:
            assert mixture / (bound**bad * (1 - bound) ** (total - bad)) == pytest.approx(1 / risk, rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_confidence_sequence_covers_at_all_looks_together(share: float) -> None:
    def missed(counts: Counts) -> bool:
        least, most = confidence_sequence(counts, 0.1)
        return not least <= share <= most

    chance = chance_of_ever(missed, share, 60)
    assert chance <= 0.1
    assert share in (0.0, 1.0) or chance > 0.005


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(1e-6, 0.5))
@settings(max_examples=50, deadline=None)
def test_confidence_sequence_contains_what_was_seen_and_mirrors(bad: int, good: int, risk: float) -> None:
    bounds = confidence_sequence(Counts(bad, bad + good), risk)
    mirrored = confidence_sequence(Counts(good, bad + good), risk)
    assert bounds == pytest.approx((1 - mirrored.most, 1 - mirrored.least), abs=1e-9)
    if bad + good:
        assert bounds.least <= bad / (bad + good) <= bounds.most
    surer = confidence_sequence(Counts(bad, bad + good), risk / 2)
    assert surer.least <= bounds.least
    assert surer.most >= bounds.most


# The horizon: evidence since an unknown change.

some_seconds = st.lists(st.floats(0, 1e5), max_size=20)


@given(st.floats(1.0, 1e5), some_seconds)
@settings(deadline=None)
def test_the_prior_of_the_change_sums_to_one(horizon: float, seconds: list[float]) -> None:
    """Where every ratio is 1 the e-process is the mass spent on the past and that kept for the future."""
    mixture = Mixture(3, horizon)
    for some in seconds:
        mixture.add([0.0] * 3, some)
    assert mixture.log_evidence == pytest.approx(0.0, abs=1e-9)


@given(st.floats(1.0, 1e5), st.lists(st.floats(0, 1e5), min_size=1, max_size=20))
@settings(deadline=None)
def test_mass_kept_for_the_future_is_never_lost(horizon: float, seconds: list[float]) -> None:
    mixture = Mixture(1, horizon)
    for some in seconds:
        mixture.add([-math.inf], some)
    kept = (1 - FROM_START) * horizon / (horizon + sum(seconds))
    assert mixture.log_evidence == pytest.approx(math.log(kept), abs=1e-9)


@given(
    st.floats(10.0, 1e4),
    st.lists(st.tuples(st.floats(0.1, 100), st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=12),
)
@settings(deadline=None)
def test_evidence_since_any_change_is_never_lost(horizon: float, looks: list[tuple[float, float, float]]) -> None:
    """However bad the time before: at least prior of the change, times its likelihood ratio, over the alternatives."""
    mixture = Mixture(2, horizon)
    for seconds, *ratios in looks:
        mixture.add(ratios, seconds)
    began = 0.0
    for number, (seconds, *_ratios) in enumerate(looks):
        # The integral of horizon / (horizon + t)^2 over this look.
        prior = (1 - FROM_START) * horizon * seconds / ((horizon + began) * (horizon + began + seconds))
        prior += FROM_START if number == 0 else 0.0
        for alternative in (1, 2):
            since = sum(look[alternative] for look in looks[number:])
            assert mixture.log_evidence >= math.log(prior / 2) + since - 1e-9
        began += seconds


def looks_to_find(good_looks: int, horizon: float | None) -> int:
    test = ShareTest(0.005, above=True, horizon=horizon)
    for _look in range(good_looks):
        test.add(Counts(0.02, 100), 10.0)
    for look in range(1, 100_000):
        test.add(Counts(2, 100), 10.0)
        if test.holds(0.001):
            return look
    raise AssertionError("never found")


def test_a_long_good_time_delays_detection_by_a_logarithm_and_no_more() -> None:
    horizon = 600.0
    growth = 2 * math.log(0.02 / 0.005) + 98 * math.log(0.98 / 0.995)
    found = {good: looks_to_find(good, horizon) for good in (0, 60, 600, 6000)}
    assert found[0] < found[60]  # a change at the very start has a prior of its own
    for sooner, later in itertools.pairwise(list(found)[1:]):
        told = 2 * math.log((horizon + 10 * later) / (horizon + 10 * sooner)) / growth
        # The nearest alternatives to 2 % are 1.7 and 3.3 %, which grow a little slower than 2 % itself.
        assert 0 <= found[later] - found[sooner] <= 1.2 * told + 1
    assert found[6000] <= 4 * found[60]
    assert looks_to_find(600, None) > 4 * found[600]


# Clumps: several bad requests of one cause.


def mean_of_clumped(test: t.Callable[[], ShareTest], rate: float, share: float, size: int, looks: int) -> float:
    """Mean of the e-process after ``looks`` of ``rate`` requests each, bad ones in clumps of ``size``."""
    chance = random.Random(7)
    total = 0.0
    for _run in range(4000):
        one = test()
        for _look in range(looks):
            bad = size * poisson(chance, rate * share / size)
            one.add(Counts(float(bad), float(bad + poisson(chance, rate * (1 - share)))), 10.0)
        total += math.exp(one.log_evidence)
    return total / 4000


def poisson(chance: random.Random, mean: float) -> int:
    count, product, floor = 0, chance.random(), math.exp(-mean)
    while product > floor:
        count += 1
        product *= chance.random()
    return count


@pytest.mark.parametrize(("limit", "above"), [(0.05, True), (0.05, False)])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_clumps_within_the_bound_are_no_evidence(limit: float, above: bool, size: int) -> None:
    """At the edge of the hypothesis the mean is 1 for clumps of the very size, and less for smaller ones."""

    def test() -> ShareTest:
        return ShareTest(limit, above=above, towards=limit * (2 if above else 0.5), clump=4)

    assert mean_of_clumped(test, 100.0, limit, size, 2) < 1.15


def test_clumps_beyond_the_bound_seem_to_be_evidence() -> None:
    assert mean_of_clumped(lambda: ShareTest(0.05, above=True, towards=0.1), 100.0, 0.05, 4, 2) > 3


def test_clumps_take_as_many_times_the_requests() -> None:
    plain, clumped = ShareTest(0.005, above=False, towards=0.001), ShareTest(0.005, above=False, towards=0.001, clump=5)
    for test in (plain, clumped):
        test.add(Counts(0, 1000))
    assert plain.log_evidence > clumped.log_evidence
    more, many = plain.more_needed(0.001), clumped.more_needed(0.001)
    assert more is not None and many is not None
    assert many + 1000 == pytest.approx(5 * (more + 1000), rel=0.1)


def test_a_confidence_sequence_of_clumps_is_wider() -> None:
    plain, clumped = confidence_sequence(Counts(20, 1000), 0.01), confidence_sequence(Counts(20, 1000), 0.01, 5)
    assert clumped.least < plain.least < 0.02 < plain.most < clumped.most


@pytest.mark.parametrize("clump", [0.5, 0.0, -1.0, math.inf, math.nan])
def test_what_is_no_clump_is_named(clump: float) -> None:
    with pytest.raises(ValueError, match="clump"):
        ShareTest(0.01, above=True, clump=clump)
