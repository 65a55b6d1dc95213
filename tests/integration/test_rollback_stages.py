"""rollback.yml on a whole world, from each stage with traffic, with nothing but a kubeconfig and a reason."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    config_map,
    deployment,
    service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Journal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import destination_rule
from rehearsal.world import NAMESPACE, World
from tests.bench import playbook, rollbacks
from tests.bench.playbook import own
from tests.bench.stage_state import StageState
from tests.bench.stand import Stand
from tests.integration.api_only import TRAFFIC, candidate_weight
from tests.integration.deploying import PROGRAM, ROOT, environment
from tests.integration.world_fixture import rehearsal, start_world
from tests.unit.plugins.web_server import Reply, Request, serve

NAME = "rollback"
BLOCK = "195"
BLUE = deployment(NAMESPACE, "claude-enhancer-blue")
CANARY, GREEN = deployment(NAMESPACE, "claude-enhancer-canary"), deployment(NAMESPACE, "claude-enhancer-green")
RULE = destination_rule(NAMESPACE, "claude-enhancer")
REPLICAS = 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("worlds")
    try:
        yield start_world(NAME, base, "--blue-replicas", str(REPLICAS), "--block", BLOCK, "--load", "200")
    finally:
        down = rehearsal("down", "--name", NAME, base=base)
        assert down.returncode == 0, down.stderr


@pytest.fixture(scope="module")
def cluster(world: World) -> Cluster:
    return Cluster.from_options({"kubeconfig": str(world.kubeconfig)})


@pytest.fixture(scope="module")
def rule(world: World, cluster: Cluster) -> dict[str, Any]:
    """The DestinationRule as it was before any release."""
    spec: dict[str, Any] = cluster.get(RULE)["spec"]
    return spec


@pytest.fixture(scope="module")
def states(world: World, rule: dict[str, Any]) -> dict[str, StageState]:
    """The world as it stands in each stage with traffic; the last one after its clean-up of the canary."""
    playbook.run(world, own("setup"), inventory=True)
    found = {}
    for stage in rollbacks.STAGES:
        variables = {"bench_stage": stage, "release_stages": stages_with_traffic(), "stage_candidate_is_there": True}
        playbook.run(world, own("stage"), {**variables, **rollbacks.REPLICAS}, inventory=True)
        found[stage] = StageState.keep(world, TRAFFIC)
    return found


def stages_with_traffic() -> list[dict[str, Any]]:
    """Of the inventory's plan; the stages before them have nothing that could be taken back."""
    values = ROOT / "inventories" / "claude_enhancer" / "group_vars" / "all" / "stages.yml"
    return [stage for stage in yaml.safe_load(values.read_text())["release_stages"] if stage["weight"]]


