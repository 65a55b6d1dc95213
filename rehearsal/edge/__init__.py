"""The edge: Envoy, kept at what the traffic objects in the cluster say."""

from __future__ import annotations

from rehearsal.edge.admin import EdgeVersion, edge_version
from rehearsal.edge.watcher import run

__all__ = ["EdgeVersion", "edge_version", "run"]
