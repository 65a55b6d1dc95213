"""The weight of an OpenShift Route, through the dynamic client."""

from __future__ import annotations

import typing as t

import pytest
from openshift.dynamic import DynamicClient as OpenshiftClient

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import dynamic
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    GuardError,
    InputError,
    NotFoundError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import openshift_route, service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import set_weight
from tests.unit.plugins.fake_cluster import FakeCluster
from tests.unit.plugins.two_services import CANDIDATE, NAMESPACE, STABLE, provider_of, two_services

OBJECT = openshift_route(NAMESPACE, "shop")
Json = dict[str, t.Any]


def backend(name: str, weight: int | None = 100) -> Json:
    return {"kind": "Service", "name": name} | ({} if weight is None else {"weight": weight})


def ingress(status: str = "True", **more: t.Any) -> Json:
    condition = {"type": "Admitted", "status": status, **more}
    return {"host": "shop.example.com", "routerName": "default", "conditions": [condition]}


def put_route(cluster: FakeCluster, *backends: Json, admitted: t.Sequence[Json] | None = None, **spec: t.Any) -> None:
    to, *others = backends
    body: Json = {"kind": "Route", "spec": {"host": "shop.example.com", "to": to, **spec}}
    if others:
        body["spec"]["alternateBackends"] = others
    body["status"] = {"ingress": [ingress()] if admitted is None else list(admitted)}
    cluster.put(OBJECT, body)


def make_cluster(*backends: Json, dry_run: bool = False, **more: t.Any) -> FakeCluster:
    cluster = two_services(dry_run=dry_run)
    put_route(cluster, *(backends or (backend(STABLE), backend(CANDIDATE, 0))), **more)
    return cluster


def weights(cluster: FakeCluster) -> list[tuple[str, int | None]]:
    spec = cluster.stored(OBJECT)["spec"]
    return [(entry["name"], entry.get("weight")) for entry in [spec["to"], *spec.get("alternateBackends", [])]]


def test_the_candidate_is_an_alternate_while_it_has_a_weight() -> None:
    cluster = make_cluster(backend(STABLE, None))
    provider = provider_of("openshift_route", cluster)
    assert provider.read().weight == 0
    assert set_weight(provider, 5).after.weight == 5
    assert weights(cluster) == [(STABLE, 95), (CANDIDATE, 5)]
    assert set_weight(provider, 100).after.weight == 100
    assert weights(cluster) == [(STABLE, 0), (CANDIDATE, 100)]
    assert set_weight(provider, 0).after.weight == 0
    assert weights(cluster) == [(STABLE, 100)]
    assert not set_weight(provider, 0).changed


def test_an_alternate_of_no_weight_is_left_until_it_gets_one() -> None:
    cluster = make_cluster()
    provider = provider_of("openshift_route", cluster)
    assert not set_weight(provider, 0).changed
    set_weight(provider, 20)
    assert weights(cluster) == [(STABLE, 80), (CANDIDATE, 20)]


def test_sides_may_stand_the_other_way_round() -> None:
    cluster = make_cluster(backend(CANDIDATE, 0), backend(STABLE))
    provider = provider_of("openshift_route", cluster)
    assert "can't be taken out" in set_weight(provider, 5).after.notices[0]
    assert weights(cluster) == [(CANDIDATE, 5), (STABLE, 95)]
    set_weight(provider, 0)
    assert weights(cluster) == [(CANDIDATE, 0), (STABLE, 100)]


def test_further_backends_keep_their_share() -> None:
    cluster = make_cluster(backend(STABLE, 200), backend("other", 50))
    provider = provider_of("openshift_route", cluster)
    set_weight(provider, 20)
    assert weights(cluster) == [(STABLE, 160), ("other", 50), (CANDIDATE, 40)]
    set_weight(provider, 0)
    assert weights(cluster) == [(STABLE, 200), ("other", 50)]


@pytest.mark.parametrize(
    ("backends", "said"),
    [
        ((backend(STABLE, 10), backend("other", 50)), "the nearest.; raise all weights in proportion .256 is the most"),
        ((backend(STABLE, 200), backend(CANDIDATE, 200), backend("other", 1)), "weigh 400 together.*256 at most"),
        ((backend(STABLE, 0), backend("other", 50)), "other backends take all requests"),
        (
            (backend(STABLE), backend("a"), backend("b"), backend("c")),
            "candidate.host: .* has 3 alternateBackends already",
        ),
    ],
)
def test_what_cannot_be_split_is_refused(backends: tuple[Json, ...], said: str) -> None:
    cluster = make_cluster(*backends)
    with pytest.raises(InputError, match=said):
        set_weight(provider_of("openshift_route", cluster), 5)
    assert cluster.writes == 0


def test_taking_back_is_one_request_whatever_the_weights_are() -> None:
    cluster = make_cluster(backend(STABLE, 200), backend(CANDIDATE, 200), backend("other", 1))
    provider = provider_of("openshift_route", cluster)
    provider.prepare()
    calls = cluster.calls
    assert set_weight(provider, 0, guard=False).after.weight == 0
    assert cluster.calls - calls == 1
    assert weights(cluster) == [(STABLE, 256), ("other", 1)]


