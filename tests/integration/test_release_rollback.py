"""release_rollback under a real ansible-playbook, against the emulated Kubernetes API alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    Ref,
    deployment,
    service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import NotFoundError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Journal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from rehearsal.world import NAMESPACE
from tests.integration.api_only import TRAFFIC, api, candidate_weight, forget_releases, results
from tests.integration.cut_off import Moment, cut_off_play

BLOCK = 83
ROLLBACK = "claude_enhancer.rollout.release_rollback"
VERSIONS = {"stable": "5.0", "candidate": "5.1"}
STABLE, CANDIDATE = {"app": NAMESPACE, "version": "5.0"}, {"app": NAMESPACE, "version": "5.1"}
BLUE, CANARY = deployment(NAMESPACE, "claude-enhancer-blue"), deployment(NAMESPACE, "claude-enhancer-canary")
ENTRY = service(NAMESPACE, "claude-enhancer-service")
FACTS: dict[str, Any] = {
    "release_application": NAMESPACE,
    "release_namespace": NAMESPACE,
    "release_traffic": TRAFFIC,
    "release_stable": {"version": "5.0", "deployment": BLUE.name},
    "release_candidate": {"version": "5.1", "canary_deployment": CANARY.name, "green_deployment": "green"},
    "release_entry_service": {"name": ENTRY.name, "stable_selector": STABLE, "candidate_selector": CANDIDATE},
    "release_edge": {"url": "http://127.83.0.9:8000", "version_header": "x-version"},
    "release_prometheus": {"url": "http://127.83.0.9:9090"},
    "release_metrics": {},
}
SNAPSHOT = {"weight": 0, "entry_selector": STABLE, "stable_replicas": 3}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home / "kubeconfig"


@pytest.fixture
def cluster(kubeconfig: Path) -> Cluster:
    """The API in the middle of a switch: 5 % on the candidate, the entry Service on it, and no journal."""
    cluster = Cluster.from_options({"kubeconfig": str(kubeconfig)})
    forget_releases(cluster)
    put(cluster, BLUE, a_deployment(BLUE, STABLE, 3))
    put(cluster, CANARY, a_deployment(CANARY, CANDIDATE, 1))
    put(cluster, ENTRY, {"spec": {"selector": CANDIDATE, "ports": [{"port": 80}]}})
    set_weight(open_provider("istio", cluster, TRAFFIC), 5, guard=False)
    return cluster


def a_deployment(ref: Ref, labels: dict[str, str], replicas: int) -> dict[str, Any]:
    labels = {**labels, "deployment": ref.name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "claude-enhancer:5.0"}]}}
    return {"spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}}


def put(cluster: Cluster, ref: Ref, body: dict[str, Any]) -> None:
    """The object as ``body`` has it, whatever was there."""
    with contextlib.suppress(NotFoundError):
        cluster.delete(ref)
    meta = {"name": ref.name, "namespace": ref.namespace}
    cluster.create(ref, {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": meta, **body})


def opened(cluster: Cluster, facts: dict[str, Any] = FACTS, application: str = NAMESPACE) -> JournalStore:
    store = JournalStore(cluster, NAMESPACE, application)
    store.open("5.1-a", VERSIONS, facts, SNAPSHOT)
    return store


def journal_of(store: JournalStore) -> Journal:
    found = store.read()
    assert found is not None
    return found


def task(**options: Any) -> dict[str, Any]:
    return {ROLLBACK: {"reason": "error_rate_high", **options}}


def traffic(**options: Any) -> dict[str, Any]:
    return task(part="traffic", **options)


def entry_selector(cluster: Cluster) -> dict[str, str]:
    selector: dict[str, str] = cluster.get(ENTRY)["spec"]["selector"]
    return selector


def step(answer: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in answer["steps"] if one["name"] == name]
    return dict(found)


def test_a_kubeconfig_and_a_reason_are_enough(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    store = opened(cluster)
    taken, again = results(tmp_path, kubeconfig, [traffic(decided=5), traffic()])
    assert (candidate_weight(cluster), entry_selector(cluster)) == (0, STABLE)
    assert [taken[key] for key in ("failed", "changed", "verified", "state")] == [False, True, False, "rolling_back"]
    assert taken["weight"] == {"before": 5, "after": 0}
    assert taken["entry_selector"] == {"before": CANDIDATE, "after": STABLE}
    assert [one["name"] for one in taken["steps"]][:2] == ["journal", "stable side"]
    traffic_steps = {"journal", "stable side", "weight", "entry service", "lock", "record", "unlock"}
    assert {one["name"] for one in taken["steps"]} == traffic_steps
    assert all(one["at"] >= 0 and one["seconds"] >= 0 for one in taken["steps"])
    assert (again["failed"], again["changed"], step(again, "weight")["says"]) == (False, False, "0 % already")
    event = journal_of(store).events[-1]
    assert event["data"] == {
        "state": "rolling_back",
        "reason": "error_rate_high",
        "decided": 5.0,
        "weight_before": 5,
        "entry_selector_before": CANDIDATE,
    }


@pytest.mark.parametrize("moment", [Moment(1, False), Moment(1, True), Moment(2, True), Moment(3, True)], ids=str)
def test_one_that_is_cut_off_is_completed_by_the_next(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path, moment: Moment
) -> None:
    """The weight, the entry Service, the Lease: users come first, so they are away from the candidate by the third."""
    store = opened(cluster)
    cut_off_play(kubeconfig, tmp_path, moment, {"name": "Take back", **traffic()})
    if moment.changes > 1:
        assert (candidate_weight(cluster), entry_selector(cluster)) == (0, STABLE)
    (done,) = results(tmp_path, kubeconfig, [traffic()])
    assert [done[key] for key in ("failed", "state")] == [False, "rolling_back"]
    assert (candidate_weight(cluster), entry_selector(cluster)) == (0, STABLE)
    assert [event["data"].get("state") for event in journal_of(store).events].count("rolling_back") == 1


def test_a_dry_run_tells_what_it_would_do_and_does_nothing(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    store = opened(cluster)
    versions = [cluster.get(ref)["metadata"]["resourceVersion"] for ref in (BLUE, CANARY, ENTRY)]
    (tried,) = results(tmp_path, kubeconfig, [task(namespace=NAMESPACE)], "--check", "--diff")
    assert [tried[key] for key in ("failed", "changed", "verified")] == [False, True, False]
    shown = json.dumps(tried["diff"])
    assert all(said in shown for said in ("candidate 5", "candidate 0", "5.1", str(CANARY), '"state": "rolled_back"'))
    assert step(tried, "edge")["says"] == "not looked at in a dry run"
    assert (candidate_weight(cluster), entry_selector(cluster)) == (5, CANDIDATE)
    assert [cluster.get(ref)["metadata"]["resourceVersion"] for ref in (BLUE, CANARY, ENTRY)] == versions
    assert journal_of(store).state == "in_progress"


def test_without_a_journal_the_inventory_says_where_to(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    nowhere, taken = results(tmp_path, kubeconfig, [traffic(), traffic(release=FACTS)])
    assert (nowhere["failed"], nowhere["error"]) == (True, "journal")
    assert nowhere["msg"].startswith(f"namespace {NAMESPACE} holds no release journal, and no inventory names the")
    assert (taken["failed"], taken["found"], taken["weight"]["after"]) == (False, False, 0)
    assert (candidate_weight(cluster), entry_selector(cluster)) == (0, STABLE)


def test_what_can_not_be_taken_back_does_not_hold_up_the_rest(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    store = opened(cluster, {**FACTS, "release_traffic": {**TRAFFIC, "name": "gone"}})
    secret = {"release_prometheus": {"username": "u", "password": "s3cret"}}
    (stuck,) = results(tmp_path, kubeconfig, [task(release=secret, verify_timeout=1)])
    assert [stuck[key] for key in ("failed", "error", "verified", "state")] == [
        True, "not_rolled_back", False, "rolling_back",
    ]  # fmt: skip
    failed = {problem.split(":")[0] for problem in stuck["problems"]}
    assert failed == {"weight", "edge", "endpoints", "candidate"}
    assert "weight: name: there is no VirtualService gone" in stuck["msg"]
    assert entry_selector(cluster) == STABLE, "the other way to the candidate is closed all the same"
    assert cluster.find(CANARY) is not None, "users may still be on it"
    last = journal_of(store).events[-1]
    assert (last["what"], last["data"]["problems"]) == ("rollback_unfinished", stuck["problems"])
    assert "s3cret" not in json.dumps(stuck)
    assert "s3cret" not in json.dumps(last)


def test_a_stable_side_that_was_scaled_down_comes_first_but_not_forever(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    opened(cluster)
    cluster.patch(BLUE, {"spec": {"replicas": 1}})
    (taken,) = results(tmp_path, kubeconfig, [traffic(strength_timeout=0.5)])
    stable, weight = step(taken, "stable side"), step(taken, "weight")
    assert (stable["changed"], stable["says"]) == (True, "1 to 3 replicas, 0 ready")
    assert 0.5 <= stable["at"] + stable["seconds"] <= weight["at"]
    assert f"{BLUE} has 0 ready replicas of 3 after 0.5 s, and got all traffic back" in taken["warnings"]
    assert (cluster.get(BLUE)["spec"]["replicas"], candidate_weight(cluster)) == (3, 0)


def test_a_release_that_was_done_is_taken_back_on_the_record(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    store = opened(cluster)
    store.close("done")
    (taken,) = results(tmp_path, kubeconfig, [traffic()])
    assert (taken["state"], journal_of(store).state) == ("rolling_back", "rolling_back")


def test_what_is_in_the_way_is_told(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    opened(cluster)
    opened(cluster, application="another")
    away = {"namespace": "n", "host": "https://127.83.0.9:6443", "api_key": "x"}
    ambiguous, unreachable, silent, wrong = results(
        tmp_path, kubeconfig, [task(), task(**away), task(reason=" "), task(probe_requests=0)]
    )
    assert (ambiguous["failed"], ambiguous["error"]) == (True, "journal")
    assert (unreachable["failed"], unreachable["error"]) == (True, "unreachable")
    assert (silent["error"], silent["msg"][:20]) == ("input", "reason: must say why")
    assert wrong["msg"] == "probe_requests: must be 1 or more, not 0"
    assert candidate_weight(cluster) == 5
