"""ConfigMaps and Secrets that pods refer to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from rehearsal.client import ApiError, Informer, KubeClient
from rehearsal.objects import Object, key_of, path_of

Reference = tuple[str, str]
Objects = Mapping[Reference, Object]


class ConfigError(Exception):
    """A pod asks for something that is not there; the message names it as the kubelet does."""


class Sources:
    """Knows all ConfigMaps and Secrets, and tells of their changes."""

    def __init__(self, client: KubeClient, on_change: Callable[[str, Reference], None]) -> None:
        self._client = client
        self._informers = {
            kind: Informer(client, f"/api/v1/{plural}", self._told(kind, on_change))
            for kind, plural in (("ConfigMap", "configmaps"), ("Secret", "secrets"))
        }

    @staticmethod
    def _told(kind: str, on_change: Callable[[str, Reference], None]) -> Callable[[str, Object], None]:
        def tell(_: str, item: Object) -> None:
            namespace, name = key_of(item)
            on_change(namespace, (kind, name))

        return tell

    async def run(self) -> None:
        await asyncio.gather(*(informer.run() for informer in self._informers.values()))

    async def load(self, namespace: str, references: Iterable[Reference]) -> dict[Reference, Object]:
        """Those of the objects that exist, by (kind, name)."""
        wanted = list(references)
        found = await asyncio.gather(*(self._find(namespace, *reference) for reference in wanted))
        return {reference: item for reference, item in zip(wanted, found, strict=True) if item is not None}

    async def _find(self, namespace: str, kind: str, name: str) -> Object | None:
        known = self._informers[kind].objects.get((namespace, name))
        if known is not None:
            return known
        try:
            # The watch may be a moment behind a ConfigMap made together with the pod.
            return dict(await self._client.get(path_of("v1", kind, namespace, name)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
