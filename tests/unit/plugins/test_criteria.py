from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_value, parse_value

VERSIONS = {"stable": "5.0", "candidate": "5.1"}
METRICS: dict[str, t.Any] = {
    "error_rate": {
        "kind": "ratio",
        "bad": 'sum(increase(http_requests_total{version="$candidate",status=~"5.."}[$window]))',
        "total": 'sum(increase(http_requests_total{version="$candidate"}[$window]))',
        "window": "5s",
    },
    "p95": {"kind": "quantile", "quantile": 0.95, "buckets": "sum by (le) (increase(d_bucket[$window]))"},
    "agents": {"kind": "gauge", "query": "agents_active"},
}


def problems(metrics: t.Any = None, criteria: t.Any = None, triggers: t.Any = None, **keywords: t.Any) -> list[str]:
    keywords.setdefault("versions", VERSIONS)
    with pytest.raises(InputError) as caught:
        read_conditions(METRICS if metrics is None else metrics, criteria, triggers, **keywords)
    return caught.value.details["problems"]


def changed(name: str, **entries: t.Any) -> dict[str, t.Any]:
    metrics = copy.deepcopy(METRICS)
    metrics[name].update(entries)
    return metrics


def test_a_condition_takes_what_it_does_not_say_from_its_metric_and_role() -> None:
    read = read_conditions(
        METRICS,
        [{"metric": "error_rate", "below": 0.001}],
        [{"metric": "error_rate", "above": "0.5%"}],
        versions=VERSIONS,
    )
    criterion, trigger = read.criteria[0], read.triggers[0]
    assert (criterion.bound, criterion.window, criterion.confidence, criterion.min_requests) == (0.001, 5.0, 0.0, 30)
    assert (trigger.bound, trigger.confidence, trigger.min_bad, trigger.min_requests) == (0.005, 0.99, 2, 1)
    assert criterion.target == "< 0.1 %"
    assert read.all == (trigger, criterion)


def test_queries_are_filled_in() -> None:
    read = read_conditions(METRICS, [{"metric": "error_rate", "below": 0.1, "window": "2500ms"}], versions=VERSIONS)
    condition = read.criteria[0]
    query = condition.metric.promql("bad", condition.window, VERSIONS)
    assert query == 'sum(increase(http_requests_total{version="5.1",status=~"5.."}[2500ms]))'
    fresh = condition.metric.promql("freshness", condition.window, VERSIONS)
    assert fresh == 'max(timestamp(http_requests_total{version="5.1"}))'


