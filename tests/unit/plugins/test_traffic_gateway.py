"""The weight of an HTTPRoute: which rules move, what stands in the way, what is told."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    GuardError,
    InputError,
    NotFoundError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import http_route
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import set_weight
from tests.unit.plugins.fake_cluster import FakeCluster
from tests.unit.plugins.two_services import CANDIDATE, NAMESPACE, STABLE, add_service, provider_of, two_services

OBJECT = http_route(NAMESPACE, "shop")
GATEWAY = {"name": "edge"}
Json = dict[str, t.Any]


def ref(name: str, weight: int | None = None, **more: t.Any) -> Json:
    return {"name": name, "port": 80, **more} | ({} if weight is None else {"weight": weight})


def rule(*refs: Json, **more: t.Any) -> Json:
    return {"backendRefs": list(refs), **more}


def condition(kind: str, status: str = "True", **more: t.Any) -> Json:
    return {"type": kind, "status": status, "observedGeneration": 3, "reason": kind, "message": "", **more}


def parent(*conditions: Json, reference: Json | None = None) -> Json:
    told = conditions or (condition("Accepted"), condition("ResolvedRefs"))
    return {"parentRef": reference or GATEWAY, "controllerName": "example.com/edge", "conditions": list(told)}


def put_route(cluster: FakeCluster, *rules: Json, parents: t.Sequence[Json] | None = None) -> None:
    body = {
        "metadata": {"generation": 3},
        "spec": {"parentRefs": [GATEWAY], "rules": list(rules)},
        "status": {"parents": [parent()] if parents is None else list(parents)},
    }
    cluster.put(OBJECT, body)


def make_cluster(*rules: Json, parents: t.Sequence[Json] | None = None, dry_run: bool = False) -> FakeCluster:
    cluster = two_services(dry_run=dry_run)
    put_route(cluster, *(rules or (rule(ref(STABLE, 100), ref(CANDIDATE, 0), name="all"),)), parents=parents)
    return cluster


def weights(cluster: FakeCluster) -> list[list[int | None]]:
    return [
        [entry.get("weight") for entry in found["backendRefs"]] for found in cluster.stored(OBJECT)["spec"]["rules"]
    ]


def test_rules_to_both_move_together_and_pinned_ones_stay() -> None:
    cluster = make_cluster(
        rule(ref(CANDIDATE), name="testers"),
        rule(ref(STABLE), ref(CANDIDATE, 0), name="agents"),
        rule(ref(CANDIDATE, 0), ref(STABLE, 1)),
        rule(ref(STABLE)),
    )
    change = set_weight(provider_of("gateway_api", cluster), 5)
    assert weights(cluster) == [[None], [95, 5], [5, 95], [None]]
    assert [route.route for route in change.after.routes] == ["agents", "rules[2]"]
    assert (change.before.weight, change.after.weight) == (0, 5)


def test_an_absent_weight_counts_as_one() -> None:
    cluster = make_cluster(rule(ref(STABLE), ref(CANDIDATE)))
    provider = provider_of("gateway_api", cluster)
    assert provider.read().weight == 50
    assert not set_weight(provider, 50).changed
    assert weights(cluster) == [[None, None]]


def test_further_backends_keep_their_share() -> None:
    cluster = make_cluster(rule(ref(STABLE, 500), ref("other", 300), ref(CANDIDATE, 0)))
    provider = provider_of("gateway_api", cluster)
    assert set_weight(provider, 5).after.weight == 5
    assert weights(cluster) == [[475, 300, 25]]
    set_weight(provider, 0)
    assert weights(cluster) == [[500, 300, 0]]


@pytest.mark.parametrize(
    ("stable", "asked", "nearest"), [(10, 5, "10"), (10, 98, "100"), (50, 99, "100"), (3, 50, "66")]
)
def test_a_share_that_whole_weights_miss_is_refused(stable: int, asked: int, nearest: str) -> None:
    cluster = make_cluster(rule(ref(STABLE, stable), ref("other", 9), ref(CANDIDATE, 0), name="agents"))
    with pytest.raises(
        InputError, match=rf"agents .*weights {stable}, 9, 0.*{nearest}.*multiply all weights .* by 100"
    ):
        set_weight(provider_of("gateway_api", cluster), asked)
    assert cluster.writes == 0


def test_a_side_twice_in_a_rule_is_refused_but_taken_back() -> None:
    cluster = make_cluster(rule(ref(STABLE, 60), ref(CANDIDATE, 20), ref(CANDIDATE, 20, port=81)))
    provider = provider_of("gateway_api", cluster)
    with pytest.raises(InputError, match="2 backends of the candidate side"):
        set_weight(provider, 5)
    assert set_weight(provider, 0).after.weight == 0
    assert weights(cluster) == [[100, 0, 0]]


def test_taking_back_is_one_request_also_where_all_weights_are_zero() -> None:
    cluster = make_cluster(rule(ref(STABLE, 0), ref(CANDIDATE, 7)))
    provider = provider_of("gateway_api", cluster)
    provider.prepare()
    calls = cluster.calls
    assert set_weight(provider, 0, guard=False).changed
    assert (cluster.calls - calls, weights(cluster)) == (1, [[100, 0]])


def test_taking_back_overrules_rules_that_moved_meanwhile() -> None:
    cluster = make_cluster()
    provider = provider_of("gateway_api", cluster)
    set_weight(provider, 20)
    put_route(cluster, rule(ref(CANDIDATE, 1)), rule(ref(CANDIDATE, 60), ref(STABLE, 40)))
    assert set_weight(provider, 0, guard=False).after.weight == 0
    assert weights(cluster) == [[1], [0, 100]]


def test_someone_elses_change_of_the_weight_is_not_overwritten() -> None:
    cluster = make_cluster()
    cluster.before_write = lambda: put_route(cluster, rule(ref(STABLE, 30), ref(CANDIDATE, 70)))
    with pytest.raises(ConflictError, match="moved the weight from 0 to 70"):
        set_weight(provider_of("gateway_api", cluster), 5)


def test_check_mode_stores_nothing() -> None:
    cluster = make_cluster(dry_run=True)
    change = set_weight(provider_of("gateway_api", cluster), 5)
    assert (change.changed, change.after.weight, weights(cluster)) == (True, 5, [[100, 0]])


@pytest.mark.parametrize(
    ("parents", "said"),
    [
        ([], "Gateway shop/edge tells no status of this route"),
        ([parent(reference={"name": "other"})], "Gateway shop/edge tells no status"),
        ([parent(condition("Accepted", "False", reason="NotAllowedByListeners", message="no"))], "NotAllowedByL.*: no"),
        (
            [
                parent(
                    condition("Accepted"), condition("ResolvedRefs", "False", reason="RefNotPermitted", message="grant")
                )
            ],
            "can't reach all its backends: RefNotPermitted: grant",
        ),
        ([parent(condition("Accepted", observedGeneration=2))], "generation 2 of this route and not of 3"),
        ([parent(condition("ResolvedRefs"))], "doesn't say whether it accepts"),
    ],
)
def test_what_the_gateway_says_against_the_route_holds_the_weight_but_not_the_way_back(
    parents: list[Json], said: str
) -> None:
    cluster = make_cluster(rule(ref(STABLE, 90), ref(CANDIDATE, 10)), parents=parents)
    provider = provider_of("gateway_api", cluster)
    with pytest.raises(GuardError, match=said):
        set_weight(provider, 20)
    change = set_weight(provider, 0)
    assert change.changed
    assert any(said.split(":")[0].split(" .*")[0][:12] in warning for warning in change.warnings)


def test_a_parent_is_told_by_all_its_words() -> None:
    full = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": NAMESPACE, **GATEWAY}
    assert set_weight(provider_of("gateway_api", make_cluster(parents=[parent(reference=full)])), 5).changed


def test_a_route_without_parents_is_named() -> None:
    cluster = make_cluster()
    body = cluster.stored(OBJECT)
    del body["spec"]["parentRefs"]
    cluster.put(OBJECT, body)
    with pytest.raises(GuardError, match="names no parentRefs"):
        set_weight(provider_of("gateway_api", cluster), 5)


def test_services_of_other_namespaces_and_other_kinds_are_told_apart() -> None:
    away = ref(CANDIDATE, 0, namespace="canary")
    pool = ref(CANDIDATE, 5, group="inference.networking.k8s.io", kind="InferencePool")
    cluster = make_cluster(
        rule(ref(STABLE, 100), away), rule(ref(STABLE, 95), pool), rule(ref(STABLE, 9), ref(CANDIDATE))
    )
    add_service(cluster, CANDIDATE, namespace="canary")
    set_weight(provider_of("gateway_api", cluster, candidate={"host": f"{CANDIDATE}.canary"}), 20)
    assert weights(cluster) == [[80, 20], [95, 5], [9, None]]


def test_an_older_gateway_api_is_spoken_to_in_its_version() -> None:
    cluster = make_cluster()
    cluster.unserved = {"gateway.networking.k8s.io/v1"}
    provider = provider_of("gateway_api", cluster)
    assert t.cast(t.Any, set_weight(provider, 5).after.ref).api_version == "gateway.networking.k8s.io/v1beta1"
    with pytest.raises(NotFoundError, match=r"doesn't serve HTTPRoute of .*/v1; is the Gateway API installed"):
        set_weight(provider_of("gateway_api", cluster, api_version="gateway.networking.k8s.io/v1"), 5)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"name": "other"}, NotFoundError, "name: there is no HTTPRoute other in namespace shop; apply it before"),
        ({"candidate": {"host": "gone"}}, InputError, f"shop/gone; its rules go to shop/{CANDIDATE}, shop/{STABLE}"),
        ({"candidate": {"host": f"{STABLE}.shop"}}, InputError, "same Service as stable"),
        (
            {"candidate": {"host": "a.b.svc.cluster.local"}},
            InputError,
            r"candidate.host: .*give name, or name.namespace",
        ),
    ],
)
def test_bad_options_are_named(changes: Json, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        set_weight(provider_of("gateway_api", make_cluster(), **changes), 5)


def test_sessions_keep_users_only_where_every_weighted_rule_asks_for_them() -> None:
    split = ref(STABLE, 100), ref(CANDIDATE, 0)
    session = {"sessionName": "s", "type": "Cookie"}
    for rules, kept, how in (
        ([rule(*split), rule(ref(STABLE), sessionPersistence=session)], False, "drawn anew"),
        ([rule(*split, sessionPersistence=session), rule(*split, name="agents")], False, "rules agents ask for no"),
        ([rule(*split, sessionPersistence=session), rule(ref(STABLE))], True, "Cookie s, by sessionPersistence"),
        ([rule(*split, sessionPersistence={"type": "Header"})], True, "Header of a name the gateway chooses"),
    ):
        provider = provider_of("gateway_api", make_cluster(*rules))
        told = provider.stickiness(provider.read())
        assert told.kept is kept
        assert how in told.how
