"""Merge, JSON and strategic merge patches."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.cluster.errors import StatusError
from rehearsal.cluster.patches import json_patch, merge_patch, strategic_patch
from rehearsal.cluster.schemas import Schema

POD = Schema.named("V1PodSpec")
META = Schema.named("V1ObjectMeta")


def containers(*items: dict[str, Any]) -> dict[str, Any]:
    return {"containers": list(items)}


def test_a_merge_patch_removes_by_null_and_replaces_lists() -> None:
    target = {"a": {"b": 1, "c": 2}, "l": [1, 2]}
    assert merge_patch(target, {"a": {"b": None}, "l": [3]}) == {"a": {"c": 2}, "l": [3]}
    assert target == {"a": {"b": 1, "c": 2}, "l": [1, 2]}, "the target is not touched"


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "remove", "path": "/nothing"}], 422),
        ([{"op": "add", "path": "/l/9", "value": 1}], 422),
        ([{"op": "jump", "path": "/a"}], 400),
        ({"a": 1}, 400),
    ],
)
def test_json_patches_that_do_not_fit(operations: Any, code: int) -> None:
    with pytest.raises(StatusError) as refused:
        json_patch({"a": 1, "l": []}, operations)
    assert refused.value.code == code


def test_lists_merge_by_their_key() -> None:
    target = containers({"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"})
    patch = containers({"name": "a", "env": [{"name": "Y", "value": "2"}]})
    merged = strategic_patch(target, patch, POD)["containers"]
    assert [c["name"] for c in merged] == ["a", "b"] and merged[0]["image"] == "1"
    assert merged[0]["env"] == [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]


def test_items_are_deleted_by_directive() -> None:
    target = containers({"name": "a"}, {"name": "b"})
    assert strategic_patch(target, containers({"name": "a", "$patch": "delete"}), POD) == containers({"name": "b"})


def test_lists_and_maps_are_replaced_by_directive() -> None:
    target = containers({"name": "a"}, {"name": "b"}) | {
        "nodeSelector": {"x": "1"},
        "securityContext": {"runAsUser": 1},
    }
    patch = containers({"name": "c"}, {"$patch": "replace"}) | {"securityContext": {"$patch": "replace", "fsGroup": 2}}
    patched = strategic_patch(target, patch, POD)
    assert patched["containers"] == [{"name": "c"}]
    assert patched["securityContext"] == {"fsGroup": 2}
    assert patched["nodeSelector"] == {"x": "1"}


def test_the_order_of_a_list_is_set_by_directive() -> None:
    target = containers({"name": "a"}, {"name": "b"}, {"name": "own"})
    patch = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "n"}]} | containers({"name": "n"})
    names = [c["name"] for c in strategic_patch(target, patch, POD)["containers"]]
    assert [name for name in names if name != "own"] == ["b", "a", "n"] and "own" in names
    only_order = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "own"}]}
    assert [c["name"] for c in strategic_patch(target, only_order, POD)["containers"]] == ["b", "a", "own"]


def test_retained_keys_leave_the_others_out() -> None:
    target = {"volumes": [{"name": "v", "emptyDir": {}}]}
    patch = {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "m"}}]}
    assert strategic_patch(target, patch, POD) == {"volumes": [{"name": "v", "configMap": {"name": "m"}}]}


def test_primitives_merge_and_are_taken_out() -> None:
    target = {"finalizers": ["a/x", "b/y"]}
    assert set(strategic_patch(target, {"finalizers": ["c/z"]}, META)["finalizers"]) == {"a/x", "b/y", "c/z"}
    gone = {"$deleteFromPrimitiveList/finalizers": ["a/x"]}
    assert strategic_patch(target, gone, META)["finalizers"] == ["b/y"]


def test_a_list_without_merge_key_is_replaced() -> None:
    target = {"tolerations": [{"key": "a"}]}
    assert strategic_patch(target, {"tolerations": [{"key": "b"}]}, POD) == {"tolerations": [{"key": "b"}]}


def test_an_item_without_its_key_is_refused() -> None:
    with pytest.raises(StatusError, match="merge key: name"):
        strategic_patch(containers({"name": "a"}), containers({"image": "x"}), POD)
