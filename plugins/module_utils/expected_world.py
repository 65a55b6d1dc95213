# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the world must look like for a release to go on: journal in, differences to what was seen out, in words. Pure.

What ended stages left must stand. What the stage that was begun last may have half done, or the watchdog undone, may
stand either way: its next run does it again. Everything else was done by somebody else, and a release that went on
over it would judge, or take back, something that it doesn't know.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import format_labels
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import (
    BEGUN,
    ENDED,
    ROLLED_BACK,
    ROLLING_BACK,
    Journal,
    Json,
    without_secrets,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import SIDES, Side

ALL_TRAFFIC = 100
WAYS_OUT = "or take the release back with -e release_resume=rollback, or begin anew with -e release_resume=restart"
WAYS_TO_BEGIN = (
    "or, if a release lost its journal, take that back with claude_enhancer.rollout.rollback and its inventory, which "
    "needs none"
)
_TAKEN_BACK = (
    "a rollback seems to have begun, or the watchdog of a run that is gone took the traffic back, and did not come to "
    "write that into the journal"
)
_FINISH_IT = "finish it with claude_enhancer.rollout.rollback"
Labels = t.Mapping[str, str]

# Stage of the playbooks → the candidate's Deployment that it brings up, and the variable with its replicas.
_BRINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "canary_start": ("canary_deployment", ("release_canary_replicas", "start")),
    "canary_expand": ("canary_deployment", ("release_canary_replicas", "expand")),
    "bluegreen_prepare": ("green_deployment", ("release_green_replicas",)),
}
# What a release can't be taken up with, if it isn't what it was opened with.
_KEPT = ("release_traffic", "release_stable", "release_candidate", "release_entry_service")
_STABLE: frozenset[Side] = frozenset({"stable"})
_VARIABLES: dict[Side, str] = {"stable": "release_stable", "candidate": "release_candidate"}


@dataclasses.dataclass(frozen=True)
class Standing:
    """A Deployment that must stand with at least ``least`` ready pods, and ``why``."""

    name: str
    side: Side
    least: int
    why: str


@dataclasses.dataclass(frozen=True)
class Expected:
    """What must be. ``weights``: the candidate's percent, any of them; None where it isn't known.

    ``entry``: the sides that the entry Service may select, by ``selectors``, which must be its whole selector where
    ``exact``. ``stage`` is the one that was begun and didn't end, ``half_done`` its Deployments that may be less than
    it is to bring up. ``says`` tells where all this is from, ``ways_out`` what there is to do where it isn't so.
    """

    weights: frozenset[int] | None
    entry: frozenset[Side]
    selectors: t.Mapping[Side, Labels]
    deployments: tuple[Standing, ...]
    says: str
    exact: bool = True
    stage: str | None = None
    stage_weight: int = 0
    half_done: tuple[Standing, ...] = ()
    ways_out: str = WAYS_OUT


@dataclasses.dataclass(frozen=True)
class SeenWeight:
    """What the traffic object ``ref`` gives the candidate: ``weight`` percent at most, ``routes`` in each route.

    ``fits`` are those of the expected weights that it carries as well as it can. ``writer`` wrote it last, where that
    is known and wasn't this collection. ``problem`` in place of all that where it can't be read.
    """

    ref: str = ""
    weight: int = 0
    routes: tuple[int, ...] = ()
    fits: frozenset[int] = frozenset()
    writer: str = ""
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class SeenService:
    """What the entry Service ``name`` selects; ``writer`` and ``problem`` as in :class:`SeenWeight`."""

    name: str
    selector: Labels = dataclasses.field(default_factory=dict)
    writer: str = ""
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class SeenDeployment:
    """Pods that a Deployment asks for (None: it isn't there) and those ready; whether an autoscaler sets the number."""

    replicas: int | None = None
    ready: int = 0
    autoscaled: bool = False
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Seen:
    """The world as it was found; None where nothing names the object."""

    weight: SeenWeight | None
    entry: SeenService | None
    deployments: t.Mapping[str, SeenDeployment]


@dataclasses.dataclass(frozen=True)
class Difference:
    """``variable`` of the inventory that names the object, what is, what that means, and what can be done by hand.

    ``taken_back``: a rollback or a watchdog that did not come to say so leaves it like this.
    """

    variable: str
    what: str
    means: str = ""
    by_hand: str = ""
    ways_out: str = WAYS_OUT
    taken_back: bool = False

    @property
    def sentence(self) -> str:
        """All of it."""
        if not self.by_hand:
            return self.what
        return f"{self.what}: {self.means}; {self.by_hand}, {self.ways_out}"


