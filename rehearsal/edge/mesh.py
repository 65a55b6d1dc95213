"""What can be routed to: Services with their ports and endpoints, and the DestinationRules that divide them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from rehearsal.client import Object
from rehearsal.edge.fields import Fields
from rehearsal.edge.names import ClusterName, ServiceName, service_of


@dataclass(frozen=True)
class Rule:
    """A DestinationRule: labels and traffic policy of each subset, and the policy of the host as a whole."""

    service: ServiceName
    policy: Fields
    subsets: dict[str, dict[str, str]] = field(default_factory=dict)
    subset_policies: dict[str, Fields] = field(default_factory=dict)

    @classmethod
    def read(cls, item: Object) -> Rule:
        """Raises TranslationError where the object can't be understood."""
        spec = Fields(item.get("spec", {}), "spec")
        spec.only(("host", "trafficPolicy", "subsets", "exportTo"))
        service = service_of(spec.string("host"), item["metadata"].get("namespace", ""))
        if service is None:
            raise spec.refuse("host", "must be a Service of this cluster")
        subsets, policies = {}, {}
        for subset in spec.objects("subsets"):
            subset.only(("name", "labels", "trafficPolicy"))
            name = subset.string("name")
            if not name or name in subsets:
                raise subset.refuse("name", "must be given once and be unique")
            subsets[name] = subset.string_map("labels")
            if "trafficPolicy" in subset:
                policies[name] = subset.object("trafficPolicy")
        return cls(service, spec.object("trafficPolicy"), subsets, policies)


class Mesh:
    """Services and DestinationRules, found by name, and ``objects``: all other objects that were observed, by kind.

    ``count_ready`` counts the endpoints of a cluster that may get requests now.
    """

    def __init__(
        self,
        services: Iterable[Object],
        rules: Iterable[Rule],
        objects: Mapping[str, list[Object]] | None = None,
        count_ready: Callable[[ClusterName, Mesh], int] | None = None,
    ) -> None:
        self.services = {_name(item): item for item in services if item.get("spec", {}).get("type") != "ExternalName"}
        self.rules = {rule.service: rule for rule in rules}
        self.objects = objects or {}
        self._count_ready = count_ready

    def is_ready(self, cluster: ClusterName) -> bool:
        """Whether any endpoint of ``cluster`` may get requests now; taken for granted where nobody counts."""
        return self._count_ready is None or self._count_ready(cluster, self) > 0

    def ports(self, service: ServiceName) -> list[tuple[int, str]]:
        """Number and name (``""`` for none) of each port of a Service; empty when there is no such Service."""
        spec = self.services.get(service, {}).get("spec", {})
        return [(port["port"], port.get("name", "")) for port in spec.get("ports") or []]

    def port(self, service: ServiceName, wanted: int | str | None) -> int | None:
        """The number of the Service port that ``wanted`` names or numbers (None: the first); None without such."""
        ports = self.ports(service)
        if wanted is None:
            return ports[0][0] if ports else None
        return next((number for number, name in ports if wanted in (number, name)), None)

    def destination(self, fields: Fields, namespace: str) -> ClusterName:
        """The cluster that a VirtualService destination (host, subset, port) names.

        Without a port it is the Service's first. Raises TranslationError for a host outside of the cluster.
        """
        fields.only(("host", "subset", "port"))
        service = service_of(fields.string("host"), namespace)
        if service is None:
            raise fields.refuse("host", "must be a Service of this cluster")
        ports = self.ports(service)
        default = ports[0][0] if ports else 80
        return ClusterName(
            service, fields.object("port").integer("number", default, least=1, most=65535), fields.string("subset")
        )

    def missing(self, cluster: ClusterName) -> str | None:
        """Why nothing can stand behind ``cluster``, or None. It is routed to all the same, and answers 503."""
        if cluster.service not in self.services:
            return f"there is no Service {cluster.service.name} in namespace {cluster.service.namespace}"
        if cluster.port not in (number for number, _ in self.ports(cluster.service)):
            return f"Service {cluster.service.name} has no port {cluster.port}"
        rule = self.rules.get(cluster.service)
        if cluster.subset and (rule is None or cluster.subset not in rule.subsets):
            return f"no DestinationRule gives {cluster.service.name} a subset {cluster.subset}"
        return None

    def labels(self, cluster: ClusterName) -> dict[str, str] | None:
        """Labels a pod must carry to belong to ``cluster``; None when no rule knows its subset."""
        if not cluster.subset:
            return {}
        rule = self.rules.get(cluster.service)
        return rule.subsets.get(cluster.subset) if rule else None

    def policies(self, cluster: ClusterName) -> list[Fields]:
        """Traffic policies that hold for ``cluster``, the most specific first."""
        rule = self.rules.get(cluster.service)
        if rule is None:
            return []
        own = rule.subset_policies.get(cluster.subset)
        return [own, rule.policy] if own else [rule.policy]

    def policy(self, cluster: ClusterName, part: str) -> Fields:
        """``part`` (``loadBalancer``, ``connectionPool``, …) of the most specific policy that has it, else empty."""
        policies = self.policies(cluster)
        found = next((policy for policy in policies if part in policy), None)
        return found.object(part) if found else Fields({}, f"spec.trafficPolicy.{part}")

    def clusters(self) -> set[ClusterName]:
        """Every port of every Service, as a whole and by subset."""
        found = set()
        for service in self.services:
            rule = self.rules.get(service)
            for number, _ in self.ports(service):
                found.add(ClusterName(service, number))
                found.update(ClusterName(service, number, subset) for subset in (rule.subsets if rule else ()))
        return found


def _name(item: Object) -> ServiceName:
    return ServiceName(item["metadata"].get("namespace", ""), item["metadata"]["name"])
