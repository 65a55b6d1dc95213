"""What a trigger fires on: not good at all, and really beyond the limit, lately or since it changed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import (
    Criterion,
    Limits,
    Risks,
    Trigger,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import Counts, ShareTest
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import FAIL

LIMITS = Limits(0.001, 0.005)
RISK = 1e-5


def looks_until_fired(trigger: Trigger, counts: list[Counts]) -> int | None:
    for look, seen in enumerate(counts):
        trigger.add(seen, 10.0)
        if trigger.fails:
            return look
    return None


def rising(until: float, looks: int, requests: int) -> list[Counts]:
    return [Counts(round(requests * until * (look + 1) / looks), requests) for look in range(looks)]


def test_errors_that_rise_slowly_are_not_diluted_by_their_beginnings() -> None:
    """Up to 5 % within 20 minutes, 10 000 requests a look: the share since the rise began lags half a minute behind."""
    counts = [Counts(2, 10_000)] * 60 + rising(0.05, 120, 10_000)
    trigger = Trigger(LIMITS, RISK, 2700.0)
    fired = looks_until_fired(trigger, counts)
    assert fired is not None
    whole = ShareTest(LIMITS.acceptable, above=True, towards=LIMITS.unacceptable, horizon=2700.0)
    diluted = None
    for look, seen in enumerate(counts):
        whole.add(seen, 10.0)
        if diluted is None and whole.holds(RISK) and whole.since_change.share > LIMITS.unacceptable:
            diluted = look
    assert diluted is not None
    assert fired + 3 <= diluted
    standing = trigger.standing
    assert standing.verdict == FAIL
    assert standing.counts.share > LIMITS.unacceptable
    assert standing.bounds.least > LIMITS.acceptable


def test_hours_between_the_limits_fire_nothing() -> None:
    assert looks_until_fired(Trigger(LIMITS, RISK, 2700.0), [Counts(3, 1000)] * 720) is None


def test_a_single_look_beyond_the_limit_must_tell_by_itself() -> None:
    """0.3 % for an hour is proven not to be good; six of 1000 are beyond, and are luck."""
    trigger = Trigger(LIMITS, RISK, 2700.0)
    assert looks_until_fired(trigger, [Counts(3, 1000)] * 360) is None
    trigger.add(Counts(6, 1000), 10.0)
    assert not trigger.fails
    trigger.add(Counts(20, 1000), 10.0)
    assert trigger.fails


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1)), min_size=1, max_size=60))
@settings(deadline=None)
def test_whatever_fires_is_evidence_enough(looks: list[tuple[int, float]]) -> None:
    """The bound on false rollbacks is that of the test within, whatever else a trigger looks at."""
    trigger = Trigger(LIMITS, RISK, 600.0)
    test = ShareTest(LIMITS.acceptable, above=True, towards=LIMITS.unacceptable, horizon=600.0)
    for total, share in looks:
        seen = Counts(float(round(total * share)), float(total))
        trigger.add(seen, 10.0)
        test.add(seen, 10.0)
        if trigger.fails:
            assert test.holds(RISK)
            assert trigger.standing.counts.share > LIMITS.unacceptable
        assert trigger.fails is (trigger.standing.verdict == FAIL)


@pytest.mark.parametrize("requests", [10, 100, 1000])
def test_good_releases_are_left_alone(requests: int) -> None:
    """Of 100 stages of 10 minutes exactly at the limit none is taken back."""
    chance = random.Random(20261121)
    for _release in range(100):
        trigger = Trigger(LIMITS, 1e-4, 600.0)
        counts = [Counts(float(sum(chance.random() < 0.001 for _ in range(requests))), requests) for _ in range(60)]
        assert looks_until_fired(trigger, counts) is None


def test_risks_are_shared_by_what_can_take_a_release_back() -> None:
    each = Risks(0.001, 0.002).of_each(4)
    assert each == Risks(0.00025, 0.002)
    assert Risks(0.001, 0.002).of_each(0) == Risks(0.001, 0.002)


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=30))
@settings(deadline=None)
def test_a_criterion_fails_where_its_standing_says_so(looks: list[tuple[int, float]]) -> None:
    criterion = Criterion(LIMITS, Risks())
    for total, share in looks:
        criterion.add(Counts(float(round(total * share)), float(total)))
        assert criterion.fails is (criterion.standing.verdict == FAIL)
