# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider ``service``: no mesh, one Service whose selector lets in one side or both.

Between 0 and 100 percent the pods of both sides share the requests evenly, so the weight is the candidate's part of
the pods: its Deployment is scaled, never that of the stable side, so that the way back is one write of the selector.
"""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock, SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    Ref,
    autoscaler,
    deployment,
    service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.compensation import put_back_on_failure
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import (
    format_labels,
    living_pods,
    selector_of,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    GuardError,
    InputError,
    NotFoundError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    SIDES,
    Backend,
    Plan,
    Side,
    Stickiness,
    TrafficState,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.service_split import (
    Pods,
    Sides,
    candidates_for,
    whole_pods_notice,
)

_WEIGHT_FIELDS = (("spec", "selector"),)
_ATTEMPTS = 5
_POLL = 0.25
_SCALE_TIMEOUT = 120.0
Operation = t.Mapping[str, t.Any]


class ServiceProvider:
    """Weight of one Service; ``options`` are checked by ``open_provider``.

    ``raw`` of its states is the Service as read, beside it ``pods`` and the candidate's ``deployment``.
    """

    def __init__(self, cluster: Cluster, options: t.Mapping[str, t.Any], clock: Clock | None = None) -> None:
        self.cluster = cluster
        self.namespace = str(options["namespace"])
        self.prepared: TrafficState | None = None
        self.fence: Fence | None = None
        self._clock = clock or SystemClock()
        self._name = str(options["name"])
        self._ref = service(self.namespace, self._name)
        self._sides = Sides.from_options(options)
        self._deployment = str(options["candidate"].get("deployment") or "")
        self._timeout = float((options.get("service") or {}).get("scale_timeout", _SCALE_TIMEOUT))
        if self._timeout <= 0:
            raise InputError(f"service.scale_timeout: must be more than 0 seconds, not {self._timeout:g}")

    @property
    def calls(self) -> int:
        return self.cluster.calls

    def read(self) -> TrafficState:
        found = self.cluster.find(self._ref)
        if found is None:
            raise NotFoundError(
                f"name: there is no Service {self._name} in namespace {self.namespace}; "
                "apply it before its weight is set",
                status=404,
            )
        selector = selector_of(found)
        scaled = self.cluster.find(self._scaled) if self._deployment else None
        self.prepared = self._state({**found, "pods": self._pods(selector), "deployment": scaled})
        return self.prepared

    def prepare(self) -> TrafficState:
        return self.prepared or self.read()

    def objects(self) -> tuple[Ref, ...]:
        return (self._ref, self._scaled) if self._deployment else (self._ref,)

    def plan(self, weight: int, state: TrafficState, *, strict: bool) -> Plan:
        selector = selector_of(state.raw)
        wanted = self._sides.selector(selector, weight)
        move: list[Operation] = []
        if selector != wanted:
            unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": state.resource_version}
            patch = [*([unchanged] if strict else []), *_selector_patch(selector, wanted)]
            move = [{"patch": patch, "selector": wanted, "before": selector}]
        if weight == 0 or not self._deployment:
            return Plan(weight, state, tuple(move))
        scale = self._scaling(weight, state)
        # Whoever receives is there before the selector opens, and gives back before the other side shrinks.
        alone = self._sides.opened_to(selector) == {"candidate"}
        return Plan(weight, state, tuple(move + scale if alone else scale + move))

    def apply(self, plan: Plan) -> TrafficState:
        raw = dict(plan.state.raw)
        begun: list[Operation] = []
        # The selector alone is one write, done or not; and what takes traffic back is never undone.
        in_parts = plan.weight > 0 and any("replicas" in operation for operation in plan.operations)
        with put_back_on_failure(lambda error: self._put_back(begun if in_parts else [], error)):
            for operation in plan.operations:
                if begun and self.fence:  # for the first one the lock was looked at by whoever sent the plan
                    self.fence.check()
                if "patch" in operation:
                    raw |= self._begin(begun, operation, self._ref, operation["patch"])
                    continue
                raw["deployment"] = self._scale(begun, operation)
                if not self.cluster.dry_run:
                    self._await(operation)
        scaled = next((operation for operation in plan.operations if "replicas" in operation), None)
        if scaled and self.cluster.dry_run:
            raw["pods"] = raw["pods"].scaled(self._deployment, scaled["replicas"])
        elif scaled:
            raw["pods"] = self._pods(selector_of(raw))
        state = self._state(raw, plan.weight)
        if not self.cluster.dry_run:
            self.prepared = state
        return state

    def backends(self) -> dict[Side, Backend]:
        common = self._sides.common(selector_of(self.prepare().raw))
        pods = self._pods(common)
        result: dict[Side, Backend] = {}
        for side in SIDES:
            scales = side == "candidate" and bool(self._deployment)
            labels = self._sides.labels[side]
            result[side] = pods.backend(side, self._name, {**common, **labels}, scales=scales)
            if common and not pods.matching[side] and living_pods(self.cluster, self.namespace, labels):
                problem = (
                    f"{side}.labels: pods with {format_labels(labels)} lie outside the Service {self._name}, which "
                    f"also asks for {format_labels(common)}; give the pods these labels too"
                )
                result[side] = Backend(result[side].name, 0, 0, problem)
        return result

    def obstacles(self, state: TrafficState) -> list[str]:
        found = []
        strangers = sorted(state.raw["pods"].ready[None])
        if strangers:
            found.append(
                f"{len(strangers)} ready pods of neither side (such as {strangers[0]}) carry "
                f"{format_labels(self._sides.common(selector_of(state.raw)))} and would get requests once the Service "
                "is open to both sides; give the Service a label that only the two sides carry"
            )
        for entry in self.cluster.list(autoscaler(self.namespace)) if self._deployment else []:
            target = (entry.get("spec") or {}).get("scaleTargetRef") or {}
            if (target.get("kind"), target.get("name")) == ("Deployment", self._deployment):
                found.append(
                    f"HorizontalPodAutoscaler {entry['metadata']['name']} sets the replicas of {self._deployment}, "
                    "which are the weight here; remove it while the release lasts"
                )
        return found

    def stickiness(self, state: TrafficState) -> Stickiness:
        spec = state.raw.get("spec") or {}
        if spec.get("sessionAffinity") != "ClientIP":
            return Stickiness(False, "the Service has no sessionAffinity, so each connection goes to any pod")
        seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds", 10800)
        return Stickiness(True, f"source address, by the Service's sessionAffinity, for {seconds} s")

    @property
    def _scaled(self) -> Ref:
        return deployment(self.namespace, self._deployment)

    def _pods(self, selector: t.Mapping[str, str]) -> Pods:
        common = self._sides.common(selector)
        if common:
            return Pods.sorted_out(living_pods(self.cluster, self.namespace, common), self._sides)
        listed = [living_pods(self.cluster, self.namespace, self._sides.labels[side]) for side in SIDES]
        return Pods.sorted_out([pod for pods in listed for pod in pods], self._sides)

    def _state(self, raw: t.Mapping[str, t.Any], asked: int | None = None) -> TrafficState:
        weights = raw["pods"].weights(self._name, self._sides.opened_to(selector_of(raw)))
        notice = whole_pods_notice(weights, asked)
        return TrafficState(
            ref=self._ref,
            resource_version=str(raw["metadata"].get("resourceVersion", "")),
            routes=(weights,),
            raw=raw,
            weight_fields=_WEIGHT_FIELDS,
            notices=(notice,) if notice else (),
        )

    def _scaling(self, weight: int, state: TrafficState) -> list[Operation]:
        """The one operation that gives the candidate its part of the pods, or none where it has that."""
        found, pods = state.raw["deployment"], t.cast(Pods, state.raw["pods"])
        if found is None:
            raise InputError(
                f"candidate.deployment: there is no Deployment {self._deployment} in namespace {self.namespace}; "
                "apply it, or leave the option out to take the pods as they are"
            )
        self._check_template(found, state)
        before, beside = int((found.get("spec") or {}).get("replicas", 1)), pods.beside(self._deployment)
        replicas = max(0, candidates_for(weight, len(pods.ready["stable"])) - beside)
        if weight == 100:
            replicas = max(replicas, before)
        ready = len(pods.ready["candidate"])
        if replicas == before and ready >= replicas + beside:
            return []
        version = found["metadata"]["resourceVersion"] if self.fence else ""
        return [{"replicas": replicas, "before": before, "expected": replicas + beside, "version": version}]

    def _check_template(self, found: t.Mapping[str, t.Any], state: TrafficState) -> None:
        carried = (found["spec"]["template"].get("metadata") or {}).get("labels") or {}
        needed = {**self._sides.common(selector_of(state.raw)), **self._sides.labels["candidate"]}
        if not needed.items() <= carried.items():
            raise InputError(
                f"candidate.deployment: the pods of {self._deployment} carry {format_labels(carried)}, but those of "
                f"the candidate behind {self._ref} need {format_labels(needed)}; name the Deployment of these pods"
            )

    def _begin(self, begun: list[Operation], operation: Operation, ref: Ref, body: t.Any) -> dict[str, t.Any]:
        """Send a patch; it counts as begun unless the API clearly refused it."""
        begun.append(operation)
        try:
            return self.cluster.patch(ref, body, kind="json")
        except ClusterError as error:
            if 400 <= error.status < 500:
                begun.pop()
            raise

    def _scale(self, begun: list[Operation], operation: Operation) -> dict[str, t.Any]:
        """The Deployment as stored, scaled; where a lock is held, only as it was when the lock was looked at.

        Its status changes its version too: where nothing else did, the lock is looked at again.
        """
        version, left = operation["version"], _ATTEMPTS
        while True:
            left -= 1
            try:
                body = _replicas_patch(operation["before"], operation["replicas"], version)
                return self._begin(begun, operation, self._scaled, body)
            except ClusterError as error:
                if error.status not in (409, 422) or self.fence is None or not left:
                    raise
                now, before = self.cluster.get(self._scaled), version
                version = now["metadata"]["resourceVersion"]
                if version == before or now["spec"].get("replicas", 1) != operation["before"]:
                    raise
                self.fence.check()

    def _await(self, operation: Operation) -> None:
        """Return once as many pods of the candidate are ready as there should be. Raises GuardError."""
        wanted, began = operation["expected"], self._clock.monotonic()
        fewer = operation["replicas"] < operation["before"]
        common = self._sides.common(selector_of(self.prepare().raw))
        while True:
            pods = self._pods(common)
            ready = len(pods.ready["candidate"])
            if ready <= wanted if fewer else ready >= wanted:
                return
            if self._clock.monotonic() - began + _POLL > self._timeout:
                raise GuardError(
                    f"candidate.deployment: {ready} of the {wanted} pods that the weight needs were ready "
                    f"{self._timeout:g} s after {self._deployment} was scaled to {operation['replicas']} "
                    f"({len(pods.matching['candidate'])} exist); look at what keeps them, or raise "
                    "service.scale_timeout",
                    ready=ready,
                    needed=wanted,
                )
            self._clock.sleep(_POLL)

    def _put_back(self, begun: t.Sequence[Operation], error: BaseException) -> None:
        """Undo in reverse order; says in the error what stands now. What a new holder of the lock did stays."""
        said = []
        for operation in reversed(begun):
            try:
                said.append(self._undo(operation))
            except RolloutError as problem:
                said.append(f"what was there could not be put back ({problem.message})")
        if isinstance(error, RolloutError) and said:
            error.message += f"; {' and '.join(said)}"

    def _now(self, ref: Ref) -> tuple[dict[str, t.Any], str]:
        """An object that is to be put back, and the version that it must still have then; what others hold stays."""
        found = self.cluster.get(ref)
        if self.fence is None:
            return found, ""
        self.fence.check()
        return found, str(found["metadata"]["resourceVersion"])

    def _undo(self, operation: Operation) -> str:
        if "patch" in operation:
            now, version = self._now(self._ref)
            if selector_of(now) == operation["selector"]:
                body = _selector_patch(operation["selector"], operation["before"], version)
                self.cluster.patch(self._ref, body, kind="json")
            return f"the selector is {format_labels(operation['before'])} again"
        now, version = self._now(self._scaled)
        if now["spec"].get("replicas", 1) == operation["replicas"] != operation["before"]:
            body = _replicas_patch(operation["replicas"], operation["before"], version)
            self.cluster.patch(self._scaled, body, kind="json")
        return f"{self._deployment} has {operation['before']} replicas as before"


def _selector_patch(
    before: t.Mapping[str, str], after: t.Mapping[str, str], version: str = ""
) -> list[dict[str, t.Any]]:
    return _replacing("/spec/selector", dict(before), dict(after), version)


def _replicas_patch(before: int, after: int, version: str) -> list[dict[str, t.Any]]:
    return _replacing("/spec/replicas", before, after, version)


def _replacing(path: str, before: t.Any, after: t.Any, version: str) -> list[dict[str, t.Any]]:
    """With ``version`` only where the object has that still."""
    unchanged = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}] if version else []
    return [*unchanged, {"op": "test", "path": path, "value": before}, {"op": "replace", "path": path, "value": after}]
