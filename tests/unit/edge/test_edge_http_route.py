"""HTTPRoutes become routes, and get the conditions, that the Gateway API asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.edge.edge_objects import Object
from tests.unit.edge.provider_objects import (
    CANDIDATE,
    GATEWAY_HOST,
    STABLE,
    backend,
    configured,
    gateway,
    http_route,
    is_kept,
    path,
    routes_of,
    shares,
    status_of,
    weights_rule,
)

SESSION: Object = {"sessionPersistence": {"sessionName": "claude-session", "type": "Cookie"}}


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    """Type → status and reason of each condition of the first parent."""
    return {each["type"]: (each["status"], each["reason"]) for each in status["parents"][0]["conditions"]}


def test_weights_are_relative_and_one_by_default(tmp_path: Path) -> None:
    rule = {"backendRefs": [backend(STABLE, 9), backend(CANDIDATE)]}
    (route,) = routes_of(configured(tmp_path, http_route(rule)), GATEWAY_HOST)
    assert shares(route) == {STABLE: 9, CANDIDATE: 1}
    assert route["match"] == {"prefix": "/"}


def test_a_longer_path_goes_before_a_header_and_that_before_a_query(tmp_path: Path) -> None:
    header: Object = {"headers": [{"name": "x-canary-user", "value": "true"}]}
    query: Object = {"queryParams": [{"name": "canary", "value": "1"}]}
    matches = {
        "plain": path("/"),
        "query": path("/") | query,
        "header": path("/") | header,
        "two": path("/") | {"headers": header["headers"] * 2},
        "method": path("/") | {"method": "GET"},
        "long": path("/api/v1"),
        "regex": path("/api/v[0-9]+", "RegularExpression"),
        "exact": path("/a", "Exact"),
    }
    rules = [weights_rule(5, name=name, matches=[match]) for name, match in matches.items()]
    made = configured(tmp_path, http_route(*rules))
    order = [route["name"].split("/")[2] for route in routes_of(made, GATEWAY_HOST)]
    assert order == ["exact", "regex", "long", "method", "two", "header", "query", "plain"]


def test_of_equal_matches_the_older_object_is_asked_first(tmp_path: Path) -> None:
    older, newer = http_route(weights_rule(0), name="z"), http_route(weights_rule(5), name="a")
    newer["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    made = configured(tmp_path, newer, older)
    assert [route["name"].split("/")[1] for route in routes_of(made, GATEWAY_HOST)] == ["z", "a"]


def test_a_prefix_holds_for_whole_path_elements(tmp_path: Path) -> None:
    (route,) = routes_of(
        configured(tmp_path, http_route(weights_rule(5, matches=[path("/api/")]))), GATEWAY_HOST
    )  # fmt: skip
    assert route["match"] == {"path_separated_prefix": "/api"}


@pytest.mark.parametrize("backends", [[], [backend(STABLE, 0), backend(CANDIDATE, 0)]])
def test_a_rule_without_any_weight_answers_500(tmp_path: Path, backends: list[Object]) -> None:
    (route,) = routes_of(configured(tmp_path, http_route({"backendRefs": backends})), GATEWAY_HOST)
    assert route["direct_response"] == {"status": 500}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (backend("nowhere", 25), "BackendNotFound"),
        (backend(CANDIDATE, 25, port=81), "BackendNotFound"),
        (backend(CANDIDATE, 25, kind="StorageBucket"), "InvalidKind"),
        (backend(CANDIDATE, 25, namespace="elsewhere"), "RefNotPermitted"),
    ],
)
def test_the_share_of_a_backend_that_cant_be_resolved_answers_500(tmp_path: Path, broken: Object, reason: str) -> None:
    made = configured(tmp_path, http_route({"backendRefs": [backend(STABLE, 75), broken]}))
    lost, rest = routes_of(made, GATEWAY_HOST)
    assert lost["direct_response"] == {"status": 500}
    fraction = {"default_value": {"numerator": 250_000, "denominator": "MILLION"}}
    assert lost["match"]["runtime_fraction"] == fraction
    assert shares(rest) == {STABLE: 75}
    assert conditions(status_of(made, "HTTPRoute")) == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("False", reason),
    }


def test_a_backend_without_endpoints_keeps_its_share_and_none_of_its_users(tmp_path: Path) -> None:
    made = configured(tmp_path, http_route(weights_rule(20, **SESSION)), without=(CANDIDATE,))
    known, fresh = routes_of(made, GATEWAY_HOST)
    assert shares(known) == {STABLE: 1}
    assert shares(fresh) == {STABLE: 80, CANDIDATE: 20}


@pytest.mark.parametrize(("weight", "sides"), [(0, [STABLE]), (20, [STABLE, CANDIDATE]), (100, [CANDIDATE])])
def test_a_session_outlives_any_weight_but_zero(tmp_path: Path, weight: int, sides: list[str]) -> None:
    *known, fresh = routes_of(configured(tmp_path, http_route(weights_rule(weight, **SESSION))), GATEWAY_HOST)
    assert all(is_kept(route) for route in known)
    assert [list(shares(route)) for route in known] == [[side] for side in sides]
    cookies = [one["response_headers_to_add"] for one in fresh["route"]["weighted_clusters"]["clusters"]]
    assert len({str(cookie) for cookie in cookies}) == 2


def test_filters_and_timeouts(tmp_path: Path) -> None:
    request = {"set": [{"name": "a", "value": "50%"}], "remove": ["b"]}
    rewrite = {"hostname": "inner", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    filters = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": request},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "c", "value": "d"}]}},
        {"type": "URLRewrite", "urlRewrite": rewrite},
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": CANDIDATE, "port": 80}, "percent": 10}},
    ]
    rule = weights_rule(5, matches=[path("/foo")], filters=filters, timeouts={"request": "10s", "backendRequest": "2s"})
    (route,) = routes_of(configured(tmp_path, http_route(rule)), GATEWAY_HOST)
    assert route["request_headers_to_add"][0]["header"] == {"key": "a", "value": "50%%"}
    assert route["request_headers_to_remove"] == ["b"]
    assert route["response_headers_to_add"][0]["append_action"] == "APPEND_IF_EXISTS_OR_ADD"
    action = route["route"]
    assert (action["timeout"], action["retry_policy"]["per_try_timeout"]) == ("10s", "2s")
    assert action["host_rewrite_literal"] == "inner"
    assert action["request_mirror_policies"][0]["runtime_fraction"]["default_value"]["numerator"] == 100_000


def test_a_redirect_needs_no_backend(tmp_path: Path) -> None:
    filters = [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]
    (route,) = routes_of(configured(tmp_path, http_route({"filters": filters})), GATEWAY_HOST)
    assert route["redirect"] == {"response_code": "MOVED_PERMANENTLY", "scheme_redirect": "https"}


@pytest.mark.parametrize(
    ("listener", "spec", "reason"),
    [
        ({}, {"parentRefs": [{"name": "missing"}]}, "NoMatchingParent"),
        ({}, {"parentRefs": [{"name": "claude-enhancer", "sectionName": "https"}]}, "NoMatchingParent"),
        ({}, {"parentRefs": [{"name": "claude-enhancer", "port": 443}]}, "NoMatchingParent"),
        ({"allowedRoutes": {"kinds": [{"kind": "GRPCRoute"}]}}, {}, "NotAllowedByListeners"),
        ({"hostname": "*.example.org"}, {}, "NoMatchingListenerHostname"),
    ],
)
def test_a_route_that_no_listener_takes_is_not_routed(
    tmp_path: Path, listener: Object, spec: Object, reason: str
) -> None:
    made = configured(tmp_path, http_route(weights_rule(5), **spec), gateway(**listener))
    assert routes_of(made, GATEWAY_HOST) == []
    assert conditions(status_of(made, "HTTPRoute"))["Accepted"] == ("False", reason)
    assert status_of(made, "Gateway")["listeners"][0]["attachedRoutes"] == 0


@pytest.mark.parametrize(
    ("listener", "hostnames", "served"),
    [
        ("*.example.com", ["a.example.com", "b.example.org"], ["a.example.com"]),
        ("a.example.com", ["*.example.com"], ["a.example.com"]),
        ("a.example.com", [], ["a.example.com"]),
        (None, ["*.example.com"], ["*.example.com"]),
        ("*.example.com", ["example.com", "x.y.example.com"], ["x.y.example.com"]),
    ],
)
def test_listener_and_route_serve_the_host_names_they_have_in_common(
    tmp_path: Path, listener: str | None, hostnames: list[str], served: list[str]
) -> None:
    made = configured(tmp_path, http_route(weights_rule(5), hostnames=hostnames), gateway(hostname=listener))
    found = [each["name"] for each in made.routes["virtual_hosts"] if "svc.cluster.local" not in each["name"]]
    assert found == served


def test_status_speaks_of_this_generation_and_leaves_other_controllers_alone(tmp_path: Path) -> None:
    item = http_route(weights_rule(5))
    other: Any = {"controllerName": "example.com/other", "parentRef": {"name": "other"}, "conditions": []}
    item["status"] = {"parents": [other]}
    made = configured(tmp_path, item)
    theirs, ours = status_of(made, "HTTPRoute")["parents"]
    assert theirs == other
    assert ours["parentRef"] == {"name": "claude-enhancer"}
    assert {each["observedGeneration"] for each in ours["conditions"]} == {2}
    seen = status_of(made, "Gateway")
    assert [(each["type"], each["status"]) for each in seen["conditions"]] == [
        ("Accepted", "True"),
        ("Programmed", "True"),
    ]
    assert seen["listeners"][0]["attachedRoutes"] == 1
    assert status_of(made, "GatewayClass", "rehearsal")["conditions"][0]["status"] == "True"


@pytest.mark.parametrize(
    "rule",
    [
        weights_rule(5, filters=[{"type": "ExtensionRef", "extensionRef": {"name": "x"}}]),
        weights_rule(5, sessionPersistence={"type": "Header"}),
        weights_rule(5, timeouts={"request": "soon"}),
        weights_rule(5, retry={"attempts": 3}),
    ],
)
def test_what_this_edge_cant_do_is_not_accepted(tmp_path: Path, rule: Object) -> None:
    made = configured(tmp_path, http_route(rule))
    assert conditions(status_of(made, "HTTPRoute"))["Accepted"] == ("False", "UnsupportedValue")
    assert [problem.reason for problem in made.problems] == ["NotTranslated"]
