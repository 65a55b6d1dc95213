"""The API server as a process: how it starts, what it weighs, how it ends, and what it says when it can't start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from rehearsal.client import KubeClient
from rehearsal.world import World
from tests.integration.conftest import ROOT, block_of_worker, wait_until_ready

MEMORY_LIMIT = 90e6
WATCH_LIMIT = 0.25
# A world of its own beside the one of the module's fixture.
BLOCK = block_of_worker() + 100


def start(home: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rehearsal.cluster", "--home", str(home), *options]
    environment = {key: value for key, value in os.environ.items() if key != "KUBEBUILDER_ASSETS"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_it_makes_its_world_keeps_its_credentials_and_ends_at_once(tmp_path: Path) -> None:
    home = tmp_path / "world"
    kubeconfigs = []
    for _ in range(2):
        process = start(home, "--block", str(BLOCK))
        try:
            while not (home / "pki" / "ca.crt").exists():
                assert process.poll() is None
                time.sleep(0.02)
            world = World.load(home)
            wait_until_ready(world, process)
            kubeconfigs.append(world.kubeconfig.read_text())
            asyncio.run(end_with_an_open_watch(world, process))
        finally:
            process.kill()
            process.communicate()
    assert kubeconfigs[0] == kubeconfigs[1]


async def end_with_an_open_watch(world: World, process: subprocess.Popen[bytes]) -> None:
    """A watch that nobody closes must not hold the server up."""
    async with KubeClient.from_kubeconfig(world.kubeconfig) as client:
        events = client.watch("/api/v1/namespaces", "0")
        first = await anext(events)
        assert first["type"] == "ADDED"
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        while process.poll() is None and time.monotonic() - begun < 5:
            await asyncio.sleep(0.02)
        assert process.returncode == 0
        assert time.monotonic() - begun < 3
        await events.aclose()  # type: ignore[attr-defined]


def test_it_stays_small_and_tells_watchers_at_once(api_world: World) -> None:
    async def run() -> list[float]:
        path, delays = "/api/v1/namespaces/default/configmaps", []
        async with KubeClient.from_kubeconfig(api_world.kubeconfig) as client:
            listed = await client.get(path)
            events = client.watch(path, listed["metadata"]["resourceVersion"])
            for number in range(20):
                coming = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0)
                body = {"metadata": {"name": f"m{number}"}, "data": {"k": "x" * 100_000}}
                await client.create(path, body)
                begun = time.monotonic()
                assert (await coming)["object"]["metadata"]["name"] == f"m{number}"
                delays.append(time.monotonic() - begun)
            # Nobody reads the watch now: the server must not keep for it what it can't send.
            for number in range(20):
                for change in range(40):
                    await client.patch(f"{path}/m{number}", {"metadata": {"labels": {"n": str(change)}}})
            await events.aclose()  # type: ignore[attr-defined]
        return delays

    assert max(asyncio.run(run())) < WATCH_LIMIT
    servers = [p for p in psutil.process_iter(["cmdline"]) if str(api_world.home) in (p.info["cmdline"] or [])]
    assert len(servers) == 1
    assert servers[0].memory_info().rss < MEMORY_LIMIT


def test_a_missing_world_and_a_taken_address_are_told(api_world: World, tmp_path: Path) -> None:
    _, said = start(tmp_path / "nowhere").communicate(timeout=20)
    assert "there is no world in that folder; add --block N" in said.decode()
    World("taken", tmp_path, api_world.network, api_world.pod_cidr).save()
    _, said = start(tmp_path).communicate(timeout=20)
    assert f"at {api_world.api_url} failed" in said.decode() and "Traceback" not in said.decode()
