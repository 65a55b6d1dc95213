from __future__ import annotations

import typing as t
from pathlib import Path

import jinja2
import pytest
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import (
    Metric,
    Problems,
    parse_metrics,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.promql import (
    counter_of,
    labels_asked,
    narrowed,
    promql_duration,
    selectors_in,
)

INVENTORIES = Path(__file__).parents[3] / "inventories"
VERSIONS = {"stable": "5.0", "candidate": "5.1"}
REQUESTS = 'http_requests_total{version="$candidate"}'
FAILED = 'http_requests_total{version="$candidate",status=~"5.."}'
RATIO = {"kind": "ratio", "bad": FAILED, "total": REQUESTS}


def metric(**entry: t.Any) -> Metric:
    problems = Problems()
    parsed = parse_metrics({"m": entry}, VERSIONS, problems)
    problems.raise_if_any()
    return parsed["m"]


def problems_of(**entry: t.Any) -> list[str]:
    problems = Problems()
    parse_metrics({"m": entry}, VERSIONS, problems)
    return problems.found


# ---- counters


@pytest.mark.parametrize(
    ("query", "counter"),
    [
        ("requests_total", "requests_total"),
        (REQUESTS, REQUESTS),
        ('{__name__="requests_total",pod="a"}', '{__name__="requests_total",pod="a"}'),
        (r"""t{a="}{\"",b='"}',c=`\`}""", r"""t{a="}{\"",b='"}',c=`\`}"""),
        (f"sum(increase({REQUESTS}[$window]))", REQUESTS),
        (f"sum( increase ( {REQUESTS} [ $window ] ) )", REQUESTS),
        ("sum by (le) (increase(d_bucket[$window]))", "d_bucket"),
        ("sum by (le, pod) (increase(d_bucket[$window]))", "d_bucket"),
        ("sum(increase(d_bucket[$window])) by (le)", "d_bucket"),
        ("increase(t[$window])", "t"),
        # Names with a colon are those of recording rules: what stands there alone is no counter.
        ("job:requests:increase5m", None),
        ('job:requests:increase5m{version="5.1"}', None),
        ("sum(increase(job:requests:sum[$window]))", "job:requests:sum"),
        # These count something else, or over another time.
        ("sum(increase(t[5m]))", None),
        ("sum(increase(t[$window] offset 1h))", None),
        ("sum(increase(t[$window])) * 2", None),
        ("sum(increase(t[$window])) + sum(increase(u[$window]))", None),
        ("sum without (le) (increase(d_bucket[$window]))", None),
        ("sum(t)", None),
        ("t[$window]", None),
        ("max(increase(t[$window]))", None),
        ('t{a="b"', None),
        ("", None),
    ],
)
def test_a_counter_is_told_from_an_expression(query: str, counter: str | None) -> None:
    assert counter_of(query, rates=False) == counter


def test_a_rate_tells_shares_and_no_increase() -> None:
    rate = "sum(rate(t_total[$window]))"
    assert metric(kind="ratio", bad=rate, total=rate).counted
    assert metric(kind="quantile", buckets="sum by (le) (rate(d_bucket[$window]))").counters == {"buckets": "d_bucket"}
    assert metric(kind="increase", query=rate).counters == {}
    assert metric(kind="increase", query=rate).promql("query", 5, {}) == "sum(rate(t_total[5s]))"


def test_the_query_over_a_window_is_made_from_the_counter() -> None:
    ratio = metric(**RATIO)
    assert ratio.promql("bad", 5, VERSIONS) == 'sum(increase(http_requests_total{version="5.1",status=~"5.."}[5s]))'
    assert ratio.promql("freshness", 5, VERSIONS) == 'max(timestamp(http_requests_total{version="5.1"}))'
    quantile = metric(kind="quantile", buckets="d_bucket")
    assert quantile.promql("buckets", 0.5, {}) == "sum by (le) (increase(d_bucket[500ms]))"
    assert quantile.promql("freshness", 5, {}) == "max(timestamp(d_bucket))"
    increase = metric(kind="increase", query="errors_total")
    assert increase.promql("query", 60, {}) == "sum(increase(errors_total[60s]))"


def test_the_two_forms_of_one_metric_are_the_same() -> None:
    sums = {role: f"sum(increase({selector}[$window]))" for role, selector in (("bad", FAILED), ("total", REQUESTS))}
    assert metric(kind="ratio", **sums) == metric(**RATIO)


def test_the_selector_has_its_versions_filled_in() -> None:
    ratio = metric(**RATIO)
    assert ratio.counted
    assert ratio.selector("total", {"candidate": '5"1'}) == r'http_requests_total{version="5\"1"}'


def test_what_is_an_expression_in_part_is_not_counted() -> None:
    ratio = metric(**RATIO | {"total": f"sum(increase({REQUESTS}[5m]))"})
    assert not ratio.counted
    assert (ratio.selector("bad", VERSIONS), ratio.selector("total", VERSIONS)) == (
        'http_requests_total{version="5.1",status=~"5.."}', None,
    )  # fmt: skip
    assert not metric(kind="gauge", query="agents").counted


def test_what_is_no_query_is_named() -> None:
    assert problems_of(kind="gauge", query="g", freshness=5) == ["metric m: freshness: 5 is not a PromQL query"]
    assert problems_of(kind="increase", query='e{version="$stable"}', max_age="x")[0].startswith("metric m: max_age")


# ---- scopes


def test_a_metric_can_be_asked_for_the_other_side() -> None:
    stable = metric(**RATIO).scoped("stable")
    assert stable.name == "m (stable)"
    assert stable.selector("bad", VERSIONS) == 'http_requests_total{version="5.0",status=~"5.."}'
    assert stable.promql("total", 5, VERSIONS) == 'sum(increase(http_requests_total{version="5.0"}[5s]))'
    assert stable.promql("freshness", 5, VERSIONS) == 'max(timestamp(http_requests_total{version="5.0"}))'
    assert stable.scoped("candidate").selector("total", VERSIONS) == 'http_requests_total{version="5.1"}'


def test_a_side_is_named_where_there_is_no_version() -> None:
    edge = metric(kind="gauge", query='up{cluster=~".*-$side-.*"}')
    assert edge.promql("query", 5, VERSIONS) == 'up{cluster=~".*-candidate-.*"}'
    assert edge.scoped("stable").promql("query", 5, VERSIONS) == 'up{cluster=~".*-stable-.*"}'


def test_a_metric_can_be_asked_for_some_series_alone() -> None:
    agents = metric(**RATIO).scoped("stable", {"route": 'a"b', "pod": "x"})
    assert agents.name == 'm (stable, route=a"b, pod=x)'
    total = r'http_requests_total{version="5.0",route="a\"b",pod="x"}'
    assert agents.selector("total", VERSIONS) == total
    assert agents.promql("total", 5, VERSIONS) == f"sum(increase({total}[5s]))"
    assert agents.promql("freshness", 5, VERSIONS) == f"max(timestamp({total}))"
    own = metric(kind="quantile", buckets="d_bucket", freshness="max(d_time)").scoped(labels={"pod": "x"})
    assert own.promql("buckets", 5, {}) == 'sum by (le) (increase(d_bucket{pod="x"}[5s]))'
    assert own.freshness == "max(d_time)"


def test_no_scope_is_the_metric_itself() -> None:
    assert metric(**RATIO).scoped() == metric(**RATIO)


@pytest.mark.parametrize(
    ("entry", "scope", "said"),
    [
        (RATIO, {"side": "canary"}, "'canary' is not one of stable, candidate"),
        ({"kind": "gauge", "query": "sum(node_load)"}, {"side": "stable"}, "m names no side: give it $candidate"),
        (
            {"kind": "gauge", "query": 'a{v="$stable"} / b{v="$candidate"}'},
            {"side": "stable"},
            "m names both sides already",
        ),
        ({"kind": "gauge", "query": "g"}, {"labels": {"pod": "x"}}, "labels pod: m is not made of plain counters"),
    ],
)
def test_a_scope_that_does_not_fit_is_named(entry: dict[str, t.Any], scope: dict[str, t.Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^" + said.replace("$", r"\$")):
        metric(**entry).scoped(**scope)


# ---- text


@pytest.mark.parametrize(
    ("selector", "narrow"),
    [
        ("t", 't{pod="x"}'),
        ("t{}", 't{pod="x"}'),
        ('t{a="b",}', 't{a="b",pod="x"}'),
        ('t {a="}"}', 't{a="}",pod="x"}'),
        ('{__name__="t"}', '{__name__="t",pod="x"}'),
    ],
)
def test_a_selector_is_narrowed(selector: str, narrow: str) -> None:
    assert narrowed(selector, {"pod": "x"}) == narrow


def test_labels_that_must_be_there_are_read_and_strings_are_not() -> None:
    assert labels_asked('t{a="x=y",b=~"c!=d",e!="",f!~"g"}') == ["a", "b"]
    assert labels_asked("t") == []
    assert selectors_in('a{x="1"} / on (y) b{y="2"} + c') == ['a{x="1"}', 'b{y="2"}']


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.0, "5s"), (2.5, "2500ms"), (0.0001, "1ms"), (1.0001, "1001ms"), (60.123, "60123ms")]
)
def test_a_duration_is_never_shorter_than_asked_for(seconds: float, text: str) -> None:
    assert promql_duration(seconds) == text


