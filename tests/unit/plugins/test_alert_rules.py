"""Alerts in the words of criteria: which rules they become, and what fires on which samples."""

from __future__ import annotations

import copy
import random
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.filter.alert_rules import FilterModule
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.alert_rules import alert_rules
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import (
    histogram_quantile,
    slow_share,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.promql import bucket_at
from tests.unit.plugins.inventory_values import inventory, versions
from tests.unit.plugins.promtool import Case, check, needs_promtool, run_cases

VERSIONS = {"stable": "5.0", "candidate": "5.1"}
REQUESTS = 'r_total{v="$candidate"}'
METRICS: dict[str, t.Any] = {
    "errors": {
        "kind": "ratio",
        "window": "1m",
        "description": "failed of all",
        "bad": 'r_total{v="$candidate",status="500"}',
        "total": REQUESTS,
    },
    "answered": {"kind": "ratio", "window": "1m", "good": 'r_total{v="$candidate",status="200"}', "total": REQUESTS},
    "edge_errors": {
        "kind": "ratio",
        "window": "1m",
        "bad": 'e_total{code="500"}',
        "total": "e_total",
        "bad_absent_is_zero": True,
    },
    "odd": {"kind": "ratio", "window": "1m", "bad": "bad_rate + 0", "total": "all_rate + 0"},
    "mixed": {"kind": "ratio", "window": "1m", "bad": "sum(increase(a[$window])) * 2", "total": "b"},
    "p95": {"kind": "quantile", "quantile": 0.95, "window": "1m", "buckets": 'd_bucket{v="$candidate"}'},
    "made_p95": {"kind": "quantile", "quantile": 0.95, "window": "1m", "buckets": "job:d:rate"},
    "agents": {"kind": "gauge", "query": 'max(agents{v="$candidate"})'},
    "crashes": {"kind": "increase", "window": "5m", "query": "crashes_total"},
    "calm": {"kind": "gauge", "query": "sum(calm)", "absent_is_zero": True},
}
GOOD = {"alert": "A", "metric": "errors", "above": 0.005, "severity": "P1"}


def rules(*alerts: dict[str, t.Any], **options: t.Any) -> list[dict[str, t.Any]]:
    made = alert_rules(list(alerts), METRICS, VERSIONS, **options)
    return [rule for group in made["groups"] for rule in group["rules"]]


def expr(**alert: t.Any) -> str:
    return rules({"alert": "A", "severity": "P1", **alert})[0]["expr"]


def problems(alerts: t.Any, **options: t.Any) -> list[str]:
    options = {"metrics": METRICS, "versions": VERSIONS, **options}
    with pytest.raises(InputError) as caught:
        alert_rules(alerts, **options)
    return caught.value.details["problems"]


# ---- what they become


def test_a_ratio_is_a_share_of_rates_over_one_window() -> None:
    assert rules({**GOOD, "for": "5m"}) == [
        {
            "alert": "A",
            "expr": 'sum(rate(r_total{v="5.1",status="500"}[60s])) / (sum(rate(r_total{v="5.1"}[60s])) > 0) > 0.005',
            "for": "300s",
            "labels": {"severity": "P1"},
            "annotations": {
                "summary": "errors > 0.5 %",
                "description": "failed of all: {{ $value | humanizePercentage }}, fires at > 0.5 %",
            },
        }
    ]


@pytest.mark.parametrize(
    ("alert", "expected"),
    [
        (
            {"metric": "answered", "below": "95%"},
            'sum(rate(r_total{v="5.1",status="200"}[60s])) / (sum(rate(r_total{v="5.1"}[60s])) > 0) < 0.95',
        ),
        (
            {"metric": "edge_errors", "above": 0.1},
            '(sum(rate(e_total{code="500"}[60s])) or vector(0)) / (sum(rate(e_total[60s])) > 0) > 0.1',
        ),
        ({"metric": "odd", "above": 0.1}, "(bad_rate + 0) / ((all_rate + 0) > 0) > 0.1"),
        ({"metric": "mixed", "above": 0.1}, "(sum(increase(a[60s])) * 2) / ((sum(increase(b[60s]))) > 0) > 0.1"),
        ({"metric": "agents", "at_least": 3}, '(max(agents{v="5.1"})) >= 3'),
        ({"metric": "agents", "equals": 0}, '(max(agents{v="5.1"})) == 0'),
        ({"metric": "agents", "at_most": 1}, '(max(agents{v="5.1"})) <= 1'),
        ({"metric": "crashes", "above": 2, "window": "10m"}, "(sum(increase(crashes_total[600s]))) > 2"),
        ({"metric": "made_p95", "above": "2s"}, "histogram_quantile(0.95, job:d:rate) > 2"),
    ],
)
def test_each_kind_has_its_expression(alert: dict[str, t.Any], expected: str) -> None:
    assert expr(**alert) == expected


def test_a_quantile_counts_the_slow_and_falls_back_on_the_histogram() -> None:
    counted = r'sum(rate(d_bucket{v="5.1",le=~"2(\\.0+)?"}[60s])) / (sum(rate(d_bucket{v="5.1",le="+Inf"}[60s])) > 0)'
    quantile = 'histogram_quantile(0.95, sum by (le) (rate(d_bucket{v="5.1"}[60s])))'
    assert expr(metric="p95", above="2s") == f"{counted} < 0.95 or {quantile} > 2"
    assert expr(metric="p95", at_most="2s") == f"{counted} >= 0.95 or {quantile} <= 2"


def test_few_requests_are_no_reason_to_wake_anyone() -> None:
    counted = 'sum(increase(r_total{v="5.1"}[60s])) >= 30'
    assert expr(metric="errors", above=0.1, min_requests=30).endswith(f" > 0.1) and {counted}")
    assert expr(metric="p95", above=2, min_requests="30").endswith(
        ') > 2) and sum(increase(d_bucket{v="5.1",le="+Inf"}[60s])) >= 30'
    )
    absent = rules({**GOOD, "min_requests": 30, "on_absent": "alert"})[1]
    assert absent["expr"].endswith(f" >= -Inf and {counted})")


def test_each_side_has_a_rule_of_its_own() -> None:
    stable, candidate = rules({**GOOD, "sides": ["stable", "candidate"], "labels": {"team": "sre", "tier": 1}})
    assert stable["expr"] == candidate["expr"].replace("5.1", "5.0")
    assert stable["labels"] == {
        "team": "sre", "tier": "1", "severity": "P1", "side": "stable", "version": "5.0",
    }  # fmt: skip
    assert candidate["labels"]["side"] == "candidate"
    assert stable["annotations"]["summary"] == "errors (stable) > 0.5 %"
    assert "failed of all" not in stable["annotations"]["description"], "the catalogue speaks of the candidate"


def test_what_is_said_is_handed_on() -> None:
    made = alert_rules(
        [
            {**GOOD, "summary": "S", "description": "D", "annotations": {"runbook_url": "https://a"}},
            {**GOOD, "alert": "B", "group": "other", "on_absent": "alert"},
            {**GOOD, "alert": "C"},
        ],
        METRICS,
        VERSIONS,
        group="mine",
        interval="30s",
        labels={"application": "x"},
    )
    assert [(group["name"], group["interval"]) for group in made["groups"]] == [("mine", "30s"), ("other", "30s")]
    first, third = made["groups"][0]["rules"]
    assert first["annotations"] == {"runbook_url": "https://a", "summary": "S", "description": "D"}
    assert first["labels"] == third["labels"] == {"application": "x", "severity": "P1"}
    assert [rule["alert"] for rule in made["groups"][1]["rules"]] == ["B", "BNoData"]


def test_a_version_cannot_break_out_of_its_quotes() -> None:
    made = alert_rules([GOOD], METRICS, {"candidate": '5"} or vector(1) #'})
    assert r'{v="5\"} or vector(1) #"}' in made["groups"][0]["rules"][0]["expr"]


def test_no_alerts_are_no_groups() -> None:
    assert alert_rules(None, METRICS, VERSIONS) == alert_rules([], METRICS, VERSIONS) == {"groups": []}


# ---- what is wrong


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"metric": "agnts"}, "alert A: metric: 'agnts' is not in the catalogue (did you mean agents?)"),
        ({"metric": None}, "alert A: metric: is missing"),
        ({"above": 5}, "alert A: above: 5 is not a share between 0 and 1 (0.1 % is 0.001)"),
        ({"above": "100%"}, "alert A: above: a share is never above 1: this could not fire"),
        ({"above": None, "below": 0}, "alert A: below: a share is never below 0: this could not fire"),
        ({"above": "much"}, "alert A: above: 'much' is not a number"),
        ({"below": 0.1}, "alert A: below and above exclude each other"),
        ({"above": None}, "alert A: one of below, above, at_least, at_most, equals is needed"),
        ({"for": "soon"}, "alert A: for: 'soon' is not a duration"),
        ({"window": 0}, "alert A: window: must be longer than 0 s"),
        ({"sevrity": "P1"}, "alert A: unknown option 'sevrity' (did you mean severity?)"),
        ({"compared_with": "stable"}, "alert A: unknown option 'compared_with'"),
        ({"severity": None}, "alert A: severity: is missing (such as P1 or warning)"),
        ({"severity": 1}, "alert A: severity: 1 is not a word"),
        ({"summary": 5}, "alert A: summary: 5 is not a text"),
        ({"labels": ["a"]}, "alert A: labels: must be a dictionary of names to texts, not list"),
        ({"labels": {"a-b": "c"}}, "alert A: labels: 'a-b' is not a name of letters, digits and _"),
        ({"labels": {"__x": "c"}}, "alert A: labels: '__x' is not a name"),
        ({"labels": {"severity": "c"}}, "alert A: labels: severity is set by the alert itself"),
        ({"annotations": {"a": None}}, "alert A: annotations: a is None, not a text"),
        ({"annotations": {"summary": "x"}}, "alert A: annotations: summary is set by the alert itself"),
        ({"sides": "stable"}, "alert A: sides: 'stable' is not a list of stable, candidate"),
        ({"sides": []}, "alert A: sides: [] is not a list of stable, candidate"),
        ({"sides": ["canary"]}, "alert A: sides: 'canary' is not one of stable, candidate"),
        ({"sides": ["stable", "stable"]}, "alert A: sides: stable is named twice"),
        ({"metric": "crashes", "above": 2, "sides": ["stable"]}, "alert A: sides: crashes names no side"),
        ({"on_absent": "page"}, "alert A: on_absent: 'page' is not one of ignore, alert"),
        (
            {"metric": "calm", "above": 2, "on_absent": "alert"},
            "alert A: on_absent: calm takes what is absent for zero",
        ),
        ({"metric": "agents", "above": 2, "min_requests": 9}, "alert A: min_requests: agents doesn't tell requests"),
        ({"metric": "odd", "min_requests": 9}, "alert A: min_requests: odd doesn't tell requests"),
        ({"min_requests": -1}, "alert A: min_requests: -1 is negative"),
    ],
)
def test_a_mistake_in_an_alert_is_named(changed: dict[str, t.Any], expected: str) -> None:
    found = problems([{**GOOD, **changed}])
    assert len(found) == 1, found
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("alerts", "options", "expected"),
    [
        ("A", {}, "alert list: must be a list, not str"),
        (["A"], {}, "alert 1: must be a dictionary, not str"),
        ([{**GOOD, "alert": None}], {}, "alert 1: alert: is missing (the name it is told by)"),
        ([GOOD, GOOD], {}, "alert A: alert: entries 1 and 2 have the same name"),
        (
            [{**GOOD, "on_absent": "alert"}, {**GOOD, "alert": "ANoData"}],
            {},
            "alert ANoData: alert: entries 1 and 2 have the same name",
        ),
        ([GOOD], {"group": ""}, "rules: group: '' is not a name"),
        ([GOOD], {"interval": 0}, "rules: interval: must be longer than 0 s"),
        ([GOOD], {"interval": "x"}, "rules: interval: 'x' is not a duration"),
        ([GOOD], {"labels": {"side": "x"}}, "rules: labels: side is set by the alert itself"),
        ([GOOD], {"versions": "5.1"}, "versions: must be a dictionary of stable, candidate, not str"),
        ([], {"versions": {"candidate": 5.1}}, "versions: candidate: 5.1 is not a text; write it in quotes"),
        ([], {"versions": {"canary": "5"}, "metrics": {}}, "versions: 'canary' is not one of stable, candidate"),
        ([], {"versions": {"stable": "5"}, "metrics": {"m": METRICS["agents"]}}, "metric m: query: uses $candidate"),
        ([], {"metrics": []}, "metrics: must be a dictionary of name to metric, not list"),
        (
            [{**GOOD, "metric": "agents", "above": 1, "sides": ["stable"]}],
            {"versions": {"candidate": "5.1"}},
            "alert A: sides: versions.stable is not given",
        ),
    ],
)
def test_a_mistake_around_them_is_named(alerts: t.Any, options: dict[str, t.Any], expected: str) -> None:
    found = problems(alerts, **options)
    assert found[0].startswith(expected), found


