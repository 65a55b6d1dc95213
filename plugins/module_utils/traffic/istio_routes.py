# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The weighted routes of a VirtualService: finding them, and the smallest patch that moves them. Pure.

An HTTP route is *weighted* when it has a destination to stable and one to candidate. All other routes, and everything
but the two sides' weights in a weighted route, are left alone; so are TCP and TLS routes, whose connections outlive a
change of weight, so that no share of requests could be promised for them.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import Destination, RouteWeights

_SECTIONS = ("http", "tls", "tcp")
_WEIGHTED_SECTION = "http"


@dataclasses.dataclass(frozen=True)
class WeightedRoute:
    """A weighted route by its place in the object; ``stable`` and ``candidate`` are indices into ``weights``."""

    section: str
    index: int
    name: str
    destinations: tuple[t.Mapping[str, t.Any], ...]
    weights: tuple[int, ...]
    stable: tuple[int, ...]
    candidate: tuple[int, ...]

    def as_weights(self) -> RouteWeights:
        stable = sum(self.weights[index] for index in self.stable)
        candidate = sum(self.weights[index] for index in self.candidate)
        return RouteWeights(self.name, stable, candidate, sum(self.weights) - stable - candidate)


def full_host(host: str, namespace: str) -> str:
    """``host`` as Istio reads it: a name without a dot is a Service in the object's own namespace."""
    return host if "." in host else f"{host}.{namespace}.svc.cluster.local"


def same_destination(found: t.Mapping[str, t.Any], wanted: Destination, namespace: str) -> bool:
    return (
        full_host(str(found.get("host", "")), namespace) == full_host(wanted.host, namespace)
        and str(found.get("subset") or "") == wanted.subset
    )


def weighted_routes(
    virtual_service: t.Mapping[str, t.Any], stable: Destination, candidate: Destination
) -> list[WeightedRoute]:
    """The weighted HTTP routes in the object's order; empty where there is none."""
    return [route for route in _two_sided(virtual_service, stable, candidate) if route.section == _WEIGHTED_SECTION]


def notices(virtual_service: t.Mapping[str, t.Any], stable: Destination, candidate: Destination) -> tuple[str, ...]:
    """A sentence for each TCP or TLS route to both sides, which keeps its weights."""
    return tuple(
        f"{route.section.upper()} route {route.name} goes to both sides and keeps its weights (stable {now.stable}, "
        f"candidate {now.candidate}): only HTTP routes are moved"
        for route in _two_sided(virtual_service, stable, candidate)
        if route.section != _WEIGHTED_SECTION
        for now in (route.as_weights(),)
    )


def _two_sided(
    virtual_service: t.Mapping[str, t.Any], stable: Destination, candidate: Destination
) -> list[WeightedRoute]:
    """Every route with a destination to each side, in the object's order."""
    namespace = str(virtual_service["metadata"].get("namespace", ""))
    found = []
    for section, index, route in _routes(virtual_service):
        destinations = route.get("route") or []
        sides = {
            side: tuple(
                place
                for place, entry in enumerate(destinations)
                if same_destination(entry.get("destination") or {}, wanted, namespace)
            )
            for side, wanted in (("stable", stable), ("candidate", candidate))
        }
        if sides["stable"] and sides["candidate"]:
            found.append(
                WeightedRoute(
                    section=section,
                    index=index,
                    name=str(route.get("name") or f"{section}[{index}]"),
                    destinations=tuple(entry["destination"] for entry in destinations),
                    weights=tuple(int(entry.get("weight") or 0) for entry in destinations),
                    stable=sides["stable"],
                    candidate=sides["candidate"],
                )
            )
    return found


def destinations(virtual_service: t.Mapping[str, t.Any]) -> list[str]:
    """Every destination that a route names, for a message that says what there is instead."""
    named = {
        str(Destination.from_options({"host": "?", **entry["destination"]}))
        for _section, _index, route in _routes(virtual_service)
        for entry in route.get("route") or []
        if entry.get("destination")
    }
    return sorted(named)


def moved(route: WeightedRoute, weight: int) -> tuple[int, ...]:
    """The route's weights with ``weight`` percent of the two sides' part on the candidate.

    The sum stays what it was. Weight 0 works on any route; others must be sound, see :func:`unsound`.
    """
    weights = list(route.weights)
    both = sum(weights[index] for index in route.stable + route.candidate)
    if weight == 0:
        taken = sum(weights[index] for index in route.candidate)
        for index in route.candidate:
            weights[index] = 0
        # All weights 0 would leave the route without any destination.
        weights[route.stable[0]] += taken if sum(route.weights) else 100
        return tuple(weights)
    share = (both * weight + 50) // 100
    weights[route.candidate[0]] = share
    weights[route.stable[0]] = both - share
    return tuple(weights)


def unsound(route: WeightedRoute) -> str:
    """Why a part of the requests can't be given to the candidate in this route; empty where it can."""
    if sum(route.weights) != 100:
        return f"the weights of route {route.name} sum to {sum(route.weights)} and not to 100"
    for side, places in (("stable", route.stable), ("candidate", route.candidate)):
        if len(places) > 1:
            return f"route {route.name} has {len(places)} destinations to the {side} side and may have only one"
    if not route.as_weights().stable + route.as_weights().candidate:
        return f"other destinations of route {route.name} take all its requests, so there is nothing to split"
    return ""


def check_sound(routes: t.Iterable[WeightedRoute], where: str) -> None:
    """Raise InputError naming every route that can't be split."""
    faults = [fault for fault in map(unsound, routes) if fault]
    if faults:
        raise InputError(f"name: {where} can't carry a weight: {'; '.join(faults)}; correct the object first")


def operations(
    routes: t.Iterable[WeightedRoute], weight: int, resource_version: str = ""
) -> tuple[dict[str, t.Any], ...]:
    """JSON patch to ``weight``, touching only weights that differ; empty where none does.

    It tests that each destination is still where it was and, given ``resource_version``, that the object is unchanged.
    """
    patch: list[dict[str, t.Any]] = []
    for route in routes:
        for place, wanted in enumerate(moved(route, weight)):
            if wanted != route.weights[place]:
                entry = f"/spec/{route.section}/{route.index}/route/{place}"
                patch.append({"op": "test", "path": f"{entry}/destination", "value": route.destinations[place]})
                patch.append({"op": "add", "path": f"{entry}/weight", "value": wanted})
    if patch and resource_version:
        patch.insert(0, {"op": "test", "path": "/metadata/resourceVersion", "value": resource_version})
    return tuple(patch)


def _routes(virtual_service: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, int, t.Mapping[str, t.Any]]]:
    spec = virtual_service.get("spec") or {}
    for section in _SECTIONS:
        for index, route in enumerate(spec.get(section) or []):
            yield section, index, route
