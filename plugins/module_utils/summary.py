# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release as a table of its stages and one sentence on how it ended. Pure: journal data in, lines out."""

from __future__ import annotations

import textwrap
import typing as t
from dataclasses import dataclass

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_duration, format_plan
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import (
    DONE,
    IN_PROGRESS,
    ROLLED_BACK,
    unix,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_value

NONE = "–"
WIDTH = 110
_NAME_WIDTH = 20
_HEADINGS = ("stage", "planned", "actual", "time", "weight", "share", "errors", "P95", "agents", "verdict")
_RIGHT = ("time", "weight", "errors", "P95", "agents")

Json = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Summary:
    """``lines`` to print, at most 110 columns each; ``stages`` the same as data; ``outcome`` is
    what the last of them say."""

    lines: list[str]
    stages: list[dict[str, t.Any]]
    outcome: str
    good: bool


def summarise(journal: Json, notes: t.Iterable[str] = (), where: str = "") -> Summary:
    """The summary of ``journal`` (as ``release_journal`` returns it). ``notes`` are lines to put before the outcome,
    ``where`` tells where the record is. What a stage did not measure shows as a dash.
    """
    stages = _stages(journal)
    versions = journal.get("versions", {})
    title = (
        f"Release {journal['release_id']}   {journal.get('application', '')}"
        f" {versions.get('stable', NONE)} → {versions.get('candidate', NONE)}"
    )
    outcome = _outcome(journal, stages)
    extra = [*notes, *([f"Record: {where}"] if where else [])]
    lines = [title, "", *table(stages), "", *(clipped(line) for line in extra), *textwrap.wrap(outcome, WIDTH)]
    return Summary(lines, stages, outcome, journal.get("state") == DONE)


# ---- stages as data ------------------------------------------------------------------------------------------------


def _stages(journal: Json) -> list[dict[str, t.Any]]:
    plan = journal.get("plan") or {}
    planned = {stage["name"]: stage for stage in plan.get("release_stages") or plan.get("stages") or []}
    begun = journal.get("stages") or {}
    names = [*(journal.get("order") or planned), *(name for name in begun if name not in planned)]
    scale = float(plan.get("release_time_scale") or plan.get("time_scale") or 1)
    zero = _t_zero(plan, planned, begun, scale)
    return [_stage(name, planned.get(name, {}), begun.get(name, {}), scale, zero) for name in dict.fromkeys(names)]


def _t_zero(plan: Json, planned: Json, begun: Json, scale: float) -> float | None:
    """Unix time of T: as planned, or such that the first begun stage began when it was planned to."""
    given = plan.get("release_t_zero") or plan.get("t_zero")
    if given is not None:
        return float(given)
    for name, stage in planned.items():
        start = stage.get("planned_start")
        if start is None and name in begun:
            start = unix(begun[name]["began"])
        if start is not None and stage.get("starts") is not None:
            return float(start) - float(stage["starts"]) * 60 * scale
    return None


def _stage(name: str, planned: Json, entry: Json, scale: float, zero: float | None) -> dict[str, t.Any]:
    result = entry.get("result") or {}
    began = unix(entry["began"]) if entry.get("began") else None
    ended = unix(entry["ended"]) if entry.get("ended") else None
    starts = planned.get("starts")
    on_plan = [None if zero is None or at is None else (at - zero) / scale for at in (began, ended)]
    return {
        "name": name,
        "title": planned.get("title") or name,
        "owner": planned.get("owner"),
        "state": entry.get("state", "not begun"),
        "planned_start": None if starts is None else starts * 60.0,
        "planned_end": None if starts is None else (starts + planned.get("minutes", 0)) * 60.0,
        "actual_start": on_plan[0],
        "actual_end": on_plan[1],
        "began": entry.get("began"),
        "ended": entry.get("ended"),
        "seconds": None if began is None or ended is None else ended - began,
        "weight": result.get("weight", planned.get("weight")),
        **_measured(result),
        "verdict": result.get("verdict") or _verdict_of(entry.get("state")),
    }


def _verdict_of(state: str | None) -> str | None:
    return {"begun": "begun", "interrupted": "interrupted", "ended": None, "failed": "fail", None: "not begun"}[state]


def _measured(result: Json) -> dict[str, t.Any]:
    """Numbers of the stage's result; shares are fractions."""
    return {
        **_share_of(result.get("share")),
        "error_rate": _value(result, "error_rate"),
        "p95": _value(result, "p95"),
        "agents": _agents_of(result.get("agents")),
    }


def _share_of(share: t.Any) -> dict[str, float | None]:
    """The share given as a fraction, as ``{share, low, high, requests}``, or as ``traffic_probe`` answers (percent)."""
    probe = share if isinstance(share, dict) else {"share": share}
    unit = 0.01 if "interval" in probe else 1.0
    low, high = probe.get("interval") or (probe.get("low"), probe.get("high"))
    found = {"share": _number(probe.get("share")), "share_low": _number(low), "share_high": _number(high)}
    asked = _number(probe.get("requests", probe.get("asked")))
    return {**{key: value if value is None else value * unit for key, value in found.items()}, "share_requests": asked}


def _agents_of(agents: t.Any) -> str | None:
    """``61/61``, given as text, as a number, or as ``{active, total}``; None where the active ones are not known."""
    if not isinstance(agents, dict):
        return None if agents in (None, "") else str(agents)
    active, total = _number(agents.get("active")), _number(agents.get("total"))
    if active is None:
        return None
    return f"{active:g}" if total is None else f"{active:g}/{total:g}"


def _value(result: Json, name: str) -> float | None:
    """A measurement given plainly, as ``{value: …}``, or among the stage's judgements."""
    given = result.get(name)
    if given is None:
        judgements = [entry for entry in result.get("judgements") or [] if isinstance(entry, dict)]
        given = next((entry.get("value") for entry in judgements if entry.get("metric") == name), None)
    return _number(given.get("value") if isinstance(given, dict) else given)


def _number(value: t.Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


# ---- as text -------------------------------------------------------------------------------------------------------


def table(stages: list[dict[str, t.Any]]) -> list[str]:
    """Aligned columns; the share's interval, then the ends of long names, give way where it would be too wide."""
    rows: list[str] = []
    for interval, name_width in ((True, _NAME_WIDTH), (False, _NAME_WIDTH), (False, 12), (False, 6)):
        rows = _aligned([_HEADINGS, *(_cells(stage, interval, name_width) for stage in stages)])
        if max(map(len, rows)) <= WIDTH:
            break
    return [clipped(row) for row in rows]


def _cells(stage: Json, interval: bool, name_width: int) -> tuple[str, ...]:
    name = str(stage["name"])
    return (
        name if len(name) <= name_width else name[: name_width - 1] + "…",
        _span(stage["planned_start"], stage["planned_end"]),
        _span(stage["actual_start"], stage["actual_end"]),
        NONE if stage["seconds"] is None else format_duration(stage["seconds"]),
        NONE if stage["weight"] is None else f"{stage['weight']:g} %",
        _share(stage, interval),
        _shown(stage["error_rate"], "percent"),
        _shown(stage["p95"], "seconds"),
        stage["agents"] or NONE,
        str(stage["verdict"] or NONE),
    )


def _span(start: float | None, end: float | None) -> str:
    if start is None:
        return NONE
    return f"{_minutes(start)} → {NONE if end is None else _minutes(end)}"


def _minutes(seconds: float) -> str:
    """The plan is told in minutes; seconds of a compressed clock mean nothing."""
    return format_plan(round(seconds / 60) * 60)


def _share(stage: Json, interval: bool) -> str:
    if stage["share"] is None:
        return NONE
    text = f"{100 * stage['share']:.1f} %"
    if interval and stage["share_low"] is not None and stage["share_high"] is not None:
        text += f" ({100 * stage['share_low']:.1f}–{100 * stage['share_high']:.1f})"
    return text


def _shown(value: float | None, unit: str) -> str:
    return NONE if value is None else format_value(value, unit)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return [
        "  ".join(
            cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
            for cell, width, heading in zip(row, widths, _HEADINGS, strict=True)
        ).rstrip()
        for row in rows
    ]


def clipped(line: str) -> str:
    """``line`` in at most :data:`WIDTH` columns."""
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _outcome(journal: Json, stages: list[dict[str, t.Any]]) -> str:
    state = journal.get("state")
    candidate, stable = (journal.get("versions", {}).get(side, NONE) for side in ("candidate", "stable"))
    took = _took(journal)
    if state == DONE:
        return f"DONE: {candidate} serves all traffic{took}."
    if state == ROLLED_BACK:
        return f"ROLLED BACK: {stable} serves all traffic{took}{_why(journal)}."
    if state != IN_PROGRESS:
        return f"ROLLING BACK to {stable}{_why(journal)}; run rollback.yml to finish it."
    standing = next((stage for stage in stages if stage["state"] in ("begun", "interrupted", "failed")), None)
    at = f" at stage {standing['name']} ({standing['state']})" if standing else ""
    return f"NOT FINISHED{at}: run deploy.yml to go on, or rollback.yml to take it back."


def _took(journal: Json) -> str:
    if not journal.get("ended") or not journal.get("started"):
        return ""
    return f" after {format_duration(unix(journal['ended']) - unix(journal['started']))}"


def _why(journal: Json) -> str:
    """The reason that closing the release was given, from its last change of state that has one."""
    changes = [event for event in journal.get("events") or [] if event.get("what") == "state_changed"]
    reasons = [str(event["data"]["reason"]) for event in changes if (event.get("data") or {}).get("reason")]
    return f"; reason: {reasons[-1]}" if reasons else ""
