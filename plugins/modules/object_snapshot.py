#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: object_snapshot
short_description: Keep the Kubernetes objects that a release touches, and bring back what it changed
version_added: 0.3.0
description:
  - A snapshot holds every object that a release touches as it was before the first change, without what the API server
    owns, each with the SHA-256 of its canonical JSON. It also says which objects were not there.
  - Snapshots are ConfigMaps in O(namespace), readable with kubectl; C(docs/journal.md) shows how. What is too large for
    one is compressed, and spread over several. On request they are files too.
  - Secrets are never copied. Of a Secret the name, the keys and a salted hash of its data are kept, so that a change is
    noticed. What looks like a secret in other objects is left out, and stays as it is when they are restored. A
    ConfigMap of O(namespace) itself is kept to the letter.
  - Restoring is three-way. A field that differs comes back where the release changed it, by what is known of the
    release (O(release)) and by the field managers that the API server names. A field that somebody else changed is
    named under RV(kept) and stays, unless O(force=true).
  - Objects come back in this order, so that nothing is there before what it refers to - configuration, workloads, what
    scales and guards them, Services, other kinds, DestinationRules, routes. What fails ends the run after the kinds of
    its own place; the run after it goes on from there.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  action:
    description:
      - V(take) reads the objects that O(release), O(objects) and O(selectors) name, and stores them. While a release is
        in progress that has a snapshot, nothing is taken unless O(again=true), since that is the state to return to.
        Snapshots older than O(keep_days) are deleted.
      - V(read) returns the list of objects, with O(content=true) the objects too.
      - V(verify) tells what differs now, and by whom.
      - V(restore) brings back what the release changed.
      - V(export) writes a snapshot of the cluster into O(directory).
      - V(prune) deletes snapshots older than O(keep_days).
    type: str
    choices: [take, read, verify, restore, export, prune]
    default: read
  application:
    description:
      - Name of the application under release.
      - Without it the application is found by the labels of its journal in O(namespace).
      - Required for O(action=take).
    type: str
  namespace:
    description:
      - Namespace of the application, where the snapshots are kept.
      - Without it the namespace of the kubeconfig's context is used.
    type: str
  release_id:
    description:
      - Id of the release. Required for O(action=take).
      - Elsewhere it says whose snapshot is meant. Without it and without O(name), that is the one in the journal, or
        else the newest.
    type: str
  name:
    description: Name of a snapshot, the ConfigMap that holds its list.
    type: str
  release:
    description:
      - The variables of the release by their names in the inventory. They name the traffic object, the entry Service,
        the Deployments of both sides with what scales them and the ConfigMaps and Secrets that their pods read, the
        candidate's ConfigMaps, and what the clean-up of the canary patches.
      - Used by O(action=take).
    type: dict
    default: {}
  objects:
    description: Further objects to keep. One that is not there is kept as such. Used by O(action=take).
    type: list
    elements: dict
    default: []
    suboptions:
      api_version:
        description: Version of the API that the object is in, such as V(policy/v1).
        type: str
        required: true
      kind:
        description: Kind of the object.
        type: str
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
      namespace:
        description: Namespace of the object; without it O(namespace).
        type: str
  selectors:
    description:
      - Further objects to keep, by their labels. Those that a controller makes for another object are left out and
        named in a warning. Used by O(action=take).
    type: list
    elements: dict
    default: []
    suboptions:
      api_version:
        description: Version of the API that the objects are in.
        type: str
        required: true
      kind:
        description: Kind of the objects.
        type: str
        required: true
      label_selector:
        description: Labels of the objects, such as V(app=shop,tier!=cache).
        type: str
        required: true
      namespace:
        description: Namespace of the objects; without it O(namespace).
        type: str
  again:
    description: Take a snapshot though the release in progress has one. The journal keeps the first.
    type: bool
    default: false
  directory:
    description:
      - Folder for snapshots as files, each in a folder of its own name, a file of mode 0600 per object.
      - O(action=take) and O(action=export) write there; all of a snapshot, or nothing where there is no room.
      - O(action=read), O(action=verify) and O(action=restore) read the snapshot O(name) from there, and nothing of
        snapshots in the cluster.
    type: path
  content:
    description: Whether O(action=read) returns the objects too, without what looks like a secret.
    type: bool
    default: false
  only:
    description:
      - Objects to compare or restore, as the results name them, such as V(DestinationRule shop/shop); without the
        namespace it is O(namespace).
      - Without it all objects of the snapshot.
    type: list
    elements: str
    default: []
  force:
    description:
      - Whether O(action=restore) takes back others' changes too, and with O(remove_new=true) removes what others made.
    type: bool
    default: false
  remove_new:
    description: Whether O(action=restore) removes objects that were not there and that the release made.
    type: bool
    default: false
  field_managers:
    description:
      - Who writes for the release, as the API server names them in C(metadata.managedFields). These are this
        collection's modules and those of kubernetes.core.
    type: list
    elements: str
    default: [claude-enhancer-rollout, OpenAPI-Generator]
  keep_days:
    description:
      - Days for which O(action=take) and O(action=prune) keep a snapshot.
      - The snapshot in the journal of a release in progress, and the newest of that release, are always kept.
    type: float
    default: 7.0
  who:
    description: Who acts. Without it the user of the machine, also through sudo.
    type: str
  controller:
    description: The machine this is run from. Without it the host name of the machine that runs the module.
    type: str
