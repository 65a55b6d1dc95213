"""traffic_weight, service_switch and traffic_probe run by ansible-playbook against an API server of the rehearsal."""

from __future__ import annotations

import copy
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import kubernetes
import pytest
import yaml

from rehearsal.world import World
from tests.unit.plugins.web_server import Reply, Request, serve

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTIONS = REPOSITORY / "build" / "collections"
MANIFESTS = REPOSITORY / "rehearsal" / "manifests"
NAMESPACE = "claude-enhancer"
VERSIONS = {"stable": "5.0", "candidate": "5.1"}
TRAFFIC = {
    "provider": "istio",
    "namespace": NAMESPACE,
    "name": "claude-enhancer",
    "stable": {"host": "claude-enhancer", "subset": "stable"},
    "candidate": {"host": "claude-enhancer", "subset": "candidate"},
}
ENTRY = {"namespace": NAMESPACE, "name": "claude-enhancer-service"}
ISTIO = ("networking.istio.io", "v1", NAMESPACE)

Result = dict[str, t.Any]
Task = tuple[str, dict[str, t.Any]]


class Api:
    """The API server under test, prepared and looked at with the official client."""

    def __init__(self, home: Path) -> None:
        self.kubeconfig = str(home / "kubeconfig")
        self.kubeconfig_ops = str(home / "kubeconfig-ops")
        self.client = kubernetes.config.new_client_from_config(self.kubeconfig)
        self.core = kubernetes.client.CoreV1Api(self.client)
        self.custom = kubernetes.client.CustomObjectsApi(self.client)
        self.discovery = kubernetes.client.DiscoveryV1Api(self.client)

    def virtual_service(self) -> dict[str, t.Any]:
        return t.cast(
            "dict[str, t.Any]", self.custom.get_namespaced_custom_object(*ISTIO, "virtualservices", "claude-enhancer")
        )

    def weights(self) -> dict[str, list[int | None]]:
        routes = self.virtual_service()["spec"]["http"]
        return {route["name"]: [entry.get("weight") for entry in route["route"]] for route in routes}

    def add_pods(self, version: str, count: int) -> None:
        for number in range(count):
            name = f"claude-enhancer-{version}-{number}"
            labels = {"app": "claude-enhancer", "version": version}
            container = {"name": "main", "image": f"claude-enhancer:{version}"}
            self.core.create_namespaced_pod(
                NAMESPACE, {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}}
            )
            conditions = [{"type": "Ready", "status": "True"}]
            self.core.patch_namespaced_pod_status(
                name, NAMESPACE, {"status": {"phase": "Running", "conditions": conditions}}
            )

    def follow(self, service: str) -> None:
        """Write the EndpointSlice of a Service, as its controller would."""
        selector = self.core.read_namespaced_service(service, NAMESPACE).spec.selector
        pods = self.core.list_namespaced_pod(
            NAMESPACE, label_selector=",".join(f"{key}={value}" for key, value in selector.items())
        ).items
        body = {
            "metadata": {"name": f"{service}-1", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": [f"10.0.0.{number + 1}"],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "name": pod.metadata.name, "namespace": NAMESPACE},
                }
                for number, pod in enumerate(pods)
            ],
        }
        try:
            self.discovery.replace_namespaced_endpoint_slice(f"{service}-1", NAMESPACE, body)
        except kubernetes.client.ApiException as error:
            if error.status != 404:
                raise
            self.discovery.create_namespaced_endpoint_slice(NAMESPACE, body)


@pytest.fixture(scope="module")
def server(api_world: World) -> Api:
    """An API server that knows the kinds of the mesh and the application's namespace."""
    api = Api(api_world.home)
    api.core.create_namespace({"metadata": {"name": NAMESPACE}})
    definitions = kubernetes.client.ApiextensionsV1Api(api.client)
    for body in manifests("10-istio-crds.yaml"):
        definitions.create_custom_resource_definition(body)
    for plural in ("virtualservices", "destinationrules"):
        wait_until_served(api, plural)
    return api


@pytest.fixture
def api(server: Api) -> Api:
    """The application's Services and traffic objects as at the start of a release: 2 pods of 5.0 and 1 of 5.1."""
    for plural in ("virtualservices", "destinationrules"):
        server.custom.delete_collection_namespaced_custom_object(*ISTIO, plural)
    for found in server.core.list_namespaced_service(NAMESPACE).items:
        server.core.delete_namespaced_service(found.metadata.name, NAMESPACE)
    for found in server.core.list_namespaced_pod(NAMESPACE).items:
        server.core.delete_namespaced_pod(found.metadata.name, NAMESPACE, grace_period_seconds=0)
    for body in manifests("50-services.yaml"):
        server.core.create_namespaced_service(NAMESPACE, body)
    for body in manifests("60-traffic.yaml"):
        server.custom.create_namespaced_custom_object(*ISTIO, f"{body['kind'].lower()}s", body)
    server.add_pods("5.0", 2)
    server.add_pods("5.1", 1)
    server.follow("claude-enhancer")
    server.follow("claude-enhancer-service")
    return server


