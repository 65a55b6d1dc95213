"""Ingress of class nginx to Envoy routes, as ingress-nginx does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rehearsal.client import Object
from rehearsal.edge.fields import Fields
from rehearsal.edge.http_route_matches import path_prefix
from rehearsal.edge.ingress_annotations import Annotations, ignored, read_annotations
from rehearsal.edge.ingress_canary import Location, Place, location_routes
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.names import ClusterName, ServiceName
from rehearsal.edge.persistence import Side
from rehearsal.edge.translation import Outcome, Ranked, Route, Status, Traffic, Translator, by_rank, object_path

CONTROLLER = "k8s.io/ingress-nginx"
_LEGACY_CLASS = "kubernetes.io/ingress.class"
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_PATH_TYPES = ("Exact", "Prefix", "ImplementationSpecific")


@dataclass(frozen=True)
class IngressTraffic(Traffic):
    """``locations`` are the paths it has a backend for; empty where another controller serves the Ingress."""

    locations: tuple[Location, ...] = ()


class IngressTranslator(Translator[IngressTraffic]):
    """Translates ``networking.k8s.io/v1`` Ingresses; see ``translation.Translator``."""

    kind = "Ingress"
    collection = "/apis/networking.k8s.io/v1/ingresses"
    related = {"IngressClass": "/apis/networking.k8s.io/v1/ingressclasses"}

    def translate(self, item: Object, mesh: Mesh) -> IngressTraffic:
        if not is_ours(item, mesh):
            return IngressTraffic()
        annotations = read_annotations(item)
        spec = Fields(item.get("spec", {}), "spec")
        spec.only(("ingressClassName", "defaultBackend", "rules"))
        locations = tuple(_locations(spec, item, annotations, mesh))
        clusters = frozenset(location.side.cluster for location in locations)
        warnings = [why for cluster in sorted(clusters) if (why := mesh.missing(cluster))]
        if annotations.canary:
            warnings += _without_main(locations, mesh)
        return IngressTraffic(
            hosts=tuple(dict.fromkeys(location.host for location in locations)),
            clusters=clusters,
            warnings=tuple(warnings),
            ignored=tuple(ignored(item)),
            locations=locations,
        )

    def merge(self, parts: Sequence[IngressTraffic]) -> Sequence[Traffic]:
        """The paths of main Ingresses, with the canary of the backend they go to."""
        mains: dict[Place, Location] = {}
        canaries: list[Location] = []
        for part in parts:
            for location in part.locations:
                if location.annotations.canary:
                    canaries.append(location)
                else:
                    mains.setdefault(location.place, location)
        chosen = _canaries_of_backends(mains, canaries)
        return by_rank(
            Ranked(location.rank, (location.host,), tuple(location_routes(location, chosen.get(location.side.cluster))))
            for location in mains.values()
        )

    def statuses(self, outcomes: Sequence[Outcome[IngressTraffic]], mesh: Mesh, address: str) -> list[Status]:
        reached = {"loadBalancer": {"ingress": [{"ip": address}]}}
        return [
            Status(outcome.item, object_path(self.collection, outcome.item), reached)
            for outcome in outcomes
            if is_ours(outcome.item, mesh) and outcome.part and outcome.part.locations
        ]


def _canaries_of_backends(mains: Mapping[Place, Location], canaries: Sequence[Location]) -> dict[ClusterName, Location]:
    """A canary finds its main Ingress by host, path and path type, and then holds for that one's backend everywhere.

    It counts for nothing where its own backend is a main one of the same host.
    """
    chosen: dict[ClusterName, Location] = {}
    for canary in canaries:
        main = mains.get(canary.place)
        taken = {each.side.cluster for each in mains.values() if each.host == canary.host}
        if main and canary.side.cluster not in taken:
            chosen.setdefault(main.side.cluster, canary)
    return chosen


def is_ours(item: Object, mesh: Mesh) -> bool:
    """Whether the Ingress is of a class that ingress-nginx serves; without a class, whether such a one is default."""
    annotations = item["metadata"].get("annotations") or {}
    name = (item.get("spec") or {}).get("ingressClassName") or annotations.get(_LEGACY_CLASS)
    classes = mesh.objects.get("IngressClass", [])
    ours = [each["metadata"] for each in classes if each["spec"].get("controller") == CONTROLLER]
    if name:
        return any(each["name"] == name for each in ours)
    return any((each.get("annotations") or {}).get(_DEFAULT_CLASS) == "true" for each in ours)


def _locations(spec: Fields, item: Object, annotations: Annotations, mesh: Mesh) -> Iterator[Location]:
    namespace = item["metadata"].get("namespace", "")
    name = f"{namespace}/{item['metadata']['name']}"
    default = _side(spec.object("defaultBackend"), namespace, mesh) if "defaultBackend" in spec else None
    hosts = set()
    for rule in spec.objects("rules"):
        rule.only(("host", "http"))
        host = rule.string("host") or "*"
        hosts.add(host)
        for path in rule.object("http").objects("paths"):
            path.only(("path", "pathType", "backend"))
            text, kind = path.string("path") or "/", path.string("pathType", "ImplementationSpecific")
            if kind not in _PATH_TYPES:
                raise path.refuse("pathType", f"must be one of {', '.join(_PATH_TYPES)}")
            side = _side(path.object("backend"), namespace, mesh)
            match, ready = _match(text, kind, annotations), mesh.is_ready(side.cluster)
            yield Location(name, host, text, kind, match, side, annotations, ready)
    if default:
        # What no path of the hosts takes, and every host that nobody speaks for. Ranked behind a path of its own.
        for host in sorted(hosts | {"*"}):
            ready = mesh.is_ready(default.cluster)
            yield Location(name, host, "", "Prefix", {"prefix": "/"}, default, annotations, ready)


def _side(backend: Fields, namespace: str, mesh: Mesh) -> Side:
    backend.only(("service",))
    service = backend.object("service")
    port = service.object("port")
    target = ServiceName(namespace, service.string("name"))
    wanted = port.string("name") if "name" in port else port.integer("number", least=1, most=65535)
    number = mesh.port(target, wanted)
    fallback = wanted if isinstance(wanted, int) else 80
    return Side(ClusterName(target, number if number is not None else fallback), 1)


def _match(path: str, kind: str, annotations: Annotations) -> Route:
    if annotations.use_regex and kind != "Exact":
        # nginx looks for such a path at the beginning, whatever the case.
        return {"safe_regex": {"regex": f"(?i){path}.*"}}
    if kind == "Exact":
        return {"path": path}
    return path_prefix(path) if kind == "Prefix" else {"prefix": path}


def _without_main(locations: Sequence[Location], mesh: Mesh) -> list[str]:
    """What to tell of paths of a canary that no main Ingress has: they get no requests."""
    served = set()
    for item in mesh.objects.get("Ingress", []):
        annotations = item["metadata"].get("annotations") or {}
        if is_ours(item, mesh) and annotations.get("nginx.ingress.kubernetes.io/canary") != "true":
            for rule in item["spec"].get("rules") or []:
                paths = (rule.get("http") or {}).get("paths") or []
                served |= {(rule.get("host") or "*", path.get("path") or "/", path.get("pathType")) for path in paths}
    alone = [location for location in locations if location.place not in served]
    return [f"no main Ingress has host {one.host} and path {one.path} ({one.kind})" for one in alone if one.path]
