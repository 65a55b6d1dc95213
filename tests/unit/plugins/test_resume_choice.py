"""What release_resume means for whatever the journal says."""

from __future__ import annotations

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import JournalError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.resume import (
    CHOICES,
    decide,
    fresh_id,
    problem_with,
)

ME = record.Author("ann", "ops1")
NOW = 1_800_000_000.0
VERSIONS = {"stable": "5.0", "candidate": "5.1"}


def journal(*states: str, release_id: str = "5.1-a") -> record.Journal:
    made = record.opened(release_id, "shop", VERSIONS, {}, {}, ME, NOW)
    for state in states:
        made = record.closed(made, state, ME, NOW)
    return made


@pytest.mark.parametrize(
    ("asked", "goes_on", "take_back", "ends"),
    [("resume", True, False, False), ("restart", False, True, False), ("rollback", False, True, True)],
)
def test_a_release_in_progress(asked: str, goes_on: bool, take_back: bool, ends: bool) -> None:
    found = decide(journal(), asked, "5.1-b", VERSIONS, ME)
    assert (found.goes_on, found.take_back, found.ends, found.notice) == (goes_on, take_back, ends, "")
    assert ("ann on ops1" in found.reason) == take_back


@pytest.mark.parametrize("states", [None, ("done",), ("rolling_back", "rolled_back")])
def test_without_one_only_rollback_ends_and_both_say_so(states: tuple[str, ...] | None) -> None:
    last = journal(*states) if states else None
    found = {asked: decide(last, asked, "5.1-b", VERSIONS, ME) for asked in CHOICES}
    assert not any(one.take_back or one.goes_on for one in found.values())
    assert [asked for asked, one in found.items() if one.ends] == ["rollback"]
    assert found["resume"].notice == ""
    assert "nothing was changed, and nothing begins" in found["rollback"].notice
    assert "a new one begins, as without it" in found["restart"].notice
    assert ("(the last one, 5.1-a, is" in found["restart"].notice) == (last is not None)


def test_a_rollback_that_was_not_finished_is_finished_by_the_other_choices_only() -> None:
    unfinished = journal("rolling_back")
    with pytest.raises(JournalError) as caught:
        decide(unfinished, "resume", "5.1-b", VERSIONS, ME)
    said = caught.value.message
    assert "run claude_enhancer.rollout.rollback to finish it" in said
    assert "-e release_resume=rollback ends there, -e release_resume=restart begins a new release after it" in said
    assert decide(unfinished, "restart", "5.1-b", VERSIONS, ME).take_back
    assert decide(unfinished, "rollback", "5.1-b", VERSIONS, ME).take_back


@pytest.mark.parametrize("asked", CHOICES)
@pytest.mark.parametrize("states", [(), ("rolling_back",)])
def test_a_release_of_other_versions_is_nobodys_to_take_back(asked: str, states: tuple[str, ...]) -> None:
    with pytest.raises(JournalError, match=r"release 5\.1-a .*(held by ann on ops1|its rollback was not finished)"):
        decide(journal(*states), asked, "5.2-a", {"stable": "5.1", "candidate": "5.2"}, ME)


@pytest.mark.parametrize("value", ["", "Resume", "roll_back", None, 5, ["restart"]])
def test_another_value_is_named_with_those_there_are(value: object) -> None:
    assert problem_with(value).startswith(f"release_resume: {value!r} is not one of resume, restart, rollback: ")
    assert [problem_with(choice) for choice in CHOICES] == ["", "", ""]


def test_a_fixed_start_gives_each_release_an_id_of_its_own() -> None:
    done = ("rolled_back",)
    assert fresh_id("5.1-a", None) == "5.1-a"
    assert fresh_id("5.1-a", journal()) == "5.1-a", "it is taken up"
    assert fresh_id("5.1-a", journal(*done)) == "5.1-a-2"
    assert fresh_id("5.1-a", journal(*done, release_id="5.1-a-2")) == "5.1-a-3"
    assert fresh_id("5.1-a", journal(*done, release_id="5.1-b")) == "5.1-a"
