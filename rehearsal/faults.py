"""Faults for running pods: what ``python -m rehearsal fault`` sends them, through the API server's pod proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from rehearsal.client import ApiError, KubeClient
from rehearsal.world import NAMESPACE, World

FAULT_PORT = 9091
APPLICATION = "claude-enhancer"
HEAL_PATIENCE = 30.0
HEAL_PAUSE = 0.1


class FaultError(Exception):
    """A fault that can't be asked for, or that nobody takes."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault. ``default`` is what holds without a value; None for a fault that takes no value."""

    help: str
    default: str | None = None
    parse: Callable[[str], float | int] = float


KINDS: dict[str, Kind] = {
    "errors": Kind("share of requests answered with 500, 0 to 1", "0.3"),
    "latency": Kind("seconds added to every answer", "2.0"),
    "agents": Kind("how many of the 61 agents are down", "10", int),
    "coordination": Kind("agents no longer coordinate"),
    "memory": Kind("MiB of memory held for nothing", "512", int),
    "crash": Kind("the process dies, and every restart of it"),
    "slow_start": Kind("seconds the next start of the process takes longer", "20"),
    "heal": Kind("all faults end"),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a fault in one pod; ``error`` is empty when the pod took it."""

    pod: str
    version: str
    error: str = ""


def body_of(kind: str, value: str | None) -> dict[str, Any]:
    """What is sent to a pod. Raises FaultError for a value that does not fit the kind."""
    known = KINDS[kind]
    if known.default is None:
        if value is not None:
            raise FaultError(f"fault {kind} takes no value, got {value!r}")
        return {} if kind == "heal" else {kind: True}
    try:
        return {kind: known.parse(value or known.default)}
    except ValueError:
        raise FaultError(f"fault {kind}: {value!r} is not a number ({known.help})") from None


async def inject(world: World, body: dict[str, Any], *, version: str | None, pod: str | None) -> list[Outcome]:
    """Send the fault to every pod of ``version``, or to ``pod`` alone. Raises FaultError when there is none."""
    async with KubeClient.from_kubeconfig(world.kubeconfig, "rehearsal-fault") as client:
        selector = f"app={APPLICATION}" + (f",version={version}" if version else "")
        listed = await client.get(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=selector)
        pods = [item for item in listed["items"] if pod in (None, item["metadata"]["name"])]
        if not pods:
            wanted = f"pod named {pod}" if pod else f"pod of version {version}"
            raise FaultError(f"there is no {wanted}; {_present(await _all(client))}")
        return list(await asyncio.gather(*(_send(client, item, body) for item in pods)))


async def _all(client: KubeClient) -> list[dict[str, Any]]:
    listed = await client.get(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=f"app={APPLICATION}")
    items: list[dict[str, Any]] = listed["items"]
    return items


def _present(pods: list[dict[str, Any]]) -> str:
    if not pods:
        return "no pod of the application is there"
    return "there are: " + ", ".join(sorted(f"{p['metadata']['name']} ({_version(p)})" for p in pods))


async def _send(client: KubeClient, pod: dict[str, Any], body: dict[str, Any]) -> Outcome:
    """Healing is tried again and again: a pod told to crash listens for a second only after each restart."""
    name = pod["metadata"]["name"]
    deadline = time.monotonic() + (0 if body else HEAL_PATIENCE)
    while True:
        error = await _post(client, name, body)
        if not error or time.monotonic() >= deadline:
            return Outcome(name, _version(pod), error)
        await asyncio.sleep(HEAL_PAUSE)


async def _post(client: KubeClient, name: str, body: dict[str, Any]) -> str:
    """Why the pod did not take it; empty when it did."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:{FAULT_PORT}/proxy/fault"
    try:
        await client.request("POST", path, body)
    except (TimeoutError, ApiError, aiohttp.ClientError) as error:
        # A process told to crash may die before it has answered: then it took the fault.
        if not body.get("crash") or _refused(error):
            return str(error) or type(error).__name__
    return ""


def _refused(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.status < 500


def _version(pod: dict[str, Any]) -> str:
    return pod["metadata"].get("labels", {}).get("version", "?")
