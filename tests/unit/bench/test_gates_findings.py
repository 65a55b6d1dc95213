"""What is made of how releases ended."""

from __future__ import annotations

import math

import numpy as np

from tests.bench.gates import report, verdict
from tests.bench.gates.cell import BATCH, Batch, Cells, Found, batches, names, run
from tests.bench.gates.ending import PROMOTED, ROLLED_BACK, UNDECIDED, Endings, Rate, Rule, Tally, cut_off, tally
from tests.bench.gates.ours import CLUMP_RULE, RULE
from tests.bench.gates.plan import read_plan
from tests.bench.gates.scenarios import AT_LINE, BAD, BLIND, CLUMPED, HEALTHY, SCENARIOS, Simulated

NEVER = math.inf
PLAN = read_plan()
RATES = (10.0,)
NUMBERS = {one.name: number for number, one in enumerate(SCENARIOS)}
PEERS = [Rule(family, f"setting {number}", number == 1) for family in verdict.FAMILIES for number in (1, 2)]


def simulated(begins: float, bad_after: float = 0.0, releases: int = 1) -> Simulated:
    healthy = SCENARIOS[0].stream(PLAN, 5.0, releases, np.random.default_rng(1))
    return Simulated(healthy.candidate, healthy.baseline, np.full(releases, begins), bad_after)


def ended(ending: int, at: float, *advanced: float) -> Endings:
    return Endings(np.array([ending]), np.array([at]), np.array([advanced]))


def test_a_rollback_undoes_the_stages_after_it() -> None:
    stages = np.array([[10.0, 20.0]] * 3 + [[10.0, NEVER]])
    endings = cut_off(np.array([15.0, 10.0, NEVER, NEVER]), stages)
    assert endings.ending.tolist() == [ROLLED_BACK, ROLLED_BACK, PROMOTED, UNDECIDED]
    assert endings.at.tolist() == [15.0, 10.0, 20.0, NEVER]
    assert endings.advanced.tolist() == [[10.0, NEVER], [NEVER, NEVER], [10.0, 20.0], [10.0, NEVER]]


def test_a_bad_release_is_stopped_advanced_or_stopped_before_it_was_bad() -> None:
    late = tally(ended(ROLLED_BACK, 250.0, 200.0, NEVER), simulated(100.0))
    assert (late.rolled_back, late.advanced, late.early, late.delays) == (1, 1, 0, [150.0])
    stopped = tally(ended(ROLLED_BACK, 250.0, 90.0, NEVER), simulated(100.0))
    assert (stopped.advanced, stopped.delays) == (0, [150.0])
    early = tally(ended(ROLLED_BACK, 50.0, NEVER, NEVER), simulated(100.0))
    assert (early.rolled_back, early.early, early.judged, early.delays) == (0, 1, 0, [])
    passed = tally(ended(PROMOTED, 900.0, 90.0, 900.0), simulated(100.0))
    assert (passed.rolled_back, passed.advanced, passed.delays) == (0, 1, [NEVER])
    rising = tally(ended(ROLLED_BACK, 150.0, 90.0, NEVER), simulated(100.0, bad_after=60.0))
    assert (rising.early, rising.delays) == (0, [0.0])


def test_a_stage_left_without_a_request_is_blind() -> None:
    silent = SCENARIOS[NUMBERS["silence"]]
    world = silent.stream(PLAN, 5.0, 1, np.random.default_rng(1))
    ends = [[1800.0, 4500.0, 6300.0, 7200.0]]
    assert tally(Endings(np.array([PROMOTED]), np.array([7200.0]), np.array(ends)), world).blind == 1
    ends[0][2:] = [NEVER, NEVER]
    assert tally(Endings(np.array([ROLLED_BACK]), np.array([5000.0]), np.array(ends)), world).blind == 0


def test_delays_that_never_end_are_said_so() -> None:
    found = Tally(releases=4, delays=[1.0, 2.0, 3.0, NEVER])
    assert (found.delay(0.5), found.delay(0.95), Tally().delay(0.5)) == (3.0, NEVER, None)
    assert (found.document()["delay_median"], found.document()["delay_p95"]) == (3.0, "never")


