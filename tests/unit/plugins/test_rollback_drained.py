"""What a rollback brings back of the clean-up of the canary, from the snapshot or from an older journal itself."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.filter.without_server_fields import without_server_fields
from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as journals
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import ClusterError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import config_map
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_rest import RestWork
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_steps import Done
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_target import Target
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import SnapshotError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_restore import NotRestoredError
from tests.unit.plugins.memory_api import MemoryApi
from tests.unit.plugins.snapshot_world import BLUE, ENTRY, FACTS, RULE, SHOP, a_shop, release, take

ME = journals.Author("ann", "ops1")
NOW = 1_800_000_000.0
STAGES = [{"name": "canary", "weight": 5}, {"name": "full", "weight": 100}]


@pytest.fixture
def shop() -> MemoryApi:
    return a_shop()


def target(snapshot: dict[str, Any], *begun: str) -> Target:
    facts = {**FACTS, "release_application": SHOP, "release_stages": STAGES}
    made = journals.opened("5.1-a", SHOP, {"stable": "5.0", "candidate": "5.1"}, facts, snapshot, ME, NOW)
    for stage in begun:
        made = journals.ended(journals.begun(made, stage, ME, NOW)[0], stage, ME, NOW)
    return Target.of(SHOP, made, {})


def restore(api: MemoryApi, target_: Target) -> Done:
    unused: Any = None
    return RestWork(api, target_, FakeClock(), unused, patience=1, requests=1).restore_drained()  # type: ignore[arg-type]


def subset(api: MemoryApi) -> dict[str, str]:
    labels: dict[str, str] = api.get(RULE)["spec"]["subsets"][1]["labels"]
    return labels


@pytest.mark.parametrize("inline", [True, False])
def test_only_what_the_clean_up_changed_comes_back(shop: MemoryApi, inline: bool) -> None:
    kept = take(shop)[0].snapshot.summary()
    snapshot = {"drained_objects": [without_server_fields(shop.get(RULE))]} if inline else {"objects": kept}
    release(shop)
    shop.by("kubectl-edit").patch(RULE, {"spec": {"host": "other"}})
    aim = target(snapshot, "canary", "full")
    done = restore(shop, aim)
    assert (done.says, done.changed) == (f"{RULE} restored", True)
    assert subset(shop) == {"version": "5.1"}
    assert shop.get(RULE)["spec"]["host"] == "other"
    assert "spec.host was changed by kubectl-edit since the snapshot and stays as it is" in done.warnings[0]
    assert shop.get(ENTRY)["spec"]["selector"]["version"] == "5.1", "another step does that"
    again = restore(shop, aim)
    assert (again.says, again.changed) == (f"{RULE} is so already", False)


def test_before_the_switch_there_is_nothing_to_restore_and_nothing_is_asked(shop: MemoryApi) -> None:
    shop.away = True
    assert (
        restore(shop, target({"objects": {"name": "x", "sha256": "y"}}, "canary")).says == "there is nothing to restore"
    )


def test_a_snapshot_that_is_gone_or_another_is_named(shop: MemoryApi) -> None:
    kept = take(shop)[0].snapshot.summary()
    other = target({"objects": {**kept, "sha256": "0" * 64}}, "canary", "full")
    with pytest.raises(SnapshotError, match="isn't the snapshot that the journal names: its checksum is another"):
        restore(shop, other)
    shop.delete(config_map(SHOP, kept["name"]))
    with pytest.raises(SnapshotError, match=r"which the journal names, is gone; restore by hand"):
        restore(shop, target({"objects": kept}, "canary", "full"))


def test_an_api_that_is_busy_is_asked_again_by_the_step(shop: MemoryApi) -> None:
    kept = take(shop)[0].snapshot.summary()
    release(shop)

    def busy() -> None:
        raise ClusterError("busy", status=503)

    shop.before_write = busy
    with pytest.raises(ClusterError, match="busy"):
        restore(shop, target({"objects": kept}, "canary", "full"))
    shop.forbidden = {"destinationrules"}
    with pytest.raises(NotRestoredError, match="destinationrules is forbidden"):
        restore(shop, target({"objects": kept}, "canary", "full"))


def test_a_deployment_that_the_rollback_removes_is_not_restored(shop: MemoryApi) -> None:
    drained = {"api_version": "apps/v1", "kind": "Deployment", "name": "shop-canary", "patch": []}
    facts = {**FACTS, "release_canary_drain": [drained], "release_stages": STAGES, "release_application": SHOP}
    kept = take(shop, facts)[0].snapshot.summary()
    made = journals.opened("5.1-a", SHOP, {"stable": "5.0", "candidate": "5.1"}, facts, {"objects": kept}, ME, NOW)
    begun = journals.begun(
        journals.ended(journals.begun(made, "canary", ME, NOW)[0], "canary", ME, NOW), "full", ME, NOW
    )
    assert restore(shop, Target.of(SHOP, begun[0], {})).says == "there is nothing to restore"
    assert shop.find(BLUE) is not None
