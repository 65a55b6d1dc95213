"""Where a rollback goes to."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as journals
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, JournalError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_target import Target

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
SNAPSHOT = {"entry_selector": {"app": "shop"}, "stable_replicas": 7}


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
    assert (before.switch_begun, before.config_maps) == (False, [])
    assert (after.switch_begun, after.config_maps) == (True, ["shop-2-agents"])


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
