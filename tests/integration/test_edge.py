"""The edge against the emulated API: real Envoy, real requests, objects changed only through the Kubernetes API."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web

from rehearsal import edge
from rehearsal.client import ApiError, KubeClient, Object
from rehearsal.load import LoadReport, read_report
from rehearsal.world import World
from tests.unit.edge.edge_objects import (
    COOKIE_AFFINITY,
    HOST,
    NAMESPACE,
    destination_rule,
    endpoint,
    endpoint_slice,
    service,
    split,
    target,
    virtual_service,
)

REPOSITORY = Path(__file__).resolve().parents[2]
BLOCK = 52
VERSIONS = {"a": "5.0", "b": "5.0", "c": "5.1", "d": "5.1", "e": "5.1"}
PODS = ("a", "b", "c", "d")
ISTIO = f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
VIRTUAL_SERVICE = f"{ISTIO}/virtualservices/claude-enhancer"
EVERYBODY = split(20)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of which only the Kubernetes API runs."""
    place = World.make("edge", tmp_path_factory.mktemp("edge"), BLOCK)
    place.save()
    command = [sys.executable, "-m", "rehearsal.cluster", "--home", str(place.home), "--block", str(BLOCK)]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        asyncio.run(_until_ready(place))
        yield place
    finally:
        process.terminate()
        process.wait(10)


async def _until_ready(place: World) -> None:
    deadline = time.monotonic() + 20
    while True:
        with suppress(OSError, aiohttp.ClientError, ApiError):
            async with KubeClient.from_kubeconfig(place.kubeconfig) as client:
                await client.get("/readyz")
                return
        assert time.monotonic() < deadline, "the API server doesn't answer"
        await asyncio.sleep(0.1)


def address(world: World, pod: str) -> str:
    return f"{world.network}.128.{ord(pod)}"


async def put(client: KubeClient, collection: str, body: Object) -> None:
    """Create an object, in place of the one of that name if there is one."""
    plain = {key: value for key, value in body["metadata"].items() if key in ("name", "namespace", "labels")}
    with suppress(ApiError):
        await client.delete(f"{collection}/{plain['name']}", {"gracePeriodSeconds": 0})
    await client.create(collection, body | {"metadata": plain})


async def install_kinds(client: KubeClient) -> None:
    """The two kinds of Istio that the edge reads."""
    for kind in ("VirtualService", "DestinationRule"):
        plural, open_schema = kind.lower() + "s", {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": open_schema}}}
        body = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.networking.istio.io"},
            "spec": {
                "group": "networking.istio.io",
                "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
            },
        }
        with suppress(ApiError):
            await client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)


def pod_body(name: str) -> Object:
    container = {"name": "app", "image": f"claude-enhancer:{VERSIONS[name]}"}
    labels = {"app": "claude-enhancer", "version": VERSIONS[name]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"containers": [container]},
    }


async def put_application(world: World, client: KubeClient) -> None:
    """Four pods behind Service claude-enhancer and one to come, and a Service that has none."""
    with suppress(ApiError):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await client.create("/api/v1/namespaces", body)
    for name in VERSIONS:
        await put(client, f"{CORE}/pods", pod_body(name))
    for name in ("claude-enhancer", "claude-enhancer-service"):
        await put(client, f"{CORE}/services", {"apiVersion": "v1", "kind": "Service"} | service(name))
    await put_endpoints(world, client, *PODS)


async def put_endpoints(world: World, client: KubeClient, *names: str) -> None:
    """These pods, and no others, are the ready endpoints of Service claude-enhancer."""
    made = endpoint_slice("claude-enhancer", *(endpoint(name, address(world, name)) for name in names))
    body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"} | made
    path = f"{SLICES}/{made['metadata']['name']}"
    try:
        await client.patch(path, {"endpoints": body["endpoints"]})
    except ApiError:
        await put(client, SLICES, body)


