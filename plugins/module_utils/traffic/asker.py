# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to the edge, without a memory: no cookies kept, no redirects followed, nothing tried twice."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
import traceback
import typing as t
import uuid
from urllib.parse import urlsplit

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.http_errors import cause
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.probe import Answer

try:
    import urllib3
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None


@dataclasses.dataclass(frozen=True)
class Recogniser:
    """Where an answer names its version: in a header, under a dotted key of its JSON body, or somewhere in its body.

    With a ``pattern`` the first group of it, found there, is the version; a version in the body needs one.
    """

    header: str = ""
    key: str = ""
    pattern: str = ""

    def __post_init__(self) -> None:
        try:
            groups = re.compile(self.pattern).groups
        except re.error as error:
            raise InputError(f"version_pattern: {self.pattern!r} isn't a regular expression: {error}") from error
        if self.pattern and not groups:
            raise InputError(f"version_pattern: {self.pattern!r} needs a group, such as (.+), around the version")

    def version(self, headers: t.Mapping[str, str], body: bytes) -> str:
        """The version that the answer names; empty if it names none."""
        if self.header:
            text = str(headers.get(self.header, "")).strip()
        elif self.key:
            text = _look_up(body, self.key)
        else:
            text = body.decode(errors="replace")
        if not self.pattern:
            return text
        found = re.search(self.pattern, text)
        return (found.group(1) or "") if found else ""


@dataclasses.dataclass(frozen=True)
class Edge:
    """What to ask. ``host`` is sent as the Host header, and checked against the certificate if the URL is https.

    ``session_cookie`` is the name of a cookie that is sent with a new value in each request.
    """

    url: str
    path: str = "/"
    host: str = ""
    method: str = "GET"
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    session_cookie: str = ""
    timeout: float = 5.0
    validate_certs: bool = True
    ca_path: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"url: must be like http://host:port or https://host:port, not {self.url!r}")
        if self.timeout <= 0:
            raise InputError(f"timeout: must be more than 0 seconds, not {self.timeout}")
        if self.ca_path and not os.access(self.ca_path, os.R_OK):
            raise InputError(f"ca_path: the file {self.ca_path} doesn't exist or can't be read")

    @property
    def target(self) -> str:
        return f"{self.url.rstrip('/')}/{self.path.lstrip('/')}"


class Asker:
    """Asks an edge, from several threads at once if need be."""

    def __init__(self, edge: Edge, recogniser: Recogniser, concurrency: int) -> None:
        if IMPORT_ERROR is not None:
            raise RolloutError(missing_required_lib("urllib3"), exception=IMPORT_ERROR)
        self._edge = edge
        self._recogniser = recogniser
        self._pool = urllib3.PoolManager(maxsize=concurrency, retries=False, **_tls(edge))

    def __call__(self) -> Answer:
        started = time.perf_counter()
        try:
            response = self._pool.request(
                self._edge.method,
                self._edge.target,
                headers=self._headers(),
                timeout=urllib3.Timeout(total=self._edge.timeout),
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Answer(0, time.perf_counter() - started, error=cause(error, self._edge.timeout))
        seconds = time.perf_counter() - started
        return Answer(response.status, seconds, self._recogniser.version(response.headers, response.data))

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "claude-enhancer-rollout-probe", **self._edge.headers}
        if self._edge.host:
            headers["Host"] = self._edge.host
        if self._edge.session_cookie:
            headers["Cookie"] = f"{self._edge.session_cookie}={uuid.uuid4().hex}"
        return headers


def _tls(edge: Edge) -> dict[str, t.Any]:
    if not edge.url.startswith("https"):
        return {}
    settings: dict[str, t.Any] = {"cert_reqs": "CERT_REQUIRED" if edge.validate_certs else "CERT_NONE"}
    if edge.ca_path:
        settings["ca_certs"] = edge.ca_path
    if edge.host:
        name = urlsplit(f"//{edge.host}").hostname
        settings["server_hostname"] = name
        if edge.validate_certs:
            settings["assert_hostname"] = name
    return settings


def _look_up(body: bytes, dotted: str) -> str:
    try:
        value = json.loads(body)
        for part in dotted.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    return str(value)
