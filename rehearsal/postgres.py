"""PostgreSQL of one world: a throw-away server that holds the application's workflow state.

Durability is off (a world's data goes away with it). The empty cluster is made once per PostgreSQL version and kept
as a template, because copying it takes a fifth of what ``initdb`` takes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from rehearsal import processes
from rehearsal.world import World

SCHEMA = Path(__file__).parent / "app" / "schema.sql"
SOCKET_PATH_LIMIT = 100
SETTINGS = {
    "max_connections": "150",
    "shared_buffers": "16MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    # Neither segments in /dev/shm nor huge pages: what is left after a kill is in the world's folder.
    "dynamic_shared_memory_type": "mmap",
    "huge_pages": "off",
    "logging_collector": "off",
}
SETUP = "CREATE ROLE claude LOGIN;\n\nCREATE DATABASE claude_enhancer OWNER claude;\n\n"


class PostgresError(Exception):
    """PostgreSQL is not there, or did not do what it was told."""


def binaries() -> Path:
    """The folder of the newest PostgreSQL server on this machine. Raises PostgresError when there is none."""
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name))
    on_path = shutil.which("postgres")
    if on_path is None:
        raise PostgresError("no PostgreSQL server found: install the package postgresql (Debian, Ubuntu)")
    return Path(on_path).resolve().parent


def server_user() -> str | None:
    """The user the server runs as: PostgreSQL refuses root. None means the present user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise PostgresError("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")


def data_folder(world: World, user: str | None) -> Path:
    """Where the data goes: below the world's folder, or in the temporary folder when the server can't get there.

    A repository below ``/root`` can't be entered by the user ``postgres``. The link ``postgres`` in the world's folder
    leads to the data then.
    """
    inside = world.home / "postgres"
    if user is None or all(folder.stat().st_mode & 0o001 for folder in world.home.parents):
        inside.mkdir(mode=0o700)
        return inside
    outside = _outside(world.home)
    outside.mkdir(mode=0o700)
    inside.symlink_to(outside)
    return outside


def _outside(home: Path) -> Path:
    """The folder elsewhere; known from the world's folder alone, so that it is found even when that was deleted."""
    return Path(tempfile.gettempdir()) / f"rehearsal-{home.name}-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"


async def start(world: World, cache: Path) -> asyncio.subprocess.Process:
    """Start the server of ``world``; ``cache`` keeps the template. The server may not accept connections yet."""
    bin_folder, user = binaries(), server_user()
    template = await asyncio.to_thread(_template, bin_folder, user, cache)
    data = data_folder(world, user)
    await asyncio.to_thread(_populate, template, data, user)
    options = SETTINGS | {"listen_addresses": world.host, "unix_socket_directories": _socket_folder(data)}
    command: list[str | Path] = [bin_folder / "postgres", "-D", data]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    return await processes.start(command, world.logs / "postgres.log", user=user, death_signal="QUIT")


async def wait_ready(world: World) -> None:
    """Wait until the server takes connections, then load the application's schema. Raises PostgresError."""
    state = world.home / "postgres" / "postmaster.pid"
    while not (state.exists() and state.read_text().rstrip().endswith("ready")):
        await asyncio.sleep(0.02)
    if SCHEMA.exists():
        await _load_schema(world)


async def _load_schema(world: World) -> None:
    psql = await asyncio.create_subprocess_exec(
        binaries() / "psql",
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        f"--file={SCHEMA}",
        world.postgres_dsn,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await psql.communicate()
    if psql.returncode != 0:
        raise PostgresError(f"{SCHEMA.name} could not be loaded: {output.decode(errors='replace').strip()}")


def remove_remains(home: Path) -> None:
    """Take away what a killed server leaves outside the world's folder: shared memory, data kept elsewhere."""
    state = home / "postgres" / "postmaster.pid"
    if state.exists():
        lines = state.read_text().splitlines()
        segment = lines[6].split() if len(lines) > 6 else []
        if len(segment) == 2:
            subprocess.run(["ipcrm", "-m", segment[1]], stderr=subprocess.DEVNULL, check=False)
    shutil.rmtree(_outside(home), ignore_errors=True)


def _socket_folder(data: Path) -> str:
    """The folder for the Unix socket; none where its path would be too long for one."""
    return str(data) if len(str(data)) < SOCKET_PATH_LIMIT else ""


def _template(bin_folder: Path, user: str | None, cache: Path) -> Path:
    """The folder with an empty database cluster, with role and database made; built when it is not there yet."""
    version = _run([bin_folder / "postgres", "--version"], None).split()[2]
    template = cache / f"postgres-{version}"
    if template.exists():
        return template
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rehearsal-initdb-") as scratch:
        data = Path(scratch) / "data"
        if user is not None:
            shutil.chown(scratch, user)
        _run([bin_folder / "initdb", *_initdb_options(), "-D", data], user)
        (data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.0/8 trust\n")
        _run([bin_folder / "postgres", "--single", "-j", "-F", "-D", data, "postgres"], user, SETUP)
        partial = Path(tempfile.mkdtemp(prefix="postgres-partial-", dir=cache))
        shutil.copytree(data, partial / "data", symlinks=True)
        try:
            (partial / "data").rename(template)
        except OSError:
            # Another start built it in the meantime: theirs is as good.
            shutil.rmtree(partial / "data")
        partial.rmdir()
    return template


def _initdb_options() -> list[str]:
    return [
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
        "--wal-segsize=1",
    ]


def _populate(template: Path, data: Path, user: str | None) -> None:
    """Copy the template to ``data``, owned by the user the server runs as."""
    _run(["cp", "-R", f"{template}/.", data], None)
    owner = user or pwd.getpwuid(os.geteuid()).pw_name
    if user is not None:
        _run(["chown", "-R", owner, data], None)
    data.chmod(0o700)


def _run(command: list[str | Path], user: str | None, text: str = "") -> str:
    """Run a command to its end; its output. Raises PostgresError with that output when it fails."""
    result = subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=user,
        group=user and pwd.getpwnam(user).pw_gid,
        extra_groups=[] if user else None,
        cwd="/",
        check=False,
    )
    if result.returncode != 0:
        raise PostgresError(f"{Path(command[0]).name} failed: {result.stdout.strip()}")
    return result.stdout
