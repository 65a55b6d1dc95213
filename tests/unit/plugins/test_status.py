"""Where a release stands, on a screen: the right words whatever state it is in, and the command to type next."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_time
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.expected_world import (
    Difference,
    Findings,
    Seen,
    SeenDeployment,
    SeenService,
    SeenWeight,
    compare,
    expected,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.status import (
    BAD,
    GOOD,
    Controller,
    Lock,
    Status,
    ago,
    in_words,
    moment,
    no_release,
    status,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.summary import WIDTH

ME = record.Author("ann", "ops1")
ZERO = datetime.datetime(2026, 11, 20, 10, tzinfo=datetime.UTC).timestamp()
STAGES: list[dict[str, Any]] = [
    {"name": "canary_start", "starts": 0, "minutes": 30, "weight": 5},
    {"name": "canary_expand", "starts": 30, "minutes": 45, "weight": 20},
]
PLAN: dict[str, Any] = {
    "release_stages": [
        {**stage, "planned_start": ZERO + start * 60, "planned_end": ZERO + (start + stage["minutes"]) * 60}
        for stage in STAGES
        for start in (stage["starts"],)
    ],
    "release_time_scale": 1,
    "t_zero": ZERO,
    "release_stable": {"deployment": "blue"},
    "release_candidate": {"canary_deployment": "canary", "green_deployment": "green"},
    "release_canary_replicas": {"start": 1, "expand": 4},
    "release_entry_service": {"name": "entry", "candidate_selector": {"version": "5.1"}},
    "release_traffic": {"name": "shop"},
}  # fmt: skip
SNAPSHOT = {"weight": 0, "entry_selector": {"version": "5.0"}, "stable_replicas": 4}
ROLLBACK = (
    "ansible-playbook claude_enhancer.rollout.rollback -e release_namespace=shops"
    " -e rollback_reason=manual_intervention"
)
DEPLOY = "ansible-playbook -i INVENTORY claude_enhancer.rollout.deploy"


def journal(*steps: str) -> record.Journal:
    """A release whose steps came a minute apart."""
    made = record.opened("5.1-a", "shop", {"stable": "5.0", "candidate": "5.1"}, PLAN, SNAPSHOT, ME, ZERO - 60)
    for number, step in enumerate(steps):
        now = ZERO + 60 * number
        verb, _space, stage = step.partition(" ")
        if verb == "begin":
            made = record.begun(made, stage, ME, now)[0]
        elif verb == "end":
            made = record.ended(made, stage, ME, now, {"verdict": "pass", "weight": 5})
        elif verb == "interrupted":
            data = {"on_interrupt": "roll_back", "why": "interrupted in stage", "weight_before": 5, "weight_after": 0}
            made = record.recorded(made, "interrupted", ME, now, stage, data)
        elif verb == "taken_up":
            made = record.taken_up(made, record.Author("bob", "ops2"), now)
        else:
            made = record.closed(made, verb, ME, now, {"reason": "error_rate_high"})
    return made


def seen(weight: int = 5, version: str = "5.0", **pods: SeenDeployment) -> Seen:
    found = {"blue": SeenDeployment(4, 4), "canary": SeenDeployment(1, 1), "green": SeenDeployment(), **pods}
    carried = SeenWeight("VirtualService shops/shop", weight, (weight,), frozenset({weight}))
    return Seen(carried, SeenService("entry", {"version": version}), found)


def told(made: record.Journal, world: Seen, now: float = ZERO + 600, controller: Controller | None = None) -> Status:
    must = expected(made)
    going = made.state == record.IN_PROGRESS
    findings = compare(must, world) if going else Findings((), ())
    return status(made, must, world, findings, controller or Controller(), now, "shops")


def starting(found: Status, label: str) -> str:
    (line,) = [line.text for line in found.lines if line.text.startswith(label)]
    return line


def test_a_stage_that_is_held() -> None:
    lock = Lock("ann@ops1:5.1-a:3f9a", ZERO - 60, ZERO + 590, 60)
    found = told(journal("begin canary_start"), seen(), controller=Controller(lock))
    assert [line.text for line in found.lines] == [
        "Release 5.1-a   shop 5.0 → 5.1",
        f"State    IN PROGRESS since {format_time(ZERO - 60)} (11:00 ago), run by ann on ops1",
        f"Stage    canary_start, begun {format_time(ZERO)}, 10:00 of 30:00 gone",
        f"         next: canary_expand (20 %), planned for {format_time(ZERO + 1800)}, in 20:00",
        "Weight   5 % on the candidate in VirtualService shops/shop, as the journal says",
        "Now      it goes on by itself",
        "To take it back:",
        f"  {ROLLBACK}",
        "",
        "Entry    Service entry selects version=5.0 → stable",
        "Pods     stable    blue    4 of 4 ready",
        "         candidate canary  1 of 1 ready",
        "         candidate green   is not there",
        f"Control  lock held by ann@ops1:5.1-a:3f9a since {format_time(ZERO - 60)}, renewed 0:10 ago",
        "         the last event was 10:00 ago",
        "stage         planned     actual   time  weight  share  errors  P95  agents  verdict",
        "canary_start  T+0 → T+30  T+0 → –     –     5 %  –           –    –       –  begun",
        f"Events   {format_time(ZERO - 60)}  ann@ops1  the release was opened",
        f"         {format_time(ZERO)}  ann@ops1  stage canary_start begun",
    ]
    tones = {line.text.split(" ")[0]: line.tone for line in found.lines}
    assert (tones["Weight"], tones["Control"], tones["Now"]) == (GOOD, GOOD, GOOD)


def test_an_interrupted_stage_says_how_to_go_on() -> None:
    made = journal("begin canary_start", "interrupted canary_start")
    found = told(made, seen(weight=0))
    assert starting(found, "Stage").startswith(
        "Stage    canary_start was interrupted and is begun again by the next run"
    )
    assert starting(found, "Control") == "Control  nobody holds a lock"
    assert found.commands == {"go on": DEPLOY, "take it back": ROLLBACK}
    assert starting(found, "Note") == (
        "Note     the candidate has 0 % and not yet 5 %, which stage canary_start does again"
    )
    assert any(line.text.endswith("interrupted in stage; weight 5 → 0 %") for line in found.lines)


def test_what_differs_is_told_in_full_before_the_way_out() -> None:
    made = journal("begin canary_start", "end canary_start")
    found = told(made, seen(weight=50, version="4.9", canary=SeenDeployment(0, 0)))
    text = "\n".join(line.text for line in found.lines)
    assert "Weight   50 % on the candidate in VirtualService shops/shop; the journal says 5 %" in text
    assert text.count("Differs") == 1
    differs = [line for line in found.lines if line.tone == BAD]
    assert len(differs) > 4
    assert "users are on the candidate that no stage has put there" in " ".join(text.split())
    assert found.commands == {"go on, once that is put right": DEPLOY, "take it back": ROLLBACK}


def test_a_rollback_is_finished_by_force() -> None:
    found = told(journal("begin canary_start", "rolling_back"), seen())
    assert found.commands == {"finish the rollback": f"{ROLLBACK} -e rollback_force=true"}
    state = starting(found, "State")
    assert state.startswith("State    ROLLING BACK since")
    assert state.endswith("run by ann on ops1; reason: error_rate_high")


@pytest.mark.parametrize("states", [("done",), ("rolled_back",)])
def test_a_release_that_is_over_needs_nothing(states: tuple[str, ...]) -> None:
    found = told(journal(*states), seen(weight=40, version="4.9"))
    assert found.commands == {}
    assert starting(found, "Now") in (
        "Now      nothing is to be done: 5.1 is released",
        "Now      nothing is to be done: 5.0 serves all traffic again",
    )
    assert not any(line.text.startswith("Differs") for line in found.lines)


WHOLE = [f"{verb} {stage['name']}" for stage in STAGES for verb in ("begin", "end")]
ALIVE = Controller(Lock("ann@ops1:5.1-a:3f9a", ZERO, ZERO + 590, 60))
BEGUN = Lock("kim@ops2:rollback of 5.1-a:77aa", ZERO, ZERO + 100, 60)


@pytest.mark.parametrize(
    ("steps", "weight", "controller", "now", "first"),
    [
        (["begin canary_start"], 5, ALIVE, "it goes on by itself", "take it back"),
        (["begin canary_start"], 5, Controller(), "nobody is known to run it: if nobody does, go on with", "go on"),
        (["begin canary_start"], 5, Controller(dataclasses.replace(ALIVE.lock, renewed=ZERO)),  # type: ignore[type-var]
         "nobody runs it any more: go on with it, or take it back", "go on"),
        (["begin canary_start", "interrupted canary_start"], 0, Controller(), "nobody is known to run it", "go on"),
        (WHOLE[:2], 0, Controller(), "it was being taken back, and that did not end: finish it", "finish the rollback"),
        (WHOLE[:2], 5, Controller(BEGUN), "it was being taken back, and that did not", "finish the rollback"),
        (WHOLE[:2], 0, Controller(dataclasses.replace(BEGUN, renewed=ZERO + 590)),
         "it is being taken back, and that goes on by itself", "finish the rollback"),
        (WHOLE[:2], 50, Controller(), "the world differs from the journal in one point, told below", "go on, once"),
        ([*WHOLE, "rolling_back"], 0, Controller(), "it was being taken back, and that did not", "finish the rollback"),
        ([*WHOLE, "rolling_back", "rolled_back"], 0, Controller(), "nothing is to be done: 5.0 serves all", ""),
        ([*WHOLE, "done"], 20, Controller(), "nothing is to be done: 5.1 is released", ""),
    ],
)  # fmt: skip
def test_what_is_to_be_done_now_stands_within_the_first_lines(
    steps: list[str], weight: int, controller: Controller, now: str, first: str
) -> None:
    pods = 4 if len(steps) > 2 else 1
    found = told(journal(*steps), seen(weight, canary=SeenDeployment(pods, pods)), controller=controller)
    shown = [line.text for line in found.lines]
    top = shown[: shown.index("")]
    assert len(top) <= 13, "a tired person reads no more"
    assert starting(found, "Now").startswith(f"Now      {now}"), shown
    assert shown.index(starting(found, "State")) == 1
    assert next(iter(found.commands), "").startswith(first)
    assert bool(found.commands) == bool(first)
    assert all(f"  {command}" in top for command in found.commands.values())


def test_no_release_says_how_to_begin_one() -> None:
    found = no_release("shops", "shop")
    assert [line.text for line in found.lines] == [
        "No release of shop in namespace shops: there is no journal of one.",
        "To begin:",
        f"  {DEPLOY}",
    ]


def test_a_release_that_was_taken_up_is_behind_its_plan_by_what_it_lost() -> None:
    made = journal("begin canary_start", "interrupted canary_start", "taken_up", "begin canary_start")
    found = told(made, seen(), now=ZERO + 240)
    assert starting(found, "Stage") == f"Stage    canary_start, begun {format_time(ZERO + 180)}, 1:00 of 30:00 gone"
    assert f"planned for {format_time(ZERO + 1980)}, in 29:00" in starting(found, "         next")
    late = told(made, seen(), now=ZERO + 2100)
    assert starting(late, "Stage").endswith("32:00 of 30:00 gone, over since 2:00")
    assert starting(late, "         next").endswith("as soon as it can")


def test_who_runs_it_as_far_as_can_be_told() -> None:
    lock = Lock("kim@ops1", ZERO, ZERO + 100, 60)
    for controller, alive, said in (
        (Controller(lock), False, "the lock of kim@ops1"),
        (Controller(dataclasses.replace(lock, renewed=None)), False, "never renewed"),
        (Controller(None, "leases are forbidden"), None, "who holds the lock isn't known: leases are forbidden"),
        (Controller(lock, watchdog=7, watched=True), True, "has expired"),
        (Controller(None, watchdog=7), None, "nobody holds a lock"),
    ):
        found = told(journal("begin canary_start"), seen(), controller=controller)
        assert controller.alive(ZERO + 600) == alive
        assert said in starting(found, "Control")
        watched = [line.text for line in found.lines if "watchdog" in line.text]
        assert bool(watched) == (controller.watchdog is not None)


def test_a_lease_is_read_as_the_api_gives_it() -> None:
    spec = {
        "holderIdentity": "kim@ops1", "leaseDurationSeconds": 60, "leaseTransitions": 3,
        "acquireTime": "2026-11-20T10:00:00.000000Z", "renewTime": "2026-11-20T10:00:20.500000Z",
    }  # fmt: skip
    assert Lock.of({"spec": spec}) == Lock("kim@ops1", ZERO, ZERO + 20.5, 60)
    assert Lock.of({"spec": {"holderIdentity": ""}}) is None
    assert Lock.of({}) is None


def test_what_cannot_be_read_says_why_in_its_place() -> None:
    blind = Seen(
        SeenWeight(problem="not allowed"), SeenService("entry", problem="gone"), {"blue": SeenDeployment(problem="no")}
    )
    found = told(journal("begin canary_start"), blind)
    said = [starting(found, "Weight"), starting(found, "Entry"), starting(found, "Pods")]
    assert said == ["Weight   not allowed", "Entry    gone", "Pods     stable    blue  no"]


def test_times_long_ago_have_their_date_and_none_are_to_come() -> None:
    assert moment(ZERO, ZERO + 3 * 86400).startswith("2026-11-")
    assert ago(ZERO, ZERO + 86400 + 90) == "1 d 1:30 ago"
    assert ago(ZERO + 30, ZERO) == "0:00 ago"


@pytest.mark.parametrize(
    ("what", "data", "words"),
    [
        ("stage_ended", {"verdict": "fail", "failure": "5 % failed"}, "stage s ended with fail: 5 % failed"),
        ("state_changed", {"state": "rolling_back", "reason": "x"}, "now rolling back (x)"),
        ("rollback_unfinished", {"problems": ["weight: no", "edge: no"]}, "a rollback didn't finish: weight: no"),
        ("decision", {"decision": "go", "by": "gates"}, "stage s: go, decided by gates"),
        ("rolled_back_again", {"reason": "y"}, "rolled back again (y)"),
        ("changed", {"object": "Deployment x", "before": {"n": 1}, "after": {"n": 4}}, "Deployment x: n 1 → 4"),
        ("changed", {"object": "a/b", "before": {"weight": 5}, "after": {"weight": 0}}, "a/b: weight 5 → 0"),
        ("changed", {"object": "x", "before": {"is": []}, "after": {"is": ["a", "b"]}}, "x: is none → a, b"),
        ("changed", {"object": "x", "before": None, "after": None}, "x: changed"),
        ("snapshot", {}, "snapshot"),
    ],
)  # fmt: skip
def test_events_in_words(what: str, data: dict[str, Any], words: str) -> None:
    assert in_words({"what": what, "stage": "s", "data": data}) == words


texts = st.text(alphabet="abc \u2013é", max_size=300)


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=9), texts, st.floats(0, 1e7))
def test_whatever_is_told_fits_a_screen_and_commands_stay_whole(problems: list[str], holder: str, later: float) -> None:
    made = journal("begin canary_start", "end canary_start", "begin canary_expand")
    differences = tuple(Difference("release_traffic", text or "x", "means", "by hand") for text in problems)
    controller = Controller(Lock(holder or "x", ZERO, ZERO, 60), watchdog=1)
    found = status(made, expected(made), seen(), Findings(differences, ()), controller, ZERO + later, "shops")
    commands = [f"  {command}" for command in found.commands.values()]
    assert [line.text for line in found.lines if line.text.startswith("  ansible")] == commands
    assert max(len(line.text) for line in found.lines if line.text not in commands) <= WIDTH
    assert len(found.lines) <= 50
