"""Three-way: what the release changed comes back, what others changed stays and is named."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import config_map, deployment
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import (
    PRESENT,
    Entry,
    cleaned,
    entry_of,
    readable,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_merge import (
    OURS,
    Merge,
    merge,
    merge_patch,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_scope import patched_fields
from rehearsal.cluster.patches import merge_patch as apply_merge_patch

Object = dict[str, Any]
REF = deployment("shop", "web")

KEYS = st.sampled_from(["spec", "name", "host", "items", "a", "b.c"])
SCALARS = st.booleans() | st.integers(-3, 3) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


def thing(fields: Object, **metadata: Any) -> Object:
    meta = {"name": "web", "namespace": "shop", "resourceVersion": "7", "uid": "u", **metadata}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, **copy.deepcopy(fields)}


def wrote(manager: str, fields: Object, **more: Any) -> Object:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def entry(base: Object, changes: tuple[str, ...] | None = None) -> Entry:
    return entry_of(REF, base, changes, "shop", "")


def merged(base: Object, live: Object, changes: tuple[str, ...] | None = None, *, force: bool = False) -> Merge:
    return merge(entry(base, changes), live, "shop", force=force)


def after(merge_: Merge, live: Object) -> Object:
    """The object once the patch was applied."""
    patched: Object = apply_merge_patch(copy.deepcopy(live), merge_patch(live, merge_.wanted))
    return patched


# ---- any two objects


@settings(max_examples=300, deadline=None)
@given(base=OBJECTS, live=OBJECTS)
def test_forced_everything_comes_back_and_what_the_server_owns_stays(base: Object, live: Object) -> None:
    now = thing(
        live,
        managedFields=[wrote("kubectl", {"f:x": {}})],
        annotations={"kubectl.kubernetes.io/last-applied-configuration": "x"},
    )
    found = merged(thing(base), now, force=True)
    put_back = after(found, now)
    assert readable(put_back, "shop") == readable(thing(base), "shop")
    assert put_back["metadata"]["resourceVersion"] == "7"
    assert put_back["metadata"]["managedFields"] == now["metadata"]["managedFields"]
    assert put_back["metadata"]["annotations"] == now["metadata"]["annotations"]
    assert merged(thing(base), put_back, force=True).changes == ()


@settings(max_examples=200, deadline=None)
@given(base=OBJECTS, live=OBJECTS)
def test_of_unknown_writers_everything_stays_and_is_named(base: Object, live: Object) -> None:
    found = merged(thing(base), thing(live))
    assert found.wanted == thing(live)
    assert found.kept == found.changes
    assert bool(found.changes) == (cleaned(thing(base)) != cleaned(thing(live)))


@settings(max_examples=200, deadline=None)
@given(base=OBJECTS)
def test_what_is_as_it_was_has_no_changes(base: Object) -> None:
    assert merged(thing(base), thing(base, managedFields=[wrote("kubectl", {})])).changes == ()


@settings(max_examples=200, deadline=None)
@given(base=OBJECTS, ours=OBJECTS)
def test_what_only_the_release_wrote_comes_back_exactly(base: Object, ours: Object) -> None:
    everything: Object = {f"f:{key}": {} for key in {**base, **ours}}
    live = thing(ours, managedFields=[wrote(OURS[0], everything), wrote("kubectl", {"f:labels": {}})])
    found = merged(thing(base), live)
    assert found.kept == ()
    assert readable(after(found, live), "shop") == readable(thing(base), "shop")


@settings(max_examples=300, deadline=None)
@given(
    base=st.dictionaries(st.sampled_from("abcdef"), SCALARS),
    edits=st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh"), SCALARS), max_size=8),
)
def test_each_field_is_judged_by_who_wrote_it_last(base: Object, edits: list[tuple[bool, str, Any]]) -> None:
    """Edits as (whether it was the release, key, value) one after the other, with the owners a server would note."""
    live, last = dict(base), dict[str, bool]()
    for ours, key, value in edits:
        if key not in live or live[key] != value or type(live[key]) is not type(value):
            live[key], last[key] = value, ours
    owners: dict[str, Object] = {
        manager: {f"f:{key}": {} for key, ours in last.items() if ours == is_ours}
        for manager, is_ours in ((OURS[1], True), ("kubectl", False))
    }
    fields = [wrote(manager, {"f:data": owned}) for manager, owned in owners.items() if owned]
    now = thing({"data": live}, managedFields=fields)
    found = merged(thing({"data": base}), now)
    result = after(found, now).get("data", {})
    for key in {**base, **live}:
        foreign = key in last and not last[key]
        wanted = live if foreign else base
        assert (key in result) == (key in wanted)
        assert result.get(key) == wanted.get(key)
    differing = {
        f"data.{key}" for key, ours in last.items() if not ours and (key not in base or not same(base[key], live[key]))
    }
    assert {change.path for change in found.kept} == differing
    again = thing({"data": result}, managedFields=fields)
    assert after(merged(thing({"data": base}), again), again) == again, "a second restoration changes nothing"


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


# ---- what managedFields says

CONTAINERS: Object = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:image": {}}}}}}}


def with_image(image: str, **more: Any) -> Object:
    container = {"name": "app", "image": image, **more}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def test_an_item_of_a_list_is_found_by_its_key() -> None:
    live = thing(with_image("shop:5.1", tty=True), managedFields=[wrote(OURS[0], CONTAINERS)])
    found = merged(thing(with_image("shop:5.0", tty=True)), live)
    (change,) = found.changes
    assert (change.path, change.ours, change.by) == ("spec.template.spec.containers[app].image", True, (OURS[0],))
    assert after(found, live) == thing(
        with_image("shop:5.0", tty=True), managedFields=live["metadata"]["managedFields"]
    )


def test_the_status_and_its_writers_do_not_matter() -> None:
    status = wrote("kube-controller-manager", {"f:status": {}}, subresource="status")
    revision = {"deployment.kubernetes.io/revision": "2"}
    live = thing({"spec": {}, "status": {"x": 1}}, managedFields=[status], annotations=revision)
    assert merged(thing({"spec": {}}), live).changes == ()


def test_a_field_that_a_controller_took_over_stays() -> None:
    scaled = wrote("kube-controller-manager", {"f:spec": {"f:replicas": {}}}, subresource="scale")
    ours = wrote(OURS[0], {"f:spec": {"f:paused": {}}})
    live = thing({"spec": {"replicas": 9, "paused": True}}, managedFields=[ours, scaled])
    found = merged(thing({"spec": {"replicas": 3, "paused": False}}), live)
    assert [(change.path, change.by) for change in found.kept] == [("spec.replicas", ("kube-controller-manager",))]
    assert found.wanted["spec"] == {"replicas": 9, "paused": False}


def test_what_two_applied_alike_is_not_the_releases_alone() -> None:
    both = [wrote(OURS[0], {"f:spec": {"f:x": {}}}), wrote("argocd", {"f:spec": {"f:x": {}}}, operation="Apply")]
    found = merged(thing({"spec": {"x": 1}}), thing({"spec": {"x": 2}}, managedFields=both))
    assert [change.by for change in found.kept] == [("argocd", OURS[0])]


def test_a_field_that_is_gone_has_no_writer_so_it_stays_gone_but_where_the_release_is_known_to_change_it() -> None:
    base = thing({"spec": {"x": 1, "y": 1}})
    live = thing({"spec": {"y": 1}}, managedFields=[wrote(OURS[0], {"f:spec": {"f:y": {}}})])
    assert [(change.path, change.by) for change in merged(base, live).kept] == [("spec.x", ())]
    assert merged(base, live, ("spec.x",)).wanted["spec"] == {"x": 1, "y": 1}


# ---- fields that the release is known to change

WEIGHT = ("spec.http[*].route[*].weight",)
WHOLE: Object = {"f:spec": {"f:http": {}}}


def route(weight: int, timeout: str) -> Object:
    return {
        "spec": {"http": [{"name": "a", "timeout": timeout, "route": [{"weight": 100 - weight}, {"weight": weight}]}]}
    }


@pytest.mark.parametrize("last", ["kubectl", OURS[0]])
def test_within_a_list_owned_as_a_whole_only_what_the_release_changes_comes_back(last: str) -> None:
    live = thing(route(20, "99s"), managedFields=[wrote(last, WHOLE)])
    found = merged(thing(route(0, "30s")), live, WEIGHT)
    assert found.wanted["spec"] == route(0, "99s")["spec"]
    assert [(change.path, change.ours) for change in found.kept] == [("spec.http[a].timeout", False)]


def test_a_known_field_that_somebody_else_holds_exactly_stays() -> None:
    fields: Object = {"f:spec": {"f:selector": {}}}
    live = thing({"spec": {"selector": {"version": "9"}}}, managedFields=[wrote("kubectl", fields)])
    found = merged(thing({"spec": {"selector": {"version": "5.0"}}}), live, ("spec.selector",))
    assert [change.path for change in found.kept] == ["spec.selector.version"]


def test_the_fields_of_a_json_patch() -> None:
    patch = [
        {"op": "test", "path": "/spec/host", "value": "x"},
        {"op": "add", "path": "/spec/subsets/1/labels/deployment-type", "value": "green"},
        {"op": "move", "from": "/metadata/annotations/a~1b", "path": "/spec/subsets/-"},
    ]
    assert patched_fields(patch) == (
        "spec.subsets[*].labels.deployment-type", "spec.subsets[*]", "metadata.annotations.a/b",
    )  # fmt: skip


# ---- lists


def test_an_order_that_changed_is_a_change() -> None:
    one, two = {"name": "one"}, {"name": "two"}
    found = merged(thing({"spec": {"http": [one, two]}}), thing({"spec": {"http": [two, one]}}))
    assert [change.path for change in found.kept] == ["spec.http"]


def test_an_item_that_came_goes_and_one_that_went_comes_back_in_its_place() -> None:
    base = thing({"spec": {"http": [{"name": name} for name in "abc"]}})
    live = thing({"spec": {"http": [{"name": name} for name in "axc"]}}, managedFields=[wrote(OURS[0], WHOLE)])
    assert merged(base, live).wanted["spec"] == base["spec"]


# ---- secrets


def with_token(mode: str, token: str = "s3cret") -> Object:
    return {"spec": {"env": [{"name": "TOKEN", "value": token}, {"name": "MODE", "value": mode}], "password": token}}


def test_what_looks_like_a_secret_is_not_kept_and_stays_when_the_rest_comes_back() -> None:
    kept = entry(thing(with_token("fast")))
    assert kept.withheld == ("spec.env[0].value", "spec.password")
    assert "s3cret" not in json.dumps(kept.body)
    live = thing(with_token("slow", "other"))
    found = merge(kept, live, "shop", force=True)
    assert [change.path for change in found.changes] == ["spec.env[MODE].value"]
    assert after(found, live) == thing(with_token("fast", "other"))


def test_a_list_that_has_to_come_back_with_a_secret_is_refused() -> None:
    base = thing({"spec": {"env": [{"name": "TOKEN", "value": "s3cret"}, {"name": "TOKEN"}]}})
    found = merged(base, thing({"spec": {"env": [{"name": "x"}]}}), force=True)
    assert [change.path for change in found.lost] == ["spec.env"]
    assert found.wanted == thing({"spec": {"env": [{"name": "x"}]}})


def test_a_config_map_of_the_snapshots_own_namespace_is_kept_to_the_letter() -> None:
    data = {"password": "s3cret", "url": "postgresql://ann:s3cret@db/x"}
    item = {"metadata": {"name": "c", "namespace": "shop"}, "data": data}
    assert (entry_of(config_map("shop", "c"), item, None, "shop", "").body or {})["data"] == data
    elsewhere = entry_of(
        config_map("other", "c"), {**item, "metadata": {"name": "c", "namespace": "other"}}, None, "shop", ""
    )
    assert "s3cret" not in json.dumps(elsewhere.body)
    assert elsewhere.state == PRESENT
    shown = merge(
        entry_of(config_map("shop", "c"), item, None, "shop", ""),
        {**item, "data": {"password": "new"}},
        "shop",
    )
    assert "s3cret" not in json.dumps([change.as_dict() for change in shown.changes])


def test_what_can_not_be_changed_is_told_apart() -> None:
    base = thing({"spec": {"selector": {"matchLabels": {"a": "1"}}, "paused": False}})
    live = thing({"spec": {"selector": {"matchLabels": {"a": "2"}}, "paused": True}})
    found = merged(base, live, force=True)
    assert [change.path for change in found.fixed] == ["spec.selector.matchLabels.a"]
