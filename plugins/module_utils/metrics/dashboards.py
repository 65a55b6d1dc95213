# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dashboard in a few words as the JSON that Grafana imports. Data in, data out; no I/O.

The model is that of https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/,
of schema version 38 (Grafana 10.0). Later versions of Grafana take it and bring it up to theirs.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import parse_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import (
    Metric,
    Problems,
    nearest,
    parse_metrics,
    parse_window,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.grafana import (
    COLUMNS,
    DATASOURCE,
    DRAWN,
    PLAN,
    Sources,
    laid_out,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.promql import promql_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.scopes import check_sides, read_versions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import parse_number

SCHEMA_VERSION = 38

_TYPES = (*DRAWN, PLAN)
_STACKS = ("values", "percent")
_DASHBOARD = ("title", "uid", "description", "refresh", "since", "tags", "rows")
_ROW = ("title", "height", "panels")
_PANEL = (
    "title",
    "description",
    "type",
    "metrics",
    "sides",
    "by",
    "window",
    "thresholds",
    "stack",
    "width",
)
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def dashboard(description: t.Any, metrics: t.Any, versions: t.Any = None, stages: t.Any = None) -> dict[str, t.Any]:
    """The dashboard's JSON model as data. Raises InputError naming every mistake by row and panel.

    The data source is a variable of the dashboard, so that it can be imported anywhere.
    """
    problems = Problems()
    sources = _sources(metrics, read_versions(versions, problems), stages, problems)
    if not isinstance(description, t.Mapping):
        problems.add("dashboard", f"must be a dictionary, not {type(description).__name__}")
        description = {}
    else:
        _check_dashboard(description, problems)
    rows = _listed("dashboard", "rows", description.get("rows"), problems)
    for number, row in enumerate(rows, 1):
        _check_row(number, row, sources, problems)
    problems.raise_if_any()
    refresh = parse_duration(description.get("refresh", "30s"))
    since = parse_duration(description.get("since", "3h"))
    return {
        "id": None,
        "uid": description["uid"],
        "title": description["title"],
        "description": description.get("description", ""),
        "tags": [str(tag) for tag in description.get("tags") or []],
        "schemaVersion": SCHEMA_VERSION,
        "version": 0,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": promql_duration(refresh),
        "time": {"from": f"now-{promql_duration(since)}", "to": "now"},
        "timepicker": {},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_DATASOURCE_VARIABLE]},
        "panels": laid_out(rows, sources),
    }


_DATASOURCE_VARIABLE = {
    "type": "datasource",
    "name": DATASOURCE,
    "label": "Prometheus",
    "query": "prometheus",
    "current": {},
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
    "refresh": 1,
    "regex": "",
}


# ---- reading


def _sources(metrics: t.Any, versions: t.Mapping[str, str], stages: t.Any, problems: Problems) -> Sources:
    catalogue = parse_metrics(metrics, versions, problems)
    given = _listed("stages", "stages", stages, problems, required=False)
    conditions = []
    for number, stage in enumerate(given, 1):
        name = str(stage.get("name") or number)
        if stage.get("starts") is not None:
            problems.read(f"stage {name}", "starts", lambda stage=stage: parse_number(stage["starts"]))  # type: ignore[misc]
        try:
            read = read_conditions(metrics, stage.get("criteria"), stage.get("triggers"), versions=versions, stage=name)
        except InputError as error:
            said = error.details.get("problems", [str(error)])
            # What is wrong with the catalogue is the same for every stage.
            problems.found += [problem for problem in said if problem not in problems.found]
        else:
            conditions.append(read)
    return Sources(catalogue, versions, conditions, given)


def _listed(
    where: str, option: str, given: t.Any, problems: Problems, *, required: bool = True
) -> list[t.Mapping[str, t.Any]]:
    """The dictionaries of a list; what else is in it, or in its place, is told."""
    if isinstance(given, (str, t.Mapping)) or not isinstance(given, t.Sequence) or (required and not given):
        if required or given is not None:
            said = "is missing" if not given else f"must be a list, not {type(given).__name__}"
            problems.add(where, f"{option}: {said}")
        return []
    for number, item in enumerate(given, 1):
        if not isinstance(item, t.Mapping):
            problems.add(where, f"{option}: {number} must be a dictionary, not {type(item).__name__}")
    return [item for item in given if isinstance(item, t.Mapping)]


