"""The journal in the cluster: nothing of two writers is lost, finished releases are kept, one is open at a time."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import ConflictError, JournalError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import (
    JournalStore,
    find_application,
)
from tests.unit.plugins.fake_config_maps import FakeConfigMaps

VERSIONS = {"stable": "5.0", "candidate": "5.1"}
PLAN: dict[str, Any] = {"release_stages": [{"name": "canary"}, {"name": "expand"}]}


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


def test_open_keeps_the_last_finished_releases(cluster: FakeConfigMaps) -> None:
    store = store_of(cluster)
    for number in range(5):
        store.open(f"5.1-{number}", VERSIONS, PLAN, {}, keep=2)
        store.close(record.DONE)
    assert sorted(item["metadata"]["name"] for item in cluster.objects.values()) == [
        "shop-release-5.1-2",
        "shop-release-5.1-3",
        "shop-release-journal",
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
