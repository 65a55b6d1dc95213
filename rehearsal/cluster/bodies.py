"""Bodies of requests and answers."""

from __future__ import annotations

import json
from typing import Any

import yaml
from aiohttp import web

from rehearsal.cluster import protobuf
from rehearsal.cluster.errors import StatusError, bad_request
from rehearsal.cluster.store import encode

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LONGEST_BODY = 3 * 1024 * 1024


def answer(
    body: Any, status: int = 200, *, content_type: str = "application/json", warnings: list[str] | None = None
) -> web.Response:
    """``body`` is bytes of JSON, or something to encode."""
    response = web.Response(body=body if isinstance(body, bytes) else encode(body), status=status)
    response.headers["Content-Type"] = content_type
    response.headers["Cache-Control"] = "no-cache, private"
    for warning in warnings or ():
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def failure(error: StatusError) -> web.Response:
    return answer(error.body(), error.code)


def text(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, status=status, headers={"Content-Type": "text/plain; charset=utf-8"})


async def read_body(request: web.BaseRequest, kind: str) -> Any:
    """The parsed body, None when there is none. ``kind`` is named when it can't be read."""
    if (request.content_length or 0) > LONGEST_BODY:
        raise StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {LONGEST_BODY}")
    raw = await request.read()
    if not raw:
        return None
    if len(raw) > LONGEST_BODY:
        raise StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {LONGEST_BODY}")
    if request.content_type == protobuf.CONTENT_TYPE:
        return protobuf.decode(raw, kind)
    prefix = f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind"
    if "yaml" in request.content_type:
        try:
            return yaml.load(raw, _YAML)
        except yaml.YAMLError as error:
            raise bad_request(f"{prefix}; yaml parse error: {error}") from None
    try:
        return json.loads(raw)
    except ValueError as error:
        raise bad_request(f"{prefix}; json parse error: {error}") from None
