"""A pod's status from the states of its containers; which pods fit; what the log shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rehearsal.node.addresses import AddressPool
from rehearsal.node.logs import LogOptions, read_log
from rehearsal.node.metrics import ContainerFacts, render_metrics
from rehearsal.node.options import NodeOptions
from rehearsal.node.scheduler import lacking
from rehearsal.node.status import ContainerStatus, conditions_of, phase_of
from rehearsal.node.usage import Usage

RUNNING = {"running": {"startedAt": "t"}}
WAITING = {"waiting": {"reason": "ContainerCreating"}}


def ended(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code}}


def status(state: dict[str, Any], *, ready: bool = False, restarts: int = 0) -> ContainerStatus:
    return ContainerStatus("c", "i", "id", state, {}, restarts, ready, True)


@pytest.mark.parametrize(
    ("policy", "states", "going", "phase"),
    [
        ("Always", [WAITING], False, "Pending"),
        ("Always", [RUNNING, WAITING], False, "Running"),
        ("Always", [ended(1)], False, "Running"),
        ("Always", [ended(0)], False, "Running"),
        ("Always", [ended(0)], True, "Succeeded"),
        ("Always", [ended(0), ended(143)], True, "Failed"),
        ("Never", [ended(0), ended(1)], False, "Failed"),
        ("Never", [ended(0), RUNNING], False, "Running"),
        ("OnFailure", [ended(0)], False, "Succeeded"),
        ("OnFailure", [ended(2)], False, "Running"),
    ],
)
def test_phases(policy: str, states: list[dict[str, Any]], going: bool, phase: str) -> None:
    assert phase_of(policy, [], [status(state) for state in states], going) == phase


def test_a_pod_waits_for_its_init_containers() -> None:
    assert phase_of("Always", [status(RUNNING)], [status(WAITING)], False) == "Pending"
    assert phase_of("Always", [status(ended(0))], [status(RUNNING)], False) == "Running"
    assert phase_of("Always", [status(ended(1))], [status(WAITING)], False) == "Pending"
    assert phase_of("Never", [status(ended(1))], [status(WAITING)], False) == "Failed"


def test_a_crashed_container_waiting_for_its_restart_is_of_a_running_pod() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    assert phase_of("Always", [], [status(waiting, restarts=2)], False) == "Running"


def test_conditions_keep_their_times_while_they_stay() -> None:
    first = conditions_of([], "Running", [], [status(RUNNING)], "10:00")
    later = conditions_of(first, "Running", [], [status(RUNNING, ready=True)], "11:00")
    since = {each["type"]: (each["status"], each["lastTransitionTime"]) for each in later}
    assert since["Ready"] == ("True", "11:00")
    assert since["ContainersReady"] == ("True", "11:00")
    assert since["PodScheduled"] == ("True", "10:00")
    assert since["Initialized"] == ("True", "10:00")
    unready = next(each for each in first if each["type"] == "Ready")
    assert unready["message"] == "containers with unready status: [c]"


def pod(cpu: str = "1", memory: str = "1Gi") -> dict[str, Any]:
    return {"spec": {"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}]}}


def test_a_pod_that_does_not_fit_is_told_what_is_missing() -> None:
    options = NodeOptions(cpu="4", memory="4Gi", pods="3")
    assert lacking(pod(), [pod(), pod()], options) == []
    assert lacking(pod("2500m"), [pod(), pod()], options) == ["cpu"]
    assert lacking(pod("2", "8Gi"), [pod(), pod(), pod()], options) == ["cpu", "memory", "pods"]


def test_addresses_are_not_used_again_soon() -> None:
    pool = AddressPool("127.46.128.0/29")
    taken = [pool.take() for _ in range(6)]
    assert len(set(taken)) == 6
    with pytest.raises(RuntimeError, match="no address left"):
        pool.take()
    pool.give_back(taken[3])
    assert pool.take() == taken[3]
    wide = AddressPool("127.46.128.0/24")
    first = wide.take()
    wide.give_back(first)
    assert wide.take() != first


LOG = (
    "2026-11-20T10:00:00.000000000Z stdout F first\n"
    "2026-11-20T10:00:01.000000000Z stderr F second line\n"
    "2026-11-20T10:00:02.000000000Z stdout P part\n"
    "2026-11-20T10:00:02.000000000Z stdout F ial\n"
    "2026-11-20T10:00:03.000000000Z stdout F \n"
    "2026-11-20T10:00:04.0000"
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "first\nsecond line\npartial\n\n"),
        ({"tailLines": "2"}, "ial\n\n"),
        ({"tailLines": "0"}, ""),
        ({"tailLines": "99"}, "first\nsecond line\npartial\n\n"),
        ({"sinceTime": "2026-11-20T10:00:02Z"}, "partial\n\n"),
        ({"sinceTime": "2026-11-20T10:00:01Z", "tailLines": "4", "timestamps": "true"}, None),
    ],
)
def test_logs(tmp_path: Path, query: dict[str, str], expected: str | None) -> None:
    path = tmp_path / "0.log"
    path.write_text(LOG)
    shown, offset = read_log(path, LogOptions.from_query(query))
    assert offset == LOG.rindex("\n") + 1
    if expected is None:
        assert shown.startswith(b"2026-11-20T10:00:01.000000000Z second line\n")
    else:
        assert shown.decode() == expected


def test_metrics_tell_usage_limits_and_deployments() -> None:
    labels = {"version": "5.1", "deployment-type": "canary"}
    metadata = {"name": "p", "namespace": "place", "uid": "u", "labels": labels}
    spec = {"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}
    facts = ContainerFacts({"metadata": metadata}, spec, 2, Usage(1.5, 4096))
    deployment = {"metadata": {"name": "d", "namespace": "place"}, "spec": {"replicas": 3}, "status": {}}
    page = render_metrics([facts], [deployment], NodeOptions()).decode()
    marks = 'container="c",deployment_type="canary",namespace="place",pod="p"'
    assert f'container_cpu_usage_seconds_total{{{marks},version="5.1"}} 1.5' in page
    assert f'container_memory_working_set_bytes{{{marks},version="5.1"}} 4096.0' in page
    assert f'kube_pod_container_status_restarts_total{{{marks},version="5.1"}} 2.0' in page
    assert f'kube_pod_container_resource_limits{{{marks},resource="cpu",version="5.1"}} 0.5' in page
    assert 'kube_deployment_spec_replicas{deployment="d",namespace="place"} 3.0' in page
    assert 'kube_deployment_status_replicas_available{deployment="d",namespace="place"} 0.0' in page
    assert "machine_cpu_cores 64.0" in page
