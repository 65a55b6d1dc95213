"""What may be set about a node, by environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class NodeOptions:
    """Declared capacity, and delays in seconds before an image or a crashed container is tried again.

    The first restart after a crash is immediate; the next wait ``backoff``, doubling up to ``backoff_limit``;
    a container that ran for ``backoff_reset`` starts over.
    """

    cpu: str = "64"
    memory: str = "256Gi"
    pods: str = "250"
    backoff: float = 1.0
    backoff_limit: float = 30.0
    backoff_reset: float = 120.0

    @classmethod
    def from_environment(cls) -> NodeOptions:
        """``REHEARSAL_NODE_CPU``, ``_MEMORY``, ``_PODS`` and ``REHEARSAL_BACKOFF``, ``_LIMIT``, ``_RESET``."""
        known = os.environ.get
        return cls(
            known("REHEARSAL_NODE_CPU", cls.cpu),
            known("REHEARSAL_NODE_MEMORY", cls.memory),
            known("REHEARSAL_NODE_PODS", cls.pods),
            float(known("REHEARSAL_BACKOFF", cls.backoff)),
            float(known("REHEARSAL_BACKOFF_LIMIT", cls.backoff_limit)),
            float(known("REHEARSAL_BACKOFF_RESET", cls.backoff_reset)),
        )
