"""The rule sets of the bench of the gates, each against a plain telling of the same."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import (
    Criterion,
    Limits,
    Risks,
    Trigger,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import Counts
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import FAIL, PASS
from tests.bench.gates import fixed_line, kayenta, ours
from tests.bench.gates.ending import PROMOTED, ROLLED_BACK, UNDECIDED, Endings
from tests.bench.gates.fixed_line import Checks
from tests.bench.gates.plan import Plan, Stage, read_plan
from tests.bench.gates.scenarios import SCENARIOS, Scenario, Simulated

STAGE = Stage("s", 600.0, 300.0, Limits(0.001, 0.005), 0.2, 1.0, Limits(0.05, 0.05), Limits(0.02, 0.05), 3, Risks())
PLAN = Plan((STAGE, STAGE), 10.0, 120.0, 60.0, 120.0)
LIMITS = Limits(0.001, 0.005)


def scenario(name: str) -> Scenario:
    return next(one for one in SCENARIOS if one.name == name)


def simulated(name: str, rate: float, releases: int = 4, plan: Plan = PLAN) -> Simulated:
    return scenario(name).stream(plan, rate, releases, np.random.default_rng(7))


@pytest.mark.parametrize("share", [0.0005, 0.003, 0.008, 0.03])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("clump", [1.0, 4.0])
def test_a_trigger_that_is_asked_seldom_fires_when_one_asked_always_does(share: float, seed: int, clump: float) -> None:
    rng = np.random.default_rng(seed)
    at = np.linspace(10.0, 800.0, 80)
    requests = rng.poisson(60, len(at))
    errors = rng.binomial(requests, share)
    plain, told = math.inf, Trigger(LIMITS, 0.001, STAGE.seconds + STAGE.extension, clump)
    for moment, bad, total in zip(at, errors, requests, strict=True):
        told.add(Counts(float(bad), float(total)), 10.0)
        if told.fails:
            plain = moment
            break
    assert ours.first_firing(at, errors, requests, LIMITS, 0.001, STAGE, 0.0, clump) == plain


def test_triggers_of_both_outcomes_are_among_those_compared() -> None:
    at = np.linspace(10.0, 800.0, 80)
    requests = np.full(len(at), 60)
    for share, fires in ((0.0, False), (0.1, True)):
        errors = (requests * share).astype(int)
        assert math.isfinite(ours.first_firing(at, errors, requests, LIMITS, 0.001, STAGE, 0.0)) is fires


@pytest.mark.parametrize("share", [0.0, 0.001, 0.004, 0.02])
def test_criteria_weigh_a_stage_in_one_piece_as_look_by_look(share: float) -> None:
    rng = np.random.default_rng(3)
    requests = rng.poisson(100, 60)
    errors = rng.binomial(requests, share)
    looked, whole = Criterion(LIMITS, Risks()), Criterion(LIMITS, Risks())
    for bad, total in zip(errors, requests, strict=True):
        looked.add(Counts(float(bad), float(total)))
    whole.add(Counts(float(errors.sum()), float(requests.sum())))
    assert whole.standing.verdict == looked.standing.verdict


def plain_stage_end(seen: ours.Seen, stage: Stage, begin: float, clump: float) -> tuple[int, float]:
    """A stage of two triggers and two criteria, asked at every look."""
    triggers = [
        Trigger(limits, stage.risks.false_rollback, stage.seconds + stage.extension, each)
        for limits, each in ((stage.errors, clump), (stage.slow_trigger, 1.0))
    ]
    criteria = [Criterion(limits, stage.risks, each) for limits, each in ((stage.errors, clump), (stage.slow, 1.0))]
    end, before, verdicts = begin + stage.seconds, begin, ["", ""]
    looks = {float(at): number for number, at in enumerate(seen.at)}
    last_sample = last_request = begin
    for at in np.arange(begin + PLAN.interval, end + stage.extension + 1, PLAN.interval):
        number = looks.get(float(at))
        counts = [0.0] * 4
        if number is not None:
            slower = (seen.slower[stage.latency_trigger], seen.slower[stage.latency])
            counts = [float(one[number]) for one in (seen.requests, seen.errors, *slower)]
            last_sample = float(at)
        requests, errors, very_slow, slow = counts
        last_request = float(at) if requests else last_request
        for trigger, bad in zip(triggers, (errors, very_slow), strict=True):
            trigger.add(Counts(bad, requests), float(at) - before)
        for criterion, bad in zip(criteria, (errors, slow), strict=True):
            criterion.add(Counts(bad, requests))
        before = float(at)
        if any(trigger.fails for trigger in triggers):
            return ROLLED_BACK, float(at)
        verdicts = [criterion.standing.verdict for criterion in criteria]
        fed = at - last_sample <= PLAN.freshness and at - last_request <= PLAN.quiet
        if at >= end and fed and set(verdicts) == {PASS}:
            return PROMOTED, float(at)
    return ROLLED_BACK if FAIL in verdicts else UNDECIDED, end + stage.extension


@pytest.mark.parametrize("clump", [1.0, 10.0])
@pytest.mark.parametrize("rate", [1.0, 2.0, 4.0, 40.0])
@pytest.mark.parametrize(
    "name", ["healthy", "at_limit", "errors_0.5_start", "errors_1_start", "healthy_gaps", "clumps_3", "latency_2"]
)
def test_a_stage_ends_as_if_everything_were_asked_at_every_look(name: str, rate: float, clump: float) -> None:
    stream = simulated(name, rate, releases=6).candidate
    for release in range(6):
        seen = ours.seen_by(stream, release, PLAN.interval)
        ended = ours.stage_end(seen, STAGE, 0.0, PLAN, clump)
        assert (ended.ending, ended.at) == plain_stage_end(seen, STAGE, 0.0, clump)


def test_ours_advances_what_is_healthy_and_stops_what_is_bad() -> None:
    assert set(ours.judge(simulated("healthy", 50).candidate, PLAN).ending) == {PROMOTED}
    bad = ours.judge(simulated("errors_5", 50).candidate, PLAN)
    assert set(bad.ending) == {ROLLED_BACK} and not np.isfinite(bad.advanced[:, 1]).any()
    assert set(ours.judge(simulated("agents", 50).candidate, PLAN).ending) == {ROLLED_BACK}


@pytest.mark.parametrize("name", ["no_traffic", "traffic_stops", "silence"])
def test_ours_ends_a_stage_without_evidence_after_the_grace(name: str) -> None:
    plan = read_plan()
    world = simulated(name, 20, plan=plan)
    begins = np.zeros(4) if name == "no_traffic" else plan.ends[0]
    endings = ours.judge(world.candidate, plan)
    assert set(endings.ending) == {ROLLED_BACK}
    assert (endings.at > begins + plan.freshness + plan.grace).all() and (endings.at < plan.ends[1]).all()


def plain_argo(checks: Checks, interval: float, limit: int, delay: float, error_limit: int, release: int) -> float:
    """As ``assessMetricFailureInconclusiveOrError`` and ``calculateNextReconcileTime`` say it."""
    due, failures, errors = delay, [0] * len(checks.failed), 0
    for number, at in enumerate(checks.at):
        if at < due or at > PLAN.seconds:
            continue
        if checks.empty[release, number]:
            errors, due = errors + 1, at + 10.0
        else:
            errors, due = 0, at + interval
            failures = [
                count + bool(failed) for count, failed in zip(failures, checks.failed[:, release, number], strict=True)
            ]
        if max(failures) > limit or errors > error_limit:
            return float(at)
    return math.inf


def plain_flagger(checks: Checks, interval: float, threshold: int, release: int) -> tuple[float, list[float]]:
    """When it rolls back, and when it leaves each stage: as ``advanceCanary`` says it."""
    failed_checks, entered = 0, 0.0
    left: list[float] = []
    for number, at in enumerate(checks.at):
        if at == 0 or at % interval:
            continue
        if failed_checks >= threshold:
            return float(at), left
        if checks.empty[release, number] or checks.failed[:, release, number].any():
            failed_checks += 1
        elif len(left) < len(PLAN.stages) and at >= entered + PLAN.stages[len(left)].seconds:
            entered = float(at)
            left.append(entered)
            if len(left) == len(PLAN.stages):
                return math.inf, left
    return math.inf, left


def random_checks(failing: float, empty: float) -> Checks:
    rng = np.random.default_rng(11)
    at = np.arange(0.0, PLAN.longest + 10, 10.0)
    return Checks(at, rng.random((3, 40, len(at))) < failing, rng.random((40, len(at))) < empty)


def finite(times: np.ndarray) -> list[float]:
    return [time for time in times.tolist() if math.isfinite(time)]


@pytest.mark.parametrize(("failing", "empty"), [(0.03, 0.0), (0.002, 0.3), (0.05, 0.05)])
@pytest.mark.parametrize("interval", [10.0, 30.0])
def test_argo_goes_as_its_controller_does_step_by_step(failing: float, empty: float, interval: float) -> None:
    checks = random_checks(failing, empty)
    for limit, endings in fixed_line.argo(checks, PLAN, interval, (0, 2), 60.0, 4):
        expected = [plain_argo(checks, interval, limit, 60.0, 4, release) for release in range(40)]
        assert np.where(endings.ending == ROLLED_BACK, endings.at, np.inf).tolist() == expected
        assert 0 < sum(map(math.isfinite, expected)) <= 40


@pytest.mark.parametrize(("failing", "empty"), [(0.01, 0.0), (0.002, 0.2)])
@pytest.mark.parametrize("threshold", [1, 3, 10])
def test_flagger_goes_as_its_controller_does_step_by_step(failing: float, empty: float, threshold: int) -> None:
    checks = random_checks(failing, empty)
    endings: Endings = fixed_line.flagger(checks, PLAN, 30.0, threshold)
    for release in range(40):
        rolled_back, left = plain_flagger(checks, 30.0, threshold, release)
        assert finite(endings.advanced[release]) == left
        # The checks end there, and with them what the plain telling can know.
        stopped = endings.ending[release] == ROLLED_BACK and endings.at[release] <= PLAN.longest
        assert (endings.at[release] if stopped else math.inf) == rolled_back


def test_what_is_no_number_fails_a_check_and_no_answer_is_its_own() -> None:
    stopped = fixed_line.checked(simulated("no_traffic", 5).candidate, PLAN, 60.0)
    assert stopped.failed[:2, :, 10:].all() and not stopped.empty[:, 10:].any()
    plan = read_plan()
    silent = fixed_line.checked(simulated("silence", 5, plan=plan).candidate, plan, 60.0)
    late = silent.at >= plan.ends[1]
    assert silent.empty[:, late].all() and not silent.failed[:, :, late].any()


def test_the_peers_examples_are_among_their_settings() -> None:
    world = simulated("healthy", 5, 1)
    rules = [rule for rule, _endings in fixed_line.judge(world.candidate, PLAN)]
    assert [rule.name for rule in rules if rule.documented] == [
        "Argo Rollouts every 5m, window irate, failureLimit 3, initialDelay 1m",
        "Flagger every 1m, window 1m, threshold 5",
    ]
    assert len({rule.name for rule in rules}) == len(rules)


def plain_shift(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Where the rank-sum test with continuity correction stops refuting a shift, found on a fine grid of shifts."""
    n, m = len(x), len(y)
    counts = [np.unique(values, return_counts=True)[1].astype(float) for values in (x, y)]
    ties = sum(float((count**3 - count).sum()) for count in counts)
    deviation = math.sqrt(n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))))
    quantile = NormalDist().inv_cdf(0.99)
    shifts = np.linspace(x.min() - y.max(), x.max() - y.min(), 20_001)
    above = (x[:, None, None] - y[None, :, None] > shifts).sum(axis=(0, 1)) - n * m / 2
    scores = (above - np.sign(above) * 0.5) / deviation
    refuted = shifts[scores > quantile]
    return (float(refuted[-1]) if len(refuted) else float(shifts[0])), float(shifts[1] - shifts[0])


