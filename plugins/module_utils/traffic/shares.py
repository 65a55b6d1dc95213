# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits whose weights are relative to their sum, as those of an HTTPRoute and of a Route are. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import RouteWeights


@dataclasses.dataclass(frozen=True)
class Split:
    """The weights of one route by place; ``stable`` and ``candidate`` are the places of the two sides.

    Further places are others', whose share of the route is never changed.
    """

    name: str
    weights: tuple[int, ...]
    stable: tuple[int, ...]
    candidate: tuple[int, ...]

    @property
    def both(self) -> int:
        return sum(self.weights[place] for place in self.stable + self.candidate)

    def as_weights(self) -> RouteWeights:
        candidate = sum(self.weights[place] for place in self.candidate)
        return RouteWeights(self.name, self.both - candidate, candidate, sum(self.weights) - self.both)


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a kind of object allows: its greatest weight, and what to do where whole weights come too far from one."""

    most: int
    way_out: str


def moved(split: Split, weight: int, scale: Scale) -> tuple[int, ...]:
    """The weights with ``weight`` percent of the two sides' part on the candidate.

    A split that has exactly this share already stays as it is written. Weight 0 works on any split; others must be
    sound, see :func:`unsound`.
    """
    now = split.as_weights()
    if split.both and 100 * now.candidate == weight * split.both:
        return split.weights
    if weight == 0 and now.others and not split.both:
        return split.weights
    # Percents where the two are alone; several backends of one side are only ever met on the way back.
    alone = not now.others and len(split.stable + split.candidate) == 2
    both = 100 if alone or not split.both else split.both
    weights = list(split.weights)
    for place in split.candidate:
        weights[place] = 0
    weights[split.candidate[0]] = _part(both, weight)
    rest = both - weights[split.candidate[0]] - sum(weights[place] for place in split.stable[1:])
    weights[split.stable[0]] = min(scale.most, rest)
    return tuple(weights)


def unsound(split: Split, weight: int, scale: Scale) -> str:
    """Why the candidate can't be given ``weight`` percent in this split; empty where it can."""
    for side, places in (("stable", split.stable), ("candidate", split.candidate)):
        if len(places) > 1:
            return f"{split.name} has {len(places)} backends of the {side} side and may have only one; make them one"
    if not split.as_weights().others:
        return ""
    listed = ", ".join(map(str, split.weights))
    if not split.both:
        return f"other backends take all requests of {split.name} (weights {listed}); give the two sides a part first"
    if split.both > scale.most:
        return (
            f"the two sides of {split.name} weigh {split.both} together (weights {listed}), and one of them may weigh "
            f"{scale.most} at most; lower all its weights in proportion"
        )
    candidate = _part(split.both, weight)
    reached = 100 * candidate / split.both
    if abs(reached - weight) > 1 or (reached in (0, 100) and reached != weight):
        return (
            f"{split.name} has further backends (weights {listed}), and the {split.both} that the two sides share "
            f"can't be split at {weight} % in whole numbers ({reached:g} % is the nearest); {scale.way_out}"
        )
    return ""


def check_sound(splits: t.Iterable[Split], weight: int, scale: Scale, where: str) -> None:
    """Raise InputError naming every split that can't give the candidate ``weight`` percent."""
    faults = [fault for split in splits if (fault := unsound(split, weight, scale))]
    if faults:
        raise InputError(f"name: {where} can't carry a weight of {weight}: {'; '.join(faults)}")


def _part(both: int, weight: int) -> int:
    return (both * weight + 50) // 100
