# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider ``istio``: weight in the HTTP routes of a VirtualService.

A side is a host, or a subset of it that a DestinationRule defines.
"""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    Ref,
    destination_rule,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import Standing, standing
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.backends import backend
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    Backend,
    Destination,
    Plan,
    Side,
    Stickiness,
    TrafficState,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.istio_routes import (
    WeightedRoute,
    check_sound,
    destinations,
    full_host,
    notices,
    operations,
    weighted_routes,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.served import read_newest

_WEIGHT_FIELDS = (("spec", "http"),)
_API_VERSIONS = ("networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3")


class IstioProvider:
    """Weight of one VirtualService; ``options`` are checked by ``open_provider``."""

    def __init__(self, cluster: Cluster, options: t.Mapping[str, t.Any]) -> None:
        self.cluster = cluster
        self.prepared: TrafficState | None = None
        self.fence: Fence | None = None
        self.namespace = str(options["namespace"])
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

    @property
    def calls(self) -> int:
        return self.cluster.calls

    def read(self) -> TrafficState:
        self.prepared = self._state(self._read_object())
        return self.prepared

    def prepare(self) -> TrafficState:
        return self.prepared or self.read()

    def objects(self) -> tuple[Ref, ...]:
        return (self._ref(),)

    def plan(self, weight: int, state: TrafficState, *, strict: bool) -> Plan:
        routes = self._weighted(state.raw)
        if weight > 0:
            check_sound(routes, str(state.ref))
        return Plan(weight, state, operations(routes, weight, state.resource_version if strict else ""))

    def apply(self, plan: Plan) -> TrafficState:
        stored = self.cluster.patch(self._ref(), list(plan.operations), kind="json")
        state = self._state(stored)
        if not self.cluster.dry_run:
            self.prepared = state
        return state

    def backends(self) -> dict[Side, Backend]:
        self.prepare()  # the rules are asked for in the object's own API version
        # Both sides mostly share one host, which is then looked at once.
        rules_of = functools.cache(self._rules)
        standing_of = functools.cache(self._standing)
        result: dict[Side, Backend] = {}
        for side, destination in self._sides.items():
            host = self._full(side)[0]
            if destination.subset:
                labels = _labels_of(side, destination, rules_of(host))
                option, part = f"{side}.subset", f"subset {destination.subset}"
                result[side] = backend(destination.host, standing_of(host), option, labels, part)
            else:
                result[side] = backend(destination.host, standing_of(host), f"{side}.host")
        return result

    def obstacles(self, state: TrafficState) -> list[str]:
        return []  # Istio tells no status of a VirtualService that could be relied on

    def stickiness(self, state: TrafficState) -> Stickiness:
        """By the hash that the destinations' rules ask for: a proxy draws the weighted destination by it too."""
        policies = []
        for side in self._sides:
            host, subset = self._full(side)
            hashes = [hash_policy(rule, subset) for rule in self._rules(host)]
            policies.append(next((policy for policy in hashes if policy), ""))
        if all(policies) and len(set(policies)) == 1:
            return Stickiness(True, f"{policies[0]}, by the consistentHash of the DestinationRule")
        if any(policies):
            return Stickiness(False, "the two sides ask for different consistentHash policies")
        return Stickiness(
            False, "no DestinationRule of the sides asks for consistentHash, so each request is drawn anew"
        )

    def _standing(self, host: str) -> Standing | None:
        name, namespace = _service_of(host, self.namespace)
        return standing(self.cluster, namespace, name)

    def _full(self, side: Side) -> tuple[str, str]:
        destination = self._sides[side]
        return full_host(destination.host, self.namespace), destination.subset

    def _read_object(self) -> dict[str, t.Any]:
        """The VirtualService in the API version asked for, else in the newest that the cluster serves."""
        versions = [self._api_version] if self._api_version else list(_API_VERSIONS)
        refs = [virtual_service(self.namespace, self._name, version) for version in versions]
        question = "is Istio installed there, and is api_version right?"
        ref, found = read_newest(self.cluster.get, refs, self.cluster.server, question)
        self._api_version = ref.api_version
        return found

    def _ref(self) -> Ref:
        return virtual_service(self.namespace, self._name, self._api_version)

    def _weighted(self, raw: t.Mapping[str, t.Any]) -> list[WeightedRoute]:
        return weighted_routes(raw, self._sides["stable"], self._sides["candidate"])

    def _state(self, raw: t.Mapping[str, t.Any]) -> TrafficState:
        routes = self._weighted(raw)
        if not routes:
            named = ", ".join(destinations(raw)) or "nothing"
            raise InputError(
                f"stable, candidate: no HTTP route of {self._ref()} has a destination to both {self._sides['stable']} "
                f"and {self._sides['candidate']}; its routes go to {named}: name two of these, or add a route to both"
            )
        return TrafficState(
            ref=self._ref(),
            resource_version=str(raw["metadata"].get("resourceVersion", "")),
            routes=tuple(route.as_weights() for route in routes),
            raw=raw,
            weight_fields=_WEIGHT_FIELDS,
            notices=notices(raw, self._sides["stable"], self._sides["candidate"]),
        )

    def _rules(self, host: str) -> list[dict[str, t.Any]]:
        """DestinationRules of a host; they stand beside the traffic object or beside the Service."""
        return [
            rule
            for namespace in dict.fromkeys((self.namespace, _service_of(host, self.namespace)[1]))
            for rule in self.cluster.list(destination_rule(namespace, api_version=self._api_version))
            if full_host(str((rule.get("spec") or {}).get("host", "")), namespace) == host
        ]


def hash_policy(rule: t.Mapping[str, t.Any], subset: str) -> str:
    """What a DestinationRule draws the endpoint of a subset by, in words; empty where by chance."""
    spec = rule.get("spec") or {}
    own = [entry for entry in spec.get("subsets") or [] if entry.get("name") == subset]
    for holder in (*own, spec):
        balancer = (holder.get("trafficPolicy") or {}).get("loadBalancer")
        if balancer:
            return _in_words(balancer.get("consistentHash") or {})
    return ""


def _in_words(consistent_hash: t.Mapping[str, t.Any]) -> str:
    if "httpCookie" in consistent_hash:
        return f"cookie {(consistent_hash['httpCookie'] or {}).get('name', '')}"
    if "httpHeaderName" in consistent_hash:
        return f"header {consistent_hash['httpHeaderName']}"
    if "httpQueryParameterName" in consistent_hash:
        return f"query parameter {consistent_hash['httpQueryParameterName']}"
    return "source address" if consistent_hash.get("useSourceIp") else ""


def _labels_of(side: Side, destination: Destination, rules: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, str]:
    subsets: dict[str, dict[str, str]] = {}
    for rule in rules:
        for subset in rule["spec"].get("subsets") or []:
            subsets.setdefault(subset["name"], dict(subset.get("labels") or {}))
    if destination.subset not in subsets:
        raise InputError(
            f"{side}.subset: no DestinationRule for host {destination.host} defines the subset "
            f"{destination.subset}; defined are: {', '.join(sorted(subsets)) or 'none'}; "
            "name one of these, or add it there"
        )
    return subsets[destination.subset]


def _service_of(host: str, namespace: str) -> tuple[str, str]:
    """Name and namespace of the Service that a host means."""
    name, *rest = full_host(host, namespace).split(".")
    return name, rest[0]
