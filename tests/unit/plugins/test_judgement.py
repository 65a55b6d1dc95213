from __future__ import annotations

import dataclasses
import json
import math
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Condition
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    Measurement,
    judge,
    overall,
)

METRICS: dict[str, t.Any] = {
    "error_rate": {"kind": "ratio", "bad": "b", "total": "t", "window": "5s"},
    "success": {"kind": "ratio", "good": "g", "total": "t"},
    "p95": {"kind": "quantile", "quantile": 0.95, "buckets": "d_bucket"},
    "agents": {"kind": "gauge", "query": "agents_active"},
}
EDGES = (0.1, 0.2, 0.5, 1.0, math.inf)


def criterion(metric: str, **options: t.Any) -> Condition:
    return read_conditions(METRICS, [{"metric": metric, **options}]).criteria[0]


def trigger(metric: str, **options: t.Any) -> Condition:
    return read_conditions(METRICS, None, [{"metric": metric, **options}]).triggers[0]


def ratio(bad: float, total: float, **facts: t.Any) -> Measurement:
    return Measurement(5.0, bad=bad, total=total, samples=1, **facts)


def latency(*counts: float) -> Measurement:
    """Cumulative counts at EDGES."""
    return Measurement(5.0, buckets=tuple(zip(EDGES, counts, strict=True)), samples=len(EDGES))


def gauge(*values: float) -> Measurement:
    return Measurement(5.0, values=values, samples=len(values))


@pytest.mark.parametrize(
    ("condition", "measurement", "verdict"),
    [
        (criterion("error_rate", below=0.001), ratio(0, 1000), "pass"),
        (criterion("error_rate", below=0.001), ratio(1, 1000), "fail"),
        (criterion("error_rate", below=0.001), ratio(0, 29), "no_evidence"),
        (criterion("error_rate", below=0.001, min_requests=0), ratio(0, 0), "no_evidence"),
        (criterion("error_rate", below=0.001, confidence=0.95), ratio(0, 2000), "fail"),
        (criterion("error_rate", below=0.001, confidence=0.95), ratio(0, 3000), "pass"),
        (criterion("success", above=0.98), ratio(99, 100, good=True), "pass"),
        (criterion("success", above=0.98), ratio(98, 100, good=True), "fail"),
        (criterion("p95", below=0.2), latency(0, 95, 99, 99, 100), "pass"),
        (criterion("p95", below=0.2), latency(0, 94, 99, 99, 100), "fail"),
        (criterion("agents", at_least=61), gauge(61, 61), "pass"),
        (criterion("agents", at_least=61), gauge(61, 60), "fail"),
        (criterion("agents", equals=61), gauge(61), "pass"),
        (criterion("agents", at_least=61, min_samples=2), gauge(61), "no_evidence"),
        (criterion("agents", at_least=61), Measurement(5.0, samples=1), "no_evidence"),
        (trigger("error_rate", above=0.005), ratio(1, 100), "pass"),
        (trigger("error_rate", above=0.005), ratio(3, 100), "pass"),
        (trigger("error_rate", above=0.005), ratio(4, 100), "fail"),
        (trigger("error_rate", above=0.005, confidence=0), ratio(2, 100), "fail"),
        (trigger("error_rate", above=0.005, confidence=0), ratio(1, 10), "pass"),
        (trigger("error_rate", above=0.005), ratio(0, 0), "no_evidence"),
        (trigger("success", below=0.95), ratio(80, 100, good=True), "fail"),
        (trigger("success", below=0.95), ratio(94, 100, good=True), "pass"),
        (trigger("p95", above=1.0), latency(0, 0, 0, 80, 100), "fail"),
        (trigger("p95", above=1.0), latency(0, 0, 0, 94, 100), "pass"),
        (trigger("agents", below=58), gauge(61, 57), "fail"),
        (trigger("agents", below=58), gauge(61, 58), "pass"),
    ],
)
def test_verdicts(condition: Condition, measurement: Measurement, verdict: str) -> None:
    assert judge(condition, measurement).verdict == verdict


def test_between_edges_a_criterion_sees_the_worse_and_a_trigger_the_better() -> None:
    # 90 took at most 200 ms, 98 at most 500 ms: what 300 ms says is not known.
    measured = latency(0, 90, 98, 99, 100)
    passed = judge(criterion("p95", below=0.3), measured)
    assert passed.verdict == "fail"
    assert passed.reason == "the bound lies between the bucket edges 200 ms and 500 ms: judged by 200 ms"
    fired = judge(trigger("p95", above=0.3, confidence=0), measured)
    assert fired.verdict == "pass"
    assert fired.reason.endswith("judged by 500 ms")


def test_a_trigger_beyond_the_last_edge_cannot_tell() -> None:
    blind = judge(trigger("p95", above=5.0), latency(0, 0, 0, 50, 100))
    assert (blind.verdict, blind.fires) == ("no_evidence", False)
    assert "can't tell" in blind.reason
    assert judge(trigger("p95", above=5.0), latency(0, 0, 0, 99, 100)).verdict == "pass"


def test_an_old_sample_is_no_evidence() -> None:
    judged = judge(criterion("agents", at_least=61), dataclasses.replace(gauge(61), age=75.0))
    assert (judged.verdict, judged.value) == ("no_evidence", None)
    assert judged.reason == "the newest sample is 75 s old, 60 s allowed"


