"""What the HAProxy instances are set to, read back from each of them."""

from __future__ import annotations

import asyncio
from typing import Any

from rehearsal.haproxy import places, runtime
from rehearsal.haproxy.places import KEY, SIDES, WEIGHTED, Instance
from rehearsal.haproxy.servers import read_servers
from rehearsal.world import World


async def weights(world: World) -> list[dict[str, Any]]:
    """One entry an instance: name, weight in the map, weights of the servers that take requests added up by side.

    An instance that can't be asked has ``error`` instead.
    """
    return list(await asyncio.gather(*(_instance(world, instance) for instance in world.haproxy)))


async def _instance(world: World, instance: Instance) -> dict[str, Any]:
    try:
        entries = await runtime.ask(instance.socket, f"show map {places.map_file(world.home)}")
        servers = read_servers(await runtime.ask(instance.socket, f"show servers state {WEIGHTED}"))
    except (OSError, TimeoutError, ValueError) as error:
        return {"name": instance.name, "error": str(error) or type(error).__name__}
    taking = [server for server in servers if server.running and not server.maintenance]
    return {
        "name": instance.name,
        "map": _weight(entries),
        "servers": {side: sum(server.weight for server in taking if server.side == side) for side in SIDES},
    }


def _weight(entries: str) -> int:
    """The weight in the answer to ``show map``, whose lines are: reference, key, value."""
    rows = (line.split() for line in entries.splitlines())
    return next((int(row[2]) for row in rows if len(row) == 3 and row[1] == KEY), 0)
