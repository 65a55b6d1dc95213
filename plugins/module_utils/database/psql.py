# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database through a psql that runs elsewhere: statements go to its input, answers come from its output.

psql is told to print a mark after each statement, with what became of it; the mark holds a random word, so no row can
be taken for it.
"""

from __future__ import annotations

import secrets
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Answer, Database
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DatabaseAwayError,
    no_connection,
    refusal,
)

ARGUMENTS = ("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password", "--set=ON_ERROR_STOP=off")


class Stream(t.Protocol):
    """Input and output of a process that runs elsewhere. All methods raise DatabaseAwayError when it is gone."""

    def write(self, text: str) -> None: ...

    def read_line(self) -> str:
        """The next line of its output, without the line's end; waits for it."""

    def complaints(self) -> str:
        """What it wrote to standard error so far, and why it ended where it did."""

    def close(self) -> None: ...


class PsqlDatabase(Database):
    """A session of psql at the other end of ``stream``, begun with :data:`ARGUMENTS`."""

    def __init__(self, stream: Stream, where: str) -> None:
        self.where = where
        self._stream = stream
        self._mark = f"mark-{secrets.token_hex(16)}"
        try:
            self.run("SELECT")
        except DatabaseAwayError as error:
            stream.close()
            raise no_connection(where, stream.complaints() or error.message) from error

    def send(self, statement: str) -> Answer:
        mark = self._mark
        self._stream.write(
            f"{statement}\n;\n\\if :ERROR\n\\echo {mark} message :LAST_ERROR_MESSAGE\n\\endif\n"
            f"\\echo {mark} end :SQLSTATE :ROW_COUNT\n"
        )
        lines: list[str] = []
        said: list[str] = []
        while True:
            line = self._stream.read_line()
            if line.startswith(f"{mark} end "):
                break
            if line.startswith(f"{mark} message "):
                said.append(line.removeprefix(f"{mark} message "))
            elif said:
                said.append(line)
            else:
                lines.append(line)
        sqlstate, count = line.split()[2:4]
        if sqlstate != "00000":
            raise refusal(self.where, sqlstate, " ".join(said))
        return Answer(lines, int(count))

    def close(self) -> None:
        self._stream.close()
