# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The weighted rules of an HTTPRoute: finding them, the smallest patch that moves them, what its status says. Pure.

A rule is *weighted* when its ``backendRefs`` name the Services of both sides.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import Stickiness
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.shares import Scale, Split, moved

GROUP = "gateway.networking.k8s.io"
SCALE = Scale(
    most=1_000_000,
    way_out="multiply all weights of this rule by 100, which changes no share, and any percent can be set",
)
_DEFAULT_WEIGHT = 1


@dataclasses.dataclass(frozen=True)
class ServiceName:
    """A Service of a namespace."""

    name: str
    namespace: str

    @classmethod
    def from_host(cls, host: str, namespace: str, option: str) -> ServiceName:
        """``host`` is ``name``, in ``namespace``, or ``name.namespace``. Raises InputError."""
        name, _dot, other = host.partition(".")
        if not name or "." in other or host.endswith("."):
            raise InputError(f"{option}: {host!r} isn't the name of a Service; give name, or name.namespace")
        return cls(name, other or namespace)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclasses.dataclass(frozen=True)
class WeightedRule:
    """A weighted rule by its place in the object."""

    index: int
    refs: tuple[t.Mapping[str, t.Any], ...]
    split: Split


def weighted_rules(
    http_route: t.Mapping[str, t.Any], stable: ServiceName, candidate: ServiceName
) -> list[WeightedRule]:
    """The weighted rules in the object's order; empty where there is none."""
    namespace = _namespace(http_route)
    found = []
    for index, rule in enumerate(_rules(http_route)):
        refs = tuple(rule.get("backendRefs") or [])
        services = [service_of(ref, namespace) for ref in refs]
        stables, candidates = (
            tuple(place for place, service in enumerate(services) if service == side) for side in (stable, candidate)
        )
        if stables and candidates:
            name = str(rule.get("name") or f"rules[{index}]")
            weights = tuple(_weight(ref) for ref in refs)
            found.append(WeightedRule(index, refs, Split(name, weights, stables, candidates)))
    return found


def service_of(ref: t.Mapping[str, t.Any], namespace: str) -> ServiceName | None:
    """The Service that a backendRef of an object in ``namespace`` names; None where it names something else."""
    if ref.get("group") or (ref.get("kind") or "Service") != "Service":
        return None
    return ServiceName(str(ref.get("name", "")), str(ref.get("namespace") or namespace))


def services(http_route: t.Mapping[str, t.Any]) -> list[str]:
    """Every Service that a rule names, for a message that says what there is instead."""
    namespace = _namespace(http_route)
    named = {service_of(ref, namespace) for rule in _rules(http_route) for ref in rule.get("backendRefs") or []}
    return sorted(str(service) for service in named if service)


def operations(
    rules: t.Iterable[WeightedRule], weight: int, resource_version: str = ""
) -> tuple[dict[str, t.Any], ...]:
    """JSON patch to ``weight``, touching only weights that differ; empty where none does.

    It tests that each backend is still where it was and, given ``resource_version``, that the object is unchanged.
    """
    patch: list[dict[str, t.Any]] = []
    for rule in rules:
        for place, wanted in enumerate(moved(rule.split, weight, SCALE)):
            if wanted != rule.split.weights[place]:
                entry = f"/spec/rules/{rule.index}/backendRefs/{place}"
                for key in ("name", "namespace"):
                    if key in rule.refs[place]:
                        patch.append({"op": "test", "path": f"{entry}/{key}", "value": rule.refs[place][key]})
                patch.append({"op": "add", "path": f"{entry}/weight", "value": wanted})
    if patch and resource_version:
        patch.insert(0, {"op": "test", "path": "/metadata/resourceVersion", "value": resource_version})
    return tuple(patch)


