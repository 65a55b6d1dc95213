"""A snapshot in ConfigMaps and files: whole, within the limits of size, and damage is seen."""

from __future__ import annotations

import base64
import json
import random
import resource
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import config_map
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import (
    Entry,
    Snapshot,
    SnapshotError,
    entry_of,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_files import InFiles, export
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_layout import (
    INDEX_KEY,
    Packed,
    body_of,
    index_of,
    packed,
)

Object = dict[str, Any]
LIMIT = 1024 * 1024
BODY_LIMIT = 3 * LIMIT


def snapshot(*texts: str) -> Snapshot:
    entries = []
    for number, text in enumerate(texts):
        ref = config_map("shop", f"c{number}")
        item = {"metadata": {"name": ref.name, "namespace": "shop"}, "data": {"text": text}}
        entries.append(entry_of(ref, item, None, "shop", ""))
    entries.append(Entry(config_map("shop", "gone"), "absent"))
    return Snapshot("snap", "shop", "shop", "5.1-a", "2026-11-20T10:00:00.000Z", {"who": "ann"}, "", tuple(entries))


def stored(one: Packed) -> Object:
    """As the API gives it back."""
    return {
        "data": one.data,
        "binaryData": {key: base64.b64encode(piece).decode() for key, piece in one.binary.items()},
    }


def noise(length: int) -> str:
    return "".join(random.Random(length).choices('abcdefghijklmnopqrstuvwxyz0123456789\n"é', k=length))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 50, 90_000, 500_000, 900_000, 1_000_000]), st.booleans()), max_size=6))
def test_any_objects_read_back_the_same_within_the_limits(sizes: list[tuple[int, bool]]) -> None:
    taken = snapshot(*(noise(size) if random_ else "x" * size for size, random_ in sizes))
    made = packed(taken)
    found = {one.name: stored(one) for one in made}
    assert len(found) == len(made)
    for one in made:
        assert one.size < LIMIT - 100_000
        assert len(json.dumps(stored(one))) < BODY_LIMIT
    index = index_of(made[0].data, "here")
    assert (index.snapshot, index.snapshot.sha256) == (taken, taken.sha256)
    for entry, wanted in zip(index.snapshot.entries, taken.entries, strict=True):
        place = index.place(entry)
        assert (body_of(entry, place, found, "here") if place else None) == wanted.body


def test_small_objects_are_readable_text_beside_the_list() -> None:
    (only,) = packed(snapshot("agent"))
    assert sorted(only.data) == ["000.configmap.c0.json", INDEX_KEY]
    assert json.loads(only.data["000.configmap.c0.json"])["data"] == {"text": "agent"}
    assert only.binary == {}


def test_what_compression_makes_small_enough_is_not_cut() -> None:
    made = packed(snapshot("x" * 1_000_000))
    (key,) = made[0].binary
    assert key == "000.configmap.c0.json.gz"


def test_damage_is_seen() -> None:
    made = packed(snapshot("agent"))
    index = index_of(made[0].data, "here")
    entry, place = index.snapshot.entries[0], index.places[0]
    assert place is not None
    key = "000.configmap.c0.json"
    changed = {"snap": {"data": {**made[0].data, key: made[0].data[key].replace("agent", "spy")}}}
    with pytest.raises(SnapshotError, match=r"here: ConfigMap shop/c0 isn't what was taken \(SHA-256"):
        body_of(entry, place, changed, "here")
    with pytest.raises(SnapshotError, match="here lacks ConfigMap shop/c0"):
        body_of(entry, place, {"snap": {"data": {}}}, "here")


@pytest.mark.parametrize("data", [{}, {INDEX_KEY: "{"}, {INDEX_KEY: '{"schema": "9"}'}, {INDEX_KEY: '{"schema": "1"}'}])
def test_what_is_no_snapshot_is_named(data: dict[str, str]) -> None:
    with pytest.raises(SnapshotError, match="ConfigMap shop/x"):
        index_of(data, "ConfigMap shop/x")


def test_more_objects_than_a_list_holds_are_refused() -> None:
    with pytest.raises(SnapshotError, match="objects, selectors: 2001 objects are more than the list of a snapshot"):
        packed(snapshot(*[""] * 2000))


# ---- files


class Drawn:
    def __init__(self, taken: Snapshot) -> None:
        self.snapshot = taken
        self.where = "here"

    def loaded(self, entries: Any) -> list[Entry]:
        return list(entries)


def test_files_are_private_and_read_back_the_same(tmp_path: Path) -> None:
    taken = Drawn(snapshot("agent", "x" * 1_000_000))
    folder, changed = export(taken, str(tmp_path / "backups"))
    assert changed
    assert sorted(file.name for file in folder.iterdir()) == [
        "000.configmap.c0.json", "001.configmap.c1.json", "snapshot.json",
    ]  # fmt: skip
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    found = InFiles(folder)
    assert found.snapshot == taken.snapshot
    assert [one.body for one in found.loaded(found.snapshot.entries)] == [one.body for one in taken.snapshot.entries]
    assert export(taken, str(tmp_path / "backups")) == (folder, False)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """Files may not grow past 64 KiB for a moment, as on a disk that is full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(
            InputError, match=r"directory: .* has no room \(File too large\): 9\d KiB are needed, and nothing"
        ):
            export(Drawn(snapshot("agent", "x" * 90_000)), str(tmp_path / "backups"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_file_that_was_changed_is_seen(tmp_path: Path) -> None:
    folder, _changed = export(Drawn(snapshot("agent")), str(tmp_path))
    file = folder / "000.configmap.c0.json"
    file.write_text(file.read_text().replace("agent", "spy"))
    found = InFiles(folder)
    with pytest.raises(SnapshotError, match="isn't what was taken"):
        found.loaded(found.snapshot.entries)
    with pytest.raises(InputError, match=r"directory: .*/snap is there already and holds something else"):
        export(Drawn(snapshot("agent")), str(tmp_path))


def test_a_folder_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"directory: .*/nowhere/snapshot\.json can't be read: No such file"):
        InFiles(tmp_path / "nowhere")
