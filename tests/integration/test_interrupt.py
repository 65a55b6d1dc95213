"""deploy.yml interrupted during a release: no weight stays on the candidate, and the next run takes the release up.

Each test goes on with the release that the one before it left, as the next run of deploy.yml does.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Journal, unix
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import lease, virtual_service
from rehearsal.world import NAMESPACE, World
from tests.integration.deploying import ROOT, command, environment
from tests.integration.world_fixture import rehearsal, start_world

NAME = "interrupt"
BLOCK = "191"
STAGE = "canary_start"
LIMIT = 2.0
"""Seconds within which no weight may be left, from the signal on."""
STAGE_SECONDS = 7.2
SETTLE = 15.0
"""Seconds for which a watchdog looks on after its duty."""
PATIENCE = 90.0
"""Seconds for what is waited for before the signal."""


def short_stages() -> list[dict[str, Any]]:
    """The plan of the inventory, its stages without weight cut to two minutes each."""
    values = ROOT / "inventories" / "claude_enhancer" / "group_vars" / "all" / "stages.yml"
    stages: list[dict[str, Any]] = copy.deepcopy(yaml.safe_load(values.read_text())["release_stages"])
    for number, stage in enumerate(stages[:4]):
        stage.update(starts=2 * number - 8, minutes=2)
    return stages


OPTIONS = {
    "release_time_scale": 0.004,
    "release_stages": short_stages(),
    "release_green_replicas": 1,
    # A stage of seconds has few requests, which tell only what is far apart.
    "release_unacceptable": {"error_rate": 0.3, "slow": 0.5, "workflow_failure_rate": 0.9},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("worlds")
    try:
        world = start_world(NAME, base, "--blue-replicas", "2", "--block", BLOCK, "--load", "200")
        yield world
    finally:
        down = rehearsal("down", "--name", NAME, base=base)
        assert down.returncode == 0, down.stderr


class Controller:
    """A run of deploy.yml in a process group of its own."""

    def __init__(self, world: World, output: Path, **extra: Any) -> None:
        self.world = world
        self.cluster = Cluster.from_options({"kubeconfig": str(world.kubeconfig)})
        self._output = output
        self._before = len(self.journal().events) if self.find() else 0
        with output.open("wb") as log:
            self.process = subprocess.Popen(
                command("deploy", **OPTIONS, **extra),
                env=environment(world),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes: list[psutil.Process] = []

    def said(self) -> str:
        return self._output.read_text()

    def heading(self, play: str) -> float:
        """Unix time at which a play began, to the second."""
        (told,) = re.findall(rf"^(\d\d:\d\d:\d\d) .* {play}$", self.said(), re.MULTILINE)
        began = datetime.datetime.combine(datetime.date.today(), datetime.time.fromisoformat(told))
        return began.timestamp()

    def find(self) -> Journal | None:
        return JournalStore(self.cluster, NAMESPACE, "claude-enhancer").read()

    def journal(self) -> Journal:
        found = self.find()
        assert found is not None
        return found

    def events(self, what: str) -> list[dict[str, Any]]:
        """Events of this run."""
        found = self.find()
        return [event for event in found.events[self._before :] if event["what"] == what] if found else []

    def weights(self) -> set[int]:
        """The candidate's weight on the weighted routes, which are those with both sides."""
        routes = self.cluster.get(virtual_service(NAMESPACE, "claude-enhancer"))["spec"]["http"]
        split = [{side["destination"]["subset"]: side["weight"] for side in route["route"]} for route in routes
                 if len(route["route"]) == 2]  # fmt: skip
        assert len(split) > 1
        return {sides["candidate"] for sides in split}

    def wait_for(self, condition: Callable[[], Any], seconds: float = PATIENCE, *, running: bool = True) -> float:
        """How long it took until ``condition``; it fails the test when that takes more than ``seconds``."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < seconds, f"not within {seconds} s: {self.said()}"
            assert not running or self.process.poll() is None, self.said()
            time.sleep(0.02)
        return time.monotonic() - start

    def wait_for_weight(self) -> None:
        """Until the task that sets the weight has just done so."""
        self.wait_for(lambda: any(event["stage"] == STAGE for event in self.events("stage_begun")) and self.split())

    def split(self) -> bool:
        return self.weights() == {5}

    def wait_for_hold(self) -> None:
        """Until the stage with weight was looked at."""
        self.wait_for(lambda: "triggers quiet" in self.said())
        assert self.split()

    def interrupt(self, number: signal.Signals, *, group: bool = False) -> None:
        main = psutil.Process(self.process.pid)
        self._processes = [main, *main.children(recursive=True)]
        (os.killpg if group else os.kill)(main.pid, number)

    def watchdogs(self) -> list[psutil.Process]:
        """Those that still look after this world's release."""
        found = []
        for process in psutil.process_iter(["name", "environ"]):
            at_home = (process.info["environ"] or {}).get("XDG_STATE_HOME") == str(self.world.home / "state")
            if process.info["name"] == "release-watch" and at_home:
                found.append(process)
        return found

    def wait_until_gone(self) -> None:
        """Until nothing is left of the run but perhaps its watchdog, which goes after it has settled."""
        self.process.wait(10)
        self.wait_for(lambda: not any(process.is_running() for process in self._processes), 5, running=False)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@contextlib.contextmanager