def test_a_version_cannot_break_out_of_its_quotes() -> None:
    read = read_conditions(
        METRICS, [{"metric": "error_rate", "below": 0.1}], versions={"candidate": '5"}) or vector(0)'}
    )
    assert r'version="5\"}) or vector(0)"' in read.criteria[0].metric.promql(
        "total", 5, {"candidate": '5"}) or vector(0)'}
    )


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ({"metric": "error_rate", "below": "abc"}, "criterion error_rate: below: 'abc' is not a number"),
        ({"metric": "error_rate", "below": True}, "criterion error_rate: below: True is not a number"),
        ({"metric": "error_rate", "below": "nan"}, "criterion error_rate: below: 'nan' is not a number"),
        (
            {"metric": "eror_rate", "below": 1},
            "criterion eror_rate: metric: 'eror_rate' is not in the catalogue (did you mean error_rate?)",
        ),
        (
            {"metric": "zzz", "below": 1},
            "criterion zzz: metric: 'zzz' is not in the catalogue (known: agents, error_rate, p95)",
        ),
        ({"below": 1}, "criterion 1: metric: is missing"),
        ({"metric": "agents", "below": 1, "above": 0}, "criterion agents: below and above exclude each other"),
        ({"metric": "agents"}, "criterion agents: one of below, above, at_least, at_most, equals is needed"),
        ({"metric": "agents", "below": 1, "window": "-5s"}, "criterion agents: window: '-5s' is not a duration"),
        ({"metric": "agents", "below": 1, "window": 0}, "criterion agents: window: must be longer than 0 s"),
        ({"metric": "agents", "below": 1, "for": "soon"}, "criterion agents: for: 'soon' is not a duration"),
        ({"metric": "agents", "below": 1, "min_requests": -3}, "criterion agents: min_requests: -3 is negative"),
        ({"metric": "agents", "below": 1, "confidence": 95}, "criterion agents: confidence: 95 is neither"),
        ({"metric": "agents", "below": 1, "advisory": "maybe"}, "criterion agents: advisory: 'maybe' is not true"),
        ({"metric": "agents", "below": 1, "on_no_evidence": "pass"}, "criterion agents: on_no_evidence: 'pass' is not"),
        (
            {"metric": "agents", "below": 1, "on_source_down": "x"},
            "criterion agents: on_source_down: 'x' is not one of",
        ),
        ({"metric": "agents", "belwo": 1, "below": 1}, "criterion agents: unknown option 'belwo' (did you mean below"),
        ({"metric": "error_rate", "below": 5}, "criterion error_rate: below: 5 is not a share between 0 and 1"),
        ({"metric": "error_rate", "equals": 0}, "criterion error_rate: equals: is for gauges and increases"),
        ({"metric": "p95", "below": "200 parsecs"}, "criterion p95: below: '200 parsecs' is not a number of seconds"),
        ("error_rate < 1", "criterion 1: must be a dictionary, not str"),
    ],
)
def test_a_mistake_in_a_criterion_is_named(criterion: t.Any, expected: str) -> None:
    found = problems(criteria=[criterion])
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("name", "entries", "expected"),
    [
        ("p95", {"quantile": 95}, "metric p95: quantile: 95 is not between 0 and 1 (P95 is 0.95)"),
        ("p95", {"quantile": "x"}, "metric p95: quantile: 'x' is not a number"),
        ("p95", {"clump": 0.5}, "metric p95: clump: 0.5 is not a number of requests that is at least 1"),
        ("p95", {"clump": "many"}, "metric p95: clump: 'many' is not a number"),
        ("p95", {"window": "-5s"}, "metric p95: window: '-5s' is not a duration"),
        ("p95", {"buckets": 7}, "metric p95: buckets: 7 is not a PromQL query"),
        (
            "agents",
            {"kind": "guage"},
            "metric agents: kind: 'guage' is not one of ratio, quantile, gauge, increase",
        ),
        ("agents", {"unit": "furlong"}, "metric agents: unit: 'furlong' is not one of percent, seconds, count, ratio"),
        ("agents", {"query": None}, "metric agents: query: is missing"),
        ("agents", {"total": "x"}, "metric agents: unknown option 'total'"),
        ("agents", {"max_age": "old"}, "metric agents: max_age: 'old' is not a duration"),
        ("agents", {"absent_is_zero": 1}, "metric agents: absent_is_zero: 1 is not true or false"),
        ("error_rate", {"good": "x"}, "metric error_rate: bad or good: are 2 of them: give one"),
    ],
)
def test_a_mistake_in_the_catalogue_is_named(name: str, entries: dict[str, t.Any], expected: str) -> None:
    found = problems(changed(name, **entries), [])
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_all_mistakes_are_told_at_once_with_stage_and_list() -> None:
    found = problems(
        changed("p95", quantile=2),
        [{"metric": "error_rate", "below": "abc"}, {"metric": "error_rate", "below": 0.1, "window": "x"}],
        [{"metric": "agnts", "above": 3}],
        stage="canary_start",
    )
    assert len(found) == 4
    assert sum("stage canary_start: criterion error_rate" in problem for problem in found) == 2
    assert sum("stage canary_start: trigger agnts" in problem for problem in found) == 1


def test_a_placeholder_without_its_version_is_named() -> None:
    found = problems(criteria=[], versions={"stable": "5.0"})
    assert "metric error_rate: bad: uses $candidate, but versions.candidate is not given" in found


def test_conditions_of_one_name_are_numbered_and_one_given_twice_counts_once() -> None:
    same = [{"metric": "agents", "below": 70}, {"metric": "agents", "above": 60}, {"metric": "agents", "below": 70}]
    read = read_conditions(METRICS, same, versions=VERSIONS)
    assert [(one.name, one.target) for one in read.criteria] == [("agents", "< 70"), ("agents (2)", "> 60")]


def test_lists_and_catalogue_must_be_such() -> None:
    assert problems(criteria={"metric": "agents"}) == ["criterion list: must be a list, not dict"]
    assert problems([1], []) == ["metrics: must be a dictionary of name to metric, not list"]


@pytest.mark.parametrize(
    ("said", "unit", "value"),
    [
        ("0.1%", "percent", 0.001),
        ("70 %", "percent", 0.7),
        ("200ms", "seconds", 0.2),
        ("61", "count", 61),
        (0.5, "ratio", 0.5),
    ],
)
def test_values_are_read_by_their_unit(said: t.Any, unit: str, value: float) -> None:
    assert parse_value(said, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0002, "percent", "0.02 %"),
        (0.005, "percent", "0.5 %"),
        (0.0612, "seconds", "61.2 ms"),
        (1.234, "seconds", "1.23 s"),
        (61.0, "count", "61"),
        (12345.6, "count", "12346"),
        (None, "count", "-"),
        (0.0, "percent", "0 %"),
    ],
)
def test_values_are_written_by_their_unit(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text
