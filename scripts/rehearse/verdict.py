"""What a rehearsal showed, and whether that is what it should show. Pure: observations in, sentences out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rehearsal.load.report import LoadReport

ROLLBACK_LIMIT = 30.0
CANARY = "claude-enhancer-canary"
GREEN = "claude-enhancer-green"


@dataclass(frozen=True)
class World:
    """The cluster after the release: ``weights`` of the candidate per weighted route, ``replicas`` per Deployment."""

    weights: dict[str, int]
    entry_version: str
    replicas: dict[str, int]
    config_maps: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Rehearsal:
    """One release: what Ansible answered, what the journal holds, what the load counted, how the world was left.

    ``fault_at`` is the unix time at which the fault was injected, None where none was.
    """

    deploy_exit: int
    journal: dict[str, Any]
    load: LoadReport
    world: World
    fault: str | None = None
    fault_at: float | None = None

    @property
    def stable(self) -> str:
        return str(self.journal["versions"]["stable"])

    @property
    def candidate(self) -> str:
        return str(self.journal["versions"]["candidate"])


def unix(moment: str) -> float:
    """ISO 8601, as the journal writes it, to unix seconds."""
    return datetime.fromisoformat(moment).timestamp()


@dataclass(frozen=True)
class RollbackTimes:
    """Unix times on the way from the fault to a verified rollback; None for what did not happen."""

    fault: float | None
    trigger: float | None
    last_request: float | None
    verified: float | None


def rollback_times(rehearsal: Rehearsal) -> RollbackTimes:
    """When the fault came, a trigger fired, the candidate got its last request, and the rollback was verified."""
    results = [stage.get("result") or {} for stage in rehearsal.journal.get("stages", {}).values()]
    triggered = [result["times"]["breach_seen"] for result in results if (result.get("times") or {}).get("breach_seen")]
    rolled_back = rehearsal.journal.get("state") == "rolled_back"
    return RollbackTimes(
        fault=rehearsal.fault_at,
        trigger=max(triggered, default=None),
        last_request=_last_request(rehearsal),
        verified=unix(rehearsal.journal["ended"]) if rolled_back and rehearsal.journal.get("ended") else None,
    )


def _last_request(rehearsal: Rehearsal) -> float | None:
    """When the last request that reached the candidate was sent; one that failed without a version counts as such."""
    answered = rehearsal.load.versions.get(rehearsal.candidate)
    sent = [answered.last_sent] if answered else []
    sent += [failure["sent"] for failure in rehearsal.load.failures if failure["version"] != rehearsal.stable]
    return max(sent, default=None)


def problems(rehearsal: Rehearsal) -> list[str]:
    """What is not as it should be, one sentence each; empty for a rehearsal that showed what it should."""
    expected = _rolled_back_problems if rehearsal.fault else _released_problems
    return [*_load_problems(rehearsal), *expected(rehearsal)]


def _load_problems(rehearsal: Rehearsal) -> list[str]:
    load, found = rehearsal.load, []
    if not load.sent:
        found.append("the load sent no request, so nothing is proven")
    if rehearsal.fault is None:
        if load.failed:
            found.append(f"the load saw {load.failed} failed requests")
        return found
    # The fault is the candidate's: whatever the stable side failed, the release did.
    stable = load.versions.get(rehearsal.stable)
    if stable and stable.failed:
        found.append(f"{stable.failed} requests failed on the stable side")
    return found


def _released_problems(rehearsal: Rehearsal) -> list[str]:
    found = []
    journal, world = rehearsal.journal, rehearsal.world
    if rehearsal.deploy_exit != 0:
        found.append(f"deploy.yml ended with status {rehearsal.deploy_exit}")
    if journal.get("state") != "done":
        found.append(f"the journal says {journal.get('state')}, not done")
    for name in journal.get("order", []):
        result = (journal["stages"].get(name) or {}).get("result") or {}
        if result.get("verdict") != "pass":
            found.append(f"stage {name} ended with verdict {result.get('verdict')}")
    if set(world.weights.values()) != {100}:
        found.append(f"the candidate's weights are {world.weights}, not 100 everywhere")
    if world.entry_version != rehearsal.candidate:
        found.append(f"the entry service selects {world.entry_version}, not {rehearsal.candidate}")
    if CANARY in world.replicas:
        found.append(f"{CANARY} is still there")
    if not world.replicas.get(GREEN):
        found.append(f"{GREEN} has no replicas")
    return found


def _rolled_back_problems(rehearsal: Rehearsal) -> list[str]:
    found = []
    journal, world, times = rehearsal.journal, rehearsal.world, rollback_times(rehearsal)
    if rehearsal.deploy_exit == 0:
        found.append("deploy.yml ended well although its candidate was broken")
    if rehearsal.fault_at is None:
        found.append("the fault was never injected")
    if journal.get("state") != "rolled_back":
        found.append(f"the journal says {journal.get('state')}, not rolled_back")
    if times.trigger is None:
        found.append("no trigger is on record")
    if set(world.weights.values()) != {0}:
        found.append(f"the candidate's weights are {world.weights}, not 0 everywhere")
    if world.entry_version != rehearsal.stable:
        found.append(f"the entry service selects {world.entry_version}, not {rehearsal.stable}")
    if CANARY in world.replicas:
        found.append(f"{CANARY} is still there")
    if world.replicas.get(GREEN, 0):
        found.append(f"{GREEN} still has {world.replicas[GREEN]} replicas")
    if times.trigger and times.verified and times.verified - times.trigger > ROLLBACK_LIMIT:
        found.append(
            f"from trigger to verified took {times.verified - times.trigger:.1f} s, over {ROLLBACK_LIMIT:.0f} s"
        )
    return found


def lines(rehearsal: Rehearsal, record: str) -> list[str]:
    """The last lines of a rehearsal: the load's own count, the times of a rollback, the record, the verdict."""
    load = rehearsal.load
    by_version = ", ".join(
        f"{name} {part.answered} answered, {part.failed} failed"
        for name, part in sorted(load.versions.items())
        if name != "none"
    )
    told = [f"load      {load.sent} requests sent, {load.failed} failed ({by_version})"]
    if rehearsal.fault:
        told.append(f"rollback  {_told_times(rollback_times(rehearsal))}")
    told.append(f"record    {record}")
    found = problems(rehearsal)
    told += [f"NOT SO    {problem}" for problem in found]
    if found:
        told.append("result    not as it should be")
    elif rehearsal.fault:
        told.append(f"result    the bad release ({rehearsal.fault}) was taken back by itself")
    else:
        told.append("result    released without a failed request")
    return told


def _told_times(times: RollbackTimes) -> str:
    if times.fault is None:
        return "the fault was never injected"
    told, before = ["fault +0.0 s"], times.fault
    for name, moment in (
        ("trigger", times.trigger),
        ("last request to the candidate", times.last_request),
        ("verified", times.verified),
    ):
        told.append(f"{name} –" if moment is None else f"{name} +{moment - before:.2f} s")
    return " → ".join(told)
