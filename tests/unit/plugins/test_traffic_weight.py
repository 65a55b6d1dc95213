"""set_weight on a VirtualService in a cluster in memory: guard, concurrency, cost, truth of what is reported."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    GuardError,
    InputError,
    NotFoundError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    destination_rule,
    endpoint_slice,
    pod,
    service,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    Limits,
    TrafficProvider,
    open_provider,
    set_weight,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import Backend
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.guard import findings
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.report import as_result
from tests.unit.plugins.fake_cluster import FakeCluster

NAMESPACE = "shop"
OBJECT = virtual_service(NAMESPACE, "shop")
OPTIONS = {
    "namespace": NAMESPACE,
    "name": "shop",
    "stable": {"host": "shop", "subset": "stable"},
    "candidate": {"host": "shop", "subset": "candidate"},
}
VERSIONS = {"stable": "5.0", "candidate": "5.1"}


def route(name: str, **weights: int) -> dict[str, t.Any]:
    entries = [{"destination": {"host": "shop", "subset": side}, "weight": weight} for side, weight in weights.items()]
    return {"name": name, "route": entries}


def add_pods(cluster: FakeCluster, version: str, ready: int, *, unready: int = 0) -> None:
    """Pods of a version, all in one EndpointSlice of their own."""
    endpoints = []
    for number in range(ready + unready):
        name, is_ready = f"shop-{version}-{number}", number < ready
        conditions = [{"type": "Ready", "status": str(is_ready)}]
        cluster.put(
            pod(NAMESPACE, name),
            {"metadata": {"labels": {"app": "shop", "version": version}}, "status": {"conditions": conditions}},
        )
        endpoints.append(
            {"conditions": {"ready": is_ready}, "targetRef": {"kind": "Pod", "name": name}, "addresses": ["10.0.0.1"]}
        )
    labels = {"kubernetes.io/service-name": "shop"}
    cluster.put(endpoint_slice(NAMESPACE, f"shop-{version}"), {"metadata": {"labels": labels}, "endpoints": endpoints})


def make_cluster(*, dry_run: bool = False, selector: dict[str, str] | None = None) -> FakeCluster:
    cluster = FakeCluster(dry_run=dry_run)
    routes = [
        route("testers", candidate=100),
        route("agents", stable=100, candidate=0),
        route("rest", stable=100, candidate=0),
    ]
    cluster.put(OBJECT, {"spec": {"http": routes}})
    subsets = [{"name": side, "labels": {"version": version}} for side, version in VERSIONS.items()]
    cluster.put(destination_rule(NAMESPACE, "shop"), {"spec": {"host": "shop", "subsets": subsets}})
    cluster.put(service(NAMESPACE, "shop"), {"spec": {"selector": selector or {"app": "shop"}}})
    add_pods(cluster, "5.0", 10)
    add_pods(cluster, "5.1", 1)
    return cluster


def provider_of(cluster: FakeCluster, **changes: t.Any) -> TrafficProvider:
    return open_provider("istio", t.cast(t.Any, cluster), {**OPTIONS, **changes})


def weights(cluster: FakeCluster) -> list[list[int]]:
    return [[entry["weight"] for entry in found["route"]] for found in cluster.stored(OBJECT)["spec"]["http"]]


def test_all_weighted_routes_move_and_pinned_ones_stay() -> None:
    cluster = make_cluster()
    change = set_weight(provider_of(cluster), 5)
    assert weights(cluster) == [[100], [95, 5], [95, 5]]
    assert (change.changed, change.before.weight, change.after.weight) == (True, 0, 5)
    assert change.after.resource_version == cluster.stored(OBJECT)["metadata"]["resourceVersion"]


def test_a_guarded_change_costs_six_calls() -> None:
    # The object; the rules of the mesh; Service, pods and endpoints; the patch.
    assert set_weight(provider_of(make_cluster()), 5).calls == 6


def test_the_second_time_nothing_is_written() -> None:
    cluster = make_cluster()
    set_weight(provider_of(cluster), 5)
    change = set_weight(provider_of(cluster), 5)
    assert not change.changed
    assert cluster.writes == 1


def test_check_mode_tells_what_would_be_and_stores_nothing() -> None:
    cluster = make_cluster(dry_run=True)
    result = as_result(set_weight(provider_of(cluster), 5))
    assert (result["changed"], result["before"], result["after"]) == (True, 0, 5)
    assert "agents: stable 95, candidate 5" in result["diff"]["after"]
    assert weights(cluster) == [[100], [100, 0], [100, 0]]


def test_routes_that_differ_are_brought_together() -> None:
    cluster = make_cluster()
    cluster.put(OBJECT, {"spec": {"http": [route("a", stable=80, candidate=20), route("b", stable=95, candidate=5)]}})
    change = set_weight(provider_of(cluster), 20, limits=Limits(min_ready_ratio=0))
    assert change.before.weight == 20
    assert weights(cluster) == [[80, 20], [80, 20]]


def test_a_prepared_provider_takes_back_in_one_request() -> None:
    cluster = make_cluster()
    provider = provider_of(cluster)
    set_weight(provider, 5)
    calls = cluster.calls
    change = set_weight(provider, 0, guard=False)
    assert (cluster.calls - calls, change.calls, change.changed) == (1, 1, True)
    assert weights(cluster) == [[100], [100, 0], [100, 0]]


def test_taking_back_overrules_whoever_moved_the_weight_meanwhile() -> None:
    cluster = make_cluster()
    provider = provider_of(cluster)
    set_weight(provider, 5)
    others = [route("new", stable=50, candidate=50), *cluster.stored(OBJECT)["spec"]["http"]]
    cluster.put(OBJECT, {"spec": {"http": others}})
    change = set_weight(provider, 0, guard=False)
    assert change.changed
    assert weights(cluster) == [[100, 0], [100], [100, 0], [100, 0]]


def test_taking_back_reads_anew_where_the_remembered_state_shows_nothing_to_do() -> None:
    cluster = make_cluster()
    provider = provider_of(cluster)
    provider.prepare()
    set_weight(provider_of(cluster), 5)
    assert set_weight(provider, 0, guard=False).before.weight == 5
    assert weights(cluster) == [[100], [100, 0], [100, 0]]


def test_someone_elses_change_of_something_else_is_kept() -> None:
    cluster = make_cluster()

    def annotate() -> None:
        body = cluster.stored(OBJECT)
        body["metadata"]["annotations"] = {"note": "mine"}
        cluster.put(OBJECT, body)

    cluster.before_write = annotate
    set_weight(provider_of(cluster), 5)
    assert cluster.stored(OBJECT)["metadata"]["annotations"] == {"note": "mine"}
    assert weights(cluster) == [[100], [95, 5], [95, 5]]


def test_someone_elses_change_of_the_weight_is_not_overwritten() -> None:
    cluster = make_cluster()
    cluster.before_write = lambda: t.cast(
        None, cluster.put(OBJECT, {"spec": {"http": [route("rest", stable=30, candidate=70)]}})
    )
    with pytest.raises(ConflictError, match="moved the weight from 0 to 70"):
        set_weight(provider_of(cluster), 5)
    assert weights(cluster) == [[30, 70]]


def test_what_the_api_itself_refuses_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make_cluster()

    def refuse(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        cluster.calls += 1
        raise ClusterError("denied by a webhook", status=422, reason="Invalid")

    monkeypatch.setattr(cluster, "patch", refuse)
    with pytest.raises(ClusterError, match="denied by a webhook"):
        set_weight(provider_of(cluster), 5, guard=False)
    assert cluster.calls == 3


def test_a_writer_who_never_rests_is_given_up_on() -> None:
    cluster = make_cluster()
    stamp = iter(range(100))

    def touch() -> None:
        body = cluster.stored(OBJECT)
        body["metadata"]["annotations"] = {"n": str(next(stamp))}
        cluster.put(OBJECT, body)
        cluster.before_write = touch

    cluster.before_write = touch
    with pytest.raises(ConflictError, match="stop the other writer"):
        set_weight(provider_of(cluster), 5)


@pytest.mark.parametrize(
    ("ready", "unready", "weight", "limits", "refused"),
    [
        (0, 1, 5, Limits(), True),
        (1, 0, 5, Limits(), False),
        (1, 0, 20, Limits(min_ready_ratio=1), True),
        (2, 0, 20, Limits(min_ready_ratio=1), False),
        (4, 6, 100, Limits(), True),
        (5, 5, 100, Limits(), False),
        (1, 0, 100, Limits(min_ready_ratio=0), False),
        (1, 0, 5, Limits(min_ready=2), True),
    ],
)
def test_the_receiving_side_must_carry_its_share(
    ready: int, unready: int, weight: int, limits: Limits, refused: bool
) -> None:
    cluster = make_cluster()
    add_pods(cluster, "5.1", ready, unready=unready)
    if not refused:
        assert set_weight(provider_of(cluster), weight, limits=limits).after.weight == weight
        return
    with pytest.raises(GuardError, match=f"{ready} ready endpoints of {ready + unready},"):
        set_weight(provider_of(cluster), weight, limits=limits)
    assert cluster.writes == 0


def test_lowering_is_guarded_by_the_stable_side() -> None:
    cluster = make_cluster()
    set_weight(provider_of(cluster), 50, guard=False)
    add_pods(cluster, "5.0", 0, unready=10)
    with pytest.raises(GuardError, match="shop subset stable has 0 ready"):
        set_weight(provider_of(cluster), 20)


def test_weight_0_is_never_held_back_but_warns() -> None:
    cluster = make_cluster()
    set_weight(provider_of(cluster), 50, guard=False)
    add_pods(cluster, "5.0", 0, unready=10)
    change = set_weight(provider_of(cluster), 0)
    assert change.after.weight == 0
    assert "subset stable has 0 ready endpoints" in change.warnings[0]


def test_weight_0_works_without_the_right_to_look() -> None:
    cluster = make_cluster()
    set_weight(provider_of(cluster), 50, guard=False)
    cluster.forbidden = {"pods"}
    change = set_weight(provider_of(cluster), 0)
    assert change.changed
    assert "couldn't be looked at" in change.warnings[0]
    with pytest.raises(ForbiddenError):
        set_weight(provider_of(cluster), 5)


def test_a_subset_outside_the_services_selector_is_explained() -> None:
    cluster = make_cluster(selector={"app": "shop", "version": "5.0"})
    with pytest.raises(GuardError, match=r"outside the selector of its Service \(app=shop, version=5.0\)"):
        set_weight(provider_of(cluster), 5)


def test_a_host_that_is_no_service_is_named() -> None:
    cluster = make_cluster()
    cluster.put(
        OBJECT,
        {
            "spec": {
                "http": [
                    {
                        "route": [
                            {"destination": {"host": "shop", "subset": "stable"}, "weight": 100},
                            {"destination": {"host": "gone"}, "weight": 0},
                        ]
                    }
                ]
            }
        },
    )
    with pytest.raises(GuardError, match=r"candidate\.host: there is no Service for gone"):
        set_weight(provider_of(cluster, candidate={"host": "gone"}), 5)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"name": "other"}, NotFoundError, "name: there is no VirtualService other in namespace shop"),
        ({"candidate": {"host": "shop", "subset": "canary"}}, InputError, "shop subset canary.*go to shop subset cand"),
        ({"candidate": {"host": "shop", "subset": "stable"}}, InputError, "candidate: is the same destination"),
        ({"candidate": {"subset": "candidate"}}, InputError, "candidate.host: is missing; provider istio needs it"),
        ({"nmae": "shop"}, InputError, "nmae"),
    ],
)
def test_bad_options_are_named(changes: dict[str, t.Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        set_weight(provider_of(make_cluster(), **changes), 5)


def test_a_subset_without_rule_is_named() -> None:
    cluster = make_cluster()
    cluster.put(destination_rule(NAMESPACE, "shop"), {"spec": {"host": "shop", "subsets": [{"name": "stable"}]}})
    with pytest.raises(InputError, match=r"candidate.subset: .*candidate; defined are: stable"):
        set_weight(provider_of(cluster), 5)


@pytest.mark.parametrize("weight", [-1, 101, True, 5.0, "5"])
def test_weights_out_of_range_are_refused(weight: t.Any) -> None:
    cluster = make_cluster()
    with pytest.raises(InputError, match="weight: must be a whole number from 0 to 100"):
        set_weight(provider_of(cluster), weight)
    assert cluster.calls == 0


def test_an_unknown_provider_is_named() -> None:
    with pytest.raises(InputError, match="provider: 'linkerd' isn't known; choose one of: gateway_api, haproxy, istio"):
        open_provider("linkerd", t.cast(t.Any, FakeCluster()), OPTIONS)


def test_an_older_istio_is_spoken_to_in_its_version() -> None:
    cluster = make_cluster()
    cluster.unserved = {"networking.istio.io/v1"}
    assert t.cast(Ref, set_weight(provider_of(cluster), 5).after.ref).api_version == "networking.istio.io/v1beta1"
    with pytest.raises(NotFoundError, match="is Istio installed"):
        set_weight(provider_of(cluster, api_version="networking.istio.io/v1"), 5)


def test_guard_rounds_needed_endpoints_up() -> None:
    receiving, giving = Backend("c", 2, 2), Backend("s", 10, 10)
    assert findings(21, receiving, giving, Limits(min_ready_ratio=1)) != []
    assert findings(20, receiving, giving, Limits(min_ready_ratio=1)) == []


@pytest.mark.parametrize(("option", "value"), [("min_ready", -1), ("min_ready_ratio", -0.1), ("min_ready_ratio", 11)])
def test_limits_that_make_no_sense_are_named(option: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{option}: must be"):
        Limits(**{option: t.cast(t.Any, value)})
