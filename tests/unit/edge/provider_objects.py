"""HTTPRoutes, Ingresses and Routes as the tests of the edge need them, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rehearsal.edge.configuration import Configuration, Configurator, Observed
from rehearsal.edge.gateways import CONTROLLER
from rehearsal.edge.names import ServiceName
from tests.unit.edge.edge_objects import NAMESPACE, Object, endpoint, endpoint_slice, metadata, pod, service

ADDRESS = "127.51.0.1"
NGINX = "nginx.ingress.kubernetes.io/"
STABLE, CANDIDATE = "claude-enhancer-stable", "claude-enhancer-candidate"
GATEWAY_HOST, INGRESS_HOST, ROUTE_HOST = (
    f"{name}.claude-enhancer.example.com" for name in ("gateway", "ingress", "route")
)
ADDRESSES = {STABLE: "127.51.128.1", CANDIDATE: "127.51.128.2"}


def gateway_class() -> Object:
    return {"kind": "GatewayClass", "metadata": {"name": "rehearsal"}, "spec": {"controllerName": CONTROLLER}}


def gateway(**listener: Any) -> Object:
    """A Gateway with one HTTP listener for any host name."""
    one = {"name": "http", "port": 8000, "protocol": "HTTP"} | listener
    return {
        "kind": "Gateway",
        "metadata": metadata("claude-enhancer") | {"generation": 3},
        "spec": {"gatewayClassName": "rehearsal", "listeners": [one]},
    }


def backend(name: str, weight: int | None = None, **more: Any) -> Object:
    return {"name": name, "port": 80, **more} | ({} if weight is None else {"weight": weight})


def weights_rule(weight: int, **more: Any) -> Object:
    """A rule that gives the candidate ``weight`` of 100."""
    return {"backendRefs": [backend(STABLE, 100 - weight), backend(CANDIDATE, weight)], **more}


def path(value: str, kind: str = "PathPrefix") -> Object:
    return {"path": {"type": kind, "value": value}}


def http_route(*rules: Object, name: str = "claude-enhancer", **spec: Any) -> Object:
    return {
        "kind": "HTTPRoute",
        "metadata": metadata(name) | {"generation": 2},
        "spec": {"parentRefs": [{"name": "claude-enhancer"}], "hostnames": [GATEWAY_HOST], "rules": list(rules)} | spec,
    }


def ingress_class() -> Object:
    return {"kind": "IngressClass", "metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}


def ingress(name: str, target: str, *paths: tuple[str, str], **annotations: str) -> Object:
    """An Ingress of class nginx whose ``paths`` (path and type) all go to Service ``target``; ``_`` is ``-``."""
    made = metadata(name)
    made["annotations"] = {NGINX + key.replace("_", "-"): value for key, value in annotations.items()}
    to = {"service": {"name": target, "port": {"name": "http"}}}
    rules = [{"path": text, "pathType": kind, "backend": to} for text, kind in paths or (("/", "Prefix"),)]
    spec = {"ingressClassName": "nginx", "rules": [{"host": INGRESS_HOST, "http": {"paths": rules}}]}
    return {"kind": "Ingress", "metadata": made, "spec": spec}


def openshift_route(weight: int | None = None, name: str = "claude-enhancer", **spec: Any) -> Object:
    """A Route to stable with 100, with the candidate beside it at ``weight``."""
    others = [] if weight is None else [{"kind": "Service", "name": CANDIDATE, "weight": weight}]
    to = {"kind": "Service", "name": STABLE, "weight": 100 if weight is None else 100 - weight}
    made = metadata(name)
    made["annotations"] = spec.pop("annotations", {})
    base = {"host": ROUTE_HOST, "to": to, "alternateBackends": others, "port": {"targetPort": "http"}}
    return {"kind": "Route", "metadata": made, "spec": base | spec}


def observed(*items: Object, without: tuple[str, ...] = ()) -> Observed:
    """The two Services with a ready pod each, but for those ``without`` one, and what traffic objects need."""
    traffic: dict[str, list[Object]] = {"IngressClass": [ingress_class()], "GatewayClass": [gateway_class()]}
    for item in items:
        traffic.setdefault(item["kind"], []).append(item)
    traffic.setdefault("Gateway", [gateway()])
    ready = {name: address for name, address in ADDRESSES.items() if name not in without}
    return Observed(
        services=[service(name) for name in ADDRESSES],
        slices=[endpoint_slice(name, endpoint(name, address)) for name, address in ready.items()],
        pods={(NAMESPACE, name): pod(name, "5.0") for name in ADDRESSES},
        traffic=traffic,
    )


def configured(folder: Path, *items: Object, without: tuple[str, ...] = ()) -> Configuration:
    return Configurator(folder, NAMESPACE, ADDRESS).configure(observed(*items, without=without))


def routes_of(made: Configuration, host: str) -> list[dict[str, Any]]:
    """The routes of a host name; none when nobody serves it."""
    return next((each["routes"] for each in made.routes["virtual_hosts"] if host in each["domains"]), [])


def shares(route: Mapping[str, Any]) -> dict[str, int]:
    """Service → weight of a route that forwards."""
    clusters = route["route"]["weighted_clusters"]["clusters"]
    return {one["name"].split("|")[3].partition(".")[0]: one["weight"] for one in clusters}


def is_kept(route: Mapping[str, Any]) -> bool:
    """Whether the route is for users who have a session."""
    return any(
        each["name"] == "cookie" and r"\." in str(each["string_match"]) for each in route["match"].get("headers", [])
    )


def service_host(name: str) -> str:
    return ServiceName(NAMESPACE, name).host


def status_of(made: Configuration, kind: str, name: str = "claude-enhancer") -> Object:
    """What the edge says of an object."""
    return next(
        each.status for each in made.statuses if each.item["kind"] == kind and each.item["metadata"]["name"] == name
    )
