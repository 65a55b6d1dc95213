"""Tasks of kubernetes.core while the Kubernetes API can't be reached for some seconds, in the roles that have them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, config_map
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import lease
from rehearsal.world import NAMESPACE
from tests.integration.api_only import PROGRAM, api, environment, write_playbook

BLOCK = 94
HERE = ("127.94.0.9", 6443)
MADE = config_map(NAMESPACE, "made")
LEASE = lease(NAMESPACE, f"{NAMESPACE}-release-lock")
WAITED_FOR = "Hold the lock once the Kubernetes API is back"


class Door:
    """Hands connections on to the API. Once ``folder/shut`` is there it is shut, until it has been waited for."""

    def __init__(self, folder: Path, target: tuple[str, int]) -> None:
        self._shut = folder / "shut"
        self._output = folder / "output"
        self._target = target
        self._ends = threading.Event()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self.opens = True
        self.when_shut: Callable[[], object] = lambda: None
        self._listener = self._listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        self._drop()
        self._listener.close()

    @staticmethod
    def _listen() -> socket.socket:
        return socket.create_server(HERE)

    def _run(self) -> None:
        while not self._ends.is_set():
            if self._shut.exists():
                self._listener.close()
                self._drop()
                self._shut.unlink()
                self.when_shut()
                self._wait()
                self._listener = self._listen()
            self._serve()

    def _wait(self) -> None:
        while not self._ends.wait(0.05):
            if self.opens and WAITED_FOR in self._output.read_text():
                self._ends.wait(3.0)
                return

    def _serve(self) -> None:
        """What can be done now."""
        with selectors.DefaultSelector() as ready:
            for one in (self._listener, *self._pairs):
                ready.register(one, selectors.EVENT_READ)
            for key, _events in ready.select(0.01):
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._listener:
                    accepted, upstream = source.accept()[0], socket.create_connection(self._target)
                    self._pairs |= {accepted: upstream, upstream: accepted}
                elif source in self._pairs:
                    self._hand_on(source)

    def _hand_on(self, source: socket.socket) -> None:
        other = self._pairs[source]
        with contextlib.suppress(OSError):
            if data := source.recv(65536):
                other.sendall(data)
                return
        for one in (source, other):
            self._pairs.pop(one, None)
            one.close()

    def _drop(self) -> None:
        for one in self._pairs:
            one.close()
        self._pairs.clear()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home


@pytest.fixture
def cluster(home: Path) -> Cluster:
    cluster = Cluster.from_options({"kubeconfig": str(home / "kubeconfig")})
    for ref in (MADE, LEASE):
        if cluster.find(ref):
            cluster.delete(ref)
    return cluster


@pytest.fixture
def door(home: Path, tmp_path: Path, cluster: Cluster) -> Iterator[Door]:
    address = cluster.server.removeprefix("https://").rsplit(":", 1)
    door = Door(tmp_path, (address[0], int(address[1])))
    try:
        yield door
    finally:
        door.close()


def through_the_door(home: Path, folder: Path) -> Path:
    """A kubeconfig with its address; the certificate names another one."""
    config = yaml.safe_load((home / "kubeconfig").read_text())
    config["clusters"][0]["cluster"] = {"server": f"https://{HERE[0]}:{HERE[1]}", "insecure-skip-tls-verify": True}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def deploy(home: Path, folder: Path, patience: float, data: str = "{a: b}") -> subprocess.CompletedProcess[str]:
    """The role's tasks for a candidate; while its manifest is made for the first time, the door is shut."""
    once = f"test -e {folder}/once || touch {folder}/once {folder}/shut; sleep 0.5"
    manifest = folder / "manifest.yml"
    meta = f"{{name: {MADE.name}, namespace: {NAMESPACE}}}"
    manifest.write_text(
        f'{{{{ lookup("ansible.builtin.pipe", "{once}") }}}}\n'
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {meta}\ndata: {data}\n"
    )
    place = {"application": NAMESPACE, "namespace": NAMESPACE}
    variables = {
        "release_application": NAMESPACE,
        "release_namespace": NAMESPACE,
        "release_candidate_manifest": str(manifest),
        "release_wait_timeout": 10,
        "release_api_patience": patience,
        "stage_deployment": {"name": "made", "type": "canary", "replicas": 1},
    }
    role = {"name": "claude_enhancer.rollout.stage", "tasks_from": "candidate"}
    tasks: list[dict[str, Any]] = [
        {"name": "Lock", "claude_enhancer.rollout.release_lock": {"action": "acquire", **place}, "register": "lock"},
        {"name": "Hand on", "ansible.builtin.set_fact": {"release_lock": "{{ lock.lease }}"}},
        {"name": "Deploy", "ansible.builtin.include_role": role, "vars": variables},
    ]
    with (folder / "output").open("w+") as output:
        done = subprocess.run(
            [str(PROGRAM), str(write_playbook(folder / "play.yml", tasks))],
            cwd=folder,
            env=environment(folder, through_the_door(home, folder)),
            stdout=output,
            stderr=output,
            text=True,
            timeout=150,
            check=False,
        )
    return subprocess.CompletedProcess(done.args, done.returncode, (folder / "output").read_text())


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def test_an_api_that_comes_back_in_time_ends_no_release(
    home: Path, cluster: Cluster, door: Door, tmp_path: Path
) -> None:
    done = deploy(home, tmp_path, patience=60)
    assert done.returncode == 0, said(done)
    assert cluster.get(MADE)["data"] == {"a": "b"}
    assert "the lock was renewed after that" in said(done)
    assert "rescued=1" in said(done)


def test_one_that_stays_away_is_waited_for_as_long_as_told(
    home: Path, cluster: Cluster, door: Door, tmp_path: Path
) -> None:
    door.opens = False
    done = deploy(home, tmp_path, patience=3)
    assert done.returncode == 2, said(done)
    assert "(api_patience)" in said(done)
    assert cluster.find(MADE) is None


def test_who_lost_the_lock_while_it_was_away_deploys_nothing(
    home: Path, cluster: Cluster, door: Door, tmp_path: Path
) -> None:
    store = LeaseStore(cluster, NAMESPACE, NAMESPACE)
    door.when_shut = lambda: store.acquire(Claim("bob@elsewhere", reason="test"), force=True)
    done = deploy(home, tmp_path, patience=60)
    assert done.returncode == 2, said(done)
    assert "has lost the lock of claude-enhancer: it is held by bob@elsewhere" in said(done)
    assert cluster.find(MADE) is None


def test_what_the_api_refuses_is_not_tried_again(home: Path, cluster: Cluster, door: Door, tmp_path: Path) -> None:
    (tmp_path / "once").touch()
    done = deploy(home, tmp_path, patience=60, data="[1]")
    assert done.returncode == 2, said(done)
    assert done.stdout.count("TASK [claude_enhancer.rollout.stage : Deploy made, replicas 1]") == 1
    assert "Give up unless the Kubernetes API was away" in done.stdout
    assert cluster.find(MADE) is None
