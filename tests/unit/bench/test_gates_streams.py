"""What the simulated Prometheus answers, and that the simulated releases are what their names say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import histogram_quantile
from tests.bench.gates.plan import Plan, read_plan
from tests.bench.gates.scenarios import SCENARIOS, bursts, constant, faster_share, rise
from tests.bench.gates.streams import EDGES, LOOKBACK, Stream, Window, quantile, slower

PLAN = read_plan()


def stream(seed: int = 1, releases: int = 5, lost: float = 0.3) -> Stream:
    """Small counters with holes."""
    rng = np.random.default_rng(seed)
    times = np.arange(7.0, 900.0, 15.0)
    requests = rng.poisson(20, (releases, len(times)))
    errors = rng.binomial(requests, 0.1)
    faster = np.array([rng.binomial(requests, 0.5 + 0.1 * edge).cumsum(axis=1) for edge in range(len(EDGES))])
    present = rng.random(requests.shape) >= lost
    return Stream(times, requests.cumsum(axis=1), errors.cumsum(axis=1), faster, errors, present)


def samples(found: Stream, release: int, after: float, until: float) -> list[int]:
    return [
        number for number, time in enumerate(found.times) if after < time <= until and found.present[release, number]
    ]


@pytest.mark.parametrize("seconds", [30.0, 60.0, 300.0])
def test_a_window_is_from_its_first_sample_to_its_last(seconds: float) -> None:
    found, at = stream(), np.arange(0.0, 950.0, 10.0)
    window = found.window(at, seconds)
    for release in range(found.releases):
        for column, until in enumerate(at):
            within = samples(found, release, until - seconds, until)
            assert window.empty[release, column] == (len(within) < 2)
            if len(within) >= 2:
                first, last = within[0], within[-1]
                assert window.errors[release, column] == found.errors[release, last] - found.errors[release, first]
                assert (
                    window.requests[release, column] == found.requests[release, last] - found.requests[release, first]
                )
                fast = found.faster[2, release, last] - found.faster[2, release, first]
                assert slower(window, EDGES[2])[release, column] == window.requests[release, column] - fast


def test_irate_takes_the_last_two_samples_of_five_minutes() -> None:
    found, at = stream(lost=0.7), np.arange(0.0, 950.0, 10.0)
    window = found.last_two(at)
    for release in range(found.releases):
        for column, until in enumerate(at):
            within = samples(found, release, until - LOOKBACK, until)
            assert window.empty[release, column] == (len(within) < 2)
            if len(within) >= 2:
                counted = found.requests[release, within[-1]] - found.requests[release, within[-2]]
                assert window.requests[release, column] == counted


def test_requests_by_a_time_are_those_of_the_last_sample() -> None:
    found = stream()
    at = np.array([[0.0, 100.0, 899.0]] * found.releases)
    counted = found.requests_by(at)
    for release in range(found.releases):
        for column, until in enumerate(at[release]):
            within = samples(found, release, -1.0, until)
            assert counted[release, column] == (found.requests[release, within[-1]] if within else 0)


def test_a_part_of_the_releases_answers_as_it_did_among_all() -> None:
    found, at = stream(), np.arange(0.0, 950.0, 10.0)
    assert (found.first(2).window(at, 60.0).errors == found.window(at, 60.0).errors[:2]).all()
    assert (found.first(2).agents(at) == found.agents(at)[:2]).all()


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_quantiles_are_those_of_a_histogram(share: float) -> None:
    rng = np.random.default_rng(4)
    within = rng.integers(0, 30, (len(EDGES) + 1, 1, 50))
    cumulative = within.cumsum(axis=0)
    window = Window(cumulative[-1], cumulative[-1], cumulative[:-1], np.zeros((1, 50), dtype=bool))
    values = quantile(window, share)[0]
    for column, value in enumerate(values):
        buckets = [(edge, float(cumulative[number, 0, column])) for number, edge in enumerate((*EDGES, math.inf))]
        assert value == pytest.approx(histogram_quantile(buckets, share), nan_ok=True)


def test_no_requests_have_no_quantile() -> None:
    nothing = np.zeros((1, 1), dtype=np.int64)
    assert np.isnan(quantile(Window(nothing, nothing, np.zeros((len(EDGES), 1, 1), np.int64), nothing > 0), 0.95)).all()


def shares(name: str, rate: float = 200.0, plan: Plan = PLAN) -> tuple[float, float, float]:
    """Errors of all requests before the faults and after them; and requests/s after them."""
    one = next(one for one in SCENARIOS if one.name == name)
    simulated = one.stream(plan, rate, 60, np.random.default_rng(9))
    candidate = simulated.candidate
    early, late = (np.searchsorted(candidate.times, moment) for moment in (2700.0, 3500.0))
    before = candidate.errors[:, early].sum() / max(1, candidate.requests[:, early].sum())
    after = (candidate.errors[:, -1] - candidate.errors[:, late]).sum()
    requests = (candidate.requests[:, -1] - candidate.requests[:, late]).sum()
    seconds = (candidate.times[-1] - candidate.times[late]) * candidate.releases
    return float(before), float(after / max(1, requests)), float(requests / seconds)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("healthy", 0.0002, 0.0002),
        ("clumps_3", 0.0002, 0.0002),
        ("clumps_10", 0.0002, 0.0002),
        ("errors_1", 0.0002, 0.01),
        ("errors_30", 0.0002, 0.3),
        ("errors_1_start", 0.01, 0.01),
        ("bursts", 0.0002, 0.0002 + 0.3 * 20 / 300),
    ],
)
def test_candidates_fail_as_often_as_is_said_of_them(name: str, before: float, after: float) -> None:
    found = shares(name)
    assert found[0] == pytest.approx(before, rel=0.1)
    assert found[1] == pytest.approx(after, rel=0.1)
    assert found[2] == pytest.approx(200.0, rel=0.01)


def test_at_the_limit_each_stage_is_at_its_own() -> None:
    candidate = (
        next(one for one in SCENARIOS if one.name == "at_limit")
        .stream(PLAN, 500.0, 40, np.random.default_rng(1))
        .candidate
    )
    edges = np.searchsorted(candidate.times, [0.0, PLAN.ends[2], PLAN.longest]) - 1
    for first, last, share in ((0, edges[1], 0.001), (edges[1], edges[2], 0.0005)):
        errors = (candidate.errors[:, last] - candidate.errors[:, first]).sum()
        requests = (candidate.requests[:, last] - candidate.requests[:, first]).sum()
        assert errors / requests == pytest.approx(share, rel=0.03)


def test_healthy_latencies_hold_every_bound_and_shifted_ones_do_not() -> None:
    assert faster_share(0.2, 1.0) > 0.95 and faster_share(1.0, 1.0) > 0.99
    assert faster_share(0.2, 2.0) < 0.95 < faster_share(0.5, 2.0)
    assert faster_share(1.0, 8.0) < 0.95


def test_exposures_add_up() -> None:
    u = np.array([-5.0, 0.0, 10.0, 20.0, 300.0, 310.0, 1200.0, 1300.0])
    assert constant(u).tolist() == [0, 0, 10, 20, 300, 310, 1200, 1300]
    assert bursts(u).tolist() == [0, 0, 10, 20, 20, 30, 80, 100]
    assert rise(u)[[0, 1, 6, 7]].tolist() == [0, 0, 600, 700]


def test_the_same_seed_gives_the_same_releases() -> None:
    one = SCENARIOS[2]
    first, second = (one.stream(PLAN, 10.0, 3, np.random.default_rng(5)) for _time in range(2))
    assert (first.candidate.errors == second.candidate.errors).all()
    assert (first.candidate.present == second.candidate.present).all()
    assert (first.candidate.requests != first.baseline.requests).any()


def test_the_plan_is_the_inventorys() -> None:
    assert PLAN.ends == (1800.0, 4500.0, 6300.0, 7200.0)
    assert [stage.agents for stage in PLAN.stages] == [3, 5, 5, 5]
    assert [stage.errors.acceptable for stage in PLAN.stages] == [0.001, 0.001, 0.001, 0.0005]
    assert [round(0.001 / stage.risks.false_rollback) for stage in PLAN.stages] == [4 * tests for tests in (5, 8, 7, 5)]