@asynccontextmanager
async def backend(world: World, pod: str) -> AsyncIterator[None]:
    """A pod's server: says its version and name, and keeps serving kept connections until it is gone."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok", headers={"x-claude-version": VERSIONS[pod], "x-claude-pod": pod})

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/ws", echo)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address(world, pod), 8080).start()
    try:
        yield
    finally:
        await runner.cleanup()


@dataclass
class Place:
    """A running edge with four pods behind it."""

    world: World
    client: KubeClient
    session: aiohttp.ClientSession

    async def ask(self, host: str = HOST, **headers: str) -> tuple[int, str, str]:
        """Status, version and Set-Cookie (each ``""`` where absent) of one request."""
        async with self.session.get(f"{self.world.edge_url}/", headers={"Host": host} | headers) as answer:
            await answer.read()
            got = answer.headers
            return answer.status, got.get("x-claude-version", ""), got.get("set-cookie", "")

    async def until(self, wanted: Callable[[tuple[int, str, str]], bool], **headers: str) -> float:
        """Ask until an answer is as wanted; the seconds that took."""
        began = time.monotonic()
        while not wanted(await self.ask(**headers)):
            assert time.monotonic() < began + 5, f"still {await self.ask(**headers)}"
        return time.monotonic() - began

    async def weigh(self, weight: int) -> None:
        """Give the candidate ``weight`` percent in every route."""
        await self.client.patch(VIRTUAL_SERVICE, {"spec": {"http": [split(weight)]}})

    async def put_traffic(self, *routes: Object, policy: Object | None = None) -> None:
        await put(self.client, f"{ISTIO}/destinationrules", destination_rule(policy))
        await put(self.client, f"{ISTIO}/virtualservices", virtual_service(*routes))
        await asyncio.sleep(0.3)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Place]:
    """The edge and its pods, without any traffic object."""
    async with (
        KubeClient.from_kubeconfig(world.kubeconfig) as client,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        backend(world, "a"),
        backend(world, "b"),
        backend(world, "c"),
        backend(world, "d"),
    ):
        await put_application(world, client)
        task = asyncio.create_task(edge.run(world, client))
        place = Place(world, client, session)
        try:
            await _until_routing(place, task)
            yield place
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _until_routing(place: Place, task: asyncio.Task[None]) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert not task.done(), task.exception()
        with suppress(aiohttp.ClientError):
            if (await place.ask("claude-enhancer"))[0] == 200:
                return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def on_edge(world: World, scenario: Callable[[Place], Coroutine[Any, Any, None]], *, kinds: bool = True) -> None:
    async def run() -> None:
        async with running(world) as place:
            if kinds:
                await install_kinds(place.client)
            await scenario(place)

    asyncio.run(run())


@asynccontextmanager
async def load(world: World, **options: object) -> AsyncIterator[None]:
    """A load beside the scenario, in a process of its own; asked to finish at the end."""
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rehearsal.load", "--home", str(world.home), "--duration", "60", *arguments,
        cwd=REPOSITORY,
    )  # fmt: skip
    try:
        while not (world.home / "load.json").exists() or read_report(world.home).sent == 0:
            await asyncio.sleep(0.05)
        yield
    finally:
        process.terminate()
        await process.wait()


def test_traffic_kinds_may_be_installed_after_the_edge_started(world: World) -> None:
    async def scenario(place: Place) -> None:
        assert (await place.ask())[0] == 404
        await install_kinds(place.client)
        await place.put_traffic({"route": [target("candidate")]})
        await place.until(lambda answer: answer[:2] == (200, "5.1"))

    on_edge(world, scenario, kinds=False)


def test_a_split_is_as_asked_and_header_routes_are_pinned(world: World) -> None:
    async def scenario(place: Place) -> None:
        pinned = {"match": [{"headers": {"x-canary-user": {"exact": "true"}}}], "route": [target("candidate")]}
        await place.put_traffic(pinned, EVERYBODY, policy=COOKIE_AFFINITY)
        counts = Counter([(await place.ask())[1] for _ in range(2000)])
        assert counts["5.0"] + counts["5.1"] == 2000
        assert 310 <= counts["5.1"] <= 490, counts  # five standard deviations around 400
        assert {(await place.ask(**{"x-canary-user": "true"}))[1] for _ in range(20)} == {"5.1"}

    on_edge(world, scenario)


def test_fifty_weight_changes_under_load_lose_nothing_and_are_in_force_at_once(world: World) -> None:
    async def scenario(place: Place) -> None:
        await place.put_traffic(split(0))
        (world.home / "load.json").unlink(missing_ok=True)
        times = []
        async with load(world, rate=200):
            for index in range(50):
                weight, version = (100, "5.1") if index % 2 == 0 else (0, "5.0")
                await place.weigh(weight)
                times.append(await place.until(lambda answer, version=version: answer[1] == version))  # type: ignore[misc]
                await asyncio.sleep(0.02)
        report: LoadReport = read_report(world.home)
        assert report.failed == 0, report.failures[:3]
        assert report.sent > 200
        assert min(report.versions[version].answered for version in ("5.0", "5.1")) > 50
        print(f"in force after: median {1000 * statistics.median(times):.1f} ms, largest {1000 * max(times):.1f} ms")
        assert statistics.median(times) < 0.1

    on_edge(world, scenario)


def test_a_user_stays_where_the_first_answer_came_from_while_the_weight_grows(world: World) -> None:
    async def scenario(place: Place) -> None:
        await place.put_traffic(split(5), policy=COOKIE_AFFINITY)
        users = []
        for _ in range(100):
            _, version, cookie = await place.ask()
            users.append((cookie.partition(";")[0], version))
        assert len({cookie for cookie, _ in users}) == 100
        for weight in (5, 20, 50, 100):
            await place.weigh(weight)
            await asyncio.sleep(0.2)
            now = [(cookie, await place.ask(Cookie=cookie)) for cookie, _ in users]
            assert not any(answer[2] for _, answer in now), "who has a cookie needs no other"
            left = [
                1 for (_, before), (_, after) in zip(users, now, strict=True) if (before, after[1]) == ("5.1", "5.0")
            ]
            assert not left
            users = [(cookie, answer[1]) for cookie, answer in now]
        assert {version for _, version in users} == {"5.1"}

    on_edge(world, scenario)


def test_no_ready_endpoint_answers_503_and_a_pod_taken_away_loses_nothing(world: World) -> None:
    async def scenario(place: Place) -> None:
        await place.put_traffic(split(50))
        assert (await place.ask("claude-enhancer-service"))[0] == 503
        (world.home / "load.json").unlink(missing_ok=True)
        async with load(world, rate=200):
            for _ in range(5):
                async with backend(world, "e"):
                    await put_endpoints(world, place.client, *PODS, "e")
                    await asyncio.sleep(0.1)
                    await put_endpoints(world, place.client, *PODS)
                    await asyncio.sleep(0.1)
        report = read_report(world.home)
        assert (report.failed, report.sent > 150) == (0, True), report.failures[:3]
        await place.client.patch(VIRTUAL_SERVICE, {"spec": {"http": [{"route": [target("candidate")]}]}})
        await put_endpoints(world, place.client, "a", "b")
        await place.until(lambda answer: answer[0] == 503)
        assert (await place.ask("claude-enhancer.claude-enhancer:80"))[:2] == (200, "5.0")

    on_edge(world, scenario)


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        ({"route": [target("stable", 0), target("candidate", 0)]}, "NotTranslated"),
        (split(100, match=[{"uri": {"regex": "(["}}]), "Refused"),
    ],
)
def test_what_cant_be_used_leaves_the_last_good_in_force_and_is_told(world: World, route: Object, reason: str) -> None:
    async def scenario(place: Place) -> None:
        await place.put_traffic({"route": [target("candidate")]})
        await place.until(lambda answer: answer[1] == "5.1")
        await place.client.patch(VIRTUAL_SERVICE, {"spec": {"http": [route]}})
        deadline = time.monotonic() + 5
        while reason not in [event["reason"] for event in (await place.client.get(f"{CORE}/events"))["items"]]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert (await place.ask())[1] == "5.1"
        version = await edge.edge_version(world)
        assert int(version.routes) > 0
        await place.weigh(0)
        await place.until(lambda answer: answer[1] == "5.0")

    on_edge(world, scenario)


def test_websockets_pass(world: World) -> None:
    async def scenario(place: Place) -> None:
        await place.put_traffic(split(50))
        async with place.session.ws_connect(f"{world.edge_url}/ws", headers={"Host": HOST}) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str(timeout=5) == "hello"

    on_edge(world, scenario)


def test_statistics_are_per_cluster_and_envoy_is_small(world: World) -> None:
    async def scenario(place: Place) -> None:
        await place.put_traffic({"route": [target("candidate")]})
        await place.until(lambda answer: answer[1] == "5.1")
        async with place.session.get(f"{world.edge_admin_url}/stats/prometheus") as answer:
            text = await answer.text()
        name = "outbound|80|candidate|claude-enhancer.claude-enhancer.svc.cluster.local"
        labels = f'{{envoy_response_code_class="2",envoy_cluster_name="{name}"}}'
        assert f"envoy_cluster_upstream_rq_xx{labels}" in text
        (process,) = [child for child in psutil.Process().children() if child.name() == "envoy"]
        assert process.memory_info().rss < 120e6

    on_edge(world, scenario)


def test_envoy_is_started_again_and_dies_with_its_parent(world: World) -> None:
    program = (
        "import asyncio; from pathlib import Path; from rehearsal import edge\n"
        "from rehearsal.client import KubeClient; from rehearsal.world import World\n"
        "async def main():\n"
        f"    world = World.load(Path({str(world.home)!r}))\n"
        "    async with KubeClient.from_kubeconfig(world.kubeconfig) as client:\n"
        "        await edge.run(world, client)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, env=os.environ)
    try:
        first = _envoy_of(parent.pid)
        first.kill()
        psutil.wait_procs([first], 5)
        second = _envoy_of(parent.pid)
        assert second.pid != first.pid
        parent.send_signal(signal.SIGKILL)
        parent.wait(5)
        assert psutil.wait_procs([second], 5)[1] == []
    finally:
        parent.kill()
        parent.wait(5)


def _envoy_of(pid: int) -> psutil.Process:
    deadline = time.monotonic() + 10
    while True:
        found = [child for child in psutil.Process(pid).children() if child.name() == "envoy"]
        if found:
            return found[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
