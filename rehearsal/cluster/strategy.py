"""How the kinds differ in what the server itself sets, keeps and counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rehearsal.cluster.definitions import established
from rehearsal.cluster.fieldsets import Paths
from rehearsal.cluster.options import DeleteOptions
from rehearsal.cluster.resources import Resource

Object = dict[str, Any]

NAMESPACES = ("", "namespaces")
# What an empty object of a kind already holds before anything is set, so that nobody owns it.
_TEMPLATE: Object = {"metadata": {}, "spec": {"containers": None}}
_EMPTY_SPECS: dict[str, Object] = {
    "Deployment": {"selector": None, "template": _TEMPLATE, "strategy": {}},
    "ReplicaSet": {"selector": None, "template": _TEMPLATE},
    "StatefulSet": {"selector": None, "template": _TEMPLATE, "updateStrategy": {}},
    "DaemonSet": {"selector": None, "template": _TEMPLATE, "updateStrategy": {}},
    "Job": {"template": _TEMPLATE},
    "Pod": {"containers": None},
}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def keep(resource: Resource, item: Object, old: Object, subresource: str) -> None:
    """Carry over what this write can't touch."""
    metadata, before = item["metadata"], old["metadata"]
    kept = ("namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
    for key in (*kept, "generation", "resourceVersion", "generateName"):
        metadata.pop(key, None)
        if key in before:
            metadata[key] = before[key]
    if subresource == "status":
        status = item.get("status")
        for key in list(item):
            if key not in ("status", "metadata"):
                del item[key]
        item |= {key: value for key, value in old.items() if key not in ("status", "metadata")}
        item["status"] = status if status is not None else {}
        # Of a built-in kind a status update may still change annotations and finalizers.
        held = ("labels", "ownerReferences") + (("annotations", "finalizers") if resource.custom else ())
        for key in held:
            metadata.pop(key, None)
            if key in before:
                metadata[key] = before[key]
        return
    if resource.has_status:
        item.pop("status", None)
        if "status" in old:
            item["status"] = old["status"]
    if resource.key == NAMESPACES:
        item["spec"] = old.get("spec", {})
    if resource.kind == "Pod" and not resource.custom and old["spec"].get("nodeName"):
        item["spec"].setdefault("nodeName", old["spec"]["nodeName"])


def makes_generation(resource: Resource, old: Object, item: Object) -> bool:
    """Whether this change makes a new generation."""
    if resource.custom:
        left = {k: v for k, v in old.items() if k not in ("metadata", "status" if resource.has_status else "")}
        right = {k: v for k, v in item.items() if k not in ("metadata", "status" if resource.has_status else "")}
        return left != right
    if not resource.generation:
        return False
    return any(old.get(key) != item.get(key) for key in ("spec", "endpoints", "ports"))


def set_initial_status(item: Object, resource: Resource) -> None:
    if resource.custom:
        if resource.has_status:
            item.pop("status", None)
        return
    if not resource.has_status:
        return
    if resource.kind != "Node":
        item["status"] = {}
    if resource.key == NAMESPACES:
        item["spec"] = {"finalizers": ["kubernetes"]}
        item["status"] = {"phase": "Active"}
    elif resource.kind == "Service" or resource.kind == "Ingress":
        item["status"] = {"loadBalancer": {}}
    elif resource.kind == "Pod":
        item["status"] = {"phase": "Pending", "qosClass": _quality(item["spec"])}
    elif resource.kind == "ReplicaSet" or resource.kind == "StatefulSet":
        item["status"] = {"replicas": 0}
    elif resource.kind == "CustomResourceDefinition":
        item["status"] = established(item, now())


def is_released(resource: Resource, item: Object) -> bool:
    """Whether a deleted object has nothing left that holds it."""
    metadata = item["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if resource.key == NAMESPACES:
        return not (item.get("spec") or {}).get("finalizers")
    return metadata.get("deletionGracePeriodSeconds", 0) == 0


def grace_seconds(resource: Resource, item: Object, options: DeleteOptions) -> int:
    """Seconds a pod gets to end; nothing else has any."""
    if resource.kind != "Pod" or resource.custom:
        return 0
    spec = item.get("spec") or {}
    if not spec.get("nodeName") or (item.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace is not None:
        return max(options.grace, 0)
    return int(spec.get("terminationGracePeriodSeconds", 30))


def empty(resource: Resource) -> Object:
    """An object of the kind with nothing set."""
    if resource.custom:
        return {}
    fields = resource.types.fields
    empty: Object = {key: {} for key in ("metadata", "spec", "status") if key in fields}
    if resource.kind in _EMPTY_SPECS:
        empty["spec"] = _EMPTY_SPECS[resource.kind]
    return empty


def unowned_here(resource: Resource, subresource: str) -> Paths:
    """Fields that a write to this (sub)resource does not take, so that it can't own them either."""
    if not resource.has_status:
        return set()
    if subresource == "status":
        return {("f:spec",), ("f:metadata", "f:labels")}
    return {("f:status",)}


def _quality(spec: Object) -> str:
    """The quality-of-service class a pod gets by its resources."""
    containers = (spec.get("containers") or []) + (spec.get("initContainers") or [])
    resources = [container.get("resources") or {} for container in containers]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    limited = all({"cpu", "memory"} <= set(r.get("limits") or {}) for r in resources)
    if limited and all((r.get("requests") or r["limits"]) == r["limits"] for r in resources):
        return "Guaranteed"
    return "Burstable"
