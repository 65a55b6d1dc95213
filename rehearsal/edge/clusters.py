"""Upstream clusters: what a DestinationRule says of load balancing, connections and outliers, as Envoy clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rehearsal.edge.affinity import HASH_KINDS
from rehearsal.edge.fields import Fields, TranslationError
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.names import ClusterName

_UNLIMITED = 2**32 - 1
_SIMPLE = {
    "UNSPECIFIED": "LEAST_REQUEST",
    "LEAST_CONN": "LEAST_REQUEST",
    "LEAST_REQUEST": "LEAST_REQUEST",
    "ROUND_ROBIN": "ROUND_ROBIN",
    "RANDOM": "RANDOM",
}
# Shorter than servers keep an idle connection: whoever hangs up first must not be the server, which would cut off the
# request just sent. Istio's hour leaves that race to chance.
_IDLE_TIMEOUT = "15s"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def cluster(name: ClusterName, mesh: Mesh, endpoints: Path) -> dict[str, Any]:
    """The Envoy cluster ``name``, whose endpoints Envoy reads from the file ``endpoints``.

    Raises TranslationError where a DestinationRule asks for what this edge can't do.
    """
    for policy in mesh.policies(name):
        _check(policy)
    pool = mesh.policy(name, "connectionPool")
    config: dict[str, Any] = {
        "name": str(name),
        "type": "EDS",
        "eds_cluster_config": {
            "service_name": str(name),
            "eds_config": {"path_config_source": {"path": str(endpoints)}, "resource_api_version": "V3"},
        },
        # Without this Envoy sends requests to endpoints it knows to be bad once most of them are.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "close_connections_on_host_set_change": False},
        "connect_timeout": pool.object("tcp").duration("connectTimeout") or "2s",
        "circuit_breakers": {"thresholds": [_thresholds(pool)]},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: _http_options(pool.object("http"))},
    }
    outliers = mesh.policy(name, "outlierDetection")
    if outliers.value:
        config["outlier_detection"] = _outlier_detection(outliers)
        floor = outliers.integer("minHealthPercent", most=100)
        config["common_lb_config"]["healthy_panic_threshold"] = {"value": floor}
    return config | _balancing(mesh.policy(name, "loadBalancer"))


def _check(policy: Fields) -> None:
    policy.only(("loadBalancer", "connectionPool", "outlierDetection", "tls"))
    mode = policy.object("tls").string("mode", "DISABLE")
    if mode not in ("DISABLE", "ISTIO_MUTUAL"):
        raise policy.object("tls").refuse("mode", "must be DISABLE or ISTIO_MUTUAL")


def _balancing(balancer: Fields) -> dict[str, Any]:
    balancer.only(("simple", "consistentHash", "warmupDurationSecs", "localityLbSetting"))
    if "consistentHash" not in balancer:
        simple = balancer.string("simple", "UNSPECIFIED")
        if simple not in _SIMPLE:
            raise balancer.refuse("simple", f"must be one of {', '.join(sorted(_SIMPLE))}")
        return {"lb_policy": _SIMPLE[simple]}
    affinity = balancer.object("consistentHash")
    affinity.only((*HASH_KINDS, "minimumRingSize", "ringHash", "maglev"))
    if sum(kind in affinity for kind in HASH_KINDS) != 1:
        raise TranslationError(f"{affinity.path}: needs exactly one of {', '.join(HASH_KINDS)}")
    if "maglev" in affinity:
        size = affinity.object("maglev").integer("tableSize", 65537, least=1)
        return {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": size}}
    ring = affinity.object("ringHash").integer("minimumRingSize", affinity.integer("minimumRingSize", 1024))
    return {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": ring}}


def _thresholds(pool: Fields) -> dict[str, int]:
    pool.only(("tcp", "http"))
    tcp, http = pool.object("tcp"), pool.object("http")
    tcp.only(("maxConnections", "connectTimeout", "tcpKeepalive", "idleTimeout", "maxConnectionDuration"))
    return {
        "max_connections": tcp.integer("maxConnections") or _UNLIMITED,
        "max_pending_requests": http.integer("http1MaxPendingRequests") or _UNLIMITED,
        "max_requests": http.integer("http2MaxRequests") or _UNLIMITED,
        "max_retries": http.integer("maxRetries") or _UNLIMITED,
    }


def _http_options(http: Fields) -> dict[str, Any]:
    http.only(
        ("http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries", "idleTimeout",
         "h2UpgradePolicy")
    )  # fmt: skip
    common: dict[str, Any] = {"idle_timeout": http.duration("idleTimeout") or _IDLE_TIMEOUT}
    if http.integer("maxRequestsPerConnection"):
        common["max_requests_per_connection"] = http.integer("maxRequestsPerConnection")
    return {
        "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
        "common_http_protocol_options": common,
        "explicit_http_config": {"http_protocol_options": {}},
    }


def _outlier_detection(outliers: Fields) -> dict[str, Any]:
    outliers.only(
        ("consecutive5xxErrors", "consecutiveGatewayErrors", "interval", "baseEjectionTime", "maxEjectionPercent",
         "minHealthPercent")
    )  # fmt: skip
    detection: dict[str, Any] = {
        "consecutive_5xx": outliers.integer("consecutive5xxErrors", 5),
        "enforcing_consecutive_5xx": 100 if outliers.integer("consecutive5xxErrors", 5) else 0,
        "enforcing_success_rate": 0,
        "max_ejection_percent": outliers.integer("maxEjectionPercent", 10, most=100),
        "interval": outliers.duration("interval") or "10s",
        "base_ejection_time": outliers.duration("baseEjectionTime") or "30s",
    }
    if outliers.integer("consecutiveGatewayErrors"):
        detection["consecutive_gateway_failure"] = outliers.integer("consecutiveGatewayErrors")
        detection["enforcing_consecutive_gateway_failure"] = 100
    return detection
