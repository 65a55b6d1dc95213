"""Kubernetes objects as the tests of the edge need them."""

from __future__ import annotations

from typing import Any

NAMESPACE = "claude-enhancer"
HOST = "claude-enhancer.example.com"
Object = dict[str, Any]


def metadata(name: str, labels: dict[str, str] | None = None, version: str = "1") -> Object:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "labels": labels or {},
        "resourceVersion": version,
        "uid": f"uid-{name}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }


def service(name: str, *ports: tuple[str, int]) -> Object:
    """A Service with the named ports (default: http on 80)."""
    return {
        "metadata": metadata(name),
        "spec": {"ports": [{"name": port, "port": number} for port, number in ports or (("http", 80),)]},
    }


def pod(name: str, version: str, *, terminating: bool = False) -> Object:
    made: Object = {"metadata": metadata(name, {"app": "claude-enhancer", "version": version})}
    if terminating:
        made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:01Z"
    return made


def endpoint(name: str, address: str, ready: bool = True) -> Object:
    return {
        "addresses": [address],
        "conditions": {"ready": ready},
        "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE},
    }


def endpoint_slice(service_name: str, *endpoints: Object, port: int = 8080) -> Object:
    return {
        "metadata": metadata(f"{service_name}-1", {"kubernetes.io/service-name": service_name}),
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def destination_rule(policy: Object | None = None, host: str = "claude-enhancer", version: str = "1") -> Object:
    """Subsets stable (5.0) and candidate (5.1)."""
    spec: Object = {
        "host": host,
        "subsets": [
            {"name": "stable", "labels": {"version": "5.0"}},
            {"name": "candidate", "labels": {"version": "5.1"}},
        ],
    }
    if policy is not None:
        spec["trafficPolicy"] = policy
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": metadata("claude-enhancer", version=version),
        "spec": spec,
    }


def target(subset: str, weight: int | None = None, host: str = "claude-enhancer") -> Object:
    made: Object = {"destination": {"host": host, "subset": subset}}
    if weight is not None:
        made["weight"] = weight
    return made


def split(weight: int, **options: Any) -> Object:
    """A weighted route with ``weight`` percent for the candidate."""
    return {"route": [target("stable", 100 - weight), target("candidate", weight)], **options}


def virtual_service(*routes: Object, hosts: tuple[str, ...] = (HOST,), version: str = "1") -> Object:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": metadata("claude-enhancer", version=version),
        "spec": {"hosts": list(hosts), "http": list(routes)},
    }


COOKIE_AFFINITY: Object = {
    "loadBalancer": {"consistentHash": {"httpCookie": {"name": "claude-session", "path": "/", "ttl": "3600s"}}}
}
