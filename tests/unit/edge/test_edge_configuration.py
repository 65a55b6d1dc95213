"""Everything together: endpoints by subset, virtual hosts, and the last good version of what can't be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rehearsal.client import Object
from rehearsal.edge.configuration import Configuration, Configurator, Observed
from tests.unit.edge.edge_objects import (
    HOST,
    NAMESPACE,
    destination_rule,
    endpoint,
    endpoint_slice,
    pod,
    service,
    split,
    target,
    virtual_service,
)

PREFIX = "outbound|80|{}|claude-enhancer.claude-enhancer.svc.cluster.local"


@pytest.fixture
def configurator(tmp_path: Path) -> Configurator:
    return Configurator(tmp_path, NAMESPACE)


def observed(*traffic: Object, rules: list[Object] | None = None, **options: Any) -> Observed:
    """Two pods of 5.0, one of 5.1, behind Service claude-enhancer; an entry Service without endpoints."""
    pods = options.get("pods") or [pod("a", "5.0"), pod("b", "5.0"), pod("c", "5.1")]
    endpoints = options.get("endpoints") or [
        endpoint(name, f"127.51.128.{index}") for index, name in enumerate("abc", start=1)
    ]
    return Observed(
        services=[service("claude-enhancer", ("http", 80), ("metrics", 9090)), service("claude-enhancer-service")],
        slices=[endpoint_slice("claude-enhancer", *endpoints)],
        pods={(NAMESPACE, item["metadata"]["name"]): item for item in pods},
        rules=[destination_rule()] if rules is None else rules,
        traffic={"VirtualService": list(traffic)},
    )


def addresses(configuration: Configuration, subset: str) -> list[str]:
    assignment = configuration.endpoints[PREFIX.format(subset)]
    return [
        entry["endpoint"]["address"]["socket_address"]["address"]
        for group in assignment["endpoints"]
        for entry in group["lb_endpoints"]
    ]


def weights(configuration: Configuration) -> list[int]:
    """Weights of the first route of the application's host."""
    host = next(host for host in configuration.routes["virtual_hosts"] if host["name"] == HOST)
    return [one["weight"] for one in host["routes"][0]["route"]["weighted_clusters"]["clusters"]]


def test_a_subset_has_the_ready_pods_that_carry_its_labels(configurator: Configurator) -> None:
    made = configurator.configure(observed(virtual_service(split(5))))
    assert addresses(made, "stable") == ["127.51.128.1", "127.51.128.2"]
    assert addresses(made, "candidate") == ["127.51.128.3"]
    assert addresses(made, "") == ["127.51.128.1", "127.51.128.2", "127.51.128.3"]


def test_pods_that_are_not_ready_or_on_their_way_out_get_nothing(configurator: Configurator) -> None:
    endpoints = [endpoint("a", "127.51.128.1", ready=False), endpoint("b", "127.51.128.2")]
    pods = [pod("a", "5.0"), pod("b", "5.0", terminating=True)]
    made = configurator.configure(observed(virtual_service(split(5)), pods=pods, endpoints=endpoints))
    assert addresses(made, "stable") == []
    assert addresses(made, "") == []


def test_a_subset_outside_of_the_services_selector_has_no_endpoints(configurator: Configurator) -> None:
    pods = [pod("a", "5.0"), pod("outside", "5.1")]
    made = configurator.configure(
        observed(virtual_service(split(5)), pods=pods, endpoints=[endpoint("a", "127.51.128.1")])
    )
    assert addresses(made, "candidate") == []


def test_every_cluster_that_a_route_names_exists(configurator: Configurator) -> None:
    elsewhere = {"route": [target("nowhere", 50), target("stable", 50, host="not-there")]}
    made = configurator.configure(observed(virtual_service(elsewhere)))
    assert PREFIX.format("nowhere") in made.clusters
    assert "outbound|80|stable|not-there.claude-enhancer.svc.cluster.local" in made.clusters
    assert {problem.reason for problem in made.problems} == {"ReferenceNotFound"}
    assert made.clusters.keys() == made.endpoints.keys()


def test_a_service_answers_under_all_its_names_and_each_domain_is_given_once(configurator: Configurator) -> None:
    made = configurator.configure(observed(virtual_service(split(5))))
    domains = [domain for host in made.routes["virtual_hosts"] for domain in host["domains"]]
    short = "claude-enhancer-service"
    for name in (short, f"{short}.{NAMESPACE}", f"{short}.{NAMESPACE}.svc.cluster.local"):
        assert {name, f"{name}:80"} <= set(domains)
    assert "claude-enhancer:9090" in domains
    assert len(domains) == len(set(domains))


def test_an_object_that_speaks_for_a_service_takes_its_names(configurator: Configurator) -> None:
    made = configurator.configure(observed(virtual_service(split(5), hosts=("claude-enhancer",))))
    by_domain = {domain: host for host in made.routes["virtual_hosts"] for domain in host["domains"]}
    assert "weighted_clusters" in by_domain["claude-enhancer"]["routes"][0]["route"]
    assert "cluster" in by_domain["claude-enhancer-service"]["routes"][0]["route"]


def test_an_object_that_cant_be_translated_keeps_its_last_good_version(configurator: Configurator) -> None:
    good = configurator.configure(observed(virtual_service(split(5), version="1")))
    configurator.accept(good)
    broken = virtual_service({"route": [target("stable", 0), target("candidate", 0)]}, version="2")
    made = configurator.configure(observed(broken))
    assert weights(made) == [95, 5]
    assert [(problem.item, problem.reason) for problem in made.problems] == [(broken, "NotTranslated")]
    assert weights(configurator.configure(observed(virtual_service(split(20), version="3")))) == [80, 20]


def test_what_envoy_refuses_is_taken_back_until_it_changes(configurator: Configurator) -> None:
    configurator.accept(configurator.configure(observed(virtual_service(split(5), version="1"))))
    refused = observed(virtual_service(split(20, match=[{"uri": {"regex": "(["}}]), version="2"))
    assert configurator.refuse(configurator.configure(refused)) == [("VirtualService", NAMESPACE, "claude-enhancer")]
    assert weights(configurator.configure(refused)) == [95, 5]
    assert weights(configurator.configure(observed(virtual_service(split(20), version="3")))) == [80, 20]


def test_a_fault_in_a_destination_rule_is_its_own_problem(configurator: Configurator) -> None:
    configurator.accept(configurator.configure(observed(virtual_service(split(5)))))
    bad = destination_rule({"loadBalancer": {"consistentHash": {"httpCookie": {"ttl": "1s"}}}}, version="2")
    made = configurator.configure(observed(virtual_service(split(5)), rules=[bad]))
    assert [(problem.item["kind"], problem.reason) for problem in made.problems] == [
        ("DestinationRule", "NotTranslated")
    ]
    assert addresses(made, "candidate") == ["127.51.128.3"]


def test_an_empty_or_sick_cluster_is_never_routed_to(configurator: Configurator) -> None:
    made = configurator.configure(observed(virtual_service(split(5))))
    floors = {one["common_lb_config"]["healthy_panic_threshold"]["value"] for one in made.clusters.values()}
    assert floors == {0}
