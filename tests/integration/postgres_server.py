"""A PostgreSQL of the tests' own, on a Unix socket: the application's tables, and roles that may more or less."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.actions import carry_out
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.options import open_database
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author
from ansible_collections.claude_enhancer.rollout.plugins.modules.workflow_snapshot import SPEC
from rehearsal import postgres

APPLICATION = "claude-enhancer"
PASSWORD = "it's \\ secret"
_NUMBERS = count(1)
# claude owns the tables, reader may look, locked needs a password, and nobody is a superuser but postgres.
_ROLES = f"""
CREATE ROLE claude LOGIN;
CREATE ROLE reader LOGIN;
CREATE ROLE stranger LOGIN;
CREATE ROLE locked LOGIN PASSWORD '{PASSWORD.replace("'", "''")}';
"""
_HBA = "local all locked scram-sha-256\nlocal all all trust\n"


@dataclass(frozen=True)
class Place:
    """One database; ``options`` are those of the module's ``database``."""

    folder: Path
    name: str

    def options(self, user: str = "claude", **more: Any) -> dict[str, Any]:
        return {"host": str(self.folder), "name": self.name, "user": user, **more}

    def connect(self, user: str = "claude", **more: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(self.folder), dbname=self.name, user=user, autocommit=True, **more)

    def sql(self, statement: str, user: str = "claude") -> list[tuple[Any, ...]]:
        """Run ``statement``; its rows."""
        with self.connect(user) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def run(self, action: str, *, user: str = "claude", check_mode: bool = False, **options: Any) -> dict[str, Any]:
        """What the module answers, without the start of a process."""
        given = {"action": action, "database": self.options(user), **options}
        return carry_out(SPEC.validate(given), opened, Author("kim", "ops1"), SystemClock(), check_mode=check_mode)

    def take(self, *tables: str, release_id: str | None = None, **options: Any) -> dict[str, Any]:
        return self.run(
            "take", application=APPLICATION, version="5.0", release_id=release_id, tables=list(tables), **options
        )

    def restore(self, name: str, **options: Any) -> dict[str, Any]:
        return self.run("restore", name=name, reason="test", **options)

    def rows(self, table: str) -> set[tuple[Any, ...]]:
        """Every row, all values as text."""
        return set(self.sql(f"SELECT t::text FROM {table} t", "postgres"))

    def wait_until_idle(self) -> None:
        """Until no session of the module is left, which takes the server a moment after a kill."""
        deadline = time.monotonic() + 15
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'claude_enhancer.rollout'"
        while self.sql(query, "postgres") != [(0,)]:
            assert time.monotonic() < deadline, "a session of a killed module lives on"
            time.sleep(0.05)


def opened(described: Any) -> Database:
    def no_cluster() -> Any:
        raise AssertionError("no pod was asked for")

    return open_database(described, no_cluster, 600)


@dataclass(frozen=True)
class Server:
    """A running server."""

    folder: Path

    def database(self, *schema: str) -> Place:
        """A fresh database, owned by claude, with ``schema`` (SQL) in it."""
        place = Place(self.folder, f"test_{next(_NUMBERS)}")
        Place(self.folder, "postgres").sql(f"CREATE DATABASE {place.name} OWNER claude", "postgres")
        place.sql("ALTER SCHEMA public OWNER TO claude", "postgres")
        for statements in schema:
            place.sql(statements)
        return place


def program(name: str, *arguments: str | Path) -> list[str]:
    """The command line that runs a program of PostgreSQL as a user it lets run it."""
    user = postgres.server_user()
    before = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    return [*before, str(postgres.binaries() / name), *map(str, arguments)]


@contextlib.contextmanager
def running(*options: str) -> Iterator[Server]:
    """A server that durability was taken from; ``options`` are further settings such as ``ssl=on``."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = postgres.server_user()
    if user:
        shutil.chown(folder, user)
    folder.chmod(0o755)
    data = folder / "data"
    initdb = program(
        "initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", data
    )
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    (data / "pg_hba.conf").write_text(_HBA + "host all all 127.0.0.0/8 trust\n")
    settings = ["fsync=off", "listen_addresses=", f"unix_socket_directories={folder}", "shared_buffers=64MB", *options]
    command = program("postgres", "-D", data, *(word for setting in settings for word in ("-c", setting)))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _wait(Place(folder, "postgres"), process)
        Place(folder, "postgres").sql(_ROLES, "postgres")
        yield Server(folder)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(place: Place, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, (place.folder / "log").read_text()
        try:
            place.sql("SELECT 1", "postgres")
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, (place.folder / "log").read_text()
            time.sleep(0.05)


def schema_of_the_application() -> str:
    """The tables of the sample application."""
    return postgres.SCHEMA.read_text()


STATES, LOG = "public.workflow_states", "public.workflow_phase_log"
FILL = """
INSERT INTO workflow_states (id, name, phase, payload, version)
SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'w' || n, n % 8, jsonb_build_object('n', n), '5.0'
FROM generate_series(1, 100) n;
INSERT INTO workflow_phase_log (workflow_id, phase, result, version, pod, started_at)
SELECT id, phase, 'success', '5.0', 'pod-1', now() FROM workflow_states;
"""
# Names with quotes, a key whose column is called as one of ours, types whose text is subtle, kin, partitions.
ODD = """
CREATE TYPE mood AS ENUM ('fine', 'not so');
CREATE DOMAIN short AS text CHECK (length(value) < 40);
CREATE SCHEMA "Odd ""one";
CREATE TABLE "Odd ""one"."Na'me \\ %s :x" (
    "a b" integer, "what" text COLLATE "C", "kept_at" timestamptz, feeling mood, few short, price numeric,
    ratio float8, raw bytea, listed text[], span int4range, doc json, gap interval,
    twice integer GENERATED ALWAYS AS ("a b" * 2) STORED, PRIMARY KEY ("what", "a b"), UNIQUE (few)
);
CREATE TABLE tree (id serial PRIMARY KEY, parent integer REFERENCES tree ON DELETE CASCADE, note text);
COMMENT ON CONSTRAINT tree_parent_fkey ON tree IS 'kin';
CREATE TABLE parts (id integer, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
INSERT INTO "Odd ""one"."Na'me \\ %s :x" VALUES
    (1, 'é', '2026-01-01 12:00:00.123456+02', 'fine', 'x', 1.10, 'NaN', '\\x00ff', '{"a,b",NULL}', '[1,5)',
     '{"b" : 1}', '1 mon'),
    (2, 'E''', NULL, 'not so', 'y', 1.1, '-0', NULL, NULL, NULL, NULL, NULL);
INSERT INTO tree (parent, note) VALUES (NULL, 'root'), (1, 'branch'), (2, 'leaf');
INSERT INTO parts SELECT n, date '2026-01-01' + n * 30 FROM generate_series(0, 10) n;
"""
ODD_TABLE = '"Odd ""one"."Na\'me \\ %s :x"'


def state(number: int) -> str:
    """Id of a workflow that ``FILL`` made."""
    return f"00000000-0000-0000-0000-{number:012}"


def schemas(place: Place, like: str) -> list[str]:
    """Names of the schemas that match ``like``."""
    found = place.sql(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{like}' ORDER BY 1")
    return [name for (name,) in found]
