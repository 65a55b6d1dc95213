# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at a source again and again, and judges every condition: by all requests since it began, or by one window.

All that is asked in one look is asked at one time of the source's clock.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import SourceDownError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import DEFAULT_RISKS, Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.comparing import (
    Comparing,
    weighing_of,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import (
    POINT,
    SEQUENTIAL,
    Condition,
    Conditions,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.followers import (
    Follower,
    NoBatch,
    follow,
    in_step,
    look_at,
    stable_before,
    whole_windows,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    Judgement,
    judge,
    unjudged,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.lookback import Lookback
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.source import Source
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import SOURCE_DOWN
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.weighing import Batch, Weighing


@dataclasses.dataclass(frozen=True)
class Watch:
    """How long is looked: about ``horizon`` seconds.

    With ``from_window`` what the source kept from before the first look counts too: the window of each condition, or
    the whole time that a criterion must hold (``lasting``). The latter is judged at every look anew; of these there
    are at most ``looks``, which share the risk.
    """

    horizon: float
    from_window: bool = False
    looks: int = 1
    risks: Risks = DEFAULT_RISKS


class Observer:
    """Judges ``conditions`` by what ``source`` answers, from the first look on."""

    def __init__(self, conditions: Conditions, source: Source, versions: t.Mapping[str, str], watch: Watch) -> None:
        self._conditions = conditions
        self._source = source
        self._versions = versions
        self._watch = watch
        self._followers: dict[str, Follower] = {}
        self._weighings: dict[tuple[str, str], Weighing | Comparing] = {}
        self._looked_at: float | None = None
        past = [one for one in conditions.criteria if watch.from_window and one.lasting]
        now = [one for one in conditions.all if one not in past]
        self._points = [one for one in now if one.evidence == POINT]
        self._weighed = [one for one in now if one.evidence == SEQUENTIAL]
        # The past is judged as a whole and by its stretches, and either may be wrong.
        tests = len(self._weighed) + 2 * sum(one.evidence == SEQUENTIAL for one in past)
        self._risks = watch.risks.of_each(tests)
        each_look = self._risks._replace(false_advance=watch.risks.false_advance / watch.looks)
        self._lookback = Lookback(past, conditions, source, versions, each_look)

    def look(self, *, strict: bool = False, criteria_count: bool = True) -> tuple[Judgement, ...]:
        """A judgement of each condition, in their order.

        With ``strict`` a query that the source refuses raises QueryError. Without ``criteria_count`` the requests of
        this look count for triggers only.
        """
        try:
            at = self._source.now()
        except SourceDownError as error:
            return tuple(unjudged(one, SOURCE_DOWN, error.message) for one in self._conditions.all)
        if self._looked_at is None:
            self._looked_at = self._begin(at)
        batches = look_at(self._followers, self._source, self._looked_at, at, strict)
        self._looked_at = at
        judged = {
            one.key: self._weigh(one, [batches[metric.name] for metric in one.metrics], criteria_count)
            for one in self._weighed
        }
        needs = [(one.metric, one.window) for one in self._points]
        measured = self._source.measure(needs, strict=strict, at=at) if needs else {}
        judged |= {one.key: judge(one, measured[one.metric.name, one.window]) for one in self._points}
        judged |= self._lookback.look(at, strict)
        return tuple(judged[one.key] for one in self._conditions.all)

    def _begin(self, at: float) -> float:
        """Follow all that is weighed; since when, at the earliest."""
        for one in self._weighed:
            before = self._before(one.metric)
            since = at - before
            self._weighings[one.key] = weighing_of(
                one,
                self._conditions,
                self._risks,
                stable_before(self._source, one, since),
                since=since,
                horizon=self._watch.horizon + before,
            )
            for metric in one.metrics:
                if metric.name not in self._followers:
                    self._followers[metric.name] = follow(metric, self._versions, since)
        return min([at, *(at - self._before(one.metric) for one in self._weighed)])

    def _before(self, metric: Metric) -> float:
        """How many seconds before the first look count for ``metric``: the longest window that is asked of it."""
        if not self._watch.from_window:
            return 0.0
        return whole_windows(metric, max(one.window for one in self._weighed if one.metric == metric))

    def _weigh(self, condition: Condition, seen: t.Sequence[list[Batch] | NoBatch], criteria_count: bool) -> Judgement:
        weighing = self._weighings[condition.key]
        try:
            taken = in_step(seen)
        except NoBatch as nothing:
            return weighing.judgement() if weighing.fires else unjudged(condition, nothing.verdict, str(nothing))
        fired = None
        for step in taken:
            counts = criteria_count or condition.is_trigger
            weighing.add(*(step if counts else [one.without_requests() for one in step]))
            # What is over by the end of the look has happened all the same.
            if weighing.fires:
                fired = weighing.judgement()
        return fired or weighing.judgement()
