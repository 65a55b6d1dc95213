"""Samples cut into steps of time: no request is lost or counted twice, and the steps are those of the scrape."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.counters import CounterWatch
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Samples, Series, steps

BEGIN = 1_000.0


def scraped(spacing: float, number: int, *, first: float = BEGIN) -> Samples:
    rows = [(first + spacing * place, float(place)) for place in range(number)]
    return Samples(first, rows[-1][0] if rows else first, (Series({}, rows),) if rows else ())


@pytest.mark.parametrize(
    ("answers", "since", "at", "ends"),
    [
        ([scraped(15, 5)], 1000, 1060, [1015, 1030, 1045, 1060]),
        ([scraped(15, 5), scraped(30, 3)], 1000, 1060, [1015, 1030, 1045, 1060]),
        ([scraped(15, 5)], 1055, 1060, [1060]),
        ([scraped(15, 1)], 1000, 1060, [1060]),
        ([], 1000, 1060, [1060]),
        ([scraped(15, 5)], 1060, 1060, [1060]),
        ([scraped(15, 5)], 1061, 1060, [1060]),
    ],
)
def test_steps_are_as_long_as_the_time_between_scrapes(
    answers: list[Samples], since: float, at: float, ends: list[float]
) -> None:
    assert steps(answers, since, at) == ends


def test_there_are_never_more_steps_than_some_hundreds() -> None:
    ends = steps([scraped(1, 100)], 1000, 1000 + 86400)
    assert len(ends) == 300
    assert ends[-1] == 87400


def test_a_part_is_what_would_have_been_answered_then() -> None:
    whole = scraped(10, 7)
    part = whole.between(1010, 1035)
    assert (part.since, part.at) == (1010, 1035)
    assert part.series == (Series({}, [(1010, 1), (1020, 2), (1030, 3)]),)
    assert whole.between(1061, 1070).series == ()


rows = st.lists(st.tuples(st.floats(0.5, 20), st.integers(0, 9)), min_size=1, max_size=30)


@given(st.lists(rows, min_size=1, max_size=3), st.floats(1, 60))
def test_steps_count_what_one_look_counts(pods: list[list[tuple[float, int]]], spacing: float) -> None:
    series = []
    for number, pod in enumerate(pods):
        time, value, samples = BEGIN - 50, 0.0, [(BEGIN - 50, 0.0)]
        for later, grown in pod:
            time, value = time + later, 0.0 if grown == 9 else value + grown
            samples.append((time, value))
        series.append(Series({"pod": str(number)}, samples))
    at = max(one.samples[-1][0] for one in series) + 1
    whole = Samples(BEGIN - 300, at, tuple(series))
    once, stepwise = (CounterWatch(BEGIN, 30) for _watch in range(2))
    ends: t.Iterable[float] = [end for end in steps([scraped(spacing, 2)], BEGIN, at) if end > BEGIN] or [at]
    counted = [stepwise.add(whole.between(stepwise.since, end)) for end in ends]
    assert sum(one.count for one in counted) == once.add(whole).count
