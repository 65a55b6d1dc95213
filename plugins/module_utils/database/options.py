# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a database is reached, as options of a module, and the one place where it is opened by them."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.direct import DirectDatabase
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.in_pod import open_in_pod
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

DATABASE_ARGUMENTS: dict[str, t.Any] = {
    "dsn": {"type": "str", "no_log": True},
    "host": {"type": "str"},
    "port": {"type": "int"},
    "name": {"type": "str"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "sslmode": {"type": "str", "choices": SSL_MODES},
    "sslrootcert": {"type": "path"},
    "sslcert": {"type": "path"},
    "sslkey": {"type": "path", "no_log": False},
    "connect_timeout": {"type": "int", "default": 10},
    "pod": {
        "type": "dict",
        "options": {
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str"},
            "deployment": {"type": "str"},
            "selector": {"type": "str"},
            "container": {"type": "str"},
        },
        "mutually_exclusive": [("name", "deployment", "selector")],
        "required_one_of": [("name", "deployment", "selector")],
    },
}
"""Suboptions of ``database``: libpq's own words, but for ``name``, which is libpq's ``dbname``."""

_LIBPQ = ("host", "port", "user", "password", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout")


def open_database(
    options: t.Mapping[str, t.Any], cluster: t.Callable[[], Cluster], statement_timeout: float
) -> Database:
    """The database that ``options`` (the names of ``DATABASE_ARGUMENTS``) describe, ready for statements.

    ``cluster`` is only called where psql in a pod is asked for; ``statement_timeout`` is in seconds, 0 for none.
    Raises InputError, or the errors of ``database/errors.py``.
    """
    parameters = {key: options[key] for key in _LIBPQ if options.get(key) is not None}
    if options.get("name"):
        parameters["dbname"] = options["name"]
    place = options.get("pod")
    if place and options.get("dsn"):
        raise InputError(
            "database.dsn: can't be used with database.pod, since what psql is called with can be read by others; give"
            " host, port, name, user and password one by one"
        )
    database: Database
    if place:
        database = open_in_pod(cluster(), place, parameters, statement_timeout)
    else:
        database = DirectDatabase(options.get("dsn") or "", parameters)
    database.prepare(statement_timeout)
    return database
