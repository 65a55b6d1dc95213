# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong with a database, by what people do about it; and which of it a SQLSTATE stands for."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import RolloutError


class DatabaseError(RolloutError):
    """PostgreSQL refused a statement; ``sqlstate`` in the details says why."""


class DatabaseAwayError(DatabaseError):
    """No connection, or it was lost."""


class DatabaseForbiddenError(DatabaseError):
    """The credentials are wrong, or lack a right."""


class MissingTableError(DatabaseError):
    """A table, or a schema, isn't there."""


class DatabaseFullError(DatabaseError):
    """The database has no room left: disk, memory or connections."""


class DatabaseSlowError(DatabaseError):
    """A statement took longer than it may."""


class DatabaseLockedError(DatabaseError):
    """Others hold what has to be locked; ``blockers`` in the details says who."""


class DataIntegrityError(DatabaseError):
    """Rows that contradict each other, or aren't what they should be."""


class DataSnapshotError(RolloutError):
    """The snapshot isn't there, or isn't what was recorded of it."""


_Kind = type[DatabaseError]

# SQLSTATE, or its first characters, to the error and the way out.
_MEANINGS: dict[str, tuple[_Kind, str]] = {
    "08": (DatabaseAwayError, "see whether the server runs and can be reached"),
    "25006": (DatabaseError, "it is a standby or read-only, or writes are paused; see the message"),
    "28": (DatabaseForbiddenError, "check database.user and database.password, or the client certificate"),
    "3D000": (DatabaseForbiddenError, "check database.name"),
    "3F000": (MissingTableError, "check the names of the tables"),
    "42P01": (MissingTableError, "check the names of the tables"),
    "42501": (DatabaseForbiddenError, "grant the right, or use the role that owns the tables"),
    "53100": (DatabaseFullError, "its disk is full: make room, or run action=prune"),
    "53": (DatabaseFullError, "it has no room left: see its log"),
    "55P03": (DatabaseLockedError, "try again, or raise lock_timeout"),
    "40P01": (DatabaseLockedError, "others held what this needed, and the other way round; try again"),
    "57014": (DatabaseSlowError, "raise statement_timeout, or see what slows the server down"),
    "57P": (DatabaseAwayError, "the server is stopping or starting; try again"),
    "25P03": (DatabaseAwayError, "this program stood still for too long inside a transaction; try again"),
    "23": (DataIntegrityError, "see which rows contradict each other"),
}


def refusal(where: str, sqlstate: str, said: str) -> DatabaseError:
    """The error for what ``where`` (the database, without secrets) answered."""
    for length in (5, 3, 2):
        if sqlstate[:length] in _MEANINGS:
            kind, way_out = _MEANINGS[sqlstate[:length]]
            return kind(f"{where}: {_sentence(said)}; {way_out}", sqlstate=sqlstate)
    return DatabaseError(f"{where}: {_sentence(said)} (SQLSTATE {sqlstate or 'unknown'})", sqlstate=sqlstate)


# What a server says before it lets anyone in comes without a SQLSTATE.
_AT_THE_DOOR = (
    (("password authentication failed", "no password supplied", "peer authentication failed"), "28P01"),
    (("no pg_hba.conf entry", 'role "', "certificate authentication failed"), "28000"),
    (('database "',), "3D000"),
    (("remaining connection slots", "too many clients", "too many connections"), "53300"),
    (("starting up", "shutting down"), "57P03"),
)


def no_connection(where: str, said: str) -> DatabaseError:
    """The error for a connection that wasn't made; ``said`` is what libpq or psql told."""
    lowered = said.lower()
    for texts, sqlstate in _AT_THE_DOOR:
        if any(text in lowered for text in texts):
            return refusal(where, sqlstate, said)
    if "ssl" in lowered or "certificate" in lowered:
        way_out = "check database.sslmode and database.sslrootcert"
    else:
        way_out = "check database.host and database.port, or see whether the server runs"
    return DatabaseAwayError(f"{where} can't be reached: {_sentence(said or 'no answer')}; {way_out}", sqlstate="")


def _sentence(said: str) -> str:
    return " ".join(said.split()).rstrip(".") or "no reason given"


def with_details(error: DatabaseError, message: str, **details: t.Any) -> DatabaseError:
    """``error`` with another message and further details."""
    return type(error)(message, **{**error.details, **details})
