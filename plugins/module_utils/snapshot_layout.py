# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a snapshot lies in ConfigMaps. Pure.

The first ConfigMap holds the list (``snapshot.json``) and the objects that are small, as JSON that people can read.
What has no room there goes into further ones; what is too large for any as plain text is compressed, and cut where that
is too large still. The first one is written last: as long as it isn't there, there is no snapshot.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import json
import re
import typing as t
import zlib

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import (
    PRESENT,
    Entry,
    Json,
    Snapshot,
    SnapshotError,
    canonical,
)

INDEX_KEY = "snapshot.json"
KIB = 1024
MAX_PLAIN = 600 * KIB
"""Bytes in one ConfigMap; the API server takes 1 MiB, and what it adds itself needs room too."""
MAX_INDEX = 400 * KIB
PLAIN, GZIP = "json", "gzip"


@dataclasses.dataclass(frozen=True)
class Packed:
    """A ConfigMap to be: its name and content, ``binary`` still without base64."""

    name: str
    data: dict[str, str] = dataclasses.field(default_factory=dict)
    binary: dict[str, bytes] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> int:
        texts = sum(len(key) + len(text.encode()) for key, text in self.data.items())
        return texts + sum(len(key) + len(piece) for key, piece in self.binary.items())


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the body of an object lies: pieces as (ConfigMap, key) in order, and in which form."""

    form: str
    pieces: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Index:
    """A snapshot without bodies, and where these are."""

    snapshot: Snapshot
    places: tuple[Place | None, ...]

    def place(self, entry: Entry) -> Place | None:
        return self.places[self.snapshot.entries.index(entry)]


def packed(snapshot: Snapshot) -> list[Packed]:
    """The ConfigMaps of a snapshot, the first of which is its list. Raises SnapshotError for too many objects."""
    pack = _Pack(snapshot.name)
    texts = {number: _text(entry) for number, entry in enumerate(snapshot.entries) if entry.state == PRESENT}
    places: dict[int, Place] = {}
    # Small ones first: whoever wants a route or a Service back reads one ConfigMap.
    for number in sorted(texts, key=lambda one: (len(texts[one]), one)):
        places[number] = pack.put(number, snapshot.entries[number], texts[number])
    listed = snapshot.described()
    for number, place in places.items():
        listed["objects"][number] |= {"form": place.form, "in": [list(piece) for piece in place.pieces]}
    text = json.dumps(listed, indent=1, ensure_ascii=False)
    if len(text.encode()) > MAX_INDEX:
        raise SnapshotError(
            f"objects, selectors: {len(snapshot.entries)} objects are more than the list of a snapshot holds"
            f" ({len(text.encode()) // KIB} of {MAX_INDEX // KIB} KiB); name fewer, or take several snapshots"
        )
    first = pack.made[0]
    return [dataclasses.replace(first, data={INDEX_KEY: text, **first.data}), *pack.made[1:]]


def _text(entry: Entry) -> str:
    return json.dumps(entry.body, indent=1, sort_keys=True, ensure_ascii=False)


class _Pack:
    """ConfigMaps that are being filled; the first one keeps room for the list."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.made = [Packed(name)]

    def put(self, number: int, entry: Entry, text: str) -> Place:
        key = f"{number:03d}.{entry.ref.kind.lower()}.{entry.ref.name}"
        key = re.sub(r"[^-._a-zA-Z0-9]", "_", key)[:200]
        size = len(text.encode())
        if size <= MAX_PLAIN:
            return Place(PLAIN, (self._fill(f"{key}.json", size, text=text),))
        compressed = gzip.compress(canonical(entry.body).encode(), mtime=0)
        cut = [compressed[at : at + MAX_PLAIN] for at in range(0, len(compressed), MAX_PLAIN)]
        names = [f"{key}.json.gz" if len(cut) == 1 else f"{key}.json.gz.{part:03d}" for part in range(len(cut))]
        return Place(
            GZIP, tuple(self._fill(own, len(piece), piece=piece) for own, piece in zip(names, cut, strict=True))
        )

    def _fill(self, key: str, size: int, *, text: str = "", piece: bytes = b"") -> tuple[str, str]:
        target = next((one for number, one in enumerate(self.made) if one.size + size <= self._room(number)), None)
        if target is None:
            target = Packed(f"{self._name}-part-{len(self.made)}")
            self.made.append(target)
        if piece:
            target.binary[key] = piece
        else:
            target.data[key] = text
        return target.name, key

    @staticmethod
    def _room(number: int) -> int:
        return MAX_PLAIN - MAX_INDEX if number == 0 else MAX_PLAIN


def index_of(data: t.Mapping[str, str], where: str) -> Index:
    """The list of a snapshot. Raises SnapshotError naming ``where``."""
    try:
        listed = json.loads(data[INDEX_KEY])
        snapshot = Snapshot.from_described(listed, where)
        places = tuple(_place(one) for one in listed["objects"])
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"{where} is no snapshot that can be read: {error}; restore or delete it") from error
    return Index(snapshot, places)


def _place(listed: Json) -> Place | None:
    if listed["state"] != PRESENT:
        return None
    return Place(listed["form"], tuple((name, key) for name, key in listed["in"]))


def body_of(entry: Entry, place: Place, found: t.Mapping[str, t.Mapping[str, t.Any]], where: str) -> Json:
    """The body of ``entry``; ``found`` are the ConfigMaps of its place. Raises SnapshotError where it is damaged."""
    try:
        if place.form == PLAIN:
            ((name, key),) = place.pieces
            text = found[name]["data"][key]
        else:
            pieces = [base64.b64decode(found[name]["binaryData"][key]) for name, key in place.pieces]
            text = gzip.decompress(b"".join(pieces)).decode()
        body = json.loads(text)
    except (KeyError, ValueError, EOFError, OSError, zlib.error) as error:
        raise SnapshotError(f"{where} lacks {entry.ref}, or what is there can't be read: {error!r}") from error
    return checked(entry, body, where)


def checked(entry: Entry, body: Json, where: str) -> Json:
    """``body`` if it has the checksum of ``entry``. Raises SnapshotError."""
    seen = hashlib.sha256(canonical(body).encode()).hexdigest()
    if seen != entry.sha256:
        raise SnapshotError(
            f"{where}: {entry.ref} isn't what was taken (SHA-256 {seen[:12]}… in place of {entry.sha256[:12]}…); use"
            " another snapshot, or files that were exported"
        )
    return body
