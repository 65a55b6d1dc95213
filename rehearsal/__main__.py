"""``python -m rehearsal``: the command line of the rehearsal cluster."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from rehearsal import faults, status
from rehearsal.claims import FIRST_BLOCK, LAST_BLOCK
from rehearsal.cli import DEFAULT_NAME, CommandError, home_of, load, load_world
from rehearsal.cli.down import take_down
from rehearsal.cli.up import facts, up

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

CANDIDATE = "5.1"
DESCRIPTION = """\
A rehearsal cluster: a small world on this machine to run releases in, without containers.

It has a Kubernetes API, a node that runs pods as processes, Envoy as mesh and edge, Prometheus, PostgreSQL, and the
sample application in version 5.0. Everything listens on a loopback block of its own (127.N.0.0/16), so several worlds
run side by side under different names.
"""

EPILOG = """\
examples:
  python -m rehearsal up                              start the world and print how to use it
  export KUBECONFIG=$(python -m rehearsal kubeconfig)
  python -m rehearsal load --rate 400 --background    users' requests, counted one by one
  python -m rehearsal fault errors 0.3                30 % of the answers of version 5.1 become 500
  python -m rehearsal fault heal                      and all is well again
  python -m rehearsal status                          parts, deployments, weights, targets, load
  python -m rehearsal up --name second                another world beside the first
  python -m rehearsal down                            take it away, leave nothing behind

environment:
  REHEARSAL_HOME       folder of all worlds (default: build/rehearsal)
  REHEARSAL_POD_CIDR   addresses of pods (default: 127.N.128.0/17)
  KUBEBUILDER_ASSETS   folder with etcd and kube-apiserver: they serve in place of the emulated Kubernetes API
