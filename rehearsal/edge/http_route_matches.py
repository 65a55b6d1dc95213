"""The conditions of an HTTPRoute rule as Envoy's RouteMatch, and which of two matches goes first."""

from __future__ import annotations

from typing import Any

from rehearsal.edge.fields import Fields

_PATH_RANKS = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}
Rank = tuple[int, int, int, int, int]


def rule_matches(rule: Fields) -> list[tuple[Rank, dict[str, Any]]]:
    """Rank and RouteMatch of each match; any of them suffices. Without one: everything."""
    blocks = list(rule.objects("matches")) or [Fields({}, f"{rule.path}.matches[0]")]
    return [_match(block) for block in blocks]


def path_prefix(value: str) -> dict[str, Any]:
    """A prefix of whole path elements: ``/api`` holds for ``/api`` and ``/api/v1``, not for ``/apis``."""
    stripped = value.rstrip("/")
    return {"path_separated_prefix": stripped} if stripped else {"prefix": "/"}


def _match(block: Fields) -> tuple[Rank, dict[str, Any]]:
    """Gateway API asks in this order: exact path, longest prefix, method, most headers, most query parameters."""
    block.only(("path", "method", "headers", "queryParams"))
    path = block.object("path")
    path.only(("type", "value"))
    kind, value = path.string("type", "PathPrefix"), path.string("value", "/")
    if kind not in _PATH_RANKS:
        raise path.refuse("type", f"must be one of {', '.join(_PATH_RANKS)}")
    if kind == "Exact":
        match: dict[str, Any] = {"path": value}
    elif kind == "PathPrefix":
        match = path_prefix(value)
    else:
        match = {"safe_regex": {"regex": value}}
    headers = [_named(header) for header in block.objects("headers")]
    parameters = [_named(parameter) for parameter in block.objects("queryParams")]
    conditions = list(headers)
    if "method" in block:
        conditions.append({"name": ":method", "string_match": {"exact": block.string("method")}})
    if conditions:
        match["headers"] = conditions
    if parameters:
        match["query_parameters"] = parameters
    rank = _PATH_RANKS[kind], -len(value), 0 if "method" in block else 1, -len(headers), -len(parameters)
    return rank, match


def _named(entry: Fields) -> dict[str, Any]:
    """A header or query parameter with its value."""
    entry.only(("type", "name", "value"))
    kind, value = entry.string("type", "Exact"), entry.string("value")
    if kind not in ("Exact", "RegularExpression"):
        raise entry.refuse("type", "must be Exact or RegularExpression")
    matcher: dict[str, Any] = {"exact": value} if kind == "Exact" else {"safe_regex": {"regex": value}}
    return {"name": entry.string("name"), "string_match": matcher}
