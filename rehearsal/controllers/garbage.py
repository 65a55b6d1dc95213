"""Garbage collection by owner references: what is owned goes when its last owner has gone."""

from __future__ import annotations

import asyncio

from rehearsal.client import ApiError, KubeClient
from rehearsal.controllers.caches import Caches, Collection
from rehearsal.controllers.queue import WorkQueue
from rehearsal.objects import PATHS, Key, Object, is_terminating, key_of, path_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class GarbageCollector:
    """Background, foreground and orphan deletion for the kinds the controllers know."""

    def __init__(self, client: KubeClient, caches: Caches) -> None:
        self._client = client
        kept = [item for item in caches.all() if (item.api_version, item.kind) in PATHS]
        self._collections = {item.kind: item for item in kept}
        self._dependents: dict[str, set[Key]] = {}
        self.queue = WorkQueue("garbage", self.reconcile)
        self.owners = WorkQueue("garbage-owner", self._settle_owner)
        for collection in kept:
            collection.listeners.append(self._changed)
            collection.deletion_listeners.append(self._deleted)

    def _changed(self, item: Object) -> None:
        references = item["metadata"].get("ownerReferences") or []
        namespace, name = key_of(item)
        place = (namespace, f"{item['kind']}/{name}")
        for reference in references:
            known = self._dependents.setdefault(reference["uid"], set())
            if place not in known:
                known.add(place)
                self.queue.add(place)
        if is_terminating(item) and {FOREGROUND, ORPHAN} & set(item["metadata"].get("finalizers") or []):
            self.owners.add(place)

    def _deleted(self, item: Object) -> None:
        namespace, name = key_of(item)
        place = (namespace, f"{item['kind']}/{name}")
        for dependent in self._dependents.pop(item["metadata"]["uid"], ()):
            self.queue.add(dependent)
        for reference in item["metadata"].get("ownerReferences") or []:
            self._dependents.get(reference["uid"], set()).discard(place)
            owner = (namespace, f"{reference['kind']}/{reference['name']}")
            if self._find(owner) is not None:
                self.owners.add(owner)

    def _find(self, place: Key) -> Object | None:
        kind, _, name = place[1].partition("/")
        collection = self._collections.get(kind)
        return collection.objects.get((place[0], name)) if collection is not None else None

    def _owned(self, place: Key, uid: str) -> Object | None:
        item = self._find(place)
        references = item["metadata"].get("ownerReferences") or [] if item is not None else []
        return item if any(reference["uid"] == uid for reference in references) else None

    def _collection_of(self, place: Key) -> Collection:
        return self._collections[place[1].partition("/")[0]]

    async def reconcile(self, place: Key) -> None:
        """Delete the object at ``place`` (namespace, ``Kind/name``) if none of its owners is there any more."""
        item = self._find(place)
        if item is None or is_terminating(item):
            return
        references = item["metadata"].get("ownerReferences") or []
        if not references:
            return
        there = await asyncio.gather(*(self._exists(place[0], reference) for reference in references))
        if not any(there):
            await self._delete(place, item)

    async def _exists(self, namespace: str, reference: Object) -> bool:
        """Whether an owner is there; one of a kind not known here is taken to be."""
        if (reference["apiVersion"], reference["kind"]) not in PATHS:
            return True
        known = self._collections[reference["kind"]].objects.get((namespace, reference["name"]))
        if known is not None and known["metadata"]["uid"] == reference["uid"]:
            return True
        path = path_of(reference["apiVersion"], reference["kind"], namespace, reference["name"])
        try:
            found = await self._client.get(path)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return bool(found["metadata"]["uid"] == reference["uid"])

    async def _delete(self, place: Key, item: Object, policy: str = "Background") -> None:
        collection = self._collection_of(place)
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": policy,
            "preconditions": {"uid": item["metadata"]["uid"]},
        }
        try:
            await self._client.delete(path_of(collection.api_version, collection.kind, *key_of(item)), body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def _settle_owner(self, place: Key) -> None:
        """Finish a foreground or orphan deletion: deal with the dependents, then take the finalizer off."""
        owner = self._find(place)
        if owner is None or not is_terminating(owner):
            return
        finalizers = owner["metadata"].get("finalizers") or []
        uid = owner["metadata"]["uid"]
        dependents = {key: item for key in self._dependents.get(uid, ()) if (item := self._owned(key, uid)) is not None}
        if ORPHAN in finalizers:
            await asyncio.gather(*(self._orphan(key, item, uid) for key, item in dependents.items()))
            await self._finish(place, owner, ORPHAN)
        elif FOREGROUND in finalizers:
            for key, item in dependents.items():
                if not is_terminating(item):
                    await self._delete(key, item, "Foreground")
            if not dependents:
                await self._finish(place, owner, FOREGROUND)

    async def _orphan(self, place: Key, item: Object, uid: str) -> None:
        kept = [each for each in item["metadata"].get("ownerReferences") or [] if each["uid"] != uid]
        await self._patch(place, item, {"ownerReferences": kept})

    async def _finish(self, place: Key, owner: Object, finalizer: str) -> None:
        kept = [each for each in owner["metadata"]["finalizers"] if each != finalizer]
        await self._patch(place, owner, {"finalizers": kept})

    async def _patch(self, place: Key, item: Object, metadata: Object) -> None:
        collection = self._collection_of(place)
        guarded = metadata | {"uid": item["metadata"]["uid"], "resourceVersion": item["metadata"]["resourceVersion"]}
        path = path_of(collection.api_version, collection.kind, *key_of(item))
        try:
            await self._client.patch(path, {"metadata": guarded})
        except ApiError as error:
            if error.status != 404:
                raise
