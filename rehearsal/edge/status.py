"""Writes what the edge says of objects into their status, once Envoy runs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

from rehearsal.client import ApiError, KubeClient, Object
from rehearsal.edge.translation import Status
from rehearsal.objects import timestamp

log = logging.getLogger(__name__)
_RETRY_AFTER = 0.2
_IDENTITIES = ("parentRef", "controllerName", "routerName", "name", "type")


class StatusWriter:
    """``submit`` returns at once; ``run`` does the writing, of each object only the latest that was submitted.

    ``remember`` is told of each object as written, so that it is known ahead of the watch.
    """

    def __init__(self, client: KubeClient, remember: Callable[[Object], None]) -> None:
        self._client = client
        self._remember = remember
        self._latest: Sequence[Status] = ()
        self._waiting: dict[str, Status] = {}
        self._submitted = asyncio.Event()

    def submit(self, statuses: Sequence[Status]) -> None:
        """Have those written that differ from what the object says already."""
        self._latest = statuses
        self._waiting = {status.path: status for status in statuses if _changes(status)}
        if self._waiting:
            self._submitted.set()

    async def run(self) -> None:
        while True:
            await self._submitted.wait()
            self._submitted.clear()
            while self._waiting:
                path = next(iter(self._waiting))
                await self._write(self._waiting.pop(path))

    async def _write(self, status: Status) -> None:
        changes = _changes(status)
        try:
            self._remember(await self._client.patch(f"{status.path}/status", {"status": changes}))
        except ApiError as error:
            log.debug("status of %s not written: %s", status.path, error)
            # One that is refused for good is about an object that is gone or another one by now.
            if error.status >= 500 or error.status == 429:
                await self._try_again()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            log.warning("status of %s not written yet: %r", status.path, error)
            await self._try_again()

    async def _try_again(self) -> None:
        """By then there may be something newer to say."""
        await asyncio.sleep(_RETRY_AFTER)
        self.submit(self._latest)


def _changes(status: Status) -> Object:
    """The fields of the status that are not as they should be, with the times of their conditions."""
    known = status.item.get("status") or {}
    wanted = with_times(status.status, known, timestamp())
    return {name: value for name, value in wanted.items() if known.get(name) != value}


def with_times(wanted: Any, known: Any, now: str) -> Any:
    """``wanted`` with ``lastTransitionTime`` in each condition: as in ``known`` unless its status is another one."""
    if isinstance(wanted, Mapping):
        before = known if isinstance(known, Mapping) else {}
        made = {name: with_times(value, before.get(name), now) for name, value in wanted.items()}
        if {"type", "status"} <= made.keys():
            same = before.get("status") == made["status"]
            made["lastTransitionTime"] = (before.get("lastTransitionTime") if same else None) or now
        return made
    if isinstance(wanted, list):
        before_by = {_identity(item): item for item in known} if isinstance(known, list) else {}
        return [with_times(item, before_by.get(_identity(item)), now) for item in wanted]
    return wanted


def _identity(item: Any) -> str:
    """What tells an entry of a list from its neighbours."""
    return repr([item.get(name) for name in _IDENTITIES]) if isinstance(item, Mapping) else repr(item)
