"""The workflow state through a release: kept and dumped when it is opened, put back when people ask, writes paused
where that fails.

Each test goes on where the one before it left the world.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Json
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from rehearsal.world import NAMESPACE, World
from tests.integration.deploying import command, environment
from tests.integration.postgres_server import FILL, state
from tests.integration.world_fixture import rehearsal, start_world

NAME = "data"
BLOCK = "171"
SPOIL = f"""
UPDATE workflow_states SET phase = 0, name = 'spoiled' WHERE name LIKE 'w%';
DELETE FROM workflow_states WHERE id = '{state(5)}';
INSERT INTO workflow_states (id, name, version, status) VALUES (gen_random_uuid(), 'of 5.1', '5.1', 'completed');
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("worlds")
    try:
        world = start_world(NAME, base, "--blue-replicas", "1", "--block", BLOCK, "--load", "50")
        # None of them runs, so no pod takes one over and changes it.
        sql(world, FILL + "UPDATE workflow_states SET status = 'paused'")
        sql(world, "ALTER ROLE claude CREATEDB", user="postgres")
        yield world
    finally:
        down = rehearsal("down", "--name", NAME, base=base)
        assert down.returncode == 0, down.stderr


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dumps") / "of the workflow state"


def sql(world: World, statement: str, user: str = "claude") -> list[tuple[Any, ...]]:
    with psycopg.connect(world.postgres_dsn, user=user, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def rows(world: World) -> tuple[set[Any], ...]:
    """What these tests wrote, as text; users write too meanwhile."""
    ours = (
        "workflow_states t WHERE id::text LIKE '00000000-%' OR name = 'of 5.1'",
        "workflow_phase_log t WHERE pod = 'pod-1'",
    )
    return tuple(set(sql(world, f"SELECT t::text FROM {these}")) for these in ours)


def play(world: World, playbook: str, **extra: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(playbook, **extra), env=environment(world), capture_output=True, text=True, timeout=170, check=False
    )


def events(world: World, what: str) -> list[Json]:
    """Data of the journal's events of that kind; none where there is no journal."""
    store = JournalStore(Cluster.from_options({"kubeconfig": str(world.kubeconfig)}), NAMESPACE, "claude-enhancer")
    journal = store.read()
    return [event["data"] for event in journal.events if event["what"] == what] if journal else []


def snapshots(world: World) -> list[str]:
    return [name for (name,) in sql(world, "SELECT name FROM release_snapshots.snapshots ORDER BY 1")]


def paused(world: World) -> bool:
    """Whether the application could write nothing now."""
    try:
        sql(world, f"UPDATE workflow_states SET owner = owner WHERE id = '{state(1)}'")
    except psycopg.errors.ReadOnlySqlTransaction:
        return True
    return False


def test_a_database_that_can_not_be_used_stops_the_release_before_it_begins(world: World) -> None:
    done = play(world, "open", release_database_tables=["public.workflow_states", "public.nowhere"])
    assert done.returncode == 2
    assert "tables: public.nowhere: no such table in database claude_enhancer" in done.stdout
    assert "release_snapshots" not in {name for (name,) in sql(world, "SELECT nspname FROM pg_namespace")}
    assert events(world, "opened") == []


def test_opening_a_release_keeps_the_workflow_state_and_says_so_in_the_journal(world: World, dumps: Path) -> None:
    dump = {"directory": str(dumps), "test_restore": True}
    done = play(world, "open", release_database_dump=dump)
    assert done.returncode == 0, done.stdout + done.stderr
    (name,) = snapshots(world)
    assert re.fullmatch(r"claude_enhancer_5_0_backup_\d{8}_\d{6}", name)
    (noted,) = events(world, "data_snapshot")
    assert noted["name"] == name
    assert noted["rows"] >= 200
    for line in (dumps / f"{name}.pgc.sha256").read_text().splitlines():
        checksum, file = line.split(maxsplit=1)
        assert hashlib.sha256((dumps / file).read_bytes()).hexdigest() == checksum
    assert {file.name for file in dumps.iterdir()} == {f"{name}.pgc", f"{name}-structure.sql", f"{name}.pgc.sha256"}
    assert dumps.stat().st_mode & 0o077 == 0
    assert sql(world, "SELECT datname FROM pg_database WHERE datname LIKE 'try%'") == []


def test_a_release_taken_up_again_keeps_its_snapshot(world: World, dumps: Path) -> None:
    before = snapshots(world)
    done = play(world, "open", release_database_dump={"directory": str(dumps)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert snapshots(world) == before
    assert len(events(world, "data_snapshot")) == 1


def test_the_rows_come_back_when_people_ask(world: World) -> None:
    before = rows(world)
    sql(world, SPOIL)
    done = play(world, "restore_data", restore_force=True, restore_reason="wrong phases")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(world) == before
    assert not paused(world)
    (noted,) = events(world, "data_restored")
    assert noted["reason"] == "wrong phases"
    kept = sql(world, f"SELECT count(*) FROM {noted['archive']}.workflow_states WHERE name IN ('spoiled', 'of 5.1')")
    assert kept == [(100,)], "99 that were changed, one that was added"


def test_without_a_yes_nothing_is_done(world: World) -> None:
    done = subprocess.run(
        command("restore_data"),
        env=environment(world),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        input="",
    )
    assert done.returncode == 2
    assert "restore_force=true" in done.stdout
    assert not paused(world)


def test_where_it_fails_writes_stay_paused_and_it_says_so(world: World) -> None:
    before = rows(world)
    sql(world, SPOIL + "CREATE RULE lost AS ON INSERT TO workflow_phase_log DO INSTEAD NOTHING")
    spoiled = rows(world)
    done = play(world, "restore_data", restore_force=True)
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "verification failed: public.workflow_phase_log" in said
    assert "Writes stay paused where they were; people must look" in said
    assert paused(world)
    assert rows(world) == spoiled
    sql(world, "DROP RULE lost ON workflow_phase_log")
    again = play(world, "restore_data", restore_force=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert rows(world) == before
    assert not paused(world)


def test_a_rollback_takes_the_rows_back_only_when_asked(world: World) -> None:
    before = rows(world)
    sql(world, SPOIL)
    spoiled = rows(world)
    ask = {"rollback_force": True, "rollback_reason": "error_rate_high"}
    done = play(world, "rollback", **ask)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(world) == spoiled
    done = play(world, "rollback", rollback_data=True, **ask)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(world) == before
