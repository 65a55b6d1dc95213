"""Where a rollback goes to, and how an object is given the shape it had."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as journals
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, JournalError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_target import (
    Target,
    restorable,
    restoring_patch,
)
from rehearsal.cluster.patches import merge_patch

NOW = 1_790_000_000.0
ME = journals.Author("ann", "ops1")
STAGES = [{"name": "small", "weight": 5}, {"name": "half", "weight": 50}, {"name": "all", "weight": 100}]
FACTS: dict[str, Any] = {
    "release_application": "shop",
    "release_namespace": "shops",
    "release_candidate": {"version": "2", "canary_deployment": "shop-canary", "green_deployment": "shop-green"},
    "release_agents": {"config_map": "shop-2-agents"},
    "release_traffic": {"provider": "istio", "name": "shop"},
    "release_prometheus": {"url": "http://prometheus"},
    "release_stages": STAGES,
}
RULE = {"kind": "DestinationRule", "apiVersion": "networking.istio.io/v1", "metadata": {"name": "shop"}, "spec": {}}
CANARY = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "shop-canary"}, "spec": {}}
SNAPSHOT = {"entry_selector": {"app": "shop"}, "stable_replicas": 7, "drained_objects": [RULE, CANARY]}


def journal(*begun: str, facts: dict[str, Any] = FACTS) -> journals.Journal:
    """A release with the stages before the last of ``begun`` ended, and that one begun."""
    made = journals.opened("2-a", "shop", {"stable": "1", "candidate": "2"}, facts, SNAPSHOT, ME, NOW)
    for number, stage in enumerate(begun):
        made, _answer = journals.begun(made, stage, ME, NOW)
        if number < len(begun) - 1:
            made = journals.ended(made, stage, ME, NOW)
    return made


def test_a_kubeconfig_is_enough_where_there_is_a_journal() -> None:
    target = Target.of("shops", journal("small"), {})
    assert (target.application, target.stable_replicas) == ("shop", 7)
    assert target.candidate_deployments == ["shop-canary", "shop-green"]
    assert target.traffic == FACTS["release_traffic"]


def test_before_the_switch_the_candidates_configuration_stays_for_the_next_attempt() -> None:
    before, after = (
        Target.of("shops", journal("small", "half"), {}),
        Target.of("shops", journal("small", "half", "all"), {}),
    )
    assert (before.switch_begun, before.config_maps, before.drained_objects) == (False, [], [])
    assert (after.switch_begun, after.config_maps) == (True, ["shop-2-agents"])
    assert after.drained_objects == [RULE], "the canary itself is removed, so it isn't restored"


def test_without_a_journal_the_inventory_says_where_to() -> None:
    target = Target.of("shops", None, {**FACTS, "release_entry_service": {"stable_selector": {"v": "1"}}})
    assert (target.application, target.stable_replicas, target.snapshot) == ("shop", None, {})
    assert target.config_maps == ["shop-2-agents"], "the switch may have begun"
    with pytest.raises(JournalError, match="namespace shops holds no release journal, and no inventory names"):
        Target.of("shops", None, {})


def test_what_the_journal_lacks_comes_from_the_inventory() -> None:
    given_now = {"release_prometheus": {"url": "http://other", "password": "x"}, "release_edge": {"url": "http://e"}}
    target = Target.of("shops", journal("small"), given_now)
    assert target.fact("release_prometheus") == {"url": "http://prometheus", "password": "x"}
    assert target.fact("release_edge", "url") == "http://e"


def test_a_fact_that_nobody_gives_is_named() -> None:
    target = Target.of("shops", journal("small"), {})
    with pytest.raises(InputError, match=r"release: neither the journal nor the inventory gives release_edge\.url"):
        target.fact("release_edge", "url")
    assert target.named("release_edge", "url") == ""


def test_a_run_that_finishes_another_keeps_what_was_before_both() -> None:
    assert Target.of("shops", journal("small"), {}).earlier == {}
    data = {"reason": "r", "decided": 5.0, "weight_before": 20, "entry_selector_before": None}
    begun = journals.closed(journal("small"), journals.ROLLING_BACK, ME, NOW, data)
    assert Target.of("shops", begun, {}).earlier == {"decided": 5.0, "weight_before": 20}


# ---- restoring

KEYS = st.sampled_from(["spec", "labels", "host", "subsets", "a", "b"])
VALUES = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4).map(
    lambda body: {**body, "kind": "Rule", "metadata": {"name": "shop", "resourceVersion": "7", "labels": {"x": "y"}}}
)


@given(now=OBJECTS, wanted=OBJECTS)
def test_the_patch_makes_the_one_into_the_other(now: dict[str, Any], wanted: dict[str, Any]) -> None:
    patched = merge_patch(copy.deepcopy(now), restoring_patch(now, wanted))
    assert restorable(patched) == restorable(wanted)
    assert patched["metadata"]["resourceVersion"] == "7"
    assert restoring_patch(patched, wanted) == {}


def test_labels_and_annotations_that_came_are_taken_away() -> None:
    wanted: dict[str, Any] = {"kind": "Rule", "metadata": {"name": "a", "labels": {"app": "shop"}}, "spec": {"x": 1}}
    now = copy.deepcopy(wanted)
    now["metadata"] = {"name": "a", "labels": {"app": "shop", "drained": "yes"}, "annotations": {"by": "us"}}
    now["status"] = {"ready": True}
    assert restoring_patch(now, wanted) == {"metadata": {"labels": {"drained": None}, "annotations": {"by": None}}}


def test_a_secret_that_the_journal_never_held_is_left_as_it_is() -> None:
    now = {"kind": "Rule", "metadata": {"name": "a"}, "spec": {"password": "s3cret", "weight": 1}}
    wanted = {"kind": "Rule", "metadata": {"name": "a"}, "spec": {"weight": 0}}
    assert restoring_patch(now, wanted) == {"spec": {"weight": 0}}


def test_a_secret_within_a_list_that_changed_can_not_be_restored() -> None:
    variable = {"name": "DB_PASSWORD", "value": "s3cret"}
    now = {"kind": "Rule", "metadata": {"name": "a"}, "spec": {"env": [variable, {"name": "new"}]}}
    wanted = {"kind": "Rule", "metadata": {"name": "a"}, "spec": {"env": [{"name": "DB_PASSWORD"}]}}
    with pytest.raises(InputError, match=r"its spec\.env\[0\]\.value can't be restored") as refused:
        restoring_patch(now, wanted)
    assert "s3cret" not in str(refused.value)
    unchanged = {**now, "spec": {"env": [variable]}}
    assert restoring_patch(unchanged, wanted) == {}
