"""How the tests weigh each kind of traffic object of a world, and what its status says; requests counted by version."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from rehearsal.app.agents import make_agent_files
from rehearsal.client import JSON_PATCH, ApiError, KubeClient, Object
from rehearsal.world import NAMESPACE, World

HTTP_ROUTE = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes/claude-enhancer"
INGRESSES = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses"
INGRESS, CANARY = f"{INGRESSES}/claude-enhancer", f"{INGRESSES}/claude-enhancer-canary"
ROUTE = f"/apis/route.openshift.io/v1/namespaces/{NAMESPACE}/routes/claude-enhancer"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
CANDIDATE = "claude-enhancer-candidate"
NGINX = "nginx.ingress.kubernetes.io/canary"
Answer = tuple[int, str, str]


@dataclass
class Place:
    """A world with both versions running, and a session without cookies of its own."""

    world: World
    client: KubeClient
    session: aiohttp.ClientSession

    async def ask(self, host: str, path: str = "/health", **headers: str) -> Answer:
        """Status, version and cookie (each ``""`` where absent) of one request."""
        url = f"{self.world.edge_url}{path}"
        async with self.session.get(url, headers={"Host": host} | headers) as answer:
            await answer.read()
            cookie = answer.headers.get("set-cookie", "").partition(";")[0]
            return answer.status, answer.headers.get("x-claude-version", ""), cookie

    async def sample(self, host: str, count: int, at_once: int = 8) -> list[Answer]:
        """``count`` requests of new users."""
        answers: list[Answer] = []

        async def some() -> None:
            while len(answers) < count:
                answers.append(await self.ask(host))

        await asyncio.gather(*(some() for _ in range(at_once)))
        return answers[:count]

    async def until(self, host: str, wanted: Callable[[Answer], bool], path: str = "/health", **headers: str) -> None:
        began = time.monotonic()
        while not wanted(answer := await self.ask(host, path, **headers)):
            assert time.monotonic() < began + 5, f"still {answer}"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def visit(world: World) -> AsyncIterator[Place]:
    async with (
        KubeClient.from_kubeconfig(world.kubeconfig, "test") as client,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield Place(world, client, session)


@dataclass
class Load:
    """Requests of new users beside the scenario, one after the other."""

    answered: Counter[tuple[int, str]] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return sum(count for (status, _), count in self.answered.items() if status != 200)


@asynccontextmanager
async def under_load(place: Place, host: str) -> AsyncIterator[Load]:
    load = Load()

    async def run() -> None:
        while True:
            status, version, _ = await place.ask(host)
            load.answered[status, version] += 1
            await asyncio.sleep(0.002)

    task = asyncio.create_task(run())
    try:
        yield load
        assert not task.done(), "a request had no answer"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def start_candidate(client: KubeClient) -> None:
    """One pod of 5.1 beside blue, ready."""
    blue = await client.get(f"{DEPLOYMENTS}/claude-enhancer-blue")
    spec = copy.deepcopy(blue["spec"]) | {"replicas": 1}
    template = spec["template"]
    labels = {"app": "claude-enhancer", "version": "5.1", "deployment-type": "canary"}
    template["metadata"]["labels"] = labels
    spec["selector"] = {"matchLabels": labels}
    (container,) = template["spec"]["containers"]
    container["image"] = container["image"].replace("5.0", "5.1")
    for volume in template["spec"]["volumes"]:
        if volume.get("configMap", {}).get("name") == "claude-enhancer-5.0-agents":
            volume["configMap"]["name"] = "claude-enhancer-5.1-agents"
    agents = {"name": "claude-enhancer-5.1-agents", "namespace": NAMESPACE}
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    await client.create(CONFIG_MAPS, kind | {"metadata": agents, "data": make_agent_files("5.1")})
    metadata = {"name": CANDIDATE, "namespace": NAMESPACE, "labels": labels}
    await client.create(
        DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    )
    await until_candidate_has(client, 1)


async def until_candidate_has(client: KubeClient, pods: int) -> None:
    """Wait until so many pods of the candidate are ready."""
    deadline = time.monotonic() + 30
    while (await client.get(f"{DEPLOYMENTS}/{CANDIDATE}")).get("status", {}).get("readyReplicas", 0) != pods:
        assert time.monotonic() < deadline, f"the candidate doesn't come to {pods} ready pods"
        await asyncio.sleep(0.1)


@contextmanager
def beside_candidate(world: World) -> Iterator[World]:
    """The world with a pod of 5.1 beside those of 5.0, until the block ends."""

    async def on_client(work: Callable[[KubeClient], Coroutine[Any, Any, None]]) -> None:
        async with KubeClient.from_kubeconfig(world.kubeconfig) as client:
            await work(client)

    asyncio.run(on_client(start_candidate))
    try:
        yield world
    finally:
        asyncio.run(on_client(stop_candidate))


async def stop_candidate(client: KubeClient) -> None:
    await client.delete(f"{DEPLOYMENTS}/{CANDIDATE}", {"propagationPolicy": "Foreground"})
    await client.delete(f"{CONFIG_MAPS}/claude-enhancer-5.1-agents")


@dataclass(frozen=True)
class Provider:
    """One kind of traffic object: where it is, how it is weighed, and how what it says of itself is read.

    ``withdraw`` takes the candidate out altogether; ``restore`` makes the object what it was at first.
    ``zero_ends_sessions`` says whether a weight of 0 alone already takes users away from the candidate.
    """

    path: str
    weigh: Callable[[KubeClient, int], Awaitable[object]]
    is_accepted: Callable[[Object], bool]
    withdraw: Callable[[KubeClient], Awaitable[object]]
    restore: Callable[[KubeClient], Awaitable[object]]
    zero_ends_sessions: bool


async def _weigh_http_route(client: KubeClient, weight: int) -> None:
    """By JSON patch, in each rule that splits."""
    rules = (await client.get(HTTP_ROUTE))["spec"]["rules"]
    patch = [
        {"op": "replace", "path": f"/spec/rules/{rule}/backendRefs/{side}/weight", "value": value}
        for rule, facts in enumerate(rules)
        for side, value in enumerate((100 - weight, weight))
        if len(facts["backendRefs"]) == 2
    ]
    await client.patch(HTTP_ROUTE, patch, JSON_PATCH, fieldManager="release")


def _http_route_accepted(item: Object) -> bool:
    """Accepted, and that of the object as it is now."""
    found = [
        each
        for parent in item.get("status", {}).get("parents", [])
        for each in parent["conditions"]
        if each["type"] == "Accepted"
    ]
    generation = item["metadata"]["generation"]
    return bool(found) and all(each["status"] == "True" and each["observedGeneration"] == generation for each in found)


async def _weigh_ingress(client: KubeClient, weight: int) -> None:
    """By a canary Ingress beside the main one, made when it is first needed."""
    try:
        change = {"metadata": {"annotations": {f"{NGINX}-weight": str(weight)}}}
        await client.patch(CANARY, change, fieldManager="release")
    except ApiError as error:
        if error.status != 404:
            raise
        await client.create(INGRESSES, canary_ingress(await client.get(INGRESS), {f"{NGINX}-weight": str(weight)}))


def canary_ingress(main: Object, annotations: dict[str, str]) -> Object:
    """The canary of ``main``: the same paths, to the candidate."""
    spec = copy.deepcopy(main["spec"])
    for rule in spec["rules"]:
        for path in rule["http"]["paths"]:
            path["backend"]["service"]["name"] = CANDIDATE
    metadata = {"name": "claude-enhancer-canary", "namespace": NAMESPACE, "annotations": {NGINX: "true"} | annotations}
    return {"apiVersion": main["apiVersion"], "kind": "Ingress", "metadata": metadata, "spec": spec}


def _ingress_accepted(item: Object) -> bool:
    return bool(item.get("status", {}).get("loadBalancer", {}).get("ingress"))


async def _remove_canary(client: KubeClient) -> None:
    with suppress(ApiError):
        await client.delete(CANARY)


async def _weigh_route(client: KubeClient, weight: int) -> None:
    """By merge patch, which replaces the list of alternate backends."""
    to = {"kind": "Service", "name": "claude-enhancer-stable", "weight": 100 - weight}
    other = {"kind": "Service", "name": CANDIDATE, "weight": weight}
    await client.patch(ROUTE, {"spec": {"to": to, "alternateBackends": [other]}}, fieldManager="release")


def _route_accepted(item: Object) -> bool:
    found = item.get("status", {}).get("ingress", [])
    return any(each["type"] == "Admitted" and each["status"] == "True" for one in found for each in one["conditions"])


async def _remove_alternate(client: KubeClient) -> None:
    await client.patch(ROUTE, {"spec": {"to": {"weight": 100}, "alternateBackends": None}})


def _at_zero(weigh: Callable[[KubeClient, int], Awaitable[None]]) -> Callable[[KubeClient], Awaitable[None]]:
    return lambda client: weigh(client, 0)


PROVIDERS = {
    "gateway_api": Provider(
        path=HTTP_ROUTE,
        weigh=_weigh_http_route,
        is_accepted=_http_route_accepted,
        withdraw=_at_zero(_weigh_http_route),
        restore=_at_zero(_weigh_http_route),
        zero_ends_sessions=True,
    ),
    "nginx_ingress": Provider(
        path=INGRESS,
        weigh=_weigh_ingress,
        is_accepted=_ingress_accepted,
        withdraw=_remove_canary,
        restore=_remove_canary,
        zero_ends_sessions=False,
    ),
    "openshift_route": Provider(
        path=ROUTE,
        weigh=_weigh_route,
        is_accepted=_route_accepted,
        withdraw=_remove_alternate,
        restore=_at_zero(_weigh_route),
        zero_ends_sessions=False,
    ),
}
