"""The node's two doors: logs over HTTPS as a kubelet serves them, metrics over plain HTTP for Prometheus."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trustme
from aiohttp import web

from rehearsal.node.logs import LogOptions, stream_log
from rehearsal.node.pod import PodWorker
from rehearsal.objects import Object, key_of
from rehearsal.world import World

METRICS_PORT = 10255
SHUTDOWN = 0.2


class Servers:
    """Answers for the pods of a node."""

    def __init__(
        self,
        world: World,
        workers: Callable[[], list[PodWorker]],
        pods: Callable[[], list[Object]],
        metrics: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._world = world
        self._workers = workers
        self._pods = pods
        self._metrics = metrics

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Both doors are open inside the block."""
        runners = [web.AppRunner(self._application(), access_log=None, shutdown_timeout=SHUTDOWN) for _ in range(2)]
        try:
            for runner in runners:
                await runner.setup()
            host = self._world.host
            tls = _server_context(host)
            await web.TCPSite(runners[0], host, self._world.kubelet_port, ssl_context=tls, reuse_address=True).start()
            await web.TCPSite(runners[1], host, METRICS_PORT, reuse_address=True).start()
            yield
        finally:
            for runner in runners:
                await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        application.router.add_get("/metrics", self._serve_metrics)
        application.router.add_get("/metrics/cadvisor", self._serve_metrics)
        application.router.add_get("/pods", self._list_pods)
        application.router.add_get("/healthz", _healthz)
        return application

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _list_pods(self, _: web.Request) -> web.Response:
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "items": self._pods()})

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        place = request.match_info
        key = place["namespace"], place["pod"]
        worker = next((each for each in self._workers() if key_of(each.pod) == key), None)
        known = [*worker.init_containers, *worker.containers] if worker is not None else []
        container = next((each for each in known if each.name == place["container"]), None)
        if container is None:
            return web.Response(status=404, text=f'container "{place["container"]}" not found on this node\n')
        try:
            options = LogOptions.from_query(request.query)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        path = container.log_path(previous=options.previous)
        if options.previous and not path.exists():
            missing = f'previous terminated container "{container.name}" in pod "{place["pod"]}" not found\n'
            return web.Response(status=400, text=missing)
        process = container.process
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        async for chunk in stream_log(path, options, lambda: process is None or process.exited.done()):
            if chunk:
                await answer.write(chunk)
        await answer.write_eof()
        return answer


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def _server_context(host: str) -> ssl.SSLContext:
    """A certificate of the node's own, as a kubelet makes itself one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(host).configure_cert(context)
    return context
