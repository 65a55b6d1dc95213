"""Cluster addresses and node ports of Services."""

from __future__ import annotations

import ipaddress
from typing import Any

Object = dict[str, Any]


class ServiceAddresses:
    """Gives out addresses of ``network`` and node ports, one after the other. Nothing routes them: names do."""

    def __init__(self, network: str = "10.96.0.0/16") -> None:
        self._network = ipaddress.ip_network(network)
        self._next = 1
        self._next_port = 30000

    def assign(self, service: Object, dry_run: bool = False) -> None:
        """Fill in what a new Service gets from the cluster."""
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return
        if not spec.get("clusterIP"):
            spec["clusterIP"] = str(self._network[self._next])
            self._next += 0 if dry_run else 1
        spec["clusterIPs"] = [spec["clusterIP"]]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        self._node_ports(spec)

    def keep(self, service: Object, old: Object) -> None:
        """Carry the addresses of the stored Service over to an update that does not name them."""
        spec, before = service["spec"], old["spec"]
        if spec.get("type") == "ExternalName":
            return
        if before.get("type") == "ExternalName":
            self.assign(service)
            return
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if key in before:
                spec.setdefault(key, before[key])
        numbers = {port["port"]: port.get("nodePort") for port in before.get("ports") or []}
        for port in spec.get("ports") or []:
            if spec["type"] in ("NodePort", "LoadBalancer") and numbers.get(port["port"]):
                port.setdefault("nodePort", numbers[port["port"]])
        self._node_ports(spec)

    def _node_ports(self, spec: Object) -> None:
        if spec.get("type") not in ("NodePort", "LoadBalancer"):
            return
        for port in spec.get("ports") or []:
            if not port.get("nodePort"):
                port["nodePort"] = self._next_port
                self._next_port += 1
