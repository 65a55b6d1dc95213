# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking until all criteria hold at once, for the module and for whoever judges in-process."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import DEFAULT_RISKS, Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    Judgement,
    overall,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.observer import (
    Observer,
    Watch,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.source import Source
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    PASS,
)


def look_until_pass(
    conditions: Conditions,
    source: Source,
    versions: t.Mapping[str, str],
    wait: float,
    interval: float,
    clock: Clock,
    risks: Risks = DEFAULT_RISKS,
) -> tuple[list[Judgement], int]:
    """The judgements of the first look that passes, or of the last within ``wait`` seconds; and how many looks.

    What came in the window of each criterion before the first look counts too; one that must hold for a time
    (``for``) is judged by all of it, at every look. Raises QueryError.
    """
    most = 1 + math.ceil(wait / interval)
    watch = Watch(horizon=max(wait, interval), from_window=True, looks=most, risks=risks)
    observer = Observer(Conditions(conditions.criteria, ()), source, versions, watch)
    ends = clock.monotonic() + wait
    looks = 0
    while True:
        judgements = list(observer.look(strict=True))
        looks += 1
        left = ends - clock.monotonic()
        if overall(judgements) == PASS or left <= 0:
            return judgements, looks
        clock.sleep(min(interval, left))
