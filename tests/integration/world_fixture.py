"""One running world, shared by all integration tests of a session.

Import the fixture where it is used: ``from tests.integration.world_fixture import world  # noqa: F401``, or list this
module in ``pytest_plugins`` of a conftest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.world import World

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST_BLOCK = os.environ.get("REHEARSAL_TEST_BLOCK", "151")


def rehearsal(*arguments: str, base: Path | None = None, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run ``python -m rehearsal`` to its end; ``base`` is the folder of the worlds (``REHEARSAL_HOME``)."""
    env = dict(os.environ)
    if base is not None:
        env["REHEARSAL_HOME"] = str(base)
    return subprocess.run(
        [sys.executable, "-m", "rehearsal", *arguments],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start_world(name: str, base: Path, *options: str) -> World:
    """A world of the test's own. Fails the test with what the command said when it does not come up."""
    result = rehearsal("up", "--name", name, "--block", FIRST_BLOCK, *options, base=base)
    assert result.returncode == 0, result.stdout + result.stderr
    return World.load(base / name)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with two pods of 5.0, taken down when the session ends. Leave it as you found it."""
    base = tmp_path_factory.mktemp("worlds")
    name = f"test-{os.getpid()}"
    try:
        yield start_world(name, base, "--blue-replicas", "2")
    finally:
        down = rehearsal("down", "--name", name, base=base)
        assert down.returncode == 0, down.stderr
