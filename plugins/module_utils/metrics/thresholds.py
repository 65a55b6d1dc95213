# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The colours of a metric on a dashboard, from what the stages are judged by. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Condition, Conditions

GOOD, DOUBTFUL, BAD = "green", "orange", "red"
_BOUNDED_ABOVE = ("below", "at_most")
_BOUNDED_BELOW = ("above", "at_least")

Step = dict[str, t.Any]
"""From ``value`` on it is ``color``; the first has no value and holds below all others."""


def steps_of(metric: str, conditions: t.Iterable[Conditions]) -> list[Step]:
    """Grafana's threshold steps for ``metric``; none where nothing judges it, or what does has no one direction.

    Of several stages the strictest holds: green is what every stage goes on with, red what some stage is taken back
    for. Conditions that only advise, multiples of the stable side and ``equals`` give no colour.
    """
    judging = [one for read in conditions for one in read.all if one.metric.name == metric and _judges(one)]
    upwards = {_worse_upwards(one) for one in judging}
    if len(upwards) != 1:
        return []
    trigger = [one.bound for one in judging if one.is_trigger]
    criterion = [one.bound for one in judging if not one.is_trigger]
    return _rising(trigger, criterion) if upwards == {True} else _falling(trigger, criterion)


def _judges(condition: Condition) -> bool:
    directed = condition.operator in (*_BOUNDED_ABOVE, *_BOUNDED_BELOW)
    return directed and not condition.compared_with and not condition.advisory


def _worse_upwards(condition: Condition) -> bool:
    return condition.operator in (_BOUNDED_BELOW if condition.is_trigger else _BOUNDED_ABOVE)


def _rising(trigger: list[float], criterion: list[float]) -> list[Step]:
    """The higher, the worse."""
    red = min(trigger, default=None)
    orange = min(criterion, default=None)
    steps = [_step(GOOD, None)]
    if orange is not None and (red is None or orange < red):
        steps.append(_step(DOUBTFUL, orange))
    return steps if red is None else [*steps, _step(BAD, red)]


def _falling(trigger: list[float], criterion: list[float]) -> list[Step]:
    """The lower, the worse."""
    red = max(trigger, default=None)
    orange = max(criterion, default=None)
    if red is None:
        return [_step(DOUBTFUL, None), _step(GOOD, orange)]
    if orange is None or orange <= red:
        return [_step(BAD, None), _step(GOOD, red)]
    return [_step(BAD, None), _step(DOUBTFUL, red), _step(GOOD, orange)]


def _step(color: str, value: float | None) -> Step:
    return {"color": color, "value": value}
