"""Watches from every starting point."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from rehearsal.cluster.errors import StatusError
from rehearsal.cluster.render import Renderer
from rehearsal.cluster.store import HISTORY, HISTORY_LEAST
from rehearsal.cluster.watch import Watch, WatchRequest
from tests.unit.cluster.cluster_api import Api


def watch_request(api: Api, revision: str, **options: Any) -> WatchRequest:
    maps = api.kind("configmaps")
    return WatchRequest(maps, "default", revision, lambda stored: True, Renderer(maps).event, **options)


def collect(watch: Watch) -> list[tuple[str, str]]:
    written: list[bytes] = []

    async def write(data: bytes) -> None:
        written.append(data)

    asyncio.run(watch.run(write))
    lines = [json.loads(line) for line in b"".join(written).splitlines()]
    return [(line["type"], line["object"]["metadata"].get("name", "")) for line in lines]


def test_events_since_a_version_are_told(api: Api) -> None:
    maps = api.kind("configmaps")
    first = api.create(maps, {"metadata": {"name": "a"}})
    api.create(maps, {"metadata": {"name": "b"}})
    watch = Watch(api.store, watch_request(api, first["metadata"]["resourceVersion"], timeout=0.05))
    api.create(maps, {"metadata": {"name": "c"}})
    assert collect(watch) == [("ADDED", "b"), ("ADDED", "c")]


def test_initial_events_end_with_a_bookmark(api: Api) -> None:
    api.create(api.kind("configmaps"), {"metadata": {"name": "a"}})
    watch = Watch(api.store, watch_request(api, "", initial_events=True, timeout=0.05))
    assert collect(watch) == [("ADDED", "a"), ("BOOKMARK", "")]


def test_a_version_that_is_too_old_or_unknown_is_gone(api: Api) -> None:
    maps = api.kind("configmaps")
    first = api.create(maps, {"metadata": {"name": "a"}})["metadata"]["resourceVersion"]
    for number in range(HISTORY + 1):
        item = api.read(maps, "a") | {"data": {"n": str(number)}}
        api.store.put(maps.key, item)
    for revision in (first, str(api.store.revision + 1)):
        with pytest.raises(StatusError) as gone:
            Watch(api.store, watch_request(api, revision))
        assert (gone.value.code, gone.value.reason) == (410, "Expired")


def test_the_history_of_large_objects_is_short(api: Api) -> None:
    maps = api.kind("configmaps")
    first = api.create(maps, {"metadata": {"name": "a"}})["metadata"]["resourceVersion"]
    item = api.read(maps, "a") | {"data": {"k": "x" * 500_000}}
    for _ in range(40):
        api.store.put(maps.key, item)
    assert api.store.since(maps.key, int(first)) is None
    kept = api.store.since(maps.key, api.store.revision - HISTORY_LEAST)
    assert kept is not None and len(kept) == HISTORY_LEAST


def test_a_client_that_does_not_keep_up_is_cut_off(api: Api) -> None:
    maps = api.kind("configmaps")
    first = api.create(maps, {"metadata": {"name": "a"}})["metadata"]["resourceVersion"]
    watch = Watch(api.store, watch_request(api, first, timeout=5))
    item = api.read(maps, "a") | {"data": {"k": "x" * 1_000_000}}
    for _ in range(20):
        api.store.put(maps.key, item)
    begun = time.monotonic()
    assert collect(watch) == []
    assert time.monotonic() - begun < 1


def test_a_closed_watch_hears_nothing(api: Api) -> None:
    watch = Watch(api.store, watch_request(api, "0", timeout=0.05))
    watch.close()
    api.create(api.kind("configmaps"), {"metadata": {"name": "a"}})
    assert collect(watch) == []
