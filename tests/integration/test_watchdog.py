"""A real ansible-playbook, ended in each way while the candidate has weight; and nobody left behind."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, config_map
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Journal, standing
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from rehearsal.world import NAMESPACE
from tests.integration.api_only import PROGRAM, TRAFFIC, api, candidate_weight, environment, results, write_playbook

BLOCK = 77
RELEASE = {"application": "claude-enhancer", "namespace": NAMESPACE, "release_id": "5.1-a"}
VERSIONS = {"stable": "5.0", "candidate": "5.1"}
PLAN = {"release_stages": [{"name": "canary"}, {"name": "expand"}]}
LIMIT = 2.0
"""Seconds within which no weight may be left, from the signal on."""


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home / "kubeconfig"


@pytest.fixture
def cluster(kubeconfig: Path) -> Iterator[Cluster]:
    """The API with no release in progress and no weight on the candidate."""
    cluster = Cluster.from_options({"kubeconfig": str(kubeconfig)})
    journal = config_map(NAMESPACE, f"{RELEASE['application']}-release-journal")
    if cluster.find(journal):
        cluster.delete(journal)
    set_weight(open_provider("istio", cluster, TRAFFIC), 0, guard=False)
    yield cluster


def store_of(cluster: Cluster) -> JournalStore:
    return JournalStore(cluster, NAMESPACE, RELEASE["application"])


def read(cluster: Cluster) -> Journal:
    journal = store_of(cluster).read()
    assert journal is not None
    return journal


def open_release(cluster: Cluster) -> None:
    """As deploy.yml leaves things before its first stage."""
    store_of(cluster).open(RELEASE["release_id"], VERSIONS, PLAN, {})


def begin_with_weight(cluster: Cluster) -> None:
    """As the first stage leaves things before it is held."""
    store_of(cluster).begin("canary")
    set_weight(open_provider("istio", cluster, TRAFFIC), 5, guard=False)


def whole_run() -> list[dict[str, Any]]:
    """Open a release, have it watched, begin its first stage and give the candidate 5 %, all by the playbook."""
    opening = {"action": "open", **RELEASE, "plan": PLAN, "versions": VERSIONS}
    begin = {"action": "begin", "stage": "canary", "application": RELEASE["application"], "namespace": NAMESPACE}
    return [
        {"name": "Open", "claude_enhancer.rollout.release_journal": opening},
        watching(),
        {"name": "Begin", "claude_enhancer.rollout.release_journal": begin},
        {"name": "Weight", "claude_enhancer.rollout.traffic_weight": {**TRAFFIC, "weight": 5, "guard": False}},
        HOLDING,
    ]


def watching(**options: Any) -> dict[str, Any]:
    watchdog = {**RELEASE, "traffic": TRAFFIC, "settle": 0.5, **options}
    return {"name": "Watch", "claude_enhancer.rollout.release_watchdog": watchdog}


HOLDING = {"name": "Hold the stage", "ansible.builtin.wait_for": {"timeout": 60}}


class Run:
    """An ansible-playbook in a session of its own, from its start until all its processes are gone."""

    def __init__(self, folder: Path, kubeconfig: Path, tasks: list[dict[str, Any]]) -> None:
        self.folder = folder
        path = write_playbook(folder / "play.yml", tasks)
        self.output = (folder / "output").open("w+")
        self.process = subprocess.Popen(
            [str(PROGRAM), str(path)],
            cwd=folder,
            env=environment(folder, kubeconfig),
            stdout=self.output,
            stderr=self.output,
            start_new_session=True,
        )
        self.workers: list[psutil.Process] = []

    def wait_until_watched(self) -> int:
        """Process id of the watchdog, once ansible-playbook is in the task after it."""
        found = None
        deadline = time.monotonic() + 60
        while found is None or "Hold the stage" not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)
            found = re.search(r"\[(\d+)\] watching process (\d+)", self.log())
        assert int(found[2]) == self.process.pid
        self.workers = psutil.Process(self.process.pid).children(recursive=True)
        return int(found[1])

    def log(self) -> str:
        """What the watchdog wrote."""
        return "".join(path.read_text() for path in (self.folder / "state").rglob("*.log"))

    def said(self) -> str:
        return (self.folder / "output").read_text()

    def clean_up(self) -> None:
        # After SIGKILL nobody ends the workers of ansible-playbook; they are not what is tested here.
        for process in self.workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.output.close()


@contextlib.contextmanager
def running(folder: Path, kubeconfig: Path, tasks: list[dict[str, Any]]) -> Iterator[Run]:
    run = Run(folder, kubeconfig, tasks)
    try:
        yield run
    finally:
        run.clean_up()


def seconds_until(condition: Any, limit: float) -> float:
    """How long it took; more than ``limit`` fails the test."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit, f"not within {limit} s"
        time.sleep(0.01)
    return time.monotonic() - start


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


