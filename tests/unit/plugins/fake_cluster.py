"""A Kubernetes API in memory, standing where the collection's Cluster stands: objects, JSON patches, versions."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

import jsonpatch

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref


class FakeCluster:
    """``before_write`` is called once before the next write, to change things behind the writer's back."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.server = "https://fake"
        self.date = 1_800_000_000.0
        self.dry_run = dry_run
        self.calls = 0
        self.writes = 0
        self.forbidden: set[str] = set()
        self.unserved: set[str] = set()
        self.before_write: t.Callable[[], None] | None = None
        self._objects: dict[tuple[str, str, str], dict[str, t.Any]] = {}
        self._version = 100

    def put(self, ref: Ref, body: dict[str, t.Any]) -> dict[str, t.Any]:
        """Store an object without it being a call of the code under test."""
        self._version += 1
        stored = copy.deepcopy(body)
        metadata = stored.setdefault("metadata", {})
        metadata.update(name=ref.name, namespace=ref.namespace, resourceVersion=str(self._version))
        self._objects[_key(ref)] = stored
        return copy.deepcopy(stored)

    def stored(self, ref: Ref) -> dict[str, t.Any]:
        return copy.deepcopy(self._objects[_key(ref)])

    def get(self, ref: Ref) -> dict[str, t.Any]:
        self._count(ref)
        if ref.api_version in self.unserved:
            raise NotFoundError(f"{ref.plural} isn't served", status=404, served=False)
        if _key(ref) not in self._objects:
            raise NotFoundError(f"{ref} doesn't exist", status=404)
        return self.stored(ref)

    def find(self, ref: Ref) -> dict[str, t.Any] | None:
        try:
            return self.get(ref)
        except NotFoundError:
            return None

    def list_metadata(self, collection: Ref, label_selector: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
        return [item["metadata"] for item in self.list(collection, label_selector)]

    def list(self, collection: Ref, label_selector: t.Mapping[str, str] | None = None) -> list[dict[str, t.Any]]:
        self._count(collection)
        wanted = (label_selector or {}).items()
        return [
            copy.deepcopy(body)
            for (plural, namespace, _name), body in self._objects.items()
            if (plural, namespace) == (collection.plural, collection.namespace)
            and wanted <= body["metadata"].get("labels", {}).items()
        ]

    def create(self, ref: Ref, body: dict[str, t.Any]) -> dict[str, t.Any]:
        self._disturb()
        ref = dataclasses.replace(ref, name=body["metadata"]["name"])  # as the API, which is sent no name but this
        self._count(ref)
        if _key(ref) in self._objects:
            raise ConflictError(f"{ref} already exists", status=409, reason="AlreadyExists")
        made = copy.deepcopy(body)
        made["metadata"]["uid"] = f"uid-{self._version}"
        return self._write(ref, made)

    def replace(self, ref: Ref, body: dict[str, t.Any]) -> dict[str, t.Any]:
        self._disturb()
        version = self.get(ref)["metadata"]["resourceVersion"]
        if body["metadata"].get("resourceVersion", version) != version:
            raise ConflictError(f"{ref} has been modified", status=409, reason="Conflict")
        return self._write(ref, body)

    def delete(self, ref: Ref, resource_version: str = "") -> dict[str, t.Any]:
        self._disturb()
        version = self.get(ref)["metadata"]["resourceVersion"]
        if resource_version not in ("", version):
            raise ConflictError(f"{ref} has been modified", status=409, reason="Conflict")
        self.writes += 1
        if not self.dry_run:
            del self._objects[_key(ref)]
        return {"kind": "Status", "status": "Success"}

    def patch(self, ref: Ref, body: t.Any, kind: str = "merge") -> dict[str, t.Any]:
        self._disturb()
        current = self.get(ref)
        if kind == "merge":
            return self._write(ref, _merged(current, body))
        assert kind == "json"
        try:
            changed = jsonpatch.apply_patch(current, body)
        except jsonpatch.JsonPatchException as error:
            raise ClusterError("the server rejected our request", status=422, reason="Invalid") from error
        return self._write(ref, changed)

    def _disturb(self) -> None:
        if self.before_write:
            action, self.before_write = self.before_write, None
            action()

    def _write(self, ref: Ref, body: dict[str, t.Any]) -> dict[str, t.Any]:
        self.writes += 1
        return body if self.dry_run else self.put(ref, body)

    def pause(self, seconds: float) -> None:
        """Nothing happens by itself here."""

    def _count(self, ref: Ref) -> None:
        self.calls += 1
        if ref.plural in self.forbidden:
            raise ForbiddenError(f"{ref.plural} is forbidden", status=403)


def _merged(current: t.Any, patch: t.Any) -> t.Any:
    """RFC 7386; a map that becomes empty goes, as the API has it with annotations."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        merged[key] = _merged(merged.get(key), value)
    return {key: value for key, value in merged.items() if value not in (None, {}) or key not in patch}


def _key(ref: Ref) -> tuple[str, str, str]:
    return ref.plural, ref.namespace, ref.name
