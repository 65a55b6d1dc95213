# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a weight may move: the side that receives more must be able to carry it. Pure."""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import Backend, Side

_DEFAULT_MIN_REPLICAS = 1


@dataclasses.dataclass(frozen=True)
class Limits:
    """What must stand behind the two sides.

    ``min_ready``: ready endpoints of the receiving side at least. ``min_ready_ratio``: its ready endpoints for its
    share of requests, as a part of what the other side has for all of them. With 10 on the other side and a share of
    20 %, a ratio of 1 asks for 2 and a ratio of 0.5 for 1. ``replica_capacity`` and ``request_rate``: requests per
    second that one replica can serve, and that come in all. ``stable_replicas``: what the stable side had before the
    release. ``takeover``: go on although someone else holds the weight.
    """

    min_ready: int = 1
    min_ready_ratio: float = 0.5
    replica_capacity: float | None = None
    request_rate: float | None = None
    stable_replicas: int | None = None
    takeover: bool = False

    def __post_init__(self) -> None:
        if self.min_ready < 0:
            raise InputError(f"min_ready: must be 0 or more, not {self.min_ready}")
        if not 0 <= self.min_ready_ratio <= 10:
            raise InputError(f"min_ready_ratio: must be from 0 to 10, not {self.min_ready_ratio}")
        for option, value in (("replica_capacity", self.replica_capacity), ("request_rate", self.request_rate)):
            if value is not None and value <= 0:
                raise InputError(f"{option}: must be more than 0 requests per second, not {value}")
        if (self.replica_capacity is None) != (self.request_rate is None):
            raise InputError("replica_capacity, request_rate: only both together say how many replicas are needed")
        if self.stable_replicas is not None and self.stable_replicas < 0:
            raise InputError(f"stable_replicas: must be 0 or more, not {self.stable_replicas}")

    def needed(self, share: float, whole: int) -> int:
        """Ready endpoints needed for ``share`` percent of the requests, of which ``whole`` endpoints serve all."""
        exact = self.min_ready_ratio * share / 100 * whole
        return max(self.min_ready, math.ceil(exact - 1e-9), self._for_capacity(share))

    def _for_capacity(self, share: float) -> int:
        if self.replica_capacity is None or self.request_rate is None:
            return 0
        return math.ceil(share / 100 * self.request_rate / self.replica_capacity - 1e-9)

    def to_take_back(self, stable_now: int) -> int:
        """Ready endpoints that the stable side needs to take all requests back."""
        return self.needed(100, self.stable_replicas if self.stable_replicas is not None else stable_now)


def findings(share: int, receiving: Backend, giving: Backend, limits: Limits) -> list[str]:
    """Why ``receiving`` can't take ``share`` percent of the requests; empty where it can."""
    if receiving.problem:
        return [receiving.problem]
    both = sorted(receiving.endpoints & giving.endpoints)
    if both:
        return [
            f"{receiving.name} and {giving.name} both stand on {len(both)} of the same endpoints (such as {both[0]}), "
            "so the weight says nothing about which version answers; select each side's pods by their version"
        ]
    needed = limits.needed(share, giving.ready)
    if receiving.ready >= needed or receiving.scales:
        return []
    return [
        f"{receiving.name} has {receiving.ready} ready endpoints of {receiving.matching}, "
        f"but needs {needed} for {share} % of the requests ({giving.name} has {giving.ready})"
    ]


def way_back_findings(
    backends: t.Mapping[Side, Backend], autoscalers: t.Iterable[t.Mapping[str, t.Any]], limits: Limits
) -> list[str]:
    """Why the stable side couldn't take all requests back once it has given some away; empty where it could."""
    stable = backends["stable"]
    if stable.problem:
        return [stable.problem]
    needed = limits.to_take_back(stable.ready)
    found = []
    if stable.ready < needed:
        had = f" of the {limits.stable_replicas} it had" if limits.stable_replicas is not None else ""
        found.append(
            f"{stable.name} has {stable.ready} ready endpoints{had} and could not take the traffic back, which needs "
            f"{needed}; scale the stable side up first"
        )
    for autoscaler in autoscalers:
        spec = autoscaler.get("spec") or {}
        target = spec.get("scaleTargetRef") or {}
        lowest = spec.get("minReplicas", _DEFAULT_MIN_REPLICAS)
        if target.get("kind") == "Deployment" and target.get("name") in stable.deployments and lowest < needed:
            found.append(
                f"HorizontalPodAutoscaler {autoscaler['metadata']['name']} may scale the stable Deployment "
                f"{target['name']} down to {lowest} once it has less traffic, and taking it back needs {needed}; set "
                f"its minReplicas to {needed} while the release lasts"
            )
    return found
