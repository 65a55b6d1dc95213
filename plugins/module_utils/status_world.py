# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a release stands, asked of the cluster and of this machine; changes nothing."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.expected_world import (
    Expected,
    Findings,
    Seen,
    compare,
    expected,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import (
    IN_PROGRESS,
    Journal,
    standing,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import (
    JournalStore,
    find_application,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.release_world import look
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.status import (
    EVENTS,
    Controller,
    Lock,
    Status,
    in_words,
    no_release,
    status,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog_process import (
    holder_of,
    state_directory,
)

_NOTHING = Findings((), ())


def read_status(
    cluster: Cluster, namespace: str, application: str | None, now: float
) -> tuple[Status, dict[str, t.Any]]:
    """The status at ``now`` (unix time), and the same as data.

    Raises what keeps the journal from being read; what else can't be read is said in its place.
    """
    known = application or find_application(cluster, namespace)
    journal = JournalStore(cluster, namespace, known).read() if known else None
    if journal is None:
        found = no_release(namespace, application)
        return found, {"found": False, "namespace": namespace, "commands": found.commands}
    must = expected(journal)
    seen = look(cluster, namespace, journal.header["plan"], must)
    findings = compare(must, seen) if journal.state == IN_PROGRESS else _NOTHING
    controller = _controller(cluster, namespace, journal)
    told = status(journal, must, seen, findings, controller, now, namespace)
    facts = _facts(journal, must, seen, findings)
    life = {"alive": controller.alive(now), **dataclasses.asdict(controller)}
    return told, {**facts, "namespace": namespace, "controller": life, "commands": told.commands}


def _controller(cluster: Cluster, namespace: str, journal: Journal) -> Controller:
    application = str(journal.header["application"])
    lock, problem = _lock(cluster, namespace, application)
    for path in sorted(state_directory().glob(f"watchdog-{application}-*.lock")):
        holder = holder_of(Path(path))
        if holder and holder.get("release_id") == journal.release_id:
            watched = Process(**holder["main"]).alive()
            return Controller(lock, problem, int(holder["watchdog"]["pid"]), watched)
    return Controller(lock, problem)


def _lock(cluster: Cluster, namespace: str, application: str) -> tuple[Lock | None, str]:
    """Who holds the release's lock, and why that isn't known."""
    name = f"{application}-release-lock"
    try:
        found = cluster.find(Ref("coordination.k8s.io/v1", "Lease", "leases", namespace, name))
    except UnreachableError:
        raise
    except RolloutError as error:
        return None, error.message
    return (Lock.of(found) if found else None), ""


def _facts(journal: Journal, must: Expected, seen: Seen, findings: Findings) -> dict[str, t.Any]:
    """Everything as data that survives JSON."""
    stands = standing(journal)
    kept = ("release_id", "application", "state", "versions", "started", "stage", "next_stage", "ended_stages")
    weight, entry = seen.weight, seen.entry
    return {
        "found": True,
        **{name: stands[name] for name in kept},
        "run_by": stands["controller"],
        "weight": None
        if weight is None
        else {
            "is": None if weight.problem else weight.weight,
            "routes": list(weight.routes),
            "expected": None if must.weights is None else sorted(must.weights),
            "object": weight.ref,
            "problem": weight.problem,
        },
        "entry": None
        if entry is None
        else {"service": entry.name, "selector": dict(entry.selector), "problem": entry.problem},
        "deployments": [{"name": name, **dataclasses.asdict(found)} for name, found in seen.deployments.items()],
        "events": [{**event, "words": in_words(event)} for event in journal.events[-EVENTS:]],
        "differences": [{**dataclasses.asdict(one), "sentence": one.sentence} for one in findings.differences],
        "notices": list(findings.notices),
    }
