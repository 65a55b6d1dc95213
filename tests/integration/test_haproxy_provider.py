"""The provider haproxy against HAProxy itself: both ways to split, several instances, and what may be wrong there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    GuardError,
    InputError,
    LockError,
    NotFoundError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    Limits,
    TrafficProvider,
    make_ready,
    open_provider,
    set_weight,
)
from tests.integration.haproxy_process import KEY, NAMES, ROOT, Haproxy, haproxy


class NoCluster:
    """HAProxy's weight needs no Kubernetes; any call there is an error."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self.calls = 0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Haproxy]]:
    home = tmp_path_factory.mktemp("haproxy")
    with (
        haproxy(home / "a") as first,
        haproxy(home / "b") as second,
        haproxy(home / "c", cookies=True) as sticky,
        haproxy(home / "d", has_map=False) as mapless,
    ):
        yield {"a": first, "b": second, "sticky": sticky, "mapless": mapless}


@pytest.fixture
def instances(running: dict[str, Haproxy]) -> dict[str, Haproxy]:
    """All of them with no weight on the candidate."""
    for name, each in running.items():
        if name != "mapless":
            each.say(f"set map {each.map} {KEY} 0")
        for server in NAMES:
            each.say(
                f"set server shop/{server} state ready; set server shop/{server} weight {100 * (server[0] == 's')}"
            )
    return running


def by_map(*addresses: str, map_file: str, dry_run: bool = False, **own: Any) -> TrafficProvider:
    options = {
        "namespace": "shop",
        "name": KEY,
        "stable": {"host": "shop-stable"},
        "candidate": {"host": "shop-candidate"},
        "haproxy": {"instances": list(addresses), "map": map_file, **own},
    }
    return open_provider("haproxy", cast(Any, NoCluster(dry_run=dry_run)), options)


def by_servers(*addresses: str, backend: str = "shop", dry_run: bool = False, **own: Any) -> TrafficProvider:
    options = {
        "namespace": "shop",
        "name": backend,
        "stable": {"servers": ["s*"]},
        "candidate": {"servers": ["c1", "c2"]},
        "haproxy": {"instances": list(addresses), "split": "servers", **own},
    }
    return open_provider("haproxy", cast(Any, NoCluster(dry_run=dry_run)), options)


@pytest.mark.parametrize("weight", [5, 100, 0])
def test_the_map_is_set_and_the_traffic_follows(instances: dict[str, Haproxy], weight: int) -> None:
    first = instances["a"]
    change = set_weight(by_map(first.socket, map_file=first.map), weight)
    assert (change.after.weight, change.after.share, change.changed) == (weight, weight, weight != 0)
    assert first.map_value() == str(weight)
    candidates = first.answers("map", 200)["c1"]
    assert candidates == {0: 0, 100: 200}.get(weight, candidates)
    assert weight != 5 or candidates < 40


class Fence:
    """A lock that is lost, or known to be held, or neither."""

    def __init__(self) -> None:
        self.vouched: Any = None
        self.lost = self.known = False
        self.asked = 0

    def check(self) -> None:
        self.asked += 1
        if self.lost:
            raise LockError("lost", lock={})

    def check_way_back(self, *, ask: bool = False) -> None:
        if ask or not self.known:
            self.check()


def test_the_lock_is_looked_at_right_before_a_change(instances: dict[str, Haproxy]) -> None:
    first, fence = instances["a"], Fence()
    provider = by_map(first.socket, map_file=first.map)
    provider.fence = fence
    assert set_weight(provider, 20).after.weight == 20
    fence.lost = True
    for weight in (50, 0):
        with pytest.raises(LockError):
            set_weight(provider, weight)
    assert first.map_value() == "20"


def test_while_the_lock_is_known_to_be_held_nobody_is_asked_on_the_way_back(instances: dict[str, Haproxy]) -> None:
    first, fence = instances["a"], Fence()
    provider = by_map(first.socket, map_file=first.map)
    provider.fence = fence
    set_weight(provider, 20)
    make_ready(provider)
    fence.known, fence.asked = True, 0
    assert set_weight(provider, 0, guard=False).calls == 1
    assert (fence.asked, first.map_value()) == (0, "0")


def test_an_instance_by_tcp(instances: dict[str, Haproxy]) -> None:
    first = instances["a"]
    provider = by_map(f"127.0.0.1:{first.ports['admin']}", map_file=first.map)
    assert set_weight(provider, 20).calls == 4  # read, both sides, read again, write
    assert not set_weight(provider, 20).changed
    assert first.map_value() == "20"


