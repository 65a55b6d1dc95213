"""What a world is doing: its parts, the application's Deployments, where traffic goes, what Prometheus sees."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from rehearsal import processes, prometheus
from rehearsal.client import ApiError, KubeClient
from rehearsal.haproxy import report as haproxy
from rehearsal.load import read_report
from rehearsal.state import Part, State
from rehearsal.weights import READERS
from rehearsal.world import NAMESPACE, World

APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
ENTRY = f"/api/v1/namespaces/{NAMESPACE}/services/claude-enhancer-service"
MIB = 1024 * 1024
UNREACHABLE = (ApiError, aiohttp.ClientError, asyncio.TimeoutError, OSError)


async def collect(world: World) -> dict[str, Any]:
    """Everything, as plain data. What can't be asked is ``{"error": why}`` in its place."""
    parts = parts_of(world.home)
    async with KubeClient.from_kubeconfig(world.kubeconfig, "rehearsal-status") as client:
        deployments, routes, entry, targets, instances = await asyncio.gather(
            _try(_deployments(client)),
            _try(_routes(client)),
            _try(_entry(client)),
            _try(_targets(world)),
            haproxy.weights(world),
        )
    return {
        "name": world.name,
        "home": str(world.home),
        "running": any(part["name"] == "supervisor" and part["running"] for part in parts),
        "memory_bytes": sum(part["memory_bytes"] for part in parts),
        "parts": parts,
        "deployments": deployments,
        "routes": routes,
        "haproxy": instances,
        "entry_selector": entry,
        "targets": targets,
        "load": _load_report(world.home),
    }


