"""Routes by host name: what traffic objects say of a host, and every other Service plainly under its own names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rehearsal.edge.bootstrap import ROUTES
from rehearsal.edge.fields import Fields
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.names import ClusterName, ServiceName
from rehearsal.edge.route_options import retry_policy
from rehearsal.edge.translation import Traffic


def route_configuration(traffic: Iterable[Traffic], mesh: Mesh, preferred_namespace: str) -> dict[str, Any]:
    """Envoy's RouteConfiguration.

    Several objects of one host are tried in the order given. A Service that no object speaks for gets a virtual host
    per port. A short name that two namespaces claim goes to ``preferred_namespace``.
    """
    by_host: dict[str, list[dict[str, Any]]] = {}
    for part in traffic:
        for host in part.hosts:
            by_host.setdefault(host, []).extend(part.routes)
    services = {
        service.host: service
        for service in sorted(mesh.services, key=lambda s: (s.namespace != preferred_namespace, s))
    }
    hosts = [(host, _domains(host, services), routes) for host, routes in by_host.items()]
    for service in services.values():
        hosts += _plain_hosts(service, mesh)
    taken: set[str] = set()
    virtual_hosts = []
    for name, domains, routes in hosts:
        free = [domain for domain in domains if domain not in taken]
        taken.update(free)
        if free:
            virtual_hosts.append({"name": name, "domains": free, "routes": routes})
    # Envoy would else take a route to an unknown cluster and answer 503.
    return {"name": ROUTES, "virtual_hosts": virtual_hosts, "validate_clusters": True}


def _domains(host: str, services: dict[str, ServiceName]) -> list[str]:
    """A host with any port; a Service by all its names; a wildcard as it stands."""
    if "*" in host:
        return [host]
    aliases = services[host].aliases if host in services else (host,)
    return [domain for alias in aliases for domain in (alias, f"{alias}:*")]


def _plain_hosts(service: ServiceName, mesh: Mesh) -> list[tuple[str, list[str], list[dict[str, Any]]]]:
    """Name, domains and routes of each port. The first port is also meant by no port, and by one it doesn't have."""
    hosts = []
    for index, (number, _) in enumerate(mesh.ports(service)):
        domains = [f"{alias}:{number}" for alias in service.aliases]
        if index == 0:
            domains += [domain for alias in service.aliases for domain in (alias, f"{alias}:*")]
        action = {
            "cluster": str(ClusterName(service, number)),
            "timeout": "0s",
            "retry_policy": retry_policy(Fields({}, "default")),
        }
        hosts.append((f"{service.host}:{number}", domains, [{"match": {"prefix": "/"}, "route": action}]))
    return hosts
