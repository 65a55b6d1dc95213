"""Entry point of a pod. Importing this module loads everything and starts nothing, so that a process that has
imported it can be forked into pods."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from typing import NoReturn

from aiohttp import web

from rehearsal.app.api import make_api
from rehearsal.app.faults import FaultError, Faults
from rehearsal.app.monitoring import make_agent_monitoring, make_http_monitoring, make_workflow_monitoring
from rehearsal.app.pod import Pod
from rehearsal.app.settings import Settings, SettingsError

IN_FLIGHT_SECONDS = 20.0
LAST_REQUESTS_SECONDS = 0.05
WORKFLOW_STOP_SECONDS = 0.5
APPLICATIONS = (
    (8080, make_api),
    (9090, make_http_monitoring),
    (9091, make_agent_monitoring),
    (9092, make_workflow_monitoring),
)

log = logging.getLogger(__name__)


def main() -> None:
    """Serve until SIGTERM. Raises SystemExit(1) when the environment is wrong or an address is taken."""
    # Objects inherited from the parent are left out of collections: touching them would unshare their pages.
    gc.freeze()
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    try:
        settings = Settings.from_environment(os.environ)
        faults = _initial_faults(settings)
    except SettingsError as error:
        _give_up(f"can't start:\n{error}", error)
    try:
        asyncio.run(serve(settings, faults))
    except OSError as error:
        _give_up(f"can't listen on {settings.pod_ip}: {error}", error)


async def serve(settings: Settings, faults: Faults) -> None:
    """Serve all ports until SIGTERM or SIGINT, then drain. Raises OSError when an address can't be bound."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pod = Pod(settings)
    runners: list[web.AppRunner] = []
    try:
        for port, make in APPLICATIONS:
            runners.append(await _listen(make(pod), settings.pod_ip, port))
        await pod.start(faults)
        log.info("claude-enhancer %s serves on %s", settings.version, settings.pod_ip)
        await stop.wait()
        pod.drain()
        log.info("draining for %g s", settings.drain_seconds)
        await asyncio.sleep(settings.drain_seconds)
    finally:
        await _close(runners)
        await pod.stop(WORKFLOW_STOP_SECONDS)
    log.info("stopped")


async def _listen(application: web.Application, address: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=IN_FLIGHT_SECONDS, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, address, port, reuse_address=True, backlog=512).start()
    return runner


async def _close(runners: list[web.AppRunner]) -> None:
    """Take no more connections, answer what came in, close."""
    for runner in runners:
        for site in list(runner.sites):
            await site.stop()
    # A connection just accepted looks idle until its request is read; cleanup() closes idle ones at once.
    await asyncio.sleep(LAST_REQUESTS_SECONDS)
    await asyncio.gather(*(runner.cleanup() for runner in runners))


def _give_up(message: str, cause: Exception) -> NoReturn:
    print(f"claude-enhancer {message}", file=sys.stderr, flush=True)
    raise SystemExit(1) from cause


def _initial_faults(settings: Settings) -> Faults:
    """The faults an image is built with (``CLAUDE_FAULTS``). Raises SettingsError."""
    try:
        return Faults().changed(json.loads(settings.faults), agent_count=settings.agent_count)
    except (ValueError, FaultError) as error:
        raise SettingsError(f"CLAUDE_FAULTS: {error}") from error
