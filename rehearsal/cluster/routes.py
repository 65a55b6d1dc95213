"""From a URL path to what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rehearsal.cluster.auth import Attributes


@dataclass(frozen=True)
class Target:
    """A resource path taken apart. ``rest`` is what follows a subresource, as behind ``proxy``."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


def parse(path: str) -> Target | None:
    """The resource a path names; None for any other path, such as discovery."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource, rest = [*parts, "", "", ""][0], "", "", ""
    if len(parts) > 1:
        name = parts[1]
    if len(parts) > 2:
        subresource, rest = parts[2], "/".join(parts[3:])
    if rest and subresource != "proxy":
        return None
    if subresource == "proxy" and path.endswith("/") and rest:
        rest += "/"
    return Target(group, version, plural, namespace, name, subresource, rest)


def attributes(target: Target | None, method: str, path: str, query: Mapping[str, str]) -> Attributes:
    """The request as authorization sees it."""
    if target is None:
        return Attributes(method.lower(), path=path)
    watching = query.get("watch") in ("1", "true")
    verbs = {
        "GET": "get" if target.name else "watch" if watching else "list",
        "POST": "create",
        "PUT": "update",
        "PATCH": "patch",
        "DELETE": "delete" if target.name else "deletecollection",
    }
    return Attributes(
        verbs.get(method, "get"),
        target.group,
        target.plural,
        target.subresource,
        target.namespace or (target.name if (target.group, target.plural) == ("", "namespaces") else ""),
        target.name,
    )
