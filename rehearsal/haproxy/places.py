"""Where the HAProxy instances of a world are: addresses, sockets, files."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

NAMES = ("a", "b")
KEY = "claude-enhancer"
STABLE = "stable"
CANDIDATE = "candidate"
SIDES = (STABLE, CANDIDATE)
WEIGHTED = "weighted"

# The kernel takes 107 bytes, and HAProxy binds to the name with its process id and ".tmp" behind it first.
_SOCKET_PATH_LIMIT = 90
_USERS, _WEIGHTED, _RUNTIME, _METRICS = 8100, 8110, 8120, 8130
PORTS = tuple(base + index for base in (_USERS, _WEIGHTED, _RUNTIME, _METRICS) for index in range(len(NAMES)))


@dataclass(frozen=True)
class Instance:
    """One HAProxy: ``url`` splits by the map, ``servers_url`` by the weights of the servers.

    ``socket`` and ``address`` are the two ways to its runtime API; ``metrics`` is where Prometheus scrapes it.
    """

    name: str
    url: str
    servers_url: str
    socket: Path
    address: str
    metrics: str

    @property
    def part(self) -> str:
        """What the supervisor and ``status`` call its process."""
        return f"haproxy-{self.name}"


def instances(home: Path, host: str) -> tuple[Instance, ...]:
    """The instances of the world in ``home``, whose servers listen on ``host``."""
    sockets = socket_folder(home)
    return tuple(
        Instance(
            name=name,
            url=f"http://{host}:{_USERS + index}",
            servers_url=f"http://{host}:{_WEIGHTED + index}",
            socket=sockets / f"{name}.sock",
            address=f"{host}:{_RUNTIME + index}",
            metrics=f"{host}:{_METRICS + index}",
        )
        for index, name in enumerate(NAMES)
    )


def folder(home: Path) -> Path:
    return home / "haproxy"


def map_file(home: Path) -> Path:
    """The map of weights, by the name HAProxy knows it under."""
    return folder(home) / "weights.map"


def socket_folder(home: Path) -> Path:
    """Where the sockets are: with the other files, or in a temporary folder when that path is too long for one."""
    inside = folder(home)
    longest = max(len(bytes(inside / f"{name}.sock")) for name in NAMES)
    return inside if longest <= _SOCKET_PATH_LIMIT else outside(home)


def outside(home: Path) -> Path:
    """The temporary folder; known from the world's folder alone, so that it is found even when that was deleted."""
    digest = hashlib.sha256(bytes(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"rehearsal-{home.name}-{digest}-haproxy"


def facts(home: Path, host: str) -> dict[str, object]:
    """What ``world.json`` says of HAProxy."""
    return {
        "instances": [
            {
                "name": instance.name,
                "url": instance.url,
                "servers_url": instance.servers_url,
                "socket": str(instance.socket),
                "address": instance.address,
            }
            for instance in instances(home, host)
        ],
        "map": str(map_file(home)),
        "key": KEY,
        "backend": WEIGHTED,
        "stable_backend": STABLE,
        "candidate_backend": CANDIDATE,
    }
