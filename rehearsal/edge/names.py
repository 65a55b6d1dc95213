"""How hosts and clusters are named: as Kubernetes DNS and Istio name them."""

from __future__ import annotations

from dataclasses import dataclass

SERVICE_DOMAIN = "svc.cluster.local"


@dataclass(frozen=True, order=True)
class ServiceName:
    """A Service: where it lives and what it is called."""

    namespace: str
    name: str

    @property
    def host(self) -> str:
        """The full name, ``<service>.<namespace>.svc.cluster.local``."""
        return f"{self.name}.{self.namespace}.{SERVICE_DOMAIN}"

    @property
    def aliases(self) -> tuple[str, str, str]:
        """Every host name that means this Service, shortest first."""
        return self.name, f"{self.name}.{self.namespace}", self.host


@dataclass(frozen=True, order=True)
class ClusterName:
    """What one upstream cluster stands for: a port of a Service, or of one subset of it (``subset`` is then set)."""

    service: ServiceName
    port: int
    subset: str = ""

    def __str__(self) -> str:
        return f"outbound|{self.port}|{self.subset}|{self.service.host}"


def service_of(host: str, namespace: str) -> ServiceName | None:
    """The Service that ``host`` means to an object in ``namespace``; None for a host outside of the cluster.

    Understands ``service``, ``service.namespace``, ``service.namespace.svc`` and the full name.
    """
    for ending in (f".{SERVICE_DOMAIN}", ".svc"):
        if host.endswith(ending):
            name, _, rest = host.removesuffix(ending).partition(".")
            return ServiceName(rest, name) if rest and "." not in rest else None
    name, _, rest = host.partition(".")
    if "." in rest or "*" in host or not name:
        return None
    return ServiceName(rest or namespace, name)
