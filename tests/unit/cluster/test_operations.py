"""Creating, changing and deleting objects."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.cluster.errors import StatusError
from rehearsal.cluster.operations import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from rehearsal.cluster.options import DeleteOptions, Options
from tests.unit.cluster.cluster_api import Api, Object, deployment

POD: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DEFINITION: Object = {
    "metadata": {"name": "signs.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "signs", "kind": "Sign"},
        "versions": [
            {
                "name": name,
                "served": True,
                "storage": name == "v1",
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["text"],
                                "properties": {
                                    "text": {"type": "string", "pattern": "^[A-Z]"},
                                    "size": {"type": "integer", "default": 3, "maximum": 9},
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                },
                            }
                        },
                    }
                },
            }
            for name in ("v1", "v1beta1")
        ],
    },
}


def cause_fields(error: StatusError) -> list[str]:
    return [cause["field"] for cause in (error.details or {})["causes"]]


def test_generate_name(api: Api) -> None:
    maps = api.kind("configmaps")
    names = {api.create(maps, {"metadata": {"generateName": "a-"}})["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5 and all(name.startswith("a-") and len(name) == 7 for name in names)


def test_unknown_fields_are_dropped_with_a_warning_or_refused(api: Api) -> None:
    options = Options()
    made = api.operations.create(api.kind("deployments", "apps"), "default", deployment(replicaz=1), options)
    assert "replicaz" not in made["spec"] and options.warnings == ['unknown field "spec.replicaz"']
    with pytest.raises(StatusError, match="strict decoding error") as refused:
        api.create(api.kind("deployments", "apps"), deployment("other", replicaz=1), validation="Strict")
    assert refused.value.code == 400


def test_a_wrong_type_is_named_with_its_place(api: Api) -> None:
    with pytest.raises(StatusError, match=r"cannot unmarshal string into Go struct field Deployment\.spec\.replicas"):
        api.create(api.kind("deployments", "apps"), deployment(replicas="three"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "spec.template.spec.containers[0].name"),
        ({"name": "Not_Good"}, "spec.template.spec.containers[0].name"),
        ({"image": ""}, "spec.template.spec.containers[0].image"),
        ({"ports": [{"containerPort": 70000}]}, "spec.template.spec.containers[0].ports[0].containerPort"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, "spec.template.spec.containers[0].volumeMounts[0].name"),
        ({"imagePullPolicy": "Maybe"}, "spec.template.spec.containers[0].imagePullPolicy"),
    ],
)
def test_containers_are_checked(api: Api, change: Object, field: str) -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0] |= change
    with pytest.raises(StatusError) as refused:
        api.create(api.kind("deployments", "apps"), body)
    assert refused.value.code == 422 and cause_fields(refused.value) == [field]


def test_a_pod_gets_its_grace_only_once_it_runs_somewhere(api: Api) -> None:
    pods = api.kind("pods")
    api.create(pods, POD)
    assert api.operations.delete(pods, "default", "p", DeleteOptions())[1], "an unscheduled pod goes at once"
    api.create(pods, POD)
    api.operations.bind("default", "p", {"target": {"kind": "Node", "name": "n"}}, Options())
    item, gone = api.operations.delete(pods, "default", "p", DeleteOptions())
    assert not gone and item["metadata"]["deletionGracePeriodSeconds"] == 30
    version = item["metadata"]["resourceVersion"]
    again, _ = api.operations.delete(pods, "default", "p", DeleteOptions())
    assert again["metadata"]["resourceVersion"] == version, "deleting again changes nothing"
    assert api.operations.delete(pods, "default", "p", DeleteOptions(grace=0))[1]
    assert api.store.find(pods.key, "default", "p") is None


def test_a_pod_is_bound_once(api: Api) -> None:
    api.create(api.kind("pods"), POD)
    api.operations.bind("default", "p", {"target": {"name": "n"}}, Options())
    with pytest.raises(StatusError) as refused:
        api.operations.bind("default", "p", {"target": {"name": "m"}}, Options())
    assert refused.value.code == 409


def test_propagation_is_left_to_finalizers(api: Api) -> None:
    kind = api.kind("deployments", "apps")
    api.create(kind, deployment())
    item, gone = api.operations.delete(kind, "default", "web", DeleteOptions(propagation="Foreground"))
    assert not gone and item["metadata"]["finalizers"] == ["foregroundDeletion"]
    api.patch(kind, "web", MERGE_PATCH, {"metadata": {"finalizers": None}})
    assert api.store.find(kind.key, "default", "web") is None


@pytest.mark.parametrize("options", [DeleteOptions(uid="other"), DeleteOptions(resource_version="1")])
def test_preconditions_hold_a_deletion_back(api: Api, options: DeleteOptions) -> None:
    maps = api.kind("configmaps")
    api.create(maps, {"metadata": {"name": "a"}})
    with pytest.raises(StatusError) as refused:
        api.operations.delete(maps, "default", "a", options)
    assert refused.value.code == 409 and api.read(maps, "a")


def test_a_dry_run_checks_and_stores_nothing(api: Api) -> None:
    maps = api.kind("configmaps")
    api.create(maps, {"metadata": {"name": "a"}, "data": {"k": "1"}})
    revision = api.store.revision
    with pytest.raises(StatusError):
        api.create(maps, {"metadata": {"name": "a"}}, dry_run=True)
    assert api.patch(maps, "a", MERGE_PATCH, {"data": {"k": "2"}}, dry_run=True)["data"] == {"k": "2"}
    api.operations.delete(maps, "default", "a", DeleteOptions(dry_run=True))
    assert api.read(maps, "a")["data"] == {"k": "1"} and api.store.revision == revision


def test_addresses_of_a_service_stay(api: Api) -> None:
    services = api.kind("services")
    body = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    made = api.create(services, body)
    assert made["spec"]["ports"][0]["nodePort"] >= 30000
    put = api.operations.update(services, "default", "s", body, Options())
    assert put["spec"] == made["spec"]
    with pytest.raises(StatusError) as refused:
        api.patch(services, "s", MERGE_PATCH, {"spec": {"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}})
    assert "spec.clusterIPs[0]" in cause_fields(refused.value)


def test_status_and_spec_do_not_touch_each_other(api: Api) -> None:
    kind = api.kind("deployments", "apps")
    api.create(kind, deployment(replicas=2))
    shown = api.patch(kind, "web", MERGE_PATCH, {"spec": {"replicas": 9}, "status": {"replicas": 1}}, "status")
    assert (shown["spec"]["replicas"], shown["status"]["replicas"]) == (2, 1)
    shown = api.patch(kind, "web", STRATEGIC_PATCH, {"spec": {"replicas": 9}, "status": {"replicas": 7}})
    assert (shown["spec"]["replicas"], shown["status"]["replicas"]) == (9, 1)
    assert shown["metadata"]["generation"] == 2


def test_some_kinds_are_only_replaced_with_their_version(api: Api) -> None:
    leases = api.kind("leases", "coordination.k8s.io")
    made = api.create(leases, {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 5}})
    made["spec"]["holderIdentity"] = "me"
    api.operations.update(leases, "default", "l", made, Options())
    with pytest.raises(StatusError) as stale:
        api.operations.update(leases, "default", "l", made, Options())
    assert stale.value.code == 409
    del made["metadata"]["resourceVersion"]
    with pytest.raises(StatusError) as refused:
        api.operations.update(leases, "default", "l", made, Options())
    assert cause_fields(refused.value) == ["metadata.resourceVersion"]


def test_a_pod_keeps_its_spec_but_for_the_image(api: Api) -> None:
    pods = api.kind("pods")
    api.create(pods, POD)
    image = {"spec": {"containers": [{"name": "c", "image": "j"}]}}
    assert api.patch(pods, "p", STRATEGIC_PATCH, image)["spec"]["containers"][0]["image"] == "j"
    for spec in ({"nodeName": "n"}, {"restartPolicy": "Never"}):
        with pytest.raises(StatusError) as refused:
            api.patch(pods, "p", MERGE_PATCH, {"spec": spec})
        assert cause_fields(refused.value) == ["spec"]


def test_scale_is_guarded_by_the_version_too(api: Api) -> None:
    kind = api.kind("deployments", "apps")
    api.create(kind, deployment())
    with pytest.raises(StatusError) as refused:
        api.patch(kind, "web", MERGE_PATCH, {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 2}}, "scale")
    assert refused.value.code == 409


def test_custom_objects_are_checked_defaulted_and_pruned(api: Api) -> None:
    api.create(api.kind("customresourcedefinitions", "apiextensions.k8s.io"), DEFINITION)
    signs = api.kind("signs", "example.com")
    made = api.create(signs, {"metadata": {"name": "a"}, "spec": {"text": "Stop", "odd": 1, "free": {"any": [1]}}})
    assert made["spec"] == {"text": "Stop", "size": 3, "free": {"any": [1]}}
    with pytest.raises(StatusError) as refused:
        api.patch(signs, "a", MERGE_PATCH, {"spec": {"text": "stop", "size": 10}})
    assert sorted(cause_fields(refused.value)) == ["spec.size", "spec.text"]
    with pytest.raises(StatusError) as missing:
        api.patch(signs, "a", JSON_PATCH, [{"op": "remove", "path": "/spec/text"}])
    assert cause_fields(missing.value) == ["spec.text"]
    other = api.kind("signs", "example.com", "v1beta1")
    assert api.read(other, "a")["apiVersion"] == "example.com/v1beta1"
    changed = api.patch(other, "a", MERGE_PATCH, {"spec": {"size": 4}})
    assert changed["apiVersion"] == "example.com/v1beta1" and changed["metadata"]["generation"] == 2
    assert api.read(signs, "a")["apiVersion"] == "example.com/v1"


def test_a_definition_takes_its_objects_with_it(api: Api) -> None:
    definitions = api.kind("customresourcedefinitions", "apiextensions.k8s.io")
    api.create(definitions, DEFINITION)
    signs = api.kind("signs", "example.com")
    api.create(signs, {"metadata": {"name": "a"}, "spec": {"text": "Stop"}})
    api.operations.delete(definitions, "", "signs.example.com", DeleteOptions())
    assert api.operations.registry.find("example.com", "v1", "signs") is None
    assert api.store.all(signs.key) == []


def test_both_versions_of_an_autoscaler(api: Api) -> None:
    old, new = (api.kind("horizontalpodautoscalers", "autoscaling", version) for version in ("v1", "v2"))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec: dict[str, Any] = {"scaleTargetRef": target, "maxReplicas": 4, "targetCPUUtilizationPercentage": 70}
    api.create(old, {"metadata": {"name": "h"}, "spec": spec})
    metric = api.read(new, "h")["spec"]["metrics"][0]
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert api.read(old, "h")["spec"]["targetCPUUtilizationPercentage"] == 70


def test_events_are_the_same_in_both_groups(api: Api) -> None:
    core, other = api.kind("events"), api.kind("events", "events.k8s.io")
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    api.create(core, {"metadata": {"name": "e"}, "involvedObject": about, "message": "Started", "type": "Normal"})
    shown = api.read(other, "e")
    assert (shown["apiVersion"], shown["regarding"], shown["note"]) == ("events.k8s.io/v1", about, "Started")
    moment = "2026-01-01T00:00:00.000000Z"
    made = {"metadata": {"name": "f"}, "eventTime": moment, "regarding": about, "note": "Pulled"}
    api.create(other, made | {"reportingController": "node"})
    shown = api.read(core, "f")
    assert (shown["apiVersion"], shown["message"], shown["reportingComponent"]) == ("v1", "Pulled", "node")
    assert [stored.name for stored in api.store.all(core.key)] == ["e", "f"]


def test_a_terminating_namespace_takes_nothing_new(api: Api) -> None:
    namespaces = api.kind("namespaces")
    item, gone = api.operations.delete(namespaces, "", "default", DeleteOptions())
    assert not gone and item["status"]["phase"] == "Terminating"
    with pytest.raises(StatusError) as refused:
        api.create(api.kind("configmaps"), {"metadata": {"name": "late"}})
    assert refused.value.code == 403
    assert (refused.value.details or {})["causes"][0]["reason"] == "NamespaceTerminating"
