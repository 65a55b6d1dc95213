"""A work queue keyed by object: whatever changed is reconciled soon, one run per key at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import aiohttp

from rehearsal.client import ApiError
from rehearsal.objects import Key

log = logging.getLogger(__name__)
FIRST_RETRY = 0.005
LAST_RETRY = 5.0

Reconcile = Callable[[Key], Awaitable[float | None]]


class WorkQueue:
    """Runs ``reconcile(key)`` for each key added; changes during a run lead to one more run.

    ``reconcile`` may return seconds after which it wants to look again. An error is retried with a growing delay.
    """

    def __init__(self, name: str, reconcile: Reconcile, parallel: int = 16) -> None:
        self.name = name
        self._reconcile = reconcile
        self._slots = asyncio.Semaphore(parallel)
        self._dirty: set[Key] = set()
        self._busy: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._group: asyncio.TaskGroup | None = None

    def add(self, key: Key) -> None:
        """Have ``key`` looked at as soon as may be."""
        self._dirty.add(key)
        if self._group is not None and key not in self._busy:
            self._busy.add(key)
            self._group.create_task(self._work(key))

    def add_after(self, key: Key, seconds: float) -> None:
        """Have ``key`` looked at in a while; of several such wishes the last one counts."""
        if key in self._timers:
            self._timers.pop(key).cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._ring, key)

    async def run(self) -> None:
        """Work until cancelled. Keys added before are taken up now."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for key in list(self._dirty):
                    self.add(key)
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            for timer in self._timers.values():
                timer.cancel()

    def _ring(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _work(self, key: Key) -> None:
        try:
            while key in self._dirty:
                self._dirty.discard(key)
                async with self._slots:
                    await self._attempt(key)
        finally:
            self._busy.discard(key)

    async def _attempt(self, key: Key) -> None:
        try:
            again = await self._reconcile(key)
        except (ApiError, aiohttp.ClientError, OSError) as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(LAST_RETRY, FIRST_RETRY * 2**failures)
            log.debug("%s %s: %s; again in %.3f s", self.name, key, error, delay)
            self.add_after(key, delay)
        except Exception:
            log.exception("%s %s failed", self.name, key)
            self.add_after(key, LAST_RETRY)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self.add_after(key, again)
