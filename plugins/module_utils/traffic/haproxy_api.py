# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HAProxy's runtime API: commands over a unix socket or TCP, and what its answers mean."""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
import socket
import time
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ForbiddenError,
    InputError,
    NotFoundError,
    UnreachableError,
)

_LONGEST_LINE = 8000
"""HAProxy takes a line as long as its buffer, by default 16384 bytes."""
_TCP = re.compile(r"(?:tcp:)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:/\s]+)):(?P<port>\d{1,5})")
_WORD = re.compile(r"[^\s;\\<]+")
_MISSING = ("No such", "Unknown map", "Can't find backend")


class RuntimeApi:
    """The runtime API of one instance. ``calls`` counts connections; each holds as many commands as there are to send.

    ``timeout`` are the seconds within which all of them must be answered. Raises InputError for an address that is
    neither a path nor ``host:port``.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self.address = address
        self.calls = 0
        self._timeout = timeout
        self._target = parse_address(address)

    def ask(self, commands: t.Sequence[str]) -> list[str]:
        """The answer to each command, without the newline that ends it. Raises UnreachableError."""
        return [answer for line in _lines(commands) for answer in self._exchange(line)]

    def _exchange(self, commands: t.Sequence[str]) -> list[str]:
        self.calls += 1
        deadline = time.monotonic() + self._timeout
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.sendall("; ".join(commands).encode() + b"\n")
                data = b"".join(_chunks(connection, deadline))
        except TimeoutError as error:
            raise UnreachableError(
                f"the HAProxy instance {self.address} didn't answer within {self._timeout:g} s (haproxy.timeout); "
                "check that it isn't stuck and that nothing between drops the connection",
                reason="timeout",
            ) from error
        except OSError as error:
            raise self._unreachable(error) from error
        answers = split_answers(data.decode(errors="replace"))
        if len(answers) != len(commands):
            raise UnreachableError(
                f"the HAProxy instance {self.address} closed the connection after {len(answers)} of {len(commands)} "
                "answers; check that it runs and that haproxy.instances names its runtime API (stats socket)",
                reason="closed",
            )
        return answers

    def _connect(self) -> socket.socket:
        if not isinstance(self._target, str):
            return socket.create_connection(self._target, timeout=self._timeout)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(self._timeout)
            connection.connect(self._target)
        except BaseException:
            connection.close()
            raise
        return connection

    def _unreachable(self, error: OSError) -> UnreachableError:
        way_out = "check that it runs and that haproxy.instances names its runtime API (stats socket)"
        if isinstance(error, PermissionError):
            way_out = "run as a user that may open this socket, or give it a mode and group that let this user in"
        return UnreachableError(
            f"the HAProxy instance {self.address} can't be reached: {error.strerror or error}; {way_out}",
            reason="connection",
        )

    def refusal(self, command: str, answer: str) -> ClusterError:
        """The error for a command that wasn't done."""
        said = answer.strip().splitlines()[0].rstrip(".") if answer.strip() else "nothing"
        where = f"the HAProxy instance {self.address}"
        if said == "Permission denied":
            return ForbiddenError(
                f"{where} doesn't allow {command!r} ({said}); give its stats socket the level admin",
                status=403,
                reason=said,
            )
        if said.startswith("Backend is using a static LB"):
            return ClusterError(
                f"{where} can't do {command!r}: {said}; use a balance algorithm whose weights may change, such as "
                "roundrobin",
                status=400,
                reason=said,
            )
        kind = NotFoundError if said.startswith(_MISSING) else ClusterError
        status = 404 if kind is NotFoundError else 422
        return kind(f"{where} answered {command!r} with: {said}; {_way_out(said)}", status=status, reason=said)


def parse_address(address: str) -> str | tuple[str, int]:
    """The path of a unix socket, or host and port."""
    path = address.removeprefix("unix:").removeprefix("unix@")
    if path.startswith("/"):
        return path
    found = _TCP.fullmatch(address)
    if not found or not 0 < int(found["port"]) < 65536:
        raise InputError(
            f"haproxy.instances: {address!r} is neither the path of a socket, such as /run/haproxy/admin.sock, "
            "nor host:port"
        )
    return found["v6"] or found["host"], int(found["port"])


def word(value: str, option: str) -> str:
    """``value`` if it can stand in a command as it is. Raises InputError naming ``option``."""
    if not _WORD.fullmatch(value):
        raise InputError(f"{option}: {value!r} can't be named in a command to HAProxy; leave out spaces, ; < and \\")
    return value


def split_answers(text: str) -> list[str]:
    """One text for each command; an empty line ends each."""
    answers: list[str] = []
    lines: list[str] = []
    for line in text.splitlines():
        if line:
            lines.append(line)
        else:
            answers.append("\n".join(lines))
            lines = []
    return answers


def parse_servers_state(text: str) -> list[dict[str, str]] | None:
    """The rows of ``show servers state``; None where the answer is something else."""
    for number, line in enumerate(lines := text.splitlines()):
        if line.startswith("# be_id "):
            columns = line[2:].split(" ")
            return [dict(zip(columns, row.split(" "), strict=False)) for row in lines[number + 1 :]]
    return None


def parse_stat(text: str) -> list[dict[str, str]] | None:
    """The rows of ``show stat``; None where the answer is something else."""
    if not text.startswith("# pxname,"):
        return None
    return list(csv.DictReader(text.removeprefix("# ").splitlines()))


def _way_out(said: str) -> str:
    if said.startswith("Unknown map"):
        return "name the map in haproxy.map as HAProxy's configuration does, or let its configuration read that map"
    return "check that name, haproxy.split and the servers fit its configuration"


def _lines(commands: t.Sequence[str]) -> t.Iterator[list[str]]:
    """The commands in as few lines as HAProxy can take."""
    sizes = itertools.accumulate(len(command) + 2 for command in commands)
    for _number, group in itertools.groupby(
        zip(commands, sizes, strict=True), key=lambda entry: entry[1] // _LONGEST_LINE
    ):
        yield [command for command, _size in group]


def _chunks(connection: socket.socket, deadline: float) -> t.Iterator[bytes]:
    """What comes until the other end closes. Raises TimeoutError at the deadline, however slowly it comes."""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        data = connection.recv(65536)
        if not data:
            return
        yield data
