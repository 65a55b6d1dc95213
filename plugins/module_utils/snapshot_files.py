# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots as files: a folder of its own for each, a file per object, there whole or not at all."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import secrets
import shutil
import typing as t
from pathlib import Path

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.compensation import put_back_on_failure
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import (
    PRESENT,
    Entry,
    Json,
    Snapshot,
    SnapshotError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_layout import checked
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_store import Found, bodies

INDEX_FILE = "snapshot.json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InFiles:
    """A snapshot in a folder."""

    def __init__(self, folder: Path) -> None:
        """Raises SnapshotError where there is none that can be read."""
        self._folder = folder
        self.where = str(folder / INDEX_FILE)
        try:
            listed = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SnapshotError(f"directory: {self.where} can't be read: {_why(error)}") from error
        self.snapshot = Snapshot.from_described(listed, self.where)
        self._files = {
            one: found.get("file") for one, found in zip(self.snapshot.entries, listed["objects"], strict=True)
        }

    def loaded(self, entries: t.Iterable[Entry]) -> list[Entry]:
        """``entries`` with their bodies. Raises SnapshotError where one is gone or damaged."""
        return [self._loaded(entry) for entry in entries]

    def _loaded(self, entry: Entry) -> Entry:
        file = self._files.get(entry)
        if entry.state != PRESENT or file is None:
            return entry
        try:
            body = json.loads((self._folder / Path(file).name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SnapshotError(f"directory: {self._folder / file} can't be read: {_why(error)}") from error
        return dataclasses.replace(entry, body=checked(entry, body, self.where))


def folder_of(directory: str, name: str) -> Path:
    return Path(directory) / name


def export(found: Found, directory: str) -> tuple[Path, bool]:
    """Write the snapshot into a folder of its name in ``directory``; the folder, and whether it wasn't there already.

    Files are of mode 0600. Raises InputError where there is no room or no right; then nothing is left of it.
    """
    folder = folder_of(directory, found.snapshot.name)
    if _is_there(folder, found.snapshot):
        return folder, False
    if folder.exists():
        raise InputError(
            f"directory: {folder} is there already and holds something else; move it away, or name another directory"
        )
    texts = _texts(found)
    # Its name is known before it is there, so that whatever ends this finds it.
    made = Path(directory) / f".{found.snapshot.name}-{secrets.token_hex(4)}"
    with put_back_on_failure(lambda _error: shutil.rmtree(made, ignore_errors=True)):
        try:
            Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
            made.mkdir(mode=0o700)
            for name, text in texts.items():
                _write(made / name, text)
            os.rename(made, folder)
            _sync(Path(directory))
        except OSError as error:
            raise _refused(directory, error, sum(len(text.encode()) for text in texts.values())) from error
    return folder, True


def _is_there(folder: Path, snapshot: Snapshot) -> bool:
    """Whether the folder holds this very snapshot, undamaged."""
    try:
        there = InFiles(folder)
        bodies(there)
    except SnapshotError:
        return False
    return there.snapshot.sha256 == snapshot.sha256


def _texts(found: Found) -> dict[str, str]:
    """File name → content, the list last."""
    listed = found.snapshot.described()
    texts: dict[str, str] = {}
    for number, entry in enumerate(found.snapshot.entries):
        if entry.state != PRESENT:
            continue
        (whole,) = found.loaded([entry])
        name = (
            f"{number:03d}.{entry.ref.kind.lower()}.{re.sub(r'[^-._a-zA-Z0-9]', '_', entry.ref.name)}"[:200] + ".json"
        )
        listed["objects"][number]["file"] = name
        texts[name] = _text(whole.body or {})
    return {**texts, INDEX_FILE: _text(listed)}


def _text(value: Json) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Bring the folder's own entries to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _refused(directory: str, error: OSError, needed: int = 0) -> InputError:
    if error.errno in _FULL:
        return InputError(
            f"directory: {directory} has no room ({error.strerror}): {needed // 1024 + 1} KiB are needed, and nothing"
            " of the snapshot was left there; free some, or name another directory"
        )
    return InputError(f"directory: {directory} can't be written: {error.strerror}; name one that can")
