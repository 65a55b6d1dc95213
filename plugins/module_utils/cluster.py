# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one door to Kubernetes: connection, dry run, timeouts, short retries, errors with names.

Configuration and TLS come from the official client; paths are built from :class:`Ref`: no call is spent on discovery.
"""

from __future__ import annotations

import json
import os
import time
import traceback
import typing as t
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

from ansible.module_utils.basic import env_fallback, missing_required_lib

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.http_errors import cause
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    autoscaler,
    config_map,
    deployment,
    destination_rule,
    endpoint_slice,
    http_route,
    ingress,
    openshift_route,
    pod,
    service,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    label_selector as format_label_selector,
)

try:
    import urllib3
    from kubernetes import client as kubernetes_client
    from kubernetes import config as kubernetes_config
    from kubernetes.client import rest as kubernetes_rest
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

__all__ = [
    "CLUSTER_ARGUMENTS",
    "CLUSTER_SPEC",
    "Cluster",
    "Ref",
    "autoscaler",
    "config_map",
    "deployment",
    "destination_rule",
    "endpoint_slice",
    "http_route",
    "ingress",
    "openshift_route",
    "pod",
    "service",
    "virtual_service",
]


def _env(*names: str) -> tuple[t.Any, list[str]]:
    return (env_fallback, [f"K8S_AUTH_{name}" for name in names])


CLUSTER_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "kubeconfig": {"type": "path", "fallback": _env("KUBECONFIG")},
    "context": {"type": "str", "fallback": _env("CONTEXT")},
    "host": {"type": "str", "fallback": _env("HOST")},
    "api_key": {"type": "str", "no_log": True, "fallback": _env("API_KEY")},
    "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"], "fallback": _env("SSL_CA_CERT", "CA_CERT")},
    "client_cert": {"type": "path", "aliases": ["cert_file"], "fallback": _env("CERT_FILE", "CLIENT_CERT")},
    "client_key": {
        "type": "path",
        "aliases": ["key_file"],
        "no_log": False,
        "fallback": _env("KEY_FILE", "CLIENT_KEY"),
    },
    "validate_certs": {"type": "bool", "aliases": ["verify_ssl"], "fallback": _env("VERIFY_SSL", "VALIDATE_CERTS")},
    "proxy": {"type": "str", "fallback": _env("PROXY")},
    "impersonate_user": {"type": "str", "fallback": _env("IMPERSONATE_USER")},
    "impersonate_groups": {"type": "list", "elements": "str", "fallback": _env("IMPERSONATE_GROUPS")},
    "api_timeout": {"type": "float", "default": 10.0},
}

CLUSTER_SPEC = ArgumentSpec(CLUSTER_ARGUMENTS, required_together=(("client_cert", "client_key"),))

PatchKind = t.Literal["merge", "json", "strategic"]

_PATCH_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_FILES = {"ca_cert": "ssl_ca_cert", "client_cert": "cert_file", "client_key": "key_file"}
_FIELD_MANAGER = "claude-enhancer-rollout"
# A server that doesn't know the first sends whole objects.
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_BUSY = frozenset({429, 502, 503, 504})
# A DELETE that was done before its answer got lost is told as 404, which says the same.
_REPEATABLE = frozenset({"GET", "PATCH", "DELETE"})
_RETRY_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)


class Cluster:
    """A connection to one Kubernetes API, to be opened once per process.

    ``calls`` counts the requests sent, ``server`` is the API's URL; ``configuration`` is the official client's, for
    what isn't a plain request, and ``impersonates`` says whether requests are sent in another's name. ``date`` is the
    API server's own time (unix, whole seconds) as its last answer told it, None where none did. With ``dry_run`` the
    API server judges every write and stores none. All methods raise the errors of ``errors.py``; objects are plain
    dicts.
    """

    def __init__(
        self,
        server: str,
        pool: t.Any,
        *,
        headers: t.Callable[[], t.Iterable[tuple[str, str]]] = tuple,
        dry_run: bool = False,
        timeout: float = 10.0,
        sleep: t.Callable[[float], None] = time.sleep,
        configuration: t.Any = None,
        impersonates: bool = False,
    ) -> None:
        self.server = server.rstrip("/")
        self.configuration = configuration
        self.impersonates = impersonates
        self.calls = 0
        self.date: float | None = None
        self.dry_run = dry_run
        self.timeout = timeout
        self._pool = pool
        self._headers = headers
        self._sleep = sleep

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any], *, dry_run: bool = False, timeout: float = 10.0) -> Cluster:
        """Open the cluster that ``options`` (the names of ``CLUSTER_ARGUMENTS``) describe; sends nothing yet.

        ``timeout`` (seconds per call) gives way to the option ``api_timeout``.
        """
        if IMPORT_ERROR is not None:
            raise RolloutError(missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
        seconds = options.get("api_timeout") or timeout
        if seconds <= 0:
            raise InputError(f"api_timeout: must be more than 0 seconds, not {seconds}")
        configuration = _configuration(options)
        _check_files(configuration)
        impersonation = _impersonation(options)

        def headers() -> list[tuple[str, str]]:
            # Asked for on each call, since an exec plugin or a token file may have renewed the token.
            token = configuration.auth_settings().get("BearerToken", {}).get("value")
            return [*impersonation, ("Authorization", token)] if token else impersonation

        pool = kubernetes_rest.RESTClientObject(configuration).pool_manager
        return cls(
            configuration.host,
            pool,
            headers=headers,
            dry_run=dry_run,
            timeout=float(seconds),
            configuration=configuration,
            impersonates=bool(impersonation),
        )

    def get(self, ref: Ref) -> dict[str, t.Any]:
        return self._call("GET", ref)

    def find(self, ref: Ref) -> dict[str, t.Any] | None:
        """Like :meth:`get`, but None where the object, or its whole kind, doesn't exist."""
        try:
            return self.get(ref)
        except NotFoundError:
            return None

    def list_metadata(self, collection: Ref, label_selector: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
        """The ``metadata`` of the objects of a kind with these labels, without the rest, which may be large.

        As the API server has them at hand, which may be a moment old: so it need not read them all from its store.
        """
        query = {"labelSelector": format_label_selector(label_selector), "resourceVersion": "0"}
        answer = self._call("GET", collection.collection, query=query, accept=_METADATA_ONLY)
        return [item["metadata"] for item in answer.get("items") or []]

    def list(self, collection: Ref, label_selector: str | t.Mapping[str, str] | None = None) -> list[dict[str, t.Any]]:
        """All objects of a kind; a mapping as ``label_selector`` means equality of each label."""
        if isinstance(label_selector, t.Mapping):
            label_selector = format_label_selector(label_selector)
        answer = self._call("GET", collection.collection, query={"labelSelector": label_selector or ""})
        return list(answer.get("items") or [])

    def locate(self, api_version: str, kind: str, namespace: str, name: str) -> Ref:
        """The object's place in the API, for kinds that only the inventory knows; asks the API. Raises InputError."""
        try:
            served = self._call("GET", Ref(api_version, "APIResourceList", "")).get("resources") or []
        except NotFoundError:
            served = []
        for resource in served:
            if resource["kind"] == kind and "/" not in resource["name"]:
                return Ref(api_version, kind, resource["name"], namespace if resource["namespaced"] else "", name)
        raise InputError(
            f"kind: the cluster {self.server} doesn't serve {kind} of {api_version}; is its CRD installed?"
        )

    def create(self, ref: Ref, body: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        return self._write("POST", ref.collection, body)

    def replace(self, ref: Ref, body: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Replace the object; with ``metadata.resourceVersion`` in ``body`` only if unchanged since (ConflictError)."""
        return self._write("PUT", ref, body)

    def patch(self, ref: Ref, body: t.Any, kind: PatchKind = "merge") -> dict[str, t.Any]:
        """Patch the object and return it as stored; a JSON patch is a list of operations."""
        return self._write("PATCH", ref, body, content_type=_PATCH_TYPES[kind])

    def delete(self, ref: Ref, propagation: str = "Background", resource_version: str = "") -> dict[str, t.Any]:
        """Delete the object; with ``resource_version`` only if unchanged since (ConflictError)."""
        options: dict[str, t.Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if resource_version:
            options["preconditions"] = {"resourceVersion": resource_version}
        return self._write("DELETE", ref, options)

    def pause(self, seconds: float) -> None:
        """Let the cluster do what it is about to do."""
        self._sleep(seconds)

    def _write(self, method: str, ref: Ref, body: t.Any, content_type: str = "application/json") -> dict[str, t.Any]:
        query = {"fieldManager": "" if method == "DELETE" else _FIELD_MANAGER, "dryRun": "All" if self.dry_run else ""}
        return self._call(method, ref, query=query, body=body, content_type=content_type)

    def _call(
        self,
        method: str,
        ref: Ref,
        *,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, t.Any]:
        asked = urlencode({key: value for key, value in (query or {}).items() if value})
        url = self.server + ref.path + (f"?{asked}" if asked else "")
        headers = urllib3.HTTPHeaderDict({"Accept": accept, "User-Agent": _FIELD_MANAGER})
        for name, value in self._headers():
            headers.add(name, value)
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body).encode()
        response = self._send(method, url, headers, data)
        self.date = _unix(response.headers.get("Date"))
        if response.status >= 400:
            raise _refusal(self.server, method, ref, response.status, response.data)
        return _as_object(self.server, response.data)

    def _send(self, method: str, url: str, headers: t.Any, data: bytes | None) -> t.Any:
        """One answered request, tried again for under two seconds where that can do no harm."""
        pauses = iter(_RETRY_PAUSES)
        while True:
            self.calls += 1
            try:
                response = self._pool.request(
                    method,
                    url,
                    body=data,
                    headers=headers,
                    timeout=urllib3.Timeout(connect=self.timeout, read=self.timeout),
                    retries=False,
                )
            except urllib3.exceptions.HTTPError as error:
                pause = next(pauses, None) if _worth_repeating(method, error) else None
                if pause is None:
                    raise _no_answer(self.server, self.timeout, error) from error
            else:
                # 429 is a refusal before any work; the others may hide a write that was done.
                again = response.status == 429 or (method in _REPEATABLE and response.status in _BUSY)
                pause = next(pauses, None) if again else None
                if pause is None:
                    return response
            self._sleep(pause)


def _unix(date: str | None) -> float | None:
    """An HTTP date as unix time; None where there is none that can be read."""
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None


def _configuration(options: t.Mapping[str, t.Any]) -> t.Any:
    """The official client's configuration from kubeconfig or the options; the options win."""
    configuration = kubernetes_client.Configuration()
    explicit = options.get("host") and (options.get("api_key") or options.get("client_cert"))
    if not explicit:
        _load(configuration, options)
    if options.get("host"):
        configuration.host = str(options["host"]).rstrip("/")
    if options.get("api_key"):
        configuration.api_key = {"authorization": f"Bearer {options['api_key']}"}
        configuration.refresh_api_key_hook = None
    for option, attribute in {**_FILES, "proxy": "proxy"}.items():
        if options.get(option):
            setattr(configuration, attribute, options[option])
    if options.get("validate_certs") is not None:
        configuration.verify_ssl = bool(options["validate_certs"])
    return configuration


def _load(configuration: t.Any, options: t.Mapping[str, t.Any]) -> None:
    kubeconfig, context = options.get("kubeconfig"), options.get("context")
    try:
        if not kubeconfig and not context and _load_in_cluster(configuration):
            return
        kubernetes_config.load_kube_config(
            config_file=kubeconfig, context=context, client_configuration=configuration, persist_config=False
        )
    except Exception as error:  # the loader raises whatever YAML, base64, OS or a login plugin raised
        named = f"kubeconfig {kubeconfig}" if kubeconfig else "kubeconfig"
        asked = f" (context {context})" if context else ""
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(
            f"{named}{asked}: can't be used to reach a cluster: {reason}; set kubeconfig, or host with api_key"
        ) from error


def _load_in_cluster(configuration: t.Any) -> bool:
    try:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
    except kubernetes_config.ConfigException:
        return False
    return True


def _check_files(configuration: t.Any) -> None:
    """Raise InputError now for a file that the connection would only miss in the middle of the work."""
    for option, attribute in _FILES.items():
        path = getattr(configuration, attribute)
        if path and not os.access(path, os.R_OK):
            raise InputError(f"{option}: the file {path} doesn't exist or can't be read")


def _impersonation(options: t.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    user, groups = options.get("impersonate_user"), options.get("impersonate_groups") or []
    headers = [("Impersonate-User", str(user))] if user else []
    return headers + [("Impersonate-Group", str(group)) for group in groups]


def _worth_repeating(method: str, error: Exception) -> bool:
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return False
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return True  # nothing was sent
    return method in _REPEATABLE and isinstance(error, urllib3.exceptions.ProtocolError)


def _no_answer(server: str, timeout: float, error: Exception) -> UnreachableError:
    way_out = "check kubeconfig, context or host"
    if isinstance(error, urllib3.exceptions.TimeoutError) and not isinstance(
        error, urllib3.exceptions.NewConnectionError
    ):
        return UnreachableError(
            f"the Kubernetes API at {server} didn't answer within {timeout:g} s (api_timeout); {way_out}",
            reason="timeout",
            server=server,
        )
    if isinstance(error, urllib3.exceptions.SSLError):
        return UnreachableError(
            f"the Kubernetes API at {server} can't be trusted: {error}; check ca_cert or validate_certs",
            reason="tls",
            server=server,
        )
    return UnreachableError(
        f"the Kubernetes API at {server} can't be reached: {cause(error, timeout)}; {way_out}",
        reason="connection",
        server=server,
    )


def _as_object(server: str, data: bytes) -> dict[str, t.Any]:
    try:
        answer = json.loads(data)
    except ValueError as error:
        raise UnreachableError(
            f"what answers at {server} isn't a Kubernetes API: the answer isn't JSON; check host or kubeconfig",
            reason="not_json",
            server=server,
        ) from error
    return t.cast("dict[str, t.Any]", answer)


def _refusal(server: str, method: str, ref: Ref, status: int, data: bytes) -> ClusterError:
    """The error for an HTTP status of 400 and more; a body that is a Status tells why."""
    try:
        answer = json.loads(data)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict) or answer.get("kind") != "Status":
        answer = {}
    reason = str(answer.get("reason") or "")
    said = str(answer.get("message") or data[:200].decode(errors="replace")).strip()
    if status == 401:
        return ForbiddenError(
            f"the Kubernetes API at {server} doesn't accept the credentials (401); "
            "check the user in kubeconfig, or api_key, or client_cert",
            status=status,
            reason=reason or "Unauthorized",
        )
    if status == 403:
        return ForbiddenError(
            f"the Kubernetes API at {server} doesn't allow this: {said}; grant the right or use other credentials",
            status=status,
            reason=reason,
        )
    if status == 404:
        if answer:
            return NotFoundError(f"{ref} doesn't exist in the cluster {server}", status=status, reason=reason)
        return NotFoundError(
            f"the cluster {server} doesn't serve {ref.plural} of {ref.api_version}; is its CRD installed?",
            status=status,
            reason=reason,
            served=False,
        )
    kind = ConflictError if status == 409 else ClusterError
    return kind(f"{method} of {ref} was refused with {status} {reason}: {said}", status=status, reason=reason)
