"""What all ports of a pod have in common: JSON answers, and headers that say who answers."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from rehearsal.app.pod import Pod

POD: web.AppKey[Pod] = web.AppKey("pod", Pod)
MAXIMUM_BODY = 256 * 1024


class BadRequest(Exception):
    """A request that can't be served as sent; the message becomes the answer 400."""


def make_application(pod: Pod, *middlewares: Any) -> web.Application:
    """An application for one port of ``pod``; every answer of it carries version and pod name."""
    application = web.Application(middlewares=middlewares, client_max_size=MAXIMUM_BODY)
    application[POD] = pod
    settings = pod.settings

    async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-claude-version"] = settings.version
        response.headers["x-claude-pod"] = settings.pod_name
        if pod.draining:
            response.force_close()
            response.headers["Connection"] = "close"

    application.on_response_prepare.append(add_headers)
    return application


def answer(body: Any, status: int = 200) -> web.Response:
    """``body`` as JSON."""
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/json")


def answer_error(status: int, message: str) -> web.Response:
    return answer({"error": message}, status)


async def read_json(request: web.Request) -> Any:
    """The body as JSON; an empty body is an empty object. Raises BadRequest."""
    text = await request.text()
    if not text.strip():
        return {}
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
