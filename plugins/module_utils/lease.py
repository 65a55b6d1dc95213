# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a release as a value: a Lease of the cluster, whose it is, and what is written into it. Pure.

All times in the Lease are the API server's, as its answers tell them (the HTTP header ``Date``), never those of the
machine that writes: so two machines whose clocks differ judge an expiry alike. No safety rests on any clock all the
same. Time only says from when on the lock may be taken without a reason; that its former holder can't change anything
any more is the fence's work, see ``lease_fence``.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import LockError

MANAGED_BY = "claude_enhancer.rollout"
PROCESS = "rollout.claude-enhancer.io/process"
TAKEN_OVER = "rollout.claude-enhancer.io/taken-over"
DURATION = 60
MARGIN = 2.0
"""Seconds added to an expiry that is judged by one look: ``Date`` has whole seconds, and API servers behind one address
may differ by a little."""
FREE, OURS, EXPIRED, HELD = "free", "ours", "expired", "held"
Json = dict[str, t.Any]

LEASE_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "lease": {
        "type": "dict",
        "options": {
            "namespace": {"type": "str", "required": True},
            "application": {"type": "str", "required": True},
            "holder": {"type": "str", "required": True},
            "transitions": {"type": "int", "required": True},
            "uid": {"type": "str", "required": True},
            "duration": {"type": "float", "required": True},
            "record": {"type": "str", "default": ""},
        },
    }
}
LEASE_SPEC = ArgumentSpec(LEASE_ARGUMENTS)


class Fence(t.Protocol):
    """The lock that one run holds, as whatever changes something for this run sees it; see ``lease_fence``.

    ``vouched`` is what was read before the lock was last seen to be held, for who wants to write from that.
    """

    vouched: t.Any

    def check(self) -> None:
        """Raises LockError where the lock isn't this run's any more. Costs a request."""

    def check_way_back(self, *, ask: bool = False) -> None:
        """The same for taking traffic back, which costs no request while all is well, unless it is to ``ask``."""


@dataclasses.dataclass(frozen=True)
class Lock:
    """A Lease as read. ``holder`` is empty where nobody has it; ``transitions`` counts its holders: the fencing number.

    Times are unix times of the API server, None where the Lease names none. ``process`` says where the holder runs.
    """

    where: str
    holder: str
    transitions: int
    duration: float
    acquired: float | None
    renewed: float | None
    uid: str
    resource_version: str
    process: t.Mapping[str, t.Any]
    taken_over: t.Mapping[str, t.Any]
    raw: Json = dataclasses.field(repr=False, compare=False)

    @property
    def expires(self) -> float | None:
        """When it may be taken by others unless it is renewed."""
        return None if self.renewed is None else self.renewed + self.duration

    @property
    def tenure(self) -> str:
        """Equal as long as nobody else became the holder."""
        return f"{self.uid}/{self.transitions}"


@dataclasses.dataclass(frozen=True)
class Hold:
    """What a run knows of the lock that it holds, and passes on to its tasks. ``record`` is a file on its machine."""

    namespace: str
    application: str
    holder: str
    transitions: int
    uid: str
    duration: float
    record: str = ""

    @classmethod
    def from_option(cls, option: t.Mapping[str, t.Any]) -> Hold:
        return cls(**{field.name: option[field.name] for field in dataclasses.fields(cls) if field.name in option})

    def as_option(self) -> Json:
        return dataclasses.asdict(self)

    def has(self, lock: Lock | None) -> bool:
        """Whether ``lock`` is still this hold's."""
        return lock is not None and (lock.uid, lock.holder, lock.transitions) == (
            self.uid,
            self.holder,
            self.transitions,
        )

    def nobody_since(self, lock: Lock | None) -> bool:
        """Whether nobody else has had the lock since, be it ours still, given back, or removed."""
        if lock is None:
            return True
        return (lock.uid, lock.transitions) == (self.uid, self.transitions) and lock.holder in (self.holder, "")


@dataclasses.dataclass(frozen=True)
class Claim:
    """Who wants the lock, for how many seconds at a time, where it runs; and why, if it takes it from someone."""

    holder: str
    duration: int = DURATION
    process: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Standing:
    """``state`` is ``free``, ``ours``, ``expired`` or ``held``; ``why`` an expired one counts as such."""

    state: str
    why: str = ""


def judge(lock: Lock | None, holder: str, now: float, *, unchanged: float = 0.0, ended: bool = False) -> Standing:
    """Whose ``lock`` is for ``holder`` at ``now`` (the API server's unix time).

    ``unchanged`` are the seconds for which we ourselves have seen it not renewed, which needs no clock but our own.
    ``ended`` means that its holder's process is known to be gone.
    """
    if lock is None or not lock.holder:
        return Standing(FREE)
    if lock.holder == holder:
        return Standing(OURS)
    if ended:
        return Standing(EXPIRED, "the process that held it has ended")
    if unchanged >= lock.duration:
        return Standing(EXPIRED, f"it was not renewed for {unchanged:.0f} s")
    if lock.expires is not None and now >= lock.expires + MARGIN:
        return Standing(EXPIRED, f"it was not renewed since {iso(lock.renewed)}")
    return Standing(HELD)


def name_of_rollback(who: str, release: str, mark: str) -> str:
    """The holder's name of a rollback that a person starts."""
    return f"{who}:rollback of {release}:{mark}"


def rolls_back(holder: str, release: str) -> bool:
    """Whether ``holder`` is the name of a rollback of ``release``."""
    return f":rollback of {release}:" in holder