extends_documentation_fragment:
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.lease
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.changes
attributes:
  check_mode:
    details:
      - Every write is sent as a server-side dry run, so the API server judges it and stores nothing.
      - No file is written.
  idempotent:
    support: partial
    details:
      - O(action=take) takes a snapshot each time, but for a release in progress that has one.
seealso:
  - module: claude_enhancer.rollout.release_journal
  - module: claude_enhancer.rollout.release_rollback
"""

EXAMPLES = r"""
- name: Keep what the release touches
  claude_enhancer.rollout.object_snapshot:
    action: take
    application: claude-enhancer
    namespace: claude-enhancer
    release_id: 5.1-20261120T100000Z
    release: "{{ hostvars[inventory_hostname] }}"
    objects:
      - {api_version: policy/v1, kind: PodDisruptionBudget, name: claude-enhancer}
    selectors:
      - {api_version: networking.k8s.io/v1, kind: NetworkPolicy, label_selector: app=claude-enhancer}
  register: kept

- name: See what differs now
  claude_enhancer.rollout.object_snapshot:
    action: verify
    namespace: claude-enhancer
  register: seen

- name: Bring back what the release changed, and remove what it made
  claude_enhancer.rollout.object_snapshot:
    action: restore
    namespace: claude-enhancer
    remove_new: true

- name: Keep it as files too
  claude_enhancer.rollout.object_snapshot:
    action: export
    namespace: claude-enhancer
    directory: /var/backups/claude-enhancer
"""

RETURN = r"""
found:
  description: Whether there is a snapshot.
  returned: O(action=read)
  type: bool
name:
  description: Name of the snapshot.
  returned: when there is a snapshot, but for O(action=prune)
  type: str
  sample: claude-enhancer-release-snapshot-5.1-20261120t100000z-0a1b2c3d
snapshot:
  description: What the journal keeps of a snapshot. Empty where the release in progress was opened without one.
  returned: when there is a snapshot, but for O(action=prune)
  type: dict
  contains:
    name:
      description: Name of the snapshot.
      type: str
    sha256:
      description: Checksum of its list, which holds the checksums of the objects.
      type: str
    taken:
      description: When it was taken, in UTC.
      type: str
    checksums:
      description: For each C(object) its C(sha256); V(absent) for one that was not there.
      type: list
      elements: dict
objects:
  description: The objects of the snapshot, with O(content=true) each with its C(body).
  returned: O(action=read) and O(action=take), when there is a snapshot
  type: list
  elements: dict
same:
  description: Whether everything is as it was, as far as that may be read.
  returned: O(action=verify)
  type: bool
differences:
  description:
    - The objects that are not as they were. C(state) is V(changed), V(gone), V(new), or V(unknown) for a Secret that
      may not be read. C(changes) name each C(field), what it C(was) and C(is), C(by) whom, and whether that was the
      C(release).
  returned: O(action=verify)
  type: list
  elements: dict
restored:
  description: Objects that were changed back.
  returned: O(action=restore)
  type: list
  elements: str
made:
  description: Objects that were gone and were made anew.
  returned: O(action=restore)
  type: list
  elements: str
removed:
  description: Objects that the release had made and that were removed.
  returned: O(action=restore)
  type: list
  elements: str
kept:
  description: Fields that others changed, and that stay so. C(object), C(field), what it C(was) and C(is), C(by) whom.
  returned: O(action=restore)
  type: list
  elements: dict
left:
  description: Objects that were not tried since something failed before them. The next run goes on with them.
  returned: O(action=restore)
  type: list
  elements: str
problems:
  description: What couldn't be restored, one sentence each.
  returned: O(action=restore)
  type: list
  elements: str
pruned:
  description: Snapshots that were deleted.
  returned: O(action=take) and O(action=prune)
  type: list
  elements: str
folder:
  description: The folder that holds the snapshot's files.
  returned: O(action=take) with O(directory), O(action=export)
  type: str
"""

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import LEASE_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_actions import work
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_merge import OURS

_KIND: dict[str, t.Any] = {
    "api_version": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True},
    "namespace": {"type": "str"},
}
SPEC = ArgumentSpec(
    {
        "action": {
            "type": "str",
            "choices": ["take", "read", "verify", "restore", "export", "prune"],
            "default": "read",
        },
        "application": {"type": "str"},
        "namespace": {"type": "str"},
        "release_id": {"type": "str"},
        "name": {"type": "str"},
        "release": {"type": "dict", "default": {}},
        "objects": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {**_KIND, "name": {"type": "str", "required": True}},
        },
        "selectors": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {**_KIND, "label_selector": {"type": "str", "required": True}},
        },
        "again": {"type": "bool", "default": False},
        "directory": {"type": "path"},
        "content": {"type": "bool", "default": False},
        "only": {"type": "list", "elements": "str", "default": []},
        "force": {"type": "bool", "default": False},
        "remove_new": {"type": "bool", "default": False},
        "field_managers": {"type": "list", "elements": "str", "default": list(OURS)},
        "keep_days": {"type": "float", "default": 7.0},
        "who": {"type": "str"},
        "controller": {"type": "str"},
    },
    required_if=(
        ("action", "take", ("application", "release_id")),
        ("action", "export", ("directory",)),
    ),
)


def main() -> None:
    run(SPEC.merge(LEASE_SPEC, CLUSTER_SPEC).module(), work)


if __name__ == "__main__":
    main()
