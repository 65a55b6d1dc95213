"""PostgreSQL as a pod uses it: few connections, quick refusal when it is away, no action needed when it is back.

``python -m rehearsal.app.database DSN`` applies the schema.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

SCHEMA = Path(__file__).with_name("schema.sql")
CONNECTIONS = 2
ACQUIRE_TIMEOUT = 1.0
COMMAND_TIMEOUT = 1.0
CLOSE_TIMEOUT = 0.5

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,
)


class DatabaseAway(Exception):
    """The database can't be used now; the message says why."""


class Database:
    """A pool of at most ``CONNECTIONS`` connections, made when needed and again after a loss."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Get ready to connect; needs no database."""
        # reset: nothing here leaves state behind in a session, so the query asyncpg sends by default after each
        # use is a round trip saved.
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=CONNECTIONS,
            max_inactive_connection_lifetime=0,
            command_timeout=COMMAND_TIMEOUT,
            reset=_keep,
        )

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """All rows. Raises DatabaseAway within about two seconds."""
        async with self._connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *values)
            return rows

    async def fetchrow(self, sql: str, *values: Any) -> asyncpg.Record | None:
        """The first row or None. Raises DatabaseAway within about two seconds."""
        async with self._connection() as connection:
            row: asyncpg.Record | None = await connection.fetchrow(sql, *values)
            return row

    async def problem(self) -> str | None:
        """Why the database can't be used, or None."""
        try:
            await self.fetchrow("SELECT 1")
        except DatabaseAway as error:
            return str(error)
        return None

    async def close(self) -> None:
        """Give back the connections, by force when that takes too long."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_TIMEOUT)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._pool is None:
            raise DatabaseAway("not opened")
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
                yield connection
        except _AWAY as error:
            raise DatabaseAway(str(error) or "no answer in time") from error


async def apply_schema(dsn: str) -> None:
    """Create what is missing. Raises DatabaseAway or asyncpg.PostgresError."""
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except _AWAY as error:
        raise DatabaseAway(str(error)) from error
    try:
        async with connection.transaction():
            await connection.execute(SCHEMA.read_text())
    finally:
        await connection.close()


async def _keep(_connection: Any) -> None:
    """Leave the session as it is."""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m rehearsal.app.database DSN")
    try:
        asyncio.run(apply_schema(sys.argv[1]))
    except DatabaseAway as error:
        sys.exit(f"the database can't be reached: {error}")


if __name__ == "__main__":
    main()
