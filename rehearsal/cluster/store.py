"""All objects, in memory, with one revision counter and a history that watches can start from."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str]
Name = tuple[str, str]

# Events kept per resource, by number and by size, and a few of them whatever their size. A watch that wants to start
# before the oldest of them gets 410 Gone.
HISTORY = 1000
HISTORY_BYTES = 8 * 1024 * 1024
HISTORY_LEAST = 10


def encode(item: Any) -> bytes:
    return json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode()


class Stored:
    """One state of one object, encoded: never changed, decoded afresh for whoever wants to change it."""

    __slots__ = ("labels", "name", "namespace", "raw", "revision")

    def __init__(self, item: Object, revision: int) -> None:
        metadata = item["metadata"]
        metadata["resourceVersion"] = str(revision)
        self.namespace: str = metadata.get("namespace", "")
        self.name: str = metadata["name"]
        self.labels: dict[str, str] = dict(metadata.get("labels") or {})
        self.revision = revision
        head = {"kind": item["kind"], "apiVersion": item["apiVersion"], "metadata": metadata}
        self.raw = encode(head | item)

    def read(self) -> Object:
        """The object, the caller's own copy."""
        item: Object = json.loads(self.raw)
        return item


@dataclass(frozen=True)
class Event:
    """``type`` is ADDED, MODIFIED or DELETED; ``previous`` is the state before, None for a new object."""

    type: str
    revision: int
    stored: Stored
    previous: Stored | None


class Store:
    """Objects by resource key and ``(namespace, name)``."""

    def __init__(self) -> None:
        self.revision = 1
        self._objects: dict[Key, dict[Name, Stored]] = {}
        self._history: dict[Key, deque[Event]] = {}
        self._sizes: dict[Key, int] = {}
        self._dropped: dict[Key, int] = {}
        self._listeners: dict[Key, set[Callable[[Event], None]]] = {}

    def find(self, key: Key, namespace: str, name: str) -> Stored | None:
        return self._objects.get(key, {}).get((namespace, name))

    def all(self, key: Key, namespace: str = "") -> list[Stored]:
        """Objects in order of namespace and name."""
        found = self._objects.get(key, {})
        names = sorted(name for name in found if not namespace or name[0] == namespace)
        return [found[name] for name in names]

    def keys(self) -> Iterator[Key]:
        yield from list(self._objects)

    def put(self, key: Key, item: Object) -> Stored:
        """Store a new state of an object; sets its resourceVersion."""
        self.revision += 1
        stored = Stored(item, self.revision)
        objects = self._objects.setdefault(key, {})
        previous = objects.get((stored.namespace, stored.name))
        objects[stored.namespace, stored.name] = stored
        self._publish(key, Event("MODIFIED" if previous else "ADDED", self.revision, stored, previous))
        return stored

    def delete(self, key: Key, namespace: str, name: str, last: Object | None = None) -> Stored:
        """Remove an object; watchers see ``last``, or its stored state, with the revision of the deletion."""
        previous = self._objects[key].pop((namespace, name))
        self.revision += 1
        stored = Stored(last or previous.read(), self.revision)
        self._publish(key, Event("DELETED", self.revision, stored, previous))
        return stored

    def drop(self, key: Key) -> None:
        """Forget a whole resource, as when its definition is deleted."""
        for stored in self.all(key):
            self.delete(key, stored.namespace, stored.name)

    def since(self, key: Key, revision: int) -> list[Event] | None:
        """Events after ``revision``; None when some of them are no longer known."""
        if revision < self._dropped.get(key, 0):
            return None
        return [event for event in self._history.get(key, ()) if event.revision > revision]

    def listen(self, key: Key, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``listener`` on every event of a resource, until the function returned is called."""
        listeners = self._listeners.setdefault(key, set())
        listeners.add(listener)
        return lambda: listeners.discard(listener)

    def _publish(self, key: Key, event: Event) -> None:
        history = self._history.setdefault(key, deque())
        history.append(event)
        size = self._sizes.get(key, 0) + len(event.stored.raw)
        while len(history) > HISTORY or (size > HISTORY_BYTES and len(history) > HISTORY_LEAST):
            oldest = history.popleft()
            size -= len(oldest.stored.raw)
            self._dropped[key] = oldest.revision
        self._sizes[key] = size
        for listener in list(self._listeners.get(key, ())):
            listener(event)
