"""What the API says about itself: versions, groups and resources, one by one and all at once."""

from __future__ import annotations

from typing import Any

from rehearsal.cluster.resources import SUBRESOURCE_VERBS, Registry, Resource

Object = dict[str, Any]
Found = tuple[Object, str]

_JSON = "application/json"
_PROXY_VERBS = ("create", "delete", "get", "patch", "update")
# Subresources whose objects are of another kind: name → (group, version, kind), and their verbs.
_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "", "Binding"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}
_VERBS = {
    "proxy": _PROXY_VERBS,
    "log": ("get",),
    "eviction": ("create",),
    "binding": ("create",),
    "token": ("create",),
    "finalize": ("update",),
}


class Discovery:
    """Discovery documents of the resources served now."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def document(self, path: str, accept: str) -> Found | None:
        """The document of a path and its content type; None when there is none."""
        parts = path.strip("/").split("/")
        if parts in (["api"], ["apis"]):
            version = _aggregated(accept)
            if version:
                content_type = f"{_JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                return self._all(parts[0] == "api", version), content_type
            return (self._core() if parts[0] == "api" else self._groups()), _JSON
        if parts[0] == "apis" and len(parts) == 2:
            versions = self.registry.groups().get(parts[1])
            if not versions:
                return None
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group(parts[1], versions), _JSON
        if parts[0] == "api" and len(parts) == 2:
            return self._resources("", parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return self._resources(parts[1], parts[2])
        if not parts[0]:
            return {"paths": self._paths()}, _JSON
        return None

    def _core(self) -> Object:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}

    def _groups(self) -> Object:
        groups = [_group(name, versions) for name, versions in self.registry.groups().items() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _paths(self) -> list[str]:
        groups = self.registry.groups()
        paths = ["/api", "/api/v1", "/apis"]
        for name in sorted(filter(None, groups)):
            paths += [f"/apis/{name}", *(f"/apis/{name}/{version}" for version in groups[name])]
        return [*paths, "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]

    def _resources(self, group: str, version: str) -> Found | None:
        members = self.registry.of_version(group, version)
        if not members:
            return None
        entries = [entry for resource in members for entry in _entries(resource)]
        document: Object = {"kind": "APIResourceList"}
        if group:
            document["apiVersion"] = "v1"
        named = f"{group}/{version}" if group else version
        return document | {"groupVersion": named, "resources": entries}, _JSON

    def _all(self, core: bool, version: str) -> Object:
        """The aggregated document, which saves a client one request per group version."""
        items = []
        for group, versions in self.registry.groups().items():
            if (not group) != core:
                continue
            described = [
                {
                    "version": name,
                    "resources": [_aggregate(r) for r in self.registry.of_version(group, name)],
                    "freshness": "Current",
                }
                for name in versions
            ]
            metadata: Object = {"creationTimestamp": None} | ({"name": group} if group else {})
            items.append({"metadata": metadata, "versions": described})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }


def _aggregated(accept: str) -> str:
    """The version of the aggregated document that a client wants, empty for the plain one."""
    for wanted in accept.replace(" ", "").split(","):
        if "as=APIGroupDiscoveryList" in wanted:
            return "v2beta1" if "v=v2beta1" in wanted else "v2"
        if wanted.startswith(_JSON):
            return ""
    return ""


def _group(name: str, versions: list[str]) -> Object:
    named = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": named, "preferredVersion": named[0]}


def _entries(resource: Resource) -> list[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular_name,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return [entry, *(_subresource(resource, name) for name in sorted(resource.subresources))]


def _subresource(resource: Resource, name: str) -> Object:
    group, version, kind = _KINDS.get(name, ("", "", resource.kind))
    if name == "proxy":
        kind = f"{resource.kind}ProxyOptions"
    entry: Object = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    if group:
        entry |= {"group": group, "version": version}
    return entry | {"kind": kind, "verbs": list(_VERBS.get(name, SUBRESOURCE_VERBS))}


def _aggregate(resource: Resource) -> Object:
    own = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    entry: Object = {
        "resource": resource.plural,
        "responseKind": own,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular_name,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    below = [_subresource(resource, name) for name in sorted(resource.subresources)]
    if below:
        entry["subresources"] = [
            {
                "subresource": sub["name"].partition("/")[2],
                "responseKind": {
                    "group": sub.get("group", resource.group),
                    "version": sub.get("version", resource.version),
                    "kind": sub["kind"],
                },
                "verbs": sub["verbs"],
            }
            for sub in below
        ]
    return entry
