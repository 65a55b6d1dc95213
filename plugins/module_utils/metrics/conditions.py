# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a stage or a gate is judged by: conditions on metrics. Pure data; ``criteria`` reads them."""

from __future__ import annotations

import dataclasses

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_value

OPERATORS = {"below": "<", "above": ">", "at_least": "≥", "at_most": "≤", "equals": "="}
POLICIES = ("hold", "roll_back", "fail")
SEQUENTIAL, POINT = EVIDENCE = ("sequential", "point")


@dataclasses.dataclass(frozen=True)
class Condition:
    """A criterion (``role`` "criterion": must hold to advance) or a trigger ("trigger": ends the stage when it holds).

    ``window`` and ``lasting`` in seconds. ``evidence`` "sequential" weighs all requests of the hold by a test that
    stays valid however often one looks; ``acceptable`` and ``unacceptable`` are its limits where they are stated.
    "point" looks at one window alone: ``confidence`` 0 compares the measured share itself with the bound, otherwise
    the share's exact one-sided bound at that confidence must be beyond it, and ``min_bad`` is the number of
    offending requests a trigger needs to see. ``lasting`` is None where the stage decides how long it must hold.
    ``compared_with`` is the side (``stable``) that the bound is a multiple of, empty for a bound of its own.
    """

    name: str
    role: str
    metric: Metric
    operator: str
    bound: float
    window: float
    min_requests: float
    min_samples: int
    min_bad: float
    confidence: float
    evidence: str = POINT
    acceptable: float | None = None
    unacceptable: float | None = None
    compared_with: str = ""
    lasting: float | None = None
    advisory: bool = False
    on_no_evidence: str | None = None
    on_source_down: str | None = None

    @property
    def is_trigger(self) -> bool:
        return self.role == "trigger"

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the other conditions of a stage or gate."""
        return self.role, self.name

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What has to be measured for it: for a comparison the metric of either side."""
        if not self.compared_with:
            return (self.metric,)
        return self.metric.scoped("candidate"), self.metric.scoped(self.compared_with)

    @property
    def target(self) -> str:
        """``< 0.1 %``, ``≤ 1.5 × stable``."""
        if self.compared_with:
            return f"{OPERATORS[self.operator]} {format_value(self.bound, 'count')} × {self.compared_with}"
        return f"{OPERATORS[self.operator]} {format_value(self.bound, self.metric.unit)}"


@dataclasses.dataclass(frozen=True)
class Conditions:
    """All that one stage or gate is judged by."""

    criteria: tuple[Condition, ...]
    triggers: tuple[Condition, ...]

    @property
    def all(self) -> tuple[Condition, ...]:
        return (*self.triggers, *self.criteria)
