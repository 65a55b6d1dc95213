"""What users of the application ask for, in the proportions they do."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


@dataclass(frozen=True)
class Request:
    """One request as it goes over the wire, but for its cookies: ``head`` ends after the last header line."""

    method: str
    path: str
    head: bytes
    body: bytes

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice does no more than sending it once."""
        return self.method in _IDEMPOTENT

    def wire(self, cookies: bytes = b"") -> bytes:
        """All bytes to send; ``cookies`` is the value of a Cookie header."""
        return self.head + (b"cookie: " + cookies + b"\r\n" if cookies else b"") + b"\r\n" + self.body


def request(method: str, path: str, hostname: str, document: object = None) -> Request:
    """A request, with ``document`` as its JSON body where given."""
    body = b"" if document is None else json.dumps(document).encode()
    lines = [f"{method} {path} HTTP/1.1", f"host: {hostname}", "user-agent: rehearsal-load", "accept: application/json"]
    if document is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return Request(method, path, "".join(f"{line}\r\n" for line in lines).encode(), body)


MOST_WORKFLOWS = 8


def endless_mix(hostname: str, workflows: int = 1) -> Iterator[Request]:
    """Requests for ever: of each 20, ``workflows`` start one, 6 ask for the page, 3 for health, 3 for status, the rest
    (7 with one workflow) for agents.

    The order within 20 is shuffled once, the same in every run. Raises ValueError beyond ``MOST_WORKFLOWS``.
    """
    if not 0 <= workflows <= MOST_WORKFLOWS:
        raise ValueError(f"{workflows} workflows of each 20 requests: must be 0 to {MOST_WORKFLOWS}")
    workflow = {"name": "rehearsal", "task": "steady load"}
    shares = [
        (MOST_WORKFLOWS - workflows, request("GET", "/api/v1/agents", hostname)),
        (6, request("GET", "/", hostname)),
        (3, request("GET", "/health", hostname)),
        (3, request("GET", "/api/v1/status", hostname)),
        (workflows, request("POST", "/api/v1/workflows", hostname, workflow)),
    ]
    round_of_requests = [item for count, item in shares for _ in range(count)]
    random.Random(20).shuffle(round_of_requests)
    return itertools.cycle(round_of_requests)
