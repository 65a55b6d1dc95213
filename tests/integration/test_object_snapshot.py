"""object_snapshot under a real ansible-playbook, against the emulated Kubernetes API alone."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    Ref,
    config_map,
    deployment,
    service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import NotFoundError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    destination_rule,
    secret,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import cleaned
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from rehearsal.world import NAMESPACE
from tests.integration.api_only import PROGRAM, TRAFFIC, api, environment, forget_releases, results, write_playbook

BLOCK = 87
MODULE = "claude_enhancer.rollout.object_snapshot"
JOURNAL = "claude_enhancer.rollout.release_journal"
VERSIONS = {"stable": "5.0", "candidate": "5.1"}
STABLE, CANDIDATE = {"app": NAMESPACE, "version": "5.0"}, {"app": NAMESPACE, "version": "5.1"}
BLUE, CANARY = deployment(NAMESPACE, "claude-enhancer-blue"), deployment(NAMESPACE, "claude-enhancer-canary")
ENTRY, SECRET = service(NAMESPACE, "claude-enhancer-service"), secret(NAMESPACE, "claude-enhancer-database")
AGENTS = config_map(NAMESPACE, "claude-enhancer-5.0-agents")
ROUTE, RULE = virtual_service(NAMESPACE, NAMESPACE), destination_rule(NAMESPACE, NAMESPACE)
PASSWORD = "s3cret-Pa55word"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()
DRAIN = [{"op": "add", "path": "/spec/subsets/1/labels/deployment-type", "value": "green"}]
FACTS: dict[str, Any] = {
    "release_namespace": NAMESPACE,
    "release_traffic": TRAFFIC,
    "release_stable": {"version": "5.0", "deployment": BLUE.name},
    "release_candidate": {"version": "5.1", "canary_deployment": CANARY.name},
    "release_entry_service": {"name": ENTRY.name},
    "release_agents": {"config_map": "claude-enhancer-5.1-agents"},
    "release_canary_drain": [{"api_version": RULE.api_version, "kind": RULE.kind, "name": RULE.name, "patch": DRAIN}],
}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home / "kubeconfig"


@pytest.fixture
def cluster(kubeconfig: Path) -> Cluster:
    """The API with the application as it runs before a release, its agents' ConfigMap close to the limit of size."""
    cluster = Cluster.from_options({"kubeconfig": str(kubeconfig)})
    forget_releases(cluster)
    with contextlib.suppress(NotFoundError):
        cluster.delete(CANARY)
    put(cluster, SECRET, {"data": {"dsn": ENCODED}})
    noise = random.Random(1).randbytes(740_000)
    put(cluster, AGENTS, {"data": {"agents.md": base64.b64encode(noise).decode()}})
    put(cluster, BLUE, a_deployment(BLUE, STABLE))
    put(cluster, ENTRY, {"spec": {"selector": STABLE, "ports": [{"port": 80}]}})
    set_weight(open_provider("istio", cluster, TRAFFIC), 0, guard=False)
    rule = cluster.get(RULE)
    if "deployment-type" in rule["spec"]["subsets"][1]["labels"]:
        cluster.patch(RULE, [{"op": "remove", "path": "/spec/subsets/1/labels/deployment-type"}], "json")
    return cluster


