"""A real etcd and kube-apiserver in place of the emulated API, in the way of controller-runtime's envtest."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import yaml

from rehearsal.cluster.pki import Credentials, ensure_service_account_key
from rehearsal.world import World

ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
API_PORT = 6443
SERVICE_CIDR = "10.96.0.0/16"
STOP_SECONDS = 10.0
# A policy can't tell clients apart by their agent, and this world's parts use the same user as everybody: so all of
# them are on record, and who reads it leaves out the agents that are the world's own.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "users": ["system:apiserver"]}, {"level": "Metadata"}],
}


def etcd_command(assets: Path, world: World) -> list[str]:
    client, peer = f"http://{world.host}:{ETCD_PORT}", f"http://{world.host}:{ETCD_PEER_PORT}"
    return [
        str(assets / "etcd"),
        "--name=rehearsal",
        f"--data-dir={world.home / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=rehearsal={peer}",
        "--unsafe-no-fsync",
    ]


def apiserver_command(assets: Path, world: World, credentials: Credentials) -> list[str]:
    return [
        str(assets / "kube-apiserver"),
        f"--etcd-servers=http://{world.host}:{ETCD_PORT}",
        f"--bind-address={world.host}",
        f"--advertise-address={world.host}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={credentials.certificate}",
        f"--tls-private-key-file={credentials.key}",
        f"--token-auth-file={credentials.tokens}",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={credentials.service_account_key}",
        f"--service-account-signing-key-file={credentials.service_account_key}",
        # Nobody makes default service accounts here, and pods must start without them.
        "--disable-admission-plugins=ServiceAccount",
        # Endpoints are the business of this world's own controllers.
        "--endpoint-reconciler-type=none",
        f"--cert-dir={credentials.folder / 'generated'}",
        f"--audit-policy-file={credentials.audit_policy}",
        f"--audit-log-path={world.audit_log}",
    ]


async def run(assets: Path, world: World, credentials: Credentials, stop: asyncio.Event) -> None:
    """Run both until ``stop`` is set, or until one of them ends by itself, which raises RuntimeError."""
    ensure_service_account_key(credentials)
    credentials.audit_policy.write_text(yaml.safe_dump(AUDIT_POLICY, sort_keys=False))
    world.logs.mkdir(parents=True, exist_ok=True)
    commands = [etcd_command(assets, world), apiserver_command(assets, world, credentials)]
    processes: list[asyncio.subprocess.Process] = []
    waiting: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
    try:
        for command in commands:
            processes.append(await _start(command, world))
            waiting.append(asyncio.create_task(processes[-1].wait()))
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            ended = next(p for p, w in zip(processes, waiting[1:], strict=True) if w.done())
            name = Path(commands[processes.index(ended)][0]).name
            raise RuntimeError(f"{name} ended with code {ended.returncode}; see {world.logs / name}.log")
    finally:
        for task in waiting:
            task.cancel()
        # The API server first: it can't say goodbye to an etcd that has gone.
        for process in reversed(processes):
            await _end(process)


async def _start(command: list[str], world: World) -> asyncio.subprocess.Process:
    path = world.logs / f"{Path(command[0]).name}.log"
    with path.open("ab") as output:
        try:
            return await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        except OSError as error:
            raise RuntimeError(f"KUBEBUILDER_ASSETS={Path(command[0]).parent}: can't start: {error}") from error


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    if process.returncode is None:
        process.kill()
        await process.wait()
