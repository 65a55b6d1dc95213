"""Field ownership and server-side apply."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.cluster.errors import StatusError
from rehearsal.cluster.fieldsets import display, from_fields, to_fields
from rehearsal.cluster.operations import APPLY_PATCH, MERGE_PATCH
from tests.unit.cluster.cluster_api import Api, Object, deployment


def manager_of(item: Object, name: str) -> Object:
    found = [entry for entry in item["metadata"]["managedFields"] if entry["manager"] == name]
    return dict(found[0]["fieldsV1"]) if found else {}


def config(env: dict[str, str], **spec: Any) -> Object:
    body = deployment(**spec)
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": k, "value": v} for k, v in env.items()]
    return body


def apply(api: Api, body: Object, manager: str, force: bool = False) -> Object:
    kind = api.kind("deployments", "apps")
    return api.patch(kind, "web", APPLY_PATCH, body, manager=manager, force=force)


def env_of(item: Object) -> dict[str, str]:
    return {e["name"]: e["value"] for e in item["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_sets_survive_their_written_form() -> None:
    fields: Object = {"f:a": {".": {}, 'k:{"name":"x"}': {".": {}, "f:v": {}}}, "f:b": {}}
    assert to_fields(from_fields(fields)) == fields
    assert display(("f:spec", 'k:{"name":"x"}', "f:v", 'v:"a"')) == '.spec[name="x"].v[="a"]'


def test_two_managers_share_a_list_by_its_keys(api: Api) -> None:
    apply(api, config({"A": "1"}), "one")
    both = apply(api, config({"B": "2"}), "two")
    assert env_of(both) == {"A": "1", "B": "2"}
    alone = apply(api, config({}), "one")
    assert env_of(alone) == {"B": "2"}


def test_a_field_owned_by_both_stays_until_both_let_go(api: Api) -> None:
    apply(api, config({"A": "1"}, minReadySeconds=3), "one")
    apply(api, config({"A": "1"}, minReadySeconds=3), "two")
    assert apply(api, config({}), "one")["spec"]["minReadySeconds"] == 3
    gone = apply(api, config({}), "two")
    assert "minReadySeconds" not in gone["spec"]


def test_applying_the_same_again_is_no_write(api: Api) -> None:
    first = apply(api, config({"A": "1"}), "one")
    again = apply(api, config({"A": "1"}), "one")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert again["metadata"]["generation"] == 1


def test_a_conflict_names_every_field_and_its_manager(api: Api) -> None:
    apply(api, config({"A": "1"}, replicas=2), "one")
    with pytest.raises(StatusError) as refused:
        apply(api, config({"A": "2"}, replicas=3), "two")
    fields = [cause["field"] for cause in (refused.value.details or {})["causes"]]
    assert fields == [".spec.replicas", '.spec.template.spec.containers[name="c"].env[name="A"].value']
    assert refused.value.code == 409 and 'conflicts with "one"' in refused.value.message
    forced = apply(api, config({"A": "2"}, replicas=3), "two", force=True)
    assert forced["spec"]["replicas"] == 3
    assert "f:replicas" not in manager_of(forced, "one")["f:spec"]


def test_an_update_takes_fields_over_without_a_conflict(api: Api) -> None:
    apply(api, config({}, replicas=2), "one")
    changed = api.patch(api.kind("deployments", "apps"), "web", MERGE_PATCH, {"spec": {"replicas": 5}}, manager="hand")
    assert manager_of(changed, "hand") == {"f:spec": {"f:replicas": {}}}
    with pytest.raises(StatusError, match=r'conflict with "hand" using apps/v1'):
        apply(api, config({}, replicas=2), "one")


def test_an_undeclared_field_is_refused_always(api: Api) -> None:
    with pytest.raises(StatusError, match="replicaz"):
        apply(api, deployment(replicaz=1), "one")


def test_quantities_are_compared_by_value(api: Api) -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": 1, "memory": "64Mi"}}
    apply(api, body, "one")
    found = apply(api, body, "two")
    assert found["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "1"


def test_a_client_may_clear_the_managers(api: Api) -> None:
    apply(api, config({}), "one")
    body: Object = {"metadata": {"managedFields": [{}]}}
    cleared = api.patch(api.kind("deployments", "apps"), "web", MERGE_PATCH, body, manager="hand")
    assert "managedFields" not in cleared["metadata"]