def manifests(name: str) -> list[dict[str, t.Any]]:
    return [body for body in yaml.safe_load_all((MANIFESTS / name).read_text()) if body]


def wait_until_served(api: Api, plural: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            api.custom.list_namespaced_custom_object(*ISTIO, plural)
        except kubernetes.client.ApiException:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def play(tmp_path: Path, tasks: list[Task], *arguments: str) -> list[Result]:
    """Run the tasks in one play, failures too; each one's result."""
    playbook = tmp_path / "play.yml"
    steps = [{f"claude_enhancer.rollout.{name}": options, "ignore_errors": True} for name, options in tasks]
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": steps}]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            "localhost,",
            "-c",
            "local",
            str(playbook),
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            *arguments,
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    played = json.loads(done.stdout)["plays"][0]["tasks"]
    return [task["hosts"]["localhost"] for task in played]


def weight(api: Api, value: t.Any, **changes: t.Any) -> Task:
    return "traffic_weight", {**TRAFFIC, "kubeconfig": api.kubeconfig, "weight": value, **changes}


def switch(api: Api, version: str, **changes: t.Any) -> Task:
    return "service_switch", {**ENTRY, "kubeconfig": api.kubeconfig, "selector": {"version": version}, **changes}


def probe(url: str, **changes: t.Any) -> Task:
    sides = {"stable_version": "5.0", "candidate_version": "5.1", "version_header": "x-claude-version"}
    return "traffic_probe", {"url": url, **sides, "requests": 200, "rate": 2000, **changes}


def cut(body: dict[str, t.Any]) -> dict[str, t.Any]:
    """The object without what a weight change may touch."""
    rest = copy.deepcopy(body)
    for key in ("resourceVersion", "generation", "managedFields"):
        rest["metadata"].pop(key, None)
    for route in rest["spec"]["http"]:
        if len(route["route"]) > 1:
            for entry in route["route"]:
                entry.pop("weight")
    return rest


def test_weight_there_and_back(api: Api, tmp_path: Path) -> None:
    before = api.virtual_service()
    up, again, back = play(tmp_path, [weight(api, 5), weight(api, 5), weight(api, 0, guard=False)], "--diff")
    assert (up["changed"], up["before"], up["after"]) == (True, 0, 5)
    assert [route["route"] for route in up["routes"]] == ["health", "agents", "websocket", "default"]
    assert up["routes"][0]["after"] == {"stable": 95, "candidate": 5, "others": 0}
    assert "agents: stable 95, candidate 5\n" in up["diff"]["after"]
    assert not again["changed"]
    assert again["resource_version"] == up["resource_version"]
    assert (back["changed"], back["before"], back["after"], back["calls"]) == (True, 5, 0, 2)
    assert cut(api.virtual_service()) == cut(before)
    assert api.weights()["default"] == [100, 0]
    assert api.weights()["testers"] == [None]


def test_check_mode_is_judged_by_the_api_and_stores_nothing(api: Api, tmp_path: Path) -> None:
    before = api.virtual_service()
    up, moved = play(tmp_path, [weight(api, 5), switch(api, "5.1")], "--check", "--diff")
    assert (up["changed"], up["before"], up["after"]) == (True, 0, 5)
    assert "default: stable 100, candidate 0\n" in up["diff"]["before"]
    assert (moved["changed"], moved["after"]["version"], moved["ready"]) == (True, "5.1", 1)
    assert moved["diff"]["before"]["selector"]["version"] == "5.0"
    assert api.virtual_service() == before
    assert api.core.read_namespaced_service(ENTRY["name"], NAMESPACE).spec.selector["version"] == "5.0"


def test_the_guard_holds_back_what_cannot_be_carried(api: Api, tmp_path: Path) -> None:
    api.core.delete_namespaced_pod("claude-enhancer-5.1-0", NAMESPACE, grace_period_seconds=0)
    api.follow("claude-enhancer")
    empty, _overruled, taken_back = play(tmp_path, [weight(api, 5), weight(api, 5, guard=False), weight(api, 0)])
    assert (empty["failed"], empty["error"]) == (True, "guard")
    assert "claude-enhancer subset candidate has 0 ready endpoints of 0," in empty["msg"]
    assert taken_back["after"] == 0
    api.core.patch_namespaced_service("claude-enhancer", NAMESPACE, {"spec": {"selector": {"version": "5.0"}}})
    (outside,) = play(tmp_path, [weight(api, 5)])
    assert "lies outside the selector of its Service (app=claude-enhancer, version=5.0)" in outside["msg"]


def test_bad_input_fails_in_a_sentence_before_anything_is_touched(api: Api, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = f"http://127.0.0.1:{silent.getsockname()[1]}"
        cases = [
            (weight(api, 101), "input", "weight: must be a whole number from 0 to 100, not 101"),
            (
                weight(api, 5, provider="linkerd"),
                None,
                "value of provider must be one of: gateway_api, haproxy, istio",
            ),
            (weight(api, 5, name="gone"), "not_found", "name: there is no VirtualService gone"),
            (weight(api, 5, namespace="gone"), "not_found", "no VirtualService claude-enhancer in namespace gone"),
            (
                weight(api, 5, candidate={"host": "claude-enhancer", "subset": "canary"}),
                "input",
                "destination to both claude-enhancer subset stable and claude-enhancer subset canary",
            ),
            (weight(api, 5, api_version="networking.istio.io/v9"), "not_found", "doesn't serve VirtualService"),
            (
                weight(api, 5, kubeconfig="/nowhere/kubeconfig"),
                "input",
                "kubeconfig /nowhere/kubeconfig: can't be used",
            ),
            (weight(api, 5, kubeconfig=api.kubeconfig_ops), "forbidden", "doesn't allow this"),
            (weight(api, 5, api_key="wrong"), "forbidden", "doesn't accept the credentials (401)"),
            (weight(api, 5, host="https://127.0.0.1:1", api_key="x"), "unreachable", "can't be reached"),
            (weight(api, 5, host=hanging, api_key="x", api_timeout=0.3), "unreachable", "didn't answer within 0.3 s"),
            (switch(api, "5.1", name="gone"), "not_found", "name: there is no Service gone"),
            (switch(api, "5.1", min_ready_ratio=2), "input", "min_ready_ratio: must be from 0 to 1"),
            (switch(api, "6.0"), "guard", "0 of 0 pods matching app=claude-enhancer, version=6.0 are ready"),
            (probe("edge"), "input", "url: must be like"),
        ]
        before = api.virtual_service()
        results = play(tmp_path, [task for task, _error, _said in cases])
    for (_task, error, said), result in zip(cases, results, strict=True):
        assert result["failed"]
        assert result.get("error") == error, result["msg"]
        assert said in result["msg"]
        assert "\n" not in result["msg"]
    assert api.virtual_service() == before


def test_the_switch_is_awaited_and_taken_back(api: Api, tmp_path: Path) -> None:
    stop = threading.Event()

    def controller() -> None:
        while not stop.wait(0.1):
            api.follow("claude-enhancer-service")

    thread = threading.Thread(target=controller)
    thread.start()
    try:
        moved, again, back = play(tmp_path, [switch(api, "5.1"), switch(api, "5.1"), switch(api, "5.0", rollback=True)])
    finally:
        stop.set()
        thread.join()
    assert (moved["changed"], moved["before"]["version"], moved["after"]["version"]) == (True, "5.0", "5.1")
    assert moved["endpoints"] == ["claude-enhancer-5.1-0"]
    assert 0 < moved["seconds"] < 5
    assert (again["changed"], back["changed"], back["ready"]) == (False, True, 2)


def test_endpoints_that_stay_behind_are_named(api: Api, tmp_path: Path) -> None:
    (result,) = play(tmp_path, [switch(api, "5.1", wait_timeout=0.5)])
    assert result["error"] == "not_routed"
    assert "still there: claude-enhancer-5.0-0, claude-enhancer-5.0-1; missing: claude-enhancer-5.1-0" in result["msg"]


def test_two_writers_leave_a_weight_that_one_of_them_asked_for(api: Api, tmp_path: Path) -> None:
    """Both move the weight at once, time and again: no route is ever left behind the others."""
    folders = [tmp_path / "a", tmp_path / "b"]
    asked = [[5, 10, 15], [6, 12, 18]]
    results: dict[int, list[Result]] = {}

    def write(number: int) -> None:
        folders[number].mkdir()
        tasks = [weight(api, value, min_ready_ratio=0) for value in asked[number]]
        results[number] = play(folders[number], tasks)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.get("error", "none") for found in results.values() for result in found} <= {"none", "conflict"}
    final = [weights for weights in api.weights().values() if len(weights) == 2]
    assert len({tuple(weights) for weights in final}) == 1
    assert final[0][1] in asked[0] + asked[1]


def test_the_probe_proves_and_doubts_at_an_edge(tmp_path: Path) -> None:
    draw = random.Random(1)

    def answer(request: Request) -> Reply:
        status = 500 if request.path == "/broken" else 200
        return Reply(status, headers={"x-claude-version": "5.1" if draw.random() < 0.2 else "5.0"})

    with serve(answer) as url:
        tasks = [probe(url, expect_weight=20), probe(url, expect_weight=50, within=0.5), probe(url, path="broken")]
        proven, doubted, broken = play(tmp_path, tasks, "--check")
    assert not proven["changed"]
    assert proven["interval"][0] <= 20 <= proven["interval"][1]
    assert proven["stable"] + proven["candidate"] == proven["asked"] == 200
    assert (doubted["error"], doubted["expected"]) == ("not_routed", 50)
    assert "of 200 answers came from the candidate" in doubted["msg"]
    # Counting failures is what the probe is for, so they don't fail the task.
    assert not broken.get("failed")
    assert (broken["failures"], broken["statuses"]) == (200, {"500": 200})
