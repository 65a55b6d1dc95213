"""The Node object, and the Lease that says the node is alive."""

from __future__ import annotations

import asyncio
import os
import platform

import aiohttp

from rehearsal.client import ApiError, KubeClient
from rehearsal.node.options import NodeOptions
from rehearsal.objects import Object, timestamp, utc_now
from rehearsal.world import World

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
HEARTBEAT = 10.0
LEASE_SECONDS = 40


def node_body(world: World, name: str, options: NodeOptions) -> Object:
    """The Node without its status."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture()}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": world.pod_cidr, "podCIDRs": [world.pod_cidr]},
    }


def node_status(world: World, name: str, options: NodeOptions) -> Object:
    """Declared capacity, addresses, and the condition Ready."""
    now = timestamp()
    capacity = {"cpu": options.cpu, "memory": options.memory, "pods": options.pods}
    conditions = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "pods run as processes"),
    ]
    return {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [{"type": "InternalIP", "address": world.host}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": world.kubelet_port}},
        "conditions": [
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for kind, value, reason, message in conditions
        ],
        "nodeInfo": _node_info(),
    }


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _node_info() -> Object:
    return {
        "architecture": _architecture(),
        "operatingSystem": "linux",
        "kernelVersion": platform.release(),
        "osImage": "rehearsal",
        "containerRuntimeVersion": "rehearsal://1",
        "kubeletVersion": "v1.32.0",
        "kubeProxyVersion": "v1.32.0",
        "machineID": "",
        "systemUUID": "",
        "bootID": f"{os.getpid()}",
    }


async def register(client: KubeClient, world: World, name: str, options: NodeOptions) -> None:
    """Create the Node, or take over the one a run before left, and tell its status."""
    try:
        await client.create("/api/v1/nodes", node_body(world, name, options))
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
    await client.patch(f"/api/v1/nodes/{name}/status", {"status": node_status(world, name, options)})


async def keep_lease(client: KubeClient, name: str) -> None:
    """Renew the node's Lease until cancelled; without its namespace there is none."""
    while True:
        renewed = utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renewed}
        try:
            await _renew(client, name, spec)
        except (ApiError, aiohttp.ClientError, OSError):
            await asyncio.sleep(1.0)
        await asyncio.sleep(HEARTBEAT)


async def _renew(client: KubeClient, name: str, spec: Object) -> None:
    try:
        await client.patch(f"{LEASES}/{name}", {"spec": spec})
    except ApiError as error:
        if error.status != 404:
            raise
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        await client.create(LEASES, lease)
