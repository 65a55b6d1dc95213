"""What every provider of traffic weight keeps to, in one suite for all of them, against real data planes."""

from __future__ import annotations

import asyncio
import copy
import json
import time
import typing as t

import pytest
import urllib3

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Ref, deployment
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    GuardError,
    InputError,
    NotFoundError,
    NotRoutedError,
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import Limits, TrafficProvider, set_weight
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.probing import PROBE_SPEC, probe
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.report import as_info, as_result
from rehearsal.cli import load as steady_load
from rehearsal.client import KubeClient
from rehearsal.world import NAMESPACE, World
from tests.integration.edge_providers import CANDIDATE, beside_candidate
from tests.integration.provider_cases import (
    KUBERNETES,
    NAMES,
    SESSION_COOKIE,
    Case,
    Weather,
    cases,
    cluster_of,
    without,
)
from tests.integration.world_fixture import world  # noqa: F401

USERS = 20
CHANGES = 24
WEIGHTS = (5, 20, 50, 100)


@pytest.fixture(scope="module")
def place(world: World) -> t.Iterator[World]:  # noqa: F811
    """The session's world with a pod of 5.1 beside those of 5.0."""
    with beside_candidate(world):
        yield world


@pytest.fixture
def case(request: pytest.FixtureRequest, place: World) -> t.Iterator[Case]:
    """A provider with no weight on the candidate, neither before nor after."""
    found = cases(place)[request.param]
    set_weight(found.open(place), 0, guard=False)
    yield found
    set_weight(found.open(place), 0, guard=False)


every = pytest.mark.parametrize("case", NAMES, indirect=True)
of_kubernetes = pytest.mark.parametrize("case", KUBERNETES, indirect=True)


def seen(place: World, case: Case, share: float, *, requests: int = 200, within: float = 10.0) -> dict[str, t.Any]:
    """What each of the provider's entries makes of ``share`` percent; fails where it isn't that."""
    found = {}
    for url in case.urls(place):
        asked = {
            "url": url,
            "host": case.host(place),
            "path": "/health",
            "version_header": "x-claude-version",
            "stable_version": "5.0",
            "candidate_version": "5.1",
            "requests": requests,
            "rate": 1000.0,
            "expect_weight": share,
            "within": within,
        }
        found = probe(PROBE_SPEC.validate(asked), SystemClock())
    return found


def stored(place: World, ref: Ref | None) -> t.Any:
    """What its owners wrote of an object; None where there is none."""
    found = cluster_of(place).find(ref) if ref else None
    return found and {"spec": found["spec"], "annotations": found["metadata"].get("annotations")}


def routes(case: Case, place: World) -> list[tuple[str, int]]:
    return [(route.route, route.weight) for route in case.open(place).read().routes]


@every
def test_weights_are_what_the_edge_does(place: World, case: Case) -> None:
    provider = case.open(place)
    for weight in (*WEIGHTS, 20, 0):
        change = set_weight(provider, weight)
        if case.exact:
            assert change.changed, weight
            assert change.after.share == pytest.approx(weight, abs=1), weight
            assert len({route.weight for route in change.after.routes}) == 1
        answered = seen(place, case, change.after.share)
        if weight in (0, 100):
            assert answered["stable" if weight else "candidate"] == 0
            assert answered["asked"] == 200


@every
def test_the_same_weight_again_changes_nothing(place: World, case: Case) -> None:
    set_weight(case.open(place), 20)
    before = stored(place, case.written)
    change = set_weight(case.open(place), 20)
    assert not change.changed
    assert stored(place, case.written) == before
    assert as_result(change)["diff"]["before"] == as_result(change)["diff"]["after"]


@every
def test_check_mode_tells_what_would_be_and_leaves_it(place: World, case: Case) -> None:
    before = stored(place, case.written), routes(case, place)
    change = set_weight(case.open(place, dry_run=True), 50)
    assert change.changed
    assert change.before.weight == 0
    assert change.after.share == pytest.approx(50, abs=1) or not case.exact
    result = as_result(change)
    assert result["diff"]["before"] != result["diff"]["after"]
    assert (stored(place, case.written), routes(case, place)) == before


@every
def test_taking_back_is_one_request_that_looks_at_nothing(place: World, case: Case) -> None:
    provider = case.open(place)
    set_weight(provider, 50)
    sent = provider.calls
    change = set_weight(provider, 0, guard=False)
    assert change.changed
    assert change.after.weight == 0
    assert provider.calls - sent <= (2 if case.name.startswith("haproxy") else 1)
    assert seen(place, case, 0)["candidate"] == 0


