"""The HAProxy processes of a world: started by the supervisor; one can be stopped and started again in a rehearsal."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from rehearsal import processes
from rehearsal.haproxy import places
from rehearsal.haproxy.configuration import configuration
from rehearsal.haproxy.places import Instance
from rehearsal.state import State
from rehearsal.world import World

# Debian keeps it where only root's PATH leads.
_SEARCH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
_PATIENCE = 5.0
_UNTIL_NEXT_LOOK = 0.02


class HaproxyError(Exception):
    """HAProxy is not there, or does not do what it was told."""


def prepare(world: World) -> None:
    """Lay out the files of all instances."""
    folder = places.folder(world.home)
    folder.mkdir(exist_ok=True)
    sockets = places.socket_folder(world.home)
    if sockets != folder:
        # Not one that is there already: the temporary folder is everybody's.
        sockets.mkdir(mode=0o700)
    map_file = places.map_file(world.home)
    map_file.write_text(f"{places.KEY} 0\n")
    for instance in world.haproxy:
        _file(world, instance).write_text(configuration(instance, map_file))


async def start(world: World, instance: Instance) -> asyncio.subprocess.Process:
    """Start one instance. Raises HaproxyError when HAProxy is not installed."""
    binary = shutil.which("haproxy", path=_SEARCH)
    if binary is None:
        raise HaproxyError("no haproxy found on PATH: install the package haproxy (Debian, Ubuntu)")
    command: list[str | Path] = [binary, "-db", "-f", _file(world, instance)]
    return await processes.start(command, world.logs / f"{instance.part}.log")


def _file(world: World, instance: Instance) -> Path:
    return places.folder(world.home) / f"{instance.name}.cfg"


def remove_remains(home: Path) -> None:
    """Take away what is outside the world's folder."""
    shutil.rmtree(places.outside(home), ignore_errors=True)


def stop_instance(world: World, name: str, number: signal.Signals = signal.SIGTERM) -> None:
    """End the instance ``name``; it stays ended until :func:`start_instance`. Raises HaproxyError."""
    state, part = _written(world, name)
    process = state.parts[part].process
    if process is not None:
        process.signal(number)
        if processes.wait_gone([process], _PATIENCE):
            raise HaproxyError(f"{part} (process {process.pid}) did not end within {_PATIENCE:.0f} s")
    _wait(lambda: not _running(world, name), f"the end of {part} was not noticed")


def start_instance(world: World, name: str) -> None:
    """Have the supervisor start the instance ``name`` again; returns once its runtime API is there.

    Raises HaproxyError.
    """
    state, part = _written(world, name)
    state.supervisor.signal(signal.SIGHUP)
    socket_file = next(instance.socket for instance in world.haproxy if instance.name == name)
    _wait(lambda: _running(world, name) and _listens(socket_file), f"{part} does not answer")


def _running(world: World, name: str) -> bool:
    state, part = _written(world, name)
    return state.parts[part].running


def _listens(socket_file: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(socket_file)) == 0


def _wait(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise HaproxyError(f"{otherwise} after {_PATIENCE:.0f} s")
        time.sleep(_UNTIL_NEXT_LOOK)


def _written(world: World, name: str) -> tuple[State, str]:
    state, part = State.load(world.home), f"haproxy-{name}"
    if state is None or part not in state.parts:
        raise HaproxyError(f"the world {world.name!r} has no HAProxy instance {name!r}")
    return state, part