def deploying(world: World, folder: Path, **extra: Any) -> Iterator[Controller]:
    controller = Controller(world, folder / "deploy.log", **extra)
    try:
        yield controller
    finally:
        controller.end()


@pytest.mark.parametrize(
    ("moment", "number", "group"),
    [("hold", signal.SIGINT, True), ("tasks", signal.SIGTERM, False), ("hold", signal.SIGTERM, False)],
    ids=["Ctrl-C in the hold", "SIGTERM between tasks", "SIGTERM in the hold"],
)
def test_no_weight_is_left_and_the_journal_says_so(
    world: World, tmp_path: Path, record_property: Any, moment: str, number: signal.Signals, group: bool
) -> None:
    with deploying(world, tmp_path) as run:
        (run.wait_for_hold if moment == "hold" else run.wait_for_weight)()
        run.interrupt(number, group=group)
        took = run.wait_for(lambda: run.weights() == {0}, LIMIT, running=False)
        record_property("seconds", round(took, 3))
        run.wait_for(lambda: run.events("interrupted"), 5, running=False)
        run.wait_until_gone()
        journal = run.journal()
        assert run.weights() == {0}
    (event,) = [event for event in journal.events[-2:] if event["what"] == "interrupted"]
    assert event["stage"] == STAGE
    assert event["data"]["on_interrupt"] == "roll_back"
    assert event["data"]["weight_after"] == 0
    assert (journal.state, journal.stages[STAGE]["state"]) == ("in_progress", "interrupted")


def test_the_weight_stays_where_it_is_asked_to(world: World, tmp_path: Path) -> None:
    with deploying(world, tmp_path, release_on_interrupt="hold") as run:
        run.wait_for_hold()
        run.interrupt(signal.SIGTERM)
        run.wait_for(lambda: run.events("interrupted"), 5, running=False)
        run.wait_until_gone()
        run.wait_for(lambda: not run.watchdogs(), SETTLE, running=False)
        assert run.weights() == {5}
        journal = run.journal()
    assert journal.events[-1]["data"]["on_interrupt"] == "hold"
    assert journal.begun_stage == STAGE


def test_a_second_run_is_told_who_is_at_it(world: World, tmp_path: Path) -> None:
    with deploying(world, tmp_path) as run:
        run.wait_for_hold()
        second = subprocess.run(
            command("deploy"), env=environment(world), capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 2
        holder = run.cluster.get(lease(NAMESPACE, "claude-enhancer-release-lock"))["spec"]["holderIdentity"]
        assert f"is held by {holder} since 20" in " ".join(second.stdout.split())
        assert run.process.poll() is None
        run.interrupt(signal.SIGTERM)
        run.wait_for(lambda: run.weights() == {0}, LIMIT, running=False)
        run.wait_until_gone()


def test_the_next_run_takes_the_release_up_and_it_can_be_rolled_back(world: World, tmp_path: Path) -> None:
    with deploying(world, tmp_path) as run:
        run.wait_for(lambda: run.events("stage_ended"))
        (taken_up,) = run.events("taken_up")
        assert run.events("opened") == []
        ended = run.events("stage_ended")[0]
        # On a slow machine it had ended before the run of the last test was interrupted; then this is the next one.
        assert ended["data"]["verdict"] == "pass"
        assert {"environment", "code", "configuration", "coordination", STAGE} <= set(run.journal().ended_stages)
        assert taken_up["seq"] < ended["seq"]
        # It was over long ago by the plan's clock; what is left of it keeps its length.
        if ended["stage"] == STAGE:
            assert unix(ended["time"]) - run.heading("Stage 1, canary start") >= STAGE_SECONDS - 1
        run.interrupt(signal.SIGTERM)
        run.wait_for(lambda: run.weights() == {0}, LIMIT, running=False)
        run.wait_until_gone()
        done = subprocess.run(
            command("rollback", rollback_reason="manual_intervention", rollback_force=True),
            env=environment(world),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert run.journal().state == "rolled_back"
        run.wait_for(lambda: not run.watchdogs(), SETTLE, running=False)
