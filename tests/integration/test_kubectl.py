"""Stock ``kubectl`` against the API server: what people type must work as they know it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rehearsal.world import World

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on PATH")

Kubectl = Callable[..., str]

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: claude-enhancer:5.0
        ports: [{containerPort: 8080, name: http}]
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
        resources: {limits: {cpu: 500m, memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
"""
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: signs.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: signs, singular: sign, kind: Sign, shortNames: [sg]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Text, type: string, jsonPath: .spec.text}
    - {name: First, type: string, jsonPath: ".spec.places[0].name"}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [text]
            properties:
              text: {type: string, minLength: 2}
              size: {type: integer, default: 3, minimum: 1}
              places: {type: array, items: {type: object, properties: {name: {type: string}}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
SIGN = """
apiVersion: example.com/v1
kind: Sign
metadata: {name: stop}
spec: {text: Stop, places: [{name: corner}]}
"""


@pytest.fixture(scope="module")
def run(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run kubectl with a home of its own, so that no cache of another cluster speaks."""
    home = tmp_path_factory.mktemp("kubectl-home")
    environment = os.environ | {"KUBECONFIG": str(kubeconfig), "HOME": str(home)}

    def call(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", *arguments]
        return subprocess.run(command, input=text, env=environment, capture_output=True, text=True, timeout=60)

    return call


@pytest.fixture(scope="module")
def kubectl(run: Callable[..., subprocess.CompletedProcess[str]]) -> Kubectl:
    """Run kubectl, insist on success without a warning, give its output."""

    def call(*arguments: str, text: str | None = None) -> str:
        done = run(*arguments, text=text)
        assert done.returncode == 0 and not done.stderr, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    call("create", "namespace", "claude-enhancer")
    return call


@pytest.fixture
def applied(kubectl: Kubectl) -> Any:
    """The manifest, applied client-side; gone afterwards."""
    kubectl("apply", "-f", "-", text=MANIFEST)
    yield
    kubectl("delete", "--ignore-not-found", "-f", "-", text=MANIFEST)


def read(kubectl: Kubectl, *what: str) -> Any:
    return json.loads(kubectl("get", *what, "-o", "json"))


def test_get_prints_the_usual_columns(kubectl: Kubectl, applied: None) -> None:
    header, row = kubectl("get", "deployments").splitlines()
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row.split()[:4] == ["web", "0/2", "0", "0"]
    wide = kubectl("get", "deploy", "-o", "wide").splitlines()
    assert wide[0].split()[5:] == ["CONTAINERS", "IMAGES", "SELECTOR"]
    assert wide[1].split()[5:] == ["web", "claude-enhancer:5.0", "app=web"]
    service = kubectl("get", "service", "web").splitlines()
    assert service[0].split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert service[1].split()[1] == "ClusterIP" and service[1].split()[4] == "80/TCP"
    assert kubectl("get", "ns", "claude-enhancer", "--no-headers").split()[:2] == ["claude-enhancer", "Active"]


def test_get_by_selector_and_output_forms(kubectl: Kubectl, applied: None) -> None:
    assert kubectl("get", "deploy", "-l", "app=web", "-o", "name") == "deployment.apps/web\n"
    assert kubectl("get", "deploy", "-l", "app!=web", "-o", "name") == ""
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert "deployment.apps/web" in kubectl("get", "all", "-o", "name")
    assert kubectl("get", "svc", "-A", "--field-selector", "metadata.name=web", "-o", "name") == "service/web\n"


def test_client_side_apply_twice_changes_nothing(kubectl: Kubectl, applied: None) -> None:
    before = read(kubectl, "deploy", "web")["metadata"]
    assert kubectl("apply", "-f", "-", text=MANIFEST) == "deployment.apps/web unchanged\nservice/web unchanged\n"
    assert read(kubectl, "deploy", "web")["metadata"] == before


def test_client_side_apply_changes_and_drops_what_the_manifest_does(kubectl: Kubectl, applied: None) -> None:
    changed = MANIFEST.replace("replicas: 2", "replicas: 5").replace('{name: A, value: "1"}, ', "")
    assert "deployment.apps/web configured" in kubectl("apply", "-f", "-", text=changed)
    found = read(kubectl, "deploy", "web")
    assert found["spec"]["replicas"] == 5
    assert found["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "B", "value": "2"}]
    assert found["metadata"]["generation"] == 2


def test_server_side_apply_twice_changes_nothing(kubectl: Kubectl) -> None:
    manifest = MANIFEST.replace("web", "ssa")
    arguments = ("apply", "--server-side", "-f", "-")
    expected = "deployment.apps/ssa serverside-applied\nservice/ssa serverside-applied\n"
    assert kubectl(*arguments, text=manifest) == expected
    before = read(kubectl, "deploy", "ssa")["metadata"]
    assert kubectl(*arguments, text=manifest) == expected
    assert read(kubectl, "deploy", "ssa")["metadata"] == before
    kubectl("delete", "-f", "-", text=manifest)


def test_server_side_apply_takes_over_from_client_side(kubectl: Kubectl, applied: None) -> None:
    changed = MANIFEST.replace("replicas: 2", "replicas: 4")
    kubectl("apply", "--server-side", "-f", "-", text=changed)
    found = json.loads(kubectl("get", "deploy", "web", "-o", "json", "--show-managed-fields"))
    assert found["spec"]["replicas"] == 4
    managers = {entry["manager"]: entry["operation"] for entry in found["metadata"]["managedFields"]}
    # kubectl itself hands the old manager's fields over, and keeps the annotation under a name of its own.
    assert managers == {"kubectl": "Apply", "kubectl-last-applied": "Apply"}


def test_server_side_apply_tells_of_a_conflict(
    kubectl: Kubectl, applied: None, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    kubectl("scale", "deploy", "web", "--replicas=7")
    refused = run("apply", "--server-side", "--field-manager=other", "-f", "-", text=MANIFEST)
    assert refused.returncode == 1
    assert "conflict" in refused.stderr and ".spec.replicas" in refused.stderr
    kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", text=MANIFEST)
    assert read(kubectl, "deploy", "web")["spec"]["replicas"] == 2


def test_strict_validation_names_the_unknown_field(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for extra in ((), ("--server-side",)):
        refused = run("apply", *extra, "-f", "-", text=MANIFEST.replace("replicas:", "replicaz:").replace("web", "bad"))
        assert refused.returncode == 1
        assert "replicaz" in refused.stderr


def test_dry_run_and_diff_write_nothing(
    kubectl: Kubectl, applied: None, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    changed = MANIFEST.replace("replicas: 2", "replicas: 9")
    assert "configured (server dry run)" in kubectl("apply", "--dry-run=server", "-f", "-", text=changed)
    compared = run("diff", "-f", "-", text=changed)
    assert compared.returncode == 1 and "+  replicas: 9" in compared.stdout
    assert read(kubectl, "deploy", "web")["spec"]["replicas"] == 2


def test_patch_scale_label_annotate_and_set_image(kubectl: Kubectl, applied: None) -> None:
    kubectl(
        "patch", "deploy", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"x:1"}]}}}}'
    )
    kubectl(
        "patch",
        "deploy",
        "web",
        "--type=json",
        "-p",
        '[{"op":"replace","path":"/spec/minReadySeconds","value":1}]'.replace("replace", "add"),
    )
    kubectl("scale", "deploy", "web", "--replicas=3", "--current-replicas=2")
    kubectl("label", "deploy", "web", "tier=front")
    kubectl("annotate", "deploy", "web", "example.com/why=test")
    found = read(kubectl, "deploy", "web")
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "x:1" and len(container["env"]) == 2
    assert found["spec"]["minReadySeconds"] == 1 and found["spec"]["replicas"] == 3
    assert found["metadata"]["labels"]["tier"] == "front"
    assert found["metadata"]["annotations"]["example.com/why"] == "test"
    kubectl("label", "deploy", "web", "tier-")
    assert "tier" not in read(kubectl, "deploy", "web")["metadata"]["labels"]
    kubectl("set", "image", "deploy/web", "web=x:2")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={..image}") == "x:2"


def test_describe_reads_an_object_and_its_events(kubectl: Kubectl, applied: None) -> None:
    about = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "claude-enhancer", "name": "web"}
    about["uid"] = read(kubectl, "deploy", "web")["metadata"]["uid"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "web."},
        "involvedObject": about,
        "reason": "ScalingReplicaSet",
        "message": "Scaled up",
        "type": "Normal",
        "source": {"component": "deployment-controller"},
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    kubectl("create", "-f", "-", text=json.dumps(event))
    described = kubectl("describe", "deploy", "web")
    assert "2 desired" in described and "claude-enhancer:5.0" in described
    assert "ScalingReplicaSet" in described and "deployment-controller" in described
    assert "10.96." in kubectl("describe", "service", "web")
    assert "ScalingReplicaSet" in kubectl("events", "--for", "deployment/web")
    columns = kubectl("get", "events").splitlines()[0].split()
    assert columns == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


def test_wait_sees_a_change(kubectl: Kubectl, applied: None, kubeconfig: Path) -> None:
    watch = ["kubectl", "wait", "deploy/web", "--for=condition=Available", "--timeout=20s"]
    with subprocess.Popen(watch, env=os.environ | {"KUBECONFIG": str(kubeconfig)}, stdout=subprocess.PIPE) as waiting:
        condition = {"type": "Available", "status": "True", "reason": "Test"}
        condition |= {"lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"}
        status = json.dumps({"status": {"conditions": [condition]}})
        kubectl("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", status)
        output, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0 and b"condition met" in output


def test_delete_waits_until_it_is_gone(kubectl: Kubectl, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    kubectl("apply", "-f", "-", text=MANIFEST)
    deleted = kubectl("delete", "-f", "-", text=MANIFEST)
    assert deleted.splitlines() == ['deployment.apps "web" deleted', 'service "web" deleted']
    missing = run("get", "deploy", "web")
    assert missing.returncode == 1
    assert missing.stderr == 'Error from server (NotFound): deployments.apps "web" not found\n'


def test_create_of_common_kinds_from_the_command_line(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=a=1")
    kubectl("create", "secret", "generic", "hidden", "--from-literal=k=v")
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "reads", "--role=reader", "--user=ops")
    kubectl("create", "deployment", "plain", "--image=claude-enhancer:5.0", "--replicas=2", "--port=8080")
    assert read(kubectl, "configmap", "settings")["data"] == {"a": "1"}
    assert read(kubectl, "secret", "hidden")["data"] == {"k": "dg=="}
    assert read(kubectl, "role", "reader")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    ]
    assert read(kubectl, "rolebinding", "reads")["subjects"][0]["name"] == "ops"
    spec = read(kubectl, "deployment", "plain")["spec"]
    assert spec["replicas"] == 2 and spec["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] == 8080
    assert len(kubectl("create", "token", "robot").strip()) > 20
    for what in ("configmap/settings", "secret/hidden", "sa/robot", "role/reader", "rolebinding/reads", "deploy/plain"):
        kubectl("delete", what)


def test_roles_of_a_user_are_honoured(
    kubectl: Kubectl, run: Callable[..., subprocess.CompletedProcess[str]], api_world: World
) -> None:
    ops = ("--kubeconfig", str(api_world.home / "kubeconfig-ops"))
    assert run(*ops, "auth", "can-i", "list", "pods").stdout == "no\n"
    refused = run(*ops, "get", "pods")
    assert refused.returncode == 1 and 'User "ops" cannot list resource "pods"' in refused.stderr
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "reads", "--role=reader", "--user=ops")
    assert run(*ops, "auth", "can-i", "list", "pods").stdout == "yes\n"
    assert run(*ops, "get", "pods").returncode == 0
    assert run(*ops, "get", "secrets").returncode == 1
    assert run(*ops, "auth", "whoami").stdout.splitlines()[1].split() == ["Username", "ops"]
    kubectl("delete", "role/reader", "rolebinding/reads")


def test_custom_resources(kubectl: Kubectl, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    kubectl("apply", "-f", "-", text=DEFINITION)
    kubectl("wait", "crd/signs.example.com", "--for=condition=Established", "--timeout=5s")
    assert kubectl("apply", "-f", "-", text=SIGN) == "sign.example.com/stop created\n"
    assert kubectl("apply", "-f", "-", text=SIGN) == "sign.example.com/stop unchanged\n"
    assert kubectl("get", "sg").split() == ["NAME", "TEXT", "FIRST", "stop", "Stop", "corner"]
    assert read(kubectl, "sign", "stop")["spec"]["size"] == 3
    refused = run("patch", "sign", "stop", "--type=merge", "-p", '{"spec":{"size":0,"text":5}}')
    assert "spec.size" in refused.stderr and "spec.text" in refused.stderr
    kubectl("patch", "sign", "stop", "--subresource=status", "--type=merge", "-p", '{"status":{"seen":true}}')
    found = read(kubectl, "sign", "stop")
    assert found["status"] == {"seen": True} and found["metadata"]["generation"] == 1
    kubectl("delete", "crd", "signs.example.com")
    assert run("get", "signs").returncode == 1


def test_discovery_and_explain(kubectl: Kubectl, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    names = {line.split()[0] for line in kubectl("api-resources", "--no-headers").splitlines()}
    expected = {"pods", "services", "deployments", "leases", "endpointslices", "customresourcedefinitions", "roles"}
    assert expected <= names
    assert {"apps/v1", "v1", "autoscaling/v2"} <= set(kubectl("api-versions").split())
    assert "replicas" in kubectl("explain", "deployment.spec")
    assert "Server Version: v1.36" in run("version").stdout


def test_a_namespace_takes_its_content_with_it(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "short-lived")
    kubectl("-n", "short-lived", "apply", "-f", "-", text=MANIFEST)
    kubectl("delete", "namespace", "short-lived", "--timeout=10s")
    assert kubectl("get", "deploy,svc", "-A", "-l", "app=web", "-o", "name") == ""


def test_get_watch_streams_rows(kubectl: Kubectl, applied: None, kubeconfig: Path) -> None:
    command = ["kubectl", "get", "deploy", "web", "--watch", "--no-headers"]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        try:
            assert watching.stdout.readline().split()[:2] == ["web", "0/2"]
            kubectl("scale", "deploy", "web", "--replicas=6")
            assert watching.stdout.readline().split()[:2] == ["web", "0/6"]
        finally:
            watching.terminate()
