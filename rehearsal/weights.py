"""The weights that traffic objects of every kind ask for, read for a person to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rehearsal.client import Object

_CANARY = "nginx.ingress.kubernetes.io/canary"
Row = dict[str, Any]


def virtual_services(items: list[Object]) -> list[Row]:
    return [
        _row("VirtualService", item, route.get("name", f"#{index}"), _destinations(route))
        for item in items
        for index, route in enumerate(item["spec"].get("http", []))
    ]


def http_routes(items: list[Object]) -> list[Row]:
    return [
        _row("HTTPRoute", item, rule.get("name", f"#{index}"), _named(rule.get("backendRefs") or [], 1))
        for item in items
        for index, rule in enumerate(item["spec"].get("rules") or [])
    ]


def ingresses(items: list[Object]) -> list[Row]:
    """One row for each path of a main Ingress, with the share that its canary takes of it."""
    mains = [item for item in items if _annotation(item, "") != "true"]
    canaries = {place: (service, item) for item in items if item not in mains for place, service in _paths(item)}
    rows = []
    for item in mains:
        for (host, path), service in _paths(item):
            weights = {service: 100}
            if (host, path) in canaries:
                candidate, canary = canaries[host, path]
                total = int(_annotation(canary, "-weight-total") or 100)
                weight = int(_annotation(canary, "-weight") or 0)
                weights = {service: total - weight, candidate: weight}
            rows.append(_row("Ingress", item, path, weights))
    return rows


def routes(items: list[Object]) -> list[Row]:
    return [
        _row(
            "Route",
            item,
            item["spec"].get("path", "/"),
            _named([item["spec"]["to"], *(item["spec"].get("alternateBackends") or [])], 100),
        )
        for item in items
    ]


def _row(kind: str, item: Object, route: str, weights: dict[str, int]) -> Row:
    return {"kind": kind, "object": item["metadata"]["name"], "route": route, "weights": weights}


def _destinations(route: Object) -> dict[str, int]:
    weights = {}
    for entry in route.get("route", []):
        destination = entry["destination"]
        weights[str(destination.get("subset") or destination["host"])] = entry.get("weight", 100)
    return weights


def _named(backends: list[Object], default: int) -> dict[str, int]:
    return {backend["name"]: backend.get("weight", default) for backend in backends}


def _annotation(item: Object, name: str) -> str:
    return str((item["metadata"].get("annotations") or {}).get(_CANARY + name, ""))


def _paths(item: Object) -> list[tuple[tuple[str, str], str]]:
    return [
        ((rule.get("host", "*"), path.get("path", "/")), path["backend"].get("service", {}).get("name", "?"))
        for rule in item["spec"].get("rules") or []
        for path in (rule.get("http") or {}).get("paths") or []
    ]


# The kinds in the order they are shown: where their objects of a namespace are, and what reads them.
READERS: dict[str, Callable[[list[Object]], list[Row]]] = {
    "/apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices": virtual_services,
    "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes": http_routes,
    "/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses": ingresses,
    "/apis/route.openshift.io/v1/namespaces/{namespace}/routes": routes,
}
