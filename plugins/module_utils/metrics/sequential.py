# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of a share that stay valid however often one looks. Pure: counts in, strength of evidence out.

An *e-process* against a hypothesis starts at 1 and, while the hypothesis is true, is a nonnegative supermartingale. By
Ville's inequality it then ever reaches ``1 / risk`` with probability at most ``risk``: over all looks together, and
whoever decides when to look or to stop. That is the whole error bound; every threshold here is ``log(1 / risk)``.

Sources: J. Ville, *Étude critique de la notion de collectif*, 1939. A. Wald, *Sequential tests of statistical
hypotheses*, 1945 (the likelihood ratio as such a process). H. Robbins, *Statistical methods related to the law of the
iterated logarithm*, 1970 (mixtures, confidence sequences). A. Shiryaev, 1963, and S. Roberts, 1966 (evidence since an
unknown change). J. Shin, A. Ramdas, A. Rinaldo, *E-detectors*, 2022 (the same without a model of the good days).

Counts are requests that are bad independently of each other, or in clumps: one cause (a retry storm, one user's
broken session) makes up to ``clump`` of them bad. Then the evidence of each look is divided by ``clump``. For requests
that arrive at random (Poisson) the product stays an e-process. Let bad ones come at rate p in clumps of size X ≤ c, the
others at rate 1 - p, and let q be the alternative. As ``a^(x/c) ≤ 1 + (a - 1) x/c`` for 0 ≤ x ≤ c (convexity), the
mean of ``(q/p)^(B/c)`` over the B bad requests of one unit of time is at most ``exp((q - p)/c)``. As ``b^(1/c) ≤ 1 +
(b - 1)/c`` (concavity), that of ``((1-q)/(1-p))^(G/c)`` over the G good ones is at most ``exp((p - q)/c)``. The product
of both is at most 1. Clumps larger than ``clump`` make the evidence look stronger than it is; ``docs/gates.md`` says by
how much.
"""

from __future__ import annotations

import math
import typing as t

# Many a fault is there from the first request that a stage sends: a prior of its own for the start.
FROM_START = 0.25
_LEAST_SHARE = 1e-9
_GRID_STEP = 2.0
_GRID_FIRST = 1.5
_GRID_MOST = 12
_LOG_ZERO = -math.inf


class Counts(t.NamedTuple):
    """``bad`` of ``total`` requests."""

    bad: float
    total: float

    @property
    def share(self) -> float:
        return self.bad / self.total if self.total > 0 else math.nan


class Mixture:
    """An e-process: the mean of likelihood ratios of several alternatives against the edge of the hypothesis.

    With ``horizon`` it gathers the evidence since the likeliest change instead of since the start: the alternative
    may be true from the start with prior ``FROM_START``, or come true at a moment t (seconds since then) with the
    rest times the density ``horizon / (horizon + t)^2``. All of it sums to 1, so the process stays an e-process (a
    Shiryaev-Roberts sum with a prior instead of unit weights). Waiting long in good times costs a change at time t
    the term ``log((horizon + t)^2 / horizon)`` and nothing more.
    """

    def __init__(self, alternatives: int, horizon: float | None = None, clump: float = 1.0) -> None:
        if not 1 <= clump < math.inf:
            raise ValueError(f"clump {clump} is not a number of requests that is at least 1")
        self._clump = clump
        self._weight = math.log(1 / alternatives)
        self._horizon = horizon
        self._elapsed = 0.0
        self._logs = [math.log(FROM_START) if horizon else 0.0] * alternatives

    def add(self, log_ratios: t.Sequence[float], seconds: float) -> None:
        """Take in what was seen over ``seconds``: per alternative the logarithm of its likelihood ratio."""
        if self._horizon:
            began = self._log_prior(self._elapsed, self._elapsed + seconds)
            self._logs = [_log_sum((log, began)) for log in self._logs]
        self._elapsed += seconds
        self._logs = [log + ratio / self._clump for log, ratio in zip(self._logs, log_ratios, strict=True)]

    @property
    def log_evidence(self) -> float:
        """Logarithm of the e-process; 0 at the start."""
        evidence = [log + self._weight for log in self._logs]
        if self._horizon:
            evidence.append(math.log((1 - FROM_START) * self._horizon / (self._horizon + self._elapsed)))
        return _log_sum(evidence)

    def _log_prior(self, since: float, until: float) -> float:
        horizon = self._horizon or 1.0
        mass = (1 - FROM_START) * (horizon / (horizon + since) - horizon / (horizon + until))
        return math.log(mass) if mass > 0 else _LOG_ZERO


class ShareTest:
    """Gathers evidence against "the share is at most ``limit``" when ``above``, else against "at least ``limit``".

    For every share in the hypothesis each likelihood ratio has a mean of at most 1, so the composite hypothesis needs
    no more care than its edge. The alternatives begin at ``towards`` (next to ``limit`` without it): between the two
    lies what is neither clearly good nor clearly bad, which is what makes small evidence enough.

    With ``horizon``, in seconds, the evidence is weighed since the likeliest change instead of since the start. Of the
    bad requests up to ``clump`` may have one cause.
    """

    def __init__(
        self,
        limit: float,
        *,
        above: bool,
        towards: float | None = None,
        horizon: float | None = None,
        clump: float = 1.0,
    ) -> None:
        for share in (limit, limit if towards is None else towards):
            if not 0 <= share <= 1:
                raise ValueError(f"{share} is not a share")
        if towards is not None and (towards < limit if above else towards > limit):
            raise ValueError(f"{towards} is on the wrong side of {limit}")
        self.limit = limit
        self.above = above
        self._edge = min(max(limit, _LEAST_SHARE), 1 - _LEAST_SHARE)
        self._alternatives = _alternatives(self._edge, towards, above)
        self._mixture = Mixture(len(self._alternatives), horizon, clump)
        self._clump = clump
        self._changes = horizon is not None
        self._sum = 0.0
        self.seen = Counts(0.0, 0.0)
        self.since_change = Counts(0.0, 0.0)

    def add(self, counts: Counts, seconds: float = 0.0) -> None:
        """Take in requests not counted before, seen over ``seconds``. Raises ValueError for what is no count.

        With a ``horizon`` requests need time: a change can't have begun in none.
        """
        if not 0 <= counts.bad <= counts.total < math.inf:
            raise ValueError(f"{counts.bad} of {counts.total} is not a share")
        if seconds < 0 or (self._changes and counts.total > 0 and seconds == 0):
            raise ValueError(f"{counts.total:g} requests in {seconds:g} s")
        log_ratios = [_log_ratio(counts, share, self._edge) for share in self._alternatives]
        self._mixture.add(log_ratios, seconds)
        self.seen = _plus(self.seen, counts)
        # Page's cumulative sum (1954) against the nearest alternative: it restarts where nothing speaks for a change.
        if self._sum + log_ratios[0] <= 0:
            self._sum, self.since_change = 0.0, Counts(0.0, 0.0)
        else:
            self._sum, self.since_change = self._sum + log_ratios[0], _plus(self.since_change, counts)

    @property
    def log_evidence(self) -> float:
        return self._mixture.log_evidence

    def holds(self, risk: float) -> bool:
        """Whether the share is surely beyond ``limit``; wrong at most with probability ``risk``, over all looks."""
        return self.log_evidence >= math.log(1 / risk)

    def more_needed(self, risk: float) -> float | None:
        """About how many more requests :meth:`holds` needs if they are as those seen; None if it never will."""
        share = self.seen.share
        if math.isnan(share):
            share = 0.0 if not self.above else 1.0
        if (share > self._edge) is not self.above:
            return None
        growth = max(_drift(share, alternative, self._edge) for alternative in self._alternatives)
        missing = self._clump * (math.log(1 / risk) - self.log_evidence)
        return max(0.0, missing / growth) if growth > 0 else None


class ShareBounds(t.NamedTuple):
    """The share is between ``least`` and ``most``."""

    least: float
    most: float


def confidence_sequence(counts: Counts, risk: float, clump: float = 1.0) -> ShareBounds:
    """Where the share lies, wrong at any look ever with probability at most ``risk``; ``clump`` as everywhere here.

    The shares that a Beta(1/2, 1/2) mixture of likelihood ratios does not refute (Robbins 1970; Howard, Ramdas,
    McAuliffe, Sekhon, *Time-uniform, nonparametric, nonasymptotic confidence sequences*, 2021).
    """
    bad, total = counts.bad / clump, counts.total / clump
    if total <= 0:
        return ShareBounds(0.0, 1.0)
    good = total - bad
    log_mixture = _log_beta(bad + 0.5, good + 0.5) - _log_beta(0.5, 0.5)

    def refuted(share: float) -> bool:
        return log_mixture - _log_likelihood(bad, good, share) >= math.log(1 / risk)

    middle = bad / total
    return ShareBounds(
        _edge_of(refuted, 0.0, middle) if bad > 0 else 0.0, _edge_of(refuted, 1.0, middle) if good > 0 else 1.0
    )


def _plus(one: Counts, other: Counts) -> Counts:
    return Counts(one.bad + other.bad, one.total + other.total)


def _alternatives(edge: float, towards: float | None, above: bool) -> list[float]:
    """Shares beyond ``edge``, each with twice the odds of the one before (half, below); the last is the extreme."""
    if edge >= 1 - _LEAST_SHARE if above else edge <= _LEAST_SHARE:
        # As good as every share is in the hypothesis, so nothing may ever speak against it.
        return [edge]
    odds = edge / (1 - edge)
    far = odds * _GRID_FIRST if above else odds / _GRID_FIRST
    if towards is not None and towards != edge:
        towards = min(max(towards, _LEAST_SHARE), 1 - _LEAST_SHARE)
        far = max(far, towards / (1 - towards)) if above else min(far, towards / (1 - towards))
    shares: list[float] = []
    while _LEAST_SHARE < far / (1 + far) < 0.95 and len(shares) < _GRID_MOST:
        shares.append(far / (1 + far))
        far = far * _GRID_STEP if above else far / _GRID_STEP
    return [*shares, max(0.95, (1 + edge) / 2) if above else 0.0]


def _log_ratio(counts: Counts, share: float, edge: float) -> float:
    """Logarithm of the likelihood of ``counts`` under ``share``, over that under ``edge``."""
    bad, good = counts.bad, counts.total - counts.bad
    return _log_likelihood(bad, good, share) - _log_likelihood(bad, good, edge)


def _log_likelihood(bad: float, good: float, share: float) -> float:
    if (bad > 0 and share <= 0) or (good > 0 and share >= 1):
        return _LOG_ZERO
    return (bad * math.log(share) if bad > 0 else 0.0) + (good * math.log1p(-share) if good > 0 else 0.0)


def _drift(share: float, alternative: float, edge: float) -> float:
    """Mean growth of the logarithm per request when the share is ``share``."""
    return _log_likelihood(share, 1 - share, alternative) - _log_likelihood(share, 1 - share, edge)


def _edge_of(refuted: t.Callable[[float], bool], far: float, near: float) -> float:
    """Where ``refuted`` turns false on the way from ``far`` to ``near``; the refuted side of it."""
    for _step in range(60):
        middle = (far + near) / 2
        if refuted(middle):
            far = middle
        else:
            near = middle
    return far


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_sum(logs: t.Sequence[float]) -> float:
    """Logarithm of the sum of what ``logs`` are the logarithms of."""
    highest = max(logs)
    if math.isinf(highest):
        return highest
    return highest + math.log(sum(math.exp(log - highest) for log in logs))
