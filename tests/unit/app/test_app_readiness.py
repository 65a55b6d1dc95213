"""When a pod of the sample application is ready, and what it shows to Prometheus and to users."""

from __future__ import annotations

import pytest

from rehearsal.app.metrics import AgentMetrics, HttpMetrics, WorkflowMetrics, render, route_of
from rehearsal.app.readiness import (
    AgentCount,
    Check,
    check_agents,
    check_connection,
    check_serving,
    check_start,
    judge,
)
from rehearsal.app.sessions import TOKEN_SECONDS, SessionError, make_token, read_token


def test_ready_only_when_every_check_holds() -> None:
    holding = [Check(name, True, "") for name in "abc"]
    assert judge(holding).ready
    for place in range(3):
        checks = list(holding)
        checks[place] = Check("x", False, "why")
        assert not judge(checks).ready
        assert judge(checks).as_dict()["status"] == "not ready"
        assert judge(checks).as_dict()["checks"]["x"] == {"holds": False, "detail": "why"}


@pytest.mark.parametrize(
    ("count", "holds", "detail"),
    [
        (AgentCount(False, 61, 0, 0), False, "still loading"),
        (AgentCount(True, 61, 61, 0), True, "61 of 61 active, 0 failed"),
        (AgentCount(True, 61, 51, 10), True, "51 of 61 active, 10 failed"),
        (AgentCount(True, 61, 0, 61), False, "0 of 61 active, 61 failed"),
    ],
)
def test_agents_hold_once_loaded(count: AgentCount, holds: bool, detail: str) -> None:
    assert check_agents(count) == Check("agents", holds, detail)


def test_what_is_not_configured_holds_and_says_so() -> None:
    assert check_connection("redis", None, configured=False) == Check("redis", True, "not configured")
    assert check_connection("redis", "refused") == Check("redis", False, "refused")
    assert check_connection("redis", None) == Check("redis", True, "connected")


def test_a_start_and_a_stop_are_not_ready() -> None:
    assert not check_start(0.1).holds
    assert check_start(0.0).holds
    assert not check_serving(draining=True).holds
    assert check_serving(draining=False).holds


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "other"),
        ("/health", "health"),
        ("/healthy", "other"),
        ("/health/ready", "health"),
        ("/ready", "health"),
        ("/api/v1/agents", "agents"),
        ("/api/v1/workflows", "workflows"),
        ("/api/v1/workflows/1", "workflows"),
        ("/ws", "websocket"),
        ("/api/v1/status", "other"),
        ("/none", "other"),
    ],
)
def test_the_route_label_follows_the_path(path: str, route: str) -> None:
    assert route_of(path) == route


def test_failure_series_are_there_before_the_first_failure() -> None:
    lines = render(HttpMetrics().registry).decode().splitlines()
    for route in ("health", "agents", "workflows", "websocket", "other"):
        for status in (200, 500):
            assert f'http_requests_total{{method="GET",route="{route}",status="{status}"}} 0.0' in lines
    bounds = [line.split('"')[1] for line in lines if line.startswith("http_request_duration_seconds_bucket")]
    assert bounds == ["0.005", "0.01", "0.025", "0.05", "0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0", "+Inf"]


def test_answers_are_counted_by_status_method_and_route() -> None:
    metrics = HttpMetrics()
    metrics.count(500, "GET", "agents", 0.3)
    metrics.count(101, "GET", "websocket", None)
    metrics.count(405, "BREW", "other", 0.001)
    lines = render(metrics.registry).decode().splitlines()
    assert 'http_requests_total{method="GET",route="agents",status="500"} 1.0' in lines
    assert 'http_requests_total{method="GET",route="websocket",status="101"} 1.0' in lines
    assert 'http_requests_total{method="other",route="other",status="405"} 1.0' in lines
    assert 'http_request_duration_seconds_bucket{le="0.2"} 1.0' in lines
    assert 'http_request_duration_seconds_bucket{le="0.5"} 2.0' in lines
    assert "http_request_duration_seconds_count 2.0" in lines


def test_agent_gauges_are_read_at_the_scrape() -> None:
    count, healthy = AgentCount(False, 61, 0, 0), False
    metrics = AgentMetrics(lambda: count, lambda: healthy)
    assert "claude_enhancer_agents_active 0.0" in render(metrics.registry).decode().splitlines()
    count, healthy = AgentCount(True, 61, 58, 3), True
    lines = render(metrics.registry).decode().splitlines()
    assert "claude_enhancer_agents_total 61.0" in lines
    assert "claude_enhancer_agents_active 58.0" in lines
    assert "claude_enhancer_agents_failed 3.0" in lines
    assert "claude_enhancer_agent_coordination_healthy 1.0" in lines


def test_workflow_series_are_there_from_the_start() -> None:
    lines = render(WorkflowMetrics().registry).decode().splitlines()
    for result in ("success", "failure"):
        assert f'claude_enhancer_workflows_total{{result="{result}"}} 0.0' in lines
        assert f'claude_enhancer_workflow_phase_transitions_total{{result="{result}"}} 0.0' in lines
    assert "claude_enhancer_workflow_errors_total 0.0" in lines


def test_a_token_holds_until_it_expires() -> None:
    token = make_token("ada", "secret", 1000.0)
    assert read_token(token, "secret", 1000.0 + TOKEN_SECONDS - 1) == "ada"
    for spoilt, secret, now in (
        (token, "secret", 1000.0 + TOKEN_SECONDS),
        (token, "other", 1000.0),
        (token[:-1], "secret", 1000.0),
        ("", "secret", 1000.0),
        ("x.é", "secret", 1000.0),
    ):
        with pytest.raises(SessionError):
            read_token(spoilt, secret, now)
