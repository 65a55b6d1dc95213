"""Namespaces: each has its default ServiceAccount; one being deleted is emptied first."""

from __future__ import annotations

import asyncio

from rehearsal.client import ApiError, KubeClient
from rehearsal.controllers.caches import Caches
from rehearsal.controllers.queue import WorkQueue
from rehearsal.objects import Key, Object, is_terminating, key_of

AGAIN = 0.5


class NamespaceController:
    """Reconciles Namespaces."""

    def __init__(self, client: KubeClient, caches: Caches) -> None:
        self._client = client
        self._caches = caches
        self.queue = WorkQueue("namespace", self.reconcile)
        caches.namespaces.listeners.append(lambda item: self.queue.add(key_of(item)))
        caches.service_accounts.deletion_listeners.append(
            lambda item: self.queue.add(("", item["metadata"]["namespace"]))
        )

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._caches.namespaces.objects.get(key)
        if namespace is None:
            return None
        if is_terminating(namespace):
            return await self._empty(namespace)
        if (key[1], "default") not in self._caches.service_accounts.objects:
            account: Object = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            try:
                await self._client.create(f"/api/v1/namespaces/{key[1]}/serviceaccounts", account)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
        return None

    async def _empty(self, namespace: Object) -> float | None:
        """Delete all that is in it; when nothing is left, let the namespace go."""
        if "kubernetes" not in (namespace.get("spec") or {}).get("finalizers", []):
            return None
        name = namespace["metadata"]["name"]
        collections = [
            f"{root}/namespaces/{name}/{resource['name']}"
            for root, resources in await self._resources()
            for resource in resources
            if resource.get("namespaced") and {"delete", "list"} <= set(resource.get("verbs") or [])
        ]
        left = await asyncio.gather(*(self._clear(path) for path in collections))
        if any(left):
            return AGAIN
        body = namespace | {"spec": {"finalizers": []}}
        await self._client.request("PUT", f"/api/v1/namespaces/{name}/finalize", body)
        return None

    async def _resources(self) -> list[tuple[str, list[Object]]]:
        groups = await self._client.get("/apis")
        roots = ["/api/v1"] + [f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups["groups"]]
        answers = await asyncio.gather(*(self._client.get(root) for root in roots))
        return [(root, answer["resources"]) for root, answer in zip(roots, answers, strict=True)]

    async def _clear(self, path: str) -> int:
        """Ask for the deletion of each object in a collection; how many there were."""
        items = (await self._client.get(path))["items"]
        for item in items:
            if not is_terminating(item):
                try:
                    await self._client.delete(f"{path}/{item['metadata']['name']}")
                except ApiError as error:
                    if error.status not in (404, 409):
                        raise
        return len(items)
