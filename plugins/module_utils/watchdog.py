# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release needs when the process that ran it is gone: deciding (pure), and doing it with patience."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    LockError,
    NotFoundError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import ROLLING_BACK, Author, Journal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import TrafficProvider, set_weight

POLL = 0.2
"""Seconds between two looks whether the main process still runs."""
SETTLE_POLL = 0.5
_PAUSES = (0.1, 0.2, 0.5, 1.0)
_HOPELESS = (NotFoundError, ForbiddenError, InputError, LockError)
T = t.TypeVar("T")
Log = t.Callable[[str], None]


@dataclass(frozen=True)
class Duty:
    """What to watch over. ``scope`` stage: only while a stage is begun; release: as long as the release is open.

    ``on_interrupt`` roll_back or hold. ``retry`` are the seconds to keep trying while the API is away, ``settle`` those
    to go on looking after the main process is gone, ``lifetime`` those after which the watch ends in any case.
    """

    release_id: str
    scope: str = "stage"
    on_interrupt: str = "roll_back"
    retry: float = 600.0
    settle: float = 15.0
    lifetime: float = 86400.0


@dataclass(frozen=True)
class Verdict:
    """``action`` leave, note or roll_back, and why."""

    action: str
    why: str


def what_to_do(journal: Journal | None, weight: int | None, duty: Duty, author: Author) -> Verdict:
    """What the release needs now that the process of ``author`` that ran it is gone.

    ``weight`` is the candidate's; None where it was not looked at yet, which counts as some.
    """
    if journal is None or journal.release_id != duty.release_id:
        return Verdict("leave", f"release {duty.release_id} is no longer the one in the journal")
    if journal.closed:
        return Verdict("leave", f"release {duty.release_id} is {journal.state}")
    controller = journal.header["controller"]
    if controller["host"] != author.host:
        return Verdict("leave", f"{controller['who']} on {controller['host']} took the release up")
    begun = journal.begun_stage
    if weight == 0 and (begun is None or journal.state == ROLLING_BACK):
        return Verdict("leave", "the candidate has no weight")
    if weight == 0:
        # Mostly the task that held the stage took it back itself; the journal still has to say so.
        return Verdict("note", f"interrupted in stage {begun}, no weight is left on the candidate")
    if journal.state == ROLLING_BACK:
        return Verdict("roll_back", "a rollback was interrupted before traffic was back")
    if duty.scope == "stage" and begun is None:
        return Verdict("leave", "no stage is begun")
    where = f"in stage {begun}" if begun else "between two stages"
    if duty.on_interrupt == "hold":
        return Verdict("note", f"interrupted {where}, to be held")
    return Verdict("roll_back", f"interrupted {where}")


def relieve(
    store: JournalStore, provider: TrafficProvider, duty: Duty, clock: Clock, log: Log
) -> dict[str, t.Any] | None:
    """Do what :func:`what_to_do` says; returns the data of the event ``interrupted``, or None if nothing was needed.

    Traffic comes first and the record after it. While the API is away both are tried again for ``duty.retry``
    seconds; raises the last error after that. Where another controller has had the lock since, all is left to it.
    """
    try:
        return _relieve(store, provider, duty, clock, log)
    except LockError as error:
        log(f"leave: {error.message}")
        return None


def _relieve(
    store: JournalStore, provider: TrafficProvider, duty: Duty, clock: Clock, log: Log
) -> dict[str, t.Any] | None:
    gone = clock.monotonic()
    journal = _patiently(store.head, duty, clock, log)
    verdict = what_to_do(journal, None, duty, store.author)
    weight = None
    if verdict.action != "leave":
        weight = _patiently(lambda: provider.read().weight, duty, clock, log)
        verdict = what_to_do(journal, weight, duty, store.author)
    log(f"{verdict.action}: {verdict.why}")
    if verdict.action == "leave":
        return None
    after = weight
    if verdict.action == "roll_back":
        change = _patiently(lambda: set_weight(provider, 0, guard=False), duty, clock, log)
        after = change.after.weight
    data = {
        "on_interrupt": "roll_back" if verdict.action == "roll_back" else duty.on_interrupt,
        "why": verdict.why,
        "weight_before": weight,
        "weight_after": after,
        "seconds": round(clock.monotonic() - gone, 3),
    }
    log(f"candidate weight {weight} -> {after} after {data['seconds']} s")
    stage = t.cast(Journal, journal).begun_stage
    _patiently(lambda: store.record("interrupted", stage, data, duty.release_id), duty, clock, log)
    return data


def settle(
    store: JournalStore, provider: TrafficProvider, duty: Duty, clock: Clock, log: Log
) -> t.Iterator[dict[str, t.Any]]:
    """Go on looking for ``duty.settle`` seconds after :func:`relieve`: a task that was under way when the main process
    was killed may still set a weight. Yields the data of each event this leads to; ends once another run takes the
    release up, or it is closed.
    """
    try:
        yield from _settle(store, provider, duty, clock, log)
    except LockError:
        log("another run took the release up")


def _settle(
    store: JournalStore, provider: TrafficProvider, duty: Duty, clock: Clock, log: Log
) -> t.Iterator[dict[str, t.Any]]:
    journal = _patiently(store.head, duty, clock, log)
    if journal is None or duty.on_interrupt == "hold":
        return
    # The stage that relieve() interrupted is no longer begun.
    in_stage = journal.begun_stage is not None or journal.events[-1]["what"] == "interrupted"
    if duty.scope == "stage" and not in_stage:
        return
    since = journal.header["controller"]["since"]
    open_release = replace(duty, scope="release")
    deadline = clock.monotonic() + duty.settle
    while clock.monotonic() < deadline:
        journal = _patiently(store.head, duty, clock, log)
        if what_to_do(journal, None, open_release, store.author).action == "leave":
            return
        if t.cast(Journal, journal).header["controller"]["since"] != since:
            log("another run took the release up")
            return
        if _patiently(lambda: provider.read().weight, duty, clock, log):
            data = relieve(store, provider, open_release, clock, log)
            if data is not None:
                yield data
        clock.sleep(SETTLE_POLL)


def _patiently(work: t.Callable[[], T], duty: Duty, clock: Clock, log: Log) -> T:
    """The result of ``work``, tried again while it fails in a way that may pass."""
    start = clock.monotonic()
    tries = 0
    while True:
        try:
            return work()
        except RolloutError as error:
            hopeless = isinstance(error, _HOPELESS) and not isinstance(error, ConflictError)
            if hopeless or clock.monotonic() - start > duty.retry:
                raise
            if tries % 20 == 0:
                log(f"trying again: {error.message}")
            clock.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1
