"""A change of weight on objects of every shape: weights move as asked, and nothing else does, to the byte."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import ingress
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import Change, set_weight
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.ingress_canary import WEIGHT
from tests.unit.plugins.fake_cluster import FakeCluster
from tests.unit.plugins.traffic_shapes import SHAPES, Json, Shape
from tests.unit.plugins.two_services import NAMESPACE, provider_of

WEIGHTS = st.sampled_from([0, 1, 5, 20, 50, 99, 100]) | st.integers(0, 100)
each_provider = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
bounded = settings(max_examples=60, deadline=None)


def cluster_with(shape: Shape, body: Json, *, dry_run: bool = False) -> FakeCluster:
    cluster = FakeCluster(dry_run=dry_run)
    cluster.put(shape.ref, body)
    return cluster


def move(shape: Shape, cluster: FakeCluster, weight: int) -> Change | None:
    """The change made by a provider that reads the object first; None where it refuses this weight."""
    try:
        return set_weight(provider_of(shape.provider, cluster, **shape.options), weight, guard=False)
    except InputError:
        return None


@each_provider
@bounded
@given(data=st.data(), weight=WEIGHTS)
def test_what_is_not_a_weight_stays_to_the_byte(shape: Shape, data: st.DataObject, weight: int) -> None:
    cluster = cluster_with(shape, data.draw(shape.bodies))
    rest, whole = shape.rest(cluster), shape.whole(cluster)
    change = move(shape, cluster, weight)
    assert shape.rest(cluster) == rest
    if change is None or not change.changed:
        assert shape.whole(cluster) == whole
    if weight == 0:
        assert change is not None
    if change:
        move(shape, cluster, 0)
        assert shape.rest(cluster) == rest


@each_provider
@bounded
@given(data=st.data(), weight=WEIGHTS)
def test_every_weighted_route_gets_its_share_and_others_keep_theirs(
    shape: Shape, data: st.DataObject, weight: int
) -> None:
    cluster = cluster_with(shape, data.draw(shape.bodies))
    change = move(shape, cluster, weight)
    if change is None:
        return
    assert [route.others for route in change.after.routes] == [route.others for route in change.before.routes]
    for before, after in zip(change.before.routes, change.after.routes, strict=True):
        both = after.stable + after.candidate
        if after.others and before.stable + before.candidate <= 256:
            assert both == before.stable + before.candidate
        if weight and shape.provider != "istio":  # istio's weights are percents, so a small part can't be split finely
            assert abs(after.share - weight) <= 1
        if not after.others:
            assert after.share == weight
        if weight == 0:
            assert after.candidate == 0
        if weight == 100:
            assert after.stable == 0


@each_provider
@bounded
@given(data=st.data(), weight=WEIGHTS)
def test_there_and_back_again_changes_nothing(shape: Shape, data: st.DataObject, weight: int) -> None:
    cluster = cluster_with(shape, data.draw(shape.bodies))
    first = move(shape, cluster, weight)
    assume(first is not None)
    seen = []
    for asked in (0, weight, 0, weight, 0, weight):
        change = t.cast(Change, move(shape, cluster, asked))
        assert change.after.share == pytest.approx(asked if asked == 0 else t.cast(Change, first).after.share)
        seen.append(shape.whole(cluster))
        assert not t.cast(Change, move(shape, cluster, asked)).changed
    assert seen[1] == seen[3]
    assert seen[2:4] == seen[4:]  # the first time a weight that was left to its default may stay so


@each_provider
@bounded
@given(data=st.data(), weight=WEIGHTS)
def test_check_mode_tells_what_is_done_without_it(shape: Shape, data: st.DataObject, weight: int) -> None:
    body = data.draw(shape.bodies)
    asked, done = cluster_with(shape, body, dry_run=True), cluster_with(shape, body)
    before = shape.whole(asked)
    told, made = move(shape, asked, weight), move(shape, done, weight)
    assert shape.whole(asked) == before
    assert (told is None) == (made is None)
    if told and made:
        assert (told.changed, told.after.routes) == (made.changed, made.after.routes)


@each_provider
@bounded
@given(data=st.data(), weight=WEIGHTS)
def test_a_prepared_provider_takes_any_split_back_in_one_request(
    shape: Shape, data: st.DataObject, weight: int
) -> None:
    cluster = cluster_with(shape, data.draw(shape.bodies))
    move(shape, cluster, weight)
    provider = provider_of(shape.provider, cluster, **shape.options)
    state = provider.prepare()
    assume(any(route.candidate for route in state.routes))
    change = set_weight(provider, 0, guard=False)
    assert (change.calls, change.changed) == (1, True)
    assert not any(route.candidate for route in change.after.routes)


@bounded
@given(data=st.data(), weights=st.lists(st.integers(1, 100), min_size=2, max_size=2))
def test_two_weights_of_a_canary_differ_in_one_annotation(data: st.DataObject, weights: list[int]) -> None:
    shape = SHAPES["nginx_ingress"]
    cluster = cluster_with(shape, data.draw(shape.bodies))
    seen = []
    for weight in weights:
        move(shape, cluster, weight)
        canary = cluster.stored(ingress(NAMESPACE, "shop-canary"))
        assert canary["metadata"]["annotations"].pop(WEIGHT) == str(weight)
        del canary["metadata"]["resourceVersion"]
        seen.append(canary)
    assert seen[0] == seen[1]
