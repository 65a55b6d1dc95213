# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping the lock of a run beside it: renewed while it is at work, given back when it is gone."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import LockError, RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Hold
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import (
    boottime,
    forget_renewed,
    note_renewed,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process

_LOOK = 0.2
"""Seconds between two looks whether it is time."""
_AGAIN = 1.0
"""Seconds until a renewal that failed is tried again."""
_PATIENCE = 5.0


class Keeper:
    """Renews ``hold`` every third of its duration, as long as ``main`` isn't stopped: who stands still must lose it.

    It does so in a thread of its own, so that an API which doesn't answer keeps nobody from anything else. ``tell`` is
    called once the lock was lost to somebody.
    """

    def __init__(
        self,
        store: LeaseStore,
        hold: Hold,
        main: Process,
        log: t.Callable[[str], None],
        tell: t.Callable[[str], None],
    ) -> None:
        self._store = store
        self._hold = hold
        self._main = main
        self._log = log
        self._tell = tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def give_back(self) -> None:
        """The run is over, whoever comes next need not wait for its lock to run out."""
        self._ended.set()
        self._thread.join(_PATIENCE)
        forget_renewed(self._hold)
        try:
            if self._store.release(self._hold):
                self._log("the lock is given back")
        except RolloutError as error:
            self._log(f"the lock is left to run out: {error.message}")

    def _keep(self) -> None:
        due, failing = boottime(), False
        while not self._ended.wait(_LOOK):
            at = boottime()
            if at < due or self._main.stopped():
                continue
            try:
                self._store.renew(self._hold)
            except LockError as error:
                self._lose(error)
                return
            except RolloutError as error:
                if not failing:
                    self._log(f"the lock could not be renewed, trying again: {error.message}")
                due, failing = at + _AGAIN, True
                continue
            with contextlib.suppress(OSError):  # without the note taking back asks for the lock
                note_renewed(self._hold, at)
            due, failing = at + self._hold.duration / 3, False

    def _lose(self, error: LockError) -> None:
        forget_renewed(self._hold)
        self._log(error.message)
        if error.details["lock"]["holder"]:
            self._tell(error.message)
