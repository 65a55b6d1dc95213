"""Which weights make a split of servers, and that no step on the way there leaves a moment without weight."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import SIDES, Side
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.haproxy_weights import (
    MAX_WEIGHT,
    Server,
    balanced,
    server_weights,
    share,
    steps,
)

COUNTS = st.integers(1, 50)
WEIGHTS = st.integers(0, 100)


def server(name: str, side: Side | t.Literal[""], weight: int, **changes: t.Any) -> Server:
    shown = {"admin": 0, "operation": "2", "check": "3", "cookie": "", "backup": False, "address": f"{name}:80"}
    return Server(name=name, side=side, weight=weight, **{**shown, **changes})


def servers(stable: int, candidate: int, weights: tuple[int, int] = (100, 0), **changes: t.Any) -> tuple[Server, ...]:
    counts = {"stable": stable, "candidate": candidate}
    return tuple(
        server(f"{side}{number}", side, weight, **changes)
        for side, weight in zip(SIDES, weights, strict=True)
        for number in range(counts[side])
    )


def shown_share(found: t.Sequence[Server]) -> float:
    whole = sum(each.weight for each in found)
    return 100 * sum(each.weight for each in found if each.side == "candidate") / whole


def walked(now: t.Sequence[Server], then: t.Sequence[Server]) -> t.Iterator[dict[str, Server]]:
    """What stands after each step."""
    standing = {each.name: each for each in now}
    for name, setting in steps(now, then):
        what, value = setting.split()
        old = standing[name]
        standing[name] = Server(
            **{
                **old.__dict__,
                **({"weight": int(value)} if what == "weight" else {"admin": int(value == "maint")}),
            }
        )
        yield dict(standing)


@given(COUNTS, COUNTS, WEIGHTS, st.integers(0, 5000))
def test_the_share_is_as_near_as_the_weights_allow(stable: int, candidate: int, weight: int, total: int) -> None:
    pair = server_weights(weight, stable, candidate, total)
    assert all(0 <= each <= MAX_WEIGHT for each in pair)
    got = share(pair, stable, candidate)
    if weight in (0, 100):
        assert got == weight
        return
    assert all(pair)
    lowest, highest = share((MAX_WEIGHT, 1), stable, candidate), share((1, MAX_WEIGHT), stable, candidate)
    if weight < lowest:
        assert got == pytest.approx(lowest, abs=0.11)
    elif weight > highest:
        assert got == pytest.approx(highest, abs=0.11)
    else:
        assert abs(got - weight) <= 1


@given(COUNTS, COUNTS, WEIGHTS, WEIGHTS, st.booleans())
def test_no_step_leaves_the_backend_without_weight(
    stable: int, candidate: int, first: int, second: int, sticky: bool
) -> None:
    cookie = "c" if sticky else ""
    now = balanced(servers(stable, candidate, cookie=cookie), first)
    then = balanced(now, second)
    most = max(shown_share(now), shown_share(then))
    last = {each.name: each for each in now}
    for standing in walked(now, then):
        serving = [each for each in standing.values() if not each.admin]
        assert sum(each.weight for each in serving) > 0
        assert shown_share(serving) <= most + 1e-9
        last = standing
    assert last == {each.name: each for each in then}


@given(COUNTS, COUNTS, WEIGHTS)
def test_what_is_as_near_as_can_be_is_left_alone(stable: int, candidate: int, weight: int) -> None:
    then = balanced(servers(stable, candidate), weight)
    assert balanced(then, weight) == then
    assert list(steps(then, balanced(then, weight))) == []


@given(COUNTS, COUNTS, WEIGHTS, WEIGHTS)
def test_the_way_back_is_the_same_steps_undone(stable: int, candidate: int, first: int, second: int) -> None:
    now = balanced(servers(stable, candidate, cookie="c"), first)
    then = balanced(now, second)
    *_others, last = [{each.name: each for each in then}, *walked(then, now)]
    assert last == {each.name: each for each in now}


def test_the_receiving_side_is_raised_before_the_giving_one_falls() -> None:
    now = servers(2, 2)
    names = [name for name, _setting in steps(now, balanced(now, 20))]
    assert names == ["candidate0", "candidate1", "stable1", "stable0"]


def test_only_servers_that_are_up_count() -> None:
    now = (*servers(3, 1), server("candidate1", "candidate", 0, operation="0", check="2"))
    then = {each.name: each.weight for each in balanced(now, 50)}
    assert then["candidate0"] == 3 * then["stable0"]
    assert then["candidate1"] == then["candidate0"], "it comes up with the weight of its side"


def test_none_at_all_for_a_side_whose_servers_keep_sessions_by_cookie() -> None:
    now = balanced(servers(2, 2, cookie="c"), 20)
    then = balanced(now, 0)
    assert [setting for _name, setting in steps(now, then)][-2:] == ["state maint", "state maint"]
    assert [setting for _name, setting in steps(then, now)][:2] == ["state ready", "state ready"]


@pytest.mark.parametrize("admin", [1, 2, 5, 8, 32])
def test_a_server_that_someone_else_took_out_is_left_alone(admin: int) -> None:
    held = server("candidate1", "candidate", 70, admin=admin, operation="0", cookie="c")
    now = (*servers(2, 1, cookie="c"), held)
    for weight in (0, 20, 100):
        then = balanced(now, weight)
        assert (then[-1].admin, then[-1].held) == (admin, True)
        assert not [setting for name, setting in steps(now, then) if name == held.name and "state" in setting]
        if then[-2].weight:
            assert then[-1].weight == then[-2].weight, "it comes back with the weight of its side"


def test_an_empty_place_comes_up_without_weight_while_its_side_has_none() -> None:
    place = server("candidate1", "candidate", 100, admin=5, operation="0")
    assert balanced((*servers(2, 1), place), 0)[-1].weight == 0


def test_a_place_that_was_filled_is_like_any_other_server() -> None:
    filled = server("candidate1", "candidate", 100, admin=4, cookie="c")
    now = (*servers(2, 1, cookie="c"), filled)
    assert filled.up
    resting = balanced(now, 0)
    assert (resting[-1].admin, resting[-1].resting) == (5, True)
    assert (balanced(resting, 50)[-1].admin, balanced(resting, 50)[-1].weight) == (4, balanced(now, 50)[-1].weight)


def test_a_third_kind_of_server_keeps_its_part() -> None:
    other = server("static", "", 50)
    then = balanced((*servers(2, 2), other), 20)
    assert then[-1] == other
    assert sum(each.weight for each in then if each.side) == 200
