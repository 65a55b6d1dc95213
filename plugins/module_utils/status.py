# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a release stands, for a person at 3 a.m.: journal and world in, a screen of lines out. Pure.

First what it is, where users are, and what is to be done now; how that is known comes after an empty line.
"""

from __future__ import annotations

import dataclasses
import textwrap
import time
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_duration, format_time
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import format_labels
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.expected_world import (
    Expected,
    Findings,
    Seen,
    SeenDeployment,
    in_percent,
    selected,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import (
    DONE,
    ENDED,
    IN_PROGRESS,
    ROLLED_BACK,
    ROLLING_BACK,
    Journal,
    Json,
    standing,
    unix,
    whole,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import rolls_back
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.summary import (
    WIDTH,
    clipped,
    summarise,
    table,
)

GOOD, BAD, DOUBT, PLAIN = "good", "bad", "doubt", ""
EVENTS = 5
MOST_DIFFERENCES = 5
_LABEL = 9
_STATES = {IN_PROGRESS: DOUBT, ROLLING_BACK: BAD, DONE: GOOD, ROLLED_BACK: DOUBT}
_DAY = 86400


@dataclasses.dataclass(frozen=True)
class Line:
    """One line; ``tone`` is ``good``, ``bad``, ``doubt`` or empty."""

    text: str
    tone: str = PLAIN


@dataclasses.dataclass(frozen=True)
class Lock:
    """Who holds the lock of the release, in unix times; ``duration`` seconds after ``renewed`` it is anybody's."""

    holder: str
    acquired: float | None
    renewed: float | None
    duration: float

    @classmethod
    def of(cls, lease: Json) -> Lock | None:
        """The lock that a Lease is; None where nobody holds it."""
        spec = lease.get("spec") or {}
        if not spec.get("holderIdentity"):
            return None
        acquired, renewed = (unix(spec[key]) if spec.get(key) else None for key in ("acquireTime", "renewTime"))
        return cls(str(spec["holderIdentity"]), acquired, renewed, float(spec.get("leaseDurationSeconds") or 0))

    def expired(self, now: float) -> bool:
        return self.renewed is None or now - self.renewed > self.duration


@dataclasses.dataclass(frozen=True)
class Controller:
    """What can be told of who runs the release. ``lock_problem``: why the lock can't be read. ``watchdog`` is the id of
    the one on this machine, ``watched`` whether the process it watches runs.
    """

    lock: Lock | None = None
    lock_problem: str = ""
    watchdog: int | None = None
    watched: bool = False

    def alive(self, now: float) -> bool | None:
        """Whether somebody runs the release; None where that can't be told from here."""
        if self.watched:
            return True
        if self.lock:
            return not self.lock.expired(now)
        return None


@dataclasses.dataclass(frozen=True)
class Status:
    """``lines`` to print, and those of them that are ``commands``, by what they are for."""

    lines: list[Line]
    commands: dict[str, str]


def no_release(namespace: str, application: str | None) -> Status:
    """For a namespace without a journal."""
    of = f" of {application}" if application else ""
    commands = {"begin": _deploy()}
    said = Line(f"No release{of} in namespace {namespace}: there is no journal of one.")
    return Status([said, *_typed(commands)], commands)


def status(
    journal: Journal, must: Expected, seen: Seen, findings: Findings, controller: Controller, now: float, namespace: str
) -> Status:
    """The status of the release in ``journal`` at ``now`` (unix time)."""
    alive = controller.alive(now)
    taken_back = _is_taken_back(journal, findings, controller)
    commands = _commands(journal, findings, alive, namespace, taken_back=taken_back)
    stands = [*_head(journal, now), *_stage(journal, now), *_weight(must, seen)]
    known = [
        *_entry(must, seen),
        *_pods(journal, seen),
        *_controller(journal, controller, alive, now),
        *(Line(line) for line in _stages_so_far(journal)),
        *_events(journal, now),
    ]
    lines = [
        *_clipped(stands),
        *_now(journal, findings, alive, taken_back=taken_back),
        *_found(findings),
        *_typed(commands),
        Line(""),
        *_clipped(known),
    ]
    return Status(lines, commands)


def _clipped(lines: t.Iterable[Line]) -> t.Iterator[Line]:
    return (Line(clipped(line.text), line.tone) for line in lines)


def _labelled(label: str, text: str, tone: str = PLAIN) -> Line:
    return Line(f"{label:<{_LABEL}}{text}", tone)


def moment(at: float, now: float) -> str:
    """Wall-clock time of this machine, with the date where that isn't today's."""
    date = "" if abs(now - at) < _DAY else time.strftime("%Y-%m-%d ", time.localtime(at))
    return f"{date}{format_time(at)}"


