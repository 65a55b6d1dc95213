"""Runs of ansible-playbook that are killed: at the boundary before a task, or at a moment within it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rehearsal.world import World
from tests.bench.playbook import INVENTORY, PROGRAM, BenchError, environment, last_lines

CALLBACKS = Path(__file__).parent / "callback"
PATIENCE = 600.0


@dataclass(frozen=True)
class Killed:
    """How a run ended: ``where`` it was killed (None: it was not), its exit status, the boundaries it passed."""

    where: str | None
    status: int
    passed: tuple[str, ...]
    output: str

    @property
    def said(self) -> str:
        return last_lines(self.output)


@dataclass(frozen=True)
class Plan:
    """When a run dies: ``at`` a boundary by its name, else at every ``every``-th that is not among ``seen``."""

    at: str | None
    seen: tuple[str, ...]
    every: int
    trace: str


def until_new_boundary(world: World, variables: Mapping[str, Any], seen: Collection[str], every: int) -> Killed:
    """Release until the ``every``-th boundary that is not among ``seen``, or to the end."""
    return _traced(world, variables, None, seen, every)


def until_boundary(world: World, variables: Mapping[str, Any], boundary: str) -> Killed:
    """Release until ``boundary``."""
    return _traced(world, variables, boundary, (), 1)


def until_moment(world: World, variables: Mapping[str, Any], seconds: float) -> Killed:
    """Release for ``seconds``, whatever task is under way then, or to the end."""
    ran = _run(world, "deploy", variables, {}, seconds)
    return ran if ran.status != -signal.SIGKILL else replace(ran, where=f"{seconds:.1f} s after its start")


def to_end(world: World, playbook: str, variables: Mapping[str, Any]) -> Killed:
    """Run a playbook of the collection undisturbed. Raises BenchError when it does not end."""
    ran = _run(world, playbook, variables, {}, PATIENCE)
    if ran.status == -signal.SIGKILL:
        raise BenchError(f"{playbook} was not over after {PATIENCE:.0f} s: {ran.said}")
    return ran


def _traced(world: World, variables: Mapping[str, Any], at: str | None, seen: Collection[str], every: int) -> Killed:
    with tempfile.TemporaryDirectory() as folder:
        trace, plan = Path(folder) / "trace", Path(folder) / "plan.json"
        plan.write_text(json.dumps(asdict(Plan(at, tuple(seen), every, str(trace)))))
        extra = {
            "KILL_AT": str(plan),
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "kill_at",
        }
        ran = _run(world, "deploy", variables, extra, PATIENCE)
        passed = [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []
    where = next((entry["boundary"] for entry in passed if entry["killed"]), None)
    if ran.status == -signal.SIGKILL and where is None:
        raise BenchError(f"deploy was not over after {PATIENCE:.0f} s: {ran.said}")
    return replace(ran, where=where, passed=tuple(entry["boundary"] for entry in passed))


def _run(world: World, playbook: str, variables: Mapping[str, Any], extra: Mapping[str, str], seconds: float) -> Killed:
    """Run a playbook in a process group of its own, which is killed after ``seconds``."""
    command = [str(PROGRAM), "-i", str(INVENTORY), f"claude_enhancer.rollout.{playbook}", "-e", json.dumps(variables)]
    state = {"ANSIBLE_HOME": str(world.home / "ansible"), "XDG_STATE_HOME": str(world.home / "state")}
    # Not a pipe: whoever outlives the run would hold it open.
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            env=environment(world) | state | dict(extra),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        output.seek(0)
        return Killed(None, status, (), output.read())
