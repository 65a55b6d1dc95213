"""The plan of a release: every mistake told at once, and the stages laid on the clock."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.plan import read_plan

NOW = 1_795_168_800.0  # 2026-11-20T10:00:00Z

GOOD: dict[str, Any] = {
    "application": "shop",
    "namespace": "shop",
    "stable": {"version": "5.0", "deployment": "shop-blue"},
    "candidate": {"version": "5.1", "deployment": "shop-canary"},
    "traffic": {
        "provider": "istio",
        "name": "shop",
        "stable": {"host": "shop", "subset": "stable"},
        "candidate": {"host": "shop", "subset": "candidate"},
    },
    "metrics": {"agents": {"kind": "gauge", "query": "agents_loaded"}},
    "stages": [
        {"name": "environment", "starts": -120, "minutes": 30, "owner": "SRE"},
        {
            "name": "canary",
            "starts": 0,
            "minutes": 30,
            "weight": 5,
            "criteria": [{"metric": "agents", "equals": 61}],
            "steps": [{"name": "deploy", "minutes": 10}, {"name": "route", "minutes": 5}],
            "observe_minutes": 10,
            "decision": {"owner": "lead", "otherwise": "roll back"},
        },
        {"name": "switch", "starts": 30, "minutes": 15, "weight": 100},
    ],
}


def problems(**changes: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_plan({**GOOD, **changes}, NOW)
    found: list[str] = caught.value.details["problems"]
    assert all(problem in caught.value.message for problem in found)
    return found


def stage_problems(**changes: Any) -> list[str]:
    """What is wrong when the stage ``canary`` is changed like this."""
    stages = copy.deepcopy(GOOD["stages"])
    stages[1].update(changes)
    return problems(stages=stages)


def test_the_earliest_start_is_now_and_the_clock_is_scaled() -> None:
    plan = read_plan({**GOOD, "time_scale": 0.01}, NOW)
    assert plan["release_id"] == "5.1-20261120T100000Z"
    assert plan["planned_start"] == NOW
    assert plan["t_zero"] == NOW + 120 * 60 * 0.01
    canary = plan["stages"][1]
    assert canary["planned_start"] == plan["t_zero"]
    assert (canary["plan_start"], canary["plan_end"]) == ("T+0", "T+30")
    assert canary["seconds"] == pytest.approx(18)
    assert canary["observe_seconds"] == pytest.approx(6)
    assert [step["seconds"] for step in canary["steps"]] == pytest.approx([6, 3])
    assert plan["seconds"] == pytest.approx((120 + 45) * 60 * 0.01)


def test_a_given_start_is_t() -> None:
    plan = read_plan({**GOOD, "start_at": "2026-11-20T13:00:00+01:00"}, NOW)
    assert plan["t_zero_iso"] == "2026-11-20T12:00:00Z"
    assert plan["planned_start_iso"] == "2026-11-20T10:00:00Z"
    assert plan["planned_end_iso"] == "2026-11-20T12:45:00Z"
    assert plan["release_id"] == "5.1-20261120T100000Z"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), min_size=1, max_size=6),
    st.integers(-2000, 0),
    st.floats(0.001, 10),
)
def test_any_gaps_and_lengths_keep_order_and_proportion(parts: list[tuple[int, int]], first: int, scale: float) -> None:
    stages: list[dict[str, Any]] = []
    at = first
    for number, (gap, minutes) in enumerate(parts):
        stages.append({"name": f"s{number}", "starts": at + gap, "minutes": minutes})
        at += gap + minutes
    plan = read_plan({**GOOD, "stages": stages, "time_scale": scale}, NOW)
    laid = plan["stages"]
    assert laid[0]["planned_start"] >= NOW - 1e-3
    for entry, stage in zip(laid, stages, strict=True):
        assert entry["planned_end"] - entry["planned_start"] == pytest.approx(entry["seconds"], abs=1e-3)
        assert entry["seconds"] == pytest.approx(stage["minutes"] * 60 * scale)
    for before, after in itertools.pairwise(laid):
        assert before["planned_end"] <= after["planned_start"] + 1e-3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"application": "Shop!"}, "application: 'Shop!' is not a name"),
        ({"candidate": {"version": "5.0", "deployment": "x"}}, "version: '5.0' is stable's version too"),
        ({"candidate": {"version": 5.1, "deployment": "x"}}, "version: 5.1 is a number: put it in quotes, '5.1'"),
        ({"candidate": {"version": "5.1"}}, "candidate: deployment: is missing"),
        (
            {"traffic": {**GOOD["traffic"], "provider": "isto"}},
            "traffic: provider: 'isto' isn't known",
        ),
        ({"traffic": {**GOOD["traffic"], "name": ""}}, "traffic: name: is missing"),
        ({"traffic": {**GOOD["traffic"], "nmae": "x"}}, "unknown option 'nmae' (did you mean name?)"),
        (
            {"traffic": {**GOOD["traffic"], "candidate": {"subset": "c"}}},
            "traffic: candidate.host: is missing",
        ),
        ({"entry_service": {"name": "s", "stable_selector": {"a": "b"}}}, "candidate_selector: None selects nothing"),
        ({"prometheus": {"url": "localhost:9090"}}, "prometheus: url: 'localhost:9090' is not an address"),
        ({"time_scale": 0}, "time_scale: 0 is not above 0"),
        ({"time_scale": "fast"}, "time_scale: 'fast' is not a number"),
        ({"start_at": "tomorrow"}, "start_at: 'tomorrow' is not an ISO 8601 time"),
        ({"start_at": "2026-11-20T10:00:00"}, "start_at: '2026-11-20T10:00:00' has no time zone"),
        ({"release_id": "a/b"}, "release_id: 'a/b' can't name an object"),
        ({"stages": []}, "stages: [] is not a list of stages"),
        ({"stages": ["canary"]}, "stage 1: 'canary' is not a dictionary"),
    ],
)
def test_each_mistake_is_named_with_option_and_value(changes: dict[str, Any], said: str) -> None:
    found = problems(**changes)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wieght": 5}, "stage canary: unknown option 'wieght' (did you mean weight?)"),
        ({"name": "environment"}, "stage environment: name: is used 2 times"),
        ({"starts": -130}, "stage canary: starts: T-130 is before stage environment (T-120)"),
        ({"starts": -100}, "stage canary: starts: T-100 is before stage environment ends (T-90)"),
        ({"weight": 101}, "stage canary: weight: 101 is not a whole number from 0 to 100"),
        ({"weight": "5"}, "stage canary: weight: '5' is not a whole number"),
        ({"minutes": 0, "steps": None, "observe_minutes": 0}, "stage canary: minutes: 0 is not above 0"),
        ({"minutes": "long"}, "stage canary: minutes: 'long' is not a number"),
        ({"observe_minutes": 31}, "stage canary: observe_minutes: 31 is not between 0 and the stage's 30 minutes"),
        ({"interval": 0}, "stage canary: interval: 0 is not above 0 seconds"),
        ({"steps": [{"name": "a", "minutes": 31}]}, "stage canary: steps: take 31 minutes, the stage has 30"),
        ({"decision": {"owner": "lead"}}, "stage canary, decision: otherwise: is missing"),
        ({"on_interrupt": "fail"}, "stage canary: on_interrupt: 'fail' is not one of roll_back, hold"),
        ({"candidate_replicas": -1}, "stage canary: candidate_replicas: -1 is not a whole number"),
        ({"criteria": [{"metric": "agents", "above": "many"}]}, "'many' is not a number"),
        ({"triggers": [{"metric": "agnets", "above": 1}]}, "'agnets' is not in the catalogue (did you mean agents?)"),
    ],
)
def test_each_mistake_in_a_stage_is_named(changes: dict[str, Any], said: str) -> None:
    found = [problem for problem in stage_problems(**changes) if said in problem]
    assert found, stage_problems(**changes)


def test_weight_that_falls_is_refused() -> None:
    stages = copy.deepcopy(GOOD["stages"])
    stages[2]["weight"] = 4
    assert problems(stages=stages) == [
        "stage switch: weight: 4 is below the 5 of stage canary: weight only grows during a release"
    ]


def test_all_mistakes_are_told_at_once() -> None:
    stages = copy.deepcopy(GOOD["stages"])
    stages[1].update(weight=101, wieght=3, interval="x")
    found = problems(stages=stages, time_scale=-1, prometheus={"url": "x"})
    assert len(found) == 5


def test_a_metric_that_is_wrong_is_told_once() -> None:
    metrics = {"agents": {"kind": "guage", "query": "x"}}
    found = problems(metrics=metrics)
    assert len([problem for problem in found if "'guage'" in problem]) == 1
