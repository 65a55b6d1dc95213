# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The world of a release as it is now, asked of the cluster: the traffic object, the entry Service, Deployments."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    autoscaler,
    deployment,
    service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import selector_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ForbiddenError,
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.expected_world import (
    Expected,
    Seen,
    SeenDeployment,
    SeenService,
    SeenWeight,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    TrafficProvider,
    TrafficState,
    open_provider,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.owners import last_writer

_UNAUTHORIZED = 401
_SELECTOR = (("spec", "selector"),)
_HUNDRED = 100
Facts = t.Mapping[str, t.Any]
T = t.TypeVar("T")


def look(cluster: Cluster, namespace: str, facts: Facts, must: Expected) -> Seen:
    """Everything that ``facts`` (``release_traffic``, …) names, as it is now.

    What can't be read says so in its ``problem``. Raises UnreachableError, and ForbiddenError for unknown credentials:
    these make every other question pointless.
    """
    entry = str((facts.get("release_entry_service") or {}).get("name") or "")
    weights = must.weights if must.weights is not None else frozenset()
    return Seen(
        weight=_weight(cluster, namespace, facts, weights),
        entry=_entry(cluster, namespace, entry) if entry else None,
        deployments=_deployments(cluster, namespace, named_deployments(facts)),
    )


def named_deployments(facts: Facts) -> dict[str, str]:
    """Deployment → what it is on its side (``stable``, ``canary``, ``green``), as far as ``facts`` name them."""
    stable, candidate = facts.get("release_stable") or {}, facts.get("release_candidate") or {}
    named = {
        "stable": stable.get("deployment"),
        "canary": candidate.get("canary_deployment"),
        "green": candidate.get("green_deployment"),
    }
    return {str(name): what for what, name in named.items() if name}


def _weight(cluster: Cluster, namespace: str, facts: Facts, wanted: t.Iterable[int]) -> SeenWeight | None:
    traffic = {"namespace": namespace, **(facts.get("release_traffic") or {})}
    if "name" not in traffic:
        return None

    closed = set(wanted) == {0}  # a stage that is to give weight may find the way open

    def ask() -> SeenWeight:
        provider = open_provider(str(traffic.get("provider") or "istio"), cluster, traffic)
        state = provider.read()
        return SeenWeight(
            ref=str(state.ref),
            weight=state.weight,
            routes=tuple(route.weight for route in state.routes),
            fits=frozenset(weight for weight in wanted if carries(provider, state, weight, closed=closed)),
            writer=last_writer(state.raw, state.weight_fields),
        )

    return _asked(ask, lambda problem: SeenWeight(problem=problem))


def carries(provider: TrafficProvider, state: TrafficState, weight: int, *, closed: bool = False) -> bool:
    """Whether every route of ``state`` gives the candidate ``weight`` percent, or what is as near as it can come.

    A split by pods that is open to a candidate without any has weight 0; with ``closed`` that is not enough for 0.
    """
    weights = {route.weight for route in state.routes}
    if weights == {weight} and not (closed and weight == 0):
        return True
    if weights != {weight} and weight in (0, _HUNDRED):
        return False
    try:
        return not provider.plan(weight, state, strict=False).operations
    except RolloutError:
        return False  # its routes aren't what they were when this weight was set


def _entry(cluster: Cluster, namespace: str, name: str) -> SeenService:
    def ask() -> SeenService:
        found = cluster.find(service(namespace, name))
        if found is None:
            return SeenService(
                name, problem=f"name: there is no Service {name} in namespace {namespace}; apply it first"
            )
        return SeenService(name, selector_of(found), last_writer(found, _SELECTOR))

    return _asked(ask, lambda problem: SeenService(name, problem=problem))


def _deployments(cluster: Cluster, namespace: str, names: t.Iterable[str]) -> dict[str, SeenDeployment]:
    scaled = _asked(lambda: _autoscaled(cluster, namespace), lambda _problem: frozenset())

    def ask(name: str) -> SeenDeployment:
        found = cluster.find(deployment(namespace, name))
        if found is None:
            return SeenDeployment()
        ready = int((found.get("status") or {}).get("readyReplicas") or 0)
        return SeenDeployment(int(found["spec"].get("replicas", 1)), ready, name in scaled)

    return {
        name: _asked(functools.partial(ask, name), lambda problem: SeenDeployment(problem=problem)) for name in names
    }


def _autoscaled(cluster: Cluster, namespace: str) -> frozenset[str]:
    """Deployments whose number of pods an autoscaler sets."""
    targets = [(entry.get("spec") or {}).get("scaleTargetRef") or {} for entry in cluster.list(autoscaler(namespace))]
    return frozenset(str(target.get("name")) for target in targets if target.get("kind") == "Deployment")


def _asked(question: t.Callable[[], T], unanswered: t.Callable[[str], T]) -> T:
    try:
        return question()
    except RolloutError as error:
        unknown = isinstance(error, ForbiddenError) and error.status == _UNAUTHORIZED
        if unknown or isinstance(error, UnreachableError):
            raise
        return unanswered(error.message)
