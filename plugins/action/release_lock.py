# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes, renews and gives back the lock of a release on the control node, where the process that holds it runs."""

from __future__ import annotations

import hashlib
import os
import secrets
import typing as t
from pathlib import Path

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import lease
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore, default_author
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import (
    boottime,
    forget_renewed,
    hold_of,
    note_renewed,
    take,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_objects import Scope, objects_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import Acquired, LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.patience import Patience
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog_process import state_directory
from ansible_collections.claude_enhancer.rollout.plugins.plugin_utils.release_action import ReleaseAction

ACQUIRE, TAKE_OVER, RENEW, RELEASE, READ = "acquire", "take_over", "renew", "release", "read"
SPEC = ArgumentSpec(
    {
        "action": {"type": "str", "choices": [ACQUIRE, TAKE_OVER, RENEW, RELEASE, READ], "default": READ},
        "application": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "release_id": {"type": "str", "default": ""},
        "duration": {"type": "int", "default": lease.DURATION},
        "wait": {"type": "float", "default": 0.0},
        "reason": {"type": "str", "default": ""},
        "seen": {"type": "str"},
        "traffic": {"type": "dict"},
        "entry_service": {"type": "str"},
        "canary_drain": {"type": "list", "elements": "dict", "default": []},
        "api_patience": {"type": "float", "default": 120.0},
        "directory": {"type": "path"},
        "who": {"type": "str"},
        "controller": {"type": "str"},
    },
    required_if=(("action", RENEW, ("lease",)), ("action", RELEASE, ("lease",))),
).merge(lease.LEASE_SPEC, CLUSTER_SPEC)
Options = dict[str, t.Any]
_SHORTEST = 3


class ActionModule(ReleaseAction):
    """The action plugin; its options are documented in the module of the same name."""

    spec = SPEC

    def act(self, options: Options) -> dict[str, t.Any]:
        _check(options)
        cluster = Cluster.from_options(options, dry_run=self._task.check_mode)
        store = LeaseStore(cluster, options["namespace"], options["application"])
        if options["action"] == READ:
            return _read(store, options)
        if options["action"] == RENEW:
            return _renew(store, options)
        if options["action"] == RELEASE:
            return _release(store, options)
        # The parent of the worker that runs this is the ansible-playbook process that the lock is held for.
        return _acquire(store, options, Process.of(os.getppid()))


def _check(options: Options) -> None:
    problems = []
    if options["duration"] < _SHORTEST:
        problems.append(f"duration: must be {_SHORTEST} seconds or more, not {options['duration']}")
    if options["wait"] < 0:
        problems.append(f"wait: must be 0 or more seconds, not {options['wait']:g}")
    if options["action"] == TAKE_OVER and not options["reason"].strip():
        problems.append("reason: must say why the lock is taken from whoever holds it")
    if problems:
        raise InputError("; ".join(problems), problems=problems)


def _read(store: LeaseStore, options: Options) -> dict[str, t.Any]:
    lock = store.read()
    hold = lease.Hold.from_option(options["lease"]) if options["lease"] else None
    state = lease.judge(lock, hold.holder if hold else "", store.now).state
    told = f"held by {lease.in_words(lock, store.now)}" if lock and lock.holder else "free"
    return {
        "changed": False,
        "state": state,
        "held": bool(hold and hold.has(lock)),
        "lock": lease.facts_of(lock, store.now),
        "msg": f"the lock of {store.application} is {told}",
    }


def _renew(store: LeaseStore, options: Options) -> dict[str, t.Any]:
    hold, at = lease.Hold.from_option(options["lease"]), boottime()
    patience = Patience(SystemClock(), options["api_patience"])
    lock = patience.get(lambda: store.renew(hold))
    noted = _noted(hold, at + patience.waited, store.cluster)
    if patience.waited:
        away = f"the Kubernetes API was away for {patience.waited:.0f} s; the lock was renewed after that"
        noted = {"warnings": [*noted.get("warnings", []), away]}
    result = {"changed": False, "state": lease.OURS, "held": True, "lock": lease.facts_of(lock, store.now)}
    return {**result, "lease": hold.as_option(), **noted}


def _release(store: LeaseStore, options: Options) -> dict[str, t.Any]:
    hold = lease.Hold.from_option(options["lease"])
    released = store.release(hold)
    if not store.cluster.dry_run:
        forget_renewed(hold)
    lock = store.read()
    result: dict[str, t.Any] = {
        "changed": released,
        "state": lease.judge(lock, hold.holder, store.now).state,
        "held": False,
        "lock": lease.facts_of(lock, store.now),
        "diff": {"before": {"holder": hold.holder if released else ""}, "after": {"holder": ""}},
    }
    if not released and lock and lock.holder:
        result["warnings"] = [lease.loss(lock, hold, store.now).message]
    return result


def _acquire(store: LeaseStore, options: Options, main: Process) -> dict[str, t.Any]:
    author = _author(options)
    force = options["action"] == TAKE_OVER
    reason = options["reason"] if force else ""
    claim = lease.Claim(_holder(options, author), options["duration"], main.evidence(), reason)
    began = boottime()
    acquired, touched = take(
        store,
        claim,
        lambda: objects_of(store.cluster, _scope(options)),
        wait=options["wait"],
        seen=options["seen"],
        force=force,
    )
    hold = hold_of(store, acquired, str(_record(options)))
    noted = _noted(hold, began + acquired.waited, store.cluster)
    warnings = [*noted.get("warnings", []), *_journalled(store, acquired, author)]
    result = _acquired(acquired, touched, store)
    if not store.cluster.dry_run:
        result["lease"] = hold.as_option()
    return result | ({"warnings": warnings} if warnings else {})


def _acquired(acquired: Acquired, touched: list[Ref], store: LeaseStore) -> dict[str, t.Any]:
    former = acquired.taken.holder if acquired.taken else ""
    return {
        "changed": acquired.fresh,
        "state": lease.OURS,
        "held": not store.cluster.dry_run,
        "lock": lease.facts_of(acquired.lock, store.now),
        "taken_from": former,
        "why": acquired.why if former else "",
        "waited": round(acquired.waited, 3),
        "touched": [str(ref) for ref in touched],
        "diff": {
            "before": {"holder": former if acquired.fresh else acquired.lock.holder},
            "after": {"holder": acquired.lock.holder},
        },
    }


def _scope(options: Options) -> Scope:
    place = (options["namespace"], options["application"])
    return Scope(*place, options["traffic"], options["entry_service"] or "", options["canary_drain"])


def _author(options: Options) -> Author:
    usual = default_author()
    return Author(options["who"] or usual.who, options["controller"] or usual.host)


def _holder(options: Options, author: Author) -> str:
    """One's own name again where the lock is held already; else one that no other run has."""
    if options["lease"]:
        return str(options["lease"]["holder"])
    about = options["release_id"] or options["application"]
    return f"{author.who}@{author.host}:{about}:{secrets.token_hex(4)}"


def _record(options: Options) -> Path:
    directory = Path(options["directory"] or state_directory()).absolute()
    place = " ".join(str(options[name]) for name in ("host", "kubeconfig", "context", "namespace"))
    digest = hashlib.sha256(place.encode()).hexdigest()[:12]
    return directory / f"lease-{options['application']}-{digest}.json"


def _noted(hold: lease.Hold, at: float, cluster: Cluster) -> dict[str, t.Any]:
    if cluster.dry_run:
        return {}
    try:
        Path(hold.record).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        note_renewed(hold, at)
    except OSError as error:
        said = f"directory: the last renewal of the lock can't be noted ({error}), so taking traffic back asks for it"
        return {"warnings": [said]}
    return {}


def _journalled(store: LeaseStore, acquired: Acquired, author: Author) -> list[str]:
    """Note in a release in progress that its lock was taken; the Lease itself says so too, so it may fail."""
    if acquired.taken is None or not acquired.fresh or store.cluster.dry_run:
        return []
    journals = JournalStore(store.cluster, store.namespace, store.application, author)
    data = {
        "from": acquired.taken.holder,
        "to": acquired.lock.holder,
        "why": acquired.why,
        "transitions": acquired.lock.transitions,
        "last_renewed": lease.iso(acquired.taken.renewed),
    }
    try:
        journal = journals.read()
        if journal is not None and not journal.closed:
            journals.record("lock_taken_over", data=data, release_id=journal.release_id)
    except RolloutError as error:
        return [f"the journal doesn't say that the lock was taken over from {acquired.taken.holder}: {error.message}"]
    return []