def test_all_mistakes_are_told_at_once() -> None:
    found = problems([{"metric": "x"}, {**GOOD, "above": 9, "for": "x"}, {**GOOD, "severity": ""}, 5])
    for part in ("alert 1: metric", "alert 1: alert", "alert 1: severity", "alert 1: one of", "A: above", "A: for",
                 "A: severity", "alert 4: must be", "entries 2 and 3"):  # fmt: skip
        assert [problem for problem in found if part in problem], part


def test_the_filter_tells_them_as_ansible_does() -> None:
    made = FilterModule().filters()["alert_rules"]
    assert made([GOOD], METRICS, VERSIONS, group="g")["groups"][0]["name"] == "g"
    with pytest.raises(AnsibleFilterError, match=r"^alert_rules: alert A: metric: 'x' is not"):
        made([{**GOOD, "metric": "x"}], METRICS, VERSIONS)


# ---- text


@pytest.mark.parametrize(
    ("selector", "edge", "bucket"),
    [
        ("d_bucket", 1, r'd_bucket{le=~"1(\\.0+)?"}'),
        ('d_bucket{a="}"}', 0.25, r'd_bucket{a="}",le=~"0\\.25"}'),
        ('d_bucket{a="b",}', 10.0, r'd_bucket{a="b",le=~"10(\\.0+)?"}'),
        ("d_bucket{}", 0, r'd_bucket{le=~"0(\\.0+)?"}'),
    ],
)
def test_a_bucket_is_found_however_its_edge_is_spelled(selector: str, edge: float, bucket: str) -> None:
    assert bucket_at(selector, edge) == bucket


