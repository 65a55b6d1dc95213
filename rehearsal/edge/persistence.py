"""Splits by weight, and sessions that outlive a change of the weights.

A controller with session persistence gives a new user a cookie that names the backend chosen for them. Whoever brings
it back is sent to that backend whatever the weights say by then. So a split is given as one route for each side whose
users are kept, which asks for the cookie, and one for everybody else, whose answer sets it.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rehearsal.edge.names import ClusterName
from rehearsal.edge.translation import Route


@dataclass(frozen=True)
class Side:
    """One backend of a split. ``options`` are header operations of its own; ``gives_cookie`` whether it keeps users."""

    cluster: ClusterName
    weight: int
    options: dict[str, Any] = field(default_factory=dict)
    gives_cookie: bool = True

    @property
    def key(self) -> str:
        """Names the backend in a cookie."""
        return hashlib.sha256(str(self.cluster).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class SessionCookie:
    """The cookie that keeps a user; without ``max_age`` it ends with the browser."""

    name: str
    path: str = "/"
    max_age: int | None = None

    def setting(self, side: Side) -> dict[str, Any]:
        """The response header that gives a user to ``side``."""
        age = f"; Max-Age={self.max_age}" if self.max_age else ""
        value = f"{self.name}=%REQ(x-request-id)%.{side.key}{age}; Path={self.path}; HttpOnly"
        return {"header": {"key": "set-cookie", "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}

    def carried(self, side: Side) -> dict[str, Any]:
        """The condition that a request carries the cookie of ``side``."""
        regex = rf"(.*;\s*)?{re.escape(self.name)}=[^;]*\.{side.key}(;.*)?"
        return {"name": "cookie", "string_match": {"safe_regex": {"regex": regex}}}


def weighted(route: Route, sides: Sequence[Side], cookie: SessionCookie | None = None) -> Route:
    """``route`` split between ``sides`` by weight; the answer gives the user to the side chosen."""
    clusters = []
    for side in sides:
        share: dict[str, Any] = {"name": str(side.cluster), "weight": side.weight} | copy.deepcopy(side.options)
        if cookie and side.gives_cookie:
            share.setdefault("response_headers_to_add", []).append(cookie.setting(side))
        clusters.append(share)
    made = copy.deepcopy(route)
    made["route"]["weighted_clusters"] = {"clusters": clusters}
    return made


def kept(route: Route, sides: Sequence[Side], cookie: SessionCookie | None) -> list[Route]:
    """``route`` once for each of ``sides``, for the users who are theirs already."""
    if cookie is None:
        return []
    made = []
    for side in sides:
        one = weighted(route, [Side(side.cluster, 1, side.options)])
        one["match"].setdefault("headers", []).append(cookie.carried(side))
        made.append(one)
    return made


def share(route: Route, numerator: int, denominator: int) -> Route:
    """``route`` for that share of the requests, chosen at random."""
    fraction = {"numerator": round(1_000_000 * numerator / denominator), "denominator": "MILLION"}
    return route | {"match": route["match"] | {"runtime_fraction": {"default_value": fraction}}}
