"""HAProxy as the edge: splits follow the runtime API, users keep their side, and pods and instances may go away."""

from __future__ import annotations

import asyncio
import copy
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from rehearsal.cli import CommandError
from rehearsal.cli import load as steady_load
from rehearsal.client import KubeClient
from rehearsal.haproxy import places, report, runtime
from rehearsal.haproxy.configuration import INITIAL_WEIGHTS, SLOTS
from rehearsal.haproxy.instances import start_instance, stop_instance
from rehearsal.haproxy.servers import read_servers
from rehearsal.load import LoadReport, read_report
from rehearsal.world import EDGE_HOSTNAME, NAMESPACE, World
from tests.integration.world_fixture import REPOSITORY, world  # noqa: F401

DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
CANDIDATE = "claude-enhancer-haproxy"
TESTER = {"x-canary-user": "true"}
PATIENCE = 20.0


def in_cluster(place: World, work: Callable[[KubeClient], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with KubeClient.from_kubeconfig(place.kubeconfig, "test") as client:
            return await work(client)

    return asyncio.run(run())


def on_both(place: World, *commands: str) -> list[str]:
    """The answers of both instances to the commands, in one go each."""
    return [asyncio.run(runtime.ask(instance.socket, *commands)) for instance in place.haproxy]


def set_map(place: World, weight: int) -> None:
    on_both(place, f"set map {places.map_file(place.home)} {places.KEY} {weight}")


def set_servers(place: World, *changes: tuple[str, int]) -> None:
    """Weights of all servers of a side, side by side in the order given."""
    names = [(f"{side}-{number}", weight) for side, weight in changes for number in range(1, SLOTS + 1)]
    on_both(place, *(f"set server {places.WEIGHTED}/{name} weight {weight}" for name, weight in names))


class Client:
    """One kept connection that tells which version answered; 0 and no version where nothing did."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    def __enter__(self) -> Client:
        assert self._address.hostname is not None
        self._connection = http.client.HTTPConnection(self._address.hostname, self._address.port, timeout=5)
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def ask(self, cookie: str = "", **headers: str) -> tuple[int, str | None]:
        cookies = {"Cookie": f"claude-session={cookie}"} if cookie else {}
        try:
            self._connection.request("GET", "/health", headers={"Host": EDGE_HOSTNAME} | cookies | headers)
            answer = self._connection.getresponse()
            answer.read()
        except OSError:
            self._connection.close()
            return 0, None
        assert answer.status != 200 or answer.getheader("x-claude-pod")
        return answer.status, answer.getheader("x-claude-version")


def answers(url: str, count: int, **headers: str) -> Counter[tuple[int, str | None]]:
    with Client(url) as client:
        return Counter(client.ask(**headers) for _ in range(count))


def on_candidate(url: str, users: list[str]) -> set[str]:
    with Client(url) as client:
        return {user for user in users if client.ask(user) == (200, "5.1")}


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)


@contextmanager
def load(place: World, urls: list[str]) -> Iterator[Callable[[], LoadReport]]:
    """A load on the addresses, in turns; the report is whole once the context is left."""
    (place.home / "load.json").unlink(missing_ok=True)
    aims = [f"--url={url}" for url in urls]
    command = [sys.executable, "-m", "rehearsal.load", f"--home={place.home}", "--rate=200", "--duration=60", *aims]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    try:
        until(lambda: (place.home / "load.json").exists() and read_report(place.home).answered > 0)
        yield lambda: read_report(place.home)
    finally:
        process.terminate()
        process.wait(15)


def candidate_of(stable: dict[str, Any]) -> dict[str, Any]:
    """Two pods of 5.1, otherwise like the Deployment ``stable``."""
    spec = copy.deepcopy(stable["spec"])
    labels = {"app": "claude-enhancer", "version": "5.1", "deployment-type": "haproxy"}
    spec |= {"replicas": 2, "selector": {"matchLabels": labels}}
    spec["template"]["metadata"]["labels"] = labels
    spec["template"]["spec"]["containers"][0]["image"] = "claude-enhancer:5.1"
    metadata = {"name": CANDIDATE, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def edge(world: World) -> Iterator[World]:  # noqa: F811
    """The world with a candidate that both instances serve."""

    async def create(client: KubeClient) -> None:
        await client.create(DEPLOYMENTS, candidate_of(await client.get(f"{DEPLOYMENTS}/claude-enhancer-blue")))

    in_cluster(world, create)
    try:
        until(lambda: all(len(serving(instance, "candidate")) == 2 for instance in world.haproxy))
        yield world
    finally:
        in_cluster(world, lambda client: client.delete(f"{DEPLOYMENTS}/{CANDIDATE}"))
        until(lambda: in_cluster(world, gone))


async def gone(client: KubeClient) -> bool:
    pods = await client.get(PODS, labelSelector="version=5.1")
    return not pods["items"]


def serving(instance: places.Instance, side: str) -> set[str]:
    """Addresses of the pods that the instance sends to on this side."""
    servers = read_servers(asyncio.run(runtime.ask(instance.socket, f"show servers state {places.WEIGHTED}")))
    taking = (server for server in servers if server.running and not server.maintenance)
    return {server.address[0] for server in taking if server.side == side}


@pytest.fixture(autouse=True)
def as_it_was(edge: World) -> Iterator[None]:
    yield
    set_servers(edge, *INITIAL_WEIGHTS.items())
    set_map(edge, 0)


def test_world_json_leads_to_both_instances_over_unix_socket_and_tcp(edge: World) -> None:
    facts = json.loads((edge.home / "world.json").read_text())["haproxy"]
    for entry in facts["instances"]:
        assert f"{facts['key']} 0" in asyncio.run(runtime.ask(entry["socket"], f"show map {facts['map']}"))
        host, _, port = entry["address"].partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"show servers state " + facts["backend"].encode() + b"\n")
            assert b"candidate-1" in connection.recv(65536)


def test_the_map_splits_both_instances_at_once_and_loses_nothing(edge: World) -> None:
    urls = edge.entries("haproxy")
    with load(edge, urls) as counted:
        for _ in range(20):
            for weight, version in ((100, "5.1"), (0, "5.0")):
                set_map(edge, weight)
                assert [answers(url, 10) for url in urls] == [{(200, version): 10}] * 2
        set_map(edge, 20)
        shares = [answers(url, 500)[200, "5.1"] for url in urls]
        time.sleep(0.5)
    assert all(55 <= share <= 145 for share in shares), shares  # five standard deviations around 100
    assert counted().failed == 0, counted().failures[:3]
    assert set(counted().versions) == {"5.0", "5.1"}


def test_server_weights_raised_first_lose_nothing(edge: World) -> None:
    urls = [instance.servers_url for instance in edge.haproxy]
    with load(edge, urls) as counted:
        for _ in range(20):
            set_servers(edge, ("candidate", 100), ("stable", 0))
            assert [answers(url, 10) for url in urls] == [{(200, "5.1"): 10}] * 2
            set_servers(edge, ("stable", 100), ("candidate", 0))
            assert [answers(url, 10) for url in urls] == [{(200, "5.0"): 10}] * 2
        set_servers(edge, ("candidate", 25))
        shares = [answers(url, 500)[200, "5.1"] for url in urls]
        time.sleep(0.5)
    assert all(50 <= share <= 150 for share in shares), shares
    assert counted().failed == 0, counted().failures[:3]
    assert set(counted().versions) == {"5.0", "5.1"}


def test_a_user_on_the_candidate_stays_there_as_the_weight_grows(edge: World) -> None:
    users = [f"user-{number}" for number in range(300)]
    steps: dict[str, list[Callable[[], None]]] = {
        "url": [lambda weight=weight: set_map(edge, weight) for weight in (5, 20, 50, 100)],  # type: ignore[misc]
        "servers_url": [
            lambda weight=weight: set_servers(edge, ("candidate", weight), ("stable", 100 - weight))  # type: ignore[misc]
            for weight in (5, 20, 50, 100)
        ],
    }
    for kind, changes in steps.items():
        first, second = (getattr(instance, kind) for instance in edge.haproxy)
        before: set[str] = on_candidate(first, users)
        assert before == set()
        for change in changes:
            change()
            after = on_candidate(first, users)
            assert before < after, kind
            assert after == on_candidate(second, users), kind
            before = after
        assert before == set(users)


def test_testers_get_the_candidate_at_weight_0(edge: World) -> None:
    assert [answers(url, 10, **TESTER) for url in edge.entries("haproxy")] == [{(200, "5.1"): 10}] * 2


def test_a_pod_that_goes_away_loses_no_request(edge: World) -> None:
    async def delete_one(client: KubeClient) -> str:
        pods = (await client.get(PODS, labelSelector="version=5.1"))["items"]
        await client.delete(f"{PODS}/{pods[0]['metadata']['name']}")
        return str(pods[0]["status"]["podIP"])

    set_map(edge, 50)
    with load(edge, edge.entries("haproxy")) as counted:
        left = in_cluster(edge, delete_one)
        until(lambda: all(left not in serving(instance, "candidate") for instance in edge.haproxy))
        until(lambda: all(len(serving(instance, "candidate")) == 2 for instance in edge.haproxy))
        time.sleep(1.0)
    assert counted().failed == 0, counted().failures[:3]
    assert counted().versions["5.1"].answered > 50


def test_a_killed_instance_leaves_the_other_serving_and_is_fed_when_it_is_back(edge: World) -> None:
    first, second = edge.haproxy
    set_map(edge, 100)
    with load(edge, [second.url]) as counted:
        stop_instance(edge, first.name, signal.SIGKILL)
        try:
            assert answers(first.url, 3) == {(0, None): 3}
            assert answers(second.url, 50) == {(200, "5.1"): 50}
            dead, alive = asyncio.run(report.weights(edge))
            assert ("error" in dead, alive["map"]) == (True, 100)
        finally:
            start_instance(edge, first.name)
        until(lambda: serving(first, "candidate") == serving(second, "candidate"))
    assert counted().failed == 0, counted().failures[:3]
    assert answers(first.url, 20) == {(200, "5.0"): 20}


def test_an_edge_that_is_not_there_is_named(edge: World) -> None:

    with pytest.raises(CommandError, match="no edge for the provider 'traefik'; there are: gateway_api, haproxy"):
        steady_load.start(edge, 10, 1.0, provider="traefik")
