"""A cluster that holds ConfigMaps in memory, with resource versions and conflicts as the API gives them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    NotFoundError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref

Object = dict[str, Any]
LIMIT = 1024 * 1024


class FakeConfigMaps:
    """Stands for ``Cluster``. ``before_write`` is called ahead of each write, to let another writer go first."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.version = 0
        self.dry_run = False
        self.before_write: Callable[[], None] = lambda: None
        self.requests = 0

    def find(self, ref: Ref) -> Object | None:
        self.requests += 1
        return copy.deepcopy(self.objects.get(ref.path))

    def list_metadata(self, collection: Ref, label_selector: Mapping[str, str]) -> list[Object]:
        selector = ",".join(f"{key}={value}" for key, value in label_selector.items())
        return [item["metadata"] for item in self.list(collection, selector)]

    def list(self, collection: Ref, label_selector: str = "") -> list[Object]:
        self.requests += 1
        wanted = dict(pair.split("=") for pair in label_selector.split(",") if pair)
        found = [item for path, item in self.objects.items() if path.startswith(collection.path + "/")]
        return [copy.deepcopy(item) for item in found if wanted.items() <= item["metadata"]["labels"].items()]

    def create(self, ref: Ref, body: Object) -> Object:
        self.before_write()
        if ref.path in self.objects:
            raise ConflictError("exists", status=409, reason="AlreadyExists")
        return self._store(ref, body)

    def replace(self, ref: Ref, body: Object) -> Object:
        self.before_write()
        stored = self.objects.get(ref.path)
        if stored is None:
            raise NotFoundError("gone", status=404)
        if body["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"]:
            raise ConflictError("changed", status=409, reason="Conflict")
        return self._store(ref, body)

    def delete(self, ref: Ref, resource_version: str = "") -> Object:
        self.before_write()
        if ref.path not in self.objects:
            raise NotFoundError("gone", status=404)
        if resource_version not in ("", self.objects[ref.path]["metadata"]["resourceVersion"]):
            raise ConflictError("changed", status=409, reason="Conflict")
        return self.objects.pop(ref.path)

    def _store(self, ref: Ref, body: Object) -> Object:
        self.version += 1
        self.requests += 1
        if sum(len(value.encode()) for value in body["data"].values()) > LIMIT:
            raise ClusterError("Too long", status=422, reason="Invalid")
        stored = copy.deepcopy(body)
        stored["metadata"].update(resourceVersion=str(self.version), creationTimestamp=f"{self.version:09}")
        if not self.dry_run:
            self.objects[ref.path] = stored
        return stored