@pytest.mark.parametrize("whom", ["main", "group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_weight_is_left_however_ansible_playbook_ends(
    kubeconfig: Path,
    cluster: Cluster,
    tmp_path: Path,
    number: signal.Signals,
    whom: str,
    record_property: Any,
) -> None:
    open_release(cluster)
    with running(tmp_path, kubeconfig, [watching(), HOLDING]) as run:
        pid = run.wait_until_watched()
        begin_with_weight(cluster)
        assert candidate_weight(cluster) == 5
        (os.killpg if whom == "group" else os.kill)(run.process.pid, number)
        took = seconds_until(lambda: candidate_weight(cluster) == 0, LIMIT)
        record_property("seconds", round(took, 3))
        seconds_until(lambda: gone(pid), 5)
    journal = read(cluster)
    event = journal.events[-1]
    assert (event["what"], event["stage"]) == ("interrupted", "canary")
    assert (event["data"]["weight_before"], event["data"]["weight_after"]) == (5, 0)
    assert journal.state == "in_progress"
    assert standing(journal)["next_stage"] == "canary", "to be begun again"


def test_the_next_run_takes_up_the_interrupted_stage(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    for turn in (1, 2):
        folder = tmp_path / str(turn)
        folder.mkdir()
        with running(folder, kubeconfig, whole_run()) as run:
            pid = run.wait_until_watched()
            assert candidate_weight(cluster) == 5
            os.kill(run.process.pid, signal.SIGTERM)
            seconds_until(lambda: candidate_weight(cluster) == 0, LIMIT)
            seconds_until(lambda pid=pid: gone(pid), 5)
        assert read(cluster).stages["canary"]["times_begun"] == turn


def test_a_weight_set_by_a_task_that_outlived_its_playbook_is_taken_back(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    open_release(cluster)
    with running(tmp_path, kubeconfig, [watching(settle=30), HOLDING]) as run:
        pid = run.wait_until_watched()
        store_of(cluster).begin("canary")
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        time.sleep(1)
        set_weight(open_provider("istio", cluster, TRAFFIC), 5, guard=False)
        seconds_until(lambda: candidate_weight(cluster) == 0, LIMIT)
        seconds_until(lambda: read(cluster).events[-1]["what"] == "interrupted", LIMIT)
        open_release(cluster)
        seconds_until(lambda: gone(pid), 5)
        assert "another run took the release up" in run.log()


def test_hold_leaves_the_weight_and_says_so(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    open_release(cluster)
    with running(tmp_path, kubeconfig, [watching(on_interrupt="hold"), HOLDING]) as run:
        pid = run.wait_until_watched()
        begin_with_weight(cluster)
        os.kill(run.process.pid, signal.SIGTERM)
        seconds_until(lambda: gone(pid), 5)
    assert candidate_weight(cluster) == 5
    journal = read(cluster)
    assert journal.events[-1]["data"]["on_interrupt"] == "hold"
    assert journal.begun_stage == "canary"


def test_it_ends_by_itself_once_the_release_is_closed(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    open_release(cluster)
    with running(tmp_path, kubeconfig, [watching(scope="release"), HOLDING]) as run:
        pid = run.wait_until_watched()
        begin_with_weight(cluster)
        store_of(cluster).end("canary")
        store_of(cluster).close("done")
        os.kill(run.process.pid, signal.SIGTERM)
        seconds_until(lambda: gone(pid), 5)
        assert "leave: release 5.1-a is done" in run.log()
    assert candidate_weight(cluster) == 5
    assert read(cluster).events[-1]["what"] == "state_changed"


def test_there_is_one_until_it_is_stopped(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    open_release(cluster)
    stopping = {"claude_enhancer.rollout.release_watchdog": {"state": "stopped", **RELEASE}}
    other = watching(on_interrupt="hold")
    answers = results(tmp_path, kubeconfig, [watching(), watching(), other, stopping, stopping])
    first, again, another, stopped, stopped_again = answers
    assert [answer["changed"] for answer in answers] == [True, False, True, True, False]
    assert first["pid"] == again["pid"] != another["pid"] == stopped["pid"]
    assert stopped_again["pid"] is None
    seconds_until(lambda: gone(first["pid"]) and gone(another["pid"]), 5)


def test_ctrl_c_at_a_terminal_is_answered_there(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    path = write_playbook(tmp_path / "play.yml", whole_run())
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(PROGRAM, [str(PROGRAM), str(path)], environment(tmp_path, kubeconfig))
    said = ""
    pressed = False
    deadline = time.monotonic() + 60
    try:
        while "traffic is back on stable" not in said:
            assert time.monotonic() < deadline, said
            with contextlib.suppress(OSError):  # nobody at the other end between ansible-playbook and watchdog
                said += os.read(terminal, 4096).decode(errors="replace")
            if "Hold the stage" in said and not pressed:
                time.sleep(0.3)
                os.write(terminal, b"\x03")
                pressed = True
        assert re.search(r"release 5\.1-a: interrupted in stage canary; .* weight 5 -> 0, 0\.\d\d s", said)
        assert candidate_weight(cluster) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def test_two_processes_do_not_release_at_once_from_one_machine(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    open_release(cluster)
    with running(tmp_path, kubeconfig, [watching(), HOLDING]) as run:
        pid = run.wait_until_watched()
        folder = tmp_path / "second"
        folder.mkdir()
        path = write_playbook(folder / "play.yml", [watching()])
        second = subprocess.run(
            [str(PROGRAM), str(path)],
            cwd=folder,
            env=environment(tmp_path, kubeconfig),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 2
        assert f"process {run.process.pid} on this machine is releasing claude-enhancer already" in re.sub(
            r"\s+", " ", second.stdout + second.stderr
        )
        os.kill(run.process.pid, signal.SIGTERM)
        seconds_until(lambda: gone(pid), 5)
