# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider ``nginx_ingress``: weight of a canary Ingress that stands beside the main one above 0, and only then.

A side is a Service. The main Ingress is never written.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref, ingress, service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import ingress_canary
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.backends import service_backends
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    SIDES,
    Backend,
    Plan,
    Side,
    Stickiness,
    TrafficState,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.owners import OURS
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.served import read_newest

_WEIGHT_FIELDS = (("metadata", "annotations", ingress_canary.WEIGHT),)
_API_VERSION = "networking.k8s.io/v1"
_CONTROLLER = "ingress-nginx"


@dataclasses.dataclass(frozen=True)
class CanaryState(TrafficState):
    """``raw`` is the canary Ingress, empty where there is none; ``main`` the one it stands beside."""

    main: t.Mapping[str, t.Any] = dataclasses.field(repr=False, compare=False, default_factory=dict)


class NginxIngressProvider:
    """Weight beside one main Ingress; ``options`` are checked by ``open_provider``."""

    def __init__(self, cluster: Cluster, options: t.Mapping[str, t.Any]) -> None:
        self.cluster = cluster
        self.prepared: TrafficState | None = None
        self.fence: Fence | None = None
        self.namespace = str(options["namespace"])
        own = options.get("nginx_ingress") or {}
        name = str(options["name"])
        self._main = ingress(self.namespace, name)
        self._canary = ingress(self.namespace, str(own.get("canary_name") or f"{name}-canary"))
        self._asked = {key: str(value) for key, value in own.items() if key != "canary_name" and value}
        self._services: dict[Side, str] = {side: str(options[side]["host"]) for side in SIDES}
        self._check_options(options)

    @property
    def calls(self) -> int:
        return self.cluster.calls

    def read(self) -> TrafficState:
        question = "is this a Kubernetes API of 1.19 or newer?"
        _ref, main = read_newest(self.cluster.get, [self._main], self.cluster.server, question)
        canary = self.cluster.find(self._canary) or {}
        if not canary and self._services["stable"] not in ingress_canary.services(main):
            raise InputError(self._no_rule(main))
        self.prepared = self._state(main, canary)
        return self.prepared

    def prepare(self) -> TrafficState:
        return self.prepared or self.read()

    def objects(self) -> tuple[Ref, ...]:
        return (self._canary,)

    def plan(self, weight: int, state: TrafficState, *, strict: bool) -> Plan:
        if weight == 0:
            return Plan(weight, state, self._taking_back(state, strict=strict))
        main, canary = t.cast(CanaryState, state).main, state.raw
        self._check_sound(main, canary)
        names, part = (self._services["stable"], self._services["candidate"]), self._part(weight, canary)
        if not canary:
            # What isn't there has no version that would stop a controller which lost its lock: it is made without
            # weight, and gets that by a second write.
            part = 0 if self.fence and strict and not self.cluster.dry_run else part
            body = ingress_canary.body(main, self._canary.name, *names, self._asked, part)
            return Plan(weight, state, ({"method": "create", "body": body},))
        patch = ingress_canary.steps(main, canary, *names, self._asked, part)
        if patch and strict:
            patch.insert(0, {"op": "test", "path": "/metadata/resourceVersion", "value": state.resource_version})
        return Plan(weight, state, ({"method": "patch", "body": patch},) if patch else ())

    def apply(self, plan: Plan) -> TrafficState:
        (step,) = plan.operations
        state = self._state(t.cast(CanaryState, plan.state).main, self._send(step))
        if not self.cluster.dry_run:
            self.prepared = state
        return state

    def backends(self) -> dict[Side, Backend]:
        return service_backends(self.cluster, self.namespace, self._services)

    def obstacles(self, state: TrafficState) -> list[str]:
        main, canary = t.cast(CanaryState, state).main, state.raw
        others = self.cluster.list(self._main.collection)
        found = ingress_canary.clashes(main, self._services["stable"], self._canary.name, others)
        found += self._class_findings(main) + self._port_findings(main)
        return [self._foreign(canary), *found] if canary and not ingress_canary.is_ours(canary) else found

    def stickiness(self, state: TrafficState) -> Stickiness:
        return ingress_canary.stickiness(t.cast(CanaryState, state).main)

    def _check_options(self, options: t.Mapping[str, t.Any]) -> None:
        if options.get("api_version") not in (None, "", _API_VERSION):
            raise InputError(f"api_version: {options['api_version']!r} isn't {_API_VERSION}; leave it out")
        if self._services["stable"] == self._services["candidate"]:
            raise InputError(f"candidate: is the same Service as stable ({self._services['stable']}); they must differ")
        if self._canary.name == self._main.name:
            raise InputError(f"nginx_ingress.canary_name: is the main Ingress {self._main.name}; choose another name")
        for key in ("header_value", "header_pattern"):
            if key in self._asked and "header" not in self._asked:
                raise InputError(f"nginx_ingress.{key}: means nothing without nginx_ingress.header; give that too")
        if "header_value" in self._asked and "header_pattern" in self._asked:
            raise InputError(
                "nginx_ingress.header_pattern: can't be given with nginx_ingress.header_value; leave out one"
            )

    def _taking_back(self, state: TrafficState, *, strict: bool) -> tuple[t.Mapping[str, t.Any], ...]:
        if not state.raw:
            return ()
        version = state.resource_version if strict else ""
        if ingress_canary.is_ours(state.raw):
            return ({"method": "delete", "version": version},)
        if ingress_canary.weight_of(state.raw) == 0:
            return ()
        test = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}] if strict else []
        return ({"method": "patch", "body": [*test, *ingress_canary.none_step(state.raw)]},)

    def _send(self, step: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """The canary as stored, empty where it was removed."""
        if step["method"] == "create":
            return self.cluster.create(self._canary, step["body"])
        try:
            if step["method"] == "patch":
                return self.cluster.patch(self._canary, step["body"], kind="json")
            self.cluster.delete(self._canary, resource_version=step["version"])
        except NotFoundError as error:
            if step["method"] == "patch":  # removed meanwhile, so the plan has to be made anew
                raise ConflictError(error.message, status=409, reason="Gone") from error
        return {}

    def _check_sound(self, main: t.Mapping[str, t.Any], canary: t.Mapping[str, t.Any]) -> None:
        if canary and not ingress_canary.is_ours(canary):
            raise InputError(f"nginx_ingress.canary_name: {self._foreign(canary)}")
        if self._services["stable"] not in ingress_canary.services(main):
            raise InputError(self._no_rule(main))

    def _part(self, weight: int, canary: t.Mapping[str, t.Any]) -> int:
        """``weight`` percent of the canary's total. Raises InputError where whole numbers come too far from it."""
        total = ingress_canary.total_of(canary)
        part = (total * weight + 50) // 100
        reached = 100 * part / total
        if abs(reached - weight) > 1 or (reached in (0, 100) and reached != weight):
            raise InputError(
                f"weight: {weight} % of the canary-weight-total {total} of {self._canary} is no whole number; "
                "set canary-weight-total to 100, or remove it"
            )
        return part

    def _foreign(self, canary: t.Mapping[str, t.Any]) -> str:
        return (
            f"{self._canary} wasn't made by a release but by {ingress_canary.maker(canary)}, and is left alone; choose "
            f"another nginx_ingress.canary_name, remove it, or label it {ingress_canary.MANAGED_BY}={OURS} so that a "
            "release may change and remove it"
        )

    def _no_rule(self, main: t.Mapping[str, t.Any]) -> str:
        return (
            f"stable.host: no path of {self._main} goes to Service {self._services['stable']}; its paths go to "
            f"{', '.join(ingress_canary.services(main)) or 'nothing'}: name one of these, or add a path"
        )

    def _class_findings(self, main: t.Mapping[str, t.Any]) -> list[str]:
        name = ingress_canary.class_of(main)
        if not name:
            return []
        try:
            found = self.cluster.find(Ref(_API_VERSION, "IngressClass", "ingressclasses", "", name))
        except ForbiddenError:  # a right that a release needs for nothing else
            return []
        if found is None:
            by_annotation = not main["spec"].get("ingressClassName")
            return [] if by_annotation else [f"{self._main} is of IngressClass {name}, which doesn't exist; correct it"]
        controller = str((found.get("spec") or {}).get("controller", ""))
        if controller.endswith(_CONTROLLER):
            return []
        return [
            f"{self._main} is of IngressClass {name}, whose controller is {controller} and not {_CONTROLLER}, so a "
            "canary Ingress means nothing to it; choose another provider"
        ]

    def _port_findings(self, main: t.Mapping[str, t.Any]) -> list[str]:
        """Ports that the canary takes over from the main Ingress and that the candidate's Service lacks."""
        name = self._services["candidate"]
        found = self.cluster.find(service(self.namespace, name))
        if found is None:
            return []  # what stands behind the sides is told apart from this
        ports = (found.get("spec") or {}).get("ports") or []
        had = {entry[key] for entry in ports for key in ("name", "port") if key in entry}
        return [
            f"candidate.host: Service {name} has no port {wanted.get('name') or wanted.get('number')}, which "
            f"{self._main} names for {self._services['stable']}; add it there"
            for wanted in ingress_canary.ports(main, self._services["stable"])
            if (wanted.get("name") or wanted.get("number")) not in had
        ]

    def _state(self, main: t.Mapping[str, t.Any], canary: t.Mapping[str, t.Any]) -> CanaryState:
        if ingress_canary.is_canary(main):
            raise InputError(
                f"name: {self._main} is a canary Ingress itself; name the main Ingress that it stands beside"
            )
        return CanaryState(
            ref=self._canary,
            resource_version=str((canary.get("metadata") or {}).get("resourceVersion", "")),
            routes=ingress_canary.routes(main, canary, self._services["stable"], self._services["candidate"]),
            raw=canary,
            weight_fields=_WEIGHT_FIELDS,
            main=main,
        )
