# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The split as the mesh itself counts it: users' own requests, read from a pair of counters."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import SIDES, Side
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.probe import Sample

Totals: t.TypeAlias = "t.Mapping[Side, float | None]"
"""Each side's requests so far; None where no series counts them yet."""

_PAUSE = 0.5


class CountedSampler:
    """Takes samples from counters that ``read`` gives, each of what was counted since the one before.

    A sample is done once ``requests`` were counted, or after ``within`` seconds with what there is. Counters that fall,
    since a proxy was started anew, begin a sample afresh.
    """

    def __init__(self, read: t.Callable[[], Totals], *, requests: int, within: float, clock: Clock) -> None:
        self._read = read
        self._requests = requests
        self._within = within
        self._clock = clock
        self._last: dict[Side, float] | None = None

    def __call__(self) -> Sample:
        began = self._clock.monotonic()
        base = self._last if self._last is not None else self._totals()
        while True:
            now = self._totals()
            if any(now[side] < base[side] for side in SIDES):
                base = now
            grown = {side: round(now[side] - base[side]) for side in SIDES}
            seconds = self._clock.monotonic() - began
            if sum(grown.values()) >= self._requests or seconds + _PAUSE > self._within:
                self._last = now
                return _sample(grown, seconds)
            self._clock.sleep(_PAUSE)

    def _totals(self) -> dict[Side, float]:
        # A side that never got a request has no series, which is no request.
        return {side: value or 0.0 for side, value in self._read().items()}


def _sample(grown: t.Mapping[Side, int], seconds: float) -> Sample:
    return Sample(
        stable=grown["stable"],
        candidate=grown["candidate"],
        unrecognised=0,
        failures=0,
        statuses={},
        errors=(),
        latency=(),
        seconds=seconds,
    )