def _check_dashboard(description: t.Mapping[str, t.Any], problems: Problems) -> None:
    where = "dashboard"
    problems.unknown(where, description, _DASHBOARD)
    _check_texts(where, description, problems)
    uid = description.get("uid")
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        said = "is missing" if uid is None else f"{uid!r} is not"
        problems.add(where, f"uid: {said} up to 40 letters, digits, - and _, the same at every import")
    for option in ("refresh", "since"):
        if option in description:
            seconds = problems.read(where, option, lambda option=option: parse_duration(description[option]))  # type: ignore[misc]
            if seconds is not None and seconds < 1:
                problems.add(where, f"{option}: must be 1 s or longer")
    tags = description.get("tags", [])
    if isinstance(tags, (str, t.Mapping)) or not isinstance(tags, t.Sequence):
        problems.add(where, f"tags: {tags!r} is not a list")


def _check_texts(where: str, described: t.Mapping[str, t.Any], problems: Problems) -> None:
    title = described.get("title")
    if not isinstance(title, str) or not title.strip():
        problems.add(where, "title: is missing" if title is None else f"title: {title!r} is not a text")
    if not isinstance(described.get("description", ""), str):
        problems.add(where, f"description: {described['description']!r} is not a text")


def _check_row(number: int, row: t.Mapping[str, t.Any], sources: Sources, problems: Problems) -> None:
    where = f"row {row.get('title') or number}"
    problems.unknown(where, row, _ROW)
    _check_texts(where, row, problems)
    _check_whole(where, "height", row, 40, problems)
    for place, panel in enumerate(_listed(where, "panels", row.get("panels"), problems), 1):
        _check_panel(f"{where}: panel {panel.get('title') or place}", panel, sources, problems)


def _check_whole(where: str, option: str, described: t.Mapping[str, t.Any], most: int, problems: Problems) -> None:
    value = described.get(option)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most):
        problems.add(where, f"{option}: {value!r} is not a whole number from 1 to {most}")


def _check_panel(where: str, panel: t.Mapping[str, t.Any], sources: Sources, problems: Problems) -> None:
    problems.unknown(where, panel, _PANEL)
    _check_texts(where, panel, problems)
    _check_whole(where, "width", panel, COLUMNS, problems)
    kind = panel.get("type", DRAWN[0])
    if kind not in _TYPES:
        problems.add(where, f"type: {kind!r} is not one of {', '.join(_TYPES)}{nearest(str(kind), _TYPES)}")
    if kind == PLAN:
        if not sources.stages:
            problems.add(where, "type: plan needs the stages")
        if extra := sorted(set(panel) - {"title", "description", "type", "width"}):
            problems.add(where, f"{', '.join(extra)}: a plan draws no metrics")
        return
    parse_window(where, panel, problems, None)
    if panel.get("stack") is not None and (panel["stack"] not in _STACKS or kind != DRAWN[0]):
        problems.add(where, f"stack: {panel['stack']!r}: it is {' or '.join(_STACKS)}, of a {DRAWN[0]}")
    _check_words(where, "by", panel.get("by"), problems)
    metrics = _check_metrics(where, panel, sources, problems)
    check_sides(where, panel.get("sides"), metrics, sources.versions, problems)
    chosen = panel.get("thresholds")
    if chosen not in (None, False) and chosen not in (panel.get("metrics") or []):
        problems.add(where, f"thresholds: {chosen!r} is neither false nor one of the panel's metrics")


def _check_words(where: str, option: str, given: t.Any, problems: Problems) -> None:
    if given is None:
        return
    if isinstance(given, (str, t.Mapping)) or not isinstance(given, t.Sequence):
        problems.add(where, f"{option}: {given!r} is not a list")
        return
    for word in given:
        if not _LABEL.fullmatch(str(word)):
            problems.add(where, f"{option}: {word!r} is not the name of a label")


def _check_metrics(where: str, panel: t.Mapping[str, t.Any], sources: Sources, problems: Problems) -> list[Metric]:
    names = panel.get("metrics")
    if isinstance(names, (str, t.Mapping)) or not isinstance(names, t.Sequence) or not names:
        said = "is missing" if not names else f"{names!r} is not a list of names"
        problems.add(where, f"metrics: {said}")
        return []
    metrics = []
    for name in names:
        metric = sources.metrics.get(str(name))
        if metric is None:
            problems.add(where, f"metrics: {name!r} is not in the catalogue{nearest(str(name), sources.metrics)}")
        else:
            metrics.append(metric)
    if len({metric.unit for metric in metrics}) > 1:
        said = ", ".join(f"{metric.name} is in {metric.unit}" for metric in metrics)
        problems.add(where, f"metrics: {said}; a panel has one unit, so make it several")
    return metrics
