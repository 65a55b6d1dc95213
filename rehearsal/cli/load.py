"""``python -m rehearsal load``: start, end and read the steady load on the edge."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from rehearsal import processes
from rehearsal.cli import REPOSITORY, CommandError
from rehearsal.processes import MARKER, Identity
from rehearsal.world import World

PATIENCE = 15.0


def running(home: Path) -> Identity | None:
    """The load that runs in the background; None when there is none."""
    try:
        identity = Identity(**json.loads(_process_file(home).read_text()))
    except (FileNotFoundError, ValueError):
        return None
    return identity if identity.alive() else None


def start(world: World, rate: int, duration: float | None) -> None:
    """Begin load in the background. Raises CommandError while some runs already."""
    if running(world.home) is not None:
        raise CommandError("load runs already; end it with: python -m rehearsal load --stop")
    with (world.logs / "load.log").open("ab") as log:
        process = subprocess.Popen(
            _command(world, rate, duration),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            env=os.environ | {MARKER: str(world.home)},
            start_new_session=True,
        )
    identity = Identity.of(process.pid)
    _process_file(world.home).write_text(json.dumps({"pid": identity.pid, "started": identity.started}))


def foreground(world: World, rate: int, duration: float | None) -> int:
    """Run load until its time is over or it is interrupted; its exit code."""
    process = subprocess.Popen(_command(world, rate, duration), cwd=REPOSITORY)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has told the load too: it ends by itself, after its numbers.
            continue


def stop(world: World) -> None:
    """End the load in the background. Raises CommandError when there is none."""
    identity = running(world.home)
    if identity is None:
        raise CommandError("no load runs in the background")
    identity.signal(signal.SIGTERM)
    if processes.wait_gone([identity], PATIENCE):
        raise CommandError(f"the load (process {identity.pid}) did not end within {PATIENCE:.0f} s")
    _process_file(world.home).unlink()


def _command(world: World, rate: int, duration: float | None) -> list[str]:
    command = [sys.executable, "-m", "rehearsal.load", f"--home={world.home}", f"--rate={rate}"]
    return command if duration is None else [*command, f"--duration={duration:g}"]


def _process_file(home: Path) -> Path:
    return home / "load.json"
