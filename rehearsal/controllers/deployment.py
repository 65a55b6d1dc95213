"""Deployments: a ReplicaSet per pod template, moved from old to new as the strategy says."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from rehearsal.client import ApiError, KubeClient
from rehearsal.controllers import rolling
from rehearsal.controllers.caches import Caches
from rehearsal.controllers.deployment_status import deployment_status, progress_deadline
from rehearsal.controllers.queue import WorkQueue
from rehearsal.events import EventRecorder
from rehearsal.objects import (
    Key,
    Object,
    controller_of,
    is_pod_finished,
    is_terminating,
    key_of,
    owner_reference,
    path_of,
    utc_now,
)

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
NOT_COPIED = {"kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MOST}
DIGITS = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Object, collisions: int) -> str:
    """A short name for a pod template, of letters that spell nothing."""
    text = json.dumps([template, collisions], sort_keys=True)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
    digits = ""
    for _ in range(10):
        number, digit = divmod(number, len(DIGITS))
        digits += DIGITS[digit]
    return digits


class DeploymentController:
    """Reconciles Deployments with the ReplicaSets they control."""

    def __init__(self, client: KubeClient, caches: Caches, recorder: EventRecorder) -> None:
        self._client = client
        self._caches = caches
        self._recorder = recorder
        self.queue = WorkQueue("deployment", self.reconcile)
        caches.deployments.listeners.append(lambda item: self.queue.add(key_of(item)))
        caches.replica_sets.listeners.append(self._replica_set_changed)
        caches.pods.deletion_listeners.append(self._pod_deleted)

    def _replica_set_changed(self, item: Object) -> None:
        owner = controller_of(item)
        if owner is not None and owner["kind"] == "Deployment":
            self.queue.add((item["metadata"]["namespace"], owner["name"]))

    def _pod_deleted(self, pod: Object) -> None:
        """Recreate waits for the last old pod to be gone, which no ReplicaSet's status tells."""
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "ReplicaSet":
            parent = self._caches.replica_sets.objects.get((pod["metadata"]["namespace"], owner["name"]))
            if parent is not None:
                self._replica_set_changed(parent)

    async def reconcile(self, key: Key) -> float | None:
        """Take the Deployment one step on; seconds until its progress deadline, if one runs."""
        deployment = self._caches.deployments.objects.get(key)
        if deployment is None:
            return None
        sets = sorted(
            self._caches.replica_sets.controlled_by(deployment),
            key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]),
        )
        new = find_new_set(deployment, sets)
        if not is_terminating(deployment):
            new = await self._advance(deployment, new, [item for item in sets if item is not new])
            await self._remove_history(deployment, new)
        sets = self._caches.replica_sets.controlled_by(deployment)
        await self._write_status(deployment, new, sets)
        return progress_deadline(self._caches.deployments.objects.get(key, deployment), utc_now())

    async def _advance(self, deployment: Object, new: Object | None, old: list[Object]) -> Object | None:
        spec = deployment["spec"]
        known = [*old, *([new] if new else [])]
        if spec.get("paused") or is_scaling(deployment, known):
            await self._scale(deployment, new, old)
            return new
        if spec.get("strategy", {}).get("type") == "Recreate":
            return await self._recreate(deployment, new, old)
        surge, unavailable = update_limits(deployment)
        if new is None:
            size = rolling.new_size(spec["replicas"], surge, rolling.Counts("", 0, 0), [counts(each) for each in old])
            new = await self._create_set(deployment, old, size)
        else:
            new = await self._keep_current(deployment, new, old)
        step = rolling.rolling_step(spec["replicas"], surge, unavailable, counts(new), [counts(each) for each in old])
        return await self._resize(deployment, new, [*old, new], step)

    async def _recreate(self, deployment: Object, new: Object | None, old: list[Object]) -> Object | None:
        step = {each["metadata"]["name"]: 0 for each in old if each["spec"]["replicas"]}
        if step:
            await self._resize(deployment, new, old, step)
            return new
        running = [pod for each in old for pod in self._caches.pods.controlled_by(each) if not is_pod_finished(pod)]
        if running:
            return new
        replicas = deployment["spec"]["replicas"]
        if new is None:
            return await self._create_set(deployment, old, replicas)
        new = await self._keep_current(deployment, new, old)
        step = {new["metadata"]["name"]: replicas} if new["spec"]["replicas"] != replicas else {}
        return await self._resize(deployment, new, [new], step)

    async def _scale(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        """Follow a change of ``spec.replicas`` without rolling anything on."""
        replicas = deployment["spec"]["replicas"]
        sets = [*old, *([new] if new else [])]
        active = [each for each in sets if each["spec"]["replicas"]]
        if len(active) <= 1:
            target = active[0] if active else (sets[-1] if sets else None)
            step = {target["metadata"]["name"]: replicas} if target else {}
        else:
            total = replicas + update_limits(deployment)[0] if replicas else 0
            step = rolling.proportional({each["metadata"]["name"]: each["spec"]["replicas"] for each in active}, total)
        await self._resize(deployment, new, sets, step)

    async def _create_set(self, deployment: Object, old: list[Object], size: int) -> Object:
        """The ReplicaSet of the current template, which must not exist yet."""
        namespace = deployment["metadata"]["namespace"]
        collisions = deployment.get("status", {}).get("collisionCount") or 0
        digest = template_hash(deployment["spec"]["template"], collisions)
        body = replica_set_body(deployment, digest, size, next_revision(old))
        try:
            made = await self._client.create(path_of("apps/v1", "ReplicaSet", namespace), body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return await self._met_existing(deployment, body, collisions)
        self._caches.replica_sets.remember(made)
        if size:
            message = f"Scaled up replica set {made['metadata']['name']} from 0 to {size}"
            self._recorder.record(deployment, "ScalingReplicaSet", message)
        await self._note_revision(deployment, _annotations(made)[REVISION])
        return made

    async def _met_existing(self, deployment: Object, body: Object, collisions: int) -> Object:
        """A set of that name is there: ours, only not seen yet, or a stranger's, which makes us take another name."""
        metadata = deployment["metadata"]
        path = path_of("apps/v1", "ReplicaSet", metadata["namespace"], body["metadata"]["name"])
        found: Object = await self._client.get(path)
        owner = controller_of(found)
        if owner is None or owner["uid"] != metadata["uid"]:
            status = {"collisionCount": collisions + 1}
            path = path_of("apps/v1", "Deployment", metadata["namespace"], metadata["name"])
            self._caches.deployments.remember(await self._client.patch(f"{path}/status", {"status": status}))
            raise ApiError(409, {"reason": "AlreadyExists", "message": "another's ReplicaSet has our name"})
        self._caches.replica_sets.remember(found)
        return found

    async def _keep_current(self, deployment: Object, new: Object, old: list[Object]) -> Object:
        """Have the new set carry the highest revision (it may be an old one taken back) and our annotations."""
        annotations = copied_annotations(deployment)
        highest = max((revision(each) for each in old), default=0)
        if revision(new) <= highest:
            annotations[REVISION] = str(highest + 1)
        changes: Object = {}
        if any(_annotations(new).get(key) != value for key, value in annotations.items()):
            changes["metadata"] = {"annotations": annotations}
        if new["spec"].get("minReadySeconds", 0) != deployment["spec"].get("minReadySeconds", 0):
            changes["spec"] = {"minReadySeconds": deployment["spec"].get("minReadySeconds", 0)}
        if changes:
            new = await self._patch_set(new, changes)
        await self._note_revision(deployment, _annotations(new).get(REVISION, "1"))
        return new

    async def _note_revision(self, deployment: Object, number: str) -> None:
        if _annotations(deployment).get(REVISION) == number:
            return
        metadata = deployment["metadata"]
        path = path_of("apps/v1", "Deployment", metadata["namespace"], metadata["name"])
        patched = await self._client.patch(path, {"metadata": {"annotations": {REVISION: number}}})
        self._caches.deployments.remember(patched)

    async def _resize(
        self, deployment: Object, new: Object | None, sets: list[Object], step: dict[str, int]
    ) -> Object | None:
        """Give ReplicaSets the sizes in ``step``; the new set as it then is."""
        replicas = deployment["spec"]["replicas"]
        surge, _ = update_limits(deployment)
        marks = {DESIRED: str(replicas), MOST: str(replicas + surge)}
        for each in sets:
            name, size = each["metadata"]["name"], each["spec"]["replicas"]
            target = step.get(name, size)
            marked = all(_annotations(each).get(key) == value for key, value in marks.items())
            if target == size and (marked or not size):
                continue
            patched = await self._patch_set(each, {"metadata": {"annotations": marks}, "spec": {"replicas": target}})
            if target != size:
                word = "up" if target > size else "down"
                message = f"Scaled {word} replica set {name} from {size} to {target}"
                self._recorder.record(deployment, "ScalingReplicaSet", message)
            if each is new:
                new = patched
        return new

    async def _patch_set(self, item: Object, changes: Object) -> Object:
        path = path_of("apps/v1", "ReplicaSet", item["metadata"]["namespace"], item["metadata"]["name"])
        patched = await self._client.patch(path, changes)
        self._caches.replica_sets.remember(patched)
        return patched

    async def _remove_history(self, deployment: Object, new: Object | None) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        empty = [
            each
            for each in self._caches.replica_sets.controlled_by(deployment)
            if (new is None or each["metadata"]["uid"] != new["metadata"]["uid"])
            and not each["spec"]["replicas"]
            and not each.get("status", {}).get("replicas")
            and not is_terminating(each)
        ]
        for each in sorted(empty, key=revision)[: max(0, len(empty) - limit)]:
            await self._client.delete(path_of("apps/v1", "ReplicaSet", *key_of(each)))
            self._caches.replica_sets.forget(each)

    async def _write_status(self, deployment: Object, new: Object | None, sets: list[Object]) -> None:
        _, unavailable = update_limits(deployment)
        status = deployment_status(deployment, new, sets, unavailable, utc_now())
        if status == deployment.get("status"):
            return
        metadata = deployment["metadata"]
        latest = self._caches.deployments.objects.get(key_of(deployment), deployment)
        path = path_of("apps/v1", "Deployment", metadata["namespace"], metadata["name"]) + "/status"
        written = await self._client.request("PUT", path, latest | {"status": status})
        self._caches.deployments.remember(written)


def find_new_set(deployment: Object, sets: list[Object]) -> Object | None:
    """The ReplicaSet made from the Deployment's present template, if there is one."""
    template = deployment["spec"]["template"]
    collisions = deployment.get("status", {}).get("collisionCount") or 0
    name = f"{deployment['metadata']['name']}-{template_hash(template, collisions)}"
    for each in sets:
        if each["metadata"]["name"] == name or _without_hash(each["spec"]["template"]) == template:
            return each
    return None


def _without_hash(template: Object) -> Object:
    plain = copy.deepcopy(template)
    plain.get("metadata", {}).get("labels", {}).pop(HASH_LABEL, None)
    return plain


def replica_set_body(deployment: Object, digest: str, size: int, number: int) -> Object:
    """The ReplicaSet to create for the Deployment's present template."""
    spec, metadata = deployment["spec"], deployment["metadata"]
    template = copy.deepcopy(spec["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = digest
    selector = copy.deepcopy(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = digest
    surge, _ = update_limits(deployment)
    marks = {REVISION: str(number), DESIRED: str(spec["replicas"]), MOST: str(spec["replicas"] + surge)}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": copied_annotations(deployment) | marks,
            "ownerReferences": [owner_reference("apps/v1", "Deployment", deployment)],
        },
        "spec": {
            "replicas": size,
            "minReadySeconds": spec.get("minReadySeconds", 0),
            "selector": selector,
            "template": template,
        },
    }


def update_limits(deployment: Object) -> tuple[int, int]:
    """``(maxSurge, maxUnavailable)`` of the Deployment, as counts."""
    spec = deployment["spec"]
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, 0
    options: dict[str, Any] = strategy.get("rollingUpdate") or {}
    return rolling.limits(options.get("maxSurge", "25%"), options.get("maxUnavailable", "25%"), spec["replicas"])


def is_scaling(deployment: Object, sets: list[Object]) -> bool:
    """Whether ``spec.replicas`` differs from what the active sets were last sized for."""
    return any(
        _annotations(each).get(DESIRED) not in (None, str(deployment["spec"]["replicas"]))
        for each in sets
        if each["spec"]["replicas"]
    )


def counts(item: Object) -> rolling.Counts:
    status = item.get("status") or {}
    available, present = status.get("availableReplicas") or 0, status.get("replicas") or 0
    return rolling.Counts(item["metadata"]["name"], item["spec"]["replicas"], available, present)


def copied_annotations(deployment: Object) -> dict[str, str]:
    return {key: value for key, value in _annotations(deployment).items() if key not in NOT_COPIED}


def revision(item: Object) -> int:
    return int(_annotations(item).get(REVISION, 0))


def next_revision(old: list[Object]) -> int:
    return max((revision(each) for each in old), default=0) + 1


def _annotations(item: Object) -> dict[str, str]:
    return item["metadata"].get("annotations") or {}
