"""The audit log of the emulated API: who asked for what, one JSON line per request, as kube-apiserver writes it.

The policy: level None for this world's own parts, known by their user agent, Metadata for everyone else.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from rehearsal.cluster.auth import Attributes
from rehearsal.cluster.routes import Target

OWN_AGENTS = "rehearsal"
COMPLETE, STARTED = "ResponseComplete", "ResponseStarted"
FLUSH_SECONDS = 0.5
_BUFFER_BYTES = 1 << 16


def wanted(request: web.BaseRequest) -> bool:
    """Whether the policy has this request on record."""
    return not request.headers.get("User-Agent", "").startswith(OWN_AGENTS)


class AuditLog:
    """A file of events, written in blocks: what is noted is on disk within ``FLUSH_SECONDS`` while :meth:`run` runs."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", buffering=_BUFFER_BYTES)

    def note(self, event: dict[str, Any]) -> None:
        self._file.write(json.dumps(event, separators=(",", ":")) + "\n")

    async def run(self) -> None:
        """Bring the events to disk until cancelled, then close the file."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                self._file.flush()
        finally:
            self._file.close()


def event(
    request: web.BaseRequest,
    user: str,
    target: Target | None,
    asked: Attributes,
    *,
    status: int,
    received: float,
    stage: str = COMPLETE,
) -> dict[str, Any]:
    """An ``audit.k8s.io/v1`` Event of level Metadata; ``received`` in unix seconds, ``status`` as answered."""
    found: dict[str, Any] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": str(uuid.uuid4()),
        "stage": stage,
        "requestURI": request.path_qs,
        "verb": asked.verb,
        "user": {"username": user} if user else {},
        "userAgent": request.headers.get("User-Agent", ""),
        "responseStatus": {"metadata": {}, "code": status},
        "requestReceivedTimestamp": _stamp(received),
        "stageTimestamp": _stamp(time.time()),
    }
    if target is not None:
        found["objectRef"] = _reference(target)
    return found


def _reference(target: Target) -> dict[str, str]:
    named = {
        "resource": target.plural,
        "namespace": target.namespace,
        "name": target.name,
        "apiGroup": target.group,
        "apiVersion": target.version,
        "subresource": target.subresource,
    }
    return {key: value for key, value in named.items() if value}


def _stamp(moment: float) -> str:
    """Unix seconds in the way of a MicroTime: ``2026-11-20T10:00:00.123456Z``."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
