"""Routes become routes as the router of OpenShift has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.edge.edge_objects import Object
from tests.unit.edge.provider_objects import (
    CANDIDATE,
    ROUTE_HOST,
    STABLE,
    configured,
    is_kept,
    openshift_route,
    routes_of,
    shares,
    status_of,
)

NO_COOKIES = {"haproxy.router.openshift.io/disable_cookies": "true"}


def condition(status: Object) -> Object:
    (entry,) = status["ingress"]
    (found,) = entry["conditions"]
    return dict(found)


def test_weights_of_the_object(tmp_path: Path) -> None:
    (route,) = routes_of(configured(tmp_path, openshift_route(20, annotations=NO_COOKIES)), ROUTE_HOST)
    assert shares(route) == {STABLE: 80, CANDIDATE: 20}


def test_a_backend_without_ready_endpoints_leaves_its_share_to_the_others(tmp_path: Path) -> None:
    made = configured(tmp_path, openshift_route(20, annotations=NO_COOKIES), without=(CANDIDATE,))
    (route,) = routes_of(made, ROUTE_HOST)
    assert shares(route) == {STABLE: 80}


def test_nobody_to_answer_is_a_503(tmp_path: Path) -> None:
    (route,) = routes_of(configured(tmp_path, openshift_route(20), without=(STABLE, CANDIDATE)), ROUTE_HOST)
    assert route["direct_response"] == {"status": 503}


@pytest.mark.parametrize("weight", [0, 50, 100])
def test_the_cookie_goes_before_any_weight_even_zero(tmp_path: Path, weight: int) -> None:
    annotations = {"router.openshift.io/cookie_name": "claude-session"}
    *known, split = routes_of(configured(tmp_path, openshift_route(weight, annotations=annotations)), ROUTE_HOST)
    assert [shares(route) for route in known] == [{STABLE: 1}, {CANDIDATE: 1}]
    assert all(is_kept(route) for route in known)
    assert "claude-session=" in str(split)


def test_a_backend_that_is_taken_out_keeps_nobody(tmp_path: Path) -> None:
    known, _ = routes_of(configured(tmp_path, openshift_route()), ROUTE_HOST)
    assert shares(known) == {STABLE: 1}


@pytest.mark.parametrize("target", ["http", 80])
def test_the_target_port_is_a_name_or_a_number_of_the_pods(tmp_path: Path, target: str | int) -> None:
    made = configured(tmp_path, openshift_route(20, annotations=NO_COOKIES, port={"targetPort": target}))
    assert shares(routes_of(made, ROUTE_HOST)[0]) == {STABLE: 80, CANDIDATE: 20}


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", "5s"), ("100ms", "0.1s"), ("1500", "1.5s"), ("2m", "120s"), ("soon", "30s")]
)
def test_timeouts(tmp_path: Path, text: str, seconds: str) -> None:
    annotations = {"haproxy.router.openshift.io/timeout": text}
    (*_, route) = routes_of(configured(tmp_path, openshift_route(20, annotations=annotations)), ROUTE_HOST)
    assert route["route"]["idle_timeout"] == seconds


def test_a_host_belongs_to_who_had_it_first(tmp_path: Path) -> None:
    later = openshift_route(name="later")
    later["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    other_path = openshift_route(name="other-path", path="/api")
    made = configured(tmp_path, later, openshift_route(), other_path)
    assert condition(status_of(made, "Route")) == {"type": "Admitted", "status": "True"}
    assert condition(status_of(made, "Route", "other-path"))["status"] == "True"
    claimed = condition(status_of(made, "Route", "later"))
    assert (claimed["status"], claimed["reason"]) == ("False", "HostAlreadyClaimed")
    names = {route["name"].split("/")[1] for route in routes_of(made, ROUTE_HOST)}
    assert names == {"claude-enhancer", "other-path"}


@pytest.mark.parametrize(
    "spec", [{"wildcardPolicy": "Subdomain"}, {"tls": {"termination": "edge"}}, {"to": {"name": STABLE, "weight": 257}}]
)
def test_what_cant_be_served_is_not_admitted(tmp_path: Path, spec: Object) -> None:
    made = configured(tmp_path, openshift_route(**spec))
    found = condition(status_of(made, "Route"))
    assert (found["status"], found["reason"]) == ("False", "ExtendedValidationFailed")
    assert routes_of(made, ROUTE_HOST) == []
