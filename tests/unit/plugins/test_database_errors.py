"""What a database answers, as what people can do about it; and psql's answers read back."""

from __future__ import annotations

from collections import deque

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DatabaseAwayError,
    DatabaseError,
    DatabaseForbiddenError,
    DatabaseFullError,
    DatabaseLockedError,
    DatabaseSlowError,
    DataIntegrityError,
    MissingTableError,
    no_connection,
    refusal,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.psql import PsqlDatabase

WHERE = "database claude at db:5432"


@pytest.mark.parametrize(
    ("sqlstate", "kind", "way_out"),
    [
        ("08006", DatabaseAwayError, "see whether the server runs"),
        ("28P01", DatabaseForbiddenError, "database.password"),
        ("42501", DatabaseForbiddenError, "grant the right"),
        ("42P01", MissingTableError, "names of the tables"),
        ("53100", DatabaseFullError, "disk is full"),
        ("53300", DatabaseFullError, "no room left"),
        ("55P03", DatabaseLockedError, "lock_timeout"),
        ("57014", DatabaseSlowError, "statement_timeout"),
        ("57P01", DatabaseAwayError, "stopping or starting"),
        ("23503", DataIntegrityError, "contradict each other"),
        ("XX000", DatabaseError, "SQLSTATE XX000"),
    ],
)
def test_a_sqlstate_says_what_can_be_done(sqlstate: str, kind: type[DatabaseError], way_out: str) -> None:
    error = refusal(WHERE, sqlstate, "it said\n so.")
    assert type(error) is kind
    assert error.message.startswith(f"{WHERE}: it said so")
    assert way_out in error.message
    assert error.details["sqlstate"] == sqlstate


@pytest.mark.parametrize(
    ("said", "kind", "way_out"),
    [
        ('FATAL:  password authentication failed for user "kim"', DatabaseForbiddenError, "database.password"),
        ('FATAL:  database "clude" does not exist', DatabaseForbiddenError, "database.name"),
        ("FATAL:  sorry, too many clients already", DatabaseFullError, "no room"),
        ("SSL error: certificate verify failed", DatabaseAwayError, "sslrootcert"),
        ("connection refused\n\tIs the server running?", DatabaseAwayError, "database.host"),
        ("", DatabaseAwayError, "no answer"),
    ],
)
def test_a_closed_door_says_why(said: str, kind: type[DatabaseError], way_out: str) -> None:
    error = no_connection(WHERE, said)
    assert type(error) is kind
    assert way_out in error.message


class Scripted:
    """psql as it would answer: each statement gets the next of ``answers``, its lines, SQLSTATE and row count."""

    def __init__(self, *answers: tuple[list[str], str, int]) -> None:
        self.answers = deque([([], "00000", 0), *answers])
        self.lines: deque[str] = deque()

    def write(self, text: str) -> None:
        mark = text.rsplit("\\echo ", 1)[1].split()[0]
        lines, sqlstate, count = self.answers.popleft()
        said = lines if sqlstate == "00000" else [f"{mark} message {lines[0]}", *lines[1:]]
        self.lines += [*said, f"{mark} end {sqlstate} {count}"]

    def read_line(self) -> str:
        return self.lines.popleft()

    def complaints(self) -> str:
        return ""

    def close(self) -> None:
        self.lines.clear()


def test_psql_answers_rows_and_counts() -> None:
    database = PsqlDatabase(Scripted((['{"a": 1}', '{"a": "mark-0 end"}'], "00000", 2)), WHERE)
    assert database.rows("SELECT a FROM b") == [{"a": 1}, {"a": "mark-0 end"}]


def test_psql_tells_an_error_of_several_lines() -> None:
    database = PsqlDatabase(Scripted((["relation b", "does not exist"], "42P01", 0)), WHERE)
    with pytest.raises(MissingTableError, match="relation b does not exist"):
        database.run("SELECT")
