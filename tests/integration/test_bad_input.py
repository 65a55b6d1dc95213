"""Input that can't work is refused by deploy.yml before anything is touched, in a sentence that says what to change."""

from __future__ import annotations

import contextlib
import copy
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref, config_map
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import hold_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import LeaseStore
from rehearsal.world import NAMESPACE, World
from tests.integration.deploying import ROOT, command, environment
from tests.integration.world_fixture import rehearsal, start_world

BLOCK = "181"
NOBODY = "127.181.9.9"
"""An address in the block of these tests at which nobody listens."""
LIMIT = 20.0
"""Seconds until a refusal, on a machine that does other things too; 1.3 s where it does not."""
APPLICATION = "claude-enhancer"
# What changes without anybody's doing.
RESTLESS = ("events", "leases")

VALUES = ROOT / "inventories" / "claude_enhancer" / "group_vars" / "all"
RELEASE = yaml.safe_load((VALUES / "release.yml").read_text())
METRICS = yaml.safe_load((VALUES / "metrics.yml").read_text())["release_metrics"]
STAGES = yaml.safe_load((VALUES / "stages.yml").read_text())["release_stages"]
Extra = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("worlds")
    try:
        world = start_world("bad-input", base, "--blue-replicas", "1", "--block", BLOCK)
        yield world
    finally:
        down = rehearsal("down", "--name", "bad-input", base=base)
        assert down.returncode == 0, down.stderr


@pytest.fixture(scope="module")
def cluster(world: World) -> Cluster:
    return Cluster.from_options({"kubeconfig": str(world.kubeconfig)})


def everything(cluster: Cluster) -> dict[str, str]:
    """Each object of the namespace with its version."""
    versions = {}
    for api in ("v1", "apps/v1", "policy/v1", "discovery.k8s.io/v1", "networking.istio.io/v1"):
        for resource in cluster.get(Ref(api, "APIResourceList", ""))["resources"]:
            if resource["namespaced"] and "list" in resource["verbs"] and resource["name"] not in RESTLESS:
                for item in cluster.list(Ref(api, resource["kind"], resource["name"], NAMESPACE)):
                    meta = item["metadata"]
                    versions[f"{resource['name']}/{meta['name']}"] = meta["resourceVersion"]
    return versions


