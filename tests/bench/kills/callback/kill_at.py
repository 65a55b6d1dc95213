"""Ends the whole process group of ansible-playbook with SIGKILL at the boundary before a task.

Callbacks take no arguments, so the environment says where: ``KILL_AT`` is the file of a :class:`Plan` as JSON.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Traces every boundary; kills at the one that is asked for, or at the next that is new."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_at"

    def __init__(self) -> None:
        super().__init__()
        plan = json.loads(Path(os.environ["KILL_AT"]).read_text())
        self._at: str | None = plan["at"]
        self._seen = set(plan["seen"])
        self._every: int = plan["every"]
        self._trace = Path(plan["trace"]).open("a")  # noqa: SIM115  # open until the kill
        self._play = ""
        self._new = 0

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play.get_name()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._boundary(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._boundary(task)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._pass("the end")

    def _boundary(self, task: Any) -> None:
        file, _colon, line = (task.get_path() or "").rpartition(":")
        place = f"{Path(file).parent.parent.name}/{Path(file).parent.name}/{Path(file).name}:{line}"
        self._pass(f"{self._play} | {place}")

    def _pass(self, boundary: str) -> None:
        new = boundary not in self._seen
        self._seen.add(boundary)
        self._new += new
        dies = boundary == self._at if self._at else new and self._new == self._every
        self._trace.write(json.dumps({"boundary": boundary, "killed": dies}) + "\n")
        self._trace.flush()
        if dies:
            os.killpg(os.getpgrp(), signal.SIGKILL)