@dataclasses.dataclass(frozen=True)
class Findings:
    """``differences`` hold the release up, ``notices`` are what its next stage puts right by itself."""

    differences: tuple[Difference, ...]
    notices: tuple[str, ...]


# ---- what must be --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Traffic:
    """Where users may be after the events so far."""

    weights: frozenset[int]
    entry: frozenset[Side]


def expected(journal: Journal) -> Expected:
    """What the world must look like by ``journal``, whatever its state."""
    plan, snapshot = journal.header["plan"], journal.header["snapshot"]
    weights = _weights(plan)
    traffic = _Traffic(frozenset({int(snapshot.get("weight") or 0)}), _STABLE)
    for event in journal.events:
        traffic = _after(traffic, event, weights)
    begun = _unfinished(journal)
    deployments = _left(journal, plan, snapshot, weights)
    return Expected(
        weights=traffic.weights if weights else None,
        entry=traffic.entry,
        selectors=_selectors(plan, snapshot),
        deployments=tuple(deployments.values()),
        says="the journal says",
        exact=bool(snapshot.get("entry_selector")),
        stage=begun,
        stage_weight=weights.get(begun or "", 0),
        half_done=_half_done(begun, plan, deployments),
    )


def at_the_start(facts: Json) -> Expected:
    """What the world must look like for a new release with the inventory's ``facts`` to begin."""
    service = facts.get("release_entry_service") or {}
    return Expected(
        weights=frozenset({0}),
        entry=_STABLE,
        selectors={"stable": dict(service.get("stable_selector") or {})},
        deployments=(),
        says="no release is in progress, so it should be",
        exact=False,
        ways_out=WAYS_TO_BEGIN,
    )


def _weights(plan: Json) -> dict[str, int]:
    """Stage → its weight, for those that have one; 0 for those that leave traffic alone."""
    stages = plan.get("release_stages") or plan.get("stages") or []
    return {str(stage["name"]): int(stage["weight"]) for stage in stages if stage.get("weight") is not None}


def _after(traffic: _Traffic, event: Json, weights: t.Mapping[str, int]) -> _Traffic:
    """Where users may be after one more event. What takes weight back writes so only afterwards, if at all."""
    what, data = event["what"], event.get("data") or {}
    weight = weights.get(str(event.get("stage")), 0)
    switches: frozenset[Side] = frozenset({"candidate"}) if weight == ALL_TRAFFIC else frozenset()
    if what == "stage_begun" and weight:
        return _Traffic(traffic.weights | {weight, 0}, traffic.entry | switches)
    if what == "stage_ended" and data.get("verdict", "pass") != "pass":
        return dataclasses.replace(traffic, weights=traffic.weights | {0})
    if what == "stage_ended" and weight:
        return _Traffic(frozenset({weight}), switches or traffic.entry)
    if what == "interrupted" and isinstance(data.get("weight_after"), int):
        back = data.get("on_interrupt") == "roll_back"
        now = frozenset({int(data["weight_after"])})
        return dataclasses.replace(traffic, weights=now if back else traffic.weights | now)
    if what == "state_changed" and data.get("state") == ROLLING_BACK:
        return _Traffic(traffic.weights | {0}, traffic.entry | _STABLE)
    if what == "state_changed" and data.get("state") == ROLLED_BACK:
        return _Traffic(frozenset({0}), _STABLE)
    return traffic


def _unfinished(journal: Journal) -> str | None:
    """The stage that was begun and didn't end well, if any; the next run begins it again or goes on in it."""
    return next((name for name, entry in journal.stages.items() if entry["state"] != ENDED), None)


def _selectors(plan: Json, snapshot: Json) -> dict[Side, Labels]:
    service = plan.get("release_entry_service") or {}
    stable = dict(snapshot.get("entry_selector") or service.get("stable_selector") or {})
    if not service or not stable or _is_the_split(plan, service):
        return {}
    return {"stable": stable, "candidate": {**stable, **(service.get("candidate_selector") or {})}}


def _is_the_split(plan: Json, service: Json) -> bool:
    """Whether the entry Service is itself what carries the weight, so that its selector follows that."""
    traffic = plan.get("release_traffic") or {}
    return (traffic.get("provider"), traffic.get("name")) == ("service", service.get("name"))