# ---- what fires


@given(st.lists(st.integers(0, 40), min_size=3, max_size=6).filter(any), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_at_an_edge_the_quantile_says_what_the_count_of_the_slow_says(counts: list[int], quantile: float) -> None:
    edges = [0.1, 0.25, 1.0, 2.0, 5.0][: len(counts) - 1]
    cumulative = [sum(counts[: place + 1]) for place in range(len(counts))]
    buckets = [*zip([*edges, float("inf")], map(float, cumulative), strict=True)]
    for edge, within in zip(edges[:-1], cumulative, strict=False):
        rank = quantile * cumulative[-1]
        if abs(rank - within) > 1e-9:
            slow = slow_share(buckets, edge)
            assert (histogram_quantile(buckets, quantile) > edge) is (slow.least > (1 - quantile) * slow.total)


def counting(name: str, per_step: float, **labels: str) -> dict[str, str]:
    told = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return {f"{name}{{{told}}}": f"0+{per_step}x60"}


def answers(ok: float, failed: float, version: str = "5.1") -> dict[str, str]:
    of_side = {"version": version, "route": "other"}
    ok_series = counting("http_requests_total", ok, status="200", **of_side)
    return ok_series | counting("http_requests_total", failed, status="503", **of_side)


def durations(within: dict[str, float], total: float, version: str = "5.1") -> dict[str, str]:
    buckets = {**within, "+Inf": total}
    name = "http_request_duration_seconds_bucket"
    return {
        series: values
        for edge, count in buckets.items()
        for series, values in counting(name, count, le=edge, version=version).items()
    }


SERVED = {"ServiceErrorRateVeryHighNoData": 0, "TrafficReachesCandidate": 1, "TrafficOnCandidate": 1}
UNSERVED = {"ServiceErrorRateVeryHighNoData": 1}
BAD = {"CandidateErrorRateHigh": 1, **SERVED}
WORSE = {**BAD, "ServiceErrorRateHigh": 1, "ServiceErrorRateVeryHigh": 1, "ServiceAvailabilityLow": 1}
CASES = {
    "few errors": Case(answers(998, 2), SERVED),
    "errors just under the bound": Case(answers(9951, 49), SERVED),
    "errors just over the bound": Case(answers(9949, 51), BAD),
    "errors not for long enough": Case(answers(9949, 51), {**SERVED, "TrafficOnCandidate": 0}, minutes=0.75),
    "6 % of errors": Case(answers(94, 6), {**BAD, "ServiceErrorRateHigh": 1, "ServiceAvailabilityLow": 1}),
    "30 % of errors": Case(answers(70, 30), WORSE),
    "30 % of errors of few requests": Case(
        # 24 requests in two minutes, 30 asked for; the rules for the whole service ask for no number.
        answers(2, 1), {name: count for name, count in WORSE.items() if name != "CandidateErrorRateHigh"}
    ),
    "errors of the other side": Case(
        answers(1000, 0) | answers(998, 2, "5.0"), {**SERVED, "TrafficOnCandidate": 0}
    ),
    "nothing at all": Case({}, UNSERVED),
    "requests that stop": Case(
        dict.fromkeys(answers(1, 0), "0+100x20 2000x40"), UNSERVED, minutes=14
    ),
    "series that end": Case(dict.fromkeys(answers(1, 0), "0+100x20 stale"), UNSERVED, minutes=14),
    "samples that are missing": Case(dict.fromkeys(answers(1, 0), "0+100x20 _x40"), UNSERVED, minutes=14),
    "a failure that is not counted at all": Case(
        counting("http_requests_total", 100, version="5.1", status="200"),
        # No series of failures: like the gates, there is nothing to judge by.
        {**UNSERVED, "TrafficReachesCandidate": 1, "TrafficOnCandidate": 1},
    ),
    "4 % slow": Case(durations({"0.2": 90, "0.5": 96, "2.0": 98, "5.0": 100}, 100), UNSERVED),
    "6 % slow": Case(
        durations({"0.2": 90, "0.5": 94, "2.0": 98, "5.0": 100}, 100), {**UNSERVED, "CandidateLatencyHigh": 1}
    ),
    "6 % slower than 5 s, the last edge": Case(
        durations({"0.5": 94, "2": 94, "5": 94}, 100),
        {**UNSERVED, "CandidateLatencyHigh": 1, "ServiceLatencyHigh": 1, "ServiceLatencyVeryHigh": 1},
    ),
    "4 % slower than 5 s": Case(
        durations({"0.5": 94, "2": 94, "5": 96}, 100),
        {**UNSERVED, "CandidateLatencyHigh": 1, "ServiceLatencyHigh": 1},
    ),
    "slow, and no bucket ends at the bound": Case(
        durations({"0.25": 10, "10.0": 100}, 100),
        {**UNSERVED, "CandidateLatencyHigh": 1, "ServiceLatencyHigh": 1, "ServiceLatencyVeryHigh": 1},
    ),
    "fast, and no bucket ends at the bound": Case(durations({"0.25": 99, "10.0": 100}, 100), UNSERVED),
    "5 agents failed": Case({'claude_enhancer_agents_failed{version="5.1",pod="a"}': "5x60"}, UNSERVED),
    "6 agents failed in one pod": Case(
        {
            'claude_enhancer_agents_failed{version="5.1",pod="a"}': "6x60",
            'claude_enhancer_agents_failed{version="5.1",pod="b"}': "0x60",
        },
        {**UNSERVED, "AgentsFailed": 1},
    ),
    "6 agents failed on both sides": Case(
        {f'claude_enhancer_agents_failed{{version="{side}",pod="a"}}': "6x60" for side in ("5.0", "5.1")},
        {**UNSERVED, "AgentsFailed": 2},
    ),
    "10 failures to coordinate in 10 minutes": Case(
        {'claude_enhancer_agent_coordination_healthy{version="5.1",pod="a"}': "1x20" + " 0 1" * 10},
        UNSERVED,
        minutes=10,
    ),
    "11 failures to coordinate in 10 minutes": Case(
        {'claude_enhancer_agent_coordination_healthy{version="5.1",pod="a"}': "1x18" + " 0 1" * 11},
        {**UNSERVED, "CoordinationFailures": 1},
        minutes=10,
    ),
    "a pod that can't be scraped": Case(
        {'up{version="5.1",namespace="n",pod="a"}': "0x60", 'up{version="5.1",namespace="n",pod="b"}': "1x60"},
        {**UNSERVED, "PodsDown": 1},
    ),
    "one busy machine": Case(
        {
            'node_cpu_seconds_total{mode="idle",cpu="0",instance="a"}': "0+1.5x60",
            'node_cpu_seconds_total{mode="idle",cpu="0",instance="b"}': "0+14x60",
        },
        {**UNSERVED, "MachineCpuHigh": 1},
    ),
    "a full disk": Case(
        {
            'node_filesystem_avail_bytes{fstype="ext4",mountpoint="/"}': "5x80",
            'node_filesystem_size_bytes{fstype="ext4",mountpoint="/"}': "100x80",
        },
        {**UNSERVED, "MachineDiskHigh": 1, "MachineDiskVeryHigh": 1},
        minutes=12,
    ),
}  # fmt: skip


def production() -> dict[str, t.Any]:
    values = inventory()
    return alert_rules(
        values["release_alerts"], values["release_metrics"], versions(), labels=values["release_alert_labels"]
    )


@needs_promtool
def test_prometheus_takes_the_rules_of_the_inventory(tmp_path: Path) -> None:
    made = production()
    count = sum(len(group["rules"]) for group in made["groups"])
    assert count >= len(inventory()["release_alerts"])
    assert f"SUCCESS: {count} rules found" in check(tmp_path, made)


@needs_promtool
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_rules_of_the_inventory_fire_when_they_should(case: Case, tmp_path: Path) -> None:
    run_cases(tmp_path, production(), [case])


@needs_promtool
def test_a_quantile_alert_agrees_with_the_gates_on_the_same_buckets(tmp_path: Path) -> None:
    """Bounds at an edge, the last one included: what a gate counts as too slow is what fires."""
    drawn = random.Random(4)
    edges = [0.1, 0.5, 1.0, 2.0]
    bounds = {f"A{number}": bound for number, bound in enumerate(edges)}
    made = alert_rules(
        [{"alert": name, "metric": "p95", "above": bound, "severity": "P1"} for name, bound in bounds.items()],
        METRICS,
        VERSIONS,
    )
    cases = []
    for _case in range(60):
        counts = [drawn.choice([0, 1, 3, 50, 200]) for _edge in [*edges, "+Inf"]]
        cumulative = [float(sum(counts[: place + 1])) for place in range(len(counts))]
        if any(abs(0.95 * cumulative[-1] - within) < 1e-6 for within in cumulative):
            continue  # exactly 5 %: rates are not exact to the last digit
        buckets = [*zip([*edges, float("inf")], cumulative, strict=True)]
        firing = {
            name: 1 for name, bound in bounds.items() if slow_share(buckets, bound).least > 0.05 * cumulative[-1] + 1e-9
        }
        spelled = [drawn.choice([f"{edge:g}", str(edge)]) for edge in edges]
        values = zip([*spelled, "+Inf"], cumulative, strict=True)
        cases.append(Case({f'd_bucket{{v="5.1",le="{le}"}}': f"0+{count}x20" for le, count in values}, firing, 4))
    assert len(cases) > 40
    assert {0, 1, 2, 3, 4} <= {len(case.firing) for case in cases}
    run_cases(tmp_path, made, cases)


@needs_promtool
def test_prometheus_takes_every_expression_and_every_annotation(tmp_path: Path) -> None:
    bounds = {"errors": 0.1, "answered": 0.1, "edge_errors": 0.1, "odd": 0.1, "mixed": 0.1}
    every = [
        {
            "alert": name,
            "metric": name,
            "above": bounds.get(name, 2),
            "severity": "P1",
            "on_absent": "ignore" if name == "calm" else "alert",
        }
        for name in METRICS
    ]
    quota = [{**copy.deepcopy(every[0]), "alert": "Quota", "min_requests": 9}]
    check(tmp_path, alert_rules([*every, *quota], METRICS, VERSIONS))
