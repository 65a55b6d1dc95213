# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way to a Prometheus-compatible HTTP API: addresses in turn, TLS, credentials, time-outs. Knows no query."""

from __future__ import annotations

import base64
import ssl
import traceback
import typing as t
from urllib.parse import urlencode, urlsplit

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, SourceDownError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.http_errors import cause
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.answers import Reply, read_reply

try:
    import urllib3
except ImportError:
    URLLIB3_MISSING: str | None = traceback.format_exc()
else:
    URLLIB3_MISSING = None

DEFAULT_TIMEOUT = 3.0


class Transport:
    """Asks the first of ``urls`` that answers, and stays with it; over one kept-alive connection.

    ``requests`` counts the requests sent. Raises InputError naming each option that can't be used.
    """

    def __init__(
        self,
        urls: t.Sequence[str],
        *,
        headers: t.Mapping[str, str] | None = None,
        validate_certs: bool = True,
        ca_path: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        if URLLIB3_MISSING:
            raise InputError(missing_required_lib("urllib3"), exception=URLLIB3_MISSING)
        problems = _problems(urls, timeout)
        context = _tls(validate_certs, ca_path, client_cert, client_key, problems)
        if validate_certs and not ca_path and any(str(url).startswith("https:") for url in urls):
            context.load_default_certs()  # not for nothing: it takes a while
        if problems:
            raise InputError("; ".join(problems), problems=problems)
        self._urls = [url.rstrip("/") for url in urls]
        self._timeout = timeout
        self.requests = 0
        self._pool = urllib3.PoolManager(
            num_pools=len(self._urls),
            maxsize=1,
            headers=dict(headers or {}),
            timeout=urllib3.Timeout(total=timeout),
            retries=False,
            ssl_context=context,
        )

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> Transport:
        """From the option ``prometheus``. Raises InputError."""
        timeout = options.get("timeout")
        return cls(
            options.get("urls") or [options.get("url") or ""],
            headers=_credentials(options),
            validate_certs=options.get("validate_certs") is not False,
            ca_path=options.get("ca_path"),
            client_cert=options.get("client_cert"),
            client_key=options.get("client_key"),
            timeout=DEFAULT_TIMEOUT if timeout is None else float(timeout),
        )

    @property
    def url(self) -> str:
        """The address that answered last, or the first to ask."""
        return self._urls[0]

    def close(self) -> None:
        """Close the kept-alive connection."""
        self._pool.clear()

    def get(self, path: str, fields: t.Mapping[str, str]) -> Reply:
        """Ask each URL in turn, the one that answered last first. Raises QueryError, SourceDownError."""
        down = []
        for url in list(self._urls):
            try:
                reply = self._request(url, path, fields)
            except SourceDownError as error:
                down.append(error.message)
                continue
            self._urls.sort(key=lambda other: other != url)
            return reply
        raise SourceDownError("; ".join(down))

    def _request(self, url: str, path: str, fields: t.Mapping[str, str]) -> Reply:
        self.requests += 1
        target = f"{url}/api/v1/{path}?{urlencode({**fields, 'timeout': f'{self._timeout:g}s'})}"
        try:
            try:
                response = self._pool.request("GET", target, redirect=False)
            except urllib3.exceptions.ProtocolError:
                # A kept-alive connection that the server closed just now; asking again is harmless.
                response = self._pool.request("GET", target, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise SourceDownError(f"Prometheus at {url} does not answer: {cause(error, self._timeout)}") from error
        return read_reply(url, response.status, response.headers, response.data)


def _problems(urls: t.Sequence[str], timeout: float) -> list[str]:
    problems = []
    for url in urls:
        if "@" in urlsplit(url).netloc:  # messages name the URL
            problems.append("prometheus.url: holds a password: give it as username and password instead")
        elif not url.startswith(("http://", "https://")):
            problems.append(f"prometheus.url: {url!r} is not a URL: it must start with http:// or https://")
    if not timeout > 0:
        problems.append(f"prometheus.timeout: {timeout:g} must be more than 0 seconds")
    return problems


def _credentials(options: t.Mapping[str, t.Any]) -> dict[str, str]:
    if options.get("token"):
        return {"Authorization": f"Bearer {options['token']}"}
    if options.get("username"):
        # In UTF-8, as RFC 7617 has it; urllib3's own helper knows Latin-1 alone.
        pair = f"{options['username']}:{options.get('password') or ''}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {}


def _tls(
    validate_certs: bool, ca_path: str | None, client_cert: str | None, client_key: str | None, problems: list[str]
) -> ssl.SSLContext:
    """How to trust and to prove who we are. A file that can't be used becomes a problem here, not on the first look."""
    context = urllib3.util.create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if validate_certs else ssl.CERT_NONE)
    if ca_path:
        _load(problems, "ca_path", ca_path, lambda: context.load_verify_locations(cafile=ca_path))
    if client_cert:
        # A key that needs a password would otherwise ask for it on the terminal.
        _load(
            problems,
            "client_cert",
            f"{client_cert} with client_key {client_key}",
            lambda: context.load_cert_chain(client_cert, client_key, password=lambda: ""),
        )
    return context


def _load(problems: list[str], option: str, said: str, load: t.Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problems.append(f"prometheus.{option}: {said} can't be used: {reason}; give PEM files that this user can read")
