"""A fixed line, checked again and again: as Argo Rollouts does it and as Flagger does. Sources in docs/gates.md.

Both ask for the ratio of rates over a window, and both see the trigger's lines of the plan. What is no number fails a
check; what is no answer is an error to Argo Rollouts, which asks again, and a failed check to Flagger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tests.bench.gates.ending import Endings, Rule, cut_off
from tests.bench.gates.plan import Plan
from tests.bench.gates.streams import Bools, Floats, Ints, Stream, Window, slower

ARGO, FLAGGER = "Argo Rollouts", "Flagger"
# Windows in seconds; 0 stands for irate, the last two samples.
WINDOWS = {"irate": 0.0, "30s": 30.0, "1m": 60.0, "2m": 120.0, "5m": 300.0, "10m": 600.0}
INTERVALS = {"10s": 10.0, "30s": 30.0, "1m": 60.0, "5m": 300.0}
FAILURE_LIMITS = (0, 1, 2, 3, 5)
THRESHOLDS = (1, 2, 3, 5, 10)
# Flagger runs no check more often, and asks for no irate.
_FLAGGER_INTERVALS = ("10s", "30s", "1m")
_ARGO_RETRY = 10.0
# initialDelay in seconds and consecutiveErrorLimit: the default limit lets no release begin without a delay.
_ARGO_PATIENCE = {"initialDelay 1m": (60.0, 4), "consecutiveErrorLimit 20": (0.0, 20)}
_STEP = 10.0
# Interval, window and limit of the peer's own example.
_ARGO_EXAMPLE = ("5m", "irate", 3, "initialDelay 1m")
_FLAGGER_EXAMPLE = ("1m", "1m", 5)


@dataclass(frozen=True)
class Checks:
    """Releases x times: whether each of the metrics (first axis) is beyond its line or no number; or without answer."""

    at: Floats
    failed: Bools
    empty: Bools


def judge(stream: Stream, plan: Plan) -> Iterator[tuple[Rule, Endings]]:
    """How the releases end under every setting of both."""
    for window in WINDOWS:
        checks = checked(stream, plan, WINDOWS[window])
        for interval in INTERVALS:
            for patience, (delay, errors) in _ARGO_PATIENCE.items():
                for limit, endings in argo(checks, plan, INTERVALS[interval], FAILURE_LIMITS, delay, errors):
                    documented = (interval, window, limit, patience) == _ARGO_EXAMPLE
                    settings = f"every {interval}, window {window}, failureLimit {limit}, {patience}"
                    yield Rule(ARGO, settings, documented), endings
        for interval in _FLAGGER_INTERVALS if WINDOWS[window] else ():
            for threshold in THRESHOLDS:
                documented = (interval, window, threshold) == _FLAGGER_EXAMPLE
                rule = Rule(FLAGGER, f"every {interval}, window {window}, threshold {threshold}", documented)
                yield rule, flagger(checks, plan, INTERVALS[interval], threshold)


def checked(stream: Stream, plan: Plan, window: float) -> Checks:
    """What a check finds at every time at which there could be one."""
    at = np.arange(0.0, plan.longest + _STEP, _STEP)
    counted = stream.window(at, window) if window else stream.last_two(at)
    # All lines but that of the agents are the same in every stage; a check at a stage's end still belongs to it.
    stage = np.minimum(np.searchsorted(plan.ends, at), len(plan.stages) - 1)
    lines = plan.stages[0]
    failed = np.array(
        [
            _beyond(counted.errors, counted, lines.errors.unacceptable),
            _beyond(slower(counted, lines.latency_trigger), counted, lines.slow_trigger.unacceptable),
            stream.agents(at) > np.array([one.agents for one in plan.stages])[stage],
        ]
    )
    return Checks(at, failed, counted.empty)


def argo(
    checks: Checks, plan: Plan, interval: float, limits: Sequence[int], delay: float, error_limit: int
) -> Iterator[tuple[int, Endings]]:
    """A background analysis over the whole release, which ends it when one metric failed more often than the limit.

    ``delay`` is when it begins, in seconds. More than ``error_limit`` errors on end abort as well.
    """
    release = slice(round(plan.seconds / _STEP) + 1)
    checks = Checks(checks.at[release], checks.failed[:, :, release], checks.empty[:, release])
    at, failures, errors = _measured(checks, interval, delay)
    advanced = np.broadcast_to(np.array(plan.ends), (len(checks.empty), len(plan.ends)))
    for limit in limits:
        aborted = (failures.max(axis=0) > limit) | (errors > error_limit)
        yield limit, cut_off(_first(aborted, at), advanced)


def flagger(checks: Checks, plan: Plan, interval: float, threshold: int) -> Endings:
    """A check every interval. A failed one halts; ``threshold`` of them roll back, one interval later."""
    taken = slice(round(interval / _STEP), None, round(interval / _STEP))
    at = checks.at[taken]
    failed = checks.failed[:, :, taken].any(axis=0) | checks.empty[:, taken]
    rolled_back = _first(failed.cumsum(axis=1) >= threshold, at) + interval
    # The number of the first check from each one on that did not fail.
    numbers = np.where(failed, len(at), np.arange(len(at)))
    passes = np.minimum.accumulate(numbers[:, ::-1], axis=1)[:, ::-1]
    passes = np.concatenate([passes, np.full((len(passes), 1), len(at))], axis=1)
    times = np.append(at, np.inf)
    number, advanced, rows = np.full(len(passes), -1), [], np.arange(len(passes))
    for stage in plan.stages:
        number = passes[rows, np.minimum(number + round(stage.seconds / interval), len(at))]
        advanced.append(times[number])
    return cut_off(rolled_back, np.array(advanced).T)


def _measured(checks: Checks, interval: float, delay: float) -> tuple[Floats, Ints, Ints]:
    """When any release was measured, and by then the failures of each metric and the errors on end of each release.

    An error is asked again soon.
    """
    releases = len(checks.empty)
    failures, errors = np.zeros((len(checks.failed), releases), np.int64), np.zeros(releases, np.int64)
    due, times, all_failures, all_errors = np.full(releases, delay), [], [], []
    for number, at in enumerate(checks.at):
        empty, asked = checks.empty[:, number], due <= at
        if not asked.any():
            continue
        failures = failures + (asked & ~empty & checks.failed[:, :, number])
        errors = np.where(asked, np.where(empty, errors + 1, 0), errors)
        due = np.where(asked, at + np.where(empty, _ARGO_RETRY, interval), due)
        times.append(at)
        all_failures.append(failures)
        all_errors.append(errors)
    return np.array(times), np.stack(all_failures, axis=-1), np.stack(all_errors, axis=-1)


def _first(held: Bools, at: Floats) -> Floats:
    """The first of the times at which it held, infinite where it never did."""
    return np.where(held.any(axis=1), at[held.argmax(axis=1)], np.inf)


def _beyond(offences: Ints, counted: Window, share: float) -> Bools:
    """Beyond the line, or nothing to divide by."""
    beyond: Bools = ((offences > share * counted.requests) | (counted.requests == 0)) & ~counted.empty
    return beyond
