# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the source's clock can be true, by what it says look after look. Pure."""

from __future__ import annotations

import dataclasses

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_duration

TOLERATED = 5.0
"""Seconds that two clocks may differ, or one may jump, before it is said."""


@dataclasses.dataclass(frozen=True)
class _Reading:
    theirs: float
    monotonic: float


class SourceClock:
    """Compares the source's clock with ours. Judgement goes by theirs in any case; people are told what looks wrong.

    ``skew`` is how many seconds the source is ahead of us, None before the first reading.
    """

    def __init__(self) -> None:
        self.skew: float | None = None
        self._last: dict[str, _Reading] = {}
        self._jump = ""

    def note(self, url: str, theirs: float, sent: tuple[float, float], received: tuple[float, float]) -> None:
        """Take in what ``url`` said; ``sent`` and ``received`` are our clock, (unix, monotonic), around it."""
        middle = (sent[0] + received[0]) / 2
        self.skew = theirs - middle
        now = _Reading(theirs, sent[1])
        last = self._last.get(url)
        self._last[url] = now
        self._jump = ""
        if last is None:
            return
        passed = now.monotonic - last.monotonic
        drift = (theirs - last.theirs) - passed
        # How long the answer took is no drift.
        if abs(drift) > TOLERATED + (received[1] - sent[1]):
            self._jump = (
                f"the clock of Prometheus at {url} moved {theirs - last.theirs:.0f} s while {passed:.0f} s passed: "
                "it was set, or an answer came from a cache"
            )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for people; none while the clocks agree to :data:`TOLERATED` seconds."""
        told = [self._jump] if self._jump else []
        if self.skew is not None and abs(self.skew) > TOLERATED:
            side = "ahead of" if self.skew > 0 else "behind"
            told.append(
                f"the clock of Prometheus is {format_duration(abs(self.skew))} {side} ours (minutes:seconds): "
                "times in this report are by its clock; set both by NTP"
            )
        return tuple(told)
