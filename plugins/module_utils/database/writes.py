# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pausing writes to tables, for people: by a trigger that refuses them, in every session, until it is taken away.

A trigger bites at the next statement of every session and of every role, survives reconnects and restarts, and is seen
by whoever looks at the table. What it does not hold up: a superuser who switches triggers off, and the apply of logical
replication (session_replication_role = replica), which brings rows that were written elsewhere.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.catalogue import Author, Catalogue
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.locks import locked
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import (
    identifier,
    literal,
    qualified,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import Table

TRIGGER = "release_writes_paused"
FUNCTION = "refuse_writes"
_REFUSE = """
BEGIN
    RAISE EXCEPTION 'writes to %.% are paused since % by %: %',
        TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0], TG_ARGV[1], TG_ARGV[2]
        USING ERRCODE = 'read_only_sql_transaction', HINT = 'workflow_snapshot with action=resume allows them again.';
END"""


class Pause(t.NamedTuple):
    """Writes to ``table`` (schema.name) are refused."""

    table: str
    since: str
    by: str
    reason: str


def paused(database: Database) -> list[Pause]:
    """Every table of the database whose writes are paused, as the database itself knows it."""
    return [Pause(f"{row['schema']}.{row['name']}", *_arguments(row["arguments"])) for row in _triggers(database)]


def paused_places(database: Database) -> list[tuple[str, str]]:
    """The same tables as schema and name."""
    return [(row["schema"], row["name"]) for row in _triggers(database)]


def _triggers(database: Database) -> list[Row]:
    return database.rows(
        "SELECT n.nspname AS schema, c.relname AS name, encode(g.tgargs, 'hex') AS arguments FROM pg_trigger g"
        " JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE g.tgname = {literal(TRIGGER)} AND NOT g.tgisinternal ORDER BY 1, 2"
    )


def _arguments(encoded: str) -> list[str]:
    words = [word.decode(errors="replace") for word in bytes.fromhex(encoded).split(b"\0")]
    return (words + ["", "", ""])[:3]


def pause(
    database: Database,
    catalogue: Catalogue,
    tables: t.Sequence[Table],
    author: Author,
    reason: str,
    *,
    patience: float,
    clock: Clock,
) -> list[str]:
    """Refuse writes to ``tables`` from now on; those that weren't paused yet. A write that is under way ends first.

    Raises DatabaseLockedError naming whose write doesn't end.
    """
    with database.alone(f"snapshots in {catalogue.schema}", patience):
        known = {each.table for each in paused(database)}
        wanted = [table for table in _with_partitions(database, tables) if str(table) not in known]
        if not wanted:
            return []
        since = datetime.datetime.fromtimestamp(clock.now(), tz=datetime.UTC).isoformat(timespec="seconds")
        words = ", ".join(literal(word) for word in (since, f"{author.who} on {author.host}", reason or "no reason"))
        with locked(database, wanted, "SHARE ROW EXCLUSIVE", patience=patience, clock=clock):
            catalogue.make_schema()
            function = qualified(catalogue.schema, FUNCTION)
            database.run(
                f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {literal(_REFUSE)}"
            )
            for table in wanted:
                database.run(
                    f"CREATE TRIGGER {identifier(TRIGGER)} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table.sql}"
                    f" FOR EACH STATEMENT EXECUTE FUNCTION {function}({words})"
                )
        return [str(table) for table in wanted]


def resume(
    database: Database, catalogue: Catalogue, tables: t.Sequence[Table], *, patience: float, clock: Clock
) -> list[str]:
    """Allow writes to ``tables`` again; those that were paused."""
    with database.alone(f"snapshots in {catalogue.schema}", patience):
        known = {each.table for each in paused(database)}
        wanted = [table for table in _with_partitions(database, tables) if str(table) in known]
        if wanted:
            with locked(database, wanted, "ACCESS EXCLUSIVE", patience=patience, clock=clock):
                for table in wanted:
                    database.run(f"DROP TRIGGER {identifier(TRIGGER)} ON {table.sql}")
        return [str(table) for table in wanted]


def _with_partitions(database: Database, tables: t.Sequence[Table]) -> list[Table]:
    """``tables`` and their partitions, since a statement may name a partition itself."""
    found = list(tables)
    for table in tables:
        if table.facts["kind"] == "p":
            rows: list[Row] = database.rows(
                "SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind"
                f" FROM pg_partition_tree({table.oid}) p JOIN pg_class c ON c.oid = p.relid"
                " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.level > 0 ORDER BY 2, 3"
            )
            found += [Table(row["schema"], row["name"], row) for row in rows]
    return found
