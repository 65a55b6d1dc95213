# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of all snapshots and restores, in a schema of its own in the database they are of."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import DataSnapshotError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import identifier, literal, qualified
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import (
    Table,
    from_facts,
    schema_exists,
)

SCHEMA_VERSION = 1
COMPLETE, PRUNED = "complete", "pruned"


class Author(t.Protocol):
    """Who acts, from which machine."""

    @property
    def who(self) -> str: ...

    @property
    def host(self) -> str: ...


@dataclasses.dataclass(frozen=True)
class Copied:
    """A table of a snapshot: as it was, and where its copy is."""

    table: Table
    copy: str
    rows: int
    checksum: str

    def as_dict(self) -> Row:
        return {**self.table.facts, "copy": self.copy, "rows": self.rows, "checksum": self.checksum}


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A snapshot as it was recorded; its copies are in the schema of its name."""

    name: str
    application: str
    version: str
    release_id: str | None
    taken_at: str
    taken_by: str
    host: str
    state: str
    tables: tuple[Copied, ...]

    @property
    def rows(self) -> int:
        return sum(copied.rows for copied in self.tables)

    def place(self, copied: Copied) -> str:
        """The copy, as SQL."""
        return qualified(self.name, copied.copy)

    def as_dict(self) -> Row:
        """For people and playbooks: no structure, only what was kept."""
        tables = {str(each.table): {"rows": each.rows, "checksum": each.checksum} for each in self.tables}
        keys = ("name", "application", "version", "release_id", "taken_at", "taken_by", "host", "state", "rows")
        return {**{key: getattr(self, key) for key in keys}, "tables": tables}


class Catalogue:
    """The record in ``schema``. It is made by the first snapshot; before that it reads as empty."""

    def __init__(self, database: Database, schema: str) -> None:
        self.schema = schema
        self._database = database
        self.snapshots = qualified(schema, "snapshots")
        self.restores = qualified(schema, "restores")

    def exists(self) -> bool:
        found = self._database.rows(
            "SELECT 1 AS one FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE n.nspname = {literal(self.schema)} AND c.relname = 'snapshots'"
        )
        return bool(found)

    def make(self) -> None:
        """Make what isn't there yet. Within a transaction it is undone with it."""
        self.make_schema()
        if self.exists():
            return
        run = self._database.run
        run(
            f"CREATE TABLE {self.snapshots} (name text PRIMARY KEY, application text NOT NULL, version text NOT NULL,"
            " release_id text, taken_at timestamptz NOT NULL, taken_by text NOT NULL, host text NOT NULL,"
            f" state text NOT NULL DEFAULT '{COMPLETE}' CHECK (state IN ('{COMPLETE}', '{PRUNED}')),"
            " pruned_at timestamptz, rows bigint NOT NULL, tables jsonb NOT NULL,"
            f" schema_version integer NOT NULL DEFAULT {SCHEMA_VERSION})"
        )
        # Two runs of one release never keep two states to return to.
        run(
            f"CREATE UNIQUE INDEX snapshots_release ON {self.snapshots} (application, release_id)"
            f" WHERE state = '{COMPLETE}'"
        )
        run(
            f"CREATE TABLE {self.restores} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, snapshot text NOT NULL,"
            " archive text, restored_at timestamptz NOT NULL, restored_by text NOT NULL, host text NOT NULL,"
            " reason text, tables jsonb NOT NULL)"
        )

    def make_schema(self) -> None:
        """Make the schema alone."""
        if not schema_exists(self._database, self.schema):
            self._database.run(f"CREATE SCHEMA {identifier(self.schema)}")

    # ---- reading

    def all(self) -> list[Snapshot]:
        """Every snapshot ever taken, oldest first."""
        return self._read("true") if self.exists() else []

    def get(self, name: str) -> Snapshot:
        """The snapshot ``name``. Raises DataSnapshotError where there is none, or it was pruned."""
        known = self.all()
        found = next((snapshot for snapshot in known if snapshot.name == name), None)
        complete = [snapshot.name for snapshot in known if snapshot.state == COMPLETE]
        if found is None:
            others = f"the last ones are {', '.join(complete[-5:])}" if complete else "there is none"
            raise DataSnapshotError(
                f"name: {name} is no snapshot in {self._database.where}; {others}", snapshots=complete
            )
        if found.state != COMPLETE:
            raise DataSnapshotError(f"name: snapshot {name} is {found.state}: its rows are gone", snapshots=complete)
        return found

    def newest(self, application: str) -> Snapshot:
        """The last complete snapshot of ``application``. Raises DataSnapshotError where there is none."""
        complete = [each for each in self.all() if each.application == application and each.state == COMPLETE]
        if not complete:
            raise DataSnapshotError(
                f"name: there is no snapshot of {application} in {self._database.where}; take one first"
            )
        return complete[-1]

    def of_release(self, application: str, release_id: str) -> Snapshot | None:
        """The complete snapshot that release ``release_id`` took."""
        if not self.exists():
            return None
        found = self._read(
            f"application = {literal(application)} AND release_id = {literal(release_id)} AND state = '{COMPLETE}'"
        )
        return found[0] if found else None

    def recorded_restores(self) -> list[Row]:
        """The restores that changed anything, oldest first."""
        if not self.exists():
            return []
        return self._database.rows(f"SELECT * FROM {self.restores} ORDER BY id")

    def _read(self, condition: str) -> list[Snapshot]:
        rows = self._database.rows(f"SELECT * FROM {self.snapshots} WHERE {condition} ORDER BY taken_at, name")
        return [_as_snapshot(row) for row in rows]

    # ---- writing

    def record(self, snapshot: Snapshot) -> None:
        values = (
            literal(snapshot.name),
            literal(snapshot.application),
            literal(snapshot.version),
            literal(snapshot.release_id),
            literal(snapshot.taken_at),
            literal(snapshot.taken_by),
            literal(snapshot.host),
            literal(snapshot.rows),
            literal([copied.as_dict() for copied in snapshot.tables]),
        )
        self._database.run(
            f"INSERT INTO {self.snapshots} (name, application, version, release_id, taken_at, taken_by, host, rows,"
            f" tables) VALUES ({', '.join(values)})"
        )

    def record_pruned(self, name: str) -> None:
        self._database.run(
            f"UPDATE {self.snapshots} SET state = '{PRUNED}', pruned_at = now() WHERE name = {literal(name)}"
        )

    def record_restore(self, snapshot: str, archive: str | None, author: Author, reason: str, tables: Row) -> None:
        self._database.run(
            f"INSERT INTO {self.restores} (snapshot, archive, restored_at, restored_by, host, reason, tables) VALUES"
            f" ({literal(snapshot)}, {literal(archive)}, now(), {literal(author.who)}, {literal(author.host)},"
            f" {literal(reason)}, {literal(tables)})"
        )


def _as_snapshot(row: Row) -> Snapshot:
    if row["schema_version"] > SCHEMA_VERSION:
        raise DataSnapshotError(
            f"snapshot {row['name']} was recorded by a newer version of claude_enhancer.rollout (schema"
            f" {row['schema_version']}, this one reads {SCHEMA_VERSION}); use that version"
        )
    tables = tuple(
        Copied(from_facts(facts), facts["copy"], int(facts["rows"]), facts["checksum"]) for facts in row["tables"]
    )
    return Snapshot(
        name=row["name"],
        application=row["application"],
        version=row["version"],
        release_id=row["release_id"],
        taken_at=row["taken_at"],
        taken_by=row["taken_by"],
        host=row["host"],
        state=row["state"],
        tables=tables,
    )
