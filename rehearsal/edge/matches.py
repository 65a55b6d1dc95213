"""The conditions of a VirtualService route: HTTPMatchRequest to Envoy's RouteMatch."""

from __future__ import annotations

from typing import Any

from rehearsal.edge.fields import Fields

_KNOWN = ("name", "uri", "ignoreUriCase", "method", "authority", "scheme", "headers", "withoutHeaders", "queryParams")


def route_matches(route: Fields) -> list[dict[str, Any]]:
    """The RouteMatches of one HTTP route, in order; any of them suffices. Without a condition: everything."""
    blocks = [_match(block) for block in route.objects("match")]
    return blocks or [{"prefix": "/"}]


def _match(block: Fields) -> dict[str, Any]:
    block.only(_KNOWN)
    match = _path(block)
    headers = [
        {"name": pseudo, "string_match": block.object(name).string_match()}
        for name, pseudo in (("method", ":method"), ("authority", ":authority"), ("scheme", ":scheme"))
        if name in block
    ]
    headers += [_header(name, value) for name, value in block.object("headers").entries()]
    headers += [_absent(name, value) for name, value in block.object("withoutHeaders").entries()]
    parameters = [
        {"name": name, "string_match": value.string_match()} for name, value in block.object("queryParams").entries()
    ]
    if headers:
        match["headers"] = headers
    if parameters:
        match["query_parameters"] = parameters
    return match


def _path(block: Fields) -> dict[str, Any]:
    if "uri" not in block:
        return {"prefix": "/"}
    matcher = block.object("uri").string_match()
    match: dict[str, Any] = {"path": matcher["exact"]} if "exact" in matcher else dict(matcher)
    if block.boolean("ignoreUriCase"):
        match["case_sensitive"] = False
    return match


def _header(name: str, value: Fields) -> dict[str, Any]:
    """An empty StringMatch means that the header is there at all."""
    if not value.value:
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": value.string_match()}


def _absent(name: str, value: Fields) -> dict[str, Any]:
    """A header that isn't there can't carry the unwanted value, so it counts as empty."""
    if not value.value:
        return {"name": name, "present_match": True, "invert_match": True}
    matcher = value.string_match()
    return {"name": name, "string_match": matcher, "invert_match": True, "treat_missing_header_as_empty": True}
