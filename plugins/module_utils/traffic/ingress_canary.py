# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The canary Ingress beside a main one: what it must hold, what it gives the candidate, who made it. Pure."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import RouteWeights, Stickiness
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.owners import OURS

Ingress = t.Mapping[str, t.Any]

PREFIX = "nginx.ingress.kubernetes.io/"
WEIGHT = f"{PREFIX}canary-weight"
MANAGED_BY = "app.kubernetes.io/managed-by"
_CANARY = f"{PREFIX}canary"
_TOTAL = f"{PREFIX}canary-weight-total"
_DEFAULT_TOTAL = 100
_BY_OPTION = {
    "header": f"{PREFIX}canary-by-header",
    "header_value": f"{PREFIX}canary-by-header-value",
    "header_pattern": f"{PREFIX}canary-by-header-pattern",
    "cookie": f"{PREFIX}canary-by-cookie",
}
_BEHAVIOR = f"{PREFIX}affinity-canary-behavior"
_CLASS = "kubernetes.io/ingress.class"
# What ingress-nginx reads off the canary and doesn't take from the main Ingress.
_TAKEN_OVER = (_BEHAVIOR, _CLASS)


def is_canary(ingress: Ingress) -> bool:
    return marks(ingress).get(_CANARY) == "true"


def is_ours(ingress: Ingress) -> bool:
    return (ingress["metadata"].get("labels") or {}).get(MANAGED_BY) == OURS


def marks(ingress: Ingress) -> t.Mapping[str, str]:
    return (ingress.get("metadata") or {}).get("annotations") or {}


def class_of(ingress: Ingress) -> str:
    return str((ingress.get("spec") or {}).get("ingressClassName") or marks(ingress).get(_CLASS) or "")


def total_of(canary: Ingress) -> int:
    """What ``canary-weight`` is relative to."""
    return _number(marks(canary).get(_TOTAL)) or _DEFAULT_TOTAL


def weight_of(canary: Ingress) -> int:
    """``canary-weight`` as ingress-nginx takes it: nothing where it isn't a canary or no number."""
    return min(total_of(canary), _number(marks(canary).get(WEIGHT))) if canary and is_canary(canary) else 0


def routes(main: Ingress, canary: Ingress, stable: str, candidate: str) -> tuple[RouteWeights, ...]:
    """What each host and path to the Service ``stable`` gives the candidate through the canary.

    Where no path of the main Ingress goes there any more, the canary's own count.
    """
    total, weight = total_of(canary), weight_of(canary)
    taken = {(host, path["path"]): _service(path) for host, path in paths(canary)}
    spots = [(host, path["path"]) for host, path in paths(main) if _service(path) == stable] or list(taken)
    result = []
    for host, path in dict.fromkeys(spots):
        part = weight if (host, path) in taken else 0
        name = f"{host or '*'}{path}"
        if taken.get((host, path)) == candidate:
            result.append(RouteWeights(name, total - part, part))
        else:
            result.append(RouteWeights(name, total - part, 0, part))
    return tuple(result)


def paths(ingress: Ingress) -> t.Iterator[tuple[str, t.Mapping[str, t.Any]]]:
    """Each path with its host; no host is every host."""
    for rule in (ingress.get("spec") or {}).get("rules") or []:
        for path in (rule.get("http") or {}).get("paths") or []:
            yield str(rule.get("host") or ""), {"path": "/", **path}


def services(ingress: Ingress) -> list[str]:
    """Every Service that a path names, for a message that says what there is instead."""
    return sorted({_service(path) for _host, path in paths(ingress)} - {""})


def ports(main: Ingress, stable: str) -> list[t.Mapping[str, t.Any]]:
    """The ports of the Service ``stable`` that paths of the main Ingress name, each once."""
    found: list[t.Mapping[str, t.Any]] = []
    for _host, path in paths(main):
        port = path["backend"]["service"].get("port") or {} if _service(path) == stable else None
        if port and port not in found:
            found.append(port)
    return found


def body(
    main: Ingress, name: str, stable: str, candidate: str, asked: t.Mapping[str, str], weight: int
) -> dict[str, t.Any]:
    """The canary Ingress to be made. It goes when the main one does."""
    metadata = main["metadata"]
    spec: dict[str, t.Any] = {"rules": _rules(main, stable, candidate)}
    if "ingressClassName" in main["spec"]:
        spec = {"ingressClassName": main["spec"]["ingressClassName"], **spec}
    made: dict[str, t.Any] = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {MANAGED_BY: OURS},
            "annotations": {_CANARY: "true", **_wanted(main, asked), WEIGHT: str(weight)},
        },
        "spec": spec,
    }
    if metadata.get("uid"):
        owner = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": metadata["name"]}
        made["metadata"]["ownerReferences"] = [{**owner, "uid": metadata["uid"]}]
    return made


