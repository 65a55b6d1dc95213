"""API calls out of an audit log."""

from __future__ import annotations

import json

import pytest

from tests.bench.calls import CORE, KUBECTL, OTHER, ROLLOUT, Span, client_of, count, per_span, read_calls

T = 1795170900.0


def line(agent: str, seconds: float, audit_id: str = "", stage: str = "ResponseComplete") -> str:
    return (
        json.dumps(
            {
                "auditID": audit_id or f"{agent}{seconds}",
                "stage": stage,
                "verb": "get",
                "requestURI": "/api",
                "userAgent": agent,
                "requestReceivedTimestamp": f"2026-11-20T10:35:{seconds:09.6f}Z",
            }
        )
        + "\n"
    )


@pytest.mark.parametrize(
    ("agent", "client"),
    [
        ("claude-enhancer-rollout", ROLLOUT),
        ("OpenAPI-Generator/37.0.2/python", CORE),
        ("kubectl/v1.32.4 (linux/amd64) kubernetes/59526cd", KUBECTL),
        ("curl/8", OTHER),
        ("", OTHER),
    ],
)
def test_clients_are_known_by_how_their_agent_begins(agent: str, client: str) -> None:
    assert client_of(agent) == client


def test_a_request_counts_once_and_the_worlds_own_do_not() -> None:
    lines = [
        line("kubectl", 2, "watch", "ResponseStarted"),
        line("kubectl", 2, "watch"),
        line("claude-enhancer-rollout", 1),
        line("rehearsal-node", 1),
        line("rehearse", 1),
        line("kubectl", 3)[:-9],
    ]
    assert [(call.at - T, call.client) for call in read_calls(lines)] == [(1.0, ROLLOUT), (2.0, KUBECTL)]


def test_calls_belong_to_the_span_in_which_they_were_received() -> None:
    calls = read_calls(line("kubectl", seconds) for seconds in (0.5, 1, 1.9, 2, 5))
    assert count(calls, Span("s", T + 1, T + 2)) == {KUBECTL: 2}


def test_no_call_of_a_release_is_left_uncounted() -> None:
    agents = ["claude-enhancer-rollout", "OpenAPI-Generator/37", "kubectl"]
    calls = read_calls(line(agents[number % 3], number) for number in range(12))
    spans = [Span("a", T + 1, T + 4), Span("b", T + 5, T + 8)]
    *stages, (between, rest) = per_span(calls, spans)
    assert [(span.name, sum(found.values())) for span, found in stages] == [("a", 3), ("b", 3)]
    assert (between.name, between.began, between.ended) == ("between stages", T, T + 11)
    total = sum(sum(found.values()) for _span, found in stages) + sum(rest.values())
    assert total == len(calls) == 12
    assert per_span([], spans)[-1][1] == {}
