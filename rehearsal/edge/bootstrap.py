"""What Envoy starts with: one listener, the admin port, and the files everything else is read from."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rehearsal.edge.route_options import CORS_FILTER, FAULT_FILTER

ROUTES = "edge"
_TYPE = "type.googleapis.com/envoy.extensions.filters."
# Envoy's own rule ends a cluster's name at the first dot, which would leave half of it in the name of the metric.
_STATS_TAGS = [
    {"tag_name": "envoy.cluster_name", "regex": r"^cluster\.((.+?(?:\.[^.]+\.svc\.cluster\.local)?)\.)"},
    {"tag_name": "envoy.response_code"},
    {"tag_name": "envoy.response_code_class"},
    {"tag_name": "envoy.http_conn_manager_prefix"},
    {"tag_name": "envoy.listener_address"},
    {"tag_name": "envoy.rds_route_config"},
]
# Scraped every second, so only what somebody reads: a fifth of what Envoy counts by default.
_PER_CLUSTER = (
    "membership_.+|upstream_cx_(active|total|connect_fail)|upstream_rq_([0-9].+|active|retry.*|time|timeout|total)"
)
_STATISTICS = [
    {"prefix": "cluster_manager."},
    {"prefix": "http.edge."},
    {"prefix": "server."},
    {"safe_regex": {"regex": rf"cluster\.outbound.+\.svc\.cluster\.local\.({_PER_CLUSTER})"}},
]
_FILTERS = (
    (CORS_FILTER, "http.cors.v3.Cors"),
    (FAULT_FILTER, "http.fault.v3.HTTPFault"),
    ("envoy.filters.http.router", "http.router.v3.Router"),
)


def bootstrap(edge_url: str, admin_url: str, routes: Path, clusters: Path) -> dict[str, Any]:
    """Envoy's bootstrap: listen on ``edge_url``, read RDS from the file ``routes`` and CDS from ``clusters``.

    Each file is watched by itself: a rename onto it takes force, and no other file is read again.
    """
    return {
        "node": {"id": "edge", "cluster": "rehearsal"},
        "admin": {"address": _address(admin_url)},
        "stats_flush_interval": "1s",
        "stats_config": {
            "use_all_default_tags": False,
            "stats_tags": _STATS_TAGS,
            "stats_matcher": {"inclusion_list": {"patterns": _STATISTICS}},
        },
        "dynamic_resources": {"cds_config": file_source(clusters)},
        "static_resources": {
            "listeners": [
                {
                    "name": "edge",
                    "address": _address(edge_url),
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": _connection_manager(routes),
                                }
                            ]
                        }
                    ],
                }
            ]
        },
    }


def file_source(path: Path) -> dict[str, Any]:
    """A ConfigSource that reads the file ``path`` and watches it."""
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _address(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {"socket_address": {"address": parts.hostname, "port_value": parts.port}}


def _connection_manager(routes: Path) -> dict[str, Any]:
    return {
        "@type": f"{_TYPE}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "rds": {"route_config_name": ROUTES, "config_source": file_source(routes)},
        "use_remote_address": True,
        "normalize_path": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [{"name": name, "typed_config": {"@type": _TYPE + kind}} for name, kind in _FILTERS],
    }
