"""OpenAPI documents: what clients read to know fields, merge keys and which parameters are supported."""

from __future__ import annotations

from typing import Any

from rehearsal.cluster.resources import Registry, Resource
from rehearsal.cluster.schemas import Schema

Object = dict[str, Any]
Found = tuple[Object, str]

_SCALARS: dict[str, Object] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "int-or-string": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "any": {},
}
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def document(registry: Registry, path: str) -> Found | None:
    """The document of a path below ``/openapi`` and its content type; None when there is none."""
    parts = path.strip("/").split("/")[1:]
    if parts == ["v2"]:
        return _version_2(registry), "application/json"
    if parts == ["v3"]:
        return _index(registry), "application/json"
    if parts[0] != "v3" or parts[1] not in ("api", "apis"):
        return None
    group, version = ("", parts[2]) if parts[1] == "api" else (parts[2], "".join(parts[3:4]))
    members = registry.of_version(group, version)
    if not members:
        return None
    return _Writer("#/components/schemas/").version_3(members), "application/json"


def _index(registry: Registry) -> Object:
    paths = {}
    for group, versions in registry.groups().items():
        for version in versions:
            name = f"apis/{group}/{version}" if group else f"api/{version}"
            paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={registry.mark}"}
    return {"paths": paths}


def _version_2(registry: Registry) -> Object:
    writer = _Writer("#/definitions/")
    paths: Object = {}
    for resource in registry:
        writer.add(resource)
        paths |= _paths(resource, writer)
    info = {"title": "Kubernetes", "version": "v1.36.2"}
    return {"swagger": "2.0", "info": info, "paths": paths, "definitions": writer.schemas}


class _Writer:
    """Collects the schemas of kinds and of every type they reach."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.schemas: dict[str, Object] = {}

    def version_3(self, members: list[Resource]) -> Object:
        paths: Object = {}
        for resource in members:
            self.add(resource)
            paths |= _paths(resource, self)
        info = {"title": "Kubernetes", "version": "v1.36.2"}
        return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": self.schemas}}

    def add(self, resource: Resource) -> None:
        name = component(resource)
        schema = self._struct(resource.types)
        gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        self.schemas[name] = schema | {"x-kubernetes-group-version-kind": [gvk]}

    def write(self, schema: Schema) -> Object:
        if schema.type == "struct":
            if not schema.name:
                return self._struct(schema)
            if schema.name not in self.schemas:
                self.schemas[schema.name] = {}
                self.schemas[schema.name] = self._struct(schema)
            return {"$ref": self.prefix + schema.name}
        if schema.type == "map":
            extra: Object = {"x-kubernetes-map-type": "atomic"} if schema.atomic else {}
            return {"type": "object", "additionalProperties": self.write(schema.item)} | extra
        if schema.type == "list":
            return self._list(schema)
        return dict(_SCALARS.get(schema.type, {"type": "string"}))

    def _struct(self, schema: Schema) -> Object:
        properties = {}
        for key, below in schema.fields.items():
            written = self.write(below)
            if below.type == "struct" and below.retain_keys:
                written["x-kubernetes-patch-strategy"] = "retainKeys"
            properties[key] = written
        found: Object = {"type": "object", "properties": properties}
        if schema.required:
            found["required"] = list(schema.required)
        if schema.open:
            found["x-kubernetes-preserve-unknown-fields"] = True
        if schema.atomic:
            found["x-kubernetes-map-type"] = "atomic"
        return found

    def _list(self, schema: Schema) -> Object:
        found: Object = {"type": "array", "items": self.write(schema.item)}
        if schema.keys:
            found |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(schema.keys)}
        else:
            found["x-kubernetes-list-type"] = "set" if schema.unique else "atomic"
        if schema.merge_list:
            found["x-kubernetes-patch-strategy"] = "merge,retainKeys" if schema.retain_keys else "merge"
            if schema.merge_key:
                found["x-kubernetes-patch-merge-key"] = schema.merge_key
        return found


def component(resource: Resource) -> str:
    """The name of a kind's schema: the group reversed, version and kind, as published schemas are named."""
    group = resource.group or "core"
    if resource.custom:
        return ".".join([*reversed(group.split(".")), resource.version, resource.kind])
    return f"io.k8s.api.{group.partition('.')[0]}.{resource.version}.{resource.kind}"


def _paths(resource: Resource, writer: _Writer) -> Object:
    """The paths of a kind with its writing methods and the parameters they take."""
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    base += "/namespaces/{namespace}" if resource.namespaced else ""
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    three = writer.prefix.startswith("#/components")

    def operation(action: str) -> Object:
        typed: Object = {"schema": {"type": "string"}} if three else {"type": "string"}
        names = _WRITE_PARAMETERS if action in ("post", "put", "patch") else ()
        return {
            "parameters": [{"name": name, "in": "query"} | typed for name in names],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
        }

    collection = f"{base}/{resource.plural}"
    one = {action: operation(action) for action in ("get", "put", "patch", "delete")}
    return {
        collection: {"get": operation("list"), "post": operation("post")},
        collection + "/{name}": one,
    }
