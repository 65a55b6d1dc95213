"""The HTTP side of the emulated API: one handler that authenticates, authorizes, and hands on."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from rehearsal.cluster import audit, errors, openapi
from rehearsal.cluster.auth import Authenticator, Authorizer
from rehearsal.cluster.bodies import LONGEST_BODY, answer, failure, text
from rehearsal.cluster.bootstrap import populate
from rehearsal.cluster.discovery import Discovery
from rehearsal.cluster.handlers import Handlers
from rehearsal.cluster.namespaces import end_namespaces
from rehearsal.cluster.operations import Operations
from rehearsal.cluster.pki import Credentials, read_tokens
from rehearsal.cluster.resources import Registry
from rehearsal.cluster.routes import Target, attributes, parse
from rehearsal.cluster.services import ServiceAddresses
from rehearsal.cluster.store import Store

log = logging.getLogger(__name__)

GIT_VERSION = "v1.36.2"
VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": GIT_VERSION,
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
SHUTDOWN_SECONDS = 0.5
_RECEIVED = web.RequestKey("received", float)
_STARTED = web.RequestKey("started", bool)


class ApiServer:
    """Everything one emulated API consists of."""

    def __init__(self, credentials: Credentials, audit_log: audit.AuditLog | None = None) -> None:
        self.audit_log = audit_log
        self.store = Store()
        self.registry = Registry()
        self.operations = Operations(self.store, self.registry, ServiceAddresses())
        self.authenticator = Authenticator(read_tokens(credentials))
        self.authorizer = Authorizer(self.store)
        self.discovery = Discovery(self.registry)
        self.handlers = Handlers(self.operations, self.authenticator, self.authorizer, self._note_started)
        populate(self.operations)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request[_RECEIVED] = time.time()
        response = await self._answered(request)
        # A watch was noted when it began: its end may be hours away, or never seen.
        if _STARTED not in request:
            self._note(request, response.status, audit.COMPLETE)
        return response

    def _note_started(self, request: web.BaseRequest) -> None:
        request[_STARTED] = True
        self._note(request, 200, audit.STARTED)

    def _note(self, request: web.BaseRequest, status: int, stage: str) -> None:
        if self.audit_log is None or not audit.wanted(request):
            return
        user = self.authenticator.user(request.headers.get("Authorization"))
        target = parse(request.path)
        asked = attributes(target, request.method, request.path, request.query)
        name = user.name if user else ""
        received = request[_RECEIVED]
        self.audit_log.note(audit.event(request, name, target, asked, status=status, received=received, stage=stage))

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._handle(request)
        except errors.StatusError as error:
            return failure(error)
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            return failure(errors.StatusError(500, "InternalError", f"Internal error occurred: {error!r}"))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        user = self.authenticator.user(request.headers.get("Authorization"))
        if user is None:
            raise errors.unauthorized()
        path = request.path
        target = parse(path)
        asked = attributes(target, request.method, path, request.query)
        if not self.authorizer.allowed(user, asked):
            raise _forbidden(user.name, target, asked.verb, path)
        if target is None:
            return self._plain(request)
        resource = self.registry.find(target.group, target.version, target.plural)
        if resource is None or (target.subresource and target.subresource not in resource.subresources):
            return text("404 page not found\n", 404)
        return await self.handlers.handle(request, user, resource, target)

    def _plain(self, request: web.BaseRequest) -> web.StreamResponse:
        """Paths that are no resources."""
        path = request.path.rstrip("/") or "/"
        if path in ("/healthz", "/livez", "/readyz"):
            return text("ok")
        if path == "/version":
            return answer(VERSION)
        found: Any = None
        if path.startswith("/openapi/"):
            found = openapi.document(self.registry, path)
        elif request.method in ("GET", "HEAD"):
            found = self.discovery.document(path, request.headers.get("Accept", ""))
        if found is None:
            return text("404 page not found\n", 404)
        body, content_type = found
        return answer(body, content_type=content_type)


def _forbidden(user: str, target: Target | None, verb: str, path: str) -> errors.StatusError:
    if target is None:
        message = f'forbidden: User "{user}" cannot {verb} path "{path}"'
        return errors.StatusError(403, "Forbidden", message, {})
    what = target.plural + (f"/{target.subresource}" if target.subresource else "")
    where = f' in the namespace "{target.namespace}"' if target.namespace else " at the cluster scope"
    qualified = f"{target.plural}.{target.group}" if target.group else target.plural
    named = f'{qualified} "{target.name}"' if target.name else qualified
    message = (
        f'{named} is forbidden: User "{user}" cannot {verb} resource "{what}" in API group "{target.group}"{where}'
    )
    details = {"name": target.name, "group": target.group, "kind": target.plural}
    return errors.StatusError(403, "Forbidden", message, {key: value for key, value in details.items() if value})


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> web.BaseRequest:
    """A request whose body may be as long as a real server takes."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LONGEST_BODY)


async def serve(credentials: Credentials, host: str, port: int, stop: asyncio.Event, audit_path: Path) -> None:
    """Serve the emulated API until ``stop`` is set; its audit log goes to ``audit_path``."""
    audit_log = audit.AuditLog(audit_path)
    api = ApiServer(credentials, audit_log)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.certificate, credentials.key)
    server = web.Server(api.handle, request_factory=_request, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    tasks = [asyncio.create_task(end_namespaces(api.operations)), asyncio.create_task(audit_log.run())]
    try:
        await web.TCPSite(runner, host, port, ssl_context=context, reuse_address=True).start()
        await stop.wait()
    finally:
        await api.handlers.close()
        await runner.cleanup()
        for task in tasks:
            task.cancel()
