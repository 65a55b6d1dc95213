"""The canary Ingress beside a main one: made, changed, brought in line, removed; and whose it is."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    GuardError,
    InputError,
    NotFoundError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref, ingress, service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import Limits, set_weight
from tests.unit.plugins.fake_cluster import FakeCluster
from tests.unit.plugins.two_services import CANDIDATE, NAMESPACE, STABLE, provider_of, two_services

MAIN, CANARY = ingress(NAMESPACE, "shop"), ingress(NAMESPACE, "shop-canary")
CLASS = Ref("networking.k8s.io/v1", "IngressClass", "ingressclasses", "", "nginx")
NGINX = "nginx.ingress.kubernetes.io/"
MANAGED_BY = "app.kubernetes.io/managed-by"
Json = dict[str, t.Any]


def path(value: str, name: str = STABLE, **port: t.Any) -> Json:
    return {"path": value, "pathType": "Prefix", "backend": {"service": {"name": name, "port": port or {"number": 80}}}}


def put_main(cluster: FakeCluster, *paths: Json, **annotations: str) -> None:
    body = {
        "metadata": {"uid": "uid-main", "annotations": {f"{NGINX}{key}": value for key, value in annotations.items()}},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": "shop.example.com", "http": {"paths": list(paths)}}]},
    }
    cluster.put(MAIN, body)


def make_cluster(*, dry_run: bool = False, controller: str = "k8s.io/ingress-nginx", **annotations: str) -> FakeCluster:
    cluster = two_services(dry_run=dry_run)
    cluster.put(CLASS, {"spec": {"controller": controller}})
    put_main(cluster, path("/api"), path("/static", "assets"), path("/", name=STABLE), **annotations)
    return cluster


def marks(cluster: FakeCluster) -> Json:
    return {key.removeprefix(NGINX): value for key, value in cluster.stored(CANARY)["metadata"]["annotations"].items()}


def foreign(cluster: FakeCluster, name: str = "shop-canary", weight: str = "30", **labels: str) -> None:
    metadata = {
        "annotations": {f"{NGINX}canary": "true", f"{NGINX}canary-weight": weight},
        "labels": labels,
        "managedFields": [{"manager": "helm", "operation": "Update"}],
    }
    rules = [{"host": "shop.example.com", "http": {"paths": [path("/", CANDIDATE)]}}]
    cluster.put(ingress(NAMESPACE, name), {"metadata": metadata, "spec": {"ingressClassName": "nginx", "rules": rules}})


def test_a_canary_is_made_changed_and_removed_beside_an_untouched_main() -> None:
    cluster = make_cluster()
    main = cluster.stored(MAIN)
    provider = provider_of("nginx_ingress", cluster)
    change = set_weight(provider, 5)
    assert (change.before.weight, change.after.weight) == (0, 5)
    assert [route.route for route in change.after.routes] == ["shop.example.com/api", "shop.example.com/"]
    made = cluster.stored(CANARY)
    assert made["metadata"]["labels"] == {MANAGED_BY: "claude-enhancer-rollout"}
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-main"
    assert made["spec"] == {
        "ingressClassName": "nginx",
        "rules": [{"host": "shop.example.com", "http": {"paths": [path("/api", CANDIDATE), path("/", CANDIDATE)]}}],
    }
    assert marks(cluster) == {"canary": "true", "canary-weight": "5"}
    assert set_weight(provider, 100).after.weight == 100
    assert marks(cluster) == {"canary": "true", "canary-weight": "100"}
    assert cluster.stored(CANARY)["metadata"]["uid"] == made["metadata"]["uid"]
    change = set_weight(provider, 0)
    assert (change.changed, change.after.weight) == (True, 0)
    assert cluster.find(CANARY) is None
    assert not set_weight(provider, 0).changed
    assert cluster.stored(MAIN) == main


def test_taking_back_is_one_request_and_does_not_mind_that_it_was_done() -> None:
    cluster = make_cluster()
    provider = provider_of("nginx_ingress", cluster)
    for gone in (False, True):
        set_weight(provider, 20)
        if gone:
            cluster.delete(CANARY)
        calls = cluster.calls
        change = set_weight(provider, 0, guard=False)
        assert (cluster.calls - calls, change.after.weight) == (1, 0)


def test_taking_back_asks_nothing_of_the_main_ingress() -> None:
    cluster = make_cluster()
    provider = provider_of("nginx_ingress", cluster)
    set_weight(provider, 20)
    put_main(cluster, path("/", "renamed"))
    assert provider.read().weight == 20
    with pytest.raises(
        InputError, match=f"no path of Ingress shop/shop goes to Service {STABLE}; its paths go to renamed"
    ):
        set_weight(provider, 30)
    assert set_weight(provider, 0).changed
    assert cluster.find(CANARY) is None


def test_the_canary_follows_the_main_ingress_and_the_options() -> None:
    cluster = make_cluster()
    set_weight(provider_of("nginx_ingress", cluster, nginx_ingress={"header": "x-canary", "cookie": "c"}), 5)
    assert marks(cluster)["canary-by-cookie"] == "c"
    put_main(cluster, path("/v2", name=STABLE), **{"affinity-canary-behavior": "legacy"})
    provider = provider_of("nginx_ingress", cluster, nginx_ingress={"header": "x-canary", "header_value": "yes"})
    assert provider.read().weight == 0
    assert set_weight(provider, 5).changed
    assert marks(cluster) == {
        "canary": "true",
        "canary-by-header": "x-canary",
        "canary-by-header-value": "yes",
        "affinity-canary-behavior": "legacy",
        "canary-weight": "5",
    }
    assert cluster.stored(CANARY)["spec"]["rules"][0]["http"]["paths"] == [path("/v2", CANDIDATE)]
    assert not set_weight(provider, 5).changed


def test_what_else_someone_put_on_the_canary_stays_and_its_total_counts() -> None:
    cluster = make_cluster()
    provider = provider_of("nginx_ingress", cluster)
    set_weight(provider, 5)
    body = cluster.stored(CANARY)
    body["metadata"]["annotations"].update({f"{NGINX}canary-weight-total": "1000", "note": "mine"})
    cluster.put(CANARY, body)
    assert provider.read().share == 0.5
    assert set_weight(provider, 7).after.weight == 7
    assert marks(cluster) == {
        "canary": "true",
        "canary-weight-total": "1000",
        "canary-weight": "70",
        "note": "mine",
    }
    body["metadata"]["annotations"][f"{NGINX}canary-weight-total"] = "10"
    cluster.put(CANARY, body)
    with pytest.raises(InputError, match="7 % of the canary-weight-total 10"):
        set_weight(provider, 7)


def test_check_mode_tells_what_would_be() -> None:
    cluster = make_cluster(dry_run=True)
    change = set_weight(provider_of("nginx_ingress", cluster), 5)
    assert (change.changed, change.after.weight, cluster.find(CANARY)) == (True, 5, None)
    foreign(cluster, **{MANAGED_BY: "claude-enhancer-rollout"})
    change = set_weight(provider_of("nginx_ingress", cluster), 0)
    assert (change.changed, change.before.weight, change.after.weight) == (True, 30, 0)
    assert cluster.find(CANARY) is not None


def test_a_canary_of_someone_else_is_named_and_only_its_weight_is_ever_taken() -> None:
    cluster = make_cluster()
    foreign(cluster)
    before = cluster.stored(CANARY)
    provider = provider_of("nginx_ingress", cluster)
    for guard in (True, False):
        with pytest.raises(
            InputError, match=r"shop-canary wasn't made by a release but by helm.*canary_name.*label it"
        ):
            set_weight(provider, 40, guard=guard, limits=Limits(takeover=True))
    assert cluster.writes == 0
    assert "wasn't made by a release" in provider.obstacles(provider.read())[0]
    assert set_weight(provider, 0, guard=False).after.weight == 0
    after = cluster.stored(CANARY)
    assert after["metadata"]["annotations"].pop(f"{NGINX}canary-weight") == "0"
    del before["metadata"]["annotations"][f"{NGINX}canary-weight"], before["metadata"]["resourceVersion"]
    del after["metadata"]["resourceVersion"]
    assert after == before


def test_a_second_canary_for_the_same_path_stands_in_the_way() -> None:
    cluster = make_cluster()
    foreign(cluster, "blue")
    with pytest.raises(GuardError, match=r"Ingress blue \(by helm\) is a canary for shop.example.com/ already"):
        set_weight(provider_of("nginx_ingress", cluster), 5)


def test_someone_elses_changes_meanwhile_are_not_overwritten() -> None:
    cluster = make_cluster()
    ours = {MANAGED_BY: "claude-enhancer-rollout"}
    cluster.before_write = lambda: foreign(cluster, weight="70", **ours)
    with pytest.raises(ConflictError, match="moved the weight from 0 to 70"):
        set_weight(provider_of("nginx_ingress", cluster), 5)
    cluster.before_write = lambda: t.cast(None, cluster.delete(CANARY))
    with pytest.raises(ConflictError, match="moved the weight from 70 to 0"):
        set_weight(provider_of("nginx_ingress", cluster), 80)


def test_what_the_api_refuses_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make_cluster()

    def refuse(*_arguments: t.Any) -> t.NoReturn:
        cluster.calls += 1
        raise ClusterError("denied by a webhook", status=422, reason="Invalid")

    monkeypatch.setattr(cluster, "create", refuse)
    with pytest.raises(ClusterError, match="denied by a webhook"):
        set_weight(provider_of("nginx_ingress", cluster), 5, guard=False)


def test_another_controllers_class_and_a_missing_port_stand_in_the_way() -> None:
    cluster = make_cluster(controller="nginx.org/ingress-controller")
    with pytest.raises(GuardError, match=r"controller is nginx.org/ingress-controller and not ingress-nginx"):
        set_weight(provider_of("nginx_ingress", cluster), 5)
    cluster.forbidden = {"ingressclasses"}
    assert set_weight(provider_of("nginx_ingress", cluster), 5).changed
    cluster.put(service(NAMESPACE, CANDIDATE), {"spec": {"selector": {"app": CANDIDATE}, "ports": [{"port": 8080}]}})
    with pytest.raises(GuardError, match=f"candidate.host: Service {CANDIDATE} has no port 80"):
        set_weight(provider_of("nginx_ingress", cluster), 10)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"name": "other"}, NotFoundError, "name: there is no Ingress other in namespace shop; apply it before"),
        (
            {"stable": {"host": "gone"}},
            InputError,
            f"stable.host: no path .* Service gone; its paths go to assets, {STABLE}",
        ),
        ({"api_version": "extensions/v1beta1"}, InputError, "api_version: 'extensions/v1beta1' isn't networking"),
        ({"nginx_ingress": {"canary_name": "shop"}}, InputError, "canary_name: is the main Ingress"),
        (
            {"nginx_ingress": {"header_value": "x"}},
            InputError,
            "header_value: means nothing without nginx_ingress.header",
        ),
        (
            {"nginx_ingress": {"header": "h", "header_value": "x", "header_pattern": "x"}},
            InputError,
            "header_pattern: can't be given with",
        ),
    ],
)
def test_bad_options_are_named(changes: Json, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        set_weight(provider_of("nginx_ingress", make_cluster(), **changes), 5)


def test_a_canary_is_no_main_ingress() -> None:
    cluster = make_cluster(canary="true")
    with pytest.raises(InputError, match="is a canary Ingress itself"):
        set_weight(provider_of("nginx_ingress", cluster), 5)


@pytest.mark.parametrize(
    ("asked", "kept", "how"),
    [
        ({}, False, "drawn anew"),
        ({"affinity": "cookie"}, True, "cookie INGRESSCOOKIE"),
        ({"affinity": "cookie", "session-cookie-name": "s"}, True, "cookie s"),
        ({"affinity": "cookie", "affinity-canary-behavior": "legacy"}, False, "is legacy"),
    ],
)
def test_a_cookie_keeps_users_unless_told_otherwise(asked: dict[str, str], kept: bool, how: str) -> None:
    provider = provider_of("nginx_ingress", make_cluster(**t.cast(t.Any, asked)))
    told = provider.stickiness(provider.read())
    assert told.kept is kept
    assert how in told.how
