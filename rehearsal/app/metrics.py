"""Prometheus metrics of a pod: one registry for each metrics port."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from rehearsal.app.readiness import AgentCount

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ROUTES = ("health", "agents", "workflows", "websocket", "other")

disable_created_metrics()


def route_of(path: str) -> str:
    """The value of the label ``route`` for a request path."""
    if path == "/ready" or path == "/health" or path.startswith("/health/"):
        return "health"
    if path.startswith("/api/v1/workflows"):
        return "workflows"
    if path.startswith("/api/v1/agents"):
        return "agents"
    return "websocket" if path == "/ws" else "other"


class HttpMetrics:
    """Requests on the application port, as port 9090 shows them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests_total", "Requests answered.", ("status", "method", "route"), registry=self.registry
        )
        self._duration = Histogram(
            "http_request_duration_seconds", "Time to answer a request.", buckets=BUCKETS, registry=self.registry
        )
        self._series = lru_cache(maxsize=512)(self._make_series)
        # A rate() sees a first failure only if the series was there, at 0, before it.
        for route in ROUTES:
            for status in (200, 500, 503):
                self._series(status, "GET", route)
        self._series(101, "GET", "websocket")
        for status in (202, 500, 503):
            self._series(status, "POST", "workflows")

    def count(self, status: int, method: str, route: str, seconds: float | None) -> None:
        """Count one answer; ``seconds`` None leaves the histogram alone (a websocket has no answer time)."""
        self._series(status, method, route).inc()
        if seconds is not None:
            self._duration.observe(seconds)

    def _make_series(self, status: int, method: str, route: str) -> Counter:
        return self._requests.labels(str(status), method if method in METHODS else "other", route)


class AgentMetrics:
    """Agents of the pod, as port 9091 shows them; read at the time of the scrape."""

    def __init__(self, count: Callable[[], AgentCount], healthy: Callable[[], bool]) -> None:
        self.registry = CollectorRegistry()
        self._gauge("total", "Agents this pod should have.", lambda: count().total)
        self._gauge("active", "Agents ready to work.", lambda: count().active)
        self._gauge("failed", "Agents that did not load or are down.", lambda: count().failed)
        coordination = Gauge(
            "claude_enhancer_agent_coordination_healthy", "1 while agents coordinate.", registry=self.registry
        )
        coordination.set_function(lambda: float(healthy()))

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(f"claude_enhancer_agents_{name}", text, registry=self.registry).set_function(read)


class WorkflowMetrics:
    """Workflows run by the pod, as port 9092 shows them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        total = Counter("claude_enhancer_workflows_total", "Workflows ended.", ("result",), registry=self.registry)
        moves = Counter(
            "claude_enhancer_workflow_phase_transitions_total", "Phases ended.", ("result",), registry=self.registry
        )
        self.errors = Counter("claude_enhancer_workflow_errors_total", "Errors in workflows.", registry=self.registry)
        self.succeeded, self.failed = total.labels("success"), total.labels("failure")
        self.moved, self.stuck = moves.labels("success"), moves.labels("failure")


def render(registry: CollectorRegistry) -> bytes:
    """The registry in Prometheus' text format (``CONTENT_TYPE``)."""
    return generate_latest(registry)
