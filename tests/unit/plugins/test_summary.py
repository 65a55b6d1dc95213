"""The summary of a release: readable at a glance, whatever was or was not measured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.summary import WIDTH, summarise

ME = record.Author("ann", "ops1")
ZERO = 1_800_000_000.0
SCALE = 0.01
STAGES = [
    {"name": "canary", "title": "Canary start", "starts": 0, "minutes": 30, "weight": 5, "owner": "SRE"},
    {"name": "expand", "starts": 30, "minutes": 45, "weight": 20},
]
PLAN = {"release_stages": STAGES, "release_time_scale": SCALE, "release_t_zero": ZERO}
RESULT = {
    "verdict": "pass",
    "weight": 5,
    "share": {"share": 5.12, "interval": [4.2, 6.04], "asked": 400},
    "error_rate": 0.0002,
    "p95": 0.061,
    "agents": {"active": 61.0, "total": 61},
}


def release(result: dict[str, Any] | None = None) -> record.Journal:
    """A release whose canary ran from T+1 to T+31 on the plan."""
    made = record.opened("5.1-a", "shop", {"stable": "5.0", "candidate": "5.1"}, PLAN, {}, ME, ZERO)
    made = record.begun(made, "canary", ME, ZERO + 0.6)[0]
    return record.ended(made, "canary", ME, ZERO + 18.6, RESULT if result is None else result)


def test_the_table_shows_plan_and_fact_in_aligned_columns() -> None:
    summary = summarise(record.whole(release()), ["Load: 10 requests, 0 failed"], "ConfigMap prod/shop")
    assert summary.lines == [
        "Release 5.1-a   shop 5.0 → 5.1",
        "",
        "stage   planned      actual      time  weight  share            errors    P95  agents  verdict",
        "canary  T+0 → T+30   T+1 → T+31  0:18     5 %  5.1 % (4.2–6.0)  0.02 %  61 ms   61/61  pass",
        "expand  T+30 → T+75  –              –    20 %  –                     –      –       –  not begun",
        "",
        "Load: 10 requests, 0 failed",
        "Record: ConfigMap prod/shop",
        "NOT FINISHED: run deploy.yml to go on, or rollback.yml to take it back.",
    ]
    canary = summary.stages[0]
    assert (canary["planned_end"], canary["seconds"], canary["share_requests"]) == (1800, 18, 400)
    assert not summary.good


def test_the_last_line_says_how_it_ended() -> None:
    journal = record.begun(release(), "expand", ME, ZERO + 20)[0]
    going = summarise(record.whole(journal))
    assert going.outcome.startswith("NOT FINISHED at stage expand (begun)")
    journal = record.closed(journal, record.ROLLING_BACK, ME, ZERO + 30, {"reason": "error_rate_high"})
    assert "run rollback.yml to finish it" in summarise(record.whole(journal)).outcome
    journal = record.closed(journal, record.ROLLED_BACK, ME, ZERO + 31)
    back = summarise(record.whole(journal))
    assert back.lines[-1] == "ROLLED BACK: 5.0 serves all traffic after 0:31; reason: error_rate_high."
    done = summarise(record.whole(record.closed(release(), record.DONE, ME, ZERO + 65)))
    assert (done.outcome, done.good) == ("DONE: 5.1 serves all traffic after 1:05.", True)


def test_a_share_is_read_as_a_fraction_and_as_the_probe_answers() -> None:
    probe = {"share": 5.12, "interval": [4.2, 6.04], "asked": 400}
    for share in (0.0512, {"share": 0.0512, "low": 0.042, "high": 0.0604, "requests": 400}, probe):
        stage = summarise(record.whole(release({"share": share}))).stages[0]
        assert stage["share"] == pytest.approx(0.0512)


def test_measurements_are_found_among_the_judgements() -> None:
    judgements = [{"metric": "p95", "value": 0.2, "verdict": "pass"}, {"metric": "error_rate", "value": 0.5}]
    stage = summarise(record.whole(release({"judgements": judgements}))).stages[0]
    assert (stage["p95"], stage["error_rate"], stage["share"]) == (0.2, 0.5, None)


def test_without_a_plan_the_journal_still_reads() -> None:
    made = record.opened("a", "shop", {}, {}, {}, ME, ZERO)
    made = record.begun(made, "canary", ME, ZERO)[0]
    lines = summarise(record.whole(made)).lines
    assert lines[3].split() == ["canary", "–", "–", "–", "–", "–", "–", "–", "–", "begun"]


values = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=30), st.just({"value": 1}))


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["share", "error_rate", "p95", "agents", "judgements"]), values),
    st.text(alphabet="abcdefgh-", min_size=1, max_size=80),
    st.lists(st.text(alphabet="abc ", max_size=200), max_size=3),
)
def test_no_line_is_wider_than_a_terminal_whatever_was_stored(
    result: dict[str, Any], name: str, notes: list[str]
) -> None:
    plan = {"release_stages": [{"name": name, "starts": -7200, "minutes": 9999, "weight": 5}, *STAGES]}
    made = record.opened("5.1-a", "shop", {"stable": "5.0", "candidate": "5.1"}, plan, {}, ME, ZERO)
    if isinstance(result.get("judgements"), (bool, int, float, str)):
        del result["judgements"]
    made = record.ended(record.begun(made, name, ME, ZERO)[0], name, ME, ZERO + 9999, result)
    summary = summarise(record.whole(made), notes)
    assert max(map(len, summary.lines)) <= WIDTH
    assert len(summary.stages) == len({name, "canary", "expand"})
