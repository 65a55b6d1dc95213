"""VirtualServices of every shape: what is a weight moves, and nothing else does."""

from __future__ import annotations

import copy
import typing as t

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import Destination
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.istio_routes import (
    check_sound,
    full_host,
    operations,
    weighted_routes,
)

STABLE = Destination("claude-enhancer", "stable")
CANDIDATE = Destination("claude-enhancer", "candidate")
NAMES = ["claude-enhancer", "claude-enhancer.shop.svc.cluster.local"]
WEIGHTS = st.integers(0, 100)


def entry(subset: str, weight: int | None, host: str = "claude-enhancer") -> dict[str, t.Any]:
    body: dict[str, t.Any] = {"destination": {"host": host, "subset": subset, "port": {"number": 80}}}
    return body if weight is None else {**body, "weight": weight}


def virtual_service(*routes: dict[str, t.Any], section: str = "http") -> dict[str, t.Any]:
    return {"metadata": {"namespace": "shop", "name": "v", "resourceVersion": "7"}, "spec": {section: list(routes)}}


@st.composite
def decorations(draw: st.DrawFn) -> dict[str, t.Any]:
    """What else a route may carry."""
    chosen = {
        "name": draw(st.text("abc", min_size=1, max_size=5)),
        "match": [{"headers": {"x-canary-user": {"exact": draw(st.text(max_size=4))}}}],
        "retries": {"attempts": draw(st.integers(0, 5)), "perTryTimeout": "2s"},
        "timeout": "30s",
        "headers": {"response": {"set": {"x": draw(st.text(max_size=4))}}},
        "fault": {"delay": {"percentage": {"value": 0.1}, "fixedDelay": "5s"}},
        "mirror": {"host": "claude-enhancer", "subset": "candidate"},
    }
    return {key: value for key, value in chosen.items() if draw(st.booleans())}


@st.composite
def weighted(draw: st.DrawFn) -> dict[str, t.Any]:
    """A sound weighted route: both sides, perhaps others, in any order, summing to 100; zeros perhaps left out."""
    others = draw(st.lists(st.integers(0, 20), max_size=3))
    both = 100 - sum(others)
    candidate = draw(st.integers(0, both))
    parts = [("stable", both - candidate), ("candidate", candidate)]
    parts += [(f"other-{number}", weight) for number, weight in enumerate(others)]
    host = draw(st.sampled_from(NAMES))
    entries = [entry(name, None if weight == 0 and draw(st.booleans()) else weight, host) for name, weight in parts]
    return {**draw(decorations()), "route": draw(st.permutations(entries))}


@st.composite
def left_alone(draw: st.DrawFn) -> dict[str, t.Any]:
    """A route that isn't weighted between the two sides."""
    shapes = [
        [entry("candidate", None)],
        [entry("stable", 100)],
        [entry("stable", 40), entry("other", 60)],
        [entry("stable", 50, "elsewhere"), entry("candidate", 50, "elsewhere")],
        [entry("stable", 50), entry("candidate", 50, "claude-enhancer.other.svc.cluster.local")],
        [],
    ]
    return {**draw(decorations()), "route": copy.deepcopy(draw(st.sampled_from(shapes)))}


@st.composite
def virtual_services(draw: st.DrawFn) -> dict[str, t.Any]:
    routes = draw(st.lists(st.one_of(weighted(), left_alone()), max_size=6)) + [draw(weighted())]
    body = virtual_service(*draw(st.permutations(routes)), section=draw(st.sampled_from(["http", "tls", "tcp"])))
    body["spec"].update(hosts=["a.example.com"], gateways=["mesh"])
    return body


def move(body: dict[str, t.Any], weight: int) -> dict[str, t.Any]:
    patch = operations(weighted_routes(body, STABLE, CANDIDATE), weight)
    return t.cast("dict[str, t.Any]", jsonpatch.apply_patch(body, list(patch)))


