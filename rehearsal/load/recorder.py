"""Counts what became of every request."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from rehearsal.load.exchange import Exchange
from rehearsal.load.histogram import Histogram

MOST_FAILURES = 1000
SERVER_ERROR = 500


class _Version:
    """What one version answered. Times are unix seconds."""

    def __init__(self, now: float) -> None:
        self.answered = 0
        self.failed = 0
        self.latency = Histogram()
        self.first_answer = now
        self.last_answer = now
        self.last_sent = 0.0

    def document(self) -> dict[str, Any]:
        return {
            "answered": self.answered,
            "failed": self.failed,
            "first_answer": self.first_answer,
            "last_answer": self.last_answer,
            "last_sent": self.last_sent,
            "latency": self.latency.summary(),
        }


class Recorder:
    """The count. A request is sent once, and then either answered or lost; an answer of 500 and above failed too.

    So ``sent == answered + lost + in flight`` and ``failed == lost + answers of 500 and above``, at every moment.
    Requests count in the second they were sent, answers and failures in the second they were seen.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.lost = 0
        self.failed = 0
        self.latency = Histogram()
        self.lag = Histogram()
        self.versions: dict[str, _Version] = {}
        self.statuses: Counter[str] = Counter()
        self.switches: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []
        self.timeline: dict[int, dict[str, Any]] = {}

    def note_sent(self, exchange: Exchange, lag: float) -> None:
        """``lag`` is how many seconds later than planned it went out, which is this process's own delay."""
        self.sent += 1
        self.lag.add(lag)
        self._second(exchange.sent)["sent"] += 1

    def note_end(self, exchange: Exchange) -> None:
        now, elapsed = time.time(), time.monotonic() - exchange.began
        second = self._second(now)
        if exchange.error:
            self.lost += 1
        else:
            self._answer(exchange, now, elapsed)
            second["versions"][exchange.version] = second["versions"].get(exchange.version, 0) + 1
        if exchange.error or exchange.status >= SERVER_ERROR:
            self.failed += 1
            second["failed"] += 1
            self._failure(exchange, now)

    def _answer(self, exchange: Exchange, now: float, elapsed: float) -> None:
        self.answered += 1
        self.latency.add(elapsed)
        self.statuses[str(exchange.status)] += 1
        version = self.versions.setdefault(exchange.version, _Version(now))
        version.answered += 1
        version.failed += exchange.status >= SERVER_ERROR
        version.latency.add(elapsed)
        version.last_answer = now
        version.last_sent = max(version.last_sent, exchange.sent)
        session = exchange.session
        if session is not None:
            for cookie in exchange.set_cookies:
                session.keep(cookie)
            if session.version and session.version != exchange.version:
                self.switches[f"{session.version} -> {exchange.version}"] += 1
            session.version = exchange.version

    def _failure(self, exchange: Exchange, now: float) -> None:
        if len(self.failures) < MOST_FAILURES:
            self.failures.append(
                {
                    "time": now,
                    "sent": exchange.sent,
                    "method": exchange.request.method,
                    "path": exchange.request.path,
                    "status": exchange.status,
                    "version": exchange.version,
                    "error": exchange.error or f"status {exchange.status}",
                }
            )

    def _second(self, moment: float) -> dict[str, Any]:
        second = int(moment)
        entry = self.timeline.get(second)
        if entry is None:
            entry = self.timeline[second] = {"second": second, "sent": 0, "failed": 0, "versions": {}}
        return entry

    def document(self) -> dict[str, Any]:
        """Everything counted so far, ready for JSON."""
        return {
            "sent": self.sent,
            "answered": self.answered,
            "lost": self.lost,
            "failed": self.failed,
            "statuses": dict(self.statuses),
            "latency": self.latency.summary(),
            "lag": self.lag.summary(),
            "versions": {name: version.document() for name, version in sorted(self.versions.items())},
            "session_switches": dict(self.switches),
            "timeline": [self.timeline[second] for second in sorted(self.timeline)],
            "failures": self.failures,
        }
