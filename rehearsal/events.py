"""core/v1 Events, written beside the work and never in its way."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from rehearsal.client import ApiError, KubeClient
from rehearsal.objects import Object, timestamp

log = logging.getLogger(__name__)
LONGEST_QUEUE = 1000
REMEMBERED = 2000
PACE = 0.02


@dataclass
class _Written:
    """An event in the API that a repetition only counts up."""

    path: str
    count: int


class EventRecorder:
    """Records what happened to an object. ``record`` returns at once; ``run`` does the writing."""

    def __init__(self, client: KubeClient, component: str, host: str = "") -> None:
        self._client = client
        self._source = {"component": component} | ({"host": host} if host else {})
        self._queue: asyncio.Queue[tuple[Object, str, str, str, str]] = asyncio.Queue(LONGEST_QUEUE)
        self._written: dict[tuple[str, str, str], _Written] = {}
        self._serial = itertools.count()

    def record(self, about: Object, reason: str, message: str, *, warning: bool = False, field: str = "") -> None:
        """Note an event about an object (with apiVersion and kind); dropped when too many wait already."""
        kind = "Warning" if warning else "Normal"
        with suppress(asyncio.QueueFull):
            self._queue.put_nowait((_reference(about, field), kind, reason, message, timestamp()))

    async def run(self) -> None:
        while True:
            entry = await self._queue.get()
            # A burst of pods is not to compete with what is written about it.
            await asyncio.sleep(PACE)
            try:
                await self._write(*entry)
            except (ApiError, aiohttp.ClientError, OSError) as error:
                log.debug("event %s about %s not written: %s", entry[2], entry[0]["name"], error)

    async def _write(self, about: Object, kind: str, reason: str, message: str, now: str) -> None:
        identity = (about["uid"] + about.get("fieldPath", ""), reason, message)
        known = self._written.get(identity)
        if known is not None:
            known.count += 1
            try:
                await self._client.patch(known.path, {"count": known.count, "lastTimestamp": now})
                return
            except ApiError as error:
                if error.status != 404:
                    raise
        namespace = about.get("namespace") or "default"
        collection = f"/api/v1/namespaces/{namespace}/events"
        name = f"{about['name']}.{time.time_ns() + next(self._serial):x}"
        self._remember(identity, f"{collection}/{name}")
        await self._client.create(
            collection,
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": about,
                "type": kind,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "source": self._source,
                "reportingComponent": self._source["component"],
            },
        )

    def _remember(self, identity: tuple[str, str, str], path: str) -> None:
        self._written[identity] = _Written(path, 1)
        if len(self._written) > REMEMBERED:
            del self._written[next(iter(self._written))]


def _reference(about: Object, field: str) -> Object:
    metadata = about["metadata"]
    reference = {
        "apiVersion": about["apiVersion"],
        "kind": about["kind"],
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
    }
    if metadata.get("namespace"):
        reference["namespace"] = metadata["namespace"]
    if metadata.get("resourceVersion"):
        reference["resourceVersion"] = metadata["resourceVersion"]
    if field:
        reference["fieldPath"] = field
    return reference
