# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release's variables say, checked before anything is asked: every mistake, in the inventory's names. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric, Problems
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import parse_number
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.plan import read_plan

Facts = t.Mapping[str, t.Any]
"""Variable of the inventory, such as ``release_traffic``, to its value."""

_PLANNED = (
    "application",
    "namespace",
    "stable",
    "traffic",
    "entry_service",
    "prometheus",
    "edge",
    "metrics",
    "stages",
    "time_scale",
    "start_at",
)
# What the plan itself does not ask for, and a later task would miss in the middle of the release.
_KEYS = {
    "release_candidate": ("canary_deployment", "green_deployment"),
    "release_traffic": ("namespace",),
    "release_edge": ("host", "path", "version_header", "pod_header", "requests"),
    "release_agents": ("directory", "expected", "config_map"),
    "release_workflows": ("config_map", "data"),
    "release_canary_replicas": ("start", "expand"),
}
_SECONDS = ("release_watch_interval", "release_evidence_grace")
_PROBABILITIES = ("release_false_rollback", "release_false_advance")
_WHOLE = (
    "release_wait_timeout",
    "release_green_replicas",
    "release_canary_replicas.start",
    "release_canary_replicas.expand",
    "release_agents.expected",
    "release_edge.requests",
)
_SIDES = {"stable": "stable", "candidate": "candidate"}
_CHOICES = {"release_on_interrupt": ("roll_back", "hold")}


class Read(t.NamedTuple):
    """The timeline (empty where there are problems with it) and all problems, one sentence each."""

    timeline: dict[str, t.Any]
    problems: list[str]

    def sound(self, variable: str) -> bool:
        """Whether nothing is wrong with ``variable``, so that the world can be asked about it."""
        return not any(re.match(rf"{variable}\b", problem) for problem in self.problems)


def read_facts(facts: Facts, now: float) -> Read:
    """Check every variable of a release that may begin at ``now`` (unix time)."""
    problems = Problems()
    for variable, keys in _KEYS.items():
        _check_keys(variable, facts.get(variable), keys, problems)
    for option in _SECONDS:
        _check_number(option, facts.get(option), problems, whole=False)
    for option in _PROBABILITIES:
        _check_probability(option, facts.get(option), problems)
    for option in _WHOLE:
        _check_number(option, _value(facts, option), problems, whole=True)
    for variable, choices in _CHOICES.items():
        if facts.get(variable) not in choices:
            problems.add(variable, f"{facts.get(variable)!r} is not one of {', '.join(choices)}")
    timeline = _read_timeline(facts, now, problems)
    _check_rollback_criteria(facts, problems)
    return Read(timeline, list(dict.fromkeys(problems.found)))


def needs(facts: Facts) -> list[tuple[Metric, float]]:
    """Each metric with each window that a sound condition of the release asks for."""
    wanted = []
    for criteria, triggers in _groups(facts):
        try:
            conditions = read_conditions(facts["release_metrics"], criteria, triggers, versions=versions(facts))
        except InputError:
            continue  # told by read_facts
        wanted += [(condition.metric, condition.window) for condition in conditions.all]
    return wanted


def versions(facts: Facts) -> dict[str, str]:
    """Version on either side, as far as they are given."""
    sides = {side: facts.get(f"release_{side}") for side in ("stable", "candidate")}
    return {
        side: str(given["version"])
        for side, given in sides.items()
        if isinstance(given, t.Mapping) and given.get("version")
    }


def _groups(facts: Facts) -> t.Iterator[tuple[t.Any, t.Any]]:
    stages = facts.get("release_stages")
    for stage in stages if isinstance(stages, list) else []:
        if isinstance(stage, t.Mapping):
            yield stage.get("criteria"), stage.get("triggers")
    yield facts.get("release_rollback_criteria"), None


def _check_keys(variable: str, given: t.Any, keys: t.Iterable[str], problems: Problems) -> None:
    if not isinstance(given, t.Mapping):
        problems.add(variable, f"{given!r} is not a dictionary: give {', '.join(keys)}")
        return
    for key in keys:
        if given.get(key) in (None, ""):
            problems.add(f"{variable}.{key}", "is missing or empty: give it in the inventory")


def _value(facts: Facts, option: str) -> t.Any:
    variable, _dot, key = option.partition(".")
    given = facts.get(variable)
    return given.get(key) if key and isinstance(given, t.Mapping) else given


def _check_number(option: str, value: t.Any, problems: Problems, *, whole: bool) -> None:
    # A dictionary that lacks the key, or is none, was told already.
    if "." in option and (value in (None, "") or isinstance(value, (t.Mapping, list))):
        return
    what = "a whole number above 0" if whole else "a number of seconds above 0"
    try:
        number = parse_number(value)
    except ValueError:
        number = 0.0
    if number <= 0 or (whole and number != int(number)):
        problems.add(option, f"{value!r} is not {what}")


def _check_probability(option: str, value: t.Any, problems: Problems) -> None:
    try:
        probability = parse_number(value)
    except ValueError:
        probability = 0.0
    if not 0 < probability < 1:
        problems.add(option, f"{value!r} is not a probability between 0 and 1 (1 in 1000 is 0.001)")


def _read_timeline(facts: Facts, now: float, problems: Problems) -> dict[str, t.Any]:
    description = {option: facts.get(f"release_{option}") for option in _PLANNED}
    candidate = facts.get("release_candidate")
    if isinstance(candidate, t.Mapping):
        # Its two Deployments have names of their own, which were looked at above.
        description["candidate"] = {"version": candidate.get("version"), "deployment": "canary"}
    else:  # told above
        description["candidate"] = {"version": "candidate", "deployment": "canary"}
    try:
        return read_plan(description, now)
    except InputError as error:
        problems.found += [_as_inventory_says(problem) for problem in error.details["problems"]]
        return {}


def _check_rollback_criteria(facts: Facts, problems: Problems) -> None:
    variable = "release_rollback_criteria"
    given = facts.get(variable)
    try:
        # A version that is missing was told; queries that use it are not told as well.
        read_conditions(facts.get("release_metrics"), given, versions={**_SIDES, **versions(facts)})
    except InputError as error:
        for problem in error.details["problems"]:
            of_metrics = problem.startswith(("metric ", "metrics:"))
            problems.found.append(_as_inventory_says(problem) if of_metrics else f"{variable}: {problem}")


def _as_inventory_says(problem: str) -> str:
    """A problem in the words of ``release_plan`` with the variable that holds what it is about in front."""
    if problem.startswith("stage "):
        return f"release_stages: {problem}"
    if problem.startswith("metric "):
        return f"release_metrics: {problem}"
    return re.sub(r"^(\w+): (\w+): ", r"\1.\2: ", f"release_{problem}")
