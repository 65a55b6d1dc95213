"""Ways back from each stage through each provider: ours, the plan's script, a playbook of kubernetes.core tasks."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Ref
from rehearsal.world import World
from tests.bench import measure, playbook
from tests.bench.calls import unix
from tests.bench.playbook import BenchError, Ran, last_lines, own
from tests.bench.stage_state import StageState, traffic_provider
from tests.bench.stand import Stand

STAGES = ("canary_start", "canary_expand", "bluegreen_prepare", "full_switch")
OURS, SCRIPT, CORE_PLAYBOOK = "rollback.yml", "shell script", "kubernetes.core playbook"
WAYS = (OURS, SCRIPT, CORE_PLAYBOOK)
# Small enough for two cores, large enough for a split.
REPLICAS = {"release_green_replicas": 3, "release_canary_replicas": {"start": 1, "expand": 2}}
_SCRIPT = Path(__file__).with_name("rollback_script.sh")
_PATIENCE = 60.0
# Seconds without a request to the candidate that are nothing unusual at its smallest weight.
_QUIET = 1.0


@dataclass(frozen=True)
class Times:
    """One way back, in seconds from the start of its process."""

    last_request: float
    verified: float


def ways() -> list[str]:
    """The ways that this machine has."""
    return [way for way in WAYS if way != SCRIPT or (shutil.which("kubectl") and shutil.which("curl"))]


def prepare(stand: Stand, provider: str) -> dict[str, StageState]:
    """Take a release through all stages by ``provider``; how the world stood in each of them."""
    if stand.releasing():  # the peers know no journal, and leave that of the provider before this one open
        _run_rollback(stand.world)
    measure.set_up(stand)  # a rollback from the last stage removed what it made
    states = {}
    for stage in STAGES:
        variables = {"rehearsal_provider": provider, "bench_stage": stage, **REPLICAS}
        playbook.run(stand.world, own("stage"), variables, inventory=True)
        states[stage] = StageState.keep(stand.world, stand.journal()["plan"]["release_traffic"])
    return states


def way_back(stand: Stand, state: StageState, way: str) -> Times:
    """Put the world into ``state`` and take it back by ``way``."""
    began = time.time()
    try:
        state.restore()
    except TimeoutError:
        raise BenchError("the Deployments of the stage did not come back") from None
    stand.wait_for_candidate(began)
    ran = _RUN[way](stand.world, state)
    sent, _answered = stand.last_candidate_request(ran.began, ran.ended, quiet=_QUIET)
    verified = ran.seconds
    if way == OURS:
        journal = stand.journal()
        if journal["state"] != "rolled_back":
            raise BenchError(f"after the rollback the journal says {journal['state']}")
        verified = unix(journal["ended"]) - ran.began
    return Times(sent - ran.began, verified)


def _ours(world: World, _state: StageState) -> Ran:
    return _run_rollback(world)


def _run_rollback(world: World) -> Ran:
    return playbook.run(world, "claude_enhancer.rollout.rollback", {"rollback_reason": "bench", "rollback_force": True})


def _script(world: World, state: StageState) -> Ran:
    edge = _edge(world, state)
    said = {"MOVE_TRAFFIC": Move.of(world, state).as_shell(), "EDGE_URL": edge["url"], "EDGE_HOST": edge["host"]}
    began = time.time()
    done = subprocess.run(
        [str(_SCRIPT)],
        env=playbook.environment(world) | said,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the shell script ended with {done.returncode}: {last_lines(done.stdout)}")
    return Ran(began, time.time())


def _core_playbook(world: World, state: StageState) -> Ran:
    move = Move.of(world, state)
    variables = {
        "bench_object": move.names,
        "bench_patch": list(move.patch),
        "bench_remove": move.remove,
        "bench_command": move.command,
        "bench_edge": _edge(world, state),
        "bench_prometheus": world.prometheus_url,
    }
    return playbook.run(world, own("rollback_k8s"), variables)


_RUN = {OURS: _ours, SCRIPT: _script, CORE_PLAYBOOK: _core_playbook}


def _edge(world: World, state: StageState) -> Mapping[str, str]:
    facts = json.loads((world.home / "world.json").read_text())
    edge: Mapping[str, str] = facts["edges"][state.traffic["provider"]]
    return edge


@dataclass(frozen=True)
class Move:
    """What a peer sends to take the weight away: a JSON patch, a removal, or a command of its own."""

    names: Mapping[str, str]
    plural: str = ""
    patch: tuple[Mapping[str, Any], ...] = ()
    remove: bool = False
    command: str = ""

    @classmethod
    def of(cls, world: World, state: StageState) -> Move:
        """What our provider would send, so that the peers are given their patches ready-made."""
        traffic = state.traffic
        if traffic["provider"] == "haproxy":
            return cls({}, command=_haproxy_commands(traffic))
        provider = traffic_provider(world, traffic)
        now = provider.read()
        ref = now.ref
        if not isinstance(ref, Ref):
            raise BenchError(f"{ref} is no object of Kubernetes")
        if traffic["provider"] == "service":
            selector = {"app": "claude-enhancer", **traffic["stable"]["labels"]}
            names = {"api_version": ref.api_version, "kind": ref.kind, "name": ref.name}
            return cls(names, ref.plural, ({"op": "replace", "path": "/spec/selector", "value": selector},))
        if traffic["provider"] == "nginx_ingress":
            canary = f"{traffic['name']}-canary"
            names = {"api_version": ref.api_version, "kind": ref.kind, "name": canary}
            return cls(names, ref.plural, remove=True)
        names = {"api_version": ref.api_version, "kind": ref.kind, "name": ref.name}
        return cls(names, ref.plural, tuple(provider.plan(0, now, strict=False).operations))

    def as_shell(self) -> str:
        """The same as a line of shell."""
        if self.command:
            return self.command
        group = self.names["api_version"].rpartition("/")[0].partition("/")[0]
        resource = f"{self.plural}.{group}" if group else self.plural
        what = ["--namespace", "claude-enhancer"]
        if self.remove:
            return shlex.join(["kubectl", *what, "delete", resource, self.names["name"]])
        patch = f"--patch={json.dumps(list(self.patch))}"
        return shlex.join(["kubectl", *what, "patch", resource, self.names["name"], "--type=json", patch])


def _haproxy_commands(traffic: Mapping[str, Any]) -> str:
    """One ``set map`` per instance over its runtime API, by what every machine has: Python."""
    lines = [f"set map {traffic['haproxy']['map']} {traffic['name']} 0\n"] * len(traffic["haproxy"]["instances"])
    program = (
        "import socket,sys\n"
        "for path, line in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    with socket.socket(socket.AF_UNIX) as one:\n"
        "        one.connect(path.removeprefix('unix:')); one.sendall(line.encode()); one.recv(4096)\n"
    )
    pairs = [part for pair in zip(traffic["haproxy"]["instances"], lines, strict=True) for part in pair]
    return shlex.join(["python3", "-c", program, *pairs])
