"""The way of requests from one process to the API, what goes wrong on it, and what others do meanwhile."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

import urllib3

BEFORE, AFTER = "dies before", "dies after"
BUSY = {"429": 429, "500": 500, "503": 503}
TIMEOUT, LOST, RESET = "timeout", "answer lost", "connection reset after"
TROUBLE = (*BUSY, TIMEOUT, LOST, RESET)
"""What the API, or the way to it, does to a request; the process lives on."""


class DiedError(BaseException):
    """The process was killed here; nothing that it does from then on happens."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """From request ``at`` on (counted from 0 in a step), ``times`` requests meet ``kind``; or ``meanwhile`` happens."""

    at: int
    kind: str
    times: int = 1
    meanwhile: Callable[[], None] | None = None


class Wire:
    """What a ``Cluster`` sends its requests through. ``landed`` is told of each that changed something.

    All times that the API tells are those of ``now``.
    """

    def __init__(self, pool: Any, now: Callable[[], float], look: Callable[[str], Any], landed: Landed) -> None:
        self.dead = False
        self.fault: Fault | None = None
        self.sent = 0
        self._pool = pool
        self._now = now
        self._look = look
        self._landed = landed

    def expect(self, fault: Fault | None) -> None:
        """Count anew, and meet ``fault``."""
        self.fault, self.sent = fault, 0

    def request(self, method: str, url: str, **options: Any) -> Any:
        if self.dead:
            raise DiedError
        kind = self._met()
        if kind == BEFORE:
            self._die()
        if kind in BUSY:
            return self._refused(BUSY[kind])
        if kind == TIMEOUT:
            raise urllib3.exceptions.ReadTimeoutError(self._pool, url, "Read timed out.")
        response = self._through(method, url, options)
        if kind == AFTER:
            self._die()
        if kind == LOST:
            raise urllib3.exceptions.ReadTimeoutError(self._pool, url, "Read timed out.")
        if kind == RESET:
            raise urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset by peer"))
        return response

    def _met(self) -> str:
        number, self.sent = self.sent, self.sent + 1
        fault = self.fault
        if fault is None or not fault.at <= number < fault.at + fault.times:
            return ""
        if fault.meanwhile is None:
            return fault.kind
        self.fault = None
        fault.meanwhile()
        return ""

    def _die(self) -> None:
        self.dead = True
        raise DiedError

    def _refused(self, status: int) -> Any:
        body = {"kind": "Status", "status": "Failure", "code": status, "reason": "", "message": "the API is not well"}
        return urllib3.HTTPResponse(json.dumps(body).encode(), {"Date": self._date()}, status)

    def _through(self, method: str, url: str, options: dict[str, Any]) -> Any:
        parts = urlsplit(url)
        writes = method != "GET" and "dryRun" not in parse_qs(parts.query)
        before = self._look(parts.path) if writes else None
        response = self._pool.request(method, url, **options)
        response.headers["Date"] = self._date()
        if writes and response.status < 300:
            self._landed(method, parts.path, before, json.loads(response.data))
        return response

    def _date(self) -> str:
        return formatdate(self._now(), usegmt=True)


Landed = Callable[[str, str, Any, Any], None]
"""Method, path, the object before (None: it wasn't there, or nobody asks) and after."""
