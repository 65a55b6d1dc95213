"""The blue/green switch on a Service in a cluster in memory whose endpoints a test moves."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.entry_service import (
    EntryService,
    Requirement,
    as_labels,
    as_result,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    ForbiddenError,
    GuardError,
    InputError,
    NotFoundError,
    NotRoutedError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    deployment,
    endpoint_slice,
    pod,
    service,
)
from tests.unit.plugins.fake_cluster import FakeCluster

NAMESPACE = "shop"
ENTRY = service(NAMESPACE, "entry")
BLUE = {"app": "shop", "version": "5.0"}
GREEN = {"app": "shop", "version": "5.1"}


class Follower(FakeClock):
    """A clock that lets the endpoints follow the Service's selector once ``delay`` seconds went by."""

    def __init__(self, cluster: FakeCluster, delay: float) -> None:
        super().__init__()
        self._cluster = cluster
        self._delay = delay

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.monotonic() >= self._delay:
            follow(self._cluster)


def add_pods(cluster: FakeCluster, labels: dict[str, str], ready: int, unready: int = 0) -> None:
    for number in range(ready + unready):
        conditions = [{"type": "Ready", "status": str(number < ready)}]
        body = {"metadata": {"labels": labels}, "status": {"conditions": conditions}}
        cluster.put(pod(NAMESPACE, f"{labels['version']}-{number}"), body)


def follow(cluster: FakeCluster) -> None:
    """What the endpoints controller does."""
    selector = cluster.stored(ENTRY)["spec"]["selector"]
    endpoints = [
        {
            "targetRef": {"kind": "Pod", "name": found["metadata"]["name"]},
            "conditions": {"ready": found["status"]["conditions"][0]["status"] == "True"},
        }
        for found in cluster.list(pod(NAMESPACE), selector)
    ]
    labels = {"kubernetes.io/service-name": "entry"}
    cluster.put(endpoint_slice(NAMESPACE, "entry-1"), {"metadata": {"labels": labels}, "endpoints": endpoints})


def make_cluster(green: int = 3, unready: int = 0, *, dry_run: bool = False) -> FakeCluster:
    cluster = FakeCluster(dry_run=dry_run)
    cluster.put(ENTRY, {"spec": {"selector": BLUE, "ports": [{"port": 80, "targetPort": 8080}]}})
    cluster.put(
        deployment(NAMESPACE, "green"),
        {"spec": {"replicas": 4, "selector": {"matchLabels": {**GREEN, "type": "green"}}}},
    )
    add_pods(cluster, BLUE, 2)
    add_pods(cluster, GREEN, green, unready)
    follow(cluster)
    return cluster


def entry(cluster: FakeCluster, delay: float = 0.0) -> EntryService:
    return EntryService(t.cast(t.Any, cluster), NAMESPACE, "entry", Follower(cluster, delay))


def selector(cluster: FakeCluster) -> dict[str, str]:
    return t.cast("dict[str, str]", cluster.stored(ENTRY)["spec"]["selector"])


def test_the_service_moves_and_the_endpoints_are_awaited() -> None:
    cluster = make_cluster(unready=1)
    switch = entry(cluster, delay=0.3).switch({"version": "5.1"})
    assert (switch.before, switch.after, switch.changed) == (BLUE, GREEN, True)
    assert switch.endpoints == ("5.1-0", "5.1-1", "5.1-2")
    assert switch.seconds is not None and 0.3 <= switch.seconds < 0.6
    assert cluster.stored(ENTRY)["spec"]["ports"] == [{"port": 80, "targetPort": 8080}]


def test_the_second_time_nothing_is_written() -> None:
    cluster = make_cluster()
    entry(cluster).switch({"version": "5.1"})
    switch = entry(cluster).switch({"version": "5.1"})
    assert (switch.changed, switch.seconds, cluster.writes) == (False, 0.0, 1)


def test_a_whole_selector_drops_what_it_does_not_name() -> None:
    cluster = make_cluster()
    assert entry(cluster).switch({"version": "5.1"}, whole=True).after == {"version": "5.1"}


def test_check_mode_tells_what_would_be_and_stores_nothing() -> None:
    cluster = make_cluster(dry_run=True)
    result = as_result(entry(cluster).switch({"version": "5.1"}))
    assert (result["changed"], result["after"], result["ready"]) == (True, GREEN, 3)
    assert "seconds" not in result
    assert result["diff"] == {"before": {"selector": BLUE}, "after": {"selector": GREEN}}
    assert selector(cluster) == BLUE


