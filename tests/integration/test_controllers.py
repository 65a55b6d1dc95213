"""The controllers against the emulated API, with pods that really run."""

from __future__ import annotations

import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.node_world import NAMESPACE, Cluster, running

Object = dict[str, Any]
BLOCK = 48
APPS = "apps/v1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("controllers"), BLOCK) as cluster:
        yield cluster


def deployment(name: str, replicas: int, image: str = "sample:1", **spec: Any) -> Object:
    fields = {"POD_IP": "status.podIP", "POD_NAME": "metadata.name"}
    env = [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()]
    container = {
        "name": "main",
        "image": image,
        "env": env,
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    }
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 4},
    }
    selector = {"matchLabels": {"app": name}}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": selector, "template": template} | spec,
    }


def make(cluster: Cluster, body: Object, *, wait: bool = True) -> str:
    name: str = body["metadata"]["name"]
    cluster.create(cluster.path("Deployment", api=APPS), body)
    if wait:
        cluster.wait(lambda: is_complete(cluster, name))
    return name


def path(cluster: Cluster, name: str) -> str:
    return cluster.path("Deployment", name, APPS)


def read(cluster: Cluster, name: str) -> Object:
    return cluster.get(path(cluster, name))


def is_complete(cluster: Cluster, name: str) -> bool:
    found = read(cluster, name)
    status, wanted = found.get("status") or {}, found["spec"]["replicas"]
    counts = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    return status.get("observedGeneration") == found["metadata"]["generation"] and counts == [wanted] * 4


def scale(cluster: Cluster, name: str, replicas: int) -> None:
    cluster.patch(path(cluster, name), {"spec": {"replicas": replicas}})


def set_image(cluster: Cluster, name: str, image: str) -> None:
    template = read(cluster, name)["spec"]["template"]
    template["spec"]["containers"][0]["image"] = image
    cluster.patch(path(cluster, name), {"spec": {"template": template}})


def sets_of(cluster: Cluster, name: str) -> list[Object]:
    found = cluster.items(cluster.path("ReplicaSet", api=APPS))
    return [item for item in found if item["metadata"]["ownerReferences"][0]["name"] == name]


def slice_of(cluster: Cluster, service: str) -> list[Object]:
    found = cluster.items(cluster.path("EndpointSlice", api="discovery.k8s.io/v1"))
    ours = [item for item in found if item["metadata"]["labels"]["kubernetes.io/service-name"] == service]
    return [endpoint for item in ours for endpoint in item.get("endpoints") or []]


def ready_addresses(cluster: Cluster, service: str) -> list[str]:
    return [each["addresses"][0] for each in slice_of(cluster, service) if each["conditions"]["ready"]]


def remove(cluster: Cluster, name: str) -> None:
    cluster.delete(path(cluster, name))
    cluster.wait(lambda: not sets_of(cluster, name) and not cluster.pods(name))


def condition(cluster: Cluster, name: str, kind: str) -> Object:
    conditions = read(cluster, name).get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})


def test_from_nothing_to_ten_and_back(cluster: Cluster) -> None:
    name = make(cluster, deployment("scaled", 0))
    begun = time.monotonic()
    scale(cluster, name, 10)
    cluster.wait(lambda: is_complete(cluster, name))
    took = time.monotonic() - begun
    print(f"ten pods ready after {took:.2f} s")
    assert took < 6
    assert len({pod["status"]["podIP"] for pod in cluster.pods(name)}) == 10
    scale(cluster, name, 0)
    cluster.wait(lambda: is_complete(cluster, name) and not cluster.pods(name))
    remove(cluster, name)


def test_deleting_a_deployment_takes_its_sets_and_pods(cluster: Cluster) -> None:
    name = make(cluster, deployment("owned", 2))
    cluster.delete(path(cluster, name), {"propagationPolicy": "Foreground"})
    cluster.wait(lambda: not sets_of(cluster, name) and not cluster.pods(name))
    # In the foreground the owner goes last, once the collector has seen that the others are gone.
    cluster.wait(lambda: name not in {item["metadata"]["name"] for item in cluster.items(path(cluster, ""))})


