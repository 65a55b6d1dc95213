"""traffic_withdraw under a real ansible-playbook, against the emulated Kubernetes API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, config_map
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from rehearsal.world import NAMESPACE
from tests.integration.api_only import TRAFFIC, api, candidate_weight, results

BLOCK = 83
WITHDRAW = "claude_enhancer.rollout.traffic_withdraw"
VERSIONS = {"stable": "5.0", "candidate": "5.1"}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home / "kubeconfig"


@pytest.fixture
def cluster(kubeconfig: Path) -> Cluster:
    """The API with 5 % on the candidate, and no journal."""
    cluster = Cluster.from_options({"kubeconfig": str(kubeconfig)})
    for item in cluster.list(config_map(NAMESPACE)):
        if "-release-" in item["metadata"]["name"]:
            cluster.delete(config_map(NAMESPACE, item["metadata"]["name"]))
    set_weight(open_provider("istio", cluster, TRAFFIC), 5, guard=False)
    return cluster


def opened(cluster: Cluster, plan: dict[str, Any], application: str = NAMESPACE) -> JournalStore:
    store = JournalStore(cluster, NAMESPACE, application)
    store.open("5.1-a", VERSIONS, plan, {"weight": 0})
    return store


def test_a_kubeconfig_is_enough(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    opened(cluster, {"release_traffic": TRAFFIC})
    taken, again = results(tmp_path, kubeconfig, [{WITHDRAW: {}}, {WITHDRAW: {}}])
    assert candidate_weight(cluster) == 0
    told = [taken[key] for key in ("failed", "changed", "withdrawn", "found", "before", "after", "state")]
    assert told == [False, True, True, True, 5, 0, "in_progress"]
    assert taken["journal"]["plan"]["release_traffic"] == TRAFFIC
    assert (again["failed"], again["changed"], again["withdrawn"], again["before"]) == (False, False, True, 0)


def test_a_dry_run_takes_nothing_back(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    opened(cluster, {"release_traffic": TRAFFIC})
    (tried,) = results(tmp_path, kubeconfig, [{WITHDRAW: {"namespace": NAMESPACE}}], "--check")
    assert (tried["failed"], tried["changed"], tried["before"]) == (False, True, 5)
    assert candidate_weight(cluster) == 5


def test_what_can_not_be_taken_back_yet_is_left_as_it_is(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    (nothing,) = results(tmp_path, kubeconfig, [{WITHDRAW: {}}])
    assert (nothing["failed"], nothing["found"], nothing["withdrawn"]) == (False, False, False)
    assert nothing["why"] == f"namespace {NAMESPACE} holds no release journal"
    opened(cluster, {"release_traffic": TRAFFIC}).record("stable_reduced", None, {}, "5.1-a")
    opened(cluster, {}, "another")
    reduced, unknown, ambiguous = results(
        tmp_path,
        kubeconfig,
        [{WITHDRAW: {"application": NAMESPACE}}, {WITHDRAW: {"application": "another"}}, {WITHDRAW: {}}],
    )
    assert (reduced["failed"], reduced["found"], reduced["withdrawn"]) == (False, True, False)
    assert "bring it back to full strength first" in reduced["why"]
    assert (unknown["withdrawn"], unknown["why"]) == (False, "the journal does not say what carries the weight")
    assert (ambiguous["failed"], ambiguous["error"]) == (True, "journal")
    assert candidate_weight(cluster) == 5


def test_what_is_in_the_way_is_told(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    opened(cluster, {"release_traffic": {**TRAFFIC, "name": "gone"}})
    missing, unreachable = results(
        tmp_path,
        kubeconfig,
        [{WITHDRAW: {}}, {WITHDRAW: {"namespace": "n", "host": "https://127.83.0.9:6443", "api_key": "x"}}],
    )
    assert (missing["failed"], missing["error"]) == (True, "not_found")
    assert (unreachable["failed"], unreachable["error"]) == (True, "unreachable")
    assert candidate_weight(cluster) == 5
