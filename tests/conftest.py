"""Let plain pytest import the collection by its full name, as Ansible does, and the helpers of the tests."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / "build" / "collections"


def link_collection() -> None:
    link = COLLECTIONS / "ansible_collections" / "claude_enhancer" / "rollout"
    link.parent.mkdir(parents=True, exist_ok=True)
    # It may have been made before, or just now by a worker beside this one.
    with contextlib.suppress(FileExistsError):
        link.symlink_to(ROOT, target_is_directory=True)


link_collection()
sys.path[:0] = [str(COLLECTIONS), str(ROOT)]