def _left(journal: Journal, plan: Json, snapshot: Json, weights: t.Mapping[str, int]) -> dict[str, Standing]:
    """Deployment → what the snapshot and the ended stages say of it."""
    found: dict[str, Standing] = {}
    stable = (plan.get("release_stable") or {}).get("deployment")
    if stable and snapshot.get("stable_replicas") is not None:
        why = "as before the release, to take all traffic back"
        found[stable] = Standing(stable, "stable", int(snapshot["stable_replicas"]), why)
    for name in journal.ended_stages:
        for standing in _brought(name, plan):
            found[standing.name] = standing
    if any(weights.get(name) == ALL_TRAFFIC for name in journal.stages):
        # The clean-up of the last stage removes it.
        found.pop(str((plan.get("release_candidate") or {}).get("canary_deployment")), None)
    return found


def _brought(stage: str, plan: Json) -> t.Iterator[Standing]:
    """What a stage brings up."""
    if stage not in _BRINGS:
        return
    which, path = _BRINGS[stage]
    name = (plan.get("release_candidate") or {}).get(which)
    replicas: t.Any = plan
    for key in path:
        replicas = replicas.get(key) if isinstance(replicas, t.Mapping) else None
    if not name or replicas is None:
        return
    traffic = plan.get("release_traffic") or {}
    # Such a split makes the weight by the number of pods, so it isn't the stage's own.
    follows = (traffic.get("candidate") or {}).get("deployment") == name
    yield Standing(name, "candidate", min(1, int(replicas)) if follows else int(replicas), f"as stage {stage} left it")


def _half_done(begun: str | None, plan: Json, left: t.Mapping[str, Standing]) -> tuple[Standing, ...]:
    """What the unfinished stage is to bring up beyond what stands by now."""
    coming = _brought(begun, plan) if begun else iter(())
    return tuple(one for one in coming if one.name not in left or left[one.name].least < one.least)


# ---- how that differs from what is ---------------------------------------------------------------------------------


def compare(must: Expected, seen: Seen) -> Findings:
    """What was seen, held against what must be."""
    differences = [*_of_weight(must, seen.weight), *_of_entry(must, seen.entry), *_of_deployments(must, seen)]
    told = tuple(dataclasses.replace(one, ways_out=must.ways_out) for one in differences)
    return Findings(told, tuple(_notices(must, seen)))


def of_inventory(journal: Journal, facts: t.Mapping[str, t.Any]) -> list[Difference]:
    """Variables that name other objects than those with which the release was opened."""
    found = []
    for variable in _KEPT:
        then, now = journal.header["plan"].get(variable), without_secrets(facts.get(variable))[0]
        if isinstance(then, t.Mapping) and isinstance(now, t.Mapping) and then != now:
            changed = sorted(key for key in {*then, *now} if then.get(key) != now.get(key))
            found.append(
                Difference(
                    variable,
                    f"{', '.join(changed)} is not what release {journal.release_id} was opened with"
                    f" ({_only(then, changed)}, now {_only(now, changed)})",
                    "its next stage would change other objects than its first ones",
                    "put the inventory back as it was",
                )
            )
    return found


def _only(values: t.Mapping[str, t.Any], keys: t.Iterable[str]) -> str:
    return ", ".join(f"{key} {values[key]}" if key in values else f"no {key}" for key in keys)


def in_percent(weights: t.Iterable[int]) -> str:
    """``5 %``, ``0 or 5 %``, in words."""
    return f"{' or '.join(str(weight) for weight in sorted(weights))} %"


def _of_weight(must: Expected, seen: SeenWeight | None) -> t.Iterator[Difference]:
    if seen is None or must.weights is None:
        return
    if seen.problem:
        yield Difference("release_traffic", seen.problem)
    elif must.weights == {0} and seen.weight == 0 and not seen.fits:
        yield Difference(
            "release_traffic",
            f"{seen.ref} is open to the candidate, which has no pods{_by(seen.writer)}, and {must.says} closed to it",
            "users are on the candidate as soon as a pod of it is ready",
            "set it to 0 % with traffic_weight",
        )
    elif not must.weights & seen.fits:
        said = in_percent(must.weights)
        uneven = len(set(seen.routes)) > 1
        shown = f"{', '.join(map(str, seen.routes))} % in its routes" if uneven else f"{seen.weight} %"
        what = f"{seen.ref} gives the candidate {shown}{_by(seen.writer)}, and {must.says} {said}"
        by_hand = f"set it to {max(must.weights)} % with traffic_weight if that is what users should have"
        if seen.weight == 0:
            yield Difference("release_traffic", what, _TAKEN_BACK, f"{_FINISH_IT}; {by_hand}", taken_back=True)
        else:
            yield Difference("release_traffic", what, _means_of_weight(must, seen, uneven=uneven), by_hand)


