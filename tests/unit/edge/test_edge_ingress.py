"""Ingresses and their canaries become routes in the order in which ingress-nginx decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rehearsal.edge.configuration import Configuration
from tests.unit.edge.edge_objects import Object
from tests.unit.edge.provider_objects import (
    CANDIDATE,
    INGRESS_HOST,
    NGINX,
    STABLE,
    configured,
    ingress,
    is_kept,
    routes_of,
    shares,
    status_of,
)

STICKY = {"affinity": "cookie", "session_cookie_name": "claude-session"}


def canary(*paths: tuple[str, str], **annotations: str) -> Object:
    return ingress("claude-enhancer-canary", CANDIDATE, *paths, canary="true", **annotations)


def routes(made: Configuration) -> list[dict[str, Any]]:
    return routes_of(made, INGRESS_HOST)


def asked(route: dict[str, Any]) -> str:
    """The condition of a route beside its path, in short."""
    (condition,) = route["match"]["headers"]
    matcher = condition["string_match"]
    return f"{condition['name']}={matcher['exact'] if 'exact' in matcher else matcher['safe_regex']['regex']}"


def test_without_a_canary_everything_goes_to_the_backend(tmp_path: Path) -> None:
    made = configured(tmp_path, ingress("claude-enhancer", STABLE))
    (route,) = routes(made)
    assert shares(route) == {STABLE: 1}
    assert status_of(made, "Ingress") == {"loadBalancer": {"ingress": [{"ip": "127.51.0.1"}]}}


def test_exact_and_longer_paths_are_tried_first(tmp_path: Path) -> None:
    paths = (("/", "Prefix"), ("/api", "Prefix"), ("/api", "Exact"), ("/api/v1", "ImplementationSpecific"))
    found = [route["match"] for route in routes(configured(tmp_path, ingress("claude-enhancer", STABLE, *paths)))]
    assert found == [{"path": "/api"}, {"prefix": "/api/v1"}, {"path_separated_prefix": "/api"}, {"prefix": "/"}]


@pytest.mark.parametrize(
    ("annotations", "split"),
    [
        ({"canary_weight": "5"}, {STABLE: 95, CANDIDATE: 5}),
        ({"canary_weight": "5", "canary_weight_total": "1000"}, {STABLE: 995, CANDIDATE: 5}),
        ({"canary_weight": "100"}, {STABLE: 0, CANDIDATE: 100}),
        ({}, {STABLE: 100, CANDIDATE: 0}),
    ],
)
def test_a_canary_has_its_weight(tmp_path: Path, annotations: dict[str, str], split: dict[str, int]) -> None:
    (route,) = routes(configured(tmp_path, ingress("claude-enhancer", STABLE), canary(**annotations)))
    assert shares(route) == split


def test_header_goes_before_cookie_and_cookie_before_weight(tmp_path: Path) -> None:
    other = canary(canary_by_header="x-canary", canary_by_cookie="canary", canary_weight="5")
    *chosen, rest = routes(configured(tmp_path, ingress("claude-enhancer", STABLE), other))
    assert [(asked(route).partition("=")[0], shares(route)) for route in chosen] == [
        ("x-canary", {CANDIDATE: 1}),
        ("x-canary", {STABLE: 1}),
        ("cookie", {CANDIDATE: 1}),
        ("cookie", {STABLE: 1}),
    ]
    assert [asked(route) for route in chosen[:2]] == ["x-canary=always", "x-canary=never"]
    assert shares(rest) == {STABLE: 95, CANDIDATE: 5}


@pytest.mark.parametrize(
    ("annotations", "condition"),
    [
        ({"canary_by_header_value": "yes"}, "x-canary=yes"),
        ({"canary_by_header_pattern": "^(y|j)"}, "x-canary=.*(^(y|j)).*"),
        ({"canary_by_header_value": "yes", "canary_by_header_pattern": "y"}, "x-canary=yes"),
    ],
)
def test_a_value_takes_the_place_of_always_and_never(
    tmp_path: Path, annotations: dict[str, str], condition: str
) -> None:
    other = canary(canary_by_header="x-canary", **annotations)
    chosen, _ = routes(configured(tmp_path, ingress("claude-enhancer", STABLE), other))
    assert asked(chosen) == condition
    assert shares(chosen) == {CANDIDATE: 1}


def test_a_canary_finds_its_main_ingress_by_path_and_holds_for_its_backend_everywhere(tmp_path: Path) -> None:
    main = ingress("claude-enhancer", STABLE, ("/", "Prefix"), ("/api", "Prefix"))
    made = configured(tmp_path, main, canary(("/api", "Prefix"), ("/elsewhere", "Prefix"), canary_weight="5"))
    assert [shares(route) for route in routes(made)] == [{STABLE: 95, CANDIDATE: 5}] * 2
    assert [problem.message for problem in made.problems] == [
        f"no main Ingress has host {INGRESS_HOST} and path /elsewhere (Prefix)"
    ]


@pytest.mark.parametrize("place", [("/other", "Prefix"), ("/", "Exact")])
def test_a_canary_for_another_path_or_path_type_gets_nothing(tmp_path: Path, place: tuple[str, str]) -> None:
    made = configured(tmp_path, ingress("claude-enhancer", STABLE), canary(place, canary_weight="5"))
    assert [shares(route) for route in routes(made)] == [{STABLE: 1}]


def test_a_canary_whose_backend_is_a_main_one_of_the_host_counts_for_nothing(tmp_path: Path) -> None:
    mains = ingress("claude-enhancer", STABLE), ingress("other", CANDIDATE, ("/other", "Prefix"))
    made = configured(tmp_path, *mains, canary(canary_weight="50"))
    assert [shares(route) for route in routes(made)] == [{CANDIDATE: 1}, {STABLE: 1}]


def test_a_canary_without_ready_endpoints_counts_as_none(tmp_path: Path) -> None:
    items = ingress("claude-enhancer", STABLE, **STICKY), canary(canary_weight="50")
    known, fresh = routes(configured(tmp_path, *items, without=(CANDIDATE,)))
    assert shares(known) == shares(fresh) == {STABLE: 1}


@pytest.mark.parametrize("weight", ["0", "5", "100"])
def test_users_with_a_session_stay_whatever_weight_and_header_say(tmp_path: Path, weight: str) -> None:
    items = ingress("claude-enhancer", STABLE, **STICKY), canary(canary_weight=weight, canary_by_header="x-canary")
    *known, always, never, split = routes(configured(tmp_path, *items))
    assert [shares(route) for route in known] == [{STABLE: 1}, {CANDIDATE: 1}]
    assert all(is_kept(route) for route in known)
    assert (asked(always), asked(never)) == ("x-canary=always", "x-canary=never")
    cookies = [one["response_headers_to_add"] for one in split["route"]["weighted_clusters"]["clusters"]]
    assert all("claude-session=" in str(cookie) for cookie in cookies)


def test_a_canary_of_legacy_behaviour_keeps_nobody(tmp_path: Path) -> None:
    items = ingress("claude-enhancer", STABLE, **STICKY), canary(canary_weight="5", affinity_canary_behavior="legacy")
    known, split = routes(configured(tmp_path, *items))
    assert shares(known) == {STABLE: 1}
    assert shares(split) == {STABLE: 95, CANDIDATE: 5}
    stable, candidate = split["route"]["weighted_clusters"]["clusters"]
    assert "response_headers_to_add" in stable
    assert "response_headers_to_add" not in candidate


def test_other_classes_are_left_to_others(tmp_path: Path) -> None:
    item = ingress("claude-enhancer", STABLE)
    item["spec"]["ingressClassName"] = "traefik"
    made = configured(tmp_path, item)
    assert routes(made) == []
    assert not [status for status in made.statuses if status.item["kind"] == "Ingress"]


def test_an_annotation_that_is_not_known_is_told_of_and_passed_over(tmp_path: Path) -> None:
    made = configured(tmp_path, ingress("claude-enhancer", STABLE, enable_modsecurity="true"))
    assert [shares(route) for route in routes(made)] == [{STABLE: 1}]
    assert [(problem.reason, problem.message) for problem in made.problems] == [
        ("Ignored", f"annotation {NGINX}enable-modsecurity is not supported by this edge")
    ]


@pytest.mark.parametrize("annotations", [{"canary_weight": "5%"}, {"canary_by_header_pattern": "(["}])
def test_an_annotation_that_cant_be_read_is_named(tmp_path: Path, annotations: dict[str, str]) -> None:
    made = configured(tmp_path, ingress("claude-enhancer", STABLE), canary(**annotations))
    (name,) = annotations
    assert name.replace("_", "-") in made.problems[0].message


def test_a_default_backend_takes_what_is_left(tmp_path: Path) -> None:
    item = ingress("claude-enhancer", STABLE, ("/api", "Prefix"))
    item["spec"]["defaultBackend"] = {"service": {"name": CANDIDATE, "port": {"number": 80}}}
    made = configured(tmp_path, item)
    assert [shares(route) for route in routes(made)] == [{STABLE: 1}, {CANDIDATE: 1}]
    assert [shares(route) for route in routes_of(made, "*")] == [{CANDIDATE: 1}]


def test_a_rewrite_fills_in_what_the_path_captured(tmp_path: Path) -> None:
    item = ingress("claude-enhancer", STABLE, ("/app(/|$)(.*)", "ImplementationSpecific"), rewrite_target="/$2")
    (route,) = routes(configured(tmp_path, item))
    assert route["match"] == {"safe_regex": {"regex": "(?i)/app(/|$)(.*).*"}}
    assert route["route"]["regex_rewrite"]["substitution"] == r"/\2"
