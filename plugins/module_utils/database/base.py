# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a way to a database is. Each way is a file of its own: ``direct.py`` through libpq, ``in_pod.py`` through psql
in a container.

A way sends one statement and hands back its rows as lines of JSON, so that both ways give the same values.
"""

from __future__ import annotations

import abc
import contextlib
import json
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DatabaseAwayError,
    DatabaseError,
    DatabaseLockedError,
    with_details,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import literal

Row = dict[str, t.Any]
Isolation = t.Literal["READ COMMITTED", "REPEATABLE READ"]
PROGRAM = "claude_enhancer.rollout"

# The text of a value depends on these, and checksums are made of texts.
_SETTINGS = {
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "DateStyle": "ISO, YMD",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    # Rows that a policy hides would be missing without a word; with this it is an error.
    "row_security": "off",
    # Who is stopped in the middle of a transaction doesn't hold its locks for ever.
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # A statement whose program was killed ends soon, not when it is through (PostgreSQL 14 and newer).
    "client_connection_check_interval": "2s",
}


class Answer(t.NamedTuple):
    """Lines of JSON, and the rows that the statement found or touched."""

    lines: list[str]
    touched: int


class Database(abc.ABC):
    """One session. ``where`` names the database in messages, without secrets.

    All methods raise the errors of ``database/errors.py``.
    """

    where: str

    @abc.abstractmethod
    def send(self, statement: str) -> Answer:
        """Run one statement; its first column, which must be text, is what the lines hold."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the session; a transaction that is open is rolled back."""

    def run(self, statement: str) -> int:
        """Run one statement that answers no rows; how many it touched."""
        return self.send(statement).touched

    def rows(self, query: str) -> list[Row]:
        """All rows of a query, or of a statement with RETURNING, each as column → JSON value."""
        answer = self.send(f"WITH q AS ({query}) SELECT row_to_json(q)::text FROM q")
        return [json.loads(line) for line in answer.lines]

    def row(self, query: str) -> Row:
        """The one row of a query. Raises DatabaseError where there is none."""
        found = self.rows(query)
        if not found:
            raise DatabaseError(f"{self.where}: a query that must answer one row answered none", sqlstate="")
        return found[0]

    def prepare(self, statement_timeout: float) -> None:
        """Settle what the session's answers depend on; ``statement_timeout`` in seconds, 0 for none."""
        settings = {
            **_SETTINGS,
            "application_name": PROGRAM,
            "statement_timeout": f"{round(statement_timeout * 1000)}ms",
        }
        known = ", ".join(literal(name.lower()) for name in settings)
        served = self.rows(f"SELECT name FROM pg_catalog.pg_settings WHERE lower(name) IN ({known})")
        names = {row["name"].lower() for row in served}
        changes = [
            f"set_config({literal(name)}, {literal(value)}, false)"
            for name, value in settings.items()
            if name.lower() in names
        ]
        self.rows(f"SELECT {', '.join(f'{change} AS c{number}' for number, change in enumerate(changes))}")

    def look_only_in_catalog(self) -> None:
        """From now on every name that isn't qualified is PostgreSQL's own, and every name it tells is qualified."""
        self.run("SET search_path = pg_catalog, pg_temp")

    # ---- transactions

    def begin(self, isolation: Isolation = "READ COMMITTED", *, read_only: bool = False) -> None:
        self.run(f"BEGIN ISOLATION LEVEL {isolation}{' READ ONLY' if read_only else ''}")

    def roll_back(self) -> None:
        """Undo the transaction; a connection that is gone has done so already."""
        with contextlib.suppress(DatabaseError):
            self.run("ROLLBACK")

    @contextlib.contextmanager
    def committing(self) -> t.Iterator[None]:
        """The rest of a transaction that was begun: committed at the end, undone by whatever else ends it."""
        try:
            yield
        except BaseException:
            self.roll_back()
            raise
        try:
            self.run("COMMIT")
        except DatabaseAwayError as error:
            raise with_details(
                error,
                f"{error.message}. The connection was lost while the work was being committed: it is there as a"
                " whole or not at all; action=status tells which",
            ) from error

    @contextlib.contextmanager
    def transaction(self, isolation: Isolation = "READ COMMITTED", *, read_only: bool = False) -> t.Iterator[None]:
        """All or nothing."""
        self.begin(isolation, read_only=read_only)
        with self.committing():
            yield

    # ---- one at a time

    @contextlib.contextmanager
    def alone(self, subject: str, patience: float) -> t.Iterator[None]:
        """Nobody else who asks for ``subject`` is at work meanwhile; waits ``patience`` seconds for them to end.

        Ends with the session, whatever becomes of this program. Raises DatabaseLockedError naming who is at work.
        """
        key = f"hashtextextended({literal(f'{PROGRAM} {subject}')}, 0)"
        self.run(f"SET lock_timeout = '{max(1, round(patience * 1000))}ms'")
        try:
            self.rows(f"SELECT pg_advisory_lock({key})::text AS done")
        except DatabaseLockedError as error:
            raise with_details(
                error, f"{self.where}: another run is at work on {subject} ({self._holders(key)}); wait until it ends"
            ) from error
        finally:
            with contextlib.suppress(DatabaseAwayError):
                self.run("SET lock_timeout = 0")
        try:
            yield
        finally:
            with contextlib.suppress(DatabaseError):
                self.rows(f"SELECT pg_advisory_unlock({key}) AS done")

    def _holders(self, key: str) -> str:
        holders = self.rows(
            "SELECT a.pid, a.usename, a.client_addr::text, a.backend_start::text FROM pg_locks l"
            " JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
            f" AND ((l.classid::bigint << 32) | l.objid::bigint) = {key}"
        )
        told = [
            f"pid {row['pid']}, role {row['usename']}, from {row['client_addr'] or 'a local socket'}, since"
            f" {row['backend_start']}"
            for row in holders
        ]
        return "; ".join(told) or "it has just ended"
