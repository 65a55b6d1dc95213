"""ReplicaSets: as many pods as asked for."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from rehearsal.client import ApiError, KubeClient
from rehearsal.controllers.caches import Caches
from rehearsal.controllers.queue import WorkQueue
from rehearsal.events import EventRecorder
from rehearsal.objects import (
    Key,
    Object,
    condition,
    controller_of,
    is_pod_active,
    is_pod_ready,
    is_terminating,
    key_of,
    owner_reference,
    parse_time,
    path_of,
    seconds_until_available,
    selects,
    utc_now,
)

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


class ReplicaSetController:
    """Reconciles ReplicaSets with the pods they control."""

    def __init__(self, client: KubeClient, caches: Caches, recorder: EventRecorder) -> None:
        self._client = client
        self._caches = caches
        self._recorder = recorder
        self.queue = WorkQueue("replicaset", self.reconcile)
        caches.replica_sets.listeners.append(lambda item: self.queue.add(key_of(item)))
        caches.pods.listeners.append(self._pod_changed)

    def _pod_changed(self, pod: Object) -> None:
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "ReplicaSet":
            self.queue.add((pod["metadata"]["namespace"], owner["name"]))

    async def reconcile(self, key: Key) -> float | None:
        """Create or delete pods, then tell the counts; seconds until a ready pod becomes available."""
        item = self._caches.replica_sets.objects.get(key)
        if item is None:
            return None
        active = [pod for pod in self._caches.pods.controlled_by(item) if is_pod_active(pod)]
        if not is_terminating(item):
            active += await self._adopt(item)
            missing = item["spec"]["replicas"] - len(active)
            if missing > 0:
                active += await self._create_pods(item, missing)
            elif missing < 0:
                active = await self._delete_pods(item, active, -missing)
        return await self._write_status(key, active)

    async def _adopt(self, item: Object) -> list[Object]:
        """Take over pods that match and have no controller."""
        adopted = []
        for pod in self._caches.pods.in_namespace(item["metadata"]["namespace"]):
            labels = pod["metadata"].get("labels") or {}
            if controller_of(pod) or not is_pod_active(pod) or not selects(item["spec"]["selector"], labels):
                continue
            owners = (pod["metadata"].get("ownerReferences") or []) + [owner_reference("apps/v1", "ReplicaSet", item)]
            changes = {"metadata": {"uid": pod["metadata"]["uid"], "ownerReferences": owners}}
            patched = await self._client.patch(path_of("v1", "Pod", *key_of(pod)), changes)
            self._caches.pods.remember(patched)
            adopted.append(patched)
        return adopted

    async def _create_pods(self, item: Object, count: int) -> list[Object]:
        namespace = item["metadata"]["namespace"]
        body = pod_body(item)
        answers = await asyncio.gather(
            *(self._client.create(path_of("v1", "Pod", namespace), body) for _ in range(count)),
            return_exceptions=True,
        )
        made = [answer for answer in answers if isinstance(answer, dict)]
        for pod in made:
            self._caches.pods.remember(pod)
            self._recorder.record(item, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        for answer in answers:
            if isinstance(answer, BaseException):
                self._recorder.record(item, "FailedCreate", f"Error creating: {answer}", warning=True)
                raise answer
        return made

    async def _delete_pods(self, item: Object, active: list[Object], count: int) -> list[Object]:
        ranked = sorted(active, key=deletion_rank)
        await asyncio.gather(*(self._delete_pod(item, pod) for pod in ranked[:count]))
        return ranked[count:]

    async def _delete_pod(self, item: Object, pod: Object) -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": pod["metadata"]["uid"]}}
        try:
            answer = await self._client.delete(path_of("v1", "Pod", *key_of(pod)), body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return
        if isinstance(answer, dict) and answer.get("metadata", {}).get("deletionTimestamp"):
            self._caches.pods.remember(answer)
        else:
            self._caches.pods.forget(pod)
        self._recorder.record(item, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")

    async def _write_status(self, key: Key, active: list[Object]) -> float | None:
        latest = self._caches.replica_sets.objects.get(key)
        if latest is None:
            return None
        waits = [seconds_until_available(pod, latest["spec"].get("minReadySeconds", 0), utc_now()) for pod in active]
        status = replica_set_status(latest, active, sum(wait == 0 for wait in waits))
        if status != latest.get("status"):
            path = path_of("apps/v1", "ReplicaSet", *key) + "/status"
            self._caches.replica_sets.remember(await self._client.request("PUT", path, latest | {"status": status}))
        return min((wait for wait in waits if wait), default=None)


def replica_set_status(item: Object, active: list[Object], available: int) -> Object:
    """Counts of the pods that are neither finished nor going; all but ``replicas`` left out when zero."""
    labels = item["spec"]["template"].get("metadata", {}).get("labels", {}).items()
    counts = {
        "fullyLabeledReplicas": sum(labels <= (pod["metadata"].get("labels") or {}).items() for pod in active),
        "readyReplicas": sum(is_pod_ready(pod) for pod in active),
        "availableReplicas": available,
    }
    status = {"replicas": len(active), "observedGeneration": item["metadata"]["generation"]}
    return status | {name: count for name, count in counts.items() if count}


def pod_body(item: Object) -> Object:
    """A pod made from the ReplicaSet's template; the API completes its name."""
    template = copy.deepcopy(item["spec"]["template"])
    metadata = template.get("metadata") or {}
    wanted = {name: metadata[name] for name in ("labels", "annotations", "finalizers") if metadata.get(name)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": wanted
        | {
            "generateName": f"{item['metadata']['name']}-",
            "namespace": item["metadata"]["namespace"],
            "ownerReferences": [owner_reference("apps/v1", "ReplicaSet", item)],
        },
        "spec": template["spec"],
    }


def deletion_rank(pod: Object) -> tuple[Any, ...]:
    """Pods that sort first go first: unplaced, pending, not ready, cheap, then the ones ready or made last."""
    status = pod.get("status") or {}
    ready = is_pod_ready(pod)
    annotations = pod["metadata"].get("annotations") or {}
    ready_condition = condition(pod, "Ready") or {}
    ready_since = parse_time(ready_condition["lastTransitionTime"]).timestamp() if ready else 0.0
    restarts = max((entry.get("restartCount", 0) for entry in status.get("containerStatuses") or []), default=0)
    return (
        bool(pod["spec"].get("nodeName")),
        PHASES.get(status.get("phase", "Pending"), 1),
        ready,
        int(annotations.get(DELETION_COST, 0)),
        -ready_since,
        -restarts,
        -parse_time(pod["metadata"]["creationTimestamp"]).timestamp(),
        pod["metadata"]["name"],
    )
