"""The HTTP side: who may ask, what is shown how, and what is reached through the API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rehearsal.cluster import pki
from rehearsal.cluster.protobuf import CONTENT_TYPE
from rehearsal.cluster.server import ApiServer
from rehearsal.world import World

POD = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
PODS = "/api/v1/namespaces/default/pods"


class Client:
    """Requests to an API server in this process, over plain HTTP."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tokens: dict[str, str]) -> None:
        self.session = session
        self.url = url
        self.tokens = tokens

    async def ask(
        self, method: str, path: str, body: Any = None, user: str = "admin", **headers: str
    ) -> tuple[int, Any]:
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        if user:
            headers["Authorization"] = f"Bearer {self.tokens[user]}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        if not isinstance(body, bytes) and body is not None:
            headers.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + path, data=data, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type else text


@contextlib.asynccontextmanager
async def serving(handler: Any, host: str = "127.44.0.2", ssl: Any = None) -> AsyncIterator[int]:
    """A server on a free port; its number."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=ssl)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def with_api(folder: Path, work: Callable[[Client, ApiServer], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World.make("test", folder, 44)
        credentials = pki.ensure(world)
        api = ApiServer(credentials)
        tokens = {user.name: token for token, user in pki.read_tokens(credentials).items()}
        async with serving(api.handle) as port, aiohttp.ClientSession() as session:
            await work(Client(session, f"http://127.44.0.2:{port}", tokens), api)
            await api.handlers.close()

    asyncio.run(run())


def test_what_a_stranger_and_a_user_without_rights_may_ask(tmp_path: Path) -> None:
    async def work(client: Client, api: ApiServer) -> None:
        assert (await client.ask("GET", "/readyz", user=""))[0] == 200
        assert (await client.ask("GET", "/api", user=""))[0] == 403
        assert (await client.ask("GET", "/apis", user="ops"))[0] == 200
        assert (await client.ask("GET", PODS, user=""))[0] == 403
        assert (await client.ask("GET", "/metrics", user="ops"))[0] == 403
        status, refused = await client.ask("DELETE", PODS, user="ops")
        assert status == 403 and "cannot deletecollection" in refused["message"]
        review = {"spec": {"namespace": "default"}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        assert (await client.ask("POST", path, review, user="ops"))[1]["status"]["resourceRules"] == []

    with_api(tmp_path, work)


def test_a_binding_gives_exactly_its_rights(tmp_path: Path) -> None:
    async def work(client: Client, api: ApiServer) -> None:
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get", "patch"]}]
        await client.ask("POST", f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": rules})
        subjects = [{"kind": "User", "name": "ops"}]
        reference = {"kind": "Role", "name": "r"}
        body = {"metadata": {"name": "b"}, "subjects": subjects, "roleRef": reference}
        assert (await client.ask("POST", f"{rbac}/rolebindings", body))[0] == 201
        maps = "/api/v1/namespaces/default/configmaps"
        assert (await client.ask("GET", f"{maps}/a", user="ops"))[0] == 404
        for method, path in (("GET", f"{maps}/b"), ("GET", maps), ("DELETE", f"{maps}/a"), ("GET", PODS)):
            assert (await client.ask(method, path, user="ops"))[0] == 403
        assert (await client.ask("GET", "/api/v1/namespaces/kube-system/configmaps/a", user="ops"))[0] == 403

    with_api(tmp_path, work)


def test_a_service_account_token_is_a_user(tmp_path: Path) -> None:
    async def work(client: Client, api: ApiServer) -> None:
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        await client.ask("POST", accounts, {"metadata": {"name": "robot"}})
        _, issued = await client.ask("POST", f"{accounts}/robot/token", {"spec": {"expirationSeconds": 600}})
        client.tokens["robot"] = issued["status"]["token"]
        status, refused = await client.ask("GET", PODS, user="robot")
        assert status == 403 and "system:serviceaccount:default:robot" in refused["message"]

    with_api(tmp_path, work)


def test_bodies_that_can_not_be_read(tmp_path: Path) -> None:
    async def work(client: Client, api: ApiServer) -> None:
        maps = "/api/v1/namespaces/default/configmaps"
        assert (await client.ask("POST", maps, b"[]", Content_Type="application/json"))[0] == 400
        assert (await client.ask("POST", maps, b"", Content_Type="application/json"))[0] == 400
        assert (await client.ask("POST", maps, b"x", Content_Type="text/csv"))[0] == 415
        assert (await client.ask("POST", maps, b"k8s\x00\xff", Content_Type=CONTENT_TYPE))[0] == 415
        made = await client.ask("POST", maps, b"metadata: {name: y}\ndata: {a: b}\n", Content_Type="application/yaml")
        assert made[0] == 201
        big = b'{"metadata":{"name":"big"},"data":{"a":"' + b"x" * (4 << 20) + b'"}}'
        assert (await client.ask("POST", maps, big, Content_Type="application/json"))[0] == 413
        for query in ("limit=x", "continue=x", "dryRun=Some&x", "labelSelector=a==="):
            method, body = ("POST", {"metadata": {"name": "z"}}) if "dryRun" in query else ("GET", None)
            assert (await client.ask(method, f"{maps}?{query}", body))[0] == 400

    with_api(tmp_path, work)


def test_a_watch_from_too_old_a_version_is_told_in_the_stream(tmp_path: Path) -> None:
    async def work(client: Client, api: ApiServer) -> None:
        status, event = await client.ask("GET", f"{PODS}?watch=1&resourceVersion=999999")
        assert (status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)
        assert (await client.ask("GET", f"{PODS}?watch=1&resourceVersion=x"))[0] == 400

    with_api(tmp_path, work)


def test_metadata_alone_and_aggregated_discovery(tmp_path: Path) -> None:
    async def work(client: Client, api: ApiServer) -> None:
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        _, found = await client.ask("GET", "/api/v1/namespaces", Accept=accept)
        assert found["kind"] == "PartialObjectMetadataList" and set(found["items"][0]) == {
            "kind",
            "apiVersion",
            "metadata",
        }
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        _, found = await client.ask("GET", "/apis", Accept=accept)
        apps = next(item for item in found["items"] if item["metadata"]["name"] == "apps")
        names = [resource["resource"] for resource in apps["versions"][0]["resources"]]
        assert found["apiVersion"] == "apidiscovery.k8s.io/v2" and "deployments" in names

    with_api(tmp_path, work)


async def scheduled(client: Client, kubelet_port: int, address: str) -> None:
    """A pod with an address on a node whose kubelet listens on ``kubelet_port``."""
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.44.0.2"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
    }
    await client.ask("POST", "/api/v1/nodes", {"metadata": {"name": "n"}, "status": status})
    await client.ask("POST", PODS, POD)
    await client.ask("POST", f"{PODS}/p/binding", {"target": {"kind": "Node", "name": "n"}})
    merge = {"Content_Type": "application/merge-patch+json"}
    await client.ask("PATCH", f"{PODS}/p/status", {"status": {"podIP": address}}, **merge)


def test_logs_come_from_the_kubelet_of_the_node(tmp_path: Path) -> None:
    import ssl

    async def kubelet(request: web.BaseRequest) -> web.Response:
        assert "Authorization" not in request.headers, "the client's token is not for the node"
        return web.Response(text=f"{request.path}?{request.query_string}")

    async def work(client: Client, api: ApiServer) -> None:
        pki_folder = tmp_path / "pki"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki_folder / "apiserver.crt", pki_folder / "apiserver.key")
        async with serving(kubelet, ssl=context) as port:
            await client.ask("POST", PODS, POD | {"metadata": {"name": "idle"}})
            assert (await client.ask("GET", f"{PODS}/idle/log"))[0] == 400
            await scheduled(client, port, "127.44.0.2")
            status, text = await client.ask("GET", f"{PODS}/p/log?tailLines=5&follow=false&other=1")
            assert (status, text) == (200, "/containerLogs/default/p/c?follow=false&tailLines=5")
            assert (await client.ask("GET", f"{PODS}/p/log?container=x"))[0] == 400
        assert (await client.ask("GET", f"{PODS}/p/log"))[0] == 503, "the node is away"

    with_api(tmp_path, work)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_the_proxy_passes_a_request_on_to_a_pod_and_a_service(tmp_path: Path, method: str) -> None:
    async def echo(request: web.BaseRequest) -> web.Response:
        body = (await request.read()).decode()
        told = {"method": request.method, "path": request.path_qs, "body": body}
        return web.json_response(told | {"token": "Authorization" in request.headers}, status=418)

    async def work(client: Client, api: ApiServer) -> None:
        async with serving(echo) as port:
            await scheduled(client, 1, "127.44.0.2")
            body = None if method == "GET" else {"errors": 0.3}
            status, told = await client.ask(method, f"{PODS}/p:{port}/proxy/fault/a?x=1&x=2", body)
            assert status == 418 and not told["token"]
            assert (told["method"], told["path"]) == (method, "/fault/a?x=1&x=2")
            assert told["body"] == ("" if body is None else json.dumps(body))
            labels = {"kubernetes.io/service-name": "web"}
            slices = {
                "metadata": {"name": "web-1", "labels": labels},
                "addressType": "IPv4",
                "endpoints": [
                    {"addresses": ["127.44.0.9"], "conditions": {"ready": False}},
                    {"addresses": ["127.44.0.2"], "conditions": {"ready": True}},
                ],
                "ports": [{"name": "http", "port": port}],
            }
            path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
            assert (await client.ask("POST", path, slices))[0] == 201
            services = "/api/v1/namespaces/default/services"
            assert (await client.ask(method, f"{services}/web:http/proxy/ok", body))[1]["path"] == "/ok"
            assert (await client.ask(method, f"{services}/none/proxy/ok", body))[0] == 503

    with_api(tmp_path, work)


def test_an_eviction_is_held_back_by_a_budget(tmp_path: Path) -> None:
    async def work(client: Client, api: ApiServer) -> None:
        budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
        body = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}}
        await client.ask("POST", budgets, body)
        merge = {"Content_Type": "application/merge-patch+json"}
        status = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
        await client.ask("PATCH", f"{budgets}/b/status", {"status": status}, **merge)
        for name, labels in (("held", {"app": "x"}), ("free", {})):
            await client.ask("POST", PODS, POD | {"metadata": {"name": name, "labels": labels}})
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction"}
        assert (await client.ask("POST", f"{PODS}/held/eviction", eviction))[0] == 429
        assert (await client.ask("POST", f"{PODS}/free/eviction", eviction))[0] == 201
        _, found = await client.ask("GET", PODS)
        assert [item["metadata"]["name"] for item in found["items"]] == ["held"]

    with_api(tmp_path, work)
