"""Session affinity: what a request is hashed by, so that one user always meets the same side and the same pod.

A weighted choice by hash is only sticky from the first request on if the first request, which has no cookie yet, is
hashed by the very value its cookie will carry. So a route with cookie affinity is given twice: for requests that
have the cookie, hashed by it; for those that don't, hashed by their request id, which the answer then sets as cookie.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from rehearsal.edge.fields import Fields

HASH_KINDS = ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")


def with_affinity(route: dict[str, Any], balancer: Fields) -> list[dict[str, Any]]:
    """``route`` (an Envoy route) with the affinity of a DestinationRule's ``loadBalancer``: one route or two."""
    affinity = balancer.object("consistentHash")
    if "httpCookie" not in affinity:
        policy = _policy(affinity)
        return [_hashed(route, policy)] if policy else [route]
    cookie = affinity.object("httpCookie")
    cookie.only(("name", "path", "ttl"))
    name = cookie.string("name")
    if not name:
        raise cookie.refuse("name", "must name the cookie")
    known = _hashed(route, {"cookie": {"name": name}})
    if "ttl" not in cookie:
        return [known]
    has_cookie = {"string_match": {"safe_regex": {"regex": rf"(.*;\s*)?{re.escape(name)}=[^;]+(;.*)?"}}}
    known["match"].setdefault("headers", []).append({"name": "cookie"} | has_cookie)
    fresh = _hashed(route, {"header": {"header_name": "x-request-id"}})
    fresh.setdefault("response_headers_to_add", []).append(_set_cookie(cookie))
    return [known, fresh]


def _policy(affinity: Fields) -> dict[str, Any] | None:
    if "httpHeaderName" in affinity:
        return {"header": {"header_name": affinity.string("httpHeaderName")}}
    if "httpQueryParameterName" in affinity:
        return {"query_parameter": {"name": affinity.string("httpQueryParameterName")}}
    if affinity.boolean("useSourceIp"):
        return {"connection_properties": {"source_ip": True}}
    return None


def _hashed(route: dict[str, Any], policy: dict[str, Any]) -> dict[str, Any]:
    hashed = copy.deepcopy(route)
    hashed["route"]["hash_policy"] = [policy]
    if "weighted_clusters" in hashed["route"]:
        hashed["route"]["weighted_clusters"]["use_hash_policy"] = True
    return hashed


def _set_cookie(cookie: Fields) -> dict[str, Any]:
    seconds = round(float((cookie.duration("ttl") or "0s").removesuffix("s")))
    age = f"; Max-Age={seconds}" if seconds else ""
    value = f"{cookie.string('name')}=%REQ(x-request-id)%{age}; Path={cookie.string('path') or '/'}; HttpOnly"
    return {"header": {"key": "set-cookie", "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
