"""A real HAProxy that splits between servers which say their own name, all in one process, in a folder of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PROGRAM = shutil.which("haproxy") or "/usr/sbin/haproxy"
KEY = "shop"
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("s1", "s2", "s3", "c1", "c2")
_CONFIGURATION = """
global
  stats socket {home}/admin.sock level admin
  stats socket {home}/operator.sock level operator
  stats socket ipv4@127.0.0.1:{ports[admin]} level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend by_map
  bind 127.0.0.1:{ports[map]}
  http-request set-var(txn.weight) str({key}),map({map},0)
  use_backend shop-candidate if {{ rand(100),sub(txn.weight) lt 0 }}
  default_backend shop-stable
backend shop-stable
  server s1 127.0.0.1:{ports[s1]}
  server s2 127.0.0.1:{ports[s2]}
backend shop-candidate
  server c1 127.0.0.1:{ports[c1]}
frontend by_weight
  bind 127.0.0.1:{ports[servers]}
  default_backend shop
backend shop
  {cookie}
{servers}
backend shop-empty
frontend shop
  bind 127.0.0.1:{ports[namesake]}
backend shop-first
  balance first
  server s1 127.0.0.1:{ports[s1]}
  server c1 127.0.0.1:{ports[c1]}
backend shop-static
  balance static-rr
  server s1 127.0.0.1:{ports[s1]}
  server c1 127.0.0.1:{ports[c1]}
{answering}
"""


@dataclasses.dataclass(frozen=True)
class Haproxy:
    """One running instance; ``ports`` by what listens there."""

    home: Path
    ports: dict[str, int]
    map: str
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> str:
        return str(self.home / "admin.sock")

    @property
    def operator_socket(self) -> str:
        return str(self.home / "operator.sock")

    def say(self, command: str) -> str:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(5)
            connection.connect(self.socket)
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode().strip()

    def map_value(self) -> str:
        """What the map holds for the key; empty without it."""
        lines = [line.split() for line in self.say(f"show map {self.map}").splitlines()]
        return next((line[2] for line in lines if line[1] == KEY), "")

    def server_weights(self) -> dict[str, int]:
        return {name: int(self.say(f"get weight shop/{name}").split()[0]) for name in NAMES}

    def answers(self, listener: str, requests: int, cookie: str = "") -> Counter[str]:
        """Which servers answered, each request over a connection of its own."""
        found: Counter[str] = Counter()
        for _number in range(requests):
            connection = http.client.HTTPConnection("127.0.0.1", self.ports[listener], timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/", headers={"Cookie": f"SERVER={cookie}"} if cookie else {})
                answer = connection.getresponse()
                found[answer.read().decode() if answer.status == 200 else str(answer.status)] += 1
        return found


@contextlib.contextmanager
def haproxy(home: Path, *, cookies: bool = False, has_map: bool = True) -> Iterator[Haproxy]:
    """An instance, ready. ``cookies``: the servers keep sessions by cookie."""
    home.mkdir()
    ports = dict(zip(("admin", "map", "servers", "namesake", *NAMES), free_ports(9), strict=True))
    map_file = home / "weights.map" if has_map else home / "other.map"
    map_file.write_text(f"{KEY} 0\n")
    servers = [
        f"  server {name} 127.0.0.1:{ports[name]} weight {100 if name[0] == 's' else 0}"
        + (f" cookie {name}" if cookies else "")
        for name in NAMES
    ]
    answering = [
        f"frontend {name}\n  bind 127.0.0.1:{ports[name]}\n  http-request return status 200 string {name} "
        "content-type text/plain"
        for name in NAMES
    ]
    file = home / "haproxy.cfg"
    file.write_text(
        _CONFIGURATION.format(
            home=home,
            ports=ports,
            key=KEY,
            map=map_file,
            cookie="cookie SERVER insert indirect nocache" if cookies else "",
            servers="\n".join(servers),
            answering="\n".join(answering),
        )
    )
    with (home / "haproxy.log").open("w") as log:
        process = subprocess.Popen([PROGRAM, "-db", "-f", str(file)], stdout=log, stderr=log)
    try:
        found = Haproxy(home, ports, str(home / "weights.map"), process)
        _wait_for(found)
        yield found
    finally:
        process.kill()
        process.wait(10)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(contextlib.closing(socket.socket())) for _number in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for(found: Haproxy) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert found.process.poll() is None, (found.home / "haproxy.log").read_text()
        try:
            found.say("show info")
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
