"""Where everything of one rehearsal cluster is: addresses, ports and folders.

Each world owns one /16 of the loopback range (``127.N.0.0/16``), so two worlds never share a port: well-known
ports stay what they are, and pods get addresses of their own.
"""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rehearsal.haproxy import places

NAMESPACE = "claude-enhancer"
EDGE_HOSTNAME = "claude-enhancer.example.com"
# Provider of traffic → host name under which the edge serves that provider's object.
EDGE_HOSTS = {
    "istio": EDGE_HOSTNAME,
    "gateway_api": f"gateway.{EDGE_HOSTNAME}",
    "nginx_ingress": f"ingress.{EDGE_HOSTNAME}",
    "openshift_route": f"route.{EDGE_HOSTNAME}",
    "service": f"claude-enhancer-split.{NAMESPACE}",
}


@dataclass(frozen=True)
class World:
    """One rehearsal cluster.

    ``home`` holds all its files, ``network`` is the first two octets of its loopback block (``"127.21"``),
    ``pod_cidr`` the range pods get their addresses from (``REHEARSAL_POD_CIDR``).
    """

    name: str
    home: Path
    network: str
    pod_cidr: str

    @classmethod
    def make(cls, name: str, home: Path, block: int) -> World:
        """The world ``name`` in loopback block ``127.<block>.0.0/16``."""
        network = f"127.{block}"
        cidr = os.environ.get("REHEARSAL_POD_CIDR") or f"{network}.128.0/17"
        return cls(name, home, network, str(ipaddress.ip_network(cidr)))

    @classmethod
    def load(cls, home: Path) -> World:
        """Read back what :meth:`save` wrote. Raises FileNotFoundError when there is no such world."""
        facts = json.loads((home / "world.json").read_text())
        return cls(facts["name"], home, facts["network"], facts["pod_cidr"])

    def save(self) -> None:
        """Write ``world.json``: the facts, and every address a person or a script may want."""
        facts = asdict(self) | {
            "home": str(self.home),
            "namespace": NAMESPACE,
            "hostname": EDGE_HOSTNAME,
            "kubeconfig": str(self.kubeconfig),
            "api_url": self.api_url,
            "edge_url": self.edge_url,
            "edges": self.edges,
            "haproxy": places.facts(self.home, self.host),
            "edge_admin_url": self.edge_admin_url,
            "prometheus_url": self.prometheus_url,
            "postgres_dsn": self.postgres_dsn,
        }
        partial = self.home / "world.json.partial"
        partial.write_text(json.dumps(facts, indent=2) + "\n")
        partial.replace(self.home / "world.json")

    @property
    def host(self) -> str:
        """The address all servers of this world listen on."""
        return f"{self.network}.0.1"

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def audit_log(self) -> Path:
        """Who asked the API server for what: one JSON line per request, as kube-apiserver writes it."""
        return self.logs / "audit.log"

    @property
    def api_url(self) -> str:
        return f"https://{self.host}:6443"

    @property
    def edge_url(self) -> str:
        """Where users' requests enter; send ``Host: claude-enhancer.example.com``."""
        return f"http://{self.host}:8000"

    @property
    def edges(self) -> dict[str, dict[str, str]]:
        """Provider of traffic → where its users' requests enter: ``url``, and the ``host`` to ask for."""
        edges = {provider: {"url": self.edge_url, "host": host} for provider, host in EDGE_HOSTS.items()}
        return edges | {"haproxy": {"url": self.haproxy[0].url, "host": EDGE_HOSTNAME}}

    def entries(self, provider: str) -> list[str]:
        """Every URL at which the provider's users may come in. Raises KeyError for a provider there is no edge for."""
        if provider == "haproxy":
            return [instance.url for instance in self.haproxy]
        return [self.edges[provider]["url"]]

    @property
    def haproxy(self) -> tuple[places.Instance, ...]:
        return places.instances(self.home, self.host)

    @property
    def edge_admin_url(self) -> str:
        """Envoy's own admin port: statistics, configuration dump."""
        return f"http://{self.host}:8001"

    @property
    def prometheus_url(self) -> str:
        return f"http://{self.host}:9090"

    @property
    def kubelet_port(self) -> int:
        """Where the node serves container logs, as a kubelet does."""
        return 10250

    @property
    def postgres_dsn(self) -> str:
        return f"postgresql://claude@{self.host}:5432/claude_enhancer"
