# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database from inside a pod, where it can't be reached from here: psql in a container, over the API's exec.

Needs the right to ``create`` (and ``get``) ``pods/exec`` in the pod's namespace, and psql 11 or newer in the
container. The password goes to psql's environment by way of its input: an argument would be in the API's audit log.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, deployment, pod
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DatabaseAwayError,
    DatabaseSlowError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.psql import ARGUMENTS, PsqlDatabase
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.pod_exec import PodProcess
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref

_WITH_PASSWORD = 'IFS= read -r PGPASSWORD; export PGPASSWORD; exec "$@"'


def open_in_pod(
    cluster: Cluster, place: t.Mapping[str, t.Any], parameters: t.Mapping[str, t.Any], timeout: float
) -> PsqlDatabase:
    """psql in the pod of ``place`` (namespace, and name, deployment or selector, and container).

    ``parameters`` are libpq's; ``timeout`` seconds of silence are too many, 0 for any number. Raises InputError where
    no pod is found or several options name it.
    """
    found = find_pod(cluster, place)
    where = f"database {parameters.get('dbname') or 'by default'} in {found}"
    given = {key: value for key, value in parameters.items() if key != "password"}
    command = ["psql", *ARGUMENTS, f"--dbname={_conninfo(given)}"]
    password = parameters.get("password")
    if password and "\n" in password:
        raise InputError("database.password: holds the end of a line, which can't be handed to a psql in a pod")
    if password:
        command = ["sh", "-c", _WITH_PASSWORD, "sh", *command]
    stream = PsqlInPod(PodProcess(cluster, found, command, place.get("container") or ""), where, timeout)
    if password:
        stream.write(f"{password}\n")
    return PsqlDatabase(stream, where)


def find_pod(cluster: Cluster, place: t.Mapping[str, t.Any]) -> Ref:
    """The pod that ``place`` names: itself, or the first ready one of a Deployment or a label selector."""
    namespace = place["namespace"]
    if place.get("name"):
        return pod(namespace, place["name"])
    selector: t.Any = place.get("selector")
    if place.get("deployment"):
        selector = cluster.get(deployment(namespace, place["deployment"]))["spec"]["selector"].get("matchLabels", {})
    ready = sorted(item["metadata"]["name"] for item in cluster.list(pod(namespace), selector) if _ready(item))
    if not ready:
        asked = f"deployment {place['deployment']}" if place.get("deployment") else f"selector {selector}"
        raise InputError(f"database.pod: no pod of {asked} is ready in namespace {namespace}; name one that is")
    return pod(namespace, ready[0])


def _ready(item: t.Mapping[str, t.Any]) -> bool:
    conditions = item.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _conninfo(parameters: t.Mapping[str, t.Any]) -> str:
    def quoted(value: t.Any) -> str:
        return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"

    return " ".join(f"{key}={quoted(value)}" for key, value in parameters.items())


class PsqlInPod:
    """A :class:`PodProcess` in lines of text."""

    def __init__(self, process: PodProcess, where: str, timeout: float) -> None:
        self._process = process
        self._where = where
        self._timeout = timeout or None
        self._rest = b""

    def write(self, text: str) -> None:
        try:
            self._process.write(text.encode())
        except OSError as error:
            self._hear_out()
            raise self._gone() from error

    def read_line(self) -> str:
        while b"\n" not in self._rest:
            try:
                piece = self._process.read(self._timeout)
            except TimeoutError as error:
                raise DatabaseSlowError(
                    f"{self._where} said nothing for {self._timeout:g} s; raise statement_timeout", sqlstate=""
                ) from error
            except OSError as error:
                raise self._gone() from error
            if not piece:
                raise self._gone()
            self._rest += piece
        line, _end, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace")

    def complaints(self) -> str:
        return self._process.complaints()

    def close(self) -> None:
        self._process.close()

    def _hear_out(self) -> None:
        """What it said before it went is still on its way."""
        with contextlib.suppress(OSError):
            while self._process.read(1.0):
                pass

    def _gone(self) -> DatabaseAwayError:
        said = " ".join(self.complaints().split()).rstrip(".")
        return DatabaseAwayError(
            f"{self._where}: psql ended: {said or 'the connection to it was lost'}; see the pod and the server's log",
            sqlstate="08006",
        )
