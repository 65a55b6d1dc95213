# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moving weight between stable and candidate: one way in for modules, for the watch of a stage, and for rollback."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    GuardError,
    InputError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    TRAFFIC_ARGUMENTS,
    TRAFFIC_SPEC,
    Change,
    Plan,
    Side,
    TrafficProvider,
    TrafficState,
    check_weight,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.guard import Limits, findings
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.istio import IstioProvider

__all__ = [
    "PROVIDERS",
    "TRAFFIC_ARGUMENTS",
    "TRAFFIC_SPEC",
    "Change",
    "Limits",
    "TrafficProvider",
    "TrafficState",
    "open_provider",
    "set_weight",
]

_PROVIDERS: dict[str, t.Callable[[Cluster, t.Mapping[str, t.Any]], TrafficProvider]] = {"istio": IstioProvider}
PROVIDERS = tuple(sorted(_PROVIDERS))
_ATTEMPTS = 5


def open_provider(name: str, cluster: Cluster, options: t.Mapping[str, t.Any]) -> TrafficProvider:
    """The provider ``name`` for the object that ``options`` (the words of ``TRAFFIC_ARGUMENTS``) name.

    Sends nothing; call ``prepare()`` on it to read the object ahead of time. Raises InputError.
    """
    if name not in _PROVIDERS:
        raise InputError(f"provider: {name!r} isn't known; choose one of: {', '.join(PROVIDERS)}")
    given = {key: value for key, value in options.items() if value is not None}
    return _PROVIDERS[name](cluster, TRAFFIC_SPEC.validate({**given, "provider": name}))


def set_weight(provider: TrafficProvider, weight: int, *, guard: bool = True, limits: Limits | None = None) -> Change:
    """Give the candidate ``weight`` percent in every weighted route of the provider's object, and nothing else.

    With ``guard`` the side that receives more must meet ``limits`` (GuardError), and nobody else may have moved the
    weight meanwhile (ConflictError). Taking all traffic back (weight 0) is never held back: what the guard finds
    then becomes warnings. Without ``guard`` nothing is looked at, and a provider that was prepared takes traffic
    back in one request. The state after the change is what the API stored, and it is checked.
    """
    check_weight(weight)
    held = guard and weight > 0
    sent_before = provider.cluster.calls
    fresh = guard or provider.prepared is None
    state = provider.read() if fresh else provider.prepare()
    before, changed = state, False
    for _attempt in range(_ATTEMPTS):
        plan = provider.plan(weight, state, strict=held)
        if not plan.operations:
            if fresh:
                warnings = tuple(_unguarded_findings(provider, before, weight, limits)) if guard and changed else ()
                calls = provider.cluster.calls - sent_before
                return Change(weight, before, state, changed, calls, warnings)
            before = state = provider.read()
            fresh = True
            continue
        if held:
            _check_guard(provider, state, weight, limits or Limits())
        applied = _apply(provider, plan, strict=held)
        fresh = True
        if applied is None:
            state = t.cast(TrafficState, provider.prepared)
            before = state if not changed else before
        else:
            state, changed = applied, True
    raise ConflictError(
        f"{state.ref}: the weight is {state.weight} and not {weight} after {_ATTEMPTS} attempts, "
        "since someone else keeps changing the object; stop the other writer",
        status=409,
        weight=state.weight,
    )


def _apply(provider: TrafficProvider, plan: Plan, *, strict: bool) -> TrafficState | None:
    """The state after the plan was sent, or None if it has to be made again from the state read meanwhile."""
    try:
        return provider.apply(plan)
    except ClusterError as error:
        if error.status not in (409, 422):
            raise
        now = provider.read()
        if now.resource_version == plan.state.resource_version:
            raise  # nobody changed the object: the API refuses what was sent
        if strict and now.routes != plan.state.routes and provider.plan(plan.weight, now, strict=True).operations:
            raise ConflictError(
                f"{now.ref}: someone else moved the weight from {plan.state.weight} to {now.weight} "
                f"while it was to become {plan.weight}; find out who releases beside you",
                status=409,
                weight=now.weight,
            ) from error
        return None


def _check_guard(provider: TrafficProvider, state: TrafficState, weight: int, limits: Limits) -> None:
    found = _findings(provider, state, weight, limits)
    if found:
        raise GuardError(
            f"weight: {weight} is refused for {state.ref}: {'; '.join(found)}", weight=state.weight, findings=found
        )


def _findings(provider: TrafficProvider, state: TrafficState, weight: int, limits: Limits) -> list[str]:
    lowest = min((route.weight for route in state.routes), default=0)
    receives: Side = "candidate" if weight > lowest else "stable"
    gives: Side = "stable" if receives == "candidate" else "candidate"
    share = weight if receives == "candidate" else 100 - weight
    backends = provider.backends()
    return findings(share, backends[receives], backends[gives], limits)


def _unguarded_findings(
    provider: TrafficProvider, before: TrafficState, weight: int, limits: Limits | None
) -> list[str]:
    """For traffic that was taken back: what the guard would have said, or why it couldn't look."""
    if weight > 0:
        return []
    try:
        return _findings(provider, before, weight, limits or Limits())
    except RolloutError as error:
        return [f"what stands behind the stable side couldn't be looked at: {error.message}"]
