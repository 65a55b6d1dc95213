"""The rehearsal cluster's own way to talk to a Kubernetes API: what controllers, node, edge and command line use.

Only the public API, over HTTPS with a kubeconfig, so that a real kube-apiserver serves as well as the emulated one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

log = logging.getLogger(__name__)

Object = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
CONNECTIONS = 8
KEPT_SECONDS = 60.0
APPLY_PATCH = "application/apply-patch+yaml"


class ApiError(Exception):
    """The API answered with a Status of failure. ``status`` is the HTTP code, ``reason`` the Status reason."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body
        self.reason = body.get("reason", "") if isinstance(body, dict) else ""
        message = body.get("message", "") if isinstance(body, dict) else str(body)
        super().__init__(f"{status} {self.reason}: {message}")


class KubeClient:
    """A thin client: paths in, objects out. Use as an async context manager."""

    def __init__(self, server: str, ssl_context: ssl.SSLContext, token: str, user_agent: str) -> None:
        self.server = server.rstrip("/")
        self._ssl = ssl_context
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._session: aiohttp.ClientSession | None = None
        # Each request at the same time needs a connection, and the handshake of one costs more than most requests.
        self._slots = asyncio.Semaphore(CONNECTIONS)

    @classmethod
    def from_kubeconfig(cls, path: Path, user_agent: str = "rehearsal") -> KubeClient:
        """Read server, CA, and token or client certificate of the current context."""
        config = yaml.safe_load(path.read_text())
        context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        ssl_context = ssl.create_default_context(cadata=ca)
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
                pem.write(base64.b64decode(user["client-certificate-data"]).decode())
                pem.write(base64.b64decode(user["client-key-data"]).decode())
                pem.flush()
                ssl_context.load_cert_chain(pem.name)
        return cls(cluster["server"], ssl_context, user.get("token", ""), user_agent)

    async def __aenter__(self) -> KubeClient:
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=0, keepalive_timeout=KEPT_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use KubeClient as an async context manager")
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Any:
        """One request; the parsed answer. Raises ApiError for a status of 400 and above."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type} if data is not None else {}
        limit = aiohttp.ClientTimeout(total=timeout)
        async with (
            self._slots,
            self.session.request(
                method, self.server + path, data=data, headers=headers, params=params, timeout=limit
            ) as answer,
        ):
            text = await answer.text()
            parsed = json.loads(text) if "json" in answer.content_type else text
            if answer.status >= 400:
                raise ApiError(answer.status, parsed)
            return parsed

    async def get(self, path: str, **params: str) -> Any:
        return await self.request("GET", path, params=params)

    async def create(self, path: str, body: Object) -> Object:
        return await self.request("POST", path, body)

    async def patch(self, path: str, body: Any, content_type: str = MERGE_PATCH, **params: str) -> Object:
        return await self.request("PATCH", path, body, content_type=content_type, params=params)

    async def apply(self, path: str, body: Object, manager: str = "rehearsal") -> Object:
        """Server-side apply, taking fields over where another manager has them."""
        params = {"fieldManager": manager, "force": "true"}
        return await self.request("PATCH", path, body, content_type=APPLY_PATCH, params=params)

    async def delete(self, path: str, body: Object | None = None) -> Any:
        return await self.request("DELETE", path, body)

    async def watch(self, path: str, resource_version: str, **params: str) -> AsyncIterator[Object]:
        """Watch events from ``resource_version`` on, until the server ends the stream."""
        query = {"watch": "1", "resourceVersion": resource_version, "timeoutSeconds": "300"} | params
        timeout = aiohttp.ClientTimeout(total=None, sock_read=330)
        async with self.session.get(self.server + path, params=query, timeout=timeout) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, await answer.json(content_type=None))
            pending = b""
            async for chunk in answer.content.iter_any():
                pending += chunk
                *lines, pending = pending.split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)


class Informer:
    """Keeps a copy of a collection and calls ``on_change`` whenever it differs: list, then watch, for ever.

    ``objects`` is keyed by ``(namespace, name)``. ``on_change(type, object)`` gets ADDED, MODIFIED or DELETED.
    """

    def __init__(
        self,
        client: KubeClient,
        path: str,
        on_change: Callable[[str, Object], Awaitable[None] | None] | None = None,
        **params: str,
    ) -> None:
        self.client = client
        self.path = path
        self.params = params
        self.on_change = on_change
        self.objects: dict[tuple[str, str], Object] = {}
        self.synced = asyncio.Event()
        self._gone: deque[str] = deque(maxlen=1000)

    async def run(self) -> None:
        """List and watch until cancelled; a broken stream or a server away is taken up again."""
        while True:
            try:
                await self._list_and_watch()
            except (ApiError, aiohttp.ClientError, OSError) as error:
                log.debug("watch of %s broke off: %s", self.path, error)
                await asyncio.sleep(0.2)

    def remember(self, item: Object) -> None:
        """Take in the answer to a write of one's own ahead of the watch, unless something newer is known."""
        if item["metadata"]["uid"] not in self._gone:
            self._keep(item)

    def forget(self, item: Object) -> None:
        """Take in a deletion of one's own ahead of the watch."""
        known = self.objects.get(_key(item))
        if known is not None and known["metadata"]["uid"] == item["metadata"]["uid"]:
            self._gone.append(item["metadata"]["uid"])
            del self.objects[_key(item)]

    def _keep(self, item: Object) -> None:
        """Hold ``item``, unless a later version of the same object is held already."""
        known = self.objects.get(_key(item))
        same = known is not None and known["metadata"]["uid"] == item["metadata"]["uid"]
        if known is None or not same or _version(known) <= _version(item):
            self.objects[_key(item)] = item

    async def _list_and_watch(self) -> None:
        listed = await self.client.get(self.path, **self.params)
        # Items of a list come without the fields that the list has for all of them.
        common = {"apiVersion": listed["apiVersion"], "kind": listed["kind"].removesuffix("List")}
        fresh = {_key(item): common | item for item in listed["items"]}
        for key in set(self.objects) - set(fresh):
            await self._tell("DELETED", self.objects.pop(key))
        for key, item in fresh.items():
            known = self.objects.get(key)
            self.objects[key] = item
            if known is None:
                await self._tell("ADDED", item)
            elif known["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                await self._tell("MODIFIED", item)
        self.synced.set()
        async for event in self.client.watch(self.path, listed["metadata"]["resourceVersion"], **self.params):
            if event["type"] == "ERROR":
                raise ApiError(int(event["object"].get("code", 500)), event["object"])
            if event["type"] == "BOOKMARK":
                continue
            if event["type"] == "DELETED":
                self.forget(event["object"])
            elif event["object"]["metadata"]["uid"] not in self._gone:
                self._keep(event["object"])
            await self._tell(event["type"], event["object"])

    async def _tell(self, kind: str, item: Object) -> None:
        if self.on_change is not None:
            result = self.on_change(kind, item)
            if result is not None:
                await result


def _key(item: Object) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])
