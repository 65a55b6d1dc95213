"""The journal in the cluster: nothing of two writers is lost, finished releases are kept, one is open at a time."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal_layout as layout
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    JournalError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import (
    JournalStore,
    find_application,
)
from tests.unit.plugins.fake_config_maps import FakeConfigMaps

VERSIONS = {"stable": "5.0", "candidate": "5.1"}
PLAN: dict[str, Any] = {"release_stages": [{"name": "canary"}, {"name": "expand"}]}


SIZES = st.sampled_from([0, 10, 3_000, 40_000, 60_000, 700_000, 1_300_000])


def store_of(cluster: FakeConfigMaps, who: str = "ann", host: str = "ops1", application: str = "shop") -> JournalStore:
    return JournalStore(cast(Cluster, cluster), "prod", application, record.Author(who, host), FakeClock())


@pytest.fixture
def cluster() -> FakeConfigMaps:
    return FakeConfigMaps()


@pytest.fixture
def store(cluster: FakeConfigMaps) -> JournalStore:
    made = store_of(cluster)
    made.open("5.1-a", VERSIONS, PLAN, {})
    return made


def test_open_makes_one_readable_config_map(cluster: FakeConfigMaps, store: JournalStore) -> None:
    (item,) = cluster.objects.values()
    assert item["metadata"]["name"] == "shop-release-journal"
    assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "claude_enhancer.rollout"
    assert set(item["data"]) == {"release.json", "event-000001"}


def test_open_takes_up_a_release_of_the_same_versions(cluster: FakeConfigMaps, store: JournalStore) -> None:
    store.begin("canary")
    written = store_of(cluster, "bob", "ops2").open("5.1-b", VERSIONS, PLAN, {"late": True})
    assert written.answer == {"resumed": True}
    assert written.after.release_id == "5.1-a"
    assert written.after.begun_stage == "canary"
    assert written.after.header["controller"]["who"] == "bob"
    assert written.after.header["snapshot"] == {}, "a snapshot from the middle of a release is not the state before it"


def test_open_refuses_another_release_and_says_whose_it_is(cluster: FakeConfigMaps, store: JournalStore) -> None:
    with pytest.raises(JournalError, match=r"5\.1-a .5\.0 to 5\.1. is in_progress, held by ann on ops1 since 20"):
        store_of(cluster).open("6.0-a", {"stable": "5.1", "candidate": "6.0"}, PLAN, {})


def test_open_waits_for_a_rollback_to_be_finished(cluster: FakeConfigMaps, store: JournalStore) -> None:
    store.close("rolling_back")
    with pytest.raises(JournalError, match=r"5\.1-a is rolling_back since 20.* run claude_enhancer\.rollout\.rollback"):
        store_of(cluster).open("5.1-b", VERSIONS, PLAN, {})
    store.close("rolled_back")
    assert store_of(cluster).open("5.1-b", VERSIONS, PLAN, {}).answer == {"resumed": False}


def test_open_keeps_the_last_finished_releases_and_lists_them(cluster: FakeConfigMaps) -> None:
    store = store_of(cluster)
    for number in range(5):
        store.open(f"5.1-{number}", VERSIONS, PLAN, {}, keep=2)
        for _event in range(6):
            store.record("note", data={"text": "x" * 40_000})
        store.record("note", data={"text": "x" * 60_000})
        store.close(record.DONE)
    named = sorted(item["metadata"]["name"] for item in cluster.objects.values())
    assert {name for name in named if "journal-" not in name} == {
        "shop-release-5.1-2",
        "shop-release-5.1-3",
        "shop-release-history",
        "shop-release-journal",
    }
    assert {name.split("journal-")[1][:5] for name in named if "journal-" in name} == {"5.1-2", "5.1-3", "5.1-4"}
    assert [(one["release_id"], one["state"], one["journal"]) for one in store.history()] == [
        ("5.1-2", "done", "shop-release-5.1-2"),
        ("5.1-3", "done", "shop-release-5.1-3"),
        ("5.1-4", "done", "shop-release-journal"),
    ]
    archived = store.read("5.1-3")
    assert archived is not None
    assert (archived.release_id, archived.state) == ("5.1-3", "done")
    assert store.read("5.1-1") is None


def test_open_with_the_id_of_a_finished_release_is_refused(store: JournalStore) -> None:
    store.close(record.DONE)
    with pytest.raises(JournalError, match=r"release 5\.1-a is done since"):
        store.open("5.1-a", VERSIONS, PLAN, {})


def test_a_writer_in_between_loses_nothing(cluster: FakeConfigMaps, store: JournalStore) -> None:
    other = store_of(cluster, "bob", "ops2")

    def bob_first() -> None:
        cluster.before_write = lambda: None
        other.record("note", data={"from": "bob"})

    cluster.before_write = bob_first
    store.record("note", data={"from": "ann"})
    journal = store.read()
    assert journal is not None
    assert [event["data"].get("from") for event in journal.events] == [None, "bob", "ann"]
    assert [event["seq"] for event in journal.events] == [1, 2, 3]


def test_guards_are_applied_to_what_the_other_writer_left(cluster: FakeConfigMaps, store: JournalStore) -> None:
    def closed_first() -> None:
        cluster.before_write = lambda: None
        store_of(cluster, "bob").close(record.ROLLED_BACK)

    cluster.before_write = closed_first
    with pytest.raises(JournalError, match="is rolled_back"):
        store.begin("canary")


def test_conflicts_without_end_are_an_error(cluster: FakeConfigMaps, store: JournalStore) -> None:
    def always() -> None:
        raise ConflictError("changed", status=409)

    cluster.before_write = always
    with pytest.raises(JournalError, match="was changed by others at every try for 15 s"):
        store.record("note")


def test_another_release_id_is_refused(store: JournalStore) -> None:
    with pytest.raises(JournalError, match=r"5\.1-z is not the release .* that is 5\.1-a"):
        store.begin("canary", release_id="5.1-z")


def test_without_a_journal_the_way_out_is_said(cluster: FakeConfigMaps) -> None:
    with pytest.raises(JournalError, match="does not exist; open a release first"):
        store_of(cluster).begin("canary")


def test_an_action_that_changes_nothing_writes_nothing(cluster: FakeConfigMaps, store: JournalStore) -> None:
    store.begin("canary")
    version = cluster.version
    assert not store.begin("canary").changed
    assert cluster.version == version


def test_the_application_is_found_by_labels(cluster: FakeConfigMaps, store: JournalStore) -> None:
    plain = cast(Cluster, cluster)
    assert find_application(plain, "prod") == "shop"
    assert find_application(plain, "elsewhere") is None
    store.close(record.DONE)
    store_of(cluster, application="cart").open("1", VERSIONS, PLAN, {})
    assert find_application(plain, "prod") == "cart", "the one in progress"
    store_of(cluster, application="till").open("1", VERSIONS, PLAN, {})
    with pytest.raises(JournalError, match="holds the journals of cart, till"):
        find_application(plain, "prod")


# ---- roll-over


def read(store: JournalStore) -> record.Journal:
    found = store.read()
    assert found is not None
    return found


def names_of(cluster: FakeConfigMaps) -> list[str]:
    return sorted(item["metadata"]["name"] for item in cluster.objects.values())


@settings(max_examples=40, deadline=None)
@given(st.lists(SIZES, max_size=20))
def test_any_events_read_back_the_same_whatever_their_sizes(sizes: list[int]) -> None:
    cluster = FakeConfigMaps()
    store = store_of(cluster)
    store.open("5.1-a", VERSIONS, PLAN, {})
    store.begin("canary")
    written = [{"n": number, "text": "x" * size} for number, size in enumerate(sizes)]
    for data in written:
        store.record("note", data=data)
    store.end("canary", {"verdict": "pass", "text": "y" * 200_000})
    journal = read(store_of(cluster))
    assert [event["data"] for event in journal.events if event["what"] == "note"] == written
    assert [event["seq"] for event in journal.events] == list(range(1, len(sizes) + 4))
    assert journal.results()["canary"]["text"] == "y" * 200_000
    head = store.head()
    assert head is not None
    assert (head.header, record.standing(head)) == (journal.header, record.standing(journal))
    assert [event["seq"] for event in head.events] == list(range(len(sizes) + 4))[-len(head.events) :]
    for item in cluster.objects.values():
        assert item["metadata"]["annotations"][layout.SCHEMA_ANNOTATION] == record.SCHEMA


def test_most_events_cost_one_read_and_one_small_write(cluster: FakeConfigMaps, store: JournalStore) -> None:
    costs = []
    for _number in range(200):
        before = cluster.requests
        store.record("note", data={"text": "x" * 2_000})
        costs.append(cluster.requests - before)
    assert set(costs) == {2, 3}
    assert costs.count(3) == 3, "once for each 128 KiB"
    newest = cluster.objects[f"/api/v1/namespaces/prod/configmaps/{store.name}"]
    assert sum(map(len, newest["data"].values())) < 160 * 1024
    parts = [item for item in cluster.objects.values() if "journal-5.1-a-" in item["metadata"]["name"]]
    assert all(item["immutable"] for item in parts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SIZES, st.booleans()), min_size=1, max_size=12), st.integers(1, 40))
def test_writers_that_interrupt_each_other_and_die_lose_nothing(steps: list[tuple[int, bool]], dies_at: int) -> None:
    """Bob writes ahead of some of Ann's writes; one write of Ann's never happens, since she is killed before it."""
    cluster = FakeConfigMaps()
    ann, bob = store_of(cluster), store_of(cluster, "bob", "ops2")
    ann.open("5.1-a", VERSIONS, PLAN, {})
    said: list[str] = []
    waiting: list[tuple[str, int]] = []
    writes = 0

    def before_write() -> None:
        nonlocal writes
        writes += 1
        if writes == dies_at:
            raise KeyboardInterrupt
        if waiting:
            named, length = waiting.pop()
            cluster.before_write = lambda: None
            bob.record("note", data={"n": named, "text": "b" * length})
            said.append(named)
            cluster.before_write = before_write

    for number, (size, interrupts) in enumerate(steps):
        cluster.before_write = before_write
        waiting[:] = [(f"bob {number}", size)] if interrupts else []
        try:
            ann.record("note", data={"n": f"ann {number}", "text": "a" * size})
            said.append(f"ann {number}")
        except KeyboardInterrupt:
            ann = store_of(cluster)
    cluster.before_write = lambda: None
    bob.record("note", data={"n": "last"})
    journal = read(bob)
    assert [event["data"]["n"] for event in journal.events[1:]] == [*said, "last"]


def test_a_part_that_a_killed_writer_left_is_used(cluster: FakeConfigMaps, store: JournalStore) -> None:
    for _number in range(3):
        store.record("note", data={"text": "x" * 40_000})

    def killed() -> None:
        cluster.before_write = dies

    def dies() -> None:
        raise KeyboardInterrupt

    cluster.before_write = killed
    with pytest.raises(KeyboardInterrupt):
        store.record("note", data={"text": "y" * 40_000})
    cluster.before_write = lambda: None
    assert "shop-release-journal-5.1-a-0001" in names_of(cluster)
    store.record("note", data={"text": "z" * 40_000})
    assert [event["data"].get("text", "")[:1] for event in read(store).events] == ["", "x", "x", "x", "z"]


def test_a_journal_of_one_config_map_of_an_older_version_goes_on(cluster: FakeConfigMaps, store: JournalStore) -> None:
    path = f"/api/v1/namespaces/prod/configmaps/{store.name}"
    store.close(record.ROLLING_BACK, {"decided": 5.0})
    data = cluster.objects[path]["data"]
    header = {**json.loads(data[layout.HEADER_KEY]), "schema": "1", "sequence": 22}
    del header["rollback"]
    for number in range(3, 23):
        event = {**json.loads(data["event-000001"]), "seq": number, "what": "note", "data": {"text": "x" * 40_000}}
        data[layout.EVENT_KEY % number] = json.dumps(event)
    data[layout.HEADER_KEY] = json.dumps(header)
    before = read(store)
    assert before.header["rollback"]["decided"] == 5.0
    store.record("note", data={"text": "new"})
    after = read(store)
    assert after.events[:-1] == before.events
    assert [name[-4:] for name in names_of(cluster) if "5.1-a-0" in name] == ["0001", "0002"]


def test_a_part_that_is_gone_is_named(cluster: FakeConfigMaps, store: JournalStore) -> None:
    for _number in range(12):
        store.record("note", data={"text": "x" * 40_000})
    path = "/api/v1/namespaces/prod/configmaps/shop-release-journal-5.1-a-0002"
    data = cluster.objects[path]["data"]
    del data["event-000006"]
    with pytest.raises(JournalError, match=r"shop-release-journal lacks the events 6, of 13 that were written"):
        store_of(cluster).read()
    del cluster.objects[path]
    with pytest.raises(JournalError, match=r"shop-release-journal-5\.1-a-0002 is gone, and a part of"):
        store_of(cluster).read()
    assert store_of(cluster).head() is not None, "a rollback needs none of it"


def test_data_apart_that_was_changed_is_named(cluster: FakeConfigMaps, store: JournalStore) -> None:
    store.record("note", data={"text": "x" * 60_000, "verdict": "fail"})
    (name,) = [name for name in names_of(cluster) if "-data-" in name]
    head = store.head()
    assert head is not None
    assert head.events[-1]["data"] == {"verdict": "fail"}
    cluster.objects[f"/api/v1/namespaces/prod/configmaps/{name}"]["data"]["data.json"] += " "
    with pytest.raises(JournalError, match="the data of event 2 isn't what was written"):
        store.read()


def test_a_copy_that_a_killed_run_left_is_brought_up_to_date(cluster: FakeConfigMaps, store: JournalStore) -> None:
    store.close(record.ROLLED_BACK)

    def dies() -> None:
        raise KeyboardInterrupt

    def one_write() -> None:
        cluster.before_write = dies

    cluster.before_write = one_write
    with pytest.raises(KeyboardInterrupt):
        store.open("5.1-b", VERSIONS, PLAN, {})
    cluster.before_write = lambda: None
    store.record("rolled_back_again")
    store.open("5.1-b", VERSIONS, PLAN, {})
    kept = store.read("5.1-a")
    assert kept is not None
    assert [event["what"] for event in kept.events] == ["opened", "state_changed", "rolled_back_again"]
    assert [one["release_id"] for one in store.history()] == ["5.1-a", "5.1-b"]


def test_releases_whose_names_differ_in_case_only_are_both_kept(cluster: FakeConfigMaps) -> None:
    store = store_of(cluster)
    for release_id in ("5.1-A", "5.1-a", "last"):
        store.open(release_id, VERSIONS, PLAN, {})
        store.close(record.DONE)
    for release_id in ("5.1-A", "5.1-a"):
        kept = store.read(release_id)
        assert kept is not None
        assert kept.release_id == release_id
        assert store.place(kept) in [f"ConfigMap prod/{one['journal']}" for one in store.history()]


def test_releases_of_before_there_was_a_list_are_found_by_their_labels(cluster: FakeConfigMaps) -> None:
    store = store_of(cluster)
    for release_id in ("a", "b", "c"):
        store.open(release_id, VERSIONS, PLAN, {})
        store.close(record.DONE)
    del cluster.objects["/api/v1/namespaces/prod/configmaps/shop-release-history"]
    assert [one["release_id"] for one in store.history()] == ["a", "b", "c"]
    store.open("d", VERSIONS, PLAN, {}, keep=2)
    assert [one["release_id"] for one in store.history()] == ["b", "c", "d"]


def test_what_can_not_be_deleted_is_told_and_tried_again(cluster: FakeConfigMaps, store: JournalStore) -> None:
    store.close(record.DONE)

    def forbid(name: str = "shop-release-5.1-a") -> None:
        raise ForbiddenError("not allowed", status=403)

    kept, cluster.delete = cluster.delete, forbid  # type: ignore[assignment,method-assign]
    written = store.open("5.1-b", VERSIONS, PLAN, {}, keep=0)
    assert written.answer["warnings"] == ["release 5.1-a, kept no longer, stays: not allowed"]
    cluster.delete = kept  # type: ignore[method-assign]
    store.close(record.DONE)
    assert "warnings" not in store.open("5.1-c", VERSIONS, PLAN, {}, keep=0).answer
    assert [one["release_id"] for one in store.history()] == ["5.1-c"]


def large_release(store: JournalStore, release_id: str, keep: int = 100) -> None:
    """One with parts, and with data that lies apart."""
    store.open(release_id, VERSIONS, PLAN, {}, keep=keep)
    for _number in range(5):
        store.record("note", data={"text": f"{release_id} " + "x" * 40_000})
    store.record("note", data={"text": f"{release_id} " + "y" * 60_000})


def beside(cluster: FakeConfigMaps) -> set[str]:
    """The releases of which something lies beside a journal."""
    parts = [item["metadata"]["labels"] for item in cluster.objects.values()]
    return {labels[layout.RELEASE_LABEL] for labels in parts if labels["app.kubernetes.io/component"] == layout.PART}


def test_what_lies_beside_a_journal_goes_with_its_release(cluster: FakeConfigMaps) -> None:
    store = store_of(cluster)
    for release_id in ("a", "b", "c"):
        large_release(store, release_id)
        store.close(record.DONE)
    large_release(store, "d", keep=2)
    assert beside(cluster) == {"b", "c", "d"}
    for release_id in ("b", "c", "d"):
        whole = store_of(cluster).read(release_id)
        assert whole is not None
        assert len([event for event in whole.events if event["what"] == "note"]) == 6


@settings(max_examples=40, deadline=None)
@given(dies_at=st.integers(1, 30), keep=st.integers(0, 2))
def test_what_a_killed_writer_left_goes_and_nothing_of_a_kept_release(dies_at: int, keep: int) -> None:
    """Releases with large data, the run killed at any write; then others to their end."""
    cluster = FakeConfigMaps()
    writes = 0

    def before_write() -> None:
        nonlocal writes
        writes += 1
        if writes == dies_at:
            raise KeyboardInterrupt

    cluster.before_write = before_write
    store = store_of(cluster)
    try:
        for release_id in ("a", "b", "c"):
            large_release(store, release_id, keep)
            store.close(record.DONE)
    except KeyboardInterrupt:
        pass
    cluster.before_write = lambda: None
    store = store_of(cluster)
    if (left := store.head()) is not None and not left.closed:
        store.close(record.ROLLED_BACK)
    for release_id in ("y", "z"):
        large_release(store, release_id, keep)
        assert beside(cluster) <= {one["release_id"] for one in store.history()}
        store.close(record.DONE)
    for one in store.history():
        assert store_of(cluster).read(one["release_id"]) is not None


def test_what_began_while_it_was_swept_is_kept(cluster: FakeConfigMaps) -> None:
    """Two releases later than the one that sweeps, whose run stood still after it had listed what there is."""
    slow = store_of(cluster, "ann")
    large_release(slow, "a")
    slow.close(record.DONE)
    listed, kept = cluster.list_metadata, [True]

    def stand_still(collection: Any, label_selector: Any) -> Any:
        found = listed(collection, label_selector)
        if kept:
            kept.clear()
            other = store_of(cluster, "bob", "ops2")
            other.close(record.DONE)
            large_release(other, "c")
        return found

    cluster.list_metadata = stand_still  # type: ignore[method-assign]
    slow.open("b", VERSIONS, PLAN, {})
    whole = store_of(cluster).read()
    assert whole is not None
    assert (whole.release_id, len(whole.events)) == ("c", 7)


@pytest.mark.parametrize("keep", [-1, 2001])
def test_a_retention_that_the_list_can_not_hold_is_refused(store: JournalStore, keep: int) -> None:
    with pytest.raises(InputError, match=f"keep: must be from 0 to 2000 releases, not {keep}"):
        store.open("5.1-b", VERSIONS, PLAN, {}, keep=keep)
