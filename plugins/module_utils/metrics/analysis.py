# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One condition on a share of requests, over a whole hold: counts go in look by look, the verdict stands at any time.

Three kinds of releases are told apart by the share of requests that offend (failed, or slower than the bound): at
most ``acceptable`` is good, at least ``unacceptable`` is bad, and between them is neither. Who states both gets an
answer from few requests; who states one bound has no room between, and needs more. Pure, no clock of its own.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import (
    Counts,
    ShareBounds,
    ShareTest,
    confidence_sequence,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import FAIL, NO_EVIDENCE, PASS


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

    def shared_by(self, parts: int) -> Risks:
        """What each of ``parts`` may risk so that all together risk no more than this (Bonferroni)."""
        return Risks(self.false_rollback / max(1, parts), self.false_advance / max(1, parts))


class Standing(t.NamedTuple):
    """What is known so far. ``more`` is about how many requests are still needed, None where that can't be told."""

    verdict: str
    counts: Counts
    bounds: ShareBounds
    more: float | None = None

    @property
    def value(self) -> float | None:
        return None if math.isnan(self.counts.share) else self.counts.share


class Trigger:
    """Fires (``fail``) once the offences since the likeliest change can't come from a good release.

    ``horizon``, in seconds, is about how long the hold will be. Besides, the share since that change must really be
    beyond ``unacceptable``: what lies between the two limits for hours is proven not to be good, and fires nothing.
    """

    def __init__(self, limits: Limits, risk: float, horizon: float) -> None:
        limits.check()
        self._limits = limits
        self._risk = risk
        self._test = ShareTest(limits.acceptable, above=True, towards=limits.unacceptable, horizon=max(1.0, horizon))

    def add(self, offences: Counts, seconds: float) -> None:
        """Take in requests not counted before, seen over ``seconds``."""
        self._test.add(offences, seconds)

    @property
    def standing(self) -> Standing:
        """Of one that fires, ``counts`` and ``bounds`` are those since the likeliest change."""
        recent, seen = self._test.since_change, self._test.seen
        if recent.total > 0 and recent.share > self._limits.unacceptable and self._test.holds(self._risk):
            return Standing(FAIL, recent, confidence_sequence(recent, self._risk))
        return Standing(PASS if seen.total > 0 else NO_EVIDENCE, seen, confidence_sequence(seen, self._risk))


class Criterion:
    """``pass`` once all that was seen can't come from a bad release, ``fail`` once it can't come from a good one."""

    def __init__(self, limits: Limits, risks: Risks) -> None:
        limits.check()
        self._risks = risks
        self._not_bad = ShareTest(limits.unacceptable, above=False, towards=limits.acceptable)
        self._not_good = ShareTest(limits.acceptable, above=True, towards=limits.unacceptable)

    def add(self, offences: Counts, seconds: float = 0.0) -> None:
        """Take in requests not counted before, seen over ``seconds``."""
        self._not_bad.add(offences, seconds)
        self._not_good.add(offences, seconds)

    @property
    def standing(self) -> Standing:
        counts = self._not_bad.seen
        bounds = confidence_sequence(counts, self._risks.false_advance)
        if self._not_good.holds(self._risks.false_rollback):
            return Standing(FAIL, counts, bounds)
        if self._not_bad.holds(self._risks.false_advance):
            return Standing(PASS, counts, bounds)
        return Standing(NO_EVIDENCE, counts, bounds, self._not_bad.more_needed(self._risks.false_advance))
