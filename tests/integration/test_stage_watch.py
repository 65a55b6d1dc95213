"""stage_watch under a real ansible-playbook, with a real Prometheus and the emulated Kubernetes API."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from tests.integration.api_only import (
    PROGRAM,
    TRAFFIC,
    api,
    away,
    candidate_weight,
    environment,
    results,
    write_playbook,
)
from tests.integration.measured import METRICS, Application, prometheus

BLOCK = 72
NOBODY = "http://127.72.0.9:9090"
RATE = 2000
"""Requests per second: enough for a criterion to be sure of within three seconds."""
WATCH = "claude_enhancer.rollout.stage_watch"
TO_ZERO = 1.0
"""Seconds from the look that sees a breach to the weight being 0, on a busy machine."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    application = Application("127.72.0.3", rate=RATE)
    yield application
    application.close()


@pytest.fixture(scope="module")
def url(application: Application, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), "127.72.0.2", application.target) as url:
        yield url


@pytest.fixture
def cluster(home: Path) -> Cluster:
    """The API, with 5 % on the candidate."""
    cluster = Cluster.from_options({"kubeconfig": str(home / "kubeconfig")})
    set_weight(open_provider("istio", cluster, TRAFFIC), 5, guard=False)
    return cluster


def watch(url: str, **options: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "stage": "canary start",
        "seconds": 3,
        "interval": 0.5,
        "prometheus": {"url": url, "timeout": 1},
        "versions": {"stable": "5.0", "candidate": "5.1"},
        "metrics": METRICS,
        "criteria": [{"metric": "error_rate", "below": "0.1%"}, {"metric": "p95", "below": "200ms"}],
        "triggers": [{"metric": "error_rate", "above": "0.5%"}, {"metric": "agents", "below": 58}],
        "traffic": TRAFFIC,
    }
    return {WATCH: settings | options}


def test_a_good_stage_is_held_and_summed_up(url: str, home: Path, cluster: Cluster, tmp_path: Path) -> None:
    tasks = [
        watch(url, plan={"start_at": time.time(), "time_scale": 0.01}),
        {WATCH: {"stage": "waiting", "seconds": 0.5}},
        watch(NOBODY, seconds=1, interval=0.5),
        watch(url, metrics=METRICS | {"agents": {"kind": "gauge", "query": "sum(up{"}}),
    ]
    good, waited, down, broken = results(tmp_path, home / "kubeconfig", tasks)
    assert (good["verdict"], good["decision"], good["failed"], good["changed"]) == ("pass", "advance", False, False)
    assert good["looks"] == 7
    assert good["ended"] - good["started"] == pytest.approx(3.0, abs=0.2)
    assert good["measured"]["error_rate"]["total"] == pytest.approx(RATE * 3, rel=0.25)
    assert good["measured"]["p95"]["value"] < 0.1
    assert (good["weight"], good["rolled_back"], good["breached"]) == (5, False, None)
    assert waited["verdict"] == "pass"
    assert (down["failed"], down["verdict"], down["rolled_back"]) == (True, "source_down", False)
    assert (broken["failed"], broken["error"], broken["rolled_back"]) == (True, "query", True)
    assert "metric agents: Prometheus refused the query 'sum(up{'" in broken["msg"]
    assert candidate_weight(cluster) == 0


def test_a_breach_takes_traffic_back_at_once(
    url: str, application: Application, home: Path, cluster: Cluster, tmp_path: Path
) -> None:
    at = threading.Timer(3.0, application.fail, (0.3,))
    at.start()
    try:
        (done,) = results(tmp_path, home / "kubeconfig", [watch(url, seconds=30)])
    finally:
        at.join()
        application.fail(0.0)
    assert (done["failed"], done["verdict"], done["decision"], done["rolled_back"]) == (True, "fail", "roll_back", True)
    assert candidate_weight(cluster) == 0
    times = done["times"]
    print(f"breach seen -> weight 0: {(times['weight_zero'] - times['breach_seen']) * 1000:.0f} ms")
    assert 0 <= times["weight_zero"] - times["breach_seen"] < TO_ZERO
    assert times["verified"] >= times["weight_zero"]
    assert done["breach"]["name"] == "error_rate"
    assert done["msg"].startswith("stage canary start: trigger error_rate: ")
    assert "all traffic is back on stable" in done["msg"]


def test_check_mode_looks_once_and_changes_nothing(url: str, home: Path, cluster: Cluster, tmp_path: Path) -> None:
    firing = [{"metric": "agents", "below": 62}]
    begun = time.monotonic()
    (done,) = results(tmp_path, home / "kubeconfig", [watch(url, seconds=60, triggers=firing)], "--check")
    assert time.monotonic() - begun < 20
    assert (done["failed"], done["changed"], done["looks"], done["verdict"]) == (False, False, 1, "fail")
    assert candidate_weight(cluster) == 5


@contextlib.contextmanager
def holding(folder: Path, kubeconfig: Path, task: dict[str, Any]) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """An ansible-playbook that has shown its first look; both outputs go to the file."""
    path = write_playbook(folder / "play.yml", [{"name": "Hold", **task}])
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [str(PROGRAM), str(path)],
            cwd=folder,
            env=environment(folder, kubeconfig) | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            text=True,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 20
            while " left" not in output.read_text():
                assert process.poll() is None and time.monotonic() < deadline, output.read_text()
                time.sleep(0.05)
            yield process, output
        finally:
            for each in [process, *_descendants(process)]:
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    each.kill()
            process.wait(10)


