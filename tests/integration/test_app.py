"""The sample application as a process, with a PostgreSQL of its own: every port, every fault, loss and stop."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import urllib3

from rehearsal.app.agents import make_agent_files, write_agent_files
from rehearsal.app.database import apply_schema

POSTGRES_BIN = Path("/usr/lib/postgresql/15/bin")
REPOSITORY = Path(__file__).resolve().parents[2]
OCTETS = count(1)
LIVES = 5.0

pytestmark = pytest.mark.skipif(not POSTGRES_BIN.is_dir(), reason="PostgreSQL 15 is not installed")


@dataclass
class Postgres:
    """A database server on a unix socket in ``folder``; run as user postgres where we are root."""

    folder: Path

    @property
    def dsn(self) -> str:
        return f"postgresql://claude@/postgres?host={self.folder}"

    def run(self, program: str, *arguments: str) -> None:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        command = [str(POSTGRES_BIN / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=30, cwd=self.folder, **user)  # type: ignore[call-overload]

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off"
        self.run("pg_ctl", "start", "-w", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "-w", "-m", "immediate")


@dataclass
class App:
    """One pod of the application as a process of its own."""

    address: str
    root: Path
    environ: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> App:
        with (self.root / "log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rehearsal.app"], env=self.environ, cwd=REPOSITORY, stdout=output, stderr=output
            )
        return self

    def url(self, path: str, port: int = 8080) -> str:
        return f"http://{self.address}:{port}{path}"

    def ask(self, path: str, port: int = 8080, method: str = "GET", **options: Any) -> urllib3.BaseHTTPResponse:
        return urllib3.request(method, self.url(path, port), retries=False, timeout=5, **options)

    def get(self, path: str, port: int = 8080) -> Any:
        """The JSON body of a 200."""
        response = self.ask(path, port)
        assert response.status == 200, response.data
        return response.json()

    def fault(self, faults: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        return self.ask("/fault", 9091, "POST", json=faults)

    def metric(self, path: str, port: int, series: str) -> float:
        for line in self.ask(path, port).data.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        raise AssertionError(f"no series {series}")

    def is_ready(self) -> bool:
        try:
            return self.ask("/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def wait_ready(self) -> App:
        wait_for(self.is_ready)
        return self

    def log(self) -> str:
        return (self.root / "log").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


MakeApp = Callable[..., App]


def wait_for(holds: Callable[[], bool], seconds: float = LIVES) -> float:
    """Look until it holds; answers how long that took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, "it never came to hold"
        time.sleep(0.01)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="app-postgres-", dir="/tmp"))
    server = Postgres(folder)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        server.run("initdb", "-A", "trust", "-U", "claude", "--no-sync")
        server.start()
        asyncio.run(apply_schema(server.dsn))
        asyncio.run(apply_schema(server.dsn))
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def make_app(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeApp]:
    made: list[App] = []

    def make(*, flat: bool = False, **environ: str) -> App:
        number = next(OCTETS)
        root = tmp_path_factory.mktemp(f"pod{number}")
        folder = root / "app" / "agents"
        if flat:
            folder.mkdir(parents=True)
            for key, text in make_agent_files("5.1").items():
                (folder / key).write_text(text)
        else:
            write_agent_files("5.1", folder)
        address = f"127.56.2.{number}"
        base = {
            "CLAUDE_VERSION": "5.1",
            "POD_NAME": f"pod-{number}",
            "POD_IP": address,
            "REHEARSAL_ROOT": str(root),
            "DATABASE_URL": postgres.dsn,
            "DRAIN_SECONDS": "0.3",
            "PATH": os.environ["PATH"],
        }
        app = App(address, root, base | environ).start()
        made.append(app)
        return app

    yield make
    for app in made:
        if app.process.poll() is None:
            app.kill()


@pytest.fixture(scope="module")
def shared(make_app: MakeApp) -> App:
    return make_app().wait_ready()


