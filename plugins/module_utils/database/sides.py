# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two databases, or two sets of tables in one, compared row for row without carrying the rows here.

Each table is cut into parts by a hash of its keys, the same way on both sides whatever the type of the key or the order
of the server. Sums of the parts are compared; only of parts that differ the keys and hashes of rows are fetched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.checksums import (
    Content,
    as_content,
    bucket_of,
    bucket_query,
    row_hash,
    row_text,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import identifier, literal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import Table
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

BUCKETS = 1024
AT_ONCE = 64
"""Parts whose rows are fetched at a time."""
PAUSE = 1.0


class Side(t.NamedTuple):
    database: Database
    tables: list[Table]


@dataclasses.dataclass
class Difference:
    """What differs between two tables. ``complete`` is false where only the first keys were looked for."""

    rows: int = 0
    other_rows: int = 0
    missing: int = 0
    changed: int = 0
    surplus: int = 0
    complete: bool = True
    keys: list[Row] = dataclasses.field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not (self.missing or self.changed or self.surplus)

    def as_dict(self) -> Row:
        return {**dataclasses.asdict(self), "equal": self.equal}


def compare_sides(ours: Side, theirs: Side, limit: int, *, wait: float, clock: Clock) -> dict[str, Difference]:
    """Table of ours → how theirs differs: rows it misses, has changed, or has too many of, ``limit`` keys of a table.

    Where writers are at work, or rows take time to arrive, it is looked again for up to ``wait`` seconds until nothing
    differs. Raises InputError for tables that can't be compared.
    """
    _check(ours.tables, theirs.tables)
    deadline = clock.monotonic() + wait
    while True:
        found = _look(ours, theirs, limit)
        if all(difference.equal for difference in found.values()) or clock.monotonic() >= deadline:
            return found
        clock.sleep(PAUSE)


def _check(ours: t.Sequence[Table], theirs: t.Sequence[Table]) -> None:
    if len(ours) != len(theirs):
        raise InputError(f"other.tables: names {len(theirs)} tables to compare with {len(ours)} of tables")
    problems = [problem for one, other in zip(ours, theirs, strict=True) for problem in _problems(one, other)]
    if problems:
        raise InputError(f"tables can't be compared: {'; '.join(problems)}", problems=problems)


def _problems(one: Table, other: Table) -> t.Iterator[str]:
    for what, here, there in (("columns", one.columns, other.columns), ("primary key", one.key, other.key)):
        only_here, only_there = sorted(set(here) - set(there)), sorted(set(there) - set(here))
        if only_here or only_there:
            sides = ((one, only_here), (other, only_there))
            lacks = [f"{name} is only in {table}" for table, names in sides for name in names]
            yield f"{what} of {one} and {other} differ: {', '.join(lacks)}"


def _look(ours: Side, theirs: Side, limit: int) -> dict[str, Difference]:
    """One look, each side at one moment of its own."""
    with contextlib.ExitStack() as moments:
        for database in {id(side.database): side.database for side in (ours, theirs)}.values():
            moments.enter_context(database.transaction("REPEATABLE READ", read_only=True))
            # One side stands still while the other reads; no lock is held that anyone waits for.
            database.run("SET LOCAL idle_in_transaction_session_timeout = 0")
        return {
            str(one): _difference((ours.database, one), (theirs.database, other), limit)
            for one, other in zip(ours.tables, theirs.tables, strict=True)
        }


Place = tuple[Database, Table]


def _difference(one: Place, other: Place, limit: int) -> Difference:
    here, there = _buckets(one), _buckets(other)
    found = Difference(
        rows=sum(content.rows for content in here.values()), other_rows=sum(content.rows for content in there.values())
    )
    differing = sorted(bucket for bucket in here.keys() | there.keys() if here.get(bucket) != there.get(bucket))
    for start in range(0, len(differing), AT_ONCE):
        some = differing[start : start + AT_ONCE]
        _count(found, _rows_of(one, some), _rows_of(other, some))
        if len(found.keys) >= limit and start + AT_ONCE < len(differing):
            found.complete = False
            break
    del found.keys[limit:]
    return found


def _buckets(place: Place) -> dict[int, Content]:
    database, table = place
    rows = database.rows(bucket_query(table.sql, table.key, table.columns, BUCKETS))
    return {int(row["bucket"]): as_content(row) for row in rows}


def _rows_of(place: Place, buckets: t.Sequence[int]) -> dict[str, Row]:
    """Key as text → hash of the row, and the key as JSON."""
    database, table = place
    key = ", ".join(f"{literal(name)}, t.{identifier(name)}" for name in table.key)
    rows = database.rows(
        f"SELECT {row_text(table.key, 't')} AS id, {row_hash(table.columns, 't')} AS hash, json_build_object({key})"
        f" AS key FROM {table.sql} t WHERE {bucket_of(table.key, BUCKETS)} IN ({', '.join(map(str, buckets))})"
    )
    return {row["id"]: row for row in rows}


def _count(found: Difference, here: dict[str, Row], there: dict[str, Row]) -> None:
    for key in sorted(here.keys() | there.keys()):
        row, other = here.get(key), there.get(key)
        if other is None:
            what = "missing"
        elif row is None:
            what = "surplus"
        elif row["hash"] != other["hash"]:
            what = "changed"
        else:
            continue
        setattr(found, what, getattr(found, what) + 1)
        found.keys.append({"what": what, "key": (row or other or {})["key"]})
