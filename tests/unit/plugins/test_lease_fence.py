"""A controller that lost its lock changes nothing: not later, and not by what was under way when it was taken."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import lease_fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.entry_service import EntryService
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ForbiddenError,
    LockError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import (
    LeaseFence,
    forget_renewed,
    last_renewed,
    note_renewed,
    take,
    touch,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import (
    Ref,
    config_map,
    deployment,
    http_route,
    ingress,
    lease,
    openshift_route,
    service,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    Change,
    Limits,
    TrafficProvider,
    make_ready,
    open_provider,
    set_weight,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.options import read_options
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.service import ServiceProvider
from tests.unit.plugins import test_traffic_gateway as gateway
from tests.unit.plugins import test_traffic_ingress as nginx
from tests.unit.plugins import test_traffic_openshift as openshift
from tests.unit.plugins import test_traffic_service as split
from tests.unit.plugins import test_traffic_weight as istio
from tests.unit.plugins.fake_cluster import FakeCluster
from tests.unit.plugins.locks import Sleepless, held_in, store_in, taken_over
from tests.unit.plugins.test_service_switch import ENTRY, GREEN, Follower
from tests.unit.plugins.test_service_switch import make_cluster as make_entry
from tests.unit.plugins.two_services import SIDES

LEASE = lease("shop", "shop-release-lock")
Made = tuple[FakeCluster, TrafficProvider, tuple[Ref, ...]]


def opened(kind: str, cluster: FakeCluster, **options: t.Any) -> TrafficProvider:
    return open_provider(kind, t.cast(t.Any, cluster), {"namespace": "shop", "name": "shop", **options})


def of_service() -> Made:
    cluster = split.Deploying()
    body = {"spec": {"selector": {"app": "shop", "version": "5.0"}}}
    cluster.put(split.OBJECT, body)
    cluster.deploy("blue", 10)
    cluster.deploy("canary", 0)
    provider = ServiceProvider(t.cast(t.Any, cluster), read_options(split.OPTIONS), cluster.clock)
    return cluster, provider, (service("shop", "shop"), deployment("shop", "canary"))


def of(kind: str) -> Made:
    """A provider on a cluster in memory, and the objects that hold its weight."""
    if kind == "istio":
        cluster = istio.make_cluster()
        return cluster, opened(kind, cluster, **istio.OPTIONS), (virtual_service("shop", "shop"),)
    if kind == "gateway_api":
        cluster = gateway.make_cluster()
        return cluster, opened(kind, cluster, **SIDES), (http_route("shop", "shop"),)
    if kind == "openshift_route":
        cluster = openshift.make_cluster()
        return cluster, opened(kind, cluster, **SIDES), (openshift_route("shop", "shop"),)
    if kind == "nginx_ingress":
        cluster = nginx.make_cluster()
        return cluster, opened(kind, cluster, **SIDES), (ingress("shop", "shop-canary"),)
    return of_service()


KINDS = ["istio", "gateway_api", "openshift_route", "nginx_ingress", "service"]


def weigh(provider: TrafficProvider, weight: int, *, guard: bool = True) -> Change:
    return set_weight(provider, weight, guard=guard, limits=Limits(min_ready_ratio=0))


def what_is(cluster: FakeCluster, refs: t.Iterable[Ref]) -> list[t.Any]:
    """The objects without their versions."""
    found = [copy.deepcopy(cluster.find(ref)) for ref in refs]
    for one in found:
        if one:
            del one["metadata"]["resourceVersion"]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_provider_names_the_objects_that_hold_its_weight(kind: str) -> None:
    _cluster, provider, refs = of(kind)
    provider.prepare()
    assert provider.objects() == refs


@pytest.mark.parametrize("kind", KINDS)
def test_who_holds_the_lock_moves_the_weight_up_and_down(kind: str) -> None:
    cluster, provider, _refs = of(kind)
    provider.fence = held_in(cluster, "ann")
    for weight in (50, 100, 0):
        assert weigh(provider, weight).after.weight == weight
    assert not weigh(provider, 0).changed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize(("before", "weight"), [(0, 50), (50, 20), (50, 0)])
def test_who_lost_the_lock_moves_nothing(kind: str, guard: bool, before: int, weight: int) -> None:
    cluster, provider, refs = of(kind)
    provider.fence = held_in(cluster, "ann")
    weigh(provider, before)
    taken_over(cluster, *refs)
    stood = what_is(cluster, refs)
    with pytest.raises(LockError, match=r"this run \(ann\) has lost the lock of shop: it is held by bob"):
        weigh(provider, weight, guard=guard)
    assert what_is(cluster, refs) == stood


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize(("before", "weight"), [(0, 50), (50, 20), (50, 0)])
def test_a_write_that_was_under_way_when_the_lock_was_taken_is_refused(
    kind: str, guard: bool, before: int, weight: int
) -> None:
    cluster, provider, refs = of(kind)
    provider.fence = held_in(cluster, "ann")
    weigh(provider, before)
    cluster.before_write = lambda: t.cast(None, taken_over(cluster, *refs))
    with pytest.raises(LockError):
        weigh(provider, weight, guard=guard)
    # What had no version to go by was made without weight.
    assert provider.read().weight == before


def test_a_deployment_whose_status_moves_is_scaled_all_the_same() -> None:
    cluster, provider, (_service, scaled) = of_service()
    provider.fence = held_in(cluster, "ann")
    cluster.before_write = lambda: t.cast(None, cluster.put(scaled, cluster.stored(scaled)))
    assert weigh(provider, 50).after.weight == 50


def test_a_controller_that_stood_still_in_the_middle_puts_nothing_back_behind_the_new_one() -> None:
    cluster, provider, refs = of_service()
    provider.fence = held_in(cluster, "ann")
    assert isinstance(cluster, split.Deploying)
    frozen, step = False, cluster.step

    def wake_up() -> bool:
        nonlocal frozen
        if not frozen:
            frozen = True
            taken_over(cluster, *refs)
        return step()

    cluster.clock = split.SteppingClock(wake_up)
    slow = ServiceProvider(t.cast(t.Any, cluster), read_options(split.OPTIONS), cluster.clock)
    slow.fence = provider.fence
    with pytest.raises(LockError, match="could not be put back"):
        set_weight(slow, 50)
    assert cluster.replicas("canary") == 10, "the new holder decides what becomes of them"
    assert provider.read().weight == 0


# ---- the way back


def ready(kind: str, tmp_path: Path, weight: int = 50) -> tuple[Made, LeaseFence, Sleepless]:
    """A provider with weight whose lock this machine knows to be held."""
    made = of(kind)
    clock = Sleepless()
    fence = held_in(made[0], "ann", tmp_path / "lease.json", clock)
    note_renewed(fence.hold, clock())
    made[1].fence = fence
    weigh(made[1], weight)
    made[1].prepared = None
    make_ready(made[1])
    return made, fence, clock


@pytest.mark.parametrize("kind", KINDS)
def test_while_the_lock_is_known_to_be_held_the_way_back_is_one_request(kind: str, tmp_path: Path) -> None:
    (_cluster, provider, _refs), _fence, clock = ready(kind, tmp_path)
    clock.seconds += 59
    assert set_weight(provider, 0, guard=False).calls == 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_refused_even_so_once_another_has_the_lock(kind: str, tmp_path: Path) -> None:
    (cluster, provider, refs), fence, _clock = ready(kind, tmp_path)
    taken_over(cluster, *refs)
    stood = what_is(cluster, refs)
    assert fence.known(), "this machine did not hear of it"
    with pytest.raises(LockError):
        set_weight(provider, 0, guard=False)
    assert what_is(cluster, refs) == stood


def test_who_stood_still_for_longer_asks_first(tmp_path: Path) -> None:
    (_cluster, provider, _refs), fence, clock = ready("istio", tmp_path)
    clock.seconds += 60
    assert not fence.known()
    assert set_weight(provider, 0, guard=False).calls == 2


def test_it_goes_on_where_nobody_else_had_the_lock_since(tmp_path: Path) -> None:
    (cluster, provider, _refs), fence, clock = ready("istio", tmp_path)
    clock.seconds += 1000
    fence.store.release(fence.hold)
    assert set_weight(provider, 0, guard=False).changed
    with pytest.raises(LockError, match="it was given back"):
        set_weight(provider, 5)
    cluster.delete(LEASE)
    with pytest.raises(LockError, match="its Lease was removed"):
        set_weight(provider, 5)
    assert not set_weight(provider, 0).changed


def test_who_had_it_in_between_counts_even_if_it_is_free_again(tmp_path: Path) -> None:
    (cluster, provider, refs), _fence, clock = ready("istio", tmp_path)
    other = taken_over(cluster, *refs)
    other.store.release(other.hold)
    clock.seconds += 1000
    with pytest.raises(LockError):
        set_weight(provider, 0, guard=False)


def test_someone_who_edits_the_object_all_the_time_does_not_hold_users_on_the_candidate(tmp_path: Path) -> None:
    (cluster, provider, refs), _fence, _clock = ready("istio", tmp_path)

    def edit() -> None:
        cluster.put(refs[0], cluster.stored(refs[0]))
        cluster.before_write = edit

    cluster.before_write = edit
    assert set_weight(provider, 0, guard=False).after.weight == 0


def test_an_api_that_can_not_be_asked_is_no_reason_to_leave_users_there(tmp_path: Path) -> None:
    (cluster, provider, refs), fence, clock = ready("istio", tmp_path)
    clock.seconds += 1000

    class Away:
        def find(self, ref: Ref) -> t.NoReturn:
            raise UnreachableError("away")

    cut_off = LeaseFence(store_in(Away()), fence.hold, clock=clock)
    cut_off.vouched, provider.fence = fence.vouched, cut_off
    assert set_weight(provider, 0, guard=False).changed
    with pytest.raises(UnreachableError):
        set_weight(provider, 5)
    assert what_is(cluster, refs)[0]["spec"]["http"][1]["route"][1]["weight"] == 0


# ---- the others that change something


@pytest.mark.parametrize("rollback", [False, True])
def test_the_entry_service_stays_where_another_controller_wants_it(rollback: bool) -> None:
    cluster = make_entry()
    follower = Follower(cluster, 0.0)
    entry = EntryService(t.cast(t.Any, cluster), "shop", "entry", follower, held_in(cluster, "ann"))
    before = cluster.stored(ENTRY)["spec"]["selector"]
    cluster.before_write = lambda: t.cast(None, taken_over(cluster, ENTRY))
    with pytest.raises(LockError):
        entry.switch(GREEN, rollback=rollback)
    with pytest.raises(LockError):
        entry.switch(GREEN, rollback=rollback)
    assert cluster.stored(ENTRY)["spec"]["selector"] == before


def test_the_entry_service_follows_who_holds_the_lock() -> None:
    cluster = make_entry()
    entry = EntryService(t.cast(t.Any, cluster), "shop", "entry", Follower(cluster, 0.0), held_in(cluster, "ann"))
    assert entry.switch({"version": "5.1"}).changed
    assert entry.switch({"version": "5.0"}, rollback=True).changed


def test_the_journal_takes_no_stage_of_a_controller_that_lost_the_lock() -> None:
    cluster = FakeCluster()
    plan = {"release_stages": [{"name": "canary"}]}
    fence = held_in(cluster, "ann")
    store = JournalStore(t.cast(t.Any, cluster), "shop", "shop", Author("ann", "ops1"), FakeClock(), fence)
    store.open("r1", {"stable": "1", "candidate": "2"}, plan, {})
    cluster.before_write = lambda: t.cast(None, taken_over(cluster, *store.objects))
    for _under_way_and_later in range(2):
        with pytest.raises(LockError):
            store.begin("canary")
    found = store.read()
    assert found is not None
    assert found.stages == {}


def events_of(store: JournalStore) -> list[str]:
    found = store.read()
    assert found is not None
    return [event["data"].get("n", event["what"]) for event in found.events]


@pytest.mark.parametrize("grown", [0, 3], ids=["theirs is new", "both roll over"])
@pytest.mark.parametrize("size", [40_000, 60_000], ids=["a part", "data apart"])
@pytest.mark.parametrize("write", [1, 2, 3])
def test_what_a_former_holder_still_makes_beside_the_journal_does_no_harm(write: int, size: int, grown: int) -> None:
    """Parts have no version to go by: they hold what was in the journal anyway, and are made once, by whomever."""
    cluster = FakeCluster()
    fence = held_in(cluster, "ann")
    ann = JournalStore(t.cast(t.Any, cluster), "shop", "shop", Author("ann", "ops1"), FakeClock(), fence)
    ann.open("r1", {"stable": "1", "candidate": "2"}, {}, {})
    said = ["opened"]
    for number in range(3):
        said.append(f"ann {number}")
        ann.record("note", data={"n": said[-1], "text": "a" * 40_000})
    bob = JournalStore(t.cast(t.Any, cluster), "shop", "shop", Author("bob", "ops2"), FakeClock())

    def take_over() -> None:
        bob.fence = taken_over(cluster, *ann.objects)
        for number in range(grown):
            said.append(f"bob {number}")
            bob.record("note", data={"n": said[-1], "text": "b" * 40_000})

    def wait(left: int) -> None:
        cluster.before_write = take_over if left == 1 else lambda: wait(left - 1)

    wait(write)
    # Either its data lies apart or the events before it become a part, and then it is written itself.
    late: dict[str, t.Any] = {"n": "late", "text": "c" * size}
    if write <= 2:
        with pytest.raises(LockError):
            ann.record("note", data=late)
    else:
        ann.record("note", data=late)
        said.append("late")
        assert cluster.before_write is not None, "it needs no third write"
        cluster.before_write = None
        take_over()
    for number in range(4):
        said.append(f"more {number}")
        bob.record("note", data={"n": said[-1], "text": "d" * 40_000})
    assert events_of(bob) == said


def test_who_cleans_up_after_a_run_needs_only_that_nobody_came_since() -> None:
    cluster = FakeCluster()
    held = held_in(cluster, "ann")
    fence = LeaseFence(held.store, held.hold, lenient=True)
    held.store.release(held.hold)
    fence.check()
    with pytest.raises(LockError):
        held.check()
    taken_over(cluster)
    with pytest.raises(LockError):
        fence.check()


# ---- touching


def test_a_touch_moves_the_version_and_nothing_else() -> None:
    cluster = istio.make_cluster()
    plain, marked = virtual_service("shop", "shop"), service("shop", "shop")
    cluster.put(marked, {"metadata": {"annotations": {"note": "theirs"}}, "spec": {}})
    before = [cluster.stored(ref) for ref in (plain, marked)]
    assert touch(t.cast(t.Any, cluster), [plain, config_map("shop", "gone"), marked], "m1") == [plain, marked]
    after = [cluster.stored(ref) for ref in (plain, marked)]
    for one, then in zip(before, after, strict=True):
        assert one["metadata"].pop("resourceVersion") != then["metadata"].pop("resourceVersion")
        assert one == then


def test_a_lock_whose_objects_can_not_be_touched_is_given_back() -> None:
    cluster = istio.make_cluster()
    cluster.forbidden.add("virtualservices")
    store = store_in(cluster)
    with pytest.raises(ForbiddenError):
        take(store, Claim("ann", 60), lambda: [virtual_service("shop", "shop")])
    lock = store.read()
    assert lock is not None
    assert (lock.holder, lock.transitions) == ("", 0)


def test_a_lock_that_is_ones_own_already_touches_nothing() -> None:
    cluster = istio.make_cluster()
    held_in(cluster, "ann")
    before = cluster.stored(virtual_service("shop", "shop"))
    acquired, touched = take(store_in(cluster), Claim("ann", 60), lambda: [virtual_service("shop", "shop")])
    assert (acquired.fresh, touched) == (False, [])
    assert cluster.stored(virtual_service("shop", "shop")) == before


# ---- what the machine knows


def test_what_was_noted_of_a_renewal_is_known_until_it_is_too_long_ago(tmp_path: Path) -> None:
    clock = Sleepless()
    fence = held_in(FakeCluster(), "ann", tmp_path / "lease.json", clock)
    assert not fence.known()
    note_renewed(fence.hold, clock())
    assert (tmp_path / "lease.json").stat().st_mode & 0o777 == 0o600
    assert fence.known()
    for seconds, known in ((1059.9, True), (1060.0, False), (999.0, False)):
        clock.seconds = seconds
        assert fence.known() is known
    clock.seconds = 1001
    forget_renewed(fence.hold)
    assert not fence.known()


@pytest.mark.parametrize("changed", [{"boot": "another"}, {"holder": "bob"}, {"transitions": 9}, {"renewed": None}])
def test_what_another_run_or_an_earlier_boot_noted_counts_for_nothing(tmp_path: Path, changed: t.Any) -> None:
    path = tmp_path / "lease.json"
    fence = held_in(FakeCluster(), "ann", path)
    note_renewed(fence.hold, 1000.0)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    assert last_renewed(fence.hold) is None
    assert not fence.known()


def test_a_note_that_can_not_be_read_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    fence = held_in(FakeCluster(), "ann", path)
    for text in ("", "[]", "{", "null"):
        path.write_text(text)
        assert not fence.known()


def test_a_machine_without_an_id_of_its_boot_knows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fence = held_in(FakeCluster(), "ann", tmp_path / "lease.json")
    monkeypatch.setattr(lease_fence, "boot", str)
    note_renewed(fence.hold, 1000.0)
    assert not fence.known()
