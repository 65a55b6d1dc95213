"""Names of snapshots, retention, and names and values as SQL: what must hold whatever people call their things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.checksums import checksum
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.names import (
    DAY,
    LONGEST,
    Kept,
    archive_name,
    copy_names,
    free_name,
    snapshot_name,
    to_prune,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import identifier, literal, same
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

AT = 1_795_168_800.0  # 2026-11-20 10:00:00 UTC
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60)


def test_a_snapshot_is_named_by_what_when_and_which_version() -> None:
    name = snapshot_name("claude-enhancer", "5.0", AT)
    assert name == "claude_enhancer_5_0_backup_20261120_100000"
    assert archive_name(name, AT + 1800) == "claude_enhancer_5_0_kept_20261120_103000"


@pytest.mark.parametrize(
    ("prefix", "version", "told"),
    [
        ("---", "5.0", "prefix: '---' has no letter or digit"),
        ("claude", "", "version: '' has no letter or digit"),
        ("a" * 40, "5.0", "prefix: .* is too long: .* has 67 characters, and PostgreSQL keeps 63; give at most 36"),
    ],
)
def test_what_can_not_be_a_name_is_told(prefix: str, version: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        snapshot_name(prefix, version, AT)


@given(prefix=st.text(max_size=20), version=st.text(max_size=10))
def test_a_snapshots_name_needs_no_quotes(prefix: str, version: str) -> None:
    try:
        name = snapshot_name(prefix, version, AT)
    except InputError:
        return
    assert name.isascii()
    assert name.islower()
    assert name.replace("_", "a").isalnum()
    assert name[0].isalpha()
    assert len(name) <= LONGEST


@given(st.lists(st.tuples(NAMES, st.sampled_from(["t", "t_2", "state", "é" * 31, "x" * 63])), max_size=12, unique=True))
def test_copies_have_names_of_their_own_that_fit(tables: list[tuple[str, str]]) -> None:
    copies = copy_names(tables)
    assert len(set(copies)) == len(copies) == len(tables)
    assert all(len(copy.encode()) <= LONGEST for copy in copies)


def test_a_column_of_the_archive_gives_way() -> None:
    assert free_name("kept_at", ["id", "kept_at", "_kept_at"]) == "__kept_at"


KEPT = st.builds(
    Kept,
    name=st.uuids().map(str),
    application=st.sampled_from(["a", "b"]),
    release_id=st.sampled_from([None, "r1", "r2", "r3"]),
    taken_at=st.floats(0, 30 * DAY),
)


@given(
    snapshots=st.lists(KEPT, max_size=12, unique_by=lambda kept: kept.name),
    keep_days=st.floats(0, 30),
    protected=st.sets(st.sampled_from(["r1", "r2"])),
)
def test_only_old_unprotected_snapshots_go_and_never_the_newest(
    snapshots: list[Kept], keep_days: float, protected: set[str]
) -> None:
    now = 30 * DAY
    going = set(to_prune(snapshots, now, keep_days, protected))
    for kept in snapshots:
        old = now - kept.taken_at > keep_days * DAY
        of_same = [each for each in snapshots if each.application == kept.application]
        newest = max(of_same, key=lambda each: (each.taken_at, each.name))
        assert (kept.name in going) == (old and kept.release_id not in protected and kept is not newest)


@given(NAMES)
def test_an_identifier_holds_its_name_and_nothing_gets_out_of_it(name: str) -> None:
    quoted = identifier(name)
    assert quoted[0] == quoted[-1] == '"'
    inner = quoted[1:-1]
    assert inner.replace('""', "") == inner.replace('"', ""), "every quote is doubled"
    assert inner.replace('""', '"') == name


@given(NAMES)
def test_a_text_holds_its_value_and_nothing_gets_out_of_it(text: str) -> None:
    quoted = literal(text)
    escaped = quoted.startswith(" E'")
    assert escaped == ("\\" in text)
    inner = quoted.removeprefix(" E")[1:-1]
    assert "'" not in inner.replace("''", "")
    if escaped:
        inner = inner.replace("\\\\", "\\")
    assert inner.replace("''", "'") == text


def test_other_values() -> None:
    assert [literal(value) for value in (None, True, 7, -7, {"a": [1]})] == [
        "NULL",
        "true",
        "7",
        "(-7)",
        "'{\"a\": [1]}'::jsonb",
    ]
    assert same(["a", "b"], "l", "r") == 'l."a" = r."a" AND l."b" = r."b"'


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_no_identifier_without_a_name(name: str) -> None:
    with pytest.raises(InputError, match="can't be a name"):
        identifier(name)


def test_no_text_with_a_zero_byte() -> None:
    with pytest.raises(InputError, match="zero byte"):
        literal("a\0")


@given(st.integers(-(2**127), 2**127), st.integers(-(2**127), 2**127))
def test_a_checksum_is_32_digits_of_any_sums(first: int, second: int) -> None:
    found = checksum(first, str(second))
    assert len(found) == 32
    assert (int(found[:16], 16) - first) % 2**64 == (int(found[16:], 16) - second) % 2**64 == 0


def test_a_row_that_is_there_twice_is_told() -> None:
    assert checksum(5 + 5, 0) != checksum(0, 0)
