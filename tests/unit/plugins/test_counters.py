from __future__ import annotations

import itertools
import math
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.counters import (
    CounterWatch,
    Increments,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import (
    Gap,
    Samples,
    Series,
    merged,
)

BEGIN = 1_000.0
GAP = 30.0
LOOKBACK = 300.0
Values = list[tuple[float, float]]


def samples(*series: tuple[dict[str, str], Values], since: float, at: float) -> Samples:
    """What a source answers: the part of each series that is in the range."""
    ranged = (Series(labels, [one for one in values if since <= one[0] <= at]) for labels, values in series)
    return Samples(since, at, tuple(one for one in ranged if one.samples))


def watch() -> CounterWatch:
    return CounterWatch(BEGIN, GAP, LOOKBACK)


def looked(values: Values, *looks: float, labels: dict[str, str] | None = None) -> list[Increments]:
    """One series, watched at ``looks`` with the overlap that the watch itself asks for."""
    watching = watch()
    return [watching.add(samples((labels or {}, values), since=watching.since, at=at)) for at in looks]


def every(step: float, *values: float, first: float = BEGIN) -> Values:
    return [(first + step * place, value) for place, value in enumerate(values)]


def test_a_series_that_was_there_before_counts_from_its_last_sample() -> None:
    one, two = looked(every(15, 7000, 7010, 7030, 7060, first=BEGIN - 20), 1010, 1040)
    assert (one.count, one.born, one.newest, one.series) == (20, 0, 1010, 1)
    assert (two.count, two.since, two.newest, two.series) == (30, 1010, 1025, 1)


def test_a_series_that_is_born_while_we_watch_counts_from_0() -> None:
    one, two = looked(every(15, 3, 4, first=BEGIN + 35), 1030, 1060)
    assert (one.count, one.newest) == (0, None)
    assert (two.count, two.born, two.newest) == (4, 1, 1050)


def test_a_value_that_falls_began_again_at_0() -> None:
    (one,) = looked(every(15, 100, 130, 5, 6), 1060)
    assert (one.count, one.resets) == (30 + 5 + 1, 1)


def test_a_pod_that_ends_keeps_what_it_counted_and_is_silent_for_a_while() -> None:
    ended, other = every(15, 10, 20, 30), every(15, *range(0, 4000, 100))
    watching = watch()
    seen = [
        watching.add(samples(({"pod": "a"}, ended), ({"pod": "b"}, other), since=watching.since, at=at))
        for at in (1030, 1090, 1500)
    ]
    assert [one.count for one in seen] == [20 + 200, 400, 2700]
    assert [(one.series, one.silent) for one in seen] == [(2, 0), (1, 1), (1, 0)]
    assert not any(one.gaps for one in seen)


def test_between_the_last_sample_of_one_pod_and_the_first_of_another_is_a_gap() -> None:
    ended, born = every(15, 10, 20, 30), every(15, 3, 5, first=BEGIN + 61)
    watching = watch()
    watching.add(samples(({"pod": "a"}, ended), since=watching.since, at=1040))
    (gap,) = watching.add(samples(({"pod": "b"}, born), since=watching.since, at=1080)).gaps
    assert (gap.since, gap.until) == (1030, 1061)


def test_samples_that_come_again_or_late_count_once() -> None:
    watching = watch()
    watching.add(samples(({}, every(15, 5, 9)), since=700, at=1015))
    again = samples(({}, every(15, 5, 9)), ({}, every(15, 5, 9)), since=700, at=1020)
    assert watching.add(again).count == 0
    # 12 was scraped at 1030, but only came after 14, scraped at 1045.
    assert watching.add(samples(({}, [(1045.0, 14.0)]), since=1020, at=1046)).count == 5
    assert watching.add(samples(({}, [(1030.0, 12.0), (1045.0, 14.0)]), since=1020, at=1047)).count == 0


def test_what_comes_after_a_gap_counts_and_is_marked() -> None:
    values = [*every(15, 10, 20), *every(15, 90, 95, first=BEGIN + 55)]
    one, two, three = looked(values, 1020, 1050, 1071)
    assert (one.gaps, one.across_gaps) == ((), 0)
    assert (two.count, two.series, two.silent, two.gaps) == (0, 0, 1, (Gap(1015, 1050, 1),))
    assert (three.count, three.across_gaps, three.gaps) == (75, 70, (Gap(1015, 1055, 1),))


def test_no_series_at_all_is_a_gap_from_the_beginning() -> None:
    one, two = looked([], 1020, 1040)
    assert (one.gaps, two.gaps) == ((), (Gap(1000, 1040, 0),))
    assert (two.newest, two.series, two.count) == (None, 0, 0)


def test_a_replica_that_lags_is_no_reset_and_counts_nothing_twice() -> None:
    """The other replica's values are those of 15 s before: its clock is ahead."""
    watching = watch()
    watching.add(samples(({}, every(10, 100, 110, 120)), since=700, at=1020))
    lagging = every(10, 85, 95, 105, 115, 125, 2)
    seen = watching.add(samples(({}, lagging), since=watching.since, at=1030))
    assert (seen.count, seen.resets) == (0, 0)
    seen = watching.add(samples(({}, lagging), since=watching.since, at=1040))
    assert (seen.count, seen.resets) == (5, 0)
    seen = watching.add(samples(({}, lagging), since=watching.since, at=1050))
    assert (seen.count, seen.resets) == (2, 1)


def test_a_replica_that_lags_behind_a_reset_we_know_does_not_repeat_it() -> None:
    watching = watch()
    watching.add(samples(({}, every(10, 100, 110, 3)), since=700, at=1020))
    seen = watching.add(samples(({}, [(1015.0, 112.0), (1025.0, 5.0)]), since=1010, at=1025))
    assert (seen.count, seen.resets) == (2, 0)


def test_a_series_is_not_born_where_nobody_looked_before() -> None:
    """Looked at from 1000 on only, or again after a hole: the series may have been there all the time."""
    watching = watch()
    assert watching.add(samples(({}, every(15, 5000, 5001, first=1010)), since=1000, at=1030)).count == 1
    seen = watching.add(samples(({"pod": "b"}, every(15, 9000, 9002, first=2010)), since=2000, at=2030))
    assert (seen.count, seen.born) == (2, 0)
    seen = watching.add(samples(({"pod": "c"}, every(15, 7, 9, first=2040)), since=2030, at=2060))
    assert (seen.count, seen.born) == (9, 1)


def test_looks_reach_back_a_few_samples_and_to_where_the_samples_ended() -> None:
    watching = watch()
    assert watching.since == BEGIN - LOOKBACK
    values = [*every(1, *range(20)), *every(1, *range(20, 30), first=1400)]
    watching.add(samples(({}, values), since=700, at=1019))
    assert watching.since == 1019 - 3
    watching.add(samples(({}, values), since=1016, at=1300))
    assert watching.since == 1019 - 3
    watching.add(samples(({}, values), since=1016, at=1390))
    assert watching.since == 1390 - LOOKBACK - 3


def test_an_answer_that_is_none_can_not_be_counted() -> None:
    watching = watch()
    with pytest.raises(ValueError, match="source_down: no answer"):
        watching.add(Samples(700, math.nan, problem="source_down", reason="no answer"))
    assert watching.since == 700


@pytest.mark.parametrize("gap", [0.0, 301.0])
def test_a_gap_must_fit_the_lookback(gap: float) -> None:
    with pytest.raises(ValueError, match="at most the lookback of 300 s"):
        CounterWatch(BEGIN, gap, LOOKBACK)


# ---- histograms


def histogram(pod: str, **counts: list[float]) -> list[tuple[dict[str, str], Values]]:
    """Cumulative counts per edge, ``_`` for the point."""
    named = {"inf": "+Inf"} | {edge: edge[1:].replace("_", ".") for edge in counts if edge != "inf"}
    return [({"pod": pod, "le": named[edge]}, every(15, *values)) for edge, values in counts.items()]


def test_buckets_of_several_pods_add_up() -> None:
    one = histogram("a", e0_1=[0, 5, 8], e0_5=[0, 9, 19], inf=[10, 20, 31])
    two = histogram("b", e0_1=[1, 2, 3], e0_5=[1, 3, 5], inf=[1, 3, 5])
    seen = watch().add(samples(*one, *two, since=700, at=1030))
    assert seen.buckets == ((0.1, 10), (0.5, 23), (math.inf, 25))
    assert (seen.count, seen.series) == (25, 6)


def test_an_edge_that_not_all_pods_have_is_left_out() -> None:
    one = histogram("a", e0_1=[0, 5], e0_5=[0, 9], inf=[0, 10])
    two = histogram("b", e0_1=[0, 1], e0_2=[0, 2], inf=[0, 4])
    assert watch().add(samples(*one, *two, since=700, at=1015)).buckets == ((0.1, 6), (math.inf, 14))


def test_a_pod_without_requests_takes_no_edge_away() -> None:
    one = histogram("a", e0_1=[0, 5], e0_5=[0, 9], inf=[0, 10])
    old = histogram("old", e0_2=[7, 7], inf=[8, 8])
    assert watch().add(samples(*one, *old, since=700, at=1015)).buckets == ((0.1, 5), (0.5, 9), (math.inf, 10))


def test_a_histogram_in_which_nothing_happened_is_all_zeros() -> None:
    assert watch().add(samples(*histogram("a", e0_1=[3, 3], inf=[4, 4]), since=700, at=1015)).buckets == (
        (0.1, 0), (math.inf, 0),
    )  # fmt: skip


def test_gaps_that_overlap_are_one() -> None:
    assert merged([Gap(5, 9, 1), Gap(0, 3, 1), Gap(2, 4, 2), Gap(9, 10, 1)]) == [
        Gap(0, 4, 3), Gap(5, 9, 1), Gap(9, 10, 1),
    ]  # fmt: skip


# ---- properties


class World(t.NamedTuple):
    """Pods as they were scraped, and the requests that a perfect watch would have counted from BEGIN on."""

    pods: list[tuple[dict[str, str], Values]]
    requests: float


@st.composite
def pods(draw: st.DrawFn) -> tuple[Values, float]:
    """One pod's samples and its countable requests: it is born, restarts and dies when it likes."""
    interval = draw(st.sampled_from([1.0, 5.0, 10.0]))
    first = BEGIN + draw(st.integers(-280, 150)) + draw(st.floats(0, 0.9))
    scraped: Values = []
    value, counted = 0.0, 0.0
    for place in range(draw(st.integers(1, 25))):
        at = first + place * interval
        requests = float(draw(st.integers(0, 40)))
        before = value
        last = scraped[-1][1] if scraped else 0.0
        # A restart shows only where the new count is below the old one; that is the limit of every such reckoning.
        restarted = requests < last and draw(st.integers(0, 9)) == 0
        value = requests if restarted else value + requests
        if draw(st.integers(0, 9)) == 0:
            value = before if restarted else value  # not scraped: seen with the next sample, or never
            continue
        counted += requests if restarted else value - last
        scraped.append((at, value))
        if at <= BEGIN:
            counted = 0.0
    return scraped, counted


@st.composite
def worlds(draw: st.DrawFn) -> World:
    drawn = draw(st.lists(pods(), min_size=1, max_size=3))
    scraped = [({"pod": str(number)}, values) for number, (values, _counted) in enumerate(drawn)]
    return World(scraped, sum(counted for _values, counted in drawn))


END = BEGIN + 600
cuts = st.lists(st.floats(BEGIN, END), max_size=12).map(lambda drawn: [*sorted(set(drawn)), END])


def watched(world: World, looks: t.Iterable[float], overlaps: t.Iterable[float]) -> list[Increments]:
    watching = watch()
    seen = []
    until = BEGIN - LOOKBACK
    for at, overlap in zip(looks, overlaps, strict=False):
        seen.append(watching.add(samples(*world.pods, since=max(BEGIN - LOOKBACK, until - overlap), at=at)))
        until = at
    return seen


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_the_count_is_the_true_number_of_requests(world: World) -> None:
    (seen,) = watched(world, [END], [0])
    assert seen.count == pytest.approx(world.requests)


@settings(max_examples=100, deadline=None)
@given(worlds(), cuts, st.lists(st.sampled_from([0.0, 0.5, 12.0, 200.0]), min_size=13, max_size=13))
def test_however_the_samples_are_split_into_looks_each_counts_once(
    world: World, looks: list[float], overlaps: list[float]
) -> None:
    seen = watched(world, looks, overlaps)
    assert sum(one.count for one in seen) == pytest.approx(world.requests)
    assert all(0 <= one.across_gaps <= one.count for one in seen)
    assert sum(one.born for one in seen) == sum(bool(values) and values[0][0] > BEGIN for _labels, values in world.pods)


@settings(max_examples=50, deadline=None)
@given(worlds(), cuts)
def test_the_overlap_that_the_watch_asks_for_is_enough(world: World, looks: list[float]) -> None:
    watching = watch()
    counted = itertools.accumulate(
        watching.add(samples(*world.pods, since=watching.since, at=at)).count for at in looks
    )
    assert list(counted)[-1] == pytest.approx(world.requests)


@settings(max_examples=50, deadline=None)
@given(worlds(), cuts)
def test_every_time_without_any_sample_is_told(world: World, looks: list[float]) -> None:
    times = sorted({at for _labels, values in world.pods for at, _value in values})
    known = [at for at in times if at <= BEGIN][-1:] or [BEGIN]
    for one, at in zip(watched(world, looks, itertools.repeat(0.0)), looks, strict=True):
        newest = max([*known, *(scraped for scraped in times if scraped <= at)])
        silent = at - newest > GAP
        assert (Gap(newest, at, 0)[:2] in [gap[:2] for gap in one.gaps]) is silent
        assert (one.series == 0) or not silent
