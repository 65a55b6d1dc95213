"""Traffic objects of every shape, for each provider that keeps the weight in a Kubernetes object."""

from __future__ import annotations

import copy
import dataclasses
import json
import typing as t
from collections.abc import Callable

from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    http_route,
    ingress,
    openshift_route,
    virtual_service,
)
from tests.unit.plugins.fake_cluster import FakeCluster
from tests.unit.plugins.test_traffic_routes import left_alone as other_http_route
from tests.unit.plugins.test_traffic_routes import virtual_service as virtual_service_of
from tests.unit.plugins.test_traffic_routes import weighted as weighted_http_route
from tests.unit.plugins.test_traffic_routes import without_weights as without_destination_weights
from tests.unit.plugins.two_services import CANDIDATE, NAMESPACE, STABLE

Json = dict[str, t.Any]
TEXT = st.text("ab/~é", max_size=4)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
UNKNOWN = st.dictionaries(st.sampled_from(["x-more", "timeouts", "filters", "matches"]), ANYTHING, max_size=3)


@dataclasses.dataclass(frozen=True)
class Shape:
    """Objects for one provider; ``rest`` is what a change of weight must leave as it is."""

    provider: str
    ref: Ref
    bodies: st.SearchStrategy[Json]
    without_weights: Callable[[Json], Json]
    options: Json = dataclasses.field(default_factory=dict)

    def rest(self, cluster: FakeCluster) -> str:
        body = cluster.stored(self.ref)
        del body["metadata"]["resourceVersion"]
        return json.dumps(self.without_weights(body))

    def whole(self, cluster: FakeCluster) -> str:
        """All that a provider may write, but for what the API gives each version of an object."""
        bodies = [body for body in cluster.list(self.ref.collection) if body["metadata"].pop("resourceVersion")]
        for body in bodies:
            body["metadata"].pop("uid", None)
        return json.dumps(bodies)


@st.composite
def weights(draw: st.DrawFn, count: int, most: int) -> list[int]:
    """Small ones that whole numbers divide badly, or such as divide well."""
    if draw(st.booleans()):
        return draw(st.lists(st.integers(0, 20), min_size=count, max_size=count))
    return draw(st.lists(st.sampled_from([0, 100, most]), min_size=count, max_size=count))


@st.composite
def backend_refs(draw: st.DrawFn) -> list[Json]:
    others = draw(st.lists(st.sampled_from(["other", CANDIDATE]), max_size=2))
    found: list[Json] = []
    for name in [STABLE, CANDIDATE, *others]:
        ref: Json = {"name": name, "port": 80, **draw(UNKNOWN)}
        if name == CANDIDATE and len(found) > 1:
            ref["namespace"] = "elsewhere"  # another Service of the same name
        elif draw(st.booleans()):
            ref["namespace"] = NAMESPACE
        found.append(ref)
    for ref, weight in zip(found, draw(weights(len(found), 1000)), strict=True):
        if weight != 1 or draw(st.booleans()):
            ref["weight"] = weight
    return draw(st.permutations(found))


@st.composite
def http_routes(draw: st.DrawFn) -> Json:
    pinned: list[list[Json]] = [[{"name": CANDIDATE}], [{"name": STABLE, "weight": 3}, {"name": "other"}], []]
    rules = [{**draw(UNKNOWN), "backendRefs": draw(backend_refs())}]
    for refs in draw(st.lists(backend_refs() | st.sampled_from(pinned), max_size=3)):
        rules.append({**draw(UNKNOWN), "backendRefs": copy.deepcopy(refs)})
    return {"kind": "HTTPRoute", "spec": {"hostnames": ["a"], "rules": draw(st.permutations(rules)), **draw(UNKNOWN)}}


def _without_ref_weights(body: Json) -> Json:
    for rule in body["spec"]["rules"]:
        sides = [ref for ref in rule["backendRefs"] if ref.get("namespace", NAMESPACE) == NAMESPACE]
        if {STABLE, CANDIDATE} <= {ref["name"] for ref in sides}:
            for ref in sides:
                if ref["name"] in (STABLE, CANDIDATE):
                    ref.pop("weight", None)
    return body


@st.composite
def openshift_routes(draw: st.DrawFn) -> Json:
    alternates = draw(st.sampled_from([[], [CANDIDATE], ["other"], ["other", CANDIDATE], ["a", "b", CANDIDATE]]))
    first, *others = [STABLE, *alternates]
    if CANDIDATE in others and draw(st.booleans()):
        first, others = CANDIDATE, [STABLE if name == CANDIDATE else name for name in others]
    entries = [{"kind": "Service", "name": name} for name in [first, *others]]
    for entry, weight in zip(entries, draw(weights(len(entries), 256)), strict=True):
        if draw(st.integers(0, 3)):
            entry["weight"] = t.cast(t.Any, weight)
    spec = {"host": "a", "to": entries[0], "port": {"targetPort": "http"}, **draw(UNKNOWN)}
    if len(entries) > 1 or draw(st.booleans()):
        spec["alternateBackends"] = entries[1:]
    return {"kind": "Route", "spec": spec}


def _without_route_weights(body: Json) -> Json:
    """Without the candidate's alternate too, which comes and goes with its weight."""
    spec = body["spec"]
    alternates = spec.pop("alternateBackends", [])
    for entry in [spec["to"], *alternates]:
        if entry["name"] in (STABLE, CANDIDATE):
            entry.pop("weight", None)
    return {**body, "others": [entry for entry in alternates if entry["name"] != CANDIDATE]}


@st.composite
def main_ingresses(draw: st.DrawFn) -> Json:
    def path(value: str, service: str) -> Json:
        backend = {"service": {"name": service, "port": draw(st.sampled_from([{"number": 80}, {"name": "http"}]))}}
        return {"path": value, "pathType": draw(st.sampled_from(["Prefix", "Exact"])), "backend": backend}

    rules: list[Json] = []
    for host in draw(st.lists(st.sampled_from(["a.example.com", "b.example.com", ""]), max_size=3, unique=True)):
        found = draw(
            st.dictionaries(st.sampled_from(["/", "/a", "/b"]), st.sampled_from([STABLE, "other"]), max_size=3)
        )
        http = {"http": {"paths": [path(value, service) for value, service in found.items()]}}
        rules.append({"host": host, **http} if host else http)
    rules.append({"host": "c.example.com", "http": {"paths": [path("/", STABLE)]}})
    marks = draw(st.dictionaries(st.sampled_from(["note", "nginx.ingress.kubernetes.io/affinity"]), TEXT, max_size=2))
    return {"metadata": {"annotations": marks}, "spec": {"rules": rules, **draw(UNKNOWN)}}


@st.composite
def virtual_services(draw: st.DrawFn) -> Json:
    routes = draw(st.lists(weighted_http_route() | other_http_route(), max_size=3)) + [draw(weighted_http_route())]
    body = virtual_service_of(*draw(st.permutations(routes)))
    body["spec"].update(draw(UNKNOWN), hosts=["a.example.com"])
    return body


MESH = {side: {"host": "claude-enhancer", "subset": side} for side in ("stable", "candidate")}
SHAPES = {
    shape.provider: shape
    for shape in (
        Shape("gateway_api", http_route(NAMESPACE, "shop"), http_routes(), _without_ref_weights),
        Shape("istio", virtual_service(NAMESPACE, "shop"), virtual_services(), without_destination_weights, MESH),
        Shape("nginx_ingress", ingress(NAMESPACE, "shop"), main_ingresses(), lambda body: body),
        Shape("openshift_route", openshift_route(NAMESPACE, "shop"), openshift_routes(), _without_route_weights),
    )
}
