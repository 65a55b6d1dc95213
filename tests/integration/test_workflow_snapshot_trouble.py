"""Snapshots when things go wrong or several are at work: nothing lost, nothing half done, and it is said why."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DatabaseForbiddenError,
    DatabaseLockedError,
    DatabaseSlowError,
    DataIntegrityError,
    DataSnapshotError,
    MissingTableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from tests.integration.postgres_server import (
    APPLICATION,
    LOG,
    STATES,
    Place,
    opened,
    schemas,
    state,
)

# ---- what goes wrong


def test_a_table_outside_that_refers_to_new_rows_stops_the_restore_and_nothing_changed(place: Place) -> None:
    taken = place.take(STATES, LOG)
    place.sql(
        f"INSERT INTO workflow_states (id, name, version) VALUES ('{state(500)}', 'new', '5.1');"
        "CREATE TABLE bills (id int PRIMARY KEY, workflow uuid REFERENCES workflow_states ON DELETE CASCADE);"
        f"INSERT INTO bills VALUES (1, '{state(500)}')"
    )
    rows = place.rows(STATES)
    with pytest.raises(DataIntegrityError, match=r"public\.bills isn't among the tables of the snapshot.*rolled back"):
        place.restore(taken["name"])
    assert place.rows(STATES) == rows
    assert place.sql("SELECT count(*) FROM bills") == [(1,)]
    assert schemas(place, "%kept%") == []


def test_a_result_that_is_not_the_snapshot_is_rolled_back(place: Place) -> None:
    taken = place.take(STATES, LOG)
    place.sql(
        f"DELETE FROM workflow_phase_log WHERE id < 10; CREATE RULE lost AS ON INSERT TO {LOG} DO INSTEAD NOTHING"
    )
    rows = place.rows(LOG)
    with pytest.raises(DataIntegrityError, match=r"verification failed: public\.workflow_phase_log.*people must look"):
        place.restore(taken["name"])
    assert place.rows(LOG) == rows
    assert place.run("status")["restores"] == []


def test_a_snapshot_someone_touched_is_not_restored(place: Place) -> None:
    taken = place.take(STATES, LOG)
    place.sql(f"UPDATE {taken['name']}.workflow_states SET phase = 0; DROP TABLE {taken['name']}.workflow_phase_log")
    for action in (lambda: place.run("verify", name=taken["name"]), lambda: place.restore(taken["name"])):
        with pytest.raises(DataSnapshotError) as caught:
            action()
        assert "copy of public.workflow_states has checksum" in caught.value.message
        assert "copy of public.workflow_phase_log is gone" in caught.value.message


def test_who_holds_a_table_is_named_and_nobody_waits_behind_for_long(place: Place) -> None:
    taken = place.take(STATES, LOG)
    place.sql("DELETE FROM workflow_phase_log")
    with place.connect(application_name="slow app") as holder, holder.transaction():
        holder.execute("SELECT * FROM workflow_states FOR UPDATE")
        holder.execute("UPDATE workflow_states SET phase = 0")
        began = time.monotonic()
        with pytest.raises(DatabaseLockedError, match=r"pid \d+ \(role claude, slow app, .* on public.workflow_states"):
            place.restore(taken["name"], lock_timeout=1)
        assert time.monotonic() - began < 5
    assert place.restore(taken["name"])["changed"]


def test_a_missing_table_and_a_missing_right_are_named(place: Place) -> None:
    with pytest.raises(MissingTableError, match=r"no_such, public\.nor_this: no such table"):
        place.take(STATES, "no_such", "public.nor_this")
    with pytest.raises(DatabaseForbiddenError, match="permission denied for table workflow_states"):
        place.take(STATES, user="stranger")
    place.sql("GRANT SELECT ON workflow_states TO reader")
    with pytest.raises(DatabaseForbiddenError, match="permission denied for database"):
        place.take(STATES, user="reader")
    with pytest.raises(DatabaseForbiddenError, match="permission denied for database"):
        place.take(STATES, user="reader", check_mode=True)
    with pytest.raises(DataSnapshotError, match="there is no snapshot of claude-enhancer"):
        place.run("verify", application=APPLICATION)


def test_a_reader_can_look_and_not_touch(place: Place) -> None:
    taken = place.take(STATES, LOG)
    place.sql(
        f"GRANT USAGE ON SCHEMA release_snapshots, {taken['name']} TO reader;"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public, release_snapshots, {taken['name']} TO reader"
    )
    assert place.run("verify", user="reader", name=taken["name"])["name"] == taken["name"]
    assert place.run("compare", user="reader", name=taken["name"])["equal"]
    assert [each["name"] for each in place.run("status", user="reader")["snapshots"]] == [taken["name"]]
    place.sql("DELETE FROM workflow_phase_log WHERE id = 1")
    with pytest.raises(DatabaseForbiddenError):
        place.restore(taken["name"], user="reader")


def test_rows_hidden_by_a_policy_are_an_error_not_missing(place: Place) -> None:
    place.sql(
        "ALTER TABLE workflow_states ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY early ON workflow_states USING (phase < 3);"
        "GRANT SELECT ON workflow_states TO reader"
    )
    place.sql(f"GRANT CREATE ON DATABASE {place.name} TO reader", "postgres")
    with pytest.raises(DatabaseForbiddenError, match="row-level security"):
        place.take(STATES, user="reader")


def test_a_statement_that_takes_too_long_is_ended(place: Place) -> None:
    database = opened(place.options())
    database.run("SET statement_timeout = '100ms'")
    with pytest.raises(DatabaseSlowError, match="statement_timeout"):
        database.rows("SELECT pg_sleep(5)::text AS x")
    database.close()


def test_all_that_is_wrong_with_the_options_is_told_at_once(place: Place) -> None:
    with pytest.raises(InputError) as caught:
        place.run("restore", keep_days=-1, lock_timeout=0)
    for option in ("name:", "application:", "keep_days:", "lock_timeout:"):
        assert option in caught.value.message


# ---- several at once


INSERT = """
WITH made AS (INSERT INTO workflow_states (id, name, version) VALUES (gen_random_uuid(), %s, '5.1') RETURNING id)
INSERT INTO workflow_phase_log (workflow_id, phase, result, version, pod, started_at)
SELECT id, 0, 'success', '5.1', %s, now() FROM made"""


class Writer(threading.Thread):
    """An application that never stops writing; ``acknowledged`` is what the database told it was written."""

    def __init__(self, place: Place, number: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: set[str] = set()
        self.refused: list[Exception] = []
        self._place, self._number, self._ending = place, number, threading.Event()

    def run(self) -> None:
        with self._place.connect() as connection:
            step = 0
            while not self._ending.is_set():
                step += 1
                name = f"live-{self._number}-{step}"
                try:
                    with connection.transaction():
                        # Holding a table by a look and then asking for more is what deadlocks are made of.
                        connection.execute("SELECT count(*) FROM workflow_states")
                        connection.execute(INSERT.encode(), (name, name))
                except psycopg.Error as error:
                    self.refused.append(error)
                else:
                    self.acknowledged.add(name)

    def end(self) -> set[str]:
        self._ending.set()
        self.join(20)
        return self.acknowledged


def test_no_row_is_lost_while_others_write_all_the_time(place: Place) -> None:
    writers = [Writer(place, number) for number in range(3)]
    for writer in writers:
        writer.start()
    archives = []
    taken = place.take(STATES, LOG, release_id="r1")
    for _ in range(4):
        time.sleep(0.3)
        archives.append(place.restore(taken["name"])["archive"])
    written = set().union(*(writer.end() for writer in writers))
    assert [writer.refused for writer in writers] == [[], [], []]
    assert len(written) > 100
    found: set[str] = set()
    for schema in ["public", taken["name"], *filter(None, archives)]:
        states = {name for (name,) in place.sql(f"SELECT name FROM {schema}.workflow_states")}
        logged = {pod for (pod,) in place.sql(f"SELECT pod FROM {schema}.workflow_phase_log")}
        assert states >= logged - {"pod-1"}, "a row and what refers to it are never parted"
        found |= states & logged
    assert written - found == set()
    dangling = "workflow_phase_log l LEFT JOIN workflow_states s ON s.id = l.workflow_id WHERE s.id IS NULL"
    assert place.sql(f"SELECT count(*) FROM {dangling}") == [(0,)]


def test_two_of_one_release_at_once_take_one_snapshot(place: Place) -> None:
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(place.take(STATES, LOG, release_id="r1"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer["changed"] for answer in answers) == [False, False, True]
    assert len({answer["name"] for answer in answers}) == 1
    assert len(schemas(place, "%backup%")) == 1


def test_a_second_run_says_who_is_at_work(place: Place) -> None:
    busy = opened(place.options())
    with (
        busy.alone("snapshots in release_snapshots", 1),
        pytest.raises(DatabaseLockedError, match=r"another run is at work .*pid \d+, role claude"),
    ):
        place.take(STATES, lock_timeout=0.3)
    busy.close()
    assert place.take(STATES)["changed"]
