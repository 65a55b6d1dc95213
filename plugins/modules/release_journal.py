#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_journal
short_description: Keep the record of a release in the cluster
version_added: 0.1.0
description:
  - Writes and reads the journal of a release, the ConfigMap C(<application>-release-journal) with its parts.
  - From it any controller can finish or take back a release which another one started.
  - The journal holds the release's facts (key C(release.json)) and its events (keys C(event-000001) and so on),
    readable with kubectl. Events are only ever added.
  - Two writers at once never lose an event; the one who is second reads again and decides again.
  - What looks like a secret is never stored; a warning names what was left out.
  - A journal has no limit of size. When its events get many, the older ones go into ConfigMaps
    C(<application>-release-journal-<release id>-0001) and so on, which never change again; data of an event that is
    larger than 48 KiB lies in ConfigMaps of its own. C(docs/journal.md) shows how to read them with kubectl.
  - Of lists named C(looks), C(history) or C(samples) in an event's data the last 50 entries are kept.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  action:
    description:
      - V(open) starts a release, or takes up the one of the same versions that is in progress.
        A finished one is kept aside in a ConfigMap C(<application>-release-<release id>) and listed in
        C(<application>-release-history).
      - V(begin) begins O(stage). A stage that has ended answers RV(ended=true) and is to be passed over, one that was
        begun already answers RV(resumed=true). One that failed or was interrupted is begun again.
      - V(end) ends O(stage) with its result O(data). A C(verdict) in it other than V(pass) has the stage count as
        failed, so it will be begun again.
      - V(record) adds an event of the kind O(what).
      - V(close) sets the release's O(state).
      - V(read) returns the whole journal and changes nothing. It fails where an event is missing.
      - V(list) returns the releases that are kept, and changes nothing.
    type: str
    choices: [open, begin, end, record, close, read, list]
    default: read
  application:
    description:
      - Name of the application under release.
      - Without it the journal is found by its labels in O(namespace).
      - Required for O(action=open).
    type: str
  namespace:
    description:
      - Namespace of the application.
      - Without it the namespace of the kubeconfig's context is used.
    type: str
  release_id:
    description:
      - Id of the release.
      - Required for O(action=open), where a release in progress of the same versions keeps its own id.
      - Elsewhere the action fails if the journal is that of another release; O(action=read) then looks for a finished
        release of that id.
    type: str
  versions:
    description:
      - Version on either side. Required for O(action=open).
    type: dict
    suboptions:
      stable:
        description: Version that is running.
        type: str
        required: true
      candidate:
        description: Version to be released.
        type: str
        required: true
  plan:
    description:
      - The facts of the release, kept so that it can be finished or taken back with nothing but a kubeconfig.
      - The names in its C(release_stages) (or C(stages)) are the stages, in their order.
      - Used by O(action=open).
    type: dict
    default: {}
  snapshot:
    description:
      - The state to return to. Used by O(action=open).
      - It can also be added later, with O(action=record), O(what=snapshot) and O(data). Only the first one counts.
    type: dict
    default: {}
  stage:
    description:
      - Name of the stage. Required for O(action=begin) and O(action=end).
    type: str
  what:
    description:
      - Kind of the event, one word such as V(weight_set). Required for O(action=record).
      - V(snapshot) stores O(data) as the state to return to.
      - V(interrupted) with C(on_interrupt=roll_back) in O(data) has O(stage) begun again by the next run.
    type: str
  data:
    description:
      - What belongs to the event; for O(action=end) the stage's result.
    type: dict
    default: {}
  state:
    description:
      - State of the release. Required for O(action=close).
      - V(rolling_back) is a step on the way, after which only V(rolled_back) is possible.
    type: str
    choices: [done, rolling_back, rolled_back]
  who:
    description:
      - Who acts. Without it the user of the machine, also through sudo.
    type: str
  controller:
    description:
      - The machine this is run from. Without it the host name of the machine that runs the module.
    type: str
  keep:
    description:
      - How many finished releases are kept aside, from 0 to 2000. Used by O(action=open).
    type: int
    default: 100
  api_patience:
    description:
      - For how many seconds O(action=begin), O(action=end), O(action=record) and O(action=close) are tried again while
        the Kubernetes API is away. That it was away is a warning.
      - What was written although its answer got lost isn't written twice.
    type: float
    default: 120
    version_added: 0.3.0
extends_documentation_fragment:
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.lease
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.changes
attributes:
  check_mode:
    details:
      - Every write is sent as a server-side dry run, so the API server judges it and stores nothing.
      - Since nothing of an earlier task was written, a step that would not be possible as the journal stands is a
        warning.
  idempotent:
    support: partial
    details:
      - O(action=record) adds an event each time. O(action=open) notes each time who took the release up.
"""

EXAMPLES = r"""
- name: Open the journal
  claude_enhancer.rollout.release_journal:
    action: open
    application: claude-enhancer
    namespace: claude-enhancer
    release_id: 5.1-20261120T100000Z
    versions: {stable: "5.0", candidate: "5.1"}
    plan:
      release_stages:
        - {name: canary, weight: 5}
        - {name: expand, weight: 20}
  register: release

