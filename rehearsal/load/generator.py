"""The open loop: requests go out by the clock, whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rehearsal.load.connection import Pool
from rehearsal.load.exchange import Exchange, Session
from rehearsal.load.mix import Request
from rehearsal.load.recorder import Recorder
from rehearsal.load.report import write_report

TIMEOUT = 10.0
_SNAPSHOT_EVERY = 0.5
_LONGEST_NAP = 0.2


class Load:
    """A load of ``rate`` requests per second for ``duration`` seconds, reported in the folder ``home``.

    Requests take turns among ``addresses``. With ``sessions`` that many users take turns, each with its own cookies;
    with none no cookie is ever sent.
    """

    def __init__(
        self,
        home: Path,
        addresses: Sequence[tuple[str, int]],
        requests: Iterator[Request],
        *,
        rate: float,
        duration: float,
        sessions: int = 0,
    ) -> None:
        self._home = home
        self._requests = requests
        self._rate = rate
        self._duration = duration
        self._sessions = [Session() for _ in range(sessions)]
        self._turns = itertools.cycle(self._sessions) if sessions else itertools.repeat(None)
        self._recorder = Recorder()
        self._pools = [Pool(*address, on_end=self._recorder.note_end) for address in addresses]
        self._next_pool = itertools.cycle(self._pools)
        self._stopping = asyncio.Event()
        self._started = 0.0

    def stop(self) -> None:
        """Send no more; what is on its way is waited for."""
        self._stopping.set()

    async def run(self) -> None:
        """Send, then wait for the last answers: at most ``duration`` and the timeout of one request."""
        self._started = time.time()
        snapshots = asyncio.create_task(self._keep_snapshots())
        try:
            await self._send_all()
            while self._in_flight:
                await asyncio.sleep(0.01)
                self._expire()
        finally:
            snapshots.cancel()
            for pool in self._pools:
                pool.close()
            write_report(self._home, self.document(finished=True))

    async def _send_all(self) -> None:
        """Request i is due at start + i / rate. Late ones go out at once, but never without letting answers in."""
        begin = time.monotonic()
        for index in range(int(self._rate * self._duration)):
            due = begin + index / self._rate
            await asyncio.sleep(0)
            while (ahead := due - time.monotonic()) > 0 and not self._stopping.is_set():
                await asyncio.sleep(min(ahead, _LONGEST_NAP))
            if self._stopping.is_set():
                return
            self._send(due)

    def _send(self, due: float) -> None:
        request, session = next(self._requests), next(self._turns)
        wire = request.wire(session.cookie_header if session else b"")
        began = time.monotonic()
        exchange = Exchange(request, wire, time.time(), began, session)
        self._recorder.note_sent(exchange, began - due)
        next(self._next_pool).submit(exchange)

    @property
    def _in_flight(self) -> int:
        return sum(pool.in_flight for pool in self._pools)

    def _expire(self) -> None:
        for pool in self._pools:
            pool.expire(time.monotonic() - TIMEOUT)

    async def _keep_snapshots(self) -> None:
        while True:
            write_report(self._home, self.document(finished=False))
            await asyncio.sleep(_SNAPSHOT_EVERY)
            self._expire()

    def document(self, *, finished: bool) -> dict[str, Any]:
        """The fields of ``report.LoadReport``."""
        return {
            "rate": self._rate,
            "duration": self._duration,
            "sessions": len(self._sessions),
            "started": self._started,
            "updated": time.time(),
            "finished": finished,
            "cpu": time.process_time(),
            "in_flight": self._in_flight,
            "reconnected": sum(pool.reconnected for pool in self._pools),
        } | self._recorder.document()
