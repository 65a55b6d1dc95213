"""The measurements: each takes a stand and gives the values of one run."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.bench import playbook
from tests.bench.calls import CORE, KUBECTL, ROLLOUT, Call, Span, count, unix
from tests.bench.playbook import BenchError, Ran, last_lines, own
from tests.bench.stand import Stand, wait_for, with_weight

# The clock is the inventory's: on a faster one the second stage may be over before 20 workflows have ended, which its
# verdict needs.
RELEASE_OPTIONS: dict[str, Any] = {"release_green_replicas": 4}
STAGE_ONE_WEIGHT = 5
ERRORS = {"errors": 0.3}
# The window of the rehearsal's metrics and one scrape: what an earlier run broke must be out of sight.
FORGOTTEN = 6.0
# How long the watch has looked on before a fault; the fault then comes at another moment between two looks each time.
LOOKED_ON = 2.0

FLOOR = "floor: read the journal"
# The same, measured between the changes of weight, since the machine may be busier or less busy then.
CHANGE_FLOOR = "floor: read the journal, again"
COMMAND_SENT = "rollback: command to last request"
COMMAND_ANSWERED = "rollback: command to last answer"
COMMAND_VERIFIED = "rollback: command to verified"
COMMAND_ENDED = "rollback: command to end of process"
FAULT_SEEN = "breach: fault to seen"
SEEN_ZERO = "breach: seen to weight 0 stored"
SEEN_LAST = "breach: seen to last request"
FAULT_LAST = "breach: fault to last request"
ROLLBACK = [COMMAND_SENT, COMMAND_ANSWERED, COMMAND_VERIFIED, COMMAND_ENDED]
BREACH = [FAULT_SEEN, SEEN_ZERO, SEEN_LAST, FAULT_LAST]
WAYS = {"traffic_weight": ROLLOUT, "kubernetes.core.k8s": CORE, "kubectl patch": KUBECTL}
_PLAYBOOKS = {"traffic_weight": "weight_traffic_weight", "kubernetes.core.k8s": "weight_k8s"}


def up_name(way: str) -> str:
    """The measurement of 0 to 5 % by one way."""
    return f"{way}: 0 to {STAGE_ONE_WEIGHT} %"


def down_name(way: str) -> str:
    """The measurement of 5 to 0 % by one way."""
    return f"{way}: {STAGE_ONE_WEIGHT} to 0 %"


def set_up(stand: Stand) -> None:
    """What stays over all runs."""
    playbook.run(stand.world, own("setup"), inventory=True)


def stage_one(stand: Stand) -> None:
    """Open a release and bring it to stage 1; returns once the candidate answers users."""
    ran = playbook.run(stand.world, own("stage_one"), inventory=True)
    stand.wait_for_candidate(ran.ended)


def rollback(stand: Stand) -> Ran:
    """Take the release back as in an emergency: with a kubeconfig and a reason."""
    variables = {"rollback_reason": "bench", "rollback_force": True}
    return playbook.run(stand.world, "claude_enhancer.rollout.rollback", variables)


def floor(stand: Stand, name: str = FLOOR) -> dict[str, float]:
    """The least that a play with the cluster takes, under ``name``."""
    return {name: playbook.run(stand.world, own("floor")).seconds}


def timed_rollback(stand: Stand) -> dict[str, float]:
    """One rollback from stage 1, which must have been made before."""
    ran = rollback(stand)
    sent, answered = stand.last_candidate_request(ran.began, ran.ended)
    journal = stand.journal()
    if journal["state"] != "rolled_back":
        raise BenchError(f"after the rollback the journal says {journal['state']}")
    return {
        COMMAND_SENT: sent - ran.began,
        COMMAND_ANSWERED: answered - ran.began,
        COMMAND_VERIFIED: unix(journal["ended"]) - ran.began,
        COMMAND_ENDED: ran.seconds,
    }


def breach(stand: Stand, phase: float) -> dict[str, float]:
    """Hold stage 1 and break the candidate, ``phase`` seconds after a look; leaves it healed, with its weight back."""
    set_weight(stand, "traffic_weight", STAGE_ONE_WEIGHT)
    time.sleep(FORGOTTEN)
    result, output = _hold_files(stand)
    with output.open("w") as file:
        process = playbook.start(stand.world, own("hold"), {"bench_result": str(result)}, inventory=True, output=file)
        try:
            wait_for("the first look", lambda: process.poll() is not None or " left" in output.read_text())
            time.sleep(LOOKED_ON + phase)
            began = time.time()
            stand.fault(ERRORS)
            process.wait(playbook.PATIENCE)
        except subprocess.TimeoutExpired:
            raise BenchError("the broken candidate was never seen") from None
        finally:
            playbook.stop(process)
            stand.fault({})
    if not result.exists():
        raise BenchError(f"the hold left no result: {last_lines(output.read_text())}")
    return _breach_times(stand, began, json.loads(result.read_text()))


def healthy_hold(stand: Stand, seconds: float) -> dict[str, Any]:
    """Hold stage 1 for ``seconds`` while nothing is wrong; what stage_watch returned."""
    result, output = _hold_files(stand)
    variables = {"bench_result": str(result), "bench_seconds": seconds}
    with output.open("w") as file:
        process = playbook.start(stand.world, own("hold"), variables, inventory=True, output=file)
        try:
            process.wait(seconds + playbook.PATIENCE)
        except subprocess.TimeoutExpired:
            raise BenchError("the hold did not end") from None
        finally:
            playbook.stop(process)
    if not result.exists():
        raise BenchError(f"the hold left no result: {last_lines(output.read_text())}")
    held: dict[str, Any] = json.loads(result.read_text())
    if "looks" not in held:
        raise BenchError(f"nothing was held: {held.get('msg')}")
    return held


def _hold_files(stand: Stand) -> tuple[Path, Path]:
    """Where a hold leaves its result, which isn't there yet, and its output."""
    result = stand.world.home / "bench-hold.json"
    result.unlink(missing_ok=True)
    return result, stand.world.home / "bench-hold.log"


