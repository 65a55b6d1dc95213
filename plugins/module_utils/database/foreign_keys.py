# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Foreign keys around tables whose rows are put back: taken off, and put on again, which proves every row.

With them in place a row that is replaced would take others with it (ON DELETE CASCADE) or could not go. All of it is
within one transaction, so nobody sees the tables without them.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DataIntegrityError,
    with_details,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import (
    identifier,
    literal,
    qualified,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import Table


@dataclasses.dataclass(frozen=True)
class ForeignKey:
    """A constraint as it was declared: rows of ``table`` refer to rows of ``referenced``; both are (schema, name)."""

    name: str
    table: tuple[str, str]
    referenced: tuple[str, str]
    definition: str
    comment: str | None

    @property
    def sql(self) -> str:
        return qualified(*self.table)


def around(database: Database, tables: t.Iterable[Table]) -> list[ForeignKey]:
    """Every foreign key from or to one of ``tables``; of a partitioned table the one that was declared."""
    oids = ", ".join(str(table.oid) for table in tables)
    rows = database.rows(
        "SELECT o.conname, n.nspname AS schema, c.relname AS table, m.nspname AS other_schema, r.relname AS other,"
        " pg_get_constraintdef(o.oid) AS definition, obj_description(o.oid, 'pg_constraint') AS comment"
        " FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_class r ON r.oid = o.confrelid JOIN pg_namespace m ON m.oid = r.relnamespace"
        f" WHERE o.contype = 'f' AND o.conparentid = 0 AND (o.conrelid IN ({oids}) OR o.confrelid IN ({oids}))"
        " ORDER BY n.nspname, c.relname, o.conname"
    )
    return [
        ForeignKey(
            row["conname"],
            (row["schema"], row["table"]),
            (row["other_schema"], row["other"]),
            row["definition"],
            row["comment"],
        )
        for row in rows
    ]


def take_off(database: Database, keys: t.Iterable[ForeignKey]) -> None:
    for key in keys:
        database.run(f"ALTER TABLE {key.sql} DROP CONSTRAINT {identifier(key.name)}")


def put_on(database: Database, keys: t.Iterable[ForeignKey], ours: t.Collection[tuple[str, str]]) -> None:
    """Declare the keys again. Raises DataIntegrityError naming the first that a row doesn't hold."""
    for key in keys:
        constraint = identifier(key.name)
        try:
            database.run(f"ALTER TABLE {key.sql} ADD CONSTRAINT {constraint} {key.definition}")
        except DataIntegrityError as error:
            table, referenced = ".".join(key.table), ".".join(key.referenced)
            way_out = (
                f"{table} isn't among the tables of the snapshot and refers to rows written since; keep it in the"
                " snapshot too, or remove those rows"
                if key.table not in ours
                else f"rows of {referenced} that it refers to are gone"
            )
            raise with_details(error, f"{error.message}: {table}, foreign key {key.name}: {way_out}") from error
        if key.comment is not None:
            database.run(f"COMMENT ON CONSTRAINT {constraint} ON {key.sql} IS {literal(key.comment)}")
