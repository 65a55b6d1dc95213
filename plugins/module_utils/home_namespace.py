# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The namespace that the credentials themselves name: of the kubeconfig's context, or of the pod this runs in."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

try:
    from kubernetes import config as kubernetes_config
except ImportError:
    HAS_KUBERNETES = False
else:
    HAS_KUBERNETES = True

IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def home_namespace(options: t.Mapping[str, t.Any]) -> str:
    """Namespace of the context in use. ``options`` are those of ``CLUSTER_ARGUMENTS``.

    Raises InputError when the context names none: guessing ``default`` would look in the wrong place.
    """
    if not options.get("kubeconfig") and not options.get("context") and IN_CLUSTER.exists():
        return IN_CLUSTER.read_text().strip()
    named = f"context {options['context']}" if options.get("context") else "the kubeconfig's current context"
    namespace = _of_context(options) if HAS_KUBERNETES else None
    if not namespace:
        raise InputError(f"namespace is not given and {named} names none; set namespace")
    return namespace


def _of_context(options: t.Mapping[str, t.Any]) -> str | None:
    wanted = options.get("context")
    try:
        contexts, active = kubernetes_config.list_kube_config_contexts(config_file=options.get("kubeconfig"))
    except (kubernetes_config.ConfigException, OSError):
        return None
    chosen = next((entry for entry in contexts if entry["name"] == wanted), None) if wanted else active
    return t.cast("str | None", (chosen or {}).get("context", {}).get("namespace"))
