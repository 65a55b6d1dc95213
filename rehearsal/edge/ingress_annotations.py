"""What the annotations of ingress-nginx ask for, read from an Ingress."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rehearsal.client import Object
from rehearsal.edge.fields import TranslationError
from rehearsal.edge.persistence import SessionCookie

PREFIX = "nginx.ingress.kubernetes.io/"
_KNOWN = {
    "affinity", "affinity-mode", "affinity-canary-behavior", "session-cookie-name", "session-cookie-path",
    "session-cookie-max-age", "session-cookie-expires", "canary", "canary-weight", "canary-weight-total",
    "canary-by-header", "canary-by-header-value", "canary-by-header-pattern", "canary-by-cookie",
    "proxy-read-timeout", "rewrite-target", "use-regex", "ssl-redirect", "force-ssl-redirect",
}  # fmt: skip
_READ_TIMEOUT = 60


@dataclass(frozen=True)
class Canary:
    """When a canary Ingress is chosen: by header before cookie before weight."""

    weight: int = 0
    total: int = 100
    header: str = ""
    value: str = ""
    pattern: str = ""
    cookie: str = ""
    ignores_sessions: bool = False


@dataclass(frozen=True)
class Annotations:
    """``cookie_path`` is empty where the cookie is for the path of the rule."""

    canary: Canary | None = None
    cookie: str = ""
    cookie_path: str = ""
    cookie_age: int | None = None
    read_timeout: int = _READ_TIMEOUT
    rewrite_target: str = ""
    use_regex: bool = False

    def session(self, path: str) -> SessionCookie | None:
        """The cookie that keeps the users of a rule for ``path``."""
        return SessionCookie(self.cookie, self.cookie_path or path, self.cookie_age) if self.cookie else None


def read_annotations(item: Object) -> Annotations:
    """Raises TranslationError for a value that can't be used."""
    values = _Values(item)
    cookie = values.text("session-cookie-name", "INGRESSCOOKIE") if values.text("affinity") == "cookie" else ""
    age = values.number("session-cookie-max-age", 0)
    return Annotations(
        canary=_canary(values) if values.flag("canary") else None,
        cookie=cookie,
        cookie_path=values.text("session-cookie-path"),
        cookie_age=age or None,
        read_timeout=values.number("proxy-read-timeout", _READ_TIMEOUT),
        rewrite_target=values.text("rewrite-target"),
        use_regex=values.flag("use-regex") or bool(values.text("rewrite-target")),
    )


def ignored(item: Object) -> list[str]:
    """What to tell of annotations of ingress-nginx that this edge doesn't know."""
    names = (item["metadata"].get("annotations") or {}).keys()
    unknown = sorted(name for name in names if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in _KNOWN)
    return [f"annotation {name} is not supported by this edge" for name in unknown]


def _canary(values: _Values) -> Canary:
    total = values.number("canary-weight-total", 100) or 100
    weight = values.number("canary-weight", 0)
    pattern = values.text("canary-by-header-pattern")
    try:
        re.compile(pattern)
    except re.error as error:
        raise values.refuse("canary-by-header-pattern", f"must be a regular expression ({error})") from error
    return Canary(
        weight=min(weight, total),
        total=total,
        header=values.text("canary-by-header"),
        value=values.text("canary-by-header-value"),
        pattern=pattern,
        cookie=values.text("canary-by-cookie"),
        ignores_sessions=values.text("affinity-canary-behavior") == "legacy",
    )


class _Values:
    """Annotations by the part of their name that follows the prefix."""

    def __init__(self, item: Object) -> None:
        self._values: dict[str, Any] = item["metadata"].get("annotations") or {}

    def text(self, name: str, default: str = "") -> str:
        return str(self._values.get(PREFIX + name) or default)

    def flag(self, name: str) -> bool:
        return self.text(name) == "true"

    def number(self, name: str, default: int) -> int:
        text = self.text(name, str(default))
        if not text.isdecimal():
            raise self.refuse(name, "must be a whole number")
        return int(text)

    def refuse(self, name: str, why: str) -> TranslationError:
        found = self._values.get(PREFIX + name)
        return TranslationError(f"metadata.annotations[{PREFIX}{name}]: {why}, found {found!r}")
