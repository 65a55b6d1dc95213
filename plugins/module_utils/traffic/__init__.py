# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moving weight between stable and candidate: one way in for modules, for the watch of a stage, and for rollback."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref, autoscaler
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    GuardError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    Change,
    Plan,
    Side,
    TrafficProvider,
    TrafficState,
    check_weight,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.guard import (
    Limits,
    findings,
    way_back_findings,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.options import (
    PROVIDERS,
    TRAFFIC_ARGUMENTS,
    TRAFFIC_SPEC,
    option_problems,
    read_options,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.owners import owner_findings
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.providers import OPEN

__all__ = [
    "PROVIDERS",
    "TRAFFIC_ARGUMENTS",
    "TRAFFIC_SPEC",
    "Change",
    "Limits",
    "TrafficProvider",
    "TrafficState",
    "make_ready",
    "open_provider",
    "option_problems",
    "set_weight",
]

_ATTEMPTS = 5
_GUARDED_ATTEMPTS = 3


def open_provider(
    name: str, cluster: Cluster, options: t.Mapping[str, t.Any], fence: Fence | None = None
) -> TrafficProvider:
    """The provider ``name`` for what ``options`` (the words of ``TRAFFIC_ARGUMENTS``) name.

    With ``fence`` it moves no weight once the lock is lost. Sends nothing; call ``prepare()`` on it to read the object
    ahead of time. Raises InputError.
    """
    read = read_options({**options, "provider": name})
    provider = OPEN[name](cluster, read)
    provider.fence = fence
    return provider


def make_ready(provider: TrafficProvider) -> TrafficState:
    """The state now, vouched for by the lock, so that taking all traffic back from it costs one request.

    Raises LockError where the provider's fence shows that the lock is lost.
    """
    state = provider.prepare()
    if provider.fence:
        provider.fence.check()
    _vouch_for(provider, state)
    return state


def set_weight(provider: TrafficProvider, weight: int, *, guard: bool = True, limits: Limits | None = None) -> Change:
    """Give the candidate ``weight`` percent in every weighted route of the provider's object, and nothing else.

    With ``guard`` both sides must meet ``limits``, nobody else may hold the weight (GuardError), and nobody else may
    have moved it meanwhile (ConflictError). Taking all traffic back (weight 0) is never held back: what the guard finds
    then becomes warnings. Without ``guard`` nothing is looked at, and a provider that was prepared takes traffic
    back in one request. The state after the change is what the API stored, and it is checked. An error says what the
    weight is after it, where that could be found out.

    With a ``fence`` on the provider, a controller that lost its lock moves nothing (LockError): the lock is looked at
    between reading and writing, and the write only counts for the object as it was read, which whoever took the lock
    has touched since. Taking back from a state that was vouched for goes without a look while the lock is known to be
    held; it too counts only for that state, and once the object has changed the lock is looked at before the next try.
    """
    check_weight(weight)
    held = guard and weight > 0
    sent_before = provider.calls
    fresh = guard or provider.prepared is None
    state = provider.read() if fresh else provider.prepare()
    before, changed = state, False
    for attempt in range(_ATTEMPTS):
        plan = provider.plan(weight, state, strict=held or _fenced(provider, state, weight, attempt))
        if not plan.operations:
            if fresh:
                if held and not state.share:  # as near as it comes is nothing at all
                    _check_guard(provider, state, weight, limits or Limits())
                warnings = tuple(_unguarded_findings(provider, before, weight, limits)) if guard and changed else ()
                return Change(weight, before, state, changed, provider.calls - sent_before, warnings)
            before = state = provider.read()
            fresh = True
            continue
        if held:
            _check_guard(provider, state, weight, limits or Limits())
        _look_at_lock(provider, state, weight)
        applied = _apply(provider, plan, strict=held)
        fresh = True
        if applied is None:
            state = t.cast(TrafficState, provider.prepared)
            before = state if not changed else before
        else:
            state, changed = applied, True
            _vouch_for(provider, state)
    raise ConflictError(
        f"{state.ref}: the weight is {state.weight} and not {weight} after {_ATTEMPTS} attempts, "
        "since someone else keeps changing the object; stop the other writer",
        status=409,
        weight=state.weight,
    )


def _fenced(provider: TrafficProvider, state: TrafficState, weight: int, attempt: int) -> bool:
    """Whether a write must count only for the object as read, so that whoever has the lock next can stop it.

    Only Kubernetes objects have versions. Users are not kept on the candidate for it: the last tries to take them back
    go through whatever others write meanwhile.
    """
    if provider.fence is None or not isinstance(state.ref, Ref):
        return False
    return weight > 0 or attempt < _GUARDED_ATTEMPTS


def _look_at_lock(provider: TrafficProvider, state: TrafficState, weight: int) -> None:
    if provider.fence and weight > 0:
        provider.fence.check()
    elif provider.fence:
        # A state that was read after somebody else got the lock carries the version that they left.
        provider.fence.check_way_back(ask=state is not provider.fence.vouched)


def _vouch_for(provider: TrafficProvider, state: TrafficState) -> None:
    if provider.fence:
        provider.fence.vouched = state


def _apply(provider: TrafficProvider, plan: Plan, *, strict: bool) -> TrafficState | None:
    """The state after the plan was sent, or None if it has to be made again from the state read meanwhile."""
    try:
        return provider.apply(plan)
    except ClusterError as error:
        if error.status not in (409, 422):
            return _after_failure(provider, plan, error)
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


def _after_failure(provider: TrafficProvider, plan: Plan, error: ClusterError) -> TrafficState:
    """The state where the change was made although no good answer came; else the error, saying what the weight is."""
    try:
        now = provider.read()
    except RolloutError:
        error.message += f"; whether the weight of {plan.state.ref} was changed isn't known, so read it again"
        raise error from None
    if not provider.plan(plan.weight, now, strict=False).operations:
        return now
    error.message += f"; the weight of {now.ref} is {now.weight}"
    error.details["weight"] = now.weight
    raise error


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
    found = [*provider.obstacles(state), *findings(share, backends[receives], backends[gives], limits)]
    if not limits.takeover:
        found += owner_findings(state)
    if receives == "candidate":
        found += way_back_findings(backends, _autoscalers(provider, backends["stable"].deployments), limits)
    return found


def _autoscalers(provider: TrafficProvider, deployments: frozenset[str]) -> list[dict[str, t.Any]]:
    return provider.cluster.list(autoscaler(provider.namespace)) if deployments else []


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
