# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The blue/green switch: the selector of the entry Service, moved only onto ready pods and watched until it holds."""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, deployment, service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import (
    format_labels,
    matching_pods,
    ready_endpoints,
    selector_of,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    GuardError,
    InputError,
    NotFoundError,
    NotRoutedError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence

_ATTEMPTS = 5
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5


@dataclasses.dataclass(frozen=True)
class Requirement:
    """What must be ready behind the new selector before the Service is moved onto it.

    ``ratio`` is of the replicas that the Deployment ``deployment`` asks for; only its own pods count then.
    """

    min_ready: int = 1
    deployment: str = ""
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.min_ready < 0:
            raise InputError(f"min_ready: must be 0 or more, not {self.min_ready}")
        if not 0 <= self.ratio <= 1:
            raise InputError(f"min_ready_ratio: must be from 0 to 1, not {self.ratio}")


@dataclasses.dataclass(frozen=True)
class Switch:
    """What a switch found, did and cost. ``seconds`` is how long the endpoints took to follow; None if not awaited."""

    before: t.Mapping[str, str]
    after: t.Mapping[str, str]
    changed: bool
    ready: int
    resource_version: str
    endpoints: tuple[str, ...] = ()
    seconds: float | None = None
    warnings: tuple[str, ...] = ()


class EntryService:
    """One Service as the switch between the sides of a release; with a ``fence`` only while the lock is held."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, clock: Clock, fence: Fence | None = None) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._ref = service(namespace, name)
        self._clock = clock
        self._fence = fence

    def switch(
        self,
        labels: t.Mapping[str, str],
        *,
        whole: bool = False,
        requirement: Requirement | None = None,
        rollback: bool = False,
        wait_timeout: float = 60.0,
    ) -> Switch:
        """Point the Service at ``labels``, added to its selector or (``whole``) in its place.

        Raises GuardError if too little is ready there, ConflictError if someone else moved the selector meanwhile,
        NotRoutedError if the endpoints don't follow within ``wait_timeout`` seconds (0: not awaited). A ``rollback``
        isn't held back: what is wrong becomes warnings, and someone else's selector is overruled. Raises LockError
        where somebody else holds the lock.
        """
        found = self._read()
        before = selector_of(found)
        wanted = dict(labels) if whole else {**before, **labels}
        if not wanted:
            raise InputError("selector: must name at least one label, since an empty selector has no endpoints")
        warnings: tuple[str, ...] = ()
        changed = before != wanted
        if changed:
            warnings = self._check(wanted, requirement or Requirement(), rollback=rollback)
            found = self._move(found, wanted, overrule=rollback)
        endpoints: set[str] = set()
        seconds = None
        try:
            endpoints, seconds = self._await(wanted, wait_timeout)
        except ClusterError as error:
            if not rollback:
                raise
            warnings += (f"the endpoints couldn't be looked at: {error.message}",)
        return Switch(
            before=before,
            after=selector_of(found),
            changed=changed,
            ready=len(endpoints),
            resource_version=str(found["metadata"]["resourceVersion"]),
            endpoints=tuple(sorted(endpoints)),
            seconds=seconds,
            warnings=warnings,
        )

    def _read(self) -> dict[str, t.Any]:
        try:
            return self._cluster.get(self._ref)
        except NotFoundError as error:
            raise NotFoundError(
                f"name: there is no Service {self._name} in namespace {self._namespace}; apply it before the switch",
                status=error.status,
                reason=error.reason,
            ) from error

    def _check(self, wanted: t.Mapping[str, str], requirement: Requirement, *, rollback: bool) -> tuple[str, ...]:
        """Why the Service shouldn't be moved, as warnings of a rollback and as GuardError otherwise."""
        try:
            finding = self._finding(wanted, requirement)
        except RolloutError as error:
            if not rollback:
                raise
            finding = f"what stands behind the selector couldn't be looked at: {error.message}"
        if finding and not rollback:
            raise GuardError(f"selector: {self._ref} stays as it is: {finding}")
        return (finding,) if finding else ()

    def _finding(self, wanted: t.Mapping[str, str], requirement: Requirement) -> str:
        needed, counted, of_whom = requirement.min_ready, dict(wanted), ""
        if requirement.deployment:
            spec = self._deployment(requirement.deployment)
            counted.update((spec.get("selector") or {}).get("matchLabels") or {})
            if any(counted[key] != value for key, value in wanted.items()):
                return f"pods of Deployment {requirement.deployment} don't match {format_labels(wanted)}"
            needed = max(needed, math.ceil(requirement.ratio * spec.get("replicas", 1) - 1e-9))
            of_whom = f" of Deployment {requirement.deployment}"
        pods = matching_pods(self._cluster, self._namespace, counted)
        ready = sum(pods.values())
        if ready >= needed:
            return ""
        return f"{ready} of {len(pods)} pods{of_whom} matching {format_labels(wanted)} are ready, and {needed} must be"

    def _deployment(self, name: str) -> dict[str, t.Any]:
        found = self._cluster.find(deployment(self._namespace, name))
        if found is None:
            raise InputError(f"deployment: there is no Deployment {name} in namespace {self._namespace}")
        return dict(found["spec"])

    def _move(self, found: dict[str, t.Any], wanted: t.Mapping[str, str], *, overrule: bool) -> dict[str, t.Any]:
        """The Service as stored with the selector ``wanted``."""
        before = selector_of(found)
        for attempt in range(_ATTEMPTS):
            self._look_at_lock(overrule=overrule)
            strict = not overrule or (self._fence is not None and attempt < _ATTEMPTS - 1)
            try:
                return self._cluster.patch(self._ref, _operations(found, wanted, strict=strict), kind="json")
            except ClusterError as error:
                if error.status not in (409, 422):
                    raise
                now = self._read()
                if now["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]:
                    raise  # nobody changed the object: the API refuses what was sent
                if selector_of(now) == wanted:
                    return now
                if selector_of(now) != before and not overrule:
                    raise ConflictError(
                        f"{self._ref}: someone else set the selector to {format_labels(selector_of(now))} "
                        f"while it was to become {format_labels(wanted)}; find out who releases beside you",
                        status=409,
                    ) from error
                found = now
        raise ConflictError(
            f"{self._ref}: someone else keeps changing the object; {_ATTEMPTS} attempts failed", status=409
        )

    def _look_at_lock(self, *, overrule: bool) -> None:
        """After the Service was read: whoever has the lock since has touched it, so what is sent then is refused."""
        if self._fence and overrule:
            self._fence.check_way_back(ask=True)
        elif self._fence:
            self._fence.check()

    def _await(self, wanted: t.Mapping[str, str], timeout: float) -> tuple[set[str], float | None]:
        """The Service's endpoints once they are exactly the ready pods that match, and the seconds until then."""
        if self._cluster.dry_run or timeout <= 0:
            pods = matching_pods(self._cluster, self._namespace, wanted)
            return {name for name, ready in pods.items() if ready}, None
        started = self._clock.monotonic()
        pause = _FIRST_PAUSE
        while True:
            endpoints = ready_endpoints(self._cluster, self._namespace, self._name)
            pods = matching_pods(self._cluster, self._namespace, wanted)
            ready = {name for name, is_ready in pods.items() if is_ready}
            seconds = self._clock.monotonic() - started
            if endpoints == ready and ready:
                return endpoints, round(seconds, 3)
            if seconds + pause > timeout:
                raise NotRoutedError(
                    f"wait_timeout: after {timeout:g} s the endpoints of {self._ref} aren't the ready pods "
                    f"matching {format_labels(wanted)}: {_difference(endpoints, ready)}",
                    endpoints=sorted(endpoints),
                    ready_pods=sorted(ready),
                    seconds=round(seconds, 3),
                )
            self._clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)


