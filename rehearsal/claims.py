"""Who may use which world name and which loopback block: claims that end with the process that holds them.

A claim is a bound socket in Linux' abstract namespace. Two processes can't bind the same name, nothing is left on
disk, and the kernel frees it with the last process that holds it. The namespace is per network namespace, exactly as
the loopback addresses are.
"""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

from rehearsal.haproxy.places import PORTS as HAPROXY_PORTS
from rehearsal.world import World

FIRST_BLOCK = 21
LAST_BLOCK = 250
SERVER_PORTS = (2379, 2380, 5432, 6443, 8000, 8001, *HAPROXY_PORTS, 9090, 10250, 10255)


class NoBlockError(Exception):
    """No loopback block is free."""


def claim(name: str) -> socket.socket | None:
    """Take ``name``; None when another process has it. The socket is the claim: keep it open."""
    taken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        taken.bind(f"\0rehearsal/{name}")
    except OSError:
        taken.close()
        return None
    return taken


def claim_world(home: Path) -> socket.socket | None:
    """The right to run the world in ``home``; None while it runs already."""
    return claim("home/" + hashlib.sha256(str(home).encode()).hexdigest())


def claim_block(first: int = FIRST_BLOCK) -> tuple[int, socket.socket]:
    """The lowest free loopback block from ``first`` on, and the claim to it. Raises NoBlockError."""
    busy: set[int] = set()
    for block in range(first, LAST_BLOCK + 1):
        held = claim(f"block/{block}")
        if held is None:
            continue
        ports = busy_ports(f"127.{block}.0.1")
        if not ports:
            return block, held
        busy.update(ports)
        held.close()
    ports_text = ", ".join(str(port) for port in sorted(busy)) or "none"
    raise NoBlockError(
        f"no loopback block from 127.{first} to 127.{LAST_BLOCK} is free (ports in use on them: {ports_text}); "
        "stop a world, or the server that listens on 0.0.0.0"
    )


def claim_block_of(world: World) -> socket.socket | None:
    """The claim to the block ``world`` has; None when somebody holds it."""
    return claim(f"block/{world.network.removeprefix('127.')}")


def claim_pods(world: World) -> socket.socket | None:
    """The right to use the world's pod addresses; None when another world has the same range (REHEARSAL_POD_CIDR)."""
    return claim(f"pods/{world.pod_cidr}")


def busy_ports(host: str) -> list[int]:
    """The ports a world needs that something listens on already."""
    return [port for port in SERVER_PORTS if not _free(host, port)]


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
