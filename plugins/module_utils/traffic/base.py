# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a provider of traffic weight is, in terms that hold for each of them.

A *weight* is the percent of requests, 0 to 100, meant for the candidate.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence

Side = t.Literal["stable", "candidate"]
SIDES: tuple[Side, Side] = ("stable", "candidate")
FieldPath = tuple[str, ...]
"""Keys from an object's root to a field, such as ``("spec", "http")``."""


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where requests go: a host, or the named subset of it."""

    host: str
    subset: str = ""

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> Destination:
        return cls(str(options["host"]), str(options.get("subset") or ""))

    def __str__(self) -> str:
        return f"{self.host} subset {self.subset}" if self.subset else self.host


@dataclasses.dataclass(frozen=True)
class RouteWeights:
    """What one weighted route gives each side; ``others`` is what further destinations keep."""

    route: str
    stable: int
    candidate: int
    others: int = 0

    @property
    def share(self) -> float:
        """Percent of the two sides' part that is the candidate's."""
        both = self.stable + self.candidate
        return 100 * self.candidate / both if both else 0.0

    @property
    def weight(self) -> int:
        """The share as a whole number; 0 and 100 only where the other side has all."""
        if 0 < self.share < 100:
            return min(99, max(1, round(self.share)))
        return round(self.share)


@dataclasses.dataclass(frozen=True)
class TrafficState:
    """The weighted routes of a traffic object as read at ``resource_version``.

    ``ref`` names the object in messages. ``raw`` is what was read, in the provider's own shape. ``weight_fields`` are
    the fields of a Kubernetes object in ``raw`` that hold the weight; ``notices`` say what the provider leaves alone.
    """

    ref: Ref | str
    resource_version: str
    routes: tuple[RouteWeights, ...]
    raw: t.Mapping[str, t.Any] = dataclasses.field(repr=False, compare=False, default_factory=dict)
    weight_fields: tuple[FieldPath, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def weight(self) -> int:
        """The most that any route gives the candidate, as a whole number."""
        return max((route.weight for route in self._speaking), default=0)

    @property
    def share(self) -> float:
        """The most that any route gives the candidate, in percent and exact."""
        return round(max((route.share for route in self._speaking), default=0.0), 3)

    @property
    def _speaking(self) -> t.Sequence[RouteWeights]:
        """Routes with further destinations round their part, so they speak only where there is no other."""
        return [route for route in self.routes if not route.others] or self.routes


@dataclasses.dataclass(frozen=True)
class Plan:
    """What has to be sent so that every weighted route of ``state`` carries ``weight``."""

    weight: int
    state: TrafficState
    operations: tuple[t.Mapping[str, t.Any], ...]


@dataclasses.dataclass(frozen=True)
class Backend:
    """What stands behind a side: pods (or servers) that match it, and those ready to take requests through it.

    ``name`` is the side's destination in messages. ``problem`` is a sentence where it can't have any endpoint, whatever
    the pods do. ``endpoints`` names the ready ones, ``deployments`` the Deployments their pods belong to. ``scales``:
    the provider brings up what its share needs, and waits for it, before any request goes there.
    """

    name: str
    ready: int
    matching: int
    problem: str = ""
    endpoints: frozenset[str] = frozenset()
    deployments: frozenset[str] = frozenset()
    scales: bool = False


@dataclasses.dataclass(frozen=True)
class Stickiness:
    """Whether a user stays on the side they were given while the weight grows, and by what (or why not).

    ``kept`` is None where that can't be told from outside.
    """

    kept: bool | None
    how: str


@dataclasses.dataclass(frozen=True)
class Change:
    """What a weight change found, did and cost. ``changed`` is false where nothing had to be sent."""

    weight: int
    before: TrafficState
    after: TrafficState
    changed: bool
    calls: int
    warnings: tuple[str, ...] = ()


class TrafficProvider(t.Protocol):
    """One kind of thing that carries weight. Made by ``open_provider``; holds one connection."""

    cluster: Cluster
    namespace: str
    prepared: TrafficState | None
    """The object as last read or written, so that traffic can be taken back without reading first."""
    fence: Fence | None
    """The lock without which no weight may move; None where whoever moves it holds none."""

    @property
    def calls(self) -> int:
        """Requests sent so far, to the Kubernetes API and to whatever else holds the weight."""

    def read(self) -> TrafficState:
        """Read the object and remember it. Raises InputError or NotFoundError where it can't carry weight."""

    def prepare(self) -> TrafficState:
        """The remembered state, read now if there is none."""

    def objects(self) -> tuple[Ref, ...]:
        """The Kubernetes objects that hold the weight and may be there, once it was read."""

    def plan(self, weight: int, state: TrafficState, *, strict: bool) -> Plan:
        """What to send; no operations where ``state`` is as near to ``weight`` as the provider can come.

        ``strict``: only if the object is unchanged since ``state``, and only for sound routes (InputError).
        """

    def apply(self, plan: Plan) -> TrafficState:
        """Send the plan, all of it or nothing; the state as stored.

        In dry run nothing is stored, and the state is what it would be. Raises ConflictError, or a ClusterError with
        status 422, if the object isn't as planned on.
        """

    def backends(self) -> t.Mapping[Side, Backend]:
        """What stands behind each side now. Raises InputError where a side isn't defined."""

    def obstacles(self, state: TrafficState) -> list[str]:
        """Why the data plane wouldn't do what the object says, such as a route that no gateway accepted."""

    def stickiness(self, state: TrafficState) -> Stickiness:
        """What keeps a user on one side."""


def check_weight(weight: t.Any, option: str = "weight") -> int:
    """``weight`` if it is a whole number from 0 to 100. Raises InputError naming ``option``."""
    if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= 100:
        raise InputError(f"{option}: must be a whole number from 0 to 100, not {weight!r}")
    return weight
