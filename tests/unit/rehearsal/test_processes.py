"""Processes are found by their mark, hit only when they are who they were, and measured."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rehearsal import processes
from rehearsal.processes import Identity

SLEEP = [sys.executable, "-c", "import time; time.sleep(30)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(30)",
]


def test_a_recycled_pid_is_not_the_process() -> None:
    child = subprocess.Popen(SLEEP)
    try:
        real = Identity.of(child.pid)
        imposter = Identity(real.pid, real.started - 1)
        imposter.signal(signal.SIGKILL)
        time.sleep(0.05)
        assert real.alive()
        assert not imposter.alive()
    finally:
        child.kill()
        child.wait()
    assert not real.alive()


def test_only_marked_processes_belong_to_a_world(tmp_path: Path) -> None:
    marked = subprocess.Popen(SLEEP, env=os.environ | {processes.MARKER: str(tmp_path)})
    other = subprocess.Popen(SLEEP, env=os.environ | {processes.MARKER: f"{tmp_path}-2"})
    try:
        deadline = time.monotonic() + 5
        while not processes.of_world(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [identity.pid for identity in processes.of_world(tmp_path)] == [marked.pid]
        assert processes.end(processes.of_world(tmp_path)) == []
        assert marked.wait() == -signal.SIGTERM
        assert other.poll() is None
    finally:
        for child in (marked, other):
            child.kill()
            child.wait()


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    child = subprocess.Popen(STUBBORN, stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
    assert processes.end([Identity.of(child.pid)], grace=0.1) == []
    assert child.wait() == -signal.SIGKILL


def test_a_child_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from rehearsal import processes\n"
        "async def main():\n"
        "    child = await processes.start(['sleep', '30'], pathlib.Path(sys.argv[1]))\n"
        "    print(child.pid, flush=True)\n"
        "    await asyncio.sleep(30)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "log")], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child = Identity.of(int(parent.stdout.readline()))
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child.pid}/comm").read_text().strip() != "sleep" and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    assert processes.wait_gone([child], 5) == []


def test_stop_kills_what_does_not_end_in_time(tmp_path: Path) -> None:
    async def scenario() -> int | None:
        log = tmp_path / "log"
        child = await processes.start(STUBBORN, log)
        while not log.read_text():
            await asyncio.sleep(0.01)
        await processes.stop(child, signal.SIGTERM, grace=0.1)
        return child.returncode

    assert asyncio.run(scenario()) == -signal.SIGKILL


def test_pss_of_a_living_process_and_of_none() -> None:
    assert processes.pss(os.getpid()) > 1_000_000
    assert processes.pss(2**22 + 1) == 0


def test_listeners_are_those_of_the_network_only() -> None:
    with socket.socket() as server:
        server.bind(("127.253.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert processes.listeners("127.253.0.0/16") == [f"127.253.0.1:{port}"]
        assert f"127.253.0.1:{port}" not in processes.listeners("127.252.0.0/16")


def test_identity_of_nobody() -> None:
    with pytest.raises(ProcessLookupError):
        Identity.of(2**22 + 1)