def test_orphans_are_left_and_taken_over(cluster: Cluster) -> None:
    name = make(cluster, deployment("orphaned", 1))
    (owned,) = sets_of(cluster, name)
    place = cluster.path("ReplicaSet", owned["metadata"]["name"], APPS)
    cluster.delete(path(cluster, name), {"propagationPolicy": "Orphan"})
    cluster.wait(lambda: not cluster.get(place)["metadata"].get("ownerReferences"))
    assert len(cluster.pods(name)) == 1
    cluster.delete(place)
    cluster.wait(lambda: not cluster.pods(name))


class Asking:
    """Asks the ready endpoints of a Service all the time, and counts what failed."""

    def __init__(self, cluster: Cluster, service: str) -> None:
        self.answers: dict[str, int] = {}
        self.failures: list[str] = []
        self.addresses = ready_addresses(cluster, service)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            for address in list(self.addresses):
                try:
                    with urllib.request.urlopen(f"http://{address}:8080/version", timeout=2) as answer:
                        version = answer.read().decode()
                        self.answers[version] = self.answers.get(version, 0) + 1
                except OSError as error:
                    self.failures.append(f"{address}: {error}")
            time.sleep(0.01)


def test_a_rolling_update_keeps_the_service_answering(cluster: Cluster) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    name = make(cluster, deployment("rolled", 3, strategy=strategy))
    ports = [{"port": 80, "targetPort": "http"}]
    cluster.create(
        cluster.path("Service"), {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports}}
    )
    cluster.wait(lambda: len(ready_addresses(cluster, name)) == 3)
    seen: list[tuple[int, int]] = []
    with Asking(cluster, name) as asking:
        set_image(cluster, name, "sample:2")

        def look() -> bool:
            asking.addresses = ready_addresses(cluster, name)
            pods = [pod for pod in cluster.pods(name) if "deletionTimestamp" not in pod["metadata"]]
            seen.append((len(asking.addresses), len(pods)))
            return is_complete(cluster, name)

        cluster.wait(look, 30)
    assert asking.failures == []
    assert asking.answers.keys() == {"1", "2"}
    assert min(ready for ready, _ in seen) >= 3
    assert max(pods for _, pods in seen) <= 4
    found = read(cluster, name)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert sorted(item["spec"]["replicas"] for item in sets_of(cluster, name)) == [0, 3]
    cluster.delete(cluster.path("Service", name))
    cluster.wait(lambda: not slice_of(cluster, name))
    remove(cluster, name)


def test_a_terminating_pod_leaves_the_ready_endpoints_before_it_ends(cluster: Cluster) -> None:
    name = make(cluster, deployment("leaving", 1))
    ports = [{"port": 80, "targetPort": "http"}]
    cluster.create(
        cluster.path("Service"), {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports}}
    )
    (address,) = cluster.wait(lambda: ready_addresses(cluster, name))
    (pod,) = cluster.pods(name)
    cluster.delete(cluster.path("Pod", pod["metadata"]["name"]))
    cluster.wait(lambda: address not in ready_addresses(cluster, name), 0.5)
    assert cluster.ask(pod, "/version") == "1"
    state = next(each["conditions"] for each in slice_of(cluster, name) if each["addresses"] == [address])
    assert state == {"ready": False, "serving": True, "terminating": True}
    subsets = cluster.get(cluster.path("Endpoints", name)).get("subsets") or []
    assert address not in str(subsets)
    cluster.delete(cluster.path("Service", name))
    remove(cluster, name)


def test_recreate_ends_the_old_pods_first(cluster: Cluster) -> None:
    name = make(cluster, deployment("recreated", 2, strategy={"type": "Recreate"}))
    set_image(cluster, name, "sample:2")
    together = []

    def look() -> bool:
        together.append({pod["spec"]["containers"][0]["image"] for pod in cluster.pods(name)})
        return is_complete(cluster, name) and together[-1] == {"sample:2"}

    cluster.wait(look, 20)
    assert {"sample:1", "sample:2"} not in together
    remove(cluster, name)


