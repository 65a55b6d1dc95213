"""The rehearsal cluster's API in this process, standing where the collection's Cluster stands.

It defaults, validates, tells who wrote which field and refuses what a real API server refuses; there is no HTTP.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref
from rehearsal.cluster.errors import StatusError
from rehearsal.cluster.operations import JSON_PATCH, MERGE_PATCH, Operations
from rehearsal.cluster.options import DeleteOptions, Options
from rehearsal.cluster.resources import Registry, Resource
from rehearsal.cluster.selectors import label_selector as selecting
from rehearsal.cluster.services import ServiceAddresses
from rehearsal.cluster.store import Store

Object = dict[str, Any]
_KINDS = {"json": JSON_PATCH, "merge": MERGE_PATCH}


class MemoryApi:
    """``manager`` writes; :meth:`by` gives the same API to another one.

    ``before_write`` is called once before the next write. ``forbidden`` are plurals, ``away`` makes all requests fail.
    """

    def __init__(self, manager: str = "claude-enhancer-rollout", shared: MemoryApi | None = None) -> None:
        self.manager = manager
        self.dry_run = False
        self.server = "https://memory"
        self.operations: Operations = (
            shared.operations if shared else Operations(Store(), Registry(), ServiceAddresses())
        )
        self.before_write: Callable[[], object] = lambda: None
        self.forbidden: set[str] = set()
        self.away = False
        self.writes = 0
        if shared is None:
            self.create(Ref("v1", "Namespace", "namespaces"), {"metadata": {"name": "shop"}})
            self.writes = 0

    def by(self, manager: str) -> MemoryApi:
        return MemoryApi(manager, self)

    def get(self, ref: Ref) -> Object:
        with self._told(ref):
            return self.operations.read(self._resource(ref), ref.namespace, ref.name)

    def find(self, ref: Ref) -> Object | None:
        try:
            return self.get(ref)
        except NotFoundError:
            return None

    def list_metadata(self, collection: Ref, label_selector: Mapping[str, str]) -> list[Object]:
        selector = ",".join(f"{key}={value}" for key, value in label_selector.items())
        return [item["metadata"] for item in self.list(collection, selector)]

    def list(self, collection: Ref, label_selector: str | Mapping[str, str] | None = None) -> list[Object]:
        with self._told(collection):
            matches = selecting(str(label_selector or ""))
            stored = self.operations.store.all(self._resource(collection).key, collection.namespace)
            return [item for item in (one.read() for one in stored) if matches(item)]

    def locate(self, api_version: str, kind: str, namespace: str, name: str) -> Ref:
        for resource in self.operations.registry:
            if (resource.api_version, resource.kind) == (api_version, kind):
                return Ref(api_version, kind, resource.plural, namespace if resource.namespaced else "", name)
        raise InputError(
            f"kind: the cluster {self.server} doesn't serve {kind} of {api_version}; is its CRD installed?"
        )

    def create(self, ref: Ref, body: Object) -> Object:
        with self._writing(ref):
            return self.operations.create(self._resource(ref), ref.namespace, copy.deepcopy(body), self._options())

    def replace(self, ref: Ref, body: Object) -> Object:
        with self._writing(ref):
            return self.operations.update(
                self._resource(ref), ref.namespace, ref.name, copy.deepcopy(body), self._options()
            )

    def patch(self, ref: Ref, body: Any, kind: str = "merge") -> Object:
        with self._writing(ref):
            resource = self._resource(ref)
            patch = copy.deepcopy(body)
            return self.operations.patch(resource, ref.namespace, ref.name, _KINDS[kind], patch, self._options())[0]

    def delete(self, ref: Ref, resource_version: str = "") -> Object:
        with self._writing(ref):
            options = DeleteOptions(dry_run=self.dry_run, resource_version=resource_version)
            return self.operations.delete(self._resource(ref), ref.namespace, ref.name, options)[0]

    def everything(self) -> dict[str, Object]:
        """Every object by kind, namespace and name."""
        found = {}
        for key in self.operations.store.keys():  # noqa: SIM118
            for one in self.operations.store.all(key):
                item = one.read()
                found[f"{item['kind']} {one.namespace}/{one.name}"] = item
        return found

    def _options(self) -> Options:
        return Options(manager=self.manager, dry_run=self.dry_run)

    def _resource(self, ref: Ref) -> Resource:
        group, _slash, version = ref.api_version.rpartition("/")
        found = self.operations.registry.find(group, version, ref.plural)
        if found is None:
            raise NotFoundError(f"{ref.plural} isn't served", status=404, served=False)
        return found

    @contextmanager
    def _writing(self, ref: Ref) -> Iterator[None]:
        action, self.before_write = self.before_write, lambda: None
        action()
        with self._told(ref):
            yield
        self.writes += 1

    @contextmanager
    def _told(self, ref: Ref) -> Iterator[None]:
        if self.away:
            raise UnreachableError("the Kubernetes API can't be reached", reason="connection")
        if ref.plural in self.forbidden:
            raise ForbiddenError(f"{ref.plural} is forbidden", status=403)
        try:
            yield
        except StatusError as error:
            kind = {404: NotFoundError, 409: ConflictError}.get(error.code, ClusterError)
            raise kind(
                f"{dataclasses.replace(ref)}: {error.message}", status=error.code, reason=error.reason
            ) from error