- name: Begin a stage
  claude_enhancer.rollout.release_journal:
    action: begin
    application: claude-enhancer
    namespace: claude-enhancer
    stage: canary
  register: begun

- name: End a stage
  claude_enhancer.rollout.release_journal:
    action: end
    application: claude-enhancer
    namespace: claude-enhancer
    stage: canary
    data: {verdict: pass, weight: 5}

- name: Read the journal with nothing but a kubeconfig
  claude_enhancer.rollout.release_journal:
    action: read
  register: release
"""

RETURN = r"""
found:
  description: Whether there is a journal.
  returned: always
  type: bool
release_id:
  description: Id of the release.
  returned: when there is a journal
  type: str
  sample: 5.1-20261120T100000Z
application:
  description: Name of the application.
  returned: when there is a journal
  type: str
namespace:
  description: Namespace of the journal.
  returned: always
  type: str
state:
  description: V(in_progress), V(rolling_back), V(done) or V(rolled_back).
  returned: when there is a journal
  type: str
versions:
  description: Version on either side.
  returned: when there is a journal
  type: dict
started:
  description: When the release was opened, in UTC.
  returned: when there is a journal
  type: str
ended_at:
  description: When the release was closed, in UTC.
  returned: when there is a journal
  type: str
controller:
  description: Who opened or took up the release last, from where (C(host)), and C(since) when.
  returned: when there is a journal
  type: dict
stage:
  description: The stage that was begun and has not ended.
  returned: when there is a journal
  type: str
ended_stages:
  description: Stages that have ended well.
  returned: when there is a journal
  type: list
  elements: str
remaining_stages:
  description: Stages of the plan that have not ended well, in order.
  returned: when there is a journal
  type: list
  elements: str
next_stage:
  description: The stage to begin or to go on with.
  returned: when there is a journal
  type: str
interrupted_stages:
  description: Stages that were interrupted, their weight taken back.
  returned: when there is a journal
  type: list
  elements: str
sequence:
  description: Number of events.
  returned: when there is a journal
  type: int
resumed:
  description:
    - For O(action=open), that a release was in progress. For O(action=begin), that the stage had been begun before.
  returned: O(action=open) and O(action=begin)
  type: bool
ended:
  description: That the stage had ended, and is to be passed over.
  returned: O(action=begin)
  type: bool
journal:
  description:
    - The whole journal. C(stages) hold for each stage its C(state), C(began), C(ended), C(times_begun) and C(result),
      C(plan) and C(snapshot) what it was opened with, C(events) everything that happened.
  returned: O(action=read) and O(action=open), when there is a journal
  type: dict
