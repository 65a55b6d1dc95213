"""Port 8080: what users and probes ask."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from rehearsal.app.answers import POD, BadRequest, answer, answer_error, make_application, read_json
from rehearsal.app.database import DatabaseAway
from rehearsal.app.metrics import route_of
from rehearsal.app.pod import Pod
from rehearsal.app.readiness import Readiness
from rehearsal.app.sessions import TOKEN_SECONDS, SessionError, make_token, read_token

SOCKETS = web.AppKey("sockets", set[web.WebSocketResponse])
STATUSES = ("running", "paused", "completed", "failed")
PROBE_AGENT = "kube-probe/"
MAXIMUM_LIST = 500

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = logging.getLogger(__name__)


def make_api(pod: Pod) -> web.Application:
    """The application of port 8080."""
    application = make_application(pod, observe)
    application[SOCKETS] = set()
    application.on_shutdown.append(_close_sockets)
    router = application.router
    router.add_get("/", index)
    router.add_get("/health", health)
    router.add_get("/health/live", health)
    for path in ("/ready", "/health/ready"):
        router.add_get(path, ready)
    router.add_get("/health/startup", startup)
    router.add_get("/ws", websocket)
    router.add_get("/api/v1/agents", agents)
    router.add_get("/api/v1/status", status)
    router.add_get("/api/v1/version", version)
    router.add_post("/api/v1/login", login)
    router.add_get("/api/v1/session", session)
    router.add_post("/api/v1/workflows", start_workflow)
    router.add_get("/api/v1/workflows", list_workflows)
    router.add_get("/api/v1/workflows/{id}", show_workflow)
    return application


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve, with faults in force, and count. Probes of the node are served and not counted."""
    pod = request.app[POD]
    route = route_of(request.path)
    began = time.perf_counter()
    if route == "health" or await pod.work():
        response = await _serve(request, handler)
    else:
        log.error("%s %s failed: errors fault", request.method, request.path)
        response = answer_error(500, "internal error")
    # A websocket was counted when it opened: here it has just closed.
    if response.status != 101 and not request.headers.get("User-Agent", "").startswith(PROBE_AGENT):
        pod.http_metrics.count(response.status, request.method, route, time.perf_counter() - began)
    return response