def status_findings(http_route: t.Mapping[str, t.Any]) -> list[str]:
    """For each parent of the route, why its gateway doesn't do what the object says; empty where each does."""
    namespace = _namespace(http_route)
    generation = int(http_route["metadata"].get("generation") or 0)
    told = (http_route.get("status") or {}).get("parents") or []
    parents = (http_route.get("spec") or {}).get("parentRefs") or []
    if not parents:
        return ["the route names no parentRefs, so no gateway serves it; name its Gateway there"]
    found = []
    for parent in parents:
        key, name = _parent_key(parent, namespace), _parent_name(parent, namespace)
        about = [entry for entry in told if _parent_key(entry.get("parentRef") or {}, namespace) == key]
        if not about:
            found.append(
                f"{name} tells no status of this route, so no controller has taken it; is there such a parent, and "
                "does its controller run?"
            )
        for entry in about:
            found += _entry_findings(entry, name, generation)
    return found


def lags_behind(http_route: t.Mapping[str, t.Any]) -> bool:
    """Whether a gateway's status speaks of an older generation of the route, as it does just after a change."""
    generation = int(http_route["metadata"].get("generation") or 0)
    seen = [
        condition.get("observedGeneration")
        for entry in (http_route.get("status") or {}).get("parents") or []
        for condition in entry.get("conditions") or []
        if condition.get("type") == "Accepted"
    ]
    return any(number is not None and int(number) < generation for number in seen)


def _entry_findings(entry: t.Mapping[str, t.Any], parent: str, generation: int) -> t.Iterator[str]:
    by = f"{parent} ({entry.get('controllerName') or 'unnamed controller'})"
    conditions = {condition.get("type"): condition for condition in entry.get("conditions") or []}
    if "Accepted" not in conditions:
        yield f"{by} doesn't say whether it accepts this route; wait for its controller"
    for kind, said in (("Accepted", "doesn't accept this route"), ("ResolvedRefs", "can't reach all its backends")):
        condition = conditions.get(kind) or {"status": "True"}
        if condition.get("status") != "True":
            yield f"{by} {said}: {condition.get('reason') or kind}: {condition.get('message') or 'no message'}"
        seen = condition.get("observedGeneration")
        if kind == "Accepted" and seen is not None and int(seen) < generation:
            yield (
                f"{by} speaks of generation {seen} of this route and not of {generation}, so it doesn't do yet what "
                "the object says; wait for its controller"
            )


def stickiness(rules: t.Sequence[WeightedRule], http_route: t.Mapping[str, t.Any]) -> Stickiness:
    """By the session that each weighted rule asks its gateway to keep."""
    asked = [_rules(http_route)[rule.index].get("sessionPersistence") for rule in rules]
    without = [rule.split.name for rule, session in zip(rules, asked, strict=True) if not session]
    if not any(asked):
        return Stickiness(False, "no weighted rule asks for sessionPersistence, so each request is drawn anew")
    if without:
        return Stickiness(False, f"rules {', '.join(without)} ask for no sessionPersistence, other weighted rules do")
    words = {
        f"{session.get('type') or 'Cookie'} {session.get('sessionName') or 'of a name the gateway chooses'}"
        for session in asked
        if session
    }
    return Stickiness(True, f"{' and '.join(sorted(words))}, by sessionPersistence of the weighted rules")


def _parent_key(parent: t.Mapping[str, t.Any], namespace: str) -> tuple[t.Any, ...]:
    return (
        parent.get("group", GROUP),
        parent.get("kind") or "Gateway",
        parent.get("namespace") or namespace,
        parent.get("name"),
        parent.get("sectionName") or "",
        parent.get("port") or 0,
    )


def _parent_name(parent: t.Mapping[str, t.Any], namespace: str) -> str:
    _group, kind, parent_namespace, name, section, port = _parent_key(parent, namespace)
    part = "".join(f" {word} {value}" for word, value in (("section", section), ("port", port)) if value)
    return f"{kind} {parent_namespace}/{name}{part}"


def _weight(ref: t.Mapping[str, t.Any]) -> int:
    weight = ref.get("weight")
    return _DEFAULT_WEIGHT if weight is None else int(weight)


def _rules(http_route: t.Mapping[str, t.Any]) -> list[t.Mapping[str, t.Any]]:
    return list((http_route.get("spec") or {}).get("rules") or [])


def _namespace(http_route: t.Mapping[str, t.Any]) -> str:
    return str(http_route["metadata"].get("namespace", ""))
