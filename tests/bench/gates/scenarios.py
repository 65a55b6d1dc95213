"""Releases as they go in the world: healthy ones, bad ones, and such that nothing can be told of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tests.bench.gates.plan import Plan
from tests.bench.gates.streams import EDGES, SCRAPE, Bools, Floats, Ints, Stream

HEALTHY, CLUMPED, AT_LINE, BAD, BLIND = "healthy", "clumped", "at_line", "bad", "blind"
HEALTHY_ERRORS = 0.0002
# Latencies: log-normal, and a few that are very slow whatever the rest does. P95 is 168 ms, 0.1 % are above 1 s.
_MEDIAN, _SIGMA, _TAIL = 0.08, 0.45, 0.001
# A fault comes this far from the middle of the second stage at most, so that it meets scrapes and looks anywhere.
_JITTER = 300
_BURST, _BURST_EVERY = 20.0, 300.0
_RISE = 1200.0
_SHORT_GAP = 60.0
_LOST_SCRAPES = 0.1

Exposure = Callable[[Floats], Floats]
"""Seconds under the full fault by ``u`` seconds after it began; 0 before."""


def constant(u: Floats) -> Floats:
    return np.maximum(u, 0.0)


def bursts(u: Floats) -> Floats:
    since = np.maximum(u, 0.0)
    return np.floor(since / _BURST_EVERY) * _BURST + np.minimum(since % _BURST_EVERY, _BURST)


def rise(u: Floats) -> Floats:
    since = np.maximum(u, 0.0)
    return np.where(since < _RISE, since**2 / (2 * _RISE), since - _RISE / 2)


@dataclass(frozen=True)
class Scenario:
    """How candidates of a kind behave. ``bad_after`` seconds after the fault began the candidate is beyond its limits.

    ``errors`` is the share of failed requests under the full fault, ``at_limit`` puts it at what the plan still calls
    good. ``slowdown`` multiplies latencies, ``traffic`` the requests. ``clump`` is how many errors come together on
    average. ``silent`` ends all scrapes with the fault; ``gaps`` loses some of them.
    """

    name: str
    kind: str
    title: str
    begins: str = "start"
    exposure: Exposure = constant
    errors: float = HEALTHY_ERRORS
    slowdown: float = 1.0
    traffic: float = 1.0
    agents: int = 0
    clump: float = 1.0
    at_limit: bool = False
    gaps: bool = False
    silent: bool = False
    bad_after: float = 0.0

    def stream(self, plan: Plan, rate: float, releases: int, rng: np.random.Generator) -> Simulated:
        """Whole releases with ``rate`` requests/s to the candidate, and as many to a baseline of the old version."""
        times = np.arange(rng.uniform(1.0, SCRAPE), plan.longest, SCRAPE)
        begins = self._begins(plan, releases, rng)
        exposed = self._exposed(times, begins)
        candidate = _Side(
            rate * (1 + (self.traffic - 1) * exposed),
            self._base(plan, times) + (self.errors - HEALTHY_ERRORS) * exposed,
            exposed if self.slowdown != 1 else np.zeros_like(exposed),
            self.slowdown,
            self.clump,
        )
        present = self._present(times, begins, rng)
        agents = np.where(times >= begins[:, None], self.agents, 0)
        unexposed = np.zeros_like(exposed)
        baseline = _Side(unexposed + rate, unexposed + self._base(plan, times), unexposed, 1.0, self.clump)
        return Simulated(
            candidate=candidate.scraped(times, agents, present, rng),
            baseline=baseline.scraped(times, np.zeros_like(agents), present, rng),
            begins=begins if self.kind in (BAD, AT_LINE) else np.full(releases, np.inf),
            bad_after=self.bad_after,
        )

    def _begins(self, plan: Plan, releases: int, rng: np.random.Generator) -> Floats:
        if self.begins == "start":
            return np.zeros(releases)
        first, second = plan.stages[0].seconds, plan.stages[1].seconds
        return first + second / 2 + rng.uniform(-_JITTER, _JITTER, releases)

    def _exposed(self, times: Floats, begins: Floats) -> Floats:
        """Which part of the time before each scrape was under the fault."""
        edges = np.concatenate([[max(0.0, times[0] - SCRAPE)], times])
        spent = self.exposure(edges[None, :] - begins[:, None])
        part: Floats = np.clip(np.diff(spent, axis=1) / np.diff(edges), 0.0, 1.0)
        return part

    def _base(self, plan: Plan, times: Floats) -> Floats:
        if not self.at_limit:
            return np.full(len(times), HEALTHY_ERRORS)
        stage = np.minimum(np.searchsorted(plan.ends, times), len(plan.stages) - 1)
        return np.array([one.errors.acceptable for one in plan.stages])[stage]

    def _present(self, times: Floats, begins: Floats, rng: np.random.Generator) -> Bools:
        present = np.ones((len(begins), len(times)), dtype=bool)
        if self.gaps:
            present &= rng.random(present.shape) >= _LOST_SCRAPES
            gap = rng.uniform(0.0, times[-1], len(begins))[:, None]
            present &= (times < gap) | (times >= gap + _SHORT_GAP)
        if self.silent:
            present &= times < begins[:, None]
        return present


@dataclass(frozen=True)
class Simulated:
    """``begins`` is when each release's fault begins, in seconds; infinite where it has none that makes it bad."""

    candidate: Stream
    baseline: Stream
    begins: Floats
    bad_after: float

    @property
    def bad_from(self) -> Floats:
        """From when on each candidate is beyond its limits."""
        return self.begins + self.bad_after

    def first(self, releases: int) -> Simulated:
        """So many of them."""
        return Simulated(
            self.candidate.first(releases), self.baseline.first(releases), self.begins[:releases], self.bad_after
        )