@every
def test_all_there_is_to_know_can_be_read(place: World, case: Case) -> None:
    set_weight(case.open(place), 20)
    told = as_info(case.open(place))
    assert told["share"] > 0
    assert told["backends"]["candidate"]["ready"] == 1
    assert told["backends"]["stable"]["ready"] == 2
    assert not told["backends"]["stable"]["problem"]
    assert told["holders"] == []
    assert told["obstacles"] == []
    assert told["stickiness"]["kept"] is case.sticky
    assert told["stickiness"]["how"]
    json.dumps(told)


@every
def test_users_with_a_session_never_leave_the_candidate_as_its_weight_grows(place: World, case: Case) -> None:
    if case.sticky is False:
        pytest.skip("this provider has nothing to keep users on a side by, and says so")
    pool = urllib3.PoolManager(maxsize=4)
    provider = case.open(place)
    users: dict[str, str] = {}
    on_candidate: set[str] = set()
    for weight in WEIGHTS:
        set_weight(provider, weight)
        seen(place, case, weight)
        newcomers = [f"user-{weight}-{number}" for number in range(USERS)]
        users |= {user: f"{SESSION_COOKIE}={user}" for user in newcomers}
        now = {user for user in users if version_of(pool, place, case, users, user) == "5.1"}
        assert on_candidate <= now, (weight, on_candidate - now)
        on_candidate = now
    assert set(newcomers) <= on_candidate
    set_weight(provider, 0)
    seen(place, case, 0)
    assert {version_of(pool, place, case, users, user) for user in users} == {"5.0"}


def version_of(pool: urllib3.PoolManager, place: World, case: Case, users: dict[str, str], user: str) -> str:
    """Who answers the user, whose cookie is kept as a browser does."""
    headers = {"Host": case.host(place), "Cookie": users[user]}
    answer = pool.request("GET", f"{case.urls(place)[0]}/health", headers=headers)
    given = answer.headers.get("set-cookie", "").partition(";")[0]
    if given:
        users[user] = given
    return str(answer.headers["x-claude-version"])


@every
def test_no_request_fails_while_weights_go_up_and_down(place: World, case: Case) -> None:
    if case.servers:
        pytest.skip("the load goes to the map's frontends; test_haproxy_edge has the servers' one under load")
    if not case.exact:
        pytest.skip("by whole pods this provider promises no such thing")
    provider = case.open(place)
    steady_load.start(place, 100, 60.0, provider=case.options["provider"])
    try:
        for number in range(CHANGES):
            set_weight(provider, (0, 50, 5, 100, 20)[number % 5], guard=False)
            time.sleep(0.08)
    finally:
        steady_load.stop(place)
    counted = steady_load.report(place)
    assert counted.sent > 100
    assert counted.failed == 0
    assert {"5.0", "5.1"} <= set(counted.versions)


@of_kubernetes
def test_an_object_that_is_gone_is_named_with_the_way_out(place: World, case: Case) -> None:
    assert case.ref is not None
    with without(cluster_of(place), case.ref):
        with pytest.raises(NotFoundError, match=rf"name: there is no {case.ref.kind} {case.ref.name} in namespace"):
            set_weight(case.open(place), 5)
        with pytest.raises(RolloutError, match=case.ref.name):
            set_weight(case.open(place), 0)
    _until(lambda: not case.open(place).obstacles(case.open(place).read()))
    assert set_weight(case.open(place), 5).changed


@every
def test_a_side_without_ready_endpoints_gets_nothing_and_gives_everything(place: World, case: Case) -> None:
    set_weight(case.open(place), 5)
    before = routes(case, place)
    try:
        with scaled(place, CANDIDATE, 0):
            until_gone(place, case)
            with pytest.raises((GuardError, InputError), match=r"ready|server|endpoint|UP"):
                set_weight(case.open(place), 50)
            # Only servers that are up have a share, so theirs is gone with them.
            assert routes(case, place) == before or case.servers or not case.exact
            assert set_weight(case.open(place), 0).after.weight == 0
    finally:
        until_ready(place, case)


@every
def test_a_stable_side_that_could_not_take_it_back_is_named(place: World, case: Case) -> None:
    with pytest.raises(GuardError, match=r"could not take the traffic back, which needs 10"):
        set_weight(case.open(place), 5, limits=Limits(stable_replicas=20))
    assert routes(case, place) == [(route, 0) for route, _weight in routes(case, place)]


class Interloper:
    """Someone else who writes another weight each time the provider is about to write its own."""

    def __init__(self, provider: TrafficProvider, other: TrafficProvider, times: int = 1_000) -> None:
        self._apply, self._other, self._left = provider.apply, other, times
        self._weights = iter([70, 30] * 500)
        provider.apply = self  # type: ignore[method-assign]

    def __call__(self, plan: t.Any) -> t.Any:
        if self._left:
            self._left -= 1
            set_weight(self._other, next(self._weights), guard=False)
        return self._apply(plan)


