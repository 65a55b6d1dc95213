"""HAProxy's configuration, the plan for its servers, and where its sockets are."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.haproxy import instances, places
from rehearsal.haproxy.configuration import SLOTS, configuration
from rehearsal.haproxy.servers import Address, Plan, Server, plan, read_servers, ready_addresses
from rehearsal.world import World

HEAD = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_port\n"
    "6 weighted 1 stable-1 127.60.128.1 2 4 100 100 8080\n"
    "6 weighted 2 stable-2 127.0.0.1 0 5 100 100 9\n"
)
ADDRESSES = st.sets(st.integers(1, 12).map(lambda last: (f"127.60.128.{last}", 8080)))


def slots(count: int = 8) -> list[Server]:
    """Servers as they are when an instance has just started."""
    return [
        Server(backend, f"{side}-{number}", ("127.0.0.1", 9), False, backend == places.WEIGHTED, 1)
        for side in places.SIDES
        for backend in (side, places.WEIGHTED)
        for number in range(1, count + 1)
    ]


def run(servers: list[Server], commands: tuple[str, ...]) -> list[Server]:
    """What HAProxy makes of the commands. Fails when an address changes under a server that gets requests."""
    known = {f"{server.backend}/{server.name}": server for server in servers}
    for command in commands:
        _, _, path, what, value, *rest = command.split()
        backend, name = path.split("/")
        old = known[path]
        if what == "addr":
            assert known[f"{places.WEIGHTED}/{name}"].maintenance, command
            known[path] = Server(backend, name, (value, int(rest[1])), old.running, old.maintenance, old.weight)
        else:
            assert backend == places.WEIGHTED
            known[path] = Server(backend, name, old.address, value == "ready", value == "maint", old.weight)
    return list(known.values())


def in_use(servers: list[Server], side: str) -> list[Address]:
    """The addresses that get requests, which the side's own backend and ``weighted`` must agree on."""
    known = {(server.backend, server.name): server for server in servers}
    taking = [server for server in servers if server.backend == places.WEIGHTED and not server.maintenance]
    assert all(known[server.side, server.name].address == server.address for server in taking)
    return sorted(server.address for server in taking if server.side == side)


@given(st.lists(st.tuples(ADDRESSES, ADDRESSES), min_size=1, max_size=6))
def test_servers_come_to_the_endpoints_whatever_they_were(rounds: list[tuple[set[Address], set[Address]]]) -> None:
    servers = slots()
    for stable, candidate in rounds:
        wanted = {"stable": stable, "candidate": candidate}
        due = plan(servers, wanted)
        servers = run(servers, due.commands)
        for side, addresses in wanted.items():
            got = in_use(servers, side)
            assert len(got) == min(len(addresses), 8)
            assert set(got) <= addresses
        assert len(due.without_server) == sum(max(0, len(addresses) - 8) for addresses in wanted.values())
        assert plan(servers, wanted).commands == ()
        assert not any("weight " in command or "map" in command for command in due.commands)


def test_an_endpoint_that_stays_keeps_its_server() -> None:
    servers = run(slots(), plan(slots(), {"stable": [("10.0.0.1", 80), ("10.0.0.2", 80)], "candidate": []}).commands)
    due = plan(servers, {"stable": [("10.0.0.2", 80), ("10.0.0.3", 80)], "candidate": []})
    assert due == Plan(
        (
            "set server weighted/stable-1 state maint",
            "set server stable/stable-3 addr 10.0.0.3 port 80",
            "set server weighted/stable-3 addr 10.0.0.3 port 80",
            "set server weighted/stable-3 state ready",
        ),
        (),
    )


def test_the_state_of_servers_is_read_by_its_columns() -> None:
    assert read_servers(HEAD) == [
        Server("weighted", "stable-1", ("127.60.128.1", 8080), True, False, 100),
        Server("weighted", "stable-2", ("127.0.0.1", 9), False, True, 100),
    ]


def test_another_answer_is_no_state() -> None:
    with pytest.raises(ValueError, match="Can't find backend"):
        read_servers("Can't find backend.\n")


@pytest.mark.parametrize(
    ("conditions", "usable"),
    [
        ({"ready": True}, True),
        ({}, True),
        ({"ready": False}, False),
        ({"ready": True, "terminating": True}, False),
    ],
)
def test_only_ready_endpoints_of_the_service_are_fed(conditions: dict[str, bool], usable: bool) -> None:
    def item(service: str) -> dict[str, Any]:
        return {
            "metadata": {"labels": {"kubernetes.io/service-name": service}},
            "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}],
        }

    expected = [("10.0.0.1", 8080)] if usable else []
    assert ready_addresses([item("ours"), item("other")], "ours") == expected
    assert ready_addresses([item("other")], "ours") == []


def test_haproxy_accepts_its_configuration_in_a_folder_of_any_name(tmp_path: Path) -> None:
    binary = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        pytest.skip("haproxy is not installed")
    home = tmp_path / 'it\'s #1 "of" $HOME'
    (home / "haproxy").mkdir(parents=True)
    places.map_file(home).write_text(f"{places.KEY} 0\n")
    path = home / "a.cfg"
    path.write_text(configuration(places.instances(home, "127.60.0.1")[0], places.map_file(home)))
    checked = subprocess.run([binary, "-c", "-f", path], capture_output=True, text=True, check=False)
    assert (checked.returncode, "WARNING" in checked.stderr) == (0, False), checked.stderr


def test_every_server_of_the_map_follows_the_one_that_is_checked() -> None:
    text = configuration(places.instances(Path("/world"), "127.60.0.1")[0], Path("/world/map"))
    assert text.count(" track weighted/") == text.count(" disabled weight ") == 2 * SLOTS
    assert text.count("check inter") == 1


@pytest.fixture
def short_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("depth", [0, 12])
def test_sockets_can_be_bound_however_deep_the_checkout_is(short_path: Path, depth: int) -> None:
    home = short_path.joinpath(*["folder-of-some-length"] * depth, "unit")
    (home / "logs").mkdir(parents=True)
    world = World.make("unit", home, 60)
    try:
        instances.prepare(world)
        for instance in world.haproxy:
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(f"{instance.socket}.1234567.tmp")
        assert (places.outside(home) == world.haproxy[0].socket.parent) == (depth == 12)
    finally:
        instances.remove_remains(home)
    assert not places.outside(home).exists()
