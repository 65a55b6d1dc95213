# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Triggers of tables whose rows are put back: silent meanwhile, since a row must come back as it was."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import identifier
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import Table

_ENABLE = {"O": "ENABLE TRIGGER", "R": "ENABLE REPLICA TRIGGER", "A": "ENABLE ALWAYS TRIGGER"}


def of(database: Database, table: Table) -> list[Row]:
    """Name and state (``O``, ``R``, ``A``, ``D``) of the triggers that people made, all but the disabled ones."""
    return database.rows(
        f"SELECT tgname AS name, tgenabled AS state FROM pg_trigger WHERE tgrelid = {table.oid} AND NOT tgisinternal"
        " AND tgenabled <> 'D' ORDER BY tgname"
    )


def silence(database: Database, table: Table) -> None:
    database.run(f"ALTER TABLE {table.sql} DISABLE TRIGGER USER")


def wake(database: Database, table: Table, triggers: t.Iterable[Row]) -> None:
    """Bring ``triggers``, as :func:`of` told them, back to the state they had."""
    for trigger in triggers:
        database.run(f"ALTER TABLE {table.sql} {_ENABLE[trigger['state']]} {identifier(trigger['name'])}")
