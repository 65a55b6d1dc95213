# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Service as a split: what its selector opens to, and how many pods of the candidate make a share. Pure."""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import (
    deployment_of,
    format_labels,
    is_ready,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    SIDES,
    Backend,
    RouteWeights,
    Side,
)

Labels = t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Sides:
    """The labels that tell the pods of the two sides apart."""

    labels: t.Mapping[Side, Labels]

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> Sides:
        """Raises InputError where pods could belong to both sides."""
        labels: dict[Side, Labels] = {side: dict(options[side]["labels"]) for side in SIDES}
        for side in SIDES:
            for key, value in labels[side].items():
                if not isinstance(value, str):
                    raise InputError(f"{side}.labels: the value of {key} must be text, not {value!r}; put it in quotes")
        if labels["stable"].items() <= labels["candidate"].items():
            raise InputError(_not_apart("candidate", "stable", labels))
        if labels["candidate"].items() <= labels["stable"].items():
            raise InputError(_not_apart("stable", "candidate", labels))
        return cls(labels)

    @property
    def keys(self) -> set[str]:
        return {key for labels in self.labels.values() for key in labels}

    def common(self, selector: Labels) -> dict[str, str]:
        """The part of the Service's selector that both sides share."""
        return {key: value for key, value in selector.items() if key not in self.keys}

    def selector(self, selector: Labels, weight: int) -> dict[str, str]:
        """The selector for ``weight``. Raises InputError where it would select no pod at all."""
        common = self.common(selector)
        if weight in (0, 100):
            return {**common, **self.labels["candidate" if weight else "stable"]}
        if not common:
            raise InputError(
                f"name: without {', '.join(sorted(self.keys))} the Service's selector "
                f"({format_labels(selector)}) would be empty and select no pod; add a label that both sides carry, "
                "such as app"
            )
        return common

    def opened_to(self, selector: Labels) -> set[Side]:
        """The sides that the selector lets in, or a part of one. Raises InputError where it is none of these."""
        own = {key: value for key, value in selector.items() if key in self.keys}
        if not own:
            return set(SIDES)
        for side in SIDES:
            if self.labels[side].items() <= own.items():
                return {side}
        raise InputError(
            f"stable.labels, candidate.labels: the Service selects {format_labels(own)}, which is neither "
            f"{format_labels(self.labels['stable'])} nor {format_labels(self.labels['candidate'])}; "
            "name the labels that it selects now as one side"
        )

    def sides_of(self, labels: Labels) -> t.Sequence[Side | None]:
        """Mostly one; None for a pod of neither."""
        return [side for side in SIDES if self.labels[side].items() <= labels.items()] or [None]


@dataclasses.dataclass(frozen=True)
class Pods:
    """The living pods of both sides and of neither: names of all and of the ready ones, and their Deployments."""

    matching: t.Mapping[Side | None, frozenset[str]]
    ready: t.Mapping[Side | None, frozenset[str]]
    deployments: t.Mapping[str, str]

    @classmethod
    def sorted_out(cls, pods: t.Iterable[t.Mapping[str, t.Any]], sides: Sides) -> Pods:
        matching: dict[Side | None, set[str]] = {side: set() for side in (*SIDES, None)}
        ready: dict[Side | None, set[str]] = {side: set() for side in (*SIDES, None)}
        deployments = {}
        for found in pods:
            name = found["metadata"]["name"]
            deployments[name] = deployment_of(found)
            for side in sides.sides_of(found["metadata"].get("labels") or {}):
                matching[side].add(name)
                if is_ready(found):
                    ready[side].add(name)
        return cls(
            {side: frozenset(names) for side, names in matching.items()},
            {side: frozenset(names) for side, names in ready.items()},
            deployments,
        )

    def beside(self, deployment: str) -> int:
        """Ready pods of the candidate that no replica of ``deployment`` is."""
        return sum(self.deployments[name] != deployment for name in self.ready["candidate"])

    def scaled(self, deployment: str, replicas: int) -> Pods:
        """What there would be once ``deployment`` had as many ready pods of the candidate."""
        others = {name for name in self.ready["candidate"] if self.deployments[name] != deployment}
        own = {f"{deployment}-{number}": deployment for number in range(replicas)}
        names = frozenset(others | own.keys())
        return Pods(
            {**self.matching, "candidate": names},
            {**self.ready, "candidate": names},
            {**self.deployments, **own},
        )

    def weights(self, route: str, opened: set[Side]) -> RouteWeights:
        """What each side gets; one that is alone has it all, ready or not."""
        counts = {side: len(self.ready[side]) if side in opened else 0 for side in SIDES}
        if len(opened) == 1:
            (alone,) = opened
            counts[alone] = max(1, counts[alone])
            return RouteWeights(route, counts["stable"], counts["candidate"])
        return RouteWeights(route, counts["stable"], counts["candidate"], len(self.ready[None]))

    def backend(self, side: Side, name: str, labels: Labels, *, scales: bool) -> Backend:
        names = self.matching[side]
        return Backend(
            f"{name} ({format_labels(labels)})",
            len(self.ready[side]),
            len(names),
            endpoints=self.ready[side],
            deployments=frozenset(owner for pod in names if (owner := self.deployments[pod])),
            scales=scales,
        )


def candidates_for(weight: int, stable: int) -> int:
    """Pods of the candidate, at least one, whose share beside ``stable`` others is nearest to ``weight`` percent.

    For 100 percent as many as there are others, which they stand in for.
    """
    if weight == 100:
        return max(1, stable)
    exact = weight * stable / (100 - weight)
    choices = {max(1, math.floor(exact)), max(1, math.ceil(exact))}
    return min(sorted(choices), key=lambda count: abs(100 * count / (count + stable) - weight))


def whole_pods_notice(weights: RouteWeights, weight: int | None = None) -> str:
    """Says which share whole pods make, where that isn't the ``weight`` asked for; empty where it is."""
    exact = weights.share
    if exact == (weight if weight is not None else round(exact)):
        return ""
    pods = f"{weights.candidate} of {weights.stable + weights.candidate} pods"
    if weight is None:
        return f"{pods} are the candidate's, which is {exact:.1f} %"
    return f"{pods} are {exact:.1f} %, as near to {weight} % as whole pods come"


def _not_apart(narrow: Side, wide: Side, labels: t.Mapping[Side, Labels]) -> str:
    return (
        f"{wide}.labels: {format_labels(labels[wide])} are carried by the pods of {narrow} too "
        f"({format_labels(labels[narrow])}); give both sides the same label with different values, such as version"
    )
