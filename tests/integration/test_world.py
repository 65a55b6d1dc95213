"""A world comes up fast and small, works, stands beside another, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rehearsal import processes
from rehearsal.state import State
from rehearsal.world import EDGE_HOSTNAME, World
from tests.integration.world_fixture import REPOSITORY, rehearsal, start_world, world  # noqa: F401

GIBIBYTE = 1024**3
START_LIMIT = 15.0


def _on(place: World, *arguments: str) -> tuple[int, str]:
    """Run a command on a world; exit code and everything it wrote."""
    result = rehearsal(*arguments, "--name", place.name, base=place.home.parent)
    return result.returncode, result.stdout + result.stderr


def _status(place: World) -> dict[str, object]:
    code, text = _on(place, "status", "--json")
    assert code == 0, text
    facts: dict[str, object] = json.loads(text)
    return facts


def _ready(place: World) -> int:
    deployments = _status(place)["deployments"]
    assert isinstance(deployments, list)
    return int(deployments[0]["ready"])


def _wait_until(holds: Callable[[], bool], timeout: float = 40.0) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.2)


def _ask(place: World, path: str, host: str = EDGE_HOSTNAME) -> tuple[int, str]:
    """Status and version of one answer of the edge."""
    request = urllib.request.Request(place.edge_url + path, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers["x-claude-version"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["x-claude-version"]


def _remains(place: World) -> dict[str, object]:
    """Everything of a world that can still be found."""
    found = {
        "processes": processes.of_world(place.home),
        "sockets": processes.listeners(f"{place.network}.0.0/16"),
        "files": [path for path in [place.home] if path.exists()],
        "data": list(Path("/tmp").glob(f"rehearsal-{place.name}-*")),
    }
    return {kind: what for kind, what in found.items() if what}


def test_the_edge_answers_with_the_stable_version(world: World) -> None:  # noqa: F811
    assert Counter(_ask(world, "/api/v1/agents") for _ in range(20)) == {(200, "5.0"): 20}


def test_the_entry_service_can_be_asked_by_its_name(world: World) -> None:  # noqa: F811
    assert _ask(world, "/health", "claude-enhancer-service.claude-enhancer.svc.cluster.local") == (200, "5.0")


def test_status_tells_all_there_is(world: World) -> None:  # noqa: F811
    facts = _status(world)
    names = {part["name"] for part in facts["parts"]}  # type: ignore[attr-defined]
    assert {"supervisor", "api-server", "postgres", "prometheus", "envoy", "haproxy-a", "haproxy-b"} <= names
    assert facts["deployments"] == [
        {"name": "claude-enhancer-blue", "version": "5.0", "desired": 2, "ready": 2, "available": 2}
    ]
    weights = [route["weights"] for route in facts["routes"]]  # type: ignore[attr-defined]
    assert weights.count({"stable": 100, "candidate": 0}) == 4
    side_weights = {"stable": 200, "candidate": 0}
    assert facts["haproxy"] == [{"name": name, "map": 0, "servers": side_weights} for name in ("a", "b")]
    assert facts["entry_selector"] == {"app": "claude-enhancer", "version": "5.0"}
    everything = {"agents": 2, "app": 2, "edge": 1, "haproxy": 2, "node": 1, "prometheus": 1, "workflow": 2}
    # One scrape may come too late on a busy machine; the next one, a second later, tells what is so.
    deadline = time.monotonic() + 15
    while (up := _targets_up(world)) != everything and time.monotonic() < deadline:
        time.sleep(0.5)
    assert up == everything


def _targets_up(world: World) -> dict[str, int]:  # noqa: F811
    targets = _status(world)["targets"]
    assert isinstance(targets, dict)
    return {job: count["up"] for job, count in targets.items()}


def test_status_as_a_table(world: World) -> None:  # noqa: F811
    code, text = _on(world, "status")
    assert code == 0
    assert re.search(r"claude-enhancer-blue +5\.0 +2/2", text)
    assert re.search(r"claude-enhancer/default +VirtualService +stable=100 candidate=0", text)


def test_a_second_up_finds_the_world_up_already(world: World) -> None:  # noqa: F811
    code, text = _on(world, "up")
    assert code == 0
    assert "is up already" in text
    assert f"export KUBECONFIG={world.kubeconfig}" in text


def test_a_fault_breaks_one_version_until_it_is_healed(world: World) -> None:  # noqa: F811
    try:
        code, text = _on(world, "fault", "errors", "1", "--version", "5.0")
        assert code == 0, text
        assert text.count('took {"errors": 1.0}') == 2
        answers = Counter(_ask(world, "/api/v1/agents")[0] for _ in range(20))
        assert answers[500] == 20
    finally:
        code, text = _on(world, "fault", "heal")
    assert code == 0, text
    assert Counter(_ask(world, "/api/v1/agents")[0] for _ in range(20)) == {200: 20}


def test_a_fault_for_nobody_names_who_is_there(world: World) -> None:  # noqa: F811
    code, text = _on(world, "fault", "latency", "1")
    assert code == 1
    assert "no pod of version 5.1" in text
    assert "claude-enhancer-blue-" in text


def test_a_crashing_pod_can_be_healed(world: World) -> None:  # noqa: F811
    pods = f"http://{world.host}:9090/api/v1/query?query=up%7Bjob%3D%22app%22%7D"
    with urllib.request.urlopen(pods, timeout=5) as answer:
        pod = json.load(answer)["data"]["result"][0]["metric"]["pod"]
    assert _on(world, "fault", "crash", "--pod", pod)[0] == 0
    _wait_until(lambda: _ready(world) == 1)
    code, text = _on(world, "fault", "heal", "--pod", pod)
    assert (code, text) == (0, f"{pod} (5.0): took {{}}\n")
    _wait_until(lambda: _ready(world) == 2)


def test_load_in_the_background_counts_its_requests(world: World) -> None:  # noqa: F811
    assert _on(world, "load", "--rate", "100", "--background")[0] == 0
    time.sleep(1.5)
    code, text = _on(world, "load", "--stop")
    assert code == 0, text
    report = json.loads(_on(world, "load", "--report", "--json")[1])
    assert report["sent"] >= 50
    assert report["failed"] == 0


def test_a_large_world_beside_the_first_is_fast_small_and_survives_a_kill(
    world: World,  # noqa: F811
    tmp_path: Path,
) -> None:
    began = time.monotonic()
    large = start_world(f"test-large-{os.getpid()}", tmp_path)
    try:
        assert time.monotonic() - began < START_LIMIT
        facts = _status(large)
        assert isinstance(facts["memory_bytes"], int)
        assert facts["memory_bytes"] < GIBIBYTE
        assert large.network != world.network
        assert _ask(large, "/health") == _ask(world, "/health") == (200, "5.0")
        state = State.load(large.home)
        assert state is not None
        os.kill(state.supervisor.pid, signal.SIGKILL)
    finally:
        code, text = _on(large, "down")
    assert code == 0, text
    assert _remains(large) == {}
    assert _ask(world, "/health") == (200, "5.0")


def test_down_leaves_nothing_and_can_be_said_twice(tmp_path: Path) -> None:
    place = start_world(f"test-down-{os.getpid()}", tmp_path, "--blue-replicas", "1", "--load", "50")
    code, text = _on(place, "down")
    assert code == 0, text
    assert _remains(place) == {}
    assert _on(place, "down") == (0, f"There is no rehearsal cluster {place.name!r}.\n")
    assert _on(place, "status")[0] == 1


def test_two_commands_start_one_world_that_is_found_without_its_folder(tmp_path: Path) -> None:
    name = f"test-twice-{os.getpid()}"
    try:
        with ThreadPoolExecutor(2) as pool:
            ups = [pool.submit(start_world, name, tmp_path, "--blue-replicas", "1") for _ in range(2)]
        first, second = (started.result() for started in ups)
        assert first == second
        shutil.rmtree(first.home)
        code, text = _on(first, "up")
        assert (code, "is gone; end it with" in text) == (1, True), text
    finally:
        down = rehearsal("down", "--name", name, base=tmp_path)
    assert (down.returncode, "is down after" in down.stdout) == (0, True), down.stderr
    assert _remains(first) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    name = f"test-interrupted-{os.getpid()}"
    command = [sys.executable, "-m", "rehearsal", "up", "--name", name, "--block", "153"]
    env = os.environ | {"REHEARSAL_HOME": str(tmp_path)}
    started = subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    with started.stdout:
        assert "API server ready" in started.stdout.readline() + started.stdout.readline()
        place = World.load(tmp_path / name)
        started.send_signal(number)
        started.stdout.read()
    assert started.wait(30) == 130
    assert _remains(place) == {}


def test_a_pod_range_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSAL_POD_CIDR", "10.0.0.1/8")
    result = rehearsal("up", "--name", "test-range", base=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "rehearsal: REHEARSAL_POD_CIDR: 10.0.0.1/8 has host bits set\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_world_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    treasure = tmp_path / "mine" / "treasure"
    treasure.write_text("gold")
    for command in ("up", "down"):
        result = rehearsal(command, "--name", "mine", base=tmp_path)
        assert result.returncode == 1
        assert "no rehearsal cluster" in result.stderr
    assert treasure.read_text() == "gold"


def test_a_start_that_fails_says_why_and_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    result = rehearsal("up", "--name", "test-fails", "--block", "152", base=tmp_path)
    assert result.returncode == 1
    assert "did not come up" in result.stderr
    assert "prometheus" in result.stderr
    assert list(tmp_path.iterdir()) == []
