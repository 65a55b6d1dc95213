"""What controllers and node ask of Kubernetes objects: keys, owners, selectors, readiness, times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str]

PATHS: dict[tuple[str, str], tuple[str, str]] = {
    ("v1", "Pod"): ("/api/v1", "pods"),
    ("v1", "Service"): ("/api/v1", "services"),
    ("v1", "ConfigMap"): ("/api/v1", "configmaps"),
    ("v1", "Secret"): ("/api/v1", "secrets"),
    ("v1", "Endpoints"): ("/api/v1", "endpoints"),
    ("apps/v1", "Deployment"): ("/apis/apps/v1", "deployments"),
    ("apps/v1", "ReplicaSet"): ("/apis/apps/v1", "replicasets"),
    ("discovery.k8s.io/v1", "EndpointSlice"): ("/apis/discovery.k8s.io/v1", "endpointslices"),
}


def key_of(item: Object) -> Key:
    """Namespace (empty for cluster-wide objects) and name."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def path_of(api_version: str, kind: str, namespace: str, name: str = "") -> str:
    """The API path of an object of a known kind, or of its collection. Raises KeyError for another kind."""
    root, plural = PATHS[api_version, kind]
    collection = f"{root}/namespaces/{namespace}/{plural}"
    return f"{collection}/{name}" if name else collection


def controller_of(item: Object) -> Object | None:
    """The owner reference that says who controls ``item``."""
    owners = item["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def is_controlled_by(item: Object, owner: Object) -> bool:
    reference = controller_of(item)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def owner_reference(api_version: str, kind: str, owner: Object) -> Object:
    """A reference that makes ``owner`` the controller of what carries it."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (``matchLabels``, ``matchExpressions``) holds for ``labels``."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _expression_holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise ValueError(f"unknown selector operator {expression['operator']}")


def condition(item: Object, kind: str) -> Object | None:
    """The condition of type ``kind`` in the object's status."""
    conditions: Iterable[Object] = (item.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), None)


def is_terminating(item: Object) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))


def is_pod_ready(pod: Object) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def is_pod_finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_pod_active(pod: Object) -> bool:
    """Neither finished nor on its way out: what a ReplicaSet counts."""
    return not is_pod_finished(pod) and not is_terminating(pod)


def seconds_until_available(pod: Object, min_ready_seconds: int, now: datetime) -> float | None:
    """0 when the pod has been ready for ``min_ready_seconds``, the seconds still missing, None when not ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready["status"] != "True":
        return None
    if not min_ready_seconds:
        return 0.0
    since = parse_time(ready["lastTransitionTime"])
    return max(0.0, min_ready_seconds - (now - since).total_seconds())


def utc_now() -> datetime:
    return datetime.now(UTC)


def timestamp(moment: datetime | None = None) -> str:
    """A time as the API writes it, to the second."""
    return (moment or utc_now()).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