def ago(at: float, now: float) -> str:
    """``12:08 ago``, with the days where there are any; never in the future, since two machines' clocks may differ."""
    seconds = max(0.0, now - at)
    days, rest = divmod(seconds, _DAY)
    return f"{days:.0f} d {format_duration(rest)} ago" if days else f"{format_duration(rest)} ago"


# ---- where it stands -----------------------------------------------------------------------------------------------


def _head(journal: Journal, now: float) -> t.Iterator[Line]:
    header = journal.header
    versions = header["versions"]
    yield Line(
        f"Release {journal.release_id}   {header['application']} {versions.get('stable')} → {versions.get('candidate')}"
    )
    since = next(
        (event["time"] for event in reversed(journal.events) if event["what"] in ("state_changed", "opened")),
        header["started"],
    )
    who = header.get("controller") or header["opened_by"]
    said = f"{journal.state.replace('_', ' ').upper()} since {moment(unix(since), now)} ({ago(unix(since), now)})"
    yield _labelled("State", f"{said}, run by {who['who']} on {who['host']}{_reason(journal)}", _STATES[journal.state])


def _reason(journal: Journal) -> str:
    changes = [event for event in journal.events if event["what"] == "state_changed"]
    reason = (changes[-1].get("data") or {}).get("reason") if changes else None
    return f"; reason: {reason}" if reason else ""


def _stage(journal: Journal, now: float) -> t.Iterator[Line]:
    if journal.state != IN_PROGRESS:
        return
    planned = {stage["name"]: stage for stage in journal.header["plan"].get("release_stages") or []}
    stands = standing(journal)
    begun, remaining = journal.begun_stage, stands["remaining_stages"]
    if begun is None:
        coming = stands["next_stage"]
        if coming is None:
            yield _labelled("Stage", "all have ended; the release is to be closed")
            return
        state = (journal.stages.get(coming) or {}).get("state")
        again = f"{coming} was {state} and is begun again by the next run" if state else "between two stages"
        yield _labelled("Stage", f"{again}; next: {_planned(planned.get(coming, {}), coming, 0.0, now)}")
        return
    began = _begun_at(journal, begun)
    shift = _shift(journal, planned.get(begun, {}), begun, began)
    yield _labelled("Stage", f"{begun}, begun {moment(began, now)}{_spent(planned.get(begun, {}), began, shift, now)}")
    after = remaining[remaining.index(begun) + 1 :] if begun in remaining else []
    if after:
        yield _labelled("", f"next: {_planned(planned.get(after[0], {}), after[0], shift, now)}")


def _begun_at(journal: Journal, stage: str) -> float:
    times = [event["time"] for event in journal.events if (event["what"], event["stage"]) == ("stage_begun", stage)]
    return unix(times[-1] if times else journal.stages[stage]["began"])


def _shift(journal: Journal, planned: Json, stage: str, began: float) -> float:
    """Seconds by which a release that was taken up is behind its plan; one that never stopped keeps to it."""
    taken_up = journal.stages[stage]["times_begun"] > 1 or any(event["what"] == "taken_up" for event in journal.events)
    start = planned.get("planned_start")
    return max(0.0, began - float(start)) if taken_up and start is not None else 0.0


def _spent(planned: Json, began: float, shift: float, now: float) -> str:
    if planned.get("planned_end") is None:
        return f", {ago(began, now)}"
    ends = float(planned["planned_end"]) + shift
    said = f", {format_duration(now - began)} of {format_duration(ends - began)} gone"
    return said if now <= ends else f"{said}, over since {format_duration(now - ends)}"


def _planned(planned: Json, name: str, shift: float, now: float) -> str:
    weight = f" ({planned['weight']} %)" if planned.get("weight") else ""
    if planned.get("planned_start") is None:
        return f"{name}{weight}"
    at = float(planned["planned_start"]) + shift
    when = f"in {format_duration(at - now)}" if at > now else "as soon as it can"
    return f"{name}{weight}, planned for {moment(at, now)}, {when}"


# ---- what is there -------------------------------------------------------------------------------------------------


def _weight(must: Expected, seen: Seen) -> t.Iterator[Line]:
    weight = seen.weight
    if weight is None:
        return
    if weight.problem:
        yield _labelled("Weight", weight.problem, BAD)
        return
    uneven = f" (its routes: {', '.join(map(str, weight.routes))} %)" if len(set(weight.routes)) > 1 else ""
    said = f"{weight.weight} % on the candidate in {weight.ref}{uneven}"
    if must.weights is None:
        yield _labelled("Weight", said)
    elif must.weights & weight.fits:
        yield _labelled("Weight", f"{said}, as the journal says", GOOD)
    else:
        yield _labelled("Weight", f"{said}; the journal says {in_percent(must.weights)}", BAD)