def refused(world: World, cluster: Cluster, **extra: Any) -> list[str]:
    """What deploy.yml says when it refuses ``extra``: its problems, each once. Fails if it touched anything."""
    before = everything(cluster)
    assert {"services/claude-enhancer-service", "virtualservices/claude-enhancer"} <= set(before)
    start = time.monotonic()
    done = subprocess.run(
        command("deploy", **extra), env=environment(world), capture_output=True, text=True, timeout=90, check=False
    )
    took = time.monotonic() - start
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert everything(cluster) == before, said
    assert took < LIMIT, f"{took:.1f} s: {said}"
    for unwanted in ("Traceback", "Task failed", "resolving value", "undefined"):
        assert unwanted not in said
    assert list((world.home / "state").rglob("watchdog*")) == [], "no watchdog was started"
    failed = said.split("FAILED", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    lines = [line.strip() for line in failed]
    if len(lines) > 1:
        assert lines[0] == f"{len(lines) - 1} problems:", said
        lines = [line.removeprefix("- ") for line in lines[1:]]
    assert len(set(lines)) == len(lines), said
    return lines


def traffic(**changed: Any) -> Extra:
    return {"release_traffic": {**RELEASE["release_traffic"], **changed}}


def stage(name: str, **changed: Any) -> Extra:
    return {"release_stages": [{**one, **changed} if one["name"] == name else one for one in STAGES]}


def swapped() -> Extra:
    stages = copy.deepcopy(STAGES)
    stages[4], stages[5] = stages[5], stages[4]
    return {"release_stages": stages}


def broken_query(world: World) -> Extra:
    metrics = copy.deepcopy(METRICS)
    metrics["error_rate"]["bad"] = 'sum(increase(http_requests_total{version="$candidate"[$window]))'
    return {"release_metrics": metrics}


def cluster_options(**changed: str) -> Callable[[World], Extra]:
    return lambda world: {"release_cluster": {"kubeconfig": str(world.kubeconfig), **changed}}


DRAIN = RELEASE["release_canary_drain"][0]
NO_PROMETHEUS = {"release_prometheus": {"url": f"http://{NOBODY}:9090", "timeout": 2}}
NO_HOST = {
    "release_edge": "{{ {'url': rehearsal_world.edge_url, 'host': 'shop.example.com', 'path': '/health', "
    "'version_header': 'x-claude-version', 'pod_header': 'x-claude-pod', 'requests': 400} }}"
}
CASES: dict[str, tuple[Extra | Callable[[World], Extra], list[str]]] = {
    "unknown provider": (
        traffic(provider="istyo"),
        ["release_traffic.provider: 'istyo' isn't known; choose one of: gateway_api"],
    ),
    "weight 101": (
        stage("canary_start", weight=101),
        ["release_stages: stage canary_start: weight: 101 is not a whole number from 0 to 100"],
    ),
    "missing VirtualService": (
        traffic(name="claude-enhancr"),
        ["release_traffic.name: there is no VirtualService claude-enhancr in namespace claude-enhancer; apply it"],
    ),
    "a route without the subset": (
        traffic(candidate={"host": "claude-enhancer", "subset": "candidat"}),
        [
            "release_traffic.stable, release_traffic.candidate: no HTTP route of VirtualService claude-enhancer/"
            "claude-enhancer has a destination to both claude-enhancer subset stable and claude-enhancer subset "
        ],
    ),
    "unreachable API": (
        cluster_options(host=f"https://{NOBODY}:6443"),
        [f"release_cluster: the Kubernetes API at https://{NOBODY}:6443 can't be reached: [Errno 111] Connection"],
    ),
    "wrong credentials": (
        cluster_options(api_key="wrong"),
        ["release_cluster: the Kubernetes API at https://127.181.0.1:6443 doesn't accept the credentials (401); check"],
    ),
    "Prometheus down": (
        NO_PROMETHEUS,
        [f"release_prometheus.url: Prometheus at http://{NOBODY}:9090 does not answer: [Errno 111] Connection refused"],
    ),
    "a query that does not parse": (
        broken_query,
        ["release_metrics: metric error_rate: Prometheus refused the query 'sum(increase(http_requests_total{version="],
    ),
    "stages out of order": (
        swapped(),
        ["release_stages: stage canary_start: starts: T+0 is before stage canary_expand (T+30), which stands ahead"],
    ),
    "thresholds that are not numbers": (
        stage("canary_start", criteria=[{"metric": "error_rate", "below": "one tenth"}])
        | {"release_rollback_criteria": [{"metric": "stable_error_rate", "below": "low"}]},
        [
            "release_stages: stage canary_start: criterion error_rate: below: 'one tenth' is not a number",
            "release_rollback_criteria: criterion stable_error_rate: below: 'low' is not a number",
        ],
    ),
    "an empty variable": (
        {"release_namespace": ""},
        ["release_namespace: '' is not a name in Kubernetes' sense: give small letters, digits and '-'"],
    ),
    "a host that the edge does not know": (
        NO_HOST,
        ["release_edge: 20 of 20 answers of http://127.181.0.1:8000 (host"],
    ),
    "several at once": (
        {
            **traffic(provider="istyo"),
            **stage("canary_start", weight=101),
            **NO_PROMETHEUS,
            "release_stable": {"version": "5.0", "deployment": "claude-enhancer-bleu"},
            "release_agents": {"directory": "/nowhere/agents", "expected": 61, "config_map": "agents"},
            "release_candidate_manifest": "/nowhere/deployment.yml.j2",
            "release_on_interrupt": "stay",
            "release_canary_drain": [{**DRAIN, "name": "claude-enhancr"}],
        },
        [
            "release_on_interrupt: 'stay' is not one of roll_back, hold",
            "release_traffic.provider: 'istyo' isn't known; choose one of: gateway_api",
            "release_stages: stage canary_start: weight: 101 is not a whole number from 0 to 100",
            "release_agents.directory: /nowhere/agents is no folder; name the one with the candidate's agent files",
            "release_candidate_manifest: there is no file /nowhere/deployment.yml.j2; name",
            "release_stable.deployment: there is no Deployment claude-enhancer-bleu in namespace claude-enhancer; name",
            "release_canary_drain.name: there is no DestinationRule claude-enhancer/claude-enhancr; apply it first",
            f"release_prometheus.url: Prometheus at http://{NOBODY}:9090 does not answer",
        ],
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_it_is_refused_in_a_sentence_before_anything_is_touched(world: World, cluster: Cluster, case: str) -> None:
    extra, expected = CASES[case]
    said = refused(world, cluster, **(extra(world) if callable(extra) else extra))
    assert len(said) == len(expected), said
    for sentence, start in zip(said, expected, strict=True):
        assert sentence.startswith(start), said
    assert not any(name.startswith("configmaps/claude-enhancer-release") for name in everything(cluster))


@contextlib.contextmanager
def release_in_journal(cluster: Cluster, versions: dict[str, str]) -> Iterator[JournalStore]:
    store = JournalStore(cluster, NAMESPACE, APPLICATION)
    store.open("5.1-before", versions, {"release_stages": [{"name": "environment"}]}, {})
    try:
        yield store
    finally:
        cluster.delete(config_map(NAMESPACE, store.name))


def test_a_rollback_that_was_not_finished_comes_first(world: World, cluster: Cluster) -> None:
    with release_in_journal(cluster, {"stable": "5.0", "candidate": "5.1"}) as store:
        store.close("rolling_back")
        (said,) = refused(world, cluster)
    assert said.startswith("release 5.1-before is rolling_back since 20")
    assert "its rollback was not finished; run claude_enhancer.rollout.rollback to finish it" in said


def test_another_release_in_progress_comes_first(world: World, cluster: Cluster) -> None:
    with release_in_journal(cluster, {"stable": "4.9", "candidate": "5.0"}):
        (said,) = refused(world, cluster)
    assert said.startswith("release 5.1-before (4.9 to 5.0) is in_progress, held by ")
    assert "finish it, or take it back with claude_enhancer.rollout.rollback" in said


def test_a_lock_that_another_controller_holds_comes_first(world: World, cluster: Cluster) -> None:
    store = LeaseStore(cluster, NAMESPACE, APPLICATION)
    acquired = store.acquire(Claim("kim@ops1:5.1-before:3f9a"))
    try:
        said, held = refused(world, cluster, **traffic(provider="istyo"))
    finally:
        assert store.release(hold_of(store, acquired))
    assert held.startswith("the lock of claude-enhancer (Lease claude-enhancer/claude-enhancer-release-lock) is held")
    assert "by kim@ops1:5.1-before:3f9a since 20" in held
    assert said.startswith("release_traffic.provider: 'istyo' isn't known")


def test_missing_variables_are_named_together(world: World, cluster: Cluster, tmp_path: Path) -> None:
    """An inventory that has next to nothing."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}))
    before = everything(cluster)
    line = command("deploy", release_application=APPLICATION)
    line[line.index("-i") + 1] = str(inventory)
    done = subprocess.run(line, env=environment(world), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert everything(cluster) == before
    assert "missing required arguments: " in done.stdout
    for variable in ("release_namespace", "release_stages", "release_traffic", "release_candidate_manifest"):
        assert variable in done.stdout
