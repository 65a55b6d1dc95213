# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking a snapshot, and looking whether one is still what it was."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.catalogue import (
    COMPLETE,
    Author,
    Catalogue,
    Copied,
    Snapshot,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.checksums import content
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DataSnapshotError,
    MissingTableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.locks import locked
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.names import copy_names, snapshot_name
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import identifier, literal, names
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import (
    Table,
    check_kinds,
    describe,
    schema_exists,
    sequence_states,
)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a snapshot is to be of, and whose it is."""

    application: str
    prefix: str
    version: str
    release_id: str | None
    tables: tuple[tuple[str, str], ...]
    author: Author


def take(
    database: Database, catalogue: Catalogue, wanted: Wanted, *, patience: float, clock: Clock, dry_run: bool = False
) -> tuple[Snapshot, bool]:
    """The snapshot, and whether it was taken now: a release that has one keeps it, since it is the state to return to.

    It is one transaction: all of it is there, or nothing. With ``dry_run`` all is done but for copying rows, and
    undone, so that a right that lacks is told. Raises the errors of ``database/errors.py``.
    """
    with database.alone(f"snapshots in {catalogue.schema}", patience):
        known = catalogue.of_release(wanted.application, wanted.release_id) if wanted.release_id else None
        if known is not None:
            return known, False
        found = _described(database, wanted.tables)
        # Locked before the transaction looks at anything: a TRUNCATE between that and the copy would empty it.
        try:
            with locked(database, found, "ACCESS SHARE", patience=patience, clock=clock, isolation="REPEATABLE READ"):
                snapshot = _taken(database, catalogue, wanted, clock.now(), with_data=not dry_run)
                if dry_run:
                    raise _OnlyTried(snapshot)
        except _OnlyTried as tried:
            return tried.snapshot, True
        return snapshot, True


class _OnlyTried(Exception):
    """Ends the transaction of a dry run, which undoes it."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot.name)
        self.snapshot = snapshot


def _taken(database: Database, catalogue: Catalogue, wanted: Wanted, at: float, *, with_data: bool) -> Snapshot:
    name = _free_name(database, wanted, at)
    snapshot = _snapshot(wanted, name, at, _copy(database, name, _described(database, wanted.tables), with_data))
    catalogue.make()
    catalogue.record(snapshot)
    return snapshot


def _described(database: Database, places: t.Sequence[tuple[str, str]]) -> list[Table]:
    tables = describe(database, places)
    there = {(table.schema, table.name) for table in tables}
    missing = [f"{schema}.{name}" for schema, name in places if (schema, name) not in there]
    if missing:
        raise MissingTableError(f"tables: {', '.join(missing)}: gone from {database.where}", missing=missing)
    check_kinds(tables)
    return tables


def _free_name(database: Database, wanted: Wanted, at: float) -> str:
    """A name no schema has: that of the moment, or of a second after it where two are taken within one."""
    while schema_exists(database, name := snapshot_name(wanted.prefix, wanted.version, at)):
        at += 1
    return name


def _copy(database: Database, schema: str, tables: t.Sequence[Table], with_data: bool) -> list[Copied]:
    database.run(f"CREATE SCHEMA {identifier(schema)}")
    copies = copy_names([(table.schema, table.name) for table in tables])
    found = []
    for table, copy in zip(tables, copies, strict=True):
        place = f"{identifier(schema)}.{identifier(copy)}"
        rows = "" if with_data else " WITH NO DATA"
        database.run(f"CREATE TABLE {place} AS SELECT {names(table.columns)} FROM {table.sql}{rows}")
        # Not only for speed: two rows of one key, from a broken index, would be noticed here.
        database.run(f"ALTER TABLE {place} ADD PRIMARY KEY ({names(table.key)})")
        database.run(f"COMMENT ON TABLE {place} IS {literal(f'{table} as it was; kept by claude_enhancer.rollout')}")
        kept = content(database, place, table.columns)
        facts = {**table.facts, "sequences": sequence_states(database, table)}
        found.append(Copied(dataclasses.replace(table, facts=facts), copy, kept.rows, kept.checksum))
    return found


def _snapshot(wanted: Wanted, name: str, at: float, copied: t.Sequence[Copied]) -> Snapshot:
    return Snapshot(
        name=name,
        application=wanted.application,
        version=wanted.version,
        release_id=wanted.release_id,
        taken_at=datetime.datetime.fromtimestamp(at, tz=datetime.UTC).isoformat(timespec="seconds"),
        taken_by=wanted.author.who,
        host=wanted.author.host,
        state=COMPLETE,
        tables=tuple(copied),
    )


def verify(database: Database, snapshot: Snapshot) -> Row:
    """Table → rows and checksum, as they were recorded and are.

    Raises DataSnapshotError naming every copy that isn't what was recorded.
    """
    seen: Row = {}
    problems: list[str] = []
    there = {table.name for table in describe(database, [(snapshot.name, each.copy) for each in snapshot.tables])}
    for copied in snapshot.tables:
        if copied.copy not in there:
            problems.append(f"the copy of {copied.table} is gone")
            continue
        rows, checksum = content(database, snapshot.place(copied), copied.table.columns)
        seen[str(copied.table)] = {"rows": rows, "checksum": checksum}
        if rows != copied.rows:
            problems.append(f"the copy of {copied.table} has {rows} rows, {copied.rows} were recorded")
        elif checksum != copied.checksum:
            problems.append(f"the copy of {copied.table} has checksum {checksum}, {copied.checksum} was recorded")
    if problems:
        raise DataSnapshotError(
            f"snapshot {snapshot.name} isn't what was taken: {'; '.join(problems)}; don't restore it, use another"
            " snapshot or an off-host dump",
            problems=problems,
            tables=seen,
        )
    return seen
