"""Each provider as the contract suite meets it in a world: its options, its edge, and what holds the weight."""

from __future__ import annotations

import contextlib
import json
import typing as t
from dataclasses import dataclass

import urllib3

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    http_route,
    ingress,
    openshift_route,
    service,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import TrafficProvider, open_provider
from rehearsal.world import NAMESPACE, World

NAME = "claude-enhancer"
SERVICES = {"stable": {"host": f"{NAME}-stable"}, "candidate": {"host": f"{NAME}-candidate"}}
SESSION_COOKIE = "claude-session"


@dataclass(frozen=True)
class Case:
    """One provider of a world. ``ref`` is the object that carries the weight, None where none of Kubernetes does.

    ``written`` is the object that is written; ``sticky`` whether the world's edge keeps users of it on a side.
    ``exact`` tells that any whole weight can be had.
    """

    name: str
    options: dict[str, t.Any]
    ref: Ref | None
    written: Ref | None
    sticky: bool | None
    exact: bool = True
    servers: bool = False

    def open(self, world: World, *, dry_run: bool = False, weather: Weather | None = None) -> TrafficProvider:
        """The provider, over a connection of its own, through ``weather`` if there is any."""
        cluster = cluster_of(world, dry_run=dry_run)
        if weather is not None:
            weather.fair = cluster._pool
            cluster._pool = weather
        return open_provider(self.options["provider"], cluster, self.options)

    def urls(self, world: World) -> list[str]:
        """Where its users enter."""
        if self.servers:
            return [instance.servers_url for instance in world.haproxy]
        return world.entries(self.options["provider"])

    def host(self, world: World) -> str:
        return world.edges[self.options["provider"]]["host"]


def cluster_of(world: World, *, dry_run: bool = False) -> Cluster:
    return Cluster.from_options({"kubeconfig": str(world.kubeconfig)}, dry_run=dry_run)


def cases(world: World) -> dict[str, Case]:
    """Every provider, HAProxy in both of its ways."""
    common = {"namespace": NAMESPACE, "name": NAME}
    subsets = {side: {"host": NAME, "subset": side} for side in ("stable", "candidate")}
    stable_pods = {"version": "5.0", "deployment-type": "blue"}
    versions = {"stable": {"labels": stable_pods}, "candidate": {"labels": {"version": "5.1"}}}
    facts = json.loads((world.home / "world.json").read_text())["haproxy"]
    runtime = {"instances": [instance["socket"] for instance in facts["instances"]]}
    by_map = {"haproxy": runtime | {"map": facts["map"]}, "namespace": NAMESPACE, "name": facts["key"]}
    by_servers = {"haproxy": runtime | {"split": "servers"}, "namespace": NAMESPACE, "name": facts["backend"]}
    backends = {side: {"host": facts[f"{side}_backend"]} for side in ("stable", "candidate")}
    servers = {side: {"servers": [f"{side}-*"]} for side in ("stable", "candidate")}
    route, gateway = virtual_service(NAMESPACE, NAME), http_route(NAMESPACE, NAME)
    main, canary = ingress(NAMESPACE, NAME), ingress(NAMESPACE, f"{NAME}-canary")
    openshift, split = openshift_route(NAMESPACE, NAME), service(NAMESPACE, f"{NAME}-split")
    found = [
        Case("istio", {"provider": "istio", **common, **subsets}, route, route, sticky=True),
        Case("gateway_api", {"provider": "gateway_api", **common, **SERVICES}, gateway, gateway, sticky=True),
        Case("nginx_ingress", {"provider": "nginx_ingress", **common, **SERVICES}, main, canary, sticky=True),
        Case("openshift_route", {"provider": "openshift_route", **common, **SERVICES}, openshift, openshift, True),
        Case("haproxy", {"provider": "haproxy", **by_map, **backends}, None, None, sticky=None),
        Case("haproxy_servers", {"provider": "haproxy", **by_servers, **servers}, None, None, None, servers=True),
        Case(
            "service",
            {"provider": "service", "namespace": NAMESPACE, "name": f"{NAME}-split", **versions},
            split,
            split,
            sticky=False,
            exact=False,
        ),
    ]
    return {case.name: case for case in found}


NAMES = ("istio", "gateway_api", "nginx_ingress", "openshift_route", "haproxy", "haproxy_servers", "service")
KUBERNETES = tuple(name for name in NAMES if not name.startswith("haproxy"))


class Answer(t.NamedTuple):
    """An answer of the API as the door reads it."""

    status: int
    data: bytes
    headers: t.Mapping[str, str] = {}


@dataclass
class Weather:
    """A connection to the API whose first ``writes`` writes meet bad weather: a status, or no answer in time.

    ``reaches`` tells that a write is done although its answer is lost.
    """

    status: int = 0
    writes: int = 1_000
    reaches: bool = False
    fair: t.Any = None
    met: int = 0

    def request(self, method: str, url: str, **options: t.Any) -> t.Any:
        if method == "GET" or self.met >= self.writes:
            return self.fair.request(method, url, **options)
        self.met += 1
        if self.reaches:
            self.fair.request(method, url, **options)
        if not self.status:
            raise urllib3.exceptions.ReadTimeoutError(self.fair, url, "Read timed out.")
        reason = {403: "Forbidden", 429: "TooManyRequests"}.get(self.status, "InternalError")
        body = {"kind": "Status", "status": "Failure", "code": self.status, "reason": reason, "message": "bad weather"}
        return Answer(self.status, json.dumps(body).encode())


@contextlib.contextmanager
def without(cluster: Cluster, ref: Ref) -> t.Iterator[None]:
    """The object is gone until the block ends."""
    found = cluster.get(ref)
    cluster.delete(ref)
    try:
        yield
    finally:
        for key in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"):
            found["metadata"].pop(key, None)
        found.pop("status", None)
        cluster.create(ref, found)
