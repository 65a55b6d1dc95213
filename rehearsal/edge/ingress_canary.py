"""One path of an Ingress and its canary, as Envoy routes in the order in which ingress-nginx decides.

A user whose cookie names a backend stays there, before anything else is asked; then header, cookie and weight of the
canary count. So weights move only users who have no session yet: a canary of weight 0 keeps its users until the canary
Ingress is gone, and a main Ingress keeps its own at a canary weight of 100. A canary with the legacy behaviour keeps
nobody, while the main Ingress still does.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from typing import Any

from rehearsal.edge.ingress_annotations import Annotations, Canary
from rehearsal.edge.persistence import SessionCookie, Side, kept, weighted
from rehearsal.edge.route_options import safe_retries
from rehearsal.edge.translation import Route

Place = tuple[str, str, str]


@dataclass(frozen=True)
class Location:
    """A path of an Ingress: what it matches, the backend it goes to, and whether that has ready endpoints."""

    ingress: str
    host: str
    path: str
    kind: str
    match: dict[str, Any]
    side: Side
    annotations: Annotations
    is_ready: bool

    @property
    def place(self) -> Place:
        """What a canary must have in common with the main Ingress."""
        return self.host, self.path, self.kind

    @property
    def rank(self) -> tuple[bool, int, str, str]:
        """Exact paths before others, longer ones before shorter ones."""
        return self.kind != "Exact", -len(self.path), self.kind, self.path


def location_routes(main: Location, canary: Location | None) -> list[Route]:
    """The routes of ``main``; a canary without ready endpoints counts as none, as if its weight were 0."""
    base: Route = {"name": f"{main.ingress}{main.path}", "match": main.match, "route": _action(main)}
    session = main.annotations.session(main.path or "/")
    if canary is None or canary.annotations.canary is None or not canary.is_ready:
        return [*kept(base, [main.side], session), weighted(base, [main.side], session)]
    shaping = canary.annotations.canary
    stable, candidate = main.side, replace(canary.side, gives_cookie=not shaping.ignores_sessions)
    keeping = [main] if shaping.ignores_sessions else [main, canary]
    routes = kept(base, [location.side for location in keeping if location.is_ready], session)
    routes += _chosen(base, stable, candidate, shaping, session)
    rest = max(shaping.total - shaping.weight, 0)
    return [*routes, weighted(base, [replace(stable, weight=rest), replace(candidate, weight=shaping.weight)], session)]


def _action(main: Location) -> dict[str, Any]:
    action: dict[str, Any] = {
        "timeout": "0s",
        "idle_timeout": f"{main.annotations.read_timeout}s",
        "retry_policy": safe_retries(),
    }
    if main.annotations.rewrite_target:
        action |= _rewritten(main.path, main.annotations.rewrite_target)
    return action


def _rewritten(path: str, target: str) -> dict[str, Any]:
    """What ``rewrite-target`` makes of a request that matched ``path``: the target, with its groups filled in."""
    substitution = re.sub(r"\$(\d)", r"\\\1", target.replace("\\", r"\\"))
    return {"regex_rewrite": {"pattern": {"regex": f"(?i)^{path}.*"}, "substitution": substitution}}


def _chosen(base: Route, main: Side, canary: Side, shaping: Canary, session: SessionCookie | None) -> list[Route]:
    """Routes for requests whose header or cookie says where they go."""

    def when(condition: dict[str, Any], side: Side) -> Route:
        route = copy.deepcopy(base)
        route["match"].setdefault("headers", []).append(condition)
        return weighted(route, [side], session)

    routes = []
    if shaping.header and (shaping.value or shaping.pattern):
        matcher: dict[str, Any] = {"exact": shaping.value}
        if not shaping.value:
            matcher = {"safe_regex": {"regex": f".*({shaping.pattern}).*"}}
        routes.append(when({"name": shaping.header, "string_match": matcher}, canary))
    elif shaping.header:
        routes.append(when({"name": shaping.header, "string_match": {"exact": "always"}}, canary))
        routes.append(when({"name": shaping.header, "string_match": {"exact": "never"}}, main))
    if shaping.cookie:
        for word, side in (("always", canary), ("never", main)):
            regex = rf"(.*;\s*)?{re.escape(shaping.cookie)}={word}\s*(;.*)?"
            routes.append(when({"name": "cookie", "string_match": {"safe_regex": {"regex": regex}}}, side))
    return routes
