# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which objects a release touches, and which of their fields it changes, by what the inventory says of it. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    autoscaler,
    config_map,
    deployment,
    destination_rule,
    http_route,
    ingress,
    openshift_route,
    secret,
    service,
    virtual_service,
)

Facts = t.Mapping[str, t.Any]
NOTHING: tuple[str, ...] = ()
_REPLICAS = ("spec.replicas",)
_SELECTOR = ("spec.selector",)
# What moves when each provider moves a weight.
_WEIGHTS = {
    "gateway_api": ("spec.rules[*].backendRefs[*].weight",),
    "istio": ("spec.http[*].route[*].weight",),
    "openshift_route": ("spec.to.weight", "spec.alternateBackends"),
    "service": _SELECTOR,
}
_TRAFFIC: t.Mapping[str, t.Callable[[str, str], Ref]] = {
    "gateway_api": http_route,
    "istio": virtual_service,
    "nginx_ingress": ingress,
    "openshift_route": openshift_route,
    "service": service,
}
_KNOWN = (
    autoscaler, config_map, deployment, destination_rule, http_route, ingress, openshift_route, secret, service,
    virtual_service,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Wanted:
    """An object to keep; ``changes`` as in ``Entry``."""

    ref: Ref
    changes: tuple[str, ...] | None = None


def touched(facts: Facts) -> list[Wanted]:
    """The objects that the release's variables name, but for those that only the cluster can tell."""
    namespace = str(facts["release_namespace"])
    return together([*_traffic(facts), *_sides(facts, namespace), *_entry(facts, namespace), *_own(facts, namespace)])


def _traffic(facts: Facts) -> t.Iterator[Wanted]:
    traffic = facts.get("release_traffic") or {}
    provider = str(traffic.get("provider") or "istio")
    if provider not in _TRAFFIC:
        return  # its weight lies in no object
    namespace, name = str(traffic["namespace"]), str(traffic["name"])
    ref = _TRAFFIC[provider](namespace, name)
    if traffic.get("api_version"):
        ref = dataclasses.replace(ref, api_version=str(traffic["api_version"]))
    yield Wanted(ref, _WEIGHTS.get(provider, NOTHING))
    if provider == "nginx_ingress":
        own = traffic.get("nginx_ingress") or {}
        yield Wanted(ingress(namespace, str(own.get("canary_name") or f"{name}-canary")))
    if provider == "service":
        scaled = [(traffic.get(side) or {}).get("deployment") for side in ("stable", "candidate")]
        yield from (Wanted(deployment(namespace, str(one)), _REPLICAS) for one in scaled if one)


def _sides(facts: Facts, namespace: str) -> t.Iterator[Wanted]:
    stable = (facts.get("release_stable") or {}).get("deployment")
    if stable:
        yield Wanted(deployment(namespace, str(stable)), _REPLICAS)
    for key in ("canary_deployment", "green_deployment"):
        name = (facts.get("release_candidate") or {}).get(key)
        if name:
            yield Wanted(deployment(namespace, str(name)))


def _entry(facts: Facts, namespace: str) -> t.Iterator[Wanted]:
    name = (facts.get("release_entry_service") or {}).get("name")
    if name:
        yield Wanted(service(namespace, str(name)), _SELECTOR)


def _own(facts: Facts, namespace: str) -> t.Iterator[Wanted]:
    """What the release publishes, and what the clean-up of the canary patches."""
    for variable in ("release_agents", "release_workflows"):
        name = (facts.get(variable) or {}).get("config_map")
        if name:
            yield Wanted(config_map(namespace, str(name)))
    yield from touched_by_drain(facts)


def touched_by_drain(facts: Facts) -> t.Iterator[Wanted]:
    """The objects of ``release_canary_drain``; one of a kind that only the cluster knows has no ``plural``."""
    for entry in facts.get("release_canary_drain") or []:
        ref = known(entry["api_version"], entry["kind"], str(facts["release_namespace"]), entry["name"])
        yield Wanted(ref, patched_fields(entry.get("patch") or []))


def patched_fields(patch: t.Iterable[t.Mapping[str, t.Any]]) -> tuple[str, ...]:
    """The fields that a JSON patch changes: ``/spec/subsets/1/labels/x`` is ``spec.subsets[*].labels.x``."""
    paths = [
        str(step[key])
        for step in patch if step.get("op") != "test"
        for key in ("path", "from") if key == "path" or step.get("op") == "move"
    ]  # fmt: skip
    return tuple(dict.fromkeys(_pattern(path) for path in paths))


def _pattern(pointer: str) -> str:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    return ".".join(steps[:1]) + "".join("[*]" if re.fullmatch(r"\d+|-", step) else f".{step}" for step in steps[1:])


def used_by(found: t.Mapping[str, t.Any], namespace: str) -> list[Wanted]:
    """The ConfigMaps and Secrets that the pods of a workload read; a release leaves them as they are."""
    spec = ((found.get("spec") or {}).get("template") or {}).get("spec") or {}
    refs = [*_of_volumes(spec.get("volumes") or [], namespace)]
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        refs += _of_container(container, namespace)
    return [Wanted(ref, NOTHING) for ref in refs if ref.name]


def _of_volumes(volumes: t.Iterable[t.Mapping[str, t.Any]], namespace: str) -> t.Iterator[Ref]:
    for volume in volumes:
        for source in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            named = source.get("secret") or {}
            yield config_map(namespace, str((source.get("configMap") or {}).get("name") or ""))
            yield secret(namespace, str(named.get("secretName") or named.get("name") or ""))


def _of_container(container: t.Mapping[str, t.Any], namespace: str) -> t.Iterator[Ref]:
    for source in container.get("envFrom") or []:
        yield config_map(namespace, str((source.get("configMapRef") or {}).get("name") or ""))
        yield secret(namespace, str((source.get("secretRef") or {}).get("name") or ""))
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or {}
        yield config_map(namespace, str((source.get("configMapKeyRef") or {}).get("name") or ""))
        yield secret(namespace, str((source.get("secretKeyRef") or {}).get("name") or ""))


def known(api_version: str, kind: str, namespace: str, name: str) -> Ref:
    """The object's place where the kind is one of the usual ones; without ``plural`` the cluster has to be asked."""
    for make in _KNOWN:
        ref = make(namespace, name)
        if (ref.api_version, ref.kind) == (api_version, kind):
            return ref
    return Ref(api_version, kind, "", namespace, name)


def together(wanted: t.Iterable[Wanted]) -> list[Wanted]:
    """Each object once, with the changes of all that name it."""
    found: dict[Ref, Wanted] = {}
    for one in wanted:
        before = found.get(one.ref, Wanted(one.ref, NOTHING))
        either = before.changes is None or one.changes is None
        changes = None if either else tuple(dict.fromkeys([*(before.changes or ()), *(one.changes or ())]))
        found[one.ref] = Wanted(one.ref, changes)
    return list(found.values())