@pytest.mark.parametrize(
    ("green", "requirement", "said"),
    [
        (0, Requirement(), "0 of 1 pods matching app=shop, version=5.1 are ready, and 1 must be"),
        (2, Requirement(min_ready=3), "2 of 3 pods .* and 3 must be"),
        (3, Requirement(deployment="green"), "0 of 0 pods of Deployment green"),
    ],
)
def test_only_onto_ready_pods(green: int, requirement: Requirement, said: str) -> None:
    cluster = make_cluster(green, unready=1)
    with pytest.raises(GuardError, match=said):
        entry(cluster).switch({"version": "5.1"}, requirement=requirement)
    assert (selector(cluster), cluster.writes) == (BLUE, 0)


@pytest.mark.parametrize(("ready", "ratio", "refused"), [(4, 1.0, False), (3, 1.0, True), (3, 0.75, False)])
def test_a_deployments_own_pods_are_counted_against_its_replicas(ready: int, ratio: float, refused: bool) -> None:
    cluster = make_cluster(green=0)
    add_pods(cluster, {**GREEN, "type": "green"}, ready, 4 - ready)
    requirement = Requirement(deployment="green", ratio=ratio)
    if refused:
        with pytest.raises(GuardError, match="3 of 4 pods of Deployment green"):
            entry(cluster).switch({"version": "5.1"}, requirement=requirement)
    else:
        assert entry(cluster).switch({"version": "5.1"}, requirement=requirement).changed


def test_a_deployment_of_the_other_side_is_refused() -> None:
    cluster = make_cluster()
    with pytest.raises(GuardError, match=r"pods of Deployment green don't match app=shop, version=5\.2"):
        entry(cluster).switch({"version": "5.2"}, requirement=Requirement(deployment="green"))


def test_a_rollback_goes_ahead_and_warns() -> None:
    cluster = make_cluster(green=0, unready=1)
    switch = entry(cluster).switch({"version": "5.1"}, rollback=True, wait_timeout=0)
    assert selector(cluster) == GREEN
    assert "0 of 1 pods" in switch.warnings[0]


def test_a_rollback_goes_ahead_without_the_right_to_look() -> None:
    cluster = make_cluster()
    cluster.forbidden = {"pods"}
    with pytest.raises(ForbiddenError):
        entry(cluster).switch({"version": "5.1"})
    assert selector(cluster) == BLUE
    switch = entry(cluster).switch({"version": "5.1"}, rollback=True)
    assert selector(cluster) == GREEN
    assert ["couldn't be looked at" in warning for warning in switch.warnings] == [True, True]


def test_endpoints_that_do_not_follow_are_named() -> None:
    cluster = make_cluster()
    with pytest.raises(NotRoutedError, match=r"after 5 s .*still there: 5\.0-0, 5\.0-1; missing: 5\.1-0") as caught:
        entry(cluster, delay=1000).switch({"version": "5.1"}, wait_timeout=5)
    assert caught.value.details["endpoints"] == ["5.0-0", "5.0-1"]


def test_someone_elses_change_of_something_else_is_kept() -> None:
    cluster = make_cluster()

    def annotate() -> None:
        body = cluster.stored(ENTRY)
        body["metadata"]["annotations"] = {"note": "mine"}
        cluster.put(ENTRY, body)

    cluster.before_write = annotate
    assert entry(cluster).switch({"version": "5.1"}).after == GREEN
    assert cluster.stored(ENTRY)["metadata"]["annotations"] == {"note": "mine"}


@pytest.mark.parametrize("rollback", [False, True])
def test_someone_elses_selector_is_overruled_only_by_a_rollback(rollback: bool) -> None:
    cluster = make_cluster()
    cluster.before_write = lambda: t.cast(None, cluster.put(ENTRY, {"spec": {"selector": {"version": "4.9"}}}))
    if rollback:
        assert entry(cluster).switch({"version": "5.1"}, rollback=True).after == GREEN
    else:
        with pytest.raises(ConflictError, match=r"someone else set the selector to version=4\.9"):
            entry(cluster).switch({"version": "5.1"})
        assert selector(cluster) == {"version": "4.9"}


def test_bad_options_are_named() -> None:
    cluster = make_cluster()
    with pytest.raises(NotFoundError, match="name: there is no Service gone in namespace shop"):
        EntryService(t.cast(t.Any, cluster), NAMESPACE, "gone", FakeClock()).switch(GREEN)
    with pytest.raises(InputError, match="selector: must name at least one label"):
        entry(cluster).switch({}, whole=True)
    with pytest.raises(InputError, match=r"selector: the value of version must be text in quotes, not the float 5\.1"):
        as_labels({"version": 5.1})
    with pytest.raises(InputError, match="deployment: there is no Deployment nope"):
        entry(cluster).switch({"version": "5.1"}, requirement=Requirement(deployment="nope"))
    with pytest.raises(InputError, match="min_ready_ratio: must be from 0 to 1"):
        Requirement(ratio=1.5)
    with pytest.raises(InputError, match="min_ready: must be"):
        Requirement(min_ready=-1)
