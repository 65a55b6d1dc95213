# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of snapshots and of what a restore keeps aside, and how long snapshots are kept. Pure."""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

LONGEST = 63
"""Bytes of a name that PostgreSQL keeps; what is longer is cut off without a word."""
DAY = 86400.0
_STAMP = "%Y%m%d_%H%M%S"
_BACKUP = re.compile(r"_backup_\d{8}_\d{6}$")


def plain(text: str) -> str:
    """``text`` in small letters, digits and single underscores: ``claude-enhancer`` is ``claude_enhancer``."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def snapshot_name(prefix: str, version: str, at: float) -> str:
    """``claude_enhancer_5_0_backup_20261120_100000``: version ``version`` as it was at unix time ``at``, in UTC.

    Raises InputError where that would be no name, or too long a one.
    """
    parts = {"prefix": plain(prefix), "version": plain(version)}
    for option, part in parts.items():
        if not part:
            raise InputError(f"{option}: {prefix if option == 'prefix' else version!r} has no letter or digit")
    name = f"{parts['prefix']}_{parts['version']}_backup_{_stamp(at)}"
    if not name[0].isalpha():
        name = f"s_{name}"
    if len(name) > LONGEST:
        raise InputError(
            f"prefix: {prefix!r} is too long: {name} has {len(name)} characters, and PostgreSQL keeps {LONGEST};"
            f" give at most {len(parts['prefix']) - (len(name) - LONGEST)}"
        )
    return name


def archive_name(snapshot: str, at: float) -> str:
    """Where a restore of ``snapshot`` at unix time ``at`` keeps rows aside: ``…_5_0_kept_20261120_103000``."""
    return f"{_BACKUP.sub('', snapshot)}_kept_{_stamp(at)}"


def _stamp(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, tz=datetime.UTC).strftime(_STAMP)


def copy_names(tables: t.Sequence[tuple[str, str]]) -> list[str]:
    """A name for the copy of each (schema, table), all different: the table's own, with a number where two share it."""
    taken: set[str] = set()
    found = []
    for _schema, table in tables:
        name, number = table, 1
        while name in taken:
            number += 1
            name = f"{_cut(table, LONGEST - 4)}_{number}"
        taken.add(name)
        found.append(name)
    return found


def _cut(name: str, most: int) -> str:
    """The first ``most`` bytes of ``name``, no character cut in two."""
    return name.encode()[:most].decode(errors="ignore")


def free_name(wanted: str, taken: t.Collection[str]) -> str:
    """``wanted``, with underscores in front until no column in ``taken`` is called so."""
    while wanted in taken:
        wanted = f"_{wanted}"
    return wanted


class Kept(t.NamedTuple):
    """A snapshot as retention sees it: ``taken_at`` is unix time."""

    name: str
    application: str
    release_id: str | None
    taken_at: float


def to_prune(snapshots: t.Iterable[Kept], now: float, keep_days: float, protected: t.Collection[str]) -> list[str]:
    """Names of the snapshots older than ``keep_days``, oldest first.

    Never one of a release in ``protected``, and never the newest of an application: releases go one at a time, so a
    release in progress, whoever runs it, took the newest.
    """
    in_order = sorted(snapshots, key=lambda kept: (kept.taken_at, kept.name))
    newest = {kept.application: kept.name for kept in in_order}
    return [
        kept.name
        for kept in in_order
        if now - kept.taken_at > keep_days * DAY
        and kept.release_id not in protected
        and kept.name != newest[kept.application]
    ]
