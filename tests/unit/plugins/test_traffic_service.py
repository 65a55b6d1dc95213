"""The provider service in a cluster in memory whose Deployments make pods as time goes by."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    ForbiddenError,
    GuardError,
    InputError,
    NotFoundError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    autoscaler,
    deployment,
    pod,
    service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.options import read_options
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.service import ServiceProvider
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.service_split import Sides, candidates_for
from tests.unit.plugins.fake_cluster import FakeCluster

NAMESPACE = "shop"
OBJECT = service(NAMESPACE, "shop")
VERSIONS = {"blue": "5.0", "canary": "5.1"}
OPTIONS: dict[str, t.Any] = {
    "provider": "service",
    "namespace": NAMESPACE,
    "name": "shop",
    "stable": {"labels": {"version": "5.0"}},
    "candidate": {"labels": {"version": "5.1"}, "deployment": "canary"},
}


class Deploying(FakeCluster):
    """Deployments get or lose one ready pod each time the clock is asked to wait; ``most`` is how many ever get ready.

    ``seen`` holds the selector and the ready candidates at each write.
    """

    def __init__(self, *, dry_run: bool = False, most: int = 100) -> None:
        super().__init__(dry_run=dry_run)
        self.most = most
        self.seen: list[tuple[dict[str, str], int]] = []
        self.clock = SteppingClock(self.step)
        self.refused: set[str] = set()
        self.lost: set[str] = set()

    def patch(self, ref: Ref, body: t.Any, kind: str = "merge") -> dict[str, t.Any]:
        if ref.plural in self.refused:
            self.calls += 1
            raise ForbiddenError(f"{ref.plural} may not be patched", status=403)
        stored = super().patch(ref, body, kind)
        self.seen.append((self.stored(OBJECT)["spec"]["selector"], self.ready("5.1")))
        if ref.plural in self.lost:
            raise UnreachableError("the answer was lost")
        return stored

    def deploy(self, name: str, replicas: int) -> None:
        labels = {"app": "shop", "version": VERSIONS[name]}
        body = {"spec": {"replicas": replicas, "template": {"metadata": {"labels": labels}}}}
        self.put(deployment(NAMESPACE, name), body)
        while self.step():
            pass

    def replicas(self, name: str) -> int:
        return int(self.stored(deployment(NAMESPACE, name))["spec"]["replicas"])

    def ready(self, version: str) -> int:
        found = [body for (plural, *_rest), body in self._objects.items() if plural == "pods"]
        return sum(body["metadata"]["labels"].get("version") == version for body in found)

    def step(self) -> bool:
        moved = False
        for name in VERSIONS:
            key = ("deployments", NAMESPACE, name)
            if key not in self._objects:
                continue
            pods = sorted(each for each in self._objects if each[0] == "pods" and each[2].startswith(f"{name}-"))
            wanted = min(self.replicas(name), self.most)
            if len(pods) < wanted:
                number = next(n for n in range(1000) if ("pods", NAMESPACE, f"{name}-{n}") not in self._objects)
                self.put(pod(NAMESPACE, f"{name}-{number}"), _pod(name))
            elif len(pods) > wanted:
                del self._objects[pods[-1]]
            moved = moved or len(pods) != wanted
        return moved

    @property
    def selector(self) -> dict[str, str]:
        return t.cast("dict[str, str]", self.stored(OBJECT)["spec"]["selector"])


class SteppingClock(FakeClock):
    def __init__(self, step: t.Callable[[], bool]) -> None:
        super().__init__()
        self._step = step

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._step()


def _pod(name: str) -> dict[str, t.Any]:
    labels = {"app": "shop", "version": VERSIONS[name], "pod-template-hash": "abc"}
    owners = [{"kind": "ReplicaSet", "name": f"{name}-abc"}]
    return {
        "metadata": {"labels": labels, "ownerReferences": owners},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def make(*, blue: int = 10, canary: int = 1, **changes: t.Any) -> Deploying:
    cluster = Deploying(**changes)
    cluster.put(OBJECT, {"spec": {"selector": {"app": "shop", "version": "5.0"}, "ports": [{"port": 80}]}})
    cluster.deploy("blue", blue)
    cluster.deploy("canary", canary)
    cluster.seen.clear()
    return cluster


def provider_of(cluster: Deploying, **changes: t.Any) -> ServiceProvider:
    return ServiceProvider(t.cast(t.Any, cluster), read_options({**OPTIONS, **changes}), cluster.clock)


WITHOUT_DEPLOYMENT = {"candidate": {"labels": {"version": "5.1"}}}


def test_the_candidate_is_there_before_the_selector_opens() -> None:
    cluster = make(canary=0)
    change = set_weight(provider_of(cluster), 20)
    assert (cluster.replicas("blue"), cluster.replicas("canary"), cluster.selector) == (10, 3, {"app": "shop"})
    assert cluster.seen == [({"app": "shop", "version": "5.0"}, 0), ({"app": "shop"}, 3)]
    assert (change.after.share, change.after.weight) == (pytest.approx(23.077, abs=0.001), 23)
    assert change.after.notices == ("3 of 13 pods are 23.1 %, as near to 20 % as whole pods come",)
    assert not set_weight(provider_of(cluster), 20).changed


def test_all_the_way_up_and_back() -> None:
    cluster = make()
    provider = provider_of(cluster)
    for weight, canary, selector in (
        (5, 1, {"app": "shop"}),
        (50, 10, {"app": "shop"}),
        (100, 10, {"app": "shop", "version": "5.1"}),
        (50, 10, {"app": "shop"}),
        (20, 3, {"app": "shop"}),
        (0, 3, {"app": "shop", "version": "5.0"}),
    ):
        set_weight(provider, weight)
        assert (cluster.replicas("canary"), cluster.ready("5.1"), cluster.selector) == (canary, canary, selector)
        assert cluster.replicas("blue") == 10


def test_coming_from_100_the_selector_comes_before_the_scaling() -> None:
    cluster = make()
    provider = provider_of(cluster)
    set_weight(provider, 100)
    cluster.seen.clear()
    set_weight(provider, 20)
    assert cluster.seen == [({"app": "shop"}, 10), ({"app": "shop"}, 10)]


def test_pods_left_over_go_before_the_selector_opens_to_them() -> None:
    cluster = make(canary=10)
    set_weight(provider_of(cluster), 10)
    assert cluster.seen[-1] == ({"app": "shop"}, 1)


def test_taking_back_is_one_write_and_scales_nothing() -> None:
    cluster = make()
    provider = provider_of(cluster)
    set_weight(provider, 50)
    change = set_weight(provider, 0, guard=False)
    assert (change.calls, change.changed, change.after.weight) == (1, True, 0)
    assert (cluster.selector, cluster.replicas("canary")) == ({"app": "shop", "version": "5.0"}, 10)


def test_taking_back_is_not_undone_where_its_answer_is_lost() -> None:
    cluster = make()
    provider = provider_of(cluster)
    set_weight(provider, 50)
    cluster.lost = {"services"}
    assert set_weight(provider, 0, guard=False).changed
    assert cluster.selector == {"app": "shop", "version": "5.0"}


def test_taking_back_works_with_nothing_ready_and_the_deployment_gone() -> None:
    cluster = make(blue=0, canary=1)
    cluster.put(OBJECT, {"spec": {"selector": {"app": "shop"}}})
    del cluster._objects["deployments", NAMESPACE, "canary"]
    change = set_weight(provider_of(cluster), 0)
    assert (change.after.weight, cluster.selector["version"]) == (0, "5.0")
    assert "has 0 ready endpoints" in change.warnings[0]


def test_replicas_that_never_get_ready_are_put_back() -> None:
    cluster = make(canary=1, most=10)
    cluster.most = 2
    provider = provider_of(cluster, service={"scale_timeout": 30})
    with pytest.raises(GuardError, match=r"2 of the 10 pods .* ready 30 s after .*; canary has 1 replicas as before"):
        set_weight(provider, 50)
    assert (cluster.replicas("canary"), cluster.selector) == (1, {"app": "shop", "version": "5.0"})


def test_replicas_are_put_back_where_the_selector_may_not_be_written() -> None:
    cluster = make()
    cluster.refused = {"services"}
    with pytest.raises(ForbiddenError, match="canary has 1 replicas as before"):
        set_weight(provider_of(cluster), 50)
    assert cluster.replicas("canary") == 1


def test_the_selector_is_put_back_where_the_scaling_fails() -> None:
    cluster = make()
    provider = provider_of(cluster)
    set_weight(provider, 100)
    cluster.refused = {"deployments"}
    with pytest.raises(ForbiddenError, match=r"the selector is app=shop, version=5.1 again"):
        set_weight(provider, 20)
    assert cluster.selector == {"app": "shop", "version": "5.1"}


def test_without_a_deployment_the_pods_are_taken_as_they_are() -> None:
    cluster = make(canary=3)
    change = set_weight(provider_of(cluster, **WITHOUT_DEPLOYMENT), 20)
    assert (cluster.replicas("canary"), change.calls) == (3, 5)
    assert change.after.notices == ("3 of 13 pods are 23.1 %, as near to 20 % as whole pods come",)
    assert provider_of(cluster, **WITHOUT_DEPLOYMENT).read().notices == (
        "3 of 13 pods are the candidate's, which is 23.1 %",
    )


def test_other_pods_of_the_candidate_count() -> None:
    cluster = make()
    body = _pod("canary")
    body["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "green-abc"}]
    cluster.put(pod(NAMESPACE, "green-1"), body)
    set_weight(provider_of(cluster), 50)
    assert cluster.replicas("canary") == 9


def test_dry_run_tells_what_would_be_and_waits_for_nothing() -> None:
    cluster = make(dry_run=True)
    change = set_weight(provider_of(cluster), 50)
    assert (change.after.share, change.changed) == (50, True)
    assert (cluster.replicas("canary"), cluster.selector) == (1, {"app": "shop", "version": "5.0"})
    assert cluster.clock.monotonic() == 0


def test_the_guard_counts_pods_that_nothing_brings_up() -> None:
    cluster = make(canary=0)
    with pytest.raises(GuardError, match=r"shop \(app=shop, version=5.1\) has 0 ready endpoints"):
        set_weight(provider_of(cluster, **WITHOUT_DEPLOYMENT), 20)


def test_strangers_and_autoscalers_stand_in_the_way() -> None:
    cluster = make()
    body = _pod("blue")
    body["metadata"]["labels"]["version"] = "4.9"
    cluster.put(pod(NAMESPACE, "old-1"), body)
    target = {"kind": "Deployment", "name": "canary"}
    cluster.put(autoscaler(NAMESPACE, "growing"), {"spec": {"scaleTargetRef": target}})
    with pytest.raises(GuardError, match=r"1 ready pods of neither side \(such as old-1\).*Autoscaler growing sets"):
        set_weight(provider_of(cluster), 20)
    assert cluster.writes == 0


def test_pods_outside_the_service_are_explained() -> None:
    cluster = make(canary=0)
    body = _pod("canary")
    del body["metadata"]["labels"]["app"]
    cluster.put(pod(NAMESPACE, "astray"), body)
    with pytest.raises(GuardError, match=r"candidate\.labels: pods with version=5.1 lie outside the Service shop"):
        set_weight(provider_of(cluster, **WITHOUT_DEPLOYMENT), 20)


def test_someone_elses_selector_is_not_overwritten() -> None:
    cluster = make(canary=2)
    cluster.before_write = lambda: t.cast(None, cluster.put(OBJECT, {"spec": {"selector": {"app": "shop"}}}))
    with pytest.raises(ConflictError, match=r"someone else moved the weight from 0 to \d+ while"):
        set_weight(provider_of(cluster), 50)
    assert (cluster.replicas("canary"), cluster.selector) == (2, {"app": "shop"})


@pytest.mark.parametrize(
    ("selector", "changes", "error", "said"),
    [
        ({"version": "5.0"}, {}, InputError, "would be empty and select no pod"),
        ({"app": "shop", "version": "4.9"}, {}, InputError, "the Service selects version=4.9, which is neither"),
        (None, {"name": "other"}, NotFoundError, "name: there is no Service other in namespace shop"),
        (
            None,
            {"stable": {"labels": {"app": "shop"}}, "candidate": {"labels": {"app": "shop", "version": "5.1"}}},
            InputError,
            "stable.labels: app=shop are carried by the pods of candidate too",
        ),
        (None, {"stable": {"labels": {"version": 5.0}}}, InputError, "version must be text, not 5.0; put it in quotes"),
        (
            None,
            {"candidate": {"labels": {"version": "5.1"}, "deployment": "gone"}},
            InputError,
            "candidate.deployment: there is no Deployment gone",
        ),
        (
            None,
            {"candidate": {"labels": {"version": "5.1"}, "deployment": "blue"}},
            InputError,
            "the pods of blue carry app=shop, version=5.0, but those of the candidate",
        ),
        (None, {"service": {"scale_timeout": 0}}, InputError, "scale_timeout: must be more than 0 seconds"),
    ],
)
def test_what_can_not_be_worked_with_is_named(
    selector: dict[str, str] | None, changes: dict[str, t.Any], error: type[Exception], said: str
) -> None:
    cluster = make()
    if selector:
        cluster.put(OBJECT, {"spec": {"selector": selector}})
    with pytest.raises(error, match=said):
        set_weight(provider_of(cluster, **changes), 20)
    assert cluster.writes == 0


def test_stickiness_is_the_services_own() -> None:
    cluster = make()
    provider = provider_of(cluster)
    assert not provider.stickiness(provider.read()).kept
    cluster.put(OBJECT, {"spec": {"selector": {"app": "shop"}, "sessionAffinity": "ClientIP"}})
    assert provider.stickiness(provider.read()).kept


def test_it_is_opened_by_its_name() -> None:
    assert isinstance(open_provider("service", t.cast(t.Any, make()), OPTIONS), ServiceProvider)


@given(st.integers(1, 99), st.integers(0, 200))
def test_no_other_number_of_pods_is_nearer(weight: int, stable: int) -> None:
    def error(count: int) -> float:
        return abs(100 * count / (count + stable) - weight)

    chosen = candidates_for(weight, stable)
    assert chosen >= 1
    assert all(error(chosen) <= error(count) + 1e-9 for count in (chosen + 1, max(1, chosen - 1)))


def test_a_part_of_a_side_is_that_side_and_a_rollback_widens_it_again() -> None:
    labels = {"stable": {"labels": {"version": "5.0", "kind": "blue"}}, "candidate": {"labels": {"version": "5.1"}}}
    sides = Sides.from_options(labels)
    drained = {"app": "shop", "version": "5.1", "kind": "green"}
    assert sides.opened_to(drained) == {"candidate"}
    assert sides.selector(drained, 0) == {"app": "shop", "version": "5.0", "kind": "blue"}
    with pytest.raises(InputError, match="neither"):
        sides.opened_to({"app": "shop", "version": "5.0", "kind": "green"})
