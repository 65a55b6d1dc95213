"""``kubernetes.core`` and the Python clients below it, unchanged, against the API server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal.world import World

kubernetes = pytest.importorskip("kubernetes", reason="the kubernetes package is not installed")
ANSIBLE = shutil.which("ansible-playbook") or str(Path(sys.executable).with_name("ansible-playbook"))

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "core", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "claude-enhancer:5.0",
                        "ports": [{"containerPort": 8080}],
                        "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
                    }
                ]
            },
        },
    },
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "core"}}


def settings(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "core"}, "data": data}


def k8s(task: str, **options: Any) -> dict[str, Any]:
    return {"name": task, "kubernetes.core.k8s": {"state": "present"} | options, "register": task}


TASKS: list[dict[str, Any]] = [
    k8s("namespace", definition=NAMESPACE),
    {**k8s("checked", definition=settings("checked", a="1")), "check_mode": True},
    k8s("deployment", definition=DEPLOYMENT),
    k8s("merged", definition=settings("merged", a="1")),
    k8s("applied", definition=settings("applied", a="1"), apply=True),
    k8s(
        "server_side",
        definition=settings("server-side", a="1"),
        server_side_apply={"field_manager": "test"},
        apply=True,
    ),
    {
        "name": "scaled",
        "kubernetes.core.k8s_scale": {
            "api_version": "apps/v1",
            "kind": "Deployment",
            "name": "web",
            "namespace": "core",
            "replicas": 2,
            "wait": False,
        },
        "register": "scaled",
    },
    {
        "name": "read",
        "kubernetes.core.k8s_info": {
            "api_version": "apps/v1",
            "kind": "Deployment",
            "namespace": "core",
            "label_selectors": ["app=web"],
        },
        "register": "read",
    },
]


@pytest.fixture
def clean_discovery_cache() -> Iterator[None]:
    """The client keeps discovery in a file named by the address alone, which another world may have had before."""
    for path in Path("/tmp").glob("k8srcp-*.json"):
        path.unlink(missing_ok=True)
    yield


def play(world: World, folder: Path, tasks: list[dict[str, Any]], *arguments: str) -> dict[str, Any]:
    """Run tasks in one play on the control node; what each of them registered."""
    names = [task["register"] for task in tasks]
    report = {name: "{{ " + name + " }}" for name in names}
    result = folder / "result.json"
    copy = {"content": "{{ report | to_json }}", "dest": str(result)}
    tasks = [*tasks, {"ansible.builtin.copy": copy, "vars": {"report": report}, "check_mode": False}]
    book = folder / "play.yml"
    defaults = {"group/kubernetes.core.k8s": {"kubeconfig": str(world.kubeconfig)}}
    head = {"hosts": "localhost", "gather_facts": False, "module_defaults": defaults}
    book.write_text(yaml.safe_dump([head | {"tasks": tasks}], sort_keys=False))
    environment = os.environ | {"ANSIBLE_LOCALHOST_WARNING": "False", "ANSIBLE_HOME": str(folder / "ansible")}
    interpreter = f"ansible_python_interpreter={sys.executable}"
    command = [ANSIBLE, "-i", "localhost,", "-c", "local", "-e", interpreter, str(book), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(result.read_text())
    return found


@pytest.mark.skipif(not Path(ANSIBLE).exists(), reason="there is no ansible-playbook")
def test_the_second_run_of_a_playbook_changes_nothing(
    api_world: World, tmp_path: Path, clean_discovery_cache: None
) -> None:
    first = play(api_world, tmp_path, TASKS)
    changed = {name for name, result in first.items() if result["changed"]}
    assert changed == {"namespace", "checked", "deployment", "merged", "applied", "server_side"}
    assert first["checked"]["result"]["data"] == {"a": "1"}
    assert first["read"]["resources"][0]["spec"]["replicas"] == 2

    second = play(api_world, tmp_path, TASKS)
    assert {name for name, result in second.items() if result["changed"]} == {"checked"}

    checks = [
        k8s("merged", definition=settings("merged", a="2")),
        k8s("applied", definition=settings("applied", a="2"), apply=True),
    ]
    dry = play(api_world, tmp_path, checks, "--check", "--diff")
    assert dry["merged"]["changed"] and dry["applied"]["changed"]
    assert dry["merged"]["diff"]["before"] == {"data": {"a": "1"}} or "data" in dry["merged"]["diff"]["before"]

    rest = [
        {
            "name": "scaled",
            "kubernetes.core.k8s_scale": {
                "kind": "Deployment",
                "name": "web",
                "namespace": "core",
                "replicas": 5,
                "wait": False,
            },
            "register": "scaled",
        },
        k8s("gone", state="absent", kind="ConfigMap", name="merged", namespace="core", wait=True, wait_timeout=10),
        {
            "name": "applied",
            "kubernetes.core.k8s_info": {"kind": "ConfigMap", "name": "applied", "namespace": "core"},
            "register": "applied",
        },
    ]
    third = play(api_world, tmp_path, rest)
    assert third["scaled"]["changed"] and third["gone"]["changed"]
    assert third["applied"]["resources"][0]["data"] == {"a": "1"}, "check mode must not have written"


def test_the_official_client_reads_writes_and_watches(api_world: World) -> None:
    from kubernetes import client, config, watch

    with config.new_client_from_config(str(api_world.kubeconfig)) as api:
        core = client.CoreV1Api(api)
        core.create_namespace({"metadata": {"name": "typed"}})
        made = core.create_namespaced_config_map("typed", {"metadata": {"name": "a"}, "data": {"k": "1"}})
        version = made.metadata.resource_version
        core.patch_namespaced_config_map("a", "typed", {"data": {"k": "2"}})
        events = watch.Watch().stream(
            core.list_namespaced_config_map, "typed", resource_version=version, timeout_seconds=5
        )
        event = next(iter(events))
        assert (event["type"], event["object"].data) == ("MODIFIED", {"k": "2"})
        made.data = {"k": "3"}
        with pytest.raises(client.ApiException) as refused:
            core.replace_namespaced_config_map("a", "typed", made)
        assert refused.value.status == 409
        apps = client.AppsV1Api(api)
        body = DEPLOYMENT | {"metadata": {"name": "web", "namespace": "typed"}}
        apps.create_namespaced_deployment("typed", body)
        scale = apps.patch_namespaced_deployment_scale("web", "typed", {"spec": {"replicas": 4}})
        assert scale.spec.replicas == 4
        assert client.VersionApi(api).get_code().major == "1"


def test_the_dynamic_client_finds_every_kind(api_world: World, clean_discovery_cache: None) -> None:
    from kubernetes import config
    from openshift.dynamic import DynamicClient

    with config.new_client_from_config(str(api_world.kubeconfig)) as api:
        dynamic = DynamicClient(api)
        leases = dynamic.resources.get(api_version="coordination.k8s.io/v1", kind="Lease")
        lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 5}}
        assert leases.create(body=lease, namespace="default").spec.holderIdentity == "me"
        assert leases.get(name="l", namespace="default").metadata.name == "l"
        assert dynamic.resources.get(kind="Ingress", preferred=True).group_version == "networking.k8s.io/v1"
        assert [item.metadata.name for item in leases.get(namespace="default").items] == ["l"]
