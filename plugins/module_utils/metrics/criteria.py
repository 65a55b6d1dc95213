# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Criteria and triggers: reading them from data, all mistakes told at once. Pure; judging is in ``judgement``."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import parse_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import (
    SIDES,
    Metric,
    Problems,
    nearest,
    parse_metrics,
    parse_window,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import (
    EVIDENCE,
    OPERATORS,
    POINT,
    POLICIES,
    SEQUENTIAL,
    Condition,
    Conditions,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.limits import contradictions, unordered
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import (
    parse_number,
    parse_value,
)

DEFAULT_TRIGGER_CONFIDENCE = 0.99
DEFAULT_TRIGGER_MIN_BAD = 2
DEFAULT_CRITERION_MIN_REQUESTS = 30
_OPTIONS = (
    "metric",
    "name",
    *OPERATORS,
    "scope",
    "labels",
    "window",
    "min_requests",
    "min_samples",
    "min_bad",
    "confidence",
    "evidence",
    "acceptable",
    "unacceptable",
    "compared_with",
    "for",
    "advisory",
    "on_no_evidence",
    "on_source_down",
)


RISK_ARGUMENTS: dict[str, t.Any] = {
    risk: {"type": "float", "default": probability} for risk, probability in Risks()._asdict().items()
}


def read_risks(options: t.Mapping[str, t.Any]) -> Risks:
    """The options of :data:`RISK_ARGUMENTS`. Raises InputError for what is no probability."""
    problems = Problems()
    for name in RISK_ARGUMENTS:
        if not 0 < options[name] < 1:
            problems.add(name, f"{options[name]:g} is not a probability between 0 and 1 (1 in 1000 is 0.001)")
    problems.raise_if_any()
    return Risks(*(options[name] for name in RISK_ARGUMENTS))


def read_conditions(
    metrics: t.Any,
    criteria: t.Any,
    triggers: t.Any = None,
    *,
    versions: t.Mapping[str, str] | None = None,
    stage: str = "",
) -> Conditions:
    """Criteria and triggers from inventory data. Raises InputError naming every mistake: stage, option and value."""
    problems = Problems()
    catalogue = parse_metrics(metrics, versions or {}, problems)
    prefix = f"stage {stage}: " if stage else ""
    known = set(metrics) if isinstance(metrics, t.Mapping) else set()
    read = Conditions(
        _parse_list(criteria, "criterion", prefix, catalogue, known, problems),
        _parse_list(triggers, "trigger", prefix, catalogue, known, problems),
    )
    contradictions(read, prefix, problems)
    if not problems.found:  # a limit that is no share was told by itself
        unordered(read, prefix, problems)
    problems.raise_if_any()
    return read


def _parse_list(
    data: t.Any, role: str, prefix: str, catalogue: t.Mapping[str, Metric], known: set[str], problems: Problems
) -> tuple[Condition, ...]:
    if data is None:
        return ()
    if isinstance(data, (str, t.Mapping)) or not isinstance(data, t.Sequence):
        problems.add(f"{prefix}{role} list", f"must be a list, not {type(data).__name__}")
        return ()
    parsed: list[Condition] = []
    for number, entry in enumerate(data, 1):
        condition = _parse_condition(entry, number, role, prefix, catalogue, known, problems)
        # Lists of several stages may be put together, so what is said twice is taken once.
        if condition and condition not in parsed:
            parsed.append(condition)
    return tuple(_named_apart(parsed))


def _named_apart(conditions: t.Iterable[Condition]) -> t.Iterator[Condition]:
    """The conditions, the second of a name as ``name (2)`` and so on."""
    taken: set[str] = set()
    for condition in conditions:
        name, number = condition.name, 1
        while name in taken:
            number += 1
            name = f"{condition.name} ({number})"
        taken.add(name)
        yield dataclasses.replace(condition, name=name)


def _parse_condition(
    entry: t.Any,
    number: int,
    role: str,
    prefix: str,
    catalogue: t.Mapping[str, Metric],
    known: set[str],
    problems: Problems,
) -> Condition | None:
    if not isinstance(entry, t.Mapping):
        problems.add(f"{prefix}{role} {number}", f"must be a dictionary, not {type(entry).__name__}")
        return None
    name = str(entry.get("name") or entry.get("metric") or number)
    where = f"{prefix}{role} {name}"
    problems.unknown(where, entry, _OPTIONS)
    metric_name = entry.get("metric")
    metric = catalogue.get(str(metric_name))
    if metric_name is None:
        problems.add(where, "metric: is missing")
    elif metric is None and metric_name not in known:
        problems.add(where, f"metric: {metric_name!r} is not in the catalogue{nearest(str(metric_name), known)}")
    if metric is not None:
        metric = _scoped(where, entry, metric, problems)
        name = str(entry.get("name") or metric.name)
    compared_with = _parse_compared(where, entry, metric, problems)
    operator, bound = _parse_bound(where, entry, metric, compared_with, problems)
    options = _parse_options(where, entry, role, metric, problems) | {"compared_with": compared_with}
    options |= _parse_evidence(where, entry, metric, compared_with, problems)
    if metric is None or operator is None:
        return None
    return Condition(name=name, role=role, metric=metric, operator=operator, bound=bound, **options)


def _scoped(where: str, entry: t.Mapping[str, t.Any], metric: Metric, problems: Problems) -> Metric:
    """The metric of the side and of the series that the entry asks for."""
    side, labels = entry.get("scope"), entry.get("labels")
    if side is None and labels is None:
        return metric
    if side is not None and side not in SIDES:
        problems.add(where, f"scope: {side!r} is not one of {', '.join(SIDES)}")
    elif side is not None and entry.get("compared_with") is not None:
        problems.add(where, "scope: compared_with looks at both sides")
    elif labels is not None and not (labels and isinstance(labels, t.Mapping)):
        problems.add(where, f"labels: {labels!r} is not a dictionary of label to value")
    else:
        wanted = {str(label): str(value) for label, value in (labels or {}).items()}
        option = "scope" if side else "labels"
        scoped: Metric = problems.read(where, option, lambda: metric.scoped(side or "", wanted), metric)
        return scoped
    return metric


def _parse_compared(where: str, entry: t.Mapping[str, t.Any], metric: Metric | None, problems: Problems) -> str:
    side = entry.get("compared_with")
    if side is None:
        return ""
    if side != "stable":
        problems.add(where, f"compared_with: {side!r} is not a side to compare the candidate with; it can be stable")
    elif metric and metric.kind not in ("ratio", "quantile"):
        problems.add(where, f"compared_with: is for ratios and quantiles; {metric.name} is a {metric.kind}")
    elif metric:
        problems.read(where, "compared_with", lambda: (metric.scoped("candidate"), metric.scoped("stable")))
    return "stable"


def _parse_evidence(
    where: str, entry: t.Mapping[str, t.Any], metric: Metric | None, compared_with: str, problems: Problems
) -> dict[str, t.Any]:
    """How evidence is weighed, and what is good and bad where the entry says so."""
    point_only = [option for option in ("confidence", "min_bad") if entry.get(option) is not None]
    of_counts = metric is None or metric.kind in ("ratio", "quantile")
    evidence = entry.get("evidence") or (SEQUENTIAL if of_counts and not point_only else POINT)
    if evidence not in EVIDENCE:
        problems.add(where, f"evidence: {evidence!r} is not one of {', '.join(EVIDENCE)}")
    elif evidence == SEQUENTIAL and not of_counts:
        problems.add(where, "evidence: sequential is for ratios and quantiles, which are counted")
    elif evidence == SEQUENTIAL and point_only:
        problems.add(where, f"{' and '.join(point_only)}: goes with evidence: point only")
    elif evidence == POINT and compared_with and of_counts:
        problems.add(where, "compared_with: is judged by evidence: sequential only")
    read: dict[str, t.Any] = {"evidence": evidence}
    for option in ("acceptable", "unacceptable"):
        if entry.get(option) is None:
            continue
        read[option] = problems.read(where, option, functools.partial(parse_value, entry[option], "percent"))
        if evidence == POINT:
            problems.add(where, f"{option}: goes with evidence: sequential only")
        elif read[option] is not None and not (compared_with or 0 <= read[option] <= 1):
            problems.add(where, f"{option}: {entry[option]!r} is not a share between 0 and 1 (0.1 % is 0.001)")
    return read


def _parse_bound(
    where: str, entry: t.Mapping[str, t.Any], metric: Metric | None, compared_with: str, problems: Problems
) -> tuple[str | None, float]:
    given = [operator for operator in OPERATORS if entry.get(operator) is not None]
    if len(given) != 1:
        said = f"{' and '.join(given)} exclude each other" if given else f"one of {', '.join(OPERATORS)} is needed"
        problems.add(where, said)
    bounds = {}
    for operator in given:
        unit = metric.unit if metric and not compared_with else "count"
        bounds[operator] = problems.read(where, operator, functools.partial(parse_value, entry[operator], unit))
        if compared_with and bounds[operator] is not None and bounds[operator] <= 0:
            problems.add(
                where, f"{operator}: {entry[operator]!r} is no multiple: 1.5 allows half as much again as stable"
            )
        elif metric and bounds[operator] is not None and not compared_with:
            _check_bound(where, operator, entry[operator], bounds[operator], metric, problems)
    if len(bounds) != 1 or None in bounds.values():
        return None, 0.0
    return next(iter(bounds.items()))


def _check_bound(where: str, operator: str, said: t.Any, bound: float, metric: Metric, problems: Problems) -> None:
    if metric.kind in ("ratio", "quantile") and operator == "equals":
        problems.add(where, f"equals: is for gauges and increases; {metric.name} is a {metric.kind}")
    if metric.kind == "ratio" and not 0 <= bound <= 1:
        problems.add(where, f"{operator}: {said!r} is not a share between 0 and 1 (0.1 % is 0.001)")
    if metric.kind == "quantile" and bound < 0:
        problems.add(where, f"{operator}: {said!r} is negative")


def _parse_options(
    where: str, entry: t.Mapping[str, t.Any], role: str, metric: Metric | None, problems: Problems
) -> dict[str, t.Any]:
    trigger = role == "trigger"
    minimum = 1.0 if trigger else float(DEFAULT_CRITERION_MIN_REQUESTS)
    advisory = entry.get("advisory", False)
    if not isinstance(advisory, bool):
        problems.add(where, f"advisory: {advisory!r} is not true or false")
    options: dict[str, t.Any] = {
        "window": parse_window(where, entry, problems, metric.window if metric else 0.0),
        "min_requests": _parse_count(where, entry, "min_requests", minimum, problems),
        "min_samples": int(_parse_count(where, entry, "min_samples", 1.0, problems)),
        "min_bad": _parse_count(where, entry, "min_bad", float(DEFAULT_TRIGGER_MIN_BAD if trigger else 0), problems),
        "confidence": _parse_confidence(where, entry, DEFAULT_TRIGGER_CONFIDENCE if trigger else 0.0, problems),
        "advisory": advisory is True,
    }
    if entry.get("for") is not None:
        options["lasting"] = problems.read(where, "for", lambda: parse_duration(entry["for"]))
    for option in ("on_no_evidence", "on_source_down"):
        policy = entry.get(option)
        if policy is not None and policy not in POLICIES:
            problems.add(where, f"{option}: {policy!r} is not one of {', '.join(POLICIES)}")
        options[option] = policy
    return options


def _parse_count(where: str, entry: t.Mapping[str, t.Any], option: str, default: float, problems: Problems) -> float:
    if entry.get(option) is None:
        return default
    count = problems.read(where, option, lambda: parse_number(entry[option]), default)
    if count < 0:
        problems.add(where, f"{option}: {entry[option]!r} is negative")
    return float(count)


def _parse_confidence(where: str, entry: t.Mapping[str, t.Any], default: float, problems: Problems) -> float:
    if entry.get("confidence") is None:
        return default
    confidence = problems.read(where, "confidence", lambda: parse_number(entry["confidence"]), default)
    if confidence != 0 and not 0.5 <= confidence < 1:
        problems.add(where, f"confidence: {entry['confidence']!r} is neither 0 (none) nor from 0.5 to under 1")
        return default
    return float(confidence)
