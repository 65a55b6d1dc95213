# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks on tables: asked for in short tries, so that nobody queues for long behind one that isn't granted.

A lock that waits holds up everyone who comes after it, readers too. So each try gives up before PostgreSQL looks for
deadlocks (after a second, by default): it is then never the application's statement that is ended.
"""

from __future__ import annotations

import contextlib
import itertools
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Isolation
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DatabaseError,
    DatabaseLockedError,
    with_details,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import literal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import Table

Mode = t.Literal["ACCESS SHARE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"]
TRY = 0.6
PAUSE = 0.3
_ALL = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_IN_THE_WAY: dict[Mode, tuple[str, ...]] = {
    "ACCESS SHARE": _ALL[7:],
    "SHARE ROW EXCLUSIVE": _ALL[2:],
    "ACCESS EXCLUSIVE": _ALL,
}

Done = t.TypeVar("Done")


@contextlib.contextmanager
def locked(
    database: Database,
    tables: t.Sequence[Table],
    mode: Mode,
    *,
    patience: float,
    clock: Clock,
    isolation: Isolation = "READ COMMITTED",
) -> t.Iterator[None]:
    """A transaction that has ``tables`` in ``mode`` before it looks at anything, tried for ``patience`` seconds.

    Raises DatabaseLockedError naming who was in the way. A further lock within it is waited for no longer than a try.
    """
    # The application locks its tables in an order of its own: against it, each try would end in each other's way.
    orders = itertools.cycle((list(tables), list(reversed(tables))))
    until_locked(
        lambda: _begin(database, next(orders), mode, isolation), database, tables, mode, patience=patience, clock=clock
    )
    with database.committing():
        yield


def until_locked(
    attempt: t.Callable[[], Done],
    database: Database,
    tables: t.Sequence[Table],
    mode: Mode,
    *,
    patience: float,
    clock: Clock,
) -> Done:
    """What ``attempt`` returns, tried for ``patience`` seconds as long as it is others' locks that end it.

    Raises DatabaseLockedError naming who holds ``tables`` against ``mode``.
    """
    deadline = clock.monotonic() + patience
    while True:
        try:
            return attempt()
        except DatabaseLockedError as error:
            if clock.monotonic() >= deadline:
                raise _told(database, error, tables, mode, patience) from error
        clock.sleep(PAUSE)


def _begin(database: Database, tables: t.Sequence[Table], mode: Mode, isolation: Isolation) -> None:
    """Begin a transaction that has the locks, and waits for none longer than a try."""
    database.begin(isolation)
    try:
        database.run(f"SET LOCAL lock_timeout = '{round(TRY * 1000)}ms'")
        for table in tables:
            database.run(f"LOCK TABLE {table.sql} IN {mode} MODE")
    except BaseException:
        database.roll_back()
        raise


def _told(
    database: Database, error: DatabaseLockedError, tables: t.Sequence[Table], mode: Mode, patience: float
) -> DatabaseError:
    if "blockers" in error.details:
        return error
    blockers = _blockers(database, tables, mode)
    who = "; ".join(blockers) or "whoever it was has just ended"
    return with_details(
        error,
        f"{database.where}: {', '.join(map(str, tables))} could not be locked within {patience:g} s (lock_timeout),"
        f" held by: {who}; wait for them, end them, or raise lock_timeout",
        blockers=blockers,
    )


def _blockers(database: Database, tables: t.Sequence[Table], mode: Mode) -> list[str]:
    oids = ", ".join(str(table.oid) for table in tables)
    modes = ", ".join(literal(name) for name in _IN_THE_WAY[mode])
    rows = database.rows(
        "SELECT a.pid, a.usename, a.application_name, a.client_addr::text, a.state,"
        " round(extract(epoch FROM now() - a.xact_start)) AS seconds, array_agg(DISTINCT l.relation::regclass::text)"
        " AS tables FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'relation'"
        f" AND l.granted AND l.relation IN ({oids}) AND l.mode IN ({modes}) AND l.pid <> pg_backend_pid()"
        " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 6 DESC NULLS LAST LIMIT 5"
    )
    return [
        f"pid {row['pid']} (role {row['usename']}, {row['application_name'] or 'no application name'}, from"
        f" {row['client_addr'] or 'a local socket'}, {row['state'] or 'state not shown'} for {row['seconds'] or 0} s,"
        f" on {', '.join(row['tables'])})"
        for row in rows
    ]
