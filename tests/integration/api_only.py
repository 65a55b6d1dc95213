"""The emulated API alone, without nodes and controllers, and playbooks run against it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref, config_map
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    NotFoundError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import virtual_service
from rehearsal.world import NAMESPACE, World

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "rehearsal" / "manifests"
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
TRAFFIC = {
    "provider": "istio",
    "namespace": NAMESPACE,
    "name": NAMESPACE,
    "stable": {"host": NAMESPACE, "subset": "stable"},
    "candidate": {"host": NAMESPACE, "subset": "candidate"},
}
PLURALS = {
    "Namespace": "namespaces",
    "CustomResourceDefinition": "customresourcedefinitions",
    "DestinationRule": "destinationrules",
    "VirtualService": "virtualservices",
}


@contextlib.contextmanager
def api(home: Path, block: int) -> Iterator[Cluster]:
    """An API in ``127.<block>``, ready, with the namespace and the traffic objects of the sample application."""
    world = World.make(f"api-{block}", home, block)
    home.mkdir(parents=True, exist_ok=True)
    log = (home / "api.log").open("w")
    command = [sys.executable, "-m", "rehearsal.cluster", "--home", str(home), "--block", str(block)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        cluster = _wait_for(world, server)
        for file in ("00-namespace.yaml", "10-istio-crds.yaml", "60-traffic.yaml"):
            for body in yaml.safe_load_all((MANIFESTS / file).read_text()):
                if body:
                    _create(cluster, body)
        yield cluster
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


@contextlib.contextmanager
def away(home: Path) -> Iterator[None]:
    """The API of ``api`` in that folder gives no answer until the block ends; what it holds is kept."""
    (server,) = [child for child in psutil.Process().children() if str(home) in child.cmdline()]
    server.suspend()
    try:
        yield
    finally:
        server.resume()


def _wait_for(world: World, server: subprocess.Popen[bytes]) -> Cluster:
    deadline = time.monotonic() + 30
    while True:
        assert server.poll() is None, (world.home / "api.log").read_text()
        try:
            cluster = Cluster.from_options({"kubeconfig": str(world.kubeconfig)})
            cluster.list(config_map("default"))
            return cluster
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _create(cluster: Cluster, body: dict[str, Any]) -> None:
    meta = body["metadata"]
    plural = PLURALS[body["kind"]]
    ref = Ref(body["apiVersion"], body["kind"], plural, meta.get("namespace", ""), meta["name"])
    deadline = time.monotonic() + 10
    while True:  # a kind is served a moment after its definition was made
        try:
            cluster.create(ref, body)
            return
        except ConflictError:
            return
        except (NotFoundError, UnreachableError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def forget_releases(cluster: Cluster) -> None:
    """Remove every journal of the namespace."""
    for item in cluster.list(config_map(NAMESPACE)):
        if "-release-" in item["metadata"]["name"]:
            cluster.delete(config_map(NAMESPACE, item["metadata"]["name"]))


def candidate_weight(cluster: Cluster) -> int:
    """The most that any route of the VirtualService gives the candidate, but for the testers' own routes."""
    spec = cluster.get(virtual_service(NAMESPACE, NAMESPACE))["spec"]
    split = [route["route"] for route in spec["http"] if len(route["route"]) > 1]
    return max(
        backend.get("weight", 0)
        for route in split
        for backend in route
        if backend["destination"]["subset"] == "candidate"
    )


def environment(folder: Path, kubeconfig: Path) -> dict[str, str]:
    """What a playbook needs to be run from ``folder``."""
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "K8S_AUTH_KUBECONFIG": str(kubeconfig),
    }


def write_playbook(path: Path, tasks: list[dict[str, Any]]) -> Path:
    """A playbook of one play on this machine."""
    play = {"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": tasks}
    path.write_text(yaml.safe_dump([play], sort_keys=False))
    return path


def results(folder: Path, kubeconfig: Path, tasks: list[dict[str, Any]], *options: str) -> list[dict[str, Any]]:
    """What each task returned; a task that fails does not end the play."""
    answers = folder / "answers.json"
    numbered = [
        {"name": f"Task {number}", **task, "register": f"r{number}", "ignore_errors": True}
        for number, task in enumerate(tasks)
    ]
    listed = ", ".join(f"r{number}" for number in range(len(tasks)))
    keep = {
        "name": "Keep the answers",
        "ansible.builtin.copy": {"content": f"{{{{ [{listed}] | to_json }}}}", "dest": str(answers), "mode": "0600"},
        "check_mode": False,
        "diff": False,
    }
    path = write_playbook(folder / "play.yml", [*numbered, keep])
    done = subprocess.run(
        [str(PROGRAM), *options, str(path)],
        cwd=folder,
        env=environment(folder, kubeconfig),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    read: list[dict[str, Any]] = json.loads(answers.read_text())
    return read