releases:
  description: The releases that are kept, oldest first, the one in the journal last.
  returned: O(action=list)
  type: list
  elements: dict
  contains:
    release_id:
      description: Id of the release.
      type: str
    versions:
      description: Version on either side.
      type: dict
    state:
      description: State of the release.
      type: str
    started:
      description: When the release was opened, in UTC.
      type: str
    ended:
      description: When the release was closed, in UTC.
      type: str
    opened_by:
      description: Who opened it, from where.
      type: dict
    journal:
      description: The ConfigMap that holds its journal.
      type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import JournalError, run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.home_namespace import home_namespace
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import (
    KEEP_ARCHIVES,
    JournalStore,
    Written,
    default_author,
    find_application,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import LEASE_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.patience import Patience

SPEC = ArgumentSpec(
    {
        "action": {
            "type": "str",
            "choices": ["open", "begin", "end", "record", "close", "read", "list"],
            "default": "read",
        },
        "application": {"type": "str"},
        "namespace": {"type": "str"},
        "release_id": {"type": "str"},
        "versions": {
            "type": "dict",
            "options": {
                "stable": {"type": "str", "required": True},
                "candidate": {"type": "str", "required": True},
            },
        },
        "plan": {"type": "dict", "default": {}},
        "snapshot": {"type": "dict", "default": {}},
        "stage": {"type": "str"},
        "what": {"type": "str"},
        "data": {"type": "dict", "default": {}},
        "state": {"type": "str", "choices": ["done", "rolling_back", "rolled_back"]},
        "who": {"type": "str"},
        "controller": {"type": "str"},
        "keep": {"type": "int", "default": KEEP_ARCHIVES},
        "api_patience": {"type": "float", "default": 120.0},
    },
    required_if=(
        ("action", "open", ("application", "release_id", "versions")),
        ("action", "begin", ("stage",)),
        ("action", "end", ("stage",)),
        ("action", "record", ("what",)),
        ("action", "close", ("state",)),
    ),
)


def main() -> None:
    run(SPEC.merge(CLUSTER_SPEC, LEASE_SPEC).module(), work)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Carry out the action; returns the module's result."""
    options = module.params
    cluster = Cluster.from_options(options, dry_run=module.check_mode)
    namespace = options["namespace"] or home_namespace(options)
    application = options["application"] or find_application(cluster, namespace)
    if application is None:
        return _without_journal(options, namespace)
    usual = default_author()
    author = record.Author(options["who"] or usual.who, options["controller"] or usual.host)
    fence = LeaseFence.from_option(cluster, options["lease"])
    store = JournalStore(cluster, namespace, application, author, fence=fence)
    if options["action"] == "read":
        return _read(store, options["release_id"])
    if options["action"] == "list":
        releases = store.history()
        return {"changed": False, "found": bool(releases), "namespace": namespace, "releases": releases}
    try:
        return _answer(module, store, _write(module, store))
    except JournalError as error:
        if not module.check_mode or options["action"] == "open":
            raise
        module.warn(f"as the journal stands now, this would not be possible: {error.message}")
        return {"changed": True, "found": False, "namespace": namespace, "resumed": False, "ended": False}


def _without_journal(options: dict[str, t.Any], namespace: str) -> dict[str, t.Any]:
    if options["action"] not in ("read", "list"):
        raise JournalError(f"namespace {namespace} holds no release journal; open a release first, or name application")
    releases: dict[str, t.Any] = {"releases": []} if options["action"] == "list" else {}
    return {"changed": False, "found": False, "namespace": namespace, **releases}


def _read(store: JournalStore, release_id: str | None) -> dict[str, t.Any]:
    found = store.read(release_id)
    if found is None:
        return {"changed": False, "found": False, "namespace": store.namespace}
    return {
        "changed": False,
        "found": True,
        "namespace": store.namespace,
        "journal": record.whole(found),
        **record.standing(found),
    }


def _write(module: AnsibleModule, store: JournalStore) -> Written:
    options = module.params
    data = _clean(module, "data")
    if options["action"] == "open":
        # A release that can't be opened is told at once.
        plan, snapshot = _clean(module, "plan"), _clean(module, "snapshot")
        return store.open(options["release_id"], options["versions"], plan, snapshot, keep=options["keep"])
    patience = Patience(SystemClock(), options["api_patience"])
    began = record.iso(store.clock.now())
    tried: list[bool] = []

    def attempt() -> Written:
        # The answer to an earlier try may have got lost on its way back.
        done = _written_since(store, options, began) if tried else None
        tried.append(True)
        return done or _change(options, store, data)

    written = patience.get(attempt)
    if patience.waited:
        module.warn(f"the Kubernetes API was away for {patience.waited:.0f} s; the journal was written after that")
    return written


def _change(options: dict[str, t.Any], store: JournalStore, data: dict[str, t.Any]) -> Written:
    stage, release_id = options["stage"], options["release_id"]
    action = options["action"]
    if action == "begin":
        return store.begin(stage, data, release_id)
    if action == "end":
        return store.end(stage, data, release_id)
    if action == "record":
        return store.record(options["what"], stage, data, release_id)
    return store.close(options["state"], data, release_id)


def _written_since(store: JournalStore, options: dict[str, t.Any], began: str) -> Written | None:
    """The journal with the event that was to be written since ``began``; None where it isn't there."""
    kinds = {"begin": "stage_begun", "end": "stage_ended", "close": "state_changed", "record": options["what"]}
    stage = None if options["action"] == "close" else options["stage"]
    wanted = (kinds[options["action"]], stage, store.author.who, store.author.host)
    found = store.read()
    if found is None:
        return None
    for number, event in enumerate(found.events):
        if event["time"] >= began and (event["what"], event["stage"], event["who"], event["host"]) == wanted:
            before = record.Journal(found.header, found.events[:number])
            return Written(before, found, {"ended": False, "resumed": False})
    return None


def _clean(module: AnsibleModule, option: str) -> dict[str, t.Any]:
    kept, dropped = record.without_secrets(module.params[option])
    if dropped:
        module.warn(f"{option}: not stored in the journal, since it looks like a secret: {', '.join(dropped)}")
    return t.cast("dict[str, t.Any]", kept)


def _answer(module: AnsibleModule, store: JournalStore, written: Written) -> dict[str, t.Any]:
    result: dict[str, t.Any] = {
        "changed": written.changed,
        "found": True,
        "namespace": store.namespace,
        **record.standing(written.after),
        **written.answer,
    }
    if module.params["action"] == "open":
        result["journal"] = record.whole(store.completed(written.after))
    if module._diff:
        result["diff"] = {
            "before_header": store.where,
            "after_header": store.where,
            "before": _for_diff(written.before),
            "after": _for_diff(written.after),
        }
    return result


def _for_diff(journal: record.Journal | None) -> dict[str, t.Any]:
    if journal is None:
        return {}
    events = [
        f"{event['seq']} {event['time']} {event['what']} {event['stage'] or ''}".rstrip() for event in journal.events
    ]
    header = {key: value for key, value in journal.header.items() if key not in ("plan", "snapshot")}
    return {**header, "events": events}


if __name__ == "__main__":
    main()
