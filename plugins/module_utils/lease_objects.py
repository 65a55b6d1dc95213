# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What whoever gets the lock of a release touches, since a write of its former holder may still be on its way.

Those that lead users somewhere, and the journal. Everything else that carries a fence is made under a name of its own
and never changes, or is deleted and scaled under the version that was read.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref, service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_scope import touched_by_drain
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider


@dataclasses.dataclass(frozen=True)
class Scope:
    """What a release changes under the lock, in the words of its inventory; what isn't given is not touched."""

    namespace: str
    application: str
    traffic: t.Mapping[str, t.Any] | None = None
    entry_service: str = ""
    canary_drain: t.Sequence[t.Mapping[str, t.Any]] = ()


def objects_of(cluster: Cluster, scope: Scope) -> list[Ref]:
    """The objects, the journal first. Raises RolloutError where what carries the weight can't be read."""
    refs = [*JournalStore(cluster, scope.namespace, scope.application).objects]
    if scope.entry_service:
        refs.append(service(scope.namespace, scope.entry_service))
    refs += _drained(cluster, scope)
    if scope.traffic:
        provider = open_provider(str(scope.traffic.get("provider") or "istio"), cluster, scope.traffic)
        provider.prepare()
        refs += provider.objects()
    return list(dict.fromkeys(refs))


def _drained(cluster: Cluster, scope: Scope) -> t.Iterator[Ref]:
    facts = {"release_namespace": scope.namespace, "release_canary_drain": scope.canary_drain}
    for wanted in touched_by_drain(facts):
        ref = wanted.ref
        if ref.plural:
            yield ref
            continue
        try:
            yield cluster.locate(ref.api_version, ref.kind, ref.namespace, ref.name)
        except InputError:
            continue  # of a kind that isn't served there is nothing to change