# ---- the inventory


def inventory() -> dict[str, t.Any]:
    """The catalogue of the production inventory, templated."""
    folder = INVENTORIES / "claude_enhancer" / "group_vars" / "all"
    variables: dict[str, t.Any] = {}
    for name in ("release.yml", "metrics.yml"):
        variables |= yaml.safe_load((folder / name).read_text())

    def filled(value: t.Any) -> t.Any:
        while isinstance(value, str) and "{{" in value:
            value = jinja2.Template(value).render(variables)
        return value

    return {
        name: {option: filled(value) for option, value in entry.items()}
        for name, entry in variables["release_metrics"].items()
    }


def test_the_inventory_counts_all_that_can_be_counted() -> None:
    problems = Problems()
    catalogue = parse_metrics(inventory(), VERSIONS, problems)
    assert problems.found == []
    assert {one.name for one in catalogue.values() if not one.counted and one.kind != "gauge"} == set()
    assert all(one.freshness for one in catalogue.values())
    of_no_side = {
        "green_ready",
        "node_cpu_use",
        "node_memory_use",
        "node_disk_use",
        "node_network_use",
        "alerts_firing",
    }
    of_no_side |= {name for name in catalogue if name.startswith("machine_")}
    of_both = {"candidate_share", *(name for name in catalogue if name.startswith("service_"))}
    for name in catalogue.keys() - of_no_side - of_both:
        assert '"5.1"' not in catalogue[name].scoped("stable").promql("freshness", 5, VERSIONS)


@pytest.mark.parametrize("provider", ["istio", "gateway_api", "nginx_ingress", "openshift_route", "haproxy", "service"])
def test_the_edge_of_each_provider_is_counted_on_either_side(provider: str) -> None:
    file = INVENTORIES / "rehearsal" / "group_vars" / "rehearsal" / "providers.yml"
    text = yaml.safe_load(file.read_text())
    ways, names = text["rehearsal_ways"], {"{{ " + name + " }}": value for name, value in text.items()}
    bad, total = (names.get(ways[provider][part], ways[provider][part]) for part in ("failed", "requests"))
    edge = metric(kind="ratio", bad=bad, total=total, bad_absent_is_zero=True)
    assert edge.counted
    candidate, stable = (edge.scoped(side).selector("total", VERSIONS) or "" for side in ("candidate", "stable"))
    assert candidate.replace("candidate", "stable").replace("5.1", "5.0") == stable != candidate
