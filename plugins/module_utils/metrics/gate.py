# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking until all criteria hold at once, for the module and for whoever judges in-process."""

from __future__ import annotations

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    PASS,
    Judgement,
    judge,
    overall,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.prometheus import PrometheusSource


def look_until_pass(
    conditions: Conditions, source: PrometheusSource, wait: float, interval: float, clock: Clock
) -> tuple[list[Judgement], int]:
    """The judgements of the first look that passes, or of the last within ``wait`` seconds; and how many looks."""
    needs = [(condition.metric, condition.window) for condition in conditions.criteria]
    ends = clock.monotonic() + wait
    looks = 0
    while True:
        measured = source.measure(needs, strict=True)
        judgements = [judge(one, measured[one.metric.name, one.window]) for one in conditions.criteria]
        looks += 1
        left = ends - clock.monotonic()
        if overall(judgements) == PASS or left <= 0:
            return judgements, looks
        clock.sleep(min(interval, left))
