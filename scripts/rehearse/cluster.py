"""What a rehearsal reads of the cluster: the weights as they move, and how it was left."""

from __future__ import annotations

import asyncio
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal_layout
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Journal, whole
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider
from rehearsal.client import KubeClient
from rehearsal.world import NAMESPACE
from rehearsal.world import World as RehearsalWorld
from scripts.rehearse.verdict import World

MESH = f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
NAME = "claude-enhancer"
JOURNAL = f"{NAME}-release-journal"
_POLL = 0.2


def candidate_weights(world: RehearsalWorld, traffic: dict[str, Any]) -> dict[str, int]:
    """Weight of the candidate in each weighted route of what carries the weight, the release's own words for it."""
    cluster = Cluster.from_options({"kubeconfig": str(world.kubeconfig)})
    return {route.route: route.weight for route in open_provider(traffic["provider"], cluster, traffic).read().routes}


async def wait_for_weight(world: RehearsalWorld) -> int:
    """Wait until the candidate has weight on every weighted route; that weight."""
    while True:
        journal = await read_journal(world)
        if journal is not None:
            weights = await asyncio.to_thread(candidate_weights, world, journal["plan"]["release_traffic"])
            if len(set(weights.values())) == 1 and any(weights.values()):
                return next(iter(weights.values()))
        await asyncio.sleep(_POLL)


async def left_behind(world: RehearsalWorld, traffic: dict[str, Any]) -> World:
    """How the cluster stands now; ``traffic`` is what carried the weight."""
    async with KubeClient.from_kubeconfig(world.kubeconfig, "rehearse") as client:
        entry = await client.get(f"{CORE}/services/{NAME}-service")
        deployments = await client.get(f"{APPS}/deployments")
        config_maps = await client.get(f"{CORE}/configmaps")
    return World(
        weights=await asyncio.to_thread(candidate_weights, world, traffic),
        entry_version=entry["spec"]["selector"].get("version", ""),
        replicas={item["metadata"]["name"]: item["spec"].get("replicas", 1) for item in deployments["items"]},
        config_maps={item["metadata"]["name"] for item in config_maps["items"]},
    )


async def read_journal(world: RehearsalWorld) -> dict[str, Any] | None:
    """The journal as ``release_journal`` returns it; None when no release was ever opened."""
    async with KubeClient.from_kubeconfig(world.kubeconfig, "rehearse") as client:
        found = await client.get(f"{CORE}/configmaps", fieldSelector=f"metadata.name={JOURNAL}")
        if not found["items"]:
            return None
        where = f"ConfigMap {NAMESPACE}/{JOURNAL}"
        head = journal_layout.from_data(found["items"][0]["data"], where)
        return whole(await _completed(client, head, where))


async def _completed(client: KubeClient, head: Journal, where: str) -> Journal:
    """The journal with what lies beside its newest ConfigMap."""
    older: list[dict[str, Any]] = []
    for part in head.parts:
        held = await client.get(f"{CORE}/configmaps/{part.name}")
        older += journal_layout.part_events(held["data"], where)
    full = journal_layout.completed(head, older, where)
    names = journal_layout.names_apart(full.events)
    chunks = {name: (await client.get(f"{CORE}/configmaps/{name}"))["data"] for name in names}
    return Journal(full.header, tuple(journal_layout.joined(event, chunks, where) for event in full.events))
