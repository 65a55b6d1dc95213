"""The module killed at any moment of a snapshot and of a restore: all of it is there, or nothing."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from typing import Any

from tests.integration.postgres_server import APPLICATION, Place, Server, schemas
from tests.integration.snapshot_process import start

KILLS = 12
SEED = 20261121
# Enough rows that a snapshot takes long beside the start of the process.
MANY = """
CREATE TABLE parents (id integer PRIMARY KEY, name text UNIQUE);
CREATE TABLE children (id serial PRIMARY KEY, parent integer NOT NULL REFERENCES parents ON DELETE CASCADE, doc jsonb);
INSERT INTO parents SELECT n, 'p' || n FROM generate_series(1, 20000) n;
INSERT INTO children (parent, doc) SELECT n, jsonb_build_object('n', n) FROM generate_series(1, 20000) n;
"""
TABLES = ["public.parents", "public.children"]
SPOIL = """
UPDATE parents SET name = 'other ' || id WHERE id % 2 = 0;
DELETE FROM parents WHERE id % 5 = 0;
INSERT INTO parents SELECT n, 'new ' || n FROM generate_series(30001, 32000) n;
INSERT INTO children (parent, doc) SELECT n, '{}' FROM generate_series(30001, 32000) n;
"""


def ended(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the module answered."""
    output, _ = process.communicate(timeout=60)
    answer: dict[str, Any] = json.loads(output)
    assert process.returncode == 0, answer
    return answer


def moments(place: Place, action: str, **options: Any) -> tuple[float, float]:
    """Seconds after its start at which a run of the module opened its session, and ended."""
    began = time.monotonic()
    process = start(place, action, **options)
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'claude_enhancer.rollout'"
    while place.sql(query, "postgres") == [(0,)] and process.poll() is None:
        time.sleep(0.01)
    opened = time.monotonic() - began
    assert ended(process)["changed"]
    return opened, time.monotonic() - began


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    time.sleep(seconds)
    process.kill()
    process.communicate()


def content(place: Place) -> tuple[set[Any], ...]:
    return tuple(place.rows(table) for table in TABLES)


def test_a_killed_snapshot_is_whole_or_not_there(server: Server) -> None:
    place = server.database(MANY)
    ask = {"application": APPLICATION, "version": "5.0", "tables": TABLES}
    opened, whole = moments(place, "take", **ask)
    chance = random.Random(SEED)
    outcomes = []
    for number in range(KILLS):
        kill_after(start(place, "take", release_id=f"r{number}", **ask), chance.uniform(opened * 0.5, whole))
        place.wait_until_idle()
        recorded = place.run("status")["snapshots"]
        assert schemas(place, "%backup%") == sorted(each["name"] for each in recorded), "no schema without its record"
        for each in recorded:
            place.run("verify", name=each["name"])
        outcomes.append(any(each["release_id"] == f"r{number}" for each in recorded))
        assert place.take(*TABLES, release_id=f"r{number}")["changed"] != outcomes[-1], "taken up where it was left"
    print(f"{KILLS} kills between {opened:.2f} and {whole:.2f} s: {sum(outcomes)} whole, {outcomes.count(False)} not")
    assert False in outcomes


def test_a_killed_restore_is_whole_or_did_nothing(server: Server) -> None:
    place = server.database(MANY)
    name = place.take(*TABLES)["name"]
    before = content(place)
    place.sql(SPOIL)
    opened, whole = moments(place, "restore", name=name)
    chance = random.Random(SEED)
    outcomes = []
    for _ in range(KILLS):
        place.sql(SPOIL)
        spoiled = content(place)
        archives = schemas(place, "%kept%")
        kill_after(start(place, "restore", name=name), chance.uniform(opened * 0.9, whole))
        place.wait_until_idle()
        now = content(place)
        assert now in (before, spoiled)
        outcomes.append(now == before)
        assert (len(schemas(place, "%kept%")) > len(archives)) == outcomes[-1], "the archive is there with the restore"
        place.restore(name)
        assert content(place) == before
    print(
        f"{KILLS} kills between {opened:.2f} and {whole:.2f} s: {sum(outcomes)} whole, {outcomes.count(False)} nothing"
    )
    assert False in outcomes
    keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"
    assert place.sql(keys) == [(1,)]


def test_sigterm_leaves_nothing_behind(server: Server) -> None:
    place = server.database(MANY)
    ask = {"application": APPLICATION, "version": "5.0", "tables": TABLES}
    opened, whole = moments(place, "take", **ask)
    process = start(place, "take", release_id="r1", **ask)
    time.sleep((opened + whole) / 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    place.wait_until_idle()
    recorded = [each["name"] for each in place.run("status")["snapshots"]]
    assert schemas(place, "%backup%") == sorted(recorded)
    assert place.take(*TABLES, release_id="r1")["name"]