def _descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_hold_leaves_no_weight(
    url: str, home: Path, cluster: Cluster, tmp_path: Path, signum: signal.Signals
) -> None:
    with holding(tmp_path, home / "kubeconfig", watch(url, seconds=60)) as (process, output):
        workers = _descendants(process)
        assert workers
        os.kill(process.pid, signum)
        deadline = time.monotonic() + 5
        while candidate_weight(cluster) != 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert candidate_weight(cluster) == 0, output.read_text()
        process.wait(10)
        gone, alive = psutil.wait_procs(workers, timeout=5)
        assert gone and not alive
    # On SIGINT ansible-playbook itself ends its workers by SIGTERM; which of the two the worker sees first is open.
    causes = {signal.SIGINT: "SIGINT|SIGTERM", signal.SIGTERM: "SIGTERM", signal.SIGKILL: "ansible-playbook is gone"}
    said = rf"stage canary start was interrupted \(({causes[signum]})\): all traffic is back on stable"
    assert re.search(said, output.read_text())


def test_an_interrupted_hold_may_leave_the_weight(url: str, home: Path, cluster: Cluster, tmp_path: Path) -> None:
    task = watch(url, seconds=60, on_interrupt="hold")
    with holding(tmp_path, home / "kubeconfig", task) as (process, output):
        workers = _descendants(process)
        os.kill(process.pid, signal.SIGINT)
        process.wait(10)
        psutil.wait_procs(workers, timeout=5)
    assert candidate_weight(cluster) == 5
    assert "the weight was left as it is" in output.read_text()


def test_a_stage_is_held_on_while_the_api_is_away_and_ends_when_it_is_back(
    url: str, home: Path, cluster: Cluster, tmp_path: Path
) -> None:
    task = watch(url, seconds=3, api_timeout=0.5, api_patience=30)
    with holding(tmp_path, home / "kubeconfig", task) as (process, output):
        with away(home):
            until_said("the stage has passed and is held on, for 0:30 at most", output)
            time.sleep(1)
        assert process.wait(20) == 0, output.read_text()
    said = output.read_text()
    assert "didn't answer within 0.5 s (api_timeout)" in said
    assert re.search(r"the Kubernetes API is back after 0:0\d: going on", said)
    assert candidate_weight(cluster) == 5


def test_a_stage_that_begins_without_the_api_is_held_and_its_triggers_are_on_guard(
    url: str, application: Application, home: Path, cluster: Cluster, tmp_path: Path
) -> None:
    task = watch(url, seconds=60, api_timeout=0.5, api_patience=30)
    try:
        with contextlib.ExitStack() as outage:
            outage.enter_context(away(home))
            with holding(tmp_path, home / "kubeconfig", task) as (process, output):
                until_said("the stage is held without the Kubernetes API, which only its end needs", output)
                application.fail(0.3)
                until_said("TRAFFIC IS NOT BACK ON STABLE YET", output)
                outage.close()
                assert process.wait(20) == 2, output.read_text()
    finally:
        application.fail(0.0)
    assert candidate_weight(cluster) == 0


def test_traffic_goes_back_as_soon_as_the_api_does(
    url: str, application: Application, home: Path, cluster: Cluster, tmp_path: Path
) -> None:
    task = watch(url, seconds=60, api_timeout=0.5, api_patience=30)
    with holding(tmp_path, home / "kubeconfig", task) as (process, output):
        try:
            with away(home):
                application.fail(0.3)
                until_said("TRAFFIC IS NOT BACK ON STABLE YET, trying for 30 s", output)
            assert process.wait(20) == 2, output.read_text()
        finally:
            application.fail(0.0)
    assert candidate_weight(cluster) == 0
    assert "all traffic is back on stable" in output.read_text()


def until_said(words: str, output: Path) -> None:
    deadline = time.monotonic() + 20
    while words not in output.read_text():
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)


def test_a_terminal_sees_colours_and_a_bar(url: str, home: Path, cluster: Cluster, tmp_path: Path) -> None:
    path = write_playbook(tmp_path / "play.yml", [{"name": "Hold", **watch(url, seconds=2)}])
    env = environment(tmp_path, home / "kubeconfig") | {"TERM": "xterm-256color"}
    del env["ANSIBLE_NOCOLOR"]
    shown = _on_a_terminal([str(PROGRAM), str(path)], tmp_path, env)
    assert "\033[0;32m✓ error_rate 0 %" in shown
    assert "\r\033[K█" in shown or "\r\033[K░" in shown
    assert "0:00 left" in shown


def _on_a_terminal(command: list[str], folder: Path, env: dict[str, str]) -> str:
    master, slave = pty.openpty()
    process = subprocess.Popen(command, cwd=folder, env=env, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    parts = []
    with contextlib.suppress(OSError):  # the terminal closes with its last user
        while part := os.read(master, 4096):
            parts.append(part)
    os.close(master)
    assert process.wait(20) == 0
    return b"".join(parts).decode()
