"""Two Services in a cluster in memory, one for each side, with ready pods behind them."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import endpoint_slice, pod, service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import TrafficProvider, open_provider
from tests.unit.plugins.fake_cluster import FakeCluster

NAMESPACE = "shop"
STABLE, CANDIDATE = "shop-stable", "shop-candidate"
SIDES = {"stable": {"host": STABLE}, "candidate": {"host": CANDIDATE}}


def add_service(cluster: FakeCluster, name: str, ready: int = 4, *, namespace: str = NAMESPACE) -> None:
    labels = {"app": name}
    ports = [{"name": "http", "port": 80}]
    cluster.put(service(namespace, name), {"spec": {"selector": labels, "ports": ports}})
    endpoints = []
    for number in range(ready):
        own = f"{name}-{number}"
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        cluster.put(pod(namespace, own), {"metadata": {"labels": labels}, "status": status})
        endpoints.append({"targetRef": {"kind": "Pod", "name": own}, "addresses": ["10.0.0.1"]})
    body = {"metadata": {"labels": {"kubernetes.io/service-name": name}}, "endpoints": endpoints}
    cluster.put(endpoint_slice(namespace, name), body)


def two_services(*, dry_run: bool = False) -> FakeCluster:
    cluster = FakeCluster(dry_run=dry_run)
    add_service(cluster, STABLE)
    add_service(cluster, CANDIDATE)
    return cluster


def provider_of(kind: str, cluster: FakeCluster, **changes: t.Any) -> TrafficProvider:
    options = {"namespace": NAMESPACE, "name": "shop", **SIDES, **changes}
    return open_provider(kind, t.cast(t.Any, cluster), options)
