# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a release as a value: what may happen to it.

Nothing here talks to a cluster. A journal is a header and a list of events; the stages' state in the header
is always what folding :func:`applied` over the events gives, so that either can be checked against the other.
``journal_layout`` says how it lies in ConfigMaps.
"""

from __future__ import annotations

import copy
import datetime
import difflib
import json
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, JournalError

SCHEMA = "2"
"""1 kept everything in one ConfigMap; 2 knows parts, data kept apart, and ``rollback`` in the header."""
IN_PROGRESS, ROLLING_BACK, DONE, ROLLED_BACK = "in_progress", "rolling_back", "done", "rolled_back"
CLOSED = (DONE, ROLLED_BACK)
STATES = (IN_PROGRESS, ROLLING_BACK, *CLOSED)
BEGUN, ENDED, FAILED, INTERRUPTED = "begun", "ended", "failed", "interrupted"

KIB = 1024
MAX_HEADER = 512 * KIB
MAX_LOOKS = 50
LOOKS = ("looks", "history", "samples")
ROLLBACK_FACTS = ("decided", "weight_before", "entry_selector_before")
"""What the run that finishes a rollback has to know of the one that began it."""

Json = dict[str, t.Any]


@dataclass(frozen=True)
class Author:
    """Who writes, from which machine."""

    who: str
    host: str


@dataclass(frozen=True)
class Part:
    """The ConfigMap ``name`` that holds the events ``first`` to ``last``, and gets no others any more."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Journal:
    """``header`` (release.json) and ``events`` in the order they were written, ``seq`` 1, 2, 3, …

    ``parts`` hold the older events; what was read of the newest ConfigMap alone has only those that follow them.
    The header says all that decides, so that what decides needs no more than that.
    """

    header: Json
    events: tuple[Json, ...]
    parts: tuple[Part, ...] = ()

    @property
    def release_id(self) -> str:
        return str(self.header["release_id"])

    @property
    def state(self) -> str:
        return str(self.header["state"])

    @property
    def closed(self) -> bool:
        return self.state in CLOSED

    @property
    def stages(self) -> dict[str, Json]:
        """Stage name → {state, began, ended, times_begun}; only stages that were begun at least once."""
        return t.cast("dict[str, Json]", self.header["stages"])

    @property
    def begun_stage(self) -> str | None:
        """The stage that was begun and not ended, if any."""
        return next((name for name, stage in self.stages.items() if stage["state"] == BEGUN), None)

    @property
    def ended_stages(self) -> list[str]:
        return [name for name, stage in self.stages.items() if stage["state"] == ENDED]

    def results(self) -> dict[str, Json]:
        """Stage name → the data its last end was written with."""
        return {event["stage"]: event.get("data", {}) for event in self.events if event["what"] == "stage_ended"}


# ---- time and size -----------------------------------------------------------------------------------------


