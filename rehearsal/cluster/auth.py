"""Who asks, and what they may do: bearer tokens and role-based access control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.cluster.pki import User
from rehearsal.cluster.store import Store

Object = dict[str, Any]

ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
MASTERS = "system:masters"
_RBAC = "rbac.authorization.k8s.io"
# Every known user may look around; even a stranger may ask whether the server is up.
_PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
_DISCOVERY_PATHS = ("/api", "/apis", "/openapi", *_PUBLIC_PATHS)
_SELF_REVIEWS = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}


@dataclass(frozen=True)
class Attributes:
    """One request as authorization sees it; ``path`` is set for what is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Authenticator:
    """Bearer tokens: those of the world's users, and those issued for service accounts."""

    def __init__(self, tokens: Mapping[str, User]) -> None:
        self.tokens = dict(tokens)

    def user(self, authorization: str | None) -> User | None:
        """The user of an Authorization header; anonymous without one, None for a token nobody issued."""
        if not authorization:
            return ANONYMOUS
        kind, _, token = authorization.partition(" ")
        return self.tokens.get(token.strip()) if kind.lower() == "bearer" else None


class Authorizer:
    """Decides by the roles and bindings in the store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def allowed(self, user: User, asked: Attributes) -> bool:
        if MASTERS in user.groups:
            return True
        if asked.path:
            paths = _PUBLIC_PATHS if user is ANONYMOUS else _DISCOVERY_PATHS
            return any(asked.path == path or asked.path.startswith(path + "/") for path in paths)
        if user is ANONYMOUS:
            return False
        if asked.resource in _SELF_REVIEWS and asked.verb == "create":
            return True
        return any(_rule_allows(rule, asked) for rule in self.rules(user, asked.namespace))

    def rules(self, user: User, namespace: str) -> Iterator[Object]:
        """Every rule that holds for a user in a namespace, cluster-wide ones included."""
        for stored in self.store.all((_RBAC, "clusterrolebindings")):
            yield from self._bound(user, stored.read(), "")
        if namespace:
            for stored in self.store.all((_RBAC, "rolebindings"), namespace):
                yield from self._bound(user, stored.read(), namespace)

    def _bound(self, user: User, binding: Object, namespace: str) -> Iterator[Object]:
        if not any(_is_subject(subject, user, namespace) for subject in binding.get("subjects") or []):
            return
        role = binding["roleRef"]
        plural, place = ("roles", namespace) if role["kind"] == "Role" else ("clusterroles", "")
        stored = self.store.find((_RBAC, plural), place, role["name"])
        if stored is not None:
            yield from stored.read().get("rules") or []


def _is_subject(subject: Object, user: User, namespace: str) -> bool:
    kind, name = subject.get("kind"), subject.get("name")
    if kind == "User":
        return name == user.name
    if kind == "Group":
        return name in user.groups or name == "system:authenticated"
    account = f"system:serviceaccount:{subject.get('namespace', namespace)}:{name}"
    return kind == "ServiceAccount" and account == user.name


def _rule_allows(rule: Object, asked: Attributes) -> bool:
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    resources = rule.get("resources") or []
    named = rule.get("resourceNames") or []
    wildcard = f"*/{asked.subresource}" if asked.subresource else "*"
    return (
        _within(asked.verb, rule.get("verbs"))
        and _within(asked.group, rule.get("apiGroups"))
        and (_within(resource, resources) or wildcard in resources)
        and (not named or asked.name in named)
    )


def _within(value: str, allowed: Any) -> bool:
    return value in (allowed or []) or "*" in (allowed or [])
