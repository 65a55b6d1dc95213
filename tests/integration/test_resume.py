"""A release in progress met by deploy.yml and status.yml: proven before it goes on, taken back, begun anew, told.

The releases were brought to a stage once; each test puts one of those worlds back and changes what it is about.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    Ref,
    config_map,
    deployment,
    service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Journal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from rehearsal.client import KubeClient
from rehearsal.world import NAMESPACE, World
from scripts.rehearse.cluster import MESH
from tests.bench import playbook, rollbacks
from tests.bench.playbook import own
from tests.bench.stage_state import StageState
from tests.bench.stand import Stand, with_weight
from tests.integration.api_only import TRAFFIC, candidate_weight
from tests.integration.deploying import PROGRAM, command, environment
from tests.integration.test_rollback_stages import stages_with_traffic
from tests.integration.world_fixture import rehearsal, start_world

NAME = "resume"
BLOCK = "197"
STAGES = ("canary_start", "canary_expand")
REPLICAS = 2
BLUE, CANARY = deployment(NAMESPACE, "claude-enhancer-blue"), deployment(NAMESPACE, "claude-enhancer-canary")
ENTRY = service(NAMESPACE, "claude-enhancer-service")
LEASE = Ref("coordination.k8s.io/v1", "Lease", "leases", NAMESPACE, f"{NAMESPACE}-release-lock")
OPTIONS: dict[str, Any] = {
    "release_on_interrupt": "hold",
    "release_stages": stages_with_traffic(),
    **rollbacks.REPLICAS,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("worlds")
    try:
        yield start_world(NAME, base, "--blue-replicas", str(REPLICAS), "--block", BLOCK, "--load", "100")
    finally:
        down = rehearsal("down", "--name", NAME, base=base)
        assert down.returncode == 0, down.stderr


@pytest.fixture(scope="module")
def cluster(world: World) -> Cluster:
    return Cluster.from_options({"kubeconfig": str(world.kubeconfig)})


@pytest.fixture(scope="module")
def states(world: World) -> dict[str, StageState]:
    """The world after each of the first stages with traffic."""
    playbook.run(world, own("setup"), inventory=True)
    found = {}
    for stage in STAGES:
        variables = {"bench_stage": stage, "stage_candidate_is_there": True, **OPTIONS}
        playbook.run(world, own("stage"), variables, inventory=True)
        found[stage] = StageState.keep(world, TRAFFIC)
    return found


def run(world: World, name: str, *options: str, **extra: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(name, **OPTIONS, **extra), *options],
        env=environment(world),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def status(world: World, **extra: Any) -> subprocess.CompletedProcess[str]:
    """Without an inventory, as a person on call runs it."""
    given = {"release_namespace": NAMESPACE, **extra}
    return subprocess.run(
        [str(PROGRAM), "claude_enhancer.rollout.status", "-e", json.dumps(given)],
        env={**environment(world), "K8S_AUTH_KUBECONFIG": str(world.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def store_of(cluster: Cluster) -> JournalStore:
    return JournalStore(cluster, NAMESPACE, NAMESPACE)


def journal(cluster: Cluster) -> Journal:
    found = store_of(cluster).read()
    assert found is not None
    return found


def kinds(found: Journal) -> list[str]:
    return [event["what"] for event in found.events]


def edited(world: World, path: str, body: dict[str, Any]) -> None:
    """A change by somebody else."""

    async def patch() -> None:
        async with KubeClient.from_kubeconfig(world.kubeconfig, "kubectl") as client:
            await client.patch(path, body, fieldManager="kubectl-edit")

    asyncio.run(patch())


def weight_edited(world: World, weight: int) -> None:
    routes = with_weight(Stand(world).http_routes(), weight)
    edited(world, f"{MESH}/virtualservices/{NAMESPACE}", {"spec": {"http": routes}})


def problems(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a refusal says, one line each."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line.strip() for line in done.stdout.split("FAILED", 1)[1].split("\n\n", 1)[0].splitlines()[1:]]
    return [line.removeprefix("- ") for line in lines[1:]] if len(lines) > 1 else lines


def until(condition: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_world_as_the_journal_says_is_taken_up(world: World, cluster: Cluster, states: dict[str, StageState]) -> None:
    states["canary_start"].restore()
    done = run(world, "open")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is taken up: it goes on with stage canary_expand" in done.stdout
    assert "taken_up" in kinds(journal(cluster))
    assert candidate_weight(cluster) == 5


def test_what_somebody_else_changed_is_refused_in_one_list_and_nothing_is_touched(
    world: World, cluster: Cluster, states: dict[str, StageState]
) -> None:
    states["canary_start"].restore()
    weight_edited(world, 20)
    edited(world, ENTRY.path, {"spec": {"selector": {"version": "5.1"}}})
    cluster.patch(CANARY, {"spec": {"replicas": 0}})
    until(lambda: not (cluster.get(CANARY).get("status") or {}).get("readyReplicas"))
    before = [cluster.get(ref)["metadata"]["resourceVersion"] for ref in (ENTRY, CANARY)]
    noted = journal(cluster)
    said = problems(run(world, "deploy"))
    # Users that are sent to pods which are gone may be met by the look at the edge too.
    assert len(said) == 3 or (len(said) == 4 and said.pop().startswith("release_edge: ")), said
    assert said[0].startswith(
        "release_traffic: VirtualService claude-enhancer/claude-enhancer gives the candidate 20 % (written last by "
        "kubectl-edit at 20"
    )
    assert "and the journal says 5 %: users are on the candidate that no stage has put there; set it to 5 %" in said[0]
    assert said[1].startswith("release_entry_service: Service claude-enhancer-service selects app=claude-enhancer, ver")
    assert said[2].startswith(
        "release_candidate: Deployment claude-enhancer-canary asks for 0 pods, and the journal says 1, as stage "
        "canary_start left it"
    )
    assert all(" -e release_resume=rollback, or begin anew with -e release_resume=restart" in one for one in said)
    assert [cluster.get(ref)["metadata"]["resourceVersion"] for ref in (ENTRY, CANARY)] == before
    assert (candidate_weight(cluster), journal(cluster)) == (20, noted)


def test_what_a_stage_left_half_done_is_said_and_gone_on_with(
    world: World, cluster: Cluster, states: dict[str, StageState]
) -> None:
    states["canary_start"].restore()
    store_of(cluster).begin("canary_expand")
    done = run(world, "open")
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "it goes on in stage canary_expand",
        "the candidate has 5 % and not yet 20 %, which stage canary_expand does again",
        "Deployment claude-enhancer-canary has 1 ready pods and is to have 2, which stage canary_expand does again",
    ):
        assert said in done.stdout, done.stdout


def test_a_release_whose_journal_was_deleted_is_not_taken_for_a_new_one(
    world: World, cluster: Cluster, states: dict[str, StageState]
) -> None:
    states["canary_start"].restore()
    cluster.delete(config_map(NAMESPACE, store_of(cluster).name))
    (said,) = problems(run(world, "deploy"))
    assert "gives the candidate 5 % " in said
    assert "and no release is in progress, so it should be 0 %: users are on the candidate that no stage has" in said
    assert store_of(cluster).read() is None


def test_an_inventory_that_names_another_object_is_refused(world: World, states: dict[str, StageState]) -> None:
    states["canary_start"].restore()
    said = problems(run(world, "open", release_traffic={**TRAFFIC, "stable": {"host": "other", "subset": "stable"}}))
    assert any("release_traffic: stable is not what release 5.1-" in one for one in said), said


def test_rollback_takes_it_back_and_ends_and_the_second_time_there_is_nothing_to_do(
    world: World, cluster: Cluster, states: dict[str, StageState]
) -> None:
    states["canary_start"].restore()
    done = run(world, "deploy", release_resume="rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    found = journal(cluster)
    assert (found.state, candidate_weight(cluster), cluster.find(CANARY)) == ("rolled_back", 0, None)
    assert found.events[-1]["data"]["reason"].startswith("resume: rolled back on request of ")
    assert "ROLLED BACK: 5.0 serves all traffic" in done.stdout
    again = run(world, "deploy", release_resume="rollback")
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"(the last one, {found.release_id}, is rolled_back), so there is nothing to take back" in again.stdout
    assert journal(cluster) == found
    # Stages that are passed over have no heading of their own.
    assert "Stage 1, canary start" not in done.stdout + again.stdout


def test_restart_takes_it_back_and_opens_a_new_one(
    world: World, cluster: Cluster, states: dict[str, StageState]
) -> None:
    states["canary_expand"].restore()
    before = journal(cluster)
    done = run(world, "open", release_resume="restart", release_start_at="2026-11-21T20:00:00Z")
    assert done.returncode == 0, done.stdout + done.stderr
    now, old = journal(cluster), store_of(cluster).read(before.release_id)
    assert old is not None
    assert (old.state, now.state, now.stages) == ("rolled_back", "in_progress", {})
    assert now.release_id != before.release_id
    assert old.events[-1]["data"]["reason"].startswith("resume: taken back on request of ")
    assert (kinds(now)[0], candidate_weight(cluster), cluster.find(CANARY)) == ("opened", 0, None)
    # A start that is fixed gives the third release the second one's id, but for its number.
    third = run(world, "open", release_resume="restart", release_start_at="2026-11-21T20:00:00Z")
    assert third.returncode == 0, third.stdout + third.stderr
    assert journal(cluster).release_id == f"{now.release_id}-2"


def test_a_dry_run_of_restart_changes_nothing(world: World, cluster: Cluster, states: dict[str, StageState]) -> None:
    states["canary_start"].restore()
    before = journal(cluster)
    done = run(world, "deploy", "--check", release_resume="restart")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (journal(cluster), candidate_weight(cluster)) == (before, 5)


def test_a_rollback_that_was_interrupted_is_finished_where_that_is_asked_for(
    world: World, cluster: Cluster, states: dict[str, StageState]
) -> None:
    states["canary_start"].restore()
    store_of(cluster).close("rolling_back", {"reason": "error_rate_high"})
    (said,) = problems(run(world, "open"))
    assert "its rollback was not finished" in said
    assert "-e release_resume=rollback ends there, -e release_resume=restart begins a new release after it" in said
    told = status(world).stdout
    assert "ROLLING BACK since" in told
    assert "To finish the rollback:\n  ansible-playbook claude_enhancer.rollout.rollback" in told
    done = run(world, "open", release_resume="restart")
    assert done.returncode == 0, done.stdout + done.stderr
    assert journal(cluster).state == "in_progress"
    assert candidate_weight(cluster) == 0


def test_a_wrong_choice_is_named_before_anything_is_touched(
    world: World, cluster: Cluster, states: dict[str, StageState]
) -> None:
    states["canary_start"].restore()
    before = journal(cluster)
    (said,) = problems(run(world, "deploy", release_resume="undo"))
    assert said.startswith("release_resume: 'undo' is not one of resume, restart, rollback: ")
    assert journal(cluster) == before


def test_status_says_where_it_stands_and_what_to_type(
    world: World, cluster: Cluster, states: dict[str, StageState]
) -> None:
    states["canary_start"].restore()
    if cluster.find(LEASE):  # of the runs that brought the release here
        cluster.delete(LEASE)
    cluster.create(LEASE, lease("kim@ops1:5.1-a:3f9a"))
    try:
        done = status(world)
    finally:
        cluster.delete(LEASE)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "   claude-enhancer 5.0 → 5.1\n",
        "Stage    between two stages; next: canary_expand (20 %)",
        "5 % on the candidate in VirtualService claude-enhancer/claude-enhancer, as the journal says",
        "selects app=claude-enhancer, version=5.0 → stable",
        f"Pods     stable    claude-enhancer-blue    {REPLICAS} of {REPLICAS} ready",
        "candidate claude-enhancer-canary  1 of 1 ready",
        "candidate claude-enhancer-green   is not there",
        "the lock of kim@ops1:5.1-a:3f9a since",
        "stage canary_start passed",
        "To go on:\n  ansible-playbook -i INVENTORY claude_enhancer.rollout.deploy",
    ):
        assert said in done.stdout, done.stdout
    shown = done.stdout[done.stdout.index("Release ") :].split("\n\n")
    assert len(shown[0].splitlines()) <= 10
    assert "To go on:" in shown[0], "what is to be done is told first"
    assert len(shown[1].splitlines()) <= 20


def lease(holder: str) -> dict[str, Any]:
    spec = {
        "holderIdentity": holder, "leaseDurationSeconds": 60, "leaseTransitions": 1,
        "acquireTime": "2026-11-20T10:00:00.000000Z", "renewTime": "2026-11-20T10:00:20.000000Z",
    }  # fmt: skip
    metadata = {"name": LEASE.name, "namespace": LEASE.namespace}
    return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}


def test_status_says_what_differs(world: World, cluster: Cluster, states: dict[str, StageState]) -> None:
    states["canary_start"].restore()
    weight_edited(world, 50)
    done = status(world)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "50 % on the candidate in VirtualService claude-enhancer/claude-enhancer; the journal says 5 %" in done.stdout
    )
    differs = " ".join(done.stdout.split("Differs", 1)[1].split())
    assert differs.startswith(
        "VirtualService claude-enhancer/claude-enhancer gives the candidate 50 % (written last by kubectl-edit at 20"
    )
    assert "To go on, once that is put right:" in done.stdout


def test_status_without_a_release_is_no_failure_and_without_an_api_is_one(
    world: World, cluster: Cluster, states: dict[str, StageState]
) -> None:
    states["canary_start"].restore()
    cluster.delete(config_map(NAMESPACE, store_of(cluster).name))
    done = status(world)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No release in namespace claude-enhancer: there is no journal of one." in done.stdout
    away = status(world, release_cluster={"host": f"https://127.{BLOCK}.9.9:6443", "api_key": "x"})
    assert away.returncode == 2
    assert f"the Kubernetes API at https://127.{BLOCK}.9.9:6443 can't be reached" in away.stdout
    unknown = status(world, release_cluster={"kubeconfig": str(world.kubeconfig), "api_key": "nobody"})
    assert unknown.returncode == 2
    assert "doesn't accept the credentials (401)" in unknown.stdout
