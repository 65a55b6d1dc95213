# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking all traffic back with nothing but the journal to say from where to where."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import (
    JournalStore,
    find_application,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.report import as_result

REDUCED = "stable_reduced"


def withdraw(cluster: Cluster, namespace: str, application: str | None) -> dict[str, t.Any]:
    """Read the journal and give all traffic to stable; the result of the action.

    ``withdrawn`` is false, with the reason in ``why``, where there is no journal, or where the stable side could not
    carry the traffic: then nothing was changed. Raises RolloutError for what else is in the way.
    """
    result: dict[str, t.Any] = {"changed": False, "found": False, "withdrawn": False, "namespace": namespace}
    application = application or find_application(cluster, namespace)
    journal = JournalStore(cluster, namespace, application).read() if application else None
    if journal is None:
        return {**result, "why": f"namespace {namespace} holds no release journal"}
    result.update(found=True, journal=record.whole(journal), **record.standing(journal))
    why, traffic = reason_to_wait(journal), journal.header["plan"].get("release_traffic")
    if why:
        return {**result, "why": why}
    provider = open_provider(traffic["provider"], cluster, traffic)
    return {**result, **as_result(set_weight(provider, 0)), "withdrawn": True}


def reason_to_wait(journal: record.Journal) -> str:
    """Why the traffic can't be taken back yet; empty when nothing stands before it."""
    if not journal.header["plan"].get("release_traffic"):
        return "the journal does not say what carries the weight"
    if any(event["what"] == REDUCED for event in journal.events):
        return "the stable side was reduced; bring it back to full strength first"
    return ""
