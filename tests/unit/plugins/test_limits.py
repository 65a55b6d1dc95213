"""What criteria and triggers on one metric say together: what is good, what is bad, and where they contradict."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.limits import (
    breach_of,
    limits_of,
    offends_above,
)

VERSIONS = {"stable": "5.0", "candidate": "5.1"}
METRICS: dict[str, t.Any] = {
    "errors": {"kind": "ratio", "bad": 'b{version="$candidate"}', "total": 't{version="$candidate"}'},
    "success": {"kind": "ratio", "good": 'g{version="$candidate"}', "total": 't{version="$candidate"}'},
    "p95": {"kind": "quantile", "buckets": 'd_bucket{version="$candidate"}'},
    "agents": {"kind": "gauge", "query": "agents"},
    "both": {"kind": "ratio", "bad": 'b{version="$candidate"}', "total": 't{version=~"$stable|$candidate"}'},
}


def read(criteria: t.Any = (), triggers: t.Any = ()) -> Conditions:
    return read_conditions(METRICS, list(criteria), list(triggers), versions=VERSIONS)


def problems(criteria: t.Any = (), triggers: t.Any = ()) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(criteria, triggers)
    return caught.value.details["problems"]


def both_limits(criterion: dict[str, t.Any], trigger: dict[str, t.Any]) -> tuple[t.Any, ...]:
    conditions = read([criterion], [trigger])
    return tuple(
        pytest.approx(tuple(limits_of(one, conditions))) for one in (*conditions.criteria, *conditions.triggers)
    )


def test_criterion_and_trigger_on_a_ratio_complete_each_other() -> None:
    good_and_bad = (0.001, 0.005)
    assert both_limits({"metric": "errors", "below": 0.001}, {"metric": "errors", "above": 0.005}) == (
        good_and_bad,
        good_and_bad,
    )


def test_a_bound_on_what_succeeded_is_one_on_what_did_not() -> None:
    good_and_bad = (0.02, 0.1)
    assert both_limits({"metric": "success", "above": 0.98}, {"metric": "success", "below": 0.9}) == (
        good_and_bad,
        good_and_bad,
    )


def test_alone_a_bound_is_both_limits() -> None:
    conditions = read([{"metric": "errors", "below": 0.001}], [{"metric": "success", "below": 0.9}])
    assert tuple(limits_of(conditions.criteria[0], conditions)) == (0.001, 0.001)
    assert tuple(limits_of(conditions.triggers[0], conditions)) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize(
    ("entry", "operator", "limits"),
    [
        ({"metric": "errors", "below": 0.001}, "at_least", (0.001, 0.001)),
        ({"metric": "errors", "at_most": 0.001, "unacceptable": 0.005}, "above", (0.001, 0.005)),
        ({"metric": "success", "above": 0.98}, "at_most", (0.02, 0.02)),
        ({"metric": "p95", "below": 0.2}, "at_least", (0.05, 0.05)),
    ],
)
def test_the_breach_of_a_criterion_has_its_limits(
    entry: dict[str, t.Any], operator: str, limits: tuple[float, float]
) -> None:
    conditions = read([entry])
    (criterion,) = conditions.criteria
    breach = breach_of(criterion, conditions)
    assert (breach.role, breach.operator, breach.bound) == ("trigger", operator, criterion.bound)
    assert limits_of(breach, conditions) == limits_of(criterion, conditions)
    assert tuple(limits_of(breach, conditions)) == pytest.approx(limits)
    assert offends_above(breach) is offends_above(criterion)


def test_a_quantile_is_a_share_of_slow_requests_whatever_the_other_bound() -> None:
    slow = (0.05, 0.05)
    assert both_limits({"metric": "p95", "below": 0.2}, {"metric": "p95", "above": 1.0}) == (slow, slow)


def test_what_an_entry_says_itself_goes_before() -> None:
    assert both_limits(
        {"metric": "errors", "below": 0.001, "unacceptable": "5%"},
        {"metric": "errors", "above": 0.005, "acceptable": 0.002},
    ) == ((0.001, 0.05), (0.002, 0.005))


@pytest.mark.parametrize(
    ("criterion", "trigger"),
    [
        ({"metric": "errors", "below": 0.01}, {"metric": "errors", "above": 0.005}),
        ({"metric": "p95", "below": 2}, {"metric": "p95", "above": 1}),
        ({"metric": "agents", "at_least": 50}, {"metric": "agents", "below": 61}),
        ({"metric": "agents", "at_most": 5}, {"metric": "agents", "at_least": 5}),
        ({"metric": "agents", "equals": 7}, {"metric": "agents", "above": 5}),
    ],
)
def test_a_criterion_that_allows_what_a_trigger_rolls_back_for_is_named(
    criterion: dict[str, t.Any], trigger: dict[str, t.Any]
) -> None:
    (problem,) = problems([criterion], [trigger])
    assert problem.startswith(f"criterion {criterion['metric']}: ")
    assert f"allows what the trigger {trigger['metric']}" in problem
    assert "make the criterion stricter, or the trigger looser" in problem


@pytest.mark.parametrize(
    ("criterion", "trigger"),
    [
        ({"metric": "errors", "below": 0.005}, {"metric": "errors", "above": 0.005}),
        ({"metric": "errors", "at_most": 0.005}, {"metric": "errors", "above": 0.005}),
        ({"metric": "agents", "at_least": 61}, {"metric": "agents", "below": 58}),
        ({"metric": "agents", "equals": 5}, {"metric": "agents", "above": 5}),
        ({"metric": "errors", "below": 0.5}, {"metric": "success", "below": 0.9}),
    ],
)
def test_what_does_not_overlap_is_no_contradiction(criterion: dict[str, t.Any], trigger: dict[str, t.Any]) -> None:
    assert read([criterion], [trigger]).all


@pytest.mark.parametrize(
    ("criterion", "said"),
    [
        ({"evidence": "some"}, "evidence: 'some' is not one of sequential, point"),
        ({"evidence": "sequential", "confidence": 0.9}, "confidence: goes with evidence: point only"),
        ({"evidence": "point", "unacceptable": 0.1}, "unacceptable: goes with evidence: sequential only"),
        ({"unacceptable": 1.5}, "unacceptable: 1.5 is not a share between 0 and 1 (0.1 % is 0.001)"),
        ({"unacceptable": 0.0001}, "acceptable 0.001 and unacceptable 0.0001: must be shares"),
        ({"metric": "agents", "evidence": "sequential"}, "evidence: sequential is for ratios and quantiles"),
        ({"metric": "agents", "compared_with": "stable"}, "compared_with: is for ratios and quantiles"),
        ({"compared_with": "blue"}, "compared_with: 'blue' is not a side to compare the candidate with"),
        ({"compared_with": "stable", "below": 0}, "below: 0 is no multiple"),
        ({"compared_with": "stable", "evidence": "point"}, "compared_with: is judged by evidence: sequential only"),
        ({"metric": "both", "compared_with": "stable"}, "compared_with: both names both sides already"),
    ],
)
def test_a_mistake_in_how_evidence_is_weighed_is_named(criterion: dict[str, t.Any], said: str) -> None:
    entry = {"metric": "errors", "below": 0.001, **criterion}
    (problem,) = problems([entry])
    assert problem.startswith(f"criterion {entry['metric']}: {said}")


def test_who_asks_for_confidence_looks_at_one_window() -> None:
    (criterion,) = read([{"metric": "errors", "below": 0.001, "confidence": 0.99}]).criteria
    assert criterion.evidence == "point"


def test_a_comparison_is_written_as_a_multiple() -> None:
    (criterion,) = read([{"metric": "p95", "at_most": 1.5, "compared_with": "stable"}]).criteria
    assert criterion.target == "≤ 1.5 × stable"


def test_a_metric_may_be_narrowed_to_a_side_and_to_labels() -> None:
    narrow = {"metric": "errors", "below": 0.01, "scope": "stable", "labels": {"route": "agents"}}
    wide, narrowed = read([{"metric": "errors", "below": 0.001}, narrow]).criteria
    assert (wide.name, narrowed.name) == ("errors", "errors (stable, route=agents)")
    assert narrowed.metric.selector("bad", VERSIONS) == 'b{version="5.0",route="agents"}'


def test_a_trigger_of_another_scope_is_about_something_else() -> None:
    conditions = read([{"metric": "errors", "below": 0.01, "scope": "stable"}], [{"metric": "errors", "above": 0.005}])
    assert tuple(limits_of(conditions.criteria[0], conditions)) == (0.01, 0.01)


@pytest.mark.parametrize(
    ("criterion", "said"),
    [
        ({"scope": "blue"}, "scope: 'blue' is not one of stable, candidate"),
        ({"labels": "route=agents"}, "labels: 'route=agents' is not a dictionary of label to value"),
        ({"labels": {}}, "labels: {} is not a dictionary of label to value"),
        ({"scope": "stable", "compared_with": "stable"}, "scope: compared_with looks at both sides"),
        ({"metric": "both", "scope": "stable"}, "scope: both names both sides already"),
        ({"metric": "agents", "labels": {"pod": "a"}}, "labels: labels pod: agents is not made of plain counters"),
    ],
)
def test_a_scope_that_cannot_be_is_named(criterion: dict[str, t.Any], said: str) -> None:
    entry = {"metric": "errors", "below": 0.001, **criterion}
    (problem,) = problems([entry])
    assert problem.startswith(f"criterion {entry['metric']}: {said}")
