"""HTTPRoute, Ingress and Route in a whole world: what their weights do to real requests, and what their status says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from rehearsal.client import Object
from rehearsal.world import EDGE_HOSTS, NAMESPACE, World
from tests.integration.edge_providers import (
    CANARY,
    CANDIDATE,
    DEPLOYMENTS,
    HTTP_ROUTE,
    INGRESS,
    INGRESSES,
    NGINX,
    PROVIDERS,
    Place,
    beside_candidate,
    canary_ingress,
    under_load,
    until_candidate_has,
    visit,
)
from tests.integration.world_fixture import world  # noqa: F401

SAMPLE = 400
USERS = 60
OTHER_HOST = "other.claude-enhancer.example.com"


@pytest.fixture(scope="module")
def place_of_two(world: World) -> Iterator[World]:  # noqa: F811
    """The session's world with a pod of 5.1 beside those of 5.0."""
    with beside_candidate(world):
        yield world


def on_edge(place: World, scenario: Callable[[Place], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with visit(place) as visited:
            await scenario(visited)

    asyncio.run(run())


async def until_accepted(place: Place, provider: str) -> float:
    """Wait until the object's status says that the edge has it; the seconds that took."""
    began = time.monotonic()
    while not PROVIDERS[provider].is_accepted(await place.client.get(PROVIDERS[provider].path)):
        assert time.monotonic() < began + 5, await place.client.get(PROVIDERS[provider].path)
    return time.monotonic() - began


async def weigh(place: Place, provider: str, weight: int) -> None:
    """Set a weight and wait until it is in force. Only an HTTPRoute says of itself when that is."""
    await PROVIDERS[provider].weigh(place.client, weight)
    took = await until_accepted(place, provider)
    print(f"{provider} {weight} %: accepted after {1000 * took:.0f} ms")
    if provider != "gateway_api":
        await asyncio.sleep(0.3)


def of_candidate(answers: list[tuple[int, str, str]]) -> int:
    assert {(status, version) for status, version, _ in answers} <= {(200, "5.0"), (200, "5.1")}
    return sum(version == "5.1" for _, version, _ in answers)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_split_follows_the_weights_and_loses_neither_requests_nor_users(place_of_two: World, provider: str) -> None:
    host, kind = EDGE_HOSTS[provider], PROVIDERS[provider]

    async def scenario(place: Place) -> None:
        users: set[str] = set()
        async with under_load(place, host) as load:
            for weight, least, most in ((0, 0, 0), (5, 2, 50), (50, 150, 250), (100, SAMPLE, SAMPLE)):
                await weigh(place, provider, weight)
                answers = await place.sample(host, SAMPLE)
                assert least <= of_candidate(answers) <= most, f"at {weight} %"
                assert not await left(place, host, users), f"at {weight} %"
                users |= {cookie for _, version, cookie in answers if version == "5.1"}
            await weigh(place, provider, 0)
            assert of_candidate(await place.sample(host, SAMPLE)) == 0
            some = set(sorted(users)[:USERS])
            assert len(await left(place, host, some)) == (len(some) if kind.zero_ends_sessions else 0)
            await kind.withdraw(place.client)
            await place.until(host, lambda answer: answer[1] == "5.0", Cookie=min(some))
            assert await left(place, host, some) == some
        assert load.failed == 0, load.answered
        assert len(load.answered) == 2

    async def leave_as_found(place: Place) -> None:
        await kind.restore(place.client)

    try:
        on_edge(place_of_two, scenario)
    finally:
        on_edge(place_of_two, leave_as_found)


async def left(place: Place, host: str, users: set[str]) -> set[str]:
    """Those of ``users`` (by their cookies) whom the stable side answers."""
    return {user for user in sorted(users)[:USERS] if (await place.ask(host, Cookie=user))[1] == "5.0"}


def test_a_side_whose_last_pod_goes_hands_its_users_over_without_a_failure(place_of_two: World) -> None:
    """Of ingress-nginx and OpenShift's router; the Gateway API wants a 503 for such a side's share."""
    providers = ("nginx_ingress", "openshift_route")

    async def scenario(place: Place) -> None:
        users = {}
        for provider in providers:
            await weigh(place, provider, 50)
            answers = await place.sample(EDGE_HOSTS[provider], USERS)
            users[provider] = {cookie for _, version, cookie in answers if version == "5.1"}
        async with AsyncExitStack() as stack:
            loads = [await stack.enter_async_context(under_load(place, EDGE_HOSTS[each])) for each in providers]
            await place.client.patch(f"{DEPLOYMENTS}/{CANDIDATE}", {"spec": {"replicas": 0}})
            for provider in providers:
                await place.until(EDGE_HOSTS[provider], lambda answer: answer[1] == "5.0", Cookie=min(users[provider]))
                assert await left(place, EDGE_HOSTS[provider], users[provider]) == users[provider]
        assert [load.failed for load in loads] == [0, 0]
        assert all(len(load.answered) == 2 for load in loads)

    async def leave_as_found(place: Place) -> None:
        await place.client.patch(f"{DEPLOYMENTS}/{CANDIDATE}", {"spec": {"replicas": 1}})
        await until_candidate_has(place.client, 1)
        for provider in providers:
            await PROVIDERS[provider].restore(place.client)

    try:
        on_edge(place_of_two, scenario)
    finally:
        on_edge(place_of_two, leave_as_found)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_status_is_written_once_and_nobody_else_is_its_owner(place_of_two: World, provider: str) -> None:
    async def scenario(place: Place) -> None:
        await until_accepted(place, provider)
        before = await place.client.get(PROVIDERS[provider].path)
        await asyncio.sleep(0.5)
        after = await place.client.get(PROVIDERS[provider].path)
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        owners = {(each["manager"], each.get("subresource", "")) for each in after["metadata"]["managedFields"]}
        assert {("kubectl", ""), ("rehearsal-edge", "status")} <= owners
        assert ("rehearsal-edge", "") not in owners

    on_edge(place_of_two, scenario)


@asynccontextmanager
async def another_http_route(place: Place, *rules: Object, gateway: str = "claude-enhancer") -> AsyncIterator[str]:
    """An HTTPRoute for a host name of its own; yields its path."""
    collection, _, _ = HTTP_ROUTE.rpartition("/")
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "other", "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"name": gateway}], "hostnames": [OTHER_HOST], "rules": list(rules)},
    }
    await place.client.create(collection, body)
    try:
        yield f"{collection}/other"
    finally:
        await place.client.delete(f"{collection}/other")


def to(side: str, **match: Any) -> Object:
    """A rule that sends what matches to one side."""
    backend = {"name": f"claude-enhancer-{side}", "port": 80}
    return {"backendRefs": [backend]} | ({"matches": [match]} if match else {})


async def reason(place: Place, path: str, kind: str) -> str:
    """The reason of a condition of an HTTPRoute, once it has one."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for parent in (await place.client.get(path)).get("status", {}).get("parents", []):
            return str(next(each["reason"] for each in parent["conditions"] if each["type"] == kind))
        await asyncio.sleep(0.02)
    raise AssertionError(f"{path} got no status")


def test_the_most_specific_match_of_an_http_route_wins_whatever_its_place(place_of_two: World) -> None:
    prefix, exact = {"type": "PathPrefix", "value": "/health"}, {"type": "Exact", "value": "/health"}
    header = [{"name": "x-canary-user", "value": "true"}]
    query = [{"name": "canary", "value": "1"}]
    rules = [
        to("stable"),
        to("candidate", headers=header),
        to("stable", path=prefix),
        to("candidate", path=prefix, queryParams=query),
        to("stable", path=exact, headers=header, method="GET"),
    ]

    async def scenario(place: Place) -> None:
        async with another_http_route(place, *rules):
            await place.until(OTHER_HOST, lambda answer: answer[0] == 200)
            asked = {
                ("/ready", "false"): "5.0",
                ("/ready", "true"): "5.1",
                ("/health", "false"): "5.0",
                ("/health?canary=1", "false"): "5.1",
                ("/health", "true"): "5.0",
            }
            got = {
                (path, user): (await place.ask(OTHER_HOST, path, **{"x-canary-user": user}))[1] for path, user in asked
            }
            assert got == asked

    on_edge(place_of_two, scenario)


def test_what_an_http_route_refers_to_in_vain_is_told_and_answered_with_500(place_of_two: World) -> None:
    async def scenario(place: Place) -> None:
        nowhere = {"backendRefs": [{"name": "claude-enhancer-nowhere", "port": 80}]}
        async with another_http_route(place, nowhere) as path:
            assert await reason(place, path, "ResolvedRefs") == "BackendNotFound"
            assert (await place.ask(OTHER_HOST))[0] == 500
        async with another_http_route(place, to("stable"), gateway="nowhere") as path:
            assert await reason(place, path, "Accepted") == "NoMatchingParent"
            assert (await place.ask(OTHER_HOST))[0] == 404

    on_edge(place_of_two, scenario)


def test_an_http_route_that_envoy_refuses_is_not_accepted_and_can_be_put_right(place_of_two: World) -> None:
    async def scenario(place: Place) -> None:
        broken = to("stable", path={"type": "RegularExpression", "value": "(["})
        async with another_http_route(place, broken) as path:
            assert await reason(place, path, "Accepted") == "UnsupportedValue"
            await place.client.patch(path, {"spec": {"rules": [to("candidate")]}})
            await place.until(OTHER_HOST, lambda answer: answer[1] == "5.1")
            deadline = time.monotonic() + 5
            while await reason(place, path, "Accepted") != "Accepted":
                assert time.monotonic() < deadline

    on_edge(place_of_two, scenario)


def test_a_canary_is_chosen_by_header_before_cookie(place_of_two: World) -> None:
    host = EDGE_HOSTS["nginx_ingress"]
    annotations = {f"{NGINX}-by-header": "x-canary", f"{NGINX}-by-cookie": "canary", f"{NGINX}-weight": "0"}

    async def scenario(place: Place) -> None:
        await place.client.create(INGRESSES, canary_ingress(await place.client.get(INGRESS), annotations))
        try:
            await place.until(host, lambda answer: answer[1] == "5.1", **{"x-canary": "always"})
            assert (await place.ask(host, Cookie="a=b; canary=always; c=d"))[1] == "5.1"
            assert (await place.ask(host, **{"Cookie": "canary=always", "x-canary": "never"}))[1] == "5.0"
            assert (await place.ask(host, Cookie="canary=sometimes"))[1] == "5.0"
            assert (await place.ask(host))[1] == "5.0"
        finally:
            await place.client.delete(CANARY)

    on_edge(place_of_two, scenario)


def test_a_host_that_a_route_has_is_refused_to_a_later_one(place_of_two: World) -> None:
    async def scenario(place: Place) -> None:
        path = PROVIDERS["openshift_route"].path
        first = await place.client.get(path)
        # Ages are counted in seconds.
        await asyncio.sleep(1)
        collection, _, _ = path.rpartition("/")
        await place.client.create(
            collection, {key: first[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "later"}}
        )
        try:
            deadline = time.monotonic() + 5
            while not (found := (await place.client.get(f"{collection}/later")).get("status", {}).get("ingress")):
                assert time.monotonic() < deadline
            assert found[0]["conditions"][0]["reason"] == "HostAlreadyClaimed"
        finally:
            await place.client.delete(f"{collection}/later")

    on_edge(place_of_two, scenario)
