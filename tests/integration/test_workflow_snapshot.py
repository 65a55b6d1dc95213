"""Rows taken from a real PostgreSQL and put back to the letter, whatever the tables are like."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DataIntegrityError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from tests.integration.postgres_server import (
    APPLICATION,
    LOG,
    ODD,
    ODD_TABLE,
    STATES,
    Place,
    Server,
    schemas,
    state,
)

# ---- there and back


def test_a_snapshot_is_recorded_verified_and_put_back_to_the_letter(place: Place) -> None:
    before = {table: place.rows(table) for table in (STATES, LOG)}
    taken = place.take(STATES, LOG, release_id="r1")
    assert taken["changed"]
    assert taken["name"].startswith("claude_enhancer_5_0_backup_20")
    assert taken["snapshot"]["rows"] == 200
    assert taken["snapshot"]["taken_by"] == "kim"
    assert place.run("verify", name=taken["name"])["tables"] == taken["snapshot"]["tables"]
    place.sql(
        f"DELETE FROM workflow_states WHERE id = '{state(1)}';"
        f"UPDATE workflow_states SET phase = 7, status = 'completed' WHERE id = '{state(2)}';"
        f"INSERT INTO workflow_states (id, name, version) VALUES ('{state(101)}', 'new', '5.1');"
        "INSERT INTO workflow_phase_log (workflow_id, phase, result, version, pod, started_at)"
        f" VALUES ('{state(101)}', 0, 'success', '5.1', 'p', now()), ('{state(3)}', 1, 'failure', '5.1', 'p', now())"
    )
    compared = place.run("compare", name=taken["name"])
    counts = {
        name: [table[what] for what in ("added", "changed", "deleted")] for name, table in compared["tables"].items()
    }
    assert counts == {STATES: [1, 1, 1], LOG: [2, 0, 1]}
    assert not compared["equal"]
    assert {"what": "deleted", "key": {"id": state(1)}} in compared["tables"][STATES]["keys"]
    written = {table: place.rows(table) for table in (STATES, LOG)}
    restored = place.restore(taken["name"])
    assert {table: place.rows(table) for table in (STATES, LOG)} == before
    assert {name: table["kept"] for name, table in restored["tables"].items()} == {STATES: 2, LOG: 2}
    kept = place.sql(
        f"SELECT id::text, name, status, kept_because FROM {restored['archive']}.workflow_states ORDER BY 1"
    )
    assert kept == [(state(2), "w2", "completed", "changed"), (state(101), "new", "running", "added")]
    columns = "id, workflow_id, phase, result, detail, version, pod, started_at, ended_at"
    archived = place.sql(f"SELECT ROW({columns})::text FROM {restored['archive']}.workflow_phase_log")
    assert set(archived) == written[LOG] - before[LOG]
    assert place.run("compare", name=taken["name"])["equal"]


def test_a_second_restore_changes_nothing(place: Place) -> None:
    taken = place.take(STATES, LOG)
    place.sql("UPDATE workflow_states SET name = 'other'")
    assert place.restore(taken["name"])["changed"]
    made = schemas(place, "%kept%")
    again = place.restore(taken["name"])
    assert (again["changed"], again["archive"], again["sequences"]) == (False, None, [])
    assert schemas(place, "%kept%") == made
    assert len(place.run("status")["restores"]) == 1


def test_numbers_given_out_since_are_not_given_out_again(place: Place) -> None:
    taken = place.take(STATES, LOG)
    log = (
        "INSERT INTO workflow_phase_log (workflow_id, phase, result, version, pod, started_at)"
        f" VALUES ('{state(1)}', 0, 'success', '5.1', 'p', now()) RETURNING id"
    )
    ((given,),) = place.sql(log)
    restored = place.restore(taken["name"])
    assert place.sql(f"SELECT id FROM {restored['archive']}.workflow_phase_log") == [(given,)]
    assert place.sql(log) == [(given + 1,)]


def test_a_sequence_that_was_set_back_is_raised(place: Place) -> None:
    taken = place.take(STATES, LOG)
    place.sql("ALTER TABLE workflow_phase_log ALTER COLUMN id RESTART WITH 1")
    restored = place.restore(taken["name"])
    assert restored["sequences"] == ["public.workflow_phase_log_id_seq"]
    assert place.sql("SELECT nextval('workflow_phase_log_id_seq')") == [(101,)]


def test_a_release_taken_up_again_keeps_its_snapshot(place: Place) -> None:
    first = place.take(STATES, LOG, release_id="r1")
    place.sql("DELETE FROM workflow_phase_log")
    again = place.take(STATES, LOG, release_id="r1")
    assert (again["changed"], again["name"]) == (False, first["name"])
    assert again["snapshot"] == first["snapshot"]
    assert place.run("verify", application=APPLICATION, release_id="r1")["name"] == first["name"]


def test_check_mode_says_what_would_be_and_changes_nothing(place: Place) -> None:
    would = place.take(STATES, LOG, check_mode=True)
    assert would["changed"]
    assert schemas(place, "%backup%") == schemas(place, "release_snapshots") == []
    taken = place.take(STATES, LOG)
    place.sql("DELETE FROM workflow_phase_log")
    rows = place.rows(STATES)
    planned = place.restore(taken["name"], check_mode=True)
    assert planned["changed"]
    assert planned["tables"][LOG]["deleted"] == 100
    assert planned["diff"]["before"][LOG] == {"added": 0, "changed": 0, "deleted": 100}
    assert place.sql("SELECT count(*) FROM workflow_phase_log") == [(0,)]
    assert place.rows(STATES) == rows
    assert place.run("pause", tables=[STATES], check_mode=True)["tables"] == [STATES]
    assert place.run("status")["paused"] == []


# ---- odd tables


def test_odd_names_types_and_shapes_come_back_to_the_letter(server: Server) -> None:
    place = server.database(ODD)
    tables = (ODD_TABLE, "tree", "parts")
    before = {table: place.rows(table) for table in tables}
    taken = place.take(*tables)
    place.sql(
        # The values of a unique column change places, a number keeps its value and loses a digit.
        f"UPDATE {ODD_TABLE} SET few = 'z' WHERE \"a b\" = 1;"
        f"UPDATE {ODD_TABLE} SET few = 'x', price = 1.10 WHERE \"a b\" = 2;"
        f"UPDATE {ODD_TABLE} SET few = 'y', ratio = 0 WHERE \"a b\" = 1;"
        "DELETE FROM tree WHERE id = 1; INSERT INTO tree (parent, note) VALUES (NULL, 'other');"
        "UPDATE parts SET day = '2026-12-24' WHERE id = 0; DELETE FROM parts WHERE id = 5"
    )
    restored = place.restore(taken["name"])
    assert {table: place.rows(table) for table in tables} == before
    assert [table["changed"] for table in restored["tables"].values()] == [2, 0, 0]
    kept = place.sql(
        f'SELECT few, kept_at, _kept_at IS NOT NULL FROM {restored["archive"]}."Na\'me \\ %s :x" ORDER BY 1'
    )
    assert [(few, when) for few, _at, when in kept] == [("x", True), ("y", True)]
    comment = "SELECT obj_description(oid, 'pg_constraint'), convalidated FROM pg_constraint"
    assert place.sql(f"{comment} WHERE conname = 'tree_parent_fkey'") == [("kin", True)]


def test_two_tables_of_one_name_are_kept_apart(server: Server) -> None:
    place = server.database(
        "CREATE SCHEMA a; CREATE TABLE a.t (id int PRIMARY KEY);"
        "CREATE SCHEMA b; CREATE TABLE b.t (id int PRIMARY KEY); INSERT INTO a.t VALUES (1); INSERT INTO b.t VALUES (2)"
    )
    taken = place.take("a.t", "b.t")
    place.sql("DELETE FROM a.t; DELETE FROM b.t")
    place.restore(taken["name"])
    assert (place.sql("SELECT id FROM a.t"), place.sql("SELECT id FROM b.t")) == ([(1,)], [(2,)])


def test_triggers_of_the_application_do_not_touch_what_comes_back(place: Place) -> None:
    place.sql(
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END';"
        "CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON workflow_states FOR EACH ROW EXECUTE FUNCTION stamp();"
        "CREATE TRIGGER off BEFORE INSERT ON workflow_states FOR EACH ROW EXECUTE FUNCTION stamp();"
        "CREATE TRIGGER always BEFORE UPDATE ON workflow_states FOR EACH ROW EXECUTE FUNCTION stamp();"
        "ALTER TABLE workflow_states DISABLE TRIGGER off; ALTER TABLE workflow_states ENABLE ALWAYS TRIGGER always"
    )
    before = place.rows(STATES)
    taken = place.take(STATES, LOG)
    place.sql("UPDATE workflow_states SET phase = 0")
    place.restore(taken["name"])
    assert place.rows(STATES) == before
    states = place.sql("SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1")
    assert states == [("always", "A"), ("off", "D"), ("stamp", "O")]


def test_columns_added_since_keep_their_values(place: Place) -> None:
    taken = place.take(STATES, LOG)
    place.sql(
        "ALTER TABLE workflow_states ADD COLUMN rank integer DEFAULT 5;"
        f"UPDATE workflow_states SET rank = 9, phase = 0 WHERE id = '{state(7)}';"
        f"DELETE FROM workflow_states WHERE id = '{state(8)}'"
    )
    place.sql("DROP INDEX workflow_states_running; CREATE INDEX by_rank ON workflow_states (rank)")
    restored = place.restore(taken["name"])
    assert restored["structure"] == [
        "column public.workflow_states.rank is new",
        "index workflow_states_running of public.workflow_states is gone; it was: CREATE INDEX workflow_states_running"
        " ON public.workflow_states USING btree (updated_at) WHERE (status = 'running'::text)",
        "index by_rank of public.workflow_states is new",
    ]
    ranks = place.sql(f"SELECT phase, rank FROM workflow_states WHERE id IN ('{state(7)}', '{state(8)}') ORDER BY id")
    assert ranks == [(7, 9), (0, 5)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE workflow_states DROP COLUMN owner", "workflow_states has no column owner any more"),
        ("ALTER TABLE workflow_states ALTER phase TYPE bigint", "workflow_states.phase is bigint, and was integer"),
        (
            "ALTER TABLE workflow_phase_log ADD COLUMN x int NOT NULL DEFAULT 1; ALTER TABLE workflow_phase_log ALTER x"
            " DROP DEFAULT",
            "workflow_phase_log.x is new, must not be NULL and has no default",
        ),
    ],
)
def test_rows_that_no_longer_fit_are_told_before_anything_is_locked(place: Place, change: str, told: str) -> None:
    taken = place.take(STATES, LOG)
    place.sql(change)
    with pytest.raises(DataIntegrityError, match=told):
        place.restore(taken["name"])


@pytest.mark.parametrize(
    ("made", "table", "told"),
    [
        ("CREATE TABLE t (id int)", "t", "has no primary key"),
        ("CREATE VIEW v AS SELECT 1 AS a", "v", "is a view"),
        ("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c () INHERITS (p)", "p", "inherit from it"),
    ],
)
def test_what_can_not_be_kept_row_by_row_is_refused(server: Server, made: str, table: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        server.database(made).take(table)


# ---- a large table


def test_a_million_rows(server: Server, record_property: Any) -> None:
    place = server.database(
        "CREATE TABLE many (id bigint PRIMARY KEY, name text, at timestamptz, doc jsonb);"
        "INSERT INTO many SELECT n, 'workflow ' || n, '2026-01-01'::timestamptz + n * interval '1 s',"
        " jsonb_build_object('n', n, 'phase', n % 8) FROM generate_series(1, 1000000) n"
    )
    times = {}

    def timed(name: str, work: Any) -> dict[str, Any]:
        began = time.monotonic()
        answer: dict[str, Any] = work()
        times[name] = round(time.monotonic() - began, 2)
        return answer

    taken = timed("take", lambda: place.take("many"))
    place.sql("UPDATE many SET name = 'other' WHERE id % 1000 = 0; DELETE FROM many WHERE id % 1000 = 1")
    timed("verify", lambda: place.run("verify", name=taken["name"]))
    timed("compare", lambda: place.run("compare", name=taken["name"]))
    restored = timed("restore", lambda: place.restore(taken["name"]))
    again = timed("restore again", lambda: place.restore(taken["name"]))
    record_property("seconds", times)
    print(times)
    assert restored["tables"]["public.many"] == {"added": 0, "changed": 1000, "deleted": 1000, "kept": 1000}
    assert not again["changed"]
    assert taken["snapshot"]["rows"] == 1_000_000
