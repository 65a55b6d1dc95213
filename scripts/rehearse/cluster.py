"""What a rehearsal reads of the cluster: the weights as they move, and how it was left."""

from __future__ import annotations

import asyncio
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import from_data, whole
from rehearsal.client import Informer, KubeClient
from rehearsal.world import NAMESPACE
from rehearsal.world import World as RehearsalWorld
from scripts.rehearse.verdict import World

MESH = f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
NAME = "claude-enhancer"
JOURNAL = f"{NAME}-release-journal"


def candidate_weights(virtual_service: dict[str, Any]) -> dict[str, int]:
    """Weight of the candidate in each route that has both sides."""
    weights = {}
    for number, route in enumerate(virtual_service["spec"]["http"]):
        sides = {entry["destination"].get("subset"): entry.get("weight", 0) for entry in route.get("route", [])}
        if {"stable", "candidate"} <= set(sides):
            weights[route.get("name", str(number))] = sides["candidate"]
    return weights


async def wait_for_weight(world: RehearsalWorld) -> int:
    """Wait until the candidate has weight on every weighted route; that weight."""
    reached: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def look(_kind: str, virtual_service: dict[str, Any]) -> None:
        weights = set(candidate_weights(virtual_service).values())
        if len(weights) == 1 and weights != {0} and not reached.done():
            reached.set_result(weights.pop())

    async with KubeClient.from_kubeconfig(world.kubeconfig, "rehearse") as client:
        path = f"{MESH}/virtualservices"
        watching = asyncio.create_task(Informer(client, path, look, fieldSelector=f"metadata.name={NAME}").run())
        try:
            return await reached
        finally:
            watching.cancel()


async def left_behind(world: RehearsalWorld) -> World:
    """How the cluster stands now."""
    async with KubeClient.from_kubeconfig(world.kubeconfig, "rehearse") as client:
        virtual_service = await client.get(f"{MESH}/virtualservices/{NAME}")
        entry = await client.get(f"{CORE}/services/{NAME}-service")
        deployments = await client.get(f"{APPS}/deployments")
        config_maps = await client.get(f"{CORE}/configmaps")
    return World(
        weights=candidate_weights(virtual_service),
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
    return whole(from_data(found["items"][0]["data"], f"ConfigMap {NAMESPACE}/{JOURNAL}"))