def _entry(must: Expected, seen: Seen) -> t.Iterator[Line]:
    entry = seen.entry
    if entry is None:
        return
    if entry.problem:
        yield _labelled("Entry", entry.problem, BAD)
        return
    side = selected(must, entry)
    to = f" → {side}" if side else ""
    tone = PLAIN if not must.selectors else GOOD if side in must.entry else BAD
    yield _labelled("Entry", f"Service {entry.name} selects {format_labels(entry.selector)}{to}", tone)


def _pods(journal: Journal, seen: Seen) -> t.Iterator[Line]:
    stable = (journal.header["plan"].get("release_stable") or {}).get("deployment")
    width = max(map(len, seen.deployments), default=0)
    label = "Pods"
    for name, found in seen.deployments.items():
        side = "stable" if name == stable else "candidate"
        yield _labelled(label, f"{side:<10}{name:<{width}}  {_standing(found)}", _pods_tone(found))
        label = ""


def _standing(found: SeenDeployment) -> str:
    if found.problem:
        return found.problem
    if found.replicas is None:
        return "is not there"
    return f"{found.ready} of {found.replicas} ready" + (", by an autoscaler" if found.autoscaled else "")


def _pods_tone(found: SeenDeployment) -> str:
    if found.problem:
        return BAD
    return DOUBT if found.replicas and found.ready < found.replicas else PLAIN


def _controller(journal: Journal, controller: Controller, alive: bool | None, now: float) -> t.Iterator[Line]:
    last = journal.events[-1]
    yield _labelled("Control", _lock(controller, now), _life_tone(alive))
    yield _labelled("", f"the last event was {ago(unix(last['time']), now)}")
    if controller.watchdog is not None:
        whom = "the process it watches runs" if controller.watched else "the process it watched is gone"
        yield _labelled("", f"a watchdog is at work on this machine (process {controller.watchdog}); {whom}")


def _life_tone(alive: bool | None) -> str:
    return {True: GOOD, False: BAD, None: PLAIN}[alive]


def _lock(controller: Controller, now: float) -> str:
    lock = controller.lock
    if controller.lock_problem:
        return f"who holds the lock isn't known: {controller.lock_problem}"
    if lock is None:
        return "nobody holds a lock"
    since = f" since {moment(lock.acquired, now)}" if lock.acquired else ""
    if lock.renewed is None:
        return f"the lock is {lock.holder}'s{since}, never renewed"
    renewed = f"renewed {ago(lock.renewed, now)}"
    if lock.expired(now):
        return f"the lock of {lock.holder}{since} has expired: {renewed}, for {lock.duration:g} s"
    return f"lock held by {lock.holder}{since}, {renewed}"


# ---- what happened -------------------------------------------------------------------------------------------------


def _stages_so_far(journal: Journal) -> list[str]:
    """The summary's table, of the stages that users noticed and of the one that hasn't ended."""
    stages = summarise(whole(journal)).stages
    told = [stage for stage in stages if stage["weight"] or stage["state"] != ENDED]
    begun = [stage for stage in told if stage["state"] != "not begun"]
    return table(begun) if begun else []


def _events(journal: Journal, now: float) -> t.Iterator[Line]:
    label = "Events"
    for event in journal.events[-EVENTS:]:
        yield _labelled(label, f"{moment(unix(event['time']), now)}  {event['who']}@{event['host']}  {in_words(event)}")
        label = ""


def in_words(event: Json) -> str:
    """What happened, as a person would say it."""
    data = event.get("data") or {}
    stage = f"stage {event['stage']}" if event.get("stage") else "the release"
    said = _WORDS.get(event["what"])
    return said(stage, data) if said else " ".join([event["what"].replace("_", " "), _why(data)]).strip()


def _why(data: Json) -> str:
    reason = data.get("why") or data.get("reason")
    return f"({reason})" if reason else ""


def _ended(stage: str, data: Json) -> str:
    weight = f" at {data['weight']} %" if data.get("weight") else ""
    if data.get("verdict", "pass") == "pass":
        return f"{stage} passed{weight}"
    return f"{stage} ended with {data['verdict']}{weight}: {data.get('failure') or 'no reason given'}"


def _interrupted(_stage: str, data: Json) -> str:
    before, after = data.get("weight_before"), data.get("weight_after")
    moved = f"; weight {before} → {after} %" if after is not None else ""
    return f"{data.get('why') or 'interrupted'}{moved}"


def _unfinished(_stage: str, data: Json) -> str:
    problems = data.get("problems") or []
    return f"a rollback didn't finish: {problems[0] if problems else 'no reason given'}"


