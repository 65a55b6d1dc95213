"""Puts the parts of the node together: which pods are here, and what they share."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rehearsal.client import Informer, KubeClient
from rehearsal.events import EventRecorder
from rehearsal.images import entry_modules
from rehearsal.node.addresses import AddressPool, close_range, open_range
from rehearsal.node.container import Container, Means
from rehearsal.node.handlers import Handlers
from rehearsal.node.metrics import ContainerFacts, render_metrics
from rehearsal.node.options import NodeOptions
from rehearsal.node.pod import PodWorker
from rehearsal.node.quantity import parse_quantity
from rehearsal.node.registration import keep_lease, node_body, register
from rehearsal.node.runtime import Runtime
from rehearsal.node.scheduler import Scheduler
from rehearsal.node.servers import Servers
from rehearsal.node.sources import Reference, Sources
from rehearsal.node.usage import UsageReader
from rehearsal.node.volumes import volume_references
from rehearsal.objects import Object
from rehearsal.world import World

SHUTDOWN_GRACE = 1.5
MEMORY_LOOK = 2.0


class Node:
    """A node with one worker for each pod bound to it."""

    def __init__(self, world: World, client: KubeClient) -> None:
        self.name = f"{world.name}-node"
        self._world = world
        self._client = client
        self._options = NodeOptions.from_environment()
        self._workers: dict[str, tuple[PodWorker, asyncio.Task[None]]] = {}
        self._usage = UsageReader()
        self._pool = AddressPool(world.pod_cidr)
        self._recorder = EventRecorder(client, "kubelet", self.name)
        self._pods = Informer(client, "/api/v1/pods", self._pod_changed)
        self._deployments = Informer(client, "/apis/apps/v1/deployments")
        self._sources = Sources(client, self._source_changed)
        self._runtime = Runtime(entry_modules(), world.logs / "node.log")
        self._binding_events = EventRecorder(client, "default-scheduler")
        labels = node_body(world, self.name, self._options)["metadata"]["labels"]
        self._scheduler = Scheduler(
            client, self._binding_events, self.name, labels, self._options, lambda: list(self._pods.objects.values())
        )
        self._means: Means
        self._group: asyncio.TaskGroup

    async def run(self) -> None:
        """Run pods until cancelled."""
        folder = self._world.home / "pods"
        await asyncio.to_thread(shutil.rmtree, folder, True)
        folder.mkdir(parents=True)
        self._world.logs.mkdir(parents=True, exist_ok=True)
        servers = Servers(self._world, self._all_workers, self._own_pods, self._render_metrics)
        async with Handlers() as handlers, self._addresses(), servers.listening():
            self._means = Means(
                self._runtime,
                self._sources,
                handlers,
                self._recorder,
                self._options,
                {"cpu": self._options.cpu, "memory": self._options.memory},
                os.environ.get("PATH", os.defpath),
            )
            runtime = asyncio.create_task(self._runtime.run())
            try:
                await self._work()
            finally:
                await self._end_pods()
                runtime.cancel()
                await asyncio.wait([runtime])
                await asyncio.to_thread(shutil.rmtree, folder, True)

    async def _work(self) -> None:
        await register(self._client, self._world, self.name, self._options)
        async with asyncio.TaskGroup() as group:
            self._group = group
            for work in (
                self._recorder.run(),
                self._binding_events.run(),
                self._sources.run(),
                self._deployments.run(),
                self._pods.run(),
                self._scheduler.run(),
                keep_lease(self._client, self.name),
                self._watch_memory(),
            ):
                group.create_task(work)

    @asynccontextmanager
    async def _addresses(self) -> AsyncIterator[None]:
        opened = await open_range(self._world.pod_cidr)
        try:
            yield
        finally:
            if opened:
                await close_range(self._world.pod_cidr)

    def _pod_changed(self, event: str, pod: Object) -> None:
        self._scheduler.pods_changed()
        if pod["spec"].get("nodeName") != self.name:
            return
        uid = pod["metadata"]["uid"]
        known = self._workers.get(uid)
        if event == "DELETED":
            if known is not None:
                known[0].removed()
        elif known is not None:
            known[0].update(pod)
        else:
            self._take_on(pod)

    def _take_on(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        folder = self._world.home / "pods" / uid
        worker = PodWorker(pod, self._client, self._means, self._pool, folder, self._world.host)
        task = asyncio.create_task(worker.run())
        task.add_done_callback(lambda done: self._worker_ended(uid, done))
        self._workers[uid] = worker, task

    def _worker_ended(self, uid: str, done: asyncio.Task[None]) -> None:
        self._workers.pop(uid, None)
        if not done.cancelled() and done.exception() is not None:
            error = done.exception()
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"the worker of pod {uid} failed", "exception": error, "task": done}
            )

    def _source_changed(self, namespace: str, reference: Reference) -> None:
        """A ConfigMap or Secret is another: the volumes that show it follow."""
        for worker, _ in self._workers.values():
            volumes = worker.pod["spec"].get("volumes") or []
            if worker.pod["metadata"]["namespace"] == namespace and any(
                reference in volume_references(volume) for volume in volumes
            ):
                self._group.create_task(worker.follow_sources())

    async def _end_pods(self) -> None:
        """Stop all pods together: SIGTERM, and SIGKILL soon after."""
        workers = list(self._workers.values())
        await asyncio.gather(*(worker.stop_for_shutdown(SHUTDOWN_GRACE) for worker, _ in workers))
        for _, task in workers:
            task.cancel()
        await asyncio.gather(*(task for _, task in workers), return_exceptions=True)

    def _all_workers(self) -> list[PodWorker]:
        return [worker for worker, _ in self._workers.values()]

    def _own_pods(self) -> list[Object]:
        return [worker.pod for worker in self._all_workers()]

    async def _container_facts(self) -> list[tuple[Container, ContainerFacts]]:
        pairs = [(worker, container) for worker in self._all_workers() for container in worker.containers]
        usage = await self._usage.usage(container.process.pid for _, container in pairs if container.process)
        return [
            (
                container,
                ContainerFacts(
                    worker.pod,
                    container.spec,
                    container.status.restarts,
                    usage.get(container.process.pid) if container.process else None,
                ),
            )
            for worker, container in pairs
        ]

    async def _render_metrics(self) -> bytes:
        facts = [each for _, each in await self._container_facts()]
        return render_metrics(facts, self._deployments.objects.values(), self._options)

    async def _watch_memory(self) -> None:
        """End containers that pass their memory limit."""
        while True:
            await asyncio.sleep(MEMORY_LOOK)
            for container, facts in await self._container_facts():
                limit = ((facts.spec.get("resources") or {}).get("limits") or {}).get("memory")
                if limit and facts.usage and facts.usage.memory_bytes > parse_quantity(limit):
                    container.end_for_memory()
