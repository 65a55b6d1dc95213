"""``python -m rehearsal.cluster --home DIR``: run the Kubernetes API of one world until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from pathlib import Path

from rehearsal.cluster import envtest, pki
from rehearsal.world import World

PORT = 6443


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rehearsal.cluster", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the world")
    parser.add_argument("--block", type=int, help="make the world in 127.BLOCK.0.0/16 if it is not there yet")
    return parser.parse_args()


def open_world(home: Path, block: int | None) -> World:
    """The world in ``home``, made in loopback block ``block`` if there is none."""
    home = home.resolve()
    if block is not None and not (home / "world.json").exists():
        home.mkdir(parents=True, exist_ok=True)
        World.make(home.name, home, block).save()
    return World.load(home)


async def run(world: World) -> None:
    credentials = pki.ensure(world)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        await envtest.run(Path(assets), world, credentials, stop)
        return
    # Only now: a real API server needs nothing of the emulated one.
    from rehearsal.cluster.server import serve

    await serve(credentials, world.host, PORT, stop, world.audit_log)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asked = arguments()
    try:
        world = open_world(asked.home, asked.block)
    except FileNotFoundError:
        raise SystemExit(f"--home {asked.home}: there is no world in that folder; add --block N to make one") from None
    try:
        asyncio.run(run(world))
    except (OSError, RuntimeError) as error:
        raise SystemExit(f"the API server of {world.home} at {world.api_url} failed: {error}") from None


if __name__ == "__main__":
    main()
