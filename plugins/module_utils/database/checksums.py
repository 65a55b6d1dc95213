# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many rows, and a checksum that doesn't depend on their order: made in the database, the same on any server.

Of each row's text (all columns by name) the SHA-256 is taken, and 128 bits of it are summed up in two halves. Unlike
an exclusive or, a sum tells a row that is there twice.
"""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import names

_HALF = 2**64


class Content(t.NamedTuple):
    rows: int
    checksum: str
    """32 hexadecimal digits."""


def row_text(columns: t.Iterable[str], alias: str) -> str:
    """An expression: the whole row as text, the columns in the order of their names."""
    return f"ROW({names(sorted(columns), alias)})::text"


def row_hash(columns: t.Iterable[str], alias: str) -> str:
    """An expression: SHA-256 of the row's text in UTF-8, in hexadecimal digits."""
    return f"encode(sha256(convert_to({row_text(columns, alias)}, 'UTF8')), 'hex')"


def half(hashed: str, number: int) -> str:
    """An expression: 64 of the bits in ``hashed`` as a bigint, the first (0) or the next (1)."""
    return f"('x' || substr({hashed}, {1 + 16 * number}, 16))::bit(64)::bigint"


def checksum(first: t.Any, second: t.Any) -> str:
    """Two sums as they come from the database, any whole numbers, as one checksum."""
    return f"{int(first) % _HALF:016x}{int(second) % _HALF:016x}"


def content(database: Database, table: str, columns: t.Sequence[str]) -> Content:
    """Rows and checksum of ``table`` (as SQL); it is read once."""
    # OFFSET 0 keeps the planner from hashing each row once for each half.
    hashed = f"SELECT {row_hash(columns, 't')} AS h FROM {table} t OFFSET 0"
    return as_content(database.row(f"SELECT count(*) AS rows, {_sums('h')} FROM ({hashed}) hashed"))


def as_content(found: Row) -> Content:
    return Content(int(found["rows"]), checksum(found["first"], found["second"]))


def _sums(hashed: str) -> str:
    return ", ".join(
        f"coalesce(sum({half(hashed, number)}), 0)::text AS {name}" for number, name in enumerate(("first", "second"))
    )


def bucket_query(table: str, key: t.Sequence[str], columns: t.Sequence[str], buckets: int) -> str:
    """A query: rows and sums of each of ``buckets`` parts of the table; a row's part depends on its key alone."""
    return (
        f"SELECT bucket, count(*) AS rows, {_sums('h')} FROM (SELECT {bucket_of(key, buckets)} AS bucket,"
        f" {row_hash(columns, 't')} AS h FROM {table} t OFFSET 0) hashed GROUP BY bucket"
    )


def bucket_of(key: t.Sequence[str], buckets: int) -> str:
    """An expression: in which of ``buckets`` (a power of two) parts the row ``t`` is."""
    return f"({half(row_hash(key, 't'), 0)} & {buckets - 1})"
