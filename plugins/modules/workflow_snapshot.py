#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workflow_snapshot
short_description: Keep the application's rows in PostgreSQL, and put them back
version_added: 0.4.0
description:
  - Takes a named, consistent snapshot of tables within their database, verifies it, compares it with the live tables,
    and puts it back. Rows written since are kept in tables of their own, never thrown away.
  - A snapshot is a schema of its name with a copy of each table, all of one moment, with row counts and checksums
    recorded in a catalogue in the same database. Rows never leave the server.
  - A snapshot is taken, restored and pruned in one transaction each. Whoever dies in the middle, all of it is there or
    nothing.
  - Works on ordinary and partitioned tables that have a primary key, on PostgreSQL 11 and newer. Connect to the server
    itself, not by a pooler that shares sessions between transactions.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  action:
    description:
      - V(status) lists snapshots, restores and the tables whose writes are paused.
      - V(take) takes a snapshot. A release (O(release_id)) that has one keeps it, since it is the state to return to.
      - V(verify) fails if the copies aren't what was recorded when they were taken.
      - V(compare) tells which rows were added, changed or deleted since a snapshot; with O(other), how two databases
        or two sets of tables differ. It changes nothing, and a difference is no failure, see RV(equal).
      - V(restore) puts the rows of a snapshot back. Writers wait meanwhile, and readers too
        where there are foreign keys. Rows written since are kept aside in
        RV(archive). Before it is committed, row counts, checksums, foreign keys and sequences are verified; otherwise
        everything is rolled back. Restored again, it changes nothing.
      - V(pause) has the database refuse every write to O(tables), until V(resume).
      - V(resume) allows them again; without O(tables), to every table whose writes are paused.
      - V(prune) removes the snapshots older than O(keep_days).
    type: str
    choices: [status, take, verify, compare, restore, pause, resume, prune]
    default: status
  application:
    description:
      - Name of the application. Required for O(action=take) and O(action=prune).
      - With O(action=status) only its snapshots are listed.
    type: str
  tables:
    description:
      - Tables as SQL names them, such as V(public.workflow_states); a name that isn't plain needs double quotes.
      - Required for O(action=take) and O(action=pause).
    type: list
    elements: str
    default: []
  name:
    description:
      - Name of a snapshot.
      - Without it, the one of O(release_id); without that, the newest of O(application), but for O(action=restore).
    type: str
  version:
    description:
      - Version of the application whose rows these are. Part of the snapshot's name. Required for O(action=take).
    type: str
  release_id:
    description:
      - Release that the snapshot is of. With O(action=prune), the release in progress, whose snapshot is kept.
    type: str
  prefix:
    description:
      - First part of the snapshot's name, C(<prefix>_<version>_backup_YYYYMMDD_HHMMSS). Without it O(application).
    type: str
  reason:
    description:
      - Why; is recorded, and shown to whoever writes while writes are paused.
    type: str
    default: ""
  keep_days:
    description:
      - For how many days snapshots are kept. The newest of an application always is, since a release in progress took
        it. What restores kept aside is never removed.
    type: float
    default: 7.0
  protect:
    description:
      - Further releases whose snapshots O(action=prune) keeps.
    type: list
    elements: str
    default: []
  limit:
    description:
      - How many keys of rows that differ are named, per table.
    type: int
    default: 20
  wait:
    description:
      - With O(other), for how many seconds to look again until nothing differs, where rows take time to arrive.
    type: float
    default: 0.0
  catalogue:
    description:
      - Schema for the record of snapshots and restores. It is made when it is first needed.
    type: str
    default: release_snapshots
  lock_timeout:
    description:
      - For how many seconds to try to lock the tables, and to wait for another run of this module.
    type: float
    default: 10.0
  statement_timeout:
    description:
      - For how many seconds a single statement may run; V(0) for any time.
    type: float
    default: 600.0
extends_documentation_fragment:
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.changes
  - claude_enhancer.rollout.database
  - claude_enhancer.rollout.cluster
attributes:
  check_mode:
    support: full
    details:
      - O(action=take) does everything but copying rows in a transaction that is rolled back; the others look at what
        they would change.
seealso:
  - name: Data of a release
    description: What is kept where, rights, what each failure means.
    link: https://github.com/claude-enhancer/rollout/blob/main/docs/data.md
"""

EXAMPLES = r"""
- name: Keep the workflow state before the release
  claude_enhancer.rollout.workflow_snapshot:
    action: take
    database:
      host: postgres.example.com
      name: claude_enhancer
      user: claude
      sslmode: verify-full
    application: claude-enhancer
    version: "5.0"
    release_id: 5.1-20261120T100000Z
    tables: [public.workflow_states, public.workflow_phase_log]

- name: See what was written since
  claude_enhancer.rollout.workflow_snapshot:
    action: compare
    database:
      dsn: service=claude
    name: claude_enhancer_5_0_backup_20261120_100000

- name: Put it back, through psql in the pod of the primary
  claude_enhancer.rollout.workflow_snapshot:
    action: restore
    database:
      name: claude_enhancer
      user: postgres
      pod:
        namespace: claude-enhancer
        selector: app=postgres,role=primary
    name: claude_enhancer_5_0_backup_20261120_100000
    reason: 5.1 wrote wrong phases

