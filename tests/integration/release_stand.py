"""What a modelled release runs in: a namespace of the rehearsal API, pods that follow their Deployments at once, people
who edit what they like, and time that only passes when told to.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    config_map,
    deployment,
    destination_rule,
    endpoint_slice,
    pod,
    service,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import lease as lease_ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.server_fields import without_server_fields
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import TrafficProvider, open_provider
from tests.integration.api_only import MANIFESTS
from tests.integration.release_wire import DiedError, Wire

Object = dict[str, Any]
APP = "claude-enhancer"
STABLE, CANDIDATE = "5.0", "5.1"
BLUE, CANARY, GREEN = (f"{APP}-{kind}" for kind in ("blue", "canary", "green"))
ENTRY, SPLIT = f"{APP}-service", f"{APP}-split"
VERSIONS = {"stable": STABLE, "candidate": CANDIDATE}
BLUE_REPLICAS = 2
SELECTORS = {"stable": {"app": APP, "version": STABLE}, "candidate": {"app": APP, "version": CANDIDATE}}
STAGES: list[Object] = [
    {"name": "canary_start", "title": "1", "weight": 5},
    {"name": "canary_expand", "title": "2", "weight": 20},
    {"name": "bluegreen_prepare", "title": "3", "weight": 50},
    {"name": "full_switch", "title": "4", "weight": 100},
]
PERSON, APPLY, PLAYBOOK = "kubectl-edit", "kubectl-client-side-apply", "OpenAPI-Generator"
START = 1_800_000_000.0
_TTL = ("spec", "trafficPolicy", "loadBalancer", "consistentHash", "httpCookie", "ttl")
_MERGE, _JSON = "application/merge-patch+json", "application/json-patch+json"


@dataclasses.dataclass(frozen=True)
class Case:
    """A provider, what holds its weight, and what takes the canary's pods out of it before they are removed."""

    provider: str
    sides: Object
    drained: str
    drain: Object

    def traffic(self, namespace: str) -> Object:
        return {"provider": self.provider, "namespace": namespace, "name": self.name, **copy.deepcopy(self.sides)}

    @property
    def name(self) -> str:
        return SPLIT if self.provider == "service" else APP

    def object(self, namespace: str) -> Ref:
        return service(namespace, SPLIT) if self.provider == "service" else virtual_service(namespace, APP)


