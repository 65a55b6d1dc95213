# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a table is made of, as PostgreSQL's catalogue tells it, and as a snapshot keeps it."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import MissingTableError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import literal, qualified
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

_ORDINARY, _PARTITIONED = "r", "p"
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "i": "an index"}

# format_type and the pg_get_… functions qualify every name that isn't PostgreSQL's own (see look_only_in_catalog).
_COLUMNS = """
SELECT coalesce(json_agg(json_build_object(
    'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
    'identity', a.attidentity, 'generated', a.attgenerated, 'default', pg_get_expr(d.adbin, d.adrelid),
    'collation', (SELECT quote_ident(n.nspname) || '.' || quote_ident(o.collname) FROM pg_collation o
        JOIN pg_namespace n ON n.oid = o.collnamespace JOIN pg_type t ON t.oid = a.atttypid
        WHERE o.oid = a.attcollation AND a.attcollation <> t.typcollation)) ORDER BY a.attnum), '[]')
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"""
_KEY = """
SELECT coalesce(json_agg(a.attname ORDER BY k.place), '[]')
FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts"""
_CONSTRAINTS = """
SELECT coalesce(json_agg(json_build_object('name', o.conname, 'type', o.contype,
    'definition', pg_get_constraintdef(o.oid)) ORDER BY o.conname), '[]')
FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype IN ('p', 'u', 'x', 'c', 'f')"""
_INDEXES = """
SELECT coalesce(json_agg(json_build_object('name', x.relname, 'definition', pg_get_indexdef(x.oid))
    ORDER BY x.relname), '[]')
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
WHERE i.indrelid = c.oid AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = x.oid AND o.conrelid = c.oid)"""
# Sequences of identity columns (i), of serial columns (a), and those that a default only names (d).
_SEQUENCES = """
SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', s.relname, 'column', a.attname, 'kind', u.kind,
    'type', format_type(q.seqtypid, NULL), 'start', q.seqstart, 'increment', q.seqincrement, 'min', q.seqmin,
    'max', q.seqmax, 'cache', q.seqcache, 'cycle', q.seqcycle) ORDER BY a.attnum), '[]')
FROM (SELECT objid AS sequence, refobjsubid AS attnum, deptype::text AS kind FROM pg_depend
      WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = c.oid
        AND deptype IN ('a', 'i') AND refobjsubid > 0
      UNION
      SELECT p.refobjid, f.adnum, 'd' FROM pg_attrdef f JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass
        AND p.objid = f.oid AND p.refclassid = 'pg_class'::regclass
      WHERE f.adrelid = c.oid AND NOT EXISTS (SELECT FROM pg_depend w WHERE w.classid = 'pg_class'::regclass
        AND w.objid = p.refobjid AND w.refobjid = c.oid AND w.deptype IN ('a', 'i'))) u
JOIN pg_class s ON s.oid = u.sequence AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_sequence q ON q.seqrelid = s.oid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum"""
_TABLES = f"""
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
    pg_get_userbyid(c.relowner) AS owner, ({_COLUMNS}) AS columns, ({_KEY}) AS key, ({_CONSTRAINTS}) AS constraints,
    ({_INDEXES}) AS indexes, ({_SEQUENCES}) AS sequences,
    c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid) AS has_children
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the application. ``facts`` is everything a snapshot keeps of its structure, as plain JSON."""

    schema: str
    name: str
    facts: Row

    @property
    def sql(self) -> str:
        return qualified(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def oid(self) -> int:
        return int(self.facts["oid"])

    @property
    def key(self) -> list[str]:
        """Columns of the primary key."""
        return list(self.facts["key"])

    @property
    def columns(self) -> list[str]:
        return [column["name"] for column in self.facts["columns"]]

    @property
    def types(self) -> dict[str, str]:
        return {column["name"]: column["type"] for column in self.facts["columns"]}

    @property
    def stored(self) -> list[str]:
        """Columns that hold what was written, not what is computed from others."""
        return [column["name"] for column in self.facts["columns"] if not column["generated"]]

    @property
    def sequences(self) -> list[Row]:
        return list(self.facts["sequences"])


def from_facts(facts: Row) -> Table:
    """The table that a snapshot recorded."""
    return Table(facts["schema"], facts["name"], facts)


def resolve(database: Database, names: t.Sequence[str]) -> list[tuple[str, str]]:
    """Schema and name of each table, read as PostgreSQL reads them: ``states``, ``public.states``, ``"Odd"."na me"``.

    To be called before :meth:`Database.look_only_in_catalog`. Raises MissingTableError naming all that aren't there.
    """
    if not names:
        raise InputError("tables: is empty; name those that hold the workflow state, such as public.workflow_states")
    found: list[tuple[str, str]] = []
    missing: list[str] = []
    for name in names:
        known = database.rows(
            "SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
            f" ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass({literal(name)})"
        )
        if known:
            found.append((known[0]["schema"], known[0]["name"]))
        else:
            missing.append(name)
    if missing:
        raise MissingTableError(
            f"tables: {', '.join(missing)}: no such table in {database.where}, or no right to its schema; check the"
            " names, and database.name",
            missing=missing,
        )
    return list(dict.fromkeys(found))


def describe(database: Database, tables: t.Iterable[tuple[str, str]]) -> list[Table]:
    """The structure of each (schema, name) that exists, in the order given."""
    wanted = list(tables)
    listed = ", ".join(f"({literal(schema)}, {literal(name)})" for schema, name in wanted)
    if not wanted:
        return []
    found = {
        (row["schema"], row["name"]): Table(row["schema"], row["name"], row)
        for row in database.rows(f"{_TABLES} WHERE (n.nspname, c.relname) IN ({listed}) AND c.relkind <> 'i'")
    }
    return [found[place] for place in wanted if place in found]


def schema_exists(database: Database, name: str) -> bool:
    return bool(database.rows(f"SELECT 1 AS one FROM pg_namespace WHERE nspname = {literal(name)}"))


def check_kinds(tables: t.Iterable[Table]) -> None:
    """Raises InputError naming each table that can't be kept row by row, and why."""
    problems = [f"{table} {problem}" for table in tables if (problem := _problem(table))]
    if problems:
        raise InputError(f"tables: {'; '.join(problems)}", problems=problems)


def _problem(table: Table) -> str:
    kind = table.facts["kind"]
    if kind not in (_ORDINARY, _PARTITIONED):
        return f"is {_KINDS.get(kind, 'no table')}: name the tables behind it"
    if table.facts["has_children"]:
        return "has tables that inherit from it: their rows can't be told from its own"
    if not table.key:
        return "has no primary key: its rows can't be told apart; give it one"
    return ""


def sequence_states(database: Database, table: Table) -> list[Row]:
    """The table's sequences with ``last_value`` and ``is_called`` as they are now."""
    found = []
    for sequence in table.sequences:
        now = database.row(f"SELECT last_value, is_called FROM {qualified(sequence['schema'], sequence['name'])}")
        found.append({**sequence, **now})
    return found
