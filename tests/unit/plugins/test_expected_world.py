"""What the world must look like for a release to go on, held against what releases left and what others changed."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.expected_world import (
    Expected,
    Findings,
    Seen,
    SeenDeployment,
    SeenService,
    SeenWeight,
    at_the_start,
    compare,
    expected,
    goes_on,
    of_inventory,
)
from tests.unit.plugins.inventory_values import inventory

ME = record.Author("ann", "ops1")
NOW = 1_800_000_000.0
PLAN: dict[str, Any] = {name: value for name, value in inventory().items() if name.startswith("release_")}
STAGES = [(stage["name"], int(stage["weight"])) for stage in PLAN["release_stages"]]
BLUE, CANARY, GREEN = "claude-enhancer-blue", "claude-enhancer-canary", "claude-enhancer-green"
STABLE, CANDIDATE = ({"app": "claude-enhancer", "version": version} for version in ("5.0", "5.1"))
SNAPSHOT = {"weight": 0, "entry_selector": STABLE, "stable_replicas": 4}
BRINGS = {"canary_start": (CANARY, 1), "canary_expand": (CANARY, 4), "bluegreen_prepare": (GREEN, 10)}


class Release:
    """A release as the playbooks run it: the journal beside the world that it makes."""

    def __init__(self) -> None:
        versions = {"stable": "5.0", "candidate": "5.1"}
        self.journal = record.opened("5.1-a", "claude-enhancer", versions, PLAN, SNAPSHOT, ME, NOW)
        self.weight = 0
        self.selector = dict(STABLE)
        self.pods: dict[str, int | None] = {BLUE: 4, CANARY: None, GREEN: None}

    def steps(self, stage: str, weight: int) -> list[Any]:
        """What a stage does, in order; each may be its last act."""
        found: list[Any] = [lambda: self.begin(stage)]
        if stage in BRINGS:
            name, replicas = BRINGS[stage]
            found.append(lambda: self.pods.update({name: replicas}))
        if weight:
            found.append(lambda: setattr(self, "weight", weight))
        if weight == 100:
            found.append(lambda: self.selector.update(CANDIDATE))
            found.append(lambda: self.pods.update({CANARY: None}))
        found.append(lambda: self.end(stage))
        return found

    def begin(self, stage: str) -> None:
        self.journal, _answer = record.begun(self.journal, stage, ME, NOW)

    def end(self, stage: str, verdict: str = "pass") -> None:
        self.journal = record.ended(self.journal, stage, ME, NOW, {"verdict": verdict})

    def taken_back(self, *, recorded: bool) -> None:
        """As a hold or the watchdog does it when the controller dies."""
        before, self.weight = self.weight, 0
        if recorded:
            data = {"on_interrupt": "roll_back", "weight_before": before, "weight_after": 0}
            stage = self.journal.begun_stage
            self.journal = record.recorded(self.journal, "interrupted", ME, NOW, stage, data)

    def held(self) -> None:
        data = {"on_interrupt": "hold", "weight_before": self.weight, "weight_after": self.weight}
        self.journal = record.recorded(self.journal, "interrupted", ME, NOW, self.journal.begun_stage, data)

    def take_up(self) -> None:
        self.journal = record.taken_up(self.journal, ME, NOW)

    def seen(self, must: Expected) -> Seen:
        fits = frozenset({self.weight}) & (must.weights or frozenset())
        pods = {name: SeenDeployment(count, count or 0) for name, count in self.pods.items()}
        weight = SeenWeight("VirtualService x", self.weight, (self.weight,), fits)
        return Seen(weight, SeenService("entry", dict(self.selector)), pods)

    def findings(self, seen: Seen | None = None) -> Findings:
        must = expected(self.journal)
        return compare(must, seen or self.seen(must))

    def run(self, upto: str) -> None:
        """All stages up to ``upto``, which ends too."""
        for stage, weight in STAGES:
            for step in self.steps(stage, weight):
                step()
            if stage == upto:
                return


deaths = st.sampled_from(["", "", "", "gone", "taken back", "taken back, not recorded", "held"])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_a_release_left_when_it_died_is_a_world_it_can_go_on_in(data: st.DataObject) -> None:
    """Any prefix of a release, killed and taken up any number of times: what stands is expected."""
    release = Release()
    lives = 0
    remaining = list(STAGES)
    while remaining:
        stage, weight = remaining[0]
        for step in release.steps(stage, weight):
            step()
            assert release.findings().differences == (), (stage, release.journal.events[-1])
            death = data.draw(deaths) if lives < 5 else ""
            # Between two stages nothing tells a weight taken back without a record from somebody else's doing.
            if death == "taken back, not recorded" and release.journal.begun_stage is None:
                death = "taken back"
            if death:
                lives += 1
                _die(release, death)
                assert release.findings().differences == (), (stage, death)
                release.take_up()
                break
        else:
            remaining.pop(0)
            continue
        if stage in release.journal.ended_stages:
            remaining.pop(0)
    assert release.findings() == Findings((), ())


def _die(release: Release, death: str) -> None:
    if death == "held":
        release.held()
    elif death != "gone":
        release.taken_back(recorded=death == "taken back")


@pytest.mark.parametrize("upto", [name for name, _weight in STAGES])
def test_after_each_stage_exactly_its_world_is_expected(upto: str) -> None:
    release = Release()
    release.run(upto)
    must = expected(release.journal)
    assert must.weights == {dict(STAGES)[upto]}
    assert must.entry == {"candidate" if dict(STAGES)[upto] == 100 else "stable"}
    assert release.findings() == Findings((), ())


@settings(max_examples=150, deadline=None)
@given(
    upto=st.sampled_from([name for name, _weight in STAGES]),
    weight=st.integers(0, 100),
    canary=st.one_of(st.none(), st.integers(0, 4)),
    blue=st.integers(0, 5),
    version=st.sampled_from(["5.0", "5.1", "4.9"]),
)
def test_everything_that_somebody_else_changed_is_a_difference_and_nothing_else(
    upto: str, weight: int, canary: int | None, blue: int, version: str
) -> None:
    release = Release()
    release.run(upto)
    made = copy.deepcopy(release)
    release.weight, release.selector["version"] = weight, version
    release.pods |= {BLUE: blue, CANARY: canary}
    names = [one.variable for one in release.findings().differences]
    needed = expected(release.journal).deployments
    short = [one for one in needed if (release.pods[one.name] or 0) < one.least]
    assert names.count("release_traffic") == (weight != made.weight)
    assert names.count("release_entry_service") == (version != made.selector["version"])
    assert len(names) - names.count("release_traffic") - names.count("release_entry_service") == len(short)


def test_each_difference_says_what_it_means_and_the_ways_out() -> None:
    release = Release()
    release.run("canary_expand")
    seen = release.seen(expected(release.journal))
    weight = SeenWeight("VirtualService x", 50, (50, 20), frozenset(), "kubectl-patch at 2026-11-21T20:00:00Z")
    pods = {**seen.deployments, CANARY: SeenDeployment(0, 0), BLUE: SeenDeployment(4, 3), GREEN: SeenDeployment()}
    found = release.findings(Seen(weight, SeenService("entry", CANDIDATE), pods))
    ways = "or take the release back with -e release_resume=rollback, or begin anew with -e release_resume=restart"
    assert [one.sentence for one in found.differences] == [
        "VirtualService x gives the candidate 50, 20 % in its routes (written last by kubectl-patch at "
        "2026-11-21T20:00:00Z), and the journal says 20 %: some routes were changed by somebody else; set it to 20 % "
        f"with traffic_weight if that is what users should have, {ways}",
        "Service entry selects app=claude-enhancer, version=5.1, and the journal says app=claude-enhancer, version=5.0:"
        f" whoever calls it gets the candidate side; set its selector back with service_switch, {ways}",
        "Deployment claude-enhancer-blue has 3 ready pods of 4, and the journal says 4, as before the release, to take "
        "all traffic back: it could not take all traffic back; see what keeps them with kubectl describe, and run this "
        f"again when they are ready, {ways}",
        "Deployment claude-enhancer-canary asks for 0 pods, and the journal says 4, as stage canary_expand left it: "
        f"users that are to be on the candidate would fail; scale it to 4, {ways}",
    ]
    assert found.notices == ()


@pytest.mark.parametrize(
    ("upto", "weight", "version"),
    [("canary_expand", 0, "5.0"), ("full_switch", 0, "5.1"), ("full_switch", 100, "5.0"), ("full_switch", 0, "5.0")],
)
def test_a_rollback_that_did_not_come_to_say_so_is_told_as_what_it_seems_to_be(
    upto: str, weight: int, version: str
) -> None:
    release = Release()
    release.run(upto)
    release.weight = weight
    release.selector["version"] = version
    found = release.findings().differences
    assert found
    for one in found:
        assert one.taken_back
        assert (
            ": a rollback seems to have begun, or the watchdog of a run that is gone took the traffic" in one.sentence
        )
        assert "; finish it with claude_enhancer.rollout.rollback; set it" in one.sentence


def test_what_the_interrupted_stage_left_half_done_is_said_and_no_obstacle() -> None:
    release = Release()
    release.run("canary_expand")
    release.begin("bluegreen_prepare")
    release.pods[GREEN] = 3
    found = release.findings()
    assert found.differences == ()
    assert found.notices == (
        "the candidate has 20 % and not yet 50 %, which stage bluegreen_prepare does again",
        "Deployment claude-enhancer-green has 3 ready pods and is to have 10, which stage bluegreen_prepare does again",
    )
    assert goes_on(release.journal) == "it goes on in stage bluegreen_prepare"


def test_a_switch_that_was_half_done_may_stand_either_way() -> None:
    release = Release()
    release.run("bluegreen_prepare")
    release.begin("full_switch")
    release.weight = 100
    assert release.findings().notices == (
        "Service entry selects stable and not yet the candidate, which stage full_switch does again",
    )
    release.selector = dict(CANDIDATE)
    assert release.findings() == Findings((), ())
    release.pods[CANARY] = None
    assert release.findings() == Findings((), ())


def test_a_rollback_that_began_and_one_that_ended() -> None:
    release = Release()
    release.run("bluegreen_prepare")
    release.journal = record.closed(release.journal, record.ROLLING_BACK, ME, NOW)
    assert expected(release.journal).weights == {0, 50}
    release.journal = record.closed(release.journal, record.ROLLED_BACK, ME, NOW)
    assert (expected(release.journal).weights, expected(release.journal).entry) == ({0}, {"stable"})


def test_a_stage_that_failed_may_have_been_taken_back() -> None:
    release = Release()
    release.run("canary_start")
    release.begin("canary_expand")
    release.end("canary_expand", "fail")
    assert expected(release.journal).weights == {0, 5, 20}
    assert goes_on(release.journal) == "it begins stage canary_expand again, which was failed"


def test_what_an_autoscaler_does_is_nobodys_edit_but_none_ready_is_too_few() -> None:
    release = Release()
    release.run("canary_expand")
    seen = release.seen(expected(release.journal))
    for blue, differs in (
        (SeenDeployment(2, 2, autoscaled=True), False),
        (SeenDeployment(2, 1, autoscaled=True), True),
    ):
        pods = {**seen.deployments, BLUE: blue}
        assert bool(release.findings(dataclasses.replace(seen, deployments=pods)).differences) == differs


def test_a_split_by_pods_has_the_number_of_pods_that_its_weight_asks_for() -> None:
    release = Release()
    plan = {**PLAN, "release_traffic": {"provider": "service", "name": "split", "candidate": {"deployment": CANARY}}}
    release.journal = dataclasses.replace(release.journal, header={**release.journal.header, "plan": plan})
    release.run("canary_expand")
    release.pods[CANARY] = 1
    assert release.findings().differences == ()


def test_the_entry_service_that_is_itself_the_split_follows_the_weight() -> None:
    release = Release()
    name = PLAN["release_entry_service"]["name"]
    plan = {**PLAN, "release_traffic": {"provider": "service", "name": name, "candidate": {}}}
    release.journal = dataclasses.replace(release.journal, header={**release.journal.header, "plan": plan})
    release.run("canary_start")
    release.selector = {"app": "claude-enhancer"}
    assert release.findings().differences == ()


def test_what_cannot_be_read_is_a_difference_in_its_own_words() -> None:
    release = Release()
    release.run("canary_start")
    gone = "name: there is no VirtualService x in namespace y; apply it"
    blind = {name: SeenDeployment(problem="not allowed") for name in release.pods}
    found = release.findings(Seen(SeenWeight(problem=gone), SeenService("entry", problem="not allowed"), blind))
    assert [one.sentence for one in found.differences] == [gone, "not allowed", "not allowed", "not allowed"]


def test_a_journal_without_a_plan_expects_nothing_it_does_not_know() -> None:
    journal = record.opened("a", "shop", {"stable": "1", "candidate": "2"}, {}, {}, ME, NOW)
    must = expected(journal)
    seen = Seen(SeenWeight("x", 50, (50,)), SeenService("entry", {"a": "b"}), {"shop": SeenDeployment()})
    assert compare(must, seen) == Findings((), ())


def test_a_new_release_begins_without_weight_and_on_stable() -> None:
    must = at_the_start(PLAN)
    more = {**STABLE, "tier": "web"}
    assert compare(must, Seen(SeenWeight("x", 0, (0,), frozenset({0})), SeenService("e", more), {})).differences == ()
    found = compare(must, Seen(SeenWeight("x", 20, (20,)), SeenService("e", CANDIDATE), {})).differences
    assert [one.what for one in found] == [
        "x gives the candidate 20 %, and no release is in progress, so it should be 0 %",
        "Service e selects app=claude-enhancer, version=5.1, and no release is in progress, so it should be "
        "app=claude-enhancer, version=5.0",
    ]
    assert all(
        one.sentence.endswith("claude_enhancer.rollout.rollback and its inventory, which needs none") for one in found
    )


def test_a_split_that_is_open_to_a_candidate_without_pods_is_told_before_a_release() -> None:
    found = compare(at_the_start(PLAN), Seen(SeenWeight("Service shop", 0, (0,), frozenset(), "kim"), None, {}))
    (told,) = found.differences
    assert "open to the candidate" in told.what
    assert "kim" in told.what
    assert "closed to it" in told.what


def test_an_inventory_that_names_other_objects_is_told() -> None:
    release = Release()
    assert of_inventory(release.journal, PLAN) == []
    moved = {**PLAN, "release_traffic": {**PLAN["release_traffic"], "name": "other"}, "release_stable": "broken"}
    (found,) = of_inventory(release.journal, moved)
    assert found.variable == "release_traffic"
    assert "name is not what release 5.1-a was opened with (name claude-enhancer, now name other)" in found.sentence
