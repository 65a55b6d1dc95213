"""Who stands behind a Service, and in which state."""

from __future__ import annotations

from typing import Any

from rehearsal.controllers.endpoints import endpoints_body, resolved_ports, slice_bodies

Object = dict[str, Any]


def service(**spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]
    return {
        "metadata": {"name": "entry", "namespace": "place", "uid": "s1", "labels": {"team": "blue"}},
        "spec": {"selector": {"app": "x"}, "ports": ports} | spec,
    }


def pod(name: str, *, ready: bool = True, terminating: bool = False, port: int = 8080) -> Object:
    metadata = {"name": name, "namespace": "place", "uid": f"uid-{name}"}
    if terminating:
        metadata["deletionTimestamp"] = "2026-11-20T10:00:00Z"
    return {
        "metadata": metadata,
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
        "status": {
            "podIP": f"127.46.128.{len(name)}",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def conditions(body: Object) -> list[tuple[bool, ...]]:
    names = ("ready", "serving", "terminating")
    return [tuple(each["conditions"][name] for name in names) for each in body["endpoints"]]


def test_a_named_port_is_the_containers_own() -> None:
    assert resolved_ports(service(), pod("a", port=9000)) == (("http", 9000, "TCP"),)


def test_a_named_port_a_pod_lacks_is_left_out() -> None:
    assert resolved_ports(service(ports=[{"port": 80, "targetPort": "other"}]), pod("a")) == ()


def test_without_a_target_port_the_port_itself_is_meant() -> None:
    assert resolved_ports(service(ports=[{"port": 80}]), pod("a")) == (("", 80, "TCP"),)


def test_states_in_the_slice() -> None:
    pods = [pod("a"), pod("bb", ready=False), pod("ccc", terminating=True)]
    (body,) = slice_bodies(service(), pods)
    assert conditions(body) == [(True, True, False), (False, False, False), (False, True, True)]
    assert body["metadata"]["labels"]["kubernetes.io/service-name"] == "entry"
    assert body["metadata"]["labels"]["team"] == "blue"


def test_states_in_the_endpoints() -> None:
    body = endpoints_body(service(), [pod("a"), pod("bb", ready=False), pod("ccc", terminating=True)])
    (subset,) = body["subsets"]
    assert [each["targetRef"]["name"] for each in subset["addresses"]] == ["a"]
    assert [each["targetRef"]["name"] for each in subset["notReadyAddresses"]] == ["bb"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


def test_not_ready_addresses_published() -> None:
    pods = [pod("bb", ready=False), pod("ccc", terminating=True)]
    (body,) = slice_bodies(service(publishNotReadyAddresses=True), pods)
    assert conditions(body) == [(True, True, False), (True, True, True)]
    (subset,) = endpoints_body(service(publishNotReadyAddresses=True), pods)["subsets"]
    assert len(subset["addresses"]) == 2
    assert "notReadyAddresses" not in subset


def test_pods_with_other_port_numbers_get_a_slice_of_their_own() -> None:
    bodies = slice_bodies(service(), [pod("a"), pod("bb", port=9000)])
    assert [body["ports"][0]["port"] for body in bodies] == [8080, 9000]
    assert len({body["metadata"]["name"] for body in bodies}) == 2


def test_a_service_without_pods_has_an_empty_slice() -> None:
    (body,) = slice_bodies(service(), [])
    assert body["endpoints"] == []
    assert endpoints_body(service(), [])["subsets"] == []