async def _try(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except UNREACHABLE as error:
        return {"error": str(error) or type(error).__name__}


def parts_of(home: Path) -> list[dict[str, Any]]:
    """One entry a part: name, pid, running, memory_bytes (proportional set size), seconds (its age).

    ``pids`` are all processes counted with it: its own and those below it.
    """
    state = State.load(home)
    if state is None:
        return []
    supervisor = Part("supervisor", state.supervisor, state.supervisor.alive())
    known = {part.process.pid: part for part in state.parts.values() if part.process}
    entries = [_entry_of(supervisor, [])]
    entries += [_entry_of(part, _below(part)) for part in state.parts.values() if part.process]
    covered = {supervisor.process.pid if supervisor.process else 0, *known}
    entries += _other_children(state.supervisor.pid, covered)
    entries += _strangers(home, entries)
    return entries


def _below(part: Part) -> list[processes.Identity]:
    return processes.descendants(part.process.pid) if part.process and part.process.alive() else []


def _entry_of(part: Part, below: list[processes.Identity]) -> dict[str, Any]:
    pid = part.process.pid if part.process else 0
    alive = part.process is not None and part.process.alive()
    pids = [pid, *(process.pid for process in below)] if alive else []
    return {
        "name": part.name,
        "pid": pid,
        "running": alive,
        "pids": pids,
        "memory_bytes": sum(processes.pss(each) for each in pids),
        "seconds": round(processes.age(pid), 1) if alive else 0.0,
    }


def _other_children(supervisor: int, covered: set[int]) -> list[dict[str, Any]]:
    """Children that the node and the edge started: Envoy, the pods' parent with the pods below it."""
    entries = []
    try:
        children = psutil.Process(supervisor).children()
    except psutil.NoSuchProcess:
        return []
    for child in children:
        if child.pid in covered:
            continue
        try:
            identity = processes.Identity.of(child.pid)
            name = child.name()
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
        entries.append(_entry_of(Part(name, identity), processes.descendants(child.pid)))
    return entries


def _strangers(home: Path, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Processes with the world's mark outside the supervisor's tree: load in the background."""
    seen = {pid for entry in entries for pid in entry["pids"]}
    return [
        _entry_of(Part(_program(process.pid), process), [])
        for process in processes.of_world(home)
        if process.pid not in seen
    ]


def _program(pid: int) -> str:
    """The module a Python process runs, or the process' name."""
    try:
        words = psutil.Process(pid).cmdline()
        return words[words.index("-m") + 1] if "-m" in words[:-1] else psutil.Process(pid).name()
    except psutil.NoSuchProcess:
        return "?"


async def _deployments(client: KubeClient) -> list[dict[str, Any]]:
    listed = await client.get(f"{APPS}/deployments")
    return [
        {
            "name": item["metadata"]["name"],
            "version": item["spec"]["template"]["metadata"].get("labels", {}).get("version", ""),
            "desired": item["spec"].get("replicas", 1),
            "ready": item.get("status", {}).get("readyReplicas", 0),
            "available": item.get("status", {}).get("availableReplicas", 0),
        }
        for item in listed["items"]
    ]


async def _routes(client: KubeClient) -> list[dict[str, Any]]:
    paths = [path.format(namespace=NAMESPACE) for path in READERS]
    listed = await asyncio.gather(*(client.get(path) for path in paths))
    return [row for found, read in zip(listed, READERS.values(), strict=True) for row in read(found["items"])]


async def _entry(client: KubeClient) -> dict[str, str]:
    service = await client.get(ENTRY)
    selector: dict[str, str] = service["spec"].get("selector", {})
    return selector


async def _targets(world: World) -> dict[str, dict[str, int]]:
    async with aiohttp.ClientSession() as session:
        counts: dict[str, dict[str, int]] = {}
        for key, expression in (("up", "sum by (job) (up)"), ("all", "count by (job) (up)")):
            for sample in await prometheus.query(session, world, expression):
                counts.setdefault(sample["metric"]["job"], {})[key] = int(float(sample["value"][1]))
    return dict(sorted(counts.items()))


def _load_report(home: Path) -> dict[str, Any] | None:
    """The load's totals; None when there was none."""
    try:
        counted = read_report(home)
    except FileNotFoundError:
        return None
    return {
        "running": not counted.finished,
        "rate": counted.rate,
        "sent": counted.sent,
        "failed": counted.failed,
        "answered": {name: facts.answered for name, facts in counted.versions.items()},
        "latency": dict(counted.latency),
    }


def table(facts: dict[str, Any]) -> str:
    """The facts for a person."""
    sections = [
        f"{facts['name']}: {'running' if facts['running'] else 'not running'}, "
        f"{facts['memory_bytes'] / MIB:.0f} MiB, {facts['home']}",
        _columns(["part", "pid", "processes", "MiB", "up"], [_part_row(part) for part in facts["parts"]]),
        _section(facts["deployments"], ["deployment", "version", "ready/desired"], _deployment_row),
        _section(facts["routes"], ["route", "kind", "weights"], _route_row),
        _columns(["HAProxy", "map", "servers"], [_haproxy_row(entry) for entry in facts["haproxy"]]),
        f"entry service selects {_pairs(facts['entry_selector'])}",
        "Prometheus targets up: " + _targets_text(facts["targets"]),
        "load: " + _load_text(facts["load"]),
    ]
    return "\n\n".join(sections)


def _section(rows: Any, head: list[str], row: Any) -> str:
    if isinstance(rows, dict):
        return f"{head[0]}s: {rows['error']}"
    return _columns(head, [row(entry) for entry in rows])


def _part_row(part: dict[str, Any]) -> list[str]:
    if not part["running"]:
        return [part["name"], str(part["pid"]), "0", "-", "ended"]
    return [
        part["name"],
        str(part["pid"]),
        str(len(part["pids"])),
        f"{part['memory_bytes'] / MIB:.0f}",
        f"{part['seconds']:.0f} s",
    ]


def _deployment_row(entry: dict[str, Any]) -> list[str]:
    return [entry["name"], entry["version"], f"{entry['ready']}/{entry['desired']}"]


def _route_row(entry: dict[str, Any]) -> list[str]:
    return [f"{entry['object']}/{entry['route'].lstrip('/')}", entry["kind"], _pairs(entry["weights"])]


def _haproxy_row(entry: dict[str, Any]) -> list[str]:
    if "error" in entry:
        return [entry["name"], "-", entry["error"]]
    return [entry["name"], str(entry["map"]), _pairs(entry["servers"])]


def _pairs(mapping: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in mapping.items())


def _targets_text(targets: dict[str, Any]) -> str:
    if "error" in targets:
        return str(targets["error"])
    return "  ".join(f"{job} {count.get('up', 0)}/{count.get('all', 0)}" for job, count in targets.items())


def _load_text(load: dict[str, Any] | None) -> str:
    if load is None:
        return "none yet"
    return f"{'running' if load['running'] else 'ended'}, sent {load['sent']}, failed {load['failed']}"


def _columns(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join(line.rstrip() for line in lines)
