# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands behind a Service: its selector, the pods that match it, and the endpoints that are ready."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    endpoint_slice,
    pod,
    service,
)

_SERVICE_NAME = "kubernetes.io/service-name"
_FINISHED = ("Succeeded", "Failed")


@dataclasses.dataclass(frozen=True)
class Standing:
    """What stands behind a Service: labels and Deployments of its pods by pod, and names of its ready endpoints."""

    selector: t.Mapping[str, str]
    pods: t.Mapping[str, t.Mapping[str, str]]
    endpoints: frozenset[str]
    deployments: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def pods_with(self, labels: t.Mapping[str, str]) -> set[str]:
        return {name for name, carried in self.pods.items() if labels.items() <= carried.items()}


def standing(cluster: Cluster, namespace: str, name: str) -> Standing | None:
    """What stands behind a Service now, in three calls; None where there is no such Service."""
    entry = cluster.find(service(namespace, name))
    if entry is None:
        return None
    selector = selector_of(entry)
    pods = living_pods(cluster, namespace, selector) if selector else []
    return Standing(
        selector=selector,
        pods={found["metadata"]["name"]: found["metadata"].get("labels") or {} for found in pods},
        endpoints=frozenset(ready_endpoints(cluster, namespace, name)),
        deployments={found["metadata"]["name"]: owner for found in pods if (owner := deployment_of(found))},
    )


def deployment_of(found: t.Mapping[str, t.Any]) -> str:
    """The Deployment that a pod belongs to, read off its ReplicaSet's name; empty where it belongs to none."""
    template = (found["metadata"].get("labels") or {}).get("pod-template-hash", "")
    for owner in found["metadata"].get("ownerReferences") or []:
        name = str(owner.get("name", ""))
        if owner.get("kind") == "ReplicaSet" and template and name.endswith(f"-{template}"):
            return name.removesuffix(f"-{template}")
    return ""


def selector_of(found: t.Mapping[str, t.Any]) -> dict[str, str]:
    return dict((found.get("spec") or {}).get("selector") or {})


def contradiction(selector: t.Mapping[str, str], labels: t.Mapping[str, str]) -> list[str]:
    """Label keys that no pod can satisfy both by ``selector`` and by ``labels``."""
    return sorted(key for key in selector.keys() & labels.keys() if selector[key] != labels[key])


def format_labels(labels: t.Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "no labels"


def matching_pods(cluster: Cluster, namespace: str, labels: t.Mapping[str, str]) -> dict[str, bool]:
    """Pods that carry ``labels`` and haven't ended or been told to end, by name: whether each is ready."""
    return {found["metadata"]["name"]: is_ready(found) for found in living_pods(cluster, namespace, labels)}


def living_pods(cluster: Cluster, namespace: str, labels: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """Pods that carry ``labels`` and haven't ended or been told to end."""
    return [
        found
        for found in cluster.list(pod(namespace), labels)
        if not found["metadata"].get("deletionTimestamp") and (found.get("status") or {}).get("phase") not in _FINISHED
    ]


def is_ready(found: t.Mapping[str, t.Any]) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def ready_endpoints(cluster: Cluster, namespace: str, name: str) -> set[str]:
    """Endpoints that take new requests through the Service: names of their pods, or addresses where there is no pod."""
    slices = cluster.list(endpoint_slice(namespace), {_SERVICE_NAME: name})
    return {
        _endpoint_name(endpoint)
        for found in slices
        for endpoint in found.get("endpoints") or []
        # Unknown readiness counts as ready, as the API defines it.
        if (endpoint.get("conditions") or {}).get("ready") is not False
    }


def _endpoint_name(endpoint: t.Mapping[str, t.Any]) -> str:
    target = endpoint.get("targetRef") or {}
    if target.get("kind") == "Pod" and target.get("name"):
        return str(target["name"])
    return str((endpoint.get("addresses") or ["?"])[0])
