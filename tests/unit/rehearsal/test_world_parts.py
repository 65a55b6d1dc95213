"""What a world is made of: its objects, what Prometheus is told, faults, progress."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal import discovery, faults, manifests, postgres, progress, prometheus, status
from rehearsal.processes import Identity
from rehearsal.state import Part, State
from rehearsal.world import World

MEBIBYTE = 1024 * 1024


@pytest.fixture
def home_world(tmp_path: Path) -> World:
    return World.make("unit", tmp_path, 60)


def _kinds(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in objects if item["kind"] == kind]


def test_objects_come_in_an_order_that_can_be_applied(home_world: World) -> None:
    kinds = [item["kind"] for item in manifests.load(home_world, 4)]
    assert kinds[0] == "Namespace"
    assert kinds.index("CustomResourceDefinition") < kinds.index("VirtualService")
    assert max(i for i, kind in enumerate(kinds) if kind in ("Secret", "ConfigMap")) < kinds.index("Deployment")


def test_blue_is_the_application_the_plan_describes(home_world: World) -> None:
    objects = manifests.load(home_world, 4)
    (blue,) = _kinds(objects, "Deployment")
    template = blue["spec"]["template"]
    (container,) = template["spec"]["containers"]
    mounted = {entry["configMap"]["name"] for entry in template["spec"]["volumes"] if "configMap" in entry}
    assert blue["spec"]["replicas"] == 4
    assert template["metadata"]["labels"] == {"app": "claude-enhancer", "version": "5.0", "deployment-type": "blue"}
    assert [port["containerPort"] for port in container["ports"]] == [8080, 9090, 9091, 9092]
    assert container["resources"]["limits"] == {"memory": "4Gi", "cpu": "2000m"}
    assert mounted <= {item["metadata"]["name"] for item in _kinds(objects, "ConfigMap")}


def test_the_agents_fit_into_one_config_map(home_world: World) -> None:
    objects = manifests.load(home_world, 1)
    (agents,) = [m for m in _kinds(objects, "ConfigMap") if m["metadata"]["name"] == "claude-enhancer-5.0-agents"]
    assert len(agents["data"]) == 61
    assert len(json.dumps(agents)) < MEBIBYTE


def test_every_weighted_route_starts_on_stable(home_world: World) -> None:
    (service,) = _kinds(manifests.load(home_world, 1), "VirtualService")
    weighted = [route for route in service["spec"]["http"] if len(route["route"]) > 1]
    assert [[entry["weight"] for entry in route["route"]] for route in weighted] == [[100, 0]] * 4
    assert {entry["destination"]["subset"] for route in weighted for entry in route["route"]} == {"stable", "candidate"}


def test_the_secret_leads_to_this_worlds_database(home_world: World) -> None:
    (secret,) = _kinds(manifests.load(home_world, 1), "Secret")
    assert secret["stringData"]["dsn"] == home_world.postgres_dsn


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Namespace", "/api/v1/namespaces/claude-enhancer"),
        ("Deployment", "/apis/apps/v1/namespaces/claude-enhancer/deployments/claude-enhancer-blue"),
        (
            "VirtualService",
            "/apis/networking.istio.io/v1/namespaces/claude-enhancer/virtualservices/claude-enhancer",
        ),
    ],
)
def test_paths_of_objects(home_world: World, kind: str, path: str) -> None:
    (item,) = _kinds(manifests.load(home_world, 1), kind)
    assert manifests.path_of(item) == path


def test_prometheus_accepts_its_configuration(home_world: World) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    path = home_world.home / "prometheus.yml"
    path.write_text(yaml.safe_dump(prometheus.configuration(home_world)))
    checked = subprocess.run([promtool, "check", "config", path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def _pod(address: str | None) -> dict[str, Any]:
    labels = {"app": "claude-enhancer", "version": "5.1", "deployment-type": "canary"}
    return {
        "metadata": {"name": "pod-1", "namespace": "claude-enhancer", "uid": "u", "labels": labels},
        "spec": {
            "nodeName": "node",
            "containers": [
                {"name": "main", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9090}]}
            ],
        },
        "status": {"phase": "Running"} | ({"podIP": address} if address else {}),
    }


def test_discovery_tells_every_port_with_the_pods_labels() -> None:
    groups = discovery.target_groups([_pod("127.60.128.1")])
    assert [group["targets"] for group in groups] == [["127.60.128.1:8080"], ["127.60.128.1:9090"]]
    labels = groups[1]["labels"]
    assert labels["__meta_kubernetes_pod_label_deployment_type"] == "canary"
    assert labels["__meta_kubernetes_pod_label_version"] == "5.1"
    assert labels["__meta_kubernetes_pod_container_port_number"] == "9090"
    assert set(prometheus.POD_LABELS) <= set(labels)


def test_a_pod_without_address_is_no_target() -> None:
    assert discovery.target_groups([_pod(None)]) == []


@pytest.mark.parametrize(
    ("kind", "value", "body"),
    [
        ("errors", None, {"errors": 0.3}),
        ("errors", "0.05", {"errors": 0.05}),
        ("agents", "4", {"agents": 4}),
        ("crash", None, {"crash": True}),
        ("coordination", None, {"coordination": True}),
        ("heal", None, {}),
    ],
)
def test_what_a_fault_sends(kind: str, value: str | None, body: dict[str, Any]) -> None:
    assert faults.body_of(kind, value) == body


@pytest.mark.parametrize(("kind", "value"), [("errors", "many"), ("agents", "1.5"), ("crash", "1"), ("heal", "0")])
def test_a_fault_value_that_does_not_fit_is_named(kind: str, value: str) -> None:
    with pytest.raises(faults.FaultError, match=value):
        faults.body_of(kind, value)


def test_progress_is_read_on_from_where_it_was(tmp_path: Path) -> None:
    writer = progress.Progress(tmp_path)
    writer.tell("first")
    assert [step.text for step in progress.read(tmp_path)] == ["first"]
    writer.tell("broken", "failed", "some.log")
    with progress.progress_file(tmp_path).open("a") as file:
        file.write('{"kind": "rea')
    (step,) = progress.read(tmp_path, 1)
    assert (step.kind, step.text, step.log) == ("failed", "broken", "some.log")


def test_state_survives_writing_and_reading(tmp_path: Path) -> None:
    state = State(Identity(1, 2), {"node": Part("node"), "api-server": Part("api-server", Identity(3, 4), False, 5)})
    state.save(tmp_path)
    assert State.load(tmp_path) == state


def test_no_state_is_no_error(tmp_path: Path) -> None:
    assert State.load(tmp_path) is None
    assert status.parts_of(tmp_path) == []


def test_data_goes_elsewhere_when_the_server_can_not_enter_the_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "home").mkdir(parents=True)
    closed.chmod(0o700)
    world = World.make("unit", closed / "home", 60)
    data = postgres.data_folder(world, "postgres")
    try:
        assert not data.is_relative_to(closed)
        assert (world.home / "postgres").resolve() == data
        postgres.remove_remains(world.home)
        assert not data.exists()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def test_the_table_tells_what_can_not_be_asked() -> None:
    unknown = {"error": "connection refused"}
    text = status.table(
        {
            "name": "unit",
            "home": "somewhere",
            "running": False,
            "memory_bytes": 5 * MEBIBYTE,
            "parts": [{"name": "envoy", "pid": 7, "running": False, "memory_bytes": 0, "seconds": 0.0}],
            "deployments": unknown,
            "routes": [
                {
                    "kind": "VirtualService",
                    "object": "vs",
                    "route": "default",
                    "weights": {"stable": 95, "candidate": 5},
                }
            ],
            "haproxy": [
                {"name": "a", "map": 20, "servers": {"stable": 300, "candidate": 75}},
                {"name": "b", "error": "connection refused"},
            ],
            "entry_selector": {"version": "5.0"},
            "targets": {"app": {"up": 1, "all": 2}},
            "load": None,
        }
    )
    assert "unit: not running, 5 MiB" in text
    assert "deployments: connection refused" in text
    assert "stable=95 candidate=5" in text
    assert "a        20   stable=300 candidate=75" in text
    assert "b        -    connection refused" in text
    assert "app 1/2" in text
