"""Requests that create nothing: access reviews, tokens, and the question whether a pod may be evicted."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from rehearsal.cluster import errors
from rehearsal.cluster.apply import Manager, Ownership, track_update
from rehearsal.cluster.auth import Attributes, Authenticator, Authorizer
from rehearsal.cluster.operations import Operations
from rehearsal.cluster.options import Options
from rehearsal.cluster.pki import User
from rehearsal.cluster.resources import Resource
from rehearsal.cluster.routes import Target
from rehearsal.cluster.selectors import match_labels
from rehearsal.cluster.store import Store, Stored
from rehearsal.cluster.strategy import now

Object = dict[str, Any]

TOKEN_SECONDS = 3600


def review(resource: Resource, body: Object, user: User, authorizer: Authorizer, options: Options) -> Object:
    """The answered review: what ``user`` may do, or who that is."""
    if body.get("kind", resource.kind) != resource.kind:
        raise errors.bad_request(f"{body.get('kind')} cannot be handled as a {resource.kind}")
    item: Object = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}}
    if "spec" in body:
        item["spec"] = body["spec"]
    manager = Manager(options.manager, "Update", resource.api_version)
    ownership = track_update({"metadata": {}, "spec": {}}, item, resource.types, Ownership(), manager)
    item["metadata"]["managedFields"] = ownership.write(now(), Ownership())
    spec = body.get("spec") or {}
    if resource.kind == "SelfSubjectReview":
        groups = [*user.groups, "system:authenticated"]
        item["status"] = {"userInfo": {"username": user.name, "uid": user.name, "groups": groups}}
    elif resource.kind == "SelfSubjectRulesReview":
        item["status"] = _rules(user, spec.get("namespace", ""), authorizer)
    else:
        item["status"] = {"allowed": authorizer.allowed(user, _attributes(spec))}
    return item


def _attributes(spec: Object) -> Attributes:
    if "nonResourceAttributes" in spec:
        asked = spec["nonResourceAttributes"] or {}
        return Attributes(asked.get("verb", ""), path=asked.get("path", "/"))
    asked = spec.get("resourceAttributes") or {}
    keys = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(**{key: asked.get(key, "") for key in keys})


def _rules(user: User, namespace: str, authorizer: Authorizer) -> Object:
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    rules = [everything] if "system:masters" in user.groups else list(authorizer.rules(user, namespace))
    fields = ("verbs", "apiGroups", "resources", "resourceNames")
    shown = [{key: rule[key] for key in fields if key in rule} for rule in rules]
    return {"resourceRules": shown, "nonResourceRules": [], "incomplete": False}


def issue_token(
    operations: Operations, authenticator: Authenticator, resource: Resource, target: Target, body: Object
) -> Object:
    """A bearer token for a service account, good until the server ends."""
    operations.get(resource, target.namespace, target.name)
    name = f"system:serviceaccount:{target.namespace}:{target.name}"
    token = secrets.token_urlsafe(32)
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{target.namespace}")
    authenticator.tokens[token] = User(name, groups)
    seconds = (body.get("spec") or {}).get("expirationSeconds") or TOKEN_SECONDS
    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": now()},
        "spec": {"expirationSeconds": seconds} | (body.get("spec") or {}),
        "status": {"token": token, "expirationTimestamp": expires},
    }


def check_disruption(store: Store, pod: Stored) -> None:
    """Raises StatusError (429) when a disruption budget whose status is known allows no eviction of ``pod``."""
    for stored in store.all(("policy", "poddisruptionbudgets"), pod.namespace):
        budget = stored.read()
        if not match_labels((budget.get("spec") or {}).get("selector"), pod.labels):
            continue
        if (budget.get("status") or {}).get("disruptionsAllowed", 1) > 0:
            continue
        message = "Cannot evict pod as it would violate the pod's disruption budget."
        why = f"The disruption budget {stored.name} allows no disruption now"
        cause = {"reason": "DisruptionBudget", "message": why}
        raise errors.StatusError(429, "TooManyRequests", message, {"causes": [cause]})