def _operations(found: t.Mapping[str, t.Any], wanted: t.Mapping[str, str], *, strict: bool) -> list[dict[str, t.Any]]:
    write = {"op": "add", "path": "/spec/selector", "value": dict(wanted)}
    version = found["metadata"]["resourceVersion"]
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, write] if strict else [write]


def _difference(endpoints: set[str], ready: set[str]) -> str:
    if not ready:
        return "no pod is ready"
    parts = [
        f"{label} {', '.join(sorted(names)[:5])}{' and others' if len(names) > 5 else ''}"
        for label, names in (("still there:", endpoints - ready), ("missing:", ready - endpoints))
        if names
    ]
    return "; ".join(parts)


def as_labels(selector: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The option ``selector`` as labels. Raises InputError for values that YAML read as something else than text."""
    for key, value in selector.items():
        if not isinstance(value, str):
            raise InputError(
                f"selector: the value of {key} must be text in quotes, not the {type(value).__name__} {value}"
            )
    return dict(selector)


def as_result(switch: Switch) -> dict[str, t.Any]:
    """Arguments for ``exit_json``."""
    result = {
        "changed": switch.changed,
        "before": dict(switch.before),
        "after": dict(switch.after),
        "ready": switch.ready,
        "endpoints": list(switch.endpoints),
        "resource_version": switch.resource_version,
        "diff": {"before": {"selector": dict(switch.before)}, "after": {"selector": dict(switch.after)}},
    }
    if switch.seconds is not None:
        result["seconds"] = switch.seconds
    if switch.warnings:
        result["warnings"] = list(switch.warnings)
    return result
