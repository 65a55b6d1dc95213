"""Objects of a shop under release, for the tests of snapshots."""

from __future__ import annotations

import base64
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    autoscaler,
    config_map,
    deployment,
    destination_rule,
    secret,
    service,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import Snapshot
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_store import InCluster, SnapshotStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_taking import Taking
from tests.unit.plugins.memory_api import MemoryApi

Object = dict[str, Any]
SHOP = "shop"
PASSWORD = "s3cret-Pa55word"
NOW = 1_800_000_000.0
ROUTE, RULE = virtual_service(SHOP, SHOP), destination_rule(SHOP, SHOP)
BLUE, CANARY, GREEN = (deployment(SHOP, f"shop-{name}") for name in ("blue", "canary", "green"))
ENTRY, SCALER, AGENTS = service(SHOP, "entry"), autoscaler(SHOP, "scaler"), config_map(SHOP, "shop-5.1-agents")
CONFIG, SECRET = config_map(SHOP, "config"), secret(SHOP, "database")
FACTS: Object = {
    "release_namespace": SHOP,
    "release_traffic": {"provider": "istio", "namespace": SHOP, "name": SHOP},
    "release_stable": {"version": "5.0", "deployment": BLUE.name},
    "release_candidate": {"version": "5.1", "canary_deployment": CANARY.name, "green_deployment": GREEN.name},
    "release_entry_service": {"name": ENTRY.name},
    "release_agents": {"config_map": AGENTS.name},
    "release_canary_drain": [
        {
            "api_version": RULE.api_version,
            "kind": RULE.kind,
            "name": RULE.name,
            "patch": [{"op": "add", "path": "/spec/subsets/1/labels/deployment-type", "value": "green"}],
        }
    ],
}


def body(ref: Ref, **fields: Any) -> Object:
    meta = {"name": ref.name, "namespace": ref.namespace, "labels": {"app": SHOP}, **fields.pop("metadata", {})}
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": meta, **fields}


def a_deployment(ref: Ref, version: str, replicas: int = 3) -> Object:
    labels = {"app": SHOP, "version": version, "deployment": ref.name}
    container = {
        "name": "app",
        "image": f"shop:{version}",
        "env": [
            {"name": "MODE", "value": "production"},
            {"name": "API_TOKEN", "value": PASSWORD},
            {"name": "DSN", "valueFrom": {"secretKeyRef": {"name": SECRET.name, "key": "dsn"}}},
        ],
        "envFrom": [{"configMapRef": {"name": CONFIG.name}}],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return body(ref, spec={"replicas": replicas, "selector": {"matchLabels": labels}, "template": template})


def routes(weight: int, timeout: str = "30s") -> list[Object]:
    split = [
        {"destination": {"host": SHOP, "subset": "stable"}, "weight": 100 - weight},
        {"destination": {"host": SHOP, "subset": "candidate"}, "weight": weight},
    ]
    return [{"name": "default", "route": split, "timeout": timeout}]


def custom(plural: str, kind: str) -> Object:
    """A definition of an Istio kind that says nothing of its fields, as the real ones say nothing of their lists."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything}}}
    return {
        "metadata": {"name": f"{plural}.networking.istio.io"},
        "spec": {
            "group": "networking.istio.io",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def a_shop() -> MemoryApi:
    """The API with the shop as it runs before a release, written by its owner ``kubectl``."""
    api = MemoryApi()
    owner = api.by("kubectl")
    for plural, kind in (("virtualservices", "VirtualService"), ("destinationrules", "DestinationRule")):
        owner.create(
            Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"),
            custom(plural, kind),
        )
    subsets = [{"name": "stable", "labels": {"version": "5.0"}}, {"name": "candidate", "labels": {"version": "5.1"}}]
    owner.create(ROUTE, body(ROUTE, spec={"hosts": ["shop.example.com"], "http": routes(0)}))
    owner.create(RULE, body(RULE, spec={"host": SHOP, "subsets": subsets}))
    owner.create(BLUE, a_deployment(BLUE, "5.0"))
    owner.create(ENTRY, body(ENTRY, spec={"selector": {"app": SHOP, "version": "5.0"}, "ports": [{"port": 80}]}))
    owner.create(CONFIG, body(CONFIG, data={"mode": "fast", "password": PASSWORD, "colour": "blue"}))
    owner.create(SECRET, body(SECRET, data={"dsn": base64.b64encode(PASSWORD.encode()).decode()}))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": BLUE.name}
    owner.create(SCALER, body(SCALER, spec={"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 9}))
    return api


def release(api: MemoryApi) -> None:
    """What a release does to it, as far as the clean-up of the canary."""
    core = api.by("OpenAPI-Generator")
    core.create(AGENTS, body(AGENTS, data={"a.md": "agent"}))
    core.create(CANARY, a_deployment(CANARY, "5.1", 1))
    api.patch(ROUTE, {"spec": {"http": routes(20)}})
    core.create(GREEN, a_deployment(GREEN, "5.1"))
    api.patch(ROUTE, {"spec": {"http": routes(100)}})
    api.patch(ENTRY, {"spec": {"selector": {"version": "5.1"}}})
    core.patch(RULE, [{"op": "add", "path": "/spec/subsets/1/labels/deployment-type", "value": "green"}], "json")


def take(api: MemoryApi, facts: Object = FACTS, objects: Any = (), selectors: Any = ()) -> tuple[InCluster, list[str]]:
    """The snapshot as it is read back, and the warnings."""
    taking = Taking(api, SHOP)  # type: ignore[arg-type]
    entries = taking.take(facts, objects, selectors)
    store = store_of(api)
    saved = store.save(taking.snapshot(SHOP, "5.1-a", entries, Author("ann", "ops1"), NOW))
    found = store.find(saved.name)
    assert found is not None
    return found, taking.warnings


def store_of(api: MemoryApi) -> SnapshotStore:
    return SnapshotStore(api, SHOP, SHOP)  # type: ignore[arg-type]


def states(snapshot: Snapshot) -> dict[str, str]:
    return {f"{entry.ref.kind} {entry.ref.name}": entry.state for entry in snapshot.entries}
