"""Keeps the servers of every HAProxy instance at the endpoints of the Services, as an ingress controller would."""

from __future__ import annotations

import asyncio
import logging

from rehearsal.client import Informer, KubeClient
from rehearsal.haproxy import runtime
from rehearsal.haproxy.places import SIDES, Instance
from rehearsal.haproxy.servers import Address, Plan, plan, read_servers, ready_addresses
from rehearsal.world import NAMESPACE, World

log = logging.getLogger(__name__)
SERVICES = {side: f"claude-enhancer-{side}" for side in SIDES}
_SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
_LOOK_AGAIN_AFTER = 1.0


class Feeder:
    """Feeds one instance. It looks at the instance's own state each time, so one that was restarted is fed anew."""

    def __init__(self, instance: Instance, slices: Informer) -> None:
        self._instance = instance
        self._slices = slices
        self._without_server: tuple[Address, ...] = ()
        self.changed = asyncio.Event()

    async def follow(self) -> None:
        """Bring the instance up to date at every change, and once a second, until cancelled."""
        await self._slices.synced.wait()
        while True:
            self.changed.clear()
            try:
                await self._bring_up_to_date()
            except (OSError, TimeoutError, ValueError) as error:
                log.debug("%s can't be fed: %r", self._instance.part, error)
            try:
                await asyncio.wait_for(self.changed.wait(), _LOOK_AGAIN_AFTER)
            except TimeoutError:
                continue

    async def _bring_up_to_date(self) -> None:
        servers = read_servers(await runtime.ask(self._instance.socket, "show servers state"))
        items = list(self._slices.objects.values())
        due = plan(servers, {side: ready_addresses(items, service) for side, service in SERVICES.items()})
        self._tell_of(due)
        if due.commands:
            answer = await runtime.ask(self._instance.socket, *due.commands)
            log.debug("%s: %s: %s", self._instance.part, "; ".join(due.commands), " ".join(answer.split()))

    def _tell_of(self, due: Plan) -> None:
        if due.without_server and due.without_server != self._without_server:
            addresses = ", ".join(f"{host}:{port}" for host, port in due.without_server)
            log.error("%s has no server left for %s", self._instance.part, addresses)
        self._without_server = due.without_server


async def run(world: World, client: KubeClient) -> None:
    """Feed all instances until cancelled."""

    def tell(kind: str, item: object) -> None:
        for feeder in feeders:
            feeder.changed.set()

    slices = Informer(client, _SLICES, tell)
    feeders = [Feeder(instance, slices) for instance in world.haproxy]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(slices.run())
        for feeder in feeders:
            tasks.create_task(feeder.follow())
