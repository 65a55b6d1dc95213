# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands behind a side that is a Service, or the part of a Service whose pods carry certain labels."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import (
    Standing,
    contradiction,
    format_labels,
    standing,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import Backend, Side


def service_backends(cluster: Cluster, namespace: str, services: t.Mapping[Side, str]) -> dict[Side, Backend]:
    """What stands behind each side that is a Service of ``namespace``, named by the side's option ``host``."""
    return {side: service_backend(cluster, namespace, name, f"{side}.host") for side, name in services.items()}


def service_backend(cluster: Cluster, namespace: str, name: str, option: str) -> Backend:
    """What stands behind the Service ``name``; ``option`` named it and is blamed where there is no such Service."""
    return backend(name, standing(cluster, namespace, name), option)


def backend(
    name: str, found: Standing | None, option: str, labels: t.Mapping[str, str] | None = None, part: str = ""
) -> Backend:
    """Ready endpoints of a Service whose pods carry ``labels``, which is where a mesh sends the side's requests.

    ``part`` is what the labels are called, such as ``subset candidate``.
    """
    whole = f"{name} {part}" if part else name
    labels = labels or {}
    if found is None:
        return Backend(whole, 0, 0, f"{option}: there is no Service for {name} in the cluster")
    clash = contradiction(found.selector, labels)
    if clash:
        return Backend(
            whole,
            0,
            0,
            f"{option}: {whole} ({format_labels(labels)}) lies outside the selector of its Service "
            f"({format_labels(found.selector)}), so it can never have an endpoint and every request sent to it fails; "
            f"route to a Service whose selector leaves out {', '.join(clash)}",
        )
    pods = found.pods_with(labels)
    if not labels and not pods:  # endpoints that no pod stands behind
        return Backend(whole, len(found.endpoints), len(found.endpoints), endpoints=found.endpoints)
    return Backend(
        whole,
        len(found.endpoints & pods),
        len(pods),
        endpoints=frozenset(found.endpoints & pods),
        deployments=frozenset(found.deployments[pod] for pod in pods if pod in found.deployments),
    )
