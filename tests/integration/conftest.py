"""Fixtures of the integration tests: a world with nothing but its API server running."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal.world import World

if TYPE_CHECKING:
    from tests.integration.postgres_server import Place, Server

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 10.0
# The loopback block of these tests; parallel workers get the ones that follow.
BLOCK = 41


def block_of_worker() -> int:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return BLOCK + int(worker.removeprefix("gw")) % 4


def wait_until_ready(world: World, process: subprocess.Popen[bytes]) -> None:
    """Return once ``/readyz`` answers; fail when the server ends or takes too long."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"the API server ended with code {process.returncode}")
        authority = world.home / "pki" / "ca.crt"
        try:
            context = ssl.create_default_context(cafile=str(authority))
            with urllib.request.urlopen(f"{world.api_url}/readyz", timeout=1, context=context) as answer:
                if answer.read() == b"ok":
                    return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"the API server did not answer within {START_SECONDS} s")


@pytest.fixture(scope="module")
def api_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A fresh world, for the tests of one module, with its API server running and nothing else."""
    home = tmp_path_factory.mktemp("world")
    world = World.make("test", home, block_of_worker())
    world.save()
    log = (home / "cluster.log").open("wb")
    command = [sys.executable, "-m", "rehearsal.cluster", "--home", str(home)]
    environment = {key: value for key, value in os.environ.items() if key != "KUBEBUILDER_ASSETS"}
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)
    try:
        wait_until_ready(world, process)
        yield world
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        log.close()


@pytest.fixture(scope="module")
def kubeconfig(api_world: World) -> Path:
    """The administrator's kubeconfig of ``api_world``."""
    return api_world.kubeconfig


# pytest reads this file before the collection can be imported, so these two import what they need when they are used.
@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL of the tests' own."""
    from tests.integration.postgres_server import running

    with running() as started:
        yield started


@pytest.fixture
def place(server: Server) -> Place:
    """A database with the application's tables and a hundred workflows, each with an entry in the log."""
    from tests.integration.postgres_server import FILL, schema_of_the_application

    return server.database(schema_of_the_application(), FILL)
