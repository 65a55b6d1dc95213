"""Runs of ansible-playbook, timed from the start of the process to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rehearsal.cli import REPOSITORY
from rehearsal.processes import MARKER
from rehearsal.world import World

INVENTORY = REPOSITORY / "inventories" / "rehearsal" / "hosts.yml"
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
PATIENCE = 180.0
_TAIL = 12


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


@dataclass(frozen=True)
class Ran:
    """A process that ended well: ``began`` and ``ended`` in unix seconds."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def own(name: str) -> str:
    """The path of one of the bench's playbooks."""
    return str(Path(__file__).parent / "playbooks" / f"{name}.yml")


def run(world: World, playbook: str, variables: dict[str, Any] | None = None, *, inventory: bool = False) -> Ran:
    """Run ``playbook`` to its end. Raises BenchError with the end of its output when it fails."""
    began = time.time()
    process = start(world, playbook, variables, inventory=inventory, output=subprocess.PIPE)
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{playbook} was not over after {PATIENCE:.0f} s") from None
    finally:
        stop(process)
    ended = time.time()
    if process.returncode != 0:
        raise BenchError(f"{Path(playbook).name} ended with {process.returncode}: {last_lines(output)}")
    return Ran(began, ended)


def start(
    world: World, playbook: str, variables: dict[str, Any] | None, *, inventory: bool, output: int | IO[str]
) -> subprocess.Popen[str]:
    """Start ``playbook`` with the world's kubeconfig; ``output`` takes both of its outputs."""
    command = [str(PROGRAM), *(["-i", str(INVENTORY)] if inventory else []), playbook]
    for name, value in (variables or {}).items():
        command += ["-e", json.dumps({name: value})]
    return subprocess.Popen(
        command,
        env=environment(world),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop(process: subprocess.Popen[str]) -> None:
    """End a process that still runs."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment(world: World) -> dict[str, str]:
    """What a person would have set: a kubeconfig, and where the collection is."""
    return os.environ | {
        # Taking the world down ends what is so marked: also a watchdog whose playbook was interrupted.
        MARKER: str(world.home),
        "REHEARSAL_WORLD": str(world.home / "world.json"),
        "KUBECONFIG": str(world.kubeconfig),
        "K8S_AUTH_KUBECONFIG": str(world.kubeconfig),
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "build" / "collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOLOR": "1",
    }


def last_lines(output: str) -> str:
    """The end of a playbook's output as one line."""
    told = [line for line in output.splitlines() if line.strip() and "PLAY RECAP" not in line]
    return " | ".join(told[-_TAIL:])[-600:]
