"""Writes paused, old snapshots pruned, two databases compared."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DatabaseError,
    DataSnapshotError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from tests.integration.api_only import PROGRAM, environment, write_playbook
from tests.integration.postgres_server import (
    APPLICATION,
    FILL,
    LOG,
    ODD,
    STATES,
    Place,
    Server,
    schema_of_the_application,
    schemas,
    state,
)

# ---- writes paused, snapshots pruned


def test_paused_writes_are_refused_in_every_session_until_they_are_resumed(place: Place) -> None:
    taken = place.take(STATES, LOG)
    with place.connect() as old:
        old.execute("SELECT 1")
        paused = place.run("pause", tables=[STATES, LOG], reason="wrong phases")
        assert paused["tables"] == [STATES, LOG]
        assert not place.run("pause", tables=[STATES, LOG])["changed"]
        statements = (
            "INSERT INTO workflow_states (id, name, version) VALUES (gen_random_uuid(), 'x', '1')",
            "UPDATE workflow_states SET phase = 1",
            "DELETE FROM workflow_phase_log",
            "TRUNCATE workflow_phase_log",
        )
        for connection in (old, place.connect(), place.connect("postgres")):
            for statement in statements:
                with pytest.raises(
                    psycopg.errors.ReadOnlySqlTransaction, match=r"paused since .* by kim on ops1: wrong phases"
                ):
                    connection.execute(statement.encode())
            assert connection.execute("SELECT count(*) FROM workflow_states").fetchone() == (100,)
    (first, _second) = place.run("status")["paused"]
    assert (first["table"], first["by"], first["reason"]) == (LOG, "kim on ops1", "wrong phases")
    place.sql(
        "ALTER TABLE workflow_phase_log DISABLE TRIGGER USER; DELETE FROM workflow_phase_log WHERE id = 1;"
        "ALTER TABLE workflow_phase_log ENABLE TRIGGER USER"
    )
    restored = place.restore(taken["name"])
    assert restored["tables"][LOG]["deleted"] == 1
    assert restored["paused"] == [LOG, STATES], "still paused after a restore"
    assert place.run("resume")["paused"] == []
    assert not place.run("resume")["changed"]
    place.sql("UPDATE workflow_states SET phase = 1")


def test_partitions_are_paused_too(server: Server) -> None:
    place = server.database(ODD)
    place.run("pause", tables=["parts"])
    for table in ("parts", "parts_1"):
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            place.sql(f"DELETE FROM {table}")
    assert place.run("resume", tables=["parts"])["tables"] == ["public.parts", "public.parts_1", "public.parts_2"]
    place.sql("DELETE FROM parts_1")


def test_old_snapshots_go_the_newest_and_the_protected_stay(place: Place) -> None:
    names = [place.take(STATES, release_id=f"r{number}")["name"] for number in range(4)]
    assert len(set(names)) == 4, "four within a second"
    place.sql("UPDATE release_snapshots.snapshots SET taken_at = taken_at - interval '8 days' WHERE release_id <> 'r1'")
    ask: dict[str, Any] = {"application": APPLICATION, "protect": ["r2"]}
    assert place.run("prune", check_mode=True, **ask)["pruned"] == [names[0], names[3]]
    assert place.run("prune", **ask)["pruned"] == [names[0], names[3]]
    assert schemas(place, "%backup%") == sorted([names[1], names[2]])
    assert not place.run("prune", **ask)["changed"]
    with pytest.raises(DataSnapshotError, match="its rows are gone"):
        place.restore(names[0])
    place.sql("UPDATE release_snapshots.snapshots SET taken_at = taken_at - interval '90 days'")
    assert place.run("prune", application=APPLICATION)["pruned"] == [names[2]]
    assert schemas(place, "%backup%") == [names[1]], "the newest is never removed"


def test_what_others_put_beside_a_snapshot_is_not_removed_with_it(place: Place) -> None:
    names = [place.take(STATES)["name"] for _ in range(2)]
    place.sql(
        f"CREATE TABLE {names[0]}.mine (a int);"
        "UPDATE release_snapshots.snapshots SET taken_at = taken_at - interval '8 days'"
    )
    with pytest.raises(DatabaseError, match="other objects depend on it"):
        place.run("prune", application=APPLICATION)
    assert place.run("verify", name=names[0])


# ---- two databases


def test_two_databases_are_compared_row_for_row(server: Server) -> None:
    blue, green = (
        server.database(schema_of_the_application(), FILL.replace("now()", "'2026-01-01'")) for _ in range(2)
    )
    copy = (
        "UPDATE workflow_states SET created_at = '2026-01-01', updated_at = '2026-01-01';"
        "UPDATE workflow_phase_log SET ended_at = '2026-01-01'"
    )
    for place in (blue, green):
        place.sql(copy)
    ask: dict[str, Any] = {"tables": [STATES, LOG], "other": {"database": green.options()}}
    same = blue.run("compare", **ask)
    assert same["equal"]
    assert [table["rows"] for table in same["tables"].values()] == [100, 100]
    green.sql(
        "DELETE FROM workflow_phase_log WHERE id = 5;"
        f"UPDATE workflow_states SET payload = '{{}}' WHERE id = '{state(9)}';"
        f"INSERT INTO workflow_states (id, name, version) VALUES ('{state(500)}', 'surplus', '5.1')"
    )
    found = blue.run("compare", **ask)
    assert not found["equal"]
    assert found["tables"][LOG]["keys"] == [{"what": "missing", "key": {"id": 5}}]
    assert found["tables"][STATES]["keys"] == [
        {"what": "changed", "key": {"id": state(9)}},
        {"what": "surplus", "key": {"id": state(500)}},
    ]
    green.sql("UPDATE workflow_states SET phase = (phase + 1) % 8")
    many = blue.run("compare", limit=3, **ask)["tables"][STATES]
    assert (len(many["keys"]), many["complete"]) == (3, False)


def test_rows_that_arrive_late_are_waited_for(server: Server) -> None:
    place = server.database(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1)"
    )
    late = threading.Timer(0.8, lambda: place.sql("INSERT INTO b VALUES (1)"))
    late.start()
    found = place.run("compare", tables=["a"], other={"database": place.options(), "tables": ["b"]}, wait=15)
    late.join()
    assert found["equal"]


def test_tables_that_can_not_be_compared_are_told(server: Server) -> None:
    place = server.database("CREATE TABLE a (id int PRIMARY KEY, x int); CREATE TABLE b (id int PRIMARY KEY, y int)")
    with pytest.raises(InputError, match=r"x is only in public\.a, y is only in public\.b"):
        place.run("compare", tables=["a"], other={"database": place.options(), "tables": ["b"]})


def test_the_role_stops_a_release_whose_green_lacks_rows(server: Server, tmp_path: Path) -> None:
    place = server.database("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
    place.sql("INSERT INTO a VALUES (1)")
    task = {
        "name": "Compare",
        "ansible.builtin.include_role": {"name": "claude_enhancer.rollout.data", "tasks_from": "compare"},
        "vars": {
            "release_database": place.options(),
            "release_database_tables": ["a"],
            "release_database_green": {"database": place.options(), "tables": ["b"]},
            "release_database_sync_wait": 0,
        },
    }
    play = [str(PROGRAM), str(write_playbook(tmp_path / "play.yml", [task]))]
    surroundings = environment(tmp_path, tmp_path / "none")
    done = subprocess.run(play, env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert '"missing": 1' in done.stdout
    place.sql("INSERT INTO b VALUES (1)")
    done = subprocess.run(play, env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