def test_a_rollout_that_cannot_succeed_is_said(cluster: Cluster) -> None:
    name = make(cluster, deployment("stuck", 2, image="nowhere:1", progressDeadlineSeconds=1), wait=False)
    cluster.wait(lambda: condition(cluster, name, "Progressing").get("reason") == "ProgressDeadlineExceeded")
    assert condition(cluster, name, "Available")["status"] == "False"
    set_image(cluster, name, "sample:1")
    cluster.wait(lambda: is_complete(cluster, name), 20)
    assert condition(cluster, name, "Progressing")["reason"] == "NewReplicaSetAvailable"
    remove(cluster, name)


def test_a_paused_deployment_scales_but_does_not_roll(cluster: Cluster) -> None:
    name = make(cluster, deployment("paused", 1))
    cluster.patch(path(cluster, name), {"spec": {"paused": True}})
    set_image(cluster, name, "sample:2")
    scale(cluster, name, 2)
    cluster.wait(lambda: read(cluster, name)["status"].get("readyReplicas") == 2)
    assert len(sets_of(cluster, name)) == 1
    cluster.patch(path(cluster, name), {"spec": {"paused": False}})
    cluster.wait(lambda: is_complete(cluster, name) and len(sets_of(cluster, name)) == 2, 20)
    remove(cluster, name)


def test_a_deleted_pod_is_replaced(cluster: Cluster) -> None:
    name = make(cluster, deployment("kept", 1))
    (pod,) = cluster.pods(name)
    cluster.delete(cluster.path("Pod", pod["metadata"]["name"]), {"gracePeriodSeconds": 0})
    cluster.wait(lambda: pod["metadata"]["name"] not in [each["metadata"]["name"] for each in cluster.pods(name)])
    cluster.wait(lambda: is_complete(cluster, name))
    remove(cluster, name)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_sees_and_undoes_a_rollout(cluster: Cluster) -> None:
    name = make(cluster, deployment("undone", 2))
    cluster.kubectl("set", "image", f"deployment/{name}", "main=sample:2")
    assert "successfully rolled out" in cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout", "20s")
    cluster.kubectl("rollout", "undo", f"deployment/{name}")
    cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout", "20s")
    cluster.kubectl("wait", "--for=condition=Available", f"deployment/{name}", "--timeout", "5s")
    assert len(sets_of(cluster, name)) == 2
    assert read(cluster, name)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert "ScalingReplicaSet" in cluster.kubectl("describe", "deployment", name)
    remove(cluster, name)


def test_a_namespace_goes_with_all_that_is_in_it(cluster: Cluster) -> None:
    cluster.create("/api/v1/namespaces", {"metadata": {"name": "brief"}})
    sets = "/apis/apps/v1/namespaces/brief/deployments"
    cluster.create(sets, deployment("inside", 1))
    cluster.wait(lambda: cluster.get(f"{sets}/inside").get("status", {}).get("readyReplicas") == 1)
    cluster.delete("/api/v1/namespaces/brief")
    cluster.wait(lambda: "brief" not in [each["metadata"]["name"] for each in cluster.items("/api/v1/namespaces")])
    assert [pod for pod in cluster.items("/api/v1/pods") if pod["metadata"]["namespace"] == "brief"] == []


def test_pods_count_as_available_after_being_ready_for_a_while(cluster: Cluster) -> None:
    name = make(cluster, deployment("patient", 1, minReadySeconds=2), wait=False)
    cluster.wait(lambda: read(cluster, name).get("status", {}).get("readyReplicas") == 1)
    assert "availableReplicas" not in read(cluster, name)["status"]
    cluster.wait(lambda: is_complete(cluster, name), 4)
    remove(cluster, name)


def test_a_namespace_has_its_service_account(cluster: Cluster) -> None:
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    cluster.wait(lambda: [item for item in cluster.items(accounts) if item["metadata"]["name"] == "default"])
