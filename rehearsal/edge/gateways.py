"""Gateways of this edge: which HTTPRoutes their listeners take, and what their status says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rehearsal.client import Object
from rehearsal.edge.fields import Fields
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.translation import Status, in_order, object_path

CONTROLLER = "rehearsal.example/edge"
GROUP = "gateway.networking.k8s.io"
COLLECTIONS = {
    kind: f"/apis/{GROUP}/v1/{kind.lower()}{end}" for kind, end in (("Gateway", "s"), ("GatewayClass", "es"))
}
Key = tuple[str, str]


@dataclass(frozen=True)
class Attachment:
    """What became of one parentRef (``reference``) of a route.

    ``listeners`` took it, for ``hosts``; none did where ``reason`` isn't Accepted.
    """

    reference: Object
    gateway: Key
    reason: str
    message: str = ""
    listeners: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def attachments(spec: Fields, namespace: str, mesh: Mesh) -> list[Attachment]:
    """One for each parentRef that means a Gateway of this edge, or one that doesn't exist."""
    found = []
    for reference in spec.objects("parentRefs"):
        reference.only(("group", "kind", "namespace", "name", "sectionName", "port"))
        if (reference.string("group", GROUP), reference.string("kind", "Gateway")) != (GROUP, "Gateway"):
            continue
        key = reference.string("namespace", namespace), reference.string("name")
        gateway = next((item for item in mesh.objects.get("Gateway", []) if _key(item) == key), None)
        if gateway is None:
            message = f"there is no Gateway {key[1]} in namespace {key[0]}"
            found.append(Attachment(dict(reference.value), key, "NoMatchingParent", message))
        elif _is_ours(gateway, mesh):
            found.append(_attached(reference, key, gateway, spec.strings("hostnames"), namespace))
    return found


def _attached(reference: Fields, key: Key, gateway: Object, hostnames: list[str], namespace: str) -> Attachment:
    def refused(reason: str, message: str) -> Attachment:
        return Attachment(dict(reference.value), key, reason, message)

    section, port = reference.string("sectionName"), reference.integer("port")
    listeners = [
        listener
        for listener in gateway["spec"]["listeners"]
        if section in ("", listener["name"]) and port in (0, listener["port"]) and listener["protocol"] == "HTTP"
    ]
    if not listeners:
        return refused("NoMatchingParent", "no HTTP listener of the Gateway has this sectionName and port")
    allowing = [listener for listener in listeners if _allows(listener, key[0], namespace)]
    if not allowing:
        return refused("NotAllowedByListeners", f"no listener allows routes of namespace {namespace}")
    hosts = {listener["name"]: _common_hosts(hostnames, listener.get("hostname") or "*") for listener in allowing}
    taking = tuple(name for name, common in hosts.items() if common)
    if not taking:
        return refused("NoMatchingListenerHostname", f"no listener has a hostname in common with {hostnames}")
    common = dict.fromkeys(host for name in taking for host in hosts[name])
    return Attachment(dict(reference.value), key, "Accepted", listeners=taking, hosts=tuple(common))


def _allows(listener: Object, gateway_namespace: str, namespace: str) -> bool:
    """Routes of namespaces by selector are not let in: this edge doesn't read namespaces."""
    allowed = listener.get("allowedRoutes") or {}
    if any(kind.get("kind") != "HTTPRoute" for kind in allowed.get("kinds") or []):
        return False
    origin = (allowed.get("namespaces") or {}).get("from", "Same")
    return origin == "All" or (origin == "Same" and namespace == gateway_namespace)


def _common_hosts(hostnames: list[str], listener: str) -> list[str]:
    """The narrower of each pair of host names that have names in common."""
    if not hostnames:
        return [listener]
    common = []
    for host in hostnames:
        if listener == "*" or host == listener or _covers(listener, host):
            common.append(host)
        elif _covers(host, listener):
            common.append(listener)
    return common


def _covers(wildcard: str, host: str) -> bool:
    return wildcard.startswith("*.") and host != wildcard and host.removeprefix("*").endswith(wildcard[1:])


def statuses(attached: Sequence[Attachment], mesh: Mesh, address: str) -> Iterable[Status]:
    """Of every GatewayClass and Gateway of this edge, which has the routes of ``attached``."""
    for item in in_order(mesh.objects.get("GatewayClass", [])):
        if item["spec"].get("controllerName") == CONTROLLER:
            conditions = [condition(item, "Accepted", "Accepted", True)]
            yield Status(item, object_path(COLLECTIONS["GatewayClass"], item), {"conditions": conditions})
    for item in in_order(mesh.objects.get("Gateway", [])):
        if _is_ours(item, mesh):
            yield Status(item, object_path(COLLECTIONS["Gateway"], item), _gateway_status(item, attached, address))


def _gateway_status(item: Object, attached: Sequence[Attachment], address: str) -> Object:
    routes = [one for one in attached if one.gateway == _key(item)]
    listeners = []
    for listener in item["spec"]["listeners"]:
        served = listener["protocol"] == "HTTP"
        why = "Accepted" if served else "UnsupportedProtocol"
        conditions = [
            condition(item, "Accepted", why, served),
            condition(item, "Programmed", "Programmed" if served else "Invalid", served),
            condition(item, "ResolvedRefs", "ResolvedRefs", True),
        ]
        entry = {
            "name": listener["name"],
            "supportedKinds": [{"group": GROUP, "kind": "HTTPRoute"}],
            "attachedRoutes": sum(listener["name"] in one.listeners for one in routes),
            "conditions": conditions,
        }
        listeners.append(entry)
    served = any(listener["protocol"] == "HTTP" for listener in item["spec"]["listeners"])
    conditions = [
        condition(item, "Accepted", "Accepted" if served else "ListenersNotValid", served),
        condition(item, "Programmed", "Programmed" if served else "Invalid", served),
    ]
    addresses = [{"type": "IPAddress", "value": address}]
    return {"addresses": addresses, "conditions": conditions, "listeners": listeners}


def condition(item: Object, kind: str, reason: str, holds: bool, message: str = "") -> dict[str, Any]:
    """A condition about the object's present generation, without its time."""
    return {
        "type": kind,
        "status": "True" if holds else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": item["metadata"].get("generation", 0),
    }


def _is_ours(gateway: Object, mesh: Mesh) -> bool:
    name = gateway["spec"].get("gatewayClassName")
    classes = mesh.objects.get("GatewayClass", [])
    return any(
        item["metadata"]["name"] == name and item["spec"].get("controllerName") == CONTROLLER for item in classes
    )


def _key(item: Object) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
