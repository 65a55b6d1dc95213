"""Endpoints of a cluster: ready addresses of the Service's EndpointSlices whose pods carry the subset's labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from rehearsal.client import Object
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.names import ClusterName, ServiceName

_SERVICE_LABEL = "kubernetes.io/service-name"


class Endpoints:
    """All EndpointSlices and Pods, asked by cluster."""

    def __init__(self, slices: Iterable[Object], pods: Mapping[tuple[str, str], Object]) -> None:
        self._pods = pods
        self._slices: dict[ServiceName, list[Object]] = defaultdict(list)
        for item in slices:
            service = (item["metadata"].get("labels") or {}).get(_SERVICE_LABEL)
            if service:
                self._slices[ServiceName(item["metadata"].get("namespace", ""), service)].append(item)

    def addresses(self, cluster: ClusterName, mesh: Mesh) -> list[tuple[str, int]]:
        """Addresses and ports that may get requests now, in a stable order; empty when there are none.

        A pod on its way out is left out at once, without waiting for the EndpointSlice to follow.
        """
        labels = mesh.labels(cluster)
        port_name = next((name for number, name in mesh.ports(cluster.service) if number == cluster.port), None)
        if labels is None or port_name is None:
            return []
        found = set()
        for item in self._slices[cluster.service]:
            ports = [port["port"] for port in item.get("ports") or [] if (port.get("name") or "") == port_name]
            for endpoint in item.get("endpoints") or []:
                if ports and self._usable(endpoint, cluster.service.namespace, labels):
                    found.add((endpoint["addresses"][0], ports[0]))
        return sorted(found)

    def count(self, cluster: ClusterName, mesh: Mesh) -> int:
        """How many endpoints of ``cluster`` may get requests now."""
        return len(self.addresses(cluster, mesh))

    def _usable(self, endpoint: Object, namespace: str, labels: Mapping[str, str]) -> bool:
        conditions = endpoint.get("conditions") or {}
        if conditions.get("ready") is False or conditions.get("terminating") or not endpoint.get("addresses"):
            return False
        target = endpoint.get("targetRef") or {}
        if target.get("kind") != "Pod":
            return not labels
        pod = self._pods.get((target.get("namespace") or namespace, target.get("name", "")))
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return False
        carried = pod["metadata"].get("labels") or {}
        return all(carried.get(key) == value for key, value in labels.items())


def load_assignment(cluster: ClusterName, addresses: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """``addresses`` as Envoy's ClusterLoadAssignment of ``cluster``."""
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}} for host, port in addresses
    ]
    return {"cluster_name": str(cluster), "endpoints": [{"lb_endpoints": endpoints}] if endpoints else []}
