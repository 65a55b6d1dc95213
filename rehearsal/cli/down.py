"""``python -m rehearsal down``: take a world away and verify that nothing of it is left."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import signal
import subprocess
import time
from pathlib import Path

from rehearsal import claims, postgres, processes
from rehearsal.cli import CommandError
from rehearsal.haproxy import instances
from rehearsal.state import State
from rehearsal.world import World

PATIENCE = 20.0
CLOSING = 5.0


def take_down(home: Path, keep: bool) -> bool:
    """Stop the world in ``home`` and remove its folder unless ``keep``; works after a kill of its supervisor too.

    True when there was something to take away. Raises CommandError when something can't be.
    """
    running = processes.of_world(home)
    if not running:
        _refuse_foreign(home)
    found = home.exists() or bool(running)
    written = State.load(home)
    if written is not None:
        written.supervisor.signal(signal.SIGTERM)
        processes.wait_gone([written.supervisor], PATIENCE)
    left = _end_processes(home, written)
    if left:
        raise CommandError(f"these processes of the world can't be ended: {', '.join(str(p.pid) for p in left)}")
    sockets = _left_open(home)
    if sockets:
        raise CommandError(f"something of the world still listens on {', '.join(sockets)}")
    postgres.remove_remains(home)
    instances.remove_remains(home)
    _close_pod_range(home)
    if not keep:
        _remove(home)
    return found


def _end_processes(home: Path, written: State | None) -> list[processes.Identity]:
    """End all that is marked as the world's or was written down as a part of it; returns what still lives."""
    recorded = (
        [] if written is None else [written.supervisor, *(p.process for p in written.parts.values() if p.process)]
    )
    children = [child for process in recorded if process.alive() for child in processes.descendants(process.pid)]
    wanted = {*recorded, *children, *processes.of_world(home)}
    return processes.end(wanted)


def _left_open(home: Path) -> list[str]:
    """What still listens after a moment: a process of many threads is gone before the last of them has let go."""
    deadline = time.monotonic() + CLOSING
    while (sockets := _sockets(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return sockets


def _sockets(home: Path) -> list[str]:
    """What still listens on the world's addresses; nothing when another world has its block by now."""
    try:
        world = World.load(home)
    except FileNotFoundError:
        return []
    held = claims.claim_block_of(world)
    if held is None:
        return []
    with held:
        networks = {f"{world.network}.0.0/16", world.pod_cidr}
        return sorted({entry for network in networks for entry in processes.listeners(network)})


def _close_pod_range(home: Path) -> None:
    """A node that was killed leaves the route to pod addresses outside 127.0.0.0/8; one that ended has removed it."""
    with contextlib.suppress(FileNotFoundError):
        pods = ipaddress.IPv4Network(World.load(home).pod_cidr)
        if not pods.is_loopback:
            command = ["ip", "route", "del", "local", str(pods), "dev", "lo"]
            subprocess.run(command, stderr=subprocess.DEVNULL, check=False)


def _refuse_foreign(home: Path) -> None:
    """Raises CommandError for a folder that no world is in: it is not ours to remove."""
    if home.exists() and any(home.iterdir()) and not (home / "world.json").exists():
        raise CommandError(f"{home} holds something that is no rehearsal cluster; it stays as it is")


def _remove(home: Path) -> None:
    """Another command may be at it too: what is gone already is no error, what stays is."""
    shutil.rmtree(home, ignore_errors=True)
    if home.exists():
        shutil.rmtree(home)
