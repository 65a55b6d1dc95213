# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting the rows of a snapshot back, in one transaction that is proven before it is committed.

In order: the snapshot is verified; writers are held off by a lock, and readers too where there are foreign keys; what
differs is found row by row; rows written since are kept in tables of their own; then, and only for rows that differ,
the old ones go and those of the snapshot come; foreign keys are declared anew, which proves them; rows, checksums and
sequences are looked at. Any doubt undoes all of it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database import foreign_keys, triggers
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.catalogue import (
    Author,
    Catalogue,
    Snapshot,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.checksums import content
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.differences import (
    ADDED,
    CHANGED,
    DELETED,
    Pair,
    difference_query,
    pairs,
    structure_changes,
    what_column,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DataIntegrityError,
    with_details,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.locks import (
    Mode,
    locked,
    until_locked,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.names import archive_name, free_name
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sequences import raise_sequences
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import (
    identifier,
    literal,
    names,
    qualified,
    same,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import schema_exists
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.take import verify


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a restore did: ``archive`` is the schema that keeps what was written since, None where there was nothing.

    ``tables`` is table → rows added, changed and deleted since the snapshot, all undone, and ``kept``, those of them in
    the archive. ``sequences`` are those that had fallen behind. ``structure`` tells what else changed since, and wasn't
    undone.
    """

    archive: str | None
    tables: Row
    sequences: list[str]
    structure: list[str]

    @property
    def changed(self) -> bool:
        return bool(self.sequences) or any(
            counts[what] for counts in self.tables.values() for what in (ADDED, CHANGED, DELETED)
        )


@dataclasses.dataclass(frozen=True)
class _Work:
    """A table with what differs in it: ``differences`` is a temporary table, as SQL."""

    pair: Pair
    differences: str
    counts: dict[str, int]

    @property
    def what(self) -> str:
        return identifier(what_column(self.pair.live.key))

    @property
    def kept(self) -> int:
        """Rows written since the snapshot."""
        return self.counts[ADDED] + self.counts[CHANGED]


def restore(
    database: Database,
    catalogue: Catalogue,
    snapshot: Snapshot,
    author: Author,
    reason: str,
    *,
    patience: float,
    clock: Clock,
) -> Restored:
    """Bring the live tables back to ``snapshot``. Where they are there already nothing changes.

    Raises DataSnapshotError for a snapshot that isn't what it was, DatabaseLockedError naming who holds the tables,
    DataIntegrityError where the result isn't exactly the snapshot: then all is as it was before.
    """
    with database.alone(f"snapshots in {catalogue.schema}", patience):
        verify(database, snapshot)
        live = [pair.live for pair in pairs(database, snapshot)]
        # Foreign keys can't be taken off while others read. Asking for the stronger lock only then would never end:
        # who read before and waits to write now would be waited for.
        mode: Mode = "ACCESS EXCLUSIVE" if foreign_keys.around(database, live) else "SHARE ROW EXCLUSIVE"

        def attempt() -> Restored:
            with locked(database, live, mode, patience=patience, clock=clock):
                restored = _restored(database, snapshot, _free_archive(database, snapshot, clock.now()))
                if restored.changed:
                    catalogue.record_restore(snapshot.name, restored.archive, author, reason, restored.tables)
                return restored

        try:
            return until_locked(attempt, database, live, mode, patience=patience, clock=clock)
        except DataIntegrityError as error:
            raise with_details(
                error,
                f"{error.message}. The restore of {snapshot.name} was rolled back: the tables are as they were, writes"
                " are allowed or paused as they were; people must look before anything else is tried",
            ) from error


def _free_archive(database: Database, snapshot: Snapshot, at: float) -> str:
    """A name no schema has: that of the moment, or of a second after it where two restores come within one."""
    while schema_exists(database, name := archive_name(snapshot.name, at)):
        at += 1
    return name


def _restored(database: Database, snapshot: Snapshot, archive: str) -> Restored:
    all_work = [_found(database, pair, number) for number, pair in enumerate(pairs(database, snapshot))]
    work = [each for each in all_work if any(each.counts.values())]
    if work:
        _replace(database, work, archive)
    raised = [name for each in all_work for name in raise_sequences(database, each.pair.copied.table)]
    for each in all_work:
        _prove(database, each.pair)
    tables = {str(each.pair.live): {**each.counts, "kept": each.kept} for each in all_work}
    structure = structure_changes(each.pair for each in all_work)
    return Restored(archive if any(each.kept for each in work) else None, tables, raised, structure)


def _found(database: Database, pair: Pair, number: int) -> _Work:
    table = f"pg_temp.{identifier(f'differences_{number}')}"
    database.run(f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS {difference_query(pair)}")
    database.run(f"ANALYZE {table}")
    what = identifier(what_column(pair.live.key))
    counted = database.rows(f"SELECT d.{what} AS what, count(*) AS rows FROM {table} d GROUP BY 1")
    counts = {ADDED: 0, CHANGED: 0, DELETED: 0, **{row["what"]: int(row["rows"]) for row in counted}}
    return _Work(pair, table, counts)


def _replace(database: Database, work: t.Sequence[_Work], archive: str) -> None:
    """Keep what was written since and put the snapshot's rows in place, foreign keys and triggers out of the way."""
    live = [each.pair.live for each in work]
    keys = foreign_keys.around(database, live)
    awake = [(table, triggers.of(database, table)) for table in live]
    for table, found in awake:
        if found:
            triggers.silence(database, table)
    foreign_keys.take_off(database, keys)
    if any(each.kept for each in work):
        database.run(f"CREATE SCHEMA {identifier(archive)}")
    for each in work:
        kept = qualified(archive, each.pair.copied.copy)
        if each.kept:
            _keep(database, each, kept)
        _swap(database, each, kept)
    foreign_keys.put_on(database, keys, {(table.schema, table.name) for table in live})
    for table, found in awake:
        triggers.wake(database, table, found)


def _keep(database: Database, work: _Work, kept: str) -> None:
    """Copy the rows written since to ``kept``, with why and when. Raises DataIntegrityError where any lacks."""
    live = work.pair.live
    because, when = (free_name(name, live.columns) for name in ("kept_because", "kept_at"))
    copied = database.run(
        f"CREATE TABLE {kept} AS SELECT {names(live.columns, 't')}, d.{work.what} AS {identifier(because)},"
        f" now() AS {identifier(when)} FROM {live.sql} t JOIN {work.differences} d ON {same(live.key, 't', 'd')}"
        f" WHERE d.{work.what} IN ('{ADDED}', '{CHANGED}')"
    )
    note = f"rows of {live} written since the snapshot {work.pair.copy} and kept aside by a restore of it"
    database.run(f"COMMENT ON TABLE {kept} IS {literal(note)}")
    if copied != work.kept:
        raise DataIntegrityError(
            f"{live}: {work.kept} rows were to be kept aside, {copied} were", sqlstate="", table=str(live)
        )


def _swap(database: Database, work: _Work, kept: str) -> None:
    """Remove the rows written since, and put the snapshot's in their place; columns newer than it keep their values."""
    live, what = work.pair.live, work.what
    database.run(
        f"DELETE FROM {live.sql} t USING {work.differences} d WHERE {same(live.key, 't', 'd')}"
        f" AND d.{what} IN ('{ADDED}', '{CHANGED}')"
    )
    columns = [name for name in work.pair.columns if name in live.stored]
    newer = work.pair.newer_columns
    found = f"FROM {work.pair.copy} s JOIN {work.differences} d ON {same(live.key, 's', 'd')}"
    if newer and work.counts[CHANGED]:
        database.run(
            f"INSERT INTO {live.sql} ({names(columns + newer)}) OVERRIDING SYSTEM VALUE"
            f" SELECT {names(columns, 's')}, {names(newer, 'k')} {found} JOIN {kept} k ON {same(live.key, 's', 'k')}"
            f" WHERE d.{what} = '{CHANGED}'"
        )
    wanted = f"'{DELETED}'" if newer else f"'{CHANGED}', '{DELETED}'"
    database.run(
        f"INSERT INTO {live.sql} ({names(columns)}) OVERRIDING SYSTEM VALUE SELECT {names(columns, 's')} {found}"
        f" WHERE d.{what} IN ({wanted})"
    )


def _prove(database: Database, pair: Pair) -> None:
    """Raises DataIntegrityError where the live table isn't exactly what the snapshot recorded."""
    now = content(database, pair.live.sql, pair.columns)
    if (now.rows, now.checksum) == (pair.copied.rows, pair.copied.checksum):
        return
    raise DataIntegrityError(
        f"verification failed: {pair.live} would have {now.rows} rows with checksum {now.checksum}, the snapshot has"
        f" {pair.copied.rows} with {pair.copied.checksum}",
        sqlstate="",
        table=str(pair.live),
    )
