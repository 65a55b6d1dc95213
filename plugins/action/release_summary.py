# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the summary of a release where a person sees it."""

from __future__ import annotations

import typing as t

from ansible import constants
from ansible.utils.display import Display

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    InputError,
    JournalError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.home_namespace import home_namespace
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import whole
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import (
    JournalStore,
    find_application,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.summary import Summary, summarise
from ansible_collections.claude_enhancer.rollout.plugins.plugin_utils.release_action import ReleaseAction

SPEC = ArgumentSpec(
    {
        "journal": {"type": "dict"},
        "application": {"type": "str"},
        "namespace": {"type": "str"},
        "release_id": {"type": "str"},
        "notes": {"type": "list", "elements": "str", "default": []},
    }
)


class ActionModule(ReleaseAction):
    """The action plugin; its options are documented in the module of the same name."""

    spec = SPEC.merge(CLUSTER_SPEC)

    def act(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        journal, where = (options["journal"], "") if options["journal"] else _read(options)
        if not journal and self._task.check_mode:
            outcome = "dry run: no journal was written"
            return {"changed": False, "lines": [], "outcome": outcome, "state": None, "stages": []}
        _check(journal, options)
        summary = summarise(journal, options["notes"], where)
        _print(summary)
        return {
            "changed": False,
            "lines": summary.lines,
            "outcome": summary.outcome,
            "state": journal.get("state"),
            "stages": summary.stages,
        }


def _read(options: t.Mapping[str, t.Any]) -> tuple[t.Mapping[str, t.Any], str]:
    """The journal from the cluster, empty where there is none, and where it is."""
    cluster = Cluster.from_options(options)
    namespace = options["namespace"] or home_namespace(options)
    application = options["application"] or find_application(cluster, namespace)
    if application is None:
        return {}, ""
    store = JournalStore(cluster, namespace, application)
    journal = store.read(options["release_id"])
    return (whole(journal), store.place(journal)) if journal else ({}, "")


def _check(journal: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> None:
    if options["journal"] and "release_id" not in journal:
        raise InputError("journal: has no release_id; give what release_journal returned under journal")
    if not journal:
        wanted = f" of {options['release_id']}" if options["release_id"] else ""
        raise JournalError(f"there is no release journal{wanted} here; check application and namespace")


def _print(summary: Summary) -> None:
    display = Display()
    *lines, last = summary.lines
    display.display("\n".join(["", *lines]))
    display.display(last, color=constants.COLOR_OK if summary.good else constants.COLOR_ERROR)
