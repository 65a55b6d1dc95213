"""VirtualServices become routes as Istio would make them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.edge.fields import TranslationError
from rehearsal.edge.mesh import Mesh, Rule
from rehearsal.edge.translation import Traffic
from rehearsal.edge.virtual_service import VirtualServiceTranslator
from tests.unit.edge.edge_objects import (
    COOKIE_AFFINITY,
    HOST,
    Object,
    destination_rule,
    service,
    split,
    target,
    virtual_service,
)
from tests.unit.edge.edge_strategies import ROUTES

STABLE = "outbound|80|stable|claude-enhancer.claude-enhancer.svc.cluster.local"
CANDIDATE = "outbound|80|candidate|claude-enhancer.claude-enhancer.svc.cluster.local"


def translate(*routes: Object, policy: Object | None = None, hosts: tuple[str, ...] = (HOST,)) -> Traffic:
    mesh = Mesh([service("claude-enhancer")], [Rule.read(destination_rule(policy))])
    return VirtualServiceTranslator().translate(virtual_service(*routes, hosts=hosts), mesh)


def shares(route: dict[str, Any]) -> list[tuple[str, int]]:
    """Cluster and weight of every destination of an Envoy route."""
    action = route["route"]
    if "cluster" in action:
        return [(action["cluster"], 100)]
    return [(one["name"], one["weight"]) for one in action["weighted_clusters"]["clusters"]]


def test_a_split_keeps_weights_and_order() -> None:
    (route,) = translate(split(20)).routes
    assert shares(route) == [(STABLE, 80), (CANDIDATE, 20)]
    assert route["match"] == {"prefix": "/"}


def test_a_single_destination_gets_everything_with_or_without_weight() -> None:
    first, second = translate({"route": [target("candidate")]}, {"route": [target("candidate", 100)]}).routes
    assert shares(first) == shares(second) == [(CANDIDATE, 100)]


def test_match_blocks_are_alternatives_and_conditions_of_a_block_hold_together() -> None:
    blocks = [
        {"headers": {"x-canary-user": {"exact": "true"}}, "method": {"exact": "GET"}},
        {"uri": {"regex": "/api/.*"}, "queryParams": {"debug": {"exact": "1"}}},
    ]
    routes = translate({"match": blocks, "route": [target("candidate")]}).routes
    assert [route["match"] for route in routes] == [
        {
            "prefix": "/",
            "headers": [
                {"name": ":method", "string_match": {"exact": "GET"}},
                {"name": "x-canary-user", "string_match": {"exact": "true"}},
            ],
        },
        {
            "safe_regex": {"regex": "/api/.*"},
            "query_parameters": [{"name": "debug", "string_match": {"exact": "1"}}],
        },
    ]


def test_istios_retries_hold_where_none_are_given_and_none_where_turned_off() -> None:
    default, own, off = translate(
        split(5), split(5, retries={"attempts": 3, "perTryTimeout": "2s", "retryOn": "5xx,503"}),
        split(5, retries={"attempts": 0}),
    ).routes  # fmt: skip
    assert default["route"]["retry_policy"]["num_retries"] == 2
    assert "connect-failure" in default["route"]["retry_policy"]["retry_on"]
    assert default["route"]["retry_policy"]["retriable_status_codes"] == [503]
    policy = own["route"]["retry_policy"]
    assert (policy["num_retries"], policy["per_try_timeout"]) == (3, "2s")
    assert policy["retry_on"] == "5xx,retriable-status-codes"
    assert "retry_policy" not in off["route"]


def test_no_timeout_means_none() -> None:
    unlimited, limited = translate(split(5), split(5, timeout="1500ms")).routes
    assert unlimited["route"]["timeout"] == "0s"
    assert limited["route"]["timeout"] == "1.5s"


def test_header_operations_of_route_and_destination_stay_where_they_were() -> None:
    headers = {"request": {"set": {"x-side": "b", "host": "inner.example.com"}, "remove": ["x-old"]}}
    candidate = target("candidate", 20) | {"headers": {"response": {"add": {"x-version": "5.1"}}}}
    (route,) = translate({"route": [target("stable", 80), candidate], "headers": headers}).routes
    assert route["request_headers_to_add"] == [
        {"header": {"key": "x-side", "value": "b"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    ]
    assert route["request_headers_to_remove"] == ["x-old"]
    assert route["route"]["host_rewrite_literal"] == "inner.example.com"
    stable, other = route["route"]["weighted_clusters"]["clusters"]
    assert "response_headers_to_add" not in stable
    assert other["response_headers_to_add"] == [
        {"header": {"key": "x-version", "value": "5.1"}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
    ]


def test_faults_mirrors_rewrites_and_redirects() -> None:
    fault = {"abort": {"httpStatus": 500, "percentage": {"value": 0.5}}}
    forwarded, redirected = translate(
        split(5, fault=fault, mirror=target("candidate")["destination"], rewrite={"uri": "/v2"}),
        {"redirect": {"uri": "/new", "redirectCode": 308}},
    ).routes
    abort = forwarded["typed_per_filter_config"]["envoy.filters.http.fault"]["abort"]
    assert abort == {"http_status": 500, "percentage": {"numerator": 5000, "denominator": "MILLION"}}
    assert forwarded["route"]["request_mirror_policies"][0]["cluster"] == CANDIDATE
    assert forwarded["route"]["prefix_rewrite"] == "/v2"
    assert redirected["redirect"] == {"response_code": "PERMANENT_REDIRECT", "path_redirect": "/new"}


def test_a_subset_nobody_defines_is_routed_to_and_warned_of() -> None:
    traffic = translate({"route": [target("canary")]})
    assert "outbound|80|canary|" in shares(traffic.routes[0])[0][0]
    assert traffic.warnings == ("no DestinationRule gives claude-enhancer a subset canary",)


def test_with_a_cookie_both_kinds_of_request_are_split_alike_and_only_new_ones_get_a_cookie() -> None:
    known, fresh = translate(split(20), policy=COOKIE_AFFINITY).routes
    assert shares(known) == shares(fresh) == [(STABLE, 80), (CANDIDATE, 20)]
    assert known["route"]["weighted_clusters"]["use_hash_policy"]
    assert fresh["route"]["weighted_clusters"]["use_hash_policy"]
    assert known["route"]["hash_policy"] == [{"cookie": {"name": "claude-session"}}]
    assert "response_headers_to_add" not in known
    (cookie,) = fresh["response_headers_to_add"]
    assert cookie["header"]["value"] == "claude-session=%REQ(x-request-id)%; Max-Age=3600; Path=/; HttpOnly"


@pytest.mark.parametrize(
    ("header", "has_it"),
    [
        ("claude-session=abc", True),
        ("a=b; claude-session=abc; c=d", True),
        ("claude-session=", False),
        ("my-claude-session=abc", False),
        ("a=b", False),
    ],
)
def test_which_requests_count_as_having_the_cookie(header: str, has_it: bool) -> None:
    known, _ = translate(split(20), policy=COOKIE_AFFINITY).routes
    (condition,) = known["match"]["headers"]
    pattern = condition["string_match"]["safe_regex"]["regex"]
    assert bool(re.fullmatch(pattern, header)) == has_it


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ({"route": [target("stable", 0), target("candidate", 0)]}, r"http\[0\]\.route: the weights sum to 0"),
        ({"route": [target("stable", -5), target("candidate", 105)]}, r"route\[0\]\.weight: must be a whole number"),
        ({"route": [{"destination": {"host": "other.example.com"}}]}, r"destination\.host: must be a Service"),
        ({"route": [target("stable")], "redirect": {"uri": "/"}}, "needs exactly one of"),
        (split(5, match=[{"headers": {"x": {"exact": 5.1}}}]), r"match\[0\]\.headers\.x\.exact: must be a string"),
        (split(5, match=[{"uri": {"exact": "/", "prefix": "/"}}]), r"match\[0\]\.uri: needs one of"),
        (split(5, match=[{"sourceLabels": {"a": "b"}}]), r"match\[0\]\.sourceLabels: is not supported"),
        (split(5, delegate={"name": "other"}), r"http\[0\]\.delegate: is not supported"),
        ({}, r"http\[0\]: needs exactly one of"),
    ],
)
def test_what_cant_be_translated_is_refused_by_path(route: Object, message: str) -> None:
    with pytest.raises(TranslationError, match=message):
        translate(route)


@given(st.lists(ROUTES, min_size=1, max_size=5), st.booleans())
def test_weights_and_order_of_all_routes_are_preserved(routes: list[Object], affinity: bool) -> None:
    for index, route in enumerate(routes):
        route["name"] = f"r{index}"
    made = translate(*routes, policy=COOKIE_AFFINITY if affinity else None).routes
    copies = 2 if affinity else 1
    names = [f"r{index}" for index, one in enumerate(routes) for _ in range(copies * len(one.get("match", [{}])))]
    assert [route["name"] for route in made] == names
    for route in made:
        source = routes[int(route["name"][1:])]["route"]
        subsets = [cluster.split("|")[2] for cluster, _ in shares(route)]
        assert subsets == [one["destination"]["subset"] for one in source]
        assert [weight for _, weight in shares(route)] == [one["weight"] for one in source]
