"""Which pods go first, and what the counts say."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.controllers.deployment import find_new_set, replica_set_body, template_hash
from rehearsal.controllers.replicaset import deletion_rank, pod_body, replica_set_status
from rehearsal.objects import selects

Object = dict[str, Any]


def pod(name: str, **facts: Any) -> Object:
    since = facts.get("ready_since", "2026-11-20T10:00:00Z")
    ready = {"type": "Ready", "status": "True" if facts.get("ready", True) else "False", "lastTransitionTime": since}
    annotations = {"controller.kubernetes.io/pod-deletion-cost": str(facts.get("cost", 0))}
    return {
        "metadata": {
            "name": name,
            "labels": facts.get("labels", {}),
            "annotations": annotations,
            "creationTimestamp": facts.get("made", "2026-11-20T09:00:00Z"),
        },
        "spec": {"nodeName": facts.get("node", "n")},
        "status": {
            "phase": facts.get("phase", "Running"),
            "conditions": [ready],
            "containerStatuses": [{"restartCount": facts.get("restarts", 0)}],
        },
    }


def test_order_of_deletion() -> None:
    pods = [
        pod("oldest"),
        pod("restarted", restarts=3),
        pod("ready-later", ready_since="2026-11-20T11:00:00Z"),
        pod("cheap", cost=-1),
        pod("newest-unready", ready=False, made="2026-11-20T09:30:00Z"),
        pod("unready", ready=False),
        pod("pending", ready=False, phase="Pending"),
        pod("unplaced", ready=False, phase="Pending", node=""),
    ]
    ranked = [each["metadata"]["name"] for each in sorted(pods, key=deletion_rank)]
    assert ranked == [
        "unplaced",
        "pending",
        "newest-unready",
        "unready",
        "cheap",
        "ready-later",
        "restarted",
        "oldest",
    ]


def deployment(image: str = "app:1") -> Object:
    return {
        "metadata": {"name": "app", "namespace": "place", "uid": "d1", "annotations": {"note": "kept"}},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "x"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": image}]}},
        },
    }


def test_a_replica_set_is_found_again_by_its_template() -> None:
    made = replica_set_body(deployment(), template_hash(deployment()["spec"]["template"], 0), 2, 1)
    assert find_new_set(deployment(), [made]) is made
    assert find_new_set(deployment("app:2"), [made]) is None


def test_pods_carry_the_hash_and_their_controller() -> None:
    made = replica_set_body(deployment(), "hash", 2, 7)
    made["metadata"]["uid"] = "r1"
    body = pod_body(made)
    assert body["metadata"]["labels"] == {"app": "x", "pod-template-hash": "hash"}
    assert body["metadata"]["ownerReferences"][0]["uid"] == "r1"
    assert body["metadata"]["generateName"] == "app-hash-"
    assert made["metadata"]["annotations"] == {
        "note": "kept",
        "deployment.kubernetes.io/revision": "7",
        "deployment.kubernetes.io/desired-replicas": "4",
        "deployment.kubernetes.io/max-replicas": "5",
    }


def test_counts() -> None:
    item = {"metadata": {"generation": 3}, "spec": {"template": {"metadata": {"labels": {"app": "x"}}}}}
    status = replica_set_status(item, [pod("a", labels={"app": "x"}), pod("b", ready=False)], 1)
    assert status == {
        "replicas": 2,
        "observedGeneration": 3,
        "fullyLabeledReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
    }
    assert replica_set_status(item, [], 0) == {"replicas": 0, "observedGeneration": 3}


@pytest.mark.parametrize(
    ("operator", "values", "holds"),
    [
        ("In", ["x"], True),
        ("In", ["y"], False),
        ("NotIn", ["y"], True),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ],
)
def test_label_expressions(operator: str, values: list[str] | None, holds: bool) -> None:
    expression = {"key": "app", "operator": operator, "values": values}
    assert selects({"matchExpressions": [expression]}, {"app": "x"}) is holds