@every
def test_someone_else_who_moves_the_weight_is_told_of_and_not_overwritten(place: World, case: Case) -> None:
    if not case.exact:
        pytest.skip("two weights of this provider can be the same pods; its own tests have a foreign selector")
    provider = case.open(place)
    Interloper(provider, case.open(place))
    with pytest.raises(ConflictError, match=r"someone else"):
        set_weight(provider, 5)
    assert {weight for _route, weight in routes(case, place)} == {70}


@every
def test_a_rollback_overrules_someone_else(place: World, case: Case) -> None:
    provider = case.open(place)
    set_weight(provider, 50)
    Interloper(provider, case.open(place), times=1)
    assert set_weight(provider, 0).after.weight == 0
    assert {weight for _route, weight in routes(case, place)} == {0}


@of_kubernetes
@pytest.mark.parametrize(
    ("status", "error"),
    [(403, ForbiddenError), (429, ClusterError), (500, ClusterError), (503, ClusterError), (0, UnreachableError)],
    ids=["forbidden", "busy", "internal error", "unavailable", "no answer"],
)
def test_in_bad_weather_weights_are_as_before_and_said(
    place: World, case: Case, status: int, error: type[ClusterError]
) -> None:
    set_weight(case.open(place), 20)
    before = routes(case, place)
    with pytest.raises(error) as caught:
        set_weight(case.open(place, weather=Weather(status)), 100, limits=Limits(min_ready_ratio=0))
    assert len(caught.value.message) > 20
    assert routes(case, place) == before
    with pytest.raises(error):
        set_weight(case.open(place, weather=Weather(status)), 0)
    assert set_weight(case.open(place), 0).after.weight == 0


@of_kubernetes
@pytest.mark.parametrize("status", [429, 503])
def test_short_bad_weather_is_waited_out(place: World, case: Case, status: int) -> None:
    set_weight(case.open(place), 50)
    assert set_weight(case.open(place, weather=Weather(status, writes=2)), 0, guard=False).after.weight == 0


@of_kubernetes
def test_a_lost_answer_is_not_a_lost_change(place: World, case: Case) -> None:
    set_weight(case.open(place), 50)
    assert set_weight(case.open(place, weather=Weather(0, writes=1, reaches=True)), 0).after.weight == 0


@pytest.mark.parametrize(
    "case", [name for name in KUBERNETES if name not in ("nginx_ingress", "service")], indirect=True
)
def test_a_gitops_owner_of_the_weight_is_named_until_it_is_taken_over(place: World, case: Case) -> None:
    assert case.written is not None
    cluster = cluster_of(place)
    found = cluster.get(case.written)
    applied = {key: copy.deepcopy(found[key]) for key in ("apiVersion", "kind", "spec")}
    applied["metadata"] = {"name": case.written.name, "namespace": NAMESPACE}

    async def apply() -> None:
        async with KubeClient.from_kubeconfig(place.kubeconfig) as client:
            await client.apply(case.written.path, applied, manager="argocd-controller")  # type: ignore[union-attr]

    asyncio.run(apply())
    try:
        with pytest.raises(GuardError, match=r"argocd-controller holds .* or set takeover=true"):
            set_weight(case.open(place), 5)
        assert set_weight(case.open(place), 5, limits=Limits(takeover=True)).after.weight == 5
        assert set_weight(case.open(place), 0).after.weight == 0
    finally:
        entries = cluster.get(case.written)["metadata"]["managedFields"]
        kept = [entry for entry in entries if entry["manager"] != "argocd-controller"]
        cluster.patch(case.written, [{"op": "replace", "path": "/metadata/managedFields", "value": kept}], kind="json")


@every
def test_what_is_not_routed_is_an_error_with_what_was_seen(place: World, case: Case) -> None:
    with pytest.raises(NotRoutedError, match=r"50 % was not seen within 0.5 s: 0 of 200 answers") as caught:
        seen(place, case, 50, within=0.5)
    assert caught.value.details["stable"] == 200


class scaled:
    """A Deployment has another size until the block ends."""

    def __init__(self, place: World, name: str, replicas: int) -> None:
        self._cluster, self._ref, self._replicas = cluster_of(place), deployment(NAMESPACE, name), replicas

    def __enter__(self) -> None:
        self._before = self._cluster.get(self._ref)["spec"]["replicas"]
        self._cluster.patch(self._ref, {"spec": {"replicas": self._replicas}})

    def __exit__(self, *exception: object) -> None:
        self._cluster.patch(self._ref, {"spec": {"replicas": self._before}})


def until_gone(place: World, case: Case) -> None:
    _until(lambda: case.open(place).backends()["candidate"].ready == 0)


def until_ready(place: World, case: Case) -> None:
    _until(lambda: case.open(place).backends()["candidate"].ready == 1)


def _until(done: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)
