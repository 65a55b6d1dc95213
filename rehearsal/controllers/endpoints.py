"""Endpoints and EndpointSlices: which pods stand behind a Service, and which of them may get traffic."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from rehearsal.client import ApiError, KubeClient
from rehearsal.controllers.caches import Caches, Collection
from rehearsal.controllers.queue import WorkQueue
from rehearsal.objects import Key, Object, is_pod_finished, is_pod_ready, is_terminating, key_of, path_of

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"

Port = tuple[str, int, str]


class EndpointsController:
    """Keeps Endpoints and EndpointSlices of each Service with a selector in step with its pods."""

    def __init__(self, client: KubeClient, caches: Caches) -> None:
        self._client = client
        self._caches = caches
        self._selected: dict[str, set[Key]] = {}
        self.queue = WorkQueue("endpoints", self.reconcile)
        caches.services.listeners.append(lambda item: self.queue.add(key_of(item)))
        caches.endpoints.listeners.append(lambda item: self.queue.add(key_of(item)))
        caches.slices.listeners.append(self._slice_changed)
        caches.pods.listeners.append(self._pod_changed)

    def _slice_changed(self, item: Object) -> None:
        labels = item["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) == MANAGER and SERVICE_NAME in labels:
            self.queue.add((item["metadata"]["namespace"], labels[SERVICE_NAME]))

    def _pod_changed(self, pod: Object) -> None:
        """Look at the Services that select the pod now, or did before its labels changed."""
        labels = (pod["metadata"].get("labels") or {}).items()
        services = self._caches.services.in_namespace(pod["metadata"]["namespace"])
        now = {key_of(each) for each in services if _selector(each) and _selector(each).items() <= labels}
        uid = pod["metadata"]["uid"]
        for key in now | self._selected.get(uid, set()):
            self.queue.add(key)
        self._selected[uid] = now
        if self._caches.pods.objects.get(key_of(pod)) is None:
            del self._selected[uid]

    async def reconcile(self, key: Key) -> None:
        service = self._caches.services.objects.get(key)
        if service is None:
            await self._remove_endpoints(key)
            return
        selector = _selector(service)
        if not selector:
            return
        pods = [
            pod
            for pod in self._caches.pods.in_namespace(key[0])
            if selector.items() <= (pod["metadata"].get("labels") or {}).items()
            and (pod.get("status") or {}).get("podIP")
            and not is_pod_finished(pod)
        ]
        pods.sort(key=lambda pod: pod["metadata"]["name"])
        await self._write_slices(service, slice_bodies(service, pods))
        await self._write(self._caches.endpoints, endpoints_body(service, pods), ("subsets",))

    async def _remove_endpoints(self, key: Key) -> None:
        known = self._caches.endpoints.objects.get(key)
        if known is None or (known["metadata"].get("labels") or {}).get(MANAGED_BY) != MANAGER:
            return
        await self._delete(self._caches.endpoints, known)

    async def _write_slices(self, service: Object, bodies: list[Object]) -> None:
        namespace, name = key_of(service)
        for body in bodies:
            await self._write(self._caches.slices, body, ("endpoints", "ports"))
        wanted = {body["metadata"]["name"] for body in bodies}
        for known in self._caches.slices.in_namespace(namespace):
            labels = known["metadata"].get("labels") or {}
            ours = labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_NAME) == name
            if ours and known["metadata"]["name"] not in wanted:
                await self._delete(self._caches.slices, known)

    async def _write(self, collection: Collection, body: Object, fields: tuple[str, ...]) -> None:
        known = collection.objects.get(key_of(body))
        path = path_of(collection.api_version, collection.kind, *key_of(body))
        if known is None:
            collection.remember(await self._client.create(path.rsplit("/", 1)[0], body))
            return
        labels = known["metadata"].get("labels") or {}
        same = all((known.get(field) or []) == body[field] for field in fields)
        if same and body["metadata"]["labels"].items() <= labels.items():
            return
        changed = known | {field: body[field] for field in fields}
        changed["metadata"] = known["metadata"] | {"labels": labels | body["metadata"]["labels"]}
        collection.remember(await self._client.request("PUT", path, changed))

    async def _delete(self, collection: Collection, known: Object) -> None:
        try:
            await self._client.delete(path_of(collection.api_version, collection.kind, *key_of(known)))
        except ApiError as error:
            if error.status != 404:
                raise
        collection.forget(known)


def _selector(service: Object) -> dict[str, str]:
    return service["spec"].get("selector") or {}


def resolved_ports(service: Object, pod: Object) -> tuple[Port, ...]:
    """``(name, number, protocol)`` of each Service port on this pod; a named port the pod lacks is left out."""
    ports = []
    for port in service["spec"].get("ports") or []:
        number = _target(port, pod)
        if number is not None:
            ports.append((port.get("name") or "", number, port.get("protocol") or "TCP"))
    return tuple(ports)


def _target(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for declared in container.get("ports") or []:
            same_protocol = (declared.get("protocol") or "TCP") == (port.get("protocol") or "TCP")
            if declared.get("name") == target and same_protocol:
                return int(declared["containerPort"])
    return None


def _by_ports(service: Object, pods: list[Object]) -> dict[tuple[Port, ...], list[Object]]:
    groups: dict[tuple[Port, ...], list[Object]] = {}
    for pod in pods:
        groups.setdefault(resolved_ports(service, pod), []).append(pod)
    return groups


def _target_reference(pod: Object) -> Object:
    metadata = pod["metadata"]
    return {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}


def slice_bodies(service: Object, pods: list[Object]) -> list[Object]:
    """One EndpointSlice per set of port numbers; an empty one for a Service without pods."""
    metadata = service["metadata"]
    groups = _by_ports(service, pods) or {(): []}
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{metadata['name']}-{hashlib.sha256(json.dumps(ports).encode()).hexdigest()[:5]}",
                "namespace": metadata["namespace"],
                "labels": (metadata.get("labels") or {}) | {SERVICE_NAME: metadata["name"], MANAGED_BY: MANAGER},
                "ownerReferences": [_service_reference(service)],
            },
            "addressType": "IPv4",
            "endpoints": [_slice_endpoint(service, pod) for pod in members],
            "ports": [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in ports],
        }
        for ports, members in groups.items()
    ]


def _service_reference(service: Object) -> Object:
    metadata = service["metadata"]
    reference = {"apiVersion": "v1", "kind": "Service", "name": metadata["name"], "uid": metadata["uid"]}
    return reference | {"controller": True, "blockOwnerDeletion": True}


def _slice_endpoint(service: Object, pod: Object) -> Object:
    serving = is_pod_ready(pod)
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: dict[str, Any] = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": always or (serving and not is_terminating(pod)),
            "serving": always or serving,
            "terminating": is_terminating(pod),
        },
        "targetRef": _target_reference(pod),
    }
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    return endpoint


def endpoints_body(service: Object, pods: list[Object]) -> Object:
    """The Endpoints of a Service: ready addresses, and those not ready; a terminating pod is in neither."""
    metadata = service["metadata"]
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    subsets = []
    for ports, members in _by_ports(service, [pod for pod in pods if always or not is_terminating(pod)]).items():
        subset: dict[str, Any] = {}
        for name, ready in (("addresses", True), ("notReadyAddresses", False)):
            found = [_address(pod) for pod in members if (always or is_pod_ready(pod)) is ready]
            if found:
                subset[name] = found
        subset["ports"] = [_endpoint_port(*port) for port in ports]
        subsets.append(subset)
    labels = (metadata.get("labels") or {}) | {MANAGED_BY: MANAGER, SKIP_MIRROR: "true"}
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "labels": labels},
        "subsets": subsets,
    }


def _endpoint_port(name: str, number: int, protocol: str) -> Object:
    port: dict[str, Any] = {"port": number, "protocol": protocol}
    return {"name": name} | port if name else port


def _address(pod: Object) -> Object:
    address = {"ip": pod["status"]["podIP"], "targetRef": _target_reference(pod)}
    return address | ({"nodeName": pod["spec"]["nodeName"]} if pod["spec"].get("nodeName") else {})
