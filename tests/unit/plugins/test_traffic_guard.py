"""When a weight may move: who stands behind the sides, who else holds the weight, and whether there is a way back."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ForbiddenError,
    GuardError,
    InputError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import autoscaler, pod
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import Limits, open_provider, set_weight
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    Backend,
    RouteWeights,
    TrafficState,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.guard import findings, way_back_findings
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.owners import owner_findings
from tests.unit.plugins.fake_cluster import FakeCluster
from tests.unit.plugins.test_traffic_weight import NAMESPACE, OBJECT, OPTIONS, make_cluster

PATH = ("spec", "http")


def backend(name: str, ready: int, **changes: t.Any) -> Backend:
    endpoints = frozenset(f"{name}-{number}" for number in range(ready))
    return Backend(**{"name": name, "ready": ready, "matching": ready, "endpoints": endpoints, **changes})


def held_by(manager: str, operation: str = "Update", fields: t.Any = None, **metadata: t.Any) -> TrafficState:
    entry = {
        "manager": manager,
        "operation": operation,
        "time": "2026-11-20T10:00:00Z",
        "fieldsV1": fields or {"f:spec": {"f:http": {}}},
    }
    raw = {"metadata": {"managedFields": [entry], **metadata}}
    return TrafficState("VirtualService shop/shop", "1", (RouteWeights("rest", 100, 0),), raw, (PATH,))


@pytest.mark.parametrize(
    ("capacity", "rate", "share", "needed"),
    [(100, 1000, 20, 2), (100, 1000, 100, 10), (100, 1001, 100, 11), (50, 1000, 5, 1), (None, None, 100, 5)],
)
def test_capacity_says_how_many_replicas_a_share_needs(
    capacity: float | None, rate: float | None, share: int, needed: int
) -> None:
    limits = Limits(replica_capacity=capacity, request_rate=rate)
    assert limits.needed(share, 10) == max(needed, 1 if share < 20 else share // 20)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"replica_capacity": 10}, "replica_capacity, request_rate: only both together"),
        ({"replica_capacity": 0, "request_rate": 5}, "replica_capacity: must be more than 0"),
        ({"stable_replicas": -1}, "stable_replicas: must be 0 or more, not -1"),
        ({"min_ready_ratio": 11}, "min_ready_ratio: must be from 0 to 10, not 11"),
    ],
)
def test_limits_that_mean_nothing_are_refused(given: dict[str, t.Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Limits(**given)


def test_sides_on_the_same_endpoints_are_no_sides() -> None:
    both = backend("shop", 3)
    (said,) = findings(5, both, both, Limits())
    assert "shop and shop both stand on 3 of the same endpoints (such as shop-0)" in said


def test_a_stable_side_that_was_scaled_down_is_named() -> None:
    sides: t.Any = {"stable": backend("stable", 2), "candidate": backend("candidate", 10)}
    assert way_back_findings(sides, [], Limits()) == []
    (said,) = way_back_findings(sides, [], Limits(stable_replicas=10))
    assert "stable has 2 ready endpoints of the 10 it had and could not take the traffic back, which needs 5" in said


@pytest.mark.parametrize(("lowest", "refused"), [(1, True), (4, True), (5, False), (None, True)])
def test_an_autoscaler_that_may_take_the_way_back_is_named(lowest: int | None, refused: bool) -> None:
    sides: t.Any = {
        "stable": backend("stable", 10, deployments=frozenset({"shop-blue"})),
        "candidate": backend("candidate", 1),
    }
    spec: dict[str, t.Any] = {"scaleTargetRef": {"kind": "Deployment", "name": "shop-blue"}}
    if lowest is not None:
        spec["minReplicas"] = lowest
    found = way_back_findings(sides, [{"metadata": {"name": "blue"}, "spec": spec}], Limits())
    assert bool(found) is refused
    if refused:
        assert (
            f"HorizontalPodAutoscaler blue may scale the stable Deployment shop-blue down to {lowest or 1}" in found[0]
        )
        assert "set its minReplicas to 5 while the release lasts" in found[0]


def test_an_autoscaler_of_someone_else_is_nobodys_business() -> None:
    sides: t.Any = {"stable": backend("stable", 10, deployments=frozenset({"a"})), "candidate": backend("candidate", 1)}
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "b"}, "minReplicas": 1}
    assert way_back_findings(sides, [{"metadata": {"name": "b"}, "spec": spec}], Limits()) == []


@pytest.mark.parametrize(
    ("manager", "operation", "held"),
    [
        ("argocd-controller", "Apply", True),
        ("argocd-application-controller", "Update", True),
        ("kustomize-controller", "Apply", True),
        ("flagger", "Update", True),
        ("rollouts-controller", "Update", True),
        ("some-operator", "Apply", True),
        ("some-operator", "Update", False),
        ("kubectl", "Apply", False),
        ("kubectl-client-side-apply", "Update", False),
        ("kubectl-edit", "Update", False),
        ("helm", "Update", False),
        ("OpenAPI-Generator", "Update", False),
        ("claude-enhancer-rollout", "Apply", False),
    ],
)
def test_who_comes_back_is_told_from_who_was_there_once(manager: str, operation: str, held: bool) -> None:
    found = owner_findings(held_by(manager, operation))
    assert bool(found) is held
    if held:
        assert (
            f"{manager} holds VirtualService shop/shop ({operation} of spec.http since 2026-11-20T10:00:00Z)"
            in found[0]
        )
        assert "or set takeover=true" in found[0]


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        ({"f:spec": {"f:http": {}}}, True),
        ({"f:spec": {"f:http": {'k:{"name":"a"}': {"f:route": {}}}}}, True),
        ({"f:spec": {}}, True),
        ({"f:spec": {"f:hosts": {}}}, False),
        ({"f:metadata": {"f:labels": {}}}, False),
    ],
)
def test_only_who_holds_the_weight_itself_counts(fields: dict[str, t.Any], held: bool) -> None:
    assert bool(owner_findings(held_by("argocd-controller", "Apply", fields))) is held


@pytest.mark.parametrize(
    ("metadata", "who"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}, "Flux"),
        ({"ownerReferences": [{"kind": "Canary", "name": "shop"}]}, "Flagger"),
    ],
)
def test_marks_and_owners_name_the_tool(metadata: dict[str, t.Any], who: str) -> None:
    (said,) = owner_findings(held_by("kubectl", "Apply", **metadata))
    assert said.startswith(f"{who} holds VirtualService shop/shop")


def weigh(cluster: FakeCluster, weight: int, **limits: t.Any) -> t.Any:
    provider = open_provider("istio", t.cast(t.Any, cluster), OPTIONS)
    return set_weight(provider, weight, limits=Limits(**limits))


def mark(cluster: FakeCluster) -> None:
    found = cluster.stored(OBJECT)
    found["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "shop"}
    cluster.put(OBJECT, found)


def test_a_weight_that_someone_else_holds_is_refused_until_it_is_taken_over() -> None:
    cluster = make_cluster()
    mark(cluster)
    with pytest.raises(GuardError, match=r"weight: 5 is refused for VirtualService shop/shop: Argo CD holds"):
        weigh(cluster, 5)
    assert weigh(cluster, 5, takeover=True).after.weight == 5
    back = weigh(cluster, 0)
    assert back.after.weight == 0
    assert any("Argo CD" in warning for warning in back.warnings)


def own(cluster: FakeCluster, deployment: str) -> None:
    """Let every pod of 5.0 belong to a Deployment."""
    for found in cluster.list(pod(NAMESPACE), {"version": "5.0"}):
        found["metadata"]["labels"]["pod-template-hash"] = "7f9c"
        found["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": f"{deployment}-7f9c"}]
        cluster.put(pod(NAMESPACE, found["metadata"]["name"]), found)


def test_an_autoscaler_of_the_stable_side_holds_a_weight_up_but_never_a_rollback() -> None:
    cluster = make_cluster()
    own(cluster, "shop-blue")
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "shop-blue"}, "minReplicas": 2}
    cluster.put(autoscaler(NAMESPACE, "blue"), {"spec": spec})
    with pytest.raises(GuardError, match="HorizontalPodAutoscaler blue may scale the stable Deployment shop-blue down"):
        weigh(cluster, 5)
    assert weigh(cluster, 5, min_ready_ratio=0.2).after.weight == 5
    assert weigh(cluster, 0).after.weight == 0


def test_without_the_right_to_read_autoscalers_no_weight_is_given() -> None:
    cluster = make_cluster()
    own(cluster, "shop-blue")
    cluster.forbidden.add("horizontalpodautoscalers")
    with pytest.raises(ForbiddenError):
        weigh(cluster, 5)
    assert weigh(cluster, 0).changed is False


class LostAnswer(FakeCluster):
    """A cluster whose next write is answered by nothing, whether it was ``done`` or not."""

    done = True
    away_afterwards = False

    def patch(self, ref: t.Any, body: t.Any, kind: str = "merge") -> dict[str, t.Any]:
        if self.done:
            super().patch(ref, body, kind)
        raise UnreachableError("the Kubernetes API didn't answer within 10 s (api_timeout)", reason="timeout")

    def get(self, ref: t.Any) -> dict[str, t.Any]:
        if self.away_afterwards and self.writes:
            raise UnreachableError("the Kubernetes API can't be reached", reason="connection")
        return super().get(ref)


def lost_answer(**facts: bool) -> LostAnswer:
    cluster = LostAnswer()
    cluster.__dict__.update({**make_cluster().__dict__, **facts})
    return cluster


def test_a_write_whose_answer_was_lost_is_found_to_be_done() -> None:
    change = weigh(lost_answer(done=True), 5)
    assert (change.after.weight, change.changed) == (5, True)


def test_a_write_that_was_not_done_says_what_the_weight_is() -> None:
    with pytest.raises(ClusterError, match=r"didn't answer.*; the weight of VirtualService shop/shop is 0") as caught:
        weigh(lost_answer(done=False), 5)
    assert caught.value.details["weight"] == 0


def test_a_write_nobody_can_tell_the_end_of_says_so() -> None:
    with pytest.raises(ClusterError, match="whether the weight of VirtualService shop/shop was changed isn't known"):
        weigh(lost_answer(done=True, away_afterwards=True), 5)