def test_a_partial_answer_passes_nothing_but_may_fire() -> None:
    partial = {"partial": "a store did not answer"}
    assert judge(criterion("error_rate", below=0.1), ratio(0, 100, **partial)).verdict == "no_evidence"
    assert judge(trigger("error_rate", above=0.1), ratio(0, 100, **partial)).verdict == "no_evidence"
    assert judge(trigger("error_rate", above=0.1), ratio(50, 100, **partial)).verdict == "fail"


def test_a_judgement_tells_all_a_report_needs() -> None:
    told = judge(criterion("error_rate", below=0.1), ratio(3, 12041, at=1e9, age=0.4, queries={"bad": "b"})).as_dict()
    assert told["evidence"] == {
        "window": 5.0, "at": 1e9, "age": 0.4, "samples": 1, "queries": {"bad": "b"}, "bad": 3, "total": 12041,
    }  # fmt: skip
    assert told["text"] == "criterion error_rate: 0.0249 %, asked < 10 %: pass (12 041 requests in 5 s)"
    assert told["value"] == pytest.approx(3 / 12041)
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("problem", ["no_evidence", "source_down"])
def test_a_problem_is_the_verdict(problem: str) -> None:
    measurement = Measurement(5.0, problem=problem, reason="because")
    for condition in (criterion("p95", below=1), trigger("p95", above=1)):
        judged = judge(condition, measurement)
        assert (judged.verdict, judged.reason, judged.fires) == (problem, "because", False)


def test_the_overall_verdict_is_the_worst_that_is_not_advisory() -> None:
    passed = judge(criterion("agents", at_least=61), gauge(61))
    failed = judge(criterion("agents", at_least=61), gauge(60))
    advised = judge(criterion("agents", at_least=61, advisory=True), gauge(60))
    unknown = judge(criterion("agents", at_least=61), Measurement(5.0, problem="no_evidence"))
    down = judge(criterion("agents", at_least=61), Measurement(5.0, problem="source_down"))
    assert overall([passed, advised]) == "pass"
    assert overall([passed, unknown]) == "no_evidence"
    assert overall([unknown, down]) == "source_down"
    assert overall([unknown, down, failed]) == "fail"


counts = st.integers(0, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
shares = st.floats(0.0001, 0.9999)
confidences = st.sampled_from([0, 0.5, 0.9, 0.99])
histograms = st.lists(st.integers(0, 200), min_size=5, max_size=5).map(
    lambda steps: latency(*(float(sum(steps[: i + 1])) for i in range(5)))
)


@given(counts, shares, confidences)
def test_one_more_failure_never_helps(count: tuple[int, int], bound: float, confidence: float) -> None:
    bad, total = count
    if bad == total:
        return
    better, worse = ratio(bad, total), ratio(bad + 1, total)
    rule = criterion("error_rate", below=bound, confidence=confidence)
    assert not (judge(rule, worse).verdict == "pass" and judge(rule, better).verdict != "pass")
    alarm = trigger("error_rate", above=bound, confidence=confidence)
    assert not (judge(alarm, better).fires and not judge(alarm, worse).fires)


@given(counts, shares, confidences, confidences)
def test_a_criterion_and_its_trigger_never_both_hold(
    count: tuple[int, int], bound: float, confidence: float, other: float
) -> None:
    measured = ratio(*count)
    passed = judge(criterion("error_rate", below=bound, confidence=confidence), measured).verdict == "pass"
    assert not (passed and judge(trigger("error_rate", above=bound, confidence=other), measured).fires)


@given(histograms, st.floats(0.01, 3.0), confidences)
def test_a_latency_criterion_and_its_trigger_never_both_hold(
    measured: Measurement, bound: float, confidence: float
) -> None:
    passed = judge(criterion("p95", below=bound), measured).verdict == "pass"
    assert not (passed and judge(trigger("p95", above=bound, confidence=confidence), measured).fires)


@given(histograms, st.sampled_from(EDGES[:-1]))
def test_at_an_edge_the_count_and_the_interpolated_quantile_agree(measured: Measurement, bound: float) -> None:
    judged = judge(criterion("p95", below=bound, min_requests=0), measured)
    if judged.verdict == "pass":
        assert judged.value is not None and judged.value <= bound + 1e-9
    elif judged.verdict == "fail":
        assert judged.value is not None and judged.value >= bound - 1e-9


@given(counts, shares, st.integers(0, 6000))
def test_less_than_the_quota_never_passes(count: tuple[int, int], bound: float, quota: int) -> None:
    judged = judge(criterion("error_rate", below=bound, min_requests=quota), ratio(*count))
    if count[1] < quota or count[1] == 0:
        assert judged.verdict == "no_evidence"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6), st.floats(-1e6, 1e6))
def test_gauges_agree_on_one_bound(values: list[float], bound: float) -> None:
    measured = gauge(*values)
    passed = judge(criterion("agents", at_most=bound), measured)
    fired = judge(trigger("agents", above=bound), measured)
    assert (passed.verdict == "pass") is not fired.fires
    assert passed.value in values and fired.value in values
