"""One container of a pod: started, probed, restarted after a growing delay, and stopped."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rehearsal.events import EventRecorder
from rehearsal.images import Image, find_image
from rehearsal.node.environment import environment_references, expand_all, resolve_environment
from rehearsal.node.handlers import Handlers, Target
from rehearsal.node.options import NodeOptions
from rehearsal.node.probes import Clock, Outcome, ProbeSpec, ProbeTracker, SystemClock, keep_probing
from rehearsal.node.runtime import Process, ProcessSpec, Runtime, StartError
from rehearsal.node.sources import ConfigError, Sources
from rehearsal.node.status import ContainerStatus
from rehearsal.node.volumes import mount
from rehearsal.objects import Object, timestamp

LEAST_GRACE = 2.0
CONFIG_RETRY = 1.0


@dataclass(frozen=True)
class Means:
    """What all containers of a node share."""

    runtime: Runtime
    sources: Sources
    handlers: Handlers
    recorder: EventRecorder
    options: NodeOptions
    capacity: dict[str, str]
    search_path: str
    clock: Clock = field(default_factory=SystemClock)


class PodView(Protocol):
    """What a container needs of its pod."""

    pod: Object
    folder: Path

    def changed(self) -> None:
        """A container's state is another one now."""


class Container:
    """Runs one container until it is done for good or stopped."""

    def __init__(self, view: PodView, means: Means, spec: Object, *, init: bool = False) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.process: Process | None = None
        self._view = view
        self._means = means
        self._init = init
        self._state: dict[str, Object] = {"waiting": {"reason": "PodInitializing" if init else "ContainerCreating"}}
        self._last_state: dict[str, Object] = {}
        self._restarts = 0
        self._ready = False
        self._started = False
        self._id = ""
        self._crashes = 0
        self._stopping = False
        self._end_reason = ""
        self._restart: asyncio.Task[None] | None = None
        self._probes: list[asyncio.Task[None]] = []
        self._env: dict[str, str] = {}

    @property
    def status(self) -> ContainerStatus:
        return ContainerStatus(
            self.name,
            self.spec["image"],
            self._id,
            self._state,
            self._last_state,
            self._restarts,
            self._ready,
            self._started,
        )

    @property
    def root(self) -> Path:
        """The folder that stands for the container's file system."""
        return self._view.folder / "containers" / self.name / "root"

    def log_path(self, *, previous: bool = False) -> Path:
        """The output of the present run, or of the one before."""
        number = self._restarts - 1 if previous else self._restarts
        return self._view.folder / "containers" / self.name / f"{number}.log"

    async def run(self) -> None:
        """Until the container has ended and will not be started again."""
        while not self._stopping:
            process, begun = await self._start(await self._image())
            await asyncio.wait([process.exited])
            status = process.exited.result()
            lasted = time.monotonic() - begun
            await self._ended(status)
            if self._stopping or not self._should_restart(status):
                return
            await self._back_off(lasted)
            self._restarts += 1

    async def _image(self) -> Image:
        """Find the image, trying again as long as there is none."""
        delay = self._means.options.backoff
        while (image := find_image(self.spec["image"])) is None:
            missing = f'Failed to pull image "{self.spec["image"]}": not found in the image table'
            self._event("Failed", missing, warning=True)
            self._waits("ErrImagePull", missing)
            await asyncio.sleep(delay)
            message = f'Back-off pulling image "{self.spec["image"]}"'
            self._event("BackOff", message)
            self._waits("ImagePullBackOff", message)
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._means.options.backoff_limit)
        if not self._restarts:
            self._event("Pulled", f'Container image "{self.spec["image"]}" already present on machine')
        return image

    async def _start(self, image: Image) -> tuple[Process, float]:
        """Start the process, trying again while the configuration it asks for is missing."""
        while True:
            try:
                spec = await self._process_spec(image)
                process = await self._means.runtime.start(spec)
            except ConfigError as error:
                self._event("Failed", f"Error: {error}", warning=True)
                self._waits("CreateContainerConfigError", str(error))
            except StartError as error:
                self._event("Failed", f"Error: {error}", warning=True)
                self._waits("CreateContainerError", str(error))
            else:
                return process, self._has_started(process)
            await asyncio.sleep(CONFIG_RETRY)

    async def _process_spec(self, image: Image) -> ProcessSpec:
        pod = self._view.pod
        references = environment_references(self.spec)
        objects = await self._means.sources.load(pod["metadata"]["namespace"], references)
        given = {"PATH": self._means.search_path, "HOSTNAME": pod["metadata"]["name"]} | image.env
        self._env = resolve_environment(self.spec, pod, given, objects, self._means.capacity)
        self._env["REHEARSAL_ROOT"] = str(self.root)
        cwd = self.root / (self.spec.get("workingDir") or "").lstrip("/")
        self._prepare_folders(cwd)
        entry, argv = command_line(image, self.spec, self._env)
        return ProcessSpec(entry, argv, self._env, str(cwd), str(self.log_path()), pod["metadata"]["name"][-15:])

    def _prepare_folders(self, cwd: Path) -> None:
        mount(self.root, self.spec.get("volumeMounts") or [], self._view.folder / "volumes")
        cwd.mkdir(parents=True, exist_ok=True)
        outdated = self._restarts - 2
        if outdated >= 0:
            (self._view.folder / "containers" / self.name / f"{outdated}.log").unlink(missing_ok=True)

    def _has_started(self, process: Process) -> float:
        begun = time.monotonic()
        self.process = process
        self._id = f"rehearsal://{uuid.uuid4().hex}"
        self._end_reason = ""
        self._state = {"running": {"startedAt": timestamp()}}
        self._started = "startupProbe" not in self.spec
        self._ready = "readinessProbe" not in self.spec and self._started
        self._event("Created", f"Created container: {self.name}")
        self._event("Started", f"Started container {self.name}")
        if self._stopping:
            self._means.runtime.signal(process, signal.SIGKILL)
        else:
            self._begin_probes(begun)
        self._view.changed()
        return begun

    def _begin_probes(self, begun: float) -> None:
        post_start = (self.spec.get("lifecycle") or {}).get("postStart")
        if post_start:
            self._probe_task(self._post_start(post_start))
        if "startupProbe" in self.spec:
            self._probe("startupProbe", None, begun)
        else:
            self._probe_running(begun)

    def _probe_running(self, begun: float) -> None:
        self._probe("readinessProbe", False, begun)
        self._probe("livenessProbe", True, begun)

    def _probe(self, kind: str, initial: bool | None, begun: float) -> None:
        manifest = self.spec.get(kind)
        if manifest is None:
            return
        tracker = ProbeTracker(ProbeSpec.from_manifest(manifest), initial)

        async def ask(spec: ProbeSpec) -> Outcome:
            return await self._means.handlers.act(spec.handler, self.target(), spec.timeout)

        def told(tracker: ProbeTracker, outcome: Outcome, changed: bool) -> None:
            self._heard(kind, tracker, outcome, changed, begun)

        self._probe_task(keep_probing(tracker, begun, ask, told, self._means.clock))

    def _probe_task(self, work: Coroutine[Any, Any, None]) -> None:
        self._probes.append(asyncio.get_running_loop().create_task(work))

    def target(self) -> Target:
        """This container as probes and hooks see it."""
        ports = {port["name"]: port["containerPort"] for port in self.spec.get("ports") or [] if port.get("name")}
        return Target(self._view.pod["status"]["podIP"], ports, self._env, str(self.root))

    def _heard(self, kind: str, tracker: ProbeTracker, outcome: Outcome, changed: bool, begun: float) -> None:
        word = kind.removesuffix("Probe")
        if not outcome.ok:
            self._event("Unhealthy", f"{word.capitalize()} probe failed: {outcome.message}", warning=True)
        if not changed:
            return
        if kind == "readinessProbe":
            self._ready = bool(tracker.result)
            self._view.changed()
        elif kind == "startupProbe" and tracker.result:
            self._started = True
            self._ready = "readinessProbe" not in self.spec
            self._stop_probes()
            self._probe_running(begun)
            self._view.changed()
        elif not tracker.result:
            self._begin_restart(f"Container {self.name} failed {word} probe, will be restarted", tracker.spec.handler)

    def _begin_restart(self, message: str, probe: Object) -> None:
        if self._restart is None and not self._stopping:
            self._event("Killing", message)
            grace = probe.get("terminationGracePeriodSeconds")
            if grace is None:
                grace = self._view.pod["spec"].get("terminationGracePeriodSeconds", 30)
            self._restart = asyncio.get_running_loop().create_task(self._end_process(grace))

    async def _post_start(self, hook: Object) -> None:
        outcome = await self._means.handlers.act(hook, self.target(), 3600)
        if not outcome.ok:
            self._event("FailedPostStartHook", f"PostStartHook failed: {outcome.message}", warning=True)
            self._begin_restart(f"Container {self.name} failed its postStart hook", {})

    def end_for_memory(self) -> None:
        """End the process as the kernel does when a container passes its memory limit."""
        if self.process is not None:
            self._end_reason = "OOMKilled"
            self._means.runtime.signal(self.process, signal.SIGKILL)

    async def stop(self, grace: float, *, hook: bool = True) -> None:
        """End the container for good: its preStop hook, SIGTERM, and SIGKILL when ``grace`` seconds are over."""
        self._stopping = True
        if self.process is not None and not self.process.exited.done():
            self._event("Killing", f"Stopping container {self.name}")
            await self._end_process(grace, hook=hook)

    async def _end_process(self, grace: float, *, hook: bool = True) -> None:
        process = self.process
        if process is None:
            return
        begun = time.monotonic()
        pre_stop = (self.spec.get("lifecycle") or {}).get("preStop") if hook else None
        if pre_stop and grace > 0 and not process.exited.done():
            await self._pre_stop(pre_stop, grace, process)
        if grace > 0:
            self._means.runtime.signal(process, _stop_signal(self.spec))
            left = max(LEAST_GRACE if pre_stop else 0.0, grace - (time.monotonic() - begun))
            await asyncio.wait([process.exited], timeout=left)
        self.kill()
        await asyncio.wait([process.exited])

    def kill(self) -> None:
        """End the process now, with all it started."""
        if self.process is not None:
            self._means.runtime.signal(self.process, signal.SIGKILL)

    async def _pre_stop(self, hook: Object, grace: float, process: Process) -> None:
        acting = asyncio.get_running_loop().create_task(self._means.handlers.act(hook, self.target(), grace))
        either: list[asyncio.Future[Any]] = [acting, process.exited]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if acting.done():
            outcome = acting.result()
            if not outcome.ok:
                self._event("FailedPreStopHook", f"PreStopHook failed: {outcome.message}", warning=True)
        else:
            acting.cancel()
            with suppress(asyncio.CancelledError):
                await acting

    async def _ended(self, status: int) -> None:
        started = self._state["running"]["startedAt"] if "running" in self._state else timestamp()
        self._stop_probes()
        if self._restart is not None:
            await self._restart
            self._restart = None
        self._state = {"terminated": _terminated(status, started, self._id, self._end_reason)}
        self._ready = False
        self._started = False
        self.process = None
        self._view.changed()

    def _stop_probes(self) -> None:
        """Cancel the probes; the one this is called from ends by itself, as its loop is cancelled at its next wait."""
        for task in self._probes:
            task.cancel()
        self._probes.clear()

    def _should_restart(self, status: int) -> bool:
        policy = self._view.pod["spec"].get("restartPolicy", "Always")
        if self._init and status == 0:
            return False
        return policy == "Always" or (policy == "OnFailure" and status != 0)

    async def _back_off(self, lasted: float) -> None:
        """Wait before the next start: not at all after the first end, then twice as long each time."""
        options = self._means.options
        self._crashes = 0 if lasted >= options.backoff_reset else self._crashes
        self._last_state = self._state
        if self._crashes:
            delay = min(options.backoff * 2 ** (self._crashes - 1), options.backoff_limit)
            name = self._view.pod["metadata"]["name"]
            message = f"back-off {delay:g}s restarting failed container={self.name} pod={name}"
            self._waits("CrashLoopBackOff", message)
            self._event("BackOff", f"Back-off restarting failed container {self.name} in pod {name}", warning=True)
            await asyncio.sleep(delay)
        self._crashes += 1

    def _waits(self, reason: str, message: str) -> None:
        self._state = {"waiting": {"reason": reason, "message": message}}
        self._view.changed()

    def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        part = "initContainers" if self._init else "containers"
        self._means.recorder.record(
            self._view.pod, reason, message, warning=warning, field=f"spec.{part}{{{self.name}}}"
        )


def command_line(image: Image, spec: Object, env: dict[str, str]) -> tuple[str | None, list[str]]:
    """The entry function to call, or None, and the argument list; a manifest's command replaces the image's."""
    command, args = expand_all(spec.get("command") or [], env), expand_all(spec.get("args") or [], env)
    if command:
        return None, command + args
    if image.entry is not None:
        return image.entry, [spec["image"], *args]
    return None, [*image.command, *args]


def _stop_signal(spec: Object) -> int:
    name = (spec.get("lifecycle") or {}).get("stopSignal") or "SIGTERM"
    return int(signal.Signals[name])


def _terminated(status: int, started: str, container_id: str, reason: str) -> Object:
    state: Object = {
        "exitCode": status if status >= 0 else 128 - status,
        "reason": reason or ("Completed" if status == 0 else "Error"),
        "startedAt": started,
        "finishedAt": timestamp(),
        "containerID": container_id,
    }
    return state | ({"signal": -status} if status < 0 else {})
