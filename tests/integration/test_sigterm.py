"""Modules that make two changes, ended by SIGTERM or Ctrl-C between them: docs/bad_days.md says what becomes of each.

*Undone*: everything is as it was. *Completed*: the next run of the same task makes a whole of it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import NotFoundError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import TOUCHED
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    config_map,
    deployment,
    lease,
    pod,
    service,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_store import SnapshotStore, bodies
from rehearsal.world import NAMESPACE
from tests.integration.api_only import TRAFFIC, api, forget_releases
from tests.integration.cut_off import Moment, cut_off, cut_off_play, ended, gate, start

BLOCK = 98
PLACE = {"application": NAMESPACE, "namespace": NAMESPACE}
NOTES = [config_map(NAMESPACE, f"notes-{number}") for number in range(3)]
OBJECTS = [{"api_version": "v1", "kind": "ConfigMap", "name": ref.name} for ref in NOTES]
LEASE = lease(NAMESPACE, f"{NAMESPACE}-release-lock")
VERSIONS = {"stable": "5.0", "candidate": "5.1"}
PLAN = {"release_stages": [{"name": "canary"}]}


def moments(most: int) -> pytest.MarkDecorator:
    """Every place between the first and the last of ``most`` changes, and right after the last one."""
    found = [Moment(changes, known) for changes in range(1, most + 1) for known in (False, True)]
    return pytest.mark.parametrize("moment", found[:-1], ids=str)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home / "kubeconfig"


@pytest.fixture
def cluster(kubeconfig: Path) -> Cluster:
    """The API with no release and three ConfigMaps, so large that each is a part of its own in a snapshot."""
    cluster = Cluster.from_options({"kubeconfig": str(kubeconfig)})
    forget_releases(cluster)
    for number, ref in enumerate(NOTES):
        with contextlib.suppress(NotFoundError):
            cluster.delete(ref)
        noise = base64.b64encode(random.Random(number).randbytes(500_000)).decode()
        make(cluster, ref, {"text": noise, "version": "5.0"})
    return cluster


def make(cluster: Cluster, ref: Ref, data: dict[str, str]) -> None:
    meta = {"name": ref.name, "namespace": ref.namespace}
    cluster.create(ref, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


def names(cluster: Cluster) -> set[str]:
    """The ConfigMaps of releases that are there."""
    found = {item["metadata"]["name"] for item in cluster.list(config_map(NAMESPACE))}
    return {name for name in found if "-release-" in name}


def taking(**options: Any) -> dict[str, Any]:
    return {"action": "take", **PLACE, "release_id": "5.1-a", "objects": OBJECTS, **options}


def store(cluster: Cluster) -> SnapshotStore:
    return SnapshotStore(cluster, NAMESPACE, NAMESPACE)


def whole(kubeconfig: Path, module: str, options: dict[str, Any]) -> dict[str, Any]:
    return ended(start(module, {**options, "kubeconfig": str(kubeconfig)}))


# ---- object_snapshot


@moments(4)
def test_a_snapshot_that_is_cut_off_is_undone(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path, moment: Moment
) -> None:
    """Its list and a part for each ConfigMap; the files come last."""
    backups = tmp_path / "backups"
    number = signal.SIGINT if moment == Moment(2, True) else signal.SIGTERM
    cut_off(kubeconfig, tmp_path, moment, number, "object_snapshot", taking(directory=str(backups)))
    assert names(cluster) == set()
    assert not backups.exists() or list(backups.iterdir()) == []
    taken = whole(kubeconfig, "object_snapshot", taking(directory=str(backups)))
    assert taken["name"] == f"{NAMESPACE}-release-snapshot-5.1-a"
    assert [path.name for path in backups.iterdir()] == [taken["name"]]


def test_a_snapshot_is_made_by_four_changes(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    """Else the test above tries moments that never come, or not all of them."""
    with gate(kubeconfig, tmp_path) as between:
        whole(between.kubeconfig, "object_snapshot", taking())
    assert between.made == 4


@moments(3)
def test_a_restoration_that_is_cut_off_is_completed(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path, moment: Moment
) -> None:
    whole(kubeconfig, "object_snapshot", taking())
    for ref in NOTES:
        cluster.patch(ref, {"data": {"version": "5.1"}})
    restoring = {"action": "restore", **PLACE, "force": True}
    cut_off(kubeconfig, tmp_path, moment, signal.SIGTERM, "object_snapshot", restoring)
    back = [cluster.get(ref)["data"]["version"] for ref in NOTES]
    assert back.count("5.0") == moment.changes
    done = whole(kubeconfig, "object_snapshot", restoring)
    assert len(done["restored"]) == 3 - moment.changes
    assert [cluster.get(ref)["data"]["version"] for ref in NOTES] == ["5.0"] * 3


@moments(4)
def test_pruning_that_is_cut_off_leaves_no_list_without_its_parts_and_is_completed(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path, moment: Moment
) -> None:
    whole(kubeconfig, "object_snapshot", taking())
    pruning = {"action": "prune", **PLACE, "keep_days": 0}
    cut_off(kubeconfig, tmp_path, moment, signal.SIGTERM, "object_snapshot", pruning)
    for found in store(cluster).all():
        assert len(bodies(found)) == 3
    assert len(names(cluster)) == 4 - moment.changes
    whole(kubeconfig, "object_snapshot", pruning)
    assert names(cluster) == set()


# ---- release_journal


def journal(cluster: Cluster) -> JournalStore:
    return JournalStore(cluster, NAMESPACE, NAMESPACE)


@pytest.mark.parametrize("moment", [Moment(1, False), Moment(1, True), Moment(2, False)], ids=str)
def test_an_event_whose_parts_were_cut_off_is_completed(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path, moment: Moment
) -> None:
    kept = journal(cluster)
    kept.open("5.1-a", VERSIONS, PLAN, {})
    for number in range(3):
        kept.record("note", data={"n": number, "text": "x" * 43_000})
    noting = {"action": "record", **PLACE, "what": "note", "data": {"n": 3, "text": "x" * 43_000}}
    cut_off(kubeconfig, tmp_path, moment, signal.SIGTERM, "release_journal", noting)
    assert len([name for name in names(cluster) if name.endswith("-0001")]) == 1, "a part was made"
    written = [0, 1, 2] if moment.changes == 1 else [0, 1, 2, 3]
    assert noted(cluster) == written
    whole(kubeconfig, "release_journal", noting)
    assert noted(cluster) == [*written, 3]


def noted(cluster: Cluster) -> list[int]:
    """The notes of the whole journal, each read from where it lies."""
    found = journal(cluster).read()
    assert found is not None
    return [event["data"]["n"] for event in found.events if event["what"] == "note"]


@moments(3)
def test_an_opening_that_was_cut_off_is_completed(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path, moment: Moment
) -> None:
    kept = journal(cluster)
    kept.open("5.1-a", VERSIONS, PLAN, {})
    kept.close("done")
    opening = {"action": "open", **PLACE, "release_id": "5.1-b", "versions": VERSIONS, "plan": PLAN}
    cut_off(kubeconfig, tmp_path, moment, signal.SIGTERM, "release_journal", opening)
    found = kept.head()
    assert found is not None and found.release_id == ("5.1-b" if moment.changes == 3 else "5.1-a")
    done = whole(kubeconfig, "release_journal", opening)
    assert (done["release_id"], done["state"]) == ("5.1-b", "in_progress")
    assert [entry["release_id"] for entry in kept.history()] == ["5.1-a", "5.1-b"]


# ---- action plugins, which run in a worker of ansible-playbook


@moments(5)
def test_a_lock_whose_taking_is_cut_off_is_given_back_and_leaves_no_mark(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path, moment: Moment
) -> None:
    """The Lease, and two changes of each object that is touched: what carries the weight, and the journal."""
    journal(cluster).open("5.1-a", VERSIONS, PLAN, {})
    with contextlib.suppress(NotFoundError):
        cluster.delete(LEASE)
    options = {"action": "acquire", **PLACE, "release_id": "5.1-a", "traffic": TRAFFIC}
    cut_off_play(kubeconfig, tmp_path, moment, {"name": "Lock", "claude_enhancer.rollout.release_lock": options})
    assert cluster.get(LEASE)["spec"].get("holderIdentity", "") == ""
    for ref in (virtual_service(NAMESPACE, NAMESPACE), *journal(cluster).objects):
        assert TOUCHED not in (cluster.get(ref)["metadata"].get("annotations") or {})


# ---- traffic_weight, where a weight is made of two objects


SPLIT, CANARY = service(NAMESPACE, "split"), deployment(NAMESPACE, "split-canary")


@pytest.mark.parametrize("moment", [Moment(1, False), Moment(1, True), Moment(2, False)], ids=str)
def test_a_share_of_pods_that_is_cut_off_is_undone(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path, moment: Moment
) -> None:
    """From all pods of the candidate to one beside four: the Service is opened to both sides, then the others go."""
    make_pods(kubeconfig, cluster)
    put(cluster, SPLIT, {"spec": {"selector": {"app": "split", "version": "5.1"}, "ports": [{"port": 80}]}})
    template = {"metadata": {"labels": {"app": "split", "version": "5.1"}}, "spec": {"containers": [CONTAINER]}}
    put(cluster, CANARY, {"spec": {"replicas": 4, "selector": {"matchLabels": {"app": "split"}}, "template": template}})
    options = {
        "provider": "service",
        "namespace": NAMESPACE,
        "name": SPLIT.name,
        "stable": {"labels": {"version": "5.0"}},
        "candidate": {"labels": {"version": "5.1"}, "deployment": CANARY.name},
        "weight": 20,
        "guard": False,
    }
    cut_off(kubeconfig, tmp_path, moment, signal.SIGTERM, "traffic_weight", options)
    assert cluster.get(SPLIT)["spec"]["selector"] == {"app": "split", "version": "5.1"}
    assert cluster.get(CANARY)["spec"]["replicas"] == 4


CONTAINER = {"name": "app", "image": "claude-enhancer:5.1"}


def put(cluster: Cluster, ref: Ref, body: dict[str, Any]) -> None:
    with contextlib.suppress(NotFoundError):
        cluster.delete(ref)
    meta = {"name": ref.name, "namespace": ref.namespace}
    cluster.create(ref, {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": meta, **body})


def make_pods(kubeconfig: Path, cluster: Cluster) -> None:
    """Four ready pods of each side; nobody looks after them, so they stay as they are."""
    ready = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    for version in ("5.0", "5.1"):
        for number in range(4):
            ref = pod(NAMESPACE, f"split-{version[-1]}-{number}")
            if cluster.find(ref):
                continue
            labels = {"app": "split", "version": version}
            meta = {"name": ref.name, "namespace": NAMESPACE, "labels": labels}
            cluster.create(
                ref, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [CONTAINER]}}
            )
            subprocess.run(
                ["kubectl", "--kubeconfig", str(kubeconfig), "-n", NAMESPACE, "patch", "pod", ref.name,
                 "--subresource=status", "--type=merge", "-p", ready],
                check=True, capture_output=True,
            )  # fmt: skip
