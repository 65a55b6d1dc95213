# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a weight may move: the side that receives more must be able to carry it. Pure."""

from __future__ import annotations

import dataclasses
import math

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import Backend


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the receiving side must have.

    ``min_ready``: ready endpoints at least. ``min_ready_ratio``: ready endpoints for its share of requests, as a
    part of what the other side has for all of them. With 10 on the other side and a share of 20 %, a ratio of 1
    asks for 2 and a ratio of 0.5 for 1.
    """

    min_ready: int = 1
    min_ready_ratio: float = 0.5

    def __post_init__(self) -> None:
        if self.min_ready < 0:
            raise InputError(f"min_ready: must be 0 or more, not {self.min_ready}")
        if not 0 <= self.min_ready_ratio <= 10:
            raise InputError(f"min_ready_ratio: must be from 0 to 10, not {self.min_ready_ratio}")

    def needed(self, share: int, giving_ready: int) -> int:
        """Ready endpoints needed for ``share`` percent of the requests."""
        exact = self.min_ready_ratio * share / 100 * giving_ready
        return max(self.min_ready, math.ceil(exact - 1e-9))


def findings(share: int, receiving: Backend, giving: Backend, limits: Limits) -> list[str]:
    """Why ``receiving`` can't take ``share`` percent of the requests; empty where it can."""
    if receiving.problem:
        return [receiving.problem]
    needed = limits.needed(share, giving.ready)
    if receiving.ready >= needed:
        return []
    return [
        f"{receiving.destination} has {receiving.ready} ready endpoints of {receiving.matching} pods, "
        f"but needs {needed} for {share} % of the requests ({giving.destination} has {giving.ready})"
    ]
