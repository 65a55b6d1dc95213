"""Envoy's admin port: which configuration it runs, and what it refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

import aiohttp

from rehearsal.edge.bootstrap import ROUTES
from rehearsal.world import World

_ROUTES = f"http.edge.rds.{ROUTES}"
_CLUSTERS = "cluster_manager.cds"
_WARMING = "cluster_manager.warming_clusters"
_NAMES = f"({re.escape(_ROUTES)}|{re.escape(_CLUSTERS)})[.](version_text|update_rejected|update_failure)"
_FILTER = f"^{_NAMES}$|^{re.escape(_WARMING)}$"


@dataclass(frozen=True)
class EdgeVersion:
    """What Envoy runs: the versions of routes and clusters it accepted last, and how many it ever refused.

    ``warming`` clusters are accepted but still wait for their endpoints.
    """

    routes: str
    clusters: str
    routes_refused: int
    clusters_refused: int
    warming: int


async def edge_version(world: World) -> EdgeVersion:
    """Ask Envoy's admin port. Raises aiohttp.ClientError or asyncio.TimeoutError when it doesn't answer."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        return await read_version(session, world.edge_admin_url)


async def read_version(session: aiohttp.ClientSession, admin_url: str) -> EdgeVersion:
    """As :func:`edge_version`, over a session that is already there."""
    async with session.get(f"{admin_url}/stats", params={"filter": _FILTER}) as answer:
        answer.raise_for_status()
        text = await answer.text()
    stats = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)

    def refused(prefix: str) -> int:
        return sum(int(stats.get(f"{prefix}.{name}", "0")) for name in ("update_rejected", "update_failure"))

    return EdgeVersion(
        routes=stats.get(f"{_ROUTES}.version_text", "").strip('"'),
        clusters=stats.get(f"{_CLUSTERS}.version_text", "").strip('"'),
        routes_refused=refused(_ROUTES),
        clusters_refused=refused(_CLUSTERS),
        warming=int(stats.get(_WARMING, "0")),
    )
