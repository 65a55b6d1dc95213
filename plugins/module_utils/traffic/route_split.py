# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The split of an OpenShift Route: finding it, the smallest patch that moves it, what its status says. Pure.

The router keeps a user on the server that their cookie names even at weight 0. So the candidate stands in
``alternateBackends`` only while it has a weight.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import Stickiness
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.shares import Scale, Split, moved

SCALE = Scale(most=256, way_out="raise all weights in proportion (256 is the most), or take the further backends out")
MOST_ALTERNATES = 3
_DEFAULT_WEIGHT = 100
_PREFIX = "haproxy.router.openshift.io/"
_COOKIE_NAME = "router.openshift.io/cookie_name"


@dataclasses.dataclass(frozen=True)
class RouteSplit:
    """The backends of a Route in order, ``spec.to`` first.

    Where ``absent``, the last place is the candidate's, which the object doesn't name yet.
    """

    backends: tuple[t.Mapping[str, t.Any], ...]
    split: Split
    absent: bool


def read_split(route: t.Mapping[str, t.Any], stable: str, candidate: str) -> RouteSplit | None:
    """How the Route splits; None where ``stable`` is no backend of it."""
    found = backends(route)
    stables, candidates = (
        tuple(place for place, entry in enumerate(found) if _service(entry) == name) for name in (stable, candidate)
    )
    if not stables:
        return None
    weights = tuple(_weight(entry) for entry in found)
    absent = not candidates
    if absent:
        weights, candidates = (*weights, 0), (len(found),)
    name = str((route.get("spec") or {}).get("host") or route["metadata"]["name"])
    return RouteSplit(tuple(found), Split(name, weights, stables, candidates), absent)


def backends(route: t.Mapping[str, t.Any]) -> list[t.Mapping[str, t.Any]]:
    spec = route.get("spec") or {}
    return [spec.get("to") or {}, *(spec.get("alternateBackends") or [])]


def services(route: t.Mapping[str, t.Any]) -> list[str]:
    """Every Service that the Route names, for a message that says what there is instead."""
    return sorted({_service(entry) for entry in backends(route)} - {""})


def operations(
    found: RouteSplit, candidate: str, weight: int, resource_version: str, *, strict: bool
) -> tuple[dict[str, t.Any], ...]:
    """JSON patch to ``weight``, touching only weights that differ and the candidate's entry; empty where none does.

    It tests that each backend is still where it was. With ``strict``, and wherever an entry is added, it tests that the
    object is unchanged since ``resource_version``.
    """
    patch: list[dict[str, t.Any]] = []
    leaving: list[dict[str, t.Any]] = []
    split = found.split
    adds = False
    for place, wanted in enumerate(moved(split, weight, SCALE)):
        if wanted == split.weights[place]:
            continue
        if found.absent and place == len(found.backends):
            adds = True
            patch.append(_adding({"kind": "Service", "name": candidate, "weight": wanted}, place))
            continue
        entry = _path(place)
        patch.append({"op": "test", "path": f"{entry}/name", "value": found.backends[place]["name"]})
        if wanted == 0 and place in split.candidate and place > 0:
            leaving.insert(0, {"op": "remove", "path": entry})  # from the end, so that the others keep their places
        else:
            patch.append({"op": "add", "path": f"{entry}/weight", "value": wanted})
    patch += leaving
    if patch and (strict or adds):
        patch.insert(0, {"op": "test", "path": "/metadata/resourceVersion", "value": resource_version})
    return tuple(patch)


def status_findings(route: t.Mapping[str, t.Any]) -> list[str]:
    """Why the routers don't serve the Route; empty where each that speaks of it does."""
    found, admitted = [], False
    for entry in (route.get("status") or {}).get("ingress") or []:
        for condition in entry.get("conditions") or []:
            if condition.get("type") != "Admitted":
                continue
            if condition.get("status") == "True":
                admitted = True
            else:
                found.append(
                    f"router {entry.get('routerName') or '?'} doesn't admit this Route for {entry.get('host') or '?'}: "
                    f"{condition.get('reason') or 'Admitted'}: {condition.get('message') or 'no message'}"
                )
    if not found and not admitted:
        found.append("no router has admitted this Route; does a router select its namespace and labels?")
    return found


def stickiness(route: t.Mapping[str, t.Any]) -> Stickiness:
    """By the cookie that the router gives, except where it can't or mustn't."""
    annotations = route["metadata"].get("annotations") or {}
    if ((route.get("spec") or {}).get("tls") or {}).get("termination") == "passthrough":
        return Stickiness(
            False,
            "TLS passes through, so the router gives no cookie; it balances by source address, and some addresses "
            "change sides whenever the weight does",
        )
    if str(annotations.get(f"{_PREFIX}disable_cookies", "")).lower() == "true":
        return Stickiness(False, f"{_PREFIX}disable_cookies is true, so each request is drawn anew")
    name = annotations.get(_COOKIE_NAME)
    return Stickiness(
        True,
        f"the router's cookie{f' {name}' if name else ''}; the weight deals out users who come without it, and with "
        "100 users who hold the cookie of stable stay there until it ends",
    )


def notices(found: RouteSplit) -> tuple[str, ...]:
    if 0 in found.split.candidate:
        return (
            "the candidate is spec.to, which can't be taken out: with weight 0 users who hold its cookie stay there; "
            "put the stable side into spec.to",
        )
    return ()


def _adding(entry: dict[str, t.Any], place: int) -> dict[str, t.Any]:
    """The step that adds a first or a further alternate, which will be at ``place``."""
    if place == 1:
        return {"op": "add", "path": "/spec/alternateBackends", "value": [entry]}
    return {"op": "add", "path": "/spec/alternateBackends/-", "value": entry}


def _path(place: int) -> str:
    return "/spec/to" if place == 0 else f"/spec/alternateBackends/{place - 1}"


def _service(entry: t.Mapping[str, t.Any]) -> str:
    return str(entry.get("name") or "") if (entry.get("kind") or "Service") == "Service" else ""


def _weight(entry: t.Mapping[str, t.Any]) -> int:
    weight = entry.get("weight")
    return _DEFAULT_WEIGHT if weight is None else int(weight)