def _changed(_stage: str, data: Json) -> str:
    before, after = data.get("before") or {}, data.get("after") or {}
    moved = [
        f"{key} {_value(before.get(key))} → {_value(value)}" for key, value in after.items() if value != before.get(key)
    ]
    return f"{data.get('object')}: {', '.join(moved) or 'changed'}"


def _value(value: t.Any) -> str:
    """A value from before or after a change, on a line."""
    if value is None or value == []:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


_WORDS: dict[str, t.Callable[[str, Json], str]] = {
    "opened": lambda _stage, _data: "the release was opened",
    "taken_up": lambda _stage, _data: "the release was taken up",
    "stage_begun": lambda stage, _data: f"{stage} begun",
    "stage_ended": _ended,
    "interrupted": _interrupted,
    "state_changed": lambda _stage, data: f"now {str(data.get('state')).replace('_', ' ')} {_why(data)}".strip(),
    "changed": _changed,
    "decision": lambda stage, data: f"{stage}: {data.get('decision')}, decided by {data.get('by')}",
    "rollback_unfinished": _unfinished,
}


def _found(findings: Findings) -> t.Iterator[Line]:
    """In full: who reads this has to act on it."""
    said = [one.what + (f": {one.means}" if one.means else "") for one in findings.differences]
    more = len(said) - MOST_DIFFERENCES
    if more > 0:
        said = [*said[:MOST_DIFFERENCES], f"and {more} more"]
    yield from _in_full("Differs", said, BAD)
    yield from _in_full("Note", findings.notices[:MOST_DIFFERENCES], DOUBT)


def _in_full(label: str, sentences: t.Iterable[str], tone: str) -> t.Iterator[Line]:
    for sentence in sentences:
        for part in textwrap.wrap(sentence, WIDTH - _LABEL):
            yield _labelled(label, part, tone)
            label = ""


# ---- what to do ----------------------------------------------------------------------------------------------------


def _is_taken_back(journal: Journal, findings: Findings, controller: Controller) -> bool:
    """Whether somebody began to take the release back, though its journal doesn't say so."""
    if journal.state != IN_PROGRESS:
        return False
    begun = controller.lock is not None and rolls_back(controller.lock.holder, journal.release_id)
    return begun or any(one.taken_back for one in findings.differences)


def _now(journal: Journal, findings: Findings, alive: bool | None, *, taken_back: bool) -> t.Iterator[Line]:
    """What is to be done, in a sentence."""
    said, tone = _to_do(journal, findings, alive, taken_back=taken_back)
    yield from _in_full("Now", [said], tone)


def _to_do(journal: Journal, findings: Findings, alive: bool | None, *, taken_back: bool) -> tuple[str, str]:
    versions = journal.header["versions"]
    if journal.state == DONE:
        return f"nothing is to be done: {versions.get('candidate')} is released", GOOD
    if journal.state == ROLLED_BACK:
        return f"nothing is to be done: {versions.get('stable')} serves all traffic again", GOOD
    if journal.state == ROLLING_BACK or taken_back:
        if alive:
            return "it is being taken back, and that goes on by itself", GOOD
        return "it was being taken back, and that did not end: finish it", BAD
    if findings.differences:
        points = "one point" if len(findings.differences) == 1 else f"{len(findings.differences)} points"
        return f"the world differs from the journal in {points}, told below: put that right, or take it back", BAD
    if alive:
        return "it goes on by itself", GOOD
    if alive is None:
        return "nobody is known to run it: if nobody does, go on with it or take it back", DOUBT
    return "nobody runs it any more: go on with it, or take it back", BAD


def _deploy(resume: str = "") -> str:
    choice = f" -e release_resume={resume}" if resume else ""
    return f"ansible-playbook -i INVENTORY claude_enhancer.rollout.deploy{choice}"


def _rollback(namespace: str) -> str:
    return (
        f"ansible-playbook claude_enhancer.rollout.rollback -e release_namespace={namespace}"
        " -e rollback_reason=manual_intervention"
    )


def _commands(
    journal: Journal, findings: Findings, alive: bool | None, namespace: str, *, taken_back: bool
) -> dict[str, str]:
    """What it is for → what to type; the most likely one first."""
    finish = {"finish the rollback": f"{_rollback(namespace)} -e rollback_force=true"}
    if journal.state == ROLLING_BACK:
        return finish
    if taken_back:
        return {**finish, "go on with the release instead": f'{_deploy()} -e release_take_over="WHY"'}
    if journal.closed:
        return {}
    back = {"take it back": _rollback(namespace)}
    if alive:
        return back
    if findings.differences:
        return {"go on, once that is put right": _deploy(), **back}
    return {"go on": _deploy(), **back}


def _typed(commands: t.Mapping[str, str]) -> t.Iterator[Line]:
    for what, command in commands.items():
        yield Line(f"To {what}:")
        yield Line(f"  {command}")
