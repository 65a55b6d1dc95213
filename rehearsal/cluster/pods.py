"""What a request reaches through the API server: a pod's log on its node, and a pod's or service's own ports."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from rehearsal.cluster import errors
from rehearsal.cluster.operations import Operations
from rehearsal.cluster.routes import Target

Object = dict[str, Any]

CONNECT_SECONDS = 5.0
_HOP_HEADERS = {
    "authorization",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_LOG_OPTIONS = (
    "follow",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "stream",
    "tailLines",
    "timestamps",
)


class Connector:
    """Forwards requests to nodes and pods. As kube-apiserver by default, it does not check a node's certificate."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.store = operations.store
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            connector = aiohttp.TCPConnector(ssl=False, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        return self._session

    def _pod(self, namespace: str, name: str) -> Object:
        resource = self.operations.registry.find("", "v1", "pods")
        if resource is None:
            raise LookupError("pods are a built-in resource and must be served")
        return self.operations.get(resource, namespace, name).read()

    async def logs(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """``pods/log``: ask the kubelet of the pod's node."""
        pod = self._pod(target.namespace, target.name)
        container = _container(pod, request.query.get("container", ""))
        url = self._node_url(pod) + f"/containerLogs/{target.namespace}/{target.name}/{quote(container)}"
        query = {key: request.query[key] for key in _LOG_OPTIONS if key in request.query}
        return await self._forward(request, url, query, "GET", with_body=False)

    async def proxy(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """``pods/proxy``, ``services/proxy`` and ``nodes/proxy``."""
        if target.plural == "nodes":
            base = self._kubelet(target.name)
        elif target.plural == "services":
            base = self._service_url(target)
        else:
            base = self._pod_url(target)
        query = [(key, value) for key, value in request.query.items()]
        return await self._forward(request, f"{base}/{target.rest}", query, request.method, with_body=True)

    def _pod_url(self, target: Target) -> str:
        scheme, name, port = _proxied_name(target.name)
        pod = self._pod(target.namespace, name)
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise errors.unavailable(f'pod "{name}" has no address', 503)
        if not port.isdigit():
            port = _container_port(pod, port)
        return f"{scheme}://{address}:{port}"

    def _service_url(self, target: Target) -> str:
        scheme, name, port = _proxied_name(target.name)
        for stored in self.store.all(("discovery.k8s.io", "endpointslices"), target.namespace):
            if stored.labels.get("kubernetes.io/service-name") != name:
                continue
            endpoints = stored.read()
            ready = [e for e in endpoints.get("endpoints") or [] if (e.get("conditions") or {}).get("ready", True)]
            ports = [p for p in endpoints.get("ports") or [] if not port or port in (p.get("name"), str(p.get("port")))]
            number = (ports[0].get("port") if ports else None) or self._target_port(target.namespace, name, port)
            if ready and number:
                return f"{scheme}://{ready[0]['addresses'][0]}:{number}"
        message = f'no endpoints available for service "{name}"'
        raise errors.unavailable(message, 503)

    def _target_port(self, namespace: str, name: str, port: str) -> int | None:
        stored = self.store.find(("", "services"), namespace, name)
        for entry in (stored.read()["spec"].get("ports") or []) if stored else []:
            if port in (str(entry["port"]), entry.get("name")) and isinstance(entry.get("targetPort"), int):
                return int(entry["targetPort"])
        return None

    def _node_url(self, pod: Object) -> str:
        node = pod["spec"].get("nodeName")
        if not node:
            raise errors.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        return self._kubelet(node)

    def _kubelet(self, name: str) -> str:
        stored = self.store.find(("", "nodes"), "", name)
        status = (stored.read().get("status") or {}) if stored else {}
        addresses = {entry["type"]: entry["address"] for entry in status.get("addresses") or []}
        address = addresses.get("InternalIP") or addresses.get("Hostname")
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
        if not address or not port:
            raise errors.unavailable(f'node "{name}" has no address', 500)
        return f"https://{address}:{port}"

    async def _forward(
        self, request: web.BaseRequest, url: str, query: Any, method: str, *, with_body: bool
    ) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_HEADERS}
        body = await request.read() if with_body else None
        try:
            async with self._client().request(
                method, url, params=query, headers=headers, data=body or None, allow_redirects=False
            ) as answer:
                return await _copy(request, answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.unavailable(f"error trying to reach service: {error}", 503) from None


async def _copy(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Stream an answer on as it comes."""
    response = web.StreamResponse(status=answer.status)
    for key, value in answer.headers.items():
        if key.lower() not in _HOP_HEADERS:
            response.headers.add(key, value)
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, asyncio.IncompleteReadError):
        # The head is already out; all that is left is to end the stream early.
        if request.transport is not None:
            request.transport.close()
    return response


def _proxied_name(text: str) -> tuple[str, str, str]:
    """``[scheme:]name[:port]`` → scheme, name, port."""
    parts = text.split(":")
    if len(parts) == 3:
        return parts[0] or "http", parts[1], parts[2]
    return "http", parts[0], parts[1] if len(parts) == 2 else ""


def _container_port(pod: Object, name: str) -> str:
    """The number of a named container port; the first port of all without a name, 80 if there is none."""
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            if not name or port.get("name") == name:
                return str(port["containerPort"])
    return name or "80"


def _container(pod: Object, wanted: str) -> str:
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [c["name"] for group in ("initContainers", "containers") for c in spec.get(group) or []]
    if wanted:
        if wanted not in names:
            raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(names) > 1:
        choices = " ".join(names)
        raise errors.bad_request(f"a container name must be specified for pod {name}, choose one of: [{choices}]")
    return str(names[0])
