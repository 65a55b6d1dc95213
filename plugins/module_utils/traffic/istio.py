# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider ``istio``: weight in the routes of a VirtualService, sides as subsets of a DestinationRule."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    Ref,
    destination_rule,
    service,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import (
    contradiction,
    format_labels,
    matching_pods,
    ready_endpoints,
    selector_of,
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

    def backend(self, side: Side) -> Backend:
        destination = self._sides[side]
        name, namespace = _service_of(destination.host, self._namespace)
        labels = self._subset_labels(side, namespace)
        found = self.cluster.find(service(namespace, name))
        if found is None:
            problem = f"{side}.host: there is no Service {name} in namespace {namespace}"
            return Backend(destination, 0, 0, problem)
        selector = selector_of(found)
        clash = contradiction(selector, labels)
        if clash:
            problem = (
                f"{side}.subset: {destination} ({format_labels(labels)}) lies outside the selector of Service {name} "
                f"({format_labels(selector)}), so it can never have an endpoint and every request sent to it fails; "
                f"route to a Service whose selector leaves out {', '.join(clash)}"
            )
            return Backend(destination, 0, 0, problem)
        endpoints = ready_endpoints(self.cluster, namespace, name)
        if not selector and not labels:
            return Backend(destination, len(endpoints), len(endpoints))
        pods = matching_pods(self.cluster, namespace, {**selector, **labels})
        return Backend(destination, len(endpoints & set(pods)), len(pods))

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
                f"{self._sides['candidate']}; its routes go to {named}"
            )
        return TrafficState(
            ref=self._ref(),
            resource_version=str(raw["metadata"].get("resourceVersion", "")),
            routes=tuple(route.as_weights() for route in routes),
            raw=raw,
        )

    def _subset_labels(self, side: Side, service_namespace: str) -> dict[str, str]:
        """Labels of the side's subset; rules stand beside the object or beside the Service."""
        destination = self._sides[side]
        if not destination.subset:
            return {}
        subsets: dict[str, dict[str, str]] = {}
        for namespace in dict.fromkeys((self._namespace, service_namespace)):
            for rule in self.cluster.list(destination_rule(namespace, api_version=self._api_version)):
                spec = rule.get("spec") or {}
                if full_host(str(spec.get("host", "")), namespace) == self._full(side)[0]:
                    for subset in spec.get("subsets") or []:
                        subsets.setdefault(subset["name"], dict(subset.get("labels") or {}))
        if destination.subset not in subsets:
            raise InputError(
                f"{side}.subset: no DestinationRule for host {destination.host} defines the subset "
                f"{destination.subset}; defined are: {', '.join(sorted(subsets)) or 'none'}"
            )
        return subsets[destination.subset]


def _service_of(host: str, namespace: str) -> tuple[str, str]:
    """Name and namespace of the Service that a host means."""
    name, *rest = full_host(host, namespace).split(".")
    return name, rest[0]
