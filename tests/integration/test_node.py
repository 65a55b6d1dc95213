"""The node against the emulated API: pods are started, probed, fed, restarted, stopped, and leave nothing behind."""

from __future__ import annotations

import json
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.node_world import Cluster, running

Object = dict[str, Any]
BLOCK = 46


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("node"), BLOCK) as cluster:
        yield cluster


def pod(name: str, *, env: dict[str, str] | None = None, image: str = "sample:1", **container: Any) -> Object:
    fields = {"POD_IP": "status.podIP", "POD_NAME": "metadata.name"}
    variables = [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()]
    variables += [{"name": key, "value": value} for key, value in (env or {}).items()]
    spec = container.pop("spec", {})
    extra = container.pop("env_from_manifest", [])
    body = {
        "name": "main",
        "image": image,
        "env": variables + extra,
        "ports": [{"name": "http", "containerPort": 8080}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 3, "containers": [body | container]} | spec,
    }


READY = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}


def start(cluster: Cluster, body: Object, phase: str = "Running") -> Object:
    cluster.create(cluster.path("Pod"), body)
    return wait_phase(cluster, body["metadata"]["name"], phase)


def wait_phase(cluster: Cluster, name: str, phase: str) -> Object:
    found: Object = cluster.wait(lambda: phase_is(read(cluster, name), phase))
    return found


def phase_is(item: Object, phase: str) -> Object | None:
    return item if item["status"].get("phase") == phase else None


def read(cluster: Cluster, name: str) -> Object:
    return cluster.get(cluster.path("Pod", name))


def state(cluster: Cluster, name: str) -> Object:
    statuses = read(cluster, name)["status"].get("containerStatuses") or [{}]
    return dict(statuses[0])


def is_ready(cluster: Cluster, name: str) -> bool:
    return bool(state(cluster, name).get("ready"))


def remove(cluster: Cluster, name: str) -> None:
    cluster.delete(cluster.path("Pod", name))
    cluster.wait(lambda: name not in names(cluster))


def names(cluster: Cluster) -> list[str]:
    return [item["metadata"]["name"] for item in cluster.items(cluster.path("Pod"))]


def reasons(cluster: Cluster, name: str) -> set[str]:
    events = cluster.items(f"/api/v1/namespaces/{read(cluster, name)['metadata']['namespace']}/events")
    return {event["reason"] for event in events if event["involvedObject"]["name"] == name}


def answers(cluster: Cluster, item: Object, path: str) -> str:
    def attempt() -> str:
        try:
            return cluster.ask(item, path)
        except OSError:
            return ""

    return str(cluster.wait(attempt))


def test_a_pod_gets_what_its_manifest_says(cluster: Cluster) -> None:
    secret = {"metadata": {"name": "key"}, "stringData": {"token": "hush"}}
    cluster.create(cluster.path("Secret"), secret)
    from_secret = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}}
    item = start(cluster, pod("given", env={"PLAIN": "$(POD_NAME)!"}, env_from_manifest=[from_secret]))
    env = json.loads(answers(cluster, item, "/env"))
    assert (env["PLAIN"], env["TOKEN"], env["VERSION"]) == ("given!", "hush", "1")
    assert env["POD_IP"] == item["status"]["podIP"]
    assert item["spec"]["nodeName"] == "test-node"
    cluster.wait(lambda: reasons(cluster, "given") >= {"Scheduled", "Pulled", "Created", "Started"})
    remove(cluster, "given")


def test_a_plain_command_runs_to_its_end(cluster: Cluster) -> None:
    body = pod("plain", image="busybox:1", command=["sh", "-c", "echo out; echo err >&2; exit 4"])
    body["spec"]["restartPolicy"] = "Never"
    start(cluster, body, "Failed")
    ended = state(cluster, "plain")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (4, "Error")
    if shutil.which("kubectl"):
        assert sorted(cluster.kubectl("logs", "plain").splitlines()) == ["err", "out"]
    remove(cluster, "plain")


def test_init_containers_come_first_and_share_volumes(cluster: Cluster) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    init = {
        "name": "first",
        "image": "busybox:1",
        "command": ["sh", "-c", "sleep 0.2; echo prepared > $REHEARSAL_ROOT/shared/note"],
        "volumeMounts": mounts,
    }
    spec = {"initContainers": [init], "volumes": [{"name": "shared", "emptyDir": {}}]}
    item = start(cluster, pod("prepared", spec=spec, volumeMounts=mounts))
    assert answers(cluster, item, "/files/shared/note") == "prepared\n"
    remove(cluster, "prepared")


def test_a_config_map_is_mounted_and_followed(cluster: Cluster) -> None:
    cluster.create(cluster.path("ConfigMap"), {"metadata": {"name": "notes"}, "data": {"a.md": "one", "b.md": "two"}})
    volume = {"name": "notes", "configMap": {"name": "notes"}}
    mounts = [{"name": "notes", "mountPath": "/etc/notes"}]
    item = start(cluster, pod("mounted", spec={"volumes": [volume]}, volumeMounts=mounts))
    assert answers(cluster, item, "/files/etc/notes/a.md") == "one"
    cluster.patch(cluster.path("ConfigMap", "notes"), {"data": {"a.md": "changed"}})
    cluster.wait(lambda: answers(cluster, item, "/files/etc/notes/a.md") == "changed", 2)
    remove(cluster, "mounted")


