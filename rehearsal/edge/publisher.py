"""Hands configurations to Envoy through files, and waits until it runs them."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from pathlib import Path
from typing import Any

import aiohttp

from rehearsal.edge.admin import EdgeVersion, read_version
from rehearsal.edge.bootstrap import ROUTES
from rehearsal.edge.configuration import Configuration, endpoints_file

log = logging.getLogger(__name__)
_API = "type.googleapis.com/envoy.config."
_PATIENCE = 3.0
_UNTIL_NEXT_LOOK = 0.003


class RefusedError(Exception):
    """Envoy refused a configuration and keeps the one it had."""


class Publisher:
    """Writes xDS files below ``folder`` and reads back from Envoy's admin port what became of them.

    Each file is renamed into place from another folder, which is the change Envoy notices and never sees half done.
    """

    def __init__(self, folder: Path, admin_url: str, session: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.routes_file = folder / "routes.json"
        self.clusters_file = folder / "clusters.json"
        self._staging = folder / "staging"
        self._admin_url = admin_url
        self._session = session
        self._versions = itertools.count(1)
        self._routes: dict[str, Any] = {"name": ROUTES}
        self._clusters: dict[str, dict[str, Any]] = {}
        self._endpoints: dict[str, dict[str, Any]] = {}

    def prepare(self) -> None:
        """Lay out the folder with an empty configuration for Envoy to start with."""
        for folder in (self._staging, self.folder / "endpoints"):
            folder.mkdir(parents=True, exist_ok=True)
        self._write_clusters(self._clusters)
        self._write_routes(self._routes)

    async def envoy_answers(self) -> None:
        """Wait until Envoy's admin port answers."""
        while True:
            try:
                await read_version(self._session, self._admin_url)
                return
            except (TimeoutError, aiohttp.ClientError, OSError):
                await asyncio.sleep(_UNTIL_NEXT_LOOK)

    async def publish(self, configuration: Configuration) -> bool:
        """Bring Envoy to ``configuration``; returns whether anything had to change.

        Endpoints go first, so that a pod on its way out gets no more requests; but a cluster that has none left stays
        as it is until the routes had the chance to turn away from it. Clusters are added before the routes that name
        them and removed after the last one that did. Raises RefusedError when Envoy keeps its old routes or clusters,
        TimeoutError or aiohttp.ClientError when it doesn't say.
        """
        filled = {name: each for name, each in configuration.endpoints.items() if each["endpoints"]}
        changed = self._write_endpoints(filled)
        try:
            changed |= await self._bring_up_to(configuration)
        finally:
            changed |= self._write_endpoints(configuration.endpoints)
        if configuration.clusters != self._clusters:
            await self._bring_clusters(configuration.clusters)
            self._forget_endpoints(configuration.clusters)
            changed = True
        return changed

    async def _bring_up_to(self, configuration: Configuration) -> bool:
        """Add clusters, then change routes; returns whether anything had to."""
        changed = False
        wider = {**self._clusters, **configuration.clusters}
        if wider != self._clusters:
            # A new cluster is warm only once it was told its endpoints, even if there are none.
            new = configuration.clusters.keys() - self._clusters.keys()
            self._write_endpoints({name: configuration.endpoints[name] for name in new})
            await self._bring_clusters(wider)
            changed = True
        if configuration.routes != self._routes:
            await self._bring_routes(configuration.routes)
            changed = True
        return changed

    async def _bring_routes(self, routes: dict[str, Any]) -> None:
        before = await read_version(self._session, self._admin_url)
        try:
            await self._accepted(before, routes=self._write_routes(routes))
        except RefusedError:
            # An Envoy that starts anew must find what is in force, not what was refused.
            self._write_routes(self._routes)
            raise
        self._routes = routes

    async def _bring_clusters(self, clusters: dict[str, dict[str, Any]]) -> None:
        before = await read_version(self._session, self._admin_url)
        try:
            await self._accepted(before, clusters=self._write_clusters(clusters))
        except RefusedError:
            self._write_clusters(self._clusters)
            raise
        self._clusters = clusters

    async def _accepted(self, before: EdgeVersion, routes: str = "", clusters: str = "") -> None:
        """Wait until Envoy runs these versions and every cluster is warm."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            now = await read_version(self._session, self._admin_url)
            if routes in ("", now.routes) and clusters in ("", now.clusters) and not now.warming:
                return
            if (now.routes_refused, now.clusters_refused) > (before.routes_refused, before.clusters_refused):
                raise RefusedError(f"Envoy refused {'routes' if routes else 'clusters'} version {routes or clusters}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"Envoy didn't take routes {routes!r} clusters {clusters!r} in {_PATIENCE} s")
            await asyncio.sleep(_UNTIL_NEXT_LOOK)

    def _write_endpoints(self, endpoints: dict[str, dict[str, Any]]) -> bool:
        changed = {name: value for name, value in endpoints.items() if self._endpoints.get(name) != value}
        for name, assignment in changed.items():
            kind = "endpoint.v3.ClusterLoadAssignment"
            self._write(endpoints_file(self.folder, name), [{"@type": _API + kind} | assignment])
            self._endpoints[name] = assignment
        return bool(changed)

    def _forget_endpoints(self, clusters: dict[str, dict[str, Any]]) -> None:
        for name in set(self._endpoints) - set(clusters):
            del self._endpoints[name]
            endpoints_file(self.folder, name).unlink(missing_ok=True)

    def _write_clusters(self, clusters: dict[str, dict[str, Any]]) -> str:
        return self._write(
            self.clusters_file, [{"@type": f"{_API}cluster.v3.Cluster"} | cluster for cluster in clusters.values()]
        )

    def _write_routes(self, routes: dict[str, Any]) -> str:
        return self._write(self.routes_file, [{"@type": f"{_API}route.v3.RouteConfiguration"} | routes])

    def _write(self, path: Path, resources: list[dict[str, Any]]) -> str:
        version = str(next(self._versions))
        staged = self._staging / path.name
        staged.write_text(json.dumps({"version_info": version, "resources": resources}))
        staged.replace(path)
        return version
