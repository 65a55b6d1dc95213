"""Binds pending pods to the node, as long as what they request fits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from decimal import Decimal

import aiohttp

from rehearsal.client import ApiError, KubeClient
from rehearsal.events import EventRecorder
from rehearsal.node.options import NodeOptions
from rehearsal.node.quantity import parse_quantity
from rehearsal.objects import Object, condition, is_pod_finished, is_terminating, path_of, timestamp

log = logging.getLogger(__name__)
RETRY = 1.0


def requests_of(pod: Object) -> dict[str, Decimal]:
    """What the pod asks for: cpu, memory, and itself as one of the node's pods."""
    total = {"cpu": Decimal(0), "memory": Decimal(0), "pods": Decimal(1)}
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        asked = (resources.get("limits") or {}) | (resources.get("requests") or {})
        for name in ("cpu", "memory"):
            total[name] += parse_quantity(asked.get(name, 0))
    return total


def lacking(pod: Object, placed: Iterable[Object], options: NodeOptions) -> list[str]:
    """The resources that would not suffice with ``pod`` beside the pods placed already."""
    left = {name: parse_quantity(getattr(options, name)) for name in ("cpu", "memory", "pods")}
    for other in placed:
        for name, amount in requests_of(other).items():
            left[name] -= amount
    return [name for name, amount in requests_of(pod).items() if amount > left[name]]


class Scheduler:
    """Places the pods nobody placed yet."""

    def __init__(
        self,
        client: KubeClient,
        recorder: EventRecorder,
        node: str,
        labels: dict[str, str],
        options: NodeOptions,
        pods: Callable[[], list[Object]],
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._node = node
        self._labels = labels
        self._options = options
        self._pods = pods
        self._placing: dict[str, Object] = {}
        self._wake = asyncio.Event()

    def pods_changed(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Place pods as they come, and those that did not fit once others have gone."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._place(self._pods())
            except (ApiError, aiohttp.ClientError, OSError) as error:
                log.debug("placing pods: %s", error)
                await asyncio.sleep(RETRY)
                self._wake.set()

    async def _place(self, pods: list[Object]) -> None:
        placed = [pod for pod in pods if pod["spec"].get("nodeName") and not is_pod_finished(pod)]
        unplaced = {pod["metadata"]["uid"] for pod in pods if not pod["spec"].get("nodeName")}
        self._placing = {uid: pod for uid, pod in self._placing.items() if uid in unplaced}
        chosen = []
        for pod in filter(self._is_waiting, pods):
            reason = self._obstacle(pod, [*placed, *self._placing.values()])
            if reason:
                await self._refuse(pod, reason)
            else:
                self._placing[pod["metadata"]["uid"]] = pod
                chosen.append(pod)
        await asyncio.gather(*(self._bind(pod) for pod in chosen))

    def _is_waiting(self, pod: Object) -> bool:
        ours = pod["spec"].get("schedulerName", "default-scheduler") == "default-scheduler"
        placed = pod["spec"].get("nodeName") or pod["metadata"]["uid"] in self._placing
        return ours and not placed and not is_terminating(pod) and not pod["spec"].get("schedulingGates")

    def _obstacle(self, pod: Object, placed: list[Object]) -> str:
        if not (pod["spec"].get("nodeSelector") or {}).items() <= self._labels.items():
            return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        missing = lacking(pod, placed, self._options)
        words = ["Too many pods" if name == "pods" else f"Insufficient {name}" for name in missing]
        return f"0/1 nodes are available: 1 {', 1 '.join(words)}." if words else ""

    async def _bind(self, pod: Object) -> None:
        metadata = pod["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self._node},
        }
        try:
            await self._client.create(path_of("v1", "Pod", metadata["namespace"], metadata["name"]) + "/binding", body)
        except ApiError as error:
            self._placing.pop(metadata["uid"], None)
            self._wake.set()
            if error.status not in (404, 409):
                raise
            return
        place = f"{metadata['namespace']}/{metadata['name']}"
        self._recorder.record(pod, "Scheduled", f"Successfully assigned {place} to {self._node}")

    async def _refuse(self, pod: Object, reason: str) -> None:
        known = condition(pod, "PodScheduled")
        if known is not None and known.get("message") == reason:
            return
        self._recorder.record(pod, "FailedScheduling", reason, warning=True)
        entry = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": reason,
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(),
        }
        metadata = pod["metadata"]
        body = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [entry]}}
        await self._client.patch(path_of("v1", "Pod", metadata["namespace"], metadata["name"]) + "/status", body)
