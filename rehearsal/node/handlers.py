"""What probes and lifecycle hooks do: HTTP requests, connections, programs, sleeps."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from rehearsal.node.probes import Outcome
from rehearsal.objects import Object

LONGEST_OUTPUT = 1024


@dataclass(frozen=True)
class Target:
    """The container a handler acts on: its address, named ports, environment and folder."""

    address: str
    ports: Mapping[str, int]
    env: Mapping[str, str]
    cwd: str


class Handlers:
    """Carries handlers out. Use as an async context manager."""

    async def __aenter__(self) -> Handlers:
        connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=False)
        self._session = aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": "kube-probe/1.32"}, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def act(self, handler: Object, target: Target, timeout: float) -> Outcome:
        """Do what ``handler`` says (httpGet, tcpSocket, exec, sleep) within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                if "httpGet" in handler:
                    return await self._http(handler["httpGet"], target)
                if "tcpSocket" in handler:
                    return await self._tcp(handler["tcpSocket"], target)
                if "exec" in handler:
                    return await self._exec(handler["exec"]["command"], target)
                if "sleep" in handler:
                    await asyncio.sleep(handler["sleep"]["seconds"])
                    return Outcome(True)
        except TimeoutError:
            return Outcome(False, f"timed out after {timeout:g}s")
        except aiohttp.ClientConnectorError as error:
            return Outcome(False, f"{error.host}:{error.port}: {os.strerror(error.os_error.errno or 0)}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(False, str(error))
        return Outcome(False, f"unsupported handler: {', '.join(handler)}")

    async def _http(self, request: Object, target: Target) -> Outcome:
        host = request.get("host") or target.address
        scheme = (request.get("scheme") or "HTTP").lower()
        path = request.get("path") or "/"
        url = f"{scheme}://{host}:{_port(request['port'], target)}{path if path.startswith('/') else '/' + path}"
        headers = {entry["name"]: entry["value"] for entry in request.get("httpHeaders") or []}
        async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
            if 200 <= answer.status < 400:
                return Outcome(True)
            return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")

    async def _tcp(self, socket: Object, target: Target) -> Outcome:
        host = socket.get("host") or target.address
        _, writer = await asyncio.open_connection(host, _port(socket["port"], target))
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return Outcome(True)

    async def _exec(self, command: Sequence[str], target: Target) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(target.env),
            cwd=target.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return Outcome(process.returncode == 0, output[:LONGEST_OUTPUT].decode(errors="replace").strip())


def _port(port: int | str, target: Target) -> int:
    """A port number, or the number of the container's port of that name. Raises ValueError."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    if port not in target.ports:
        raise ValueError(f"couldn't find port: {port}")
    return target.ports[port]
