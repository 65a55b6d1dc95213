"""API calls in an audit log: by client and by time. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

ROLLOUT, CORE, KUBECTL, OTHER = "claude_enhancer.rollout", "kubernetes.core", "kubectl", "other"
# How the user agent of a client begins. That of kubernetes.core is the Python client's own.
_AGENTS = {"claude-enhancer-rollout": ROLLOUT, "OpenAPI-Generator/": CORE, "kubectl": KUBECTL}
# The rehearsal cluster's own parts, which a real API server has on record too, and what reads results for the bench.
_LEFT_OUT = ("rehearsal", "rehearse")


@dataclass(frozen=True)
class Call:
    """One request: ``at`` is the unix time at which the API server received it."""

    at: float
    client: str
    verb: str
    uri: str


@dataclass(frozen=True)
class Span:
    """A stretch of time with a name, in unix seconds."""

    name: str
    began: float
    ended: float


def client_of(agent: str) -> str:
    """The client that calls itself ``agent``."""
    return next((client for start, client in _AGENTS.items() if agent.startswith(start)), OTHER)


def read_calls(lines: Iterable[str]) -> list[Call]:
    """The calls of an audit log's lines (``audit.k8s.io/v1`` Events), each once however many stages it has there."""
    found: dict[str, Call] = {}
    for line in lines:
        # A line that is being written has no end yet.
        if not line.endswith("\n"):
            continue
        event = json.loads(line)
        agent = event.get("userAgent", "")
        if not agent.startswith(_LEFT_OUT):
            at = unix(event["requestReceivedTimestamp"])
            found[event["auditID"]] = Call(at, client_of(agent), event["verb"], event["requestURI"])
    return sorted(found.values(), key=lambda call: call.at)


def count(calls: Iterable[Call], span: Span) -> Counter[str]:
    """Client → how many calls it made within the span."""
    return Counter(call.client for call in calls if span.began <= call.at < span.ended)


def per_span(calls: list[Call], spans: list[Span]) -> list[tuple[Span, Counter[str]]]:
    """Each span's calls, then all others between the first call and the last as ``between``."""
    inside = [(span, count(calls, span)) for span in spans]
    counted: Counter[str] = sum((found for _span, found in inside), Counter())
    everything: Counter[str] = Counter(call.client for call in calls)
    between = Span("between stages", calls[0].at if calls else 0.0, calls[-1].at if calls else 0.0)
    return [*inside, (between, everything - counted)]


def unix(moment: str) -> float:
    """ISO 8601 to unix seconds."""
    return datetime.fromisoformat(moment).timestamp()
