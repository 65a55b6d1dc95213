"""Objects of one kind between the versions it is served in."""

from __future__ import annotations

from typing import Any

from rehearsal.cluster.resources import Resource

Object = dict[str, Any]


def convert(item: Object, resource: Resource) -> Object:
    """``item`` in the version of ``resource``; changes it in place and returns it."""
    if item["apiVersion"] == resource.api_version:
        return item
    item["apiVersion"] = resource.api_version
    if resource.kind == "Event" and not resource.custom:
        return _rename_event(item, to_core=not resource.group)
    if resource.group == "autoscaling":
        spec = item.get("spec") or {}
        if resource.version == "v1":
            _to_percentage(spec)
        else:
            _to_metrics(spec)
    return item


# Fields of an event in the core group and in events.k8s.io.
_EVENT_FIELDS = {
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "involvedObject": "regarding",
    "lastTimestamp": "deprecatedLastTimestamp",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
}


def _rename_event(item: Object, to_core: bool) -> Object:
    for core, other in _EVENT_FIELDS.items():
        old, new = (other, core) if to_core else (core, other)
        if old in item:
            item[new] = item.pop(old)
    return item


def _to_percentage(spec: Object) -> None:
    for metric in spec.pop("metrics", None) or []:
        source = metric.get("resource") or {}
        percent = (source.get("target") or {}).get("averageUtilization")
        if source.get("name") == "cpu" and percent is not None:
            spec["targetCPUUtilizationPercentage"] = percent


def _to_metrics(spec: Object) -> None:
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
