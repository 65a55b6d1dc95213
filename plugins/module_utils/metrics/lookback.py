# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks a source for the time that a criterion must have held, before a look; ``holding`` judges.

Each look stands for itself: nothing is kept from one to the next.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import (
    POINT,
    Condition,
    Conditions,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.followers import (
    NoBatch,
    follow,
    in_step,
    look_at,
    stable_before,
    whole_windows,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.holding import (
    Held,
    judge_course,
    judge_windows,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Judgement, unjudged
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.source import Source
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import SOURCE_DOWN

# Gauges are hardly ever scraped more often than once a second.
_STEP = 1.0
_LEAST_POINTS = 20


class Lookback:
    """Judges ``criteria``, each by its last ``lasting`` seconds; their limits come from all ``conditions``."""

    def __init__(
        self,
        criteria: t.Sequence[Condition],
        conditions: Conditions,
        source: Source,
        versions: t.Mapping[str, str],
        risks: Risks,
    ) -> None:
        self._criteria = criteria
        self._conditions = conditions
        self._source = source
        self._versions = versions
        self._risks = risks

    def look(self, at: float, strict: bool) -> dict[tuple[str, str], Judgement]:
        """A judgement of each criterion by its key, of the time that ends ``at``. Raises QueryError when ``strict``."""
        judged = {}
        weighed: dict[float, list[Condition]] = {}
        for one in self._criteria:
            seconds = one.lasting or 0.0
            if one.metric.kind in ("gauge", "increase"):
                judged[one.key] = self._course(one, seconds, at, strict)
            elif one.evidence == POINT:
                judged[one.key] = self._windows(one, seconds, at, strict)
            else:
                weighed.setdefault(whole_windows(one.metric, seconds), []).append(one)
        for seconds, criteria in weighed.items():
            judged |= self._weigh(criteria, at - seconds, at, strict)
        return judged

    def _course(self, one: Condition, seconds: float, at: float, strict: bool) -> Judgement:
        step = seconds / math.ceil(seconds / min(_STEP, seconds / _LEAST_POINTS))
        return judge_course(one, self._source.course(one.metric.over(one.window), seconds, step, strict=strict, at=at))

    def _windows(self, one: Condition, seconds: float, at: float, strict: bool) -> Judgement:
        measured = []
        for back in reversed(range(math.ceil(seconds / one.window))):
            answers = self._source.measure([(one.metric, one.window)], strict=strict, at=at - back * one.window)
            measured.append(answers[one.metric.name, one.window])
            if measured[-1].problem == SOURCE_DOWN:
                break  # each more would wait for the same timeout
        return judge_windows(one, measured)

    def _weigh(
        self, criteria: t.Sequence[Condition], since: float, at: float, strict: bool
    ) -> dict[tuple[str, str], Judgement]:
        metrics = {metric.name: metric for one in criteria for metric in one.metrics}
        followers = {name: follow(metric, self._versions, since) for name, metric in metrics.items()}
        batches = look_at(followers, self._source, since, at, strict)
        judged = {}
        for one in criteria:
            try:
                taken = in_step([batches[metric.name] for metric in one.metrics])
            except NoBatch as nothing:
                judged[one.key] = unjudged(one, nothing.verdict, str(nothing))
                continue
            held = Held(one, self._conditions, self._risks, stable_before(self._source, one, since), since=since)
            for step in taken:
                held.add(*step)
            judged[one.key] = held.judgement()
        return judged