def test_a_candidate_named_twice_is_refused_but_taken_back() -> None:
    cluster = make_cluster(backend(STABLE, 60), backend(CANDIDATE, 20), backend("other", 5), backend(CANDIDATE, 20))
    provider = provider_of("openshift_route", cluster)
    with pytest.raises(InputError, match="2 backends of the candidate side"):
        set_weight(provider, 5)
    assert set_weight(provider, 0).after.weight == 0
    assert weights(cluster) == [(STABLE, 100), ("other", 5)]


def test_an_alternate_added_by_someone_else_meanwhile_is_kept() -> None:
    cluster = make_cluster(backend(STABLE))
    cluster.before_write = lambda: put_route(cluster, backend(STABLE), backend("other", 100))
    set_weight(provider_of("openshift_route", cluster), 20, guard=False)
    assert weights(cluster) == [(STABLE, 80), ("other", 100), (CANDIDATE, 20)]


def test_someone_elses_change_of_the_weight_is_not_overwritten() -> None:
    cluster = make_cluster()
    cluster.before_write = lambda: put_route(cluster, backend(STABLE, 30), backend(CANDIDATE, 70))
    with pytest.raises(ConflictError, match="moved the weight from 0 to 70"):
        set_weight(provider_of("openshift_route", cluster), 5)


def test_check_mode_stores_nothing() -> None:
    cluster = make_cluster(backend(STABLE), dry_run=True)
    change = set_weight(provider_of("openshift_route", cluster), 5)
    assert (change.changed, change.after.weight, weights(cluster)) == (True, 5, [(STABLE, 100)])


@pytest.mark.parametrize(
    ("admitted", "said"),
    [
        ([], "no router has admitted this Route"),
        (
            [ingress("False", reason="HostAlreadyClaimed", message="taken")],
            "router default .*HostAlreadyClaimed: taken",
        ),
        ([ingress(), ingress("False", reason="RouteNotAdmitted")], "RouteNotAdmitted: no message"),
    ],
)
def test_a_router_that_does_not_admit_the_route_stands_in_the_way(admitted: list[Json], said: str) -> None:
    with pytest.raises(GuardError, match=said):
        set_weight(provider_of("openshift_route", make_cluster(admitted=admitted)), 5)


def test_bad_options_are_named() -> None:
    with pytest.raises(NotFoundError, match="name: there is no Route other in namespace shop; apply it before"):
        set_weight(provider_of("openshift_route", make_cluster(), name="other"), 5)
    with pytest.raises(InputError, match=f"stable.host: .* no backend gone; its backends are {CANDIDATE}, {STABLE}"):
        set_weight(provider_of("openshift_route", make_cluster(), stable={"host": "gone"}), 5)
    cluster = make_cluster()
    cluster.unserved = {OBJECT.api_version}
    with pytest.raises(NotFoundError, match=r"doesn't serve Route of .*; is this OpenShift"):
        set_weight(provider_of("openshift_route", cluster), 5)


def test_the_routers_cookie_keeps_users_unless_it_cannot() -> None:
    for marks, spec, kept, how in (
        ({}, {}, True, "the router's cookie;"),
        ({"router.openshift.io/cookie_name": "c"}, {"tls": {"termination": "edge"}}, True, "the router's cookie c;"),
        ({"haproxy.router.openshift.io/disable_cookies": "true"}, {}, False, "drawn anew"),
        ({}, {"tls": {"termination": "passthrough"}}, False, "source address"),
    ):
        cluster = make_cluster(**t.cast(t.Any, spec))
        body = cluster.stored(OBJECT)
        cluster.put(OBJECT, {**body, "metadata": {"annotations": marks}})
        provider = provider_of("openshift_route", cluster)
        told = provider.stickiness(provider.read())
        assert told.kept is kept
        assert how in told.how


def test_the_dynamic_client_goes_through_the_one_door() -> None:
    cluster = make_cluster()
    refs = [OBJECT, service(NAMESPACE, "new")]
    client = dynamic.DynamicClient(t.cast(t.Any, cluster), refs)
    assert isinstance(client, OpenshiftClient)
    assert cluster.calls == 0
    services = client.resources.get(api_version="v1", kind="Service")
    body = {"kind": "Service", "metadata": {"name": "new", "namespace": NAMESPACE}, "spec": {"type": "ClusterIP"}}
    assert services.create(body=body).spec.type == "ClusterIP"
    services.replace(body={**body, "spec": {"type": "NodePort"}})
    assert services.get(name="new", namespace=NAMESPACE).to_dict()["spec"] == {"type": "NodePort"}
    services.delete(name="new", namespace=NAMESPACE)
    with pytest.raises(NotFoundError):
        services.get(name="new", namespace=NAMESPACE)
    assert cluster.writes == 3
    with pytest.raises(ValueError, match="isn't something this client sends"):
        services.patch(body={}, name="new", namespace=NAMESPACE)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic, "IMPORT_ERROR", "Traceback")
    with pytest.raises(RolloutError, match="openshift"):
        provider_of("openshift_route", make_cluster())
