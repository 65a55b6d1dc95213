# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database through libpq (psycopg): over TCP or a Unix socket, from the machine this runs on.

What isn't given as an option libpq takes from its environment: PGHOST, PGPASSWORD, PGPASSFILE, PGSERVICE and so on.
"""

from __future__ import annotations

import contextlib
import traceback
import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Answer, Database
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DatabaseError,
    no_connection,
    refusal,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, RolloutError

try:
    import psycopg
    from psycopg import conninfo
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None


class DirectDatabase(Database):
    """A session of psycopg. Raises RolloutError where the package isn't installed, InputError for a broken DSN."""

    def __init__(self, dsn: str, parameters: t.Mapping[str, t.Any]) -> None:
        if IMPORT_ERROR is not None:
            raise RolloutError(missing_required_lib("psycopg"), exception=IMPORT_ERROR)
        try:
            target = conninfo.make_conninfo(dsn, **parameters)
            facts = conninfo.conninfo_to_dict(target)
        except psycopg.ProgrammingError:
            # What libpq says of it could hold the password.
            raise InputError(
                "database.dsn: isn't a connection string; give postgresql://user@host:port/name or"
                " host=… port=… dbname=… user=…"
            ) from None
        self.where = _place(facts)
        try:
            self._connection = psycopg.connect(target, autocommit=True)
        except psycopg.Error as error:
            raise no_connection(self.where, str(error)) from error
        info = self._connection.info
        self.where = f"database {info.dbname} at {info.host or 'localhost'}:{info.port}"

    def send(self, statement: str) -> Answer:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement.encode())
                lines = [row[0] for row in cursor.fetchall()] if cursor.description else []
                return Answer(lines, max(0, cursor.rowcount))
        except psycopg.Error as error:
            raise self._refusal(error) from error

    def _refusal(self, error: psycopg.Error) -> DatabaseError:
        if self._connection.closed and not (error.sqlstate or "").startswith(("57P", "25P03")):
            return refusal(self.where, "08006", f"the connection was lost: {error}")
        said = error.diag.message_primary or str(error)
        detail = error.diag.message_detail
        return refusal(self.where, error.sqlstate or "", f"{said} ({detail})" if detail else said)

    def close(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._connection.close()


def _place(facts: t.Mapping[str, t.Any]) -> str:
    host = facts.get("host") or facts.get("hostaddr") or "the default host"
    port = f":{facts['port']}" if facts.get("port") else ""
    return f"database {facts.get('dbname') or facts.get('user') or 'by default'} at {host}{port}"
