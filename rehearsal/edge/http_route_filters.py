"""The filters of an HTTPRoute rule, as what Envoy's routes have for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rehearsal.edge.fields import Fields
from rehearsal.edge.names import ClusterName
from rehearsal.edge.translation import Route

_REDIRECT_CODES = {301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT",
                   308: "PERMANENT_REDIRECT"}  # fmt: skip
_OVERWRITE, _APPEND = "OVERWRITE_IF_EXISTS_OR_ADD", "APPEND_IF_EXISTS_OR_ADD"


@dataclass
class Filters:
    """What filters ask for: header ``operations``, additions to the forwarding ``action``, or a ``redirect``."""

    operations: dict[str, Any] = field(default_factory=dict)
    action: dict[str, Any] = field(default_factory=dict)
    redirect: dict[str, Any] | None = None
    mirrors: list[ClusterName] = field(default_factory=list)

    def apply(self, route: Route) -> Route:
        """``route`` with the header operations, and the redirect if there is one."""
        made = route | {key: list(value) for key, value in self.operations.items()}
        return made | ({"redirect": self.redirect} if self.redirect is not None else {})


def read_filters(owner: Fields, prefix: str, mirror: Callable[[Fields], ClusterName | None]) -> Filters:
    """The filters of a rule whose match has the path prefix ``prefix`` (``""`` for another kind of match).

    ``mirror`` resolves a backendRef; None leaves it out.
    """
    filters = Filters()
    for entry in owner.objects("filters"):
        kind = entry.string("type")
        name = "urlRewrite" if kind == "URLRewrite" else kind[:1].lower() + kind[1:]
        entry.only(("type", name))
        settings = entry.object(name)
        if kind in ("RequestHeaderModifier", "ResponseHeaderModifier"):
            modify_headers(filters.operations, "request" if kind.startswith("Request") else "response", settings)
        elif kind == "RequestRedirect":
            filters.redirect = _redirect(settings, prefix)
        elif kind == "URLRewrite":
            filters.action |= _rewrite(settings, prefix)
        elif kind == "RequestMirror":
            _mirror(filters, settings, mirror)
        else:
            raise entry.refuse("type", "is not supported by this edge")
    return filters


def modify_headers(operations: dict[str, Any], side: str, settings: Fields) -> None:
    """Add what a header modifier asks for to the header ``operations`` of an Envoy route or cluster weight."""
    settings.only(("set", "add", "remove"))
    for name, action in (("set", _OVERWRITE), ("add", _APPEND)):
        for header in settings.objects(name):
            header.only(("name", "value"))
            pair = {"key": header.string("name"), "value": header.string("value").replace("%", "%%")}
            operations.setdefault(f"{side}_headers_to_add", []).append({"header": pair, "append_action": action})
    if "remove" in settings:
        operations.setdefault(f"{side}_headers_to_remove", []).extend(settings.strings("remove"))


def _redirect(settings: Fields, prefix: str) -> dict[str, Any]:
    settings.only(("scheme", "hostname", "path", "port", "statusCode"))
    code = settings.integer("statusCode", 302)
    if code not in _REDIRECT_CODES:
        raise settings.refuse("statusCode", f"must be one of {sorted(_REDIRECT_CODES)}")
    action: dict[str, Any] = {"response_code": _REDIRECT_CODES[code]}
    if "scheme" in settings:
        action["scheme_redirect"] = settings.string("scheme")
    if "hostname" in settings:
        action["host_redirect"] = settings.string("hostname")
    if "port" in settings:
        action["port_redirect"] = settings.integer("port", least=1, most=65535)
    if "path" in settings:
        full, changed = _changed_path(settings.object("path"), prefix)
        action |= {"path_redirect": full} if changed is None else {"regex_rewrite": changed}
    return action


def _rewrite(settings: Fields, prefix: str) -> dict[str, Any]:
    settings.only(("hostname", "path"))
    action: dict[str, Any] = {}
    if "hostname" in settings:
        action["host_rewrite_literal"] = settings.string("hostname")
    if "path" in settings:
        full, changed = _changed_path(settings.object("path"), prefix)
        action["regex_rewrite"] = changed or {"pattern": {"regex": "^/.*$"}, "substitution": _literal(full)}
    return action


def _changed_path(path: Fields, prefix: str) -> tuple[str, dict[str, Any] | None]:
    """The full path that replaces the request's, or the rewrite of the prefix that matched."""
    kind = path.string("type")
    if kind == "ReplaceFullPath":
        return path.string("replaceFullPath"), None
    if kind != "ReplacePrefixMatch":
        raise path.refuse("type", "must be ReplaceFullPath or ReplacePrefixMatch")
    if not prefix:
        raise path.refuse("type", "needs a PathPrefix match in the same rule")
    # The rest keeps its slash, and the path is never empty: /foo replaced by / makes / of /foo and /bar of /foo/bar.
    matched, wanted = _quoted(prefix.rstrip("/")), path.string("replacePrefixMatch").rstrip("/")
    substitution = _literal(wanted) + (r"\1" if wanted else r"/\2")
    pattern = rf"^{matched}(/(.*)|$)" if not wanted else rf"^{matched}(/.*|$)"
    return "", {"pattern": {"regex": pattern}, "substitution": substitution}


def _quoted(text: str) -> str:
    return "".join(f"\\{char}" if char in r"\.+*?()|[]{}^$" else char for char in text)


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")


def _mirror(filters: Filters, settings: Fields, resolve: Callable[[Fields], ClusterName | None]) -> None:
    settings.only(("backendRef", "percent", "fraction"))
    fraction = settings.object("fraction")
    numerator, denominator = settings.integer("percent", 100, most=100), 100
    if fraction.value:
        numerator, denominator = fraction.integer("numerator"), fraction.integer("denominator", 100, least=1)
    cluster = resolve(settings.object("backendRef"))
    if cluster is None:
        return
    filters.mirrors.append(cluster)
    sampled = {"numerator": round(1_000_000 * numerator / denominator), "denominator": "MILLION"}
    policies = filters.action.setdefault("request_mirror_policies", [])
    policies.append({"cluster": str(cluster), "runtime_fraction": {"default_value": sampled}})
