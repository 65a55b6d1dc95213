# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is good and what is bad, read from criteria and triggers that stand side by side. Pure.

A criterion alone says what is good, a trigger alone what is bad. Where both speak of one metric, each completes the
other; what an entry itself says (``acceptable``, ``unacceptable``) goes before.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Limits
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Problems
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import (
    SEQUENTIAL,
    Condition,
    Conditions,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_value

_ABOVE = ("above", "at_least")
_OPPOSITE = {"below": "at_least", "at_most": "above", "above": "at_most", "at_least": "below"}


def offends_above(condition: Condition) -> bool:
    """Whether requests offend by being in the measured part (failed, slow), rather than by not being in it."""
    return (condition.operator in _ABOVE) is condition.is_trigger


def limits_of(condition: Condition, conditions: Conditions) -> Limits:
    """The shares of offending requests that are good and bad for ``condition``, a ratio or a quantile.

    For a quantile they are shares of requests slower than its bound. Limits that aren't stated anywhere are the
    condition's own bound.
    """
    own = _own_share(condition)
    other = next((share for share in _others(condition, conditions) if share is not None), own)
    if condition.is_trigger:
        acceptable = min(own, other) if condition.acceptable is None else condition.acceptable
        return Limits(acceptable, own if condition.unacceptable is None else condition.unacceptable)
    unacceptable = max(own, other) if condition.unacceptable is None else condition.unacceptable
    return Limits(own if condition.acceptable is None else condition.acceptable, unacceptable)


def breach_of(criterion: Condition, conditions: Conditions) -> Condition:
    """The trigger that fires on what is clearly against ``criterion``, a ratio or a quantile, by the same limits."""
    breach = dataclasses.replace(criterion, role="trigger", operator=_OPPOSITE[criterion.operator])
    if criterion.compared_with:
        return breach
    return dataclasses.replace(breach, **limits_of(criterion, conditions)._asdict())


def contradictions(conditions: Conditions, prefix: str, problems: Problems) -> None:
    """Name each criterion that holds where a trigger on the same metric fires."""
    for criterion in conditions.criteria:
        for trigger in conditions.triggers:
            if _same_subject(criterion, trigger) and _overlap(criterion, trigger):
                problems.add(
                    f"{prefix}criterion {criterion.name}",
                    f"{criterion.operator}: {_told(criterion)} allows what the trigger {trigger.name} "
                    f"({trigger.operator} {_told(trigger)}) rolls back for: make the criterion stricter, or the "
                    "trigger looser",
                )


def unordered(conditions: Conditions, prefix: str, problems: Problems) -> None:
    """Name each condition whose limits can't be told apart in the order they must have."""
    for condition in conditions.all:
        if condition.evidence == SEQUENTIAL and not condition.compared_with:
            where = f"{prefix}{condition.role} {condition.name}"
            try:
                limits_of(condition, conditions).check()
            except ValueError as error:
                problems.add(where, str(error))


def _told(condition: Condition) -> str:
    return format_value(condition.bound, condition.metric.unit)


def _own_share(condition: Condition) -> float:
    metric = condition.metric
    if metric.kind == "quantile":
        return _rest(metric.quantile) if offends_above(condition) else metric.quantile
    return condition.bound if offends_above(condition) else _rest(condition.bound)


def _rest(share: float) -> float:
    """What is left to 1; 1 - 0.95 itself is a little more than 0.05."""
    return round(1 - share, 12)


def _others(condition: Condition, conditions: Conditions) -> t.Iterator[float | None]:
    """The same metric's share as the other role states it. A quantile's is no other unless the bound is the same."""
    for other in conditions.criteria if condition.is_trigger else conditions.triggers:
        comparable = condition.metric.kind == "ratio" and offends_above(other) is offends_above(condition)
        if comparable and _same_subject(condition, other):
            yield _own_share(other)


def _same_subject(one: Condition, other: Condition) -> bool:
    return one.metric == other.metric and one.compared_with == other.compared_with


def _overlap(criterion: Condition, trigger: Condition) -> bool:
    """Whether some value satisfies the criterion and fires the trigger. An ``equals`` is a point."""
    allowed, fired = _interval(criterion), _interval(trigger)
    least, least_open = max((allowed[0], allowed[2]), (fired[0], fired[2]))
    most, most_shut = min((allowed[1], not allowed[3]), (fired[1], not fired[3]))
    return least < most or (least == most and not least_open and most_shut)


def _interval(condition: Condition) -> tuple[float, float, bool, bool]:
    """Least and most value, and whether each is left out."""
    bound, infinite = condition.bound, float("inf")
    return {
        "below": (-infinite, bound, False, True),
        "at_most": (-infinite, bound, False, False),
        "above": (bound, infinite, True, False),
        "at_least": (bound, infinite, False, False),
        "equals": (bound, bound, False, False),
    }[condition.operator]
