# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sequences after a restore: never set back, so that no number is given out twice.

The rows kept aside, and everyone who has seen them, still go by their numbers.
"""

from __future__ import annotations

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import DataIntegrityError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import (
    identifier,
    literal,
    qualified,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import Table


def raise_sequences(database: Database, table: Table) -> list[str]:
    """Bring each sequence of ``table``, as the snapshot recorded it, past every number that is taken.

    Returns those that were behind. Raises DataIntegrityError where one can't be brought there. Raising a sequence isn't
    undone with the transaction; that skips numbers and harms nothing.
    """
    raised = []
    for sequence in table.sequences:
        needed = _needed(database, table, sequence)
        if needed is None or _is_past(database, sequence, needed):
            continue
        name = qualified(sequence["schema"], sequence["name"])
        database.rows(f"SELECT setval({literal(name)}::regclass, {literal(needed)}, true) AS value")
        if not _is_past(database, sequence, needed):
            raise DataIntegrityError(f"sequence {name} could not be brought to {needed}", sqlstate="")
        raised.append(f"{sequence['schema']}.{sequence['name']}")
    return raised


def _needed(database: Database, table: Table, sequence: Row) -> int | None:
    """The last number that is taken, by the snapshot's word and by the rows; None where none is."""
    taken = [int(sequence["last_value"])] if sequence["is_called"] else []
    numeric = table.types[sequence["column"]] in ("smallint", "integer", "bigint", "numeric")
    if numeric:
        furthest = "max" if int(sequence["increment"]) > 0 else "min"
        found = database.row(f"SELECT {furthest}({identifier(sequence['column'])})::bigint AS value FROM {table.sql}")
        taken += [int(found["value"])] if found["value"] is not None else []
    taken = [value for value in taken if int(sequence["min"]) <= value <= int(sequence["max"])]
    if not taken:
        return None
    return max(taken) if int(sequence["increment"]) > 0 else min(taken)


def _is_past(database: Database, sequence: Row, needed: int) -> bool:
    now = database.row(f"SELECT last_value, is_called FROM {qualified(sequence['schema'], sequence['name'])}")
    last, ascending = int(now["last_value"]), int(sequence["increment"]) > 0
    if not now["is_called"]:
        return last > needed if ascending else last < needed
    return last >= needed if ascending else last <= needed
