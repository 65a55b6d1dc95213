"""The environment of a pod: read, resolved below its root, and refused with all faults named."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.app.settings import Address, Settings, SettingsError


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "app" / "agents").mkdir(parents=True)
    return {
        "CLAUDE_VERSION": "5.1",
        "DATABASE_URL": "postgresql://claude@127.0.0.1/claude_enhancer",
        "REHEARSAL_ROOT": str(tmp_path),
    }


def test_defaults_and_folders_below_the_root(environ: dict[str, str], tmp_path: Path) -> None:
    settings = Settings.from_environment(environ)
    assert settings.agents_dir == tmp_path / "app" / "agents"
    assert settings.state_dir == tmp_path / "var" / "lib" / "claude-enhancer"
    assert (settings.agent_count, settings.phase_count) == (61, 8)
    assert (settings.pod_ip, settings.drain_seconds) == ("127.0.0.1", 1.0)
    assert settings.redis is None
    assert settings.external == ()


def test_the_new_version_is_the_faster_one(environ: dict[str, str]) -> None:
    new = Settings.from_environment(environ)
    old = Settings.from_environment(environ | {"CLAUDE_VERSION": "5.0"})
    assert (old.work_median, new.work_median) == (0.015, 0.012)


def test_addresses_of_other_services(environ: dict[str, str]) -> None:
    environ |= {"REDIS_URL": "redis://:secret@cache/0", "EXTERNAL_SERVICES": "a:80, 127.0.0.1:443"}
    settings = Settings.from_environment(environ)
    assert settings.redis == Address("cache", 6379)
    assert settings.external == (Address("a", 80), Address("127.0.0.1", 443))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"CLAUDE_VERSION": ""}, "CLAUDE_VERSION is not set"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "mysql://u:hunter2@h/d"}, "DATABASE_URL does not start with postgresql://"),
        ({"DATABASE_URL": "postgresql://u:hunter2@h:port/d"}, "DATABASE_URL: the port of 'h:port' is not a number"),
        ({"AGENT_COUNT": "many"}, "AGENT_COUNT='many' is not a number from 1 to 1000"),
        ({"AGENT_COUNT": "6.5"}, "AGENT_COUNT=6.5 is not a whole number"),
        ({"PHASE_COUNT": "9"}, "PHASE_COUNT='9' is not a number from 1 to 8"),
        ({"DRAIN_SECONDS": "nan"}, "DRAIN_SECONDS='nan' is not a number from 0 to 600"),
        ({"AGENTS_DIR": "agents"}, "AGENTS_DIR='agents' is not an absolute path"),
        ({"AGENTS_DIR": "/none"}, "AGENTS_DIR='/none' is not a folder"),
        ({"REDIS_URL": "cache:6379"}, "REDIS_URL does not start with redis://"),
        ({"EXTERNAL_SERVICES": "a:80,b"}, "EXTERNAL_SERVICES: 'b' is not host:port"),
        ({"EXTERNAL_SERVICES": "a:99999"}, "EXTERNAL_SERVICES: 'a:99999' is not host:port"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ | change)
    assert str(caught.value).startswith(said)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p@h:5432/d",
        "postgres://h/d?sslmode=disable",
        "postgresql://u@/d?host=/run/postgresql",
        "postgresql://u@[::1]:5432,b:5433/d",
    ],
)
def test_usual_dsns_are_taken(environ: dict[str, str], dsn: str) -> None:
    assert Settings.from_environment(environ | {"DATABASE_URL": dsn}).database_url == dsn


def test_all_faults_are_named_at_once(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"AGENT_COUNT": "0", "REHEARSAL_ROOT": environ["REHEARSAL_ROOT"]})
    names = [line.split("=")[0].split()[0] for line in str(caught.value).splitlines()]
    assert names == ["CLAUDE_VERSION", "AGENT_COUNT", "DATABASE_URL"]