def test_a_key_that_is_missing_is_added(instances: dict[str, Haproxy]) -> None:
    first = instances["a"]
    first.say(f"del map {first.map} {KEY}")
    provider = by_map(first.socket, map_file=first.map)
    assert "has no key" in provider.read().notices[0]
    set_weight(provider, 0)
    assert first.map_value() == "0"


def test_taking_back_is_one_connection(instances: dict[str, Haproxy]) -> None:
    for provider in (
        by_map(instances["a"].socket, map_file=instances["a"].map),
        by_servers(instances["a"].socket),
    ):
        set_weight(provider, 50)
        change = set_weight(provider, 0, guard=False)
        assert (change.calls, change.changed, change.after.weight) == (1, True, 0)
    assert instances["a"].map_value() == "0"


def test_dry_run_writes_nothing(instances: dict[str, Haproxy]) -> None:
    first = instances["a"]
    before = first.server_weights()
    assert set_weight(by_map(first.socket, map_file=first.map, dry_run=True), 20).after.weight == 20
    assert set_weight(by_servers(first.socket, dry_run=True), 20).after.share == 20
    assert (first.map_value(), first.server_weights()) == ("0", before)


def test_weights_of_servers_make_the_share(instances: dict[str, Haproxy]) -> None:
    first = instances["a"]
    provider = by_servers(first.socket)
    assert set_weight(provider, 20).after.share == pytest.approx(20, abs=0.2)
    answers = first.answers("servers", 200)
    assert 35 <= answers["c1"] + answers["c2"] <= 45
    assert set_weight(provider, 100).after.share == 100
    assert set(first.answers("servers", 50)) == {"c1", "c2"}
    assert set_weight(provider, 0).after.share == 0
    assert set(first.answers("servers", 50)) == {"s1", "s2", "s3"}


def test_no_request_fails_while_weights_move(instances: dict[str, Haproxy]) -> None:
    first = instances["a"]
    provider = by_servers(first.socket)
    done = threading.Event()
    seen: set[str] = set()

    def ask() -> None:
        while not done.is_set():
            seen.update(first.answers("servers", 20))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for weight in [0, 100, 5, 95, 50, 100, 0] * 5:
            set_weight(provider, weight, guard=False)
    finally:
        done.set()
        asking.join()
    assert seen <= set(NAMES)


def test_a_session_held_by_cookie_leaves_a_side_without_weight(instances: dict[str, Haproxy]) -> None:
    sticky = instances["sticky"]
    provider = by_servers(sticky.socket)
    assert provider.stickiness(provider.read()).kept
    set_weight(provider, 5)
    assert set(sticky.answers("servers", 20, cookie="c1")) == {"c1"}
    set_weight(provider, 0)
    assert set(sticky.answers("servers", 20, cookie="c1")) <= {"s1", "s2", "s3"}
    assert provider.backends()["candidate"].ready == 2
    set_weight(provider, 5)
    assert set(sticky.answers("servers", 20, cookie="c1")) == {"c1"}


def test_a_server_in_maintenance_by_its_operator_stays_there(instances: dict[str, Haproxy]) -> None:
    sticky = instances["sticky"]
    provider = by_servers(sticky.socket)
    set_weight(provider, 50)
    sticky.say("set server shop/c2 state maint")
    for step in (20, 0, 100):
        state = set_weight(provider, step, limits=Limits(min_ready_ratio=0)).after
        assert state.weight == step
        # A session that its cookie holds would be served again, so it is told.
        told = any("c2 of" in notice and "taken out of service by someone else" in notice for notice in state.notices)
        assert told == (step == 0)
    assert "c2" not in sticky.answers("servers", 20)


def test_the_guard_sees_servers(instances: dict[str, Haproxy]) -> None:
    first = instances["a"]
    for server in ("c1", "c2"):
        first.say(f"set server shop/{server} state maint")
    with pytest.raises(GuardError, match="has 0 ready endpoints of 2,"):
        set_weight(by_servers(first.socket), 20)
    assert first.server_weights()["c1"] == 0


def test_both_sides_on_the_same_servers_are_refused(instances: dict[str, Haproxy]) -> None:
    first = instances["a"]
    options: dict[str, Any] = {"stable": {"host": "shop-candidate"}, "candidate": {"host": "shop-first"}}
    common = {"namespace": "shop", "name": KEY, "haproxy": {"instances": [first.socket], "map": first.map}}
    provider = open_provider("haproxy", cast(Any, NoCluster()), {**common, **options})
    with pytest.raises(GuardError, match="both stand on 1 of the same endpoints"):
        set_weight(provider, 20)
    for host, said in (("shop-gone", "has no backend shop-gone"), ("shop-empty", "shop-empty .* has no server")):
        options["candidate"] = {"host": host}
        provider = open_provider("haproxy", cast(Any, NoCluster()), {**common, **options})
        with pytest.raises(GuardError, match=rf"candidate\.host: .* {said}"):
            set_weight(provider, 20)


