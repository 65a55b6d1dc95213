"""A container's environment is what its manifest says."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from rehearsal.images import find_image, split_reference
from rehearsal.node.container import command_line
from rehearsal.node.environment import environment_references, expand, resolve_environment
from rehearsal.node.quantity import parse_quantity
from rehearsal.node.sources import ConfigError

POD = {
    "metadata": {
        "name": "web-1",
        "namespace": "place",
        "uid": "u1",
        "labels": {"version": "5.1", "app": "x"},
        "annotations": {"note/it": "a note"},
    },
    "spec": {"nodeName": "n1", "serviceAccountName": "default"},
    "status": {"podIP": "127.46.128.1", "podIPs": [{"ip": "127.46.128.1"}], "hostIP": "127.46.0.1"},
}
CAPACITY = {"cpu": "64", "memory": "256Gi"}
OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    ("ConfigMap", "settings"): {"data": {"mode": "fast", "level": "3"}},
    ("Secret", "database"): {"data": {"dsn": base64.b64encode(b"postgresql://db").decode()}},
}


def resolve(*env: dict[str, Any], **container: Any) -> dict[str, str]:
    return resolve_environment({"env": list(env)} | container, POD, {"CLAUDE_VERSION": "5.1"}, OBJECTS, CAPACITY)


def source(**value_from: Any) -> str:
    return resolve({"name": "X", "valueFrom": value_from})["X"]


def test_image_defaults_are_replaced_by_the_manifest() -> None:
    assert resolve() == {"CLAUDE_VERSION": "5.1"}
    assert resolve({"name": "CLAUDE_VERSION", "value": "6"}) == {"CLAUDE_VERSION": "6"}


def test_later_variables_may_use_earlier_ones() -> None:
    found = resolve({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(B)-$$(A)"})
    assert found["B"] == "1-$(B)-$(A)"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "place"),
        ("metadata.uid", "u1"),
        ("metadata.labels['version']", "5.1"),
        ("metadata.labels['absent']", ""),
        ("metadata.annotations['note/it']", "a note"),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "127.46.128.1"),
        ("status.podIPs", "127.46.128.1"),
        ("status.hostIP", "127.46.0.1"),
    ],
)
def test_fields(path: str, value: str) -> None:
    assert source(fieldRef={"fieldPath": path}) == value


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unsupported fieldPath: spec\.secret"):
        source(fieldRef={"fieldPath": "spec.secret"})


def test_keys_of_config_maps_and_secrets() -> None:
    assert source(configMapKeyRef={"name": "settings", "key": "mode"}) == "fast"
    assert source(secretKeyRef={"name": "database", "key": "dsn"}) == "postgresql://db"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"configMapKeyRef": {"name": "absent", "key": "k"}}, 'configmap "absent" not found'),
        ({"secretKeyRef": {"name": "absent", "key": "k"}}, 'secret "absent" not found'),
        ({"configMapKeyRef": {"name": "settings", "key": "k"}}, "couldn't find key k in ConfigMap place/settings"),
    ],
)
def test_what_is_missing_is_named_unless_optional(reference: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        source(**reference)
    assert str(caught.value) == message
    ((kind, entry),) = reference.items()
    assert "X" not in resolve({"name": "X", "valueFrom": {kind: entry | {"optional": True}}})


def test_env_from_comes_before_env_and_may_have_a_prefix() -> None:
    env_from = [{"prefix": "S_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "database"}}]
    found = resolve({"name": "S_mode", "value": "slow"}, envFrom=env_from)
    assert found == {"CLAUDE_VERSION": "5.1", "S_mode": "slow", "S_level": "3", "dsn": "postgresql://db"}
    assert environment_references({"envFrom": env_from}) == {("ConfigMap", "settings"), ("Secret", "database")}


def test_resource_fields_are_rounded_up_and_fall_back_to_the_node() -> None:
    resources = {"limits": {"memory": "1536Mi"}, "requests": {"cpu": "250m"}}

    def field(resource: str, divisor: str = "") -> str:
        reference = {"resource": resource} | ({"divisor": divisor} if divisor else {})
        return resolve({"name": "X", "valueFrom": {"resourceFieldRef": reference}}, resources=resources)["X"]

    assert field("limits.memory", "1Gi") == "2"
    assert field("requests.cpu") == "1"
    assert field("requests.cpu", "1m") == "250"
    assert field("limits.cpu") == "64"


@pytest.mark.parametrize(
    ("text", "value"), [("500m", "0.5"), ("2Gi", str(2 * 2**30)), ("1e3", "1000"), ("3", "3"), ("1.5k", "1500")]
)
def test_quantities(text: str, value: str) -> None:
    assert parse_quantity(text) == parse_quantity(value)


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="'much' is not a quantity"):
        parse_quantity("much")


def test_expansion_leaves_unknown_names() -> None:
    assert expand("$(A) $(Z) $$ $", {"A": "1"}) == "1 $(Z) $ $"


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("claude-enhancer:5.1", ("claude-enhancer", "5.1")),
        ("registry.example.com:5000/team/claude-enhancer:5.1", ("claude-enhancer", "5.1")),
        ("busybox", ("busybox", "latest")),
        ("busybox@sha256:00", ("busybox", "latest")),
    ],
)
def test_image_references(reference: str, parts: tuple[str, str]) -> None:
    assert split_reference(reference) == parts


def test_the_image_table() -> None:
    image = find_image("claude-enhancer:5.1")
    assert image is not None
    assert image.entry == "rehearsal.app.main:main"
    assert image.env == {"CLAUDE_VERSION": "5.1"}
    assert find_image("claude-enhancer:4.9") is None
    assert find_image("nginx:1") is None


def test_a_command_replaces_the_image_s_own() -> None:
    image = find_image("claude-enhancer:5.1")
    assert image is not None
    spec = {"image": "claude-enhancer:5.1", "args": ["--x=$(A)"]}
    assert command_line(image, spec, {"A": "1"}) == ("rehearsal.app.main:main", ["claude-enhancer:5.1", "--x=1"])
    assert command_line(image, spec | {"command": ["sleep", "5"]}, {}) == (None, ["sleep", "5", "--x=$(A)"])
