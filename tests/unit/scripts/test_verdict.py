"""A rehearsal is told good only when everything about it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rehearsal.load.report import LoadReport, VersionReport
from scripts.rehearse.verdict import Rehearsal, World, lines, problems, rollback_times

ZERO = 1_790_000_000.0
STAGES = ("canary_start", "full_switch")


def load(failed_by: dict[str, int] | None = None, failures: list[dict[str, Any]] | None = None) -> LoadReport:
    failed_by = failed_by or {}
    versions = {
        name: VersionReport(
            answered=1000,
            failed=failed_by.get(name, 0),
            first_answer=ZERO,
            last_answer=last,
            last_sent=last,
            latency={},
        )
        for name, last in (("5.0", ZERO + 60), ("5.1", ZERO + 22))
    }
    failed = sum(failed_by.values()) + len(failures or [])
    return LoadReport(
        rate=300, duration=60, sessions=0, started=ZERO, updated=ZERO + 60, finished=True, cpu=1.0, sent=2000,
        answered=2000, lost=len(failures or []), failed=failed, in_flight=0, reconnected=0, statuses={}, latency={},
        lag={}, versions=versions, session_switches={}, timeline=[], failures=failures or [],
    )  # fmt: skip


def released() -> Rehearsal:
    stages = {name: {"state": "ended", "result": {"verdict": "pass"}} for name in STAGES}
    versions = {"stable": "5.0", "candidate": "5.1"}
    return Rehearsal(
        deploy_exit=0,
        journal={"state": "done", "order": list(STAGES), "stages": stages, "versions": versions},
        load=load(),
        world=World({"health": 100, "default": 100}, "5.1", {"claude-enhancer-blue": 10, "claude-enhancer-green": 10}),
    )


def taken_back() -> Rehearsal:
    stages = {"canary_start": {"state": "failed", "result": {"verdict": "fail", "times": {"breach_seen": ZERO + 22}}}}
    return replace(
        released(),
        deploy_exit=2,
        fault="errors",
        fault_at=ZERO + 20,
        load=load({"5.1": 7}),
        world=World({"health": 0, "default": 0}, "5.0", {"claude-enhancer-blue": 10, "claude-enhancer-green": 0}),
        journal={
            "state": "rolled_back",
            "order": list(STAGES),
            "stages": stages,
            "versions": {"stable": "5.0", "candidate": "5.1"},
            "ended": "2026-09-21T14:13:48Z",
        },
    )


def test_a_good_release_has_no_problem() -> None:
    assert problems(released()) == []
    assert lines(released(), "build/x.json")[-1] == "result    released without a failed request"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"deploy_exit": 2}, "deploy.yml ended with status 2"),
        ({"load": load({"5.0": 1})}, "1 failed requests"),
        ({"load": load({"5.1": 1})}, "1 failed requests"),
        ({"load": replace(load(), sent=0)}, "nothing is proven"),
        ({"world": replace(released().world, entry_version="5.0")}, "entry service selects 5.0"),
        ({"world": replace(released().world, weights={"health": 100, "default": 50})}, "not 100 everywhere"),
        ({"world": replace(released().world, weights={})}, "not 100 everywhere"),
        ({"world": replace(released().world, replicas={"claude-enhancer-green": 0})}, "green has no replicas"),
        (
            {"world": replace(released().world, replicas={"claude-enhancer-canary": 1, "claude-enhancer-green": 1})},
            "canary is still there",
        ),
        ({"journal": released().journal | {"state": "in_progress"}}, "not done"),
        ({"journal": released().journal | {"stages": {}}}, "stage canary_start ended with verdict None"),
    ],
)
def test_whatever_is_not_so_is_told(change: dict[str, Any], said: str) -> None:
    found = problems(replace(released(), **change))
    assert any(said in problem for problem in found), found
    assert lines(replace(released(), **change), "x")[-1] == "result    not as it should be"


def test_a_bad_release_is_good_when_it_was_taken_back() -> None:
    rehearsal = replace(taken_back(), journal=taken_back().journal | {"ended": _iso(ZERO + 28)})
    assert problems(rehearsal) == []
    assert lines(rehearsal, "x")[1] == (
        "rollback  fault +0.0 s → trigger +2.00 s → last request to the candidate +2.00 s → verified +8.00 s"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"deploy_exit": 0}, "ended well although"),
        ({"fault_at": None}, "never injected"),
        ({"load": load({"5.0": 1})}, "1 requests failed on the stable side"),
        ({"world": replace(taken_back().world, weights={"health": 0, "default": 5})}, "not 0 everywhere"),
        ({"world": replace(taken_back().world, entry_version="5.1")}, "entry service selects 5.1"),
        ({"world": replace(taken_back().world, replicas={"claude-enhancer-green": 2})}, "still has 2 replicas"),
    ],
)
def test_a_rollback_that_left_something_is_told(change: dict[str, Any], said: str) -> None:
    rehearsal = replace(taken_back(), journal=taken_back().journal | {"ended": _iso(ZERO + 28)})
    found = problems(replace(rehearsal, **change))
    assert any(said in problem for problem in found), found


def test_a_rollback_without_a_trigger_or_too_slow_is_told() -> None:
    slow = replace(taken_back(), journal=taken_back().journal | {"ended": _iso(ZERO + 60)})
    assert any("over 30 s" in problem for problem in problems(slow))
    silent = replace(slow, journal=slow.journal | {"stages": {}})
    assert any("no trigger is on record" in problem for problem in problems(silent))


def test_a_failure_that_no_stable_pod_answered_counts_as_a_request_to_the_candidate() -> None:
    crashed = replace(taken_back(), load=load(failures=[{"sent": ZERO + 25, "version": "none"}]))
    assert rollback_times(crashed).last_request == ZERO + 25


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