CASES = {
    "istio": Case(
        "istio",
        {side: {"host": APP, "subset": side} for side in ("stable", "candidate")},
        APP,
        {
            "api_version": "networking.istio.io/v1", "kind": "DestinationRule", "name": APP,
            "patch": [{"op": "add", "path": "/spec/subsets/1/labels/deployment-type", "value": "green"}],
        },
    ),
    "service": Case(
        "service",
        {
            "stable": {"labels": {"version": STABLE, "deployment-type": "blue"}},
            "candidate": {"labels": {"version": CANDIDATE}},
        },
        SPLIT,
        {
            "api_version": "v1", "kind": "Service", "name": SPLIT,
            "patch": [{"op": "add", "path": "/spec/selector/deployment-type", "value": "green"}],
        },
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Edit:
    """A field that somebody else set: of which object, as the snapshot names it, and where to find it."""

    number: int
    ref: Ref
    field: str
    path: tuple[str | int, ...]
    value: str


class Process:
    """One process that talks to the API: what it knows of the time, and the number of the lock that it holds."""

    def __init__(self, stand: Stand, name: str, skew: float = 0.0) -> None:
        self.name = name
        self.skew = skew
        self.number: int | None = None
        self.by_playbook = False
        self._stand = stand
        self.wire = Wire(stand.base._pool, lambda: stand.seconds, stand.look_at_fenced, self._landed)

    def connect(self, *, dry_run: bool) -> Cluster:
        base = self._stand.base
        sleep = self._stand.sleep
        return Cluster(base.server, self.wire, headers=self._stand.headers.items, dry_run=dry_run, sleep=sleep)

    def _landed(self, method: str, path: str, before: Any, after: Any) -> None:
        self._stand.landed(self, method, path, before, after)


class Stand:
    """``seconds`` is the API's time. ``wrong`` is what was seen to go against the rules.

    ``edits`` are those that still stand, ``edit_number`` counts all; ``snapshots`` has that number for each that was
    kept. ``moves`` counts how often somebody moved traffic; ``blurred`` are the snapshots before which that happened
    after the checks. ``taking_back`` says that what takes traffic back was begun and did not end well.
    """

    def __init__(self, base: Cluster, case: Case, namespace: str, folder: Path) -> None:
        self.base = base
        self.headers = dict(base._headers())
        self.case = case
        self.namespace = namespace
        self.folder = folder
        self.seconds = START
        self.acting: list[Process] = []
        self.live: dict[str, Object] = {}
        self.newest = -1
        self.wrong: list[str] = []
        self.edits: list[Edit] = []
        self.edit_number = 0
        self.snapshots: dict[str, int] = {}
        self.moves = 0
        self.blurred: set[str] = set()
        self.broken: set[str] = set()
        self.taking_back = False
        self.traffic_ref = case.object(namespace)
        self.entry_ref = service(namespace, ENTRY)
        self.rule_ref = destination_rule(namespace, APP)
        self.lease_path = lease_ref(namespace, f"{APP}-release-lock").path
        self.journal_path = config_map(namespace, f"{APP}-release-journal").path
        self.fenced = {self.traffic_ref.path, self.entry_ref.path, self.journal_path}
        self.store = JournalStore(base, namespace, APP)
        self._pods: dict[str, tuple[str, Object, bool]] = {}
        self._endpoints: dict[str, list[str]] = {}
        self._statuses: dict[str, int] = {}
        self.facts = self._facts()
        self.manifests = self._manifests()
        self._populate()

    # ---- who acts, and when

    @contextlib.contextmanager
    def acts(self, process: Process) -> Iterator[None]:
        self.acting.append(process)
        try:
            yield
        finally:
            self.acting.pop()

    def now(self) -> float:
        return self.seconds + (self.acting[-1].skew if self.acting else 0.0)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        if self.acting and self.acting[-1].wire.dead:
            raise DiedError
        self.seconds += seconds

    # ---- what is there

    def ask(self, method: str, path: str, body: Any = None, manager: str = "", kind: str = "application/json") -> Any:
        """A request that nothing happens to; None for what isn't there."""
        url = f"{self.base.server}{path}" + (f"?fieldManager={manager}" if manager else "")
        headers = {"Content-Type": kind, "Accept": "application/json", **self.headers}
        data = None if body is None else json.dumps(body).encode()
        answer = self.base._pool.request(method, url, body=data, headers=headers, retries=False)
        if answer.status == 404:
            return None
        assert answer.status < 300, (method, path, body, answer.data)
        found = json.loads(answer.data)
        if method != "GET":
            self._remember(method, path, found)
        return found

    def get(self, ref: Ref) -> Any:
        """The object as it was last written; None where it isn't there."""
        return self.live.get(ref.path)

    def version(self, path: str) -> str:
        return str(self.live[path]["metadata"]["resourceVersion"]) if path in self.live else ""

    def look_at_fenced(self, path: str) -> Any:
        return self.live.get(path) if path in self.fenced else None

    def _remember(self, method: str, path: str, item: Object) -> None:
        """All writes go through here or :meth:`landed`, so that nobody has to ask again."""
        if method == "DELETE":
            self.live.pop(path, None)
        elif method == "POST":
            self.live[f"{path}/{item['metadata']['name']}"] = item
        else:
            self.live[path.removesuffix("/status")] = item

    def _all(self, collection: Ref) -> list[Object]:
        return [item for path, item in self.live.items() if path.startswith(f"{collection.path}/")]

    def provider(self) -> TrafficProvider:
        return open_provider(self.case.provider, self.base, self.facts["release_traffic"])

    def deployments(self) -> dict[str, Object]:
        return {one["metadata"]["name"]: one for one in self._all(deployment(self.namespace))}

    def ready_with(self, labels: Object) -> list[str]:
        return [name for name, (_owner, own, ready) in self._pods.items() if ready and labels.items() <= own.items()]

    def fingerprint(self) -> Object:
        """All that a release or a rollback may change, but for versions and the lock."""
        refs = [self.traffic_ref, self.entry_ref, self.rule_ref, *(deployment(self.namespace, n) for n in self.names)]
        found = {str(ref): self.ask("GET", ref.path) for ref in refs}
        shown = {name: without_server_fields(item) if item else None for name, item in found.items()}
        journal = self.ask("GET", self.journal_path)
        return {**shown, "journal": journal["data"] if journal else None}

    names = (BLUE, CANARY, GREEN)

    # ---- what people and controllers of others do

    def person(self, ref: Ref, operations: list[Object], manager: str = PERSON) -> None:
        there = self.ask("PATCH", ref.path, operations, manager, _JSON) is not None
        if there and ref.kind in ("Deployment", "Service"):
            self.settle()

    def edit(self, which: str) -> None:
        """Somebody sets a field that is none of the release's."""
        ref, field, path = {
            "label": (self.traffic_ref, "metadata.labels.team", ("metadata", "labels", "team")),
            "entry": (self.entry_ref, "metadata.labels.team", ("metadata", "labels", "team")),
            "blue": (deployment(self.namespace, BLUE), "metadata.labels.team", ("metadata", "labels", "team")),
            "timeout": (self.traffic_ref, "spec.http[agents].timeout", ("spec", "http", 3, "timeout")),
            "rule": (self.rule_ref, ".".join(_TTL), _TTL),
        }[which]  # fmt: skip
        if self.get(ref) is None or (which == "timeout" and self.case.provider != "istio"):
            return
        self.edit_number += 1
        value = f"team-{self.edit_number}" if "labels" in path else f"{60 + self.edit_number}s"
        self.person(ref, [{"op": "add", "path": "/" + "/".join(map(str, path)), "value": value}])
        same = (ref, field)
        self.edits = [one for one in self.edits if (one.ref, one.field) != same]
        self.edits.append(Edit(self.edit_number, ref, field, path, value))

    def edit_weight(self, weight: int) -> None:
        """Somebody moves the weight; every route still adds up."""
        self.moves += 1
        found = self.get(self.traffic_ref)
        if found is None:
            return
        if self.case.provider == "service":
            common = {key: value for key, value in found["spec"]["selector"].items() if key not in self._side_keys}
            # Open to both sides while there is no pod of the candidate, it would count as weight 0.
            side = "stable" if weight == 0 or not self.ready_with(SELECTORS["candidate"]) else ""
            own = self.case.sides[side]["labels"] if side else {}
            self.person(self.traffic_ref, [{"op": "add", "path": "/spec/selector", "value": {**common, **own}}])
            return
        operations = []
        for number, route in enumerate(found["spec"]["http"]):
            for at, destination in enumerate(route["route"]):
                if len(route["route"]) > 1:
                    own_part = weight if destination["destination"]["subset"] == "candidate" else 100 - weight
                    path = f"/spec/http/{number}/route/{at}/weight"
                    operations.append({"op": "add", "path": path, "value": own_part})
        self.person(self.traffic_ref, operations)

    _side_keys = ("version", "deployment-type")

    def edit_entry(self, side: str) -> None:
        self.moves += 1
        self.person(self.entry_ref, [{"op": "add", "path": "/spec/selector", "value": SELECTORS[side]}])

    def delete_traffic(self) -> None:
        if self.ask("DELETE", self.traffic_ref.path) is not None:
            self.edits = [one for one in self.edits if one.ref != self.traffic_ref]
            self.settle()

    def apply_traffic(self) -> None:
        """Somebody applies what was deleted."""
        if self.get(self.traffic_ref) is None:
            self._apply(self.traffic_ref)
            self.settle()

    def scale(self, name: str, replicas: int) -> None:
        if self.get(deployment(self.namespace, name)) is not None:
            self.person(deployment(self.namespace, name), [{"op": "add", "path": "/spec/replicas", "value": replicas}])

    def break_pods(self, name: str, *, broken: bool) -> None:
        (self.broken.add if broken else self.broken.discard)(name)
        self.settle()

    # ---- pods and endpoints follow

    def settle(self) -> None:
        """What the cluster's own controllers and nodes do, at once."""
        found = self.deployments()
        wanted = {}
        for name, item in found.items():
            own_hash = f"h{name[-4:]}"
            labels = {**item["spec"]["template"]["metadata"]["labels"], "pod-template-hash": own_hash}
            for number in range(item["spec"].get("replicas", 1)):
                wanted[f"{name}-{own_hash}-{number}"] = (name, labels, name not in self.broken)
        for name in [name for name in self._pods if name not in wanted]:
            self.ask("DELETE", pod(self.namespace, name).path, {"gracePeriodSeconds": 0})
            del self._pods[name]
        for name, one in wanted.items():
            self._have_pod(name, one)
        for name in found:
            self._tell_ready(name, found[name])
        self._follow_services()

    def _have_pod(self, name: str, one: tuple[str, Object, bool]) -> None:
        had = self._pods.get(name)
        if had == one:
            return
        owner, labels, ready = one
        if had is None:
            replica_set = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u", "controller": True}
            own = {**replica_set, "name": f"{owner}-{labels['pod-template-hash']}"}
            metadata = {"name": name, "labels": labels, "ownerReferences": [own]}
            spec = {"containers": [{"name": "app", "image": f"{APP}:{labels['version']}"}]}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            self.ask("POST", pod(self.namespace).path, body)
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
        self.ask("PATCH", f"{pod(self.namespace, name).path}/status", {"status": status}, kind=_MERGE)
        self._pods[name] = one

    def _tell_ready(self, name: str, item: Object) -> None:
        ready = sum(1 for owner, _labels, is_ready in self._pods.values() if owner == name and is_ready)
        if (item.get("status") or {}).get("readyReplicas", 0) != ready:
            path = f"{deployment(self.namespace, name).path}/status"
            self.ask("PATCH", path, {"status": {"readyReplicas": ready or None}}, kind=_MERGE)

    def _follow_services(self) -> None:
        for item in self._all(service(self.namespace)):
            name = item["metadata"]["name"]
            endpoints = sorted(self.ready_with(item["spec"]["selector"]))
            had = self._endpoints.get(name)
            if had == endpoints:
                continue
            body = {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "endpoints": [
                    {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": one}} for one in endpoints
                ],
            }
            if had is None:
                self.ask("POST", endpoint_slice(self.namespace).path, body)
            else:
                self.ask("PATCH", endpoint_slice(self.namespace, name).path, body, kind=_MERGE)
            self._endpoints[name] = endpoints

    # ---- what is seen of each write

    def landed(self, process: Process, method: str, path: str, before: Any, after: Any) -> None:
        self._remember(method, path, after)
        if "/deployments" in path or "/services" in path:
            self.settle()
        if "snapshot.json" in (after.get("data") or {}):
            self.snapshots[after["metadata"]["name"]] = self.edit_number
        if path.startswith(self.lease_path.rsplit("/", 1)[0]):
            self._note_lock(process, after)
        if before is None or path not in self.fenced or process.by_playbook:
            return
        if path == self.journal_path:
            self._check_fence(process, f"wrote the journal ({method})", changed=before["data"] != after["data"])
        else:
            self._check_traffic(process, path, before, after)

    def _note_lock(self, process: Process, lock: Object) -> None:
        if lock["spec"].get("holderIdentity") and lock["spec"]["leaseTransitions"] > self.newest:
            process.number = self.newest = lock["spec"]["leaseTransitions"]

    def _check_fence(self, process: Process, what: str, *, changed: bool, way_back: bool = False) -> None:
        if not changed or (process.number is None and way_back):
            return
        if process.number is None or process.number < self.newest:
            self.wrong.append(f"{process.name} ({process.number}) {what} after number {self.newest} had the lock")

    def _check_traffic(self, process: Process, path: str, before: Object, after: Object) -> None:
        what = "the weight" if path == self.traffic_ref.path else "the entry Service"
        moved = self._gains(path, before, after)
        back = "candidate" not in moved
        self._check_fence(process, f"moved {what}", changed=before["spec"] != after["spec"], way_back=back)
        for side, to_all in moved.items():
            if side == "stable" and to_all:
                continue  # taking everything back is never held up
            if not self.ready_with(self._labels_of(path, side)):
                self.wrong.append(f"{process.name} gave the {side} side more of {what}, and it has no ready endpoint")

    def _gains(self, path: str, before: Object, after: Object) -> dict[str, bool]:
        """The sides that get more than before; and whether it has everything now."""
        then, now = self._shares(path, before), self._shares(path, after)
        gained = {}
        for side, other in (("stable", "candidate"), ("candidate", "stable")):
            if any(now[at][side] > then[at][side] for at in now):
                gained[side] = all(share[other] == 0 for share in now.values())
        return gained

    def _shares(self, path: str, item: Object) -> dict[Any, dict[str, int]]:
        if path == self.traffic_ref.path and self.case.provider == "istio":
            return {
                number: {one["destination"]["subset"]: one.get("weight", 0) for one in route["route"]}
                for number, route in enumerate(item["spec"]["http"])
                if len(route["route"]) > 1
            }
        version = item["spec"]["selector"].get("version")
        return {0: {side: int(version in (None, own)) for side, own in VERSIONS.items()}}

    def _labels_of(self, path: str, side: str) -> Object:
        if path == self.traffic_ref.path and self.case.provider == "istio":
            subsets = {one["name"]: one["labels"] for one in self.get(self.rule_ref)["spec"]["subsets"]}
            return {"app": APP, **subsets[side]}
        return {"app": APP, "version": VERSIONS[side]}

    # ---- the beginning

    def _facts(self) -> Object:
        return {
            "release_application": APP,
            "release_namespace": self.namespace,
            "release_traffic": self.case.traffic(self.namespace),
            "release_stable": {"version": STABLE, "deployment": BLUE},
            "release_candidate": {"version": CANDIDATE, "canary_deployment": CANARY, "green_deployment": GREEN},
            "release_entry_service": {
                "name": ENTRY,
                "stable_selector": {"version": STABLE},
                "candidate_selector": {"version": CANDIDATE},
            },
            "release_edge": {"url": "http://edge.invalid", "version_header": "x-version"},
            "release_prometheus": {"url": "http://prometheus.invalid"},
            "release_metrics": {},
            "release_agents": {"config_map": ""},
            "release_workflows": {"config_map": ""},
            "release_stages": STAGES,
            "release_canary_replicas": {"start": 1, "expand": 2},
            "release_green_replicas": BLUE_REPLICAS,
            "release_canary_drain": [self.case.drain],
        }

    def _manifests(self) -> dict[str, Object]:
        found = {}
        for body in copy.deepcopy(_manifests()):
            body["metadata"]["namespace"] = self.namespace
            found[f"{body['kind']} {body['metadata']['name']}"] = body
        return found

    def _apply(self, ref: Ref) -> None:
        self.ask("POST", ref.collection.path, self.manifests[f"{ref.kind} {ref.name}"], APPLY)

    def _populate(self) -> None:
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        for ref in (service(self.namespace, APP), self.entry_ref, self.rule_ref, self.traffic_ref):
            self._apply(ref)
        self.ask("POST", deployment(self.namespace).path, a_deployment(BLUE, STABLE, "blue", BLUE_REPLICAS), APPLY)
        self.settle()


@functools.cache
def _manifests() -> list[Object]:
    files = [MANIFESTS / name for name in ("50-services.yaml", "60-traffic.yaml")]
    return [body for file in files for body in yaml.safe_load_all(file.read_text()) if body]


def a_deployment(name: str, version: str, kind: str, replicas: int) -> Object:
    labels = {"app": APP, "version": version, "deployment-type": kind}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": f"{APP}:{version}"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": spec}
