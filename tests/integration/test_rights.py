"""A release and its rollback with the rights that docs/providers.md names, and no others; each of them is needed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref
from rehearsal.world import NAMESPACE, World
from tests.bench import playbook, rollbacks
from tests.bench.playbook import own
from tests.integration.api_only import candidate_weight
from tests.integration.deploying import ROOT
from tests.integration.test_rollback_stages import journal, roll_back, stages_with_traffic
from tests.integration.world_fixture import rehearsal, start_world

NAME = "rights"
BLOCK = "199"
RBAC = "rbac.authorization.k8s.io"
AUDIT_DELAY = 1.5
Right = tuple[str, str, str]
"""API group, resource and verb."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("worlds")
    try:
        yield start_world(NAME, base, "--blue-replicas", "2", "--block", BLOCK, "--load", "50")
    finally:
        down = rehearsal("down", "--name", NAME, base=base)
        assert down.returncode == 0, down.stderr


def documented() -> dict[str, Any]:
    """The Role as the page has it."""
    page = (ROOT / "docs" / "providers.md").read_text()
    (text,) = [one for one in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "kind: Role" in one]
    role: dict[str, Any] = yaml.safe_load(text)
    return role


def rights_of(role: dict[str, Any]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def granted(cluster: Cluster) -> Path:
    """The kubeconfig of a user who has the documented Role."""
    role = documented()
    cluster.create(Ref(f"{RBAC}/v1", "Role", "roles", NAMESPACE), role)
    named = {"apiGroup": RBAC, "kind": "Role", "name": role["metadata"]["name"]}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "ops", "namespace": NAMESPACE},
        "subjects": [{"kind": "User", "name": "ops", "apiGroup": RBAC}],
        "roleRef": named,
    }
    cluster.create(Ref(f"{RBAC}/v1", "RoleBinding", "rolebindings", NAMESPACE), binding)
    return Path("kubeconfig-ops")


def asked_for(world: World) -> Iterator[tuple[Right, int]]:
    """What the user asked for, and how it was answered."""
    time.sleep(AUDIT_DELAY)
    for line in world.audit_log.read_text().splitlines():
        event = json.loads(line)
        about = event.get("objectRef") or {}
        if event["user"].get("username") != "ops" or "resource" not in about:
            continue
        resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
        yield (about.get("apiGroup", ""), resource, event["verb"]), event["responseStatus"]["code"]


@pytest.mark.timeout(500)
def test_the_documented_role_is_enough_and_none_of_it_too_much(world: World) -> None:
    cluster = Cluster.from_options({"kubeconfig": str(world.kubeconfig)})
    kubeconfig = world.home / granted(cluster)
    given = {"release_cluster": {"kubeconfig": str(kubeconfig)}, "release_stages": stages_with_traffic()}
    playbook.run(world, own("setup"), given, inventory=True)
    for stage in rollbacks.STAGES:
        variables = {"bench_stage": stage, "stage_candidate_is_there": True, **given, **rollbacks.REPLICAS}
        playbook.run(world, own("stage"), variables, inventory=True)
    assert candidate_weight(cluster) == 100
    done = roll_back(world, kubeconfig)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (candidate_weight(cluster), journal(cluster).state) == (0, "rolled_back")
    asked = list(asked_for(world))
    assert {right for right, status in asked if status == 403} <= {("", "secrets", "get")}
    used = {right for right, status in asked if status != 403}
    assert rights_of(documented()) - used == set()
