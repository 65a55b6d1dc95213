# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A snapshot as a value: the objects that a release touches as they were, each with a checksum. Pure.

What the server or a tool keeps for itself is left out, and so is everything that looks like a secret: of a Secret only
its name, its keys and a salted hash of its data are known.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import without_secrets
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.server_fields import without_server_fields

SCHEMA = "1"
PRESENT, ABSENT, SECRET = "present", "absent", "secret"
Json = dict[str, t.Any]

# Tools' and controllers' own notes, which follow from the object; to restore them would be to lie about who applied it.
_NOTES = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")
# Slow on purpose, so that a short password can't be guessed from its hash.
_ROUNDS = 200_000


class SnapshotError(RolloutError):
    """A snapshot that is missing, damaged, or can't be kept."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One object: as it was (``PRESENT``), not there (``ABSENT``), or a ``SECRET``, of which no data is kept.

    ``sha256`` is of :func:`canonical` of the body, for a Secret the salted hash of its data, empty where it could not
    be read; ``keys`` are a Secret's. ``withheld`` are the paths left out of the body since they look like secrets.
    ``changes`` are the fields that the release itself changes, such as ``spec.http[*].route[*].weight``; None: it may
    be any. ``body`` is None while it hasn't been loaded.
    """

    ref: Ref
    state: str
    sha256: str = ""
    keys: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    changes: tuple[str, ...] | None = None
    body: Json | None = dataclasses.field(default=None, repr=False, compare=False)

    def described(self) -> Json:
        """Everything but the body, ready for JSON."""
        ref = {
            "api_version": self.ref.api_version,
            "kind": self.ref.kind,
            "plural": self.ref.plural,
            "namespace": self.ref.namespace,
            "name": self.ref.name,
        }
        changes = None if self.changes is None else list(self.changes)
        kept = {"state": self.state, "sha256": self.sha256, "keys": list(self.keys), "withheld": list(self.withheld)}
        return {**ref, **kept, "changes": changes}

    @classmethod
    def from_described(cls, found: t.Mapping[str, t.Any]) -> Entry:
        """The inverse of :meth:`described`. Raises KeyError."""
        ref = Ref(found["api_version"], found["kind"], found["plural"], found["namespace"], found["name"])
        changes = None if found["changes"] is None else tuple(found["changes"])
        keys, withheld = tuple(found["keys"]), tuple(found["withheld"])
        return cls(ref, found["state"], found["sha256"], keys, withheld, changes)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """``taken`` is an ISO time in UTC, ``by`` who and from where, ``salt`` that of the Secrets' hashes."""

    name: str
    application: str
    namespace: str
    release_id: str
    taken: str
    by: t.Mapping[str, str]
    salt: str
    entries: tuple[Entry, ...]

    @property
    def sha256(self) -> str:
        """Checksum over everything but the bodies, whose own checksums it covers."""
        return digest(self.described())

    def described(self) -> Json:
        """The snapshot without bodies, ready for JSON."""
        entries = [entry.described() for entry in self.entries]
        return {
            "schema": SCHEMA,
            "name": self.name,
            "application": self.application,
            "namespace": self.namespace,
            "release_id": self.release_id,
            "taken": self.taken,
            "by": dict(self.by),
            "salt": self.salt,
            "objects": entries,
        }

    @classmethod
    def from_described(cls, found: t.Mapping[str, t.Any], where: str) -> Snapshot:
        """The inverse of :meth:`described`. Raises SnapshotError naming ``where``."""
        if found.get("schema") != SCHEMA:
            raise SnapshotError(
                f"{where} has snapshot schema {found.get('schema')!r}, this collection reads {SCHEMA!r};"
                " use the version of claude_enhancer.rollout that wrote it"
            )
        try:
            entries = tuple(Entry.from_described(one) for one in found["objects"])
            names = ("name", "application", "namespace", "release_id", "taken", "by", "salt")
            return cls(**{name: found[name] for name in names}, entries=entries)
        except (KeyError, TypeError) as error:
            raise SnapshotError(f"{where} is no snapshot that can be read: {error} is missing") from error

    def summary(self) -> Json:
        """What the journal keeps of it: its name, and the checksums by which it is known again."""
        checksums = [{"object": str(entry.ref), "sha256": entry.sha256 or entry.state} for entry in self.entries]
        return {"name": self.name, "sha256": self.sha256, "taken": self.taken, "checksums": checksums}


def canonical(value: t.Any) -> str:
    """One text for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: t.Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def cleaned(item: t.Mapping[str, t.Any]) -> Json:
    """What its owner wrote of an object: without server's fields, tools' notes and addresses that a cluster assigns."""
    kept = without_server_fields(item)
    metadata = dict(kept["metadata"])
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _NOTES}
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    kept["metadata"] = metadata
    if kept.get("kind") == "Service":
        spec = kept.get("spec") or {}
        headless = spec.get("clusterIP") == "None"
        kept["spec"] = {key: value for key, value in spec.items() if headless or key not in ("clusterIP", "clusterIPs")}
    return kept


def readable(item: t.Mapping[str, t.Any], home: str) -> tuple[Json, tuple[str, ...]]:
    """:func:`cleaned` without what looks like a secret, and the paths that were left out.

    A ConfigMap of the namespace ``home`` is copied to the letter: the snapshot is a ConfigMap there too, so nobody
    reads there what they couldn't read before.
    """
    kept = cleaned(item)
    if kept.get("kind") == "ConfigMap" and kept["metadata"].get("namespace") == home:
        return kept, ()
    shown, dropped = without_secrets(kept)
    return t.cast(Json, shown), tuple(dropped)


def entry_of(
    ref: Ref, item: t.Mapping[str, t.Any] | None, changes: tuple[str, ...] | None, home: str, salt: str
) -> Entry:
    """The entry for the object as it was read; None is one that isn't there."""
    if ref.kind == "Secret":
        if item is None:
            return Entry(ref, ABSENT, changes=())
        return Entry(ref, SECRET, secret_hash(item, salt), tuple(sorted(item.get("data") or {})), changes=())
    if item is None:
        return Entry(ref, ABSENT, changes=changes)
    # A list gives its items without them.
    whole = {"apiVersion": ref.api_version, "kind": ref.kind, **item}
    body, withheld = readable(whole, home)
    return Entry(ref, PRESENT, digest(body), (), withheld, changes, body)


def secret_hash(item: t.Mapping[str, t.Any], salt: str) -> str:
    """Tells whether a Secret's data changed, and nothing else of it."""
    data = canonical(item.get("data") or {}).encode()
    return hashlib.pbkdf2_hmac("sha256", data, base64.b64decode(salt), _ROUNDS).hex()
