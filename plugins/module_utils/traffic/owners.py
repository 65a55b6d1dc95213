# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who else holds the weight of an object, read off its ``managedFields`` and marks. Pure.

A person's ``kubectl`` or a script once wrote the object and is gone; a GitOps controller or another rollout tool comes
back and writes its own weight over ours.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import FieldPath, TrafficState

OURS = "claude-enhancer-rollout"
_PERSONS = re.compile(r"kubectl|oc$|oc-|helm$|k9s|lens|openapi-generator|ansible", re.IGNORECASE)
_CONTROLLERS = re.compile(
    r"argocd|argo-cd|argo-rollouts|rollouts-controller|flagger|flux|kustomize-controller|helm-controller|fleetagent"
    r"|config-?sync|configmanagement|applier|spinnaker|keptn|harness",
    re.IGNORECASE,
)
_MARKS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "configmanagement.gke.io/managed": "Config Sync",
    "objectset.rio.cattle.io/id": "Fleet",
}
_OWNERS = {"Canary": "Flagger", "Rollout": "Argo Rollouts"}


def owner_findings(state: TrafficState) -> list[str]:
    """Who would write the weight of ``state`` back, one sentence each; empty where nobody would."""
    metadata = state.raw.get("metadata") or {}
    marks = [*(metadata.get("labels") or {}), *(metadata.get("annotations") or {})]
    found = {_MARKS[mark]: f"its mark {mark}" for mark in marks if mark in _MARKS}
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("kind") in _OWNERS:
            found[_OWNERS[owner["kind"]]] = f"its owner {owner['kind']} {owner.get('name')}"
    for entry in metadata.get("managedFields") or []:
        held = [path for path in state.weight_fields if _holds(entry.get("fieldsV1") or {}, path)]
        if held and _comes_back(entry):
            since = f" since {entry['time']}" if entry.get("time") else ""
            found[str(entry["manager"])] = f"{entry.get('operation')} of {', '.join(map(_dotted, held))}{since}"
    return [
        f"{who} holds {state.ref} ({why}) and would write its own weight over this one; tell it to leave the weight "
        "alone, or set takeover=true"
        for who, why in found.items()
    ]


def last_writer(raw: t.Mapping[str, t.Any], fields: t.Iterable[FieldPath]) -> str:
    """Who wrote any of ``fields`` of the object last, and when; empty where that is this collection or isn't told."""
    entries = (raw.get("metadata") or {}).get("managedFields") or []
    held = [entry for entry in entries if any(_holds(entry.get("fieldsV1") or {}, path) for path in fields)]
    newest = max(held, key=lambda entry: str(entry.get("time") or ""), default=None)
    if newest is None or newest.get("manager") == OURS:
        return ""
    at = f" at {newest['time']}" if newest.get("time") else ""
    return f"{newest.get('manager')}{at}"


def _comes_back(entry: t.Mapping[str, t.Any]) -> bool:
    manager = str(entry.get("manager", ""))
    if manager == OURS:
        return False
    if _CONTROLLERS.search(manager):
        return True
    return entry.get("operation") == "Apply" and not _PERSONS.match(manager)


def _holds(fields: t.Mapping[str, t.Any], path: FieldPath) -> bool:
    """Whether a ``fieldsV1`` names the field at ``path``, the whole of it or a part."""
    for key in path:
        if f"f:{key}" not in fields:
            return False
        fields = fields[f"f:{key}"] or {}
        if not fields:  # held as a whole
            return True
    return True


def _dotted(path: FieldPath) -> str:
    return ".".join(path)