def test_rates_come_with_their_interval() -> None:
    assert Rate(0, 1000).text() == "0 (0–3.7)"
    assert Rate(1, 1000).text() == "1.0 (0.0–5.6)"


def cells(false: dict[Rule, int], delays: dict[Rule, float]) -> Cells:
    """Every scenario with 1000 releases; ``false`` rollbacks in each healthy one, the same delay in each bad one."""
    found = Cells()
    for rule in [RULE, CLUMP_RULE, *PEERS]:
        for number, one in enumerate(SCENARIOS):
            part = Tally(releases=1000, rolled_back=false.get(rule, 0) if one.kind == HEALTHY else 0)
            if one.kind == BAD:
                part.delays = [delays.get(rule, 100.0)] * 1000
            found.add(Found(Batch(number, RATES[0], 0, 1000), {rule: part}))
    return found


def test_a_peer_is_compared_when_it_has_no_more_false_rollbacks_than_ours() -> None:
    quick = dict.fromkeys(PEERS, 5.0)
    assert not verdict.faster(cells(dict.fromkeys(PEERS, 1), quick), RATES)
    found = verdict.faster(cells(dict.fromkeys(PEERS[1:], 1), quick), RATES)
    assert {one.rule for one in found} == {PEERS[0]} and len(found) == 2 * len(names(BAD))
    assert (found[0].ours, found[0].theirs) == (100.0, 5.0)
    assert not verdict.faster(cells({}, {}), RATES)


def test_the_best_setting_is_the_fastest_within_the_bound_or_the_one_with_least_false_rollbacks() -> None:
    family, first, second = PEERS[0].family, PEERS[0], PEERS[1]
    assert verdict.best(cells({}, {second: 5.0}), 10.0, family) == second
    assert verdict.best(cells({second: 2}, {second: 5.0}), 10.0, family) == first
    assert verdict.best(cells({first: 9, second: 8}, {first: 5.0}), 10.0, family) == second


def test_a_bound_is_broken_when_chance_does_not_explain_it() -> None:
    kept = verdict.promises(cells({RULE: 3}, {}), RATES)
    assert not any(promise.broken for promise in kept)
    broken = [promise for promise in verdict.promises(cells({RULE: 9}, {}), RATES) if promise.broken]
    assert {promise.scenario for promise in broken} == set(names(HEALTHY))
    blind = cells({}, {})
    blind.add(Found(Batch(len(SCENARIOS) - 1, 10.0, 1, 1), {RULE: Tally(releases=1, blind=1)}))
    assert [promise.what for promise in verdict.promises(blind, RATES) if promise.broken] == [
        "ours: advanced without evidence"
    ]


def test_the_report_names_what_is_broken_and_who_is_faster() -> None:
    text = "\n".join(report.lines(cells({RULE: 9}, dict.fromkeys(PEERS[:2], 5.0)), RATES))
    assert "broken: ours: false rollbacks, healthy at 10/s: 9.0" in text
    assert f"ours 100 s, {PEERS[0].name} 5 s" in text
    assert text.splitlines()[-1] == f"  and {4 * len(names(BAD)) - 20} more, in the JSON file"


def test_batches_cover_every_cell_and_are_the_same_for_the_same_seed() -> None:
    todo = batches({HEALTHY: BATCH + 1, CLUMPED: 1, AT_LINE: 1, BAD: 1, BLIND: 1}, [1.0, 10.0])
    assert sum(batch.releases for batch in todo if batch.scenario == 0) == 2 * (BATCH + 1)
    assert {(batch.scenario, batch.rate) for batch in todo} == {
        (number, rate) for number in range(len(SCENARIOS)) for rate in (1.0, 10.0)
    }
    one = Batch(NUMBERS["errors_30"], 10.0, 0, 2)
    first, second = run(one, PLAN, 3), run(one, PLAN, 3)
    assert first.tallies == second.tallies
    assert run(one, PLAN, 4).tallies[RULE] != first.tallies[RULE]
