# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One condition on a share of requests, over a whole hold: counts go in look by look, the verdict stands at any time.

Three kinds of releases are told apart by the share of requests that offend (failed, or slower than the bound): at
most ``acceptable`` is good, at least ``unacceptable`` is bad, and between them is neither. Who states both gets an
answer from few requests; who states one bound has no room between, and needs more. ``clump`` is how many offending
requests one cause may make. Pure, no clock of its own.
"""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import lower_bound
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import (
    Counts,
    ShareBounds,
    ShareTest,
    confidence_sequence,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import FAIL, NO_EVIDENCE, PASS

_BEYOND = 0.99
"""Certainty with which the latest requests alone must be beyond ``unacceptable``."""


class Limits(t.NamedTuple):
    """Shares of offending requests, ``acceptable <= unacceptable``."""

    acceptable: float
    unacceptable: float

    def check(self) -> None:
        """Raises ValueError for limits that can't be told apart in the order they must have."""
        if not 0 <= self.acceptable <= self.unacceptable <= 1:
            raise ValueError(
                f"acceptable {self.acceptable:g} and unacceptable {self.unacceptable:g}: must be shares, the "
                "acceptable one not above the other"
            )


class Risks(t.NamedTuple):
    """Probabilities of being wrong over all looks of one hold.

    ``false_rollback``: a release within ``acceptable`` all the time is called bad. ``false_advance``: one at
    ``unacceptable`` or beyond all the time is called good.
    """

    false_rollback: float = 0.001
    false_advance: float = 0.001

    def of_each(self, tests: int) -> Risks:
        """What each of ``tests`` may risk so that all together risk no more than this (Bonferroni).

        Any one of them takes a release back, so they share ``false_rollback``. Only all of them advance it.
        """
        return self._replace(false_rollback=self.false_rollback / max(1, tests))


DEFAULT_RISKS = Risks()


class Standing(t.NamedTuple):
    """What is known so far. ``more`` is about how many requests are still needed, None where that can't be told."""

    verdict: str
    counts: Counts
    bounds: ShareBounds
    more: float | None = None


class Trigger:
    """Fires (``fail``) once the offences since the likeliest change can't come from a good release.

    ``horizon``, in seconds, is about how long the hold will be. Besides, the share must really be beyond
    ``unacceptable``: since that change, or surely so in the latest requests, by their exact binomial bound. So errors
    that grow slowly are not diluted by their beginnings, and what lies between the two limits for hours, proven not
    to be good, fires where a stretch of it is beyond, and seldom by chance.
    """

    def __init__(self, limits: Limits, risk: float, horizon: float, clump: float = 1.0) -> None:
        limits.check()
        self._limits = limits
        self._risk = risk
        self._clump = clump
        self._test = ShareTest(
            limits.acceptable, above=True, towards=limits.unacceptable, horizon=max(1.0, horizon), clump=clump
        )
        self._seen = [self._test.seen]

    def add(self, offences: Counts, seconds: float) -> None:
        """Take in requests not counted before, seen over ``seconds``."""
        self._test.add(offences, seconds)
        if offences.total > 0:
            self._seen.append(self._test.seen)

    @property
    def fails(self) -> bool:
        return self._offending is not None

    @property
    def standing(self) -> Standing:
        """Of one that fires, ``counts`` and ``bounds`` are those of the requests for which it does."""
        seen, offending = self._test.seen, self._offending
        if offending:
            return Standing(FAIL, offending, confidence_sequence(offending, self._risk, self._clump))
        verdict = PASS if seen.total > 0 else NO_EVIDENCE
        return Standing(verdict, seen, confidence_sequence(seen, self._risk, self._clump))

    @property
    def _offending(self) -> Counts | None:
        """The requests for which it fires, None if it doesn't: those since the change before shorter stretches."""
        if not self._test.holds(self._risk):
            return None
        since_change = self._test.since_change
        if since_change.total > 0 and since_change.share > self._limits.unacceptable:
            return since_change
        for stretch in self._latest():
            # The bound costs more than all else here, and is below the share.
            if stretch.share > self._limits.unacceptable and self._least(stretch) > self._limits.unacceptable:
                return stretch
        return None

    def _least(self, stretch: Counts) -> float:
        return lower_bound(stretch.bad / self._clump, stretch.total / self._clump, _BEYOND)

    def _latest(self) -> t.Iterator[Counts]:
        """The requests of the last 1, 2, 4, 8... looks that saw any, the most first."""
        seen, looks = self._seen[-1], len(self._seen) - 1
        for power in reversed(range(looks.bit_length())):
            before = self._seen[-1 - 2**power]
            yield Counts(max(0.0, seen.bad - before.bad), seen.total - before.total)


class Criterion:
    """``pass`` once all that was seen can't come from a bad release, ``fail`` once it can't come from a good one."""

    def __init__(self, limits: Limits, risks: Risks, clump: float = 1.0) -> None:
        limits.check()
        self._risks = risks
        self._clump = clump
        self._not_bad = ShareTest(limits.unacceptable, above=False, towards=limits.acceptable, clump=clump)
        self._not_good = ShareTest(limits.acceptable, above=True, towards=limits.unacceptable, clump=clump)

    def add(self, offences: Counts, seconds: float = 0.0) -> None:
        """Take in requests not counted before, seen over ``seconds``."""
        self._not_bad.add(offences, seconds)
        self._not_good.add(offences, seconds)

    @property
    def fails(self) -> bool:
        return self._not_good.holds(self._risks.false_rollback)

    @property
    def standing(self) -> Standing:
        counts = self._not_bad.seen
        bounds = confidence_sequence(counts, self._risks.false_advance, self._clump)
        if self.fails:
            return Standing(FAIL, counts, bounds)
        if self._not_bad.holds(self._risks.false_advance):
            return Standing(PASS, counts, bounds)
        return Standing(NO_EVIDENCE, counts, bounds, self._not_bad.more_needed(self._risks.false_advance))