def _means_of_weight(must: Expected, seen: SeenWeight, *, uneven: bool) -> str:
    if uneven:
        return "some routes were changed by somebody else"
    if seen.weight > max(must.weights or {0}):
        return "users are on the candidate that no stage has put there"
    return "somebody else moved it"


def _of_entry(must: Expected, seen: SeenService | None) -> t.Iterator[Difference]:
    if seen is None or not must.selectors:
        return
    if seen.problem:
        yield Difference("release_entry_service", seen.problem)
        return
    if any(_selects(must, seen, side) for side in must.entry):
        return
    wanted = " or ".join(format_labels(must.selectors[side]) for side in SIDES if side in must.entry)
    side = selected(must, seen)
    what = f"Service {seen.name} selects {format_labels(seen.selector)}{_by(seen.writer)}, and {must.says} {wanted}"
    by_hand = "set its selector back with service_switch"
    if side == "stable":
        yield Difference("release_entry_service", what, _TAKEN_BACK, f"{_FINISH_IT}; {by_hand}", taken_back=True)
        return
    means = f"whoever calls it gets the {side} side" if side else "it selects neither side as the release knows it"
    yield Difference("release_entry_service", what, means, by_hand)


def selected(must: Expected, seen: SeenService) -> Side | None:
    """The side that the entry Service selects; None for neither."""
    return next((side for side in SIDES if side in must.selectors and _selects(must, seen, side)), None)


def _selects(must: Expected, seen: SeenService, side: Side) -> bool:
    wanted, found = must.selectors[side], seen.selector
    return dict(found) == dict(wanted) if must.exact else wanted.items() <= found.items()


def _by(writer: str) -> str:
    return f" (written last by {writer})" if writer else ""


def _of_deployments(must: Expected, seen: Seen) -> t.Iterator[Difference]:
    for standing in must.deployments:
        found = seen.deployments.get(standing.name)
        if found is None:
            continue
        if found.problem:
            yield Difference(_VARIABLES[standing.side], found.problem)
            continue
        least = standing.least
        if found.autoscaled and found.replicas:
            least = min(least, found.replicas)
        if found.replicas is not None and found.replicas >= least and found.ready >= least:
            continue
        yield _too_few(must, standing, found, least)


def _too_few(must: Expected, standing: Standing, found: SeenDeployment, least: int) -> Difference:
    said = f"and {must.says} {least}, {standing.why}"
    if found.replicas is None:
        what, by_hand = f"Deployment {standing.name} is not there, {said}", f"apply it again with {least} replicas"
    elif found.replicas < least:
        what = f"Deployment {standing.name} asks for {found.replicas} pods, {said}"
        by_hand = f"scale it to {least}"
    else:
        what = f"Deployment {standing.name} has {found.ready} ready pods of {found.replicas}, {said}"
        by_hand = "see what keeps them with kubectl describe, and run this again when they are ready"
    means = (
        "it could not take all traffic back"
        if standing.side == "stable"
        else "users that are to be on the candidate would fail"
    )
    return Difference(_VARIABLES[standing.side], what, means, by_hand)


def _notices(must: Expected, seen: Seen) -> t.Iterator[str]:
    """What the unfinished stage left half done."""
    stage = must.stage
    if stage is None:
        return
    again = f"which stage {stage} does again"
    if seen.weight and must.stage_weight and must.stage_weight not in seen.weight.fits:
        yield f"the candidate has {seen.weight.weight} % and not yet {must.stage_weight} %, {again}"
    for standing in must.half_done:
        found = seen.deployments.get(standing.name)
        if found and not found.problem and (found.ready < standing.least):
            there = f"has {found.ready} ready pods" if found.replicas is not None else "is not there"
            yield f"Deployment {standing.name} {there} and is to have {standing.least}, {again}"
    if seen.entry and not seen.entry.problem and len(must.entry) > 1 and must.selectors:
        side = selected(must, seen.entry)
        if side == "stable":
            yield f"Service {seen.entry.name} selects stable and not yet the candidate, {again}"


def goes_on(journal: Journal) -> str:
    """At which stage a release in progress goes on, in words."""
    order = journal.header["order"]
    remaining = [name for name in order if name not in journal.ended_stages]
    name = _unfinished(journal) or (remaining[0] if remaining else None)
    if name is None:
        return "all of its stages have ended"
    state = (journal.stages.get(name) or {}).get("state")
    if state is None:
        return f"it goes on with stage {name}"
    return f"it goes on in stage {name}" if state == BEGUN else f"it begins stage {name} again, which was {state}"