def roll_back(world: World, kubeconfig: Path | None = None, **extra: Any) -> subprocess.CompletedProcess[str]:
    """Without an inventory, as a person on call runs it."""
    given = {"rollback_reason": "manual_intervention", "rollback_force": True, **extra}
    return subprocess.run(
        [str(PROGRAM), "claude_enhancer.rollout.rollback", "-e", json.dumps(given)],
        env={**environment(world), "K8S_AUTH_KUBECONFIG": str(kubeconfig or world.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def journal(cluster: Cluster) -> Journal:
    found = JournalStore(cluster, NAMESPACE, NAMESPACE).read()
    assert found is not None
    return found


def check_back(cluster: Cluster, rule: dict[str, Any]) -> None:
    """Everything is as it was before the release."""
    assert candidate_weight(cluster) == 0
    assert cluster.get(service(NAMESPACE, "claude-enhancer-service"))["spec"]["selector"]["version"] == "5.0"
    assert cluster.find(CANARY) is None
    green = cluster.find(GREEN)
    assert green is None or green["spec"]["replicas"] == 0
    assert cluster.get(RULE)["spec"] == rule
    assert journal(cluster).state == "rolled_back"


@pytest.mark.parametrize(("stage", "weight"), list(zip(rollbacks.STAGES, (5, 20, 50, 100), strict=True)))
def test_back_from_each_stage(
    world: World, cluster: Cluster, rule: dict[str, Any], states: dict[str, StageState], stage: str, weight: int
) -> None:
    states[stage].restore()
    switched = stage == "full_switch"
    assert (cluster.get(RULE)["spec"] != rule) == switched, "the clean-up of the canary changed it"
    lost = Stand(world).load_after(time.time()).failed
    done = roll_back(world)
    assert done.returncode == 0, done.stdout + done.stderr
    check_back(cluster, rule)
    assert Stand(world).load_after(time.time()).failed == lost, "no request of users may fail on the way back"
    assert (cluster.find(config_map(NAMESPACE, "claude-enhancer-5.1-agents")) is None) == switched
    data = journal(cluster).events[-1]["data"]
    assert (data["reason"], data["weight_before"]) == ("manual_intervention", weight)
    assert data["entry_selector_before"]["version"] == ("5.1" if switched else "5.0")
    # Of 5 % a hundred requests might miss the candidate.
    assert (data["probe"]["asked"], data["probe"]["candidate"]) == (135 if weight == 5 else 100, 0)
    assert {one["verdict"] for one in data["judgements"]} == {"pass"}
    at = {step["name"]: step["at"] for step in data["steps"]}
    assert at["stable side"] < at["weight"] < at["lock"] < at["record"] < at["edge"] < at["canary"] < at["pods"]
    assert "ROLLED BACK: 5.0 serves all traffic" in done.stdout


def test_a_second_run_changes_nothing_and_says_so(
    world: World, cluster: Cluster, rule: dict[str, Any], states: dict[str, StageState]
) -> None:
    states["full_switch"].restore()
    assert roll_back(world).returncode == 0
    before = journal(cluster)
    again = roll_back(world)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "changed" not in again.stdout.split("Release ", 1)[0]
    assert "rolled_back already, and nothing was left to do" in again.stdout
    assert journal(cluster) == before
    check_back(cluster, rule)


def test_a_stable_side_that_was_scaled_down_is_at_full_strength_first(
    world: World, cluster: Cluster, rule: dict[str, Any], states: dict[str, StageState]
) -> None:
    states["full_switch"].restore()
    cluster.patch(BLUE, {"spec": {"replicas": 1}})
    done = roll_back(world)
    assert done.returncode == 0, done.stdout + done.stderr
    check_back(cluster, rule)
    blue = cluster.get(BLUE)
    assert (blue["spec"]["replicas"], blue["status"]["readyReplicas"]) == (REPLICAS, REPLICAS)
    steps = {step["name"]: step for step in journal(cluster).events[-1]["data"]["steps"]}
    strong = steps["stable side"]
    assert strong["says"] == f"1 to {REPLICAS} replicas, {REPLICAS} ready"
    assert strong["at"] + strong["seconds"] <= min(steps[name]["at"] for name in ("weight", "entry service"))


@contextlib.contextmanager
def in_front_of(world: World, folder: Path, ill: Callable[[Request], bool]) -> Iterator[Path]:
    """The kubeconfig of an API that answers 503 where ``ill`` says so, and what the world's own answers elsewhere."""
    entry = yaml.safe_load(world.kubeconfig.read_text())
    user, server = entry["users"][0]["user"], entry["clusters"][0]["cluster"]
    context = ssl.create_default_context(cafile=_file(folder / "ca", server, "certificate-authority"))
    if "client-certificate" in user or "client-certificate-data" in user:
        certificate = _file(folder / "crt", user, "client-certificate")
        context.load_cert_chain(certificate, _file(folder / "key", user, "client-key"))

    def answer(request: Request) -> Reply:
        if ill(request):
            return Reply(503, b"the API is ill")
        headers: dict[str, str] = {
            name: request.headers[name] for name in ("accept", "content-type") if name in request.headers
        }
        if "token" in user:
            headers["authorization"] = f"Bearer {user['token']}"
        url = server["server"] + request.path
        asked = urllib.request.Request(url, request.body or None, headers, method=request.method)
        try:
            with urllib.request.urlopen(asked, context=context, timeout=20) as reply:
                return Reply(reply.status, reply.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read())

    with serve(answer) as url:
        entry["clusters"][0]["cluster"] = {"server": url}
        entry["users"][0]["user"] = {}
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(entry))
        yield path


def _file(path: Path, entry: dict[str, str], key: str) -> str:
    """The file that a kubeconfig names, or one with what it holds itself."""
    if key in entry:
        return entry[key]
    path.write_bytes(base64.b64decode(entry[f"{key}-data"]))
    return str(path)


def test_an_api_that_is_ill_leaves_users_on_stable_and_the_next_run_ends_it(
    world: World, cluster: Cluster, rule: dict[str, Any], states: dict[str, StageState], tmp_path: Path
) -> None:
    states["bluegreen_prepare"].restore()

    def ill(request: Request) -> bool:
        return request.method != "GET" and "/deployments/" in request.path

    with in_front_of(world, tmp_path, ill) as kubeconfig:
        cut_off = roll_back(world, kubeconfig, rollback_verify_timeout=4)
    assert cut_off.returncode == 2, cut_off.stdout + cut_off.stderr
    assert "the API is ill" in cut_off.stdout
    assert candidate_weight(cluster) == 0
    assert cluster.find(CANARY) is not None
    noted = journal(cluster)
    assert noted.state == "rolling_back"
    assert {problem.split(":")[0] for problem in noted.events[-1]["data"]["problems"]} == {"canary", "green"}
    done = roll_back(world)
    assert done.returncode == 0, done.stdout + done.stderr
    check_back(cluster, rule)
    assert journal(cluster).events[-1]["data"]["weight_before"] == 50, "as it was before both runs"


def test_an_api_that_is_ill_for_a_moment_costs_a_moment(
    world: World, cluster: Cluster, rule: dict[str, Any], states: dict[str, StageState], tmp_path: Path
) -> None:
    states["canary_expand"].restore()
    refused: list[str] = []

    def ill(request: Request) -> bool:
        if request.method == "GET" or refused.count(request.path) > 1:
            return False
        refused.append(request.path)
        return True

    with in_front_of(world, tmp_path, ill) as kubeconfig:
        done = roll_back(world, kubeconfig)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("virtualservices" in path for path in refused)
    check_back(cluster, rule)


def test_a_planned_rollback_wants_a_yes(world: World, cluster: Cluster, states: dict[str, StageState]) -> None:
    states["canary_start"].restore()
    refused = roll_back(world, rollback_force=False)
    assert refused.returncode == 2
    assert "answer yes, or set rollback_force=true in an emergency" in refused.stdout
    assert candidate_weight(cluster) == 5
    assert roll_back(world).returncode == 0