# ---- what is written


def claimed(lock: Lock | None, claim: Claim, place: Json, now: float, why: str) -> Json:
    """The Lease with ``claim`` as its holder; ``place`` is its metadata where there is none yet, ``why`` it may be."""
    body = _body(lock, place)
    annotations = body["metadata"].setdefault("annotations", {})
    annotations[PROCESS] = json.dumps(dict(claim.process), sort_keys=True)
    annotations.pop(TAKEN_OVER, None)
    if lock and lock.holder:
        annotations[TAKEN_OVER] = json.dumps({"from": lock.holder, "reason": claim.reason or why})
    body["spec"] = {
        **body.get("spec", {}),
        "holderIdentity": claim.holder,
        "leaseDurationSeconds": claim.duration,
        "acquireTime": iso(now),
        "renewTime": iso(now),
        "leaseTransitions": lock.transitions + 1 if lock else 0,
    }
    return body


def renewed(lock: Lock, now: float) -> Json:
    body = _body(lock, {})
    body["spec"]["renewTime"] = iso(max(now, lock.renewed or now))
    return body


def released(lock: Lock, now: float) -> Json:
    body = _body(lock, {})
    for key in ("holderIdentity", "acquireTime"):
        body["spec"].pop(key, None)
    body["spec"]["renewTime"] = iso(now)
    for key in (PROCESS, TAKEN_OVER):
        (body["metadata"].get("annotations") or {}).pop(key, None)
    return body


def _body(lock: Lock | None, place: Json) -> Json:
    body = copy.deepcopy(lock.raw) if lock else {"metadata": copy.deepcopy(place)}
    body["metadata"].pop("managedFields", None)
    return {**body, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}


# ---- what is read


def read_lock(found: Json, where: str) -> Lock:
    """A Lease as the API gave it; what it lacks is empty."""
    metadata, spec = found["metadata"], found.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    return Lock(
        where=where,
        holder=str(spec.get("holderIdentity") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
        duration=float(spec.get("leaseDurationSeconds") or DURATION),
        acquired=_unix(spec.get("acquireTime")),
        renewed=_unix(spec.get("renewTime")),
        uid=str(metadata.get("uid") or ""),
        resource_version=str(metadata.get("resourceVersion") or ""),
        process=_facts(annotations.get(PROCESS)),
        taken_over=_facts(annotations.get(TAKEN_OVER)),
        raw=found,
    )


def iso(unix: float | None) -> str:
    """A time as a Lease has it, with six digits after the point; empty for None."""
    if unix is None:
        return ""
    return datetime.datetime.fromtimestamp(unix, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _unix(text: t.Any) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def _facts(text: t.Any) -> Json:
    """An annotation of ours; empty where someone else wrote something else into it."""
    try:
        read = json.loads(text or "{}")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


# ---- what is told


def facts_of(lock: Lock | None, now: float | None) -> Json:
    """The lock in the words of a module's result; ``now`` is the API server's unix time."""
    if lock is None:
        return {"holder": "", "transitions": None}
    told: Json = {
        "holder": lock.holder,
        "transitions": lock.transitions,
        "since": iso(lock.acquired) or None,
        "renewed": iso(lock.renewed) or None,
        "duration": lock.duration,
        "expires": (iso(lock.expires) or None) if lock.holder else None,
    }
    if lock.holder and lock.expires is not None and now is not None:
        told["expires_in"] = round(lock.expires - now, 3)
    if lock.taken_over:
        told["taken_over"] = dict(lock.taken_over)
    return told


def in_words(lock: Lock, now: float) -> str:
    """Who holds it, since when, and until when."""
    said = f"{lock.holder} since {iso(lock.acquired) or 'a time that it does not name'}"
    if lock.taken_over:
        said += f" (taken over from {lock.taken_over.get('from')}: {lock.taken_over.get('reason')})"
    if lock.renewed is None or lock.expires is None:
        return said
    ago, left = max(0.0, now - lock.renewed), lock.expires - now
    until = f"runs out in {left:.0f} s unless renewed" if left > 0 else f"ran out {-left:.0f} s ago"
    return f"{said}, last renewed {ago:.0f} s ago, {until}"


def refusal(lock: Lock, application: str, now: float, waited: float) -> LockError:
    """For a controller that can't have the lock now."""
    after = f" after {waited:.0f} s of waiting" if waited >= 1 else ""
    return LockError(
        f"the lock of {application} ({lock.where}) is held{after} by {in_words(lock, now)}; let that run end, wait for "
        "it (release_lock_wait), or take the lock over with a reason (release_take_over), which stops that run",
        lock=facts_of(lock, now),
    )


def changed_hands(lock: Lock | None, application: str, now: float) -> LockError:
    """For a controller whose checks are about a time before another one held the lock."""
    return LockError(
        f"the lock of {application} changed hands while this release was checked; what was seen may no longer be so; "
        "run it again",
        lock=facts_of(lock, now),
    )


def loss(lock: Lock | None, hold: Hold, now: float) -> LockError:
    """For a controller that no longer holds the lock."""
    if lock is None:
        what = "its Lease was removed"
    elif not lock.holder:
        what = "it was given back"
    else:
        what = f"it is held by {in_words(lock, now)}"
    return LockError(
        f"this run ({hold.holder}) has lost the lock of {hold.application}: {what}; so it changes nothing any more; "
        "see how the release stands, and start this again when nobody else is at it",
        lock=facts_of(lock, now),
    )
