# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider ``istio``: weight in the routes of a VirtualService, sides as subsets of a DestinationRule."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    Ref,
    destination_rule,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import (
    Standing,
    contradiction,
    format_labels,
    standing,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, NotFoundError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    Backend,
    Destination,
    Plan,
    Side,
    TrafficState,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.istio_routes import (
    WeightedRoute,
    check_sound,
    destinations,
    full_host,
    operations,
    weighted_routes,
)

_API_VERSIONS = ("networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3")


class IstioProvider:
    """Weight of one VirtualService; ``options`` are checked by ``open_provider``."""

    def __init__(self, cluster: Cluster, options: t.Mapping[str, t.Any]) -> None:
        self.cluster = cluster
        self.prepared: TrafficState | None = None
        self._namespace = str(options["namespace"])
        self._name = str(options["name"])
        self._api_version = str(options.get("api_version") or "")
        self._sides: dict[Side, Destination] = {
            "stable": Destination.from_options(options["stable"]),
            "candidate": Destination.from_options(options["candidate"]),
        }
        if self._full("stable") == self._full("candidate"):
            raise InputError(
                f"candidate: is the same destination as stable ({self._sides['stable']}); "
                "the two sides need different hosts or subsets"
            )

    def read(self) -> TrafficState:
        self.prepared = self._state(self._read_object())
        return self.prepared

    def prepare(self) -> TrafficState:
        return self.prepared or self.read()

    def plan(self, weight: int, state: TrafficState, *, strict: bool) -> Plan:
        routes = self._weighted(state.raw)
        if weight > 0:
            check_sound(routes, str(state.ref))
        return Plan(weight, state, operations(routes, weight, state.resource_version if strict else ""))

    def apply(self, plan: Plan) -> TrafficState:
        stored = self.cluster.patch(plan.state.ref, list(plan.operations), kind="json")
        state = self._state(stored)
        if not self.cluster.dry_run:
            self.prepared = state
        return state

    def backends(self) -> dict[Side, Backend]:
        # Both sides mostly share one host, which is then looked at once.
        subsets_of = functools.cache(self._subsets)
        standing_of = functools.cache(self._standing)
        result: dict[Side, Backend] = {}
        for side, destination in self._sides.items():
            host = self._full(side)[0]
            labels = _labels_of(side, destination, subsets_of(host)) if destination.subset else {}
            result[side] = _backend(side, destination, labels, standing_of(host))
        return result

    def _standing(self, host: str) -> Standing | None:
        name, namespace = _service_of(host, self._namespace)
        return standing(self.cluster, namespace, name)

    def _full(self, side: Side) -> tuple[str, str]:
        destination = self._sides[side]
        return full_host(destination.host, self._namespace), destination.subset

    def _read_object(self) -> dict[str, t.Any]:
        """The VirtualService in the API version asked for, else in the newest that the cluster serves."""
        versions = [self._api_version] if self._api_version else list(_API_VERSIONS)
        for api_version in versions:
            try:
                found = self.cluster.get(virtual_service(self._namespace, self._name, api_version))
            except NotFoundError as error:
                if error.served:
                    raise NotFoundError(
                        f"name: there is no VirtualService {self._name} in namespace {self._namespace}; "
                        "apply it before its weight is set",
                        status=error.status,
                        reason=error.reason,
                    ) from error
            else:
                self._api_version = api_version
                return found
        raise NotFoundError(
            f"provider: the cluster {self.cluster.server} doesn't serve VirtualService of {' or '.join(versions)}; "
            "is Istio installed there, and is api_version right?",
            status=404,
            served=False,
        )

    def _ref(self) -> Ref:
        return virtual_service(self._namespace, self._name, self._api_version)

    def _weighted(self, raw: t.Mapping[str, t.Any]) -> list[WeightedRoute]:
        return weighted_routes(raw, self._sides["stable"], self._sides["candidate"])

    def _state(self, raw: t.Mapping[str, t.Any]) -> TrafficState:
        routes = self._weighted(raw)
        if not routes:
            named = ", ".join(destinations(raw)) or "nothing"
            raise InputError(
                f"stable, candidate: no route of {self._ref()} has a destination to both {self._sides['stable']} and "
                f"{self._sides['candidate']}; its routes go to {named}: name two of these, or add a route to both"
            )
        return TrafficState(
            ref=self._ref(),
            resource_version=str(raw["metadata"].get("resourceVersion", "")),
            routes=tuple(route.as_weights() for route in routes),
            raw=raw,
        )

    def _subsets(self, host: str) -> dict[str, dict[str, str]]:
        """Labels of each subset of a host; rules stand beside the traffic object or beside the Service."""
        subsets: dict[str, dict[str, str]] = {}
        for namespace in dict.fromkeys((self._namespace, _service_of(host, self._namespace)[1])):
            for rule in self.cluster.list(destination_rule(namespace, api_version=self._api_version)):
                spec = rule.get("spec") or {}
                if full_host(str(spec.get("host", "")), namespace) == host:
                    for subset in spec.get("subsets") or []:
                        subsets.setdefault(subset["name"], dict(subset.get("labels") or {}))
        return subsets


def _labels_of(
    side: Side, destination: Destination, subsets: t.Mapping[str, t.Mapping[str, str]]
) -> t.Mapping[str, str]:
    if destination.subset not in subsets:
        raise InputError(
            f"{side}.subset: no DestinationRule for host {destination.host} defines the subset "
            f"{destination.subset}; defined are: {', '.join(sorted(subsets)) or 'none'}; "
            "name one of these, or add it there"
        )
    return subsets[destination.subset]


def _backend(side: Side, destination: Destination, labels: t.Mapping[str, str], found: Standing | None) -> Backend:
    """What Istio would send the requests of a destination to: ready endpoints whose pods carry the subset's labels."""
    if found is None:
        return Backend(destination, 0, 0, f"{side}.host: there is no Service for {destination.host} in the cluster")
    clash = contradiction(found.selector, labels)
    if clash:
        return Backend(
            destination,
            0,
            0,
            f"{side}.subset: {destination} ({format_labels(labels)}) lies outside the selector of its Service "
            f"({format_labels(found.selector)}), so it can never have an endpoint and every request sent to it fails; "
            f"route to a Service whose selector leaves out {', '.join(clash)}",
        )
    pods = found.pods_with(labels)
    if not labels and not pods:
        return Backend(destination, len(found.endpoints), len(found.endpoints))  # endpoints that no pod stands behind
    return Backend(destination, len(found.endpoints & pods), len(pods))


def _service_of(host: str, namespace: str) -> tuple[str, str]:
    """Name and namespace of the Service that a host means."""
    name, *rest = full_host(host, namespace).split(".")
    return name, rest[0]