@pytest.fixture
def app(shared: App) -> Iterator[App]:
    """A pod in health, healed afterwards."""
    yield shared.wait_ready()
    assert shared.fault({}).status == 200


def run_workflow(app: App, name: str) -> str:
    response = app.ask("/api/v1/workflows", method="POST", json={"name": name, "payload": {"n": 1}})
    assert response.status == 202
    assert response.headers["location"] == f"/api/v1/workflows/{response.json()['id']}"
    return str(response.json()["id"])


def workflow_status(app: App, workflow_id: str) -> str:
    return str(app.get(f"/api/v1/workflows/{workflow_id}")["status"])


def test_every_endpoint_answers_with_version_and_pod(app: App) -> None:
    paths = ["/", "/health", "/ready", "/health/live", "/health/ready", "/health/startup"]
    paths += [f"/api/v1/{name}" for name in ("agents", "status", "workflows", "version")]
    for path, port in [(path, 8080) for path in paths] + [
        ("/metrics", 9090),
        ("/metrics/agents", 9091),
        ("/health/agents", 9091),
        ("/fault", 9091),
        ("/metrics/workflow", 9092),
    ]:
        response = app.ask(path, port)
        assert response.status == 200, path
        assert response.headers["x-claude-version"] == "5.1", path
        assert response.headers["x-claude-pod"] == app.environ["POD_NAME"], path
    missing = app.ask("/none")
    assert (missing.status, missing.headers["x-claude-version"]) == (404, "5.1")
    wrong = app.ask("/api/v1/login")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")


def test_readiness_says_what_each_part_does(app: App) -> None:
    checks = app.get("/health/ready")["checks"]
    assert set(checks) == {"start", "agents", "workflow", "database", "redis", "external", "serving"}
    assert checks["redis"] == {"holds": True, "detail": "not configured"}
    assert checks["agents"]["detail"] == "61 of 61 active, 0 failed"
    assert app.get("/health/agents", 9091)["coordination_status"] == "healthy"
    assert len(app.get("/api/v1/agents")["agents"]) == 61


def test_a_workflow_goes_through_eight_phases(app: App) -> None:
    workflow_id = run_workflow(app, "whole")
    wait_for(lambda: workflow_status(app, workflow_id) == "completed")
    workflow = app.get(f"/api/v1/workflows/{workflow_id}")
    assert [phase["phase"] for phase in workflow["phases"]] == list(range(8))
    assert {phase["result"] for phase in workflow["phases"]} == {"success"}
    assert workflow["phases"][3]["detail"] == {"parallel_tasks": 4}
    assert (workflow["phase"], workflow["payload"], workflow["version"]) == (7, {"n": 1}, "5.1")
    listed = app.get("/api/v1/workflows?status=completed&limit=500")["workflows"]
    assert workflow_id in {row["id"] for row in listed}
    assert app.metric("/metrics/workflow", 9092, 'claude_enhancer_workflows_total{result="success"}') >= 1
    moved = 'claude_enhancer_workflow_phase_transitions_total{result="success"}'
    assert app.metric("/metrics/workflow", 9092, moved) >= 8


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/api/v1/workflows", b"{", 400, "the body is not JSON"),
        ("POST", "/api/v1/workflows", b"[]", 400, "a workflow is"),
        ("POST", "/api/v1/workflows", b'{"name": ""}', 400, 'name=""'),
        ("POST", "/api/v1/workflows", b'{"payload": 3}', 400, "payload=3"),
        ("GET", "/api/v1/workflows?status=lost", None, 400, "status=lost"),
        ("GET", "/api/v1/workflows?limit=0", None, 400, "limit=0"),
        ("GET", "/api/v1/workflows/7", None, 400, "id=7: not a UUID"),
        ("GET", "/api/v1/workflows/00000000-0000-0000-0000-000000000000", None, 404, "no workflow"),
        ("POST", "/api/v1/login", b'{"user": "ada"}', 400, "sign-in wants"),
        ("POST", "/api/v1/login", b'{"user": "ada", "password": ""}', 401, "wrong user"),
        ("GET", "/api/v1/session", None, 401, "no bearer token"),
        ("GET", "/ws", None, 426, "websocket"),
    ],
)
def test_bad_requests_are_told_why(app: App, method: str, path: str, body: bytes, status: int, said: str) -> None:
    response = app.ask(path, method=method, body=body)
    assert response.status == status
    assert said in response.json()["error"]