def steps(
    main: Ingress, canary: Ingress, stable: str, candidate: str, asked: t.Mapping[str, str], weight: int
) -> list[dict[str, t.Any]]:
    """JSON patch that gives our canary ``weight`` and brings it in line with the main Ingress and the options."""
    patch: list[dict[str, t.Any]] = []
    wanted = {_CANARY: "true", **_wanted(main, asked), WEIGHT: str(weight)}
    now = marks(canary)
    for key in (_CANARY, *_BY_OPTION.values(), *_TAKEN_OVER, WEIGHT):
        path = f"/metadata/annotations/{_escaped(key)}"
        if key in wanted and now.get(key) != wanted[key]:
            patch.append({"op": "add", "path": path, "value": wanted[key]})
        elif key in now and key not in wanted:
            patch.append({"op": "remove", "path": path})
    if patch and not now:
        patch.insert(0, {"op": "add", "path": "/metadata/annotations", "value": {}})
    spec = {"ingressClassName": main["spec"].get("ingressClassName"), "rules": _rules(main, stable, candidate)}
    for key, value in spec.items():
        if value is not None and canary["spec"].get(key) != value:
            patch.append({"op": "add", "path": f"/spec/{key}", "value": value})
    return [*_guarding(canary), *patch] if patch else []


def none_step(canary: Ingress) -> list[dict[str, t.Any]]:
    """JSON patch that takes the weight from a canary that isn't ours to remove."""
    return [{"op": "add", "path": f"/metadata/annotations/{_escaped(WEIGHT)}", "value": "0"}]


def maker(ingress: Ingress) -> str:
    """Who made an Ingress, as far as it says."""
    metadata = ingress["metadata"]
    owners = [f"{owner.get('kind')} {owner.get('name')}" for owner in metadata.get("ownerReferences") or []]
    label = (metadata.get("labels") or {}).get(MANAGED_BY)
    managers = [str(entry["manager"]) for entry in metadata.get("managedFields") or [] if entry.get("manager")]
    return ", ".join(dict.fromkeys([*owners, *([label] if label else []), *managers])) or "someone unnamed"


def clashes(main: Ingress, stable: str, own_name: str, others: t.Iterable[Ingress]) -> list[str]:
    """Canaries of others on the same host and path: ingress-nginx takes only one for each."""
    ours = {(host, path["path"]) for host, path in paths(main) if _service(path) == stable}
    found = []
    for other in others:
        name = other["metadata"]["name"]
        both = sorted(ours & {(host, path["path"]) for host, path in paths(other)})
        if name != own_name and is_canary(other) and both:
            host, path = both[0]
            found.append(
                f"Ingress {name} (by {maker(other)}) is a canary for {host or '*'}{path} already, and ingress-nginx "
                "takes only one; remove it first"
            )
    return found


def stickiness(main: Ingress) -> Stickiness:
    """By the session cookie that the main Ingress asks for, which its canary takes over."""
    asked = marks(main)
    if asked.get(f"{PREFIX}affinity") != "cookie":
        return Stickiness(False, "the main Ingress asks for no affinity, so each request is drawn anew")
    if asked.get(_BEHAVIOR) == "legacy":
        return Stickiness(False, f"{_BEHAVIOR} is legacy: the cookie doesn't count for a canary's requests")
    cookie = asked.get(f"{PREFIX}session-cookie-name", "INGRESSCOOKIE")
    return Stickiness(
        True,
        f"cookie {cookie}, by affinity of the main Ingress; the weight deals out users who come without it, and with "
        "100 users who hold the cookie of stable stay there until it ends",
    )


def _wanted(main: Ingress, asked: t.Mapping[str, str]) -> dict[str, str]:
    taken = {key: marks(main)[key] for key in _TAKEN_OVER if key in marks(main)}
    return {**{_BY_OPTION[option]: value for option, value in asked.items()}, **taken}


def _rules(main: Ingress, stable: str, candidate: str) -> list[dict[str, t.Any]]:
    """The rules of the main Ingress with those paths only that go to the stable Service, going to the candidate's."""
    found = []
    for rule in main["spec"].get("rules") or []:
        kept = [copy.deepcopy(path) for path in (rule.get("http") or {}).get("paths") or [] if _service(path) == stable]
        for path in kept:
            path["backend"]["service"]["name"] = candidate
        if kept:
            found.append({**rule, "http": {**rule["http"], "paths": kept}})
    return found


def _guarding(canary: Ingress) -> list[dict[str, t.Any]]:
    """Tests that the canary is still the one that was read, and ours."""
    tests = [{"op": "test", "path": f"/metadata/labels/{_escaped(MANAGED_BY)}", "value": OURS}]
    if canary["metadata"].get("uid"):
        tests.append({"op": "test", "path": "/metadata/uid", "value": canary["metadata"]["uid"]})
    return tests


def _service(path: t.Mapping[str, t.Any]) -> str:
    return str(((path.get("backend") or {}).get("service") or {}).get("name") or "")


def _number(value: t.Any) -> int:
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        return 0


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
