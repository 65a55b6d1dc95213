"""Pod addresses: each pod has one of its own from the world's range."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import logging

log = logging.getLogger(__name__)
LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")


class AddressPool:
    """Hands out addresses in turn, so that one given back is not used again soon."""

    def __init__(self, cidr: str) -> None:
        self._network = ipaddress.IPv4Network(cidr)
        self._next = itertools.cycle(range(1, self._network.num_addresses - 1))
        self._used: set[str] = set()

    def take(self) -> str:
        """An address nobody has. Raises RuntimeError when there is none left."""
        for _ in range(self._network.num_addresses - 2):
            address = str(self._network[next(self._next)])
            if address not in self._used:
                self._used.add(address)
                return address
        raise RuntimeError(f"no address left in {self._network}")

    def give_back(self, address: str) -> None:
        self._used.discard(address)


async def open_range(cidr: str) -> bool:
    """Have this machine take a range outside 127.0.0.0/8 as its own; whether that was needed.

    Raises RuntimeError naming the command when it may not be done.
    """
    if ipaddress.IPv4Network(cidr).subnet_of(LOOPBACK):
        return False
    await _route("replace", cidr)
    return True


async def close_range(cidr: str) -> None:
    """Undo :func:`open_range`."""
    try:
        await _route("del", cidr)
    except RuntimeError as error:
        log.warning("%s", error)


async def _route(verb: str, cidr: str) -> None:
    command = ["ip", "route", verb, "local", cidr, "dev", "lo"]
    try:
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, complaint = await process.communicate()
    except FileNotFoundError as error:
        raise RuntimeError(f"pod addresses {cidr} need `{' '.join(command)}`: {error}") from error
    if process.returncode:
        raise RuntimeError(f"pod addresses {cidr} need `{' '.join(command)}` as root: {complaint.decode().strip()}")
