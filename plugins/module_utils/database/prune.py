# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing snapshots that are older than they are kept."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.catalogue import (
    COMPLETE,
    Catalogue,
    Snapshot,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.names import Kept, to_prune
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import identifier


def prune(
    database: Database,
    catalogue: Catalogue,
    application: str,
    keep_days: float,
    protected: t.Collection[str],
    *,
    patience: float,
    clock: Clock,
    dry_run: bool = False,
) -> list[str]:
    """Remove the application's snapshots that retention lets go, each in a transaction of its own; their names.

    The record of them stays. Something else that lies in a snapshot's schema is an error, not removed with it. What
    restores kept aside is never removed here.
    """
    with database.alone(f"snapshots in {catalogue.schema}", patience):
        there = {
            each.name: each for each in catalogue.all() if each.application == application and each.state == COMPLETE
        }
        kept = [Kept(each.name, each.application, each.release_id, _unix(each.taken_at)) for each in there.values()]
        found = to_prune(kept, clock.now(), keep_days, protected)
        for name in [] if dry_run else found:
            _remove(database, catalogue, there[name])
        return found


def _unix(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def _remove(database: Database, catalogue: Catalogue, snapshot: Snapshot) -> None:
    with database.transaction():
        for copied in snapshot.tables:
            database.run(f"DROP TABLE IF EXISTS {snapshot.place(copied)}")
        database.run(f"DROP SCHEMA IF EXISTS {identifier(snapshot.name)}")
        catalogue.record_pruned(snapshot.name)
