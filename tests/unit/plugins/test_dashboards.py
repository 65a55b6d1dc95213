"""Dashboards in a few words: which panels they become."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.filter.dashboard import FilterModule
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.dashboards import dashboard
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.grafana import COLUMNS, plan_table
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.thresholds import steps_of
from tests.unit.plugins.inventory_values import inventory, versions
from tests.unit.plugins.promtool import check_expressions, needs_promtool

VERSIONS = {"stable": "5.0", "candidate": "5.1"}
METRICS: dict[str, t.Any] = {
    "errors": {
        "kind": "ratio",
        "window": "1m",
        "description": "failed of all",
        "bad": 'r_total{v="$candidate",status="500"}',
        "total": 'r_total{v="$candidate"}',
    },
    "p95": {"kind": "quantile", "quantile": 0.95, "window": "1m", "buckets": 'd_bucket{v="$candidate"}'},
    "p99": {"kind": "quantile", "quantile": 0.99, "window": "1m", "buckets": 'd_bucket{v="$candidate"}'},
    "agents": {"kind": "gauge", "query": 'min(agents{v="$candidate"})'},
    "machines": {"kind": "gauge", "query": "load"},
    "factor": {"kind": "gauge", "query": "factor", "unit": "ratio"},
}
STAGES: list[dict[str, t.Any]] = [
    {"name": "prepare", "starts": -15, "weight": 0, "owner": "a | b"},
    {
        "name": "start",
        "title": "1 start",
        "starts": 0,
        "weight": 5,
        "owner": "SRE",
        "criteria": [{"metric": "errors", "below": 0.002}, {"metric": "p95", "below": 0.2}],
        "triggers": [{"metric": "errors", "above": 0.01}, {"metric": "errors", "compared_with": "stable", "above": 2}],
    },
    {
        "name": "expand",
        "starts": 30,
        "weight": 20,
        "criteria": [{"metric": "errors", "below": 0.001}, {"metric": "agents", "at_least": 61}],
        "triggers": [{"metric": "errors", "above": 0.005}],
    },
]


def described(*panels: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
    rows = [{"title": "R", "panels": list(panels)}]
    return {"title": "T", "uid": "t-1", "rows": rows, **options}


def panels_of(*panels: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return dashboard(described(*panels), METRICS, VERSIONS, STAGES)["panels"][1:]


def panel(**options: t.Any) -> dict[str, t.Any]:
    return panels_of({"title": "P", "metrics": ["errors"], **options})[0]


def problems(description: t.Any, **options: t.Any) -> list[str]:
    options = {"metrics": METRICS, "versions": VERSIONS, "stages": STAGES, **options}
    with pytest.raises(InputError) as caught:
        dashboard(description, **options)
    return caught.value.details["problems"]


# ---- what it becomes


def test_a_dashboard_can_be_imported_anywhere() -> None:
    made = dashboard(
        described({"title": "P", "metrics": ["p95"]}, refresh="10s", since="1h", tags=["a"]), METRICS, VERSIONS
    )
    assert (made["uid"], made["title"], made["refresh"], made["tags"]) == ("t-1", "T", "10s", ["a"])
    assert made["time"] == {"from": "now-3600s", "to": "now"}
    assert made["id"] is None
    assert made["schemaVersion"] == 38
    variable = made["templating"]["list"][0]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    drawn = made["panels"][1]
    for one in (drawn, *drawn["targets"]):
        assert one["datasource"] == {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    assert json.loads(json.dumps(made)) == made


def test_a_panel_asks_for_a_metric_as_the_catalogue_has_it() -> None:
    made = panel(sides=["stable", "candidate"], window="5m")
    assert [(one["refId"], one["legendFormat"]) for one in made["targets"]] == [
        ("A", "errors stable 5.0"), ("B", "errors candidate 5.1"),
    ]  # fmt: skip
    assert made["targets"][0]["expr"] == (
        'sum(rate(r_total{v="5.0",status="500"}[300s])) / (sum(rate(r_total{v="5.0"}[300s])) > 0)'
    )
    assert made["description"] == "errors: failed of all"
    assert panel(metrics=["machines"], by=["instance"])["targets"][0]["legendFormat"] == "machines {{instance}}"


@pytest.mark.parametrize(
    ("metric", "unit", "least"),
    [("errors", "percentunit", 0), ("p95", "s", 0), ("agents", "short", 0), ("factor", "none", None)],
)
def test_the_unit_is_that_of_the_metric(metric: str, unit: str, least: int | None) -> None:
    defaults = panel(metrics=[metric])["fieldConfig"]["defaults"]
    assert (defaults["unit"], defaults.get("min")) == (unit, least)


def test_the_colours_are_the_strictest_bounds_of_the_stages() -> None:
    assert panel()["fieldConfig"]["defaults"]["thresholds"]["steps"] == [
        {"color": "green", "value": None}, {"color": "orange", "value": 0.001}, {"color": "red", "value": 0.005},
    ]  # fmt: skip
    assert panel()["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"] == {"mode": "line"}
    agents = panel(metrics=["agents"], type="stat")["fieldConfig"]["defaults"]
    assert agents["thresholds"]["steps"] == [{"color": "orange", "value": None}, {"color": "green", "value": 61}]
    assert agents["color"] == {"mode": "thresholds"}


def test_only_a_metric_that_is_judged_has_colours() -> None:
    for options in ({"metrics": ["machines"]}, {"thresholds": False}, {"metrics": ["p95", "p99"]}):
        defaults = panel(**options)["fieldConfig"]["defaults"]
        assert defaults["thresholds"]["steps"] == [{"color": "text", "value": None}]
        assert defaults["custom"]["thresholdsStyle"] == {"mode": "off"}
    chosen = panel(metrics=["p95", "p99"], thresholds="p95")["fieldConfig"]["defaults"]["thresholds"]
    assert chosen["steps"][1] == {"color": "orange", "value": 0.2}


@pytest.mark.parametrize(
    ("criteria", "triggers", "expected"),
    [
        ([], [("above", 5)], ["green", (5, "red")]),
        ([("at_most", 3)], [], ["green", (3, "orange")]),
        ([("below", 5)], [("above", 5)], ["green", (5, "red")]),
        ([("above", 9)], [("below", 5)], ["red", (5, "orange"), (9, "green")]),
        ([("at_least", 5)], [("below", 5)], ["red", (5, "green")]),
        ([], [("at_most", 5), ("below", 7)], ["red", (7, "green")]),
        ([("equals", 5)], [], []),
        # A band has no one direction.
        ([("below", 9), ("above", 3)], [], []),
        ([], [], []),
    ],
)
def test_steps_go_with_the_direction_of_the_bounds(
    criteria: list[tuple[str, float]], triggers: list[tuple[str, float]], expected: list[t.Any]
) -> None:
    read = read_conditions(
        METRICS,
        [{"metric": "agents", operator: bound} for operator, bound in criteria],
        [{"metric": "agents", operator: bound} for operator, bound in triggers],
        versions=VERSIONS,
    )
    steps = [
        step["color"] if step["value"] is None else (step["value"], step["color"])
        for step in steps_of("agents", [read])
    ]
    assert steps == expected


def test_advice_and_multiples_give_no_colour() -> None:
    read = read_conditions(
        METRICS,
        [{"metric": "errors", "below": 0.1, "advisory": True}],
        [{"metric": "errors", "compared_with": "stable", "above": 2}],
        versions=VERSIONS,
    )
    assert steps_of("errors", [read]) == []


def test_the_plan_is_a_table_of_the_stages() -> None:
    made = panels_of({"title": "Plan", "type": "plan"})[0]
    assert made["type"] == "text"
    assert made["options"] == {"mode": "markdown", "content": plan_table(STAGES)}
    assert plan_table(STAGES).splitlines()[2:] == [
        "| T-15 | prepare | – | a \\| b |",
        "| T+0 | 1 start | 5 % | SRE |",
        "| T+30 | expand | 20 % |  |",
    ]


def test_types_and_stacks() -> None:
    assert panel(stack="percent")["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "percent"
    assert panel(stack="values")["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    for kind in ("stat", "gauge", "bargauge"):
        made = panel(type=kind)
        assert made["type"] == kind
        assert made["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
        assert "custom" not in made["fieldConfig"]["defaults"]


def test_many_queries_have_names_of_their_own() -> None:
    made = panel(metrics=["errors"] * 30)
    assert len({target["refId"] for target in made["targets"]}) == 30


@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.lists(st.one_of(st.none(), st.integers(1, COLUMNS)), min_size=1, max_size=30)),
        min_size=1,
        max_size=4,
    )
)
def test_panels_never_overlap_nor_leave_the_grid(rows: list[tuple[int, list[int | None]]]) -> None:
    description = {
        "title": "T",
        "uid": "t",
        "rows": [
            {
                "title": "R",
                "height": height,
                "panels": [
                    {"title": "P", "metrics": ["machines"]} | ({} if width is None else {"width": width})
                    for width in widths
                ],
            }
            for height, widths in rows
        ],
    }
    made = dashboard(description, METRICS, VERSIONS)["panels"]
    assert len({one["id"] for one in made}) == len(made)
    taken: set[tuple[int, int]] = set()
    for one in made:
        place = one["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert 0 <= place["x"] < place["x"] + place["w"] <= COLUMNS
        assert not cells & taken
        taken |= cells


# ---- what is wrong


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"metrics": ["erors"]}, "row R: panel P: metrics: 'erors' is not in the catalogue (did you mean errors?)"),
        ({"metrics": []}, "row R: panel P: metrics: is missing"),
        ({"metrics": "errors"}, "row R: panel P: metrics: 'errors' is not a list of names"),
        ({"metrics": ["p95", "errors"]}, "row R: panel P: metrics: p95 is in seconds, errors is in percent"),
        ({"title": None}, "row R: panel 1: title: is missing"),
        ({"title": 5}, "row R: panel 5: title: 5 is not a text"),
        ({"description": 5}, "row R: panel P: description: 5 is not a text"),
        ({"titel": "x"}, "row R: panel P: unknown option 'titel' (did you mean title?)"),
        (
            {"type": "timeserie"},
            "row R: panel P: type: 'timeserie' is not one of timeseries, stat, gauge, bargauge, plan",
        ),
        ({"type": "plan"}, "row R: panel P: metrics: a plan draws no metrics"),
        ({"width": 25}, "row R: panel P: width: 25 is not a whole number from 1 to 24"),
        ({"width": True}, "row R: panel P: width: True is not a whole number"),
        ({"window": "x"}, "row R: panel P: window: 'x' is not a duration"),
        ({"stack": "high"}, "row R: panel P: stack: 'high': it is values or percent, of a timeseries"),
        ({"stack": "percent", "type": "stat"}, "row R: panel P: stack: 'percent': it is values or percent, of a"),
        ({"by": "pod"}, "row R: panel P: by: 'pod' is not a list"),
        ({"by": ["a-b"]}, "row R: panel P: by: 'a-b' is not the name of a label"),
        ({"sides": ["canary"]}, "row R: panel P: sides: 'canary' is not one of stable, candidate"),
        ({"metrics": ["machines"], "sides": ["stable", "candidate"]}, "row R: panel P: sides: machines names no side"),
        ({"thresholds": "p95"}, "row R: panel P: thresholds: 'p95' is neither false nor one of the panel's metrics"),
        ({"thresholds": True}, "row R: panel P: thresholds: True is neither false nor one of the panel's metrics"),
    ],
)
def test_a_mistake_in_a_panel_is_named(changed: dict[str, t.Any], expected: str) -> None:
    found = problems(described({"title": "P", "metrics": ["errors"], **changed}))
    assert len(found) == 1, found
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("changed", "options", "expected"),
    [
        ({"title": ""}, {}, "dashboard: title: '' is not a text"),
        ({"uid": None}, {}, "dashboard: uid: is missing"),
        ({"uid": "a b"}, {}, "dashboard: uid: 'a b' is not up to 40 letters"),
        ({"uid": "a" * 41}, {}, "dashboard: uid: 'aaaa"),
        ({"refresh": "often"}, {}, "dashboard: refresh: 'often' is not a duration"),
        ({"refresh": 0}, {}, "dashboard: refresh: must be 1 s or longer"),
        ({"since": None}, {}, "dashboard: since: None is not a duration"),
        ({"tags": "a"}, {}, "dashboard: tags: 'a' is not a list"),
        ({"row": []}, {}, "dashboard: unknown option 'row' (did you mean rows?)"),
        ({"rows": None}, {}, "dashboard: rows: is missing"),
        ({"rows": "x"}, {}, "dashboard: rows: must be a list, not str"),
        ({"rows": ["x"]}, {}, "dashboard: rows: 1 must be a dictionary, not str"),
        ({"rows": [{"title": "A", "panels": []}]}, {}, "row A: panels: is missing"),
        ({"rows": [{"panels": [{"title": "P", "metrics": ["p95"]}]}]}, {}, "row 1: title: is missing"),
        ({}, {"stages": "x"}, "stages: stages: must be a list, not str"),
        ({}, {"stages": [{"name": "s", "starts": "noon"}]}, "stage s: starts: 'noon' is not a number"),
        (
            {},
            {"stages": [{"name": "s", "criteria": [{"metric": "x", "below": 1}]}]},
            "stage s: criterion x: metric: 'x' is not in the catalogue",
        ),
        ({}, {"versions": {"candidate": 5.1}}, "versions: candidate: 5.1 is not a text"),
    ],
)  # fmt: skip
def test_a_mistake_around_the_panels_is_named(
    changed: dict[str, t.Any], options: dict[str, t.Any], expected: str
) -> None:
    found = problems(described({"title": "P", "metrics": ["errors"]}, **changed), **options)
    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_a_plan_needs_stages() -> None:
    assert problems(described({"title": "P", "type": "plan"}), stages=[]) == [
        "row R: panel P: type: plan needs the stages"
    ]


def test_a_mistake_in_the_catalogue_is_told_once() -> None:
    wrong = {**copy.deepcopy(METRICS), "bad": {"kind": "gauge"}}
    found = problems("text", metrics=wrong)
    assert found == [
        "metric bad: query: is missing",
        "dashboard: must be a dictionary, not str",
        "dashboard: rows: is missing",
    ]


def test_the_filter_tells_mistakes_as_ansible_does() -> None:
    made = FilterModule().filters()["dashboard"]
    assert made(described({"title": "P", "type": "plan"}), METRICS, VERSIONS, STAGES)["uid"] == "t-1"
    with pytest.raises(AnsibleFilterError, match=r"^dashboard: dashboard: uid: is missing"):
        made(described({"title": "P", "metrics": ["p95"]}, uid=None), METRICS, VERSIONS)


# ---- the inventory


def production() -> dict[str, dict[str, t.Any]]:
    values = inventory()
    return {
        name: dashboard(one, values["release_metrics"], versions(), values["release_stages"])
        for name, one in values["release_dashboards"].items()
    }


def test_the_inventory_shows_what_the_mission_asks_for() -> None:
    made = production()
    assert [one["title"] for one in made.values()] == ["Release of claude-enhancer 5.1", "claude-enhancer: emergency"]
    titles = {name: [one["title"] for one in each["panels"] if one["type"] == "row"] for name, each in made.items()}
    assert titles == {
        "release": ["Stage and traffic", "Requests", "Agents", "Workflows", "Resources"],
        "emergency": ["Service health", "Infrastructure", "Application", "Release status"],
    }
    assert {each["refresh"] for each in made.values()} == {"10s"}
    errors = next(one for one in made["release"]["panels"] if one["title"] == "Error rate")
    assert [step["value"] for step in errors["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [None, 0.0005, 0.005]


def test_every_metric_of_a_stage_is_on_the_release_dashboard() -> None:
    values = inventory()
    judged = {
        one["metric"]
        for stage in values["release_stages"]
        if stage["weight"]
        for one in [*stage.get("criteria", []), *stage.get("triggers", [])]
    }
    shown = {
        name
        for row in values["release_dashboards"]["release"]["rows"]
        for one in row["panels"]
        for name in one.get("metrics", [])
    }
    assert judged - shown == set()


@needs_promtool
def test_prometheus_takes_every_query_of_the_inventory(tmp_path: Path) -> None:
    queries = [
        target["expr"] for each in production().values() for one in each["panels"] for target in one.get("targets", [])
    ]
    assert len(queries) > 60
    assert f"SUCCESS: {len(queries)} rules found" in check_expressions(tmp_path, queries)
