"""Startup, readiness and liveness: when to ask, and what the answers add up to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rehearsal.objects import Object


class Clock(Protocol):
    """Monotonic seconds, and a wait."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True)
class Outcome:
    """What one probe found; ``message`` says why it failed."""

    ok: bool
    message: str = ""


@dataclass(frozen=True)
class ProbeSpec:
    """Times in seconds, thresholds in answers of the same kind in a row; ``handler`` is the manifest's probe."""

    handler: Object
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    failure_threshold: int = 3
    success_threshold: int = 1

    @classmethod
    def from_manifest(cls, probe: Object) -> ProbeSpec:
        return cls(
            probe,
            probe.get("initialDelaySeconds") or 0,
            probe.get("periodSeconds") or 10,
            probe.get("timeoutSeconds") or 1,
            probe.get("failureThreshold") or 3,
            probe.get("successThreshold") or 1,
        )


class ProbeTracker:
    """Counts answers; ``result`` changes only when the threshold of the other kind is reached."""

    def __init__(self, spec: ProbeSpec, initial: bool | None) -> None:
        self.spec = spec
        self.result = initial
        self._last: bool | None = None
        self._run = 0

    def record(self, ok: bool) -> bool:
        """Take in an answer; whether ``result`` is another one now."""
        self._run = self._run + 1 if ok == self._last else 1
        self._last = ok
        needed = self.spec.success_threshold if ok else self.spec.failure_threshold
        if self._run < needed or self.result == ok:
            return False
        self.result = ok
        return True


Ask = Callable[[ProbeSpec], Awaitable[Outcome]]
Told = Callable[[ProbeTracker, Outcome, bool], None]


async def keep_probing(tracker: ProbeTracker, started: float, ask: Ask, told: Told, clock: Clock) -> None:
    """Ask at ``started + initialDelaySeconds`` and every ``periodSeconds`` from then on, until cancelled.

    ``told(tracker, outcome, changed)`` hears of each answer. A probe late to start does not ask twice to catch up.
    """
    due = started + tracker.spec.initial_delay
    while True:
        now = clock.now()
        if due > now:
            await clock.sleep(due - now)
        else:
            due = now
        outcome = await ask(tracker.spec)
        told(tracker, outcome, tracker.record(outcome.ok))
        due += tracker.spec.period
