# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider ``gateway_api``: weight in the rules of an HTTPRoute. A side is a Service."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref, http_route
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.backends import service_backend
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    Backend,
    Plan,
    Side,
    Stickiness,
    TrafficState,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.http_route_rules import (
    GROUP,
    SCALE,
    ServiceName,
    WeightedRule,
    lags_behind,
    operations,
    services,
    status_findings,
    stickiness,
    weighted_rules,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.served import read_newest
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.shares import check_sound

# Seconds between looks at a status that still speaks of the generation before.
_HEAR_OUT = (0.05, 0.1, 0.2, 0.4)
_WEIGHT_FIELDS = (("spec", "rules"),)
_API_VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")


class GatewayApiProvider:
    """Weight of one HTTPRoute; ``options`` are checked by ``open_provider``."""

    def __init__(self, cluster: Cluster, options: t.Mapping[str, t.Any]) -> None:
        self.cluster = cluster
        self.prepared: TrafficState | None = None
        self.fence: Fence | None = None
        self.namespace = str(options["namespace"])
        self._ref = http_route(self.namespace, str(options["name"]))
        self._api_versions = [str(options["api_version"])] if options.get("api_version") else list(_API_VERSIONS)
        self._sides: dict[Side, ServiceName] = {}
        for side in t.get_args(Side):
            self._sides[side] = ServiceName.from_host(str(options[side]["host"]), self.namespace, f"{side}.host")
        if self._sides["stable"] == self._sides["candidate"]:
            raise InputError(
                f"candidate: is the same Service as stable ({self._sides['stable']}); the two sides need one each"
            )

    @property
    def calls(self) -> int:
        return self.cluster.calls

    def read(self) -> TrafficState:
        refs = [dataclasses.replace(self._ref, api_version=version) for version in self._api_versions]
        question = "is the Gateway API installed there, and is api_version right?"
        self._ref, raw = read_newest(self.cluster.get, refs, self.cluster.server, question)
        self._api_versions = [self._ref.api_version]
        self.prepared = self._state(raw)
        return self.prepared

    def prepare(self) -> TrafficState:
        return self.prepared or self.read()

    def objects(self) -> tuple[Ref, ...]:
        return (self._ref,)

    def plan(self, weight: int, state: TrafficState, *, strict: bool) -> Plan:
        rules = self._weighted(state.raw)
        if weight > 0:
            check_sound((rule.split for rule in rules), weight, SCALE, str(state.ref))
        return Plan(weight, state, operations(rules, weight, state.resource_version if strict else ""))

    def apply(self, plan: Plan) -> TrafficState:
        state = self._state(self.cluster.patch(self._ref, list(plan.operations), kind="json"))
        if not self.cluster.dry_run:
            self.prepared = state
        return state

    def backends(self) -> dict[Side, Backend]:
        return {
            side: service_backend(self.cluster, service.namespace, service.name, f"{side}.host")
            for side, service in self._sides.items()
        }

    def obstacles(self, state: TrafficState) -> list[str]:
        """What the status says against it; a controller about to speak of the newest generation is heard out."""
        for pause in _HEAR_OUT:
            if not lags_behind(state.raw):
                break
            self.cluster.pause(pause)
            state = self.read()
        return status_findings(state.raw)

    def stickiness(self, state: TrafficState) -> Stickiness:
        return stickiness(self._weighted(state.raw), state.raw)

    def _weighted(self, raw: t.Mapping[str, t.Any]) -> list[WeightedRule]:
        return weighted_rules(raw, self._sides["stable"], self._sides["candidate"])

    def _state(self, raw: t.Mapping[str, t.Any]) -> TrafficState:
        rules = self._weighted(raw)
        if not rules:
            raise InputError(
                f"stable, candidate: no rule of {self._ref} has backendRefs to both Services {self._sides['stable']} "
                f"and {self._sides['candidate']}; its rules go to {', '.join(services(raw)) or 'nothing'}: name two of "
                "these, or add a rule with both"
            )
        return TrafficState(
            ref=self._ref,
            resource_version=str(raw["metadata"].get("resourceVersion", "")),
            routes=tuple(rule.split.as_weights() for rule in rules),
            raw=raw,
            weight_fields=_WEIGHT_FIELDS,
        )
