"""The ways to a database: libpq by socket, address, DSN and TLS; psql in a pod; and every way it can be closed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import (
    DatabaseAwayError,
    DatabaseError,
    DatabaseForbiddenError,
    DatabaseFullError,
    DatabaseSlowError,
    MissingTableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.options import (
    DATABASE_ARGUMENTS,
    open_database,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sql import identifier, literal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ForbiddenError,
    InputError,
    NotFoundError,
    UnreachableError,
)
from rehearsal import postgres
from tests.integration.api_only import PROGRAM, environment, write_playbook
from tests.integration.exec_endpoint import TOKEN, Endpoint, serving
from tests.integration.postgres_server import LOG, PASSWORD, STATES, Place, Server, opened, running

HOST = "127.77.0.1"
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    found = opened(server.database().options())
    yield found
    found.close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    path = f"{postgres.binaries()}:{os.environ['PATH']}"
    with serving(HOST, {"PATH": path}) as started:
        yield started


def in_pod(endpoint: Endpoint, place: Place, timeout: float = 30, token: str = TOKEN, **options: Any) -> Database:
    cluster = {"host": endpoint.url, "api_key": token, "validate_certs": False}
    given = {"namespace": "data", "selector": "app=db", **options.pop("pod", {})}
    described = place.options(connect_timeout=5, pod=given, **options)
    return open_database(described, lambda: Cluster.from_options(cluster), timeout)


# ---- names and values reach the server as they are


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, text=NAMES)
def test_any_name_and_any_text_arrive(database: Database, name: str, text: str) -> None:
    cut = name.encode()[:63].decode(errors="ignore")
    assert database.rows(f"SELECT {literal(text)} AS {identifier(name)}") == [{cut: text}]


def test_any_name_and_any_text_arrive_through_psql(endpoint: Endpoint, place: Place) -> None:
    session = in_pod(endpoint, place)
    for text in (
        "plain",
        "it's",
        'say "x"',
        "back\\slash \\' \\n",
        "a\nb\n\nc",
        ":name :'x' ::text",
        "ü€😀" * 50,
        "; \\q",
        "$$",
    ):
        assert session.rows(f"SELECT {literal(text)} AS {identifier(text[:10])}") == [{text[:10]: text}]
    session.close()


# ---- libpq


def test_a_dsn_as_url_and_as_words(place: Place) -> None:
    for dsn in (f"postgresql://claude@/{place.name}?host={place.folder}", f"host={place.folder} dbname={place.name}"):
        found = opened({"dsn": dsn, "user": "claude"})
        assert found.row("SELECT current_database()::text AS d, current_user::text AS u") == {
            "d": place.name,
            "u": "claude",
        }
        found.close()


def test_a_broken_dsn_is_told_without_its_password() -> None:
    with pytest.raises(InputError) as caught:
        opened({"dsn": "postgresql://kim:s3cret@[half/claude"})
    assert "database.dsn" in caught.value.message
    assert "s3cret" not in str(caught.value.payload())


def test_a_password_from_the_option_the_environment_and_a_file(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(DatabaseForbiddenError, match=r"database\.password"):
        opened(place.options("locked"))
    with pytest.raises(DatabaseForbiddenError, match=r"database\.password") as caught:
        opened(place.options("locked", password="wr0ng"))
    assert "wr0ng" not in str(caught.value.payload())
    opened(place.options("locked", password=PASSWORD)).close()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    opened(place.options("locked")).close()
    monkeypatch.delenv("PGPASSWORD")
    escaped = PASSWORD.replace("\\", "\\\\")
    (tmp_path / "pass").write_text(f"*:*:*:locked:{escaped}\n")
    (tmp_path / "pass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pass"))
    opened(place.options("locked")).close()


def test_what_is_not_there_is_told(place: Place, tmp_path: Path) -> None:
    with pytest.raises(DatabaseAwayError, match=r"can't be reached.*database\.host"):
        opened({"host": str(tmp_path), "name": "x", "user": "claude"})
    with pytest.raises(DatabaseAwayError, match=r"can't be reached.*database\.host"):
        opened({"host": "127.77.0.9", "name": "x", "user": "claude"})
    with pytest.raises(DatabaseForbiddenError, match=r'"nowhere" does not exist; check database\.name'):
        opened({**place.options(), "name": "nowhere"})
    with pytest.raises(DatabaseForbiddenError, match='role "nobody" does not exist'):
        opened(place.options("nobody"))


def test_a_connection_that_is_lost_is_told(place: Place) -> None:
    found = opened(place.options())
    place.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'claude_enhancer.rollout'",
        "postgres",
    )
    with pytest.raises(DatabaseAwayError):
        found.rows("SELECT 1 AS one")
    found.close()


def test_tls_is_verified(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    other.cert_pem.write_to_path(str(tmp_path / "other"))
    issued = authority.issue_cert(HOST)
    issued.private_key_pem.write_to_path(str(tmp_path / "key"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
    user = postgres.server_user()
    for file in ("key", "cert"):
        (tmp_path / file).chmod(0o600)
        if user:
            shutil.chown(tmp_path / file, user)
    # The server's user must get to them; pytest keeps its folders to itself, one more with workers.
    for folder in (tmp_path, *(parent for parent in tmp_path.parents if parent.name.startswith(("pytest-", "popen-")))):
        folder.chmod(0o755)
    tls = ("ssl=on", f"ssl_cert_file={tmp_path}/cert", f"ssl_key_file={tmp_path}/key", f"listen_addresses={HOST}")
    with running(*tls):
        options = {"host": HOST, "name": "postgres", "user": "claude", "sslmode": "verify-full"}
        found = opened({**options, "sslrootcert": str(tmp_path / "ca")})
        assert found.row("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == {"ssl": True}
        found.close()
        with pytest.raises(DatabaseAwayError, match=r"certificate verify failed.*database\.sslrootcert"):
            opened({**options, "sslrootcert": str(tmp_path / "other")})


def test_a_full_disk_leaves_no_snapshot(server: Server, tmp_path: Path) -> None:
    disk = server.folder / "small"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk can't be mounted here")
    try:
        user = postgres.server_user()
        if user:
            shutil.chown(disk, user)
        place = server.database(
            "CREATE TABLE t (id int PRIMARY KEY, x text);"
            "INSERT INTO t SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 20000) n"
        )
        place.sql(f"CREATE TABLESPACE small LOCATION '{disk}'", "postgres")
        place.sql("GRANT CREATE ON TABLESPACE small TO claude", "postgres")
        place.sql(f"ALTER ROLE claude IN DATABASE {place.name} SET default_tablespace = small", "postgres")
        with pytest.raises(DatabaseFullError, match="disk is full"):
            place.take("t")
        assert place.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%backup%'") == [(0,)]
        place.sql(f"ALTER ROLE claude IN DATABASE {place.name} RESET default_tablespace", "postgres")
        assert place.take("t")["changed"]
        place.sql("DROP TABLESPACE small", "postgres")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_module_shows_no_password(place: Place, tmp_path: Path) -> None:
    given = {"action": "status", "database": place.options("locked", password=PASSWORD)}
    tasks: list[dict[str, Any]] = [
        {"name": "Look", "claude_enhancer.rollout.workflow_snapshot": given, "register": "found"},
        {"name": "Show", "ansible.builtin.debug": {"var": "found"}},
    ]
    done = subprocess.run(
        [str(PROGRAM), "-vvv", str(write_playbook(tmp_path / "play.yml", tasks))],
        env=environment(tmp_path, tmp_path / "none"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.name in done.stdout
    for word in (PASSWORD, PASSWORD.replace("\\", "\\\\")):
        assert word not in done.stdout + done.stderr


# ---- psql in a pod


def test_a_snapshot_there_and_back_through_a_pod(
    endpoint: Endpoint, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.integration.postgres_server.opened", lambda _given: in_pod(endpoint, place))
    before = {table: place.rows(table) for table in (STATES, LOG)}
    taken = place.take(STATES, LOG)
    place.sql("UPDATE workflow_states SET name = 'ü' || name; DELETE FROM workflow_phase_log WHERE id < 20")
    restored = place.restore(taken["name"])
    assert restored["tables"][STATES]["kept"] == 100
    assert {table: place.rows(table) for table in (STATES, LOG)} == before
    with pytest.raises(MissingTableError, match=r"no_such: no such table in database .* in Pod data/db-1"):
        place.take("no_such")
    assert all(command[0] == "psql" for command in endpoint.commands)


def test_a_password_is_no_argument_of_a_command(endpoint: Endpoint, place: Place) -> None:
    found = in_pod(endpoint, place, user="locked", password=PASSWORD)
    assert found.row("SELECT current_user::text AS u") == {"u": "locked"}
    found.close()
    assert PASSWORD not in str(endpoint.commands)
    with pytest.raises(DatabaseForbiddenError, match=r"database\.password"):
        in_pod(endpoint, place, user="locked", password="wr0ng")


def test_a_pod_that_can_not_be_used_is_told(endpoint: Endpoint, place: Place) -> None:
    with pytest.raises(InputError, match="no pod of selector app=other is ready in namespace data"):
        in_pod(endpoint, place, pod={"selector": "app=other"})
    with pytest.raises(NotFoundError, match="Pod data/gone doesn't exist"):
        in_pod(endpoint, place, pod={"name": "gone"})
    with pytest.raises(ForbiddenError, match="pods/exec"):
        in_pod(endpoint, place, token="nobody")
    with pytest.raises(InputError, match=r"database\.dsn: can't be used with database\.pod"):
        in_pod(endpoint, place, dsn="postgresql://x")
    with pytest.raises(DatabaseForbiddenError, match='role "nobody" does not exist'):
        in_pod(endpoint, place, user="nobody")
    endpoint.url = "http://127.77.0.9:6443"
    with pytest.raises(UnreachableError, match="can't be asked to run a command"):
        in_pod(endpoint, place, pod={"name": "db-1"})


def test_psql_that_dies_or_says_nothing_is_told(endpoint: Endpoint, place: Place) -> None:
    found = in_pod(endpoint, place, timeout=1)
    found.run("SET statement_timeout = 0")
    with pytest.raises(DatabaseSlowError, match="said nothing for 1 s"):
        found.rows("SELECT pg_sleep(3)::text AS x")
    found.close()
    lost = in_pod(endpoint, place)
    endpoint.processes[-1].kill()
    with pytest.raises(DatabaseAwayError, match="psql ended"):
        lost.rows("SELECT 1 AS one")
    lost.close()


def test_an_error_inside_a_transaction_through_psql_undoes_it(endpoint: Endpoint, place: Place) -> None:
    found = in_pod(endpoint, place)
    with pytest.raises(DatabaseError), found.transaction():
        found.run("CREATE TABLE half (a int)")
        found.run("SELECT 1 / 0")
    assert found.rows("SELECT to_regclass('public.half')::text AS there") == [{"there": None}]
    found.close()


def test_every_option_has_a_way_to_libpq() -> None:
    assert set(DATABASE_ARGUMENTS) - {"dsn", "name", "pod"} == {
        "host",
        "port",
        "user",
        "password",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "connect_timeout",
    }
