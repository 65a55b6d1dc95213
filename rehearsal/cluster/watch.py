"""Watches: the history from a revision on, then every event as it happens."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rehearsal.cluster import errors
from rehearsal.cluster.resources import Resource
from rehearsal.cluster.store import Event, Store, Stored, encode

BOOKMARK_SECONDS = 20.0
# A client that lets this many bytes wait is cut off, as a real server does; it may start again where it was.
BACKLOG_BYTES = 8 * 1024 * 1024
_LONGEST_SECONDS = 1800.0


@dataclass
class WatchRequest:
    """What a client wants to watch. ``selected`` tests labels and fields, ``render`` gives an object's bytes."""

    resource: Resource
    namespace: str
    revision: str
    selected: Callable[[Stored], bool]
    render: Callable[[Stored], bytes]
    bookmarks: bool = False
    initial_events: bool = False
    timeout: float = _LONGEST_SECONDS


class Watch:
    """One stream. Start it before anything else may happen in the loop, so that it misses nothing."""

    def __init__(self, store: Store, request: WatchRequest) -> None:
        self.store = store
        self.request = request
        self._pending: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._backlog = 0
        self._begin()
        self._backlog = 0
        self._stop = store.listen(request.resource.key, self._on_event)

    def _begin(self) -> None:
        """Queue what the client has missed. Raises StatusError (410) when that is no longer known."""
        request = self.request
        if request.revision in ("", "0") or request.initial_events:
            for stored in self.store.all(request.resource.key, request.namespace):
                if request.selected(stored):
                    self._pending.append(_line("ADDED", request.render(stored)))
            if request.initial_events:
                self._pending.append(self._bookmark({"k8s.io/initial-events-end": "true"}))
            return
        try:
            revision = int(request.revision)
        except ValueError:
            raise errors.bad_request(f"Invalid resource version: {request.revision}") from None
        events = self.store.since(request.resource.key, revision)
        if events is None or revision > self.store.revision:
            raise errors.expired(f"too old resource version: {revision} ({self.store.revision})")
        for event in events:
            self._on_event(event)

    async def run(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write events until the time is over, or the client has gone or does not keep up."""
        end = time.monotonic() + min(self.request.timeout, _LONGEST_SECONDS)
        while (left := end - time.monotonic()) > 0 and self._backlog <= BACKLOG_BYTES:
            if self._pending:
                data = b"".join(self._pending)
                self._pending.clear()
                self._backlog = 0
                await write(data)
                continue
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), min(left, BOOKMARK_SECONDS))
            except TimeoutError:
                if self.request.bookmarks:
                    self._pending.append(self._bookmark({}))
        if self._pending and self._backlog <= BACKLOG_BYTES:
            await write(b"".join(self._pending))

    def close(self) -> None:
        """Hear of no more events."""
        self._stop()

    def _on_event(self, event: Event) -> None:
        request, stored = self.request, event.stored
        if request.namespace and stored.namespace != request.namespace:
            return
        before = event.previous is not None and request.selected(event.previous)
        now = event.type != "DELETED" and request.selected(stored)
        if now:
            kind = "MODIFIED" if before else "ADDED"
        elif before:
            kind = "DELETED"
        else:
            return
        if self._backlog > BACKLOG_BYTES:
            return
        line = _line(kind, request.render(stored))
        self._pending.append(line)
        self._backlog += len(line)
        self._wake.set()

    def _bookmark(self, annotations: dict[str, str]) -> bytes:
        resource = self.request.resource
        metadata: dict[str, Any] = {"resourceVersion": str(self.store.revision)}
        if annotations:
            metadata["annotations"] = annotations
        item = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return _line("BOOKMARK", encode(item))


def error_line(error: errors.StatusError) -> bytes:
    """The event that ends a watch with a failure."""
    return _line("ERROR", encode(error.body()))


def _line(kind: str, item: bytes) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + item + b"}\n"
