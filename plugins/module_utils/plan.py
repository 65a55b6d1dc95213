# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a release: reading its description, all mistakes told at once, and laying it on the clock. Pure.

Plan time is in minutes from T, wall time in unix seconds; ``time_scale`` are seconds of wall time per second of plan.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_plan, parse_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Problems
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import parse_number
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import TRAFFIC_ARGUMENTS, option_problems

STAGE_KEYS = (
    "name",
    "title",
    "description",
    "starts",
    "minutes",
    "weight",
    "owner",
    "criteria",
    "triggers",
    "observe_minutes",
    "finish_minutes",
    "interval",
    "decision",
    "steps",
    "deployment",
    "candidate_replicas",
    "stable_replicas",
    "tolerance",
    "extend_minutes",
    "on_interrupt",
    "on_trigger",
    "on_no_evidence",
    "on_source_down",
    "checks",
)
DECISION_KEYS = ("owner", "otherwise", "question", "description", "mode")
STEP_KEYS = ("name", "minutes", "description")
SIDE_KEYS = ("version", "deployment", "selector", "image", "replicas", "service", "manifests")
DEFAULT_INTERVAL = 10.0
_MINUTE = 60.0
_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

Data = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage as read: ``starts`` and ``minutes`` in plan minutes, ``interval`` in wall seconds."""

    name: str
    starts: float
    minutes: float
    weight: float | None
    observe_minutes: float
    finish_minutes: float
    extend_minutes: float
    interval: float
    given: Data

    @property
    def ends(self) -> float:
        return self.starts + self.minutes


def read_plan(description: Data, now: float) -> dict[str, t.Any]:
    """The timeline of the release that ``description`` (the module's options) describes, if begun at ``now`` or at its
    ``start_at``. Raises InputError with every mistake, one sentence each, in ``problems``.
    """
    problems = Problems()
    _read_application(description, problems)
    versions = _read_sides(description, problems)
    _read_traffic(description.get("traffic"), problems)
    _read_entry_service(description.get("entry_service"), problems)
    _read_urls(description, problems)
    stages = _read_stages(description, versions, problems)
    scale = _read_scale(description.get("time_scale", 1), problems)
    first = stages[0].starts if stages else 0.0
    t_zero = _read_start(description.get("start_at"), first, scale, now, problems)
    _read_id(description.get("release_id"), problems)
    unique = list(dict.fromkeys(problems.found))
    if unique:
        raise InputError(_sentence(unique), problems=unique)
    return _timeline(description, versions, stages, scale, t_zero)


def _sentence(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems in the release's description: " + "; ".join(problems)


# ---- the parts of the description ----------------------------------------------------------------------------------


def _read_application(description: Data, problems: Problems) -> None:
    for option in ("application", "namespace"):
        value = description.get(option)
        if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", value or ""):
            problems.add(option, f"{value!r} is not a name in Kubernetes' sense: give small letters, digits and '-'")


def _read_sides(description: Data, problems: Problems) -> dict[str, str]:
    versions: dict[str, str] = {}
    for side in ("stable", "candidate"):
        given = description.get(side)
        if not isinstance(given, t.Mapping):
            problems.add(side, f"{given!r} is not a dictionary: give at least version and deployment")
            versions[side] = side  # queries that use it are not told as well
            continue
        problems.unknown(side, given, SIDE_KEYS)
        for key in ("version", "deployment"):
            if given.get(key) in (None, ""):
                problems.add(side, f"{key}: is missing: name the {key} of this side")
        version = given.get("version")
        if isinstance(version, (int, float)):
            problems.add(side, f"version: {version!r} is a number: put it in quotes, {str(version)!r}")
        versions[side] = side if version in (None, "") else str(version)
    if len(versions) == 2 and versions["stable"] == versions["candidate"]:
        problems.add(
            "candidate", f"version: {versions['candidate']!r} is stable's version too: name the one to release"
        )
    return versions


def _read_traffic(traffic: t.Any, problems: Problems) -> None:
    if not isinstance(traffic, t.Mapping):
        problems.add("traffic", f"{traffic!r} is not a dictionary: give provider, name, stable and candidate")
        return
    problems.unknown("traffic", traffic, tuple(TRAFFIC_ARGUMENTS))
    if not traffic.get("name"):
        problems.add("traffic", "name: is missing: name the object that carries the weight")
    for problem in option_problems(traffic):
        problems.add("traffic", problem)


def _read_entry_service(service: t.Any, problems: Problems) -> None:
    if service is None:
        return
    if not isinstance(service, t.Mapping) or not service.get("name"):
        problems.add("entry_service", f"{service!r} names no Service: give its name and the selectors of both sides")
        return
    problems.unknown("entry_service", service, ("name", "stable_selector", "candidate_selector", "port"))
    for key in ("stable_selector", "candidate_selector"):
        if not isinstance(service.get(key), t.Mapping) or not service[key]:
            problems.add("entry_service", f"{key}: {service.get(key)!r} selects nothing: give labels")
    if service.get("stable_selector") and service.get("stable_selector") == service.get("candidate_selector"):
        problems.add("entry_service", "candidate_selector: is the same as stable_selector: give each side its own")


def _read_urls(description: Data, problems: Problems) -> None:
    for option in ("prometheus", "edge"):
        given = description.get(option)
        if given is None:
            continue
        url = given.get("url") if isinstance(given, t.Mapping) else given
        if not re.match(r"https?://[^/\s]+", str(url)):
            problems.add(option, f"url: {url!r} is not an address: give one such as http://{option}:9090")


def _read_scale(value: t.Any, problems: Problems) -> float:
    try:
        scale = parse_number(value)
    except ValueError as error:
        problems.add("time_scale", f"{error}: give seconds of wall time per second of plan, 1 for real time")
        return 1.0
    if scale <= 0:
        problems.add("time_scale", f"{value!r} is not above 0: give 1 for real time, 0.01 for a hundred times faster")
        return 1.0
    return scale


def _read_start(value: t.Any, first: float, scale: float, now: float, problems: Problems) -> float:
    """Unix time of T; by default the earliest at which the first stage doesn't start in the past."""
    if value in (None, ""):
        return now - min(first, 0.0) * _MINUTE * scale
    try:
        moment = datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        problems.add("start_at", f"{value!r} is not an ISO 8601 time: give T such as 2026-11-20T10:00:00+01:00")
        return now
    if moment.tzinfo is None:
        problems.add("start_at", f"{value!r} has no time zone: add Z or an offset such as +01:00")
    return moment.timestamp()


def _read_id(value: t.Any, problems: Problems) -> None:
    if value not in (None, "") and not _ID.fullmatch(str(value)):
        problems.add("release_id", f"{value!r} can't name an object: use letters, digits, '.', '_' and '-'")


# ---- stages --------------------------------------------------------------------------------------------------------


def _read_stages(description: Data, versions: dict[str, str], problems: Problems) -> list[Stage]:
    given = description.get("stages")
    if not isinstance(given, list) or not given:
        problems.add("stages", f"{given!r} is not a list of stages: give at least one")
        return []
    stages = []
    for number, entry in enumerate(given, 1):
        if not isinstance(entry, t.Mapping):
            problems.add(f"stage {number}", f"{entry!r} is not a dictionary")
            continue
        stages.append(_read_stage(entry, number, problems))
        _read_stage_conditions(description.get("metrics"), entry, versions, problems)
    _check_names(stages, problems)
    _check_order(stages, problems)
    _check_weights(stages, problems)
    return stages


def _read_stage(entry: Data, number: int, problems: Problems) -> Stage:
    name = entry.get("name")
    where = f"stage {name or number}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.add(f"stage {number}", f"name: {name!r} is not a name: use small letters, digits, '-' and '_'")
    problems.unknown(where, entry, STAGE_KEYS)
    for key in ("starts", "minutes"):
        if entry.get(key) is None:
            problems.add(where, f"{key}: is missing: give minutes")
    minutes = _number(where, entry, "minutes", problems, 1.0)
    if minutes <= 0:
        problems.add(where, f"minutes: {entry['minutes']!r} is not above 0")
    stage = Stage(
        name=str(name or number),
        starts=_number(where, entry, "starts", problems, 0.0),
        minutes=minutes,
        weight=_read_weight(where, entry, problems),
        observe_minutes=_number(where, entry, "observe_minutes", problems, 0.0),
        finish_minutes=_number(where, entry, "finish_minutes", problems, 0.0),
        extend_minutes=_number(where, entry, "extend_minutes", problems, 0.0),
        interval=_read_interval(where, entry, problems),
        given=entry,
    )
    for key in ("observe_minutes", "finish_minutes"):
        if not 0 <= getattr(stage, key) <= max(minutes, 0.0):
            problems.add(where, f"{key}: {entry[key]!r} is not between 0 and the stage's {minutes:g} minutes")
    _read_steps(where, entry.get("steps"), minutes, problems)
    _read_decision(where, entry.get("decision"), problems)
    _read_choices(where, entry, problems)
    return stage


def _number(where: str, entry: Data, key: str, problems: Problems, default: float) -> float:
    if entry.get(key) is None:
        return default
    return float(problems.read(where, key, lambda: parse_number(entry[key]), default))


def _read_weight(where: str, entry: Data, problems: Problems) -> float | None:
    weight = entry.get("weight")
    if weight is None:
        return None
    if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= 100:
        problems.add(where, f"weight: {weight!r} is not a whole number from 0 to 100")
        return None
    return weight


def _read_interval(where: str, entry: Data, problems: Problems) -> float:
    if entry.get("interval") is None:
        return DEFAULT_INTERVAL
    interval = problems.read(where, "interval", lambda: parse_duration(entry["interval"]), DEFAULT_INTERVAL)
    if interval <= 0:
        problems.add(where, f"interval: {entry['interval']!r} is not above 0 seconds")
        return DEFAULT_INTERVAL
    return float(interval)


def _read_steps(where: str, steps: t.Any, minutes: float, problems: Problems) -> None:
    if steps is None:
        return
    if not isinstance(steps, list):
        problems.add(where, f"steps: {steps!r} is not a list of name and minutes")
        return
    total = 0.0
    for number, step in enumerate(steps, 1):
        if not isinstance(step, t.Mapping) or not step.get("name"):
            problems.add(where, f"step {number}: {step!r} has no name")
            continue
        here = f"{where}, step {step['name']}"
        problems.unknown(here, step, STEP_KEYS)
        length = _number(here, step, "minutes", problems, 0.0)
        if length < 0 or (length == 0 and step.get("minutes") is not None):
            problems.add(here, f"minutes: {step['minutes']!r} is not above 0")
        total += max(length, 0.0)
    if total > minutes > 0:
        problems.add(where, f"steps: take {total:g} minutes, the stage has {minutes:g}: shorten them or lengthen it")


def _read_decision(where: str, decision: t.Any, problems: Problems) -> None:
    if decision is None:
        return
    if not isinstance(decision, t.Mapping):
        problems.add(where, f"decision: {decision!r} is not a dictionary: give owner and otherwise")
        return
    problems.unknown(f"{where}, decision", decision, DECISION_KEYS)
    for key in ("owner", "otherwise"):
        if not decision.get(key):
            problems.add(f"{where}, decision", f"{key}: is missing: every decision has an owner and an alternative")


_CHOICES = {
    "on_interrupt": ("roll_back", "hold"),
    "on_trigger": ("roll_back", "hold", "fail"),
    "on_no_evidence": ("roll_back", "hold", "fail"),
    "on_source_down": ("roll_back", "hold", "fail"),
}


def _read_choices(where: str, entry: Data, problems: Problems) -> None:
    for key, choices in _CHOICES.items():
        if entry.get(key) is not None and entry[key] not in choices:
            problems.add(where, f"{key}: {entry[key]!r} is not one of {', '.join(choices)}")
    for key in ("candidate_replicas", "stable_replicas"):
        value = entry.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            problems.add(where, f"{key}: {value!r} is not a whole number of 0 or more")


def _read_stage_conditions(metrics: t.Any, entry: Data, versions: dict[str, str], problems: Problems) -> None:
    try:
        read_conditions(
            metrics, entry.get("criteria"), entry.get("triggers"), versions=versions, stage=str(entry.get("name"))
        )
    except InputError as error:
        problems.found += error.details["problems"]


def _check_names(stages: list[Stage], problems: Problems) -> None:
    names = [stage.name for stage in stages]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        problems.add(f"stage {name}", f"name: is used {names.count(name)} times: give each stage a name of its own")


def _check_order(stages: list[Stage], problems: Problems) -> None:
    for before, after in itertools.pairwise(stages):
        where = f"stage {after.name}"
        if after.starts < before.starts:
            problems.add(
                where,
                f"starts: {_plan(after.starts)} is before stage {before.name} ({_plan(before.starts)}), which stands"
                " ahead of it: put the stages in the order of their starts",
            )
        elif after.starts < before.ends:
            problems.add(
                where,
                f"starts: {_plan(after.starts)} is before stage {before.name} ends ({_plan(before.ends)}):"
                " start it later or shorten the other",
            )


def _check_weights(stages: list[Stage], problems: Problems) -> None:
    # In the order of time: stages that stand out of order are told by _check_order.
    weighted = sorted((stage for stage in stages if stage.weight is not None), key=lambda stage: stage.starts)
    for before, after in itertools.pairwise(weighted):
        if t.cast(float, after.weight) < t.cast(float, before.weight):
            problems.add(
                f"stage {after.name}",
                f"weight: {after.weight} is below the {before.weight} of stage {before.name}:"
                " weight only grows during a release",
            )


def _plan(minutes: float) -> str:
    return format_plan(minutes * _MINUTE)


# ---- on the clock --------------------------------------------------------------------------------------------------


def _iso(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _timeline(
    description: Data, versions: dict[str, str], stages: list[Stage], scale: float, t_zero: float
) -> dict[str, t.Any]:
    start = t_zero + stages[0].starts * _MINUTE * scale
    end = t_zero + stages[-1].ends * _MINUTE * scale
    stamp = datetime.datetime.fromtimestamp(start, tz=datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return {
        "release_id": description.get("release_id") or f"{versions['candidate']}-{stamp}",
        "versions": versions,
        "time_scale": scale,
        "t_zero": t_zero,
        "t_zero_iso": _iso(t_zero),
        "planned_start": start,
        "planned_start_iso": _iso(start),
        "planned_end": end,
        "planned_end_iso": _iso(end),
        "seconds": end - start,
        "stages": [_on_the_clock(stage, scale, t_zero) for stage in stages],
    }


def _on_the_clock(stage: Stage, scale: float, t_zero: float) -> dict[str, t.Any]:
    start = t_zero + stage.starts * _MINUTE * scale
    end = t_zero + stage.ends * _MINUTE * scale
    steps = [
        {**step, "seconds": float(step.get("minutes") or 0) * _MINUTE * scale}
        for step in stage.given.get("steps") or []
    ]
    return {
        "title": stage.name.replace("_", " "),
        "owner": None,
        "criteria": [],
        "triggers": [],
        "decision": None,
        **stage.given,
        "starts": stage.starts,
        "minutes": stage.minutes,
        "weight": stage.weight,
        "observe_minutes": stage.observe_minutes,
        "interval": stage.interval,
        "steps": steps,
        "plan_start": _plan(stage.starts),
        "plan_end": _plan(stage.ends),
        "planned_start": start,
        "planned_start_iso": _iso(start),
        "planned_end": end,
        "planned_end_iso": _iso(end),
        "seconds": stage.minutes * _MINUTE * scale,
        "observe_seconds": stage.observe_minutes * _MINUTE * scale,
        "finish_seconds": stage.finish_minutes * _MINUTE * scale,
        "extend_seconds": stage.extend_minutes * _MINUTE * scale,
    }
