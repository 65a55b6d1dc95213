"""A Deployment's status says what kubectl rollout status and waiting clients rely on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rehearsal.controllers.deployment_status import deployment_status, progress_deadline
from rehearsal.objects import condition

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
Object = dict[str, Any]


def deployment(replicas: int = 3, generation: int = 2, status: Object | None = None, **spec: Any) -> Object:
    return {
        "metadata": {"name": "app", "generation": generation},
        "spec": {"replicas": replicas, "progressDeadlineSeconds": 60} | spec,
        "status": status or {},
    }


def replica_set(name: str, replicas: int, ready: int, asked: int | None = None) -> Object:
    status = {"replicas": replicas, "readyReplicas": ready, "availableReplicas": ready}
    return {"metadata": {"name": name}, "spec": {"replicas": replicas if asked is None else asked}, "status": status}


def reason(status: Object, kind: str) -> str:
    found = condition({"status": status}, kind)
    return found["reason"] if found else ""


def test_a_finished_rollout() -> None:
    new = replica_set("app-new", 3, 3)
    status = deployment_status(deployment(), new, [new, replica_set("app-old", 0, 0)], 0, NOW)
    counts = {name: value for name, value in status.items() if name != "conditions"}
    assert counts == {
        "observedGeneration": 2,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
    }
    assert reason(status, "Available") == "MinimumReplicasAvailable"
    assert reason(status, "Progressing") == "NewReplicaSetAvailable"


def test_a_rollout_under_way_counts_what_is_missing() -> None:
    new, old = replica_set("app-new", 1, 0), replica_set("app-old", 3, 3)
    status = deployment_status(deployment(), new, [new, old], 0, NOW)
    assert status["updatedReplicas"] == 1
    assert status["unavailableReplicas"] == 1
    assert reason(status, "Progressing") == "ReplicaSetUpdated"


def test_missing_availability_is_said() -> None:
    new = replica_set("app-new", 3, 1)
    status = deployment_status(deployment(), new, [new], 1, NOW)
    assert reason(status, "Available") == "MinimumReplicasUnavailable"


def test_the_same_state_gives_the_same_status_later() -> None:
    new = replica_set("app-new", 3, 3)
    first = deployment_status(deployment(), new, [new], 0, NOW)
    later = deployment_status(deployment(status=first), new, [new], 0, NOW + timedelta(hours=1))
    assert later == first


def test_a_rollout_that_does_not_move_passes_its_deadline() -> None:
    new = replica_set("app-new", 3, 1)
    first = deployment_status(deployment(), new, [new], 0, NOW)
    stuck = deployment(status=first)
    assert reason(deployment_status(stuck, new, [new], 0, NOW + timedelta(seconds=60)), "Progressing") == (
        "ReplicaSetUpdated"
    )
    late = deployment_status(stuck, new, [new], 0, NOW + timedelta(seconds=61))
    assert reason(late, "Progressing") == "ProgressDeadlineExceeded"
    assert condition({"status": late}, "Progressing")["status"] == "False"  # type: ignore[index]


def test_progress_renews_the_deadline() -> None:
    new = replica_set("app-new", 3, 1)
    first = deployment_status(deployment(), new, [new], 0, NOW)
    assert progress_deadline(deployment(status=first), NOW) == 61
    more = replica_set("app-new", 3, 2)
    later = NOW + timedelta(seconds=50)
    second = deployment_status(deployment(status=first), more, [more], 0, later)
    assert progress_deadline(deployment(status=second), later) == 61


def test_a_new_template_after_a_stuck_one_starts_a_new_deadline() -> None:
    new = replica_set("app-new", 3, 1)
    first = deployment_status(deployment(), new, [new], 0, NOW)
    stuck = deployment_status(deployment(status=first), new, [new], 0, NOW + timedelta(seconds=90))
    fresh = deployment(status=stuck, generation=3)
    status = deployment_status(fresh, replica_set("app-newer", 0, 0), [new], 0, NOW + timedelta(seconds=95))
    assert reason(status, "Progressing") == "ReplicaSetUpdated"


def test_scaling_a_finished_rollout_is_no_new_rollout() -> None:
    new = replica_set("app-new", 3, 3)
    done = deployment_status(deployment(), new, [new], 0, NOW)
    scaled = replica_set("app-new", 5, 3)
    status = deployment_status(deployment(replicas=5, status=done), scaled, [scaled], 1, NOW)
    assert reason(status, "Progressing") == "NewReplicaSetAvailable"


def test_a_paused_rollout_has_no_deadline() -> None:
    new = replica_set("app-new", 3, 1)
    status = deployment_status(deployment(paused=True), new, [new], 0, NOW)
    assert reason(status, "Progressing") == "DeploymentPaused"
    assert progress_deadline(deployment(paused=True, status=status), NOW) is None
