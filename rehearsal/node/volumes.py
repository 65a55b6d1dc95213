"""Volumes as folders: what is in them (pure), and how it gets onto the disk in one step."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from rehearsal.node.environment import data_of, field_value, resource_value
from rehearsal.node.sources import ConfigError, Objects, Reference
from rehearsal.objects import Object

Files = dict[str, bytes]
SERVICE_ACCOUNT_CA = "kube-root-ca.crt"


def volume_references(volume: Object) -> set[Reference]:
    """The ConfigMaps and Secrets a volume shows."""
    found: set[Reference] = set()
    for part in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
        if part.get("configMap"):
            found.add(("ConfigMap", part["configMap"]["name"]))
        if part.get("secret"):
            found.add(("Secret", _secret_name(part["secret"])))
    return found


def volume_files(volume: Object, pod: Object, objects: Objects, capacity: Mapping[str, str]) -> Files | None:
    """The files of a volume by path; None for one that starts empty. Raises ConfigError."""
    if "emptyDir" in volume:
        return None
    if "projected" in volume:
        files: Files = {}
        for source in volume["projected"].get("sources") or []:
            files |= _source_files(source, pod, objects, capacity)
        return files
    return _source_files(volume, pod, objects, capacity)


def _source_files(source: Object, pod: Object, objects: Objects, capacity: Mapping[str, str]) -> Files:
    if source.get("configMap") is not None:
        return _object_files("ConfigMap", source["configMap"]["name"], source["configMap"], pod, objects)
    if source.get("secret") is not None:
        return _object_files("Secret", _secret_name(source["secret"]), source["secret"], pod, objects)
    if source.get("downwardAPI") is not None:
        return {
            item["path"]: _downward(item, pod, capacity).encode() for item in source["downwardAPI"].get("items") or []
        }
    if source.get("serviceAccountToken") is not None:
        # No program here talks to the API with its pod's own identity.
        return {}
    kinds = ", ".join(key for key in source if key != "name")
    raise ConfigError(f"volume {source.get('name', '')!r}: {kinds or 'nothing'} is not supported here")


def _secret_name(source: Object) -> str:
    return str(source.get("secretName") or source.get("name"))


def _downward(item: Object, pod: Object, capacity: Mapping[str, str]) -> str:
    if "fieldRef" in item:
        return field_value(item["fieldRef"]["fieldPath"], pod)
    reference = item["resourceFieldRef"]
    container = next(each for each in pod["spec"]["containers"] if each["name"] == reference["containerName"])
    return resource_value(reference, container, capacity)


def _object_files(kind: str, name: str, source: Object, pod: Object, objects: Objects) -> Files:
    item = objects.get((kind, name))
    if item is None:
        if source.get("optional") or name == SERVICE_ACCOUNT_CA:
            return {}
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data = data_of(item | {"kind": kind})
    if not source.get("items"):
        return data
    files = {}
    for chosen in source["items"]:
        if chosen["key"] in data:
            files[chosen["path"]] = data[chosen["key"]]
        elif not source.get("optional"):
            place = f"{pod['metadata']['namespace']}/{name}"
            raise ConfigError(f"{kind.lower()} references non-existent config key: {chosen['key']} in {place}")
    return files


def write_atomically(folder: Path, files: Files) -> bool:
    """Make ``folder`` show exactly ``files``; whether that was a change. Readers see the old set or the new one.

    As the kubelet does: the files are in a folder of their own, ``..data`` points to it and is swapped by a rename,
    and each visible name is a link through ``..data``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / "..data"
    if current.exists() and _read_all(current) == files:
        return False
    fresh = folder / f"..{time.time_ns()}"
    for path, content in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    fresh.mkdir(exist_ok=True)
    old = os.readlink(current) if current.is_symlink() else None
    partial = folder / "..data_tmp"
    partial.symlink_to(fresh.name)
    partial.replace(current)
    _link_names(folder, {path.split("/")[0] for path in files})
    if old is not None:
        shutil.rmtree(folder / old)
    return True


def _link_names(folder: Path, names: set[str]) -> None:
    shown = {entry.name for entry in folder.iterdir() if not entry.name.startswith("..")}
    for name in names - shown:
        (folder / name).symlink_to(f"..data/{name}")
    for name in shown - names:
        (folder / name).unlink()


def _read_all(folder: Path) -> Files:
    real = folder.resolve()
    return {str(path.relative_to(real)): path.read_bytes() for path in real.rglob("*") if path.is_file()}


def mount(root: Path, mounts: list[Object], volumes: Path) -> None:
    """Show volumes (folders below ``volumes``) at their mount paths below ``root``."""
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    for each in sorted(mounts, key=lambda entry: len(entry["mountPath"])):
        target = root / each["mountPath"].lstrip("/")
        source = volumes / each["name"]
        if each.get("subPath"):
            source /= each["subPath"]
            if not source.exists():
                source.mkdir(parents=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_symlink():
            if target.is_dir() and not any(target.iterdir()):
                target.rmdir()
            target.symlink_to(source)