"""


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    formatter = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="python -m rehearsal", description=DESCRIPTION, epilog=EPILOG, formatter_class=formatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", type=_name, default=DEFAULT_NAME, help="name of the world (default: %(default)s)")
    for add in (_add_up, _add_down, _add_status, _add_fault, _add_load, _add_kubeconfig):
        add(commands, common)
    return top


def _add_up(commands: Commands, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "up",
        parents=[common],
        help="start a world and wait until it serves",
        description="Start a world as a daemon. Returns when version 5.0 is available, the edge answers and Prometheus "
        "has fresh samples; prints how to use it. A world that is up already is left as it is.",
    )
    command.add_argument("--blue-replicas", type=_positive, default=10, metavar="N", help="pods of 5.0 (default: 10)")
    command.add_argument("--load", type=_positive, metavar="RATE", help="send RATE requests/s in the background")
    command.add_argument(
        "--block", type=_block, default=FIRST_BLOCK, metavar="N", help="first loopback block 127.N to try (default: 21)"
    )
    command.add_argument("--keep", action="store_true", help="if the start fails, keep the folder with the logs")
    command.set_defaults(run=_up)


def _add_down(commands: Commands, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "down",
        parents=[common],
        help="stop a world and leave nothing behind",
        description="Stop a world, verify that no process and no socket of it is left, remove its folder. Does no harm "
        "when there is no such world, and cleans up after a world whose supervisor was killed.",
    )
    command.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    command.set_defaults(run=_down)


def _add_status(commands: Commands, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "status",
        parents=[common],
        help="what a world is doing",
        description="Parts with process id, memory (proportional set size) and age; Deployments; the weight of every "
        "route; what the entry service selects; Prometheus' targets; the load's numbers. Exit code 1 if it isn't up.",
    )
    command.add_argument("--json", action="store_true", help="the same as JSON")
    command.set_defaults(run=_status)


def _add_fault(commands: Commands, common: argparse.ArgumentParser) -> None:
    kinds = "\n".join(
        f"  {name:13} {kind.help}" + (f" (default {kind.default})" if kind.default else "")
        for name, kind in faults.KINDS.items()
    )
    command = commands.add_parser(
        "fault",
        parents=[common],
        help="make pods of a version fail, or heal them",
        description=f"Tell running pods to fail. Faults of different kinds add up.\n\nkinds:\n{kinds}",
        epilog="examples:\n  python -m rehearsal fault latency 1.5 --version 5.1\n  python -m rehearsal fault heal",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("kind", choices=faults.KINDS, metavar="KIND", help="one of the kinds above")
    command.add_argument("value", nargs="?", metavar="VALUE", help="how much of it")
    target = command.add_mutually_exclusive_group()
    target.add_argument("--version", help="all pods of this version (default: 5.1; for heal: every pod)")
    target.add_argument("--pod", help="this pod alone")
    command.set_defaults(run=_fault)


def _add_load(commands: Commands, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "load",
        parents=[common],
        help="send users' requests to the edge, and count them",
        description="Send a steady stream of requests to the edge. Counts every request sent and every failure seen: "
        "the proof of no downtime. Runs until its time is over or Ctrl-C, then prints its numbers.",
    )
    command.add_argument("--rate", type=_positive, default=300, help="requests per second (default: %(default)s)")
    command.add_argument(
        "--duration", type=float, default=load.A_DAY, metavar="SECONDS", help="stop after that long (default: a day)"
    )
    command.add_argument(
        "--sessions", type=int, default=0, metavar="N", help="users with cookies of their own (default: no cookies)"
    )
    command.add_argument(
        "--workflows", type=int, default=1, metavar="N", help="of each 20 requests, so many start one (default: 1)"
    )
    command.add_argument(
        "--provider",
        default=load.DEFAULT_PROVIDER,
        metavar="NAME",
        help="whose edge to send to, by the names in world.json; haproxy: both instances (default: %(default)s)",
    )
    command.add_argument("--json", action="store_true", help="with --stop or --report: all numbers as JSON")
    action = command.add_mutually_exclusive_group()
    action.add_argument("--background", action="store_true", help="return at once; end it with load --stop")
    action.add_argument("--stop", action="store_true", help="end the load in the background and print its numbers")
    action.add_argument("--report", action="store_true", help="print the numbers of the load that runs, or ran last")
    command.set_defaults(run=_load)


def _add_kubeconfig(commands: Commands, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "kubeconfig",
        parents=[common],
        help="print the path of a world's kubeconfig",
        description="Print the path of the kubeconfig, for: export KUBECONFIG=$(python -m rehearsal kubeconfig)",
    )
    command.set_defaults(run=_kubeconfig)


def _name(text: str) -> str:
    # The world's node carries the name, so it must be one that the API takes.
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name: use up to 42 small letters, digits and '-'")
    return text


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return number


def _block(text: str) -> int:
    number = int(text)
    if not 1 <= number <= LAST_BLOCK:
        raise argparse.ArgumentTypeError(f"{text} is not a block from 1 to {LAST_BLOCK}")
    return number


def _up(options: argparse.Namespace) -> int:
    world = up(options.name, options.blue_replicas, options.block, options.keep)
    if options.load and load.running(world.home) is None:
        load.start(world, options.load, load.A_DAY)
    memory = sum(part["memory_bytes"] for part in status.parts_of(world.home))
    print(f"It takes {memory / status.MIB:.0f} MiB of memory.")
    print(facts(world))
    return 0


def _down(options: argparse.Namespace) -> int:
    began = time.monotonic()
    if take_down(home_of(options.name), options.keep):
        print(
            f"The rehearsal cluster {options.name!r} is down after {time.monotonic() - began:.1f} s; nothing is left."
        )
    else:
        print(f"There is no rehearsal cluster {options.name!r}.")
    return 0


def _status(options: argparse.Namespace) -> int:
    collected = asyncio.run(status.collect(load_world(options.name)))
    print(json.dumps(collected, indent=2) if options.json else status.table(collected))
    return 0 if collected["running"] else 1


def _fault(options: argparse.Namespace) -> int:
    version = options.version
    if version is None and options.pod is None and options.kind != "heal":
        version = CANDIDATE
    body = faults.body_of(options.kind, options.value)
    outcomes = asyncio.run(faults.inject(load_world(options.name), body, version=version, pod=options.pod))
    for outcome in outcomes:
        print(f"{outcome.pod} ({outcome.version}): {outcome.error or 'took ' + json.dumps(body)}")
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _load(options: argparse.Namespace) -> int:
    world = load_world(options.name)
    users = {"sessions": options.sessions, "workflows": options.workflows}
    if options.background:
        load.start(world, options.rate, options.duration, provider=options.provider, **users)
        print(f"Sending {options.rate} requests/s; end it with: python -m rehearsal load --stop --name {options.name}")
        return 0
    if options.stop:
        load.stop(world)
    elif not options.report:
        load.foreground(world, options.rate, options.duration, provider=options.provider, **users)
    counted = load.report(world)
    print(json.dumps(asdict(counted), indent=2) if options.json else load.text(counted))
    return 0


def _kubeconfig(options: argparse.Namespace) -> int:
    print(load_world(options.name).kubeconfig)
    return 0


def main() -> int:
    options = parser().parse_args()
    run: Callable[[argparse.Namespace], int] = options.run
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(options)
    except (CommandError, faults.FaultError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone; Python's own flush at exit must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
