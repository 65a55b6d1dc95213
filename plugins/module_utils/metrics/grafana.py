# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Grafana's panels: rows of checked descriptions in, the ``panels`` of a dashboard's JSON model out. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_plan, parse_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.expressions import value_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.thresholds import steps_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import parse_number

COLUMNS = 24
"""How wide Grafana's grid is."""
PLAN = "plan"
"""The type of panel that shows the stages themselves."""
DRAWN = ("timeseries", "stat", "gauge", "bargauge")
"""The types that draw metrics; the first is the usual one."""
DATASOURCE = "datasource"
"""The variable of the dashboard that names its Prometheus."""

_DEFAULT_HEIGHT = 8
_UNITS = {"percent": "percentunit", "seconds": "s", "count": "short", "ratio": "none"}
_PROMETHEUS = {"type": "prometheus", "uid": f"${{{DATASOURCE}}}"}


class Sources(t.NamedTuple):
    """What panels are made from: the catalogue, the versions, what each stage is judged by, and the stages as data."""

    metrics: t.Mapping[str, Metric]
    versions: t.Mapping[str, str]
    conditions: t.Sequence[Conditions]
    stages: t.Sequence[t.Mapping[str, t.Any]]


def laid_out(rows: t.Iterable[t.Mapping[str, t.Any]], sources: Sources) -> list[dict[str, t.Any]]:
    """Rows one below the other, their panels from left to right, in new lines where they don't fit."""
    panels: list[dict[str, t.Any]] = []
    top = 0
    for row in rows:
        panels.append(_row(len(panels) + 1, row["title"], top))
        top, left = top + 1, 0
        height = row.get("height") or _DEFAULT_HEIGHT
        usual = max(1, COLUMNS // len(row["panels"]))
        for described in row["panels"]:
            width = described.get("width") or usual
            if left + width > COLUMNS:
                top, left = top + height, 0
            place = {"x": left, "y": top, "w": width, "h": height}
            panels.append(_panel(len(panels) + 1, described, place, sources))
            left += width
        top += height
    return panels


def _row(number: int, title: str, top: int) -> dict[str, t.Any]:
    place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(number: int, described: t.Mapping[str, t.Any], place: dict[str, int], sources: Sources) -> dict[str, t.Any]:
    kind = described.get("type", DRAWN[0])
    head = {"id": number, "title": described["title"], "gridPos": place}
    if kind == PLAN:
        options = {"mode": "markdown", "content": plan_table(sources.stages)}
        return {**head, "type": "text", "description": described.get("description", ""), "options": options}
    metrics = [sources.metrics[str(name)] for name in described["metrics"]]
    return {
        **head,
        "type": kind,
        "description": described.get("description") or "; ".join(f"{one.name}: {one.description}" for one in metrics),
        "datasource": _PROMETHEUS,
        "targets": _targets(described, metrics, sources.versions),
        "fieldConfig": {"defaults": _field(kind, described, metrics, sources), "overrides": []},
        "options": _options(kind),
    }


def _targets(
    described: t.Mapping[str, t.Any], metrics: t.Iterable[Metric], versions: t.Mapping[str, str]
) -> list[dict[str, t.Any]]:
    window = parse_duration(described["window"]) if described.get("window") is not None else None
    by = "".join(f" {{{{{label}}}}}" for label in described.get("by") or [])
    targets: list[dict[str, t.Any]] = []
    for metric in metrics:
        for side in described.get("sides") or [""]:
            expr = value_of(metric.scoped(side), window or metric.window, versions)
            side_told = f" {side} {versions[side]}" if side else ""
            targets.append(
                {
                    "refId": _ref_id(len(targets)),
                    "datasource": _PROMETHEUS,
                    "editorMode": "code",
                    "expr": expr,
                    "legendFormat": f"{metric.name}{side_told}{by}",
                    "range": True,
                }
            )
    return targets


def _ref_id(number: int) -> str:
    """``A`` to ``Z``, then ``A1``: Grafana wants each query of a panel to have a name of its own."""
    letter = chr(ord("A") + number % 26)
    return f"{letter}{number // 26}" if number >= 26 else letter


def _field(
    kind: str, described: t.Mapping[str, t.Any], metrics: t.Sequence[Metric], sources: Sources
) -> dict[str, t.Any]:
    chosen = described.get("thresholds", metrics[0].name if len(metrics) == 1 else False)
    steps = steps_of(str(chosen), sources.conditions) if chosen else []
    # Colours say good or bad only where something judges.
    base = [{"color": "green" if steps else "text", "value": None}]
    field: dict[str, t.Any] = {
        "unit": _UNITS[metrics[0].unit],
        "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps or base},
    }
    if all(metric.unit != "ratio" for metric in metrics):
        field["min"] = 0
    if kind == "timeseries":
        stack = {"values": "normal", "percent": "percent"}.get(str(described.get("stack")), "none")
        field["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 10 if stack == "none" else 60,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": stack},
            "thresholdsStyle": {"mode": "line" if steps else "off"},
        }
    return field


def _options(kind: str) -> dict[str, t.Any]:
    if kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    reduced: dict[str, t.Any] = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    more: dict[str, dict[str, t.Any]] = {
        "stat": {"colorMode": "value", "graphMode": "area", "textMode": "auto"},
        "gauge": {"showThresholdLabels": False, "showThresholdMarkers": True},
        "bargauge": {"displayMode": "basic", "showUnfilled": True},
    }
    return reduced | {"orientation": "auto"} | more[kind]


def plan_table(stages: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """The stages as a Markdown table: when each begins, its name, its weight, its owner."""
    lines = ["| from | stage | traffic | owner |", "|---|---|---|---|"]
    for stage in stages:
        starts = format_plan(60 * parse_number(stage["starts"])) if stage.get("starts") is not None else ""
        name = stage.get("title") or stage.get("name") or ""
        weight = f"{stage['weight']} %" if stage.get("weight") else "–"
        cells = (starts, name, weight, stage.get("owner") or "")
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)
