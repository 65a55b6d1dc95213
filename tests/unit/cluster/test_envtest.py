"""A real API server's command lines, tried with executables that write down how they were called."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path

import pytest
import yaml

from rehearsal.cluster import envtest, pki
from rehearsal.world import World

RECORDER = """#!/bin/sh
trap 'echo stopped >> "{folder}/order"; basename "$0" >> "{folder}/order"; exit 0' TERM
echo "$0" "$@" > "{folder}/$(basename "$0").called"
{then}
"""


def fake(assets: Path, name: str, then: str = "while :; do sleep 0.05; done") -> None:
    path = assets / name
    path.write_text(RECORDER.format(folder=assets, then=then))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World.make("test", tmp_path / "world", 44)
    made.home.mkdir()
    return made


async def run_until_called(assets: Path, world: World) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(envtest.run(assets, world, pki.ensure(world), stop))
    end = time.monotonic() + 5
    while not (assets / "kube-apiserver.called").exists() and time.monotonic() < end:
        await asyncio.sleep(0.02)
    stop.set()
    await running


def test_both_are_started_on_the_addresses_of_the_world_and_stopped_in_order(tmp_path: Path, world: World) -> None:
    fake(tmp_path, "etcd")
    fake(tmp_path, "kube-apiserver")
    asyncio.run(run_until_called(tmp_path, world))
    etcd = (tmp_path / "etcd.called").read_text()
    assert f"--data-dir={world.home}/etcd" in etcd and "--listen-client-urls=http://127.44.0.1:2379" in etcd
    server = (tmp_path / "kube-apiserver.called").read_text()
    for wanted in (
        "--etcd-servers=http://127.44.0.1:2379",
        "--bind-address=127.44.0.1",
        "--secure-port=6443",
        f"--token-auth-file={world.home}/pki/tokens.csv",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=",
        f"--service-account-signing-key-file={world.home}/pki/service-accounts.key",
        f"--audit-log-path={world.home}/logs/audit.log",
        f"--audit-policy-file={world.home}/pki/audit-policy.yaml",
    ):
        assert wanted in server
    assert (world.home / "pki" / "service-accounts.key").read_text().startswith("-----BEGIN RSA PRIVATE KEY")
    policy = yaml.safe_load((world.home / "pki" / "audit-policy.yaml").read_text())
    assert policy["rules"][-1] == {"level": "Metadata"}
    words = (tmp_path / "order").read_text().split()
    assert [word for word in words if word != "stopped"] == ["kube-apiserver", "etcd"]


def test_the_end_of_one_of_them_is_told(tmp_path: Path, world: World) -> None:
    fake(tmp_path, "etcd")
    # Not before the other one can be told to stop.
    fake(tmp_path, "kube-apiserver", f'while [ ! -s "{tmp_path}/etcd.called" ]; do sleep 0.01; done; exit 3')

    async def run() -> None:
        await envtest.run(tmp_path, world, pki.ensure(world), asyncio.Event())

    with pytest.raises(RuntimeError, match=r"kube-apiserver ended with code 3; see .*kube-apiserver\.log"):
        asyncio.run(run())
    assert "etcd" in (tmp_path / "order").read_text(), "the other one is stopped too"


def test_an_empty_folder_is_told(tmp_path: Path, world: World) -> None:
    async def run() -> None:
        await envtest.run(tmp_path, world, pki.ensure(world), asyncio.Event())

    with pytest.raises(RuntimeError, match="KUBEBUILDER_ASSETS="):
        asyncio.run(run())


def test_credentials_are_made_once_and_kept_private(world: World) -> None:
    credentials = pki.ensure(world)
    before = {path: path.read_bytes() for path in world.home.rglob("*") if path.is_file()}
    pki.ensure(world)
    assert {path: path.read_bytes() for path in world.home.rglob("*") if path.is_file()} == before
    users = {user.name: user.groups for user in pki.read_tokens(credentials).values()}
    assert users == {"admin": ("system:masters",), "ops": ()}
    assert {"kubeconfig", "kubeconfig-ops"} <= {path.name for path in world.home.iterdir()}
    assert world.kubeconfig.stat().st_mode & 0o077 == 0