@pytest.mark.parametrize(
    ("backend", "error", "said"),
    [
        ("shop-gone", NotFoundError, "'show servers state shop-gone' with: Can't find backend"),
        ("shop-empty", InputError, r"stable\.servers: no server of backend shop-empty .* it has none"),
        ("shop-first", GuardError, "balances by first"),
        ("shop-static", GuardError, "balances by static-rr"),
    ],
)
def test_a_backend_that_can_not_carry_weights_is_named(
    instances: dict[str, Haproxy], backend: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        set_weight(by_servers(instances["a"].socket, backend=backend), 20)


def test_two_instances_move_together(instances: dict[str, Haproxy]) -> None:
    first, second = instances["a"], instances["b"]
    # Each has its own map file here, so they are told by their servers.
    provider = by_servers(first.socket, second.socket)
    second.say("set weight shop/c1 10")
    assert provider.read().weight == 3
    change = set_weight(provider, 20)
    assert [route.route for route in change.after.routes] == [first.socket, second.socket]
    assert [round(route.share) for route in change.after.routes] == [20, 20]


def test_an_operators_socket_is_told_what_it_lacks(instances: dict[str, Haproxy]) -> None:
    provider = by_servers(instances["a"].operator_socket)
    with pytest.raises(ForbiddenError, match=r"Permission denied.*give its stats socket the level admin"):
        set_weight(provider, 20)


def test_one_that_fails_midway_has_the_other_put_back(instances: dict[str, Haproxy]) -> None:
    first, second = instances["a"], instances["b"]
    before = first.server_weights()
    with pytest.raises(ForbiddenError, match=r"not every HAProxy instance took the weight.*a/admin.sock, .* as before"):
        set_weight(by_servers(first.socket, second.operator_socket), 20)
    assert (first.server_weights(), second.server_weights()) == (before, before)


def test_one_that_lacks_the_map_is_found_before_anything_is_touched(instances: dict[str, Haproxy]) -> None:
    first, mapless = instances["a"], instances["mapless"]
    with pytest.raises(NotFoundError, match=r"wasn't changed anywhere.*d/admin.sock.*Unknown map identifier"):
        set_weight(by_map(first.socket, mapless.socket, map_file=first.map), 20)
    assert first.map_value() == "0"


@pytest.fixture
def dead(tmp_path: Path) -> str:
    """A socket nobody listens on."""
    path = tmp_path / "dead.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(path))
    return str(path)


def test_a_dead_instance_holds_a_weight_back(instances: dict[str, Haproxy], dead: str) -> None:
    first = instances["a"]
    with pytest.raises(UnreachableError, match=rf"wasn't changed anywhere.*{dead} can't be reached: Conn"):
        set_weight(by_map(first.socket, dead, map_file=first.map), 20)
    assert first.map_value() == "0"


@pytest.mark.parametrize("guard", [True, False])
def test_a_dead_instance_does_not_hold_taking_back(instances: dict[str, Haproxy], dead: str, guard: bool) -> None:
    first = instances["a"]
    first.say(f"set map {first.map} {KEY} 50")
    with pytest.raises(UnreachableError) as caught:
        set_weight(by_map(first.socket, dead, map_file=first.map), 0, guard=guard)
    assert f"the weight is 0 on {first.socket}, but: the HAProxy instance {dead}" in caught.value.message
    assert caught.value.details["instances"] == [dead]
    assert first.map_value() == "0"


def test_nothing_to_be_reached_at_all(dead: str, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="No such file or directory"):
        by_map(dead, str(tmp_path / "gone.sock"), map_file="m").read()


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """Something on TCP that answers ``answer`` and closes, or never answers."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = server.accept()
                    if answer is None:
                        kept.append(connection)
                        continue
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

        kept: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for connection in kept:
            connection.close()


def test_a_hung_instance_is_waited_for_no_longer_than_the_timeout(instances: dict[str, Haproxy]) -> None:
    first = instances["a"]
    first.say(f"set map {first.map} {KEY} 50")
    with listening(None) as hung:
        provider = by_map(first.socket, hung, map_file=first.map, timeout=0.3)
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=r"didn't answer within 0.3 s \(haproxy.timeout\)"):
            set_weight(provider, 60)
        assert time.monotonic() - began < 0.6
        with pytest.raises(UnreachableError, match="the weight is 0 on"):
            set_weight(provider, 0, guard=False)
    assert first.map_value() == "0"


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (b"", UnreachableError, "closed the connection after 0 of 1 answers"),
        (b"HTTP/1.1 400\r\n\r\n", ClusterError, "answered 'get map m shop' with: HTTP/1.1 400; check"),
    ],
)
def test_what_is_no_runtime_api_is_named(answer: bytes, error: type[Exception], said: str) -> None:
    with listening(answer) as address, pytest.raises(error, match=said):
        by_map(address, map_file="m").read()


def test_someone_elses_weight_is_not_overwritten(instances: dict[str, Haproxy]) -> None:
    first = instances["a"]
    provider = by_map(first.socket, map_file=first.map)
    plan = provider.plan(20, provider.read(), strict=True)
    first.say(f"set map {first.map} {KEY} 70")
    with pytest.raises(ConflictError, match="find out who releases beside you"):
        provider.apply(plan)
    assert first.map_value() == "70"


def setting(weight: int, sockets: tuple[str, str], timeout: float, folder: Path) -> subprocess.Popen[bytes]:
    """A process that has read two instances and is about to set ``weight`` on both."""
    program = folder / "weight.py"
    program.write_text(
        textwrap.dedent(f"""
        from tests.integration.test_haproxy_provider import by_servers
        provider = by_servers(*{sockets!r}, timeout={timeout})
        plan = provider.plan({weight}, provider.read(), strict=False)
        print("ready", flush=True)
        provider.apply(plan)
        """)
    )
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == b"ready\n"
    return process


def test_a_signal_midway_puts_the_changed_ones_back(instances: dict[str, Haproxy], tmp_path: Path) -> None:
    first = instances["a"]
    before = first.server_weights()
    with listening_as_haproxy(first.socket) as slow:
        process = setting(20, (first.socket, slow), 1.0, tmp_path)
        deadline = time.monotonic() + 5
        while first.server_weights() == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert first.server_weights() != before
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
    assert first.server_weights() == before


def test_a_signal_while_all_is_taken_back_lets_every_instance_finish(
    instances: dict[str, Haproxy], tmp_path: Path
) -> None:
    first, second = instances["a"], instances["b"]
    none, some = first.server_weights(), {}
    for instance in (first, second):
        provider = by_servers(instance.socket)
        provider.apply(provider.plan(20, provider.read(), strict=False))
        some = instance.server_weights()
    assert some != none
    with listening_as_haproxy(second.socket, delay=2.0) as slow:
        process = setting(0, (first.socket, slow), 10.0, tmp_path)
        deadline = time.monotonic() + 5
        while first.server_weights() != none and time.monotonic() < deadline:
            time.sleep(0.01)
        assert second.server_weights() == some
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
    assert first.server_weights() == second.server_weights() == none


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "build" / "collections")))}


@contextlib.contextmanager
def listening_as_haproxy(path: str, delay: float | None = None) -> Iterator[str]:
    """An instance that answers questions as the one at ``path`` does, and nothing to whatever would change it.

    With ``delay`` it does that too, so many seconds later.
    """
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            kept = []
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = server.accept()
                    command = connection.recv(65536)
                    if command.startswith(b"set ") and delay is None:
                        kept.append(connection)
                        continue
                    if command.startswith(b"set "):
                        time.sleep(delay or 0.0)
                    with contextlib.closing(socket.socket(socket.AF_UNIX)) as real:
                        real.connect(path)
                        real.sendall(command)
                        connection.sendall(b"".join(iter(lambda: real.recv(65536), b"")))
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"haproxy": {"instances": ["nonsense"], "map": "m"}}, "'nonsense' is neither the path of a socket"),
        ({"haproxy": {"instances": ["h:99999"], "map": "m"}}, "'h:99999' is neither"),
        ({"haproxy": {"instances": []}}, "haproxy.instances: is missing.*haproxy.map: is missing"),
        ({"haproxy": {"instances": ["/s"], "map": "m;x"}}, "haproxy.map: 'm;x' can't be named"),
        ({"haproxy": {"instances": ["/s"], "map": "m", "timeout": 0}}, "haproxy.timeout: must be more than 0"),
        ({"name": "a b"}, "name: 'a b' can't be named"),
        ({"candidate": {"servers": ["c*"]}}, "candidate.host: is missing.*candidate.servers: means nothing"),
    ],
)
def test_bad_options_are_named(changes: dict[str, Any], said: str) -> None:
    options: dict[str, Any] = {
        "namespace": "shop",
        "name": KEY,
        "stable": {"host": "shop-stable"},
        "candidate": {"host": "shop-candidate"},
        "haproxy": {"instances": ["/s"], "map": "m"},
    }
    with pytest.raises(InputError, match=said):
        open_provider("haproxy", cast(Any, NoCluster()), {**options, **changes})