@pytest.mark.parametrize("seed", range(6))
def test_the_interval_ends_where_the_test_stops_refuting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.3, 1.0, 17), rng.normal(0.0, 1.0, 12)
    if seed % 2:
        x, y = np.maximum(x, 0.0), np.maximum(y, 0.0)  # many ties, as counters without errors have
    low, step = plain_shift(x, y)
    assert kayenta.shift(x[None], y[None])[0][0] == pytest.approx(low, abs=2 * step)


def test_the_estimate_is_that_of_hollander_and_wolfe() -> None:
    """Nonparametric Statistical Methods, 1973, p. 69: permeability of membranes at term and earlier."""
    x = np.array([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46])
    y = np.array([1.15, 0.88, 0.90, 0.74, 1.21])
    assert kayenta.shift(x[None], y[None])[1][0] == pytest.approx(0.305)


def test_kayenta_fails_what_is_higher_and_what_half_lacks() -> None:
    rng = np.random.default_rng(2)
    quiet, loud = rng.uniform(0.0, 0.01, (3, 1, 40)), rng.uniform(0.05, 0.06, (3, 1, 40))
    missing = np.full((1, 1, 40), np.nan)
    assert kayenta.score(quiet, quiet).tolist() == [100.0]
    assert kayenta.score(loud, quiet).tolist() == [0.0]
    assert kayenta.score(quiet, loud).tolist() == [100.0]
    assert kayenta.score(np.concatenate([loud[:1], quiet[1:]]), quiet)[0] == pytest.approx(200 / 3)
    assert kayenta.score(np.concatenate([missing, quiet[1:]]), quiet).tolist() == [100.0]
    assert kayenta.score(np.concatenate([missing, missing, quiet[2:]]), quiet).tolist() == [0.0]


def test_kayenta_takes_a_constant_that_differs_for_a_difference() -> None:
    flat = np.zeros((1, 20))
    assert kayenta.classify(flat + 6, flat)[0].tolist() == [True]
    assert kayenta.classify(flat, flat)[0].tolist() == [False]
