"""The part of a Kubernetes API that runs a command in a pod, over a websocket, as kubelet and API server do together.

The rehearsal cluster has none. The command really runs, here, its streams on the channels of ``v4.channel.k8s.io``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from aiohttp import WSMsgType, web

PROTOCOL = "v4.channel.k8s.io"
TOKEN = "token-of-kim"


class Endpoint:
    """``url`` of an API that knows the pods in ``pods`` (name → ready). ``commands`` are those that were asked for."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.url = ""
        self.pods = {"db-0": False, "db-1": True}
        self.commands: list[list[str]] = []
        self.processes: list[asyncio.subprocess.Process] = []
        self._environment = environment

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/api/v1/namespaces/{namespace}/pods", self._list)
        application.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}/exec", self._exec)
        return application

    async def _list(self, request: web.Request) -> web.Response:
        items = [
            {
                "metadata": {"name": name},
                "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
            }
            for name, ready in self.pods.items()
            if request.query.get("labelSelector") == "app=db"
        ]
        return web.json_response({"kind": "PodList", "items": items})

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=403)
        if request.match_info["pod"] not in self.pods:
            return web.Response(status=404)
        socket = web.WebSocketResponse(protocols=[PROTOCOL])
        await socket.prepare(request)
        command = request.query.getall("command")
        self.commands.append(command)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        self.processes.append(process)
        reading = asyncio.create_task(_feed(socket, process))
        await asyncio.gather(_tell(socket, 1, process.stdout), _tell(socket, 2, process.stderr))
        code = await process.wait()
        status = {"status": "Success"} if code == 0 else {"status": "Failure", "message": f"exit code {code}"}
        await _send(socket, 3, json.dumps(status).encode())
        reading.cancel()
        await socket.close()
        return socket


async def _feed(socket: web.WebSocketResponse, process: asyncio.subprocess.Process) -> None:
    """The client's messages as the command's input, until the client is gone."""
    assert process.stdin is not None
    async for message in socket:
        if message.type == WSMsgType.BINARY and message.data[:1] == b"\0":
            with contextlib.suppress(ConnectionError):
                process.stdin.write(message.data[1:])
                await process.stdin.drain()
    process.stdin.close()


async def _tell(socket: web.WebSocketResponse, channel: int, stream: Any) -> None:
    while piece := await stream.read(7):  # small pieces: lines and letters come in parts
        await _send(socket, channel, piece)


async def _send(socket: web.WebSocketResponse, channel: int, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.send_bytes(bytes([channel]) + data)


@contextlib.contextmanager
def serving(host: str, environment: dict[str, str]) -> Iterator[Endpoint]:
    """The endpoint at port 6443 of ``host``, without TLS."""
    endpoint = Endpoint(environment)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> web.AppRunner:
        runner = web.AppRunner(endpoint.application())
        await runner.setup()
        await web.TCPSite(runner, host, 6443).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    endpoint.url = f"http://{host}:6443"
    try:
        yield endpoint
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
