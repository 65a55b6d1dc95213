"""The journal as a value: whatever is asked of it in whatever order, it stays consistent and only grows."""

from __future__ import annotations

import copy
import functools
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal_layout as layout
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    InputError,
    JournalError,
    RolloutError,
)

ME = record.Author("ann", "ops1")
STAGES = ["canary", "expand", "switch"]
PLAN = {"release_stages": [{"name": name} for name in STAGES]}
NOW = 1_800_000_000.0


def opened(plan: dict[str, Any] | None = None) -> record.Journal:
    versions = {"stable": "5.0", "candidate": "5.1"}
    return record.opened("5.1-x", "shop", versions, PLAN if plan is None else plan, {}, ME, NOW)


def refolded(journal: record.Journal) -> dict[str, Any]:
    """The header that the events alone give."""
    start = {**opened().header, "sequence": 0, "controller": None, "plan": journal.header["plan"]}
    start["snapshot"] = journal.header["snapshot"]
    return functools.reduce(record.applied, journal.events, start)


# ---- any order of actions

stage_names = st.sampled_from([*STAGES, "canari"])
verdicts = st.sampled_from([{}, {"verdict": "pass"}, {"verdict": "fail"}])
actions = st.one_of(
    st.tuples(st.just("begin"), stage_names),
    st.tuples(st.just("end"), stage_names, verdicts),
    st.tuples(st.just("interrupted"), stage_names, st.sampled_from(["roll_back", "hold"])),
    st.tuples(st.just("record"), st.sampled_from(["note", "snapshot", "opened"])),
    st.tuples(st.just("close"), st.sampled_from([record.DONE, record.ROLLED_BACK, record.ROLLING_BACK])),
    st.tuples(st.just("take_up")),
)


def act(journal: record.Journal, action: tuple[Any, ...], now: float) -> record.Journal:
    kind, *rest = action
    if kind == "begin":
        return record.begun(journal, rest[0], ME, now)[0]
    if kind == "end":
        return record.ended(journal, rest[0], ME, now, rest[1])
    if kind == "interrupted":
        return record.recorded(journal, "interrupted", ME, now, rest[0], {"on_interrupt": rest[1]})
    if kind == "record":
        return record.recorded(journal, rest[0], ME, now, data={"n": 1})
    if kind == "close":
        return record.closed(journal, rest[0], ME, now)
    return record.taken_up(journal, ME, now)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(actions, st.floats(-5, 60)), max_size=25))
def test_any_order_of_actions_leaves_a_consistent_journal(steps: list[tuple[tuple[Any, ...], float]]) -> None:
    journal = opened()
    now = NOW
    for action, elapsed in steps:
        before = copy.deepcopy(journal)
        now += elapsed
        try:
            after = act(journal, action, now)
        except RolloutError:
            assert journal == before, "a refused action changes nothing"
            continue
        assert journal == before, "an action makes a new journal, the old one is unchanged"
        assert after.events[: len(before.events)] == before.events, "events are only added"
        assert len(after.events) - len(before.events) in (0, 1)
        journal = after
        check_consistent(journal)
    assert layout.from_data(layout.to_data(journal), "here") == journal


def check_consistent(journal: record.Journal) -> None:
    assert [event["seq"] for event in journal.events] == list(range(1, len(journal.events) + 1))
    times = [event["time"] for event in journal.events]
    assert times == sorted(times)
    assert journal.header == refolded(journal)
    states = [entry["state"] for entry in journal.stages.values()]
    assert states.count(record.BEGUN) <= 1
    if journal.state == record.DONE:
        assert record.BEGUN not in states
    first_open = next((i for i, name in enumerate(STAGES) if name not in journal.ended_stages), len(STAGES))
    assert not set(journal.stages) - set(STAGES[: first_open + 1]), (
        "no stage is begun before the ones ahead of it ended"
    )


# ---- single cases


def test_stages_go_in_order_and_are_passed_over_once_ended() -> None:
    journal, answer = record.begun(opened(), "canary", ME, NOW)
    assert answer == {"ended": False, "resumed": False}
    assert record.begun(journal, "canary", ME, NOW) == (journal, {"ended": False, "resumed": True})
    journal = record.ended(journal, "canary", ME, NOW, {"verdict": "pass", "share": 0.05})
    assert record.begun(journal, "canary", ME, NOW) == (journal, {"ended": True, "resumed": False})
    assert record.standing(journal)["next_stage"] == "expand"
    assert record.whole(journal)["stages"]["canary"]["result"]["share"] == 0.05


@pytest.mark.parametrize(
    ("stage", "words"),
    [("expand", ["'expand'", "'canary'"]), ("canery", ["'canery'", "did you mean 'canary'"])],
)
def test_begin_out_of_order_is_refused(stage: str, words: list[str]) -> None:
    with pytest.raises(JournalError) as caught:
        record.begun(opened(), stage, ME, NOW)
    assert all(word in caught.value.message for word in words)


def test_begin_while_another_stage_is_begun_is_refused() -> None:
    journal = record.begun(opened({}), "canary", ME, NOW)[0]
    with pytest.raises(JournalError, match="stage 'canary' was begun at"):
        record.begun(journal, "expand", ME, NOW)


def test_end_of_a_stage_that_is_not_begun_is_refused() -> None:
    with pytest.raises(JournalError, match="'canary' can't end: it is not begun"):
        record.ended(opened(), "canary", ME, NOW)


