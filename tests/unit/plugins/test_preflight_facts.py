"""The variables of a release as the inventory of this repository has them, and what is said when one is wrong."""

from __future__ import annotations

import copy
import functools
import operator
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.preflight_facts import needs, read_facts

NOW = 1_795_168_800.0  # 2026-11-20T10:00:00Z
INVENTORY = Path(__file__).resolve().parents[3] / "inventories" / "claude_enhancer" / "group_vars" / "all"
WRITTEN: dict[str, Any] = {
    variable: value
    for name in ("release.yml", "metrics.yml", "stages.yml")
    for variable, value in yaml.safe_load((INVENTORY / name).read_text()).items()
}


def filled(value: Any) -> Any:
    """What Ansible's templates would give, where a value is another variable."""
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    named = re.fullmatch(r"\{\{ ([\w.]+(?: \+ [\w.]+)*) \}\}", value) if isinstance(value, str) else None
    if not named:
        return value
    return functools.reduce(operator.add, [filled(looked_up(name)) for name in named.group(1).split(" + ")])


def looked_up(name: str) -> Any:
    variable, _dot, key = name.partition(".")
    return WRITTEN[variable][key] if key else WRITTEN[variable]


GOOD: dict[str, Any] = filled(WRITTEN)


def problems(**changed: Any) -> list[str]:
    return read_facts({**copy.deepcopy(GOOD), **changed}, NOW).problems


def stages(name: str, **changed: Any) -> list[dict[str, Any]]:
    return [{**stage, **changed} if stage["name"] == name else stage for stage in GOOD["release_stages"]]


def test_the_inventory_of_this_repository_is_sound() -> None:
    read = read_facts(GOOD, NOW)
    assert read.problems == []
    assert read.timeline["stages"][0]["name"] == "environment"
    names = {metric.name for metric, _window in needs(GOOD)}
    assert {"error_rate", "stable_p95_latency", "node_cpu_use"} <= names


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"release_traffic": {**GOOD["release_traffic"], "provider": "istyo"}},
            "release_traffic.provider: 'istyo' isn't known; choose one of: gateway_api, haproxy, istio",
        ),
        (
            {"release_stages": stages("canary_start", weight=101)},
            "release_stages: stage canary_start: weight: 101 is not a whole number from 0 to 100",
        ),
        (
            {"release_rollback_criteria": [{"metric": "stable_error_rate", "below": "low"}]},
            "release_rollback_criteria: criterion stable_error_rate: below: 'low' is not a number",
        ),
        (
            {"release_metrics": {**GOOD["release_metrics"], "more": {"kind": "sum"}}},
            "release_metrics: metric more: kind: 'sum' is not one of ratio, quantile, gauge, increase (known: gauge, "
            "increase, quantile, ratio)",
        ),
        ({"release_namespace": ""}, "release_namespace: '' is not a name in Kubernetes' sense: give small letters"),
        ({"release_time_scale": "fast"}, "release_time_scale: 'fast' is not a number: give seconds of wall time"),
        ({"release_wait_timeout": "long"}, "release_wait_timeout: 'long' is not a whole number above 0"),
        ({"release_false_advance": 1}, "release_false_advance: 1 is not a probability between 0 and 1"),
        ({"release_watch_interval": 0}, "release_watch_interval: 0 is not a number of seconds above 0"),
        (
            {"release_canary_replicas": {"start": 0, "expand": 4}},
            "release_canary_replicas.start: 0 is not a whole number above 0",
        ),
        ({"release_on_interrupt": "stay"}, "release_on_interrupt: 'stay' is not one of roll_back, hold"),
        ({"release_stable": "5.0"}, "release_stable: '5.0' is not a dictionary: give at least version and deployment"),
        ({"release_candidate": None}, "release_candidate: None is not a dictionary: give canary_deployment"),
        (
            {"release_candidate": {**GOOD["release_candidate"], "green_deployment": ""}},
            "release_candidate.green_deployment: is missing or empty: give it in the inventory",
        ),
        (
            {"release_candidate": {**GOOD["release_candidate"], "version": 5.1}},
            "release_candidate.version: 5.1 is a number: put it in quotes, '5.1'",
        ),
        ({"release_edge": {**GOOD["release_edge"], "path": ""}}, "release_edge.path: is missing or empty"),
        ({"release_prometheus": {}}, "release_prometheus.url: None is not an address: give one such as http://"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_one_mistake_is_one_sentence_with_the_variable_and_its_value(changed: dict[str, Any], said: str) -> None:
    (problem,) = problems(**changed)
    assert problem.startswith(said)


def test_two_stages_that_changed_places_are_told_once() -> None:
    swapped = copy.deepcopy(GOOD["release_stages"])
    swapped[4], swapped[5] = swapped[5], swapped[4]
    (problem,) = problems(release_stages=swapped)
    assert problem.startswith("release_stages: stage canary_start: starts: T+0 is before stage canary_expand (T+30)")


def test_what_is_wrong_is_told_all_at_once_and_the_rest_counts_as_sound() -> None:
    changed = {"release_stages": stages("canary_start", weight=101, criteria=[{"metric": "error_rate", "below": "x"}])}
    read = read_facts({**GOOD, **changed, "release_on_interrupt": "stay", "release_edge": {}}, NOW)
    assert len(read.problems) == 9, read.problems
    assert not read.sound("release_stages")
    assert not read.sound("release_edge")
    assert read.sound("release_prometheus")
    assert read.timeline == {}
    assert "p95_latency" in {metric.name for metric, _window in needs({**GOOD, **changed})}
