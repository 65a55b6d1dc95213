"""Which server stands for which pod: what HAProxy says of its servers, and the commands that bring them up to date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rehearsal.client import Object
from rehearsal.haproxy.places import SIDES, WEIGHTED

SERVICE_LABEL = "kubernetes.io/service-name"
_FORCED_MAINTENANCE = 0x01
_RUNNING = 2

Address = tuple[str, int]


@dataclass(frozen=True)
class Server:
    """One server of a backend, as ``show servers state`` tells."""

    backend: str
    name: str
    address: Address
    running: bool
    maintenance: bool
    weight: int

    @property
    def side(self) -> str:
        return self.name.rpartition("-")[0]


@dataclass(frozen=True)
class Plan:
    """Commands for the runtime API, in order, and the addresses that found no free server."""

    commands: tuple[str, ...]
    without_server: tuple[Address, ...]


def read_servers(text: str) -> list[Server]:
    """The servers in the answer to ``show servers state``. Raises ValueError when it is none."""
    head = next((line for line in text.splitlines() if line.startswith("# ")), None)
    if head is None:
        raise ValueError(f"no answer to show servers state: {text.strip()[:200]!r}")
    columns = head.removeprefix("# ").split()
    rows = (line.split() for line in text.splitlines() if len(line.split()) == len(columns))
    return [_server(dict(zip(columns, row, strict=True))) for row in rows]


def _server(fields: Mapping[str, str]) -> Server:
    return Server(
        backend=fields["be_name"],
        name=fields["srv_name"],
        address=(fields["srv_addr"], int(fields["srv_port"])),
        running=int(fields["srv_op_state"]) == _RUNNING,
        maintenance=bool(int(fields["srv_admin_state"]) & _FORCED_MAINTENANCE),
        weight=int(fields["srv_uweight"]),
    )


def ready_addresses(slices: Iterable[Object], service: str) -> list[Address]:
    """Addresses of the Service that may get requests, in a stable order."""
    found = set()
    for item in slices:
        if (item["metadata"].get("labels") or {}).get(SERVICE_LABEL) != service or not item.get("ports"):
            continue
        for endpoint in item.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            if conditions.get("ready") is not False and not conditions.get("terminating"):
                found.add((endpoint["addresses"][0], int(item["ports"][0]["port"])))
    return sorted(found)


def plan(servers: Iterable[Server], wanted: Mapping[str, Iterable[Address]]) -> Plan:
    """How to bring the servers of each side to the wanted addresses; never a weight.

    A server goes into maintenance before anything takes its place, and a server that has just been left is taken
    last, so that its address is out of use for as long as can be.
    """
    known = {(server.backend, server.name): server for server in servers}
    commands: list[str] = []
    without_server: list[Address] = []
    for side in SIDES:
        slots = [server for server in known.values() if server.backend == WEIGHTED and server.side == side]
        missing = set(wanted[side])
        leaving, free = [], []
        for slot in slots:
            if slot.maintenance:
                free.append(slot)
            elif slot.address in missing and known[side, slot.name].address == slot.address:
                missing.remove(slot.address)
            else:
                leaving.append(slot)
        commands += [f"set server {WEIGHTED}/{slot.name} state maint" for slot in leaving]
        places = [*free, *leaving]
        for address, slot in zip(sorted(missing), places, strict=False):
            commands += _take(side, slot.name, address)
        without_server += sorted(missing)[len(places) :]
    return Plan(tuple(commands), tuple(without_server))


def _take(side: str, name: str, address: Address) -> list[str]:
    host, port = address
    return [
        f"set server {side}/{name} addr {host} port {port}",
        f"set server {WEIGHTED}/{name} addr {host} port {port}",
        f"set server {WEIGHTED}/{name} state ready",
    ]