- name: Prove that green has every row of blue
  claude_enhancer.rollout.workflow_snapshot:
    action: compare
    database: {host: blue.example.com, name: claude_enhancer, user: claude}
    tables: [public.workflow_states]
    other:
      database: {host: green.example.com, name: claude_enhancer, user: claude}
    wait: 60
  register: sync
  failed_when: not sync.equal
"""

RETURN = r"""
name:
  description: Name of the snapshot.
  returned: when the action is about one
  type: str
  sample: claude_enhancer_5_0_backup_20261120_100000
snapshot:
  description: The snapshot as it was recorded.
  returned: when the action is about one
  type: dict
  sample:
    application: claude-enhancer
    host: ops1
    name: claude_enhancer_5_0_backup_20261120_100000
    release_id: 5.1-20261120T100000Z
    rows: 5120
    state: complete
    tables:
      public.workflow_states: {rows: 5120, checksum: 0b1f8a44d2c6e7905be4b1f0c2a7d3e8}
    taken_at: "2026-11-20T10:00:00+00:00"
    taken_by: kim
    version: "5.0"
tables:
  description:
    - For O(action=verify) table to its rows and checksum.
    - For O(action=compare) and O(action=restore) table to the counts C(added), C(changed) and C(deleted) since the
      snapshot. V(compare) names C(keys); V(restore) says how many rows were C(kept) aside.
    - For O(action=compare) with O(other), table to C(equal), C(rows) and C(other_rows), the counts C(missing) from the
      other side, C(changed) and C(surplus) there, and C(keys). The counts are of a part only where C(complete) is
      false.
    - For O(action=pause) and O(action=resume) the list of tables that were changed.
  returned: for these actions
  type: raw
equal:
  description: Whether nothing differs.
  returned: for O(action=compare)
  type: bool
archive:
  description: Schema with the rows written since the snapshot, one table for each; none if there were no such rows.
  returned: for O(action=restore)
  type: str
  sample: claude_enhancer_5_0_kept_20261120_103000
sequences:
  description: Sequences that had fallen behind and were raised. They are never set back.
  returned: for O(action=restore)
  type: list
  elements: str
structure:
  description: Columns, constraints and indexes that came, went or changed since the snapshot. A restore leaves them.
  returned: for O(action=restore), and O(action=compare) with a snapshot
  type: list
  elements: str
  sample: ["column public.workflow_states.rank is new"]
paused:
  description:
    - Tables whose writes are paused, now that the action is done.
    - For O(action=status) each as C(table), C(since), C(by) and C(reason).
  returned: for O(action=restore), O(action=pause), O(action=resume) and O(action=status)
  type: list
  elements: raw
  sample: [public.workflow_states]
pruned:
  description: Names of the snapshots that were removed.
  returned: for O(action=prune)
  type: list
  elements: str
snapshots:
  description: Every snapshot ever taken, oldest first, as in RV(snapshot); C(state) says whether its rows are there.
  returned: for O(action=status)
  type: list
  elements: dict
restores:
  description: Every restore that changed anything, oldest first.
  returned: for O(action=status)
  type: list
  elements: dict
error:
  description:
    - Kind of the failure, such as V(input), V(database_away), V(database_forbidden), V(missing_table),
      V(database_full), V(database_slow), V(database_locked), V(data_integrity) or V(data_snapshot).
  returned: failure
  type: str
  sample: database_locked
blockers:
  description: Who held the tables.
  returned: failure with RV(error=database_locked)
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.actions import carry_out
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.options import (
    DATABASE_ARGUMENTS,
    open_database,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import default_author

_DATABASE = {"type": "dict", "apply_defaults": True, "options": DATABASE_ARGUMENTS}

SPEC = ArgumentSpec(
    {
        "action": {
            "type": "str",
            "choices": ["status", "take", "verify", "compare", "restore", "pause", "resume", "prune"],
            "default": "status",
        },
        "application": {"type": "str"},
        "database": _DATABASE,
        "tables": {"type": "list", "elements": "str", "default": []},
        "name": {"type": "str"},
        "version": {"type": "str"},
        "release_id": {"type": "str"},
        "prefix": {"type": "str"},
        "reason": {"type": "str", "default": ""},
        "keep_days": {"type": "float", "default": 7.0},
        "protect": {"type": "list", "elements": "str", "default": []},
        "limit": {"type": "int", "default": 20},
        "other": {
            "type": "dict",
            "options": {
                "database": _DATABASE,
                "tables": {"type": "list", "elements": "str", "default": []},
            },
        },
        "wait": {"type": "float", "default": 0.0},
        "catalogue": {"type": "str", "default": "release_snapshots"},
        "lock_timeout": {"type": "float", "default": 10.0},
        "statement_timeout": {"type": "float", "default": 600.0},
    },
    required_if=(
        ("action", "take", ("application", "version", "tables")),
        ("action", "prune", ("application",)),
    ),
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Carry out the action; returns the module's result."""
    options = module.params

    def opened(described: t.Mapping[str, t.Any]) -> Database:
        return open_database(described, lambda: Cluster.from_options(options), options["statement_timeout"])

    answer = carry_out(options, opened, default_author(), SystemClock(), check_mode=module.check_mode)
    if not module._diff:
        answer.pop("diff", None)
    return answer


def main() -> None:
    run(SPEC.merge(CLUSTER_SPEC).module(), work)


if __name__ == "__main__":
    main()
