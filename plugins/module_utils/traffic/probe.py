# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which side answers: what was seen, and whether it is the split that was asked for.

Seen is what the edge answered to us, or what the mesh counted of users. Requests of ours carry no session unless they
are told to, so each answer is drawn anew and a count of them is binomial.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    InputError,
    NotRoutedError,
    SourceDownError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import clopper_pearson

_PAUSE = 0.2


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of one request: HTTP ``status`` (0 without an answer), seconds it took, the ``version`` it named."""

    status: int
    seconds: float
    version: str = ""
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Versions:
    """What an answer of each side names itself."""

    stable: str
    candidate: str

    def __post_init__(self) -> None:
        if self.stable == self.candidate:
            raise InputError(
                f"candidate_version: is {self.candidate!r} like stable_version, so the sides can't be told apart"
            )


@dataclasses.dataclass(frozen=True)
class Sample:
    """Counts of one round of requests. ``failures`` had no answer or a status of 500 and more, whoever gave it.

    ``unrecognised`` are requests that no side can be named for. ``latency`` holds seconds of requests with an answer.
    """

    stable: int
    candidate: int
    unrecognised: int
    failures: int
    statuses: t.Mapping[str, int]
    errors: tuple[str, ...]
    latency: tuple[float, ...]
    seconds: float

    @property
    def recognised(self) -> int:
        return self.stable + self.candidate

    @property
    def asked(self) -> int:
        return self.recognised + self.unrecognised

    @property
    def answered(self) -> bool:
        """Whether there was any answer, even one that names no side."""
        return bool(self.latency) or self.recognised > 0

    @property
    def share(self) -> float | None:
        """Percent of recognised answers that came from the candidate; None without any."""
        return 100 * self.candidate / self.recognised if self.recognised else None

    def interval(self, confidence: float) -> tuple[float, float]:
        """Exact binomial interval of the share, in percent; 0 to 100 where nothing is known."""
        low, high = clopper_pearson(self.candidate, self.recognised, confidence)
        return 100 * low, 100 * high


@dataclasses.dataclass(frozen=True)
class Expectation:
    """A split that must be seen: ``weight`` percent, give or take ``tolerance`` points beyond chance.

    Without a weight any split will do. A sample of fewer than ``at_least`` requests shows nothing.
    """

    weight: float | None = None
    confidence: float = 0.999
    tolerance: float = 0.0
    at_least: int = 0

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 <= self.weight <= 100:
            raise InputError(f"expect_weight: must be from 0 to 100 percent, not {self.weight:g}")
        if not 0.5 <= self.confidence < 1:
            raise InputError(f"confidence: must be at least 0.5 and less than 1, not {self.confidence}")
        if not 0 <= self.tolerance <= 100:
            raise InputError(f"tolerance: must be from 0 to 100 points, not {self.tolerance}")

    def doubt(self, sample: Sample) -> str:
        """Why ``sample`` doesn't show the split; empty where it does.

        Of 0 and 100 percent the other side may not answer once. A request that nobody can be named for could be
        anyone's, so a single one is a reason to doubt.
        """
        if self.weight is None:
            return ""
        if sample.asked < self.at_least:
            return f"only {sample.asked} requests came in of the {self.at_least} that a sample needs"
        if sample.unrecognised:
            seen = ", ".join(f"{count} with {status}" for status, count in sorted(sample.statuses.items()))
            return f"{sample.unrecognised} of {sample.asked} requests could not be told to a side ({seen})"
        if self.weight in (0, 100):
            other, name = (sample.candidate, "candidate") if self.weight == 0 else (sample.stable, "stable")
            allowed = math.floor(self.tolerance / 100 * sample.recognised)
            return f"{other} of {sample.recognised} answers came from the {name}" if other > allowed else ""
        low, high = sample.interval(self.confidence)
        if low - self.tolerance <= self.weight <= high + self.tolerance:
            return ""
        return (
            f"{sample.candidate} of {sample.recognised} answers came from the candidate, "
            f"which is {low:.1f} to {high:.1f} % at confidence {self.confidence:g}"
        )


Ask = t.Callable[[], Answer]


def take_sample(ask: Ask, versions: Versions, *, requests: int, concurrency: int, rate: float, clock: Clock) -> Sample:
    """Ask ``requests`` times, at most ``concurrency`` at once and ``rate`` a second."""
    started = clock.monotonic()

    def ask_in_turn(number: int) -> Answer:
        wait = started + number / rate - clock.monotonic()
        if wait > 0:
            clock.sleep(wait)
        return ask()

    with concurrent.futures.ThreadPoolExecutor(max_workers=min(concurrency, requests)) as pool:
        answers = list(pool.map(ask_in_turn, range(requests)))
    return count(answers, versions, clock.monotonic() - started)


def count(answers: t.Sequence[Answer], versions: Versions, seconds: float) -> Sample:
    """The sample that ``answers`` make."""
    named = collections.Counter(answer.version for answer in answers)
    stable, candidate = named[versions.stable], named[versions.candidate]
    return Sample(
        stable=stable,
        candidate=candidate,
        unrecognised=len(answers) - stable - candidate,
        failures=sum(answer.status == 0 or answer.status >= 500 for answer in answers),
        statuses=dict(collections.Counter(str(answer.status or "no answer") for answer in answers)),
        errors=tuple(sorted({answer.error for answer in answers if answer.error}))[:5],
        latency=tuple(sorted(answer.seconds for answer in answers if answer.status)),
        seconds=seconds,
    )


def prove(
    sampler: t.Callable[[], Sample], expectation: Expectation, *, within: float, clock: Clock, where: str = "the edge"
) -> tuple[Sample, int]:
    """The last sample, and how many were taken, until one shows the expected split or ``within`` seconds are over.

    Each look is a fresh sample, so answers of before a change came through don't count. Without an expectation one
    sample is taken. Raises NotRoutedError if the split wasn't seen, SourceDownError if nobody answered at all.
    """
    started = clock.monotonic()
    looks = 0
    while True:
        sample = sampler()
        looks += 1
        doubt = expectation.doubt(sample)
        if not doubt and sample.answered:
            return sample, looks
        if expectation.weight is None or clock.monotonic() - started + _PAUSE >= within:
            break
        clock.sleep(_PAUSE)
    result = as_result(sample, looks, expectation)
    if not sample.answered:
        if not sample.asked:
            raise NotRoutedError(
                f"counters: no request was counted on either side by {where} within {within:g} s; "
                "check that users' requests come in and that the queries select them",
                **result,
            )
        raise SourceDownError(
            f"url: none of {sample.asked} requests to {where} was answered ({'; '.join(sample.errors)}); "
            "check url and host",
            **result,
        )
    raise NotRoutedError(
        f"expect_weight: {expectation.weight:g} % was not seen within {within:g} s: {doubt}; "
        "check that the edge took the change over",
        **result,
    )


def quantile(ordered: t.Sequence[float], part: float) -> float | None:
    """The value that ``part`` of the ``ordered`` values don't exceed (nearest rank); None without values."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def as_result(sample: Sample, looks: int, expectation: Expectation) -> dict[str, t.Any]:
    """A sample as a module returns it."""
    latency = {
        name: value if (value := quantile(sample.latency, part)) is None else round(value, 4)
        for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }
    return {
        "share": None if sample.share is None else round(sample.share, 2),
        "interval": [round(edge, 2) for edge in sample.interval(expectation.confidence)],
        "confidence": expectation.confidence,
        "expected": expectation.weight,
        "asked": sample.asked,
        "stable": sample.stable,
        "candidate": sample.candidate,
        "unrecognised": sample.unrecognised,
        "failures": sample.failures,
        "statuses": dict(sample.statuses),
        "errors": list(sample.errors),
        "latency": latency,
        "seconds": round(sample.seconds, 3),
        "looks": looks,
    }
