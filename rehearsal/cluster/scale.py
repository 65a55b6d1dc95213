"""The scale subresource: a Scale object in front of what has replicas."""

from __future__ import annotations

import copy
from typing import Any

from rehearsal.cluster.selectors import selector_text

Object = dict[str, Any]


def to_scale(item: Object) -> Object:
    """The Scale of an object."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec, status = item.get("spec") or {}, item.get("status") or {}
    replicas = spec.get("replicas", 0)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: item["metadata"][key] for key in kept if key in item["metadata"]},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {"replicas": status.get("replicas", 0), "selector": selector_text(spec.get("selector"))},
    }


def from_scale(item: Object, scale: Any) -> Object:
    """The object with the replicas, and the resourceVersion if there is one, that a Scale asks for."""
    changed = copy.deepcopy(item)
    changed.setdefault("spec", {})["replicas"] = (scale.get("spec") or {}).get("replicas", 0)
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        changed["metadata"]["resourceVersion"] = version
    return changed
