"""Tells Prometheus which pods there are.

Debian's Prometheus is built without Kubernetes service discovery. This task watches pods through the Kubernetes API and
writes what ``kubernetes_sd_configs`` with ``role: pod`` would find into a file Prometheus watches, with the same meta
labels, so that the relabelling rules are those of production.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from rehearsal.client import Informer, KubeClient, Object
from rehearsal.world import NAMESPACE, World

GATHER = 0.05


async def run(world: World, client: KubeClient) -> None:
    """Keep the file at what the pods are, until cancelled."""
    changed = asyncio.Event()
    informer = Informer(client, f"/api/v1/namespaces/{NAMESPACE}/pods", lambda kind, pod: changed.set())
    watching = asyncio.create_task(informer.run())
    try:
        while True:
            await changed.wait()
            changed.clear()
            _write(targets_file(world), target_groups(list(informer.objects.values())))
            await asyncio.sleep(GATHER)
    finally:
        watching.cancel()


def targets_file(world: World) -> Path:
    return world.home / "prometheus" / "pods.json"


def target_groups(pods: list[Object]) -> list[dict[str, Any]]:
    """One group a pod that has an address, one target for every port its containers declare."""
    return [_group(pod, container) for pod in pods if pod.get("status", {}).get("podIP") for container in _open(pod)]


def _open(pod: Object) -> list[tuple[str, dict[str, Any]]]:
    """Container name and port, for every declared port."""
    return [(c["name"], port) for c in pod["spec"]["containers"] for port in c.get("ports", [])]


def _group(pod: Object, container: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    metadata, status = pod["metadata"], pod["status"]
    name, port = container
    labels = {
        "namespace": metadata["namespace"],
        "pod_name": metadata["name"],
        "pod_ip": status["podIP"],
        "pod_phase": status.get("phase", "Unknown"),
        "pod_node_name": pod["spec"].get("nodeName", ""),
        "pod_uid": metadata["uid"],
        "pod_container_name": name,
        "pod_container_port_name": port.get("name", ""),
        "pod_container_port_number": str(port["containerPort"]),
    }
    labels |= {f"pod_label_{_label_name(key)}": value for key, value in metadata.get("labels", {}).items()}
    return {
        "targets": [f"{status['podIP']}:{port['containerPort']}"],
        "labels": {f"__meta_kubernetes_{key}": value for key, value in labels.items()},
    }


def _label_name(key: str) -> str:
    """A Kubernetes label's key as Prometheus writes it in a label name."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", key)


def _write(path: Path, groups: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(groups, indent=1))
    partial.replace(path)