def iso(unix: float) -> str:
    """Unix seconds as UTC with milliseconds: ``2026-11-20T10:00:00.123Z``."""
    moment = datetime.datetime.fromtimestamp(unix, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(text: str) -> float:
    """The inverse of :func:`iso`."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def size(value: t.Any) -> int:
    """Bytes of ``value`` as the header is written."""
    return len(json.dumps(value, indent=1).encode())


def with_last_looks(data: Json) -> Json:
    """``data`` with the last ``MAX_LOOKS`` entries of each list named in ``LOOKS``."""
    return t.cast(Json, _short_looks(data))


def _short_looks(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {
            key: _short_looks(item[-MAX_LOOKS:] if key in LOOKS and isinstance(item, list) else item)
            for key, item in value.items()
        }
    return [_short_looks(item) for item in value] if isinstance(value, list) else value


# ---- secrets -----------------------------------------------------------------------------------------------

_SECRET_KEY = re.compile(
    r"(password|passwd|passphrase|secret|token|credentials?|apikey|accesskey|secretkey|privatekey|clientkey|dsn"
    r"|authorization)(data)?$"
)
_URL_USER = re.compile(r"(?<=://)[^/@\s:]+:[^/@\s]+(?=@)")


def _looks_secret(key: t.Any) -> bool:
    return bool(_SECRET_KEY.search(re.sub(r"[^a-z]", "", str(key).lower())))


def without_secrets(value: t.Any, path: str = "") -> tuple[t.Any, list[str]]:
    """A copy of ``value`` without what looks like a secret, and the paths that were dropped.

    Dropped are texts under keys such as ``password`` or ``api_key``, the value of an environment variable so named,
    and the data of a Kubernetes Secret; a user and password inside an address are masked. References such as
    ``secretKeyRef`` and ``secretName`` stay: they name a secret and hold none.
    """
    if isinstance(value, dict):
        return _mapping_without_secrets(value, path)
    if isinstance(value, list):
        pairs = [without_secrets(item, f"{path}[{index}]") for index, item in enumerate(value)]
        return [kept for kept, _dropped in pairs], [entry for _kept, dropped in pairs for entry in dropped]
    if isinstance(value, str) and _URL_USER.search(value):
        return _URL_USER.sub("***", value), [path]
    return value, []


def _mapping_without_secrets(value: Json, path: str) -> tuple[Json, list[str]]:
    kept: Json = {}
    dropped: list[str] = []
    for key, item in value.items():
        here = f"{path}.{key}" if path else str(key)
        named = key == "value" and _looks_secret(value.get("name", ""))
        in_secret = value.get("kind") == "Secret" and key in ("data", "stringData")
        if in_secret or (isinstance(item, str) and item and (named or _looks_secret(key))):
            dropped.append(here)
            continue
        kept[key], below = without_secrets(item, here)
        dropped += below
    return kept, dropped


# ---- what may happen ---------------------------------------------------------------------------------------


def applied(header: Json, event: Json) -> Json:
    """The header after ``event``. The only place where a release changes its state."""
    header = copy.deepcopy(header)
    header["sequence"] = event["seq"]
    what, stage, data = event["what"], event.get("stage"), event.get("data", {})
    if what in ("opened", "taken_up"):
        header["controller"] = {"who": event["who"], "host": event["host"], "since": event["time"]}
    elif what == "stage_begun":
        before = header["stages"].get(stage, {})
        times = before.get("times_begun", 0) + 1
        began = before.get("began", event["time"])
        header["stages"][stage] = {"state": BEGUN, "began": began, "ended": None, "times_begun": times}
    elif what == "stage_ended":
        state = ENDED if data.get("verdict", "pass") == "pass" else FAILED
        header["stages"][stage].update(state=state, ended=event["time"])
    elif what == "interrupted" and stage in header["stages"] and data.get("on_interrupt") == "roll_back":
        header["stages"][stage].update(state=INTERRUPTED)
    elif what == "state_changed":
        header["state"] = data["state"]
        header["ended"] = event["time"] if data["state"] in CLOSED else None
        if data["state"] == ROLLING_BACK:
            header["rollback"] = began_rollback(event)
    header["stage"] = next((name for name, entry in header["stages"].items() if entry["state"] == BEGUN), None)
    return header


def began_rollback(event: Json) -> Json:
    """What the header keeps of the event with which a rollback began."""
    data = event.get("data", {})
    return {"since": event["time"], **{key: data[key] for key in ROLLBACK_FACTS if data.get(key) is not None}}


def _written(
    journal: Journal, what: str, author: Author, now: float, stage: str | None = None, data: Json | None = None
) -> Journal:
    last = unix(journal.events[-1]["time"]) if journal.events else now
    event: Json = {
        "seq": journal.header["sequence"] + 1,
        "time": iso(max(now, last)),
        "who": author.who,
        "host": author.host,
        "what": what,
        "stage": stage,
        "data": with_last_looks(data or {}),
    }
    return replace(journal, header=applied(journal.header, event), events=(*journal.events, event))


def opened(
    release_id: str, application: str, versions: Json, plan: Json, snapshot: Json, author: Author, now: float
) -> Journal:
    """A new release. ``plan`` are its facts; the names in ``plan.release_stages`` (or ``plan.stages``) give the order.

    Raises InputError when plan and snapshot are too large to keep.
    """
    stages = plan.get("release_stages") or plan.get("stages") or []
    header: Json = {
        "schema": SCHEMA,
        "release_id": release_id,
        "application": application,
        "versions": versions,
        "state": IN_PROGRESS,
        "stage": None,
        "started": iso(now),
        "ended": None,
        "opened_by": {"who": author.who, "host": author.host},
        "controller": None,
        "order": [stage["name"] for stage in stages],
        "stages": {},
        "rollback": None,
        "sequence": 0,
        "plan": plan,
        "snapshot": snapshot,
    }
    _refuse_large(header)
    return _written(Journal(header, ()), "opened", author, now, data={"release_id": release_id, "versions": versions})


def _refuse_large(header: Json) -> None:
    if size(header) > MAX_HEADER:
        raise InputError(
            f"plan ({size(header['plan']) // KIB} KiB) and snapshot ({size(header['snapshot']) // KIB} KiB) are more"
            f" than the journal holds ({MAX_HEADER // KIB} KiB); keep large objects in a place of their own"
            " and put their names into snapshot"
        )


def refuse_to_open(journal: Journal, release_id: str, versions: Json) -> None:
    """Raises JournalError where ``journal`` does not let release ``release_id`` be opened, or itself be taken up."""
    if journal.state == ROLLING_BACK:
        raise JournalError(
            f"release {journal.release_id} is {journal.state} since {journal.header['rollback']['since']}: its rollback"
            " was not finished; run claude_enhancer.rollout.rollback to finish it, before opening release"
            f" {release_id}",
            release_id=journal.release_id,
            state=journal.state,
        )
    if journal.closed or journal.release_id == release_id or journal.header["versions"] == versions:
        return
    controller = journal.header["controller"]
    theirs = " to ".join(str(version) for version in journal.header["versions"].values())
    raise JournalError(
        f"release {journal.release_id} ({theirs}) is {journal.state}, held by {controller['who']} on"
        f" {controller['host']} since {controller['since']}; finish it, or take it back with"
        f" claude_enhancer.rollout.rollback, before opening release {release_id}",
        release_id=journal.release_id,
        controller=controller,
        state=journal.state,
    )


def taken_up(journal: Journal, author: Author, now: float) -> Journal:
    """The release in progress, with ``author`` as its controller from now on."""
    return _written(journal, "taken_up", author, now)


def begun(journal: Journal, stage: str, author: Author, now: float, data: Json | None = None) -> tuple[Journal, Json]:
    """Begin ``stage``; answers ``ended: true`` when it had ended, ``resumed: true`` when it had begun.

    Raises JournalError when the release is closed or rolled back, or the stage is not the next one.
    """
    _know(journal, stage)
    state = journal.stages.get(stage, {}).get("state")
    if state == ENDED:
        return journal, {"ended": True, "resumed": False}
    _need_open(journal, f"stage {stage!r} can't begin")
    if state == BEGUN:
        return journal, {"ended": False, "resumed": True}
    _need_turn(journal, stage)
    after = _written(journal, "stage_begun", author, now, stage, data)
    return after, {"ended": False, "resumed": state is not None}


def _know(journal: Journal, stage: str) -> None:
    order = journal.header["order"]
    if order and stage not in order:
        near = difflib.get_close_matches(stage, order, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise JournalError(
            f"stage {stage!r} is not one of release {journal.release_id} ({', '.join(order)}){hint}",
            stage=stage,
            stages=order,
        )


def _need_open(journal: Journal, what: str) -> None:
    if journal.state == IN_PROGRESS:
        return
    since = journal.header["ended"] or journal.header["rollback"]["since"]
    way_out = (
        "open a new release" if journal.closed else "finish the rollback with rollback.yml, then open a new release"
    )
    raise JournalError(
        f"{what}: release {journal.release_id} is {journal.state} since {since}; {way_out}",
        release_id=journal.release_id,
        state=journal.state,
    )


def _need_turn(journal: Journal, stage: str) -> None:
    other = journal.begun_stage
    if other:
        raise JournalError(
            f"stage {stage!r} can't begin: stage {other!r} was begun at {journal.stages[other]['began']} and has not"
            f" ended; end it first",
            stage=stage,
            begun=other,
        )
    order = journal.header["order"]
    missing = [name for name in order[: order.index(stage)] if name not in journal.ended_stages] if order else []
    if missing:
        raise JournalError(
            f"stage {stage!r} can't begin: stage {missing[0]!r} comes before it and has not ended;"
            " run that stage first",
            stage=stage,
            missing=missing,
        )


def ended(journal: Journal, stage: str, author: Author, now: float, data: Json | None = None) -> Journal:
    """End ``stage`` with its result. A ``verdict`` in it other than ``pass`` leaves the stage to be begun again.

    Raises JournalError when the stage is not begun, or the release is closed.
    """
    _know(journal, stage)
    state = journal.stages.get(stage, {}).get("state", "not begun")
    if state != BEGUN:
        raise JournalError(f"stage {stage!r} can't end: it is {state}; begin it first", stage=stage, state=state)
    if journal.closed:
        _need_open(journal, f"stage {stage!r} can't end")
    return _written(journal, "stage_ended", author, now, stage, data)


def recorded(
    journal: Journal, what: str, author: Author, now: float, stage: str | None = None, data: Json | None = None
) -> Journal:
    """Add an event of any other kind. ``snapshot`` is kept in the header, and only the first one counts:
    a later one would save a state in the middle of the release. ``interrupted`` with ``on_interrupt: roll_back``
    has the stage begun again by the next run.

    Raises InputError for a kind that only the journal itself writes.
    """
    if what in ("opened", "taken_up", "stage_begun", "stage_ended", "state_changed"):
        raise InputError(f"what: {what!r} is written by the actions open, begin, end and close; use another word")
    if stage is not None:
        _know(journal, stage)
    if what == "snapshot":
        if journal.header["snapshot"]:
            return journal
        header = {**journal.header, "snapshot": data or {}}
        _refuse_large(header)
        return _written(replace(journal, header=header), what, author, now, stage, {"holds": sorted(data or {})})
    return _written(journal, what, author, now, stage, data)


_MAY_FOLLOW = {
    IN_PROGRESS: (ROLLING_BACK, DONE, ROLLED_BACK),
    ROLLING_BACK: (ROLLED_BACK,),
    DONE: (ROLLING_BACK, ROLLED_BACK),
    ROLLED_BACK: (ROLLING_BACK,),
}


def closed(journal: Journal, state: str, author: Author, now: float, data: Json | None = None) -> Journal:
    """Set the release's state: ``rolling_back``, ``rolled_back`` or ``done``. The state it has already is no change.

    Raises JournalError for a step that can't be, such as ``done`` while a stage is begun.
    """
    if state == journal.state:
        return journal
    if state not in _MAY_FOLLOW[journal.state]:
        allowed = ", ".join(_MAY_FOLLOW[journal.state])
        raise JournalError(
            f"state: release {journal.release_id} is {journal.state} and can't become {state!r}; possible: {allowed}",
            release_id=journal.release_id,
            state=journal.state,
        )
    if state == DONE and journal.begun_stage:
        raise JournalError(
            f"state: release {journal.release_id} can't be done: stage {journal.begun_stage!r} has not"
            " ended; end it first",
            release_id=journal.release_id,
            stage=journal.begun_stage,
        )
    return _written(journal, "state_changed", author, now, data={**(data or {}), "state": state})


# ---- how it stands -----------------------------------------------------------------------------------------


def standing(journal: Journal) -> Json:
    """Where the release stands, in the words of the module's answer."""
    header = journal.header
    done = journal.ended_stages
    remaining = [name for name in header["order"] if name not in done]
    return {
        "release_id": journal.release_id,
        "application": header["application"],
        "state": journal.state,
        "versions": header["versions"],
        "started": header["started"],
        "ended_at": header["ended"],
        "controller": header["controller"],
        "stage": journal.begun_stage,
        "ended_stages": done,
        "remaining_stages": remaining,
        "next_stage": journal.begun_stage or (remaining[0] if remaining else None),
        "interrupted_stages": [name for name, entry in journal.stages.items() if entry["state"] == INTERRUPTED],
        "sequence": header["sequence"],
    }


def whole(journal: Journal) -> Json:
    """The whole journal as plain data: the header, its stages with results and plan entries, the events."""
    results = journal.results()
    stages = {name: {**entry, "result": results.get(name, {})} for name, entry in journal.stages.items()}
    return {**journal.header, "stages": stages, "events": list(journal.events)}
