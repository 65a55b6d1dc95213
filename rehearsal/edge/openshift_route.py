"""Route to Envoy routes, as the router of OpenShift does it.

The router's cookie names the backend, and HAProxy honours it before any weight: a backend of weight 0 gets no new users
and keeps those it has, until it is taken out of the Route.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rehearsal.client import Object
from rehearsal.edge.fields import Fields
from rehearsal.edge.http_route_matches import path_prefix
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.names import ClusterName, ServiceName
from rehearsal.edge.persistence import SessionCookie, Side, kept, weighted
from rehearsal.edge.route_options import safe_retries
from rehearsal.edge.translation import Outcome, Ranked, Route, Status, Traffic, Translator, by_rank, object_path

ROUTER = "default"
_ROUTER_ANNOTATION = "haproxy.router.openshift.io/"
_COOKIE_NAME = "router.openshift.io/cookie_name"
_TIMEOUT = re.compile(r"(\d+)(us|ms|s|m|h|d)?")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DEFAULT_TIMEOUT = "30s"


@dataclass(frozen=True)
class RouteTraffic(Traffic):
    """``namespace``, ``host`` and ``path`` are what it claims."""

    namespace: str = ""
    host: str = ""
    path: str = ""

    def is_in_the_way_of(self, later: RouteTraffic) -> bool:
        """A host belongs to the namespace that had it first, and within that each path to one Route."""
        return self.host == later.host and (self.namespace != later.namespace or self.path == later.path)


class RouteTranslator(Translator[RouteTraffic]):
    """Translates ``route.openshift.io/v1`` Routes; see ``translation.Translator``."""

    kind = "Route"
    collection = "/apis/route.openshift.io/v1/routes"

    def translate(self, item: Object, mesh: Mesh) -> RouteTraffic:
        spec = Fields(item.get("spec", {}), "spec")
        spec.only(("host", "path", "to", "alternateBackends", "port", "wildcardPolicy"))
        if spec.string("wildcardPolicy", "None") not in ("None", ""):
            raise spec.refuse("wildcardPolicy", "must be None, as this router admits no wildcards")
        host, namespace = spec.string("host"), item["metadata"].get("namespace", "")
        if not host:
            raise spec.refuse("host", "must be given, as this edge makes up no host names")
        sides = _sides(spec, namespace, mesh)
        path = spec.string("path").rstrip("/")
        base: Route = {
            "name": f"{namespace}/{item['metadata']['name']}",
            "match": path_prefix(path),
            "route": {"timeout": "0s", "idle_timeout": _timeout(item), "retry_policy": safe_retries()},
        }
        clusters = frozenset(side.cluster for side in sides)
        return RouteTraffic(
            hosts=(host,),
            routes=tuple(_routes(base, sides, _cookie(item), mesh)),
            clusters=clusters,
            warnings=tuple(why for cluster in sorted(clusters) if (why := mesh.missing(cluster))),
            namespace=namespace,
            host=host,
            path=path,
        )

    def merge(self, parts: Sequence[RouteTraffic]) -> Sequence[Traffic]:
        admitted = _admitted(parts)
        return by_rank(Ranked((-len(part.path), part.path), part.hosts, part.routes) for part in admitted)

    def statuses(self, outcomes: Sequence[Outcome[RouteTraffic]], mesh: Mesh, address: str) -> list[Status]:
        admitted = _admitted([outcome.part for outcome in outcomes if outcome.part])
        return [_status(outcome, any(outcome.part is part for part in admitted)) for outcome in outcomes]


def _admitted(parts: Sequence[RouteTraffic]) -> list[RouteTraffic]:
    admitted: list[RouteTraffic] = []
    for part in parts:
        if not any(earlier.is_in_the_way_of(part) for earlier in admitted):
            admitted.append(part)
    return admitted


def _routes(base: Route, sides: Sequence[Side], cookie: SessionCookie | None, mesh: Mesh) -> list[Route]:
    """HAProxy knows servers only: a backend without ready endpoints has no share, and the others get all."""
    ready = [side for side in sides if mesh.is_ready(side.cluster)]
    routes = kept(base, ready, cookie)
    if sum(side.weight for side in ready):
        return [*routes, weighted(base, ready, cookie)]
    plain = {key: value for key, value in base.items() if key != "route"}
    return [*routes, plain | {"direct_response": {"status": 503}}]


def _sides(spec: Fields, namespace: str, mesh: Mesh) -> list[Side]:
    backends = [spec.object("to"), *spec.objects("alternateBackends")]
    if len(backends) > 4:
        raise spec.refuse("alternateBackends", "must be at most 3")
    sides = []
    for backend in backends:
        backend.only(("kind", "name", "weight"))
        if backend.string("kind", "Service") not in ("Service", ""):
            raise backend.refuse("kind", "must be Service")
        service = ServiceName(namespace, backend.string("name"))
        weight = backend.integer("weight", 100, most=256)
        sides.append(Side(ClusterName(service, _port(spec, service, mesh)), weight))
    return sides


def _port(spec: Fields, service: ServiceName, mesh: Mesh) -> int:
    """The Service port that leads to ``port.targetPort``, a port's name or the number it has in the pods."""
    wanted: Any = spec.object("port").value.get("targetPort")
    for port in (mesh.services.get(service) or {}).get("spec", {}).get("ports") or []:
        if wanted is None or wanted in (port.get("name"), port.get("targetPort", port["port"])):
            return int(port["port"])
    return wanted if isinstance(wanted, int) else 80


def _cookie(item: Object) -> SessionCookie | None:
    annotations = item["metadata"].get("annotations") or {}
    if str(annotations.get(f"{_ROUTER_ANNOTATION}disable_cookies", "")).lower() == "true":
        return None
    name = f"{item['metadata'].get('namespace', '')}_{item['metadata']['name']}"
    return SessionCookie(annotations.get(_COOKIE_NAME) or hashlib.sha256(name.encode()).hexdigest()[:32])


def _timeout(item: Object) -> str:
    """The time without a byte after which a request is given up; one that can't be read is passed over."""
    annotations = item["metadata"].get("annotations") or {}
    found = _TIMEOUT.fullmatch(str(annotations.get(f"{_ROUTER_ANNOTATION}timeout", "")))
    if not found:
        return _DEFAULT_TIMEOUT
    return f"{int(found[1]) * _SECONDS[found[2] or 'ms']:.6f}".rstrip("0").rstrip(".") + "s"


def _status(outcome: Outcome[RouteTraffic], admitted: bool) -> Status:
    """Whether this router admitted the Route, beside what other routers said."""
    item = outcome.item
    condition = {"type": "Admitted", "status": "True"}
    if outcome.error:
        condition |= {"status": "False", "reason": "ExtendedValidationFailed", "message": outcome.error}
    elif not admitted:
        host = item["spec"].get("host", "")
        condition |= {"status": "False", "reason": "HostAlreadyClaimed", "message": f"an older Route has host {host}"}
    known = (item.get("status") or {}).get("ingress") or []
    ours = {
        "host": item["spec"].get("host", ""),
        "routerName": ROUTER,
        "wildcardPolicy": item["spec"].get("wildcardPolicy", "None"),
        "conditions": [condition],
    }
    others = [entry for entry in known if entry.get("routerName") != ROUTER]
    return Status(item, object_path(RouteTranslator.collection, item), {"ingress": [*others, ours]})
