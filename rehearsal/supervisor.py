"""The one process that holds a world together: starts its parts, waits until they serve, and takes them down.

Run as ``python -m rehearsal.supervisor --home DIR``, which ``python -m rehearsal up`` does. API server, PostgreSQL and
Prometheus and HAProxy are child processes; controllers, node, edge, discovery and HAProxy's feeder are tasks in this
process, of which node and edge have child processes of their own. SIGHUP starts the HAProxy instances that have ended.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from rehearsal import controllers, discovery, edge, manifests, node, postgres, processes, prometheus
from rehearsal.client import ApiError, KubeClient
from rehearsal.haproxy import feeder, instances
from rehearsal.haproxy.places import Instance
from rehearsal.progress import Progress
from rehearsal.state import Part, State
from rehearsal.world import EDGE_HOSTNAME, NAMESPACE, World

log = logging.getLogger("rehearsal.supervisor")

START_LIMIT = 60.0
POLL = 0.05
RESTART_DELAY = 1.0
BLUE_PATH = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/claude-enhancer-blue"
PR_SET_CHILD_SUBREAPER = 36
TASKS: dict[str, Callable[[World, KubeClient], Awaitable[None]]] = {
    "controllers": controllers.run,
    "node": node.run,
    "edge": edge.run,
    "discovery": discovery.run,
    "haproxy-feeder": feeder.run,
}


class PartFailed(Exception):
    """A part of the world did not start, or ended. ``log`` is where it wrote why."""

    def __init__(self, message: str, log_file: Path) -> None:
        super().__init__(message)
        self.log = log_file


class Supervisor:
    """Starts and stops the parts of one world."""

    def __init__(self, world: World, blue_replicas: int, cache: Path) -> None:
        self.world = world
        self.blue_replicas = blue_replicas
        self.cache = cache
        self.progress = Progress(world.home)
        self.state = State(processes.Identity.of(os.getpid()))
        self.waiting_for: list[str] = []
        self._children: dict[str, tuple[asyncio.subprocess.Process, signal.Signals]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._broken: asyncio.Queue[PartFailed] = asyncio.Queue()
        self._starting = True

    async def run(self) -> int:
        """Start everything, stay until SIGTERM or SIGINT, take everything down. The exit code."""
        asked_to_stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked_to_stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._start_ended_haproxy)
        self.state.save(self.world.home)
        stopping = asyncio.create_task(asked_to_stop.wait())
        try:
            if await self._start_or_stop(stopping):
                self._starting = False
                await stopping
            return 0
        except PartFailed as failure:
            log.error("%s", failure)
            self.progress.tell(str(failure), "failed", str(failure.log))
            return 1
        finally:
            await self._take_down()

    async def _start_or_stop(self, stopping: asyncio.Task[Any]) -> bool:
        """True when the world is up, False when it was asked to stop before. Raises PartFailed."""
        starting = asyncio.create_task(self._start())
        broken = asyncio.create_task(self._broken.get())
        try:
            done, _ = await asyncio.wait(
                {starting, stopping, broken}, timeout=START_LIMIT, return_when=asyncio.FIRST_COMPLETED
            )
            if stopping in done:
                return False
            if broken in done:
                raise broken.result()
            if not done:
                raise self._failed(
                    f"not up after {START_LIMIT:.0f} s, still waiting for: {', '.join(self.waiting_for)}"
                )
            starting.result()
            return True
        finally:
            await _cancel([starting, broken])

    def _failed(self, message: str, part: str = "supervisor") -> PartFailed:
        return PartFailed(message, self.world.logs / f"{part}.log")

    async def _start(self) -> None:
        """All parts, each as early as what it needs is there."""
        database = asyncio.create_task(self._start_postgres())
        try:
            self._watch("prometheus", await prometheus.start(self.world), signal.SIGTERM)
            await self._start_haproxy()
            await self._start_api_server()
            async with KubeClient.from_kubeconfig(self.world.kubeconfig, "rehearsal") as client:
                await self._step("API server ready", self._api_ready(client))
            await self._start_cluster_tasks()
            await database
            await self._wait_serving()
        except (postgres.PostgresError, prometheus.PrometheusError, instances.HaproxyError, ApiError, OSError) as error:
            log.exception("the start failed")
            raise self._failed(str(error)) from error
        finally:
            await _cancel([database])
        self.progress.tell("up", "ready")

    async def _step(self, text: str, work: Awaitable[Any]) -> Any:
        """Await ``work``, known as what the start waits for, and tell when it is done."""
        self.waiting_for.append(text)
        result = await work
        self.waiting_for.remove(text)
        log.info("%s", text)
        self.progress.tell(text)
        return result

    async def _start_postgres(self) -> None:
        server = await postgres.start(self.world, self.cache)
        self._watch("postgres", server, signal.SIGINT)
        await self._step("PostgreSQL ready", postgres.wait_ready(self.world))

    async def _start_haproxy(self) -> None:
        instances.prepare(self.world)
        for instance in self.world.haproxy:
            self._watch(instance.part, await instances.start(self.world, instance), signal.SIGTERM)

    def _start_ended_haproxy(self) -> None:
        for instance in self.world.haproxy:
            part = self.state.parts.get(instance.part)
            if part is not None and not part.running:
                part.running = True
                self._tasks.append(asyncio.create_task(self._start_again(instance)))

    async def _start_again(self, instance: Instance) -> None:
        self._watch(instance.part, await instances.start(self.world, instance), signal.SIGTERM)

    async def _start_api_server(self) -> None:
        command = [sys.executable, "-m", "rehearsal.cluster", "--home", str(self.world.home)]
        server = await processes.start(command, self.world.logs / "api-server.log")
        self._watch("api-server", server, signal.SIGTERM)
        while not self.world.kubeconfig.exists():
            await asyncio.sleep(POLL)

    async def _api_ready(self, client: KubeClient) -> None:
        while True:
            try:
                await client.get("/readyz")
                return
            except (TimeoutError, ApiError, aiohttp.ClientError):
                await asyncio.sleep(POLL)

    async def _start_cluster_tasks(self) -> None:
        """Controllers, node, edge; then the objects they work on."""
        for name, run in TASKS.items():
            self.state.parts[name] = Part(name)
            self._tasks.append(asyncio.create_task(self._keep_running(name, run), name=name))
        self.state.save(self.world.home)
        async with KubeClient.from_kubeconfig(self.world.kubeconfig, "rehearsal-manifests") as client:
            objects = await asyncio.to_thread(manifests.load, self.world, self.blue_replicas)
            await self._step(f"{len(objects)} objects applied", manifests.apply(client, objects))

    async def _keep_running(self, name: str, run: Callable[[World, KubeClient], Awaitable[None]]) -> None:
        """Run a task part until cancelled; one that breaks is told of, and begun anew once the world is up."""
        while True:
            try:
                async with KubeClient.from_kubeconfig(self.world.kubeconfig, f"rehearsal-{name}") as client:
                    await run(self.world, client)
                log.error("%s ended by itself", name)
            except Exception:
                log.exception("%s broke", name)
            if self._starting:
                self._broken.put_nowait(self._failed(f"{name} broke"))
            self.state.parts[name].restarts += 1
            self.state.save(self.world.home)
            await asyncio.sleep(RESTART_DELAY)

    def _watch(self, name: str, process: asyncio.subprocess.Process, stop_signal: signal.Signals) -> None:
        """Write the child down, and notice its end."""
        self._children[name] = (process, stop_signal)
        try:
            self.state.parts[name] = Part(name, processes.Identity.of(process.pid))
        except ProcessLookupError:
            self.state.parts[name] = Part(name, running=False)
        self.state.save(self.world.home)
        self._tasks.append(asyncio.create_task(self._notice_end(name, process)))

    async def _notice_end(self, name: str, process: asyncio.subprocess.Process) -> None:
        """A server that ended stays ended: a release against a world without, say, Prometheus is worth rehearsing."""
        code = await process.wait()
        self.state.parts[name].running = False
        self.state.save(self.world.home)
        log.error("%s ended with %s", name, code)
        if self._starting:
            self._broken.put_nowait(self._failed(f"{name} ended with {code}", name))

    async def _wait_serving(self) -> None:
        """Blue available, the edge answering, fresh samples of every pod."""
        await asyncio.gather(
            self._step(f"blue available ({self.blue_replicas} pods)", self._blue_available()),
            self._step("edge answers", self._answer([self.world.edge_url])),
            self._step("HAProxy answers", self._answer(self.world.entries("haproxy"))),
            self._step("Prometheus scrapes the pods", self._pods_scraped()),
        )

    async def _blue_available(self) -> None:
        async with KubeClient.from_kubeconfig(self.world.kubeconfig) as client:
            while True:
                blue = await client.get(BLUE_PATH)
                if blue.get("status", {}).get("availableReplicas", 0) >= self.blue_replicas:
                    return
                await asyncio.sleep(2 * POLL)

    async def _answer(self, urls: list[str]) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            for url in urls:
                while not await _answers(session, f"{url}/health", EDGE_HOSTNAME):
                    await asyncio.sleep(2 * POLL)

    async def _pods_scraped(self) -> None:
        async with aiohttp.ClientSession() as session:
            while await prometheus.pods_scraped(session, self.world) < self.blue_replicas:
                await asyncio.sleep(2 * POLL)

    async def _take_down(self) -> None:
        """Tasks first (the node ends its pods), then the servers, then whatever is left below this process."""
        self._starting = False
        began = time.monotonic()
        tasks = {task.get_name(): task for task in self._tasks}
        for name in reversed(TASKS):
            await _cancel([tasks[name]] if name in tasks else [])
        await _cancel(self._tasks)
        await asyncio.gather(*(processes.stop(process, number) for process, number in self._children.values()))
        left = processes.descendants(os.getpid())
        if left:
            log.warning("ending what the parts left: %s", [process.pid for process in left])
            await asyncio.to_thread(processes.end, left, 1.0)
        log.info("taken down in %.2f s", time.monotonic() - began)


async def _answers(session: aiohttp.ClientSession, url: str, host: str) -> bool:
    try:
        async with session.get(url, headers={"Host": host}) as answer:
            return answer.status == 200
    except (TimeoutError, aiohttp.ClientError):
        return False


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait for their clean-up, whose failures are logged and hold nothing up."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            log.debug("ended with %r", result)


def _adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends, so that none gets out of sight."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m rehearsal.supervisor", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the world")
    parser.add_argument("--blue-replicas", type=int, default=10, help="replicas of claude-enhancer-blue")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what several worlds can use")
    parser.add_argument("--claims", type=int, nargs="*", default=[], help="inherited sockets to keep open")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for claim in options.claims:
        os.set_inheritable(claim, False)
    _adopt_orphans()
    world = World.load(options.home)
    return asyncio.run(Supervisor(world, options.blue_replicas, options.cache).run())


if __name__ == "__main__":
    sys.exit(main())
