"""The end of namespaces: a terminating one is emptied, then it goes."""

from __future__ import annotations

import asyncio
import logging

from rehearsal.cluster.errors import StatusError
from rehearsal.cluster.operations import Operations
from rehearsal.cluster.options import DeleteOptions, Options
from rehearsal.cluster.resources import Resource
from rehearsal.cluster.strategy import NAMESPACES

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1


async def end_namespaces(operations: Operations) -> None:
    """Watch for terminating namespaces until cancelled."""
    wake = asyncio.Event()
    stop = operations.store.listen(NAMESPACES, lambda event: wake.set())
    try:
        while True:
            await wake.wait()
            wake.clear()
            while _round(operations):
                await asyncio.sleep(PAUSE_SECONDS)
    finally:
        stop()


def _round(operations: Operations) -> bool:
    """Delete what terminating namespaces still hold; whether any of them is left."""
    left = False
    for stored in operations.store.all(NAMESPACES):
        if b'"deletionTimestamp"' not in stored.raw:
            continue
        if _empty(operations, stored.name):
            operations.finalize_namespace(stored.name, {"spec": {}}, Options())
        else:
            left = True
    return left


def _empty(operations: Operations, namespace: str) -> bool:
    """Ask for the deletion of every object in a namespace; whether there was none."""
    found = False
    for resource in _stored_resources(operations):
        for stored in operations.store.all(resource.key, namespace):
            found = True
            try:
                operations.delete(resource, namespace, stored.name, DeleteOptions())
            except StatusError as error:
                log.warning("%s %s/%s is not deleted: %s", resource.plural, namespace, stored.name, error)
    return not found


def _stored_resources(operations: Operations) -> list[Resource]:
    """One resource for each kind of namespaced object."""
    by_key = {r.key: r for r in operations.registry if r.namespaced and r.storage in ("", r.version)}
    return list(by_key.values())
