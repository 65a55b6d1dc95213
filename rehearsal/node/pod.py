"""One pod on the node: set up, run, its status told, stopped and taken away."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp

from rehearsal.client import ApiError, KubeClient
from rehearsal.node.addresses import AddressPool
from rehearsal.node.container import Container, Means
from rehearsal.node.sources import ConfigError, Objects, Reference
from rehearsal.node.status import ContainerStatus, conditions_of, has_completed, phase_of
from rehearsal.node.volumes import Files, volume_files, volume_references, write_atomically
from rehearsal.objects import Object, is_pod_finished, is_terminating, path_of, timestamp

log = logging.getLogger(__name__)
MOUNT_RETRY = 0.5
STATUS_RETRY = 0.2
LAST_GRACE = 2.0
FIRST_REPORT = 0.1
ADDRESSES = ("podIP", "podIPs", "hostIP")


class PodWorker:
    """Takes a pod from bound to gone. ``run`` ends when it is gone; cancelling it stops the pod at once."""

    def __init__(
        self, pod: Object, client: KubeClient, means: Means, pool: AddressPool, folder: Path, host: str
    ) -> None:
        self.pod = pod
        self.folder = folder
        self.uid: str = pod["metadata"]["uid"]
        self.containers: list[Container] = []
        self.init_containers: list[Container] = []
        self._client = client
        self._means = means
        self._pool = pool
        self._host = host
        self._tasks: list[tuple[Container, asyncio.Task[None]]] = []
        self._dirty = asyncio.Event()
        self._going = asyncio.Event()
        self._shorter = asyncio.Event()
        self._gone = False
        self._volume_lock = asyncio.Lock()
        self._status: Object = dict(pod.get("status") or {})
        self._was_finished = is_pod_finished(pod)
        self._began = timestamp()

    def update(self, pod: Object) -> None:
        """A newer version of the pod was seen."""
        known = self.pod.get("status") or {}
        addresses = {name: known[name] for name in ADDRESSES if name in known}
        self.pod = pod | {"status": (pod.get("status") or {}) | addresses}
        if is_terminating(pod):
            self._going.set()
            self._shorter.set()

    def removed(self) -> None:
        """The pod is gone from the API: nothing is left to tell, only to end."""
        self._gone = True
        self._going.set()
        self._shorter.set()

    def changed(self) -> None:
        """Part of the status is another now; it is told to the API soon."""
        self._dirty.set()

    async def run(self) -> None:
        address = self._pool.take()
        addresses = {"podIP": address, "podIPs": [{"ip": address}], "hostIP": self._host}
        self.pod = self.pod | {"status": (self.pod.get("status") or {}) | addresses}
        spec = self.pod["spec"]
        first = spec.get("initContainers") or []
        self.init_containers = [Container(self, self._means, each, init=True) for each in first]
        self.containers = [Container(self, self._means, each) for each in spec["containers"]]
        if is_terminating(self.pod):
            self._going.set()
        telling = asyncio.create_task(self._tell_status())
        living = asyncio.create_task(self._live())
        try:
            await self._going.wait()
            await self._stop_containers(living)
            telling.cancel()
            await self._say_goodbye()
        finally:
            telling.cancel()
            living.cancel()
            await self._end_now()
            self._pool.give_back(address)
            await asyncio.to_thread(shutil.rmtree, self.folder, True)

    async def _live(self) -> None:
        """Volumes, then init containers one after the other, then all containers."""
        if self._was_finished:
            return
        # Most pods start sooner than this, and their first status is then the one that says so.
        asyncio.get_running_loop().call_later(FIRST_REPORT, self.changed)
        await self._set_up_volumes()
        for container in self.init_containers:
            await self._run_container(container)
            if not has_completed(container.status):
                return
        await asyncio.gather(*(self._run_container(container) for container in self.containers))

    async def _run_container(self, container: Container) -> None:
        task = asyncio.create_task(container.run())
        self._tasks.append((container, task))
        try:
            await asyncio.wait([task])
        finally:
            if task.done() and not task.cancelled() and task.exception() is not None:
                log.error("container %s of %s failed", container.name, self.uid, exc_info=task.exception())

    async def _set_up_volumes(self) -> None:
        while True:
            try:
                await self.refresh_volumes()
                return
            except ConfigError as error:
                self._means.recorder.record(self.pod, "FailedMount", f"MountVolume.SetUp failed: {error}", warning=True)
            except (ApiError, aiohttp.ClientError, OSError) as error:
                log.warning("volumes of %s: %s", self.pod["metadata"]["name"], error)
            await asyncio.sleep(MOUNT_RETRY)

    def volume_references(self) -> set[Reference]:
        """The ConfigMaps and Secrets shown in this pod's volumes."""
        volumes = self.pod["spec"].get("volumes") or []
        return {reference for volume in volumes for reference in volume_references(volume)}

    async def refresh_volumes(self) -> None:
        """Write what the volumes should show now. Raises ConfigError for what is missing."""
        async with self._volume_lock:
            objects = await self._means.sources.load(self.pod["metadata"]["namespace"], self.volume_references())
            await asyncio.to_thread(self._write_volumes, objects)

    async def follow_sources(self) -> None:
        """Show the latest contents; where they can no longer be shown, what was there stays."""
        try:
            await self.refresh_volumes()
        except (ConfigError, ApiError, aiohttp.ClientError, OSError) as error:
            log.warning("volumes of %s stay as they are: %s", self.pod["metadata"]["name"], error)

    def _write_volumes(self, objects: Objects) -> None:
        for volume in self.pod["spec"].get("volumes") or []:
            folder = self.folder / "volumes" / volume["name"]
            files: Files | None = volume_files(volume, self.pod, objects, self._means.capacity)
            if files is None:
                folder.mkdir(parents=True, exist_ok=True)
            else:
                write_atomically(folder, files)
        for container in (*self.init_containers, *self.containers):
            container.root.mkdir(parents=True, exist_ok=True)

    async def _stop_containers(self, living: asyncio.Task[None]) -> None:
        """Stop all containers within the grace period; a shorter one, told later, counts from when it is told."""
        living.cancel()
        begun = time.monotonic()
        stops = [asyncio.create_task(container.stop(self._grace())) for container, _ in self._tasks]
        while stops and not all(stop.done() for stop in stops):
            self._shorter.clear()
            news = asyncio.create_task(self._shorter.wait())
            left = max(0.0, self._grace() + LAST_GRACE - (time.monotonic() - begun))
            open_ends: list[asyncio.Task[Any]] = [news, *(stop for stop in stops if not stop.done())]
            await asyncio.wait(open_ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            if self._gone or time.monotonic() - begun > self._grace() + LAST_GRACE:
                for container, _ in self._tasks:
                    container.kill()
        await self._settle()

    def _grace(self) -> float:
        if self._gone and not is_terminating(self.pod):
            return 0.0
        given = self.pod["metadata"].get("deletionGracePeriodSeconds")
        return float(given if given is not None else self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    async def _settle(self) -> None:
        """Let containers whose process has ended take note of it; those between two runs stop waiting."""
        ending = [task for container, task in self._tasks if container.process is not None]
        for container, task in self._tasks:
            if container.process is None:
                task.cancel()
        if ending:
            await asyncio.wait(ending, timeout=1.0)

    async def _end_now(self) -> None:
        """What still runs here ends, without any grace."""
        for container, task in self._tasks:
            container.kill()
            if container.process is None:
                task.cancel()
        tasks = [task for _, task in self._tasks]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=1.0)
            for task in late:
                task.cancel()

    async def stop_for_shutdown(self, grace: float) -> None:
        """The node is going: stop the processes without their hooks, say nothing to the API."""
        await asyncio.gather(*(container.stop(grace, hook=False) for container, _ in self._tasks))

    async def _say_goodbye(self) -> None:
        """Tell the last status, then that the pod may go."""
        if self._gone:
            return
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.uid},
        }
        while not self._gone:
            try:
                if not self._was_finished:
                    await self._patch_status(self._build_status(going=True))
                await self._client.delete(self._path, body)
                return
            except ApiError as error:
                if error.status in (404, 409):
                    return
                log.warning("pod %s could not be removed: %s", self.pod["metadata"]["name"], error)
            except (aiohttp.ClientError, OSError) as error:
                log.debug("pod %s could not be removed: %s", self.pod["metadata"]["name"], error)
            await asyncio.sleep(STATUS_RETRY)

    @property
    def _path(self) -> str:
        return path_of("v1", "Pod", self.pod["metadata"]["namespace"], self.pod["metadata"]["name"])

    async def _tell_status(self) -> None:
        """Write the status whenever it changed; changes at the same moment go together."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._patch_status(self._build_status(going=False))
            except ApiError as error:
                if error.status in (404, 409):
                    return
                log.warning("status of %s: %s", self.pod["metadata"]["name"], error)
                self._dirty.set()
                await asyncio.sleep(STATUS_RETRY)
            except (aiohttp.ClientError, OSError):
                self._dirty.set()
                await asyncio.sleep(STATUS_RETRY)

    async def _patch_status(self, status: Object) -> None:
        if status == self._status:
            return
        await self._client.patch(f"{self._path}/status", {"metadata": {"uid": self.uid}, "status": status})
        self._status = status

    def _build_status(self, *, going: bool) -> Object:
        spec = self.pod["spec"]
        init: list[ContainerStatus] = [each.status for each in self.init_containers]
        main: list[ContainerStatus] = [each.status for each in self.containers]
        phase = phase_of(spec.get("restartPolicy", "Always"), init, main, going)
        status = {name: self.pod["status"][name] for name in ADDRESSES} | {
            "phase": phase,
            "startTime": self._began,
            "hostIPs": [{"ip": self._host}],
            "conditions": conditions_of(self._status.get("conditions") or [], phase, init, main, timestamp()),
            "containerStatuses": [each.to_api() for each in main],
        }
        if init:
            status["initContainerStatuses"] = [each.to_api() for each in init]
        return status
