# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and values as PostgreSQL's SQL. Pure.

All text that comes from outside enters a statement through :func:`identifier` or :func:`literal`, since what runs
the statement may be psql, which binds no parameters.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

Value: t.TypeAlias = "str | int | bool | dict[str, t.Any] | list[t.Any] | None"


def identifier(name: str) -> str:
    """``name`` as a quoted identifier. Raises InputError for what can't be a name: nothing, or a zero byte."""
    if not name or "\0" in name:
        raise InputError(f"{name!r} can't be a name in PostgreSQL: give at least one character, and no zero byte")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    return f"{identifier(schema)}.{identifier(name)}"


def literal(value: Value) -> str:
    """``value`` as a literal; a dict or list as ``jsonb``. Raises InputError for text with a zero byte."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value >= 0 else f"({value})"
    if isinstance(value, (dict, list)):
        return literal(json.dumps(value)) + "::jsonb"
    if "\0" in value:
        raise InputError(f"{value!r} can't be a text in PostgreSQL: it holds a zero byte")
    doubled = value.replace("'", "''")
    # A string with backslashes reads the same whatever standard_conforming_strings says only in this form.
    return " E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in value else f"'{doubled}'"


def names(columns: t.Iterable[str], alias: str = "") -> str:
    """``"a", "b"``, or ``l."a", l."b"``."""
    before = f"{alias}." if alias else ""
    return ", ".join(before + identifier(column) for column in columns)


def same(columns: t.Iterable[str], left: str, right: str) -> str:
    """``l."a" = r."a" AND l."b" = r."b"``: the join of two rows with one key."""
    return " AND ".join(f"{left}.{identifier(column)} = {right}.{identifier(column)}" for column in columns)
