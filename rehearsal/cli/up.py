"""``python -m rehearsal up``: start a world as a daemon and wait until it serves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from rehearsal import claims, progress
from rehearsal.app.agents import write_agent_files
from rehearsal.cli import CACHE, DEFAULT_NAME, REPOSITORY, CommandError, home_of, tail
from rehearsal.cli.down import take_down
from rehearsal.processes import MARKER
from rehearsal.world import EDGE_HOSTNAME, World

NEXT_VERSION = "5.1"
POLL = 0.05
WAIT_FOR_ANOTHER = 90.0
FOLDER_APPEARS = 3.0


def up(name: str, blue_replicas: int, first_block: int, keep: bool) -> World:
    """Bring the world up, or find it up already; tells what it does. Raises CommandError when it does not come up."""
    began = time.monotonic()
    home = home_of(name)
    world_claim = claims.claim_world(home)
    if world_claim is None:
        world = _wait_for_another(home)
        print(f"The rehearsal cluster {name!r} is up already.")
        return world
    with world_claim:
        if home.exists():
            take_down(home, keep=False)
        world, supervisor = _launch(name, home, blue_replicas, first_block, world_claim.fileno())
    try:
        # What a release of the next version brings along; nothing of it is in the cluster yet.
        write_agent_files(NEXT_VERSION, home / f"agents-{NEXT_VERSION}")
        _follow(home, supervisor)
    except BaseException:
        take_down(home, keep)
        raise
    print(f"The rehearsal cluster {name!r} is up after {time.monotonic() - began:.1f} s.")
    return world


def _launch(
    name: str, home: Path, blue_replicas: int, first_block: int, world_claim: int
) -> tuple[World, subprocess.Popen[bytes]]:
    """Claim a block and start the supervisor, which inherits the claims."""
    try:
        block, block_claim = claims.claim_block(first_block)
    except claims.NoBlockError as error:
        raise CommandError(str(error)) from error
    with block_claim:
        world = _make_world(name, home, block)
        pods_claim = claims.claim_pods(world)
        if pods_claim is None:
            raise CommandError(f"REHEARSAL_POD_CIDR={world.pod_cidr} is used by another world")
        with pods_claim:
            inherited = [world_claim, block_claim.fileno(), pods_claim.fileno()]
            return world, _start_supervisor(world, blue_replicas, inherited)


def _make_world(name: str, home: Path, block: int) -> World:
    try:
        return World.make(name, home, block)
    except ValueError as error:
        raise CommandError(f"REHEARSAL_POD_CIDR: {error}") from error


def _start_supervisor(world: World, blue_replicas: int, inherited: list[int]) -> subprocess.Popen[bytes]:
    """Make the world's folder, and start the supervisor in a session of its own with the claims in its hands."""
    world.logs.mkdir(parents=True)
    world.save()
    command = [sys.executable, "-m", "rehearsal.supervisor", f"--home={world.home}", f"--cache={CACHE}"]
    command += [f"--blue-replicas={blue_replicas}", "--claims", *map(str, inherited)]
    with (world.logs / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            env=os.environ | {MARKER: str(world.home)},
            pass_fds=inherited,
            start_new_session=True,
        )


def _follow(home: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """Print the supervisor's progress until the world is up. Raises CommandError with the end of the log if not."""
    seen = 0
    while True:
        ended = supervisor.poll() is not None
        for step in progress.read(home, seen):
            seen += 1
            if step.kind == "ready":
                return
            if step.kind == "failed":
                raise CommandError(_failure(step.text, Path(step.log)))
            print(f"  {step.seconds:5.1f} s  {step.text}", flush=True)
        if supervisor.returncode == 0:
            raise CommandError("the rehearsal cluster was taken down by another command before it was up")
        if ended:
            message = f"the supervisor ended with {supervisor.returncode}"
            raise CommandError(_failure(message, home / "logs" / "supervisor.log"))
        time.sleep(POLL)


def _failure(message: str, log: Path) -> str:
    return f"the rehearsal cluster did not come up: {message}\n--- end of {log.name}\n{tail(log)}"


def _wait_for_another(home: Path) -> World:
    """The world another ``up`` has started; waits while it is still on its way."""
    began = time.monotonic()
    deadline = began + WAIT_FOR_ANOTHER
    while time.monotonic() < deadline:
        if any(step.kind == "ready" for step in progress.read(home)):
            return World.load(home)
        if time.monotonic() > began + FOLDER_APPEARS and not (home / "world.json").exists():
            raise CommandError(f"the world runs, but its folder {home} is gone; end it with: python -m rehearsal down")
        claim = claims.claim_world(home)
        if claim is not None:
            claim.close()
            break
        time.sleep(POLL)
    raise CommandError(f"the world in {home} was being started by another command and did not come up")


def facts(world: World) -> str:
    """What a person needs to use the world."""
    option = "" if world.name == DEFAULT_NAME else f" --name {world.name}"
    return "\n".join(
        [
            "",
            f"  export KUBECONFIG={world.kubeconfig}",
            "",
            f"  edge        {world.edge_url}   (Host: {EDGE_HOSTNAME})",
            f"              curl -i -H 'Host: {EDGE_HOSTNAME}' {world.edge_url}/health",
            f"  HAProxy     {'   '.join(world.entries('haproxy'))}",
            f"  Prometheus  {world.prometheus_url}",
            f"  database    {world.postgres_dsn}",
            f"  logs        {world.logs}",
            f"  look        python -m rehearsal status{option}",
            f"  stop        python -m rehearsal down{option}",
        ]
    )
