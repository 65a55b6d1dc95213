"""Follows the objects in the cluster and keeps Envoy at what they say."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

import aiohttp

from rehearsal.client import Informer, KubeClient, Object
from rehearsal.edge.configuration import DESTINATION_RULES, TRANSLATORS, Configuration, Configurator, Observed, Problem
from rehearsal.edge.envoy import keep_envoy
from rehearsal.edge.publisher import Publisher, RefusedError
from rehearsal.edge.status import StatusWriter
from rehearsal.edge.translation import version_of
from rehearsal.events import EventRecorder
from rehearsal.world import NAMESPACE, World

log = logging.getLogger(__name__)
_DEBOUNCE = 0.002
_RETRY_AFTER = 0.2
_OPTIONAL_PATIENCE = 0.5


class Edge:
    """One edge, which users reach at ``address``: informers in, configurations and statuses out."""

    def __init__(self, client: KubeClient, publisher: Publisher, address: str) -> None:
        self._changed = asyncio.Event()
        self._publisher = publisher
        self._configurator = Configurator(publisher.folder, NAMESPACE, address)
        self.events = EventRecorder(client, "edge")
        self.statuses = StatusWriter(client, self._remember)
        self._told: dict[tuple[str, str, str, str], str] = {}

        def informer(path: str) -> Informer:
            return Informer(client, path, lambda kind, item: self._changed.set())

        self._services = informer("/api/v1/services")
        self._pods = informer("/api/v1/pods")
        self._slices = informer("/apis/discovery.k8s.io/v1/endpointslices")
        self._rules = informer(DESTINATION_RULES)
        collections = {translator.kind: translator.collection for translator in TRANSLATORS}
        for translator in TRANSLATORS:
            collections |= translator.related
        self._traffic = {kind: informer(path) for kind, path in collections.items()}
        self._optional = [self._rules, *self._traffic.values()]
        self.informers = [self._services, self._pods, self._slices, *self._optional]

    async def follow(self) -> None:
        """Publish whenever something changed, until cancelled."""
        await self._first_look()
        while True:
            self._changed.clear()
            await self._bring_up_to_date()
            await self._changed.wait()
            await asyncio.sleep(_DEBOUNCE)

    async def _first_look(self) -> None:
        """Wait for Envoy and what every cluster has; the traffic kinds may be installed later."""
        await self._publisher.envoy_answers()
        for informer in self.informers:
            if informer not in self._optional:
                await informer.synced.wait()
        optional = asyncio.gather(*(informer.synced.wait() for informer in self._optional))
        with suppress(TimeoutError):
            await asyncio.wait_for(optional, _OPTIONAL_PATIENCE)

    def _observed(self) -> Observed:
        return Observed(
            services=list(self._services.objects.values()),
            slices=list(self._slices.objects.values()),
            pods=self._pods.objects,
            rules=list(self._rules.objects.values()),
            traffic={kind: list(informer.objects.values()) for kind, informer in self._traffic.items()},
        )

    async def _bring_up_to_date(self) -> None:
        started = time.monotonic()
        configuration = self._configurator.configure(self._observed())
        for problem in configuration.problems:
            self._tell(problem)
        try:
            changed = await self._publisher.publish(configuration)
        except RefusedError as error:
            self._refused(configuration, error)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            log.warning("Envoy isn't there to take the configuration: %r", error)
            await asyncio.sleep(_RETRY_AFTER)
            self._changed.set()
        else:
            self._configurator.accept(configuration)
            self.statuses.submit(configuration.statuses)
            if changed:
                log.debug("configuration in force %.1f ms after it was noticed", 1000 * (time.monotonic() - started))

    def _refused(self, configuration: Configuration, error: RefusedError) -> None:
        """Go back to the last good version of whatever changed, which is published in the next round."""
        blamed = self._configurator.refuse(configuration, str(error))
        log.error(
            "%s; taken back: %s", error, ", ".join("/".join(identity) for identity in blamed) or "nothing to blame"
        )
        for kind, namespace, name in blamed:
            informer = self._traffic.get(kind, self._rules)
            item = informer.objects.get((namespace, name))
            if item is not None:
                self._tell(Problem(item, "Refused", f"{error}; the last good version stays in force"))
        if blamed:
            self._changed.set()

    def _remember(self, item: Object) -> None:
        self._traffic[item["kind"]].remember(item)

    def _tell(self, problem: Problem) -> None:
        """Log a problem and write an Event about it, once per version of the object."""
        item: Object = problem.item
        metadata = item["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"], problem.reason, problem.message)
        version = version_of(item)
        if self._told.get(key) == version:
            return
        self._told[key] = version
        log.warning("%s/%s: %s: %s", metadata.get("namespace", ""), metadata["name"], problem.reason, problem.message)
        if "kind" in item:
            self.events.record(item, problem.reason, problem.message, warning=True)


async def run(world: World, client: KubeClient) -> None:
    """Run Envoy on ``world.edge_url`` and keep it at what the cluster says, until cancelled."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        publisher = Publisher(world.home / "envoy", world.edge_admin_url, session)
        publisher.prepare()
        edge = Edge(client, publisher, world.host)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_envoy(world, publisher))
            tasks.create_task(edge.events.run())
            tasks.create_task(edge.statuses.run())
            for informer in edge.informers:
                tasks.create_task(informer.run())
            tasks.create_task(edge.follow())
