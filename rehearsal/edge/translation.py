"""What every kind of traffic object is turned into, and what a translator of one kind must offer.

A new kind (HTTPRoute, Ingress, Route) is one more class that keeps to :class:`Translator`, added to
``configuration.TRANSLATORS``; nothing else has to know of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from rehearsal.client import Object
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.names import ClusterName


@dataclass(frozen=True)
class Traffic:
    """One traffic object, translated.

    ``hosts`` are the host names it speaks for, ``routes`` Envoy routes in the order they are to be tried,
    ``clusters`` every cluster they name. ``warnings`` say what refers to something that isn't there.
    """

    hosts: tuple[str, ...]
    routes: tuple[dict[str, Any], ...]
    clusters: frozenset[ClusterName]
    warnings: tuple[str, ...] = field(default=())


class Translator(Protocol):
    """Turns the traffic objects of one kind into Envoy routes. Pure: no clock, no I/O."""

    @property
    def kind(self) -> str:
        """The objects' ``kind``."""

    @property
    def collection(self) -> str:
        """Path of the collection in the Kubernetes API, over all namespaces."""

    def translate(self, item: Object, mesh: Mesh) -> Traffic:
        """``item`` as routes. Raises TranslationError naming the field that can't be translated."""


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
