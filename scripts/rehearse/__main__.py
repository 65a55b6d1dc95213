"""Bring a world up, release under load, break it where asked, judge, take the world away."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import PROVIDERS
from rehearsal import faults
from rehearsal.cli import REPOSITORY, CommandError, home_of
from rehearsal.cli import load as steady_load
from rehearsal.cli.down import take_down
from rehearsal.cli.up import up
from rehearsal.load.report import read_report
from rehearsal.world import World
from scripts.rehearse import cluster
from scripts.rehearse.verdict import Rehearsal, lines, problems

FAULTS = {"errors": "0.3", "latency": "2.0", "agents": "10", "crash": None}
CANDIDATE = "5.1"
# How long after the candidate got its first weight it is broken: so that it has served well before.
FAULT_AFTER = 2.0
LOAD_RATE = 400
LOAD_DURATION = 600.0
LOAD_TAIL = 1.0


def main() -> int:
    """Run one rehearsal; 0 when it showed what it should."""
    options = parser().parse_args()
    try:
        world = up(options.name, options.blue_replicas, options.block, keep=False)
        try:
            return asyncio.run(rehearse(world, options.provider, options.fault, options.handed_on))
        finally:
            if not options.keep:
                take_down(home_of(options.name), keep=False)
    except CommandError as error:
        print(f"rehearse: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m scripts.rehearse", description=__doc__)
    found.add_argument("--name", default="release", help="name of the world (default: release)")
    found.add_argument("--fault", choices=sorted(FAULTS), help="break the candidate at its first weight")
    found.add_argument(
        "--provider", choices=PROVIDERS, default="istio", help="what carries the weight (default: istio)"
    )
    found.add_argument("--blue-replicas", type=int, default=10, help="pods of 5.0 (default: 10)")
    found.add_argument("--block", type=int, default=21, help="first loopback block 127.N to try (default: 21)")
    found.add_argument("--keep", action="store_true", help="leave the world up afterwards")
    found.add_argument("handed_on", nargs="*", metavar="-- OPTION", help="options for ansible-playbook")
    return found


async def rehearse(world: World, provider: str, fault: str | None, handed_on: list[str]) -> int:
    """The release, under load; prints the verdict and keeps the record. Returns the exit status."""
    steady_load.start(world, LOAD_RATE, LOAD_DURATION, provider=provider)
    breaking = asyncio.create_task(break_candidate(world, fault)) if fault else None
    try:
        deploy_exit = await deploy(world, ["-e", f"rehearsal_provider={provider}", *handed_on])
        await asyncio.sleep(LOAD_TAIL)
    finally:
        if breaking is not None and not breaking.done():
            breaking.cancel()
        if steady_load.running(world.home):
            await asyncio.to_thread(steady_load.stop, world)
    journal = await cluster.read_journal(world)
    if journal is None:
        print("rehearse: the release was never opened; see above", file=sys.stderr)
        return 1
    rehearsal = Rehearsal(
        deploy_exit=deploy_exit,
        journal=journal,
        load=read_report(world.home),
        world=await cluster.left_behind(world, journal["plan"]["release_traffic"]),
        fault=fault,
        fault_at=breaking.result() if breaking is not None and breaking.done() and not breaking.cancelled() else None,
    )
    record = keep_record(rehearsal)
    print()
    print("\n".join(lines(rehearsal, record)))
    return 1 if problems(rehearsal) else 0


async def deploy(world: World, handed_on: list[str]) -> int:
    """Run deploy.yml to its end; its exit status. Ctrl-C reaches Ansible itself, which then ends."""
    environment = os.environ | {
        "REHEARSAL_WORLD": str(world.home / "world.json"),
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "build" / "collections"),
        "ANSIBLE_STDOUT_CALLBACK": os.environ.get("ANSIBLE_STDOUT_CALLBACK", "claude_enhancer.rollout.release_clock"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    inventory = REPOSITORY / "inventories" / "rehearsal" / "hosts.yml"
    process = await asyncio.create_subprocess_exec(
        "ansible-playbook", "-i", str(inventory), "claude_enhancer.rollout.deploy", *handed_on, env=environment
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, process.send_signal, signal.SIGTERM)
    return await process.wait()


async def break_candidate(world: World, fault: str) -> float:
    """Wait until the candidate serves users, then break it; the unix time of that."""
    weight = await cluster.wait_for_weight(world)
    await asyncio.sleep(FAULT_AFTER)
    body = faults.body_of(fault, FAULTS[fault])
    moment = time.time()
    outcomes = await faults.inject(world, body, version=CANDIDATE, pod=None)
    broken = ", ".join(outcome.pod for outcome in outcomes)
    print(f"{time.strftime('%H:%M:%S')}   fault     {fault} injected into {broken} at {weight} %", flush=True)
    return moment


def keep_record(rehearsal: Rehearsal) -> str:
    """Keep journal and load report outside of the world, which goes; the file, relative to the repository."""
    folder = REPOSITORY / "build" / "releases"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{rehearsal.journal['release_id']}.json"
    load: dict[str, Any] = dataclasses.asdict(rehearsal.load)
    document = {"journal": rehearsal.journal, "load": load, "fault": rehearsal.fault, "fault_at": rehearsal.fault_at}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return str(path.relative_to(Path(REPOSITORY)))


if __name__ == "__main__":
    sys.exit(main())
