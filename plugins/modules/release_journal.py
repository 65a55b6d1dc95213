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
  - Writes and reads the journal of a release, the ConfigMap C(<application>-release-journal).
  - From it any controller can finish or take back a release which another one started.
  - The journal holds the release's facts (key C(release.json)) and its events (keys C(event-000001) and so on),
    readable with kubectl. Events are only ever added.
  - Two writers at once never lose an event; the one who is second reads again and decides again.
  - What looks like a secret is never stored; a warning names what was left out.
  - Of lists named C(looks), C(history) or C(samples) in an event's data the last 50 entries are kept, an event
    keeps at most 48 KiB, and a journal at most 900 KiB; what does not fit is left out and named under C(left_out).
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  action:
    description:
      - V(open) starts a release, or takes up the one of the same versions that is in progress.
        A finished one is kept aside in a ConfigMap C(<application>-release-<release id>).
      - V(begin) begins O(stage). A stage that has ended answers RV(ended=true) and is to be passed over, one that was
        begun already answers RV(resumed=true). One that failed or was interrupted is begun again.
      - V(end) ends O(stage) with its result O(data). A C(verdict) in it other than V(pass) has the stage count as
        failed, so it will be begun again.
      - V(record) adds an event of the kind O(what).
      - V(close) sets the release's O(state).
      - V(read) returns the whole journal and changes nothing.
    type: str
    choices: [open, begin, end, record, close, read]
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
      - How many finished releases are kept aside.
    type: int
    default: 10
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
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import JournalError, run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.home_namespace import home_namespace
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import (
    JournalStore,
    Written,
    default_author,
    find_application,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import LEASE_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence

SPEC = ArgumentSpec(
    {
        "action": {
            "type": "str",
            "choices": ["open", "begin", "end", "record", "close", "read"],
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
        "keep": {"type": "int", "default": 10},
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
    try:
        return _answer(module, store, _write(module, store))
    except JournalError as error:
        if not module.check_mode or options["action"] == "open":
            raise
        module.warn(f"as the journal stands now, this would not be possible: {error.message}")
        return {"changed": True, "found": False, "namespace": namespace, "resumed": False, "ended": False}


def _without_journal(options: dict[str, t.Any], namespace: str) -> dict[str, t.Any]:
    if options["action"] != "read":
        raise JournalError(f"namespace {namespace} holds no release journal; open a release first, or name application")
    return {"changed": False, "found": False, "namespace": namespace}


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
    stage, release_id = options["stage"], options["release_id"]
    data = _clean(module, "data")
    action = options["action"]
    if action == "open":
        plan, snapshot = _clean(module, "plan"), _clean(module, "snapshot")
        return store.open(release_id, options["versions"], plan, snapshot, keep=options["keep"])
    if action == "begin":
        return store.begin(stage, data, release_id)
    if action == "end":
        return store.end(stage, data, release_id)
    if action == "record":
        return store.record(options["what"], stage, data, release_id)
    return store.close(options["state"], data, release_id)


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
        result["journal"] = record.whole(written.after)
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