def test_probes_of_the_node_are_not_counted(app: App) -> None:
    series = 'http_requests_total{method="GET",route="health",status="200"}'
    before = app.metric("/metrics", 9090, series)
    app.ask("/health/live", headers={"User-Agent": "kube-probe/1.32"})
    assert app.metric("/metrics", 9090, series) == before
    app.ask("/health/live")
    assert app.metric("/metrics", 9090, series) == before + 1


def test_a_session_of_one_version_holds_on_the_other(app: App, make_app: MakeApp) -> None:
    old = make_app(CLAUDE_VERSION="5.0", flat=True).wait_ready()
    token = old.ask("/api/v1/login", method="POST", json={"user": "ada", "password": "x"}).json()["token"]
    assert app.ask("/api/v1/session", headers={"Authorization": f"Bearer {token}"}).json() == {"user": "ada"}
    assert old.get("/api/v1/version")["version"] == "5.0"
    old.kill()


def test_a_websocket_tells_the_version_and_echoes(app: App) -> None:
    async def talk() -> list[Any]:
        async with aiohttp.ClientSession() as session, session.ws_connect(app.url("/ws")) as socket:
            hello = await socket.receive_json()
            await socket.send_str("hi")
            return [hello["version"], (await socket.receive_json())["echo"]]

    assert asyncio.run(talk()) == ["5.1", "hi"]
    series = 'http_requests_total{method="GET",route="websocket",status="101"}'
    assert app.metric("/metrics", 9090, series) == 1


def test_errors_fault_fails_its_share_and_no_probe(app: App) -> None:
    assert app.fault({"errors": 0.5}).json()["errors"] == 0.5
    pool = urllib3.PoolManager(retries=False)
    answers = [pool.request("GET", app.url("/api/v1/version")).status for _ in range(60)]
    # 60 fair coins fall outside 10..50 once in 20 million times.
    assert 10 <= answers.count(500) <= 50
    assert set(answers) == {200, 500}
    assert all(app.ask("/health/live").status == 200 for _ in range(20))
    series = 'http_requests_total{method="GET",route="other",status="500"}'
    assert app.metric("/metrics", 9090, series) == answers.count(500)
    app.fault({})
    assert all(pool.request("GET", app.url("/api/v1/version")).status == 200 for _ in range(30))


def test_latency_fault_slows_requests_and_no_probe(app: App) -> None:
    app.fault({"latency": 0.4})
    began = time.monotonic()
    app.get("/api/v1/status")
    assert 0.36 <= time.monotonic() - began < 1.5
    began = time.monotonic()
    app.get("/ready")
    assert time.monotonic() - began < 0.3


def test_agents_fault_takes_agents_down(app: App) -> None:
    app.fault({"agents": 10})
    health = app.get("/health/agents", 9091)
    assert (health["agents_active"], health["agents_failed"], health["agents_total"]) == (51, 10, 61)
    assert app.metric("/metrics/agents", 9091, "claude_enhancer_agents_failed") == 10
    assert sum(not agent["active"] for agent in app.get("/api/v1/agents")["agents"]) == 10
    assert app.is_ready()


