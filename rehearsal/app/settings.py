"""What the environment of a pod says, checked in one place before anything starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PHASES = 8
MEDIAN_WORK_MS = {"5.0": 15.0, "5.1": 12.0}


class SettingsError(Exception):
    """The environment can't be used. The message names every variable at fault, one a line."""


@dataclass(frozen=True)
class Address:
    """A TCP address of something the application depends on."""

    host: str
    port: int


@dataclass(frozen=True)
class Settings:
    """One pod's configuration. Times are seconds; folders are already below ``REHEARSAL_ROOT``."""

    version: str
    mode: str
    pod_name: str
    pod_ip: str
    agent_count: int
    phase_count: int
    database_url: str
    agents_dir: Path
    state_dir: Path
    drain_seconds: float
    work_median: float
    work_spread: float
    phase_seconds: float
    session_secret: str
    redis: Address | None
    external: tuple[Address, ...]
    faults: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check ``environ``. Raises SettingsError with all faults at once."""
        read = _Reader(environ)
        version = read.text("CLAUDE_VERSION")
        settings = cls(
            version=version,
            mode=read.text("CLAUDE_MODE", "production"),
            pod_name=read.text("POD_NAME", "local"),
            pod_ip=read.text("POD_IP", "127.0.0.1"),
            agent_count=read.integer("AGENT_COUNT", "61", 1, 1000),
            phase_count=read.integer("PHASE_COUNT", "8", 1, PHASES),
            database_url=read.database("DATABASE_URL"),
            agents_dir=read.folder("AGENTS_DIR", "/app/agents", must_exist=True),
            state_dir=read.folder("STATE_DIR", "/var/lib/claude-enhancer"),
            drain_seconds=read.number("DRAIN_SECONDS", "1.0", 0, 600),
            work_median=read.number("WORK_MEDIAN_MS", str(MEDIAN_WORK_MS.get(version, 12.0)), 0, 60_000) / 1000,
            work_spread=read.number("WORK_SPREAD", "0.35", 0, 3),
            phase_seconds=read.number("PHASE_SECONDS", "0.02", 0, 3600),
            session_secret=read.text("SESSION_SECRET", "rehearsal"),
            redis=read.redis("REDIS_URL"),
            external=read.addresses("EXTERNAL_SERVICES"),
            faults=read.text("CLAUDE_FAULTS", "{}"),
        )
        if read.problems:
            raise SettingsError("\n".join(read.problems))
        return settings


class _Reader:
    """Reads variables one by one and gathers what is wrong with them in ``problems``."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environ.get(name, "").strip() or default
        if value is None:
            self.problems.append(f"{name} is not set")
            return ""
        return value

    def number(self, name: str, default: str, least: float, most: float) -> float:
        value = self.text(name, default)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            self.problems.append(f"{name}={value!r} is not a number from {least:g} to {most:g}")
            return least
        return number

    def integer(self, name: str, default: str, least: int, most: int) -> int:
        number = self.number(name, default, least, most)
        if number != int(number):
            self.problems.append(f"{name}={number:g} is not a whole number")
        return int(number)

    def database(self, name: str) -> str:
        """A PostgreSQL DSN in URL form. It may hold a password: the value stays out of the messages."""
        value = self.text(name)
        scheme, separator, rest = value.partition("://")
        if value and (not separator or scheme not in ("postgresql", "postgres")):
            self.problems.append(f"{name} does not start with postgresql://")
        hosts = rest.partition("?")[0].partition("/")[0].rpartition("@")[2]
        for host in hosts.split(","):
            port = host.rpartition("]")[2].partition(":")[2]
            if port and not port.isdecimal():
                self.problems.append(f"{name}: the port of {host!r} is not a number")
        return value

    def folder(self, name: str, default: str, *, must_exist: bool = False) -> Path:
        value = self.text(name, default)
        folder = Path(self.text("REHEARSAL_ROOT", "/")) / value.lstrip("/")
        if not value.startswith("/"):
            self.problems.append(f"{name}={value!r} is not an absolute path")
        elif must_exist and not folder.is_dir():
            self.problems.append(f"{name}={value!r} is not a folder (looked for {folder})")
        return folder

    def redis(self, name: str) -> Address | None:
        value = self._environ.get(name, "").strip()
        if not value:
            return None
        scheme, separator, rest = value.partition("://")
        if scheme != "redis" or not separator:
            self.problems.append(f"{name} does not start with redis://")
            return None
        authority = rest.partition("/")[0].rpartition("@")[2]
        return self._address(name, authority if ":" in authority else f"{authority}:6379")

    def addresses(self, name: str) -> tuple[Address, ...]:
        words = [word.strip() for word in self._environ.get(name, "").split(",") if word.strip()]
        return tuple(address for word in words if (address := self._address(name, word)))

    def _address(self, name: str, word: str) -> Address | None:
        host, _, port = word.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            self.problems.append(f"{name}: {word!r} is not host:port")
            return None
        return Address(host, int(port))