def without_weights(body: dict[str, t.Any]) -> dict[str, t.Any]:
    """The object with the weights of both sides cut out of weighted routes."""
    cut = copy.deepcopy(body)
    for route in weighted_routes(cut, STABLE, CANDIDATE):
        for place in route.stable + route.candidate:
            cut["spec"][route.section][route.index]["route"][place].pop("weight", None)
    return cut


@given(virtual_services(), WEIGHTS)
def test_what_is_not_a_weight_stays_to_the_letter(body: dict[str, t.Any], weight: int) -> None:
    assert without_weights(move(body, weight)) == without_weights(body)


@given(virtual_services(), WEIGHTS)
def test_each_route_sums_to_what_it_did_and_gets_its_share(body: dict[str, t.Any], weight: int) -> None:
    before = weighted_routes(body, STABLE, CANDIDATE)
    check_sound([route for route in before if route.as_weights().others < 100], "v")
    after = weighted_routes(move(body, weight), STABLE, CANDIDATE)
    assert [sum(route.weights) for route in after] == [sum(route.weights) for route in before]
    for route in (route.as_weights() for route in after):
        both = 100 - route.others
        assert route.stable + route.candidate == both
        assert abs(route.candidate - both * weight / 100) <= 0.5


@given(virtual_services(), WEIGHTS)
def test_a_second_move_has_nothing_to_do(body: dict[str, t.Any], weight: int) -> None:
    assert operations(weighted_routes(move(body, weight), STABLE, CANDIDATE), weight) == ()


@given(virtual_services(), WEIGHTS, WEIGHTS)
def test_the_way_does_not_matter(body: dict[str, t.Any], first: int, second: int) -> None:
    def read(moved: dict[str, t.Any]) -> list[tuple[int, ...]]:
        return [route.weights for route in weighted_routes(moved, STABLE, CANDIDATE)]

    assert read(move(move(body, first), second)) == read(move(body, second))


@given(st.lists(st.integers(0, 200), min_size=2, max_size=5))
def test_taking_back_works_on_unsound_routes_too(weights: list[int]) -> None:
    sides = ["stable", "candidate", "stable", "candidate", "other"]
    body = virtual_service({"route": [entry(side, weight) for side, weight in zip(sides, weights, strict=False)]})
    route = weighted_routes(move(body, 0), STABLE, CANDIDATE)[0].as_weights()
    assert route.candidate == 0
    assert route.stable + route.others == (sum(weights) or 100)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("stable", 60), entry("candidate", 60)], "sum to 120"),
        ([entry("stable", None), entry("candidate", None)], "sum to 0"),
        ([entry("stable", 50), entry("candidate", 25), entry("candidate", 25)], "2 destinations to the candidate"),
        ([entry("stable", 0), entry("candidate", 0), entry("other", 100)], "nothing to split"),
    ],
)
def test_unsound_routes_are_named(entries: list[dict[str, t.Any]], said: str) -> None:
    body = virtual_service({"route": [entry("stable", 100)]}, {"name": "agents", "route": entries})
    with pytest.raises(InputError, match=f"agents.*{said}|{said}.*agents"):
        check_sound(weighted_routes(body, STABLE, CANDIDATE), "VirtualService shop/v")


def test_a_patch_tests_version_and_destination_before_it_writes() -> None:
    body = virtual_service({"route": [entry("stable", 100), entry("candidate", 0)]})
    patch = operations(weighted_routes(body, STABLE, CANDIDATE), 5, "7")
    assert patch[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    assert [step["op"] for step in patch[1:]] == ["test", "add", "test", "add"]
    assert patch[2] == {"op": "add", "path": "/spec/http/0/route/0/weight", "value": 95}


def test_a_short_host_is_in_the_objects_namespace() -> None:
    assert full_host("a", "shop") == "a.shop.svc.cluster.local"
    assert full_host("a.other.svc.cluster.local", "shop") == "a.other.svc.cluster.local"
