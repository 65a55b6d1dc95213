# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts, written in the words of criteria, as Prometheus' alerting rules. Data in, data out; no I/O.

The file format is that of https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import parse_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import (
    Metric,
    Problems,
    parse_metrics,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import (
    OPERATORS,
    POINT,
    Condition,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.expressions import (
    requests_of,
    share_within,
    value_of,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.promql import promql_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.scopes import check_sides, read_versions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_value

DEFAULT_GROUP = "release"
NO_DATA = "NoData"
"""What the name of the alert that is made by ``on_absent: alert`` ends in."""

_SHARED_WITH_CRITERIA = ("metric", *OPERATORS, "window", "for", "min_requests")
_OPTIONS = (
    "alert",
    *_SHARED_WITH_CRITERIA,
    "severity",
    "sides",
    "on_absent",
    "summary",
    "description",
    "labels",
    "annotations",
    "group",
)
_ON_ABSENT = ("ignore", "alert")
_COMPARES = {"below": "<", "above": ">", "at_least": ">=", "at_most": "<=", "equals": "=="}
_ABOVE = ("above", "at_least")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_SHOWN = {"percent": "humanizePercentage", "seconds": "humanizeDuration", "count": "humanize", "ratio": "humanize"}
_OWN_LABELS = ("alertname", "severity", "side", "version")
_OWN_ANNOTATIONS = ("summary", "description")


def alert_rules(
    alerts: t.Any,
    metrics: t.Any,
    versions: t.Any = None,
    *,
    group: t.Any = DEFAULT_GROUP,
    interval: t.Any = None,
    labels: t.Any = None,
) -> dict[str, t.Any]:
    """The rule file: ``{"groups": [{"name", "rules": [{"alert", "expr", "for", "labels", "annotations"}]}]}``.

    ``group`` is the name where an alert gives none, ``interval`` how often they are looked at (Prometheus' own
    interval without it), ``labels`` what every rule carries. Raises InputError naming every mistake.
    """
    problems = Problems()
    versions = read_versions(versions, problems)
    entries = _entries(alerts, problems)
    _check_texts("rules", "labels", labels, _OWN_LABELS, problems)
    if not isinstance(group, str) or not group.strip():
        problems.add("rules", f"group: {group!r} is not a name")
    every = None if interval is None else problems.read("rules", "interval", lambda: parse_duration(interval))
    if every == 0:
        problems.add("rules", "interval: must be longer than 0 s")
    conditions = _read_conditions(entries, metrics, versions, problems)
    catalogue = parse_metrics(metrics, versions, Problems())  # what is wrong with it was told with the conditions
    for condition in conditions:
        _check_possible(condition, problems)
    for name, entry in entries:
        _check(name, entry, catalogue.get(str(entry.get("metric"))), versions, problems)
    _check_names(entries, problems)
    problems.raise_if_any()
    groups: dict[str, dict[str, t.Any]] = {}
    for (_name, entry), condition in zip(entries, conditions, strict=True):
        named = str(entry.get("group") or group)
        head: dict[str, t.Any] = {"name": named}
        head |= {} if every is None else {"interval": promql_duration(every)}
        groups.setdefault(named, {**head, "rules": []})["rules"] += _rules(entry, condition, versions, labels or {})
    return {"groups": list(groups.values())}


# ---- reading


def _entries(alerts: t.Any, problems: Problems) -> list[tuple[str, t.Mapping[str, t.Any]]]:
    """Each alert with the name it is told by, which is its number where it has none."""
    if alerts is None:
        return []
    if isinstance(alerts, (str, t.Mapping)) or not isinstance(alerts, t.Sequence):
        problems.add("alert list", f"must be a list, not {type(alerts).__name__}")
        return []
    entries = []
    for number, entry in enumerate(alerts, 1):
        if isinstance(entry, t.Mapping):
            entries.append((str(entry.get("alert") or number), entry))
        else:
            problems.add(f"alert {number}", f"must be a dictionary, not {type(entry).__name__}")
    return entries


def _read_conditions(
    entries: t.Iterable[tuple[str, t.Mapping[str, t.Any]]],
    metrics: t.Any,
    versions: t.Mapping[str, str],
    problems: Problems,
) -> tuple[Condition, ...]:
    """What each alert has in common with a trigger, read as one: bound, window, time, number of requests."""
    triggers = [
        {option: entry[option] for option in _SHARED_WITH_CRITERIA if option in entry} | {"name": name}
        for name, entry in entries
    ]
    # A rule sees one window at a time: limits for a test over all looks mean nothing to it.
    point = [{**trigger, "evidence": POINT} for trigger in triggers]
    try:
        return read_conditions(metrics, None, point, versions=versions).triggers
    except InputError as error:
        said = error.details.get("problems", [str(error)])
        problems.found += [re.sub(r"^trigger ", "alert ", problem) for problem in said]
        return ()


def _check(
    name: str, entry: t.Mapping[str, t.Any], metric: Metric | None, versions: t.Mapping[str, str], problems: Problems
) -> None:
    """What an alert has beside its condition."""
    where = f"alert {name}"
    problems.unknown(where, entry, _OPTIONS)
    for option, hint in (("alert", "the name it is told by"), ("severity", "such as P1 or warning")):
        if not isinstance(entry.get(option), str) or not entry[option].strip():
            said = "is missing" if entry.get(option) is None else f"{entry[option]!r} is not a word"
            problems.add(where, f"{option}: {said} ({hint})")
    for option in ("summary", "description", "group"):
        if entry.get(option) is not None and not isinstance(entry[option], str):
            problems.add(where, f"{option}: {entry[option]!r} is not a text")
    _check_texts(where, "labels", entry.get("labels"), _OWN_LABELS, problems)
    _check_texts(where, "annotations", entry.get("annotations"), _OWN_ANNOTATIONS, problems)
    check_sides(where, entry.get("sides"), [metric] if metric else [], versions, problems)
    on_absent = entry.get("on_absent", _ON_ABSENT[0])
    if on_absent not in _ON_ABSENT:
        problems.add(where, f"on_absent: {on_absent!r} is not one of {', '.join(_ON_ABSENT)}")
    if metric:
        _check_fits(where, entry, metric, problems)


def _check_fits(where: str, entry: t.Mapping[str, t.Any], metric: Metric, problems: Problems) -> None:
    if entry.get("min_requests") is not None and not requests_of(metric, metric.window, {}):
        problems.add(
            where, f"min_requests: {metric.name} doesn't tell requests: it needs a ratio or quantile of counters"
        )
    if entry.get("on_absent") == "alert" and metric.absent_is_zero and metric.kind != "ratio":
        problems.add(where, f"on_absent: {metric.name} takes what is absent for zero, so it is never absent")


def _check_possible(condition: Condition, problems: Problems) -> None:
    never = {"above": 1.0, "below": 0.0}.get(condition.operator)
    if condition.metric.kind == "ratio" and condition.bound == never:
        problems.add(
            f"alert {condition.name}",
            f"{condition.operator}: a share is never {condition.operator} {condition.bound:g}: this could not fire",
        )


def _check_names(entries: t.Iterable[tuple[str, t.Mapping[str, t.Any]]], problems: Problems) -> None:
    """Alertmanager tells alerts apart by name: two of one name would silence and resolve each other."""
    taken: dict[str, int] = {}
    for number, (_name, entry) in enumerate(entries, 1):
        alert = entry.get("alert")
        if not isinstance(alert, str):
            continue
        for name in (alert, f"{alert}{NO_DATA}") if entry.get("on_absent") == "alert" else (alert,):
            if name in taken:
                problems.add(f"alert {name}", f"alert: entries {taken[name]} and {number} have the same name")
            taken.setdefault(name, number)


def _check_texts(where: str, option: str, given: t.Any, reserved: t.Collection[str], problems: Problems) -> None:
    """Labels and annotations are names with texts; a number will do as one."""
    if given is None:
        return
    if not isinstance(given, t.Mapping):
        problems.add(where, f"{option}: must be a dictionary of names to texts, not {type(given).__name__}")
        return
    for name, value in given.items():
        if not _LABEL_NAME.fullmatch(str(name)):
            problems.add(where, f"{option}: {name!r} is not a name of letters, digits and _")
        elif name in reserved:
            problems.add(where, f"{option}: {name} is set by the alert itself")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            problems.add(where, f"{option}: {name} is {value!r}, not a text")


# ---- writing


def _rules(
    entry: t.Mapping[str, t.Any], condition: Condition, versions: t.Mapping[str, str], common: t.Mapping[str, t.Any]
) -> t.Iterator[dict[str, t.Any]]:
    """The rules of one alert: one per side, and one more each for when there is nothing to judge by."""
    for side in entry.get("sides") or [""]:
        scoped = dataclasses.replace(condition, metric=condition.metric.scoped(side))
        labels = {**_texts(common), **_texts(entry.get("labels")), "severity": entry["severity"]}
        labels |= {"side": side, "version": str(versions[side])} if side else {}
        enough = ""
        if entry.get("min_requests") is not None:
            enough = f"{requests_of(scoped.metric, scoped.window, versions)} >= {scoped.min_requests:.15g}"
        head = {"for": promql_duration(condition.lasting or 0), "labels": labels}
        told = _texts(entry.get("annotations"))
        holds = _holds(scoped, versions)
        expr = f"({holds}) and {enough}" if enough else holds
        yield {"alert": entry["alert"], "expr": expr, **head, "annotations": {**told, **_told(entry, scoped, side)}}
        if entry.get("on_absent") == "alert":
            # NaN is no value either; only what is a number is at least -Inf.
            value = f"{value_of(scoped.metric, scoped.window, versions)} >= -Inf"
            expr = f"absent({value} and {enough})" if enough else f"absent({value})"
            annotations = {**told, **_told_absent(entry, scoped)}
            yield {"alert": f"{entry['alert']}{NO_DATA}", "expr": expr, **head, "annotations": annotations}


def _texts(given: t.Mapping[str, t.Any] | None) -> dict[str, str]:
    return {str(name): str(value) for name, value in (given or {}).items()}


def _holds(condition: Condition, versions: t.Mapping[str, str]) -> str:
    metric, bound = condition.metric, f"{condition.bound:.15g}"
    value = value_of(metric, condition.window, versions)
    beyond = f"{value} {_COMPARES[condition.operator]} {bound}"
    if metric.kind != "quantile":
        return beyond
    # Gates count the requests slower than the bound, and so does this, wherever a bucket ends there: the last one with
    # an edge, beyond which histogram_quantile knows nothing, included. Where none does, the share has no value, and the
    # quantile by straight line inside its bucket must do. At an edge the two agree, so that "or" adds nothing there.
    within = share_within(metric, condition.bound, condition.window, versions)
    compares = "<" if condition.operator in _ABOVE else ">="
    return f"{within} {compares} {metric.quantile:.15g} or {beyond}" if within else beyond


def _told(entry: t.Mapping[str, t.Any], condition: Condition, side: str) -> dict[str, str]:
    metric = condition.metric
    if metric.kind == "quantile":
        rest, bound = format_value(1 - metric.quantile, "percent"), format_value(condition.bound, metric.unit)
        more = "more" if condition.operator in _ABOVE else "not more"
        measured = f"{more} than {rest} of the requests take longer than {bound}"
    else:
        measured = f"{{{{ $value | {_SHOWN[metric.unit]} }}}}, fires at {condition.target}"
    # The catalogue describes a metric of the side it names itself, and a quantile as the start of a sentence.
    described = metric.description and not side and metric.kind != "quantile"
    meaning = metric.description if described else metric.name
    return {
        "summary": entry.get("summary") or f"{metric.name} {condition.target}",
        "description": entry.get("description") or f"{meaning}: {measured}",
    }


def _told_absent(entry: t.Mapping[str, t.Any], condition: Condition) -> dict[str, str]:
    return {
        "summary": f"{entry['alert']} can't be judged: no data of {condition.metric.name}",
        "description": f"No requests, no samples, or no Prometheus target behind {condition.metric.name}. "
        "This is not health: nobody would see it break.",
    }