def _breach_times(stand: Stand, began: float, hold: dict[str, Any]) -> dict[str, float]:
    times = hold.get("times", {})
    if not hold.get("rolled_back") or times["breach_seen"] < began:
        raise BenchError(f"the hold did not end by the fault: {hold.get('msg')}")
    sent, _answered = stand.last_candidate_request(began, time.time())
    return {
        FAULT_SEEN: times["breach_seen"] - began,
        SEEN_ZERO: times["weight_zero"] - times["breach_seen"],
        SEEN_LAST: sent - times["breach_seen"],
        FAULT_LAST: sent - began,
    }


def ways() -> list[str]:
    """The ways of changing a weight that this machine has."""
    return [way for way in WAYS if way != "kubectl patch" or shutil.which("kubectl")]


def set_weight(stand: Stand, way: str, weight: int) -> Ran:
    """Set the weight in one process with one task."""
    if way == "traffic_weight":
        variables: dict[str, Any] = {"bench_weight": weight}
    else:
        variables = {"bench_http": with_weight(stand.http_routes(), weight)}
    return playbook.run(stand.world, own(_PLAYBOOKS.get(way, "weight_kubectl")), variables)


def weight_change(stand: Stand, way: str) -> tuple[dict[str, float], dict[str, int]]:
    """0 to 5 to 0 % by one way: seconds, and API calls by the same names."""
    up, down = set_weight(stand, way, STAGE_ONE_WEIGHT), set_weight(stand, way, 0)
    calls = stand.calls()
    names = {up_name(way): up, down_name(way): down}
    counted = {name: count(calls, Span(name, ran.began, ran.ended))[WAYS[way]] for name, ran in names.items()}
    return {name: ran.seconds for name, ran in names.items()}, counted


def whole_release(stand: Stand) -> tuple[Span, list[Span], list[Call]]:
    """A release from open to close; its time, its stages' times, and the calls made meanwhile."""
    ran = playbook.run(stand.world, "claude_enhancer.rollout.deploy", RELEASE_OPTIONS, inventory=True)
    journal = stand.journal()
    if journal["state"] != "done":
        raise BenchError(f"after the release the journal says {journal['state']}")
    stages = [
        Span(name, unix(journal["stages"][name]["began"]), unix(journal["stages"][name]["ended"]))
        for name in journal["order"]
    ]
    whole = Span("whole release", ran.began, ran.ended)
    return whole, stages, [call for call in stand.calls() if whole.began <= call.at < whole.ended]