def test_a_failed_stage_is_begun_again() -> None:
    journal = record.begun(opened(), "canary", ME, NOW)[0]
    journal = record.ended(journal, "canary", ME, NOW + 1, {"verdict": "fail"})
    assert journal.ended_stages == []
    again, answer = record.begun(journal, "canary", ME, NOW + 2)
    assert answer == {"ended": False, "resumed": True}
    assert again.stages["canary"]["times_begun"] == 2


def test_an_interrupted_stage_is_begun_again_and_a_held_one_goes_on() -> None:
    journal = record.begun(opened(), "canary", ME, NOW)[0]
    back = record.recorded(journal, "interrupted", ME, NOW, "canary", {"on_interrupt": "roll_back"})
    assert back.begun_stage is None
    assert record.standing(back)["interrupted_stages"] == ["canary"]
    assert record.begun(back, "canary", ME, NOW)[0].begun_stage == "canary"
    held = record.recorded(journal, "interrupted", ME, NOW, "canary", {"on_interrupt": "hold"})
    assert held.begun_stage == "canary"


def test_a_closed_release_can_not_begin_a_stage() -> None:
    journal = record.closed(opened(), record.ROLLED_BACK, ME, NOW)
    with pytest.raises(JournalError, match="is rolled_back since 2027"):
        record.begun(journal, "canary", ME, NOW)


def test_a_rollback_that_began_can_not_become_done() -> None:
    journal = record.closed(opened(), record.ROLLING_BACK, ME, NOW)
    with pytest.raises(JournalError, match="is rolling_back and can't become 'done'; possible: rolled_back"):
        record.closed(journal, record.DONE, ME, NOW)


def test_only_the_first_snapshot_counts() -> None:
    journal = record.recorded(opened(), "snapshot", ME, NOW, data={"weight": 0})
    later = record.recorded(journal, "snapshot", ME, NOW, data={"weight": 20})
    assert later.header["snapshot"] == {"weight": 0}
    assert later.events[-1]["data"] == {"holds": ["weight"]}


def test_secrets_are_dropped_and_references_to_them_stay() -> None:
    given_data = {
        "database": {"password": "p1", "url": "postgresql://ann:p2@db/x"},
        "release_api_key": "p3",
        "objects": [
            {"kind": "Secret", "data": {"dsn": "p4"}, "metadata": {"name": "db"}},
            {"env": [{"name": "DB_PASSWORD", "value": "p5"}, {"name": "MODE", "value": "production"}]},
            {"secretKeyRef": {"name": "db", "key": "dsn"}, "secretName": "db", "automountServiceAccountToken": False},
        ],
    }
    kept, dropped = record.without_secrets(given_data)
    text = json.dumps(kept)
    assert not [secret for secret in ("p1", "p2", "p3", "p4", "p5") if f'"{secret}' in text or f":{secret}" in text]
    assert kept["database"]["url"] == "postgresql://***@db/x"
    assert kept["objects"][1]["env"][1] == {"name": "MODE", "value": "production"}
    assert kept["objects"][2] == given_data["objects"][2]  # type: ignore[index]
    assert dropped == [
        "database.password",
        "database.url",
        "release_api_key",
        "objects[0].data",
        "objects[1].env[0].value",
    ]


def test_an_event_keeps_the_last_looks_and_everything_else() -> None:
    data = {"verdict": "pass", "looks": list(range(500)), "dump": "x" * 100_000, "share": 0.05}
    journal = record.recorded(opened(), "note", ME, NOW, data=data)
    assert journal.events[-1]["data"] == {**data, "looks": list(range(450, 500))}


def test_the_header_keeps_what_a_later_run_needs_of_a_rollback_that_began() -> None:
    data = {"reason": "r", "decided": 5.0, "weight_before": 20, "entry_selector_before": None}
    begun = record.closed(opened(), record.ROLLING_BACK, ME, NOW, data)
    noted = record.recorded(begun, "rollback_unfinished", ME, NOW + 60, data={"problems": ["x"]})
    assert noted.header["rollback"] == {"since": record.iso(NOW), "decided": 5.0, "weight_before": 20}
    older = {**noted.header, "schema": "1"}
    del older["rollback"]
    data_of_schema_1 = {**layout.to_data(noted), layout.HEADER_KEY: json.dumps(older)}
    assert layout.from_data(data_of_schema_1, "here") == noted


def test_a_plan_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match=r"snapshot \(600 KiB\)"):
        record.opened("r", "shop", {}, {}, {"objects": "x" * 600 * 1024}, ME, NOW)


@pytest.mark.parametrize("data", [{}, {"release.json": "{"}, {"release.json": '{"schema": "7"}'}])
def test_what_is_no_journal_is_named(data: dict[str, str]) -> None:
    with pytest.raises(JournalError, match="ConfigMap shop/x"):
        layout.from_data(data, "ConfigMap shop/x")


def test_the_archive_has_a_name_kubernetes_takes() -> None:
    assert layout.archive_name("shop", "5.1-20261120T100000Z") == "shop-release-5.1-20261120t100000z"


@pytest.mark.parametrize("release_id", ["journal", "History", "snapshot-5.1", "journal-x-0001", "§"])
def test_no_release_is_called_like_the_journal_itself(release_id: str) -> None:
    assert layout.archive_name("shop", release_id).startswith("shop-release-id-")


@given(one=st.text(min_size=1, max_size=90), other=st.text(min_size=1, max_size=90))
def test_no_two_releases_share_a_name_or_a_label(one: str, other: str) -> None:
    marks = layout.slug(one), layout.slug(other)
    assert (marks[0] == marks[1]) == (one == other)
    assert len(marks[0]) <= 63
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", marks[0])
