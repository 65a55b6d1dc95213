# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider ``openshift_route``: weight of a Route's backends, by the dynamic client. A side is a Service."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref, openshift_route
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.dynamic import DynamicClient
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.backends import service_backends
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    SIDES,
    Backend,
    Plan,
    Side,
    Stickiness,
    TrafficState,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.route_split import (
    MOST_ALTERNATES,
    SCALE,
    RouteSplit,
    notices,
    operations,
    read_split,
    services,
    status_findings,
    stickiness,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.served import read_newest
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.shares import check_sound

_WEIGHT_FIELDS = (("spec", "to", "weight"), ("spec", "alternateBackends"))


class OpenshiftRouteProvider:
    """Weight of one Route; ``options`` are checked by ``open_provider``."""

    def __init__(self, cluster: Cluster, options: t.Mapping[str, t.Any]) -> None:
        self.cluster = cluster
        self.prepared: TrafficState | None = None
        self.fence: Fence | None = None
        self.namespace = str(options["namespace"])
        ref = openshift_route(self.namespace, str(options["name"]))
        self._ref = dataclasses.replace(ref, api_version=str(options.get("api_version") or ref.api_version))
        self._services: dict[Side, str] = {side: str(options[side]["host"]) for side in SIDES}
        if self._services["stable"] == self._services["candidate"]:
            raise InputError(f"candidate: is the same Service as stable ({self._services['stable']}); they must differ")
        resources = DynamicClient(cluster, [self._ref]).resources
        self._routes = resources.get(api_version=self._ref.api_version, kind=self._ref.kind)

    @property
    def calls(self) -> int:
        return self.cluster.calls

    def read(self) -> TrafficState:
        question = "is this OpenShift, and is api_version right?"
        _ref, raw = read_newest(self._get, [self._ref], self.cluster.server, question)
        self.prepared = self._state(raw)
        return self.prepared

    def prepare(self) -> TrafficState:
        return self.prepared or self.read()

    def objects(self) -> tuple[Ref, ...]:
        return (self._ref,)

    def plan(self, weight: int, state: TrafficState, *, strict: bool) -> Plan:
        found = self._split(state.raw)
        if weight > 0:
            self._check_sound(found, weight, state)
        steps = operations(found, self._services["candidate"], weight, state.resource_version, strict=strict)
        return Plan(weight, state, steps)

    def apply(self, plan: Plan) -> TrafficState:
        stored = self._routes.patch(
            name=self._ref.name,
            namespace=self.namespace,
            body=list(plan.operations),
            content_type="application/json-patch+json",
        )
        state = self._state(stored.to_dict())
        if not self.cluster.dry_run:
            self.prepared = state
        return state

    def backends(self) -> dict[Side, Backend]:
        return service_backends(self.cluster, self.namespace, self._services)

    def obstacles(self, state: TrafficState) -> list[str]:
        return status_findings(state.raw)

    def stickiness(self, state: TrafficState) -> Stickiness:
        return stickiness(state.raw)

    def _get(self, ref: Ref) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self._routes.get(name=ref.name, namespace=ref.namespace).to_dict())

    def _check_sound(self, found: RouteSplit, weight: int, state: TrafficState) -> None:
        check_sound([found.split], weight, SCALE, str(state.ref))
        if found.absent and len(found.backends) > MOST_ALTERNATES:
            raise InputError(
                f"candidate.host: {state.ref} has {MOST_ALTERNATES} alternateBackends already, which is the most, and "
                f"Service {self._services['candidate']} isn't one of them; take one out"
            )

    def _split(self, raw: t.Mapping[str, t.Any]) -> RouteSplit:
        found = read_split(raw, self._services["stable"], self._services["candidate"])
        if found is None:
            raise InputError(
                f"stable.host: {self._ref} has no backend {self._services['stable']}; its backends are "
                f"{', '.join(services(raw)) or 'none'}: name one of these, or make it spec.to"
            )
        return found

    def _state(self, raw: t.Mapping[str, t.Any]) -> TrafficState:
        found = self._split(raw)
        return TrafficState(
            ref=self._ref,
            resource_version=str(raw["metadata"].get("resourceVersion", "")),
            routes=(found.split.as_weights(),),
            raw=raw,
            weight_fields=_WEIGHT_FIELDS,
            notices=notices(found),
        )