def test_coordination_fault_fails_workflows_in_the_parallel_phase(app: App) -> None:
    errors = app.metric("/metrics/workflow", 9092, "claude_enhancer_workflow_errors_total")
    app.fault({"coordination": True})
    assert app.get("/health/agents", 9091)["coordination_status"] == "unhealthy"
    assert app.metric("/metrics/agents", 9091, "claude_enhancer_agent_coordination_healthy") == 0
    workflow_id = run_workflow(app, "uncoordinated")
    wait_for(lambda: workflow_status(app, workflow_id) == "failed")
    last = app.get(f"/api/v1/workflows/{workflow_id}")["phases"][-1]
    assert (last["phase"], last["result"]) == (3, "failure")
    assert app.metric("/metrics/workflow", 9092, "claude_enhancer_workflow_errors_total") == errors + 1


def test_memory_fault_really_takes_memory_and_gives_it_back(app: App) -> None:
    process = psutil.Process(app.process.pid)
    before = process.memory_info().rss
    app.fault({"memory": 100})
    wait_for(lambda: process.memory_info().rss - before >= 98 * 1024 * 1024)
    app.fault({})
    wait_for(lambda: process.memory_info().rss - before < 20 * 1024 * 1024)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"errors": 2}', "errors=2: must be a share from 0 to 1"),
        (b'{"eror": 1}', "eror=1: no such fault"),
        (b'{"errors": NaN}', "errors=nan"),
        (b"{", "the body is not JSON"),
        (b"[1]", "faults are a JSON object"),
    ],
)
def test_bad_faults_are_refused_and_change_nothing(app: App, body: bytes, said: str) -> None:
    response = app.ask("/fault", 9091, "POST", body=body)
    assert response.status == 400
    assert said in response.json()["error"]
    assert not any(app.get("/fault", 9091).values())


def test_crash_fault_outlives_restarts_until_healed(make_app: MakeApp) -> None:
    app = make_app().wait_ready()
    assert app.fault({"crash": True}).status == 200
    assert app.process.wait(LIVES) == 70
    assert app.start().process.wait(LIVES) == 70
    app.start().wait_ready()
    assert app.fault({}).status == 200
    with pytest.raises(subprocess.TimeoutExpired):
        app.process.wait(1.3)
    app.kill()


def test_slow_start_fault_holds_back_the_next_start(make_app: MakeApp) -> None:
    app = make_app().wait_ready()
    app.fault({"slow_start": 1.5})
    assert app.is_ready()
    app.kill()
    app.start()
    wait_for(lambda: "serves on" in app.log().rsplit("slow_start", 1)[1])
    assert app.ask("/health/startup").status == 503
    assert app.ask("/health/live").status == 200
    assert 0.5 < wait_for(app.is_ready) < 2.5
    app.kill()


def test_an_image_can_be_built_with_faults(make_app: MakeApp) -> None:
    app = make_app(CLAUDE_FAULTS='{"errors": 1}').wait_ready()
    assert app.ask("/api/v1/version").status == 500
    app.kill()


def test_broken_agent_files_are_counted_and_named(make_app: MakeApp) -> None:
    app = make_app().wait_ready()
    app.kill()
    (app.root / "app" / "agents" / "quality" / "code-reviewer.md").write_text("no front matter")
    app.start().wait_ready()
    health = app.get("/health/agents", 9091)
    assert (health["agents_active"], health["agents_failed"]) == (60, 1)
    assert health["failures"] == ["quality/code-reviewer.md:1: no front matter"]
    shutil.rmtree(app.root / "app" / "agents" / "quality")
    app.kill()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"CLAUDE_VERSION": "", "AGENT_COUNT": "x"}, "CLAUDE_VERSION is not set\nAGENT_COUNT='x' is not a number"),
        ({"CLAUDE_FAULTS": '{"crash": 1}'}, "CLAUDE_FAULTS: crash=1: must be true or false"),
        ({"POD_IP": "192.0.2.1"}, "can't listen on 192.0.2.1"),
    ],
)
def test_a_wrong_environment_is_said_and_ends_with_1(make_app: MakeApp, environ: dict[str, str], said: str) -> None:
    app = make_app(**environ)
    assert app.process.wait(LIVES) == 1
    assert said in app.log()


