# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changed in the live tables since a snapshot, told row by row within the database."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.catalogue import Copied, Snapshot
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.checksums import row_text
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DataIntegrityError,
    MissingTableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import identifier, names, same
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import Table, describe

ADDED, CHANGED, DELETED = "added", "changed", "deleted"


@dataclasses.dataclass(frozen=True)
class Pair:
    """A live table and its copy in a snapshot."""

    live: Table
    copied: Copied
    copy: str
    """The copy, as SQL."""

    @property
    def columns(self) -> list[str]:
        """The columns that the snapshot knows."""
        return self.copied.table.columns

    @property
    def newer_columns(self) -> list[str]:
        """Columns that the live table got since, but for computed ones."""
        return [name for name in self.live.stored if name not in self.columns]


def pairs(database: Database, snapshot: Snapshot) -> list[Pair]:
    """The snapshot's tables beside the live ones.

    Raises MissingTableError for a table that is gone, DataIntegrityError for one whose rows no longer fit: all at once.
    """
    places = [(copied.table.schema, copied.table.name) for copied in snapshot.tables]
    live = {(table.schema, table.name): table for table in describe(database, places)}
    missing = [str(each.table) for each in snapshot.tables if (each.table.schema, each.table.name) not in live]
    if missing:
        raise MissingTableError(
            f"{', '.join(missing)}: gone from {database.where} since snapshot {snapshot.name} was taken; make them anew"
            " (the snapshot's record and the off-host dump hold their structure), then try again",
            missing=missing,
        )
    found = [
        Pair(live[place], copied, snapshot.place(copied)) for place, copied in zip(places, snapshot.tables, strict=True)
    ]
    problems = [problem for pair in found for problem in _misfits(pair)]
    if problems:
        raise DataIntegrityError(
            f"rows of snapshot {snapshot.name} no longer fit: {'; '.join(problems)}; undo these changes of structure"
            " first",
            problems=problems,
            sqlstate="",
        )
    return found


def _misfits(pair: Pair) -> t.Iterator[str]:
    was, now = pair.copied.table, pair.live
    for name, kind in was.types.items():
        if name not in now.types:
            yield f"{now} has no column {name} any more"
        elif now.types[name] != kind:
            yield f"{now}.{name} is {now.types[name]}, and was {kind}"
    if sorted(now.key) != sorted(was.key):
        yield f"{now} has the primary key ({', '.join(now.key)}), and had ({', '.join(was.key)})"
    defaults = {column["name"]: column for column in now.facts["columns"]}
    for name in pair.newer_columns:
        column = defaults[name]
        if column["not_null"] and column["default"] is None and not column["identity"]:
            yield f"{now}.{name} is new, must not be NULL and has no default"


def structure_changes(found: t.Iterable[Pair]) -> list[str]:
    """What else people should know of: columns, constraints and indexes that came, went or changed."""
    told = []
    for pair in found:
        told += [f"column {pair.live}.{name} is new" for name in pair.newer_columns]
        for kind, word in (("constraints", "constraint"), ("indexes", "index")):
            was = {each["name"]: each["definition"] for each in pair.copied.table.facts[kind]}
            now = {each["name"]: each["definition"] for each in pair.live.facts[kind]}
            changed = (name for name in was.keys() & now.keys() if was[name] != now[name])
            told += [f"{word} {name} of {pair.live} is gone; it was: {was[name]}" for name in sorted(was.keys() - now)]
            told += [f"{word} {name} of {pair.live} is new" for name in sorted(now.keys() - was)]
            told += [f"{word} {name} of {pair.live} was {was[name]} and is {now[name]}" for name in sorted(changed)]
    return told


def difference_query(pair: Pair) -> str:
    """A query: the key and ``what`` (added, changed or deleted) of every row that isn't as it was.

    ``changed`` is judged by the row's text, which tells values apart that an operator may call equal.
    """
    key = pair.live.key
    text = "row_as_text"
    while text in key:
        text += "_"
    quoted = identifier(text)

    def side(table: str) -> str:
        return f"SELECT {names(key, 't')}, {row_text(pair.columns, 't')} AS {quoted} FROM {table} t"

    either = ", ".join(f"coalesce(l.{identifier(name)}, s.{identifier(name)}) AS {identifier(name)}" for name in key)
    return (
        f"SELECT {either}, CASE WHEN s.{quoted} IS NULL THEN '{ADDED}' WHEN l.{quoted} IS NULL THEN '{DELETED}'"
        f" ELSE '{CHANGED}' END AS {identifier(what_column(key))}"
        f" FROM ({side(pair.live.sql)}) l FULL JOIN ({side(pair.copy)}) s ON {same(key, 'l', 's')}"
        f" WHERE l.{quoted} IS DISTINCT FROM s.{quoted}"
    )


def what_column(key: t.Collection[str]) -> str:
    """The name of the column that says what happened to a row; none of the key's."""
    name = "what"
    while name in key:
        name += "_"
    return name


def compare(database: Database, snapshot: Snapshot, limit: int) -> tuple[Row, list[str]]:
    """Table → counts of added, changed and deleted rows, and up to ``limit`` keys of them; and what else changed.

    Reads at one moment.
    """
    found: Row = {}
    with database.transaction("REPEATABLE READ", read_only=True):
        both = pairs(database, snapshot)
        for pair in both:
            what = identifier(what_column(pair.live.key))
            counted = database.rows(
                f"SELECT d.{what} AS what, count(*) AS rows FROM ({difference_query(pair)}) d GROUP BY 1"
            )
            counts = {ADDED: 0, CHANGED: 0, DELETED: 0, **{row["what"]: row["rows"] for row in counted}}
            keys = _keys(database, pair, limit) if any(counts.values()) else []
            found[str(pair.live)] = {**counts, "keys": keys}
    return found, structure_changes(both)


def _keys(database: Database, pair: Pair, limit: int) -> list[Row]:
    what = what_column(pair.live.key)
    order = names(pair.live.key, "d")
    rows = database.rows(f"SELECT * FROM ({difference_query(pair)}) d ORDER BY {order} LIMIT {limit}")
    return [{"what": row.pop(what), "key": row} for row in rows]


def total(tables: Row) -> int:
    """Rows that differ, over all tables."""
    return sum(int(counts[what]) for counts in tables.values() for what in (ADDED, CHANGED, DELETED))
