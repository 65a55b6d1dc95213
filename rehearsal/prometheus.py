"""Prometheus of one world: scrapes pods, edge and node every second.

Prometheus takes up what discovery finds every 5 s, counted from its own start, so a new pod's first sample comes up to
6 s after it got its address; and the earlier Prometheus starts, the earlier a world is up.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from rehearsal import processes
from rehearsal.discovery import targets_file
from rehearsal.world import World

NODE_METRICS_PORT = 10255
POD_JOBS = {
    "app": (9090, "/metrics"),
    "agents": (9091, "/metrics/agents"),
    "workflow": (9092, "/metrics/workflow"),
}
POD_LABELS = {
    "__meta_kubernetes_pod_label_version": "version",
    "__meta_kubernetes_pod_label_deployment_type": "deployment_type",
    "__meta_kubernetes_pod_name": "pod",
    "__meta_kubernetes_namespace": "namespace",
}
# Envoy has hundreds of statistics per cluster; these are the ones that tell requests and their outcome.
EDGE_METRICS = "envoy_cluster_upstream_rq.*|envoy_cluster_membership_.*|envoy_http_downstream_(rq|cx).*"
HAPROXY_METRICS = (
    "haproxy_(frontend_http_re.*|(backend|server)_(http_responses|retry_warnings|redispatch_warnings|connection_errors).*"
    "|.*_weight)"
)


class PrometheusError(Exception):
    """Prometheus is not there."""


def configuration(world: World) -> dict[str, Any]:
    """The contents of ``prometheus.yml``."""
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [
            *(_pod_job(world, name, port, path) for name, (port, path) in POD_JOBS.items()),
            _static_job("edge", world.edge_admin_url, "/stats/prometheus")
            | {"metric_relabel_configs": [_keep("__name__", EDGE_METRICS)]},
            _haproxy_job(world),
            _static_job("node", f"http://{world.host}:{NODE_METRICS_PORT}", "/metrics"),
            _static_job("prometheus", world.prometheus_url, "/metrics")
            | {"metric_relabel_configs": [_keep("__name__", "process_.*|prometheus_tsdb_head_(series|samples).*")]},
        ],
    }


def _pod_job(world: World, name: str, port: int, path: str) -> dict[str, Any]:
    return {
        "job_name": name,
        "metrics_path": path,
        "file_sd_configs": [{"files": [str(targets_file(world))]}],
        "relabel_configs": [
            _keep("__meta_kubernetes_pod_container_port_number", str(port)),
            _keep("__meta_kubernetes_pod_ip", ".+"),
            _keep("__meta_kubernetes_pod_phase", "Pending|Running|Unknown"),
            *({"source_labels": [source], "target_label": label} for source, label in POD_LABELS.items()),
        ],
    }


def _static_job(name: str, url: str, path: str) -> dict[str, Any]:
    return {
        "job_name": name,
        "metrics_path": path,
        "static_configs": [{"targets": [url.removeprefix("http://")]}],
    }


def _haproxy_job(world: World) -> dict[str, Any]:
    """Servers in maintenance stand for no pod."""
    return {
        "job_name": "haproxy",
        "params": {"scope": ["frontend", "backend", "server"], "no-maint": [""]},
        "static_configs": [{"targets": [instance.metrics for instance in world.haproxy]}],
        "metric_relabel_configs": [_keep("__name__", HAPROXY_METRICS)],
    }


def _keep(label: str, regex: str) -> dict[str, Any]:
    return {"action": "keep", "source_labels": [label], "regex": regex}


async def start(world: World) -> asyncio.subprocess.Process:
    """Start Prometheus. Raises PrometheusError when it is not installed."""
    binary = shutil.which("prometheus")
    if binary is None:
        raise PrometheusError("no prometheus found on PATH: install the package prometheus (Debian, Ubuntu)")
    folder = world.home / "prometheus"
    folder.mkdir(exist_ok=True)
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(configuration(world), sort_keys=False))
    command: list[str | Path] = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address={world.prometheus_url.removeprefix('http://')}",
        "--log.level=warn",
    ]
    # The collector's default lets the heap double; here memory is dearer than time.
    env = {"GOGC": "40", "GOMEMLIMIT": "100MiB"}
    return await processes.start(command, world.logs / "prometheus.log", env=env)


async def query(session: aiohttp.ClientSession, world: World, expression: str) -> list[dict[str, Any]]:
    """The result vector of an instant query. Raises aiohttp.ClientError when Prometheus does not answer with one."""
    url = f"{world.prometheus_url}/api/v1/query"
    async with session.get(url, params={"query": expression}, timeout=aiohttp.ClientTimeout(total=3)) as answer:
        answer.raise_for_status()
        body = await answer.json()
        return body["data"]["result"]


async def pods_scraped(session: aiohttp.ClientSession, world: World) -> int:
    """How many pods' application metrics Prometheus has just read; 0 while it does not answer."""
    try:
        result = await query(session, world, 'count(up{job="app"} == 1)')
    except (TimeoutError, aiohttp.ClientError):
        return 0
    return int(result[0]["value"][1]) if result else 0
