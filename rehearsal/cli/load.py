"""``python -m rehearsal load``: start, end and read the steady load on the edge."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rehearsal import processes
from rehearsal.cli import REPOSITORY, CommandError
from rehearsal.load import LoadReport, read_report
from rehearsal.processes import MARKER, Identity
from rehearsal.world import World

PATIENCE = 15.0
A_DAY = 86_400.0
DEFAULT_PROVIDER = "istio"


def running(home: Path) -> Identity | None:
    """The load that runs in the background; None when there is none."""
    try:
        identity = Identity(**json.loads(_process_file(home).read_text()))
    except (FileNotFoundError, ValueError):
        return None
    return identity if identity.alive() else None


def start(world: World, rate: int, duration: float, *, provider: str = DEFAULT_PROVIDER, **users: int) -> None:
    """Begin load on the provider's edge in the background; ``users``: ``sessions`` and ``workflows``, as the options.

    Raises CommandError while some runs already, or when there is no such edge.
    """
    if running(world.home) is not None:
        raise CommandError("load runs already; end it with: python -m rehearsal load --stop")
    command = _command(world, rate, duration, provider, users)
    with (world.logs / "load.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            env=os.environ | {MARKER: str(world.home)},
            start_new_session=True,
        )
    identity = Identity.of(process.pid)
    _process_file(world.home).write_text(json.dumps({"pid": identity.pid, "started": identity.started}))


def foreground(world: World, rate: int, duration: float, *, provider: str = DEFAULT_PROVIDER, **users: int) -> None:
    """Run load until its time is over; an interrupt ends it early."""
    env = os.environ | {MARKER: str(world.home)}
    process = subprocess.Popen(_command(world, rate, duration, provider, users), cwd=REPOSITORY, env=env)
    while True:
        try:
            process.wait()
            return
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)


def stop(world: World) -> None:
    """End the load in the background. Raises CommandError when there is none."""
    identity = running(world.home)
    if identity is None:
        raise CommandError("no load runs in the background")
    identity.signal(signal.SIGTERM)
    if processes.wait_gone([identity], PATIENCE):
        raise CommandError(f"the load (process {identity.pid}) did not end within {PATIENCE:.0f} s")
    _process_file(world.home).unlink()


def report(world: World) -> LoadReport:
    """What the load that runs, or ran last, has counted. Raises CommandError when there was none."""
    try:
        return read_report(world.home)
    except FileNotFoundError:
        raise CommandError("there was no load yet; start it with: python -m rehearsal load") from None


def text(counted: LoadReport) -> str:
    """The numbers for a person."""
    ended = "ended" if counted.finished else "running"
    lines = [
        f"load {ended}: {counted.rate:g} requests/s for {counted.updated - counted.started:.1f} s",
        f"sent {counted.sent}, failed {counted.failed} (of these lost {counted.lost}), in flight {counted.in_flight}",
        f"latency {_quantiles(counted.latency)}",
    ]
    for version, facts in sorted(counted.versions.items()):
        share = facts.answered / max(1, counted.answered)
        lines.append(
            f"version {version}: answered {facts.answered} ({share:.1%}), failed {facts.failed}, "
            f"latency {_quantiles(facts.latency)}"
        )
    return "\n".join(lines)


def _quantiles(latency: Mapping[str, float | None]) -> str:
    """Seconds as milliseconds: ``p50 12 ms, p95 30 ms``."""
    return ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in latency.items() if value is not None) or "none"


def _command(world: World, rate: int, duration: float, provider: str, users: Mapping[str, int]) -> list[str]:
    edge = world.edges.get(provider)
    if edge is None:
        raise CommandError(f"no edge for the provider {provider!r}; there are: {', '.join(sorted(world.edges))}")
    options = [f"--home={world.home}", f"--rate={rate}", f"--duration={duration:g}"]
    options += [f"--{name}={value}" for name, value in users.items()]
    options += [f"--hostname={edge['host']}", *(f"--url={url}" for url in world.entries(provider))]
    return [sys.executable, "-m", "rehearsal.load", *options]


def _process_file(home: Path) -> Path:
    return home / "load-process.json"