@dataclass(frozen=True)
class _Side:
    """``rate`` in requests/s, ``errors`` a share, ``slow`` the part of requests that are slowed down: per scrape."""

    rate: Floats
    errors: Floats
    slow: Floats
    slowdown: float
    clump: float

    def scraped(self, times: Floats, agents: Ints, present: Bools, rng: np.random.Generator) -> Stream:
        seconds = np.diff(times, prepend=max(0.0, times[0] - SCRAPE))
        requests = rng.poisson(self.rate * seconds)
        errors = self._errors(requests, rng)
        return Stream(
            times, requests.cumsum(axis=1), errors.cumsum(axis=1), self._faster(requests, rng), agents, present
        )

    def _errors(self, requests: Ints, rng: np.random.Generator) -> Ints:
        if self.clump == 1:
            return rng.binomial(requests, self.errors)
        clumps = rng.poisson(requests * self.errors / self.clump)
        more = rng.negative_binomial(np.maximum(clumps, 1), 1 / self.clump)
        return np.minimum(np.where(clumps > 0, clumps + more, 0), requests)

    def _faster(self, requests: Ints, rng: np.random.Generator) -> Ints:
        """Cumulative counters per edge, drawn bucket by bucket from what is left."""
        left, below, counters = requests, np.zeros_like(self.slow), []
        for edge in EDGES:
            share = (1 - self.slow) * faster_share(edge, 1.0) + self.slow * faster_share(edge, self.slowdown)
            inside = rng.binomial(left, np.clip((share - below) / (1 - below), 0.0, 1.0))
            left, below = left - inside, share
            counters.append((requests - left).cumsum(axis=1))
        return np.array(counters)


def faster_share(seconds: float, slowdown: float) -> float:
    """Share of requests answered within ``seconds`` when latencies are ``slowdown`` times the healthy ones."""
    quick = NormalDist(math.log(_MEDIAN * slowdown), _SIGMA).cdf(math.log(seconds))
    return (1 - _TAIL) * quick


SCENARIOS = (
    Scenario("healthy", HEALTHY, "0.02 % errors"),
    Scenario(
        "at_limit", HEALTHY, "errors at what the plan still calls good: 0.1 %, in the last stage 0.05 %", at_limit=True
    ),
    Scenario("healthy_gaps", HEALTHY, "0.02 % errors, a tenth of the scrapes lost and none for a minute", gaps=True),
    Scenario("clumps_3", CLUMPED, "0.02 % errors in clumps of 3 on average", clump=3.0),
    Scenario("clumps_10", CLUMPED, "0.02 % errors in clumps of 10 on average", clump=10.0),
    Scenario(
        "errors_0.5_start",
        AT_LINE,
        "0.5 % errors from the start: too many to advance, not above the line",
        errors=0.005,
    ),
    Scenario("errors_1_start", BAD, "1 % errors from the start", errors=0.01),
    Scenario("errors_1", BAD, "1 % errors from the middle of stage 2", errors=0.01, begins="middle"),
    Scenario("errors_5", BAD, "5 % errors from the middle of stage 2", errors=0.05, begins="middle"),
    Scenario("errors_30", BAD, "30 % errors from the middle of stage 2", errors=0.3, begins="middle"),
    Scenario(
        "bursts",
        BAD,
        "30 % errors for 20 s every 5 min, from the middle of stage 2",
        errors=0.3,
        begins="middle",
        exposure=bursts,
    ),
    Scenario(
        "rise",
        BAD,
        "errors rise to 5 % within 20 min, from the middle of stage 2",
        errors=0.05,
        begins="middle",
        exposure=rise,
        bad_after=(0.005 - HEALTHY_ERRORS) / (0.05 - HEALTHY_ERRORS) * _RISE,
    ),
    Scenario("latency_8", BAD, "latency x 8 (P95 1.3 s) from the middle of stage 2", slowdown=8.0, begins="middle"),
    Scenario("latency_2", BAD, "latency x 2 (P95 0.34 s) from the start: no trigger, but no advance", slowdown=2.0),
    Scenario("agents", BAD, "6 of 61 agents fail in the middle of stage 2", agents=6, begins="middle"),
    Scenario(
        "errors_5_gaps",
        BAD,
        "5 % errors from the middle of stage 2, a tenth of the scrapes lost",
        errors=0.05,
        begins="middle",
        gaps=True,
    ),
    Scenario("no_traffic", BLIND, "no requests from the start", traffic=0.0),
    Scenario("traffic_stops", BLIND, "no requests from the middle of stage 2", traffic=0.0, begins="middle"),
    Scenario("silence", BLIND, "no scrapes from the middle of stage 2", silent=True, begins="middle"),
)
