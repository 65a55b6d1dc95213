"""What a cluster holds before anybody has written to it."""

from __future__ import annotations

from typing import Any

from rehearsal.cluster.operations import Operations
from rehearsal.cluster.options import Options

Object = dict[str, Any]

_WRITE = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_READ = ["get", "list", "watch"]
_ALL = ["*"]
_RBAC = "rbac.authorization.k8s.io"


def populate(operations: Operations) -> None:
    """System namespaces, the API's own Service, and the roles people bind to."""
    for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
        _create(operations, "", "v1", "namespaces", "", {"metadata": {"name": name}})
    labels = {"component": "apiserver", "provider": "kubernetes"}
    ports = [{"name": "https", "port": 443, "targetPort": 6443}]
    service = {"metadata": {"name": "kubernetes", "labels": labels}, "spec": {"ports": ports}}
    _create(operations, "", "v1", "services", "default", service)
    everything = [{"apiGroups": _ALL, "resources": _ALL, "verbs": _ALL}]
    roles = {"cluster-admin": everything, "admin": _rules(_WRITE), "edit": _rules(_WRITE), "view": _rules(_READ)}
    for name, rules in roles.items():
        body = {"metadata": {"name": name}, "rules": rules}
        _create(operations, _RBAC, "v1", "clusterroles", "", body)


def _rules(verbs: list[str]) -> list[Object]:
    groups = [
        "",
        "apps",
        "autoscaling",
        "batch",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "networking.k8s.io",
        "policy",
    ]
    # Reading does not include secrets.
    resources = [
        "configmaps",
        "controllerrevisions",
        "cronjobs",
        "daemonsets",
        "deployments",
        "deployments/scale",
        "endpoints",
        "endpointslices",
        "events",
        "horizontalpodautoscalers",
        "ingresses",
        "jobs",
        "leases",
        "networkpolicies",
        "poddisruptionbudgets",
        "pods",
        "pods/log",
        "replicasets",
        "replicasets/scale",
        "serviceaccounts",
        "services",
        "statefulsets",
        "statefulsets/scale",
    ]
    if verbs == _WRITE:
        resources += ["secrets", "pods/eviction", "pods/proxy", "services/proxy"]
    return [{"apiGroups": groups, "resources": resources, "verbs": verbs}]


def _create(operations: Operations, group: str, version: str, plural: str, namespace: str, body: Object) -> None:
    resource = operations.registry.find(group, version, plural)
    if resource is None:
        raise LookupError(f"{plural} is a built-in resource and must be served")
    operations.create(resource, namespace, body, Options(manager="kube-apiserver"))