async def _serve(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's answer, its errors turned into answers."""
    try:
        return await handler(request)
    except BadRequest as error:
        return answer_error(400, str(error))
    except DatabaseAway as error:
        log.error("%s %s needs the database: %s", request.method, request.path, error)
        return answer_error(503, "the database is away")
    except web.HTTPException as error:
        response = answer_error(error.status, error.reason)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return answer_error(500, "internal error")


async def index(request: web.Request) -> web.Response:
    return answer({"application": "claude-enhancer", **_identity(request.app[POD])})


async def health(request: web.Request) -> web.Response:
    """Alive: the event loop turns."""
    pod = request.app[POD]
    return answer({"status": "alive", **_identity(pod), "uptime_seconds": _uptime(pod)})


async def ready(request: web.Request) -> web.Response:
    return _readiness(await request.app[POD].readiness(), request.app[POD])


async def startup(request: web.Request) -> web.Response:
    return _readiness(request.app[POD].startup(), request.app[POD])


async def version(request: web.Request) -> web.Response:
    return answer(_identity(request.app[POD]))


async def status(request: web.Request) -> web.Response:
    pod = request.app[POD]
    count = pod.agent_count()
    return answer(
        {
            **_identity(pod),
            "status": "draining" if pod.draining else "serving",
            "uptime_seconds": _uptime(pod),
            "agents": {"total": count.total, "active": count.active, "failed": count.failed},
            "workflows": {"running": pod.engine.running, "phases": pod.settings.phase_count},
        }
    )


async def agents(request: web.Request) -> web.Response:
    """The agents loaded, with what each may use."""
    pod = request.app[POD]
    count = pod.agent_count()
    loaded = pod.agents.agents if pod.agents else ()
    rows = [
        {"name": agent.name, "category": agent.category, "tools": agent.tools, "active": place < count.active}
        for place, agent in enumerate(loaded)
    ]
    return answer({"total": count.total, "active": count.active, "failed": count.failed, "agents": rows})


async def login(request: web.Request) -> web.Response:
    """A token for a user name and any password."""
    body = await read_json(request)
    user, password = (body.get("user"), body.get("password")) if isinstance(body, dict) else (None, None)
    if not isinstance(user, str) or not user or not isinstance(password, str):
        raise BadRequest('sign-in wants {"user": "...", "password": "..."}')
    if not password:
        return answer_error(401, "wrong user or password")
    token = make_token(user, request.app[POD].settings.session_secret, time.time())
    return answer({"token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS})


async def session(request: web.Request) -> web.Response:
    """Whose token the request carries. Tokens hold on every pod of both versions."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise SessionError("no bearer token")
        user = read_token(token.strip(), request.app[POD].settings.session_secret, time.time())
    except SessionError as error:
        return answer_error(401, str(error))
    return answer({"user": user})


async def start_workflow(request: web.Request) -> web.Response:
    """Start a workflow; it runs on while the answer, 202, goes out."""
    name, payload = _workflow_request(await read_json(request))
    workflow = await request.app[POD].engine.submit(name, payload)
    response = answer(workflow.as_dict(), 202)
    response.headers["Location"] = f"/api/v1/workflows/{workflow.id}"
    return response


async def list_workflows(request: web.Request) -> web.Response:
    wanted, limit = request.query.get("status"), request.query.get("limit", "50")
    if wanted is not None and wanted not in STATUSES:
        raise BadRequest(f"status={wanted}: must be one of {', '.join(STATUSES)}")
    if not limit.isdecimal() or not 1 <= int(limit) <= MAXIMUM_LIST:
        raise BadRequest(f"limit={limit}: must be a whole number from 1 to {MAXIMUM_LIST}")
    workflows = await request.app[POD].store.newest(wanted, int(limit))
    return answer({"workflows": [workflow.as_dict() for workflow in workflows]})


async def show_workflow(request: web.Request) -> web.Response:
    """One workflow and the log of its phases."""
    try:
        workflow_id = uuid.UUID(request.match_info["id"])
    except ValueError as error:
        raise BadRequest(f"id={request.match_info['id']}: not a UUID") from error
    store = request.app[POD].store
    workflow = await store.find(workflow_id)
    if workflow is None:
        return answer_error(404, f"no workflow {workflow_id}")
    return answer({**workflow.as_dict(), "phases": await store.phases(workflow_id)})


async def websocket(request: web.Request) -> web.StreamResponse:
    """Tell who serves, then send back each text with it."""
    pod, sockets = request.app[POD], request.app[SOCKETS]
    socket = web.WebSocketResponse()
    if not socket.can_prepare(request).ok:
        return answer_error(426, "this path speaks websocket")
    await socket.prepare(request)
    pod.http_metrics.count(101, request.method, "websocket", None)
    sockets.add(socket)
    try:
        await socket.send_str(json.dumps(_identity(pod)))
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(json.dumps({"echo": message.data, **_identity(pod)}))
    finally:
        sockets.discard(socket)
    return socket


async def _close_sockets(application: web.Application) -> None:
    sockets = application[SOCKETS]
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the pod stops")


def _workflow_request(body: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(body, dict):
        raise BadRequest('a workflow is {"name": "...", "payload": {...}}')
    name, payload = body.get("name", "workflow"), body.get("payload", {})
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise BadRequest(f"name={json.dumps(name)[:80]}: must be a text of 1 to 200 characters")
    if not isinstance(payload, dict):
        raise BadRequest(f"payload={json.dumps(payload)[:80]}: must be a JSON object")
    return name, payload


def _identity(pod: Pod) -> dict[str, str]:
    settings = pod.settings
    return {"version": settings.version, "mode": settings.mode, "pod": settings.pod_name}


def _uptime(pod: Pod) -> float:
    return round(time.monotonic() - pod.started, 3)


def _readiness(readiness: Readiness, pod: Pod) -> web.Response:
    return answer({**readiness.as_dict(), **_identity(pod)}, 200 if readiness.ready else 503)
