"""deploy.yml run as people run it, against a world of the test's own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from rehearsal.world import World

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
INVENTORY = ROOT / "inventories" / "rehearsal" / "hosts.yml"


def command(playbook: str, **extra: Any) -> list[str]:
    """The command line of a playbook of the collection, with ``extra`` as ``-e``."""
    given = ["-e", json.dumps(extra)] if extra else []
    return [str(PROGRAM), "-i", str(INVENTORY), f"claude_enhancer.rollout.{playbook}", *given]


def environment(world: World) -> dict[str, str]:
    """What the command needs around it; logs and locks of watchdogs stay in the world's folder."""
    return {
        **os.environ,
        "REHEARSAL_WORLD": str(world.home / "world.json"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
        "ANSIBLE_STDOUT_CALLBACK": "claude_enhancer.rollout.release_clock",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(world.home / "ansible"),
        "XDG_STATE_HOME": str(world.home / "state"),
    }