def test_a_missing_config_map_holds_the_container_until_it_comes(cluster: Cluster) -> None:
    missing = {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "mode"}}}
    cluster.create(cluster.path("Pod"), pod("waiting", env_from_manifest=[missing]))
    waiting = cluster.wait(lambda: (state(cluster, "waiting").get("state") or {}).get("waiting", {}).get("message"))
    assert waiting == 'configmap "later" not found'
    assert state(cluster, "waiting")["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    cluster.create(cluster.path("ConfigMap"), {"metadata": {"name": "later"}, "data": {"mode": "fast"}})
    assert json.loads(answers(cluster, wait_phase(cluster, "waiting", "Running"), "/env"))["MODE"] == "fast"
    remove(cluster, "waiting")


def test_an_unknown_image_is_said_and_can_be_deleted(cluster: Cluster) -> None:
    cluster.create(cluster.path("Pod"), pod("unknown", image="nowhere:9"))
    seen: set[str] = set()

    def both() -> bool:
        seen.add((state(cluster, "unknown").get("state") or {}).get("waiting", {}).get("reason", ""))
        return {"ErrImagePull", "ImagePullBackOff"} <= seen

    cluster.wait(both)
    assert read(cluster, "unknown")["status"]["phase"] == "Pending"
    remove(cluster, "unknown")


def test_a_crashing_container_is_restarted_with_growing_delays(cluster: Cluster) -> None:
    start(cluster, pod("crashing", env={"CRASH_AFTER": "0.05"}))
    cluster.wait(lambda: "CrashLoopBackOff" in json.dumps(state(cluster, "crashing")))
    cluster.wait(lambda: state(cluster, "crashing")["restartCount"] >= 2)
    last = state(cluster, "crashing")["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (3, "Error")
    if shutil.which("kubectl"):
        assert "crashing" in cluster.kubectl("logs", "crashing", "--previous")
    cluster.wait(lambda: "BackOff" in reasons(cluster, "crashing"))
    remove(cluster, "crashing")


def test_readiness_follows_the_probe_without_a_restart(cluster: Cluster) -> None:
    item = start(cluster, pod("probed", readinessProbe=READY))
    cluster.wait(lambda: is_ready(cluster, "probed"))
    cluster.ask(item, "/fail/ready")
    cluster.wait(lambda: not is_ready(cluster, "probed"))
    cluster.ask(item, "/heal/ready")
    cluster.wait(lambda: is_ready(cluster, "probed"))
    assert state(cluster, "probed")["restartCount"] == 0
    remove(cluster, "probed")


def test_a_container_that_is_not_alive_is_restarted(cluster: Cluster) -> None:
    live = {"httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}
    exec_probe = {"exec": {"command": ["sh", "-c", "rm -f $REHEARSAL_ROOT/tmp/live"]}, "periodSeconds": 1}
    item = start(cluster, pod("alive", livenessProbe=live, startupProbe=exec_probe))
    answers(cluster, item, "/fail/live")
    cluster.wait(lambda: state(cluster, "alive")["restartCount"] == 1)
    cluster.wait(lambda: {"Unhealthy", "Killing"} <= reasons(cluster, "alive"))
    cluster.wait(lambda: is_ready(cluster, "alive"))
    time.sleep(1.5)
    assert state(cluster, "alive")["restartCount"] == 1
    remove(cluster, "alive")


def test_a_container_that_never_starts_up_is_restarted(cluster: Cluster) -> None:
    startup = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    start(cluster, pod("slow", env={"START_SECONDS": "30"}, startupProbe=startup))
    cluster.wait(lambda: state(cluster, "slow")["restartCount"] >= 1)
    assert state(cluster, "slow")["started"] is False
    remove(cluster, "slow")


def test_the_grace_period_is_given_and_ends(cluster: Cluster) -> None:
    start(
        cluster, pod("stubborn", image="busybox:1", command=["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    )
    begun = time.monotonic()
    cluster.delete(cluster.path("Pod", "stubborn"), {"gracePeriodSeconds": 1})
    assert read(cluster, "stubborn")["metadata"]["deletionGracePeriodSeconds"] == 1
    cluster.wait(lambda: "stubborn" not in names(cluster))
    assert 0.95 < time.monotonic() - begun < 2.5


def test_the_hook_before_stopping_comes_before_the_signal(cluster: Cluster) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 0.3; date +%s.%N > $REHEARSAL_ROOT/../../../../hook"]}}}
    item = start(cluster, pod("hooked", lifecycle=hook, env={"TERM_SECONDS": "0.3"}))
    answers(cluster, item, "/env")
    log = cluster.world.home / "pods" / item["metadata"]["uid"] / "containers" / "main" / "0.log"
    cluster.delete(cluster.path("Pod", "hooked"))
    text = cluster.wait(lambda: log.read_text() if "term " in log.read_text() else "")
    hooked = float((cluster.world.home / "pods" / "hook").read_text())
    assert float(text.split("term ")[1]) >= hooked
    cluster.wait(lambda: "hooked" not in names(cluster))


def test_a_deletion_without_grace_is_at_once(cluster: Cluster) -> None:
    item = start(cluster, pod("forced", env={"TERM_SECONDS": "30"}))
    answers(cluster, item, "/env")
    cluster.delete(cluster.path("Pod", "forced"), {"gracePeriodSeconds": 0})
    cluster.wait(lambda: "forced" not in names(cluster), 1)
    folder = cluster.world.home / "pods" / item["metadata"]["uid"]
    cluster.wait(lambda: not folder.exists(), 3)


def test_memory_beyond_the_limit_ends_the_container(cluster: Cluster) -> None:
    eat = ["python3", "-c", "import time; kept = bytearray(b'x') * 200_000_000; time.sleep(60)"]
    limits = {"limits": {"memory": "64Mi"}}
    start(cluster, pod("greedy", image="busybox:1", command=eat, resources=limits))
    cluster.wait(lambda: "OOMKilled" in json.dumps(state(cluster, "greedy")), 15)
    remove(cluster, "greedy")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_logs_by_kubectl(cluster: Cluster) -> None:
    count = "i=0; while [ $i -lt 5 ]; do echo line $i; i=$((i+1)); done; sleep 0.5; echo last"
    body = pod("talking", image="busybox:1", command=["sh", "-c", count])
    body["spec"]["restartPolicy"] = "Never"
    start(cluster, body)
    assert cluster.kubectl("logs", "talking", "-f").splitlines() == [f"line {n}" for n in range(5)] + ["last"]
    assert cluster.kubectl("logs", "talking", "--tail", "2").splitlines() == ["line 4", "last"]
    assert cluster.kubectl("logs", "talking", "--since", "1h", "--timestamps").splitlines()[0].endswith("Z line 0")
    assert "Started container main" in cluster.kubectl("describe", "pod", "talking")
    remove(cluster, "talking")


def test_what_prometheus_hears(cluster: Cluster) -> None:
    start(cluster, pod("measured"))
    with urllib.request.urlopen(f"http://{cluster.world.host}:10255/metrics", timeout=5) as answer:
        page = answer.read().decode()
    line = next(line for line in page.splitlines() if line.startswith("container_memory_working_set_bytes{"))
    assert 'pod="measured"' in line
    assert float(line.rpartition(" ")[2]) > 100_000
    assert "machine_cpu_cores 64.0" in page
    remove(cluster, "measured")


def is_there(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except FileNotFoundError:
        return False


def in_world(home: Path) -> list[int]:
    """Processes that have the world's folder in their environment or command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(home).encode() in text and is_there(int(entry.name)):
                found.append(int(entry.name))
    return found


def test_nothing_is_left_when_the_node_s_process_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, BLOCK + 1) as cluster:
        start(cluster, pod("one"))
        shell = ["sh", "-c", "trap '' TERM; sleep 100 & sleep 100"]
        start(cluster, pod("two", image="busybox:1", command=shell))
        api_only = 1
        cluster.wait(lambda: len(in_world(tmp_path)) >= api_only + 5)
        cluster.holder.send_signal(signal.SIGKILL)
        cluster.holder.wait()
        cluster.wait(lambda: len(in_world(tmp_path)) == api_only, 3)


def test_a_finished_pod_is_not_run_again_by_a_node_that_comes_back(tmp_path: Path) -> None:
    with running(tmp_path, BLOCK + 1) as cluster:
        body = pod("once", image="busybox:1", command=["sh", "-c", "echo ran >> $REHEARSAL_ROOT/../../../../../ran"])
        body["spec"]["restartPolicy"] = "Never"
        start(cluster, body, "Succeeded")
        start(cluster, pod("always"))
        cluster.restart_holder()
        address = read(cluster, "always")["status"]["containerStatuses"][0]["containerID"]
        cluster.wait(lambda: state(cluster, "always")["containerID"] != address)
        answers(cluster, wait_phase(cluster, "always", "Running"), "/env")
        assert (tmp_path / "ran").read_text() == "ran\n"
        assert read(cluster, "once")["status"]["phase"] == "Succeeded"
        remove(cluster, "once")


def test_nothing_is_left_when_the_node_stops(tmp_path: Path) -> None:
    with running(tmp_path, BLOCK + 1) as cluster:
        start(cluster, pod("one"))
        start(cluster, pod("two", image="busybox:1", command=["sh", "-c", "trap '' TERM; sleep 100 & sleep 100"]))
        begun = time.monotonic()
        cluster.holder.send_signal(signal.SIGTERM)
        assert cluster.holder.wait(timeout=5) == 0
        assert time.monotonic() - begun < 4
        assert len(in_world(tmp_path)) == 1
        assert not (tmp_path / "pods").exists()
