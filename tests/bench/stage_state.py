"""The objects of a world as they stand in a stage of a release, kept, and put back as often as they are needed."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    TrafficProvider,
    open_provider,
    set_weight,
)
from rehearsal.client import ApiError, KubeClient, Object
from rehearsal.world import NAMESPACE, World

CORE = f"/api/v1/namespaces/{NAMESPACE}"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
# In the order in which they are put back: what is to serve stands before anything leads to it.
COLLECTIONS = (
    f"{CORE}/configmaps",
    f"{APPS}/deployments",
    f"{CORE}/services",
    f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}/destinationrules",
    f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}/virtualservices",
    f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes",
    f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses",
    f"/apis/route.openshift.io/v1/namespaces/{NAMESPACE}/routes",
)
DEPLOYMENTS = COLLECTIONS[1]
_SERVER_FIELDS = ("resourceVersion", "uid", "generation", "creationTimestamp", "managedFields", "selfLink")
_POLL = 0.05
_PATIENCE = 30.0


def traffic_provider(world: World, traffic: dict[str, Any]) -> TrafficProvider:
    """The collection's own provider for ``traffic``, for what is to be set up and looked at."""
    return open_provider(traffic["provider"], Cluster.from_options({"kubeconfig": str(world.kubeconfig)}), traffic)


@dataclass
class StageState:
    """``objects`` by API path, and the weight of what carries it; ``traffic`` in the words of the collection."""

    world: World
    traffic: dict[str, Any]
    weight: int
    objects: dict[str, dict[str, Object]] = field(default_factory=dict)

    @classmethod
    def keep(cls, world: World, traffic: dict[str, Any]) -> StageState:
        """The world as it stands now."""
        state = cls(world, traffic, traffic_provider(world, traffic).read().weight)
        asyncio.run(state._read())
        return state

    def restore(self) -> None:
        """Take the weight away, put every object back, wait until the Deployments stand, then give the weight.

        Raises TimeoutError when they don't.
        """
        set_weight(traffic_provider(self.world, self.traffic), 0, guard=False)
        asyncio.run(asyncio.wait_for(self._write(), _PATIENCE))
        set_weight(traffic_provider(self.world, self.traffic), self.weight, guard=False)

    async def _read(self) -> None:
        async with KubeClient.from_kubeconfig(self.world.kubeconfig, "rehearsal-bench") as client:
            for collection in COLLECTIONS:
                items = (await client.get(collection))["items"]
                self.objects[collection] = {item["metadata"]["name"]: written(item) for item in items}

    async def _write(self) -> None:
        async with KubeClient.from_kubeconfig(self.world.kubeconfig, "rehearsal-bench") as client:
            for collection in COLLECTIONS:
                kept = self.objects[collection]
                for name, item in kept.items():
                    await _put(client, collection, name, item)
                for item in (await client.get(collection))["items"]:
                    if item["metadata"]["name"] not in kept:
                        await client.delete(f"{collection}/{item['metadata']['name']}")
                if collection == DEPLOYMENTS:
                    await self._deployments_stand(client)

    async def _deployments_stand(self, client: KubeClient) -> None:
        while True:
            items = (await client.get(DEPLOYMENTS))["items"]
            standing = {item["metadata"]["name"]: item for item in items if _stands(item)}
            if set(self.objects[DEPLOYMENTS]) <= set(standing):
                return
            await asyncio.sleep(_POLL)


async def _put(client: KubeClient, collection: str, name: str, item: Object) -> None:
    try:
        now = await client.get(f"{collection}/{name}")
    except ApiError as error:
        if error.status != 404:
            raise
        await client.create(collection, item)
        return
    if written(now) != item:
        # Of the object that is there, so that what the server owns stays.
        wanted = {**item, "metadata": {**item["metadata"], "resourceVersion": now["metadata"]["resourceVersion"]}}
        await client.request("PUT", f"{collection}/{name}", wanted)


def written(item: Object) -> Object:
    """An object as its owners wrote it."""
    kept = copy.deepcopy(item)
    kept.pop("status", None)
    for name in _SERVER_FIELDS:
        kept["metadata"].pop(name, None)
    kept.get("metadata", {}).get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
    return kept


def _stands(deployment: Object) -> bool:
    """Whether a Deployment has all its pods available, and no other ones."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return observed and status.get("replicas", 0) == wanted and status.get("availableReplicas", 0) == wanted