def a_deployment(ref: Ref, labels: dict[str, str]) -> dict[str, Any]:
    labels = {**labels, "deployment": ref.name}
    env = [
        {"name": "API_TOKEN", "value": PASSWORD},
        {"name": "DSN", "valueFrom": {"secretKeyRef": {"name": SECRET.name, "key": "dsn"}}},
    ]
    container = {"name": "app", "image": "claude-enhancer:5.0", "env": env}
    volumes = [{"name": "agents", "configMap": {"name": AGENTS.name}}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}}
    return {"spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}}


def put(cluster: Cluster, ref: Ref, body: dict[str, Any]) -> None:
    with contextlib.suppress(NotFoundError):
        cluster.delete(ref)
    meta = {"name": ref.name, "namespace": ref.namespace}
    cluster.create(ref, {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": meta, **body})


def task(action: str, **options: Any) -> dict[str, Any]:
    return {MODULE: {"action": action, "application": NAMESPACE, "namespace": NAMESPACE, **options}}


def taking(**options: Any) -> dict[str, Any]:
    return task("take", release_id="5.1-a", release=FACTS, **options)


def opening(kept: str) -> dict[str, Any]:
    """Open the journal with the snapshot that the task before it registered as ``kept``."""
    snapshot = {"weight": 0, "objects": f"{{{{ {kept}.snapshot }}}}"}
    options = {"application": NAMESPACE, "namespace": NAMESPACE, "release_id": "5.1-a", "versions": VERSIONS}
    return {JOURNAL: {"action": "open", **options, "snapshot": snapshot, "plan": FACTS}}


def release(cluster: Cluster) -> None:
    """What a release does, as far as the clean-up of the canary."""
    put(cluster, CANARY, a_deployment(CANARY, CANDIDATE))
    set_weight(open_provider("istio", cluster, TRAFFIC), 100, guard=False)
    cluster.patch(ENTRY, {"spec": {"selector": CANDIDATE}})
    cluster.patch(RULE, DRAIN, "json")


def kubectl(kubeconfig: Path, ref: Ref, patch: dict[str, Any]) -> None:
    """Somebody else changes an object."""
    done = subprocess.run(
        ["kubectl", "--kubeconfig", str(kubeconfig), "-n", NAMESPACE, "patch", ref.kind.lower(), ref.name,
         "--type=merge", "-p", json.dumps(patch)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def shapes(cluster: Cluster) -> list[dict[str, Any]]:
    return [cleaned(cluster.get(ref)) for ref in (BLUE, ENTRY, ROUTE, RULE, AGENTS)]


def stored(cluster: Cluster) -> list[dict[str, Any]]:
    return [item for item in cluster.list(config_map(NAMESPACE)) if "-release-snapshot-" in item["metadata"]["name"]]


def test_a_release_is_kept_compared_and_brought_back(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    before = shapes(cluster)
    taken, opened, again = results(tmp_path, kubeconfig, [taking(), opening("r0"), taking()])
    assert (taken["changed"], opened["journal"]["snapshot"]["objects"]) == (True, taken["snapshot"])
    assert (again["changed"], again["snapshot"]) == (False, taken["snapshot"]), (
        "the state before stays the one to return to"
    )
    assert len(stored(cluster)) == 2, "the agents' ConfigMap leaves no room beside it"
    release(cluster)
    compared, restored, once_more, same = results(
        tmp_path,
        kubeconfig,
        [task("verify"), task("restore", remove_new=True), task("restore", remove_new=True), task("verify")],
        "--diff",
    )
    assert (compared["same"], {one["object"]: one["state"] for one in compared["differences"]}) == (False, {
        str(CANARY): "new", str(ENTRY): "changed", str(ROUTE): "changed", str(RULE): "changed",
    })  # fmt: skip
    assert restored["restored"] == [str(ENTRY), str(RULE), str(ROUTE)]
    assert restored["removed"] == [str(CANARY)]
    assert restored["diff"]["before"][str(ENTRY)]["spec"]["selector"] == CANDIDATE
    assert (once_more["changed"], once_more["problems"]) == (False, [])
    assert (same["same"], same["differences"]) == (True, [])
    assert shapes(cluster) == before


def test_a_password_is_in_no_result_no_config_map_and_no_file(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    tasks = [taking(directory=str(backups)), task("read", content=True), task("verify"), task("restore", force=True)]
    cluster.patch(SECRET, {"data": {"dsn": ENCODED}})
    answers = results(tmp_path, kubeconfig, tasks, "--diff", "-vvv")
    assert [answer["failed"] for answer in answers] == [False] * 4
    files = [file.read_bytes() for file in backups.rglob("*") if file.is_file()]
    assert len(files) > 5
    for text in (*files, json.dumps(answers).encode(), json.dumps(stored(cluster)).encode()):
        assert PASSWORD.encode() not in text
        assert ENCODED.encode() not in text


def test_what_others_changed_stays_and_is_named(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    results(tmp_path, kubeconfig, [taking()])
    release(cluster)
    kubectl(kubeconfig, ENTRY, {"metadata": {"labels": {"mine": "yes"}}})
    routes = cluster.get(ROUTE)["spec"]["http"]
    kubectl(kubeconfig, ROUTE, {"spec": {"http": [{**route, "timeout": "77s"} for route in routes]}})
    restored, forced = results(tmp_path, kubeconfig, [task("restore"), task("restore", force=True)])
    kept = {(one["object"], one["field"]) for one in restored["kept"]}
    assert (str(ENTRY), "metadata.labels") in kept or (str(ENTRY), "metadata.labels.mine") in kept
    assert (str(ROUTE), "spec.http[default].timeout") in kept
    assert "force=true takes it back" in str(restored["warnings"])
    assert "mine" not in cluster.get(ENTRY)["metadata"].get("labels", {}), "forced"
    assert (forced["changed"], forced["kept"]) == (True, [])
    assert {route["timeout"] for route in cluster.get(ROUTE)["spec"]["http"]} != {"77s"}


def test_check_mode_tells_what_would_be_and_stores_nothing(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    (tried,) = results(tmp_path, kubeconfig, [taking(directory=str(backups))], "--check", "--diff")
    assert (tried["changed"], stored(cluster), backups.exists()) == (True, [], False)
    results(tmp_path, kubeconfig, [taking()])
    release(cluster)
    before = shapes(cluster)
    (would,) = results(tmp_path, kubeconfig, [task("restore", remove_new=True)], "--check", "--diff")
    assert (would["changed"], would["removed"]) == (True, [str(CANARY)])
    assert would["diff"]["after"][str(ENTRY)]["spec"]["selector"] == STABLE
    assert (shapes(cluster), cluster.find(CANARY) is not None) == (before, True)


def test_what_was_deleted_is_made_anew_and_from_files_too(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    before = shapes(cluster)
    backups = tmp_path / "backups"
    (taken,) = results(tmp_path, kubeconfig, [taking(directory=str(backups))])
    for ref in (AGENTS, ENTRY, ROUTE):
        cluster.delete(ref)
    (made,) = results(tmp_path, kubeconfig, [task("restore")])
    assert made["made"] == [str(AGENTS), str(ENTRY), str(ROUTE)]
    assert shapes(cluster) == before
    for item in stored(cluster):
        cluster.delete(config_map(NAMESPACE, item["metadata"]["name"]))
    cluster.delete(ENTRY)
    gone, from_files = results(
        tmp_path, kubeconfig, [task("restore"), task("restore", directory=str(backups), name=taken["name"])]
    )
    assert "there is no snapshot of claude-enhancer in namespace claude-enhancer; take one" in gone["msg"]
    assert from_files["made"] == [str(ENTRY)]
    assert shapes(cluster) == before


def test_a_restoration_that_may_not_go_on_says_what_was_done(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    results(tmp_path, kubeconfig, [taking()])
    release(cluster)
    cluster.delete(AGENTS)
    grant(cluster, "ops", ["configmaps", "secrets", "deployments"])
    (half,) = results(tmp_path, kubeconfig, [task("restore", kubeconfig=str(kubeconfig.with_name("kubeconfig-ops")))])
    assert (half["failed"], half["error"], half["changed"]) == (True, "not_restored", True)
    assert (half["made"], str(ROUTE) in half["left"]) == ([str(AGENTS)], True)
    assert f"Done before: made anew {AGENTS}; not tried yet: " in half["msg"]
    assert 'services "claude-enhancer-service" is forbidden' in half["msg"]
    (whole,) = results(tmp_path, kubeconfig, [task("restore")])
    assert whole["restored"] == [str(ENTRY), str(RULE), str(ROUTE)]


def grant(cluster: Cluster, user: str, plurals: list[str]) -> None:
    """Let ``user`` do everything with the objects of these kinds, and nothing else."""
    rbac = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": ["", "apps"], "resources": plurals, "verbs": ["*"]}]
    role = Ref(f"{rbac}/v1", "Role", "roles", NAMESPACE, user)
    binding = Ref(f"{rbac}/v1", "RoleBinding", "rolebindings", NAMESPACE, user)
    put(cluster, role, {"rules": rules})
    put(cluster, binding, {
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": user},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}],
    })  # fmt: skip


def test_old_ones_are_pruned_but_for_that_of_the_release_in_progress(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    first, _opened, second, pruned, read = results(
        tmp_path,
        kubeconfig,
        [taking(), opening("r0"), taking(again=True, keep_days=0), task("prune", keep_days=0), task("read")],
    )
    assert second["name"] == f"{first['name']}-2"
    assert (second["pruned"], pruned["pruned"]) == ([], []), "the journal's, and the newest of its release"
    assert read["name"] == first["name"], "the one in the journal"
    JournalStore(cluster, NAMESPACE, NAMESPACE).close("done")
    dry, gone = (results(tmp_path, kubeconfig, [task("prune", keep_days=0)], *flags)[0] for flags in (["--check"], []))
    assert dry["pruned"] == gone["pruned"] == [first["name"], second["name"]]
    assert stored(cluster) == []


def test_a_full_disk_is_told_and_leaves_nothing(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    """Files may not grow past 800 KiB, as on a disk that is full then."""
    results(tmp_path, kubeconfig, [taking()])
    backups = tmp_path / "backups"
    path = write_playbook(tmp_path / "play.yml", [{"name": "Export", **task("export", directory=str(backups))}])
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 800; exec "$@"', "bash", str(PROGRAM), str(path)],
        cwd=tmp_path,
        env={**environment(tmp_path, kubeconfig), "ANSIBLE_PIPELINING": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout
    assert f"directory: {backups} has no room (File too large): " in done.stdout
    assert list(backups.iterdir()) == []
    (written,) = results(tmp_path, kubeconfig, [task("export", directory=str(backups))])
    assert written["changed"]
    assert os.listdir(written["folder"])


def test_bad_options_are_said_in_one_sentence(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    nothing, days, unknown, nameless, missing, no_place = results(
        tmp_path,
        kubeconfig,
        [
            task("take", release_id="5.1-a"),
            taking(keep_days=-1),
            taking(objects=[{"api_version": "argoproj.io/v1", "kind": "Rollout", "name": "x"}]),
            task("read", directory="/nowhere"),
            task("verify", name="none"),
            taking(directory="/proc/none"),
        ],
    )
    assert nothing["msg"].startswith("release, objects, selectors: none of them is given")
    assert days["msg"] == "keep_days: must be 0 or more days, not -1"
    assert unknown["msg"].startswith(
        "objects, selectors: kind: the cluster https://127.87.0.1:6443 doesn't serve Rollout"
    )
    assert nameless["msg"].startswith("name: is missing; with directory")
    assert missing["msg"].startswith("there is no snapshot none of claude-enhancer in namespace claude-enhancer")
    assert no_place["msg"].startswith("directory: /proc/none can't be written")


def test_objects_that_are_not_in_the_snapshot_are_named(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    _taken, wrong, one = results(
        tmp_path,
        kubeconfig,
        [taking(), task("verify", only=["Service none"]), task("verify", only=["Service claude-enhancer-service"])],
    )
    assert wrong["msg"].startswith("only: Service none is not in ConfigMap claude-enhancer/claude-enhancer-release-")
    assert one["same"]
