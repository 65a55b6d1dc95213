"""The collections the controllers share: one list and watch each, any number of listeners."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from rehearsal.client import Informer, KubeClient
from rehearsal.objects import Object, is_controlled_by

Listener = Callable[[Object], None]


class Collection(Informer):
    """An informer of one kind, with any number of listeners."""

    def __init__(self, client: KubeClient, api_version: str, kind: str, plural: str) -> None:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        super().__init__(client, f"{root}/{plural}", self._changed)
        self.api_version = api_version
        self.kind = kind
        self.listeners: list[Listener] = []
        self.deletion_listeners: list[Listener] = []

    def _changed(self, event: str, item: Object) -> None:
        for listener in self.listeners:
            listener(item)
        if event == "DELETED":
            for listener in self.deletion_listeners:
                listener(item)

    def in_namespace(self, namespace: str) -> list[Object]:
        return [item for (place, _), item in self.objects.items() if place == namespace]

    def controlled_by(self, owner: Object) -> list[Object]:
        namespace = owner["metadata"]["namespace"]
        return [item for item in self.in_namespace(namespace) if is_controlled_by(item, owner)]


class Caches:
    """All collections that controllers look at."""

    def __init__(self, client: KubeClient) -> None:
        def collection(api_version: str, kind: str, plural: str) -> Collection:
            return Collection(client, api_version, kind, plural)

        self.namespaces = collection("v1", "Namespace", "namespaces")
        self.service_accounts = collection("v1", "ServiceAccount", "serviceaccounts")
        self.deployments = collection("apps/v1", "Deployment", "deployments")
        self.replica_sets = collection("apps/v1", "ReplicaSet", "replicasets")
        self.pods = collection("v1", "Pod", "pods")
        self.services = collection("v1", "Service", "services")
        self.endpoints = collection("v1", "Endpoints", "endpoints")
        self.slices = collection("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
        self.config_maps = collection("v1", "ConfigMap", "configmaps")
        self.secrets = collection("v1", "Secret", "secrets")

    def all(self) -> list[Collection]:
        values: list[Any] = list(vars(self).values())
        return [value for value in values if isinstance(value, Collection)]

    async def synced(self) -> None:
        """Wait until each collection was listed once."""
        await asyncio.gather(*(item.synced.wait() for item in self.all()))
