"""Processes seen from outside: stopped, gone, or out of sight."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process, ended_here


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + 5
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_process_that_was_stopped_lives_and_does_nothing(child: subprocess.Popen[bytes]) -> None:
    process = Process.of(child.pid)
    assert not process.stopped()
    os.kill(child.pid, signal.SIGSTOP)
    wait_until(process.stopped)
    assert process.alive()
    os.kill(child.pid, signal.SIGCONT)
    wait_until(lambda: not process.stopped())


def test_the_end_of_a_process_is_told_on_its_own_machine_only(child: subprocess.Popen[bytes]) -> None:
    evidence = Process.of(child.pid).evidence()
    assert not ended_here(evidence)
    child.kill()
    child.wait()
    assert ended_here(evidence)
    assert not ended_here({**evidence, "machine": "another boot or another container"})


def test_what_says_nothing_proves_nothing() -> None:
    mine = Process.of(os.getpid()).evidence()
    assert not ended_here({})
    assert not ended_here({**mine, "started": 0})
    assert ended_here({**mine, "started": mine["started"] + 1}), "its id went to another process"
    assert Process(os.getpid(), 0).evidence() == {}
