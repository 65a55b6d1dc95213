"""Snapshots of a shop under release, taken from and restored into the rehearsal cluster's API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as journals
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import ClusterError, LockError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import config_map, pod, service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import cleaned
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_restore import (
    Options,
    Outcome,
    Restorer,
    kept_texts,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_store import InCluster, SnapshotStore
from tests.unit.plugins.memory_api import MemoryApi
from tests.unit.plugins.snapshot_world import (
    AGENTS,
    BLUE,
    CANARY,
    CONFIG,
    ENTRY,
    GREEN,
    NOW,
    PASSWORD,
    ROUTE,
    RULE,
    SCALER,
    SECRET,
    SHOP,
    a_deployment,
    a_shop,
    body,
    release,
    routes,
    states,
    store_of,
    take,
)

Object = dict[str, Any]
DAY = 86400.0


class Lost:
    """A lock that somebody else takes after ``left`` looks at it."""

    vouched: Any = None

    def __init__(self, left: int = 0) -> None:
        self.left = left

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise LockError("lost")

    def check_way_back(self, *, ask: bool = False) -> None:
        self.check()


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_restoration_ends_where_the_lock_is_lost_and_says_what_it_did(shop: MemoryApi, writes: int) -> None:
    found, _warnings = take(shop)
    release(shop)
    shop.delete(CONFIG)
    done = ["made anew", f"restored {ENTRY}", f"{ENTRY}, {RULE}"]
    restorer = Restorer(shop, found, Options(remove_new=True), Lost(writes))  # type: ignore[arg-type]
    before = shop.writes
    with pytest.raises(LockError) as raised:
        restorer.restore()
    assert shop.writes - before == writes
    told = done[writes - 1] if writes else "nothing had to be restored"
    assert raised.value.message.startswith("lost. Done before: ")
    assert told in raised.value.message


def test_what_somebody_made_anew_after_the_look_is_not_removed(shop: MemoryApi) -> None:
    found, _warnings = take(shop)
    release(shop)
    held = Lost(1000)

    def looked() -> None:
        Lost.check(held)
        if found_now := shop.find(CANARY):
            shop.by("OpenAPI-Generator").patch(CANARY, {"spec": {"replicas": found_now["spec"]["replicas"] + 1}})

    held.check = looked  # type: ignore[method-assign]
    outcome = Restorer(shop, found, Options(remove_new=True), held).restore([CANARY])  # type: ignore[arg-type]
    assert outcome.removed == []
    assert [str(CANARY) in problem for problem in outcome.problems] == [True]
    assert shop.find(CANARY) is not None


def test_nothing_is_kept_or_pruned_by_who_lost_the_lock(shop: MemoryApi) -> None:
    first, _warnings = take(shop)
    store = SnapshotStore(shop, SHOP, SHOP, Lost())  # type: ignore[arg-type]
    before = shop.everything()
    with pytest.raises(LockError):
        store.save(first.snapshot)
    with pytest.raises(LockError):
        store.prune(0, NOW + 9 * DAY, None)
    assert shop.everything() == before


def test_a_snapshot_that_was_just_taken_outlives_the_pruning_after_it(shop: MemoryApi) -> None:
    first, _warnings = take(shop)
    second, _warnings = take(shop)
    store = store_of(shop)
    assert store.prune(0, NOW + 1, None, second.snapshot.name) == [first.snapshot.name]
    assert [one.snapshot.name for one in store.all()] == [second.snapshot.name]


FIELDS = st.sampled_from("abcde")
EDITS = st.lists(
    st.tuples(st.sampled_from(["ours", "kubectl-edit"]), FIELDS, st.sampled_from("uvwx") | st.none()), max_size=8
)


@settings(max_examples=100, deadline=None)
@given(base=st.dictionaries(FIELDS, st.sampled_from("uvwx"), min_size=1), edits=EDITS)
def test_whatever_is_edited_by_whom_the_releases_part_comes_back_and_theirs_stays(
    base: Object, edits: list[Any]
) -> None:
    """Edits as (by whom, field, value or None for none) one after the other; the API server notes who wrote what."""
    api = MemoryApi()
    named = {"api_version": "v1", "kind": "ConfigMap", "name": CONFIG.name}
    api.by("kubectl").create(CONFIG, body(CONFIG, data=base))
    taken, _warnings = take(api, {}, [named])
    live, last = dict(base), dict[str, str]()
    for who, field, value in edits:
        if live.get(field) != value:
            last[field] = who
        live = {**live, field: value} if value else {key: one for key, one in live.items() if key != field}
        (api if who == "ours" else api.by(who)).patch(CONFIG, {"data": {field: value}})
    outcome = restore(api, taken)
    wanted = {key: value for key, value in live.items() if last.get(key) != "ours"}
    wanted |= {key: base[key] for key in live if last.get(key) == "ours" and key in base}
    assert (outcome.problems, api.get(CONFIG).get("data") or {}) == ([], wanted)
    kept = {one["field"] for one in outcome.kept}
    assert kept == {f"data.{key}" for key in {**base, **wanted} if base.get(key) != wanted.get(key)}
    again = restore(api, taken)
    assert (again.changed, again.kept) == (False, outcome.kept)


@pytest.fixture
def shop() -> MemoryApi:
    return a_shop()


@pytest.fixture
def found(shop: MemoryApi) -> InCluster:
    taken, warnings = take(shop)
    assert warnings == []
    return taken


def restore(api: MemoryApi, found: InCluster, *, only: Any = None, **options: Any) -> Outcome:
    return Restorer(api, found, Options(**options)).restore(only)  # type: ignore[arg-type]


def shape(api: MemoryApi) -> dict[str, Object]:
    """What owners wrote of every object, but for the snapshots themselves."""
    return {name: cleaned(item) for name, item in api.everything().items() if "-release-snapshot-" not in name}


# ---- taking


def test_everything_that_the_release_touches_is_kept(found: InCluster) -> None:
    assert states(found.snapshot) == {
        "ConfigMap config": "present",
        "ConfigMap shop-5.1-agents": "absent",
        "Deployment shop-blue": "present",
        "Deployment shop-canary": "absent",
        "Deployment shop-green": "absent",
        "DestinationRule shop": "present",
        "HorizontalPodAutoscaler scaler": "present",
        "Secret database": "secret",
        "Service entry": "present",
        "VirtualService shop": "present",
    }


def test_no_secret_is_in_any_object_of_the_snapshot(shop: MemoryApi, found: InCluster) -> None:
    kept = [item for name, item in shop.everything().items() if "-release-snapshot-" in name]
    text = json.dumps([{**item, "data": None} for item in kept]) + "".join(
        value for item in kept for key, value in item["data"].items() if "configmap.config" not in key
    )
    assert kept
    assert PASSWORD not in text
    assert "czNjcmV0LVBhNTV3b3Jk" not in text, "base64 of it"
    (entry,) = [one for one in found.snapshot.entries if one.ref == SECRET]
    assert entry.keys == ("dsn",)


def test_further_objects_by_name_and_by_label(shop: MemoryApi) -> None:
    pods = [pod(SHOP, name) for name in ("free", "owned")]
    spec = {"containers": [{"name": "c", "image": "i"}]}
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    shop.create(pods[0], body(pods[0], spec=spec))
    shop.create(pods[1], body(pods[1], metadata={"ownerReferences": [owner]}, spec=spec))
    named = [
        {"api_version": "v1", "kind": "Service", "name": "none", "namespace": None},
        {"api_version": "v1", "kind": "Namespace", "name": SHOP, "namespace": None},
    ]
    selected = [{"api_version": "v1", "kind": "Pod", "label_selector": "app=shop", "namespace": None}]
    taken, warnings = take(shop, {}, named, selected)
    assert states(taken.snapshot) == {"Namespace shop": "present", "Pod free": "present", "Service none": "absent"}
    assert warnings == ["Pod shop/owned isn't kept, since ReplicaSet r makes it; keep that one"]


def test_a_kind_that_is_not_served_is_refused(shop: MemoryApi) -> None:
    with pytest.raises(Exception, match="objects, selectors: kind: the cluster https://memory doesn't serve Rollout"):
        take(shop, {}, [{"api_version": "argoproj.io/v1", "kind": "Rollout", "name": "x"}])


def test_without_the_right_to_secrets_the_rest_is_kept_and_it_is_told(shop: MemoryApi) -> None:
    shop.forbidden = {"secrets", "horizontalpodautoscalers"}
    taken, warnings = take(shop)
    assert "HorizontalPodAutoscaler scaler" not in states(taken.snapshot)
    assert "HorizontalPodAutoscalers of shop may not be listed" in warnings[0]
    assert "Secret shop/database may not be read with these credentials" in warnings[1]
    shop.forbidden = set()
    assert "Secret shop/database may not be read with these" in restore(shop, taken).warnings[0]


def test_a_snapshot_that_is_not_whole_is_none(shop: MemoryApi) -> None:
    shop.by("kubectl").patch(CONFIG, {"data": {"noise": "n" * 300_000}})

    def forbid() -> None:
        shop.before_write = away

    def away() -> None:
        raise ClusterError("etcd is full", status=500)

    shop.before_write = forbid
    with pytest.raises(ClusterError, match="etcd is full"):
        take(shop)
    shop.before_write = lambda: None
    assert [name for name in shop.everything() if "-release-snapshot-" in name] == []
    assert store_of(shop).newest() is None


def test_a_second_one_of_the_same_release_has_its_own_name(shop: MemoryApi, found: InCluster) -> None:
    again, _warnings = take(shop)
    assert again.snapshot.name == f"{found.snapshot.name}-2"


def test_a_name_that_someone_takes_meanwhile_is_passed_over(shop: MemoryApi) -> None:
    shop.before_write = lambda: take(shop.by("other"))
    taken, _warnings = take(shop)
    assert taken.snapshot.name.endswith("-2")


# ---- restoring


def test_after_a_release_everything_is_as_it_was(shop: MemoryApi, found: InCluster) -> None:
    before = shape(shop)
    release(shop)
    assert shape(shop) != before
    outcome = restore(shop, found, remove_new=True)
    assert (outcome.problems, outcome.kept, outcome.left) == ([], [], [])
    assert outcome.restored == ["Service shop/entry", "DestinationRule shop/shop", "VirtualService shop/shop"]
    assert outcome.removed == [
        "Deployment shop/shop-green",
        "Deployment shop/shop-canary",
        "ConfigMap shop/shop-5.1-agents",
    ]
    assert shape(shop) == before
    writes = shop.writes
    again = restore(shop, found, remove_new=True)
    assert (again.changed, again.kept, shop.writes) == (False, [], writes)


def test_what_the_release_made_stays_unless_it_is_asked_for(shop: MemoryApi, found: InCluster) -> None:
    release(shop)
    outcome = restore(shop, found)
    assert shop.find(CANARY) is not None
    assert (
        "Deployment shop/shop-canary wasn't there when the snapshot was taken; remove_new=true"
        in outcome.warnings[-1] + outcome.warnings[-2]
    )


def others_edit(shop: MemoryApi) -> None:
    """What people and controllers do while the release is under way."""
    person = shop.by("kubectl-edit")
    person.patch(ROUTE, {"spec": {"http": routes(100, "99s")}})
    person.patch(ENTRY, {"metadata": {"annotations": {"note": "mine"}}})
    person.patch(CONFIG, {"data": {"mode": "slow", "password": None}})
    person.patch(BLUE, {"spec": {"replicas": 7}})
    person.create(
        config_map(SHOP, "shop-5.1-agents-mine"), body(config_map(SHOP, "x"), metadata={"name": "shop-5.1-agents-mine"})
    )


def test_what_others_changed_is_named_and_stays(shop: MemoryApi, found: InCluster) -> None:
    release(shop)
    others_edit(shop)
    outcome = restore(shop, found, remove_new=True)
    assert [(one["object"], one["field"], one["by"]) for one in outcome.kept] == [
        ("ConfigMap shop/config", "data.mode", ["kubectl-edit"]),
        ("ConfigMap shop/config", "data.password", []),
        ("Deployment shop/shop-blue", "spec.replicas", ["kubectl-edit"]),
        ("Service shop/entry", "metadata.annotations.note", ["kubectl-edit"]),
        ("VirtualService shop/shop", "spec.http[default].timeout", ["kubectl-edit"]),
    ]
    assert PASSWORD not in json.dumps(outcome.as_dict()) + json.dumps(outcome.diff)
    assert shop.get(ROUTE)["spec"]["http"] == routes(0, "99s"), "the weights come back all the same"
    assert shop.get(ENTRY)["spec"]["selector"]["version"] == "5.0"
    assert (
        "ConfigMap shop/config: data.mode was changed by kubectl-edit since the snapshot" in kept_texts(outcome.kept)[0]
    )
    state = shape(shop)
    again = restore(shop, found, remove_new=True)
    assert (again.changed, shape(shop)) == (False, state)
    assert [one["field"] for one in again.kept] == [one["field"] for one in outcome.kept]


def test_forced_it_comes_back_too(shop: MemoryApi, found: InCluster) -> None:
    before = shape(shop)
    release(shop)
    others_edit(shop)
    shop.delete(config_map(SHOP, "shop-5.1-agents-mine"))
    outcome = restore(shop, found, force=True, remove_new=True)
    assert (outcome.problems, outcome.kept) == ([], [])
    assert shape(shop) == before


def test_an_object_that_somebody_else_made_under_the_name_stays(shop: MemoryApi, found: InCluster) -> None:
    shop.by("argocd").create(CANARY, a_deployment(CANARY, "5.1", 1))
    outcome = restore(shop, found, remove_new=True)
    assert (outcome.removed, [one["by"] for one in outcome.kept]) == ([], [["argocd"]])
    assert restore(shop, found, remove_new=True, force=True).removed == [str(CANARY)]


def test_what_is_gone_is_made_anew_before_what_refers_to_it(shop: MemoryApi, found: InCluster) -> None:
    before = shape(shop)
    gone = [ROUTE, RULE, ENTRY, SCALER, CONFIG]
    for ref in gone:
        shop.delete(ref)
    outcome = restore(shop, found)
    assert outcome.made == [str(ref) for ref in (CONFIG, SCALER, ENTRY, RULE, ROUTE)]
    assert shape(shop) == before
    assert not restore(shop, found).changed


def test_a_workload_with_a_secret_in_it_can_not_be_made_anew(shop: MemoryApi, found: InCluster) -> None:
    shop.delete(BLUE)
    shop.delete(CONFIG)
    shop.delete(ENTRY)
    outcome = restore(shop, found)
    assert outcome.made == [str(CONFIG)]
    (problem,) = outcome.problems
    assert (
        "Deployment shop/shop-blue: is gone, and its spec.template.spec.containers[0].env[1].value can't be" in problem
    )
    assert str(ENTRY) in outcome.left, "what may rest on it waits"
    shop.create(BLUE, a_deployment(BLUE, "5.0"))
    assert restore(shop, found).made == [str(ENTRY)], "the next run goes on"


def test_a_new_workload_of_other_labels_is_told(shop: MemoryApi, found: InCluster) -> None:
    shop.delete(BLUE)
    shop.create(BLUE, a_deployment(BLUE, "5.0.1"))
    (problem,) = restore(shop, found, force=True).problems
    assert "spec.selector.matchLabels.version differs and can't be changed; delete the object and restore" in problem


def test_a_service_made_anew_keeps_the_address_it_has(shop: MemoryApi, found: InCluster) -> None:
    shop.delete(ENTRY)
    shop.create(service(SHOP, "other"), body(service(SHOP, "other"), spec={"ports": [{"port": 80}]}))
    shop.create(ENTRY, body(ENTRY, spec={"selector": {"app": SHOP, "version": "5.1"}, "ports": [{"port": 80}]}))
    address = shop.get(ENTRY)["spec"]["clusterIP"]
    assert restore(shop, found).restored == [str(ENTRY)]
    assert (shop.get(ENTRY)["spec"]["clusterIP"], shop.get(ENTRY)["spec"]["selector"]["version"]) == (address, "5.0")


def test_an_owner_that_is_gone_is_not_followed(shop: MemoryApi) -> None:
    owner = shop.get(BLUE)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": BLUE.name, "uid": owner["metadata"]["uid"]}
    shop.by("kubectl").patch(CONFIG, {"metadata": {"ownerReferences": [reference]}})
    taken, _warnings = take(shop)
    shop.delete(CONFIG)
    restore(shop, taken, only=[CONFIG])
    assert shop.get(CONFIG)["metadata"]["ownerReferences"] == [reference], "it is there, so it stays the owner"
    shop.delete(CONFIG)
    shop.delete(BLUE)
    shop.create(BLUE, a_deployment(BLUE, "5.0"))
    outcome = restore(shop, taken, only=[CONFIG])
    assert "ownerReferences" not in shop.get(CONFIG)["metadata"], "it is another one by now"
    assert outcome.warnings == [
        "ConfigMap shop/config was made anew without its owner Deployment shop-blue, which is gone"
    ]


def test_a_secret_is_never_touched_and_its_change_is_told(shop: MemoryApi, found: InCluster) -> None:
    shop.patch(SECRET, {"data": {"dsn": "bmV3"}})
    outcome = restore(shop, found, force=True)
    assert [warning.partition(";")[0] for warning in outcome.warnings] == [
        "Secret shop/database isn't what it was when the snapshot was taken"
    ]
    assert shop.get(SECRET)["data"] == {"dsn": "bmV3"}
    shop.delete(SECRET)
    assert "Secret shop/database is gone" in restore(shop, found).warnings[0]


def test_somebody_who_is_quicker_is_compared_anew(shop: MemoryApi, found: InCluster) -> None:
    release(shop)
    shop.before_write = lambda: shop.by("kubectl-edit").patch(ENTRY, {"metadata": {"labels": {"x": "y"}}})
    outcome = restore(shop, found, only=[ENTRY])
    assert outcome.restored == [str(ENTRY)]
    assert [one["field"] for one in outcome.kept] == ["metadata.labels.x"]
    assert shop.get(ENTRY)["spec"]["selector"]["version"] == "5.0"


@pytest.mark.parametrize("forbidden", ["services", "destinationrules"])
def test_half_way_it_says_what_was_done_and_goes_on_later(shop: MemoryApi, found: InCluster, forbidden: str) -> None:
    before = shape(shop)
    release(shop)
    shop.delete(CONFIG)
    shop.forbidden = {forbidden}
    outcome = restore(shop, found, remove_new=True)
    assert outcome.made == [str(CONFIG)]
    assert [f"{forbidden} is forbidden" in problem for problem in outcome.problems] == [True]
    assert str(ROUTE) in outcome.left
    assert str(CANARY) in outcome.left, "what serves stays until the routes are back"
    shop.forbidden = set()
    assert restore(shop, found, remove_new=True).problems == []
    assert shape(shop) == before


def test_an_api_that_goes_away_ends_it_at_once(shop: MemoryApi, found: InCluster) -> None:
    release(shop)
    shop.delete(CONFIG)

    def goes_away() -> None:
        shop.before_write = leave

    def leave() -> None:
        shop.away = True

    shop.before_write = goes_away
    outcome = restore(shop, found)
    assert (outcome.made, outcome.away, len(outcome.problems)) == ([str(CONFIG)], True, 1)
    assert str(ROUTE) in outcome.left


def test_a_dry_run_tells_and_does_nothing(shop: MemoryApi, found: InCluster) -> None:
    release(shop)
    before = shape(shop)
    shop.dry_run = True
    outcome = restore(shop, found, remove_new=True)
    shop.dry_run = False
    assert (len(outcome.restored), len(outcome.removed)) == (3, 3)
    assert outcome.diff["before"][str(ENTRY)]["spec"]["selector"]["version"] == "5.1"
    assert outcome.diff["after"][str(ENTRY)]["spec"]["selector"]["version"] == "5.0"
    assert shape(shop) == before


def test_what_differs_is_told_without_changing_anything(shop: MemoryApi, found: InCluster) -> None:
    same = Restorer(shop, found, Options()).compare()  # type: ignore[arg-type]
    assert {one.state for one in same} == {"same"}
    release(shop)
    shop.delete(CONFIG)
    seen = Restorer(shop, found, Options()).compare()  # type: ignore[arg-type]
    told = {str(one.entry.ref): one.state for one in seen if one.state != "same"}
    assert told == {
        str(CONFIG): "gone", str(AGENTS): "new", str(CANARY): "new", str(GREEN): "new", str(ENTRY): "changed",
        str(RULE): "changed", str(ROUTE): "changed",
    }  # fmt: skip
    (rule,) = [one.as_dict() for one in seen if one.entry.ref == RULE]
    assert rule["changes"] == [
        {
            "field": "spec.subsets[candidate].labels.deployment-type",
            "was": None,
            "is": "green",
            "by": ["OpenAPI-Generator"],
            "release": True,
        }
    ]


def test_a_snapshot_that_lost_a_part_says_so(shop: MemoryApi) -> None:
    shop.by("kubectl").patch(CONFIG, {"data": {"noise": "n" * 300_000}})
    taken, _warnings = take(shop)
    shop.delete(config_map(SHOP, f"{taken.snapshot.name}-part-1"))
    shop.patch(CONFIG, {"data": {"mode": "slow"}})
    (problem,) = restore(shop, taken, only=[CONFIG]).problems
    assert f"ConfigMap shop/{taken.snapshot.name}-part-1 is gone, and with it a part of" in problem


# ---- keeping


def journal(release_id: str, name: str, state: str | None = None) -> journals.Journal:
    me = journals.Author("ann", "ops1")
    snapshot = {"objects": {"name": name}}
    made = journals.opened(release_id, SHOP, {"stable": "5.0", "candidate": "5.1"}, {}, snapshot, me, NOW)
    return journals.closed(made, state, me, NOW) if state else made


def names(shop: MemoryApi) -> list[str]:
    return sorted(name.split("/")[1] for name in shop.everything() if "-release-snapshot-" in name)


def test_old_snapshots_go_and_the_release_in_progress_keeps_its_own(shop: MemoryApi) -> None:
    shop.by("kubectl").patch(CONFIG, {"data": {"noise": "n" * 300_000}})
    first, _warnings = take(shop)
    second, _warnings = take(shop)
    third, _warnings = take(shop)
    store = store_of(shop)
    assert store.prune(7, NOW + 6 * DAY, None) == []
    running = journal("5.1-a", first.snapshot.name)
    assert store.prune(7, NOW + 8 * DAY, running) == [second.snapshot.name]
    assert [one.snapshot.name for one in store.all()] == [first.snapshot.name, third.snapshot.name]
    done = journal("5.1-a", first.snapshot.name, journals.DONE)
    assert store.prune(7, NOW + 8 * DAY, done) == [first.snapshot.name, third.snapshot.name]
    assert names(shop) == []


def test_parts_that_a_killed_run_left_go_after_the_same_time(shop: MemoryApi) -> None:
    shop.by("kubectl").patch(CONFIG, {"data": {"noise": "n" * 300_000}})

    def killed() -> None:
        shop.before_write = dies

    def dies() -> None:
        shop.away = True
        raise KeyboardInterrupt

    shop.before_write = killed
    with pytest.raises(KeyboardInterrupt):
        take(shop)
    shop.away = False
    assert len(names(shop)) == 1
    store = store_of(shop)
    assert store.prune(7, NOW + 6 * DAY, None) == []
    assert len(names(shop)) == 1, "it may be of a run under way"
    store.prune(7, NOW + 8 * DAY, None)
    assert names(shop) == []


def test_the_newest_of_a_release_is_found(shop: MemoryApi, found: InCluster) -> None:
    again, _warnings = take(shop)
    newest = store_of(shop).newest("5.1-a")
    assert newest is not None
    assert newest.snapshot.name == again.snapshot.name
    assert store_of(shop).newest("another") is None
    assert store_of(shop).find("nothing") is None