def test_the_database_goes_away_and_comes_back(app: App, postgres: Postgres, make_app: MakeApp) -> None:
    slow = make_app(PHASE_SECONDS="0.1").wait_ready()
    workflow_id = run_workflow(slow, "through an outage")
    postgres.stop()
    try:
        late = make_app()
        began = time.monotonic()
        response = app.ask("/api/v1/workflows")
        assert (response.status, response.json()["error"]) == (503, "the database is away")
        assert app.ask("/api/v1/workflows", method="POST", json={}).status == 503
        assert time.monotonic() - began < 2
        body = app.ask("/health/ready")
        assert body.status == 503
        assert not body.json()["checks"]["database"]["holds"]
        assert app.ask("/health/live").status == 200
        assert app.ask("/api/v1/status").status == 200
        wait_for(lambda: "serves on" in late.log())
        assert not late.is_ready()
    finally:
        postgres.start()
    for pod in (app, slow, late):
        assert wait_for(pod.is_ready) < 3
    wait_for(lambda: workflow_status(slow, workflow_id) == "completed")
    phases = slow.get(f"/api/v1/workflows/{workflow_id}")["phases"]
    assert [phase["phase"] for phase in phases] == list(range(8))
    slow.kill()
    late.kill()


class Load:
    """Clients that ask one after another for ``seconds``, and what they saw."""

    def __init__(self, app: App, seconds: float) -> None:
        self.statuses: list[int] = []
        self.closed: list[bool] = []
        self.lost: list[str] = []
        self._app = app
        self._end = time.monotonic() + seconds

    async def run(self, clients: int) -> None:
        # A session each: a shared one quietly repeats a request on another connection.
        await asyncio.gather(*(self._ask() for _ in range(clients)))

    async def _ask(self) -> None:
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < self._end:
                try:
                    async with session.get(self._app.url("/api/v1/status")) as response:
                        await response.read()
                        self.statuses.append(response.status)
                        self.closed.append(response.headers.get("Connection") == "close")
                except aiohttp.ClientError as error:
                    self.lost.append(repr(error))


def test_a_graceful_stop_loses_no_request_and_no_workflow(app: App, make_app: MakeApp) -> None:
    leaving = make_app(WORK_MEDIAN_MS="250", PHASE_SECONDS="0.5", DRAIN_SECONDS="0.6").wait_ready()
    workflow_id = run_workflow(leaving, "handed over")
    readiness: list[int] = []
    stopper = threading.Timer(0.5, leaving.process.send_signal, [signal.SIGTERM])
    looker = threading.Timer(0.7, lambda: readiness.append(leaving.ask("/ready").status))
    # Requests begin until 0.1 s before the drain ends, as when the edge has taken the pod out, and end after it.
    load = Load(leaving, 1.0)
    stopper.start()
    looker.start()
    asyncio.run(load.run(20))
    assert load.lost == []
    assert set(load.statuses) == {200}
    assert len(load.statuses) >= 60
    assert {True, False} == set(load.closed)
    assert readiness == [503]
    assert leaving.process.wait(2) == 0
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        leaving.ask("/health")
    wait_for(lambda: workflow_status(app, workflow_id) == "completed", 8)
    phases = app.get(f"/api/v1/workflows/{workflow_id}")["phases"]
    assert [phase["phase"] for phase in phases] == list(range(8))
    assert {phase["pod"] for phase in phases} == {leaving.environ["POD_NAME"], app.environ["POD_NAME"]}


def test_an_idle_pod_stops_within_its_drain(make_app: MakeApp) -> None:
    app = make_app().wait_ready()
    began = time.monotonic()
    app.process.send_signal(signal.SIGTERM)
    assert app.process.wait(LIVES) == 0
    assert 0.3 <= time.monotonic() - began < 1.3
    assert "stopped" in app.log().splitlines()[-1]
