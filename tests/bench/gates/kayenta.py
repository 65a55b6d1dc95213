"""Kayenta's judge: a Mann-Whitney test per metric against a baseline, and a score. Sources in docs/gates.md.

Written after ``NetflixACAJudge`` with its defaults. What its solver approaches is taken exactly: the ends of the
interval and the estimate are order statistics of all differences between the two samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from tests.bench.gates.ending import Endings, Rule, cut_off
from tests.bench.gates.plan import Plan
from tests.bench.gates.scenarios import Simulated
from tests.bench.gates.streams import Bools, Floats, Stream, quantile

FAMILY = "Kayenta"
TOLERANCE, CONFIDENCE = 0.25, 0.98
MARGINAL, NO_DATA_SHARE = 75.0, 0.5
STEP = 60.0
_EXAMPLE = ("1h", "all")
# A judgement every so many seconds, of all since the start (0) or of the last so many seconds.
_INTERVALS = {"10m": 600.0, "30m": 1800.0, "1h": 3600.0}
_LOOKBACKS = {"all": 0.0, "10m": 600.0, "30m": 1800.0}
_PAIRS_AT_ONCE = 4_000_000


def judge(simulated: Simulated, plan: Plan) -> Iterator[tuple[Rule, Endings]]:
    """How the releases end under every setting: a score below MARGINAL at any judgement fails the release."""
    at = np.arange(STEP, plan.seconds + STEP / 2, STEP)
    candidate, baseline = metrics(simulated.candidate, at), metrics(simulated.baseline, at)
    advanced = np.broadcast_to(np.array(plan.ends), (candidate.shape[1], len(plan.ends)))
    for interval, seconds in _INTERVALS.items():
        for lookback, reach in _LOOKBACKS.items():
            # A judgement that looks back less far than to the one before would leave something out.
            if reach and reach < seconds:
                continue
            failed = _first_failure(candidate, baseline, seconds, reach, plan)
            rule = Rule(FAMILY, f"every {interval} on {lookback}", (interval, lookback) == _EXAMPLE)
            yield rule, cut_off(failed, advanced)


def metrics(stream: Stream, at: Floats) -> Floats:
    """Metrics x releases x times, one value a step: error share, P95 in seconds, failed agents. NaN without data."""
    window = stream.window(at, STEP)
    with np.errstate(invalid="ignore"):
        errors = np.where(window.empty, np.nan, window.errors / window.requests)
    return np.array([errors, quantile(window, 0.95), stream.agents(at)])


def _first_failure(candidate: Floats, baseline: Floats, interval: float, reach: float, plan: Plan) -> Floats:
    failed = np.full(candidate.shape[1], np.inf)
    for until in np.arange(interval, plan.seconds + interval / 2, interval):
        open_still = np.flatnonzero(np.isinf(failed))
        part = slice(max(0, round((until - reach) / STEP)) if reach else 0, round(until / STEP))
        below = score(candidate[:, open_still, part], baseline[:, open_still, part]) < MARGINAL
        failed[open_still[below]] = until
    return failed


def score(candidate: Floats, baseline: Floats) -> Floats:
    """0 to 100 per release: the share of metrics that pass, all groups of equal weight; 0 when half have no data."""
    high, without = zip(*(classify(*pair) for pair in zip(candidate, baseline, strict=True)), strict=True)
    failed = np.array(high).mean(axis=0)
    # A group without data counts as if it passed, unless there are too many of them.
    without_data = np.array(without).mean(axis=0)
    return np.where(without_data >= NO_DATA_SHARE, 0.0, 100 * (1 - failed))


def classify(candidate: Floats, baseline: Floats) -> tuple[Bools, Bools]:
    """Per release (rows) whether the metric is *High*, and whether it has no data. NaN are left out."""
    high, without = np.zeros(len(candidate), dtype=bool), np.zeros(len(candidate), dtype=bool)
    whole = ~(np.isnan(candidate).any(axis=1) | np.isnan(baseline).any(axis=1))
    at_once = max(1, _PAIRS_AT_ONCE // max(1, candidate.shape[1] ** 2))
    rows = np.flatnonzero(whole)
    for first in range(0, len(rows), at_once):
        some = rows[first : first + at_once]
        high[some] = is_high(candidate[some], baseline[some])
    for row in np.flatnonzero(~whole):
        x, y = candidate[row][~np.isnan(candidate[row])], baseline[row][~np.isnan(baseline[row])]
        without[row] = not (len(x) and len(y))
        high[row] = not without[row] and is_high(x[None], y[None])[0]
    return high, without


def is_high(x: Floats, y: Floats) -> Bools:
    """Whether each row of ``x`` is surely above that of ``y`` by more than TOLERANCE of the estimated difference."""
    low, estimate = shift(x, y)
    means = np.where((x.mean(axis=1) == 0) | (y.mean(axis=1) == 0), np.inf, x.mean(axis=1) / _positive(y.mean(axis=1)))
    same = (
        (np.sort(x, axis=1) == np.sort(y, axis=1)).all(axis=1) if x.shape == y.shape else np.zeros(len(x), dtype=bool)
    )
    high: Bools = (low > TOLERANCE * np.abs(estimate)) & (means >= 1.0) & ~same
    return high


def shift(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Lower end of the interval at CONFIDENCE of the shift of ``x`` against ``y``, and its Hodges-Lehmann estimate."""
    differences = (x[:, :, None] - y[:, None, :]).reshape(len(x), -1)
    pairs = differences.shape[1]
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    # So many differences must be above a shift for the test not to refute it.
    needed = np.floor(pairs / 2 + 0.5 + z * _deviation(x, y)).astype(int)
    place = np.clip(pairs - 1 - needed, 0, pairs - 1)
    middle = [(pairs - 1) // 2, pairs // 2]
    ordered = np.partition(differences, np.unique([*place, *middle]), axis=1)
    return np.take_along_axis(ordered, place[:, None], 1)[:, 0], ordered[:, middle].mean(axis=1)


def _deviation(x: Floats, y: Floats) -> Floats:
    """Standard deviation of the rank sum, corrected for ties within each sample."""
    n, m = x.shape[1], y.shape[1]
    ties = _tied(x) + _tied(y)
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    return np.sqrt(np.maximum(variance, 0.0))


def _tied(values: Floats) -> Floats:
    """Sum of t^3 - t over groups of t equal values, per row."""
    ordered = np.sort(values, axis=1)
    starts = np.ones(values.shape, dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    sizes = np.diff(np.flatnonzero(starts), append=starts.size).astype(float)
    rows = np.nonzero(starts)[0]
    return np.bincount(rows, sizes**3 - sizes, minlength=len(values)).astype(float)


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, 1.0)
