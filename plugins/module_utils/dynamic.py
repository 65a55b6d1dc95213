# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dynamic client of the ``openshift`` package, going through the one door to Kubernetes.

Its own transport would have other timeouts, no retries and errors of its own, and would ask the API for all that it
serves before the first request; nothing on the way back waits for that. So requests go through a :class:`Cluster`, and
the kinds are told beforehand.
"""

from __future__ import annotations

import re
import traceback
import types
import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import RolloutError

try:
    # The instances are those that openshift's client answers with; its own class of that name can't be made.
    from kubernetes.dynamic.resource import ResourceInstance
    from openshift.dynamic import DynamicClient as _DynamicClient
    from openshift.dynamic import Resource
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
    _DynamicClient = object
else:
    IMPORT_ERROR = None

_PATH = re.compile(
    r"/apis?/(?P<api_version>[^/]+(?:/v[^/]+)?)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>.+))?"
)
_JSON_PATCH = "application/json-patch+json"


class KnownResources:
    """Kinds by name, in place of a discoverer that would ask the API for them."""

    def __init__(self, client: DynamicClient, refs: t.Iterable[Ref]) -> None:
        self.kinds = {(ref.api_version, ref.plural): ref.kind for ref in refs}
        self._resources = {(ref.api_version, ref.kind): _resource(client, ref) for ref in refs}

    def get(self, *, api_version: str, kind: str) -> t.Any:
        return self._resources[api_version, kind]


class DynamicClient(_DynamicClient):
    """A client for the kinds of ``refs``. Its errors are those of ``errors.py``; dry run is the cluster's.

    Raises RolloutError where the package isn't installed.
    """

    def __init__(self, cluster: Cluster, refs: t.Sequence[Ref]) -> None:
        if IMPORT_ERROR is not None:
            raise RolloutError(missing_required_lib("openshift"), exception=IMPORT_ERROR)
        self._cluster = cluster
        connection = types.SimpleNamespace(configuration=types.SimpleNamespace(host=cluster.server))
        super().__init__(connection, discoverer=lambda client, _cache_file: KnownResources(client, refs))

    def request(self, method: str, path: str, body: t.Any = None, **params: t.Any) -> t.Any:
        """Send one request; of ``params`` only ``content_type`` means something here."""
        content_type = params.pop("content_type", None)
        unknown = sorted(key for key, value in params.items() if value is not None)
        if unknown or (method == "patch" and content_type != _JSON_PATCH):
            raise ValueError(
                f"{method} {path} with {', '.join(unknown) or content_type} isn't something this client sends"
            )
        return ResourceInstance(self, self._send(method, self._ref(path), body))

    def _send(self, method: str, ref: Ref, body: t.Any) -> dict[str, t.Any]:
        if method == "get":
            return self._cluster.get(ref)
        if method == "patch":
            return self._cluster.patch(ref, body, kind="json")
        if method == "post":
            return self._cluster.create(ref, body)
        if method == "put":
            return self._cluster.replace(ref, body)
        return self._cluster.delete(ref)

    def _ref(self, path: str) -> Ref:
        match = _PATH.fullmatch(path)
        if match is None:
            raise ValueError(f"{path} isn't the path of an object")
        found = match.groupdict(default="")
        kind = self.resources.kinds[found["api_version"], found["plural"]]
        return Ref(found["api_version"], kind, found["plural"], found["namespace"], found["name"])


def _resource(client: DynamicClient, ref: Ref) -> t.Any:
    group, _slash, version = ref.api_version.rpartition("/")
    return Resource(
        prefix="apis" if group else "api",
        group=group,
        api_version=version,
        kind=ref.kind,
        name=ref.plural,
        namespaced=bool(ref.namespace),
        client=client,
    )
