"""workflow_snapshot as a process of its own, so that a test can kill it: ``python -m tests.integration.snapshot_process
ARGUMENTS``, the module's options in JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import tests.conftest  # noqa: F401  (the collection's place)
from tests.integration.postgres_server import Place


def start(place: Place, action: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start the module on ``place`` and return at once."""
    arguments = {"action": action, "database": place.options(), **options}
    command = [sys.executable, "-m", "tests.integration.snapshot_process", json.dumps(arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def main() -> None:
    from ansible.module_utils.testing import patch_module_args

    from ansible_collections.claude_enhancer.rollout.plugins.modules import workflow_snapshot

    with patch_module_args(json.loads(sys.argv[1])):
        workflow_snapshot.main()


if __name__ == "__main__":
    main()
