"""What every kind of traffic object is turned into, and what a translator of one kind must offer.

A new kind is one more class that keeps to :class:`Translator`, added to ``configuration.TRANSLATORS``; nothing else has
to know of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from rehearsal.client import Object
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.names import ClusterName

Route = dict[str, Any]


@dataclass(frozen=True)
class Traffic:
    """One traffic object, translated.

    ``hosts`` are the host names it speaks for, ``routes`` Envoy routes in the order they are to be tried,
    ``clusters`` every cluster they name. ``warnings`` say what refers to something that isn't there, ``ignored`` what
    the object asks for and doesn't get.
    """

    hosts: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    clusters: frozenset[ClusterName] = frozenset()
    warnings: tuple[str, ...] = field(default=())
    ignored: tuple[str, ...] = field(default=())


Part = TypeVar("Part", bound=Traffic)


@dataclass(frozen=True)
class Outcome(Generic[Part]):
    """What became of ``item``: the ``part`` in force, if any; ``error`` says why that isn't its newest version."""

    item: Object
    part: Part | None
    error: str = ""


@dataclass(frozen=True)
class Status:
    """What the controller of ``item`` says of it: fields of its ``status``, conditions without their times.

    ``path`` is where the object is in the Kubernetes API.
    """

    item: Object
    path: str
    status: Object


class Translator(Generic[Part]):
    """Turns the traffic objects of one kind into Envoy routes. Pure: no clock, no I/O.

    ``collection`` is the path of the collection in the Kubernetes API, over all namespaces; ``related`` those of the
    kinds it reads besides, which ``Mesh.objects`` holds.
    """

    kind: str
    collection: str
    related: Mapping[str, str] = {}

    def translate(self, item: Object, mesh: Mesh) -> Part:
        """``item`` as routes. Raises TranslationError naming the field that can't be translated."""
        raise NotImplementedError

    def merge(self, parts: Sequence[Part]) -> Sequence[Traffic]:
        """The routes of all objects together, where those of one bear on those of another; ``parts`` oldest first."""
        return parts

    def statuses(self, outcomes: Sequence[Outcome[Part]], mesh: Mesh, address: str) -> list[Status]:
        """What to say of the objects once Envoy, which listens on ``address``, runs them; oldest first."""
        return []


@dataclass(frozen=True)
class Ranked:
    """Routes of one rule: those of a lower ``rank`` are tried first, whichever object they come from."""

    rank: tuple[Any, ...]
    hosts: tuple[str, ...]
    routes: tuple[Route, ...]


def by_rank(entries: Iterable[Ranked]) -> list[Traffic]:
    """One Traffic a host, its routes in the order of their ranks."""
    hosts: dict[str, list[Ranked]] = {}
    for entry in entries:
        for host in entry.hosts:
            hosts.setdefault(host, []).append(entry)
    return [
        Traffic((host,), tuple(route for entry in sorted(found, key=lambda e: e.rank) for route in entry.routes))
        for host, found in hosts.items()
    ]


def in_order(items: Iterable[Object]) -> list[Object]:
    """Objects oldest first: where two claim the same host, the older one is asked first."""
    return sorted(
        items,
        key=lambda item: (
            item["metadata"].get("creationTimestamp") or "",
            item["metadata"].get("namespace", ""),
            item["metadata"]["name"],
        ),
    )


def version_of(item: Object) -> str:
    """Changes whenever what the object asks for does, and not with its status."""
    metadata = item["metadata"]
    asked = [metadata.get("uid"), metadata.get("annotations"), item.get("spec")]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def object_path(collection: str, item: Object) -> str:
    """The API path of ``item``, which is of the collection at ``collection``."""
    root, _, plural = collection.rpartition("/")
    namespace = item["metadata"].get("namespace")
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{inside}/{plural}/{item['metadata']['name']}"
