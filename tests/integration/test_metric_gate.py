"""The module metric_gate, run by ansible-playbook against a real Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api_only import results
from tests.integration.measured import METRICS, Application, prometheus

NOBODY = "http://127.71.0.9:9090"
GATE = "claude_enhancer.rollout.metric_gate"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Application]]:
    application = Application("127.71.0.2")
    try:
        with prometheus(tmp_path_factory.mktemp("prometheus"), "127.71.0.1", application.target) as url:
            yield url, application
    finally:
        application.close()


@pytest.fixture(scope="module")
def url(served: tuple[str, Application]) -> str:
    return served[0]


def gate(url: str, *criteria: dict[str, Any], **options: Any) -> dict[str, Any]:
    settings = {"prometheus": {"url": url, "timeout": 1}, "versions": {"candidate": "5.1"}, "metrics": METRICS}
    return {GATE: {**settings, "criteria": list(criteria), **options}}


def test_verdicts_of_a_real_prometheus(url: str, tmp_path: Path) -> None:
    tasks = [
        gate(
            url,
            {"metric": "error_rate", "below": "0.1%", "unacceptable": "2%", "min_requests": 200},
            {"metric": "p95", "below": "200ms"},
            {"metric": "agents", "equals": 61},
        ),
        gate(url, {"metric": "error_rate", "below": 0.1}, {"metric": "agents", "above": 61}),
        gate(url, {"metric": "absent", "below": 1}),
        gate(url, {"metric": "nan", "below": 1}),
        gate(NOBODY, {"metric": "agents", "below": 1}),
        gate(NOBODY, {"metric": "agents", "below": 1}, fail_on=["fail"]),
        gate(NOBODY, {"metric": "agents", "below": 100}, prometheus={"urls": [NOBODY, url]}),
        gate(url, {"metric": "agents", "above": 61}, wait=1.2, interval=0.5),
    ]
    done = results(tmp_path, tmp_path / "none", tasks)
    assert [one["verdict"] for one in done] == [
        "pass", "fail", "no_evidence", "no_evidence", "source_down", "source_down", "pass", "fail",
    ]  # fmt: skip
    assert [one["failed"] for one in done] == [False, True, True, True, True, False, False, True]
    assert not any(one["changed"] for one in done)
    errors, slow, agents = done[0]["judgements"]
    assert errors["value"] == 0 and errors["evidence"]["total"] == pytest.approx(800, rel=0.3)
    assert errors["evidence"]["age"] < 2
    assert slow["value"] < 0.1
    assert agents["value"] == 61
    assert done[1]["error"] == "criteria_not_met"
    assert done[1]["msg"] == "criterion agents: 61, asked > 61: fail"
    assert done[4]["msg"].startswith(
        "criterion agents: -, asked < 1: source_down (Prometheus at http://127.71.0.9:9090"
    )
    assert done[7]["looks"] == 4


def test_criteria_that_must_hold_for_a_time(served: tuple[str, Application], tmp_path: Path) -> None:
    url, application = served
    metrics = {name: {**metric, "max_age": "2s"} for name, metric in METRICS.items()}
    error_rate = {"metric": "error_rate", "below": "0.1%", "unacceptable": "2%"}
    p95, agents = {"metric": "p95", "below": "200ms"}, {"metric": "agents", "equals": 61}

    def asking(seconds: float, *criteria: dict[str, Any], **options: Any) -> dict[str, Any]:
        return gate(url, *({**criterion, "for": seconds} for criterion in criteria), metrics=metrics, **options)

    begun = time.monotonic()
    time.sleep(5)
    windows = {"metric": "error_rate", "below": "0.1%", "evidence": "point", "name": "by window"}
    (good,) = results(tmp_path, tmp_path / "none", [asking(5, error_rate, p95, agents, windows)])
    assert [one["verdict"] for one in good["judgements"]] == ["pass"] * 4, good["text"]
    assert good["judgements"][0]["evidence"]["total"] == pytest.approx(2000, rel=0.2)
    assert good["judgements"][2]["evidence"]["points"] >= 20
    assert good["judgements"][3]["evidence"]["verdicts"] == ["pass"] * 3

    # Long enough for the start of a playbook on a busy machine.
    time.sleep(max(0.0, begun + 15 - time.monotonic()))
    application.fail(0.3)
    time.sleep(1)
    application.fail(0.0)
    tasks = [asking(15, error_rate, p95, agents), asking(15, error_rate, wait=25, interval=1)]
    failed, waited = results(tmp_path, tmp_path / "none", tasks)
    assert [one["verdict"] for one in failed["judgements"]] == ["fail", "pass", "pass"], failed["text"]
    (stretch,) = failed["judgements"][0]["evidence"]["stretches"]
    assert stretch["until"] - stretch["since"] < 3
    assert "held since then for" in failed["judgements"][0]["reason"]
    assert waited["verdict"] == "pass", waited["text"]
    assert waited["looks"] > 1

    application.serving = False
    time.sleep(4)
    application.serving = True
    time.sleep(1)
    (gone,) = results(tmp_path, tmp_path / "none", [asking(15, error_rate, p95, agents)])
    assert {one["verdict"] for one in gone["judgements"]} == {"no_evidence"}
    for one in gone["judgements"]:
        assert one["reason"].startswith("a gap of "), one["text"]
        (gap,) = one["evidence"]["gaps"]
        assert gap["until"] - gap["since"] == pytest.approx(4.5, abs=1)


def test_what_cannot_be_judged_is_named(url: str, tmp_path: Path) -> None:
    broken = METRICS | {"broken": {"kind": "gauge", "query": "sum(up{"}}
    tasks = [
        gate(url, {"metric": "broken", "below": 1}, metrics=broken),
        gate(url, {"metric": "broken", "below": 1}, metrics=broken, validate_only=True),
        gate(url, {"metric": "agents", "below": "abc"}, {"metric": "agent", "below": 1}),
        gate(url, {"metric": "error_rate", "below": 0.1}, {"metric": "absent", "below": 1}, validate_only=True),
        gate(NOBODY, {"metric": "agents", "below": 1}, validate_only=True),
    ]
    done = results(tmp_path, tmp_path / "none", tasks, "--check")
    assert [one.get("error") for one in done] == ["query", "query", "input", None, "source_down"]
    for one in done[:2]:
        assert one["msg"].startswith("metric broken: Prometheus refused the query 'sum(up{': bad_data: ")
    assert done[2]["problems"] == [
        "criterion agents: below: 'abc' is not a number",
        "criterion agent: metric: 'agent' is not in the catalogue (did you mean agents or absent?)",
    ]
    assert "verdict" not in done[3]
    assert [(one["metric"], one["role"], one["series"]) for one in done[3]["queries"]] == [
        ("error_rate", "bad", 1), ("error_rate", "total", 1), ("error_rate", "freshness", 1),
        ("absent", "query", 0), ("absent", "freshness", 0),
    ]  # fmt: skip


def test_a_token_is_not_shown(url: str, tmp_path: Path) -> None:
    secret = "do-not-show-me"
    task = gate(url, {"metric": "agents", "equals": 61}, prometheus={"url": url, "token": secret})
    done = results(tmp_path, tmp_path / "none", [task])
    assert done[0]["verdict"] == "pass"
    assert secret not in str(done)
