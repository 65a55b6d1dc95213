"""An API without HTTP, for the tests of this folder: operations on a fresh store."""

from __future__ import annotations

from typing import Any

from rehearsal.cluster.bootstrap import populate
from rehearsal.cluster.operations import Operations
from rehearsal.cluster.options import Options
from rehearsal.cluster.resources import Registry, Resource
from rehearsal.cluster.services import ServiceAddresses
from rehearsal.cluster.store import Store

Object = dict[str, Any]


class Api:
    """Short names for what the tests do all the time, in namespace ``default``."""

    def __init__(self) -> None:
        self.operations = Operations(Store(), Registry(), ServiceAddresses())
        populate(self.operations)
        self.store = self.operations.store

    def kind(self, plural: str, group: str = "", version: str = "v1") -> Resource:
        resource = self.operations.registry.find(group, version, plural)
        assert resource is not None
        return resource

    def create(self, resource: Resource, body: Object, **options: Any) -> Object:
        namespace = "default" if resource.namespaced else ""
        return self.operations.create(resource, namespace, body, Options(**options))

    def patch(
        self, resource: Resource, name: str, kind: str, body: Any, subresource: str = "", **options: Any
    ) -> Object:
        asked = Options(**options)
        return self.operations.patch(resource, "default", name, kind, body, asked, subresource)[0]

    def read(self, resource: Resource, name: str) -> Object:
        return self.operations.read(resource, "default" if resource.namespaced else "", name)


def deployment(name: str = "web", **spec: Any) -> Object:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "i:1", "env": [{"name": "A", "value": "1"}]}]},
    }
    wanted = {"selector": {"matchLabels": {"app": name}}, "template": template} | spec
    return {"metadata": {"name": name}, "spec": wanted}
