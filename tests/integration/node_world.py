"""A world with the API server, controllers and a node, and nothing else; run with ``-m`` it is the process that holds
controllers and node, so that a test can kill it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rehearsal import controllers, node
from rehearsal.claims import claim_block
from rehearsal.client import KubeClient
from rehearsal.objects import path_of
from rehearsal.world import World

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "place"
LOOK = 0.02
IMAGES = {
    "sample": {"entry": "tests.integration.sample_pod:main", "env": {"VERSION": "1"}},
    "sample:2": {"entry": "tests.integration.sample_pod:main", "env": {"VERSION": "2"}},
}
Object = dict[str, Any]


class Cluster:
    """A synchronous hand on the world: objects, waiting, HTTP to pods."""

    def __init__(
        self, world: World, holder: subprocess.Popen[bytes], runner: asyncio.Runner, client: KubeClient
    ) -> None:
        self.world = world
        self.holder = holder
        self._runner = runner
        self._client = client

    def restart_holder(self) -> None:
        """End the process of controllers and node, and start another."""
        self.holder.send_signal(signal.SIGTERM)
        self.holder.wait(timeout=10)
        self.holder = start_holder(self.world.home)

    def path(self, kind: str, name: str = "", api: str = "v1") -> str:
        return path_of(api, kind, NAMESPACE, name)

    def get(self, path: str, **params: str) -> Object:
        return dict(self._runner.run(self._client.get(path, **params)))

    def items(self, path: str) -> list[Object]:
        return list(self.get(path)["items"])

    def create(self, path: str, body: Object) -> Object:
        return self._runner.run(self._client.create(path, body))

    def patch(self, path: str, body: Any) -> Object:
        return self._runner.run(self._client.patch(path, body))

    def delete(self, path: str, body: Object | None = None) -> Any:
        return self._runner.run(self._client.delete(path, body))

    def pods(self, app: str) -> list[Object]:
        return [pod for pod in self.items(self.path("Pod")) if pod["metadata"]["labels"].get("app") == app]

    def wait(self, look: Callable[[], Any], seconds: float = 10.0) -> Any:
        """What ``look`` gives as soon as it is true. Fails with what it gave last."""
        end = time.monotonic() + seconds
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s; pods: {json.dumps(self.items(self.path('Pod')))}")
            time.sleep(LOOK)

    def kubectl(self, *arguments: str) -> str:
        command = ["kubectl", "--kubeconfig", str(self.world.kubeconfig), "-n", NAMESPACE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @staticmethod
    def ask(pod: Object, path: str) -> str:
        """The body a pod answers ``path`` with."""
        with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8080{path}", timeout=2) as answer:
            return str(answer.read().decode())


@contextmanager
def running(home: Path, first_block: int) -> Iterator[Cluster]:
    """A world in ``home`` up to its node, in the first free block, taken down again at the end."""
    block, claim = claim_block(first_block)
    with claim:
        yield from _run_world(home, World.make("test", home, block))


def _run_world(home: Path, world: World) -> Iterator[Cluster]:
    world.save()
    (home / "images.json").write_text(json.dumps(IMAGES))
    api = _start(home, "rehearsal.cluster", "--home", str(home))
    holder = None
    try:
        _wait_for_file(world.kubeconfig, api)
        holder = start_holder(home)
        with asyncio.Runner() as runner:
            client = KubeClient.from_kubeconfig(world.kubeconfig)
            runner.run(client.__aenter__())
            try:
                cluster = Cluster(world, holder, runner, client)
                cluster.wait(lambda: _answers(cluster))
                cluster.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
                yield cluster
            finally:
                holder = cluster.holder
                runner.run(client.__aexit__())
    finally:
        for process in (holder, api):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=10)


def start_holder(home: Path) -> subprocess.Popen[bytes]:
    return _start(home, "tests.integration.node_world", str(home))


def _start(home: Path, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    fast = {"REHEARSAL_BACKOFF": "0.2", "REHEARSAL_BACKOFF_LIMIT": "1", "REHEARSAL_IMAGES": str(home / "images.json")}
    env = {key: value for key, value in os.environ.items() if key != "KUBEBUILDER_ASSETS"} | fast
    with (home / f"{module}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=log, stderr=log, env=env)


def _wait_for_file(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 15
    while not path.exists():
        assert process.poll() is None, "the API server ended"
        assert time.monotonic() < end, f"no {path.name}"
        time.sleep(LOOK)


def _answers(cluster: Cluster) -> bool:
    try:
        return bool(cluster.get("/api/v1/nodes")["items"])
    except OSError:
        return False


async def hold(home: Path) -> None:
    """Run controllers and node until SIGTERM."""
    world = World.load(home)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with KubeClient.from_kubeconfig(world.kubeconfig) as client:
        while not await _is_up(client):
            await asyncio.sleep(LOOK)
        parts = [asyncio.create_task(part(world, client)) for part in (controllers.run, node.run)]
        ending = asyncio.create_task(stop.wait())
        await asyncio.wait([*parts, ending], return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            part.cancel()
        ends = await asyncio.gather(*parts, return_exceptions=True)
        if not stop.is_set():
            raise RuntimeError(f"a part ended by itself: {ends}")


async def _is_up(client: KubeClient) -> bool:
    try:
        await client.get("/readyz")
    except OSError:
        return False
    return True


if __name__ == "__main__":
    asyncio.run(hold(Path(sys.argv[1])))
