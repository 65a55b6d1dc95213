"""Volumes show what they should, and change in one step."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

import pytest

from rehearsal.node.sources import ConfigError
from rehearsal.node.volumes import mount, volume_files, volume_references, write_atomically

POD = {
    "metadata": {"name": "web-1", "namespace": "place", "labels": {"b": "2", "a": "1"}},
    "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]},
}
OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    ("ConfigMap", "one"): {
        "data": {"a.md": "A", "b.md": "B"},
        "binaryData": {"raw": base64.b64encode(b"\xff").decode()},
    },
    ("ConfigMap", "two"): {"data": {"c.md": "C"}},
    ("Secret", "key"): {"data": {"token": base64.b64encode(b"hush").decode()}},
}


def files(**volume: Any) -> dict[str, bytes] | None:
    return volume_files({"name": "v"} | volume, POD, OBJECTS, {"cpu": "64", "memory": "1Gi"})


def test_config_maps_and_secrets() -> None:
    assert files(configMap={"name": "one"}) == {"a.md": b"A", "b.md": b"B", "raw": b"\xff"}
    assert files(configMap={"name": "one", "items": [{"key": "a.md", "path": "x/y.md"}]}) == {"x/y.md": b"A"}
    assert files(secret={"secretName": "key"}) == {"token": b"hush"}
    assert files(emptyDir={}) is None


def test_several_sources_in_one_folder() -> None:
    sources = [
        {"configMap": {"name": "one", "items": [{"key": "b.md", "path": "b.md"}]}},
        {"configMap": {"name": "two"}},
        {"secret": {"name": "key"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    volume = {"projected": {"sources": sources}}
    assert files(**volume) == {"b.md": b"B", "c.md": b"C", "token": b"hush", "labels": b'a="1"\nb="2"'}
    assert volume_references(volume) == {("ConfigMap", "one"), ("ConfigMap", "two"), ("Secret", "key")}


def test_limits_by_the_downward_api() -> None:
    item = {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}
    assert files(downwardAPI={"items": [item]}) == {"cpu": b"2"}


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "absent"}}, 'configmap "absent" not found'),
        (
            {"configMap": {"name": "one", "items": [{"key": "z", "path": "z"}]}},
            "configmap references non-existent config key: z in place/one",
        ),
        ({"nfs": {"server": "s"}}, "volume 'v': nfs is not supported here"),
    ],
)
def test_what_cannot_be_shown_is_named(volume: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        files(**volume)
    assert str(caught.value) == message


def test_an_optional_volume_may_be_missing() -> None:
    assert files(configMap={"name": "absent", "optional": True}) == {}


def shown(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith("..")}


def test_a_folder_follows_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    assert write_atomically(folder, {"a": b"1", "b": b"2"}) is True
    assert shown(folder) == {"a": "1", "b": "2"}
    assert write_atomically(folder, {"a": b"1", "b": b"2"}) is False
    assert write_atomically(folder, {"b": b"3", "c": b"4"}) is True
    assert shown(folder) == {"b": "3", "c": "4"}
    assert len([path for path in folder.iterdir() if path.name.startswith("..2") or path.name[2:].isdigit()]) == 1


def test_a_reader_never_sees_half_an_update(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    write_atomically(folder, {"a": b"0", "b": b"0"})
    over = threading.Event()
    mixed: list[tuple[bytes, bytes]] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        while not over.is_set():
            real = (folder / "..data").resolve()
            try:
                pair = (real / "a").read_bytes(), (real / "b").read_bytes()
            except FileNotFoundError:
                continue
            reads += 1
            if pair[0] != pair[1]:
                mixed.append(pair)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        write_atomically(folder, {"a": b"%d" % number, "b": b"%d" % number})
    over.set()
    reader.join()
    assert reads
    assert mixed == []


def test_mounts_below_the_container_s_root(tmp_path: Path) -> None:
    volumes, root = tmp_path / "volumes", tmp_path / "root"
    write_atomically(volumes / "agents", {"a.md": b"A"})
    (volumes / "cache").mkdir()
    mounts = [
        {"name": "agents", "mountPath": "/etc/app/agents"},
        {"name": "cache", "mountPath": "/var/cache"},
        {"name": "agents", "mountPath": "/one/file.md", "subPath": "a.md"},
    ]
    for _ in range(2):
        mount(root, mounts, volumes)
    assert (root / "etc/app/agents/a.md").read_text() == "A"
    assert (root / "one/file.md").read_text() == "A"
    (root / "var/cache/kept").write_text("yes")
    assert (volumes / "cache/kept").exists()
    write_atomically(volumes / "agents", {"a.md": b"new"})
    assert (root / "etc/app/agents/a.md").read_text() == "new"
