# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Weights as a module returns them: what was changed, and what is."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    SIDES,
    Backend,
    Change,
    RouteWeights,
    TrafficProvider,
    TrafficState,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.owners import owner_findings


def as_result(change: Change) -> dict[str, t.Any]:
    """Arguments for ``exit_json``; ``diff`` shows the weights of each route and nothing that didn't move."""
    before = {route.route: route for route in change.before.routes}
    result = {
        "changed": change.changed,
        "before": change.before.weight,
        "after": change.after.weight,
        "share": change.after.share,
        "routes": [
            {"route": now.route, "before": _weights(before.get(now.route)), "after": _weights(now)}
            for now in change.after.routes
        ],
        "resource_version": change.after.resource_version,
        "calls": change.calls,
        "diff": {
            "before_header": str(change.before.ref),
            "after_header": str(change.after.ref),
            "before": _lines(change.before),
            "after": _lines(change.after),
        },
    }
    if change.after.notices:
        result["notices"] = list(change.after.notices)
    if change.warnings:
        result["warnings"] = list(change.warnings)
    return result


def as_info(provider: TrafficProvider) -> dict[str, t.Any]:
    """What there is to know of a provider's object; asks the cluster. Raises as the provider does."""
    state = provider.read()
    backends = provider.backends()
    stickiness = provider.stickiness(state)
    return {
        "changed": False,
        "weight": state.weight,
        "share": state.share,
        "routes": [{"route": route.route, **t.cast("dict[str, int]", _weights(route))} for route in state.routes],
        "backends": {side: _standing(backends[side]) for side in SIDES},
        "stickiness": {"kept": stickiness.kept, "how": stickiness.how},
        "holders": owner_findings(state),
        "obstacles": provider.obstacles(state),
        "notices": list(state.notices),
        "resource_version": state.resource_version,
    }


def _standing(backend: Backend) -> dict[str, t.Any]:
    return {
        "name": backend.name,
        "ready": backend.ready,
        "matching": backend.matching,
        "problem": backend.problem,
    }


def _weights(route: RouteWeights | None) -> dict[str, int] | None:
    if route is None:
        return None  # the route came while the weight moved
    return {"stable": route.stable, "candidate": route.candidate, "others": route.others}


def _lines(state: TrafficState) -> str:
    return "".join(
        f"{route.route}: stable {route.stable}, candidate {route.candidate}"
        + (f", others {route.others}\n" if route.others else "\n")
        for route in state.routes
    )
